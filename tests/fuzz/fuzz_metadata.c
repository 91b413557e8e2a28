/* The metadata of an array: one text as .zarray and .zattrs, as zarr.json, and as the .zmetadata of a group. What is
 * taken is written as metadata that says the same, in its own format and, turned into it, in the other. */
#include "planner/planner.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/metadata.h"

enum { PLACES = 3 };
static struct directory places[PLACES];

static void clean(void)
{
    for (unsigned i = 0; i < PLACES; i++)
        directory_remove(&places[i]);
}

static void prepare(void)
{
    if (places[0].path[0])
        return;
    /* in memory, or the disk says how fast we are */
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    for (unsigned i = 0; i < PLACES; i++)
        places[i] = directory_new();
    directory_put(&places[2], ".zgroup", "{\"zarr_format\": 2}");
    atexit(clean);
}

static void must_be_sound(const struct array_meta *m)
{
    uint64_t last[RANK_MAX], bytes = m->dtype.item_bytes;
    struct chunk_place place;

    MUST(m->chunks.rank <= RANK_MAX && m->codecs.count <= CODECS_MAX);
    MUST(m->dtype.item_bytes >= 1 && m->dtype.item_bytes <= ITEM_BYTES_MAX);
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        MUST(m->chunks.cell[i] >= 1 && m->codecs.order[i] < m->chunks.rank);
        MUST(!__builtin_mul_overflow(bytes, m->chunks.cell[i], &bytes));
        last[i] = grid_axis_cells(&m->chunks, i);
        last[i] -= last[i] > 0;
    }
    MUST(bytes == array_chunk_bytes(m));
    array_chunk_place(m, last, &place);
    MUST(memchr(place.key, '\0', sizeof place.key) && !strstr(place.key, "..") && place.key[0] != '/');
}

/* As it is written, it is read as the same. */
static void must_come_back(const struct array_meta *m)
{
    const struct directory *d = &places[m->format == FORMAT_ZARR2 ? 0 : 1];
    struct array_meta again;
    struct error err = { 0 };
    char *written[2];
    const char *names[2] = { m->format == FORMAT_ZARR2 ? ".zarray" : "zarr.json", ".zattrs" };
    char warned[4001];

    if (!array_meta_writable(m, &err)) {
        must_be_said(&err);
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        written[i] = metadata_written(m, names[i]);
    MUST(test_failures_here == 0);
    directory_put(d, names[0], written[0]);
    if (m->format == FORMAT_ZARR2)
        directory_put(d, names[1], written[1][0] ? written[1] : "{}");
    if (!metadata_read(d, &again, warned, &err)) {
        fprintf(stderr, "%s\n%s\n", written[0], written[1]);
        error_print(&err, stderr);
        MUST(!"what was written is refused");
    }
    if (!metadata_equal(m, &again)) {
        fprintf(stderr, "%s\n%s\n", written[0], written[1]);
        MUST(!"what was written says something else");
    }
    array_meta_release(&again);
    for (unsigned i = 0; i < 2; i++)
        free(written[i]);
}

static void convert(const struct array_meta *m)
{
    struct job job = { .input.path = "in.zarr", .output.path = "out.zarr", .output.format_set = true };
    struct array_meta target = { 0 };
    struct text warnings, notes;
    struct error err = { 0 };

    text_init(&warnings, 4000);
    text_init(&notes, 4000);
    job.output.format = m->format == FORMAT_ZARR2 ? FORMAT_ZARR3 : FORMAT_ZARR2;
    if (resolve_target(&target, m, &job, &warnings, &notes, &err)) {
        must_be_sound(&target);
        must_come_back(&target);
    } else {
        must_be_said(&err);
    }
    array_meta_release(&target);
    text_release(&warnings);
    text_release(&notes);
}

static void read_at(const struct directory *d)
{
    struct error err = { 0 };
    struct array_meta m;
    char warned[4001];

    if (metadata_read(d, &m, warned, &err)) {
        must_be_sound(&m);
        must_come_back(&m);
        convert(&m);
    } else {
        MUST(err.code == ERR_INPUT);
        must_be_said(&err);
    }
    array_meta_release(&m);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    prepare();
    directory_put_bytes(&places[0], ".zarray", data, bytes);
    directory_put_bytes(&places[0], ".zattrs", data, bytes);
    read_at(&places[0]);
    directory_put_bytes(&places[1], "zarr.json", data, bytes);
    read_at(&places[1]);
    directory_put_bytes(&places[2], ".zmetadata", data, bytes);
    read_at(&places[2]);
    return 0;
}
