/* io_uring.c - requests in flight on a ring of the worker's own. See io.h for the contract.
 *
 * 1. Every request in flight has exactly one SQE: in the submission queue or with the kernel. The queue has room for
 *    depth_max of them and the wake poll, so it is never full; the completion queue is twice as long, so it never
 *    overflows.
 * 2. A poll on the eventfd is always armed; its SQE carries no request. It needs no memory of ours, so closing the
 *    ring under it is safe.
 * 3. What the kernel does not take now (EAGAIN, EBUSY, ENOMEM) stays in the submission queue until the next reap. When
 *    it has taken nothing for PATIENCE_SECONDS, what is queued fails with what it says.
 *
 * Only wake() runs on other threads: it touches `wake_fd` and `wake_told`.
 */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/backend.h"
#include "engine/io/os.h"

enum {
    REAP_BATCH = 32,
    SETUP_TRIES = 20,           /* a closed ring gives its locked memory back a little later */
    SETUP_NAP_US = 5000,
    SUBMIT_NAP_US = 1000,
    PATIENCE_SECONDS = 2,
};

struct uring {
    struct io io;
    struct io_uring ring;
    int wake_fd;
    atomic_bool wake_told;      /* the eventfd is written: once is enough */
    bool woken;                 /* and the worker has not slept since */
    double refused_since;       /* the kernel takes nothing; 0: it does */
    struct io_request *refused; /* failed so (3), not yet reaped */
};

static int setup_ring(struct io_uring *ring, unsigned entries)
{
    int result = -os_fault(OS_RING);

    for (int i = 0; result == 0 && i < SETUP_TRIES; i++) {
        result = io_uring_queue_init(entries, ring, IORING_SETUP_SINGLE_ISSUER);
        if (result == -EINVAL)          /* before 6.0 */
            result = io_uring_queue_init(entries, ring, 0);
        if (result != -ENOMEM)
            return result;
        if (i + 1 < SETUP_TRIES) {
            usleep(SETUP_NAP_US);
            result = 0;
        }
    }
    return result;
}

/* A profile may allow io_uring_setup and refuse io_uring_enter: found out here, where there is still another way. */
static int check_enter(struct io_uring *ring)
{
    int result = (int)syscall(__NR_io_uring_enter, ring->ring_fd, 0, 0, 0, NULL, 0) < 0 ? -errno : 0;

    if (result < 0)
        io_uring_queue_exit(ring);
    return result;
}

/* (1): never NULL. */
static struct io_uring_sqe *take_sqe(struct uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    assert(sqe);
    return sqe;
}

static void queue_wake_poll(struct uring *u)
{
    struct io_uring_sqe *sqe = take_sqe(u);

    io_uring_prep_poll_add(sqe, u->wake_fd, POLLIN);
    io_uring_sqe_set_data(sqe, NULL);
}

static void queue_request(struct uring *u, struct io_request *r)
{
    struct io_uring_sqe *sqe = take_sqe(u);
    char *memory = (char *)r->memory + r->done_bytes;
    uint64_t offset = r->offset + r->done_bytes;

    if (io_request_writes_out(r))
        io_uring_prep_sync_file_range(sqe, r->fd, r->dirty_bytes, offset - r->dirty_bytes, OS_WRITE_OUT_FLAGS);
    else if (r->op == IO_READ)
        io_uring_prep_read(sqe, r->fd, memory, io_request_next_bytes(r), offset);
    else
        io_uring_prep_write(sqe, r->fd, memory, io_request_next_bytes(r), offset);
    io_uring_sqe_set_data(sqe, r);
}

/* The kernel has not looked at what is queued, and does so on our calls alone: it can be taken out again. */
static void withdraw(struct uring *u, int error)
{
    struct io_uring_sq *sq = &u->ring.sq;
    unsigned head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
    bool poll_queued = false;

    for (unsigned i = head; i != sq->sqe_tail; i++) {
        struct io_request *r = (struct io_request *)(uintptr_t)sq->sqes[i & *sq->kring_mask].user_data;

        if (!r) {
            poll_queued = true;
            continue;
        }
        r->result = error;
        r->next = u->refused;
        u->refused = r;
    }
    sq->sqe_head = sq->sqe_tail = head;
    __atomic_store_n(sq->ktail, head, __ATOMIC_RELEASE);
    if (poll_queued)
        queue_wake_poll(u);
}

static void note_refusal(struct uring *u, int error)
{
    double now = os_now();

    if (u->refused_since == 0)
        u->refused_since = now;
    else if (now - u->refused_since > PATIENCE_SECONDS)
        withdraw(u, error);
}

/* Hand over what is queued, and wait for a completion if `wait_count` is 1. False: the kernel took nothing and did
 * not wait. */
static bool enter(struct uring *u, unsigned wait_count)
{
    int result = -os_fault(OS_ENTER);

    if (result == 0)
        result = wait_count ? io_uring_submit_and_wait(&u->ring, wait_count) : io_uring_submit(&u->ring);
    if (result >= 0) {
        u->refused_since = 0;
        return true;
    }
    if (result == -EAGAIN || result == -EBUSY || result == -ENOMEM)
        note_refusal(u, result);
    if (result == -EINTR || result == -EAGAIN || result == -EBUSY || result == -ENOMEM)
        return false;
    /* Anything else is our misuse of the ring; the kernel still holds buffers, so there is no way on. */
    fprintf(stderr, "sluice: internal error: io_uring_enter: %s\n", strerror(-result));
    abort();
}

