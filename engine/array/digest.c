/* digest.c - a digest is a strided copy into the C-order image of the array that is never written, only summed:
 * boxes are split at the coarse grid, brought into the normal form of a walk (image on the `to` side), and what is
 * contiguous in the image and in memory goes through the word loop in one piece. Where memory runs along another
 * axis than the image, small tiles are transposed into a buffer on the stack first.
 */
#include "engine/array/digest.h"

#include <stdlib.h>
#include <string.h>

#include "engine/array/copy.h"
#include "engine/array/kernels.h"
#include "engine/base/size.h"

enum { STAGE_BYTES = 8192 };        /* of the stack */
enum { LAST_CELL_BYTES_MIN = 512 }; /* coarse boxes do not cut rows shorter than this */

/* So many words share the high half of their number, and so their keys. */
#define KEYED_WORDS (UINT64_C(1) << 32)

/* ---- frames and accumulators ---- */

void digest_frame_init(struct digest_frame *f, struct dtype dtype, unsigned rank, const uint64_t *shape,
                       const void *fill, unsigned boxes_max)
{
    bool may_halve[RANK_MAX];
    unsigned longest;

    memset(f, 0, sizeof *f);
    f->dtype = dtype;
    memcpy(f->fill, fill, dtype.item_bytes);
    f->boxes.rank = rank;
    for (unsigned i = 0; i < rank; i++) {
        f->boxes.shape[i] = shape[i];
        f->boxes.cell[i] = size_max(shape[i], 1);
        may_halve[i] = true;
    }
    boxes_max = (unsigned)size_min(boxes_max, DIGEST_BOXES_MAX);
    /* Halve the longest axis of the cells as long as there are boxes left for it. */
    for (;;) {
        uint64_t *cell = f->boxes.cell, before;

        longest = rank;
        for (unsigned i = 0; i < rank; i++) {
            uint64_t least = i == rank - 1 ? 2 * LAST_CELL_BYTES_MIN / dtype.item_bytes : 2;

            if (may_halve[i] && cell[i] >= least && (longest == rank || cell[i] > cell[longest]))
                longest = i;
        }
        if (longest == rank)
            return;
        before = cell[longest];
        cell[longest] = size_div_up(before, 2);
        if (grid_cells(&f->boxes) > boxes_max) {
            cell[longest] = before;
            may_halve[longest] = false;
        }
    }
}

bool digest_init(struct digest *d, const struct digest_frame *frame)
{
    d->frame = *frame;
    d->sums = calloc(size_max(grid_cells(&frame->boxes), 1), sizeof *d->sums);
    return d->sums != NULL;
}

void digest_release(struct digest *d)
{
    free(d->sums);
    d->sums = NULL;
}

static void sum_add(struct digest_sum *to, const struct digest_sum *from)
{
    to->d1 += from->d1;
    to->d2 += from->d2;
    to->elements += from->elements;
}

void digest_merge(struct digest *into, const struct digest *from)
{
    uint64_t boxes = grid_cells(&into->frame.boxes);

    for (uint64_t i = 0; i < boxes; i++)
        sum_add(&into->sums[i], &from->sums[i]);
}

struct digest_sum digest_total(const struct digest *d)
{
    struct digest_sum total = { 0 };
    uint64_t boxes = grid_cells(&d->frame.boxes);

    for (uint64_t i = 0; i < boxes; i++)
        sum_add(&total, &d->sums[i]);
    return total;
}

/* ---- bytes of the image ---- */

/* Where sums go, and what every stretch of bytes needs to know. */
struct summing {
    uint32_t item_bytes;
    uint32_t fill[4];               /* the fill word of w is fill[w % 4] */
    bool avx2;
    uint64_t d[2];
};

static void summing_init(struct summing *s, const struct digest_frame *frame)
{
    s->item_bytes = frame->dtype.item_bytes;
    for (unsigned i = 0; i < sizeof s->fill; i += s->item_bytes)
        memcpy((char *)s->fill + i, frame->fill, s->item_bytes);
    s->avx2 = cpu_has_avx2();
    s->d[0] = s->d[1] = 0;
}

