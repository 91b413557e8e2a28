#include "engine/array/copy.h"
#include "engine/array/digest.h"
#include "engine/array/kernels.h"
#include "tests/unit/array_cases.h"
#include "tests/unit/test.h"

/* ---- the formula of the header, word by word ---- */

static uint32_t fmix32(uint32_t h)
{
    h = (h ^ (h >> 16)) * 0x85ebca6b;
    h = (h ^ (h >> 13)) * 0xc2b2ae35;
    return h ^ (h >> 16);
}

/* `image` is the whole array in C order, of which `first_word` is the first. */
static void naive_sums(const uint8_t *image, uint64_t bytes, const uint8_t *fill, uint32_t item_bytes,
                       uint64_t first_word, uint64_t *d1, uint64_t *d2)
{
    *d1 = *d2 = 0;
    for (uint64_t at = 0; at < bytes; at++) {
        uint64_t w = first_word + at / 4;
        uint32_t lo = (uint32_t)w, mix = fmix32((uint32_t)(w >> 32));
        uint64_t changed = (uint64_t)(uint8_t)(image[at] ^ fill[at % item_bytes]) << 8 * (at % 4);

        *d1 += changed * fmix32(lo ^ (0x9e3779b9 + mix));
        *d2 += changed * fmix32(lo + (0x7f4a7c15 ^ mix));
    }
}

static struct dtype type_of(uint32_t item_bytes)
{
    return (struct dtype){ item_bytes == 16 ? DTYPE_COMPLEX : DTYPE_UINT, item_bytes };
}

/* ---- arrays read in pieces ---- */

struct reading {
    struct digest_frame frame;
    uint8_t *image;
    uint64_t bytes;
};

static void reading_init(struct reading *r, struct cases *c, unsigned boxes_max)
{
    uint64_t shape[RANK_MAX];
    unsigned rank = cases_shape(c, shape);
    uint32_t item_bytes = UINT32_C(1) << cases_pick(c, 0, 4);
    uint8_t fill[16];

    cases_bytes(c, fill, sizeof fill);
    digest_frame_init(&r->frame, type_of(item_bytes), rank, shape, fill, boxes_max);
    r->bytes = shape_elements(rank, shape) * item_bytes;
    r->image = malloc(r->bytes);
    cases_bytes(c, r->image, r->bytes);
}

/* The elements of a piece as a chunk in some order holds them; what hangs over is garbage. */
static char *chunk_new(struct cases *c, const struct reading *r, const struct box *piece, const uint8_t *order)
{
    const struct grid *g = &r->frame.boxes;
    const uint32_t item_bytes = r->frame.dtype.item_bytes;
    uint64_t storage_length[RANK_MAX], index[RANK_MAX] = { 0 }, stride[RANK_MAX], bytes;
    char *chunk, *to;

    strides_c(g->rank, g->shape, item_bytes, stride);
    for (unsigned i = 0; i < g->rank; i++)
        storage_length[i] = piece->length[order[i]];
    bytes = shape_elements(g->rank, storage_length) * item_bytes;
    to = chunk = malloc(bytes);
    cases_bytes(c, chunk, bytes);
    do {
        uint64_t at = 0;
        bool inside = true;

        for (unsigned i = 0; i < g->rank; i++) {
            uint64_t x = piece->start[order[i]] + index[i];
            inside = inside && x < g->shape[order[i]];
            at += x * stride[order[i]];
        }
        if (inside)
            memcpy(to, r->image + at, item_bytes);
        to += item_bytes;
    } while (index_next(g->rank, storage_length, index));
    return chunk;
}

