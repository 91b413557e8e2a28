#include "engine/array/grid.h"
#include "tests/unit/array_cases.h"
#include "tests/unit/test.h"

static void test_grid__counts_cells_that_overhang(void)
{
    struct grid g = { .rank = 3, .shape = { 10, 7, 5 }, .cell = { 3, 7, 8 } };
    uint64_t coords[3] = { 3, 0, 0 };
    struct box box;

    CHECK_EQUAL(grid_axis_cells(&g, 0), 4);
    CHECK_EQUAL(grid_cells(&g), 4);
    grid_cell_box(&g, coords, &box);
    CHECK_EQUAL(box.start[0], 9);
    CHECK_EQUAL(box.length[0], 1);
    CHECK_EQUAL(box.length[2], 5);
}

static void test_grid__rank_zero_has_one_cell_of_one_element(void)
{
    struct grid g = { .rank = 0 };
    struct box box, all = { .start = { 0 } };
    struct cell_range cells;

    CHECK_EQUAL(grid_cells(&g), 1);
    CHECK_EQUAL(grid_index(&g, NULL), 0);
    grid_cell_box(&g, NULL, &box);
    CHECK_EQUAL(box_elements(0, &box), 1);
    grid_cells_touched(&g, &all, &cells);
    CHECK_EQUAL(cell_range_cells(0, &cells), 1);
}

static void test_grid__an_empty_axis_makes_no_cells(void)
{
    struct grid g = { .rank = 2, .shape = { 4, 0 }, .cell = { 2, 1 } };
    uint64_t huge[3] = { UINT64_MAX, UINT64_MAX, 0 };

    CHECK_EQUAL(grid_cells(&g), 0);
    CHECK_EQUAL(shape_elements(3, huge), 0);
}

static void test_grid__products_saturate(void)
{
    uint64_t huge[2] = { UINT64_C(1) << 40, UINT64_C(1) << 40 };

    CHECK(shape_elements(2, huge) == UINT64_MAX);
}

static void test_grid__index_and_coords_are_inverse(void)
{
    struct cases c = { 1 };

    for (int round = 0; round < 300; round++) {
        struct grid g;
        uint64_t coords[RANK_MAX];

        g.rank = cases_shape(&c, g.shape);
        for (unsigned i = 0; i < g.rank; i++)
            g.cell[i] = cases_pick(&c, 1, g.shape[i] + 1);
        uint64_t index = cases_pick(&c, 0, grid_cells(&g) - 1);
        grid_coords(&g, index, coords);
        CHECK_EQUAL(grid_index(&g, coords), index);
    }
}

static void test_grid__cells_touched_are_those_that_share_an_element(void)
{
    struct cases c = { 2 };

    for (int round = 0; round < 300; round++) {
        struct grid g;
        struct box box, cell, both;
        struct cell_range touched;
        uint64_t coords[RANK_MAX], cells, shared = 0, listed = 0;

        g.rank = cases_shape(&c, g.shape);
        for (unsigned i = 0; i < g.rank; i++)
            g.cell[i] = cases_pick(&c, 1, g.shape[i] + 1);
        cases_box(&c, g.rank, g.shape, &box);
        grid_cells_touched(&g, &box, &touched);
        cells = grid_cells(&g);
        for (uint64_t i = 0; i < cells; i++) {
            grid_coords(&g, i, coords);
            grid_cell_box(&g, coords, &cell);
            shared += box_intersect(g.rank, &box, &cell, &both);
        }
        for (uint64_t i = 0; i < cell_range_cells(g.rank, &touched); i++) {
            cell_range_coords(g.rank, &touched, i, coords);
            grid_cell_box(&g, coords, &cell);
            listed += box_intersect(g.rank, &box, &cell, &both);
        }
        CHECK_EQUAL(cell_range_cells(g.rank, &touched), shared);
        CHECK_EQUAL(listed, shared);
    }
}

