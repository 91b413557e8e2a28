/* Blosc's shuffles and back. In a bit-shuffled block of n items (n a multiple of 8), bit k of byte j of all items is
 * a row of n bits, lowest bit first; rows are ordered by 8 j + k. So the eight rows of one byte are transposed, 8 x 8
 * bits at a time, into a row of bytes - what a byte shuffle leaves - and the rest is a byte unshuffle. The way there
 * is the same backwards: a byte shuffle, and the bits of each byte row gathered one by one.
 *
 * SSE2, which every x86-64 has, and AVX2 to gather 32 bits at once where there is AVX2.
 */
#include <immintrin.h>
#include <string.h>

#include "engine/array/copy.h"
#include "engine/base/size.h"
#include "engine/codec/blosc_frame.h"

/* A window of items whose byte rows are made in a buffer on the stack. */
enum { WINDOW_BYTES = 16384 };

/* Items of an odd size that are shuffled in one turn. */
enum { TURN_ITEMS = 64 };

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

/* Bit k of `byte_count` bytes, a multiple of 8, to row k. */
static void gather_rows(char *to, uint64_t row_bytes, const char *from, uint64_t byte_count)
{
    uint64_t at = 0;

    for (; at + 16 <= byte_count; at += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(from + at));

        for (unsigned k = 8; k-- > 0; x = _mm_add_epi8(x, x)) {
            uint16_t bits = (uint16_t)_mm_movemask_epi8(x);
            memcpy(to + k * row_bytes + at / 8, &bits, sizeof bits);
        }
    }
    for (; at < byte_count; at += 8) {
        uint64_t x;

        memcpy(&x, from + at, 8);
        x = transpose_bits(x);
        for (unsigned k = 0; k < 8; k++)
            to[k * row_bytes + at / 8] = (char)(x >> (8 * k));
    }
}

__attribute__((target("avx2")))
static uint64_t gather_rows_avx2(char *to, uint64_t row_bytes, const char *from, uint64_t byte_count)
{
    uint64_t at = 0;

    for (; at + 32 <= byte_count; at += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(from + at));

        for (unsigned k = 8; k-- > 0; x = _mm256_add_epi8(x, x)) {
            uint32_t bits = (uint32_t)_mm256_movemask_epi8(x);
            memcpy(to + k * row_bytes + at / 8, &bits, sizeof bits);
        }
    }
    return at;
}

static void gather_bits(char *to, uint64_t row_bytes, const char *from, uint64_t byte_count)
{
    uint64_t done = __builtin_cpu_supports("avx2") ? gather_rows_avx2(to, row_bytes, from, byte_count) : 0;

    gather_rows(to + done / 8, row_bytes, from + done, byte_count - done);
}

/* How many groups of 8 items fit the window: 8 at least, for typesize is a byte. */
static uint64_t window_groups(uint32_t typesize)
{
    uint64_t groups = WINDOW_BYTES / (8 * (uint64_t)typesize);

    return groups > 16 ? groups - groups % 16 : groups;
}

void bit_shuffle(char *to, const char *from, uint64_t count, uint32_t typesize)
{
    char window[WINDOW_BYTES];
    uint64_t row_bytes = count / 8, groups_max = window_groups(typesize);

    if (typesize == 1) {
        gather_bits(to, row_bytes, from, count);
        return;
    }
    for (uint64_t group = 0; group < row_bytes; group += groups_max) {
        uint64_t groups = size_min(groups_max, row_bytes - group);

        byte_shuffle(window, from + group * 8 * typesize, groups * 8, typesize);
        for (uint32_t j = 0; j < typesize; j++)
            gather_bits(to + j * count + group, row_bytes, window + j * groups * 8, groups * 8);
    }
}

void bit_unshuffle(char *to, const char *from, uint64_t count, uint32_t typesize)
{
    char window[WINDOW_BYTES];
    uint64_t row_bytes = count / 8, groups_max = window_groups(typesize);

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

void byte_shuffle(char *to, const char *from, uint64_t count, uint32_t typesize)
{
    if (typesize == 1 || typesize == 2 || typesize == 4 || typesize == 8 || typesize == 16) {
        shuffle_bytes(to, from, count, typesize);
        return;
    }
    /* by turns of items, so that what is read typesize times over is still in the cache */
    for (uint64_t first = 0; first < count; first += TURN_ITEMS) {
        uint64_t end = size_min(first + TURN_ITEMS, count);

        for (uint32_t j = 0; j < typesize; j++)
            for (uint64_t i = first; i < end; i++)
                to[j * count + i] = from[i * typesize + j];
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
