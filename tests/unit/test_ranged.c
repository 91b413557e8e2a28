/* Ranges of blosc frames: found and decoded from just the bytes they say they need. */
#include <blosc.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

#include "engine/codec/ranged.h"

/* A decoder, and room of exactly what codec_ranged_needs says. */
struct bench {
    struct codec_chain chain;
    struct dtype dtype;
    uint64_t raw_bytes;
    struct decoder *decoder;
    char *scratch, *places;
    uint64_t room_bytes;
};

static void bench_open(struct bench *b, const char *words, struct dtype dtype, uint64_t raw_bytes,
                       uint64_t range_bytes_max, const void *head)
{
    struct codec_sample sample = { 0 };
    struct codec_needs needs;
    struct error err = { 0 };

    *b = (struct bench){ .chain = chain_of(words, dtype.item_bytes), .dtype = dtype, .raw_bytes = raw_bytes };
    codec_sample_add(&sample, &b->chain, head, 16);
    codec_ranged_needs(&b->chain, dtype, raw_bytes, range_bytes_max, &sample, &needs);
    b->room_bytes = needs.encoded_bytes_max;
    b->scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_least + 1, IO_ALIGN));
    b->places = malloc(CODEC_PLACES_BYTES_MAX);
    CHECK(decoder_new(&b->decoder, &b->chain, dtype, raw_bytes, b->scratch, needs.scratch_bytes_least, &err));
}

static void bench_close(struct bench *b)
{
    decoder_free(b->decoder);
    free(b->scratch);
    free(b->places);
}

/* The range's bytes, as a reader would bring them: copied, so that nothing beyond them is there. */
static char *fetch(struct bench *b, struct codec_range *r, const char *frame, uint64_t room_bytes, uint64_t *bytes)
{
    char *room = malloc(size_min(room_bytes, r->frame_bytes) + 1);

    *bytes = r->encoded_bytes;
    if (r->encoded_bytes <= room_bytes) {
        memcpy(room, frame + r->encoded_offset, r->encoded_bytes);
        return realloc(room, r->encoded_bytes + 1);
    }
    *bytes = 0;
    for (uint32_t i = 0; i < r->block_count; i++) {
        uint64_t offset, block_bytes;

        codec_range_gather(r, i, b->places, *bytes, &offset, &block_bytes);
        CHECK(*bytes + block_bytes <= room_bytes && offset + block_bytes <= r->frame_bytes);
        memcpy(room + *bytes, frame + offset, block_bytes);
        *bytes += block_bytes;
    }
    return room;
}

/* A range of any length, in as many ranges as it takes. */
static bool decode_range(struct bench *b, const char *frame, uint64_t frame_bytes, uint64_t first, uint64_t bytes,
                         uint64_t room_bytes, char *out, struct error *err)
{
    char head[CODEC_RANGE_HEAD_BYTES];
    struct codec_range r;

    memcpy(head, frame, size_min(sizeof head, frame_bytes));
    for (uint64_t end = first + bytes; first < end; first += r.raw_bytes) {
        uint64_t encoded_bytes, part_bytes = 1, done = 0;
        char *encoded, *table;
        const char *part;
        bool ok;

        if (!codec_range_begin(&r, b->dtype, b->raw_bytes, head, frame_bytes, first, end - first, room_bytes, err))
            return false;
        if (r.raw_bytes == 0 || r.raw_bytes > end - first || r.table_offset + r.table_bytes > frame_bytes)
            return error_at(err, ERR_IO, SPAN_NONE, "a range of %llu bytes", (unsigned long long)r.raw_bytes);
        table = malloc(r.table_bytes + 1);
        memcpy(table, frame + r.table_offset, r.table_bytes);
        ok = codec_range_place(&r, table, b->places, err);
        free(table);
        if (!ok)
            return false;
        if (r.encoded_offset + r.encoded_bytes > frame_bytes)
            return error_at(err, ERR_IO, SPAN_NONE, "beyond the frame");
        encoded = fetch(b, &r, frame, room_bytes, &encoded_bytes);
        ok = decoder_start_range(b->decoder, &r, encoded, encoded_bytes, b->places, err);
        while (ok && part_bytes > 0) {
            ok = decoder_next(b->decoder, &part, &part_bytes, err);
            CHECK(!ok || (part_bytes % b->dtype.item_bytes == 0 && done + part_bytes <= r.raw_bytes));
            if (ok && part_bytes > 0)
                memcpy(out + done, part, part_bytes);
            done += ok ? part_bytes : 0;
        }
        free(encoded);
        CHECK(!ok || done == r.raw_bytes);
        CHECK(!ok || r.decoded_bytes >= r.raw_bytes);
        if (!ok)
            return false;
        out += done;
    }
    return true;
}