static void test_grid__boxes_that_only_meet_do_not_intersect(void)
{
    struct box a = { { 0, 0 }, { 2, 4 } }, b = { { 2, 0 }, { 2, 4 } }, out;

    CHECK(!box_intersect(2, &a, &b, &out));
    b.start[0] = 1;
    CHECK(box_intersect(2, &a, &b, &out));
    CHECK_EQUAL(out.start[0], 1);
    CHECK_EQUAL(out.length[0], 1);
}

static void test_grid__a_run_is_a_few_boxes_in_order(void)
{
    struct cases c = { 3 };

    for (int round = 0; round < 500; round++) {
        uint64_t length[RANK_MAX], stride[RANK_MAX], next, first, count;
        unsigned rank = cases_shape(&c, length), boxes = 0;
        struct box_run run;
        struct box part;
        uint64_t elements = shape_elements(rank, length), bytes = 1;

        for (unsigned i = rank; i-- > 0; bytes *= length[i])
            stride[i] = bytes;
        first = cases_pick(&c, 0, elements - 1);
        count = cases_pick(&c, 0, elements - first);
        next = first;
        for (box_run_first(&run, rank, length, first, count); box_run_next(&run, &part); boxes++) {
            uint64_t index[RANK_MAX] = { 0 };
            do {
                uint64_t at = 0;
                for (unsigned i = 0; i < rank; i++)
                    at += (part.start[i] + index[i]) * stride[i];
                CHECK_EQUAL(at, next);
                next++;
            } while (index_next(rank, part.length, index));
        }
        CHECK_EQUAL(next, first + count);
        CHECK(boxes <= (rank ? 2 * rank - 1 : 1));
    }
}

/* Held against a walk over every element. The other box begins inside and may reach beyond the end, or lie behind it. */
static void test_grid__next_within_is_the_next_element_in_storage_order(void)
{
    struct cases c = { 4 };

    for (int round = 0; round < 300; round++) {
        uint64_t shape[RANK_MAX], stored[RANK_MAX], index[RANK_MAX] = { 0 }, next = UINT64_MAX, elements;
        unsigned rank = cases_shape(&c, shape);
        struct box box, within, both;
        uint8_t order[RANK_MAX];

        cases_box(&c, rank, shape, &within);
        cases_order(&c, rank, order);
        for (unsigned i = 0; i < rank; i++) {
            box.start[i] = cases_pick(&c, 0, 5);
            box.length[i] = shape[i];
            within.start[i] += box.start[i];
            within.length[i] += cases_pick(&c, 0, 3);
            if (cases_pick(&c, 0, 40) == 0)
                within.start[i] = box.start[i] + box.length[i];
        }
        for (unsigned i = 0; i < rank; i++)
            stored[i] = box.length[order[i]];
        elements = box_elements(rank, &box);
        CHECK(box_next_within(rank, &box, order, &within, elements) == UINT64_MAX);
        for (uint64_t position = elements; position-- > 0; ) {
            struct box item;
            uint64_t rest = position;

            for (unsigned i = rank; i-- > 0; rest /= stored[i])
                index[i] = rest % stored[i];
            for (unsigned i = 0; i < rank; i++) {
                item.start[order[i]] = box.start[order[i]] + index[i];
                item.length[order[i]] = 1;
            }
            if (box_intersect(rank, &item, &within, &both))
                next = position;
            CHECK(box_next_within(rank, &box, order, &within, position) == next);
        }
    }
}

int main(void)
{
    RUN(test_grid__counts_cells_that_overhang);
    RUN(test_grid__rank_zero_has_one_cell_of_one_element);
    RUN(test_grid__an_empty_axis_makes_no_cells);
    RUN(test_grid__products_saturate);
    RUN(test_grid__index_and_coords_are_inverse);
    RUN(test_grid__cells_touched_are_those_that_share_an_element);
    RUN(test_grid__boxes_that_only_meet_do_not_intersect);
    RUN(test_grid__a_run_is_a_few_boxes_in_order);
    RUN(test_grid__next_within_is_the_next_element_in_storage_order);
    return test_summary();
}
