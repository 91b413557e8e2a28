/* Decoding a chain: checksums are taken off in place; of several compressors the outer ones are decoded whole into
 * one of two intermediate buffers; the innermost gives its bytes in parts.
 *
 * Scratch:  [intermediate 0][intermediate 1][part and the innermost codec's work room ........]
 */
#include <stdlib.h>
#include <string.h>

#include "engine/codec/codec_impl.h"
#include "engine/codec/ranged.h"

/* A part of a raw chain is copied only to be swapped. */
#define SWAP_PART_BYTES_LEAST (64 * KIB)

/* How scratch is divided. */
struct decode_layout {
    unsigned intermediates;         /* 0 1 2 */
    uint64_t intermediate_bytes;    /* each, with the codec's work room */
    uint64_t part_room_least, part_room_useful;
};

struct decoder {
    struct codec_chain chain;
    void *states[CODECS_MAX];
    uint64_t raw_bytes;
    uint32_t item_bytes, swap_bytes;    /* swap_bytes 1: nothing to swap */

    struct decode_layout layout;
    char *intermediate[2];
    char *room;
    uint64_t room_bytes;

    /* the chunk at hand */
    const struct codec_class *stream;   /* the innermost compressor decodes by parts; NULL: all is in `pending` */
    void *stream_state;
    const char *pending;                /* decoded, not yet given out; in place wherever it is */
    uint64_t pending_bytes;
    uint64_t total_bytes, given_bytes;
    uint64_t skip_bytes;                /* of what comes next: a range begins inside a block */
    char carry[ITEM_BYTES_MAX];         /* the beginning of an item whose end is in the next part */
    uint32_t carry_bytes;
};

/* The first codec of the chain that is no checksum: the innermost compressor. chain->count: there is none. */
static unsigned innermost(const struct codec_chain *c)
{
    unsigned i = 0;

    while (i < c->count && codec_class_of(&c->codecs[i])->strip)
        i++;
    return i;
}

static uint64_t work_bytes(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample)
{
    const struct codec_class *class = codec_class_of(c);

    return class->work_bytes ? buffer_bytes(class->work_bytes(c, raw_bytes, sample)) : 0;
}

/* What the part room must hold. BUFFER_ALIGN more: bytes carried from the part before. */
static void part_layout(struct decode_layout *l, const struct codec_chain *c, unsigned inner, bool swaps,
                        uint64_t raw_bytes, const struct codec_sample *sample)
{
    const struct codec *codec = &c->codecs[inner];
    uint64_t part_bytes, work;

    if (inner == c->count) {
        l->part_room_least = swaps ? buffer_bytes(size_min(raw_bytes, SWAP_PART_BYTES_LEAST)) : 0;
        l->part_room_useful = swaps ? buffer_bytes(size_min(raw_bytes, PART_BYTES)) : 0;
        return;
    }
    /* a checksum below the compressor is part of what it gives */
    raw_bytes = chain_encoded_bytes_max(c, inner, raw_bytes);
    work = work_bytes(codec, raw_bytes, sample);
    if (inner > 0 || !codec_class_of(codec)->next) {
        l->part_room_least = l->part_room_useful = size_add_sat(buffer_bytes(raw_bytes), work);
        return;
    }
    part_bytes = codec_class_of(codec)->part_bytes(codec, raw_bytes, sample);
    l->part_room_least = buffer_bytes(part_bytes) + work + BUFFER_ALIGN;
    part_bytes = size_min(raw_bytes, size_max(part_bytes, PART_BYTES));
    l->part_room_useful = buffer_bytes(part_bytes) + work + BUFFER_ALIGN;
}

static void decode_layout(struct decode_layout *l, const struct codec_chain *c, struct dtype dtype,
                          uint64_t raw_bytes, const struct codec_sample *sample)
{
    unsigned inner = innermost(c);

    *l = (struct decode_layout){ 0 };
    part_layout(l, c, inner, c->big_endian && dtype_swap_bytes(dtype) > 1, raw_bytes, sample);
    for (unsigned i = inner + 1; i < c->count; i++) {
        const struct codec *codec = &c->codecs[i];
        uint64_t bytes = chain_encoded_bytes_max(c, i, raw_bytes);

        if (codec_class_of(codec)->strip)
            continue;
        l->intermediates = l->intermediates < 2 ? l->intermediates + 1 : 2;
        bytes = size_add_sat(buffer_bytes(bytes), work_bytes(codec, bytes, NULL));
        l->intermediate_bytes = size_max(l->intermediate_bytes, bytes);
    }
}

/* What other encoders may add to our bounds: file names in gzip heads, skippable zstd frames. */
enum { FOREIGN_BYTES = 4096 };

