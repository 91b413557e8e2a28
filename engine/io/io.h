/* io.h - reads and writes in flight, for one worker.
 *
 * Two back ends with one contract, chosen at run time: io_uring (one ring for each worker, never shared) and a few
 * helper threads with pread and pwrite, for the many places where io_uring is refused (Docker's and Kubernetes'
 * default seccomp profile, RHEL, gVisor). io_choose() says which one it is and, where it was not the first
 * choice, why.
 *
 * A request is a struct inside whatever waits for it; the io holds a pointer to it from io_submit until io_reap
 * hands it back. Interrupted calls are retried and short ones carried on inside: `result` is all the bytes asked
 * for, fewer only at the end of the file (reads), or -errno. A write that ends short with no error is -ENOSPC.
 * Every request counts as one or more calls of kind OS_READ or OS_WRITE for the seam of os.h.
 *
 * Where there is no direct I/O (os_is_without_direct) what was read or written is kept from staying in the page cache,
 * which a memory cgroup counts, and of which the kernel makes us wait when too much is dirty. What was read is dropped at
 * once. What was written is written out from then on, and waited for and dropped when IO_BEHIND_BYTES of all ios were
 * written since; a long request is cut into steps, and only its last one is left behind. So no more is cached than what
 * is in flight and that. Writing out counts as calls of kind OS_SYNC. If it fails, the next request says so, or io_close.
 *
 * Completions are collected first and acted on by the caller, never inside a callback.
 *
 * The io_uring ring has no DEFER_TASKRUN: with it nothing completes while a worker computes, and our codec calls
 * take milliseconds; without it completions arrive by themselves and io_reap without waiting makes no system call.
 *
 * Threads: an io belongs to the worker that opened it; only io_wake may be called by others.
 */
#ifndef SLUICE_IO_IO_H
#define SLUICE_IO_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/size.h"

enum io_op { IO_READ, IO_WRITE };
#define IO_CACHED_STEP_BYTES (8 * MIB)
#define IO_BEHIND_BYTES (32 * MIB)

struct io_request {
    enum io_op op;
    int fd;
    void *memory;
    uint64_t offset;
    uint64_t bytes;
    int64_t result;             /* set when reaped: bytes, or -errno */
    /* the back end's own */
    uint64_t done_bytes;
    unsigned retries;
    bool is_cached;             /* goes through the page cache for want of something better */
    uint32_t dirty_bytes;       /* up to done_bytes, being written out: that is the next call */
    struct io_request *next;
};

enum io_backend { IO_AUTO, IO_URING, IO_THREADS };

struct io_choice {
    enum io_backend backend;    /* never IO_AUTO */
    char why[200];              /* "" if it is the first choice, else the reason, for the report */
};

/* Find out what this process may use: sets up a real ring and runs a read through it. IO_URING that is not to be
 * had is an error (with what to do about it); IO_AUTO falls back. */
bool io_choose(struct io_choice *choice, enum io_backend wanted, struct error *err);
const char *io_backend_name(enum io_backend backend);  /* "uring", "threads" */

struct io;

/* For at most `depth_max` requests at once. */
bool io_open(struct io **io, enum io_backend backend, unsigned depth_max, struct error *err);
/* No request may be in flight. NULL is fine. 0, or the -errno of what was left behind. */
int io_close(struct io *io);

/* Start a request. Never waits; more than depth_max in flight is a bug. The request is handed to the kernel at
 * once; should the kernel be out of memory for it, by the next io_reap of this worker. */
void io_submit(struct io *io, struct io_request *request);

/* Collect finished requests, at most `max`. With `wait`, sleeps until there is at least one or somebody calls
 * io_wake (then it may return 0). Returns how many. */
unsigned io_reap(struct io *io, struct io_request **done, unsigned max, bool wait);
unsigned io_in_flight(const struct io *io);

/* Make a worker that sleeps in io_reap return, now or the next time it would sleep. Any thread. */
void io_wake(struct io *io);

/* What each open io costs beside its requests, for the memory table: ring pages, what helper threads touch. */
uint64_t io_bytes(enum io_backend backend, unsigned depth_max);

#endif
