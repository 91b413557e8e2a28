/* test_io_cached.c - where a file system has no direct I/O, what is read and written does not stay in the page cache (io.h):
 * on both back ends, each skipped aloud where it is refused. */
#include "tests/unit/io_bench.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "engine/base/size.h"
#include "engine/io/os.h"
#include "tests/unit/directory.h"

enum { DEPTH = 8 };

/* Of the first `bytes` of the file, how many are in the page cache. */
static uint64_t cached_bytes(int fd, uint64_t bytes)
{
    unsigned char *pages = malloc(bytes / IO_ALIGN);
    void *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    uint64_t cached = 0;

    CHECK(memory != MAP_FAILED && mincore(memory, bytes, pages) == 0);
    for (uint64_t i = 0; i < bytes / IO_ALIGN; i++)
        cached += pages[i] & 1 ? IO_ALIGN : 0;
    munmap(memory, bytes);
    free(pages);
    return cached;
}

static bool is_in_memory_alone(int fd)
{
    struct statfs place;

    return fstatfs(fd, &place) == 0 && place.f_type == TMPFS_MAGIC;
}

/* Dropping is a hint: a folio (of up to 4 MiB) that somebody looks at in that moment stays. */
#define NOT_DROPPED_BYTES_MAX (16 * MIB)
#define READ_AHEAD_BYTES_MAX (24 * MIB)      /* what the kernel reads that nobody asked for, twice a disk's setting */

static void submit_alone(struct io *io, struct io_request *request)
{
    struct io_request *done;

    io_submit(io, request);
    while (!io_reap(io, &done, 1, true)) { }
}

/* One request after another; the most that was cached in between. */
static uint64_t cached_after(struct io *io, enum io_op op, int fd, char *memory, uint64_t step_bytes, uint64_t bytes)
{
    uint64_t most = 0;

    for (uint64_t at = 0; at < bytes; at += step_bytes) {
        struct io_request request = { .op = op, .fd = fd, .memory = memory, .bytes = step_bytes, .offset = at };

        submit_alone(io, &request);
        CHECK_EQUAL(request.result, step_bytes);
        most = size_max(most, cached_bytes(fd, bytes));
    }
    return most;
}

static void test_cached__what_was_written_or_read_does_not_stay_in_the_page_cache(void)
{
    NEEDS_BACKEND();
    static const uint64_t steps[] = { 256 * KIB, 4 * MIB, 64 * MIB };
    const uint64_t bytes = 128 * MIB;
    char *memory = malloc(64 * MIB);

    memset(memory, 7, 64 * MIB);
    for (unsigned i = 0; i < 3; i++) {
        int fd = temporary_file(0);
        struct io *io = open_io(DEPTH);

        if (is_in_memory_alone(fd))
            SKIP("/tmp is memory: there is no other place for it");
        CHECK(ftruncate(fd, (off_t)bytes) == 0);
        CHECK(cached_after(io, IO_WRITE, fd, memory, steps[i], bytes) <= IO_BEHIND_BYTES + IO_CACHED_STEP_BYTES);
        CHECK_EQUAL(io_close(io), 0);
        CHECK(cached_bytes(fd, bytes) <= NOT_DROPPED_BYTES_MAX);
        io = open_io(DEPTH);
        CHECK(cached_after(io, IO_READ, fd, memory, steps[i], bytes) <= READ_AHEAD_BYTES_MAX + IO_CACHED_STEP_BYTES);
        CHECK_EQUAL(io_close(io), 0);
        CHECK(memory[0] == 7 && memory[steps[i] - 1] == 7);
        close(fd);
    }
    free(memory);
}

/* Four steps of one request: the first three are waited for, the last one is left behind. */
static void test_cached__what_cannot_be_written_out_is_told(void)
{
    NEEDS_BACKEND();
    char *memory = calloc(1, 4 * IO_CACHED_STEP_BYTES);

    for (unsigned n = 0; n < 5; n++) {
        struct os_faults faults = { .kinds = OS_SYNC, .first = n, .how = EIO };
        int fd = temporary_file(0), closed;
        struct io_request request = {
            .op = IO_WRITE, .fd = fd, .memory = memory, .bytes = 4 * IO_CACHED_STEP_BYTES,
        };
        struct io *io = open_io(1);
        unsigned before;

        os_faults_set(&faults);
        before = descriptors_open();
        submit_alone(io, &request);
        CHECK_EQUAL(request.result, n < 3 ? -EIO : 4 * (int64_t)IO_CACHED_STEP_BYTES);
        closed = io_close(io);
        CHECK_EQUAL(closed, n == 3 ? -EIO : 0);
        CHECK_EQUAL(os_faults_hit(), n < 4);
        CHECK(descriptors_open() <= before);
        os_faults_set(NULL);
        close(fd);
    }
    free(memory);
}