/* Read the array in chunks of a random grid and order, each in two runs, shared out over two accumulators. */
static void read_in_pieces(struct cases *c, const struct reading *r, struct digest *out)
{
    struct grid chunks = r->frame.boxes;
    uint64_t coords[RANK_MAX], count, first;
    uint8_t order[RANK_MAX];
    struct digest other;

    for (unsigned i = 0; i < chunks.rank; i++)
        chunks.cell[i] = cases_pick(c, (chunks.shape[i] + 2) / 3, chunks.shape[i] + 1);
    cases_order(c, chunks.rank, order);
    CHECK(digest_init(out, &r->frame) && digest_init(&other, &r->frame));
    count = grid_cells(&chunks);
    first = cases_pick(c, 0, count - 1);
    for (uint64_t i = 0; i < count; i++) {
        struct box piece;
        char *chunk;
        uint64_t elements, cut;

        grid_coords(&chunks, (first + i) % count, coords);
        for (unsigned axis = 0; axis < chunks.rank; axis++) {
            piece.start[axis] = coords[axis] * chunks.cell[axis];
            piece.length[axis] = chunks.cell[axis];
        }
        chunk = chunk_new(c, r, &piece, order);
        elements = box_elements(chunks.rank, &piece);
        cut = cases_pick(c, 0, elements);
        struct run head = { piece, order, 0, cut, chunk };
        struct run tail = { piece, order, cut, elements - cut, chunk + cut * r->frame.dtype.item_bytes };
        digest_run(cases_pick(c, 0, 1) ? out : &other, &tail, NULL);
        digest_run(cases_pick(c, 0, 1) ? out : &other, &head, NULL);
        free(chunk);
    }
    digest_merge(out, &other);
    digest_release(&other);
}

static bool same_sums(const struct digest *a, const struct digest *b)
{
    return memcmp(a->sums, b->sums, grid_cells(&a->frame.boxes) * sizeof *a->sums) == 0;
}

static void test_digest__is_the_formula_whatever_the_chunks_and_the_order(void)
{
    struct cases c = { 31 };

    for (int round = 0; round < 400; round++) {
        struct reading r;
        struct digest one, other;
        struct digest_sum total;
        uint64_t d1, d2;

        reading_init(&r, &c, (unsigned)cases_pick(&c, 1, 60));
        read_in_pieces(&c, &r, &one);
        read_in_pieces(&c, &r, &other);
        CHECK(same_sums(&one, &other));
        total = digest_total(&one);
        naive_sums(r.image, r.bytes, r.frame.fill, r.frame.dtype.item_bytes, 0, &d1, &d2);
        CHECK(total.d1 == d1 && total.d2 == d2);
        CHECK_EQUAL(total.elements, r.bytes / r.frame.dtype.item_bytes);
        digest_release(&other);
        digest_release(&one);
        free(r.image);
    }
}

static void test_digest__an_array_transposed_on_disk_is_the_same_array(void)
{
    struct cases c = { 32 };
    const uint64_t shape[2] = { 203, 517 };
    const uint8_t c_order[2] = { 0, 1 }, f_order[2] = { 1, 0 }, fill[16] = { 7, 7, 1 };
    const struct box all = { { 0, 0 }, { 203, 517 } };

    for (uint32_t item_bytes = 1; item_bytes <= 16; item_bytes *= 2) {
        struct reading r = { .bytes = 203 * 517 * item_bytes };
        struct digest one, other;

        digest_frame_init(&r.frame, type_of(item_bytes), 2, shape, fill, 64);
        r.image = malloc(r.bytes);
        cases_bytes(&c, r.image, r.bytes);
        char *chunk = chunk_new(&c, &r, &all, f_order);
        struct run straight = { all, c_order, 0, 203 * 517, (const char *)r.image };
        struct run turned = { all, f_order, 0, 203 * 517, chunk };
        CHECK(digest_init(&one, &r.frame) && digest_init(&other, &r.frame));
        digest_run(&one, &straight, NULL);
        digest_run(&other, &turned, NULL);
        CHECK(same_sums(&one, &other));
        digest_release(&other);
        digest_release(&one);
        free(chunk);
        free(r.image);
    }
}

