/* digest_words.c - the inner loops of the digest: words times keys, summed. */
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

static void add_word(struct digest_keys keys, uint32_t w, uint32_t changed, uint64_t d[2])
{
    d[0] += (uint64_t)changed * fmix32(w ^ keys.a);
    d[1] += (uint64_t)changed * fmix32(w + keys.b);
}

static void add_words(struct digest_keys keys, uint32_t w, const char *data, uint64_t words, const uint32_t fill[4],
                      uint64_t d[2])
{
    for (uint64_t i = 0; i < words; i++, w++) {
        uint32_t word;

        memcpy(&word, data + 4 * i, sizeof word);
        add_word(keys, w, word ^ fill[w % 4], d);
    }
}

void digest_rows_generic(struct digest_keys keys, const struct digest_rows *r, const uint32_t fill[4], uint64_t d[2])
{
    for (uint64_t i = 0; i < r->rows; i++)
        add_words(keys, r->w + (uint32_t)i * r->w_step, r->data + i * r->data_step, r->words, fill, d);
}

/* Items from `first` on. */
static void add_items(struct digest_keys keys, const struct digest_items *items, uint64_t first,
                      const uint32_t fill[4], uint64_t d[2])
{
    for (uint64_t i = first; i < items->count; i++) {
        const uint64_t offset = items->offset + i * items->step;
        const char *item = items->data + i * items->item_bytes;

        if (items->item_bytes >= 4) {
            add_words(keys, (uint32_t)(offset / 4), item, items->item_bytes / 4, fill, d);
        } else {
            uint32_t word = fill[offset / 4 % 4];

            memcpy((char *)&word + offset % 4, item, items->item_bytes);
            add_word(keys, (uint32_t)(offset / 4), word ^ fill[offset / 4 % 4], d);
        }
    }
}

void digest_items_generic(struct digest_keys keys, const struct digest_items *i, const uint32_t fill[4],
                          uint64_t d[2])
{
    add_items(keys, i, 0, fill, d);
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

/* Two sums of eight words times their keys, each in four lanes. */
struct lanes { __m256i sum_1, sum_2; };

AVX2 __m256i products(__m256i words, __m256i words_odd, __m256i key)
{
    return _mm256_add_epi64(_mm256_mul_epu32(words, key), _mm256_mul_epu32(words_odd, _mm256_srli_epi64(key, 32)));
}

AVX2 void add_lanes(struct lanes *sums, __m256i changed, __m256i place, __m256i key_a, __m256i key_b)
{
    const __m256i odd = _mm256_srli_epi64(changed, 32);

    sums->sum_1 = _mm256_add_epi64(sums->sum_1, products(changed, odd, fmix32_avx2(_mm256_xor_si256(place, key_a))));
    sums->sum_2 = _mm256_add_epi64(sums->sum_2, products(changed, odd, fmix32_avx2(_mm256_add_epi32(place, key_b))));
}

AVX2 uint64_t sum_lanes(__m256i v)
{
    __m128i halves = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    return (uint64_t)_mm_cvtsi128_si64(halves) + (uint64_t)_mm_extract_epi64(halves, 1);
}

__attribute__((target("avx2")))
void digest_rows_avx2(struct digest_keys keys, const struct digest_rows *r, const uint32_t fill[4], uint64_t d[2])
{
    const uint64_t vector_words = r->words / 8 * 8;
    const __m256i key_a = _mm256_set1_epi32((int)keys.a), key_b = _mm256_set1_epi32((int)keys.b);
    const __m256i each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    struct lanes sums = { _mm256_setzero_si256(), _mm256_setzero_si256() };
    const char *data = r->data;
    uint32_t fill_twelve[12];       /* eight words from any of the first four on */
    uint32_t w = r->w;

    for (unsigned i = 0; i < 12; i++)
        fill_twelve[i] = fill[i % 4];
    for (uint64_t row = 0; row < r->rows; row++, w += r->w_step, data += r->data_step) {
        const __m256i fill_words = _mm256_loadu_si256((const __m256i *)(fill_twelve + w % 4));
        __m256i place = _mm256_add_epi32(_mm256_set1_epi32((int)w), each);

        for (uint64_t i = 0; i < vector_words; i += 8) {
            __m256i words = _mm256_loadu_si256((const __m256i *)(data + 4 * i));

            add_lanes(&sums, _mm256_xor_si256(words, fill_words), place, key_a, key_b);
            place = _mm256_add_epi32(place, _mm256_set1_epi32(8));
        }
        if (vector_words < r->words)
            add_words(keys, w + (uint32_t)vector_words, data + 4 * vector_words, r->words - vector_words, fill, d);
    }
    d[0] += sum_lanes(sums.sum_1);
    d[1] += sum_lanes(sums.sum_2);
}

/* The next eight words of items, or eight small items as words. */
AVX2 __m256i load_items(const char *data, uint32_t item_bytes)
{
    if (item_bytes == 1)
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)data));
    if (item_bytes == 2)
        return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)data));
    return _mm256_loadu_si256((const __m256i *)data);
}

