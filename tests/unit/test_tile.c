#include "engine/array/tile.h"
#include "engine/base/size.h"
#include "tests/unit/array_cases.h"
#include "tests/unit/test.h"

enum { ITEM_BYTES = 4 };

/* Element i of the array, in C order, holds i + 1: so each place can be told, and 0 is none of them. */
static uint32_t value_at(const struct grid *g, const uint64_t *index)
{
    uint64_t at = 0;

    for (unsigned i = 0; i < g->rank; i++)
        at = at * g->shape[i] + index[i];
    return (uint32_t)at + 1;
}

static void random_parts(struct cases *c, struct grid *g)
{
    g->rank = cases_shape(c, g->shape);
    for (unsigned i = 0; i < g->rank; i++)
        g->cell[i] = cases_pick(c, 1, cases_pick(c, 1, g->shape[i] + 2));
}

/* Of whole parts a box must be whole cells, so its ends go out to the grid. */
static void random_tile_box(struct cases *c, const struct grid *g, enum tile_layout layout, struct box *box)
{
    cases_box(c, g->rank, g->shape, box);
    for (unsigned i = 0; i < g->rank && layout == TILE_WHOLE; i++) {
        uint64_t end = box->start[i] + box->length[i];

        box->start[i] = box->start[i] / g->cell[i] * g->cell[i];
        end = size_min(size_div_up(end, g->cell[i]) * g->cell[i], g->shape[i]);
        box->length[i] = end - box->start[i];
    }
}

static struct tile tile_new(enum tile_layout layout, const struct grid *parts, const struct box *box,
                            const uint8_t *order)
{
    uint64_t bytes = tile_bytes(layout, ITEM_BYTES, parts, box);
    struct tile t;

    tile_init(&t, layout, ITEM_BYTES, parts, box, order, calloc(bytes, 1));
    return t;
}

/* Cut a piece (which may hang over everything) into runs and scatter them in random order. */
static void scatter_piece(struct cases *c, const struct tile *t, const struct box *piece)
{
    enum { RUNS_MAX = 5 };
    const unsigned rank = t->parts.rank;
    uint64_t storage_length[RANK_MAX], index[RANK_MAX] = { 0 }, array_index[RANK_MAX], count, at = 0;
    uint64_t cut[RUNS_MAX + 1];
    uint8_t order[RANK_MAX], turn[RUNS_MAX];
    uint32_t *data;

    cases_order(c, rank, order);
    if (cases_pick(c, 0, 1))
        for (unsigned i = 0; i < rank; i++)
            order[i] = (uint8_t)i;
    for (unsigned i = 0; i < rank; i++)
        storage_length[i] = piece->length[order[i]];
    count = shape_elements(rank, storage_length);
    data = malloc(count * sizeof *data);
    do {
        bool inside = true;
        for (unsigned i = 0; i < rank; i++) {
            array_index[order[i]] = piece->start[order[i]] + index[i];
            inside = inside && array_index[order[i]] < t->parts.shape[order[i]];
        }
        data[at++] = inside ? value_at(&t->parts, array_index) : 0xdeadbeef;
    } while (index_next(rank, storage_length, index));

    cut[0] = 0;
    cut[RUNS_MAX] = count;
    for (unsigned i = 1; i < RUNS_MAX; i++)
        cut[i] = cases_pick(c, cut[i - 1], count);
    cases_order(c, RUNS_MAX, turn);
    for (unsigned i = 0; i < RUNS_MAX; i++) {
        struct run run = { .piece = *piece, .order = order, .first = cut[turn[i]],
                           .count = cut[turn[i] + 1] - cut[turn[i]] };

        /* A copy of just the run, so that the address sanitizer sees a read outside of it. */
        char *alone = malloc(run.count * ITEM_BYTES + 1);
        memcpy(alone, data + run.first, run.count * ITEM_BYTES);
        run.data = alone;
        tile_scatter(t, &run);
        free(alone);
    }
    free(data);
}

/* Cover the array with pieces of a random grid, in random runs. */
static void scatter_array(struct cases *c, const struct tile *t)
{
    struct grid pieces = { .rank = t->parts.rank };
    uint64_t coords[RANK_MAX], count, first;

    for (unsigned i = 0; i < pieces.rank; i++) {
        pieces.shape[i] = t->parts.shape[i];
        pieces.cell[i] = cases_pick(c, (pieces.shape[i] + 3) / 4, pieces.shape[i] + 1);
    }
    count = grid_cells(&pieces);
    first = cases_pick(c, 0, count - 1);
    for (uint64_t i = 0; i < count; i++) {
        struct box piece;

        grid_coords(&pieces, (first + i) % count, coords);
        for (unsigned axis = 0; axis < pieces.rank; axis++) {
            piece.start[axis] = coords[axis] * pieces.cell[axis];
            piece.length[axis] = pieces.cell[axis];
        }
        scatter_piece(c, t, &piece);
    }
}

