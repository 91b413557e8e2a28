/* transpose.c - two axes change places: the source runs along a, the destination along b.
 *
 * Both forms go through panels of some hundred items of b, and there take a few a at a time, at most those of one
 * line of the source, through the whole panel. So a line that was fetched is used up before it leaves the cache (at
 * strides of a power of two the cache holds very few), and the destination is written in stretches.
 *
 * The AVX2 form moves blocks of 32 / item by 16 / item items (a line of 32 bytes in each of `columns` destination
 * rows). A register holds 16 bytes of one source row in its low lane and 16 bytes of a row half a block below in its
 * high lane; interleaving registers i and i + half, log2 times, rotates the bits of a byte's position (register,
 * item) until rows have become columns, in both lanes at once.
 */
#include <immintrin.h>
#include <string.h>

#include "engine/array/kernels.h"
#include "engine/base/size.h"

enum { PANEL_ITEMS = 128, VECTOR_PANEL_ITEMS = 256, LINE_BYTES = 64 };

/* ---- portable ---- */

static inline __attribute__((always_inline))
void transpose_items(const struct transpose *t, uint64_t a_first, uint64_t a_end, uint64_t b_first, uint64_t b_end,
                     char *to, const char *from, const uint32_t item_bytes)
{
    for (uint64_t b = b_first; b < b_end; b++) {
        char *to_at = to + a_first * t->to_a + b * t->to_b;
        const char *from_at = from + a_first * t->from_a + b * t->from_b;

        for (uint64_t a = a_first; a < a_end; a++) {
            memcpy(to_at, from_at, item_bytes);
            to_at += t->to_a;
            from_at += t->from_a;
        }
    }
}

static inline __attribute__((always_inline))
void transpose_panels(const struct transpose *t, char *to, const char *from, const uint32_t item_bytes)
{
    /* Eight rows of the destination at most: what one set of the cache can hold. */
    const uint64_t line = item_bytes < LINE_BYTES / 8 ? 8 : LINE_BYTES / item_bytes;

    for (uint64_t b = 0; b < t->length_b; b += PANEL_ITEMS)
        for (uint64_t a = 0; a < t->length_a; a += line)
            transpose_items(t, a, size_min(a + line, t->length_a), b, size_min(b + PANEL_ITEMS, t->length_b),
                            to, from, item_bytes);
}

void transpose_generic(const struct transpose *t, uint32_t item_bytes, char *to, const char *from)
{
    switch (item_bytes) {
    case 1:  transpose_panels(t, to, from, 1); return;
    case 2:  transpose_panels(t, to, from, 2); return;
    case 4:  transpose_panels(t, to, from, 4); return;
    case 8:  transpose_panels(t, to, from, 8); return;
    case 16: transpose_panels(t, to, from, 16); return;
    case 32: transpose_panels(t, to, from, 32); return;
    }
}

/* ---- AVX2 ---- */

#define AVX2 static inline __attribute__((always_inline, target("avx2")))

AVX2 __m256i interleave_low(__m256i x, __m256i y, uint32_t item_bytes)
{
    return item_bytes == 1 ? _mm256_unpacklo_epi8(x, y)
         : item_bytes == 2 ? _mm256_unpacklo_epi16(x, y)
         : item_bytes == 4 ? _mm256_unpacklo_epi32(x, y)
         : _mm256_unpacklo_epi64(x, y);
}

AVX2 __m256i interleave_high(__m256i x, __m256i y, uint32_t item_bytes)
{
    return item_bytes == 1 ? _mm256_unpackhi_epi8(x, y)
         : item_bytes == 2 ? _mm256_unpackhi_epi16(x, y)
         : item_bytes == 4 ? _mm256_unpackhi_epi32(x, y)
         : _mm256_unpackhi_epi64(x, y);
}

/* Two rows of 16 bytes, one per lane. */
AVX2 __m256i load_lanes(const char *low, const char *high)
{
    __m128i first = _mm_loadu_si128((const __m128i *)low);

    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), _mm_loadu_si128((const __m128i *)high), 1);
}

/* 2 * side rows of side items become side rows of 2 * side items. */
AVX2 void transpose_block(char *to, uint64_t to_a, const char *from, uint64_t from_b, const uint32_t item_bytes)
{
    const unsigned side = 16 / item_bytes;
    __m256i v[16], turned[16];

#pragma GCC unroll 16
    for (unsigned i = 0; i < side; i++)
        v[i] = load_lanes(from + i * from_b, from + (i + side) * from_b);
#pragma GCC unroll 4
    for (unsigned round = side; round > 1; round /= 2) {
#pragma GCC unroll 16
        for (unsigned i = 0; i < side / 2; i++) {
            turned[2 * i] = interleave_low(v[i], v[i + side / 2], item_bytes);
            turned[2 * i + 1] = interleave_high(v[i], v[i + side / 2], item_bytes);
        }
#pragma GCC unroll 16
        for (unsigned i = 0; i < side; i++)
            v[i] = turned[i];
    }
#pragma GCC unroll 16
    for (unsigned i = 0; i < side; i++)
        _mm256_storeu_si256((__m256i *)(to + i * to_a), v[i]);
}

/* A line by a line: each row of the destination gets its 64 bytes before the next rows are touched. */
AVX2 void transpose_lines(const struct transpose *t, uint64_t a_first, uint64_t a_end, uint64_t b_first,
                          uint64_t b_end, char *to, const char *from, const uint32_t item_bytes)
{
    for (uint64_t a = a_first; a < a_end; a += 16 / item_bytes)
        for (uint64_t b = b_first; b < b_end; b += 32 / item_bytes)
            transpose_block(to + a * t->to_a + b * item_bytes, t->to_a,
                            from + a * item_bytes + b * t->from_b, t->from_b, item_bytes);
}

AVX2 void transpose_blocks(const struct transpose *t, char *to, const char *from, const uint32_t item_bytes)
{
    const uint64_t side_a = 16 / item_bytes, side_b = 32 / item_bytes, line = LINE_BYTES / item_bytes;
    const uint64_t end_a = t->length_a / side_a * side_a, end_b = t->length_b / side_b * side_b;

    for (uint64_t panel = 0; panel < end_b; panel += VECTOR_PANEL_ITEMS) {
        const uint64_t panel_end = size_min(panel + VECTOR_PANEL_ITEMS, end_b);

        for (uint64_t a_line = 0; a_line < end_a; a_line += line)
            for (uint64_t b = panel; b < panel_end; b += 2 * side_b)
                transpose_lines(t, a_line, size_min(a_line + line, end_a), b, size_min(b + 2 * side_b, panel_end),
                                to, from, item_bytes);
        transpose_items(t, end_a, t->length_a, panel, panel_end, to, from, item_bytes);
    }
    transpose_items(t, 0, t->length_a, end_b, t->length_b, to, from, item_bytes);
}

__attribute__((target("avx2")))
void transpose_avx2(const struct transpose *t, uint32_t item_bytes, char *to, const char *from)
{
    switch (item_bytes) {
    case 1: transpose_blocks(t, to, from, 1); return;
    case 2: transpose_blocks(t, to, from, 2); return;
    case 4: transpose_blocks(t, to, from, 4); return;
    case 8: transpose_blocks(t, to, from, 8); return;
    }
}
