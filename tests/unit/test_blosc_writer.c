/* Frames of ours against c-blosc's own, byte for byte: random chunks and settings, from a seed for each case.
 *
 * SLUICE_BLOSC_CASES=20000 for more than the few hundred of `make test`; the seed of a case that fails is printed. */
#include <blosc.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

#include "engine/codec/blosc_frame.h"

enum { CASES = 400, LENGTH_MAX = 3000000 };

static const char *const cnames[] = { "lz4", "lz4hc", "snappy", "zlib", "zstd", "blosclz" };

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

static uint32_t random_length(bool slow)
{
    switch (random_below(8)) {
    case 0:  return random_below(300);
    case 1:  return (1u << random_below(slow ? 17 : 21)) + random_below(3) - 1;
    case 2:  return slow ? random_below(20000) : random_below(LENGTH_MAX);
    case 3:  return random_below(slow ? 100000 : 1000000);
    default: return random_below(70000);
    }
}

/* Words of a few letters, over and over. */
static void fill_text(char *out, uint64_t bytes)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog and runs away from what it has seen, ";

    for (uint64_t i = 0; i < bytes; ) {
        uint32_t first = random_below(60), length = 1 + random_below(20);

        for (uint32_t j = 0; j < length && i < bytes; j++)
            out[i++] = words[first + j];
    }
}

static void fill_random_kind(char *out, uint64_t bytes)
{
    uint32_t kind = random_below(6), value = random_below(256);

    memset(out, (int)value, bytes);
    if (kind == 1)
        fill_noise(out, bytes);
    else if (kind == 2)
        fill_text(out, bytes);
    else if (kind >= 3)
        fill_smooth_f4((float *)out, bytes / 4);
    /* some of what compresses and some of what does not, so that a frame may give up half-way */
    if (kind == 4)
        fill_noise(out + bytes / 3, bytes - bytes / 3);
    if (kind == 5)
        for (uint64_t i = 0; i + 64 <= bytes; i += 64)
            fill_noise(out + i, random_below(64));
}

struct settings {
    struct codec_chain chain;
    uint32_t length;
};

static struct settings random_settings(void)
{
    static const uint32_t item_bytes[] = { 1, 2, 3, 4, 4, 7, 8, 8, 16, 17, 24, 255 };
    static const uint32_t block_bytes[] = { 0, 0, 0, 0, 1, 128, 1000, 4096, 65537, 262144, 2000000 };
    struct settings s = { .chain = { .count = 1, .codecs = {{ .kind = CODEC_BLOSC }} } };
    struct codec *c = &s.chain.codecs[0];
    bool slow;

    strcpy(c->cname, cnames[random_below(sizeof cnames / sizeof *cnames)]);
    c->level = (int)random_below(10);
    c->shuffle = (enum blosc_shuffle)random_below(3);
    c->typesize = item_bytes[random_below(sizeof item_bytes / sizeof *item_bytes)];
    c->blocksize = block_bytes[random_below(sizeof block_bytes / sizeof *block_bytes)];
    slow = strcmp(c->cname, "lz4hc") == 0 || strcmp(c->cname, "zlib") == 0 || strcmp(c->cname, "zstd") == 0;
    s.length = random_length(slow);
    return s;
}

/* Twice with one encoder: the second frame must not know of the first. */
static void check_case(uint32_t seed, char *raw, char *theirs)
{
    struct dtype u1 = { DTYPE_UINT, 1 };
    struct settings s;
    const struct codec *c = &s.chain.codecs[0];
    struct codec_needs needs;
    struct encoder *e = NULL;
    struct error err = { 0 };
    uint64_t ours_bytes = 0;
    char *ours, *scratch;
    bool same = true;
    int got;

    random_state = seed * 2654435761u + 1;
    s = random_settings();
    fill_random_kind(raw, s.length);
    got = blosc_compress_ctx(c->level, (int)c->shuffle, c->typesize, s.length, raw, theirs, s.length + 16, c->cname,
                             c->blocksize, 1);
    CHECK(got > 0);
    codec_encode_needs(&s.chain, u1, s.length, &needs);
    ours = malloc(needs.encoded_bytes_max);
    scratch = malloc(needs.scratch_bytes_least + 1);
    CHECK(encoder_new(&e, &s.chain, u1, s.length, scratch, needs.scratch_bytes_least, &err));
    for (unsigned i = 0; i < 2; i++) {
        CHECK(encode(e, raw, ours, &ours_bytes, &err));
        same &= ours_bytes == (uint64_t)got && memcmp(ours, theirs, ours_bytes) == 0;
    }
    CHECK(same);
    if (!same)
        fprintf(stderr, "seed %u: %u bytes, blosc:%s:%d shuffle %d typesize %u blocksize %u: %llu bytes, theirs %d\n",
                seed, s.length, c->cname, c->level, (int)c->shuffle, c->typesize, c->blocksize,
                (unsigned long long)ours_bytes, got);
    encoder_free(e);
    free(scratch);
    free(ours);
}

