/* Chains of codecs: what others wrote is read, what we write reads back, what is damaged is refused. */
#include <blosc.h>
#include <libdeflate.h>
#include <zstd.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

/* ---- text ---- */

static void check_text(const char *words, uint32_t item_bytes, const char *wanted)
{
    struct codec_chain c = chain_of(words, item_bytes);
    struct text out;

    text_init(&out, 1000);
    codec_chain_text(&c, &out);
    CHECK(strcmp(out.chars, wanted) == 0);
    text_release(&out);
}

static void test_codec__reads_and_writes_its_text(void)
{
    check_text("none", 4, "none");
    check_text("blosc", 4, "blosc:lz4:5:shuffle");
    check_text("blosc:zstd", 1, "blosc:zstd:5:bitshuffle");
    check_text("blosc:zstd:5:bitshuffle", 4, "blosc:zstd:5:bitshuffle");
    check_text("blosc:lz4hc:9:noshuffle:65536", 4, "blosc:lz4hc:9:noshuffle:65536");
    check_text("zstd", 4, "zstd:3");
    check_text("zstd:-5", 4, "zstd:-5");
    check_text("zstd:3:checksum+crc32c", 4, "zstd:3:checksum+crc32c");
    check_text("gzip", 4, "gzip:5");
    check_text("gzip:0", 4, "gzip:0");
    check_text("zlib:6", 4, "zlib:6");
    check_text("lz4", 4, "lz4:1");
    check_text("crc32c", 4, "crc32c");
}

static void test_codec__text_fills_in_what_blosc_needs(void)
{
    struct codec_chain c = { .big_endian = true, .transposed = true };
    struct error err = { 0 };

    CHECK(codec_chain_from_text(&c, "blosc:zlib:7", 8, &err));
    CHECK_EQUAL(c.count, 1);
    CHECK_EQUAL(c.codecs[0].typesize, 8);
    CHECK_EQUAL(c.codecs[0].shuffle, SHUFFLE_BYTE);
    CHECK_EQUAL(c.codecs[0].blocksize, 0);
    CHECK(c.big_endian && c.transposed);
    CHECK(codec_chain_from_text(&c, "none", 8, &err));
    CHECK_EQUAL(c.count, 0);
    CHECK(c.big_endian && c.transposed);
}

static void check_refused(const char *words, const char *message, const char *help)
{
    struct codec_chain c = { .count = 1, .codecs = {{ .kind = CODEC_LZ4, .level = 7 }} };
    struct error err = { 0 };

    CHECK(!codec_chain_from_text(&c, words, 4, &err));
    CHECK_EQUAL(err.code, ERR_USAGE);
    CHECK(strstr(err.message, message) != NULL);
    CHECK(strcmp(err.help, help) == 0);
    CHECK(c.count == 1 && c.codecs[0].level == 7);
}

static void test_codec__refuses_text_and_says_what_there_is(void)
{
    check_refused("zsdt", "there is no codec 'zsdt'", "did you mean 'zstd'?");
    check_refused("bloscc:lz4", "there is no codec 'bloscc'", "did you mean 'blosc'?");
    check_refused("", "there is no codec ''", "there are none, blosc, zstd, gzip, zlib, lz4, and crc32c after a '+'");
    check_refused("zstd:3+", "there is no codec ''",
                  "there are none, blosc, zstd, gzip, zlib, lz4, and crc32c after a '+'");
    check_refused("blosc:lz5", "'blosc' has no codec 'lz5'", "did you mean 'lz4'?");
    check_refused("blosc:quicklz:3", "'blosc' has no codec 'quicklz'",
                  "there are blosclz, lz4, lz4hc, snappy, zlib, zstd");
    check_refused("blosc:lz4:10", "'blosc' takes a level from 0 to 9, not '10'", "");
    check_refused("blosc:lz4:5:byte", "'blosc' has no shuffle 'byte'", "there are noshuffle, shuffle, bitshuffle");
    check_refused("blosc:lz4:5:shufle", "'blosc' has no shuffle 'shufle'", "did you mean 'shuffle'?");
    check_refused("blosc:lz4:5:shuffle:-1", "not a block size", "");
    check_refused("zstd:23", "'zstd' takes a level from -131072 to 22, not '23'", "");
    check_refused("zstd:x", "not 'x'", "");
    check_refused("zstd:3:crc", "'checksum', not 'crc'", "");
    check_refused("gzip:10", "'gzip' takes a level from 0 to 9", "");
    check_refused("gzip:1:2", "'gzip' takes a level and nothing else", "");
    check_refused("gzip:", "not ''", "");
    check_refused("lz4:0", "'lz4' takes a level from 1 to 65537", "");
    check_refused("crc32c:1", "'crc32c' takes nothing", "");
    check_refused("lz4+lz4+lz4+lz4+lz4+lz4+lz4+lz4+lz4", "at most 8 codecs", "");
}

