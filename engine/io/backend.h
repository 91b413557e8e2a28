/* backend.h - what an I/O back end is, for io.c and the two of them. Nobody else includes it.
 *
 * io.c counts what is in flight, looks after what is left behind, and asserts the contract of io.h; a back end only moves
 * requests. Its struct begins with `struct io`.
 */
#ifndef SLUICE_IO_BACKEND_H
#define SLUICE_IO_BACKEND_H

#include "engine/io/io.h"

/* Helpers that carry out blocking calls for one io: threads of ours, or of the kernel's io-wq. */
enum { IO_HELPERS_MAX = 4 };

struct io_type {
    /* 0 or -errno. Called on the worker's own thread, like all but wake. `io` gets its type from io.c. */
    int (*open)(struct io **io, unsigned depth_max);
    /* Nothing is in flight. */
    void (*close)(struct io *io);
    void (*submit)(struct io *io, struct io_request *request);
    unsigned (*reap)(struct io *io, struct io_request **done, unsigned max, bool wait);
    /* Any thread, at any time between open and close. */
    void (*wake)(struct io *io);
    uint64_t (*bytes)(unsigned depth_max);
};

/* What was written through the page cache and is still being written out. */
struct behind {
    int fd;                             /* of its own */
    uint64_t offset, bytes;
};
enum { BEHIND_MAX = 16, BEHIND_DESCRIPTORS_MAX = 64 };      /* of one io; of all */

struct io {
    const struct io_type *type;
    unsigned depth_max;
    unsigned in_flight;
    struct behind behind[BEHIND_MAX];   /* a ring: `behind_count` of them from `behind_first` on */
    unsigned behind_first, behind_count;
    int behind_error;                   /* -errno that is still to be told */
};

extern const struct io_type io_uring_type, io_threads_type;

/* One call for `request` came back with `result` (bytes or -errno). True: the request is finished and its result
 * set. False: the rest, from done_bytes on, is to be asked for again. */
bool io_request_advance(struct io_request *request, int64_t result);

/* Is the next call one that writes out r->dirty_bytes before done_bytes, not one that reads or writes? */
static inline bool io_request_writes_out(const struct io_request *r) { return r->dirty_bytes > 0; }

/* The next call's share of the request: kernels take less than 2 GiB at once. */
uint32_t io_request_next_bytes(const struct io_request *request);

#endif
