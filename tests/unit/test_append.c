/* Chunks that come in slices: the bytes are those of encode(), and others read them. */
#include <blosc.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

#include "engine/codec/append.h"
#include "engine/codec/codec_impl.h"

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

/* An object as a sink writes it: a fresh one after a restart, while the old one is read back. */
struct object_bytes {
    char *bytes, *old;
    uint64_t count, old_count, room;
    unsigned restarts;
};

static bool read_back(void *context, uint64_t offset, void *to, uint64_t bytes, struct error *err)
{
    const struct object_bytes *o = context;

    if (offset + bytes > o->old_count)
        return error_at(err, ERR_IO, SPAN_NONE, "%llu bytes at %llu of %llu", (unsigned long long)bytes,
                        (unsigned long long)offset, (unsigned long long)o->old_count);
    memcpy(to, o->old + offset, bytes);
    return true;
}

/* Into buffers of random lengths, each with nothing behind it. */
static bool take_all(struct appender *a, struct object_bytes *o, uint32_t room_max, struct error *err)
{
    uint64_t got = 0, room_bytes;

    do {
        char *room;

        room_bytes = 1 + random_below(room_max);
        room = malloc(room_bytes);
        if (!appender_take(a, room, room_bytes, &got, err) || o->count + got > o->room) {
            free(room);
            return false;
        }
        memcpy(o->bytes + o->count, room, got);
        o->count += got;
        free(room);
        if (appender_must_restart(a)) {
            free(o->old);
            o->old = malloc(o->count + 1);
            o->old_count = o->count;
            memcpy(o->old, o->bytes, o->count);
            o->count = 0;
            o->restarts++;
            appender_restart(a, read_back, o);
            room_bytes = got + 1;
            got = room_bytes;
        }
    } while (got == room_bytes);
    return true;
}

/* A chunk in slices of 1 .. slice_max items, with the least scratch. */
static bool append_bytes(struct appender *a, const char *raw, uint64_t raw_bytes, uint32_t item_bytes,
                         uint32_t slice_max, uint32_t room_max, struct object_bytes *o, struct error *err)
{
    const char *head;
    uint64_t head_count;

    o->count = 0;
    if (!appender_begin(a, err))
        return false;
    for (uint64_t done = 0; done < raw_bytes; ) {
        uint64_t slice_bytes = size_min(raw_bytes - done, (1 + random_below(slice_max)) * (uint64_t)item_bytes);
        char *slice = malloc(slice_bytes);
        bool ok;

        memcpy(slice, raw + done, slice_bytes);
        appender_put(a, slice, slice_bytes);
        ok = take_all(a, o, room_max, err);
        free(slice);
        if (!ok)
            return false;
        done += slice_bytes;
    }
    appender_head(a, &head, &head_count);
    memcpy(o->bytes, head, head_count);
    return appender_is_complete(a) || error_at(err, ERR_IO, SPAN_NONE, "the chunk is not complete");
}

/* Twice with one appender, a chunk half done in between. */
static unsigned check_chain(const struct codec_chain *c, struct dtype dtype, const char *raw, uint64_t raw_bytes,
                            uint32_t slice_max)
{
    struct object_bytes o = { 0 };
    struct codec_needs needs;
    struct appender *a = NULL;
    struct error err = { 0 };
    uint64_t encoded_bytes = 0;
    char *encoded = NULL, *scratch;
    struct text words;

    text_init(&words, 100);
    codec_chain_text(c, &words);
    CHECK(encode_bytes(c, dtype, raw, raw_bytes, &encoded, &encoded_bytes, &err));
    codec_appended_needs(c, dtype, raw_bytes, &needs);
    scratch = malloc(needs.scratch_bytes_least + 1);
    o.room = needs.encoded_bytes_max;
    o.bytes = malloc(o.room);
    CHECK(appender_new(&a, c, dtype, raw_bytes, scratch, needs.scratch_bytes_least, &err));
    for (unsigned i = 0; a && i < 2; i++) {
        bool same = append_bytes(a, raw, raw_bytes, dtype.item_bytes, slice_max, i ? 3000 : 100000, &o, &err) &&
                    o.count == encoded_bytes && memcmp(o.bytes, encoded, encoded_bytes) == 0;
        char *half = malloc(raw_bytes / 2);

        CHECK(same);
        if (!same)
            fprintf(stderr, "%s: %llu bytes raw, %llu appended, %llu encoded: %s\n", words.chars,
                    (unsigned long long)raw_bytes, (unsigned long long)o.count, (unsigned long long)encoded_bytes,
                    err.message);
        memcpy(half, raw, raw_bytes / 2);
        o.count = 0;
        CHECK(appender_begin(a, &err));
        appender_put(a, half, raw_bytes / 2 / dtype.item_bytes * dtype.item_bytes);
        CHECK(take_all(a, &o, 100000, &err));
        free(half);
    }
    appender_free(a);
    free(scratch);
    free(o.bytes);
    free(o.old);
    free(encoded);
    text_release(&words);
    return o.restarts;
}

