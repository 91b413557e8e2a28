/* arrange_carry.c - direct, but chunks on the border between one box and the next along one axis stay decoded:
 *
 *     source chunks  |----|----|----|----|----|
 *     boxes          |---------|---------|---- ...    what the third chunk has for the second box is carried over
 *
 * Along that axis everything is decoded once. What is carried is a cross-section of the box, as thick as the part of
 * a chunk that hangs over; so the other axes are made long first, and this one takes what is left.
 */
#include "planner/arrange.h"

#include <math.h>
#include <string.h>

enum { ROUNDS_MAX = 4 };

/* Boxes that carry along `axis`, in so much room for tile and carry. */
static bool carry_box(const struct basis *b, unsigned axis, uint64_t room, struct stage *s)
{
    const struct grid *source = &b->source->chunks;
    uint32_t item_bytes = b->source->dtype.item_bytes;
    uint64_t chunk = source->cell[axis], shape = source->shape[axis], other[RANK_MAX], length, count;
    struct grid unit = b->target->chunks;
    double share;

    length = size_mul_sat(size_div_up(chunk, unit.cell[axis]), unit.cell[axis]);
    if (length >= shape)
        return false;
    memcpy(other, source->cell, sizeof other);
    unit.cell[axis] = unit.shape[axis] = other[axis] = length;
    share = (double)length / (double)(length + chunk);
    if (!box_best(&unit, TILE_WHOLE, item_bytes, other, (uint64_t)((double)room * share), s->tasks.cell))
        return false;
    s->tasks.cell[axis] = length;
    s->memory.carry_bytes = stage_carry_bytes(source, &s->tasks, axis, item_bytes);
    s->memory.tile_bytes = tile_bytes_max(TILE_WHOLE, item_bytes, &s->parts, &s->tasks);
    if (s->memory.carry_bytes >= room)
        return true;
    /* At least two boxes, and a border between them that cuts a chunk: else there is nothing to carry, and a plan that
     * fits in some memory would not fit in more. */
    count = size_max(1, (room - s->memory.carry_bytes) / size_max(1, s->memory.tile_bytes));
    count = size_min(count, size_div_up(shape, length) - 1);
    count = size_div_up(shape, size_mul_sat(size_div_up(shape, size_mul_sat(length, count)), length));
    if (count > 1 && length * count % chunk == 0)
        count--;
    s->tasks.cell[axis] = length * count;
    s->memory.carry_bytes = stage_carry_bytes(source, &s->tasks, axis, item_bytes);
    s->memory.tile_bytes = tile_bytes_max(TILE_WHOLE, item_bytes, &s->parts, &s->tasks);
    return true;
}

static bool carry_along(const struct basis *b, unsigned axis, uint64_t pool_bytes, struct stage *s)
{
    uint64_t room = room_for_tile(s, pool_bytes);

    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (!carry_box(b, axis, room, s))
            return false;
        if (stage_pool_bytes(s) <= pool_bytes)
            break;
        room -= size_min(room, stage_pool_bytes(s) - pool_bytes);
    }
    s->carries = s->memory.carry_bytes > 0;
    s->carry_axis = axis;
    s->walk.group[axis] = WALK_ALL;
    return s->carries && stage_pool_bytes(s) <= pool_bytes;
}

bool arrange_carry(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a)
{
    struct stage bare;
    uint64_t pool_bytes;
    double least = INFINITY;

    /* Of uncompressed chunks the next box reads just its part. */
    if (array_is_trivial(b) || b->source_raw || !one_stage(KIND_CARRY, b, set, memory_bytes, a, &pool_bytes))
        return false;
    bare = a->stages[0];
    for (unsigned axis = 0; axis < b->source->chunks.rank; axis++) {
        struct stage s = bare;
        double factor;

        if (b->target->chunks.cell[axis] % b->source->chunks.cell[axis] == 0 ||
            !carry_along(b, axis, pool_bytes, &s))
            continue;
        factor = source_decodes(b, &s).factor;
        if (factor >= least)
            continue;
        a->stages[0] = s;
        least = factor;
    }
    return isfinite(least) && arrangement_end(a, b, memory_bytes);
}
