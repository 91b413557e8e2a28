/* Streams: chunks decoded through windows of any size, in memory of exactly what was planned. */
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

#include "engine/codec/streamed.h"

enum { RAW_BYTES = 4 * 75001 };

/* A chunk through a decoder, `window_bytes` at a time. */
static bool stream_chunk(struct stream_decoder *s, struct dtype dtype, uint64_t raw_bytes, const char *encoded,
                         uint64_t encoded_bytes, uint64_t window_bytes, char *out, struct error *err)
{
    uint64_t given = 0, done = 0, part_bytes;
    const char *part;

    if (!stream_decoder_start(s, encoded_bytes, err))
        return false;
    for (;;) {
        uint64_t bytes = size_min(window_bytes, encoded_bytes - given);
        char *window = malloc(bytes + 1);
        bool ok;

        memcpy(window, encoded + given, bytes);
        stream_decoder_give(s, window, bytes);
        given += bytes;
        while ((ok = stream_decoder_next(s, &part, &part_bytes, err)) && part_bytes > 0) {
            CHECK(part_bytes % dtype.item_bytes == 0 && done + part_bytes <= raw_bytes);
            memcpy(out + done, part, part_bytes);
            done += part_bytes;
        }
        free(window);
        if (!ok)
            return false;
        if (given == encoded_bytes)
            return done == raw_bytes || error_at(err, ERR_IO, SPAN_NONE, "gave %llu bytes", (unsigned long long)done);
    }
}

static struct stream_decoder *make_stream(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                                          const struct codec_sample *sample, char **memory)
{
    struct stream_decoder *s = NULL;
    struct codec_needs needs;
    struct error err = { 0 };

    codec_streamed_needs(c, dtype, raw_bytes, sample, &needs);
    *memory = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_least, IO_ALIGN));
    CHECK(stream_decoder_new(&s, c, dtype, raw_bytes, *memory, needs.scratch_bytes_least, &err));
    return s;
}

static bool stream_bytes(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, const char *encoded,
                         uint64_t encoded_bytes, uint64_t window_bytes, char *out, struct error *err)
{
    struct codec_sample sample = { 0 };
    struct stream_decoder *s;
    char *memory;
    bool ok;

    codec_sample_add(&sample, c, encoded, encoded_bytes);
    s = make_stream(c, dtype, raw_bytes, &sample, &memory);
    ok = stream_chunk(s, dtype, raw_bytes, encoded, encoded_bytes, window_bytes, out, err);
    stream_decoder_free(s);
    free(memory);
    return ok;
}

static void test_streamed__gives_the_chunk_through_windows_of_any_size(void)
{
    static const char *const chains[] = { "none", "zstd:3", "zstd:1:checksum", "zstd:19", "gzip:5", "zlib:1", "gzip:0",
                                          "zstd:3+crc32c", "gzip:1+crc32c", "crc32c" };
    static const uint64_t windows[] = { 1, 2, 3, 7, 4095, 4096, 100003, 1 << 20 };
    char *raw = malloc(RAW_BYTES), *out = malloc(RAW_BYTES), *swapped = malloc(RAW_BYTES);

    fill_smooth_f4((float *)raw, RAW_BYTES / 4);
    fill_noise(raw + 100000, 50000);
    memcpy(swapped, raw, RAW_BYTES);
    dtype_swap(swapped, RAW_BYTES, 4);
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++)
        for (unsigned w = 0; w < 8; w++) {
            struct codec_chain c = chain_of(chains[i], 4);
            struct error err = { 0 };
            uint64_t encoded_bytes;
            char *encoded;

            CHECK(encode_bytes(&c, dtype_i4, raw, RAW_BYTES, &encoded, &encoded_bytes, &err));
            memset(out, 0x55, RAW_BYTES);
            CHECK(stream_bytes(&c, dtype_i4, RAW_BYTES, encoded, encoded_bytes, windows[w], out, &err));
            CHECK(memcmp(out, raw, RAW_BYTES) == 0);
            c.big_endian = true;
            CHECK(stream_bytes(&c, dtype_i4, RAW_BYTES, encoded, encoded_bytes, windows[w], out, &err));
            CHECK(memcmp(out, swapped, RAW_BYTES) == 0);
            if (err.code)
                fprintf(stderr, "%s: %s\n", chains[i], err.message);
            free(encoded);
        }
    free(raw);
    free(out);
    free(swapped);
}

