/* See streamed.h.
 *
 * Memory:  [window][part: what is carried over, then what a step gives][the codec's own ........]
 */
#include "engine/codec/streamed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/codec/codec_impl.h"

/* Encoded bytes read at once: a good length for one read that nothing else goes on beside. */
#define WINDOW_BYTES MIB
/* What a step gives: still in the cache when it is scattered. */
#define STEP_BYTES (128 * KIB)

struct stream_decoder {
    const struct codec_class *class;    /* NULL: raw */
    void *state;
    const char *name;                   /* for messages */
    bool checked;                       /* a crc32c is around it */
    uint64_t raw_bytes;
    uint32_t item_bytes, swap_bytes;    /* swap_bytes 1: nothing to swap */
    char *window, *part;
    uint64_t window_bytes, part_bytes;

    /* the chunk at hand */
    uint64_t body_bytes;                /* encoded, without the checksum */
    uint64_t given_bytes;               /* of the body */
    uint64_t decoded_bytes;
    struct stream_job job;
    uint32_t carry_bytes;               /* at the beginning of `part`, once `carried` is moved there */
    const char *carried;                /* the beginning of an item whose end is to come */
    uint32_t crc;
    char crc_stored[CRC32C_BYTES];
    uint32_t crc_stored_bytes;
};

/* What a window need not be longer than. */
static uint64_t window_bytes_for(const struct codec_chain *c, uint64_t raw_bytes)
{
    uint64_t encoded_bytes = chain_encoded_bytes_max(c, c->count, raw_bytes);

    return size_min(WINDOW_BYTES, size_align_up(encoded_bytes, IO_ALIGN)) + 2 * IO_ALIGN;
}

static uint64_t part_bytes_for(struct dtype dtype)
{
    return buffer_bytes(STEP_BYTES + dtype.item_bytes);
}

void codec_streamed_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                          const struct codec_sample *sample, struct codec_needs *out)
{
    const struct codec_class *class = c->count > 0 ? codec_class_of(&c->codecs[0]) : NULL;
    uint64_t bytes = window_bytes_for(c, raw_bytes) + part_bytes_for(dtype);

    codec_decode_needs(c, dtype, raw_bytes, sample, out);
    if (class && class->stream_step)
        bytes = size_add_sat(bytes, class->stream_bytes(&c->codecs[0], raw_bytes, sample));
    out->scratch_bytes_least = out->scratch_bytes_useful = bytes;
    out->library_bytes = 0;
}

bool stream_decoder_new(struct stream_decoder **out, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                        void *memory, uint64_t memory_bytes, struct error *err)
{
    const struct codec_class *class = c->count > 0 ? codec_class_of(&c->codecs[0]) : NULL;
    struct stream_decoder *s = calloc(1, sizeof *s);
    uint64_t own_bytes;

    assert(!codec_chain_cannot(c, CODEC_STREAMED));
    if (!s)
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for a stream decoder");
    s->class = class && class->stream_step ? class : NULL;
    s->name = s->class ? s->class->name : "uncompressed";
    s->checked = c->count > (s->class ? 1u : 0u);
    s->raw_bytes = raw_bytes;
    s->item_bytes = dtype.item_bytes;
    s->swap_bytes = c->big_endian ? dtype_swap_bytes(dtype) : 1;
    s->window = memory;
    s->window_bytes = window_bytes_for(c, raw_bytes);
    s->part = s->window + s->window_bytes;
    s->part_bytes = part_bytes_for(dtype);
    own_bytes = s->window_bytes + s->part_bytes;
    *out = s;
    if (memory_bytes < own_bytes)
        error_at(err, ERR_FIT, SPAN_NONE, "decoding a stream takes more than %llu bytes, %llu are given",
                 (unsigned long long)own_bytes, (unsigned long long)memory_bytes);
    else if (!s->class || s->class->stream_open(&s->state, s->window + own_bytes, memory_bytes - own_bytes, err))
        return true;
    stream_decoder_free(s);
    *out = NULL;
    return false;
}

void stream_decoder_free(struct stream_decoder *s)
{
    free(s);
}

char *stream_decoder_window(const struct stream_decoder *s, uint64_t *window_bytes)
{
    *window_bytes = s->window_bytes;
    return s->window;
}