/* Ranges that begin and end everywhere, in steps that meet all borders sooner or later. */
static bool ranges_are_right(struct bench *b, const char *frame, uint64_t frame_bytes, const char *raw)
{
    uint64_t items = b->raw_bytes / b->dtype.item_bytes, item_bytes = b->dtype.item_bytes;
    uint64_t step = items / 11 + 1;
    char *out = malloc(b->raw_bytes);
    struct error err = { 0 };
    bool right = true;

    for (uint64_t first = 0; right && first < items; first += step)
        for (uint64_t count = 1; right && first + count <= items; count = count * 7 + 1) {
            memset(out, 0x55, count * item_bytes);
            right = decode_range(b, frame, frame_bytes, first * item_bytes, count * item_bytes, b->room_bytes, out, &err)
                    && memcmp(out, raw + first * item_bytes, count * item_bytes) == 0;
        }
    right = right && decode_range(b, frame, frame_bytes, 0, b->raw_bytes, UINT64_MAX, out, &err) &&
            memcmp(out, raw, b->raw_bytes) == 0;
    if (err.code)
        fprintf(stderr, "%s\n", err.message);
    free(out);
    return right;
}

static void test_ranged__every_range_of_what_c_blosc_writes(void)
{
    static const char *const cnames[] = { "blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd" };
    static const size_t typesizes[] = { 1, 2, 3, 4, 8, 16, 17, 255 };
    enum { BYTES = 4 * 50021 };
    char *raw = malloc(BYTES), *frame = malloc(BYTES + BLOSC_MAX_OVERHEAD);

    fill_smooth_f4((float *)raw, BYTES / 4);
    for (unsigned c = 0; c < 6; c++)
        for (unsigned t = 0; t < 8; t++)
            for (int threads = 1; threads <= 4; threads += 3)
                for (int shuffle = 0; shuffle < 3; shuffle++) {
                    size_t block_bytes = t % 2 ? 4096 : 0;
                    int bytes = blosc_compress_ctx(5, shuffle, typesizes[t], BYTES, raw, frame,
                                                   BYTES + BLOSC_MAX_OVERHEAD, cnames[c], block_bytes, threads);
                    struct bench b;

                    CHECK(bytes > 0);
                    bench_open(&b, "blosc", dtype_i4, BYTES, 20000, frame);
                    CHECK(ranges_are_right(&b, frame, (uint64_t)bytes, raw));
                    bench_close(&b);
                }
    free(raw);
    free(frame);
}

static void test_ranged__of_what_cannot_be_compressed(void)
{
    enum { BYTES = 100000 };
    char *raw = malloc(BYTES), *frame = malloc(BYTES + BLOSC_MAX_OVERHEAD);
    struct bench b;
    int bytes;

    fill_noise(raw, BYTES);
    bytes = blosc_compress_ctx(5, 1, 4, BYTES, raw, frame, BYTES + BLOSC_MAX_OVERHEAD, "lz4", 0, 1);
    CHECK_EQUAL(bytes, BYTES + 16);
    bench_open(&b, "blosc", dtype_i4, BYTES, 4000, frame);
    b.room_bytes = 4001;
    CHECK(ranges_are_right(&b, frame, (uint64_t)bytes, raw));
    bench_close(&b);
    free(raw);
    free(frame);
}