/* What was left behind and fails later is told with the next request. No descriptor to keep: waited for at once. */
static void test_cached__what_fails_behind_is_told_with_the_next_request(void)
{
    NEEDS_BACKEND();
    struct os_faults sync = { .kinds = OS_SYNC, .how = EIO }, none = { .kinds = OS_OPEN, .forever = true, .how = EMFILE };
    char *memory = calloc(1, IO_CACHED_STEP_BYTES);
    int fd = temporary_file(0), failed = -1;
    struct io *io;

    io = open_io(1);
    os_faults_set(&sync);
    for (unsigned i = 0; i < 10; i++) {
        struct io_request request = {
            .op = IO_WRITE, .fd = fd, .memory = memory, .bytes = IO_CACHED_STEP_BYTES, .offset = i * IO_CACHED_STEP_BYTES,
        };

        submit_alone(io, &request);
        if (request.result < 0)
            failed = (int)i;
    }
    CHECK_EQUAL(failed, IO_BEHIND_BYTES / IO_CACHED_STEP_BYTES);
    CHECK_EQUAL(io_close(io), 0);
    os_faults_set(&none);
    io = open_io(1);
    CHECK(cached_after(io, IO_WRITE, fd, memory, IO_CACHED_STEP_BYTES, 2 * IO_CACHED_STEP_BYTES) <= IO_CACHED_STEP_BYTES ||
          is_in_memory_alone(fd));
    CHECK_EQUAL(io_close(io), 0);
    os_faults_set(NULL);
    close(fd);
    free(memory);
}

/* Small writes reach no limit of bytes before they reach one of open files (ulimit -n), whatever the number of workers. */
static void test_cached__what_is_left_behind_keeps_few_files_open(void)
{
    NEEDS_BACKEND();
    enum { IOS = 8, WRITES = 16, OPEN_MAX = 64 };
    char *memory = calloc(1, IO_ALIGN);
    int fd = temporary_file(0);
    struct io *ios[IOS];
    unsigned before, most = 0;

    for (unsigned i = 0; i < IOS; i++)
        ios[i] = open_io(1);
    before = descriptors_open();
    for (uint64_t n = 0; n < IOS * WRITES; n++) {
        struct io_request request = { .op = IO_WRITE, .fd = fd, .memory = memory, .bytes = IO_ALIGN, .offset = n * IO_ALIGN };

        submit_alone(ios[n % IOS], &request);
        CHECK_EQUAL(request.result, IO_ALIGN);
        most = (unsigned)size_max(most, descriptors_open() - before);
    }
    CHECK(most > IOS && most <= OPEN_MAX);
    for (unsigned i = 0; i < IOS; i++)
        CHECK_EQUAL(io_close(ios[i]), 0);
    close(fd);
    free(memory);
}

/* That there is no room is no answer about one's own bytes here: what was written before them may be what is lost. */
static void test_cached__what_finds_no_room_when_it_is_written_out_is_in_doubt(void)
{
    NEEDS_BACKEND();
    struct os_faults faults = { .kinds = OS_SYNC, .how = ENOSPC };
    char *memory = calloc(1, 2 * IO_CACHED_STEP_BYTES);
    int fd = temporary_file(0);
    struct io_request request = { .op = IO_WRITE, .fd = fd, .memory = memory, .bytes = 2 * IO_CACHED_STEP_BYTES };
    uint64_t doubts = os_doubts();
    struct io *io;

    io = open_io(1);
    os_faults_set(&faults);
    submit_alone(io, &request);
    os_faults_set(NULL);
    CHECK_EQUAL(request.result, -ENOSPC);
    CHECK(os_doubts() > doubts);
    CHECK_EQUAL(io_close(io), 0);
    close(fd);
    free(memory);
}

/* gVisor and some seccomp profiles have no sync_file_range: the whole file is written out instead. */
static void test_cached__without_sync_file_range_the_file_is_synced(void)
{
    NEEDS_BACKEND();
    struct os_faults faults = { .kinds = OS_SYNC, .how = ENOSYS };
    char *memory = calloc(1, 2 * IO_CACHED_STEP_BYTES);
    int fd = temporary_file(0);
    struct io_request request = { .op = IO_WRITE, .fd = fd, .memory = memory, .bytes = 2 * IO_CACHED_STEP_BYTES };
    struct io *io;

    io = open_io(1);
    os_faults_set(&faults);
    submit_alone(io, &request);
    CHECK_EQUAL(request.result, 2 * IO_CACHED_STEP_BYTES);
    CHECK_EQUAL(os_faults_hit(), 1);
    CHECK_EQUAL(io_close(io), 0);
    CHECK(cached_bytes(fd, 2 * IO_CACHED_STEP_BYTES) < IO_CACHED_STEP_BYTES || is_in_memory_alone(fd));
    /* and that is believed, whatever it says */
    faults.forever = true;
    os_faults_set(&faults);
    io = open_io(1);
    submit_alone(io, &request);
    CHECK_EQUAL(request.result, -ENOSYS);
    CHECK_EQUAL(io_close(io), 0);
    os_faults_set(NULL);
    close(fd);
    free(memory);
}

static void run_set(enum io_backend with)
{
    backend = with;
    RUN(test_cached__what_was_written_or_read_does_not_stay_in_the_page_cache);
    RUN(test_cached__what_cannot_be_written_out_is_told);
    RUN(test_cached__what_fails_behind_is_told_with_the_next_request);
    RUN(test_cached__what_is_left_behind_keeps_few_files_open);
    RUN(test_cached__what_finds_no_room_when_it_is_written_out_is_in_doubt);
    RUN(test_cached__without_sync_file_range_the_file_is_synced);
}

int main(void)
{
    io_bench_begin();
    os_lacks_direct();              /* from here on os_is_without_direct() */
    run_set(IO_URING);
    run_set(IO_THREADS);
    return test_summary();
}
