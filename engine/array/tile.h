/* tile.h - a box of an array in memory, laid out for whoever takes it out again.
 *
 * A tile holds the elements of one box (a slab, a bucket, a direct box) cut into *parts*: the cells of a second
 * grid. Each part is contiguous in memory, parts follow one another in C order of their cells. So what leaves the
 * tile - an extent of a segment, a chunk of the target - is one run of memory, and the sorting is done by the
 * copy that puts the elements in.
 *
 *   clipped parts   hold just the elements of the box: part = cell AND box. Packed without gaps, so the whole
 *                   tile is one run of box_elements items, each part in C order of its own box. (Slabs: a part is
 *                   the piece of one bucket.)
 *   whole parts     have room for the full cell, also where it hangs over the array's end, and its axes may be stored
 *                   in another order (a transposing codec). Parts of TILE_PAGED_PART_BYTES or more begin on an
 *                   IO_ALIGN border, smaller ones on a TILE_PART_ALIGN border: paging those would waste memory, and
 *                   they are encoded or copied before they are written. (Buckets and direct boxes: a part is one
 *                   target chunk, ready to be encoded.) The box must consist of whole cells (clipped only by the
 *                   array's end).
 *
 * Threads: after tile_init a tile is read-only; scatters from several threads may run at once as long as they put
 * different elements.
 */
#ifndef SLUICE_ARRAY_TILE_H
#define SLUICE_ARRAY_TILE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/grid.h"

enum { TILE_PAGED_PART_BYTES = 64 << 10, TILE_PART_ALIGN = 64 };

enum tile_layout { TILE_CLIPPED, TILE_WHOLE };

struct tile {
    enum tile_layout layout;
    uint32_t item_bytes;
    struct grid parts;          /* over the whole array: same shape as the array */
    struct box box;             /* of the array */
    struct cell_range cells;    /* the parts that the box touches */
    uint8_t order[RANK_MAX];    /* whole parts: stored axis i is array axis order[i] */
    uint64_t part_stride_bytes; /* whole parts: from one part to the next */
    char *memory;               /* borrowed; IO_ALIGN aligned for whole parts */
};

/* `order` NULL: C order. The box is not empty. */
void tile_init(struct tile *t, enum tile_layout layout, uint32_t item_bytes, const struct grid *parts,
               const struct box *box, const uint8_t *order, void *memory);

/* Bytes of memory a tile needs: the same as after tile_init, without one. Saturates. */
uint64_t tile_bytes(enum tile_layout layout, uint32_t item_bytes, const struct grid *parts, const struct box *box);
/* The largest tile_bytes of all boxes in a grid of boxes (`boxes` cuts the same array; for whole parts
 * its cells are whole parts too, or reach to the end of their axis). */
uint64_t tile_bytes_max(enum tile_layout layout, uint32_t item_bytes, const struct grid *parts,
                        const struct grid *boxes);

uint64_t tile_part_count(const struct tile *t);

/* One part: its cell, the elements of the box in it, and where its bytes are. */
struct tile_part {
    uint64_t coords[RANK_MAX];
    struct box box;             /* cell AND tile box, in array coordinates */
    char *memory;
    uint64_t bytes;             /* clipped: of `box`; whole: of the full cell */
};
void tile_part(const struct tile *t, uint64_t i, struct tile_part *out);

/* A run of elements in a foreign order, on its way into a tile: elements first .. first + count - 1, in storage
 * order, of a piece (a source chunk, an extent) that covers `piece` of the array. */
struct run {
    struct box piece;           /* array coordinates; what of it is outside the array or the tile's box is dropped */
    const uint8_t *order;       /* storage axis i is array axis order[i]; NULL: C order */
    uint64_t first;
    uint64_t count;
    const char *data;           /* count items */
};

/* Put the run's elements into the tile. */
void tile_scatter(const struct tile *t, const struct run *run);
/* Put `item` on every element of piece AND box; for chunks that are not there. */
void tile_scatter_fill(const struct tile *t, const struct box *piece, const void *item);
/* Whole parts: put `item` where a part hangs over the array (and nowhere else), once the tile is full. */
void tile_part_pad(const struct tile *t, const struct tile_part *part, const void *item);

#endif