/* ---- what others wrote ---- */

static unsigned from_hex(char *out, const char *hex)
{
    unsigned count = 0;

    for (; hex[0] && hex[1]; hex += 2, count++) {
        unsigned value;

        sscanf(hex, "%2x", &value);
        out[count] = (char)value;
    }
    return count;
}

/* numcodecs 0.16, of the 64 int32 0 0 0 0 1000 1000 1000 1000 2000 ... 15000. */
static const struct golden { const char *chain, *hex; } goldens[] = {
    { "zstd:3",
      "28b52ffd6000008d010004020000e803d007b80ba00f88137017581b401f28231027f82ae02ec832b036983a1044020b00000000"
      "00000000c00e04" },
    { "zstd:3",
      "28b52ffd6400008d010004020000e803d007b80ba00f88137017581b401f28231027f82ae02ec832b036983a1044020b00000000"
      "00000000c00e04d9ff180a" },
    { "gzip:5",
      "1f8b0800c754056b00ff636040052f9851f1057654bc831b152fe047c51dc2a8b8401c154748a362077954aca18c8a05d451f10f"
      "2d54fc400f159f3042c51bcc50f10c2b540c00ae1b9a6500010000" },
    { "zlib:5",
      "785e636040052f9851f1057654bc831b152fe047c51dc2a8b8401c154748a362077954aca18c8a05d451f10f2d54fc400f159f30"
      "42c51bcc50f10c2b540c00540d2a31" },
    { "lz4",
      "000100001b0001002ae80304002ad00704002ab80b04002aa00f04002a881304002a701704002a581b04002a401f04002a282304"
      "002a102704002af82a04002ae02e04002ac83204002ab036040025983a04005000983a0000" },
    { "blosc:blosclz:5:noshuffle",
      "0201100400010000000100007d00000014000000650000002300000000e0030301e803e0050301d007e0050301b80be0050301a0"
      "0fe00503018813e00503017017e0050301581be0050301401fe00503012823e00503011027e0050301f82ae0050301e02ee00503"
      "01c832e0050301b036e0050301983ae00303010000" },
    { "blosc:blosclz:5:bitshuffle",
      "0201140400010000000100006d00000014000000550000002300000000e00b0300f0a0000100ff800103f0f00f0f6003140f00ff"
      "0ff0ff00f0ffff0000f0fffff0ffffffff0f600a600101000f80000200f00f60010e0000f0ff0f00f0ff00000000f0ffff6007e0"
      "8101010000" },
    { "blosc:lz4:5:shuffle",
      "020131040001000000010000aa0000001400000092000000f07500000000e8e8e8e8d0d0d0d0b8b8b8b8a0a0a0a0888888887070"
      "707058585858404040402828282810101010f8f8f8f8e0e0e0e0c8c8c8c8b0b0b0b0989898980000000003030303070707070b0b"
      "0b0b0f0f0f0f13131313171717171b1b1b1b1f1f1f1f23232323272727272a2a2a2a2e2e2e2e32323232363636363a3a3a3a0000"
      "000084000f020060500000000000" },
    { "blosc:lz4hc:5:bitshuffle",
      "0201340400010000000100006900000014000000510000001f0001000413f001002200ff020041f0f00f0f0400b00f00ff0ff0ff"
      "00f0ffff00050061f0ffffffff0f0b0001010022000f01003100f00f0200001a00620f00f0ff000024001f000100775000000000"
      "00" },
    { "blosc:zlib:5:bitshuffle",
      "020174040001000000010000500000001400000038000000785ecd8cc10d00200c02d980fdb76483d3a24f07f0681b0849a537b9"
      "88a3c4ee5a3828a0397bc0b5453e28aea6d981fe9cfe3316d3263265" },
    { "blosc:zstd:5:shuffle",
      "02019104000100000001000092000000140000007a00000028b52ffd60000085030012c81916c03d3bf7a395fbd1eaddff3d9cb3"
      "78a6355fe7fc440a0f2184efbde79c73adb5c618634a2995524a082174ce39c618534a29638c2184102184000000ffffb5d67aef"
      "bd39e7bcf7debdf74e08216bad15638c524a39e79c94526aadb51863acb5d69c73feff1f0100019e0229" },
};

