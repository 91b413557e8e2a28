/* test_io.c - the contract of io.h on both back ends: each test of the set runs once with io_uring and once with
 * threads, and is skipped aloud where io_uring is refused. */
#include "tests/unit/io_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/os.h"
#include "engine/report/report.h"
#include "tests/unit/directory.h"
#include "tests/unit/test.h"

enum { DEPTH = 8, FILE_BLOCKS = 64, REQUESTS = 400 };

static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)(offset * 2654435761u >> 13);
}

/* A file of `bytes` known bytes. */
static int known_file(int flags, uint64_t bytes)
{
    int fd = temporary_file(flags);
    unsigned char *block = aligned_alloc(IO_ALIGN, IO_ALIGN);

    for (uint64_t at = 0; fd >= 0 && at < bytes; at += IO_ALIGN) {
        for (unsigned i = 0; i < IO_ALIGN; i++)
            block[i] = byte_at(at + i);
        CHECK_EQUAL(os_pwrite_all(fd, block, IO_ALIGN, at), 0);
    }
    if (fd >= 0)
        CHECK_EQUAL(os_ftruncate(fd, bytes), 0);
    free(block);
    return fd;
}

/* One request, alone. */
static int64_t run_one(enum io_op op, int fd, void *memory, uint64_t bytes, uint64_t offset)
{
    struct io_request request = { .op = op, .fd = fd, .memory = memory, .bytes = bytes, .offset = offset };
    struct io_request *done = NULL;
    struct io *io = open_io(1);

    io_submit(io, &request);
    CHECK_EQUAL(io_in_flight(io), 1);
    while (!io_reap(io, &done, 1, true)) { }
    CHECK(done == &request);
    CHECK_EQUAL(io_in_flight(io), 0);
    io_close(io);
    return request.result;
}

static bool known_bytes(const unsigned char *at, uint64_t offset, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (at[i] != byte_at(offset + i))
            return false;
    return true;
}

/* ---- the set ---- */

/* Random reads with DEPTH in flight, each checked when it comes back. */
static void random_reads(int fd, bool direct)
{
    struct io_request requests[DEPTH], *done[DEPTH];
    unsigned char *memory = aligned_alloc(IO_ALIGN, DEPTH * 4 * IO_ALIGN);
    struct io *io = open_io(DEPTH);
    unsigned started = 0, finished = 0, seed = 1;

    for (; started < DEPTH; started++)
        requests[started] = (struct io_request){ .op = IO_READ, .fd = fd, .memory = memory + started * 4 * IO_ALIGN };
    for (started = 0; finished < REQUESTS; ) {
        unsigned count = 0;

        for (unsigned i = 0; i < DEPTH && started < DEPTH; i++, started++) {
            requests[i].offset = (uint64_t)i * IO_ALIGN;
            requests[i].bytes = IO_ALIGN;
            io_submit(io, &requests[i]);
        }
        count = io_reap(io, done, DEPTH, true);
        for (unsigned i = 0; i < count; i++, finished++) {
            struct io_request *r = done[i];

            CHECK_EQUAL(r->result, r->bytes);
            CHECK(known_bytes(r->memory, r->offset, r->bytes));
            if (started == REQUESTS)
                continue;
            r->offset = (uint64_t)(rand_r(&seed) % (FILE_BLOCKS - 4)) * IO_ALIGN + (direct ? 0 : rand_r(&seed) % 999);
            r->bytes = (uint64_t)(1 + rand_r(&seed) % 3) * IO_ALIGN - (direct ? 0 : rand_r(&seed) % 999);
            memset(r->memory, 0, 4 * IO_ALIGN);
            io_submit(io, r);
            started++;
        }
    }
    CHECK_EQUAL(io_in_flight(io), 0);
    io_close(io);
    free(memory);
}

static void test_io__reads_what_is_there_buffered(void)
{
    int fd = known_file(0, FILE_BLOCKS * IO_ALIGN);

    NEEDS_BACKEND();
    random_reads(fd, false);
    close(fd);
}

static void test_io__reads_what_is_there_direct(void)
{
    int fd = known_file(O_DIRECT, FILE_BLOCKS * IO_ALIGN);

    NEEDS_BACKEND();
    if (fd < 0)
        SKIP("no O_DIRECT in /tmp");
    random_reads(fd, true);
    close(fd);
}