/* All words have the same high half: that of `w`. */
static void sum_word_rows(struct summing *s, uint64_t w, const struct digest_rows *rows)
{
    struct digest_keys keys = digest_keys((uint32_t)(w >> 32));

    if (s->avx2 && rows->words >= 8)
        digest_rows_avx2(keys, rows, s->fill, s->d);
    else
        digest_rows_generic(keys, rows, s->fill, s->d);
}

static void sum_whole_words(struct summing *s, uint64_t w, const char *data, uint64_t words)
{
    while (words > 0) {
        uint64_t part = size_min(words, KEYED_WORDS - w % KEYED_WORDS);
        struct digest_rows row = { .rows = 1, .words = part, .w = (uint32_t)w, .data = data };

        sum_word_rows(s, w, &row);
        w += part;
        data += 4 * part;
        words -= part;
    }
}

/* Up to three bytes of the word at `offset`; the others are left as if they were the fill's. */
static void sum_part_of_word(struct summing *s, uint64_t offset, const char *data, uint64_t bytes)
{
    uint32_t word = s->fill[offset / 4 % 4];

    memcpy((char *)&word + offset % 4, data, bytes);
    sum_whole_words(s, offset / 4, (const char *)&word, 1);
}

static void sum_bytes(struct summing *s, uint64_t offset, const char *data, uint64_t bytes)
{
    uint64_t head = size_min(bytes, -offset % 4);

    if (head > 0) {
        sum_part_of_word(s, offset, data, head);
        offset += head;
        data += head;
        bytes -= head;
    }
    sum_whole_words(s, offset / 4, data, bytes / 4);
    if (bytes % 4 > 0)
        sum_part_of_word(s, offset + bytes / 4 * 4, data + bytes / 4 * 4, bytes % 4);
}

/* Rows that are contiguous on both sides, `step` and `data_step` apart. */
static void sum_rows(struct summing *s, uint64_t rows, uint64_t row_bytes, uint64_t offset, uint64_t step,
                     const char *data, uint64_t data_step)
{
    const uint64_t first = offset / 4, last = (offset + (rows - 1) * step + row_bytes - 1) / 4;

    if ((offset | step | row_bytes) % 4 == 0 && first / KEYED_WORDS == last / KEYED_WORDS) {
        struct digest_rows r = { rows, row_bytes / 4, (uint32_t)first, (uint32_t)(step / 4), data, data_step };
        sum_word_rows(s, first, &r);
        return;
    }
    for (uint64_t i = 0; i < rows; i++)
        sum_bytes(s, offset + i * step, data + i * data_step, row_bytes);
}

/* Items that lie next to one another in memory, `step` apart in the image. */
static void sum_items(struct summing *s, uint64_t count, uint64_t offset, uint64_t step, const char *data)
{
    const uint64_t keyed_bytes = 4 * KEYED_WORDS;

    while (count > 0) {
        const uint64_t part = size_min(count, size_div_up(keyed_bytes - offset % keyed_bytes, step));
        const struct digest_keys keys = digest_keys((uint32_t)(offset / keyed_bytes));
        const struct digest_items items = { part, offset % keyed_bytes, step, s->item_bytes, data };

        if (s->avx2)
            digest_items_avx2(keys, &items, s->fill, s->d);
        else
            digest_items_generic(keys, &items, s->fill, s->d);
        count -= part;
        offset += part * step;
        data += part * s->item_bytes;
    }
}

/* ---- boxes ---- */

/* The image has nothing in one piece: items, gathered first where memory has gaps too. */
static void sum_scattered(struct summing *s, struct walk *w, uint64_t offset, const char *data)
{
    uint64_t index[COPY_RANK_MAX] = { 0 }, from = 0, count = 1, step = s->item_bytes, data_step = s->item_bytes;
    char stage[STAGE_BYTES];

    if (w->rank > 0) {
        w->rank--;
        count = w->length[w->rank];
        step = w->to[w->rank];
        data_step = w->from[w->rank];
    }
    do {
        const uint64_t part_max = data_step == s->item_bytes ? count : STAGE_BYTES / s->item_bytes;

        for (uint64_t i = 0; i < count; i += part_max) {
            const uint64_t part = size_min(part_max, count - i), stage_step = s->item_bytes;
            const char *items = data + from + i * data_step;

            if (data_step != s->item_bytes) {
                copy_box(1, &part, s->item_bytes, stage, &stage_step, items, &data_step);
                items = stage;
            }
            sum_items(s, part, offset + i * step, step, items);
        }
    } while (walk_step(w, w->rank, index, &offset, &from));
}

