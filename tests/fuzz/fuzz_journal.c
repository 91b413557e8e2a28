/* A journal as a run finds it, and the plan in one: what is read is bounded and sound, or refused. The first byte says which
 * of three the rest is: a file, a payload in a record whose checksum is right, or the plan of the array below. */
#include <sys/mman.h>
#include <unistd.h>

#include "engine/exec/frozen.h"
#include "engine/exec/journal.h"
#include "engine/io/os.h"
#include "tests/fuzz/fuzz.h"

static char buffer[RECORD_BYTES_MAX];

static struct journal journal_of(const uint8_t *data, size_t bytes)
{
    struct journal j = { .fd = memfd_create("journal", MFD_CLOEXEC) };

    MUST(j.fd >= 0 && os_pwrite_all(j.fd, data, bytes, 0) >= 0);
    return j;
}

static void look_at_file(const uint8_t *data, size_t bytes)
{
    struct journal j = journal_of(data, bytes);
    struct record record;
    int sys_errno;

    while (journal_next(&j, buffer, &record, &sys_errno))
        MUST(record.bytes <= RECORD_BYTES_MAX && j.bytes <= bytes);
    MUST(sys_errno == 0 && j.bytes <= bytes && journal_cut(&j) >= 0);
    journal_close(&j);
}

/* What is appended is what is read, and the bytes behind it are not. */
static void look_at_payload(const uint8_t *data, size_t bytes)
{
    struct journal j = journal_of(data, bytes);
    struct record record;
    struct text payload;
    int sys_errno;

    text_init(&payload, RECORD_BYTES_MAX);
    text_add_bytes(&payload, (const char *)data, bytes);
    if (journal_append(&j, RECORD_TASKS, &payload) >= 0) {
        MUST(journal_cut(&j) >= 0);
        j.bytes = j.records = 0;
        MUST(journal_next(&j, buffer, &record, &sys_errno) && record.kind == RECORD_TASKS && record.bytes == bytes &&
             memcmp(record.payload, data, bytes) == 0);
        MUST(!journal_next(&j, buffer, &record, &sys_errno) && sys_errno == 0);
    }
    text_release(&payload);
    journal_close(&j);
}

static void look_at_plan(const uint8_t *data, size_t bytes)
{
    struct grid array = { .rank = 3, .shape = { 12, 96, 64 }, .cell = { 1, 96, 64 } };
    char *plan = exactly(data, bytes);
    struct unpack u = { plan, bytes, false };
    struct frozen f;

    if (plan_unpack(&u, &array, &f)) {
        MUST(f.graph.stage_count > 0 && f.graph.stage_count <= STAGES_MAX && strlen(f.plan_name) < sizeof f.plan_name);
        for (unsigned i = 0; i < f.graph.stage_count; i++) {
            const struct stage *s = &f.graph.stages[i];
            uint64_t coords[RANK_MAX];

            MUST(s->workers > 0 && s->reads_in_flight > 0 && stage_pool_bytes(s) <= f.graph.pool_bytes);
            MUST(grid_cells(&s->tasks) > 0 && grid_cells(&s->parts) > 0 && (!s->carries || s->carry_axis < array.rank));
            walk_grid_coords(&s->walk, &s->tasks, grid_cells(&s->tasks) - 1, coords);
            for (unsigned axis = 0; axis < array.rank; axis++)
                MUST(coords[axis] < grid_axis_cells(&s->tasks, axis));
        }
    }
    free(plan);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    static void (*const looks[])(const uint8_t *data, size_t bytes) = { look_at_file, look_at_payload, look_at_plan };

    if (bytes > 0)
        looks[data[0] % 3](data + 1, bytes - 1);
    return 0;
}
