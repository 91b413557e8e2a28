/* versions.c - which libraries write our bytes.
 *
 * Libraries are linked at run time, so it is they who must say which they are, not the headers we were compiled with.
 * libdeflate and snappy cannot: of those, what they make of a fixed sample stands for the version. (That also tells apart
 * what one version does on different processors.) Inside blosc frames it is the same libraries that encode, and c-blosc's
 * own blosclz (blosc_writer.c).
 */
#include <blosc.h>
#include <libdeflate.h>
#include <lz4.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/codec/codec.h"

enum { SAMPLE_BYTES = 16 * 1024, ENCODED_BYTES_MAX = SAMPLE_BYTES + SAMPLE_BYTES / 4 };

/* Numbers like those in arrays: smooth, with noise in their low bits, and a few runs that come again. */
static void make_sample(uint16_t sample[SAMPLE_BYTES / 2])
{
    uint32_t random = 1;

    for (uint32_t i = 0; i < SAMPLE_BYTES / 2; i++) {
        random = random * 1664525 + 1013904223;
        sample[i] = i % 512 > 300 && i >= 777 ? sample[i - 777 + random % 2 * 64] : (uint16_t)(i * i >> 12) + (random >> 29);
    }
}

static XXH64_hash_t sum_of(const char *encoded, size_t bytes, XXH64_hash_t seed)
{
    return XXH3_64bits_withSeed(encoded, bytes, seed + 1);
}

static bool libdeflate_sum(const void *sample, XXH64_hash_t *sum)
{
    static const int levels[] = { 1, 5, 9 };        /* as many ways to look for matches */
    char encoded[ENCODED_BYTES_MAX];

    *sum = 0;
    for (unsigned i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        struct libdeflate_compressor *c = libdeflate_alloc_compressor(levels[i]);

        if (!c)
            return false;
        *sum = sum_of(encoded, libdeflate_deflate_compress(c, sample, SAMPLE_BYTES, encoded, sizeof encoded), *sum);
        libdeflate_free_compressor(c);
    }
    return true;
}

static XXH64_hash_t snappy_sum(const void *sample)
{
    char encoded[ENCODED_BYTES_MAX];
    size_t bytes = sizeof encoded;

    if (snappy_compress(sample, SAMPLE_BYTES, encoded, &bytes) != SNAPPY_OK)
        bytes = 0;
    return sum_of(encoded, bytes, 0);
}

void codec_versions_text(struct text *out)
{
    uint16_t sample[SAMPLE_BYTES / 2];
    XXH64_hash_t deflate;

    make_sample(sample);
    if (!libdeflate_sum(sample, &deflate))
        out->cut = out->no_memory = true;
    text_addf(out, "c-blosc %s, zstd %s, lz4 %s, zlib %s, libdeflate that makes %08x of a sample, snappy that makes %08x",
              blosc_get_version_string(), ZSTD_versionString(), LZ4_versionString(), zlibVersion(), (unsigned)deflate,
              (unsigned)snappy_sum(sample));
}