/* A lane is a word of an item, or a small item, which is shifted to its place in the word. Eight small items further
 * that place is the same, because eight steps are whole words; only the word's number goes forward. */
AVX2 void add_items_avx2(struct digest_keys keys, const struct digest_items *items, const uint32_t fill[4],
                         uint64_t d[2], const uint32_t item_bytes)
{
    const uint32_t words_per_item = item_bytes < 4 ? 1 : item_bytes / 4, items_per_vector = 8 / words_per_item;
    const uint64_t end = items->count / items_per_vector * items_per_vector;
    const uint64_t advance = items_per_vector * items->step;
    const __m256i key_a = _mm256_set1_epi32((int)keys.a), key_b = _mm256_set1_epi32((int)keys.b);
    const __m256i advance_words = _mm256_set1_epi32((int)(uint32_t)(advance / 4));
    struct lanes sums = { _mm256_setzero_si256(), _mm256_setzero_si256() };
    uint32_t lane_place[8], lane_bits[8], lane_fill[8];
    __m256i place, bits, fill_lanes;

    for (unsigned lane = 0; lane < 8; lane++) {
        uint64_t offset = items->offset + lane / words_per_item * items->step + 4 * (lane % words_per_item);

        lane_place[lane] = (uint32_t)(offset / 4);
        lane_bits[lane] = (uint32_t)(offset % 4 * 8);
        lane_fill[lane] = fill[lane % words_per_item];
        if (item_bytes < 4)
            lane_fill[lane] &= (UINT32_C(1) << 8 * item_bytes) - 1;
    }
    place = _mm256_loadu_si256((const __m256i *)lane_place);
    bits = _mm256_loadu_si256((const __m256i *)lane_bits);
    fill_lanes = _mm256_loadu_si256((const __m256i *)lane_fill);
    for (uint64_t i = 0; i < end; i += items_per_vector) {
        __m256i changed = _mm256_xor_si256(load_items(items->data + i * item_bytes, item_bytes), fill_lanes);

        if (item_bytes < 4)
            changed = _mm256_sllv_epi32(changed, bits);
        add_lanes(&sums, changed, place, key_a, key_b);
        place = _mm256_add_epi32(place, advance_words);
    }
    d[0] += sum_lanes(sums.sum_1);
    d[1] += sum_lanes(sums.sum_2);
    add_items(keys, items, end, fill, d);
}

__attribute__((target("avx2")))
void digest_items_avx2(struct digest_keys keys, const struct digest_items *i, const uint32_t fill[4], uint64_t d[2])
{
    switch (i->item_bytes) {
    case 1:  add_items_avx2(keys, i, fill, d, 1); return;
    case 2:  add_items_avx2(keys, i, fill, d, 2); return;
    case 4:  add_items_avx2(keys, i, fill, d, 4); return;
    case 8:  add_items_avx2(keys, i, fill, d, 8); return;
    case 16: add_items_avx2(keys, i, fill, d, 16); return;
    }
}
