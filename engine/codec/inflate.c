/* gzip and zlib by steps: zlib's inflate, in memory it is given. Half as fast as libdeflate (deflate.c), which wants
 * the whole chunk. What stands around the compressed data is taken as there. */
#include <limits.h>
#include <zlib.h>

#include "engine/codec/codec_impl.h"
#include "engine/codec/inflate.h"

/* zlib 1.2 and 1.3 take 7 KiB and a window of 32 KiB; zlib-ng 40 KiB. */
#define LIBRARY_BYTES (64 * KIB)

enum { ZLIB_HEAD = MAX_WBITS, GZIP_HEAD = MAX_WBITS + 16 };

struct inflate_stream {
    z_stream z;
    const char *name;
    bool is_gzip;
    bool ended;                 /* a member is complete */
    bool padded;                /* nothing but zeros may follow */
    char *free;                 /* memory that zlib has not taken yet */
    uint64_t free_bytes;
};

/* zlib takes twice in a stream's life, and nothing needs to come back. */
static void *take(void *opaque, unsigned count, unsigned each)
{
    struct inflate_stream *s = opaque;
    uint64_t bytes = buffer_bytes((uint64_t)count * each);
    char *taken = s->free;

    if (bytes > s->free_bytes)
        return NULL;
    s->free += bytes;
    s->free_bytes -= bytes;
    return taken;
}

static void give_back(void *opaque, void *memory)
{
    (void)opaque;
    (void)memory;
}

uint64_t inflate_stream_bytes(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample)
{
    (void)c;
    (void)raw_bytes;
    (void)sample;
    return buffer_bytes(sizeof(struct inflate_stream)) + LIBRARY_BYTES;
}

static bool open_stream(void **state, char *memory, uint64_t memory_bytes, bool is_gzip, struct error *err)
{
    struct inflate_stream *s = (struct inflate_stream *)memory;
    uint64_t own_bytes = buffer_bytes(sizeof *s);

    if (memory_bytes < own_bytes + LIBRARY_BYTES)
        return error_at(err, ERR_FIT, SPAN_NONE, "deflate: decoding a stream takes %llu bytes, %llu are given",
                        (unsigned long long)(own_bytes + LIBRARY_BYTES), (unsigned long long)memory_bytes);
    *s = (struct inflate_stream){
        .z = { .zalloc = take, .zfree = give_back, .opaque = s }, .is_gzip = is_gzip,
        .name = is_gzip ? "gzip" : "zlib", .free = memory + own_bytes, .free_bytes = memory_bytes - own_bytes,
    };
    if (inflateInit2(&s->z, is_gzip ? GZIP_HEAD : ZLIB_HEAD) != Z_OK)
        return error_at(err, ERR_FIT, SPAN_NONE, "%s: no memory for a stream decoder", s->name);
    *state = s;
    return true;
}

bool gzip_stream_open(void **state, char *memory, uint64_t memory_bytes, struct error *err)
{
    return open_stream(state, memory, memory_bytes, true, err);
}

bool zlib_stream_open(void **state, char *memory, uint64_t memory_bytes, struct error *err)
{
    return open_stream(state, memory, memory_bytes, false, err);
}

bool inflate_stream_begin(void *state, struct error *err)
{
    struct inflate_stream *s = state;

    (void)err;
    s->ended = s->padded = false;
    inflateReset(&s->z);
    return true;
}

static bool does_not_decode(const struct inflate_stream *s, const char *why, struct error *err)
{
    return error_at(err, ERR_INPUT, SPAN_NONE, "%s: damaged or cut short: %s", s->name, why);
}

/* What follows a member: another one, or zeros to the end. */
static bool after_member(struct inflate_stream *s, struct stream_job *job, struct error *err)
{
    if (!s->is_gzip)
        return does_not_decode(s, "there are bytes after the stream", err);
    s->padded = s->padded || *job->from == 0;
    while (s->padded && job->from_bytes > 0) {
        if (*job->from != 0)
            return does_not_decode(s, "there are bytes after its padding", err);
        job->from++;
        job->from_bytes--;
    }
    if (!s->padded) {
        s->ended = job->complete = false;
        inflateReset(&s->z);
    }
    return true;
}

bool inflate_stream_step(void *state, struct stream_job *job, struct error *err)
{
    struct inflate_stream *s = state;
    unsigned from_bytes, to_bytes;
    int result;

    if (s->ended && job->from_bytes > 0 && !after_member(s, job, err))
        return false;
    if (s->ended)
        return true;
    from_bytes = (unsigned)size_min(job->from_bytes, UINT_MAX);
    to_bytes = (unsigned)size_min(job->to_bytes, UINT_MAX);
    s->z.next_in = (unsigned char *)(uintptr_t)job->from;
    s->z.avail_in = from_bytes;
    s->z.next_out = (unsigned char *)job->to;
    s->z.avail_out = to_bytes;
    result = inflate(&s->z, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR)
        return error_at(err, ERR_FIT, SPAN_NONE, "%s: no memory for a stream decoder", s->name);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return does_not_decode(s, s->z.msg ? s->z.msg : "it needs a dictionary", err);
    s->ended = job->complete = result == Z_STREAM_END;
    job->from += from_bytes - s->z.avail_in;
    job->from_bytes -= from_bytes - s->z.avail_in;
    job->to += to_bytes - s->z.avail_out;
    job->to_bytes -= to_bytes - s->z.avail_out;
    return true;
}