/* More blocks than a range may have, the smallest that c-blosc makes. */
static void test_ranged__of_very_many_very_small_blocks(void)
{
    enum { BYTES = 400000 };
    char *raw = malloc(BYTES), *frame = malloc(2 * BYTES);
    struct bench b;
    int bytes;

    fill_smooth_f4((float *)raw, BYTES / 4);
    bytes = blosc_compress_ctx(9, 1, 4, BYTES, raw, frame, 2 * BYTES, "lz4", 128, 1);
    CHECK(bytes > 0);
    bench_open(&b, "blosc", dtype_i4, BYTES, 300000, frame);
    CHECK(ranges_are_right(&b, frame, (uint64_t)bytes, raw));
    bench_close(&b);
    free(raw);
    free(frame);
}

static void test_ranged__bears_blocks_in_any_order(void)
{
    static const uint32_t strides[] = { 2, 7, 16, 60 };
    enum { BYTES = 1000000 };
    char *raw = malloc(BYTES), *frame = malloc(BYTES + BLOSC_MAX_OVERHEAD);
    int bytes;

    fill_smooth_f4((float *)raw, BYTES / 4);
    bytes = blosc_compress_ctx(5, 1, 4, BYTES, raw, frame, BYTES + BLOSC_MAX_OVERHEAD, "lz4", 8192, 1);
    CHECK(bytes > 0);
    for (unsigned i = 0; i < 4; i++) {
        char *shuffled = shuffled_frame(frame, (uint64_t)bytes, strides[i]);
        struct bench b;

        bench_open(&b, "blosc", dtype_i4, BYTES, 40000, frame);
        CHECK(ranges_are_right(&b, shuffled, (uint64_t)bytes, raw));
        bench_close(&b);
        free(shuffled);
    }
    free(raw);
    free(frame);
}

/* Items of 8 bytes in blocks of 999, stored with the other byte order. */
static void test_ranged__gives_whole_items_whatever_the_blocks(void)
{
    enum { BYTES = 80000 };
    struct dtype f8 = { DTYPE_FLOAT, 8 };
    char *raw = malloc(BYTES), *frame = malloc(BYTES + BLOSC_MAX_OVERHEAD), *swapped = malloc(BYTES);
    struct bench b;
    int bytes;

    fill_smooth_f4((float *)raw, BYTES / 4);
    memcpy(swapped, raw, BYTES);
    dtype_swap(swapped, BYTES, 8);
    bytes = blosc_compress_ctx(5, 1, 3, BYTES, raw, frame, BYTES + BLOSC_MAX_OVERHEAD, "zstd", 1001, 1);
    bench_open(&b, "blosc", f8, BYTES, 5000, frame);
    CHECK(ranges_are_right(&b, frame, (uint64_t)bytes, raw));
    bench_close(&b);
    bench_open(&b, "blosc", f8, BYTES, 5000, frame);
    decoder_free(b.decoder);
    b.chain.big_endian = true;
    CHECK(decoder_new(&b.decoder, &b.chain, f8, BYTES, b.scratch, 2048 + 128, &(struct error){ 0 }));
    CHECK(ranges_are_right(&b, frame, (uint64_t)bytes, swapped));
    bench_close(&b);
    free(raw);
    free(frame);
    free(swapped);
}

/* Every byte of the header and of the table turned to every kind of nonsense: an error or the right bytes, and nothing
 * read beyond what was brought (the address sanitizer looks on). */
