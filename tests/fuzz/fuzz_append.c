/* Chunks that are encoded as they come. The first five bytes say which chain, how long the chunk is, what its items are,
 * how it is cut and into what buffers it goes; the rest is how it begins, and then come zeros, the same again, or noise.
 * However it is cut, the bytes are those of encode(), and the ordinary decoder reads them.
 *
 * Chains of zstd, gzip and zlib append only long chunks; a build for fuzzing makes those short (Makefile), else they are
 * left to test_append. */
#include "engine/base/size.h"
#include "engine/codec/append.h"
#include "engine/codec/codec.h"
#include "tests/fuzz/fuzz.h"

enum { HEAD_BYTES = 5, SHORT_BYTES = 1 << 20 };

static const char *const chains[] = {
    "none", "crc32c", "blosc:lz4:5:shuffle", "blosc:lz4:1:noshuffle:4096", "blosc:lz4hc:1:bitshuffle", "blosc:zstd:1:shuffle",
    "blosc:zlib:1:shuffle:1000", "blosc:snappy:5:noshuffle", "blosc:lz4:0:shuffle", "blosc:snappy:3:bitshuffle:65536",
    "zstd:1", "zstd:1:checksum+crc32c", "gzip:1", "zlib:1", "gzip:0+crc32c", "zstd:-5",
};
enum { CHAIN_COUNT = sizeof chains / sizeof *chains };

static const struct dtype dtypes[] = {
    { DTYPE_UINT, 1 }, { DTYPE_INT, 2 }, { DTYPE_FLOAT, 4 }, { DTYPE_FLOAT, 8 }, { DTYPE_COMPLEX, 16 },
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes };

/* Items of a chunk. */
static const uint32_t lengths[] = { 1, 7, 256, 1000, 4096, 16384, 20011, 65536 };
enum { LENGTH_COUNT = sizeof lengths / sizeof *lengths };

struct chunk {
    struct codec_chain chain;
    struct dtype dtype;
    uint64_t raw_bytes;
    char *raw;
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The input, and behind it what `kind` says: zeros, the input again, noise, zeros and then noise. */
static void fill_raw(struct chunk *c, unsigned kind, const uint8_t *data, size_t bytes)
{
    uint64_t state = 0x9e3779b97f4a7c15;

    c->raw = malloc(c->raw_bytes);
    MUST(c->raw);
    for (uint64_t i = 0; i < c->raw_bytes; i++) {
        bool noise = kind == 2 || (kind == 3 && i > c->raw_bytes / 2);

        c->raw[i] = (char)(i < bytes ? data[i] : noise ? next_random(&state) : kind == 1 && bytes > 0 ? data[i % bytes] : 0);
    }
}

/* An object as a sink writes it: a fresh one after a restart, while the old one is read back. */
struct object {
    char *bytes, *old;
    uint64_t count, old_count, room;
};

static bool read_back(void *context, uint64_t offset, void *to, uint64_t bytes, struct error *err)
{
    const struct object *o = context;

    (void)err;
    MUST(offset <= o->old_count && bytes <= o->old_count - offset);
    memcpy(to, o->old + offset, bytes);
    return true;
}

/* Until all that was put is taken. */
static void take_all(struct appender *a, struct object *o, uint64_t room_max, uint64_t *state)
{
    struct error err = { 0 };
    bool more = true;

    while (more) {
        uint64_t room_bytes = 1 + next_random(state) % room_max, got;
        char *room = malloc(room_bytes);

        MUST(room && appender_take(a, room, room_bytes, &got, &err) && got <= room_bytes);
        MUST(o->count + got <= o->room);
        memcpy(o->bytes + o->count, room, got);
        o->count += got;
        free(room);
        more = got == room_bytes;
        if (appender_must_restart(a)) {
            free(o->old);
            o->old = exactly(o->bytes, o->count);
            o->old_count = o->count;
            o->count = 0;
            appender_restart(a, read_back, o);
            more = true;
        }
    }
}

static void append(const struct chunk *c, uint8_t cut, uint8_t buffers, struct object *o)
{
    uint64_t slice_items_max = UINT64_C(1) << cut % 17, room_max = UINT64_C(1) << (1 + buffers % 17), head_bytes;
    uint64_t state = 0x9e3779b97f4a7c15 ^ (uint64_t)cut << 8 ^ buffers;
    struct codec_needs needs;
    struct appender *a = NULL;
    struct error err = { 0 };
    const char *head;
    char *scratch;

    codec_appended_needs(&c->chain, c->dtype, c->raw_bytes, &needs);
    scratch = malloc(needs.scratch_bytes_least + 1);
    o->room = needs.encoded_bytes_max;
    o->bytes = malloc(o->room);
    MUST(scratch && o->bytes);
    MUST(appender_new(&a, &c->chain, c->dtype, c->raw_bytes, scratch, needs.scratch_bytes_least, &err));
    MUST(appender_begin(a, &err));
    for (uint64_t done = 0; done < c->raw_bytes; ) {
        uint64_t items = 1 + next_random(&state) % slice_items_max;
        uint64_t bytes = size_min(c->raw_bytes - done, items * c->dtype.item_bytes);
        char *slice = exactly(c->raw + done, bytes);

        appender_put(a, slice, bytes);
        take_all(a, o, room_max, &state);
        free(slice);
        done += bytes;
    }
    MUST(appender_is_complete(a));
    appender_head(a, &head, &head_bytes);
    MUST(head_bytes <= o->count);
    memcpy(o->bytes, head, head_bytes);
    appender_free(a);
    free(scratch);
}

static void must_be_that_of_encode(const struct chunk *c, const struct object *o)
{
    struct codec_needs needs;
    struct encoder *e = NULL;
    struct error err = { 0 };
    char *scratch, *encoded, *given = exactly(c->raw, c->raw_bytes);
    uint64_t bytes;

    codec_encode_needs(&c->chain, c->dtype, c->raw_bytes, &needs);
    scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_useful + 1, IO_ALIGN));
    encoded = malloc(needs.encoded_bytes_max + 1);
    MUST(scratch && encoded);
    MUST(encoder_new(&e, &c->chain, c->dtype, c->raw_bytes, scratch, needs.scratch_bytes_useful, &err));
    MUST(encode(e, given, encoded, &bytes, &err));
    MUST(bytes == o->count && memcmp(encoded, o->bytes, bytes) == 0);
    encoder_free(e);
    free(scratch);
    free(encoded);
    free(given);
}

