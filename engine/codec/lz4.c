/* lz4, as numcodecs writes it: the raw length in 4 bytes, little-endian, then one LZ4 block (not an LZ4 frame).
 * Source: numcodecs lz4.pyx; the Zarr v3 name is numcodecs.lz4. `level` is LZ4's acceleration. */
#include <lz4.h>

#include "engine/codec/codec_impl.h"

enum { PREFIX_BYTES = 4 };

static uint64_t lz4_encoded_bytes_max(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    /* LZ4_compressBound, for any length. */
    return size_add_sat(raw_bytes, raw_bytes / 255 + 16 + PREFIX_BYTES);
}

static bool lz4_decode(void *state, const struct decode_job *job, uint64_t *to_bytes, struct error *err)
{
    uint64_t says;
    int got;

    (void)state;
    if (job->from_bytes < PREFIX_BYTES)
        return error_at(err, ERR_INPUT, SPAN_NONE, "lz4: %llu bytes are too few to hold a length",
                        (unsigned long long)job->from_bytes);
    says = load_u32(job->from);
    if (says > job->limit_bytes || says > LZ4_MAX_INPUT_SIZE)
        return error_at(err, ERR_INPUT, SPAN_NONE, "lz4: its head says %llu bytes, there can be %llu at most",
                        (unsigned long long)says, (unsigned long long)job->limit_bytes);
    if (job->from_bytes - PREFIX_BYTES > (uint64_t)LZ4_compressBound(LZ4_MAX_INPUT_SIZE))
        return error_at(err, ERR_INPUT, SPAN_NONE, "lz4: a block of %llu bytes is longer than LZ4 makes them",
                        (unsigned long long)job->from_bytes);
    got = LZ4_decompress_safe(job->from + PREFIX_BYTES, job->room, (int)(job->from_bytes - PREFIX_BYTES), (int)says);
    if (got < 0 || (uint64_t)got != says)
        return error_at(err, ERR_INPUT, SPAN_NONE,
                        "lz4: a block of %llu bytes does not decode to the %llu its head says",
                        (unsigned long long)job->from_bytes, (unsigned long long)says);
    *to_bytes = says;
    return true;
}

static bool lz4_encode(void *state, const struct codec *c, const char *from, uint64_t from_bytes, char *to,
                       uint64_t *to_bytes, const volatile int *stop, struct error *err)
{
    int got = LZ4_compress_fast(from, to + PREFIX_BYTES, (int)from_bytes, LZ4_compressBound((int)from_bytes),
                                c->level);

    (void)stop;
    (void)state;
    if (got <= 0)
        return error_at(err, ERR_FIT, SPAN_NONE, "lz4: could not encode %llu bytes", (unsigned long long)from_bytes);
    store_u32(to, (uint32_t)from_bytes);
    *to_bytes = PREFIX_BYTES + (uint64_t)got;
    return true;
}

const struct codec_class lz4_class = {
    .name = "lz4",
    .level_default = 1, .level_min = 1, .level_max = 65537,
    .raw_bytes_max = LZ4_MAX_INPUT_SIZE,
    .encoded_bytes_max = lz4_encoded_bytes_max,
    .decode = lz4_decode,
    .encode = lz4_encode,
};