void codec_decode_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                        const struct codec_sample *sample, struct codec_needs *out)
{
    struct decode_layout l;
    uint64_t intermediates;

    decode_layout(&l, c, dtype, raw_bytes, sample);
    intermediates = size_mul_sat(l.intermediates, l.intermediate_bytes);
    *out = (struct codec_needs){
        .encoded_bytes_max = chain_encoded_bytes_max(c, c->count, raw_bytes),
        .scratch_bytes_least = size_add_sat(intermediates, l.part_room_least),
        .scratch_bytes_useful = size_add_sat(intermediates, l.part_room_useful),
    };
    if (c->count > 0)
        out->encoded_bytes_max = size_add_sat(out->encoded_bytes_max, FOREIGN_BYTES);
    for (unsigned i = 0; i < c->count; i++)
        if (codec_class_of(&c->codecs[i])->decode_library_bytes)
            out->library_bytes += codec_class_of(&c->codecs[i])->decode_library_bytes(&c->codecs[i]);
}

void codec_ranged_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, uint64_t range_raw_bytes,
                        const struct codec_sample *sample, struct codec_needs *out)
{
    uint64_t range_bytes = range_raw_bytes;

    codec_decode_needs(c, dtype, raw_bytes, sample, out);
    if (!codec_chain_is_raw(c) && !codec_chain_cannot(c, CODEC_RANGED))
        range_bytes = codec_class_of(&c->codecs[0])->range_bytes_max(&c->codecs[0], raw_bytes, range_raw_bytes, sample);
    out->encoded_bytes_max = size_min(out->encoded_bytes_max, range_bytes);
}

/* Intermediates as they were planned; whatever scratch is beyond them is room for parts. */
static bool divide_scratch(struct decoder *d, char *scratch, uint64_t scratch_bytes, struct error *err)
{
    const struct decode_layout *l = &d->layout;
    unsigned inner = innermost(&d->chain);
    bool by_blocks = inner < d->chain.count && codec_class_of(&d->chain.codecs[inner])->work_bytes;
    uint64_t before = size_mul_sat(l->intermediates, l->intermediate_bytes), least;

    /* how long blocks are is seen chunk by chunk; there must be room to swap a few items */
    least = size_add_sat(before, !by_blocks ? l->part_room_least : d->swap_bytes > 1 ? BUFFER_ALIGN : 0);
    if (scratch_bytes < least) {
        error_at(err, ERR_FIT, SPAN_NONE, "decoding a chunk takes %llu bytes of scratch, %llu are given",
                 (unsigned long long)least, (unsigned long long)scratch_bytes);
        error_bytes(err, least, scratch_bytes);
        return false;
    }
    for (unsigned i = 0; i < l->intermediates; i++)
        d->intermediate[i] = scratch + i * l->intermediate_bytes;
    d->room = scratch + before;
    d->room_bytes = size_align_down(scratch_bytes - before, BUFFER_ALIGN);
    return true;
}

bool decoder_new(struct decoder **out, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                 void *scratch, uint64_t scratch_bytes, struct error *err)
{
    struct decoder *d = calloc(1, sizeof *d);

    if (!d)
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for a decoder");
    d->chain = *c;
    d->raw_bytes = raw_bytes;
    d->item_bytes = dtype.item_bytes;
    d->swap_bytes = c->big_endian ? dtype_swap_bytes(dtype) : 1;
    decode_layout(&d->layout, c, dtype, raw_bytes, NULL);
    if (!divide_scratch(d, scratch, scratch_bytes, err))
        goto failed;
    for (unsigned i = 0; i < c->count; i++) {
        const struct codec_class *class = codec_class_of(&c->codecs[i]);

        if (class->decoder_open && !class->decoder_open(&d->states[i], err))
            goto failed;
    }
    *out = d;
    return true;
failed:
    decoder_free(d);
    return false;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    for (unsigned i = 0; i < d->chain.count; i++)
        if (codec_class_of(&d->chain.codecs[i])->decoder_close)
            codec_class_of(&d->chain.codecs[i])->decoder_close(d->states[i]);
    free(d);
}

/* Decode codec `index` whole into `room`. */
static bool decode_whole(struct decoder *d, unsigned index, char *room, uint64_t room_bytes, struct error *err)
{
    const struct codec_class *class = codec_class_of(&d->chain.codecs[index]);
    struct decode_job job = {
        .from = d->pending, .from_bytes = d->pending_bytes,
        .limit_bytes = chain_encoded_bytes_max(&d->chain, index, d->raw_bytes),
        .room = room, .room_bytes = room_bytes,
    };

    if (room_bytes < job.limit_bytes) {
        error_at(err, ERR_FIT, SPAN_NONE, "%s: decoding a chunk takes %llu bytes of scratch, %llu are given",
                 class->name, (unsigned long long)job.limit_bytes, (unsigned long long)room_bytes);
        error_bytes(err, job.limit_bytes, room_bytes);
        return false;
    }
    d->pending = room;
    return class->decode(d->states[index], &job, &d->pending_bytes, err);
}