static void test_blosc_writer__writes_the_bytes_of_c_blosc(void)
{
    const char *wanted = getenv("SLUICE_BLOSC_CASES");
    uint32_t count = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : CASES;
    char *raw = malloc(LENGTH_MAX), *theirs = malloc(LENGTH_MAX + 16);

    for (uint32_t seed = 0; seed < count; seed++)
        check_case(seed, raw, theirs);
    free(raw);
    free(theirs);
}

/* Behind another compressor the length varies, and shorter chunks may be cut into longer blocks: 16 KiB from 32 KiB
 * on, but less than 32 KiB are one. LZ4 in a great hurry leaves text as it is for the next to find. */
static void test_blosc_writer__takes_chunks_shorter_than_reckoned(void)
{
    enum { BYTES = 40000 };
    struct codec_chain lz4 = chain_of("lz4:65537", 4), both = chain_of("lz4:65537+blosc:lz4:1:shuffle", 24);
    struct dtype f4 = { DTYPE_FLOAT, 4 };
    struct error err = { 0 };
    char *raw = calloc(1, BYTES), *inner = NULL, *ours = NULL, *theirs = malloc(BYTES + 16);
    uint64_t inner_bytes = 0, ours_bytes = 0;
    int got;

    for (uint32_t i = BYTES / 2; i < BYTES; i++)
        raw[i] = "abcdefghijkl mnopqrstuvw"[i % 24];
    for (uint32_t i = BYTES / 2; i < BYTES; i += 50)
        raw[i] = (char)(i / 50);
    CHECK(encode_bytes(&lz4, f4, raw, BYTES, &inner, &inner_bytes, &err));
    CHECK(inner_bytes > 17000 && inner_bytes < 32000);
    got = blosc_compress_ctx(1, 1, 24, inner_bytes, inner, theirs, inner_bytes + 16, "lz4", 0, 1);
    CHECK(got > 0 && (uint64_t)got < inner_bytes);
    CHECK(encode_bytes(&both, f4, raw, BYTES, &ours, &ours_bytes, &err));
    CHECK(ours_bytes == (uint64_t)got && memcmp(ours, theirs, ours_bytes) == 0);
    free(raw);
    free(inner);
    free(ours);
    free(theirs);
}

static void test_blosc_writer__shuffles_any_count_of_items_back(void)
{
    char *raw = malloc(300 * 255), *there = malloc(300 * 255), *back = malloc(300 * 255);

    fill_noise(raw, 300 * 255);
    for (uint32_t typesize = 1; typesize <= 255; typesize++)
        for (uint64_t count = 0; count <= 300; count += typesize < 20 ? 1 : 13) {
            byte_shuffle(there, raw, count, typesize);
            byte_unshuffle(back, there, count, typesize);
            CHECK(memcmp(back, raw, count * typesize) == 0);
            if (count % 8 == 0) {
                bit_shuffle(there, raw, count, typesize);
                bit_unshuffle(back, there, count, typesize);
                CHECK(memcmp(back, raw, count * typesize) == 0);
            }
        }
    free(raw);
    free(there);
    free(back);
}

int main(void)
{
    RUN(test_blosc_writer__writes_the_bytes_of_c_blosc);
    RUN(test_blosc_writer__takes_chunks_shorter_than_reckoned);
    RUN(test_blosc_writer__shuffles_any_count_of_items_back);
    return test_summary();
}
