/* tile.c - where an element of a box lives in a tile, and how runs get there.
 *
 * On one axis, the cells that a box touches are a head (begun late or cut by the tile's border), a row of full cells,
 * and a tail. Within such a *span* of cells the address of an element is linear in (cell, place in the cell). So a
 * box is put into a tile by at most 3^rank strided copies of up to 2 * rank axes, however many parts it touches:
 * usually one, and never more than parts.
 */
#include "engine/array/tile.h"

#include "engine/array/copy.h"
#include "engine/array/kernels.h"
#include "engine/base/size.h"

/* ---- sizes ---- */

static uint64_t part_stride(uint32_t item_bytes, const struct grid *parts)
{
    uint64_t bytes = size_mul_sat(shape_elements(parts->rank, parts->cell), item_bytes);

    return size_align_up(bytes, bytes >= TILE_PAGED_PART_BYTES ? IO_ALIGN : TILE_PART_ALIGN);
}

void tile_init(struct tile *t, enum tile_layout layout, uint32_t item_bytes, const struct grid *parts,
               const struct box *box, const uint8_t *order, void *memory)
{
    t->layout = layout;
    t->item_bytes = item_bytes;
    t->parts = *parts;
    t->box = *box;
    t->memory = memory;
    for (unsigned i = 0; i < parts->rank; i++)
        t->order[i] = order ? order[i] : (uint8_t)i;
    t->part_stride_bytes = layout == TILE_WHOLE ? part_stride(item_bytes, parts) : 0;
    grid_cells_touched(parts, box, &t->cells);
}

uint64_t tile_bytes(enum tile_layout layout, uint32_t item_bytes, const struct grid *parts, const struct box *box)
{
    struct cell_range cells;

    if (layout == TILE_CLIPPED)
        return size_mul_sat(box_elements(parts->rank, box), item_bytes);
    grid_cells_touched(parts, box, &cells);
    return size_mul_sat(cell_range_cells(parts->rank, &cells), part_stride(item_bytes, parts));
}

uint64_t tile_bytes_max(enum tile_layout layout, uint32_t item_bytes, const struct grid *parts,
                        const struct grid *boxes)
{
    struct box first;

    /* Boxes of a whole layout begin on the border of a part, so no box touches more than the first. */
    for (unsigned i = 0; i < parts->rank; i++) {
        if (parts->shape[i] == 0)
            return 0;
        first.start[i] = 0;
        first.length[i] = size_min(boxes->cell[i], parts->shape[i]);
    }
    return tile_bytes(layout, item_bytes, parts, &first);
}

uint64_t tile_part_count(const struct tile *t)
{
    return cell_range_cells(t->parts.rank, &t->cells);
}

/* ---- addresses ---- */

/* The elements of the tile's box in one cell, on one axis. */
static void clipped_cell(const struct tile *t, unsigned axis, uint64_t cell, uint64_t *start, uint64_t *length)
{
    const uint64_t cell_length = t->parts.cell[axis], box_start = t->box.start[axis];
    const uint64_t box_end = box_start + t->box.length[axis];

    *start = size_max(cell * cell_length, box_start);
    *length = size_min(cell_length - (*start - cell * cell_length), box_end - *start);
}

/* Strides of the axes within a whole part. */
static void whole_strides(const struct tile *t, uint64_t *stride)
{
    uint64_t bytes = t->item_bytes;

    for (unsigned i = t->parts.rank; i-- > 0; ) {
        stride[t->order[i]] = bytes;
        bytes *= t->parts.cell[t->order[i]];
    }
}

/* Where a part begins, in bytes. A clipped part begins after all elements of the box that come before it: on each
 * axis in turn those in cells before its own, times the part's extent on the axes above and the box's on those
 * below. */
