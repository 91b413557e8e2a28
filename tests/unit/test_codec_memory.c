/* What codec libraries take from malloc stays within what codec_needs promised: this program's own malloc counts. */
#include <malloc.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

#include "engine/codec/append.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING 0
#else
#define COUNTING 1
#endif

static uint64_t heap_bytes, heap_bytes_max, allocation_count;

#if COUNTING

#define EXPORTED __attribute__((visibility("default")))

/* The allocator underneath, by the names glibc exports it. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);
extern void __libc_free(void *memory);

static void *counted(void *memory)
{
    allocation_count++;
    heap_bytes += memory ? malloc_usable_size(memory) : 0;
    heap_bytes_max = size_max(heap_bytes_max, heap_bytes);
    return memory;
}

static void uncount(void *memory)
{
    heap_bytes -= memory ? malloc_usable_size(memory) : 0;
}

EXPORTED void *malloc(size_t bytes) { return counted(__libc_malloc(bytes)); }
EXPORTED void *calloc(size_t count, size_t bytes) { return counted(__libc_calloc(count, bytes)); }
EXPORTED void *memalign(size_t align, size_t bytes) { return counted(__libc_memalign(align, bytes)); }
EXPORTED void *aligned_alloc(size_t align, size_t bytes) { return counted(__libc_memalign(align, bytes)); }
EXPORTED void free(void *memory)
{
    uncount(memory);
    __libc_free(memory);
}
EXPORTED void *realloc(void *memory, size_t bytes)
{
    uncount(memory);
    return counted(__libc_realloc(memory, bytes));
}
EXPORTED int posix_memalign(void **memory, size_t align, size_t bytes)
{
    *memory = counted(__libc_memalign(align, bytes));
    return *memory ? 0 : ENOMEM;
}

#endif

static const char *const chains[] = {
    "zstd:-5", "zstd:1", "zstd:3", "zstd:9", "zstd:19", "gzip:0", "gzip:1", "gzip:9", "zlib:6", "lz4",
    "zstd:3+crc32c", "gzip:5+zstd:1", "blosc:blosclz:9", "blosc:lz4:1", "blosc:lz4:5", "blosc:lz4:9",
    "blosc:lz4hc:5", "blosc:lz4hc:9",
    "blosc:snappy:5", "blosc:snappy:9", "blosc:zlib:1", "blosc:zlib:9", "blosc:zstd:1", "blosc:zstd:3",
    "blosc:zstd:5", "blosc:zstd:7", "blosc:zstd:8", "blosc:zstd:9", "blosc:zstd:5:bitshuffle",
    "blosc:lz4:5:shuffle:2000000", "blosc:lz4hc:0", "gzip:5+blosc:zlib:5", "zstd:1+blosc:zstd:5",
};

static const uint64_t lengths[] = { 20000, 200000, 1500000 };

/* More than the libraries' own: our struct decoder or encoder. */
enum { OURS_BYTES = 2048 };

/* Libraries that cannot be given a context. Everything else takes what it takes once. */
static bool allocates_always(const char *words)
{
    return strstr(words, "snappy") || strstr(words, "blosclz");
}

static void check_encode(const char *words, const char *raw, uint64_t raw_bytes, uint32_t item_bytes, char *encoded,
                         uint64_t *encoded_bytes)
{
    struct codec_chain c = chain_of(words, item_bytes);
    struct dtype dtype = { DTYPE_FLOAT, item_bytes };
    struct codec_needs needs;
    struct error err = { 0 };
    struct encoder *e = NULL;
    uint64_t before, allocations_before;
    char *scratch, *copy = malloc(raw_bytes);

    memcpy(copy, raw, raw_bytes);
    codec_encode_needs(&c, dtype, raw_bytes, &needs);
    scratch = malloc(needs.scratch_bytes_least + 1);
    before = heap_bytes_max = heap_bytes;
    CHECK(encoder_new(&e, &c, dtype, raw_bytes, scratch, needs.scratch_bytes_least, &err));
    CHECK(encode(e, copy, encoded, encoded_bytes, &err));
    allocations_before = allocation_count;
    CHECK(encode(e, copy, encoded, encoded_bytes, &err));
    CHECK(allocation_count == allocations_before || allocates_always(words));
    CHECK(heap_bytes_max - before <= needs.library_bytes + OURS_BYTES);
    /* nor much too cautious, but for what malloc may make of blosclz's temporaries */
    CHECK(needs.library_bytes <= (strstr(words, "blosclz") ? 5 : 2) * (heap_bytes_max - before) + 800000);
    if (heap_bytes_max - before > needs.library_bytes + OURS_BYTES)
        fprintf(stderr, "%s, %llu bytes of %u: took %llu, promised %llu\n", words, (unsigned long long)raw_bytes,
                item_bytes, (unsigned long long)(heap_bytes_max - before), (unsigned long long)needs.library_bytes);
    encoder_free(e);
    CHECK_EQUAL(heap_bytes, before);
    free(scratch);
    free(copy);
}

