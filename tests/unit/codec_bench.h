/* codec_bench.h - what the codec tests share: a field to encode, one chunk through a decoder or an encoder.
 *
 * Buffers have exactly the sizes that codec.h promises, so that the address sanitizer sees every byte beyond them.
 */
#ifndef SLUICE_TESTS_CODEC_BENCH_H
#define SLUICE_TESTS_CODEC_BENCH_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/codec/codec.h"

static const struct dtype dtype_i4 = { DTYPE_INT, 4 };

/* A whole chunk decoded with exactly `scratch_bytes` of scratch. Every part must be whole items. */
static inline bool decode_with(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                               const void *encoded, uint64_t encoded_bytes, uint64_t scratch_bytes, char *out,
                               unsigned *parts, struct error *err)
{
    char *scratch = aligned_alloc(IO_ALIGN, size_align_up(scratch_bytes + 1, IO_ALIGN));
    char *copy = malloc(encoded_bytes + 1);
    struct decoder *d = NULL;
    uint64_t done = 0, part_bytes = 0;
    const char *part;
    bool ok = false;

    memcpy(copy + 1, encoded, encoded_bytes);
    if (!decoder_new(&d, c, dtype, raw_bytes, scratch, scratch_bytes, err))
        goto out;
    if (!decoder_start(d, copy + 1, encoded_bytes, err))
        goto out;
    *parts = 0;
    do {
        if (!decoder_next(d, &part, &part_bytes, err))
            goto out;
        if (part_bytes % dtype.item_bytes != 0 || done + part_bytes > raw_bytes) {
            error_at(err, ERR_IO, SPAN_NONE, "a part of %llu bytes", (unsigned long long)part_bytes);
            goto out;
        }
        if (part_bytes > 0)
            memcpy(out + done, part, part_bytes);
        done += part_bytes;
        *parts += part_bytes > 0;
    } while (part_bytes > 0);
    ok = done == raw_bytes || error_at(err, ERR_IO, SPAN_NONE, "decoded %llu bytes", (unsigned long long)done);
out:
    decoder_free(d);
    free(scratch);
    free(copy);
    return ok;
}

/* With the least scratch. */
static inline bool decode_bytes(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                                const void *encoded, uint64_t encoded_bytes, char *out, struct error *err)
{
    struct codec_sample sample = { 0 };
    struct codec_needs needs;
    unsigned parts;

    codec_sample_add(&sample, c, encoded, encoded_bytes);
    codec_decode_needs(c, dtype, raw_bytes, &sample, &needs);
    return decode_with(c, dtype, raw_bytes, encoded, encoded_bytes, needs.scratch_bytes_least, out, &parts, err);
}

/* A chunk encoded; *encoded is to be freed. `raw` stays as it is. */
static inline bool encode_bytes(const struct codec_chain *c, struct dtype dtype, const void *raw, uint64_t raw_bytes,
                                char **encoded, uint64_t *encoded_bytes, struct error *err)
{
    struct codec_needs needs;
    struct encoder *e = NULL;
    char *scratch, *copy = malloc(raw_bytes + 1);
    bool ok;

    memcpy(copy, raw, raw_bytes);
    codec_encode_needs(c, dtype, raw_bytes, &needs);
    *encoded = malloc(needs.encoded_bytes_max + 1);
    scratch = malloc(needs.scratch_bytes_least + 1);
    ok = encoder_new(&e, c, dtype, raw_bytes, scratch, needs.scratch_bytes_least, err) &&
         encode(e, copy, *encoded, encoded_bytes, err);
    if (ok && *encoded_bytes > needs.encoded_bytes_max)
        ok = error_at(err, ERR_IO, SPAN_NONE, "encoded to %llu bytes", (unsigned long long)*encoded_bytes);
    encoder_free(e);
    free(scratch);
    free(copy);
    return ok;
}

/* Smooth waves with a little noise, rounded: data as people have it. */
static inline void fill_smooth_f4(float *out, uint64_t count)
{
    uint32_t random = 1;

    for (uint64_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        out[i] = roundf((255.0f + 20.0f * sinf((float)i * 0.001f) + (float)(random >> 24) / 512.0f) * 16.0f) / 16.0f;
    }
}

static inline void fill_noise(char *out, uint64_t bytes)
{
    uint64_t random = 88172645463325252ull;

    for (uint64_t i = 0; i < bytes; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        out[i] = (char)random;
    }
}

static inline struct codec_chain chain_of(const char *words, uint32_t item_bytes)
{
    struct codec_chain c = { 0 };
    struct error err = { 0 };

    if (!codec_chain_from_text(&c, words, item_bytes, &err)) {
        fprintf(stderr, "chain '%s': %s\n", words, err.message);
        abort();
    }
    return c;
}

/* The blocks of a blosc frame put in another order: neighbours in the file are `stride` apart. To be freed. */
static inline char *shuffled_frame(const char *frame, uint64_t bytes, uint32_t stride)
{
    uint32_t raw_bytes, block_bytes, count, at;
    char *to = malloc(bytes);

    if (frame[2] & 2)           /* memcpyed */
        abort();
    memcpy(&raw_bytes, frame + 4, 4);
    memcpy(&block_bytes, frame + 8, 4);
    count = (raw_bytes + block_bytes - 1) / block_bytes;
    at = 16 + 4 * count;
    memcpy(to, frame, at);
    for (uint32_t first = 0; first < stride; first++)
        for (uint32_t i = first; i < count; i += stride) {
            uint32_t from, end = (uint32_t)bytes;

            memcpy(&from, frame + 16 + 4 * i, 4);
            if (i + 1 < count)
                memcpy(&end, frame + 20 + 4 * i, 4);
            memcpy(to + 16 + 4 * i, &at, 4);
            memcpy(to + at, frame + from, end - from);
            at += end - from;
        }
    if (at != bytes)
        abort();
    return to;
}

#endif