/* The image and memory run along the last axis. */
static void sum_contiguous(struct summing *s, struct walk *w, uint64_t offset, const char *data)
{
    uint64_t index[COPY_RANK_MAX] = { 0 }, from = 0, rows = 1, step = 0, data_step = 0;
    const uint64_t row_bytes = w->length[--w->rank] * s->item_bytes;

    if (w->rank > 0) {
        w->rank--;
        rows = w->length[w->rank];
        step = w->to[w->rank];
        data_step = w->from[w->rank];
    }
    do
        sum_rows(s, rows, row_bytes, offset, step, data + from, data_step);
    while (walk_step(w, w->rank, index, &offset, &from));
}

/* A plane of which the image runs along b and memory along a, tile by tile. */
static void sum_plane(struct summing *s, const struct transpose *plane, uint64_t offset, const char *data)
{
    enum { TILE_A = 32 };
    const uint64_t tile_b = STAGE_BYTES / TILE_A / s->item_bytes;
    char stage[STAGE_BYTES];

    for (uint64_t b = 0; b < plane->length_b; b += tile_b) {
        const uint64_t row_bytes = size_min(tile_b, plane->length_b - b) * s->item_bytes;

        for (uint64_t a = 0; a < plane->length_a; a += TILE_A) {
            const uint64_t length[2] = { size_min(TILE_A, plane->length_a - a), row_bytes / s->item_bytes };
            const uint64_t to[2] = { row_bytes, s->item_bytes };
            const uint64_t from[2] = { plane->from_a, plane->from_b };

            copy_box(2, length, s->item_bytes, stage, to, data + a * plane->from_a + b * plane->from_b, from);
            sum_rows(s, length[0], row_bytes, offset + a * plane->to_a + b * plane->to_b, plane->to_a,
                     stage, row_bytes);
        }
    }
}

/* The image runs along the last axis of the walk; memory does not. */
static void sum_planes(struct summing *s, struct walk *w, uint64_t offset, const char *data)
{
    uint64_t index[COPY_RANK_MAX] = { 0 }, from = 0;
    const unsigned last = w->rank - 1;
    struct transpose plane = {
        .length_a = 1,
        .length_b = w->length[last], .to_b = w->to[last], .from_b = w->from[last],
    };
    unsigned nearest = last;

    for (unsigned i = 0; i < last; i++)
        if (w->from[i] < w->from[nearest])
            nearest = i;
    walk_drop_axis(w, last);
    if (nearest != last) {
        plane.length_a = w->length[nearest];
        plane.to_a = w->to[nearest];
        plane.from_a = w->from[nearest];
        walk_drop_axis(w, nearest);
    }
    do
        sum_plane(s, &plane, offset, data + from);
    while (walk_step(w, w->rank, index, &offset, &from));
}

static void sum_box(struct summing *s, struct walk *w, uint64_t offset, const char *data)
{
    const unsigned last = w->rank - 1;

    if (w->rank == 0 || w->to[last] != s->item_bytes)
        sum_scattered(s, w, offset, data);
    else if (w->from[last] == s->item_bytes)
        sum_contiguous(s, w, offset, data);
    else
        sum_planes(s, w, offset, data);
}

/* The same for a box where every element is the item that `stage` repeats. */
static void sum_missing_box(struct summing *s, struct walk *w, uint64_t offset, const char *stage)
{
    uint64_t index[COPY_RANK_MAX] = { 0 }, row_bytes = s->item_bytes, from = 0;

    if (w->rank > 0 && w->to[w->rank - 1] == s->item_bytes)
        row_bytes *= w->length[--w->rank];
    do
        for (uint64_t at = 0; at < row_bytes; at += STAGE_BYTES)
            sum_bytes(s, offset + at, stage, size_min(STAGE_BYTES, row_bytes - at));
    while (walk_step(w, w->rank, index, &offset, &from));
}

/* ---- coarse boxes ---- */

