/* Encoded chunks, whatever the chain. The first three bytes say which chain, how long the chunk is and what its items
 * are, the rest is what is decoded. However it is decoded, the outcome is one: the same bytes, or none.
 *
 * To add a way to decode (ranges, a stream) write one like decode_with_little() and put it into `ways`. */
#include "engine/base/size.h"
#include "engine/codec/codec.h"
#include "engine/codec/ranged.h"
#include "engine/codec/streamed.h"
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

/* The blocks of a range one behind the other. To be freed. */
static char *gather(const struct chunk *c, struct codec_range *r, void *places)
{
    char *gathered = exactly("", 0);
    uint64_t at = 0;

    for (uint32_t i = 0; i < r->block_count; i++) {
        uint64_t offset, bytes;

        codec_range_gather(r, i, places, at, &offset, &bytes);
        MUST(offset <= c->encoded_bytes && bytes <= c->encoded_bytes - offset);
        gathered = realloc(gathered, at + bytes + 1);
        MUST(gathered);
        memcpy(gathered + at, c->encoded + offset, bytes);
        at += bytes;
    }
    r->encoded_bytes = at;
    return gathered;
}

/* Where the range that begins at raw_first lies, read as the caller of ranged.h reads it. NULL: refused. */
static char *read_range(const struct chunk *c, struct codec_range *r, uint64_t raw_first, uint64_t raw_bytes,
                        uint64_t room_bytes, void *places, struct error *err)
{
    char *head = exactly(c->encoded, size_min(c->encoded_bytes, CODEC_RANGE_HEAD_BYTES)), *table;
    bool ok = codec_range_begin(r, c->dtype, c->raw_bytes, head, c->encoded_bytes, raw_first, raw_bytes,
                                room_bytes, err);

    free(head);
    if (!ok)
        return NULL;
    MUST(r->raw_bytes > 0 && r->raw_bytes <= raw_bytes && r->raw_bytes % c->dtype.item_bytes == 0);
    MUST(r->table_offset <= c->encoded_bytes && r->table_bytes <= c->encoded_bytes - r->table_offset);
    table = exactly(c->encoded + r->table_offset, r->table_bytes);
    ok = codec_range_place(r, table, places, err);
    free(table);
    if (!ok)
        return NULL;
    MUST(r->encoded_offset <= c->encoded_bytes && r->encoded_bytes <= c->encoded_bytes - r->encoded_offset);
    return r->encoded_bytes <= room_bytes ? exactly(c->encoded + r->encoded_offset, r->encoded_bytes) :
           gather(c, r, places);
}

/* What a chain cannot do is done whole. */
static bool decode_by_ranges(const struct chunk *c, char *raw, struct error *err)
{
    uint64_t range_bytes = (c->raw_bytes / 3 + 1 + 15) / 16 * 16, done = 0;
    char places[CODEC_PLACES_BYTES_MAX], *scratch;
    struct codec_needs needs;
    struct decoder *d = NULL;
    bool ok;

    if (codec_chain_is_raw(&c->chain) || codec_chain_cannot(&c->chain, CODEC_RANGED))
        return decode_with_plenty(c, raw, err);
    codec_ranged_needs(&c->chain, c->dtype, c->raw_bytes, range_bytes, NULL, &needs);
    scratch = aligned_alloc(IO_ALIGN, (needs.scratch_bytes_least + IO_ALIGN) / IO_ALIGN * IO_ALIGN);
    MUST(scratch);
    ok = decoder_new(&d, &c->chain, c->dtype, c->raw_bytes, scratch, needs.scratch_bytes_least, err);
    while (ok && done < c->raw_bytes) {
        struct codec_range r;
        char *encoded = read_range(c, &r, done, size_min(range_bytes, c->raw_bytes - done), needs.encoded_bytes_max,
                                   places, err);
        uint64_t end = done + r.raw_bytes;

        ok = encoded && decoder_start_range(d, &r, encoded, r.encoded_bytes, places, err) &&
             take_parts(c, d, raw, &done, end, err);
        MUST(!ok || done == end);
        free(encoded);
    }
    decoder_free(d);
    free(scratch);
    return ok;
}

static bool stream_parts(const struct chunk *c, struct stream_decoder *s, char *raw, uint64_t *done, struct error *err)
{
    uint64_t part_bytes;
    const char *part;

    do {
        if (!stream_decoder_next(s, &part, &part_bytes, err))
            return false;
        MUST(part_bytes % c->dtype.item_bytes == 0 && part_bytes <= c->raw_bytes - *done);
        if (part_bytes > 0)
            memcpy(raw + *done, part, part_bytes);
        *done += part_bytes;
    } while (part_bytes > 0);
    return true;
}

/* In three windows, or as many as it takes. */
static bool decode_as_a_stream(const struct chunk *c, char *raw, struct error *err)
{
    uint64_t given = 0, done = 0, window_bytes;
    struct stream_decoder *s = NULL;
    struct codec_needs needs;
    char *memory;
    bool ok;

    if (codec_chain_is_raw(&c->chain) || codec_chain_cannot(&c->chain, CODEC_STREAMED))
        return decode_with_plenty(c, raw, err);
    codec_streamed_needs(&c->chain, c->dtype, c->raw_bytes, NULL, &needs);
    memory = aligned_alloc(IO_ALIGN, (needs.scratch_bytes_least + IO_ALIGN) / IO_ALIGN * IO_ALIGN);
    MUST(memory);
    ok = stream_decoder_new(&s, &c->chain, c->dtype, c->raw_bytes, memory, needs.scratch_bytes_least, err) &&
         stream_decoder_start(s, c->encoded_bytes, err);
    while (ok) {
        char *window = stream_decoder_window(s, &window_bytes);
        uint64_t bytes = size_min(size_min(c->encoded_bytes / 3 + 1, c->encoded_bytes - given), window_bytes);

        memcpy(window, c->encoded + given, bytes);
        given += bytes;
        stream_decoder_give(s, window, bytes);
        ok = stream_parts(c, s, raw, &done, err);
        if (given == c->encoded_bytes)
            break;
    }
    MUST(!ok || done == c->raw_bytes);
    stream_decoder_free(s);
    free(memory);
    return ok;
}

static bool (*const ways[])(const struct chunk *c, char *raw, struct error *err) = {
    decode_with_plenty, decode_with_little, decode_by_ranges, decode_as_a_stream,
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
        if (ok[i] != ok[0] && err.code != ERR_FIT) {
            fprintf(stderr, "way %u: %d, whole: %d; %s\n", i, ok[i], ok[0], err.message);
            MUST(!"one way takes what another refuses");
        }
        MUST(!ok[i] || !ok[0] || memcmp(raw[i], raw[0], c->raw_bytes) == 0);
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