static void test_ranged__survives_hostile_headers_and_tables(void)
{
    static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    enum { BYTES = 60000 };
    char *raw = malloc(BYTES), *frame = malloc(BYTES + BLOSC_MAX_OVERHEAD), *out = malloc(BYTES);
    unsigned refused = 0;
    int bytes;

    fill_smooth_f4((float *)raw, BYTES / 4);
    bytes = blosc_compress_ctx(5, 1, 4, BYTES, raw, frame, BYTES + BLOSC_MAX_OVERHEAD, "lz4", 4096, 1);
    for (unsigned at = 0; at < 16 + 4 * 15 + 40; at++)
        for (unsigned v = 0; v < 5; v++) {
            char kept = frame[at];
            struct error err = { 0 };
            struct bench b;

            bench_open(&b, "blosc", dtype_i4, BYTES, 10000, frame);
            frame[at] = (char)values[v];
            for (uint64_t first = 0; first < BYTES; first += 10000)
                refused += !decode_range(&b, frame, (uint64_t)bytes, first, 10000, b.room_bytes, out, &err);
            CHECK(err.code == ERR_NONE || err.code == ERR_INPUT || err.code == ERR_FIT);
            frame[at] = kept;
            bench_close(&b);
        }
    CHECK(refused > 500);
    for (int cut = 0; cut < bytes; cut += 11) {
        struct error err = { 0 };
        struct bench b;

        bench_open(&b, "blosc", dtype_i4, BYTES, 10000, frame);
        CHECK(!decode_range(&b, frame, (uint64_t)cut, 0, 10000, b.room_bytes, out, &err));
        CHECK_EQUAL(err.code, ERR_INPUT);
        bench_close(&b);
    }
    free(raw);
    free(frame);
    free(out);
}

static void test_ranged__needs_little_more_than_the_range(void)
{
    struct codec_chain blosc = chain_of("blosc:lz4:5", 4), none = chain_of("none", 4);
    struct codec_sample sample = { .blosc_block_bytes_max = 512 * 1024 };
    struct codec_needs ranged, whole;

    codec_ranged_needs(&blosc, dtype_i4, 64 * MIB, 2 * MIB, &sample, &ranged);
    codec_decode_needs(&blosc, dtype_i4, 64 * MIB, &sample, &whole);
    CHECK(ranged.encoded_bytes_max > 3 * MIB && ranged.encoded_bytes_max < 3 * MIB + 256 * KIB);
    CHECK_EQUAL(ranged.scratch_bytes_least, whole.scratch_bytes_least);
    codec_ranged_needs(&blosc, dtype_i4, 64 * MIB, 64 * MIB, &sample, &ranged);
    CHECK(ranged.encoded_bytes_max <= whole.encoded_bytes_max);
    codec_ranged_needs(&none, dtype_i4, 64 * MIB, 2 * MIB, &sample, &ranged);
    CHECK_EQUAL(ranged.encoded_bytes_max, 2 * MIB);
}

static void check_cannot(const char *words, enum codec_ability ability, const char *wanted)
{
    struct codec_chain c = chain_of(words, 4);
    const char *got = codec_chain_cannot(&c, ability);

    CHECK((got == NULL) == (wanted == NULL) && (!wanted || strcmp(got, wanted) == 0));
}

static void test_codec__says_which_codec_cannot_be_decoded_in_parts(void)
{
    check_cannot("none", CODEC_RANGED, NULL);
    check_cannot("blosc", CODEC_RANGED, NULL);
    check_cannot("blosc+crc32c", CODEC_RANGED, "crc32c");
    check_cannot("crc32c", CODEC_RANGED, "crc32c");
    check_cannot("zstd", CODEC_RANGED, "zstd");
    check_cannot("none", CODEC_STREAMED, NULL);
    check_cannot("zstd+crc32c", CODEC_STREAMED, NULL);
    check_cannot("gzip", CODEC_STREAMED, NULL);
    check_cannot("zlib", CODEC_STREAMED, NULL);
    check_cannot("crc32c", CODEC_STREAMED, NULL);
    check_cannot("lz4", CODEC_STREAMED, "lz4");
    check_cannot("blosc", CODEC_STREAMED, "blosc");
    check_cannot("zstd+gzip", CODEC_STREAMED, "gzip");
}

int main(void)
{
    RUN(test_ranged__every_range_of_what_c_blosc_writes);
    RUN(test_ranged__of_what_cannot_be_compressed);
    RUN(test_ranged__of_very_many_very_small_blocks);
    RUN(test_ranged__bears_blocks_in_any_order);
    RUN(test_ranged__gives_whole_items_whatever_the_blocks);
    RUN(test_ranged__survives_hostile_headers_and_tables);
    RUN(test_ranged__needs_little_more_than_the_range);
    RUN(test_codec__says_which_codec_cannot_be_decoded_in_parts);
    return test_summary();
}
