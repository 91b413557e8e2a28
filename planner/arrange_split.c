/* arrange_split.c - slabs to segments, and buckets from them.
 *
 * Indexes depend on the boxes and the boxes on what indexes leave, so that is settled in a few rounds, in which the
 * room for tiles only shrinks.
 */
#include "planner/arrange.h"

#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/scratch.h"

/* The engine's records of a segment and of a window into one, beside the pool; counted with the indexes. */
#define SEGMENT_BYTES 192
#define WINDOW_BYTES 64
/* "extents under 4 KiB": too many seeks, unless there are few of them at all. */
#define EXTENT_BYTES_LEAST 4096.0
#define EXTENTS_FEW 100000.0

enum { ARRANGE_ROUNDS_MAX = 8 };

double extent_disk_bytes(const struct basis *b, double extents)
{
    return extents > 0 ? (double)b->array_bytes / extents / b->spill_ratio : 0;
}

bool extents_too_small(const struct basis *b, double extents)
{
    return extents > EXTENTS_FEW && extent_disk_bytes(b, extents) < EXTENT_BYTES_LEAST;
}

/* The index of one segment; and the windows into all the segments that a bucket touches. */
static void index_needs(const struct basis *b, const struct setting *set, struct stage *split, struct stage *merge)
{
    uint32_t item_bytes = b->source->dtype.item_bytes;
    uint64_t segments_bytes = size_mul_sat(grid_cells(&split->tasks), SEGMENT_BYTES);
    uint64_t windows_bytes = size_mul_sat(cells_touched_max(&merge->tasks, &split->tasks), WINDOW_BYTES);

    split->memory.index_bytes = size_add_sat(split_index_bytes(&split->tasks, &merge->tasks, item_bytes,
                                                               set->block_bytes), segments_bytes);
    merge->memory.index_bytes = size_add_sat(merge_index_bytes(&split->tasks, &merge->tasks, item_bytes,
                                                               set->block_bytes),
                                             size_add_sat(segments_bytes, windows_bytes));
    split->memory.index_bytes = size_align_up(split->memory.index_bytes, IO_ALIGN);
    merge->memory.index_bytes = size_align_up(merge->memory.index_bytes, IO_ALIGN);
}

/* Boxes for the room given; *slab_room and *bucket_room shrink to what the indexes leave. */
static bool split_round(const struct basis *b, const struct setting *set, uint64_t pool_bytes, struct arrangement *a,
                        uint64_t *slab_room, uint64_t *bucket_room, bool *settled)
{
    struct stage *split = &a->stages[0], *merge = &a->stages[1];
    uint32_t item_bytes = b->source->dtype.item_bytes;

    *settled = true;
    if (array_is_trivial(b)) {
        memcpy(split->tasks.cell, b->source->chunks.cell, sizeof split->tasks.cell);
        memcpy(merge->tasks.cell, b->target->chunks.cell, sizeof merge->tasks.cell);
    } else if (!box_pair_best(&b->source->chunks, &b->target->chunks, item_bytes, *slab_room, *bucket_room,
                              split->tasks.cell, merge->tasks.cell)) {
        return false;
    }
    split->parts = merge->tasks;
    index_needs(b, set, split, merge);
    split->memory.tile_bytes = tile_bytes_max(TILE_CLIPPED, item_bytes, &split->parts, &split->tasks);
    merge->memory.tile_bytes = tile_bytes_max(TILE_WHOLE, item_bytes, &merge->parts, &merge->tasks);
    if (stage_pool_bytes(split) > pool_bytes || stage_pool_bytes(merge) > pool_bytes) {
        *slab_room = size_min(*slab_room, room_for_tile(split, pool_bytes));
        *bucket_room = size_min(*bucket_room, room_for_tile(merge, pool_bytes));
        *settled = false;
    }
    return true;
}

bool arrange_split(const struct basis *b, const struct setting *set, uint64_t memory_bytes,
                   struct arrangement *a)
{
    struct stage *split = &a->stages[0], *merge = &a->stages[1];
    uint64_t pool_bytes, slab_room, bucket_room;
    bool settled = false;

    if (!pool_room(KIND_SPLIT, b, set, memory_bytes, a, &pool_bytes))
        return false;
    a->stage_count = 2;
    a->decode_factor = 1;
    stage_begin(split, "split", b, set);
    stage_begin(merge, "merge", b, set);
    needs_from_chunks(split, b, set, pool_bytes);
    needs_to_segments(split, set);
    needs_from_segments(merge, b, set, pool_bytes);
    needs_to_chunks(merge, b, set, pool_bytes);
    slab_room = room_for_tile(split, pool_bytes);
    bucket_room = room_for_tile(merge, pool_bytes);
    for (unsigned round = 0; round < ARRANGE_ROUNDS_MAX && !settled; round++)
        if (!split_round(b, set, pool_bytes, a, &slab_room, &bucket_room, &settled))
            return false;
    if (!settled)
        return false;
    a->extents = grid_overlaps(split->tasks.rank, split->tasks.shape, split->tasks.cell, merge->tasks.cell);
    return !extents_too_small(b, a->extents) && arrangement_end(a, b, memory_bytes);
}