/* Items that no step ends with: of 3 x 4 bytes, and a decoder that is used again. */
static void test_streamed__goes_from_chunk_to_chunk_with_whole_items(void)
{
    struct codec_chain c = chain_of("zstd:3", 12);
    struct dtype twelve = { DTYPE_UINT, 12 };
    enum { BYTES = 12 * 30011 };
    char *raw = malloc(BYTES), *out = malloc(BYTES), *encoded, *memory;
    struct stream_decoder *s;
    struct error err = { 0 };
    uint64_t encoded_bytes;

    fill_smooth_f4((float *)raw, BYTES / 4);
    CHECK(encode_bytes(&c, twelve, raw, BYTES, &encoded, &encoded_bytes, &err));
    s = make_stream(&c, twelve, BYTES, NULL, &memory);
    for (unsigned i = 0; i < 4; i++) {
        struct error cut = { 0 };

        CHECK(!stream_chunk(s, twelve, BYTES, encoded, encoded_bytes * i / 4, 1000, out, &cut));
        CHECK_EQUAL(cut.code, ERR_INPUT);
        CHECK(stream_chunk(s, twelve, BYTES, encoded, encoded_bytes, 10000, out, &err));
        CHECK(memcmp(out, raw, BYTES) == 0);
    }
    stream_decoder_free(s);
    free(memory);
    free(raw);
    free(out);
    free(encoded);
}