/* Walks the parts in order: each has its elements in place; clipped ones follow one another without a gap. Where a
 * part hangs over, `pad` is expected. */
static void check_parts(const struct tile *t, uint32_t pad)
{
    const unsigned rank = t->parts.rank;
    char *next = t->memory;
    struct tile_part part;
    uint64_t parts = tile_part_count(t);

    for (uint64_t p = 0; p < parts; p++) {
        uint64_t length[RANK_MAX], index[RANK_MAX] = { 0 }, array_index[RANK_MAX], wrong = 0;
        const uint32_t *at;

        tile_part(t, p, &part);
        CHECK(part.memory == next);
        next = part.memory + (t->layout == TILE_WHOLE ? t->part_stride_bytes : part.bytes);
        for (unsigned i = 0; i < rank; i++)
            length[i] = t->layout == TILE_WHOLE ? t->parts.cell[t->order[i]] : part.box.length[i];
        CHECK_EQUAL(part.bytes, shape_elements(rank, length) * ITEM_BYTES);
        at = (const uint32_t *)(const void *)part.memory;
        do {
            bool inside = true;
            for (unsigned i = 0; i < rank; i++) {
                unsigned axis = t->layout == TILE_WHOLE ? t->order[i] : i;
                array_index[axis] = part.box.start[axis] + index[i];
                inside = inside && index[i] < part.box.length[axis];
            }
            wrong += *at++ != (inside ? value_at(&t->parts, array_index) : pad);
        } while (index_next(rank, length, index));
        CHECK_EQUAL(wrong, 0);
    }
    CHECK_EQUAL(next - t->memory, tile_bytes(t->layout, ITEM_BYTES, &t->parts, &t->box));
}

static void check_tiles(enum tile_layout layout, uint64_t seed, bool ordered)
{
    struct cases c = { seed };

    for (int round = 0; round < 400; round++) {
        struct grid parts;
        struct box box;
        uint8_t order[RANK_MAX];
        struct tile t;

        random_parts(&c, &parts);
        random_tile_box(&c, &parts, layout, &box);
        cases_order(&c, parts.rank, order);
        t = tile_new(layout, &parts, &box, ordered ? order : NULL);
        scatter_array(&c, &t);
        check_parts(&t, 0);
        free(t.memory);
    }
}

static void test_tile__clipped_parts_hold_their_box_whatever_the_runs(void)
{
    check_tiles(TILE_CLIPPED, 21, false);
}

static void test_tile__whole_parts_hold_their_cell_whatever_the_runs(void)
{
    check_tiles(TILE_WHOLE, 22, false);
}

static void test_tile__whole_parts_may_store_their_axes_in_any_order(void)
{
    check_tiles(TILE_WHOLE, 23, true);
}

static void test_tile__padding_touches_only_what_hangs_over(void)
{
    struct cases c = { 24 };
    const uint32_t pad = 0xabababab;

    for (int round = 0; round < 200; round++) {
        struct grid parts;
        struct box box;
        uint8_t order[RANK_MAX];
        struct tile_part part;
        struct tile t;

        random_parts(&c, &parts);
        random_tile_box(&c, &parts, TILE_WHOLE, &box);
        cases_order(&c, parts.rank, order);
        t = tile_new(TILE_WHOLE, &parts, &box, order);
        scatter_array(&c, &t);
        for (uint64_t i = 0; i < tile_part_count(&t); i++) {
            tile_part(&t, i, &part);
            tile_part_pad(&t, &part, &pad);
        }
        check_parts(&t, pad);
        free(t.memory);
    }
}

static void test_tile__a_fill_reaches_piece_and_box_and_nothing_else(void)
{
    struct cases c = { 25 };
    const uint32_t item = 0x01020304;

    for (int round = 0; round < 400; round++) {
        enum tile_layout layout = round % 2 ? TILE_WHOLE : TILE_CLIPPED;
        struct grid parts;
        struct box box, piece, both;
        struct tile filled, scattered;
        uint64_t bytes;

        random_parts(&c, &parts);
        random_tile_box(&c, &parts, layout, &box);
        cases_box(&c, parts.rank, parts.shape, &piece);
        filled = tile_new(layout, &parts, &box, NULL);
        scattered = tile_new(layout, &parts, &box, NULL);
        bytes = tile_bytes(layout, ITEM_BYTES, &parts, &box);
        tile_scatter_fill(&filled, &piece, &item);
        if (box_intersect(parts.rank, &piece, &box, &both)) {
            uint64_t count = box_elements(parts.rank, &piece);
            uint32_t *data = malloc(count * sizeof *data);
            struct run run = { .piece = piece, .count = count, .data = (const char *)data };

            for (uint64_t i = 0; i < count; i++)
                data[i] = item;
            tile_scatter(&scattered, &run);
            free(data);
        }
        CHECK(memcmp(filled.memory, scattered.memory, bytes) == 0);
        free(scattered.memory);
        free(filled.memory);
    }
}

