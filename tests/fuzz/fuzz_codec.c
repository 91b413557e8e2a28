/* Encoded chunks, whatever the chain. The first three bytes say which chain, how long the chunk is and what its items
 * are, the rest is what is decoded. However it is decoded, the outcome is one: the same bytes, or none.
 *
 * To add a way to decode (ranges, a stream) write one like decode_with_little() and put it into `ways`. */
#include "engine/base/size.h"
#include "engine/codec/codec.h"
#include "tests/fuzz/fuzz.h"

static const char *const chains[] = {
    "none", "zstd:1", "gzip:1", "zlib:1", "lz4:1", "crc32c", "blosc:lz4", "blosc:zstd:1", "blosc:blosclz", "blosc:zlib",
    "blosc:snappy", "zstd:1+crc32c", "crc32c+zstd:1", "gzip:1+lz4", "lz4:1+blosc:lz4", "blosc:lz4+zlib:1",
    "blosc:lz4+crc32c", "zlib:1+gzip:1+zstd:1", "crc32c+crc32c", "blosc:lz4+blosc:zstd",
};
enum { CHAIN_COUNT = sizeof chains / sizeof *chains };

static const uint32_t lengths[] = { 16, 48, 256, 1024, 4096, 16384, 65536, 576 << 10 };
enum { LENGTH_COUNT = sizeof lengths / sizeof *lengths };

static const struct dtype dtypes[] = {
    { DTYPE_UINT, 1 }, { DTYPE_INT, 2 }, { DTYPE_FLOAT, 4 }, { DTYPE_FLOAT, 8 }, { DTYPE_COMPLEX, 16 },
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes };

struct chunk {
    struct codec_chain chain;
    struct dtype dtype;
    uint32_t raw_bytes;
    const char *encoded;
    size_t encoded_bytes;
};

/* What decoder_next gives, from raw + *done to raw + end. */
static bool take_parts(const struct chunk *c, struct decoder *d, char *raw, uint64_t *done, uint64_t end, struct error *err)
{
    uint64_t part_bytes;
    const char *part;

    do {
        if (!decoder_next(d, &part, &part_bytes, err))
            return false;
        MUST(part_bytes % c->dtype.item_bytes == 0 && part_bytes <= end - *done);
        if (part_bytes > 0)
            memcpy(raw + *done, part, part_bytes);
        *done += part_bytes;
    } while (part_bytes > 0);
    return true;
}

static bool decode_within(const struct chunk *c, uint64_t scratch_bytes, char *raw, struct error *err)
{
    char *scratch = aligned_alloc(IO_ALIGN, (scratch_bytes + IO_ALIGN) / IO_ALIGN * IO_ALIGN);
    struct decoder *d = NULL;
    uint64_t done = 0;
    bool ok;

    MUST(scratch);
    ok = decoder_new(&d, &c->chain, c->dtype, c->raw_bytes, scratch, scratch_bytes, err) &&
         decoder_start(d, c->encoded, c->encoded_bytes, err) && take_parts(c, d, raw, &done, c->raw_bytes, err);
    /* of a raw chain any part may be given */
    MUST(!ok || done == c->raw_bytes || (c->chain.count == 0 && done == c->encoded_bytes));
    decoder_free(d);
    free(scratch);
    return ok;
}

static struct codec_needs needs_of(const struct chunk *c)
{
    struct codec_needs needs;

    codec_decode_needs(&c->chain, c->dtype, c->raw_bytes, NULL, &needs);
    MUST(needs.scratch_bytes_least <= needs.scratch_bytes_useful);
    return needs;
}

static bool decode_with_little(const struct chunk *c, char *raw, struct error *err)
{
    return decode_within(c, needs_of(c).scratch_bytes_least, raw, err);
}

static bool decode_with_plenty(const struct chunk *c, char *raw, struct error *err)
{
    return decode_within(c, needs_of(c).scratch_bytes_useful, raw, err);
}

static bool (*const ways[])(const struct chunk *c, char *raw, struct error *err) = {
    decode_with_plenty, decode_with_little,
};
enum { WAY_COUNT = sizeof ways / sizeof *ways };

static void decode_every_way(const struct chunk *c)
{
    char *raw[WAY_COUNT];
    bool ok[WAY_COUNT];

    for (unsigned i = 0; i < WAY_COUNT; i++) {
        struct error err = { 0 };

        raw[i] = calloc(1, c->raw_bytes);
        MUST(raw[i]);
        ok[i] = ways[i](c, raw[i], &err);
        if (!ok[i]) {
            MUST(err.code == ERR_INPUT || err.code == ERR_FIT);
            must_be_said(&err);
        }
        MUST(ok[i] == ok[0] && (!ok[0] || memcmp(raw[i], raw[0], c->raw_bytes) == 0));
    }
    for (unsigned i = 0; i < WAY_COUNT; i++)
        free(raw[i]);
}

/* What is encoded here comes back, every way. */
static void encode_and_decode(struct chunk *c, const uint8_t *data, size_t bytes)
{
    struct codec_needs needs;
    struct error err = { 0 };
    struct encoder *e;
    char *raw = calloc(1, c->raw_bytes), *given, *encoded, *scratch, *back = calloc(1, c->raw_bytes);
    uint64_t encoded_bytes;

    MUST(raw && back);
    memcpy(raw, data, bytes < c->raw_bytes ? bytes : c->raw_bytes);
    given = exactly(raw, c->raw_bytes);
    codec_encode_needs(&c->chain, c->dtype, c->raw_bytes, &needs);
    encoded = exactly("", 0);
    encoded = realloc(encoded, needs.encoded_bytes_max + 1);
    scratch = aligned_alloc(IO_ALIGN, (needs.scratch_bytes_useful + IO_ALIGN) / IO_ALIGN * IO_ALIGN);
    MUST(encoded && scratch);
    MUST(encoder_new(&e, &c->chain, c->dtype, c->raw_bytes, scratch, needs.scratch_bytes_useful, &err));
    MUST(encode(e, given, encoded, &encoded_bytes, &err) && encoded_bytes <= needs.encoded_bytes_max);
    encoder_free(e);
    c->encoded = exactly(encoded, encoded_bytes);
    c->encoded_bytes = encoded_bytes;
    for (unsigned i = 0; i < WAY_COUNT; i++)
        MUST(ways[i](c, back, &err) && memcmp(back, raw, c->raw_bytes) == 0);
    free((char *)(uintptr_t)c->encoded);
    free(raw);
    free(given);
    free(back);
    free(encoded);
    free(scratch);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    struct chunk c = { 0 };
    struct error err = { 0 };
    char *encoded;

    if (bytes < 3)
        return 0;
    c.dtype = dtypes[(data[2] & 15) % DTYPE_COUNT];
    c.chain.big_endian = data[2] & 16;
    c.raw_bytes = lengths[data[1] % LENGTH_COUNT];
    MUST(codec_chain_from_text(&c.chain, chains[data[0] % CHAIN_COUNT], c.dtype.item_bytes, &err));
    if (data[2] & 32) {
        encode_and_decode(&c, data + 3, bytes - 3);
        return 0;
    }
    encoded = exactly(data + 3, bytes - 3);
    c.encoded = encoded;
    c.encoded_bytes = bytes - 3;
    decode_every_way(&c);
    free(encoded);
    return 0;
}
