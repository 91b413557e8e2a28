#include "engine/exec/journal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/pack.h"
#include "engine/base/size.h"
#include "engine/exec/frozen.h"
#include "engine/io/os.h"
#include "engine/store/store.h"
#include "tests/unit/directory.h"
#include "tests/unit/test.h"

enum { RECORDS = 5 };
static char buffer[RECORD_BYTES_MAX];

/* Records of 0, 40, 80 ... bytes; returns the bytes of the file up to the end of each. */
static void write_journal(int dir_fd, uint64_t *end_bytes)
{
    struct journal j;
    struct text payload;

    CHECK_EQUAL(journal_make(&j, dir_fd), 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        text_init(&payload, RECORD_BYTES_MAX);
        for (unsigned n = 0; n < 5 * i; n++)
            pack_number(&payload, n * i);
        CHECK_EQUAL(journal_append(&j, RECORD_SEGMENT, &payload), 0);
        text_release(&payload);
        end_bytes[i] = j.bytes;
    }
    journal_close(&j);
}

/* How many records are read, and cut off what follows. */
static unsigned read_journal(int dir_fd)
{
    struct journal j;
    struct record r;
    unsigned count = 0;
    int sys_errno;

    if (journal_open(&j, dir_fd, &sys_errno) != JOURNAL_WHOLE) {
        journal_close(&j);
        return 0;
    }
    for (; journal_next(&j, buffer, &r, &sys_errno); count++) {
        CHECK_EQUAL(r.kind, RECORD_SEGMENT);
        CHECK_EQUAL(r.bytes, 40 * count);
    }
    CHECK_EQUAL(sys_errno, 0);
    CHECK_EQUAL(journal_cut(&j), 0);
    journal_close(&j);
    return count;
}

static void append_short(struct journal *j)
{
    struct text payload;

    text_init(&payload, RECORD_BYTES_MAX);
    pack_number(&payload, 7);
    CHECK_EQUAL(journal_append(j, RECORD_SEGMENT, &payload), 0);
    text_release(&payload);
}

static int journal_fd(int dir_fd)
{
    return os_openat(dir_fd, STAGING_JOURNAL, O_RDWR, 0);
}

static void test_journal__of_others_is_not_read(void)
{
    struct directory d = directory_new();
    int dir_fd = open(d.path, O_RDONLY | O_DIRECTORY), sys_errno, fd;
    uint64_t end_bytes[RECORDS];
    struct journal j;

    write_journal(dir_fd, end_bytes);
    fd = journal_fd(dir_fd);
    CHECK_EQUAL(fchmod(fd, 0620), 0);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_FOREIGN);
    journal_close(&j);
    CHECK_EQUAL(fchmod(fd, 0644), 0);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_WHOLE);
    journal_close(&j);
    if (fchown(fd, 12345, (gid_t)-1) == 0) {
        CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_FOREIGN);
        journal_close(&j);
    }
    os_close(fd);
    close(dir_fd);
    directory_remove(&d);
}

static void test_journal__a_tail_torn_at_any_byte_is_cut_and_written_on(void)
{
    struct directory d = directory_new();
    int dir_fd = os_open(d.path, O_RDONLY | O_DIRECTORY, 0);
    uint64_t end_bytes[RECORDS];

    write_journal(dir_fd, end_bytes);
    for (uint64_t bytes = end_bytes[RECORDS - 1]; ; bytes--) {
        int fd = journal_fd(dir_fd);
        unsigned whole = 0, found;
        struct stat st;

        while (whole < RECORDS && end_bytes[whole] <= bytes)
            whole++;
        CHECK_EQUAL(os_ftruncate(fd, bytes), 0);
        found = read_journal(dir_fd);
        CHECK_EQUAL(found, whole);
        os_fstat(fd, &st);
        if (bytes >= 24)
            CHECK_EQUAL(st.st_size, whole ? end_bytes[whole - 1] : 24);
        os_close(fd);
        if (bytes == 0)
            break;
        if (whole && bytes > end_bytes[whole - 1]) {    /* what was cut is not needed for the next ones */
            os_unlinkat(dir_fd, STAGING_JOURNAL, 0);
            write_journal(dir_fd, end_bytes);
        }
    }
    os_close(dir_fd);
    directory_remove(&d);
}