static void uring_submit(struct io *io, struct io_request *request)
{
    struct uring *u = (struct uring *)io;

    queue_request(u, request);
    enter(u, 0);
}

/* What the seam makes of a completed call. */
static int64_t result_after_fault(const struct io_request *r, int64_t result)
{
    int how = os_fault(io_request_writes_out(r) ? OS_SYNC : r->op == IO_READ ? OS_READ : OS_WRITE);

    if (how > 0)
        return -how;
    if (io_request_writes_out(r))
        return result;
    if (how == OS_FAULT_ZERO && result > 0)
        return 0;
    if (how == OS_FAULT_SHORT && result > 0)
        return (int64_t)size_min((uint64_t)result, os_fault_short(io_request_next_bytes(r)));
    return result;
}

/* The eventfd is emptied before `wake_told` is cleared. A waker in between finds it set and writes nothing, which is
 * right: this reap is on its way back to the worker already. The other way round its write would be drained here and
 * leave `wake_told` set over an empty eventfd, and every later wake would be lost. */
static void take_wake(struct uring *u)
{
    eventfd_t count;

    eventfd_read(u->wake_fd, &count);
    atomic_store(&u->wake_told, false);
    u->woken = true;
}

/* Finished requests, at most `max`, from the completion queue; makes no system call (but of what
 * goes through the page cache). */
static unsigned collect(struct uring *u, struct io_request **done, unsigned max)
{
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned count = 0, ready;

    for (; u->refused && count < max; u->refused = u->refused->next)
        done[count++] = u->refused;
    while (count < max) {
        ready = io_uring_peek_batch_cqe(&u->ring, cqes, (unsigned)size_min(max - count, REAP_BATCH));
        if (!ready)
            break;
        for (unsigned i = 0; i < ready; i++) {
            struct io_request *r = io_uring_cqe_get_data(cqes[i]);

            if (!r) {
                take_wake(u);
                queue_wake_poll(u);
            } else if (io_request_advance(r, result_after_fault(r, cqes[i]->res))) {
                done[count++] = r;
            } else {
                queue_request(u, r);
            }
        }
        io_uring_cq_advance(&u->ring, ready);
    }
    return count;
}

static unsigned uring_reap(struct io *io, struct io_request **done, unsigned max, bool wait)
{
    struct uring *u = (struct uring *)io;
    unsigned count;

    for (;;) {
        count = collect(u, done, max);
        if (count || !wait || u->woken)
            break;
        if (enter(u, 1))
            continue;
        usleep(SUBMIT_NAP_US);
        if (atomic_load(&u->wake_told))     /* the poll that would tell us may be among what is not taken */
            take_wake(u);
    }
    if (!count && wait)
        u->woken = false;
    if (io_uring_sq_ready(&u->ring))
        enter(u, 0);
    return count;
}

static void uring_wake(struct io *io)
{
    struct uring *u = (struct uring *)io;

    if (!atomic_exchange(&u->wake_told, true))
        eventfd_write(u->wake_fd, 1);
}

static void uring_close(struct io *io)
{
    struct uring *u = (struct uring *)io;

    io_uring_queue_exit(&u->ring);
    os_close(u->wake_fd);
    free(u);
}

static int uring_open(struct io **io, unsigned depth_max)
{
    unsigned helpers[2] = { IO_HELPERS_MAX, IO_HELPERS_MAX };
    struct uring *u = calloc(1, sizeof *u);
    int result;

    if (!u)
        return -ENOMEM;
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0) {
        result = -errno;
        free(u);
        return result;
    }
    result = setup_ring(&u->ring, depth_max + 1);
    if (result == 0)
        result = check_enter(&u->ring);
    if (result < 0) {
        os_close(u->wake_fd);
        free(u);
        return result;
    }
    /* Before 5.15 there is no such limit to set: then the kernel's own holds. */
    io_uring_register_iowq_max_workers(&u->ring, helpers);
    queue_wake_poll(u);
    *io = &u->io;
    return 0;
}

static uint64_t uring_bytes(unsigned depth_max)
{
    uint64_t entries = 1;

    while (entries < depth_max + 1)
        entries *= 2;
    /* SQEs on pages of their own; queue heads, SQ array and twice as many CQEs on the others */
    return size_align_up(entries * sizeof(struct io_uring_sqe), IO_ALIGN) +
           size_align_up(512 + entries * sizeof(uint32_t) + 2 * entries * sizeof(struct io_uring_cqe), IO_ALIGN) +
           IO_ALIGN;    /* the struct */
}

const struct io_type io_uring_type = {
    .open = uring_open,
    .close = uring_close,
    .submit = uring_submit,
    .reap = uring_reap,
    .wake = uring_wake,
    .bytes = uring_bytes,
};