/* As other writers make them: frames and members in a row, without sizes, with padding. */
static void test_streamed__reads_frames_and_members_in_a_row(void)
{
    struct codec_chain zstd = chain_of("zstd:3", 4), gzip = chain_of("gzip:5", 4);
    char *raw = malloc(RAW_BYTES), *out = malloc(RAW_BYTES), *frames = malloc(2 * RAW_BYTES);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    struct error err = { 0 };
    uint64_t bytes = 0, half = RAW_BYTES / 2 - 2;

    fill_smooth_f4((float *)raw, RAW_BYTES / 4);
    bytes = ZSTD_compressCCtx(context, frames, 2 * RAW_BYTES, raw, half, 3);
    memcpy(frames + bytes, "\x50\x2a\x4d\x18\x03\0\0\0abc", 11);        /* to be skipped */
    bytes += 11;
    {
        ZSTD_inBuffer in = { raw + half, RAW_BYTES - half, 0 };
        ZSTD_outBuffer to = { frames + bytes, 2 * RAW_BYTES - bytes, 0 };

        while (ZSTD_compressStream2(context, &to, &in, ZSTD_e_end) != 0) { }
        bytes += to.pos;
    }
    for (uint64_t window = 1; window < 2 * bytes; window = window * 5 + 2) {
        CHECK(stream_bytes(&zstd, dtype_i4, RAW_BYTES, frames, bytes, window, out, &err));
        CHECK(memcmp(out, raw, RAW_BYTES) == 0);
    }
    frames[bytes] = 1;
    CHECK(!stream_bytes(&zstd, dtype_i4, RAW_BYTES, frames, bytes + 1, 1000, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    ZSTD_freeCCtx(context);

    err = (struct error){ 0 };
    bytes = 0;
    for (unsigned i = 0; i < 2; i++) {
        char *member;
        uint64_t member_bytes, raw_bytes = i == 0 ? half : RAW_BYTES - half;

        CHECK(encode_bytes(&gzip, dtype_i4, raw + i * half, raw_bytes, &member, &member_bytes, &err));
        memcpy(frames + bytes, member, member_bytes);
        bytes += member_bytes;
        free(member);
    }
    memset(frames + bytes, 0, 1000);
    for (uint64_t window = 1; window < 2 * bytes; window = window * 5 + 2) {
        CHECK(stream_bytes(&gzip, dtype_i4, RAW_BYTES, frames, bytes, window, out, &err));
        CHECK(stream_bytes(&gzip, dtype_i4, RAW_BYTES, frames, bytes + 1000, window, out, &err));
        CHECK(memcmp(out, raw, RAW_BYTES) == 0);
    }
    frames[bytes + 999] = 1;
    CHECK(!stream_bytes(&gzip, dtype_i4, RAW_BYTES, frames, bytes + 1000, 1000, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    free(raw);
    free(out);
    free(frames);
}

static void test_streamed__refuses_what_is_cut_too_long_or_damaged(void)
{
    static const char *const chains[] = { "none", "zstd:3:checksum", "gzip:5", "zlib:5", "zstd:3+crc32c", "crc32c" };
    enum { BYTES = 40000 };
    char *raw = malloc(BYTES), *out = malloc(2 * BYTES);

    fill_smooth_f4((float *)raw, BYTES / 4);
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++) {
        struct codec_chain c = chain_of(chains[i], 4);
        struct error err = { 0 };
        uint64_t bytes;
        char *encoded;

        CHECK(encode_bytes(&c, dtype_i4, raw, BYTES, &encoded, &bytes, &err));
        for (uint64_t cut = 0; cut < bytes; cut += 1 + bytes / 300) {
            struct error why = { 0 };

            CHECK(!stream_bytes(&c, dtype_i4, BYTES, encoded, cut, 977, out, &why));
            CHECK_EQUAL(why.code, ERR_INPUT);
        }
        for (uint64_t at = 0; i > 0 && at < bytes; at += 1 + bytes / 300) {
            struct error why = { 0 };

            encoded[at] ^= 0x10;
            CHECK(!stream_bytes(&c, dtype_i4, BYTES, encoded, bytes, 977, out, &why) ||
                  memcmp(out, raw, BYTES) == 0);        /* a gzip head has bits that nobody reads */
            CHECK(why.code == ERR_NONE || why.code == ERR_INPUT || why.code == ERR_FIT);
            encoded[at] ^= 0x10;
        }
        CHECK(!stream_bytes(&c, dtype_i4, BYTES - 4, encoded, bytes, 977, out, &err));
        CHECK_EQUAL(err.code, ERR_INPUT);
        err = (struct error){ 0 };
        CHECK(!stream_bytes(&c, dtype_i4, BYTES + 4, encoded, bytes, 977, out, &err));
        CHECK_EQUAL(err.code, ERR_INPUT);
        free(encoded);
    }
    free(raw);
    free(out);
}

/* A frame that refers further back than its chunk's neighbours: refused with what the next plan needs, which fits. */
static void test_streamed__learns_a_zstd_window_that_was_not_planned_for(void)
{
    enum { BYTES = 6 << 20 };
    struct codec_chain c = chain_of("zstd:1", 4);
    struct codec_sample planned = { .zstd_window_bytes_max = 1 << 20 }, seen = { 0 };
    char *raw = malloc(BYTES), *out = malloc(BYTES), *encoded = malloc(ZSTD_compressBound(BYTES)), *memory;
    ZSTD_CCtx *context = ZSTD_createCCtx();
    struct codec_needs less, more;
    struct stream_decoder *s;
    struct error err = { 0 };
    uint64_t bytes;

    fill_noise(raw, BYTES);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 22);
    bytes = ZSTD_compress2(context, encoded, ZSTD_compressBound(BYTES), raw, BYTES);
    ZSTD_freeCCtx(context);
    for (uint64_t window = 5; window <= 65536; window += 65531) {    /* its header is cut; is whole */
        unsigned tries = 0;

        planned.zstd_window_bytes_max = 1 << 20;
        for (; tries < 3; tries++) {
            bool ok;

            s = make_stream(&c, dtype_i4, BYTES, &planned, &memory);
            err = (struct error){ 0 };
            ok = stream_chunk(s, dtype_i4, BYTES, encoded, bytes, window, out, &err);
            stream_decoder_saw(s, &seen);
            stream_decoder_free(s);
            free(memory);
            if (ok)
                break;
            CHECK_EQUAL(err.code, ERR_FIT);
            CHECK(err.need_bytes > err.have_bytes);
            CHECK(codec_sample_exceeds(&seen, &planned));
            codec_sample_merge(&planned, &seen);
        }
        CHECK(tries == (window == 5 ? 2 : 1) && memcmp(out, raw, BYTES) == 0);
        seen = (struct codec_sample){ 0 };
    }
    codec_sample_add(&seen, &c, encoded, 64);
    CHECK_EQUAL(seen.zstd_window_bytes_max, 4 << 20);
    codec_streamed_needs(&c, dtype_i4, BYTES, &(struct codec_sample){ .zstd_window_bytes_max = 1 << 20 }, &less);
    codec_streamed_needs(&c, dtype_i4, BYTES, &seen, &more);
    CHECK(more.scratch_bytes_least - less.scratch_bytes_least >= 3 * MIB);
    CHECK_EQUAL(more.library_bytes, 0);
    free(raw);
    free(out);
    free(encoded);
}

int main(void)
{
    RUN(test_streamed__gives_the_chunk_through_windows_of_any_size);
    RUN(test_streamed__goes_from_chunk_to_chunk_with_whole_items);
    RUN(test_streamed__reads_frames_and_members_in_a_row);
    RUN(test_streamed__refuses_what_is_cut_too_long_or_damaged);
    RUN(test_streamed__learns_a_zstd_window_that_was_not_planned_for);
    return test_summary();
}