static void check_decode(const char *words, uint64_t raw_bytes, uint32_t item_bytes, const char *encoded,
                         uint64_t encoded_bytes)
{
    struct codec_chain c = chain_of(words, item_bytes);
    struct dtype dtype = { DTYPE_FLOAT, item_bytes };
    struct codec_sample sample = { 0 };
    struct codec_needs needs;
    struct error err = { 0 };
    struct decoder *d = NULL;
    uint64_t before, part_bytes;
    const char *part;
    char *scratch;

    codec_sample_add(&sample, &c, encoded, encoded_bytes);
    codec_decode_needs(&c, dtype, raw_bytes, &sample, &needs);
    scratch = malloc(needs.scratch_bytes_least + 1);
    before = heap_bytes_max = heap_bytes;
    CHECK(decoder_new(&d, &c, dtype, raw_bytes, scratch, needs.scratch_bytes_least, &err));
    CHECK(decoder_start(d, encoded, encoded_bytes, &err));
    do
        CHECK(decoder_next(d, &part, &part_bytes, &err));
    while (part_bytes > 0);
    CHECK(heap_bytes_max - before <= needs.library_bytes + OURS_BYTES);
    decoder_free(d);
    CHECK_EQUAL(heap_bytes, before);
    free(scratch);
}

static void test_codec_memory__stays_within_what_was_promised(void)
{
    uint64_t raw_bytes_max = lengths[sizeof lengths / sizeof *lengths - 1], encoded_bytes = 0;
    char *raw = malloc(raw_bytes_max), *encoded = malloc(2 * raw_bytes_max);

    if (!COUNTING)
        SKIP("a sanitizer has taken malloc");
    fill_smooth_f4((float *)raw, raw_bytes_max / 4);
    for (unsigned i = 0; i < sizeof chains / sizeof *chains; i++)
        for (unsigned j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            uint32_t item_bytes = (uint32_t)1 << (i + j) % 4;

            check_encode(chains[i], raw, lengths[j], item_bytes, encoded, &encoded_bytes);
            check_decode(chains[i], lengths[j], item_bytes, encoded, encoded_bytes);
        }
    free(raw);
    free(encoded);
}

/* lz4, lz4hc and zstd inside blosc work in scratch alone. */
static void test_codec_memory__blosc_takes_no_more_than_scratch(void)
{
    static const char *const words[] = { "blosc:lz4", "blosc:lz4hc:9:bitshuffle", "blosc:zstd:1", "blosc:zstd:7" };
    enum { BYTES = 300000 };
    struct dtype f4 = { DTYPE_FLOAT, 4 };
    char *raw = malloc(BYTES), *encoded = malloc(BYTES + 16);

    if (!COUNTING)
        SKIP("a sanitizer has taken malloc");
    fill_smooth_f4((float *)raw, BYTES / 4);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        struct codec_chain c = chain_of(words[i], 4);
        struct codec_needs needs;
        struct error err = { 0 };
        struct encoder *e = NULL;
        uint64_t encoded_bytes, allocations_before;
        char *scratch;

        codec_encode_needs(&c, f4, BYTES, &needs);
        CHECK_EQUAL(needs.library_bytes, 0);
        scratch = malloc(needs.scratch_bytes_least);
        CHECK(encoder_new(&e, &c, f4, BYTES, scratch, needs.scratch_bytes_least, &err));
        allocations_before = allocation_count;
        CHECK(encode(e, raw, encoded, &encoded_bytes, &err));
        CHECK_EQUAL(allocation_count, allocations_before);
        encoder_free(e);
        free(scratch);
    }
    free(raw);
    free(encoded);
}

/* A block longer than reckoned would be found above only by luck. Zeros never fall back to a plain copy, so every
 * frame tells its block size. c-blosc, which encodes blosclz, takes two blocks from malloc. */
static void test_codec_memory__blosc_makes_no_longer_blocks_than_reckoned(void)
{
    static const char *const cnames[] = { "blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd" };
    enum { BYTES = 3 << 20 };
    struct dtype f4 = { DTYPE_FLOAT, 4 };
    char *raw = calloc(1, BYTES);

    for (unsigned i = 0; i < 6 * 9 * 3; i++) {
        struct codec_chain c = chain_of("blosc:lz4:5:bitshuffle", (uint32_t)1 << 2 * (i / 54));
        struct codec_needs needs;
        struct codec_sample sample = { 0 };
        struct error err = { 0 };
        char *encoded;
        uint64_t encoded_bytes;

        strcpy(c.codecs[0].cname, cnames[i % 6]);
        c.codecs[0].level = 1 + (int)(i / 6 % 9);
        codec_encode_needs(&c, f4, BYTES, &needs);
        CHECK(encode_bytes(&c, f4, raw, BYTES, &encoded, &encoded_bytes, &err));
        codec_sample_add(&sample, &c, encoded, encoded_bytes);
        CHECK(sample.blosc_block_bytes_max > 0);
        if (i % 6 == 0)
            CHECK(2 * (uint64_t)sample.blosc_block_bytes_max < needs.library_bytes);
        else
            CHECK(sample.blosc_block_bytes_max <= needs.scratch_bytes_least);
        CHECK(sample.blosc_block_bytes_max <= 1 << 20);
        free(encoded);
    }
    free(raw);
}

