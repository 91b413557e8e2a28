/* io.c - the choice of a back end, and what both have in common. See io.h. */
#include "engine/io/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/base/text.h"
#include "engine/io/backend.h"
#include "engine/io/os.h"

/* EINTR and EAGAIN in a row without a byte moved, before the error is believed. */
enum { RETRIES_MAX = 1000 };

static const struct io_type *type_of(enum io_backend backend)
{
    assert(backend == IO_URING || backend == IO_THREADS);
    return backend == IO_URING ? &io_uring_type : &io_threads_type;
}

const char *io_backend_name(enum io_backend backend)
{
    switch (backend) {
    case IO_AUTO:    return "auto";
    case IO_URING:   return "uring";
    case IO_THREADS: return "threads";
    }
    return "?";
}

/* ---- requests ---- */

uint32_t io_request_next_bytes(const struct io_request *request)
{
    return (uint32_t)size_min(request->bytes - request->done_bytes, request->is_cached ? IO_CACHED_STEP_BYTES : GIB);
}

static bool finish(struct io_request *request, int64_t result)
{
    if (request->op == IO_WRITE)
        os_write_ended(result);
    request->result = result;
    return true;
}

/* What was last written is on its way no more: it need not stay in the cache. */
static bool advance_written_out(struct io_request *request, int64_t result)
{
    uint64_t bytes = request->dirty_bytes;

    if (os_cannot_write_out(result))
        result = os_fdatasync(request->fd);
    if (os_sync_ended(result) < 0)
        return finish(request, result);
    request->dirty_bytes = 0;
    os_drop_cached(request->fd, request->offset + request->done_bytes - bytes, bytes);
    return request->done_bytes == request->bytes && finish(request, (int64_t)request->done_bytes);
}

bool io_request_advance(struct io_request *request, int64_t result)
{
    if ((result == -EINTR || result == -EAGAIN) && request->retries++ < RETRIES_MAX)
        return false;
    if (io_request_writes_out(request))
        return advance_written_out(request, result);
    if (result < 0)
        return finish(request, result);
    request->retries = 0;
    if (request->is_cached && request->op == IO_READ)
        os_drop_cached(request->fd, request->offset + request->done_bytes, (uint64_t)result);
    request->done_bytes += (uint64_t)result;
    if (request->is_cached && request->op == IO_WRITE && result > 0 && request->done_bytes < request->bytes) {
        request->dirty_bytes = (uint32_t)result;
        return false;
    }
    if (request->done_bytes == request->bytes)
        return finish(request, (int64_t)request->done_bytes);
    if (result == 0)
        return finish(request, request->op == IO_READ ? (int64_t)request->done_bytes : -ENOSPC);
    /* A direct read is cut inside a block by the end of the file alone, and its rest would not be aligned. */
    if (request->op == IO_READ && (request->offset + request->done_bytes) % IO_ALIGN && os_is_direct(request->fd))
        return finish(request, (int64_t)request->done_bytes);
    return false;
}

/* ---- what is left behind in the page cache ---- */

/* Of all ios. */
static atomic_uint_fast64_t behind_bytes;
static atomic_uint behind_descriptors;

static void wait_for(struct io *io, int fd, uint64_t offset, uint64_t bytes)
{
    int result = os_write_out(fd, offset, bytes);

    if (result < 0 && io->behind_error == 0)
        io->behind_error = result;
    os_drop_cached(fd, offset, bytes);
}

static void wait_for_oldest(struct io *io)
{
    struct behind *oldest = &io->behind[io->behind_first];

    io->behind_first = (io->behind_first + 1) % BEHIND_MAX;
    io->behind_count--;
    wait_for(io, oldest->fd, oldest->offset, oldest->bytes);
    os_close(oldest->fd);
    atomic_fetch_sub(&behind_bytes, oldest->bytes);
    atomic_fetch_sub(&behind_descriptors, 1);
}

/* A request was written, and its caller may close the file. */
static void leave_behind(struct io *io, struct io_request *request)
{
    uint64_t bytes = size_min(request->bytes, IO_CACHED_STEP_BYTES), offset = request->offset + request->bytes - bytes;
    int fd = os_dup(request->fd);

    if (fd < 0) {
        wait_for(io, request->fd, offset, bytes);
    } else {
        os_begin_write_out(fd, offset, bytes);
        if (io->behind_count == BEHIND_MAX)
            wait_for_oldest(io);
        io->behind[(io->behind_first + io->behind_count++) % BEHIND_MAX] = (struct behind){ fd, offset, bytes };
        atomic_fetch_add(&behind_bytes, bytes);
        atomic_fetch_add(&behind_descriptors, 1);
    }
    while (io->behind_count > 0 && (atomic_load(&behind_bytes) > IO_BEHIND_BYTES ||
                                    atomic_load(&behind_descriptors) > BEHIND_DESCRIPTORS_MAX))
        wait_for_oldest(io);
    if (io->behind_error) {
        request->result = io->behind_error;
        io->behind_error = 0;
    }
}

/* ---- the contract of io.h ---- */

bool io_open(struct io **io, enum io_backend backend, unsigned depth_max, struct error *err)
{
    const struct io_type *type = type_of(backend);
    int result = type->open(io, depth_max);

    if (result < 0) {
        *io = NULL;
        error_sys(err, -result, SPAN_NONE, "cannot set up I/O (%s, %u requests at once)",
                  io_backend_name(backend), depth_max);
        if (backend == IO_URING && result == -ENOMEM)
            error_help(err, "raise the limit of locked memory (ulimit -l), or use fewer threads");
        return false;
    }
    (*io)->type = type;
    (*io)->depth_max = depth_max;
    (*io)->in_flight = 0;
    (*io)->behind_first = (*io)->behind_count = 0;
    (*io)->behind_error = 0;
    return true;
}

