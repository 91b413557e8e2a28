/* arrange_ranged.c - one stage from boxes of the source to runs of uncompressed target chunks: everything is read and
 * decoded once, there is no scratch, and a target chunk is written to by several tasks.
 */
#include "planner/arrange.h"

#include <string.h>

/* Shorter runs are better gathered in scratch. */
#define RUN_BYTES_LEAST (64.0 * 1024)

/* Boxes that cut few target chunks; or those that cut them along the axis that is stored first, if runs are longer. */
static bool ranged_box(const struct basis *b, const struct side *side, uint64_t room, struct stage *s)
{
    uint32_t item_bytes = b->source->dtype.item_bytes;
    uint64_t box[RANK_MAX];
    struct side pieces;
    double run_bytes;

    if (side->fixed) {
        memcpy(s->tasks.cell, side->unit.cell, sizeof s->tasks.cell);
        return true;
    }
    if (!box_best(&side->unit, side->layout, item_bytes, b->target->chunks.cell, room, s->tasks.cell))
        return false;
    run_bytes = target_run_bytes(b->target, s);
    pieces_of(b->target, RAW_PIECE_BYTES, &pieces);
    memcpy(box, s->tasks.cell, sizeof box);
    if (box_best(&side->unit, side->layout, item_bytes, pieces.unit.cell, room, s->tasks.cell) &&
        target_run_bytes(b->target, s) > run_bytes)
        return true;
    memcpy(s->tasks.cell, box, sizeof box);
    return true;
}

bool arrange_ranged(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a)
{
    struct stage *s = &a->stages[0];
    uint64_t pool_bytes, room;
    struct side side;

    if (array_is_trivial(b) || !one_stage(KIND_RANGED_WRITE, b, set, memory_bytes, a, &pool_bytes))
        return false;
    room = room_for_tile(s, pool_bytes);
    if (!source_side(b, set->forms.source, room, &side) || !ranged_box(b, &side, room, s))
        return false;
    s->walk = side.walk;
    if (target_run_bytes(b->target, s) < RUN_BYTES_LEAST)
        return false;
    s->memory.tile_bytes = tile_bytes_max(TILE_CLIPPED, b->source->dtype.item_bytes, &s->parts, &s->tasks);
    return arrangement_end(a, b, memory_bytes);
}