static void test_tile__items_of_every_size_are_scattered(void)
{
    for (uint32_t item_bytes = 1; item_bytes <= 16; item_bytes *= 2) {
        /* (5, 7) in parts of (2, 3): the order of parts, then of elements. */
        struct grid parts = { .rank = 2, .shape = { 5, 7 }, .cell = { 2, 3 } };
        struct box box = { { 0, 0 }, { 5, 7 } };
        struct run run = { .piece = box, .count = 35 };
        uint8_t data[35 * 16], memory[35 * 16], wrong = 0;
        struct tile t;
        unsigned next = 0;

        for (unsigned i = 0; i < 35; i++)
            memset(data + i * item_bytes, (int)i, item_bytes);
        run.data = (const char *)data;
        tile_init(&t, TILE_CLIPPED, item_bytes, &parts, &box, NULL, memory);
        tile_scatter(&t, &run);
        for (unsigned i = 0; i < 5; i += 2)
            for (unsigned j = 0; j < 7; j += 3)
                for (unsigned x = i; x < i + 2 && x < 5; x++)
                    for (unsigned y = j; y < j + 3 && y < 7; y++, next++)
                        for (unsigned b = 0; b < item_bytes; b++)
                            wrong |= memory[next * item_bytes + b] != x * 7 + y;
        CHECK_EQUAL(wrong, 0);
    }
}

static void test_tile__large_parts_begin_on_pages_and_small_ones_do_not_waste_them(void)
{
    struct grid large = { .rank = 1, .shape = { 100000 }, .cell = { 16385 } };
    struct grid small = { .rank = 1, .shape = { 100000 }, .cell = { 17 } };
    struct box box = { { 0 }, { 100000 } };

    CHECK_EQUAL(tile_bytes(TILE_WHOLE, 4, &large, &box), 7 * (65540 / IO_ALIGN + 1) * IO_ALIGN);
    CHECK_EQUAL(tile_bytes(TILE_WHOLE, 4, &small, &box), 5883 * 128);
}

static void test_tile__the_largest_tile_is_the_largest_of_all(void)
{
    struct cases c = { 26 };

    for (int round = 0; round < 300; round++) {
        enum tile_layout layout = round % 2 ? TILE_WHOLE : TILE_CLIPPED;
        struct grid parts, boxes;
        uint64_t coords[RANK_MAX], most = 0;
        struct box box;

        random_parts(&c, &parts);
        boxes = parts;
        for (unsigned i = 0; i < parts.rank; i++) {
            boxes.cell[i] = cases_pick(&c, 1, parts.shape[i] + 2);
            if (layout == TILE_WHOLE && boxes.cell[i] < parts.shape[i])
                boxes.cell[i] = size_div_up(boxes.cell[i], parts.cell[i]) * parts.cell[i];
        }
        for (uint64_t i = 0; i < grid_cells(&boxes); i++) {
            grid_coords(&boxes, i, coords);
            grid_cell_box(&boxes, coords, &box);
            most = size_max(most, tile_bytes(layout, 8, &parts, &box));
        }
        CHECK_EQUAL(tile_bytes_max(layout, 8, &parts, &boxes), most);
    }
}

static void test_tile__sizes_saturate(void)
{
    struct grid huge = { .rank = 2, .shape = { UINT64_C(1) << 40, UINT64_C(1) << 40 }, .cell = { 1, 1 } };
    struct box box = { { 0, 0 }, { UINT64_C(1) << 40, UINT64_C(1) << 40 } };

    CHECK(tile_bytes(TILE_CLIPPED, 4, &huge, &box) == UINT64_MAX);
    CHECK(tile_bytes(TILE_WHOLE, 4, &huge, &box) == UINT64_MAX);
}

int main(void)
{
    RUN(test_tile__clipped_parts_hold_their_box_whatever_the_runs);
    RUN(test_tile__whole_parts_hold_their_cell_whatever_the_runs);
    RUN(test_tile__whole_parts_may_store_their_axes_in_any_order);
    RUN(test_tile__padding_touches_only_what_hangs_over);
    RUN(test_tile__a_fill_reaches_piece_and_box_and_nothing_else);
    RUN(test_tile__items_of_every_size_are_scattered);
    RUN(test_tile__large_parts_begin_on_pages_and_small_ones_do_not_waste_them);
    RUN(test_tile__the_largest_tile_is_the_largest_of_all);
    RUN(test_tile__sizes_saturate);
    return test_summary();
}
