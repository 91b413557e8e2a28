/* pass_boxes.c - boxes of the passes between a split and its merge.
 *
 * On each axis slabs are longer than buckets, and must be cut, or shorter, and must be gathered:
 *
 *     slabs (3, 721, 1440), buckets (2000, 16, 96): time is gathered, places are cut
 *
 * A pass cuts some of the way and gathers some of the way. Its super-buckets are short on the axes that are cut and
 * have all of the others; its own boxes are as short as a super-bucket where it cuts, and some slabs long where it
 * gathers, so that they consist of whole extents:
 *
 *     pass 1   slabs (3, 721, 1440)  -> super-buckets (all, 112, 384)
 *     pass 2   boxes (75, 112, 384)  -> buckets (2000, 16, 96)
 *
 * How far each pass goes is settled step by step: whichever pass has the most extents gets the axis that saves most
 * of them for the memory it takes.
 */
#include "planner/arrange.h"

#include <math.h>
#include <string.h>

/* Levels: boxes of the passes. Level 0 is the slabs, the last one the buckets. */
struct levels {
    unsigned count, rank;
    uint32_t item_bytes;
    const uint64_t *shape;
    const uint64_t *room_bytes;
    bool cut[RANK_MAX];
    uint64_t cell[STAGES_MAX][RANK_MAX];
};

enum { GROWTHS_MAX = 2000 };

/* Cells that level `level` is written for, as the parts of the level before. */
static void bucket_cell(const struct levels *l, unsigned level, uint64_t *cell)
{
    for (unsigned i = 0; i < l->rank; i++) {
        cell[i] = l->cell[level][i];
        if (!l->cut[i] && level + 1 < l->count)
            cell[i] *= size_div_up(l->shape[i], cell[i]);
    }
}

/* Extents that the level before writes. */
static double extents_of(const struct levels *l, unsigned level)
{
    uint64_t bucket[RANK_MAX];

    bucket_cell(l, level, bucket);
    return grid_overlaps(l->rank, l->shape, l->cell[level - 1], bucket);
}

static double bytes_of(const struct levels *l, unsigned level)
{
    double bytes = l->item_bytes;

    for (unsigned i = 0; i < l->rank; i++)
        bytes *= (double)size_min(l->cell[level][i], l->shape[i]);
    return bytes;
}

/* The next longer cell: of so many cells of the level below where it cuts, of the level above where it gathers, as the
 * others are multiples of one another too. */
static uint64_t longer(const struct levels *l, unsigned level, unsigned axis)
{
    uint64_t base = l->cut[axis] ? l->cell[l->count - 1][axis] : l->cell[0][axis];
    uint64_t cell = l->cell[level][axis], count = cell / base;

    return l->count == 3 ? size_mul_sat(base, count + size_max(1, count / 8)) : size_mul_sat(cell, 2);
}

/* Boxes of a pass consist of boxes of the one before where both gather, and of the one after where both cut. */
static bool is_in_order(const struct levels *l, unsigned level, unsigned axis, uint64_t cell)
{
    unsigned longer_level = l->cut[axis] ? level - 1 : level + 1;

    if (longer_level == 0 || longer_level + 1 == l->count)
        return true;
    return l->cell[longer_level][axis] % cell == 0;
}

/* Lengthen one axis of a level by a step, the one that saves most of the extents of `of_level`. */
static bool grow(struct levels *l, unsigned level, unsigned of_level)
{
    double before = extents_of(l, of_level), bytes = bytes_of(l, level), best_gain = 0;
    unsigned best = l->rank;
    uint64_t best_cell = 0;

    for (unsigned i = 0; i < l->rank; i++) {
        uint64_t cell = l->cell[level][i], to = longer(l, level, i);
        double gain;

        if (l->cut[i] != (level == of_level) || cell >= l->shape[i] || !is_in_order(l, level, i, to))
            continue;
        l->cell[level][i] = to;
        gain = log(before / extents_of(l, of_level)) / fmax(1e-9, log(bytes_of(l, level) / bytes));
        if (bytes_of(l, level) <= (double)l->room_bytes[level] && gain > best_gain) {
            best_gain = gain;
            best = i;
            best_cell = to;
        }
        l->cell[level][i] = cell;
    }
    if (best < l->rank)
        l->cell[level][best] = best_cell;
    return best < l->rank;
}

static void settle(struct levels *l)
{
    bool stuck[STAGES_MAX] = { false };

    for (unsigned n = 0; n < GROWTHS_MAX; n++) {
        unsigned most = 0;

        for (unsigned i = 1; i < l->count; i++)
            if (!stuck[i] && (!most || extents_of(l, i) > extents_of(l, most)))
                most = i;
        if (!most)
            return;
        /* The boxes of this level cut less far, or those of the one before gather further. */
        stuck[most] = !(most + 1 < l->count && grow(l, most, most)) && !(most > 1 && grow(l, most - 1, most));
    }
}

bool pass_boxes(struct stage *stages, unsigned stage_count, uint32_t item_bytes, const uint64_t *room_bytes)
{
    struct stage *merge = &stages[stage_count - 1];
    struct levels l = {
        .count = stage_count, .rank = merge->tasks.rank, .item_bytes = item_bytes, .shape = merge->tasks.shape,
        .room_bytes = room_bytes,
    };

    memcpy(l.cell[0], stages[0].tasks.cell, sizeof l.cell[0]);
    memcpy(l.cell[stage_count - 1], merge->tasks.cell, sizeof l.cell[0]);
    for (unsigned i = 0; i < l.rank; i++)
        l.cut[i] = size_min(l.cell[0][i], l.shape[i]) >= size_min(merge->tasks.cell[i], l.shape[i]);
    for (unsigned level = 1; level + 1 < stage_count; level++) {
        for (unsigned i = 0; i < l.rank; i++)
            l.cell[level][i] = l.cut[i] ? merge->tasks.cell[i] : stages[0].tasks.cell[i];
        if (bytes_of(&l, level) > (double)room_bytes[level])
            return false;
    }
    settle(&l);
    for (unsigned level = 1; level < stage_count; level++) {
        stages[level - 1].parts.rank = l.rank;
        memcpy(stages[level - 1].parts.shape, l.shape, sizeof stages[level - 1].parts.shape);
        bucket_cell(&l, level, stages[level - 1].parts.cell);
        if (level + 1 == stage_count)
            break;
        memcpy(stages[level].tasks.cell, l.cell[level], sizeof l.cell[level]);
        for (unsigned i = 0; i < l.rank; i++)
            stages[level].walk.group[i] = l.cut[i] ? 1 : WALK_ALL;
    }
    stages[stage_count - 2].parts_walk = merge->walk;
    return true;
}