/* Elements on their way into the sums: from memory, or all alike. */
struct delivery {
    const char *data;               /* NULL: `stage` repeats the item, or the item is the frame's fill */
    const uint64_t *data_stride;
    const char *stage;              /* NULL with data NULL: nothing to sum, only to count */
    bool back;                      /* taken back */
};

static void sum_coarse_box(struct digest *d, const struct box *whole, const struct box *part, uint64_t sum_index,
                           const struct delivery *from)
{
    const struct grid *g = &d->frame.boxes;
    struct digest_sum *sum = &d->sums[sum_index];
    uint64_t image_stride[RANK_MAX], offset = 0, data_offset = 0;
    struct summing s;
    struct walk w;

    sum->elements += from->back ? -box_elements(g->rank, part) : box_elements(g->rank, part);
    if (!from->data && !from->stage)
        return;
    summing_init(&s, &d->frame);
    strides_c(g->rank, g->shape, s.item_bytes, image_stride);
    for (unsigned i = 0; i < g->rank; i++) {
        offset += part->start[i] * image_stride[i];
        data_offset += (part->start[i] - whole->start[i]) * from->data_stride[i];
    }
    if (!walk_init(&w, g->rank, part->length, image_stride, from->data_stride))
        return;
    if (from->data)
        sum_box(&s, &w, offset, from->data + data_offset);
    else
        sum_missing_box(&s, &w, offset, from->stage);
    sum->d1 += from->back ? -s.d[0] : s.d[0];
    sum->d2 += from->back ? -s.d[1] : s.d[1];
}

/* `box` is not empty and inside the array. */
static void deliver(struct digest *d, const struct box *box, const struct delivery *from)
{
    const struct grid *g = &d->frame.boxes;
    uint64_t coords[RANK_MAX], count;
    struct cell_range cells;
    struct box coarse, part;

    grid_cells_touched(g, box, &cells);
    count = cell_range_cells(g->rank, &cells);
    for (uint64_t i = 0; i < count; i++) {
        cell_range_coords(g->rank, &cells, i, coords);
        grid_cell_box(g, coords, &coarse);
        if (box_intersect(g->rank, box, &coarse, &part))
            sum_coarse_box(d, box, &part, grid_index(g, coords), from);
    }
}

/* What of the array is asked for; false: nothing. */
static bool wanted_box(const struct digest *d, const struct box *within, struct box *out)
{
    const struct grid *g = &d->frame.boxes;
    struct box array;

    for (unsigned i = 0; i < g->rank; i++) {
        array.start[i] = 0;
        array.length[i] = g->shape[i];
    }
    return box_intersect(g->rank, &array, within ? within : &array, out);
}

void digest_run(struct digest *d, const struct run *run, const struct box *within)
{
    struct run_boxes boxes;
    struct run_box box;
    struct box clip;

    if (!wanted_box(d, within, &clip))
        return;
    run_boxes_first(&boxes, d->frame.boxes.rank, d->frame.dtype.item_bytes, run, &clip);
    while (run_boxes_next(&boxes, &box)) {
        struct delivery from = { .data = box.data, .data_stride = boxes.stride };
        deliver(d, &box.box, &from);
    }
}

static void deliver_missing(struct digest *d, const struct box *piece, const void *item, const struct box *within,
                            bool back)
{
    const uint32_t item_bytes = d->frame.dtype.item_bytes;
    const uint64_t nothing[RANK_MAX] = { 0 };
    struct delivery from = { .data_stride = nothing, .back = back };
    struct box clip, box;
    char stage[STAGE_BYTES];

    if (!wanted_box(d, within, &clip) || !box_intersect(d->frame.boxes.rank, piece, &clip, &box))
        return;
    if (memcmp(item, d->frame.fill, item_bytes) != 0) {
        fill_bytes(stage, sizeof stage, item, item_bytes);
        from.stage = stage;
    }
    deliver(d, &box, &from);
}

void digest_missing(struct digest *d, const struct box *piece, const void *item, const struct box *within)
{
    deliver_missing(d, piece, item, within, false);
}

void digest_present(struct digest *d, const struct box *piece, const void *item, const struct box *within)
{
    deliver_missing(d, piece, item, within, true);
}