/* What is written on in its place is as long as it was. */
static void test_journal__what_followed_a_damaged_record_does_not_come_back(void)
{
    struct directory d = directory_new();
    int dir_fd = os_open(d.path, O_RDONLY | O_DIRECTORY, 0), sys_errno;
    uint64_t first_end = 0;
    struct journal j;
    struct record r;
    unsigned count = 0;

    CHECK_EQUAL(journal_make(&j, dir_fd), 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        append_short(&j);
        first_end = i ? first_end : j.bytes;
    }
    CHECK_EQUAL(os_pwrite_all(j.fd, "damaged", 7, first_end + 1), 0);
    journal_close(&j);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_WHOLE);
    while (journal_next(&j, buffer, &r, &sys_errno))
        count++;
    CHECK_EQUAL(count, 1);
    CHECK_EQUAL(journal_cut(&j), 0);
    append_short(&j);
    journal_close(&j);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_WHOLE);
    for (count = 0; journal_next(&j, buffer, &r, &sys_errno); count++) { }
    CHECK_EQUAL(count, 2);
    journal_close(&j);
    os_close(dir_fd);
    directory_remove(&d);
}

static void test_journal__a_flipped_bit_anywhere_ends_it_there(void)
{
    struct directory d = directory_new();
    int dir_fd = os_open(d.path, O_RDONLY | O_DIRECTORY, 0), fd;
    uint64_t end_bytes[RECORDS];

    write_journal(dir_fd, end_bytes);
    fd = journal_fd(dir_fd);
    for (uint64_t at = 0; at < end_bytes[RECORDS - 1]; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            unsigned whole = 0, count = 0;
            struct journal j;
            struct record r;
            int sys_errno;
            char byte, flipped;

            os_pread_all(fd, &byte, 1, at);
            flipped = (char)(byte ^ 1 << bit);
            os_pwrite_all(fd, &flipped, 1, at);
            while (whole < RECORDS && end_bytes[whole] <= at)
                whole++;
            if (journal_open(&j, dir_fd, &sys_errno) == JOURNAL_WHOLE)
                while (journal_next(&j, buffer, &r, &sys_errno))
                    count++;
            CHECK_EQUAL(count, at < 24 ? 0 : whole);
            journal_close(&j);
            os_pwrite_all(fd, &byte, 1, at);
        }
    CHECK_EQUAL(read_journal(dir_fd), RECORDS);
    os_close(fd);
    os_close(dir_fd);
    directory_remove(&d);
}

static void test_journal__is_not_read_when_it_is_another_version_or_no_file(void)
{
    struct directory d = directory_new();
    int dir_fd = os_open(d.path, O_RDONLY | O_DIRECTORY, 0), fd, sys_errno;
    uint64_t end_bytes[RECORDS];
    struct journal j;

    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_NONE);
    write_journal(dir_fd, end_bytes);
    fd = journal_fd(dir_fd);
    os_pwrite_all(fd, &(char){ JOURNAL_VERSION + 1 }, 1, 16);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_OTHER);
    journal_close(&j);
    os_pwrite_all(fd, "no journal", 10, 0);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_OTHER);
    journal_close(&j);
    os_close(fd);
    os_unlinkat(dir_fd, STAGING_JOURNAL, 0);
    CHECK(mkfifo(directory_path(&d, STAGING_JOURNAL), 0600) == 0);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_OTHER);
    journal_close(&j);
    os_unlinkat(dir_fd, STAGING_JOURNAL, 0);
    CHECK(symlink("/etc/passwd", directory_path(&d, STAGING_JOURNAL)) == 0);
    CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_UNREADABLE);
    CHECK_EQUAL(sys_errno, ELOOP);
    journal_close(&j);
    os_close(dir_fd);
    directory_remove(&d);
}

static void test_journal__a_hostile_length_takes_no_memory_and_ends_it(void)
{
    static const uint32_t lengths[] = { RECORD_BYTES_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff };
    struct directory d = directory_new();
    int dir_fd = os_open(d.path, O_RDONLY | O_DIRECTORY, 0), fd;
    uint64_t end_bytes[RECORDS];

    write_journal(dir_fd, end_bytes);
    fd = journal_fd(dir_fd);
    for (unsigned i = 0; i < 4; i++) {
        struct journal j;
        struct record r;
        int sys_errno;

        os_pwrite_all(fd, &lengths[i], 4, end_bytes[1]);
        CHECK_EQUAL(journal_open(&j, dir_fd, &sys_errno), JOURNAL_WHOLE);
        CHECK(journal_next(&j, buffer, &r, &sys_errno) && journal_next(&j, buffer, &r, &sys_errno));
        CHECK(!journal_next(&j, buffer, &r, &sys_errno) && sys_errno == 0);
        journal_close(&j);
    }
    os_close(fd);
    os_close(dir_fd);
    directory_remove(&d);
}