static void write_then_look(int flags)
{
    struct io_request requests[DEPTH], *done[DEPTH];
    unsigned char *memory = aligned_alloc(IO_ALIGN, DEPTH * IO_ALIGN);
    int fd = temporary_file(flags);
    struct io *io;

    if (fd < 0) {
        free(memory);
        SKIP("no O_DIRECT in /tmp");
    }
    io = open_io(DEPTH);
    for (unsigned round = 0; round < 16; round++) {
        for (unsigned i = 0, block; i < DEPTH; i++) {
            block = (round * DEPTH + i) * 37 % (16 * DEPTH);        /* every block once, in a scattered order */
            for (unsigned k = 0; k < IO_ALIGN; k++)
                memory[i * IO_ALIGN + k] = byte_at((uint64_t)block * IO_ALIGN + k);
            requests[i] = (struct io_request){ .op = IO_WRITE, .fd = fd, .memory = memory + i * IO_ALIGN,
                                               .offset = (uint64_t)block * IO_ALIGN, .bytes = IO_ALIGN };
            io_submit(io, &requests[i]);
        }
        for (unsigned finished = 0; finished < DEPTH; ) {
            unsigned count = io_reap(io, done, DEPTH, true);
            for (unsigned i = 0; i < count; i++, finished++)
                CHECK_EQUAL(done[i]->result, IO_ALIGN);
        }
    }
    io_close(io);
    for (unsigned block = 0; block < 16 * DEPTH; block++) {
        CHECK_EQUAL(os_pread_all(fd, memory, IO_ALIGN, (uint64_t)block * IO_ALIGN), 0);
        CHECK(known_bytes(memory, (uint64_t)block * IO_ALIGN, IO_ALIGN));
    }
    close(fd);
    free(memory);
}

static void test_io__writes_arrive_buffered(void)
{
    NEEDS_BACKEND();
    write_then_look(0);
}

static void test_io__writes_arrive_direct(void)
{
    NEEDS_BACKEND();
    write_then_look(O_DIRECT);
}

static void test_io__reading_past_the_end_gives_what_there_is(void)
{
    unsigned char *memory = aligned_alloc(IO_ALIGN, 4 * IO_ALIGN);
    int fd = known_file(0, IO_ALIGN + 100), direct = known_file(O_DIRECT, IO_ALIGN + 100);

    NEEDS_BACKEND();
    CHECK_EQUAL(run_one(IO_READ, fd, memory, 3 * IO_ALIGN, 0), IO_ALIGN + 100);
    CHECK(known_bytes(memory, 0, IO_ALIGN + 100));
    CHECK_EQUAL(run_one(IO_READ, fd, memory, 10, IO_ALIGN + 100), 0);
    CHECK_EQUAL(run_one(IO_READ, fd, memory, 10, 99 * IO_ALIGN), 0);
    CHECK_EQUAL(run_one(IO_READ, fd, memory, 0, 0), 0);
    if (direct >= 0) {
        CHECK_EQUAL(run_one(IO_READ, direct, memory, 3 * IO_ALIGN, 0), IO_ALIGN + 100);
        CHECK(known_bytes(memory, 0, IO_ALIGN + 100));
        CHECK_EQUAL(run_one(IO_READ, direct, memory, IO_ALIGN, 2 * IO_ALIGN), 0);
        close(direct);
    }
    close(fd);
    free(memory);
}

static void test_io__errors_are_results(void)
{
    char memory[16] = "";
    int directory = open("/tmp", O_RDONLY | O_DIRECTORY), read_only = open("/dev/null", O_RDONLY);

    NEEDS_BACKEND();
    CHECK_EQUAL(run_one(IO_READ, 1 << 20, memory, sizeof memory, 0), -EBADF);
    CHECK_EQUAL(run_one(IO_WRITE, read_only, memory, sizeof memory, 0), -EBADF);
    CHECK_EQUAL(run_one(IO_READ, directory, memory, sizeof memory, 0), -EISDIR);
    close(directory);
    close(read_only);
}