static void test_digest__every_single_bit_changes_both_sums_in_its_box(void)
{
    struct cases c = { 33 };
    const uint64_t shape[2] = { 8, 9 };
    const uint8_t fill[8] = { 0 };
    const struct box all = { { 0, 0 }, { 8, 9 } };
    double image[72];
    struct digest_frame frame;
    struct digest before;
    struct run run = { all, NULL, 0, 72, (const char *)image };

    cases_bytes(&c, image, sizeof image);
    digest_frame_init(&frame, (struct dtype){ DTYPE_FLOAT, 8 }, 2, shape, fill, 4);
    CHECK_EQUAL(grid_cells(&frame.boxes), 4);
    CHECK(digest_init(&before, &frame));
    digest_run(&before, &run, NULL);
    for (unsigned bit = 0; bit < 8 * sizeof image; bit++) {
        struct digest after;
        unsigned boxes_changed = 0;

        ((uint8_t *)image)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(digest_init(&after, &frame));
        digest_run(&after, &run, NULL);
        for (unsigned i = 0; i < 4; i++) {
            boxes_changed += before.sums[i].d1 != after.sums[i].d1;
            CHECK((before.sums[i].d1 != after.sums[i].d1) == (before.sums[i].d2 != after.sums[i].d2));
        }
        CHECK_EQUAL(boxes_changed, 1);
        digest_release(&after);
        ((uint8_t *)image)[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    digest_release(&before);
}

static void test_digest__pairs_of_flipped_signs_and_swapped_values_are_seen(void)
{
    const uint64_t shape[1] = { 64 };
    const double zero = 0;
    const struct box all = { { 0 }, { 64 } };
    double image[64];
    struct digest_frame frame;
    struct run run = { all, NULL, 0, 64, (const char *)image };
    struct digest_sum plain;
    struct digest d;

    digest_frame_init(&frame, (struct dtype){ DTYPE_FLOAT, 8 }, 1, shape, &zero, 1);
    for (unsigned i = 0; i < 64; i++)
        image[i] = 1.0 + i / 2;
    CHECK(digest_init(&d, &frame));
    digest_run(&d, &run, NULL);
    plain = digest_total(&d);
    digest_release(&d);
    for (unsigned i = 0; i < 64; i++) {
        for (unsigned j = 0; j < i; j++) {
            double first = image[i], second = image[j];

            image[i] = -first;
            image[j] = -second;
            CHECK(digest_init(&d, &frame));
            digest_run(&d, &run, NULL);
            CHECK(digest_total(&d).d1 != plain.d1 && digest_total(&d).d2 != plain.d2);
            digest_release(&d);
            image[i] = second;
            image[j] = first;
            CHECK(digest_init(&d, &frame));
            digest_run(&d, &run, NULL);
            CHECK((digest_total(&d).d1 == plain.d1) == (first == second));
            digest_release(&d);
            image[i] = first;
            image[j] = second;
        }
    }
}

static void test_digest__a_missing_piece_equals_the_same_values_stored(void)
{
    struct cases c = { 34 };

    for (int round = 0; round < 300; round++) {
        struct reading r;
        struct digest stored, missing;
        struct box piece, within;
        uint8_t other[16];
        const uint8_t *item = round % 2 ? other : r.frame.fill;

        reading_init(&r, &c, 30);
        cases_bytes(&c, other, sizeof other);
        cases_box(&c, r.frame.boxes.rank, r.frame.boxes.shape, &piece);
        cases_box(&c, r.frame.boxes.rank, r.frame.boxes.shape, &within);
        fill_bytes(r.image, r.bytes, item, r.frame.dtype.item_bytes);
        struct run run = { piece, NULL, 0, box_elements(r.frame.boxes.rank, &piece), (const char *)r.image };
        CHECK(digest_init(&stored, &r.frame) && digest_init(&missing, &r.frame));
        digest_run(&stored, &run, round % 3 ? &within : NULL);
        digest_missing(&missing, &piece, item, round % 3 ? &within : NULL);
        CHECK(same_sums(&stored, &missing));
        CHECK(item == other || (digest_total(&missing).d1 == 0 && digest_total(&missing).d2 == 0));
        digest_release(&missing);
        digest_release(&stored);
        free(r.image);
    }
}

static void test_digest__what_is_outside_the_window_does_not_count(void)
{
    struct cases c = { 35 };
    const uint64_t shape[2] = { 20, 30 };
    const struct box all = { { 0, 0 }, { 20, 30 } };
    const struct box left = { { 0, 0 }, { 20, 11 } }, right = { { 0, 11 }, { 20, 19 } };
    uint16_t image[600], fill = 3;
    struct run run = { all, NULL, 0, 600, (const char *)image };
    struct digest_frame frame;
    struct digest whole, halves;

    cases_bytes(&c, image, sizeof image);
    digest_frame_init(&frame, type_of(2), 2, shape, &fill, 8);
    CHECK(digest_init(&whole, &frame) && digest_init(&halves, &frame));
    digest_run(&whole, &run, NULL);
    digest_run(&halves, &run, &left);
    CHECK_EQUAL(digest_total(&halves).elements, 220);
    digest_run(&halves, &run, &right);
    CHECK(same_sums(&whole, &halves));
    digest_release(&halves);
    digest_release(&whole);
}

static void test_digest__offsets_beyond_the_low_word_use_the_high_one(void)
{
    struct cases c = { 36 };
    enum { ELEMENTS = 5000 };
    /* 2^34 bytes are 2^32 words: a run across that border, and one far behind it. */
    static const uint64_t starts[] = { (UINT64_C(1) << 34) - 4 * 2500, (UINT64_C(1) << 34), (UINT64_C(7) << 36) + 4 };
    const uint64_t shape[1] = { UINT64_C(1) << 40 };
    uint8_t image[ELEMENTS], fill = 0x55;
    struct digest_frame frame;

    cases_bytes(&c, image, sizeof image);
    digest_frame_init(&frame, type_of(1), 1, shape, &fill, 1);
    for (unsigned i = 0; i < 3; i++) {
        struct run run = { { { starts[i] }, { ELEMENTS } }, NULL, 0, ELEMENTS, (const char *)image };
        struct digest d;
        uint64_t d1, d2;

        CHECK(digest_init(&d, &frame));
        digest_run(&d, &run, NULL);
        naive_sums(image, ELEMENTS, &fill, 1, starts[i] / 4, &d1, &d2);
        CHECK(digest_total(&d).d1 == d1 && digest_total(&d).d2 == d2);
        digest_release(&d);
    }
}

static void test_digest__rows_agree_with_and_without_avx2(void)
{
    struct cases c = { 37 };
    char data[5 * 4 * 60 + 3];

    if (!cpu_has_avx2())
        SKIP("this processor has no AVX2");
    cases_bytes(&c, data, sizeof data);
    for (unsigned round = 0; round < 600; round++) {
        const struct digest_keys keys = digest_keys((uint32_t)cases_pick(&c, 0, 2));
        const struct digest_rows rows = {
            .rows = cases_pick(&c, 1, 5), .words = cases_pick(&c, 0, 60),
            .w = (uint32_t)cases_next(&c) & 0x7fffffff, .w_step = (uint32_t)cases_pick(&c, 1, 5000),
            .data = data + round % 4, .data_step = 240,
        };
        uint64_t one[2] = { 1, 2 }, other[2] = { 1, 2 };
        uint32_t fill[4];

        cases_bytes(&c, fill, sizeof fill);
        digest_rows_avx2(keys, &rows, fill, one);
        digest_rows_generic(keys, &rows, fill, other);
        CHECK(one[0] == other[0] && one[1] == other[1]);
    }
}

static void test_digest__items_agree_with_and_without_avx2(void)
{
    struct cases c = { 39 };
    char data[100 * 16];

    if (!cpu_has_avx2())
        SKIP("this processor has no AVX2");
    cases_bytes(&c, data, sizeof data);
    for (unsigned round = 0; round < 600; round++) {
        const struct digest_keys keys = digest_keys((uint32_t)cases_pick(&c, 0, 2));
        const uint32_t item_bytes = UINT32_C(1) << round % 5;
        const struct digest_items items = {
            .count = cases_pick(&c, 0, 100), .item_bytes = item_bytes, .data = data,
            .offset = cases_pick(&c, 0, UINT64_C(1) << 32) * item_bytes % (UINT64_C(1) << 33),
            .step = cases_pick(&c, 1, UINT64_C(1) << 20) * item_bytes,
        };
        uint64_t one[2] = { 1, 2 }, other[2] = { 1, 2 };
        uint32_t fill[4];
        uint8_t fill_item[16];

        cases_bytes(&c, fill_item, sizeof fill_item);
        fill_bytes(fill, sizeof fill, fill_item, item_bytes);
        digest_items_avx2(keys, &items, fill, one);
        digest_items_generic(keys, &items, fill, other);
        CHECK(one[0] == other[0] && one[1] == other[1]);
    }
}

/* `width` columns of an array whose rows are nearly 2^33 bytes, so that every other row has keys of its own. */
static void check_columns(struct cases *c, uint32_t item_bytes, uint64_t width)
{
    enum { ROWS = 100, WIDTH_MAX = 24 };
    const uint64_t columns = (UINT64_C(1) << 33) / item_bytes - 8, column = 12340;
    const uint64_t shape[2] = { ROWS, columns };
    uint8_t fill[16], *image = malloc(ROWS * WIDTH_MAX * 16);
    struct run run = { { { 0, column }, { ROWS, width } }, NULL, 0, ROWS * width, (const char *)image };
    uint64_t d1 = 0, d2 = 0, part_1, part_2;
    struct digest_frame frame;
    struct digest d;

    cases_bytes(c, fill, sizeof fill);
    cases_bytes(c, image, ROWS * WIDTH_MAX * 16);
    digest_frame_init(&frame, type_of(item_bytes), 2, shape, fill, 1);
    CHECK(digest_init(&d, &frame));
    digest_run(&d, &run, NULL);
    for (uint64_t i = 0; i < ROWS * width; i++) {
        const uint64_t offset = (i / width * columns + column + i % width) * item_bytes;
        uint8_t word[16];

        /* The item in its word, the rest of which is as the fill has it. */
        fill_bytes(word, sizeof word, fill, item_bytes);
        memcpy(word + offset % 4, image + i * item_bytes, item_bytes);
        naive_sums(word, item_bytes < 4 ? 4 : item_bytes, fill, item_bytes, offset / 4, &part_1, &part_2);
        d1 += part_1;
        d2 += part_2;
    }
    CHECK(digest_total(&d).d1 == d1 && digest_total(&d).d2 == d2);
    digest_release(&d);
    free(image);
}

static void test_digest__columns_across_the_low_word_use_the_high_one(void)
{
    struct cases c = { 40 };

    for (uint32_t item_bytes = 1; item_bytes <= 16; item_bytes *= 2) {
        check_columns(&c, item_bytes, 1);
        check_columns(&c, item_bytes, 3);
        check_columns(&c, item_bytes, 24);
    }
}

static void test_digest__the_coarse_grid_is_bounded_and_covers(void)
{
    struct cases c = { 38 };
    const uint8_t fill[16] = { 0 };
    const uint64_t era5[3] = { 8760, 721, 1440 }, empty[2] = { 4, 0 };
    struct digest_frame frame;
    struct digest d;

    digest_frame_init(&frame, type_of(4), 3, era5, fill, DIGEST_BOXES_MAX);
    CHECK(grid_cells(&frame.boxes) <= DIGEST_BOXES_MAX);
    CHECK(grid_cells(&frame.boxes) > DIGEST_BOXES_MAX / 4);
    for (int round = 0; round < 200; round++) {
        uint64_t shape[RANK_MAX];
        unsigned rank = cases_shape(&c, shape), boxes_max = (unsigned)cases_pick(&c, 1, 5000);

        digest_frame_init(&frame, type_of(8), rank, shape, fill, boxes_max);
        CHECK(grid_cells(&frame.boxes) >= 1);
        CHECK(grid_cells(&frame.boxes) <= boxes_max && grid_cells(&frame.boxes) <= DIGEST_BOXES_MAX);
    }
    digest_frame_init(&frame, type_of(8), 2, empty, fill, 10);
    CHECK(digest_init(&d, &frame));
    CHECK_EQUAL(digest_total(&d).elements, 0);
    digest_release(&d);
}

int main(void)
{
    RUN(test_digest__is_the_formula_whatever_the_chunks_and_the_order);
    RUN(test_digest__an_array_transposed_on_disk_is_the_same_array);
    RUN(test_digest__every_single_bit_changes_both_sums_in_its_box);
    RUN(test_digest__pairs_of_flipped_signs_and_swapped_values_are_seen);
    RUN(test_digest__a_missing_piece_equals_the_same_values_stored);
    RUN(test_digest__what_is_outside_the_window_does_not_count);
    RUN(test_digest__offsets_beyond_the_low_word_use_the_high_one);
    RUN(test_digest__rows_agree_with_and_without_avx2);
    RUN(test_digest__items_agree_with_and_without_avx2);
    RUN(test_digest__columns_across_the_low_word_use_the_high_one);
    RUN(test_digest__the_coarse_grid_is_bounded_and_covers);
    return test_summary();
}