int io_close(struct io *io)
{
    int result;

    if (!io)
        return 0;
    assert(io->in_flight == 0);
    while (io->behind_count > 0)
        wait_for_oldest(io);
    result = io->behind_error;
    io->type->close(io);
    return result;
}

void io_submit(struct io *io, struct io_request *request)
{
    assert(io->in_flight < io->depth_max);
    io->in_flight++;
    request->result = 0;
    request->done_bytes = 0;
    request->retries = 0;
    request->dirty_bytes = 0;
    request->is_cached = os_is_without_direct() && !os_is_direct(request->fd);
    request->next = NULL;
    io->type->submit(io, request);
}

unsigned io_reap(struct io *io, struct io_request **done, unsigned max, bool wait)
{
    unsigned count = io->type->reap(io, done, max, wait);

    assert(count <= io->in_flight);
    io->in_flight -= count;
    for (unsigned i = 0; i < count; i++)
        if (done[i]->is_cached && done[i]->op == IO_WRITE && done[i]->result > 0)
            leave_behind(io, done[i]);
    return count;
}

unsigned io_in_flight(const struct io *io)
{
    return io->in_flight;
}

void io_wake(struct io *io)
{
    io->type->wake(io);
}

uint64_t io_bytes(enum io_backend backend, unsigned depth_max)
{
    return type_of(backend)->bytes(depth_max);
}

/* ---- the choice ---- */

/* -1: there is no such setting, so the kernel is older than it or has no io_uring. */
static int uring_disabled_setting(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    int value = -1;

    if (!file)
        return -1;
    if (fscanf(file, "%d", &value) != 1)
        value = -1;
    fclose(file);
    return value;
}

struct refusal {
    enum error_code code;       /* where there is no other choice */
    char why[sizeof ((struct io_choice *)0)->why];
    const char *help;
};

static void explain_refusal(struct refusal *r, int sys_errno)
{
    int disabled = sys_errno == EPERM ? uring_disabled_setting() : 0;
    struct rlimit locked = { 0 };

    r->code = ERR_USAGE;
    if (sys_errno == EPERM && disabled > 0) {
        snprintf(r->why, sizeof r->why, "io_uring is switched off on this machine (kernel.io_uring_disabled is %d)",
                 disabled);
        r->help = "ask for 'sysctl kernel.io_uring_disabled=0', or leave the choice to sluice: threads do the same";
    } else if (sys_errno == EPERM) {
        snprintf(r->why, sizeof r->why, "io_uring is refused here, most likely by the container's seccomp profile");
        r->help = "allow io_uring_setup, io_uring_enter and io_uring_register in the profile (Docker: "
                  "--security-opt seccomp=...), or leave the choice to sluice: threads do the same";
    } else if (sys_errno == ENOSYS) {
        snprintf(r->why, sizeof r->why, "this kernel has no io_uring, or a sandbox hides it");
        r->help = "leave the choice to sluice: threads do the same";
    } else if (sys_errno == ENOMEM) {
        r->code = ERR_FIT;
        getrlimit(RLIMIT_MEMLOCK, &locked);
        snprintf(r->why, sizeof r->why, "io_uring may not lock the memory it needs (ulimit -l is %s)",
                 locked.rlim_cur == RLIM_INFINITY ? "unlimited" : SIZE_TEXT(locked.rlim_cur));
        r->help = "raise 'ulimit -l' (systemd: LimitMEMLOCK=), or leave the choice to sluice: threads do the same";
    } else {
        r->code = sys_errno == EINVAL ? ERR_USAGE : sys_errno == ENOSPC ? ERR_FIT : ERR_IO;
        snprintf(r->why, sizeof r->why, "io_uring does not work here: %s", strerror(sys_errno));
        r->help = "leave the choice to sluice: threads do the same";
    }
}

/* Reads `bytes` of a file that holds them through a ring. 0 or -errno. */
static int read_through_ring(int fd, void *to, uint64_t bytes)
{
    struct io_request request = { .op = IO_READ, .fd = fd, .memory = to, .bytes = bytes }, *done;
    struct error err = { 0 };
    struct io *io;

    if (!io_open(&io, IO_URING, 1, &err))
        return -err.sys_errno;
    io_submit(io, &request);
    while (!io_reap(io, &done, 1, true)) { }
    io_close(io);
    if (request.result < 0)
        return (int)request.result;
    return (uint64_t)request.result == bytes ? 0 : -EIO;
}

/* Setting up a ring can succeed where using it does not (old kernels, filters): so use it. 0 or -errno. */
static int try_uring(void)
{
    static const char written[] = "sluice";
    char got[sizeof written] = "";
    int fd = memfd_create("sluice-probe", MFD_CLOEXEC), result;

    if (fd < 0)
        return -errno;
    result = pwrite(fd, written, sizeof written, 0) == sizeof written ? 0 : -EIO;
    if (result == 0)
        result = read_through_ring(fd, got, sizeof got);
    if (result == 0 && memcmp(got, written, sizeof got))
        result = -EIO;
    os_close(fd);
    return result;
}

bool io_choose(struct io_choice *choice, enum io_backend wanted, struct error *err)
{
    struct refusal refusal;
    int result;

    *choice = (struct io_choice){ .backend = IO_THREADS };
    if (wanted == IO_THREADS)
        return true;
    result = try_uring();
    if (result == 0) {
        choice->backend = IO_URING;
        return true;
    }
    explain_refusal(&refusal, -result);
    if (wanted == IO_URING) {
        error_at(err, refusal.code, SPAN_NONE, "%s", refusal.why);
        error_help(err, "%s", refusal.help);
        return false;
    }
    memcpy(choice->why, refusal.why, sizeof choice->why);
    return true;
}