static uint64_t part_offset(const struct tile *t, const struct box *part, const uint64_t *coords)
{
    const unsigned rank = t->parts.rank;
    uint64_t offset = 0, above = 1, below = box_elements(rank, &t->box);

    if (t->layout == TILE_WHOLE) {
        for (unsigned i = 0; i < rank; i++)
            offset = offset * t->cells.count[i] + (coords[i] - t->cells.first[i]);
        return offset * t->part_stride_bytes;
    }
    for (unsigned i = 0; i < rank; i++) {
        below /= t->box.length[i];
        offset += (part->start[i] - t->box.start[i]) * above * below;
        above *= part->length[i];
    }
    return offset * t->item_bytes;
}

void tile_part(const struct tile *t, uint64_t i, struct tile_part *out)
{
    const unsigned rank = t->parts.rank;

    cell_range_coords(rank, &t->cells, i, out->coords);
    for (unsigned axis = 0; axis < rank; axis++)
        clipped_cell(t, axis, out->coords[axis], &out->box.start[axis], &out->box.length[axis]);
    out->memory = t->memory + part_offset(t, &out->box, out->coords);
    out->bytes = t->item_bytes * (t->layout == TILE_WHOLE ? shape_elements(rank, t->parts.cell)
                                                         : box_elements(rank, &out->box));
}

/* ---- spans ---- */

/* Cells of one axis that are alike: each has `length` elements of the box, in the same place. */
struct span {
    uint64_t cell, cells;
    uint64_t start, length;         /* in the first cell, array coordinates */
};
struct axis_spans {
    struct span span[3];
    unsigned count;
};

static void split_axis(uint64_t cell_length, uint64_t start, uint64_t length, struct axis_spans *out)
{
    uint64_t cell = start / cell_length;
    uint64_t head = size_min(length, cell_length - start % cell_length);

    out->count = 0;
    if (head < cell_length) {
        out->span[out->count++] = (struct span){ cell++, 1, start, head };
        start += head;
        length -= head;
    }
    if (length >= cell_length) {
        uint64_t cells = length / cell_length;
        out->span[out->count++] = (struct span){ cell, cells, start, cell_length };
        cell += cells;
        start += cells * cell_length;
        length -= cells * cell_length;
    }
    if (length > 0)
        out->span[out->count++] = (struct span){ cell, 1, start, length };
}

/* A box of elements on its way into a tile; `data` NULL: every element is `item`. */
struct delivery {
    const struct tile *tile;
    const struct box *box;          /* inside the tile's */
    const char *data;
    const uint64_t *data_stride;
    const void *item;
};

/* Axes of a copy, cells and places in a cell; the copy sorts and merges them. */
struct copy_axes {
    unsigned rank;
    uint64_t length[COPY_RANK_MAX], to[COPY_RANK_MAX], from[COPY_RANK_MAX];
};

static void add_axis(struct copy_axes *c, uint64_t length, uint64_t to, uint64_t from)
{
    if (length == 1)
        return;
    c->length[c->rank] = length;
    c->to[c->rank] = to;
    c->from[c->rank] = from;
    c->rank++;
}

/* How a copy moves through the tile, on each axis: from cell to cell and within one, in bytes. */
struct tile_strides {
    uint64_t cell[RANK_MAX];
    uint64_t within[RANK_MAX];
};

static void whole_tile_strides(const struct tile *t, struct tile_strides *out)
{
    uint64_t bytes = t->part_stride_bytes;

    whole_strides(t, out->within);
    for (unsigned i = t->parts.rank; i-- > 0; ) {
        out->cell[i] = bytes;
        bytes *= t->cells.count[i];
    }
}

/* Holds for cells that have the same part lengths on every axis, which those of a span have. See part_offset. */
static void clipped_tile_strides(const struct tile *t, const struct box *part, struct tile_strides *out)
{
    uint64_t above = box_elements(t->parts.rank, part);
    uint64_t part_below = t->item_bytes, box_below = t->item_bytes;

    for (unsigned i = t->parts.rank; i-- > 0; ) {
        above /= part->length[i];
        out->within[i] = part_below;
        out->cell[i] = t->parts.cell[i] * above * box_below;
        part_below *= part->length[i];
        box_below *= t->box.length[i];
    }
}