bool stream_decoder_start(struct stream_decoder *s, uint64_t encoded_bytes, struct error *err)
{
    if (s->checked && encoded_bytes < CRC32C_BYTES)
        return error_at(err, ERR_INPUT, SPAN_NONE, "crc32c: %llu bytes are too few to hold a checksum",
                        (unsigned long long)encoded_bytes);
    s->body_bytes = encoded_bytes - (s->checked ? CRC32C_BYTES : 0);
    s->given_bytes = s->decoded_bytes = s->carry_bytes = s->crc_stored_bytes = 0;
    s->job = (struct stream_job){ .complete = !s->class };
    s->crc = CRC32C_BEGIN;
    return !s->class || s->class->stream_begin(s->state, err);
}

void stream_decoder_give(struct stream_decoder *s, const char *from, uint64_t bytes)
{
    uint64_t body_bytes = size_min(bytes, s->body_bytes - s->given_bytes);

    s->job.from = from;
    s->job.from_bytes = body_bytes;
    s->given_bytes += body_bytes;
    if (!s->checked)
        return;
    s->crc = crc32c_go_on(s->crc, from, body_bytes);
    for (uint64_t i = body_bytes; i < bytes && s->crc_stored_bytes < CRC32C_BYTES; i++)
        s->crc_stored[s->crc_stored_bytes++] = from[i];
}

static bool copy_step(struct stream_job *job)
{
    uint64_t bytes = size_min(job->from_bytes, job->to_bytes);

    if (bytes > 0)
        memcpy(job->to, job->from, bytes);
    job->from += bytes;
    job->from_bytes -= bytes;
    job->to += bytes;
    job->to_bytes -= bytes;
    return true;
}

/* All encoded bytes were taken and nothing more comes out. */
static bool check_end(const struct stream_decoder *s, struct error *err)
{
    if (!s->job.complete || s->decoded_bytes != s->raw_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "%s: ends after %llu of %llu bytes", s->name,
                        (unsigned long long)s->decoded_bytes, (unsigned long long)s->raw_bytes);
    if (s->checked && load_u32(s->crc_stored) != ~s->crc)
        return error_at(err, ERR_INPUT, SPAN_NONE, "crc32c: the checksum of %llu bytes is %08x, stored is %08x",
                        (unsigned long long)s->body_bytes, ~s->crc, load_u32(s->crc_stored));
    return true;
}

static bool given_all(const struct stream_decoder *s)
{
    return s->given_bytes == s->body_bytes && (!s->checked || s->crc_stored_bytes == CRC32C_BYTES);
}

/* One step behind what is carried over. *got_bytes with what was carried; 0 and nothing taken: it wants more. */
static bool step(struct stream_decoder *s, uint64_t *got_bytes, bool *moved, struct error *err)
{
    struct stream_job *job = &s->job;
    uint64_t from_bytes = job->from_bytes, fresh_bytes;

    memmove(s->part, s->carried ? s->carried : s->part, s->carry_bytes);
    s->carried = s->part;
    job->to = s->part + s->carry_bytes;
    job->to_bytes = STEP_BYTES;
    if (!(s->class ? s->class->stream_step(s->state, job, err) : copy_step(job)))
        return false;
    fresh_bytes = STEP_BYTES - job->to_bytes;
    *moved = fresh_bytes > 0 || job->from_bytes < from_bytes;
    *got_bytes = s->carry_bytes + fresh_bytes;
    s->decoded_bytes += fresh_bytes;
    if (s->decoded_bytes > s->raw_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "%s: %llu bytes decode to more than the %llu there can be", s->name,
                        (unsigned long long)s->body_bytes, (unsigned long long)s->raw_bytes);
    return true;
}

bool stream_decoder_next(struct stream_decoder *s, const char **part, uint64_t *part_bytes, struct error *err)
{
    *part_bytes = 0;
    for (;;) {
        uint64_t got_bytes;
        bool moved;

        if (!step(s, &got_bytes, &moved, err))
            return false;
        s->carry_bytes = (uint32_t)(got_bytes % s->item_bytes);
        got_bytes -= s->carry_bytes;
        s->carried = s->part + got_bytes;
        if (got_bytes > 0) {
            dtype_swap(s->part, got_bytes, s->swap_bytes);
            *part = s->part;
            *part_bytes = got_bytes;
            return true;
        }
        if (!moved)
            return s->job.from_bytes == 0 && given_all(s) ? check_end(s, err) :
                   s->job.from_bytes == 0 || error_at(err, ERR_INPUT, SPAN_NONE, "%s: does not go on after %llu bytes",
                                                      s->name, (unsigned long long)s->decoded_bytes);
    }
}

void stream_decoder_saw(const struct stream_decoder *s, struct codec_sample *sample)
{
    if (s->class && s->class->stream_saw)
        s->class->stream_saw(s->state, sample);
}