static void must_be_decoded(const struct chunk *c, const struct object *o)
{
    struct codec_needs needs;
    struct decoder *d = NULL;
    struct error err = { 0 };
    char *scratch, *encoded = exactly(o->bytes, o->count);
    uint64_t done = 0, part_bytes;
    const char *part;

    codec_decode_needs(&c->chain, c->dtype, c->raw_bytes, NULL, &needs);
    scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_useful + 1, IO_ALIGN));
    MUST(scratch && decoder_new(&d, &c->chain, c->dtype, c->raw_bytes, scratch, needs.scratch_bytes_useful, &err));
    MUST(decoder_start(d, encoded, o->count, &err));
    do {
        MUST(decoder_next(d, &part, &part_bytes, &err) && part_bytes <= c->raw_bytes - done);
        MUST(part_bytes == 0 || memcmp(part, c->raw + done, part_bytes) == 0);
        done += part_bytes;
    } while (part_bytes > 0);
    MUST(done == c->raw_bytes);
    decoder_free(d);
    free(scratch);
    free(encoded);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    struct object o = { 0 };
    struct chunk c = { 0 };
    struct error err = { 0 };

    if (bytes < HEAD_BYTES)
        return 0;
    c.dtype = dtypes[(data[2] & 15) % DTYPE_COUNT];
    MUST(codec_chain_from_text(&c.chain, chains[data[0] % CHAIN_COUNT], c.dtype.item_bytes, &err));
    c.chain.big_endian = data[2] & 16;
    c.raw_bytes = (uint64_t)lengths[data[1] % LENGTH_COUNT] * c.dtype.item_bytes;
    if (!codec_chain_appends(&c.chain, c.raw_bytes))
        c.raw_bytes += APPENDED_RAW_BYTES_LEAST;
    if (c.raw_bytes > 2 * SHORT_BYTES)
        return 0;
    fill_raw(&c, data[2] >> 5 & 3, data + HEAD_BYTES, bytes - HEAD_BYTES);
    append(&c, data[3], data[4], &o);
    must_be_that_of_encode(&c, &o);
    must_be_decoded(&c, &o);
    free(o.bytes);
    free(o.old);
    free(c.raw);
    return 0;
}