/* Everything down to the innermost compressor, or to the raw bytes. */
static bool unwrap(struct decoder *d, struct error *err)
{
    unsigned inner = innermost(&d->chain), buffer = 0;

    for (unsigned i = d->chain.count; i-- > 0; ) {
        const struct codec_class *class = codec_class_of(&d->chain.codecs[i]);

        if (class->strip) {
            if (!class->strip(d->pending, &d->pending_bytes, err))
                return false;
        } else if (i > inner) {
            if (!decode_whole(d, i, d->intermediate[buffer], d->layout.intermediate_bytes, err))
                return false;
            buffer ^= 1;
        } else if (i == 0 && class->next) {
            d->stream = class;
            d->stream_state = d->states[i];
            return class->begin(d->stream_state, d->pending, d->pending_bytes, d->total_bytes, err);
        } else if (!decode_whole(d, i, d->room, d->room_bytes, err)) {
            return false;
        }
    }
    return true;
}

bool decoder_start(struct decoder *d, const void *encoded, uint64_t encoded_bytes, struct error *err)
{
    d->stream = NULL;
    d->pending = encoded;
    d->pending_bytes = encoded_bytes;
    d->given_bytes = d->carry_bytes = 0;
    d->skip_bytes = 0;
    d->total_bytes = d->raw_bytes;
    if (d->chain.count == 0 && encoded_bytes <= d->raw_bytes && encoded_bytes % d->item_bytes == 0)
        d->total_bytes = encoded_bytes;
    if (!unwrap(d, err))
        return false;
    if (d->stream)
        d->pending_bytes = 0;
    else if (d->pending_bytes != d->total_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "%s: %llu bytes where the chunk has %llu",
                        d->chain.count ? codec_class_of(&d->chain.codecs[0])->name : "uncompressed",
                        (unsigned long long)d->pending_bytes, (unsigned long long)d->total_bytes);
    return true;
}

bool decoder_start_range(struct decoder *d, const struct codec_range *r, const void *encoded, uint64_t encoded_bytes,
                         const void *places, struct error *err)
{
    d->stream = codec_class_of(&d->chain.codecs[0]);
    d->stream_state = d->states[0];
    d->pending_bytes = d->given_bytes = d->carry_bytes = 0;
    d->total_bytes = r->raw_bytes;
    return d->stream->begin_range(d->stream_state, r, encoded, encoded_bytes, places, &d->skip_bytes, err);
}

/* Fetch the stream's next part behind what was carried over, and carry over what is no whole item. */
static bool fetch(struct decoder *d, struct error *err)
{
    const char *part;
    uint64_t part_bytes;

    if (d->carry_bytes > 0)
        memcpy(d->room, d->carry, d->carry_bytes);
    if (!d->stream->next(d->stream_state, d->room + d->carry_bytes, d->room_bytes - d->carry_bytes, &part,
                         &part_bytes, err))
        return false;
    if (part == d->room + d->carry_bytes) {
        part -= d->carry_bytes;
        part_bytes += d->carry_bytes;
    }
    if (d->skip_bytes > 0) {        /* nothing is carried yet */
        uint64_t skipped = size_min(d->skip_bytes, part_bytes);

        part += skipped;
        part_bytes -= skipped;
        d->skip_bytes -= skipped;
    }
    part_bytes = size_min(part_bytes, d->total_bytes - d->given_bytes);
    d->carry_bytes = (uint32_t)(part_bytes % d->item_bytes);
    part_bytes -= d->carry_bytes;
    memcpy(d->carry, part + part_bytes, d->carry_bytes);
    d->pending = part;
    d->pending_bytes = part_bytes;
    return true;
}

/* Give out what is pending with its bytes in order. What lies in the caller's encoded bytes is copied for that. */
static void swap_part(struct decoder *d, const char **part, uint64_t *part_bytes)
{
    bool ours = d->pending >= d->room && d->pending < d->room + d->room_bytes;

    *part_bytes = d->pending_bytes;
    if (!ours) {
        *part_bytes = size_min(d->pending_bytes, size_min(d->room_bytes, PART_BYTES));
        memcpy(d->room, d->pending, *part_bytes);
    }
    *part = ours ? d->pending : d->room;
    dtype_swap((char *)(uintptr_t)*part, *part_bytes, d->swap_bytes);
}

bool decoder_next(struct decoder *d, const char **part, uint64_t *part_bytes, struct error *err)
{
    *part_bytes = 0;
    while (d->pending_bytes == 0 && d->stream && d->given_bytes < d->total_bytes) {
        uint64_t carried = d->carry_bytes, skip = d->skip_bytes;

        if (!fetch(d, err))
            return false;
        if (d->pending_bytes == 0 && d->carry_bytes == carried && d->skip_bytes == skip)
            return error_at(err, ERR_INPUT, SPAN_NONE, "%s: ends after %llu of %llu bytes", d->stream->name,
                            (unsigned long long)d->given_bytes, (unsigned long long)d->total_bytes);
    }
    if (d->pending_bytes == 0)
        return true;
    *part = d->pending;
    *part_bytes = d->pending_bytes;
    if (d->swap_bytes > 1)
        swap_part(d, part, part_bytes);
    d->pending += *part_bytes;
    d->pending_bytes -= *part_bytes;
    d->given_bytes += *part_bytes;
    return true;
}
