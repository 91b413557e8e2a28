#include "engine/array/grid.h"

#include "engine/base/size.h"

uint64_t shape_elements(unsigned rank, const uint64_t *shape)
{
    uint64_t elements = 1;

    /* An empty axis makes nothing of the others, even where their product saturates. */
    for (unsigned i = 0; i < rank; i++)
        if (shape[i] == 0)
            return 0;
    for (unsigned i = 0; i < rank; i++)
        elements = size_mul_sat(elements, shape[i]);
    return elements;
}

uint64_t grid_axis_cells(const struct grid *g, unsigned axis)
{
    return g->shape[axis] ? size_div_up(g->shape[axis], g->cell[axis]) : 0;
}

uint64_t grid_cells(const struct grid *g)
{
    uint64_t cells[RANK_MAX];

    for (unsigned i = 0; i < g->rank; i++)
        cells[i] = grid_axis_cells(g, i);
    return shape_elements(g->rank, cells);
}

void grid_coords(const struct grid *g, uint64_t index, uint64_t *coords)
{
    for (unsigned i = g->rank; i-- > 0; ) {
        uint64_t cells = grid_axis_cells(g, i);
        coords[i] = index % cells;
        index /= cells;
    }
}

uint64_t grid_index(const struct grid *g, const uint64_t *coords)
{
    uint64_t index = 0;

    for (unsigned i = 0; i < g->rank; i++)
        index = index * grid_axis_cells(g, i) + coords[i];
    return index;
}

void grid_cell_box(const struct grid *g, const uint64_t *coords, struct box *out)
{
    for (unsigned i = 0; i < g->rank; i++) {
        out->start[i] = coords[i] * g->cell[i];
        out->length[i] = size_min(g->cell[i], g->shape[i] - out->start[i]);
    }
}

void grid_cells_touched(const struct grid *g, const struct box *box, struct cell_range *out)
{
    for (unsigned i = 0; i < g->rank; i++) {
        out->first[i] = box->start[i] / g->cell[i];
        out->count[i] = (box->start[i] + box->length[i] - 1) / g->cell[i] - out->first[i] + 1;
    }
}

uint64_t axis_overlaps(uint64_t shape, uint64_t a, uint64_t b)
{
    uint64_t common;

    if (shape == 0)
        return 0;
    common = size_mul_sat(a / size_greatest_divisor(a, b), b);
    return size_div_up(shape, a) + size_div_up(shape, b) - 1 - (shape - 1) / common;
}

uint64_t cell_range_cells(unsigned rank, const struct cell_range *r)
{
    return shape_elements(rank, r->count);
}

void cell_range_coords(unsigned rank, const struct cell_range *r, uint64_t i, uint64_t *coords)
{
    for (unsigned axis = rank; axis-- > 0; ) {
        coords[axis] = r->first[axis] + i % r->count[axis];
        i /= r->count[axis];
    }
}

uint64_t cell_range_index(unsigned rank, const struct cell_range *r, const uint64_t *coords)
{
    uint64_t index = 0;

    for (unsigned i = 0; i < rank; i++)
        index = index * r->count[i] + (coords[i] - r->first[i]);
    return index;
}

uint64_t box_elements(unsigned rank, const struct box *b)
{
    return shape_elements(rank, b->length);
}

bool box_intersect(unsigned rank, const struct box *a, const struct box *b, struct box *out)
{
    for (unsigned i = 0; i < rank; i++) {
        uint64_t start = size_max(a->start[i], b->start[i]);
        uint64_t end = size_min(a->start[i] + a->length[i], b->start[i] + b->length[i]);

        if (start >= end)
            return false;
        out->start[i] = start;
        out->length[i] = end - start;
    }
    return true;
}

uint64_t box_next_within(unsigned rank, const struct box *box, const uint8_t *order, const struct box *within,
                         uint64_t position)
{
    uint64_t at[RANK_MAX], first[RANK_MAX], end[RANK_MAX], length[RANK_MAX];
    unsigned i, later = rank;           /* the last axis so far on which there is something later */
    struct box both;

    if (position >= box_elements(rank, box) || !box_intersect(rank, box, within, &both))
        return UINT64_MAX;
    for (i = rank; i-- > 0; position /= length[i]) {
        unsigned axis = order ? order[i] : i;

        length[i] = box->length[axis];
        first[i] = both.start[axis] - box->start[axis];
        end[i] = first[i] + both.length[axis];
        at[i] = position % length[i];
    }
    for (i = 0; i < rank && at[i] >= first[i] && at[i] < end[i]; i++)
        if (at[i] + 1 < end[i])
            later = i;
    if (i < rank && at[i] >= end[i]) {
        if (later == rank)
            return UINT64_MAX;
        i = later;
        at[i++]++;
    }
    for (; i < rank; i++)
        at[i] = first[i];
    for (position = 0, i = 0; i < rank; i++)
        position = position * length[i] + at[i];
    return position;
}

void box_run_first(struct box_run *r, unsigned rank, const uint64_t *length, uint64_t first, uint64_t count)
{
    r->rank = rank;
    for (unsigned i = 0; i < rank; i++)
        r->length[i] = length[i];
    r->position = first;
    r->end = first + count;
}

bool box_run_next(struct box_run *r, struct box *part)
{
    uint64_t left = r->end - r->position, position = r->position;
    uint64_t inner = 1;             /* elements of one slice of `axis` */
    unsigned axis = r->rank;
    uint64_t slices = 1;

    if (left == 0)
        return false;
    /* Climb while the run begins on a border of the level and holds all of it. */
    while (axis > 0 && r->position % (inner * r->length[axis - 1]) == 0 && left >= inner * r->length[axis - 1])
        inner *= r->length[--axis];
    for (unsigned i = axis; i < r->rank; i++) {
        part->start[i] = 0;
        part->length[i] = r->length[i];
    }
    if (axis > 0) {
        position /= inner;
        axis--;
        part->start[axis] = position % r->length[axis];
        slices = size_min(r->length[axis] - part->start[axis], left / inner);
        part->length[axis] = slices;
        position /= r->length[axis];
    }
    while (axis-- > 0) {
        part->start[axis] = position % r->length[axis];
        part->length[axis] = 1;
        position /= r->length[axis];
    }
    r->position += slices * inner;
    return true;
}
