/* Undoing blosc's shuffles. In a bit-shuffled block of n items (n a multiple of 8), bit k of byte j of all items is a
 * row of n bits, lowest bit first; rows are ordered by 8 j + k. So the eight rows of one byte are transposed, 8 x 8
 * bits at a time, into a row of bytes - what a byte shuffle leaves - and the rest is a byte unshuffle.
 *
 * SSE2, which every x86-64 has: sixteen 8 x 8 transposes at once. About the speed of the memory.
 */
#include <emmintrin.h>
#include <string.h>

#include "engine/array/copy.h"
#include "engine/base/size.h"
#include "engine/codec/blosc_frame.h"

/* A window of items whose byte rows are made in a buffer on the stack. */
enum { WINDOW_BYTES = 16384 };

/* Transpose 8 x 8 bits: byte k of `x` is a row. */
static uint64_t transpose_bits(uint64_t x)
{
    uint64_t t;

    t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull;
    x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull;
    x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull;
    return x ^ t ^ (t << 28);
}

static inline __m128i transpose_bits_2(__m128i x)
{
    const __m128i one = _mm_set1_epi64x(0x00AA00AA00AA00AAll);
    const __m128i two = _mm_set1_epi64x(0x0000CCCC0000CCCCll);
    const __m128i four = _mm_set1_epi64x(0x00000000F0F0F0F0ll);
    __m128i t;

    t = _mm_and_si128(_mm_xor_si128(x, _mm_srli_epi64(x, 7)), one);
    x = _mm_xor_si128(x, _mm_xor_si128(t, _mm_slli_epi64(t, 7)));
    t = _mm_and_si128(_mm_xor_si128(x, _mm_srli_epi64(x, 14)), two);
    x = _mm_xor_si128(x, _mm_xor_si128(t, _mm_slli_epi64(t, 14)));
    t = _mm_and_si128(_mm_xor_si128(x, _mm_srli_epi64(x, 28)), four);
    return _mm_xor_si128(x, _mm_xor_si128(t, _mm_slli_epi64(t, 28)));
}

/* 16 bytes of each of 8 rows to 128 bytes. */
static inline void transpose_16(char *to, const char *from, uint64_t row_bytes)
{
    __m128i row[8], pair[8], four[8];

    for (unsigned k = 0; k < 8; k++)
        row[k] = _mm_loadu_si128((const __m128i *)(from + k * row_bytes));
    for (unsigned k = 0; k < 4; k++) {
        pair[2 * k] = _mm_unpacklo_epi8(row[2 * k], row[2 * k + 1]);
        pair[2 * k + 1] = _mm_unpackhi_epi8(row[2 * k], row[2 * k + 1]);
    }
    for (unsigned k = 0; k < 2; k++) {
        /* rows 4k .. 4k+3 of groups 0-3, 4-7, 8-11, 12-15 */
        four[4 * k] = _mm_unpacklo_epi16(pair[4 * k], pair[4 * k + 2]);
        four[4 * k + 1] = _mm_unpackhi_epi16(pair[4 * k], pair[4 * k + 2]);
        four[4 * k + 2] = _mm_unpacklo_epi16(pair[4 * k + 1], pair[4 * k + 3]);
        four[4 * k + 3] = _mm_unpackhi_epi16(pair[4 * k + 1], pair[4 * k + 3]);
    }
    for (unsigned k = 0; k < 4; k++) {
        __m128i low = _mm_unpacklo_epi32(four[k], four[4 + k]);
        __m128i high = _mm_unpackhi_epi32(four[k], four[4 + k]);

        _mm_storeu_si128((__m128i *)(to + 32 * k), transpose_bits_2(low));
        _mm_storeu_si128((__m128i *)(to + 32 * k + 16), transpose_bits_2(high));
    }
}

/* `group_count` groups of 8 items of one byte row. */
static void transpose_rows(char *to, const char *from, uint64_t row_bytes, uint64_t group_count)
{
    uint64_t g = 0;

    for (; g + 16 <= group_count; g += 16)
        transpose_16(to + 8 * g, from + g, row_bytes);
    for (; g < group_count; g++) {
        uint64_t x = 0;

        for (unsigned k = 0; k < 8; k++)
            x |= (uint64_t)(unsigned char)from[k * row_bytes + g] << (8 * k);
        x = transpose_bits(x);
        memcpy(to + 8 * g, &x, 8);
    }
}

void bit_unshuffle(char *to, const char *from, uint64_t count, uint32_t typesize)
{
    char window[WINDOW_BYTES];
    uint64_t row_bytes = count / 8;
    uint64_t groups_max = WINDOW_BYTES / (8 * (uint64_t)typesize);     /* 8 at least: typesize is a byte */

    if (groups_max > 16)
        groups_max -= groups_max % 16;
    if (typesize == 1) {
        transpose_rows(to, from, row_bytes, row_bytes);
        return;
    }
    for (uint64_t group = 0; group < row_bytes; group += groups_max) {
        uint64_t groups = size_min(groups_max, row_bytes - group);

        for (uint32_t j = 0; j < typesize; j++)
            transpose_rows(window + j * groups * 8, from + j * count + group, row_bytes, groups);
        byte_unshuffle(to + group * 8 * typesize, window, groups * 8, typesize);
    }
}

void byte_unshuffle(char *to, const char *from, uint64_t count, uint32_t typesize)
{
    if (typesize == 2 || typesize == 4 || typesize == 8 || typesize == 16) {
        unshuffle_bytes(to, from, count, typesize);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < typesize; j++)
            to[i * typesize + j] = from[j * count + i];
}
