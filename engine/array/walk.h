/* walk.h - the order in which the cells of a range are visited.
 *
 * The cells of a grid fall into groups, boxes of group[i] cells on each axis, counted from the grid's first cell.
 * Groups follow one another in C order, and so do the cells within each, or by another order of axes.
 * So a walk can stay in one chunk until all its slices are done, or run along one axis so that each box meets the one
 * before:
 *
 *     group 1 everywhere (a zeroed walk): C order        group (all, 1): down the first axis, column by column
 *     0 1 2 3                                            0 2 4 6
 *     4 5 6 7                                            1 3 5 7
 *
 * Closed forms: no lists. Threads: all of it is read-only.
 */
#ifndef SLUICE_ARRAY_WALK_H
#define SLUICE_ARRAY_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/grid.h"

/* All cells of an axis, however many there are. */
#define WALK_ALL UINT64_MAX

struct walk {
    uint64_t group[RANK_MAX];       /* cells; 0 is read as 1 */
    bool ordered;                   /* within a group the last axis of `order` runs fastest; else the last axis does */
    uint8_t order[RANK_MAX];
};

/* Where a cell of the range comes in the walk; and which cell comes there. */
uint64_t walk_index(unsigned rank, const struct walk *w, const struct cell_range *r, const uint64_t *coords);
void walk_coords(unsigned rank, const struct walk *w, const struct cell_range *r, uint64_t index, uint64_t *coords);

/* The same over a whole grid. */
uint64_t walk_grid_index(const struct walk *w, const struct grid *g, const uint64_t *coords);
void walk_grid_coords(const struct walk *w, const struct grid *g, uint64_t index, uint64_t *coords);

/* Elements of the cells that come before the index-th of the walk; of all cells if there is none. */
uint64_t walk_elements_before(const struct walk *w, const struct grid *g, uint64_t index);

#endif
