#include "engine/array/walk.h"

#include "engine/base/size.h"

/* The cells of one axis of the range that are in the group of `cell`: [*start, *start + returned). */
static uint64_t group_cells(const struct walk *w, const struct cell_range *r, unsigned axis, uint64_t cell,
                            uint64_t *start)
{
    uint64_t group = size_max(1, w->group[axis]), begin = cell / group * group, end = r->first[axis] + r->count[axis];

    *start = size_max(begin, r->first[axis]);
    return size_min(group - (*start - begin), end - *start);
}

/* The axes within a group, from the slowest to the fastest. */
static unsigned inner_axis(const struct walk *w, unsigned i) { return w->ordered ? w->order[i] : i; }

uint64_t walk_index(unsigned rank, const struct walk *w, const struct cell_range *r, const uint64_t *coords)
{
    uint64_t start[RANK_MAX], cells[RANK_MAX];
    uint64_t before = 0, within = 0, above = 1, below = cell_range_cells(rank, r);

    /* Before a cell come, on each axis in turn, the groups before its own: as wide as its group on the axes above, and
     * as the range on those below. */
    for (unsigned i = 0; i < rank; i++) {
        cells[i] = group_cells(w, r, i, coords[i], &start[i]);
        below /= r->count[i];
        before += (start[i] - r->first[i]) * above * below;
        above *= cells[i];
    }
    for (unsigned i = 0; i < rank; i++) {
        unsigned axis = inner_axis(w, i);

        within = within * cells[axis] + (coords[axis] - start[axis]);
    }
    return before + within;
}

void walk_coords(unsigned rank, const struct walk *w, const struct cell_range *r, uint64_t index, uint64_t *coords)
{
    uint64_t start[RANK_MAX], cells[RANK_MAX], above = 1, below = cell_range_cells(rank, r);

    for (unsigned i = 0; i < rank; i++) {
        below /= r->count[i];
        cells[i] = group_cells(w, r, i, r->first[i] + index / (above * below), &start[i]);
        index -= (start[i] - r->first[i]) * above * below;
        above *= cells[i];
    }
    for (unsigned i = rank; i-- > 0; ) {
        unsigned axis = inner_axis(w, i);

        coords[axis] = start[axis] + index % cells[axis];
        index /= cells[axis];
    }
}

static void whole_grid(const struct grid *g, struct cell_range *r)
{
    for (unsigned i = 0; i < g->rank; i++) {
        r->first[i] = 0;
        r->count[i] = grid_axis_cells(g, i);
    }
}

uint64_t walk_grid_index(const struct walk *w, const struct grid *g, const uint64_t *coords)
{
    struct cell_range all;

    whole_grid(g, &all);
    return walk_index(g->rank, w, &all, coords);
}

void walk_grid_coords(const struct walk *w, const struct grid *g, uint64_t index, uint64_t *coords)
{
    struct cell_range all;

    whole_grid(g, &all);
    walk_coords(g->rank, w, &all, index, coords);
}

/* Elements of `count` cells of an axis from `first` on, the last one clipped. */
static uint64_t axis_elements(const struct grid *g, unsigned axis, uint64_t first, uint64_t count)
{
    uint64_t from = size_min(g->shape[axis], size_mul_sat(first, g->cell[axis]));

    return size_min(g->shape[axis] - from, size_mul_sat(count, g->cell[axis]));
}

uint64_t walk_elements_before(const struct walk *w, const struct grid *g, uint64_t index)
{
    uint64_t coords[RANK_MAX], start[RANK_MAX], group[RANK_MAX], within = 1, before = 0, above = 1;
    uint64_t below = shape_elements(g->rank, g->shape);
    struct cell_range all;

    if (index >= grid_cells(g))
        return below;
    whole_grid(g, &all);
    walk_coords(g->rank, w, &all, index, coords);
    /* The groups before, as in walk_index; then within the group the cells before, in the same way. */
    for (unsigned i = 0; i < g->rank; i++) {
        uint64_t cells = group_cells(w, &all, i, coords[i], &start[i]);

        group[i] = axis_elements(g, i, start[i], cells);
        below /= g->shape[i];
        before += above * axis_elements(g, i, 0, start[i]) * below;
        above *= group[i];
        within *= group[i];
    }
    above = 1;
    for (unsigned i = 0; i < g->rank; i++) {
        unsigned axis = inner_axis(w, i);

        within /= group[axis];
        before += above * axis_elements(g, axis, start[axis], coords[axis] - start[axis]) * within;
        above *= axis_elements(g, axis, coords[axis], 1);
    }
    return before;
}