static unsigned check_words(const char *words, const char *raw, uint64_t raw_bytes, uint32_t slice_max)
{
    struct codec_chain c = chain_of(words, 4);

    return check_chain(&c, dtype_i4, raw, raw_bytes, slice_max);
}

static void test_append__gives_the_bytes_of_encode_at_any_slices(void)
{
    static const char *const blosc[] = {
        "blosc:lz4:5:shuffle", "blosc:lz4:9:noshuffle", "blosc:lz4hc:3:bitshuffle", "blosc:zstd:1:shuffle",
        "blosc:zlib:1:shuffle", "blosc:snappy:5:noshuffle", "blosc:lz4:0:shuffle", "blosc:lz4:5:shuffle:1000",
        "blosc:snappy:3:bitshuffle", "none", "crc32c",
    };
    static const char *const streams[] = {
        "zstd:3", "zstd:1:checksum+crc32c", "zstd:-5", "gzip:1", "zlib:1", "gzip:0+crc32c",
    };
    const uint64_t bytes = 5000000, long_bytes = APPENDED_RAW_BYTES_LEAST + 4 * 12345;
    char *raw = malloc(long_bytes);

    fill_smooth_f4((float *)raw, long_bytes / 4);
    for (unsigned i = 0; i < sizeof blosc / sizeof *blosc; i++) {
        CHECK_EQUAL(check_words(blosc[i], raw, bytes, 1 << (4 + 2 * (i % 9))), 0);
        check_words(blosc[i], raw, 4 * (1 + random_below(3000)), 100);
    }
    for (unsigned i = 0; i < sizeof streams / sizeof *streams; i++)
        check_words(streams[i], raw, i % 3 ? long_bytes : APPENDED_RAW_BYTES_LEAST, i % 2 ? 3000 : 3000000);
    free(raw);
}

static void test_append__stores_a_blosc_frame_that_does_not_shrink(void)
{
    static const char *const chains[] = {
        "blosc:lz4:5:shuffle", "blosc:lz4:5:noshuffle", "blosc:zstd:1:bitshuffle", "blosc:zlib:1:shuffle",
        "blosc:snappy:5:shuffle", "blosc:lz4hc:1:noshuffle",
    };
    const uint64_t bytes = 3000000;
    char *raw = malloc(bytes);
    unsigned restarts = 0;

    /* a little that shrinks, then noise: the frame gives up at its end, or half-way, or in the very first block */
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++)
        for (unsigned smooth = 0; smooth < 3; smooth++) {
            fill_noise(raw, bytes);
            memset(raw + smooth * 500000, 0, smooth * 10);
            restarts += check_words(chains[i], raw, bytes, smooth == 1 ? 2000 : 200000);
        }
    CHECK(restarts > 24);
    free(raw);
}

static void test_append__takes_noise_and_fill_values(void)
{
    static const char *const chains[] = { "zstd:1", "gzip:1", "gzip:0" };
    const uint64_t bytes = APPENDED_RAW_BYTES_LEAST + 4;
    char *noise = malloc(bytes), *zeros = calloc(1, bytes);

    fill_noise(noise, bytes);
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++) {
        check_words(chains[i], noise, bytes, 5000000);
        check_words(chains[i], zeros, bytes, 5000000);
    }
    free(noise);
    free(zeros);
}

static void test_append__swaps_bytes_as_encode_does(void)
{
    const char *const chains[] = { "blosc:lz4:5:shuffle", "zstd:1", "none" };
    const struct dtype c8 = { DTYPE_COMPLEX, 16 };
    const uint64_t bytes = APPENDED_RAW_BYTES_LEAST + 16 * 1001;
    char *raw = malloc(bytes);

    fill_smooth_f4((float *)raw, bytes / 4);
    for (unsigned i = 0; i < 3; i++) {
        struct codec_chain c = chain_of(chains[i], 3);      /* blocks of three bytes cut items in two */

        c.big_endian = true;
        check_chain(&c, c8, raw, bytes, 100000);
    }
    free(raw);
}

