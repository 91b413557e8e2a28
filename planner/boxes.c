/* boxes.c - shapes of slabs, buckets and direct boxes.
 *
 * What a box costs is how many cells of another grid it touches, summed over all boxes: extents of scratch (slab and
 * bucket) or chunks decoded (direct box and source chunk). On a regular grid that sum is a product over the axes of
 *
 *     cells of one grid + cells of the other - 1 - inner borders they share
 *
 * and the memory of a box is a product over the axes too. So the best shape under a memory limit is found axis by
 * axis, keeping for each amount of memory (in 256 geometric steps) the partial shape with the fewest overlaps.
 * Each axis offers balanced lengths only (n cells in p boxes: ceil(n / p) cells each), so the last is no sliver,
 * and lengths whose borders meet those of the other grid.
 */
#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"

enum { OPTIONS_MAX = 80, STEPS = 256, ROUNDS_MAX = 4 };

double grid_overlaps(unsigned rank, const uint64_t *shape, const uint64_t *a, const uint64_t *b)
{
    double product = 1;

    for (unsigned i = 0; i < rank; i++)
        product *= (double)axis_overlaps(shape[i], a[i], b[i]);
    return product;
}

/* One length an axis could have. */
struct option {
    uint64_t length;            /* elements, whole cells */
    double memory;              /* its factor of the tile's bytes */
    double memory_log;
    double overlaps;
};

struct axis_options {
    struct option options[OPTIONS_MAX];
    unsigned count;
};

/* Keeps the options in order of memory, without those that cost memory and save nothing. */
static void option_add(struct axis_options *axis, const struct option *o)
{
    unsigned at = 0;

    while (at < axis->count && axis->options[at].memory < o->memory)
        at++;
    if ((at > 0 && axis->options[at - 1].overlaps <= o->overlaps) ||
        (at < axis->count && axis->options[at].memory == o->memory && axis->options[at].overlaps <= o->overlaps))
        return;
    while (at < axis->count && axis->options[at].overlaps >= o->overlaps) {
        memmove(&axis->options[at], &axis->options[at + 1], (axis->count - at - 1) * sizeof *o);
        axis->count--;
    }
    if (axis->count == OPTIONS_MAX)
        return;
    memmove(&axis->options[at + 1], &axis->options[at], (axis->count - at) * sizeof *o);
    axis->options[at] = *o;
    axis->count++;
}

static void axis_options(struct axis_options *axis, uint64_t shape, uint64_t cell, uint64_t other,
                         enum tile_layout layout)
{
    uint64_t cells = size_max(size_div_up(shape, cell), 1), meeting = other / size_greatest_divisor(cell, other);
    uint64_t step;

    axis->count = 0;
    for (uint64_t boxes = 1; ; boxes = boxes < 16 ? boxes + 1 : size_min(cells, boxes + boxes / 4)) {
        uint64_t count = size_div_up(cells, boxes), length = size_mul_sat(count, cell);

        option_add(axis, &(struct option){
            .length = length, .memory = layout == TILE_WHOLE ? (double)count : (double)size_min(length, shape),
            .overlaps = (double)axis_overlaps(shape, length, other),
        });
        if (boxes >= cells)
            break;
    }
    for (uint64_t count = meeting; count < cells; count += step) {
        uint64_t length = size_mul_sat(count, cell);

        option_add(axis, &(struct option){
            .length = length, .memory = layout == TILE_WHOLE ? (double)count : (double)size_min(length, shape),
            .overlaps = (double)axis_overlaps(shape, length, other),
        });
        step = size_max(meeting, count / 4 / meeting * meeting);
    }
    for (unsigned i = 0; i < axis->count; i++)
        axis->options[i].memory_log = log(axis->options[i].memory);
}

/* A shape of the axes seen so far. */
struct shape_choice {
    double memory, memory_log;
    double overlaps;            /* 0: none yet */
    uint8_t option[RANK_MAX];
};

/* All ways to add one axis; the best for each step of memory stays. */
static void front_extend(struct shape_choice *to, const struct shape_choice *from, const struct axis_options *axis,
                         unsigned axis_index, double memory_max)
{
    double scale = memory_max > 1 ? (STEPS - 1) / log(memory_max) : 0, fewest = INFINITY;

    for (unsigned i = 0; i < STEPS; i++)
        to[i].overlaps = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        /* What costs more memory and saves nothing leads nowhere. */
        if (from[i].overlaps == 0 || from[i].overlaps >= fewest)
            continue;
        fewest = from[i].overlaps;
        for (unsigned j = 0; j < axis->count; j++) {
            double memory = from[i].memory * axis->options[j].memory;
            double overlaps = from[i].overlaps * axis->options[j].overlaps;
            struct shape_choice *slot;

            if (memory > memory_max)
                break;
            slot = &to[(unsigned)size_min(STEPS - 1,
                                          (uint64_t)((from[i].memory_log + axis->options[j].memory_log) * scale))];
            if (slot->overlaps > 0 && (slot->overlaps < overlaps ||
                                       (slot->overlaps == overlaps && slot->memory <= memory)))
                continue;
            *slot = from[i];
            slot->memory = memory;
            slot->memory_log = from[i].memory_log + axis->options[j].memory_log;
            slot->overlaps = overlaps;
            slot->option[axis_index] = (uint8_t)j;
        }
    }
}

