/* shuffle.c - byte shuffle and back.
 *
 * Sixteen items of T bytes are T registers; a byte's position in them is the bits (item: 4, byte: log2 T). One round
 * that interleaves registers i and i + T / 2 bytewise rotates those bits by one, so four rounds bring them to
 * (byte, item), which is the shuffled order, and log2 T rounds bring them back. With AVX2 the high lane does the
 * same for the next sixteen items.
 */
#include <immintrin.h>
#include <string.h>

#include "engine/array/kernels.h"

/* ---- portable ---- */

void shuffle_generic(char *to, const char *from, uint64_t first, uint64_t count, uint32_t item_bytes)
{
    for (uint32_t byte = 0; byte < item_bytes; byte++)
        for (uint64_t i = first; i < count; i++)
            to[byte * count + i] = from[i * item_bytes + byte];
}

void unshuffle_generic(char *to, const char *from, uint64_t first, uint64_t count, uint32_t item_bytes)
{
    for (uint64_t i = first; i < count; i++)
        for (uint32_t byte = 0; byte < item_bytes; byte++)
            to[i * item_bytes + byte] = from[byte * count + i];
}

/* ---- SSE2 ---- */

#define SSE2 static inline __attribute__((always_inline))

SSE2 void rotate_sse2(__m128i *v, const uint32_t item_bytes)
{
    __m128i turned[16];

#pragma GCC unroll 16
    for (unsigned i = 0; i < item_bytes / 2; i++) {
        turned[2 * i] = _mm_unpacklo_epi8(v[i], v[i + item_bytes / 2]);
        turned[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + item_bytes / 2]);
    }
#pragma GCC unroll 16
    for (unsigned i = 0; i < item_bytes; i++)
        v[i] = turned[i];
}

SSE2 uint64_t shuffle_sse2_items(char *to, const char *from, uint64_t count, const uint32_t item_bytes)
{
    const uint64_t end = count / 16 * 16;
    __m128i v[16];

    for (uint64_t at = 0; at < end; at += 16) {
#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++)
            v[i] = _mm_loadu_si128((const __m128i *)(from + at * item_bytes + 16 * i));
#pragma GCC unroll 4
        for (unsigned round = 0; round < 4; round++)
            rotate_sse2(v, item_bytes);
#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++)
            _mm_storeu_si128((__m128i *)(to + i * count + at), v[i]);
    }
    return end;
}

SSE2 uint64_t unshuffle_sse2_items(char *to, const char *from, uint64_t count, const uint32_t item_bytes)
{
    const uint64_t end = count / 16 * 16;
    __m128i v[16];

    for (uint64_t at = 0; at < end; at += 16) {
#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++)
            v[i] = _mm_loadu_si128((const __m128i *)(from + i * count + at));
#pragma GCC unroll 4
        for (unsigned round = item_bytes; round > 1; round /= 2)
            rotate_sse2(v, item_bytes);
#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++)
            _mm_storeu_si128((__m128i *)(to + at * item_bytes + 16 * i), v[i]);
    }
    return end;
}

uint64_t shuffle_sse2(char *to, const char *from, uint64_t count, uint32_t item_bytes)
{
    switch (item_bytes) {
    case 2:  return shuffle_sse2_items(to, from, count, 2);
    case 4:  return shuffle_sse2_items(to, from, count, 4);
    case 8:  return shuffle_sse2_items(to, from, count, 8);
    case 16: return shuffle_sse2_items(to, from, count, 16);
    }
    return 0;
}

uint64_t unshuffle_sse2(char *to, const char *from, uint64_t count, uint32_t item_bytes)
{
    switch (item_bytes) {
    case 2:  return unshuffle_sse2_items(to, from, count, 2);
    case 4:  return unshuffle_sse2_items(to, from, count, 4);
    case 8:  return unshuffle_sse2_items(to, from, count, 8);
    case 16: return unshuffle_sse2_items(to, from, count, 16);
    }
    return 0;
}

/* ---- AVX2 ---- */

#define AVX2 static inline __attribute__((always_inline, target("avx2")))