/* What encode() wrote in steps, read by the libraries themselves. */
static void test_append__is_read_by_others(void)
{
    const uint64_t bytes = APPENDED_RAW_BYTES_LEAST + 4 * 77777;
    char *raw = malloc(bytes), *back = malloc(bytes), *encoded = NULL;
    struct codec_chain c = chain_of("zstd:3:checksum", 4);
    uint64_t encoded_bytes;
    struct error err = { 0 };

    fill_smooth_f4((float *)raw, bytes / 4);
    CHECK(encode_bytes(&c, dtype_i4, raw, bytes, &encoded, &encoded_bytes, &err));
    CHECK_EQUAL(ZSTD_getFrameContentSize(encoded, encoded_bytes), bytes);
    CHECK_EQUAL(ZSTD_findFrameCompressedSize(encoded, encoded_bytes), encoded_bytes);
    CHECK_EQUAL(ZSTD_decompress(back, bytes, encoded, encoded_bytes), bytes);
    CHECK(memcmp(back, raw, bytes) == 0);
    free(encoded);
    for (unsigned i = 0; i < 2; i++) {
        z_stream z = { 0 };

        c = chain_of(i ? "gzip:2" : "zlib:1", 4);
        CHECK(encode_bytes(&c, dtype_i4, raw, bytes, &encoded, &encoded_bytes, &err));
        CHECK_EQUAL(inflateInit2(&z, i ? MAX_WBITS + 16 : MAX_WBITS), Z_OK);
        z.next_in = (Bytef *)encoded;
        z.avail_in = (uInt)encoded_bytes;
        z.next_out = (Bytef *)back;
        z.avail_out = (uInt)bytes;
        CHECK_EQUAL(inflate(&z, Z_FINISH), Z_STREAM_END);
        CHECK(z.avail_in == 0 && z.avail_out == 0 && memcmp(back, raw, bytes) == 0);
        inflateEnd(&z);
        free(encoded);
    }
    free(raw);
    free(back);
}

static void test_append__names_what_it_cannot(void)
{
    static const struct { const char *words, *name; } cases[] = {
        { "none", NULL }, { "zstd:3", NULL }, { "gzip:1+crc32c", NULL }, { "blosc:zstd:3", NULL }, { "crc32c", NULL },
        { "lz4", "lz4" }, { "blosc:blosclz:5", "blosc:blosclz" }, { "zstd:1+gzip:1", "gzip" },
        { "blosc:lz4:5+crc32c", "crc32c" }, { "crc32c+zstd:1", "crc32c" }, { "zstd:1+crc32c+crc32c", "crc32c" },
        { "zstd:1+lz4", "lz4" },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct codec_chain c = chain_of(cases[i].words, 4);
        const char *name = chain_append_cannot(&c);

        CHECK(cases[i].name ? name && strcmp(name, cases[i].name) == 0 : !name);
        CHECK_EQUAL(codec_chain_appends(&c, APPENDED_RAW_BYTES_LEAST), !cases[i].name);
    }
}

static void test_append__leaves_short_chunks_of_streams_to_encode(void)
{
    const char *const words[] = { "zstd:3", "gzip:1", "blosc:lz4:5" };
    char scratch[16];

    for (unsigned i = 0; i < 3; i++) {
        struct codec_chain c = chain_of(words[i], 4);
        struct appender *a = NULL;
        struct error err = { 0 };

        CHECK_EQUAL(codec_chain_appends(&c, APPENDED_RAW_BYTES_LEAST - 4), i == 2);
        CHECK(!appender_new(&a, &c, dtype_i4, APPENDED_RAW_BYTES_LEAST - 4, scratch, 1, &err));
        CHECK_EQUAL(err.code, i == 2 ? ERR_FIT : ERR_USAGE);
    }
}

static void test_append__stops_at_a_signal(void)
{
    static const volatile int stop = 2;
    struct codec_chain c = chain_of("zstd:19", 4);
    char *raw = calloc(1, 2 * APPENDED_RAW_BYTES_LEAST), *scratch, *encoded;
    struct codec_needs needs;
    struct encoder *e = NULL;
    struct error err = { 0 };
    uint64_t bytes;

    codec_encode_needs(&c, dtype_i4, 2 * APPENDED_RAW_BYTES_LEAST, &needs);
    scratch = malloc(needs.scratch_bytes_least);
    encoded = malloc(needs.encoded_bytes_max);
    CHECK(encoder_new(&e, &c, dtype_i4, 2 * APPENDED_RAW_BYTES_LEAST, scratch, needs.scratch_bytes_least, &err));
    encoder_stop_when(e, &stop);
    CHECK(!encode(e, raw, encoded, &bytes, &err));
    CHECK_EQUAL(err.code, ERR_INTERRUPTED);
    encoder_free(e);
    free(raw);
    free(scratch);
    free(encoded);
}

int main(void)
{
    RUN(test_append__gives_the_bytes_of_encode_at_any_slices);
    RUN(test_append__stores_a_blosc_frame_that_does_not_shrink);
    RUN(test_append__takes_noise_and_fill_values);
    RUN(test_append__swaps_bytes_as_encode_does);
    RUN(test_append__is_read_by_others);
    RUN(test_append__names_what_it_cannot);
    RUN(test_append__leaves_short_chunks_of_streams_to_encode);
    RUN(test_append__stops_at_a_signal);
    return test_summary();
}
