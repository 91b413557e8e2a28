/* arrange_direct.c - one stage from chunks to chunks.
 *
 *     box of whole target chunks                 and how often the source chunks under it are decoded
 *     slice of target chunks too big to be held  the same
 *     slice of source chunks too big to be held  of whole target chunks, or of the same target chunks
 */
#include "planner/arrange.h"

#include <string.h>

enum { ROUNDS_MAX = 3 };

/* What one task holds of an uncompressed chunk: pieces of a quarter of it waste little at its ends. */
static uint64_t raw_piece_bytes(const struct basis *b, const uint64_t *box)
{
    const struct grid *g = &b->source->chunks;
    uint64_t bytes = b->source->dtype.item_bytes;

    for (unsigned i = g->rank; i-- > 0; ) {
        unsigned axis = b->source->codecs.order[i];
        uint64_t length = size_min(size_min(g->cell[axis], box[axis]), g->shape[axis]);

        bytes = size_mul_sat(bytes, length);
        if (length < g->cell[axis])
            break;
    }
    return piece_raw_bytes_for(b->source, bytes / 4);
}

/* Pieces as the boxes want them; gives what is decoded of the source per byte of it. */
static double decode_factor(const struct basis *b, struct stage *s)
{
    if (b->source_raw && b->source_chunk_bytes > RAW_PIECE_BYTES_LEAST)
        s->piece_raw_bytes = raw_piece_bytes(b, s->tasks.cell);
    return source_decodes(b, s).factor;
}

/* Box shapes for chunks that are read whole, and for ranges of chunks, where cutting along the axis that is stored first
 * is nearly free. The better of the two. */
static bool box_of_units(const struct basis *b, const struct setting *set, const struct side *side, uint64_t room,
                         struct stage *s)
{
    uint32_t item_bytes = b->target->dtype.item_bytes;
    struct stage ranged = *s;
    struct side pieces;
    double factor;

    if (!box_best(&side->unit, side->layout, item_bytes, b->source->chunks.cell, room, s->tasks.cell))
        return false;
    factor = decode_factor(b, s);
    if (!b->source_raw && set->forms.source != SOURCE_RANGED)
        return true;
    pieces_of(b->source, b->source_raw ? RAW_PIECE_BYTES_LEAST : s->piece_raw_bytes, &pieces);
    if (box_best(&side->unit, side->layout, item_bytes, pieces.unit.cell, room, ranged.tasks.cell) &&
        decode_factor(b, &ranged) < factor)
        *s = ranged;
    return true;
}

/* One chunk is one chunk: the same slices of both. */
static bool same_chunks(const struct basis *b)
{
    const struct array_meta *s = b->source, *t = b->target;

    for (unsigned i = 0; i < s->chunks.rank; i++)
        if (s->chunks.cell[i] != t->chunks.cell[i] || s->codecs.order[i] != t->codecs.order[i])
            return false;
    return true;
}

/* The slices of a direct plan, where there are any. */
static bool direct_slices(const struct basis *b, const struct forms *forms, uint64_t room, struct side *out)
{
    if (forms->source != SOURCE_STREAMED || forms->target == TARGET_SLICED)
        return (forms->source != SOURCE_STREAMED || same_chunks(b)) && target_side(b, forms->target, room, out);
    return forms->target == TARGET_WHOLE && slices_of(b->source, TILE_CLIPPED, b->target->chunks.cell, room, out);
}

/* Tasks for the room given. */
static bool direct_box(const struct basis *b, const struct setting *set, uint64_t room, struct arrangement *a)
{
    struct stage *s = &a->stages[0];
    struct side side;

    if (array_is_trivial(b)) {
        memcpy(s->tasks.cell, b->target->chunks.cell, sizeof s->tasks.cell);
        return true;
    }
    if (!direct_slices(b, &set->forms, room, &side))
        return false;
    if (set->forms.source != SOURCE_STREAMED && !side.fixed)
        return box_of_units(b, set, &side, room, s);
    memcpy(s->tasks.cell, side.unit.cell, sizeof s->tasks.cell);
    s->walk = side.walk;
    if (set->forms.source != SOURCE_STREAMED)
        decode_factor(b, s);
    return true;
}

bool arrange_direct(const struct basis *b, const struct setting *set, uint64_t memory_bytes,
                    struct arrangement *a)
{
    struct stage *s = &a->stages[0];
    uint64_t pool_bytes, room;

    if (!one_stage(KIND_DIRECT, b, set, memory_bytes, a, &pool_bytes))
        return false;
    room = room_for_tile(s, pool_bytes);
    /* Chunks in a tile take a little more than their bytes: slices that do not fit at once fit a little shorter. */
    for (unsigned round = 0; ; round++) {
        if (!direct_box(b, set, room, a))
            return false;
        if (s->sink == TO_SLICES)
            s->parts = s->tasks;
        if (b->source_raw) {
            s->memory.piece_bytes_max = piece_bytes_max_for(b->source, &b->decode, b->census->encoded_bytes_max,
                                                            s->piece_raw_bytes);
            s->memory.reads_bytes = size_max(s->memory.reads_bytes, s->memory.piece_bytes_max);
        }
        s->memory.tile_bytes = tile_bytes_max(s->sink == TO_RANGES ? TILE_CLIPPED : TILE_WHOLE,
                                              b->target->dtype.item_bytes, &s->parts, &s->tasks);
        if (stage_pool_bytes(s) <= pool_bytes || round == ROUNDS_MAX || !s->memory.tile_bytes)
            break;
        room -= size_min(room, s->memory.tile_bytes - size_min(s->memory.tile_bytes, room_for_tile(s, pool_bytes)));
    }
    return arrangement_end(a, b, memory_bytes);
}
