/* gzip and zlib, as they come: zlib's own deflate, because libdeflate takes chunks whole only. Levels are the same
 * numbers. zlib's memory is cut from the caller's. */
#include <stdlib.h>
#include <zlib.h>

#include "engine/codec/codec_impl.h"

/* What deflateInit asks for: window, hash chains and pending codes are 256 KiB, its state 6 KiB; zlib-ng's state is
 * larger. */
#define WORK_BYTES (384 * KIB)
#define STEP_BYTES (128 * KIB)
/* Beyond a step's own length: a block that was begun before, and what it takes to say that bytes are stored. */
#define ROOM_BYTES (STEP_BYTES + 192 * KIB)

enum { GZIP_WINDOW_BITS = MAX_WBITS + 16, MEMORY_LEVEL = 8 };

struct deflate_append {
    z_stream zlib;
    bool is_open;
    char *work;
    uint64_t work_taken_bytes;
};

static voidpf take(voidpf state, uInt count, uInt bytes)
{
    struct deflate_append *d = state;
    uint64_t wanted = buffer_bytes(size_mul_sat(count, bytes));
    char *at = d->work + d->work_taken_bytes;

    if (wanted > WORK_BYTES - d->work_taken_bytes)
        return Z_NULL;
    d->work_taken_bytes += wanted;
    return at;
}

static void give_back(voidpf state, voidpf memory)
{
    (void)state;
    (void)memory;
}

static uint64_t step_bytes(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    return size_min(STEP_BYTES, raw_bytes);
}

static uint64_t room_bytes(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    (void)raw_bytes;
    return ROOM_BYTES;
}

static uint64_t work_bytes(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    (void)raw_bytes;
    return WORK_BYTES;
}

static bool open_stream(void **state, const struct codec *c, uint64_t raw_bytes, char *work, struct error *err)
{
    struct deflate_append *d = calloc(1, sizeof *d);

    (void)raw_bytes;
    if (!d)
        return error_at(err, ERR_FIT, SPAN_NONE, "deflate: no memory for an encoder");
    *state = d;
    d->work = work;
    d->zlib.zalloc = take;
    d->zlib.zfree = give_back;
    d->zlib.opaque = d;
    d->is_open = deflateInit2(&d->zlib, deflate_codec_level(c), Z_DEFLATED,
                              c->kind == CODEC_GZIP ? GZIP_WINDOW_BITS : MAX_WBITS, MEMORY_LEVEL,
                              Z_DEFAULT_STRATEGY) == Z_OK;
    return d->is_open || error_at(err, ERR_FIT, SPAN_NONE, "deflate: no memory for an encoder of level %d",
                                  deflate_codec_level(c));
}

static void close_stream(void *state)
{
    struct deflate_append *d = state;

    if (d && d->is_open)
        deflateEnd(&d->zlib);
    free(d);
}

static bool begin(void *state, char *head, struct error *err)
{
    struct deflate_append *d = state;

    (void)head;
    return deflateReset(&d->zlib) == Z_OK || error_at(err, ERR_FIT, SPAN_NONE, "deflate: cannot begin a stream");
}

static bool step(void *state, const char *from, uint64_t from_bytes, bool last, char *to, uint64_t *to_bytes,
                 struct error *err)
{
    struct deflate_append *d = state;
    int got;

    d->zlib.next_in = (Bytef *)(uintptr_t)from;
    d->zlib.avail_in = (uInt)from_bytes;
    d->zlib.next_out = (Bytef *)to;
    d->zlib.avail_out = ROOM_BYTES;
    got = deflate(&d->zlib, last ? Z_FINISH : Z_NO_FLUSH);
    if (got != (last ? Z_STREAM_END : Z_OK) || d->zlib.avail_in > 0 || (!last && d->zlib.avail_out == 0))
        return error_at(err, ERR_FIT, SPAN_NONE, "deflate: could not encode %llu bytes (zlib says %d)",
                        (unsigned long long)from_bytes, got);
    *to_bytes = ROOM_BYTES - d->zlib.avail_out;
    return true;
}

#define DEFLATE_APPENDING { \
    .step_bytes = step_bytes, .room_bytes = room_bytes, .work_bytes = work_bytes, \
    .open = open_stream, .close = close_stream, .begin = begin, .step = step, \
}

const struct appending gzip_appending = DEFLATE_APPENDING, zlib_appending = DEFLATE_APPENDING;