static bool read_kept(void *context, uint64_t offset, void *to, uint64_t bytes, struct error *err)
{
    (void)err;
    memcpy(to, (char *)context + offset, bytes);
    return true;
}

/* Chunks that come in slices. A static context too small for its stream is an error, so this tries the estimates. */
static void test_codec_memory__of_what_is_appended_is_scratch(void)
{
    static const char *const words[] = {
        "zstd:-5", "zstd:1", "zstd:3", "zstd:7", "zstd:9", "zstd:13", "zstd:16", "zstd:19", "gzip:0", "gzip:1", "zlib:5",
        "blosc:zlib:5", "blosc:snappy:5", "blosc:zstd:1", "blosc:lz4:5",
    };
    const uint64_t raw_bytes = APPENDED_RAW_BYTES_LEAST + 4;
    char *raw, *encoded;

    if (!COUNTING)
        SKIP("a sanitizer has taken malloc");
    raw = calloc(1, raw_bytes);
    encoded = malloc(2 * raw_bytes);
    fill_noise(raw + 3 * MIB, 10000);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        struct codec_chain c = chain_of(words[i], 4);
        struct codec_needs needs, as_encoder;
        struct error err = { 0 };
        struct appender *a = NULL;
        uint64_t before, encoded_bytes;
        char *scratch;

        codec_appended_needs(&c, dtype_i4, raw_bytes, &needs);
        codec_encode_needs(&c, dtype_i4, raw_bytes, &as_encoder);
        CHECK(strstr(words[i], "blosc") || as_encoder.scratch_bytes_least == needs.scratch_bytes_least);
        scratch = malloc(needs.scratch_bytes_least);
        before = heap_bytes_max = heap_bytes;
        CHECK(appender_new(&a, &c, dtype_i4, raw_bytes, scratch, needs.scratch_bytes_least, &err));
        for (unsigned j = 0; j < 2; j++) {
            CHECK(appender_begin(a, &err));
            appender_put(a, raw, raw_bytes);
            CHECK(appender_take(a, encoded, 2 * raw_bytes, &encoded_bytes, &err));
            CHECK(appender_is_complete(a) && encoded_bytes <= needs.encoded_bytes_max);
        }
        CHECK(heap_bytes_max - before <= needs.library_bytes + OURS_BYTES);
        appender_free(a);
        CHECK_EQUAL(heap_bytes, before);
        free(scratch);
    }
    free(raw);
    free(encoded);
}

/* Going back over a frame that does not shrink takes a decoder. */
static void test_codec_memory__of_undoing_is_promised(void)
{
    static const char *const words[] = { "blosc:zlib:5", "blosc:zstd:1", "blosc:lz4:5" };
    enum { BYTES = 3000000 };
    char *raw, *encoded, *kept;

    if (!COUNTING)
        SKIP("a sanitizer has taken malloc");
    raw = calloc(1, BYTES);
    encoded = malloc(2 * BYTES);
    kept = malloc(2 * BYTES);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        struct codec_chain c = chain_of(words[i], 4);
        struct codec_needs needs;
        struct error err = { 0 };
        struct appender *a = NULL;
        uint64_t before, encoded_bytes;
        char *scratch;

        fill_noise(raw, BYTES);
        codec_appended_needs(&c, dtype_i4, BYTES, &needs);
        scratch = malloc(needs.scratch_bytes_least);
        before = heap_bytes_max = heap_bytes;
        CHECK(appender_new(&a, &c, dtype_i4, BYTES, scratch, needs.scratch_bytes_least, &err));
        CHECK(appender_begin(a, &err));
        appender_put(a, raw, BYTES);
        CHECK(appender_take(a, encoded, 2 * BYTES, &encoded_bytes, &err));
        CHECK(appender_must_restart(a));
        memcpy(kept, encoded, encoded_bytes);
        appender_restart(a, read_kept, kept);
        CHECK(appender_take(a, encoded, 2 * BYTES, &encoded_bytes, &err));
        CHECK(appender_is_complete(a) && memcmp(encoded + 16, raw, BYTES) == 0);
        CHECK(heap_bytes_max - before <= needs.library_bytes + OURS_BYTES);
        appender_free(a);
        free(scratch);
    }
    free(raw);
    free(encoded);
    free(kept);
}

int main(void)
{
    RUN(test_codec_memory__stays_within_what_was_promised);
    RUN(test_codec_memory__blosc_takes_no_more_than_scratch);
    RUN(test_codec_memory__blosc_makes_no_longer_blocks_than_reckoned);
    RUN(test_codec_memory__of_what_is_appended_is_scratch);
    RUN(test_codec_memory__of_undoing_is_promised);
    return test_summary();
}
