/* grid.h - boxes of elements, and regular grids that cut an array into cells.
 *
 * All coordinates are element counts in array order, rank 0 to RANK_MAX. A rank-0 array has one element and one
 * cell. Cells on the border are clipped to the shape. Indices of cells run in C order (last axis fastest).
 *
 * Everything is arithmetic: a grid of 10^9 cells costs what a grid of ten costs.
 */
#ifndef SLUICE_ARRAY_GRID_H
#define SLUICE_ARRAY_GRID_H

#include <stdbool.h>
#include <stdint.h>

enum { RANK_MAX = 16 };

/* A half-open box: start[i] <= x[i] < start[i] + length[i]. */
struct box {
    uint64_t start[RANK_MAX];
    uint64_t length[RANK_MAX];
};

/* `cell[i]` >= 1 wherever shape[i] > 0; it may be longer than the axis. */
struct grid {
    unsigned rank;
    uint64_t shape[RANK_MAX];
    uint64_t cell[RANK_MAX];
};

/* A box of cells: cells first[i] .. first[i] + count[i] - 1 on each axis. */
struct cell_range {
    uint64_t first[RANK_MAX];
    uint64_t count[RANK_MAX];
};

/* Product of lengths; saturates at UINT64_MAX. 1 for rank 0. */
uint64_t shape_elements(unsigned rank, const uint64_t *shape);

uint64_t grid_axis_cells(const struct grid *g, unsigned axis);
/* Saturates. 0 if an axis has length 0. */
uint64_t grid_cells(const struct grid *g);
void grid_coords(const struct grid *g, uint64_t index, uint64_t *coords);
uint64_t grid_index(const struct grid *g, const uint64_t *coords);
/* The elements of a cell that exist: clipped to the shape. */
void grid_cell_box(const struct grid *g, const uint64_t *coords, struct box *out);
/* The cells that a non-empty box touches. */
void grid_cells_touched(const struct grid *g, const struct box *box, struct cell_range *out);

/* How many non-empty intersections the cells of two grids over one axis have: the cells of both, minus one, minus
 * the inner borders they share. 0 on an empty axis. */
uint64_t axis_overlaps(uint64_t shape, uint64_t a, uint64_t b);

uint64_t cell_range_cells(unsigned rank, const struct cell_range *r);
/* The i-th cell of the range in C order; and which one a cell is. */
void cell_range_coords(unsigned rank, const struct cell_range *r, uint64_t i, uint64_t *coords);
uint64_t cell_range_index(unsigned rank, const struct cell_range *r, const uint64_t *coords);

uint64_t box_elements(unsigned rank, const struct box *b);
/* False if the intersection is empty. */
bool box_intersect(unsigned rank, const struct box *a, const struct box *b, struct box *out);
/* Elements of `box` are counted in storage order: storage axis i is array axis order[i] (NULL: C order). The first one
 * from `position` on that lies in `within`, which may reach beyond the box; UINT64_MAX: there is none. */
uint64_t box_next_within(unsigned rank, const struct box *box, const uint8_t *order, const struct box *within,
                         uint64_t position);

/* A run of consecutive elements of a box, in C order, is at most 2 * rank - 1 smaller boxes (head, middle, tail on
 * every level). box_run_first starts at element `first` of `count`, box_run_next gives them in order.
 *   for (box_run_first(&r, rank, lengths, first, count); box_run_next(&r, &part); ) ...
 * `part` is relative to the box. The parts are consecutive in the run. */
struct box_run {
    unsigned rank;
    uint64_t length[RANK_MAX];
    uint64_t position, end;
};
void box_run_first(struct box_run *r, unsigned rank, const uint64_t *length, uint64_t first, uint64_t count);
bool box_run_next(struct box_run *r, struct box *part);

#endif