AVX2 void rotate_avx2(__m256i *v, const uint32_t item_bytes)
{
    __m256i turned[16];

#pragma GCC unroll 16
    for (unsigned i = 0; i < item_bytes / 2; i++) {
        turned[2 * i] = _mm256_unpacklo_epi8(v[i], v[i + item_bytes / 2]);
        turned[2 * i + 1] = _mm256_unpackhi_epi8(v[i], v[i + item_bytes / 2]);
    }
#pragma GCC unroll 16
    for (unsigned i = 0; i < item_bytes; i++)
        v[i] = turned[i];
}

AVX2 uint64_t shuffle_avx2_items(char *to, const char *from, uint64_t count, const uint32_t item_bytes)
{
    const uint64_t end = count / 32 * 32;
    __m256i v[16];

    for (uint64_t at = 0; at < end; at += 32) {
        const char *low = from + at * item_bytes, *high = low + 16 * item_bytes;

#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++) {
            __m128i first = _mm_loadu_si128((const __m128i *)(low + 16 * i));
            v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                           _mm_loadu_si128((const __m128i *)(high + 16 * i)), 1);
        }
#pragma GCC unroll 4
        for (unsigned round = 0; round < 4; round++)
            rotate_avx2(v, item_bytes);
#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++)
            _mm256_storeu_si256((__m256i *)(to + i * count + at), v[i]);
    }
    return end;
}

AVX2 uint64_t unshuffle_avx2_items(char *to, const char *from, uint64_t count, const uint32_t item_bytes)
{
    const uint64_t end = count / 32 * 32;
    __m256i v[16];

    for (uint64_t at = 0; at < end; at += 32) {
        char *low = to + at * item_bytes, *high = low + 16 * item_bytes;

#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++)
            v[i] = _mm256_loadu_si256((const __m256i *)(from + i * count + at));
#pragma GCC unroll 4
        for (unsigned round = item_bytes; round > 1; round /= 2)
            rotate_avx2(v, item_bytes);
#pragma GCC unroll 16
        for (unsigned i = 0; i < item_bytes; i++) {
            _mm_storeu_si128((__m128i *)(low + 16 * i), _mm256_castsi256_si128(v[i]));
            _mm_storeu_si128((__m128i *)(high + 16 * i), _mm256_extracti128_si256(v[i], 1));
        }
    }
    return end;
}

__attribute__((target("avx2")))
uint64_t shuffle_avx2(char *to, const char *from, uint64_t count, uint32_t item_bytes)
{
    switch (item_bytes) {
    case 2:  return shuffle_avx2_items(to, from, count, 2);
    case 4:  return shuffle_avx2_items(to, from, count, 4);
    case 8:  return shuffle_avx2_items(to, from, count, 8);
    case 16: return shuffle_avx2_items(to, from, count, 16);
    }
    return 0;
}

__attribute__((target("avx2")))
uint64_t unshuffle_avx2(char *to, const char *from, uint64_t count, uint32_t item_bytes)
{
    switch (item_bytes) {
    case 2:  return unshuffle_avx2_items(to, from, count, 2);
    case 4:  return unshuffle_avx2_items(to, from, count, 4);
    case 8:  return unshuffle_avx2_items(to, from, count, 8);
    case 16: return unshuffle_avx2_items(to, from, count, 16);
    }
    return 0;
}

/* ---- whichever there is ---- */

void shuffle_bytes(void *to, const void *from, uint64_t count, uint32_t item_bytes)
{
    uint64_t done;

    if (item_bytes == 1) {
        memcpy(to, from, count);
        return;
    }
    done = cpu_has_avx2() ? shuffle_avx2(to, from, count, item_bytes) : shuffle_sse2(to, from, count, item_bytes);
    shuffle_generic(to, from, done, count, item_bytes);
}

void unshuffle_bytes(void *to, const void *from, uint64_t count, uint32_t item_bytes)
{
    uint64_t done;

    if (item_bytes == 1) {
        memcpy(to, from, count);
        return;
    }
    done = cpu_has_avx2() ? unshuffle_avx2(to, from, count, item_bytes) : unshuffle_sse2(to, from, count, item_bytes);
    unshuffle_generic(to, from, done, count, item_bytes);
}
