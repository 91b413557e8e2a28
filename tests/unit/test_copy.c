#include "engine/array/copy.h"
#include "engine/array/kernels.h"
#include "tests/unit/array_cases.h"
#include "tests/unit/test.h"

/* A box of random layout in a buffer: axes in any order, with or without gaps. */
struct layout {
    uint64_t stride[RANK_MAX];
    uint64_t bytes;
};

static void random_layout(struct cases *c, unsigned rank, const uint64_t *length, uint32_t item_bytes, bool gaps,
                          struct layout *out)
{
    uint8_t order[RANK_MAX];

    cases_order(c, rank, order);
    if (cases_pick(c, 0, 2) == 0)
        for (unsigned i = 0; i < rank; i++)
            order[i] = (uint8_t)i;
    out->bytes = item_bytes;
    for (unsigned i = rank; i-- > 0; ) {
        out->stride[order[i]] = out->bytes;
        out->bytes *= length[order[i]];
        if (gaps && cases_pick(c, 0, 2) == 0)
            out->bytes += cases_pick(c, 0, 9);
        if (length[order[i]] == 1 && cases_pick(c, 0, 1) == 0)
            out->stride[order[i]] = 0;
    }
}

static void copy_naive(unsigned rank, const uint64_t *length, uint32_t item_bytes, uint8_t *to,
                       const uint64_t *to_stride, const uint8_t *from, const uint64_t *from_stride)
{
    uint64_t index[RANK_MAX] = { 0 };

    do
        memcpy(to + dot(rank, index, to_stride), from + dot(rank, index, from_stride), item_bytes);
    while (index_next(rank, length, index));
}

static void check_copy(struct cases *c, unsigned rank, const uint64_t *length, uint32_t item_bytes)
{
    struct layout to, from;
    uint8_t *got, *wanted, *source;

    random_layout(c, rank, length, item_bytes, cases_pick(c, 0, 1), &to);
    random_layout(c, rank, length, item_bytes, cases_pick(c, 0, 1), &from);
    got = calloc(to.bytes, 1);
    wanted = calloc(to.bytes, 1);
    source = malloc(from.bytes);
    cases_bytes(c, source, from.bytes);
    copy_box(rank, length, item_bytes, got, to.stride, source, from.stride);
    copy_naive(rank, length, item_bytes, wanted, to.stride, source, from.stride);
    CHECK(memcmp(got, wanted, to.bytes) == 0);

    memcpy(wanted, got, to.bytes);
    fill_box(rank, length, item_bytes, got, to.stride, source);
    for (uint64_t index[RANK_MAX] = { 0 }, more = 1; more; more = index_next(rank, length, index))
        memcpy(wanted + dot(rank, index, to.stride), source, item_bytes);
    CHECK(memcmp(got, wanted, to.bytes) == 0);
    free(source);
    free(wanted);
    free(got);
}

static void test_copy__any_box_of_any_layout_equals_the_naive_copy(void)
{
    struct cases c = { 11 };

    for (int round = 0; round < 1500; round++) {
        uint64_t length[RANK_MAX];
        unsigned rank = cases_shape(&c, length);

        check_copy(&c, rank, length, UINT32_C(1) << cases_pick(&c, 0, 4));
    }
}

static void test_copy__planes_longer_than_a_panel_equal_the_naive_copy(void)
{
    struct cases c = { 12 };

    for (int round = 0; round < 100; round++) {
        uint64_t length[3] = { cases_pick(&c, 1, 3), cases_pick(&c, 1, 300), cases_pick(&c, 1, 300) };

        check_copy(&c, 3, length, UINT32_C(1) << cases_pick(&c, 0, 4));
    }
}

static void test_copy__every_run_length_is_copied_whole_and_no_further(void)
{
    for (uint64_t run = 1; run <= 700; run++) {
        const uint64_t length[2] = { 3, run }, to_stride[2] = { run + 5, 1 }, from_stride[2] = { run + 2, 1 };
        uint8_t got[3 * 705] = { 0 }, wanted[3 * 705] = { 0 }, source[3 * 702];

        for (uint64_t i = 0; i < sizeof source; i++)
            source[i] = (uint8_t)(i * 31 + 1);
        copy_box(2, length, 1, got, to_stride, source, from_stride);
        copy_naive(2, length, 1, wanted, to_stride, source, from_stride);
        CHECK(memcmp(got, wanted, sizeof got) == 0);
    }
}

static void test_copy__an_empty_axis_copies_nothing(void)
{
    const uint64_t length[2] = { 3, 0 }, stride[2] = { 8, 4 };
    uint32_t to[6] = { 0 }, from[6] = { 1, 2, 3, 4, 5, 6 }, item = 9;

    copy_box(2, length, 4, to, stride, from, stride);
    fill_box(2, length, 4, to, stride, &item);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQUAL(to[i], 0);
}

static void test_copy__twice_the_largest_rank_is_copied(void)
{
    uint64_t length[COPY_RANK_MAX], to_stride[COPY_RANK_MAX], from_stride[COPY_RANK_MAX];
    uint8_t got[256], source[256];
    unsigned wrong = 0;

    /* Eight axes of two among many of one: the source runs through them backwards. */
    for (unsigned i = 0; i < COPY_RANK_MAX; i++) {
        length[i] = 1 + (i % 4 == 0);
        to_stride[i] = UINT64_C(1) << (i / 4);
        from_stride[i] = UINT64_C(1) << (7 - i / 4);
    }
    for (unsigned i = 0; i < 256; i++)
        source[i] = (uint8_t)i;
    copy_box(COPY_RANK_MAX, length, 1, got, to_stride, source, from_stride);
    for (unsigned i = 0; i < 256; i++) {
        unsigned reversed = 0;
        for (unsigned bit = 0; bit < 8; bit++)
            reversed |= (i >> bit & 1) << (7 - bit);
        wrong += got[i] != reversed;
    }
    CHECK_EQUAL(wrong, 0);
}