static void test_io__a_full_device_is_an_error(void)
{
    char memory[16] = "";
    int fd = open("/dev/full", O_WRONLY);

    NEEDS_BACKEND();
    CHECK_EQUAL(run_one(IO_WRITE, fd, memory, sizeof memory, 0), -ENOSPC);
    close(fd);
}

static void *wake_later(void *io)
{
    usleep(20 * 1000);
    io_wake(io);
    return NULL;
}

static void test_io__a_wake_ends_the_sleep(void)
{
    struct io_request *done;
    struct io *io;
    pthread_t waker;

    NEEDS_BACKEND();
    io = open_io(1);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQUAL(pthread_create(&waker, NULL, wake_later, io), 0);
        CHECK_EQUAL(io_reap(io, &done, 1, true), 0);
        pthread_join(waker, NULL);
    }
    io_close(io);
}

static void test_io__a_wake_before_the_sleep_is_kept(void)
{
    char memory[16];
    int fd = open("/dev/zero", O_RDONLY);
    struct io_request request = { .op = IO_READ, .fd = fd, .memory = memory, .bytes = sizeof memory }, *done;
    struct io *io;

    NEEDS_BACKEND();
    io = open_io(1);
    io_wake(io);
    CHECK_EQUAL(io_reap(io, &done, 1, false), 0);   /* does not sleep: the wake is not used up */
    CHECK_EQUAL(io_reap(io, &done, 1, true), 0);
    io_wake(io);
    io_submit(io, &request);
    usleep(20 * 1000);
    CHECK_EQUAL(io_reap(io, &done, 1, true), 1);    /* does not sleep either */
    CHECK_EQUAL(io_reap(io, &done, 1, true), 0);
    CHECK_EQUAL(io_reap(io, &done, 1, false), 0);
    io_close(io);
    close(fd);
}

struct storm { struct io *io; unsigned wakes; };

static void *wake_often(void *argument)
{
    struct storm *storm = argument;

    for (unsigned i = 0; i < storm->wakes; i++)
        io_wake(storm->io);
    return NULL;
}