static void golden_raw(char *raw)
{
    for (int32_t i = 0; i < 64; i++) {
        int32_t value = i / 4 * 1000;
        memcpy(raw + 4 * i, &value, 4);
    }
}

static void test_codec__reads_what_numcodecs_wrote(void)
{
    char raw[256], encoded[512], out[256];

    golden_raw(raw);
    for (unsigned i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        struct codec_chain c = chain_of(goldens[i].chain, 4);
        struct error err = { 0 };

        memset(out, 0x55, sizeof out);
        CHECK(decode_bytes(&c, dtype_i4, 256, encoded, from_hex(encoded, goldens[i].hex), out, &err));
        CHECK(memcmp(out, raw, 256) == 0);
        if (err.code)
            fprintf(stderr, "%s: %s\n", goldens[i].chain, err.message);
    }
}

static void test_codec__crc32c_is_the_standard_one(void)
{
    struct codec_chain c = chain_of("crc32c", 1);
    struct dtype u1 = { DTYPE_UINT, 1 };
    struct error err = { 0 };
    char *encoded, out[9];
    uint64_t encoded_bytes;

    CHECK(encode_bytes(&c, u1, "123456789", 9, &encoded, &encoded_bytes, &err));
    CHECK_EQUAL(encoded_bytes, 13);
    CHECK(memcmp(encoded, "123456789\x83\x92\x06\xe3", 13) == 0);
    CHECK(decode_bytes(&c, u1, 9, encoded, 13, out, &err));
    CHECK(memcmp(out, "123456789", 9) == 0);
    encoded[3] ^= 1;
    CHECK(!decode_bytes(&c, u1, 9, encoded, 13, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK(strstr(err.message, "stored is e3069283") != NULL);
    free(encoded);
}

/* Frames that say no content size, frames in a row, one that is skipped: as streaming writers make them. */
static void test_codec__reads_zstd_frames_in_a_row_and_without_sizes(void)
{
    struct codec_chain c = chain_of("zstd", 4);
    struct error err = { 0 };
    char raw[256], out[256], encoded[1024];
    ZSTD_CStream *stream = ZSTD_createCStream();
    size_t bytes = 0;

    golden_raw(raw);
    for (unsigned half = 0; half < 2; half++) {
        ZSTD_inBuffer in = { raw + 128 * half, 128, 0 };
        ZSTD_outBuffer to = { encoded, sizeof encoded, bytes };

        ZSTD_initCStream(stream, 1);
        ZSTD_compressStream(stream, &to, &in);
        ZSTD_endStream(stream, &to);
        CHECK(ZSTD_getFrameContentSize(encoded + bytes, to.pos - bytes) == ZSTD_CONTENTSIZE_UNKNOWN);
        bytes = to.pos;
        if (half == 0) {
            memcpy(encoded + bytes, "\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
            bytes += 11;
        }
    }
    CHECK(decode_bytes(&c, dtype_i4, 256, encoded, bytes, out, &err));
    CHECK(memcmp(out, raw, 256) == 0);
    memcpy(encoded + bytes, "tail", 4);
    CHECK(!decode_bytes(&c, dtype_i4, 256, encoded, bytes + 4, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    ZSTD_freeCStream(stream);
}

static void test_codec__reads_gzip_members_in_a_row(void)
{
    struct codec_chain c = chain_of("gzip", 4);
    struct libdeflate_compressor *z = libdeflate_alloc_compressor(6);
    struct error err = { 0 };
    char raw[256], out[256], encoded[1024] = { 0 };
    size_t bytes;

    golden_raw(raw);
    bytes = libdeflate_gzip_compress(z, raw, 100, encoded, 512);
    bytes += libdeflate_gzip_compress(z, raw + 100, 156, encoded + bytes, 512);
    CHECK(decode_bytes(&c, dtype_i4, 256, encoded, bytes, out, &err));
    CHECK(memcmp(out, raw, 256) == 0);
    CHECK(decode_bytes(&c, dtype_i4, 256, encoded, bytes + 7, out, &err));     /* padding */
    encoded[bytes + 6] = 1;
    CHECK(!decode_bytes(&c, dtype_i4, 256, encoded, bytes + 7, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    libdeflate_free_compressor(z);
}

/* ---- there and back ---- */

static void check_round_trip(const char *words, struct dtype dtype, const char *raw, uint64_t raw_bytes,
                             bool big_endian)
{
    struct codec_chain c = chain_of(words, dtype.item_bytes);
    struct error err = { 0 };
    char *encoded, *again, *out = malloc(raw_bytes);
    uint64_t encoded_bytes, again_bytes;

    c.big_endian = big_endian;
    CHECK(encode_bytes(&c, dtype, raw, raw_bytes, &encoded, &encoded_bytes, &err));
    CHECK(encode_bytes(&c, dtype, raw, raw_bytes, &again, &again_bytes, &err));
    CHECK(encoded_bytes == again_bytes && memcmp(encoded, again, encoded_bytes) == 0);
    CHECK(decode_bytes(&c, dtype, raw_bytes, encoded, encoded_bytes, out, &err));
    CHECK(memcmp(out, raw, raw_bytes) == 0);
    if (err.code || memcmp(out, raw, raw_bytes) != 0)
        fprintf(stderr, "%s, %llu bytes: %s\n", words, (unsigned long long)raw_bytes, err.message);
    free(encoded);
    free(again);
    free(out);
}

static const char *const chains[] = {
    "none", "blosc", "blosc:zstd:3:bitshuffle", "zstd", "zstd:1:checksum", "zstd:-3", "gzip", "gzip:0", "gzip:9",
    "zlib:1", "lz4", "lz4:100", "crc32c", "zstd+crc32c", "blosc:lz4:5+crc32c", "crc32c+crc32c", "crc32c+zstd",
    "crc32c+blosc",
    "gzip:1+zstd", "zstd+blosc:zlib:1", "blosc:lz4:1+gzip:1", "lz4+zlib:1+zstd+crc32c",
    "crc32c+lz4+crc32c+zlib:1+crc32c",
    "blosc+blosc+blosc", "lz4+lz4+lz4+lz4+lz4",
};

static void test_codec__round_trips_every_chain(void)
{
    enum { BYTES_MAX = 1200000 };
    static const uint64_t lengths[] = { 16, 112, 4000, 65536, BYTES_MAX };
    static const struct dtype dtypes[] = {
        { DTYPE_UINT, 1 }, { DTYPE_INT, 2 }, { DTYPE_FLOAT, 4 }, { DTYPE_COMPLEX, 16 },
    };
    char *smooth = malloc(BYTES_MAX), *noise = malloc(BYTES_MAX);

    fill_smooth_f4((float *)smooth, BYTES_MAX / 4);
    fill_noise(noise, BYTES_MAX);
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++)
        for (unsigned j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            struct dtype dtype = dtypes[(i + j) % 4];

            check_round_trip(chains[i], dtype, smooth, lengths[j], false);
            check_round_trip(chains[i], dtype, noise, lengths[j], false);
            check_round_trip(chains[i], dtype, smooth, lengths[j], true);
        }
    free(smooth);
    free(noise);
}

/* Lengths around vectors, blocks and splits, odd ones, and every inner codec, shuffle and some block sizes. */
static void test_codec__reads_every_kind_of_blosc_frame(void)
{
    static const char *const cnames[] = { "blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd" };
    static const uint32_t sizes[] = { 1, 2, 3, 4, 8, 12, 16, 17, 255 };
    static const uint32_t lengths[] = { 1, 100, 1000, 2048, 40001, 70000, 300000 };
    static const uint32_t blocksizes[] = { 0, 256, 1001, 70000 };
    struct dtype u1 = { DTYPE_UINT, 1 };
    char *raw = malloc(300000), *encoded = malloc(300016), *out = malloc(300000);

    fill_smooth_f4((float *)raw, 300000 / 4);
    for (unsigned i = 0; i < 6 * 3 * 9 * 7; i++) {
        const char *cname = cnames[i % 6];
        unsigned shuffle = i / 6 % 3;
        uint32_t typesize = sizes[i / 18 % 9], length = lengths[i / 162], blocksize = blocksizes[i % 4];
        struct codec_chain c = chain_of("blosc", 1);
        struct error err = { 0 };
        int bytes = blosc_compress_ctx(1 + (int)(i % 4), (int)shuffle, typesize, length, raw, encoded, length + 16,
                                       cname, blocksize, 1);

        CHECK(bytes > 0);
        memset(out, 0x55, length);
        CHECK(decode_bytes(&c, u1, length, encoded, (uint64_t)bytes, out, &err));
        CHECK(memcmp(out, raw, length) == 0);
        if (err.code || memcmp(out, raw, length) != 0)
            fprintf(stderr, "%s, shuffle %u, typesize %u, %u bytes, blocksize %u: %s\n", cname, shuffle, typesize,
                    length, blocksize, err.message);
    }
    free(raw);
    free(encoded);
    free(out);
}

/* Blocks that end in the middle of an item: its beginning waits for its end. */
static void test_codec__parts_are_whole_items_whatever_the_blocks(void)
{
    struct codec_chain c = chain_of("blosc", 8);
    struct dtype f8 = { DTYPE_FLOAT, 8 };
    struct error err = { 0 };
    char *raw = malloc(80000), *encoded = malloc(80016), *out = malloc(80000);
    struct codec_sample sample = { 0 };
    struct codec_needs needs;
    unsigned parts;
    int bytes;

    fill_smooth_f4((float *)raw, 20000);
    bytes = blosc_compress_ctx(5, 1, 3, 80000, raw, encoded, 80016, "zstd", 1001, 1);
    codec_sample_add(&sample, &c, encoded, (uint64_t)bytes);
    CHECK_EQUAL(sample.blosc_block_bytes_max, 999);
    codec_decode_needs(&c, f8, 80000, &sample, &needs);
    CHECK(decode_with(&c, f8, 80000, encoded, (uint64_t)bytes, needs.scratch_bytes_least, out, &parts, &err));
    CHECK(memcmp(out, raw, 80000) == 0);
    CHECK(parts >= 80);
    CHECK(decode_with(&c, f8, 80000, encoded, (uint64_t)bytes, needs.scratch_bytes_useful, out, &parts, &err));
    CHECK(memcmp(out, raw, 80000) == 0);
    CHECK_EQUAL(parts, 1);
    c.big_endian = true;
    CHECK(decode_with(&c, f8, 80000, encoded, (uint64_t)bytes, needs.scratch_bytes_least, out, &parts, &err));
    dtype_swap(out, 80000, 8);
    CHECK(memcmp(out, raw, 80000) == 0);
    free(raw);
    free(encoded);
    free(out);
}

static void test_codec__a_chunk_larger_than_memory_passes_through_in_parts(void)
{
    enum { BYTES = 4 << 20 };
    struct codec_chain c = chain_of("blosc:lz4:5", 4);
    struct dtype f4 = { DTYPE_FLOAT, 4 };
    struct error err = { 0 };
    struct codec_sample sample = { 0 };
    struct codec_needs needs;
    char *raw = malloc(BYTES), *encoded, *out = malloc(BYTES);
    uint64_t encoded_bytes;
    unsigned parts;

    fill_smooth_f4((float *)raw, BYTES / 4);
    CHECK(encode_bytes(&c, f4, raw, BYTES, &encoded, &encoded_bytes, &err));
    CHECK(encoded_bytes < BYTES / 2);
    codec_sample_add(&sample, &c, encoded, 16);
    CHECK_EQUAL(sample.blosc_block_bytes_max, 512 << 10);
    codec_decode_needs(&c, f4, BYTES, &sample, &needs);
    CHECK(needs.scratch_bytes_least <= (1 << 20) + 4096);
    CHECK(decode_with(&c, f4, BYTES, encoded, encoded_bytes, needs.scratch_bytes_least, out, &parts, &err));
    CHECK_EQUAL(parts, 8);
    CHECK(memcmp(out, raw, BYTES) == 0);
    CHECK(!decode_with(&c, f4, BYTES, encoded, encoded_bytes, 600 << 10, out, &parts, &err));
    CHECK_EQUAL(err.code, ERR_FIT);
    CHECK_EQUAL(err.need_bytes, 1 << 20);
    CHECK(strstr(err.message, "a block of 524288 bytes takes 1048576 to decode, 614400 are given") != NULL);
    free(raw);
    free(encoded);
    free(out);
}

static void test_codec__raw_bytes_are_not_copied(void)
{
    struct codec_chain none = chain_of("none", 4), blosc = chain_of("blosc:lz4:0", 4);
    struct error err = { 0 };
    struct decoder *d;
    char raw[4000], *encoded;
    const char *part;
    uint64_t part_bytes, encoded_bytes;

    fill_noise(raw, sizeof raw);
    CHECK(decoder_new(&d, &none, dtype_i4, 1 << 20, NULL, 0, &err));
    CHECK(decoder_start(d, raw, 4000, &err));                   /* any part of the chunk */
    CHECK(decoder_next(d, &part, &part_bytes, &err));
    CHECK(part == raw && part_bytes == 4000);
    CHECK(decoder_next(d, &part, &part_bytes, &err));
    CHECK_EQUAL(part_bytes, 0);
    CHECK(!decoder_start(d, raw, 3999, &err));                  /* but whole items */
    CHECK_EQUAL(err.code, ERR_INPUT);
    decoder_free(d);

    err = (struct error){ 0 };
    CHECK(encode_bytes(&blosc, dtype_i4, raw, 4000, &encoded, &encoded_bytes, &err));
    CHECK_EQUAL(encoded_bytes, 4016);
    CHECK(decoder_new(&d, &blosc, dtype_i4, 4000, NULL, 0, &err));
    CHECK(decoder_start(d, encoded, encoded_bytes, &err));
    CHECK(decoder_next(d, &part, &part_bytes, &err));
    CHECK(part == encoded + 16 && part_bytes == 4000);
    decoder_free(d);
    free(encoded);
}

static void test_codec__big_endian_is_what_is_stored(void)
{
    struct codec_chain c = { .big_endian = true };
    struct error err = { 0 };
    char *encoded, out[8];
    uint64_t encoded_bytes;
    const int32_t raw[2] = { 0x01020304, 5 };

    CHECK(encode_bytes(&c, dtype_i4, raw, 8, &encoded, &encoded_bytes, &err));
    CHECK(encoded_bytes == 8 && memcmp(encoded, "\1\2\3\4\0\0\0\5", 8) == 0);
    CHECK(decode_bytes(&c, dtype_i4, 8, encoded, 8, out, &err));
    CHECK(memcmp(out, raw, 8) == 0);
    CHECK(memcmp(encoded, "\1\2\3\4\0\0\0\5", 8) == 0);         /* the encoded bytes are the caller's */
    free(encoded);
}

static void test_codec__a_decoder_goes_on_after_a_bad_chunk(void)
{
    struct codec_chain c = chain_of("blosc:zstd:1", 4);
    struct error err = { 0 };
    char raw[8192], *encoded, *scratch = aligned_alloc(4096, 32768);
    uint64_t encoded_bytes, part_bytes;
    struct decoder *d;
    const char *part;

    fill_smooth_f4((float *)raw, 2048);
    CHECK(encode_bytes(&c, dtype_i4, raw, 8192, &encoded, &encoded_bytes, &err));
    CHECK(decoder_new(&d, &c, dtype_i4, 8192, scratch, 32768, &err));
    CHECK(!decoder_start(d, encoded, encoded_bytes - 1, &err));
    err = (struct error){ 0 };
    CHECK(decoder_start(d, encoded, encoded_bytes, &err));
    CHECK(decoder_next(d, &part, &part_bytes, &err));
    CHECK(part_bytes == 8192 && memcmp(part, raw, 8192) == 0);
    decoder_free(d);
    free(encoded);
    free(scratch);
}

/* ---- what is damaged ---- */

static void test_codec__refuses_every_truncation(void)
{
    char raw[2048], out[2048];

    fill_smooth_f4((float *)raw, 512);
    for (unsigned i = 1; i < sizeof chains / sizeof *chains; i++) {
        struct codec_chain c = chain_of(chains[i], 4);
        struct error err = { 0 };
        char *encoded;
        uint64_t encoded_bytes;

        CHECK(encode_bytes(&c, dtype_i4, raw, 2048, &encoded, &encoded_bytes, &err));
        for (uint64_t cut = 0; cut < encoded_bytes; cut++) {
            err = (struct error){ 0 };
            CHECK(!decode_bytes(&c, dtype_i4, 2048, encoded, cut, out, &err));
            CHECK_EQUAL(err.code, ERR_INPUT);
        }
        free(encoded);
    }
}

/* Wrong bytes may decode to wrong values where there is no checksum; they may not decode to another length, read or
 * write where they should not (the sanitizer looks), or be told as anything but a bad input. */
static void test_codec__survives_every_flipped_bit(void)
{
    char raw[2048], out[2048];

    fill_smooth_f4((float *)raw, 512);
    for (unsigned i = 1; i < sizeof chains / sizeof *chains; i++) {
        struct codec_chain c = chain_of(chains[i], 4);
        struct error err = { 0 };
        char *encoded;
        uint64_t encoded_bytes;
        bool checked = strstr(chains[i], "crc32c") || strstr(chains[i], "checksum");

        CHECK(encode_bytes(&c, dtype_i4, raw, 2048, &encoded, &encoded_bytes, &err));
        for (uint64_t bit = 0; bit < 8 * encoded_bytes; bit += bit < 8 * 64 ? 1 : 7) {
            err = (struct error){ 0 };
            encoded[bit / 8] ^= (char)(1 << bit % 8);
            if (decode_bytes(&c, dtype_i4, 2048, encoded, encoded_bytes, out, &err))
                CHECK(!checked || memcmp(raw, out, 2048) == 0);
            else
                CHECK(err.code == ERR_INPUT);
            encoded[bit / 8] ^= (char)(1 << bit % 8);
        }
        free(encoded);
    }
}

static void check_blosc_refused(const char *frame, uint64_t bytes, const char *message)
{
    struct codec_chain c = chain_of("blosc", 4);
    struct error err = { 0 };
    char out[2048];

    CHECK(!decode_bytes(&c, dtype_i4, 2048, frame, bytes, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK(strstr(err.message, message) != NULL);
    if (!strstr(err.message, message))
        fprintf(stderr, "said: %s\n", err.message);
}

static void test_codec__refuses_blosc_headers_that_lie(void)
{
    char raw[2048], frame[2064], bad[4096];
    uint64_t bytes;
    uint32_t value;

    fill_smooth_f4((float *)raw, 512);
    bytes = (uint64_t)blosc_compress_ctx(5, 1, 4, 2048, raw, frame, sizeof frame, "lz4", 0, 1);
#define WITH_BYTE(at, is, says) \
    do { \
        memcpy(bad, frame, bytes); \
        bad[at] = (char)(is); \
        check_blosc_refused(bad, bytes, says); \
    } while (0)
#define WITH_U32(at, is, says) \
    do { \
        memcpy(bad, frame, bytes); \
        value = (is); \
        memcpy(bad + (at), &value, 4); \
        check_blosc_refused(bad, bytes, says); \
    } while (0)
    WITH_BYTE(0, 0, "begins with format version 0");
    WITH_BYTE(0, 5, "Blosc 2's");
    WITH_BYTE(1, 9, "inner codec has an unknown format version 9");
    WITH_BYTE(2, frame[2] | 0x08, "a flag that nobody has defined");
    WITH_BYTE(2, 0xe1, "unknown inner codec, number 7");
    WITH_BYTE(2, frame[2] | 0x02, "an uncompressed frame");
    WITH_BYTE(3, 0, "typesize 0");
    WITH_U32(4, 4096, "the frame says 4096 bytes, the chunk has 2048");
    WITH_U32(4, 0, "the frame says 0 bytes");
    WITH_U32(4, 0xffffffff, "cannot hold");
    WITH_U32(8, 0, "blocksize of 0");
    WITH_U32(8, 1, "cannot hold 2048 blocks of 1 bytes");
    WITH_U32(12, (uint32_t)bytes + 1, "the frame says it has");
    WITH_U32(12, 0x80000000, "the frame says it has");
    WITH_U32(16, 16, "inside the frame's header");
    WITH_U32(16, 0xfffffffe, "reaches past the frame");
    WITH_U32(16, (uint32_t)bytes - 3, "reaches past the frame");
    WITH_U32(20, 0x7fffffff, "reaches past the frame");
    WITH_U32(20, 0xffffffff, "reaches past the frame");
#undef WITH_BYTE
#undef WITH_U32
    memcpy(bad, frame, bytes);
    bad[bytes] = 0;
    check_blosc_refused(bad, bytes + 1, "the frame says it has");
}

/* A run whose length passes 2^31: c-blosc 1.21.3 writes outside its buffer here. */
static void test_codec__a_blosclz_run_longer_than_memory_is_refused(void)
{
    enum { TIMES = 9 << 20, BYTES = 16 + 4 + 4 + 3 + TIMES + 2 };
    struct codec_chain c = chain_of("blosc", 1);
    struct dtype u1 = { DTYPE_UINT, 1 };
    struct error err = { 0 };
    char *frame = malloc(BYTES), *out = malloc(16 << 20);
    uint32_t numbers[5] = { 16 << 20, 16 << 20, BYTES, 20, BYTES - 24 };

    memcpy(frame, "\2\1\x10\1", 4);
    memcpy(frame + 4, numbers, sizeof numbers);
    memcpy(frame + 24, "\0a\xe0", 3);
    memset(frame + 27, 0xff, TIMES);
    memcpy(frame + 27 + TIMES, "\0\0", 2);
    CHECK(!decode_bytes(&c, u1, 16 << 20, frame, BYTES, out, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK(strstr(err.message, "of blosclz in block 0 do not decode to 16777216 bytes") != NULL);
    free(frame);
    free(out);
}

static void test_codec__says_which_sizes_disagree(void)
{
    char raw[2048], out[4096];

    fill_smooth_f4((float *)raw, 512);
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++) {
        struct codec_chain c = chain_of(chains[i], 4);
        struct error err = { 0 };
        char *encoded;
        uint64_t encoded_bytes;

        CHECK(encode_bytes(&c, dtype_i4, raw, 2048, &encoded, &encoded_bytes, &err));
        if (c.count > 0)
            CHECK(!decode_bytes(&c, dtype_i4, 4096, encoded, encoded_bytes, out, &err));
        else
            CHECK(!decode_bytes(&c, dtype_i4, 1024, encoded, encoded_bytes, out, &err));
        CHECK_EQUAL(err.code, ERR_INPUT);
        err = (struct error){ 0 };
        CHECK(!decode_bytes(&c, dtype_i4, 1024, encoded, encoded_bytes, out, &err));
        CHECK_EQUAL(err.code, ERR_INPUT);
        free(encoded);
    }
}

static void test_codec__refuses_chunks_too_large_for_blosc_before_work_begins(void)
{
    struct codec_chain c = chain_of("blosc", 4);
    struct error err = { 0 };
    struct encoder *e = NULL;
    struct codec_needs needs;
    char *scratch;

    CHECK(!encoder_new(&e, &c, dtype_i4, (1ull << 31) - 12, NULL, 0, &err));
    CHECK(strstr(err.message, "blosc cannot encode chunks of more than 2147483631 bytes; these have 2147483636") !=
          NULL);
    err = (struct error){ 0 };
    codec_encode_needs(&c, dtype_i4, (1ull << 31) - 20, &needs);
    scratch = malloc(needs.scratch_bytes_least);
    CHECK(encoder_new(&e, &c, dtype_i4, (1ull << 31) - 20, scratch, needs.scratch_bytes_least, &err));
    encoder_free(e);
    CHECK(!encoder_new(&e, &c, dtype_i4, (1ull << 31) - 20, scratch, needs.scratch_bytes_least - 1, &err));
    CHECK_EQUAL(err.code, ERR_FIT);
    free(scratch);
}

int main(void)
{
    RUN(test_codec__reads_and_writes_its_text);
    RUN(test_codec__text_fills_in_what_blosc_needs);
    RUN(test_codec__refuses_text_and_says_what_there_is);
    RUN(test_codec__reads_what_numcodecs_wrote);
    RUN(test_codec__crc32c_is_the_standard_one);
    RUN(test_codec__reads_zstd_frames_in_a_row_and_without_sizes);
    RUN(test_codec__reads_gzip_members_in_a_row);
    RUN(test_codec__round_trips_every_chain);
    RUN(test_codec__reads_every_kind_of_blosc_frame);
    RUN(test_codec__parts_are_whole_items_whatever_the_blocks);
    RUN(test_codec__a_chunk_larger_than_memory_passes_through_in_parts);
    RUN(test_codec__raw_bytes_are_not_copied);
    RUN(test_codec__big_endian_is_what_is_stored);
    RUN(test_codec__a_decoder_goes_on_after_a_bad_chunk);
    RUN(test_codec__refuses_every_truncation);
    RUN(test_codec__survives_every_flipped_bit);
    RUN(test_codec__refuses_blosc_headers_that_lie);
    RUN(test_codec__a_blosclz_run_longer_than_memory_is_refused);
    RUN(test_codec__says_which_sizes_disagree);
    RUN(test_codec__refuses_chunks_too_large_for_blosc_before_work_begins);
    return test_summary();
}
