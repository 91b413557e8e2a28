/* The order of visits is checked against what the words say, over random ranges. */
#include "tests/unit/test.h"

#include <string.h>

#include "engine/array/walk.h"

static void test_walk__is_c_order_when_nothing_is_said(void)
{
    const struct grid g = { .rank = 3, .shape = { 7, 10, 9 }, .cell = { 2, 3, 4 } };
    const struct walk plain = { .group = { 0 } };

    for (uint64_t i = 0; i < grid_cells(&g); i++) {
        uint64_t at[3], expected[3];

        walk_grid_coords(&plain, &g, i, at);
        grid_coords(&g, i, expected);
        CHECK(memcmp(at, expected, sizeof at) == 0);
        CHECK_EQUAL(walk_grid_index(&plain, &g, at), i);
    }
}

static void test_walk__runs_down_one_axis_before_the_next_column(void)
{
    const struct grid g = { .rank = 2, .shape = { 2, 4 }, .cell = { 1, 1 } };
    const struct walk down = { .group = { WALK_ALL, 1 } };

    for (uint64_t i = 0; i < 8; i++) {
        uint64_t at[2];

        walk_grid_coords(&down, &g, i, at);
        CHECK_EQUAL(at[0], i % 2);
        CHECK_EQUAL(at[1], i / 2);
    }
}

static void test_walk__takes_the_cells_of_a_group_in_the_order_that_is_said(void)
{
    const struct grid g = { .rank = 2, .shape = { 4, 3 }, .cell = { 1, 1 } };
    const struct walk transposed = { .group = { 2, WALK_ALL }, .ordered = true, .order = { 1, 0 } };

    for (uint64_t i = 0; i < 12; i++) {
        uint64_t at[2];

        walk_grid_coords(&transposed, &g, i, at);
        CHECK_EQUAL(at[0], i / 6 * 2 + i % 2);
        CHECK_EQUAL(at[1], i % 6 / 2);
    }
}

/* Every cell once, index and coords are each other's inverse, and a group is left only when it is done. */
static void test_walk__visits_every_cell_once_and_leaves_no_group_early(void)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15), cells;
        unsigned rank = 1 + (unsigned)(seed % 4), changes = 0, groups = 1;
        uint64_t last[RANK_MAX] = { 0 };
        struct cell_range r = { .first = { 0 } };
        struct walk w = { .group = { 0 } };

        for (unsigned i = 0; i < rank; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            r.first[i] = (state >> 33) % 5;
            r.count[i] = 1 + (state >> 40) % 5;
            w.group[i] = (state >> 50) % 7 == 6 ? WALK_ALL : (state >> 50) % 7;
            w.order[i] = (uint8_t)((i + seed / 4) % rank);
        }
        w.ordered = seed % 3 == 0;
        cells = cell_range_cells(rank, &r);
        for (unsigned i = 0; i < rank; i++) {
            uint64_t group = w.group[i] ? w.group[i] : 1;

            groups *= (unsigned)((r.first[i] + r.count[i] - 1) / group - r.first[i] / group + 1);
        }
        for (uint64_t n = 0; n < cells; n++) {
            uint64_t at[RANK_MAX];
            bool same = true;

            walk_coords(rank, &w, &r, n, at);
            CHECK_EQUAL(walk_index(rank, &w, &r, at), n);
            for (unsigned i = 0; i < rank; i++) {
                uint64_t group = w.group[i] ? w.group[i] : 1;

                CHECK(at[i] >= r.first[i] && at[i] < r.first[i] + r.count[i]);
                same = same && at[i] / group == last[i];
                last[i] = at[i] / group;
            }
            changes += n > 0 && !same;
        }
        CHECK_EQUAL(changes + 1, groups);
    }
}

/* Cells on the border are clipped, and may be longer than the axis. */
static void test_walk__counts_the_elements_of_the_cells_before_one(void)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15), elements = 0;
        struct grid g = { .rank = (unsigned)(seed % 5) };
        struct walk w = { .group = { 0 } };

        for (unsigned i = 0; i < g.rank; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            g.shape[i] = (state >> 33) % 30 ? 1 + (state >> 36) % 9 : 0;
            g.cell[i] = 1 + (state >> 40) % 4;
            w.group[i] = (state >> 50) % 5 == 4 ? WALK_ALL : (state >> 50) % 5;
            w.order[i] = (uint8_t)((i + seed / 5) % g.rank);
        }
        w.ordered = seed % 3 == 0;
        for (uint64_t n = 0; n < grid_cells(&g); n++) {
            uint64_t at[RANK_MAX];
            struct box box;

            CHECK_EQUAL(walk_elements_before(&w, &g, n), elements);
            walk_grid_coords(&w, &g, n, at);
            grid_cell_box(&g, at, &box);
            elements += box_elements(g.rank, &box);
        }
        CHECK_EQUAL(walk_elements_before(&w, &g, grid_cells(&g)), elements);
    }
}

int main(void)
{
    RUN(test_walk__is_c_order_when_nothing_is_said);
    RUN(test_walk__runs_down_one_axis_before_the_next_column);
    RUN(test_walk__takes_the_cells_of_a_group_in_the_order_that_is_said);
    RUN(test_walk__visits_every_cell_once_and_leaves_no_group_early);
    RUN(test_walk__counts_the_elements_of_the_cells_before_one);
    return test_summary();
}