static void test_pack__gives_back_what_was_packed_and_nothing_else(void)
{
    uint64_t numbers[3] = { 0, 1, UINT64_MAX }, got[3];
    struct text t;
    char words[8];
    struct unpack u;

    text_init(&t, 1000);
    pack_numbers(&t, numbers, 3);
    pack_text(&t, "a slab");
    for (size_t bytes = 0; bytes <= t.length; bytes++) {
        u = (struct unpack){ t.chars, bytes, false };
        unpack_numbers(&u, got, 3);
        unpack_text(&u, words, sizeof words);
        CHECK(u.bad == (bytes < t.length));
    }
    CHECK(!memcmp(numbers, got, sizeof got) && !strcmp(words, "a slab"));
    u = (struct unpack){ t.chars + 24, t.length - 24, false };
    unpack_text(&u, words, 6);          /* no room for its end */
    CHECK(u.bad && !words[0]);
    u = (struct unpack){ t.chars + 8, 8, false };
    CHECK(unpack_number_to(&u, 0) == 0 && u.bad);
    text_release(&t);
}

/* No field has its value by chance. */
static void set_stage(struct stage *s, const struct grid *array)
{
    memset(s, 0, sizeof *s);
    *s = (struct stage){
        .name = "a name", .source = FROM_STREAM, .sink = TO_RANGES, .tasks = *array, .parts = *array,
        .walk = { .group = { 2, WALK_ALL, 3 }, .ordered = true, .order = { 2, 0, 1 } },
        .parts_walk = { .group = { 5, 6, 7 }, .ordered = true, .order = { 1, 2, 0 } },
        .piece_raw_bytes = 8, .carries = true, .carry_axis = 2, .workers = 3, .reads_in_flight = 4,
        .memory = { .tile_bytes = 11, .carry_bytes = 12, .stream_bytes = 13, .append_bytes = 14, .reads_bytes = 15,
                    .piece_bytes_max = 16, .decode_scratch_bytes = 17, .encode_scratch_bytes = 18, .write_bytes = 19,
                    .write_slots = 20, .index_bytes = 21, .library_bytes = 22 },
    };
}

static void test_plan__comes_back_with_every_field(void)
{
    struct grid array = { .rank = 3, .shape = { 12, 96, 64 }, .cell = { 1, 96, 64 } };
    struct graph g = { .stage_count = 1, .pool_bytes = MIB, .plan_name = "a plan", .predicted_seconds = 1.5 };
    const struct stage *back;
    struct frozen *f = calloc(1, sizeof *f);
    struct text payload;
    struct unpack u;

    set_stage(&g.stages[0], &array);
    text_init(&payload, RECORD_BYTES_MAX);
    plan_pack(&g, &payload);
    u = (struct unpack){ payload.chars, payload.length, false };
    CHECK(plan_unpack(&u, &array, f));
    back = &f->graph.stages[0];
    CHECK(strcmp(back->name, "a name") == 0 && strcmp(f->graph.plan_name, "a plan") == 0);
    CHECK_EQUAL(f->graph.pool_bytes, MIB);
    CHECK(memcmp(&back->source, &g.stages[0].source, sizeof *back - offsetof(struct stage, source)) == 0);

    text_clear(&payload);
    g.stages[0].walk.order[1] = 2;          /* an axis twice */
    plan_pack(&g, &payload);
    u = (struct unpack){ payload.chars, payload.length, false };
    CHECK(!plan_unpack(&u, &array, f));
    text_release(&payload);
    free(f);
}

int main(void)
{
    RUN(test_journal__of_others_is_not_read);
    RUN(test_journal__a_tail_torn_at_any_byte_is_cut_and_written_on);
    RUN(test_journal__what_followed_a_damaged_record_does_not_come_back);
    RUN(test_journal__a_flipped_bit_anywhere_ends_it_there);
    RUN(test_journal__is_not_read_when_it_is_another_version_or_no_file);
    RUN(test_journal__a_hostile_length_takes_no_memory_and_ends_it);
    RUN(test_plan__comes_back_with_every_field);
    RUN(test_pack__gives_back_what_was_packed_and_nothing_else);
    return test_summary();
}
