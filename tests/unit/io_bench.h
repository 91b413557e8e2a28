/* io_bench.h - what the tests of io.h share: the back end they run on now, and files to run on. */
#ifndef TESTS_IO_BENCH_H
#define TESTS_IO_BENCH_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/io/io.h"
#include "tests/unit/test.h"

static enum io_backend backend;         /* what the set runs on now */
static bool uring_works;

#define NEEDS_BACKEND() do { if (backend == IO_URING && !uring_works) SKIP("io_uring is refused here"); } while (0)

static inline int temporary_file(int flags)
{
    char path[] = "/tmp/sluice-test-io-XXXXXX";
    int fd = mkstemp(path);

    if (fd >= 0 && flags) {
        int again = open(path, O_RDWR | flags);
        close(fd);
        fd = again;
    }
    unlink(path);
    return fd;
}

static inline struct io *open_io(unsigned depth)
{
    struct error err = { 0 };
    struct io *io = NULL;

    CHECK(io_open(&io, backend, depth, &err));
    return io;
}

/* Which back ends there are. */
static inline void io_bench_begin(void)
{
    struct error err = { 0 };
    struct io_choice choice;

    setvbuf(stdout, NULL, _IOLBF, 0);
    uring_works = io_choose(&choice, IO_AUTO, &err) && choice.backend == IO_URING;
}

#endif