/* The fewest overlaps; among those within 5 % the one longest on the last axis, where copies run along. */
static const struct shape_choice *front_best(const struct shape_choice *front, const struct axis_options *last)
{
    const struct shape_choice *best = NULL;
    double fewest = INFINITY;

    for (unsigned i = 0; i < STEPS; i++)
        if (front[i].overlaps > 0 && front[i].overlaps < fewest)
            fewest = front[i].overlaps;
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t length, best_length;

        if (front[i].overlaps == 0 || front[i].overlaps > fewest * 1.05)
            continue;
        if (best) {
            length = last->options[front[i].option[0]].length;
            best_length = last->options[best->option[0]].length;
            if (length < best_length || (length == best_length && front[i].overlaps >= best->overlaps))
                continue;
        }
        best = &front[i];
    }
    return best;
}

/* What one whole part takes in a tile. */
static uint64_t part_stride_bytes(const struct grid *unit, uint32_t item_bytes)
{
    struct box one = { .start = { 0 } };

    for (unsigned i = 0; i < unit->rank; i++)
        one.length[i] = 1;
    return tile_bytes(TILE_WHOLE, item_bytes, unit, &one);
}

bool box_best(const struct grid *unit, enum tile_layout layout, uint32_t item_bytes, const uint64_t *other,
              uint64_t bytes_max, uint64_t *box)
{
    struct shape_choice fronts[2][STEPS];
    struct axis_options options[RANK_MAX];
    const struct shape_choice *best;
    uint64_t part_bytes = part_stride_bytes(unit, item_bytes);
    double memory_max = (double)bytes_max / (double)(layout == TILE_WHOLE ? part_bytes : item_bytes);
    unsigned now = 0;

    if (memory_max < 1)
        return false;
    if (unit->rank == 0)
        return true;
    memset(fronts[0], 0, sizeof fronts[0]);
    fronts[0][0] = (struct shape_choice){ .memory = 1, .overlaps = 1 };
    /* Choice [0] is the last axis: the axes are taken backwards. */
    for (unsigned i = 0; i < unit->rank; i++) {
        unsigned axis = unit->rank - 1 - i;

        axis_options(&options[i], unit->shape[axis], unit->cell[axis], other[axis], layout);
        front_extend(fronts[!now], fronts[now], &options[i], i, memory_max);
        now = !now;
    }
    best = front_best(fronts[now], &options[0]);
    if (!best)
        return false;
    for (unsigned i = 0; i < unit->rank; i++)
        box[unit->rank - 1 - i] = options[i].options[best->option[i]].length;
    return true;
}

/* The best box of a side; a fixed one is as it is. */
static bool side_best(const struct side *side, uint32_t item_bytes, const uint64_t *other, uint64_t bytes_max,
                      uint64_t *box)
{
    if (!side->fixed)
        return box_best(&side->unit, side->layout, item_bytes, other, bytes_max, box);
    memcpy(box, side->unit.cell, side->unit.rank * sizeof *box);
    return true;
}

/* Improve one side given the other, in turn, until nothing changes. */
static bool pair_improve(const struct side *source, const struct side *target, uint32_t item_bytes,
                         uint64_t slab_bytes_max, uint64_t bucket_bytes_max, bool slab_first,
                         uint64_t *slab, uint64_t *bucket, double *overlaps)
{
    uint64_t found_slab[RANK_MAX], found_bucket[RANK_MAX];
    unsigned rank = source->unit.rank;

    memcpy(found_slab, source->unit.cell, sizeof found_slab);
    memcpy(found_bucket, target->unit.cell, sizeof found_bucket);
    *overlaps = INFINITY;
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        double found;

        if ((slab_first || round > 0) && !side_best(source, item_bytes, found_bucket, slab_bytes_max, found_slab))
            return false;
        if (!side_best(target, item_bytes, found_slab, bucket_bytes_max, found_bucket))
            return false;
        if (!slab_first && round == 0 && !side_best(source, item_bytes, found_bucket, slab_bytes_max, found_slab))
            return false;
        found = grid_overlaps(rank, source->unit.shape, found_slab, found_bucket);
        if (found >= *overlaps)
            break;
        *overlaps = found;
        memcpy(slab, found_slab, rank * sizeof *slab);
        memcpy(bucket, found_bucket, rank * sizeof *bucket);
    }
    return true;
}

bool box_pair_best(const struct side *source, const struct side *target, uint32_t item_bytes,
                   uint64_t slab_bytes_max, uint64_t bucket_bytes_max, uint64_t *slab, uint64_t *bucket)
{
    uint64_t other_slab[RANK_MAX], other_bucket[RANK_MAX];
    unsigned rank = source->unit.rank;
    double overlaps, other_overlaps;

    if (!pair_improve(source, target, item_bytes, slab_bytes_max, bucket_bytes_max, true, slab, bucket, &overlaps))
        return false;
    if (pair_improve(source, target, item_bytes, slab_bytes_max, bucket_bytes_max, false, other_slab, other_bucket,
                     &other_overlaps) && other_overlaps < overlaps) {
        memcpy(slab, other_slab, rank * sizeof *slab);
        memcpy(bucket, other_bucket, rank * sizeof *bucket);
    }
    return true;
}
