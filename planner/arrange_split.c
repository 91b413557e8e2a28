/* arrange_split.c - slabs to segments, and buckets from them; with further passes between, where extents would be short.
 *
 *     split   source chunks -> slabs         -> extents of buckets, or of super-buckets (boxes of many buckets)
 *     split   segments      -> boxes within one super-bucket -> extents of smaller buckets        (none, or several)
 *     merge   segments      -> buckets       -> target chunks
 *
 * Indexes depend on the boxes and the boxes on what indexes leave, so that is settled in a few rounds, in which the
 * room for tiles only shrinks.
 */
#include "planner/arrange.h"

#include <math.h>
#include <string.h>

#include "engine/exec/scratch.h"

/* The engine's records of a segment and of a window into one, beside the pool; counted with the indexes. */
#define SEGMENT_BYTES 192
#define WINDOW_BYTES 64
/* "extents under 4 KiB": too many seeks, unless there are few of them at all. */
#define EXTENT_BYTES_LEAST 4096.0
#define EXTENTS_FEW 100000.0
/* Where extents are that long on disk, one more pass gains nothing. */
#define PASS_EXTENT_BYTES_AMPLE (64.0 * 1024)

enum { ARRANGE_ROUNDS_MAX = 10 };

double extent_disk_bytes(const struct basis *b, double extents)
{
    return extents > 0 ? (double)b->array_bytes / extents / b->spill_ratio : 0;
}

static bool extents_too_small(const struct basis *b, double extents)
{
    return extents > EXTENTS_FEW && extent_disk_bytes(b, extents) < EXTENT_BYTES_LEAST;
}

/* The index of one segment, the windows into all that a task touches, and the table of all segments there are. */
static void index_needs(const struct basis *b, struct arrangement *a)
{
    uint32_t item_bytes = b->source->dtype.item_bytes;
    uint64_t block_bytes = a->setting.block_bytes, segments = 0;

    for (unsigned i = 0; i + 1 < a->stage_count; i++)
        segments = size_add_sat(segments, grid_cells(&a->stages[i].tasks));
    for (unsigned i = 0; i < a->stage_count; i++) {
        struct stage *s = &a->stages[i], *before = s - 1;
        uint64_t bytes = stage_index_bytes(s, i > 0 ? before : NULL, item_bytes, block_bytes);

        if (i > 0)
            bytes = size_add_sat(bytes, size_mul_sat(cells_touched_max(&s->tasks, &before->tasks), WINDOW_BYTES));
        bytes = size_add_sat(bytes, size_mul_sat(segments, SEGMENT_BYTES));
        s->memory.index_bytes = size_align_up(bytes, IO_ALIGN);
    }
}

/* Slabs, buckets and what is between them, for the room given. */
static bool split_boxes(const struct basis *b, struct arrangement *a, const uint64_t *room_bytes)
{
    struct stage *split = &a->stages[0], *merge = &a->stages[a->stage_count - 1];
    uint32_t item_bytes = b->source->dtype.item_bytes;
    struct side source, target;

    if (array_is_trivial(b)) {
        memcpy(split->tasks.cell, b->source->chunks.cell, sizeof split->tasks.cell);
        memcpy(merge->tasks.cell, b->target->chunks.cell, sizeof merge->tasks.cell);
        split->parts = merge->tasks;
        return a->stage_count == 2;
    }
    if (!source_side(b, a->setting.forms.source, room_bytes[0], &source) ||
        !target_side(b, a->setting.forms.target, room_bytes[a->stage_count - 1], &target) ||
        !box_pair_best(&source, &target, item_bytes, room_bytes[0], room_bytes[a->stage_count - 1],
                       split->tasks.cell, merge->tasks.cell))
        return false;
    split->walk = source.walk;
    merge->walk = target.walk;
    if (merge->sink == TO_SLICES)
        merge->parts = merge->tasks;
    return pass_boxes(a->stages, a->stage_count, item_bytes, room_bytes);
}

/* room_bytes shrinks to what the indexes leave. */
static bool split_round(const struct basis *b, uint64_t pool_bytes, struct arrangement *a, uint64_t *room_bytes,
                        bool *settled)
{
    uint32_t item_bytes = b->source->dtype.item_bytes;

    if (!split_boxes(b, a, room_bytes))
        return false;
    index_needs(b, a);
    *settled = true;
    for (unsigned i = 0; i < a->stage_count; i++) {
        struct stage *s = &a->stages[i];
        bool whole = s->sink == TO_CHUNKS || s->sink == TO_SLICES;

        s->memory.tile_bytes = tile_bytes_max(whole ? TILE_WHOLE : TILE_CLIPPED, item_bytes, &s->parts, &s->tasks);
        *settled = *settled && stage_pool_bytes(s) <= pool_bytes;
    }
    for (unsigned i = 0; i < a->stage_count && !*settled; i++)
        room_bytes[i] = size_min(room_bytes[i], room_for_tile(&a->stages[i], pool_bytes));
    return true;
}

static bool arrange_stages(const struct basis *b, const struct setting *set, uint64_t memory_bytes,
                           unsigned stage_count, struct arrangement *a)
{
    struct stage *merge = &a->stages[stage_count - 1];
    uint64_t pool_bytes, room_bytes[STAGES_MAX];
    bool settled = false, ok = true;

    if (!pool_room(stage_count > 2 ? KIND_PASSES : KIND_SPLIT, b, set, memory_bytes, a, &pool_bytes))
        return false;
    a->stage_count = stage_count;
    for (unsigned i = 0; i < stage_count; i++) {
        stage_begin(&a->stages[i], i + 1 < stage_count ? "split" : "merge", b, set);
        if (i == 0)
            needs_from_source(&a->stages[i], b, set, pool_bytes);
        else
            needs_from_segments(&a->stages[i], b, set, pool_bytes);
        if (i + 1 < stage_count)
            needs_to_segments(&a->stages[i], set);
    }
    needs_to_target(merge, b, set, pool_bytes);
    for (unsigned i = 0; i < stage_count; i++)
        room_bytes[i] = room_for_tile(&a->stages[i], pool_bytes);
    for (unsigned round = 0; round < ARRANGE_ROUNDS_MAX && ok && !settled; round++)
        ok = split_round(b, pool_bytes, a, room_bytes, &settled);
    if (!ok || !settled)
        return false;
    for (unsigned i = 0; i + 1 < stage_count; i++) {
        const struct stage *s = &a->stages[i];

        a->extents[i] = grid_overlaps(s->tasks.rank, s->tasks.shape, s->tasks.cell, s->parts.cell);
        if (extents_too_small(b, a->extents[i]))
            return false;
    }
    return arrangement_end(a, b, memory_bytes);
}

bool arrange_split(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a)
{
    return arrange_stages(b, set, memory_bytes, 2, a);
}

static double extents_most(const struct arrangement *a)
{
    double most = 0;

    for (unsigned i = 0; i + 1 < a->stage_count; i++)
        most = fmax(most, a->extents[i]);
    return most;
}

/* As few passes as make extents long; the quickest of those tried. */
bool arrange_passes(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a)
{
    struct arrangement tried;
    bool found = false;

    for (unsigned stages = 3; stages <= STAGES_MAX; stages++) {
        if (!arrange_stages(b, set, memory_bytes, stages, &tried))
            continue;
        cost_of(b, &tried);
        if (!found || tried.cost.seconds < a->cost.seconds)
            *a = tried;
        found = true;
        if (extent_disk_bytes(b, extents_most(&tried)) >= PASS_EXTENT_BYTES_AMPLE)
            break;
    }
    return found;
}