static void test_io__wakes_do_not_disturb_requests(void)
{
    unsigned char memory[64];
    int fd = known_file(0, IO_ALIGN);
    struct storm storm = { .wakes = 2000 };
    struct io_request request, *done;
    pthread_t wakers[2];

    NEEDS_BACKEND();
    storm.io = open_io(1);
    for (unsigned i = 0; i < 2; i++)
        CHECK_EQUAL(pthread_create(&wakers[i], NULL, wake_often, &storm), 0);
    for (unsigned i = 0; i < 500; i++) {
        request = (struct io_request){ .op = IO_READ, .fd = fd, .memory = memory, .bytes = 64, .offset = i };
        io_submit(storm.io, &request);
        while (!io_reap(storm.io, &done, 1, true)) { }
        CHECK_EQUAL(request.result, 64);
        CHECK(known_bytes(memory, i, 64));
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(wakers[i], NULL);
    io_close(storm.io);
    close(fd);
}

/* Several askers, one sleeper: every question must be seen. */
struct questions {
    struct io *io;
    atomic_ulong asked, seen;
    atomic_bool over, lost;
};

enum { QUESTIONS = 60000, ASKERS = 3, PATIENCE_MS = 5000 };

static void *ask(void *argument)
{
    struct questions *q = argument;

    while (!atomic_load(&q->lost)) {
        unsigned long mine = atomic_fetch_add(&q->asked, 1) + 1, spins = 0;

        if (mine > QUESTIONS)
            break;
        io_wake(q->io);
        while (atomic_load(&q->seen) < mine && !atomic_load(&q->lost))
            if (++spins > 100000) {
                usleep(1000);
                if (spins > 100000 + PATIENCE_MS)
                    atomic_store(&q->lost, true);
            }
    }
    return NULL;
}

/* The sleeper's thread opens the io, as a ring wants it; askers start when it is there. */
static void *answer(void *argument)
{
    struct questions *q = argument;
    struct io_request *done;
    pthread_t askers[ASKERS];

    q->io = open_io(1);
    for (unsigned i = 0; i < ASKERS; i++)
        CHECK_EQUAL(pthread_create(&askers[i], NULL, ask, q), 0);
    while (atomic_load(&q->seen) < QUESTIONS && !atomic_load(&q->lost)) {
        io_reap(q->io, &done, 1, true);
        atomic_store(&q->seen, atomic_load(&q->asked));
    }
    for (unsigned i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    io_close(q->io);
    atomic_store(&q->over, true);
    return NULL;
}

static void test_io__no_wake_is_lost(void)
{
    static struct questions q;
    pthread_t thread;

    NEEDS_BACKEND();
    memset(&q, 0, sizeof q);
    CHECK_EQUAL(pthread_create(&thread, NULL, answer, &q), 0);
    for (unsigned ms = 0; !atomic_load(&q.over) && !atomic_load(&q.lost) && ms < 60000; ms++)
        usleep(1000);
    CHECK(!atomic_load(&q.lost) && atomic_load(&q.over));
    if (atomic_load(&q.over))
        pthread_join(thread, NULL);
}

static void test_io__faults_come_through_the_seam(void)
{
    unsigned char *memory = aligned_alloc(IO_ALIGN, 4 * IO_ALIGN);
    int fd = known_file(0, 4 * IO_ALIGN);

    static const struct { int how; int64_t read, write; } cases[] = {
        { EIO, -EIO, -EIO },
        { ENOSPC, -ENOSPC, -ENOSPC },
        { EINTR, 4 * IO_ALIGN, 4 * IO_ALIGN },
        { EAGAIN, 4 * IO_ALIGN, 4 * IO_ALIGN },
        { OS_FAULT_SHORT, 4 * IO_ALIGN, 4 * IO_ALIGN },
        { OS_FAULT_ZERO, 0, -ENOSPC },
    };
    NEEDS_BACKEND();
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct os_faults faults = { .kinds = OS_READ | OS_WRITE, .how = cases[i].how };
        uint64_t doubts;

        memset(memory, 0, 4 * IO_ALIGN);
        os_faults_set(&faults);
        CHECK_EQUAL(run_one(IO_READ, fd, memory, 4 * IO_ALIGN, 0), cases[i].read);
        CHECK_EQUAL(os_faults_hit(), 1);
        if (cases[i].read > 0)
            CHECK(known_bytes(memory, 0, 4 * IO_ALIGN));
        os_faults_set(NULL);
        CHECK_EQUAL(os_pread_all(fd, memory, 4 * IO_ALIGN, 0), 0);
        os_faults_set(&faults);
        doubts = os_doubts();
        CHECK_EQUAL(run_one(IO_WRITE, fd, memory, 4 * IO_ALIGN, 0), cases[i].write);
        CHECK_EQUAL(os_doubts() > doubts, cases[i].how == EIO);     /* what else may be lost then? */
        os_faults_set(NULL);
        CHECK_EQUAL(os_pread_all(fd, memory, 4 * IO_ALIGN, 0), 0);
        CHECK(known_bytes(memory, 0, 4 * IO_ALIGN));
    }
    close(fd);
    free(memory);
}

static void test_io__short_transfers_are_carried_on_to_the_end(void)
{
    struct os_faults faults = { .kinds = OS_READ | OS_WRITE, .forever = true, .how = OS_FAULT_SHORT };
    unsigned char *memory = aligned_alloc(IO_ALIGN, 16 * IO_ALIGN);
    int fd = known_file(O_DIRECT, 16 * IO_ALIGN), buffered = known_file(0, 16 * IO_ALIGN);

    NEEDS_BACKEND();
    os_faults_set(&faults);
    CHECK_EQUAL(run_one(IO_READ, buffered, memory, 16 * IO_ALIGN - 7, 3), 16 * IO_ALIGN - 7);
    CHECK(known_bytes(memory, 3, 16 * IO_ALIGN - 7));
    CHECK(os_faults_hit() > 4);
    if (fd >= 0) {
        CHECK_EQUAL(run_one(IO_READ, fd, memory, 16 * IO_ALIGN, 0), 16 * IO_ALIGN);
        CHECK(known_bytes(memory, 0, 16 * IO_ALIGN));
        CHECK_EQUAL(run_one(IO_WRITE, fd, memory, 16 * IO_ALIGN, 0), 16 * IO_ALIGN);
        close(fd);
    }
    os_faults_set(NULL);
    close(buffered);
    free(memory);
}

static void test_io__endless_EAGAIN_is_believed_in_the_end(void)
{
    struct os_faults faults = { .kinds = OS_READ, .forever = true, .how = EAGAIN };
    char memory[16];
    int fd = open("/dev/zero", O_RDONLY);

    NEEDS_BACKEND();
    os_faults_set(&faults);
    CHECK_EQUAL(run_one(IO_READ, fd, memory, sizeof memory, 0), -EAGAIN);
    os_faults_set(NULL);
    close(fd);
}

static void test_io__opening_and_closing_leaks_nothing(void)
{
    unsigned before = descriptors_open();

    NEEDS_BACKEND();
    for (unsigned i = 0; i < 1000; i++)
        io_close(open_io(DEPTH));
    CHECK_EQUAL(descriptors_open(), before);
    io_close(NULL);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* The memory table counts io_bytes for each worker; a bound that is too low is an overrun of the budget. */
static void test_io__costs_what_io_bytes_says(void)
{
    enum { IOS = 32 };
    struct io_request requests[IOS][DEPTH], *done[DEPTH];
    struct process_usage before, after;
    struct io *ios[IOS];
    char memory[64];
    int fd = open("/dev/zero", O_RDONLY);

    NEEDS_BACKEND();
    memset(requests, 1, sizeof requests);
    process_usage(&before);
    for (unsigned i = 0; i < IOS; i++) {
        ios[i] = open_io(DEPTH);
        for (unsigned k = 0; k < DEPTH; k++) {
            requests[i][k] = (struct io_request){ .op = IO_READ, .fd = fd, .memory = memory, .bytes = sizeof memory };
            io_submit(ios[i], &requests[i][k]);
        }
    }
    for (unsigned i = 0; i < IOS; i++)
        while (io_in_flight(ios[i]))
            io_reap(ios[i], done, DEPTH, true);
    process_usage(&after);
    for (unsigned i = 0; i < IOS; i++)
        io_close(ios[i]);
    CHECK(after.rss_bytes <= before.rss_bytes + IOS * io_bytes(backend, DEPTH) + 256 * KIB);
    close(fd);
}
#else
static void test_io__costs_what_io_bytes_says(void)
{
    SKIP("a sanitizer's own memory is in the way");
}
#endif

static void test_io__reap_gives_no_more_than_asked(void)
{
    char memory[DEPTH][16];
    int fd = open("/dev/zero", O_RDONLY);
    struct io_request requests[DEPTH], *done[DEPTH];
    unsigned finished = 0;
    struct io *io;

    NEEDS_BACKEND();
    io = open_io(DEPTH);
    for (unsigned i = 0; i < DEPTH; i++) {
        requests[i] = (struct io_request){ .op = IO_READ, .fd = fd, .memory = memory[i], .bytes = 16 };
        io_submit(io, &requests[i]);
    }
    while (finished < DEPTH) {
        unsigned count = io_reap(io, done, 3, true);
        CHECK(count <= 3);
        finished += count;
        CHECK_EQUAL(io_in_flight(io), DEPTH - finished);
    }
    io_close(io);
    close(fd);
}

static void run_set(enum io_backend b)
{
    backend = b;
    RUN(test_io__reads_what_is_there_buffered);
    RUN(test_io__reads_what_is_there_direct);
    RUN(test_io__writes_arrive_buffered);
    RUN(test_io__writes_arrive_direct);
    RUN(test_io__reading_past_the_end_gives_what_there_is);
    RUN(test_io__errors_are_results);
    RUN(test_io__a_full_device_is_an_error);
    RUN(test_io__a_wake_ends_the_sleep);
    RUN(test_io__a_wake_before_the_sleep_is_kept);
    RUN(test_io__wakes_do_not_disturb_requests);
    RUN(test_io__no_wake_is_lost);
    RUN(test_io__faults_come_through_the_seam);
    RUN(test_io__short_transfers_are_carried_on_to_the_end);
    RUN(test_io__endless_EAGAIN_is_believed_in_the_end);
    RUN(test_io__opening_and_closing_leaks_nothing);
    RUN(test_io__reap_gives_no_more_than_asked);
    RUN(test_io__costs_what_io_bytes_says);
}

int main(void)
{
    io_bench_begin();
    run_set(IO_URING);
    run_set(IO_THREADS);
    return test_summary();
}