static void test_copy__transposes_agree_with_and_without_avx2(void)
{
    struct cases c = { 13 };

    if (!cpu_has_avx2())
        SKIP("this processor has no AVX2");
    for (int round = 0; round < 400; round++) {
        uint32_t item_bytes = UINT32_C(1) << cases_pick(&c, 0, 3);
        struct transpose t = {
            .length_a = cases_pick(&c, 1, 150), .length_b = cases_pick(&c, 1, 300),
            .to_b = item_bytes, .from_a = item_bytes,
        };
        t.to_a = t.length_b * item_bytes + cases_pick(&c, 0, 7);
        t.from_b = t.length_a * item_bytes + cases_pick(&c, 0, 7);
        char *source = malloc(t.length_b * t.from_b);
        char *one = calloc(t.length_a, t.to_a), *other = calloc(t.length_a, t.to_a);

        cases_bytes(&c, source, t.length_b * t.from_b);
        transpose_avx2(&t, item_bytes, one, source);
        transpose_generic(&t, item_bytes, other, source);
        CHECK(memcmp(one, other, t.length_a * t.to_a) == 0);
        free(other);
        free(one);
        free(source);
    }
}

static void test_copy__fill_bytes_repeats_the_item(void)
{
    static const uint8_t item[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

    for (uint32_t item_bytes = 1; item_bytes <= 16; item_bytes *= 2) {
        for (uint32_t items = 0; items < 40; items++) {
            uint8_t data[41 * 16];
            unsigned wrong = 0;

            memset(data, 0xee, sizeof data);
            fill_bytes(data, items * item_bytes, item, item_bytes);
            for (uint32_t i = 0; i < items * item_bytes; i++)
                wrong += data[i] != item[i % item_bytes];
            CHECK_EQUAL(wrong, 0);
            CHECK_EQUAL(data[items * item_bytes], 0xee);
        }
    }
}

static void test_copy__all_equal_item_sees_every_single_bit(void)
{
    const double zero = 0.0, minus_zero = -0.0;
    double data[37];

    for (unsigned i = 0; i < 37; i++)
        data[i] = zero;
    CHECK(all_equal_item(data, sizeof data, &zero, 8));
    CHECK(!all_equal_item(data, sizeof data, &minus_zero, 8));
    CHECK(all_equal_item(data, 0, &minus_zero, 8));
    for (unsigned bit = 0; bit < 8 * sizeof data; bit++) {
        ((uint8_t *)data)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!all_equal_item(data, sizeof data, &zero, 8));
        ((uint8_t *)data)[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_copy__shuffle_has_the_layout_of_blosc_and_comes_back(void)
{
    struct cases c = { 14 };

    for (int round = 0; round < 400; round++) {
        uint32_t item_bytes = round % 7 == 0 ? 12 : UINT32_C(1) << cases_pick(&c, 0, 4);
        uint64_t count = cases_pick(&c, 0, 200), bytes = count * item_bytes;
        char *raw = malloc(bytes + 1), *shuffled = malloc(bytes + 1), *wanted = malloc(bytes + 1);

        cases_bytes(&c, raw, bytes);
        for (uint64_t i = 0; i < count; i++)
            for (uint32_t j = 0; j < item_bytes; j++)
                wanted[j * count + i] = raw[i * item_bytes + j];
        shuffle_bytes(shuffled, raw, count, item_bytes);
        CHECK(memcmp(shuffled, wanted, bytes) == 0);
        unshuffle_bytes(wanted, shuffled, count, item_bytes);
        CHECK(memcmp(wanted, raw, bytes) == 0);
        free(wanted);
        free(shuffled);
        free(raw);
    }
}

static void test_copy__shuffle_without_avx2_gives_the_same(void)
{
    struct cases c = { 15 };
    enum { COUNT = 208 };
    char raw[COUNT * 16], shuffled[COUNT * 16], wanted[COUNT * 16];

    cases_bytes(&c, raw, sizeof raw);
    for (uint32_t item_bytes = 2; item_bytes <= 16; item_bytes *= 2) {
        shuffle_generic(wanted, raw, 0, COUNT, item_bytes);
        CHECK_EQUAL(shuffle_sse2(shuffled, raw, COUNT, item_bytes), COUNT);
        CHECK(memcmp(shuffled, wanted, COUNT * item_bytes) == 0);
        CHECK_EQUAL(unshuffle_sse2(wanted, shuffled, COUNT, item_bytes), COUNT);
        CHECK(memcmp(wanted, raw, COUNT * item_bytes) == 0);
    }
}

int main(void)
{
    RUN(test_copy__any_box_of_any_layout_equals_the_naive_copy);
    RUN(test_copy__planes_longer_than_a_panel_equal_the_naive_copy);
    RUN(test_copy__every_run_length_is_copied_whole_and_no_further);
    RUN(test_copy__an_empty_axis_copies_nothing);
    RUN(test_copy__twice_the_largest_rank_is_copied);
    RUN(test_copy__transposes_agree_with_and_without_avx2);
    RUN(test_copy__fill_bytes_repeats_the_item);
    RUN(test_copy__all_equal_item_sees_every_single_bit);
    RUN(test_copy__shuffle_has_the_layout_of_blosc_and_comes_back);
    RUN(test_copy__shuffle_without_avx2_gives_the_same);
    return test_summary();
}