/* Put the elements of one span of every axis. */
static void deliver_spans(const struct delivery *d, const struct span *const *span)
{
    const struct tile *t = d->tile;
    const unsigned rank = t->parts.rank;
    struct copy_axes axes = { .rank = 0 };
    struct tile_strides stride;
    uint64_t coords[RANK_MAX], to, from = 0;
    struct box part;

    for (unsigned i = 0; i < rank; i++) {
        coords[i] = span[i]->cell;
        clipped_cell(t, i, coords[i], &part.start[i], &part.length[i]);
    }
    if (t->layout == TILE_WHOLE)
        whole_tile_strides(t, &stride);
    else
        clipped_tile_strides(t, &part, &stride);
    to = part_offset(t, &part, coords);
    for (unsigned i = 0; i < rank; i++) {
        /* A whole part has room for the cell's first elements, a clipped one begins with the box's. */
        uint64_t first = t->layout == TILE_WHOLE ? coords[i] * t->parts.cell[i] : part.start[i];

        to += (span[i]->start - first) * stride.within[i];
        from += (span[i]->start - d->box->start[i]) * d->data_stride[i];
        add_axis(&axes, span[i]->cells, stride.cell[i], t->parts.cell[i] * d->data_stride[i]);
        add_axis(&axes, span[i]->length, stride.within[i], d->data_stride[i]);
    }
    if (d->data)
        copy_box(axes.rank, axes.length, t->item_bytes, t->memory + to, axes.to, d->data + from, axes.from);
    else
        fill_box(axes.rank, axes.length, t->item_bytes, t->memory + to, axes.to, d->item);
}

static void deliver(const struct delivery *d)
{
    const unsigned rank = d->tile->parts.rank;
    struct axis_spans axes[RANK_MAX];
    const struct span *span[RANK_MAX];
    unsigned axis;

    for (unsigned i = 0; i < rank; i++) {
        split_axis(d->tile->parts.cell[i], d->box->start[i], d->box->length[i], &axes[i]);
        span[i] = axes[i].span;
    }
    do {
        deliver_spans(d, span);
        for (axis = rank; axis-- > 0; ) {
            if (++span[axis] < axes[axis].span + axes[axis].count)
                break;
            span[axis] = axes[axis].span;
        }
    } while (axis < rank);          /* past the first axis it wraps */
}

void tile_scatter(const struct tile *t, const struct run *run)
{
    struct run_boxes boxes;
    struct run_box box;

    run_boxes_first(&boxes, t->parts.rank, t->item_bytes, run, &t->box);
    while (run_boxes_next(&boxes, &box)) {
        struct delivery d = { .tile = t, .box = &box.box, .data = box.data, .data_stride = boxes.stride };
        deliver(&d);
    }
}

void tile_scatter_fill(const struct tile *t, const struct box *piece, const void *item)
{
    const uint64_t nothing[RANK_MAX] = { 0 };
    struct box box;
    struct delivery d = { .tile = t, .box = &box, .data_stride = nothing, .item = item };

    if (box_intersect(t->parts.rank, piece, &t->box, &box))
        deliver(&d);
}

void tile_part_pad(const struct tile *t, const struct tile_part *part, const void *item)
{
    const unsigned rank = t->parts.rank;
    uint64_t stride[RANK_MAX], length[RANK_MAX];

    whole_strides(t, stride);
    for (unsigned i = 0; i < rank; i++)
        length[i] = t->parts.cell[i];
    /* What hangs over on axis i, within the array on the axes before. */
    for (unsigned i = 0; i < rank; i++) {
        const uint64_t inside = part->box.length[i];

        length[i] = t->parts.cell[i] - inside;
        if (length[i] > 0)
            fill_box(rank, length, t->item_bytes, part->memory + inside * stride[i], stride, item);
        length[i] = inside;
    }
}
