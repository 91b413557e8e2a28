/* digest_words.c - the inner loop of the digest: words times keys, summed. */
#include <immintrin.h>
#include <string.h>

#include "engine/array/kernels.h"

enum { SEED_A = 0x9e3779b9, SEED_B = 0x7f4a7c15 };
enum { MIX_1 = 0x85ebca6b, MIX_2 = 0xc2b2ae35 };

static inline uint32_t fmix32(uint32_t h)
{
    h ^= h >> 16;
    h *= MIX_1;
    h ^= h >> 13;
    h *= MIX_2;
    h ^= h >> 16;
    return h;
}

struct digest_keys digest_keys(uint32_t w_high)
{
    return (struct digest_keys){ .a = SEED_A + fmix32(w_high), .b = SEED_B ^ fmix32(w_high) };
}

void digest_words_generic(struct digest_keys keys, uint32_t w, const char *data, uint64_t words,
                          const uint32_t fill[4], uint64_t d[2])
{
    for (uint64_t i = 0; i < words; i++, w++) {
        uint32_t word;

        memcpy(&word, data + 4 * i, sizeof word);
        word ^= fill[w % 4];
        d[0] += (uint64_t)word * fmix32(w ^ keys.a);
        d[1] += (uint64_t)word * fmix32(w + keys.b);
    }
}

#define AVX2 static inline __attribute__((always_inline, target("avx2")))

AVX2 __m256i fmix32_avx2(__m256i h)
{
    h = _mm256_xor_si256(h, _mm256_srli_epi32(h, 16));
    h = _mm256_mullo_epi32(h, _mm256_set1_epi32((int)MIX_1));
    h = _mm256_xor_si256(h, _mm256_srli_epi32(h, 13));
    h = _mm256_mullo_epi32(h, _mm256_set1_epi32((int)MIX_2));
    return _mm256_xor_si256(h, _mm256_srli_epi32(h, 16));
}

/* The eight 64-bit products, added in four lanes. */
AVX2 __m256i products(__m256i words, __m256i words_odd, __m256i key)
{
    return _mm256_add_epi64(_mm256_mul_epu32(words, key), _mm256_mul_epu32(words_odd, _mm256_srli_epi64(key, 32)));
}

AVX2 uint64_t sum_lanes(__m256i v)
{
    __m128i halves = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    return (uint64_t)_mm_cvtsi128_si64(halves) + (uint64_t)_mm_extract_epi64(halves, 1);
}

__attribute__((target("avx2")))
void digest_words_avx2(struct digest_keys keys, uint32_t w, const char *data, uint64_t words,
                       const uint32_t fill[4], uint64_t d[2])
{
    const uint64_t vector_words = words / 8 * 8;
    const __m256i key_a = _mm256_set1_epi32((int)keys.a), key_b = _mm256_set1_epi32((int)keys.b);
    const __m256i fill_words = _mm256_setr_epi32(
        (int)fill[w % 4], (int)fill[(w + 1) % 4], (int)fill[(w + 2) % 4], (int)fill[(w + 3) % 4],
        (int)fill[w % 4], (int)fill[(w + 1) % 4], (int)fill[(w + 2) % 4], (int)fill[(w + 3) % 4]);
    __m256i place = _mm256_add_epi32(_mm256_set1_epi32((int)w), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i sum_1 = _mm256_setzero_si256(), sum_2 = _mm256_setzero_si256();

    for (uint64_t i = 0; i < vector_words; i += 8) {
        __m256i even = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(data + 4 * i)), fill_words);
        __m256i odd = _mm256_srli_epi64(even, 32);

        sum_1 = _mm256_add_epi64(sum_1, products(even, odd, fmix32_avx2(_mm256_xor_si256(place, key_a))));
        sum_2 = _mm256_add_epi64(sum_2, products(even, odd, fmix32_avx2(_mm256_add_epi32(place, key_b))));
        place = _mm256_add_epi32(place, _mm256_set1_epi32(8));
    }
    d[0] += sum_lanes(sum_1);
    d[1] += sum_lanes(sum_2);
    digest_words_generic(keys, w + (uint32_t)vector_words, data + 4 * vector_words, words - vector_words, fill, d);
}
