/* arrange_direct.c - one stage from chunks to chunks: boxes of whole target chunks, and how often the source chunks under
 * them are decoded.
 */
#include "planner/arrange.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"

/* The axis along which ranges of an uncompressed chunk are contiguous: the first in stored order that the chunk is
 * longer than one element on. */
static unsigned range_axis(const struct array_meta *m)
{
    for (unsigned i = 0; i < m->chunks.rank; i++)
        if (m->chunks.cell[m->codecs.order[i]] > 1)
            return m->codecs.order[i];
    return 0;
}

/* How much of the source is decoded (read, for raw chunks) per byte of it. */
static double decode_factor(const struct basis *b, const uint64_t *box, uint64_t *piece_raw_bytes)
{
    const struct grid *g = &b->source->chunks;
    double touches = grid_overlaps(g->rank, g->shape, g->cell, box), bytes, row_bytes;
    unsigned axis = range_axis(b->source);
    uint64_t span;

    if (!b->source_raw || b->source_chunk_bytes <= RAW_PIECE_BYTES_LEAST)
        return touches / (double)b->source_chunks;
    row_bytes = (double)b->source_chunk_bytes / (double)g->cell[axis];
    span = (uint64_t)((double)size_min(size_min(g->cell[axis], box[axis]), g->shape[axis]) * row_bytes);
    *piece_raw_bytes = piece_raw_bytes_for(b->source, span / 4);
    bytes = touches / (double)axis_overlaps(g->shape[axis], g->cell[axis], box[axis]) *
                (double)g->shape[axis] * row_bytes +
            touches * (double)(span < b->source_chunk_bytes ? *piece_raw_bytes : 0);
    bytes = fmin(bytes, touches * (double)b->source_chunk_bytes);
    return fmax(1, bytes / ((double)b->source_chunks * (double)b->source_chunk_bytes));
}

/* Box shapes for chunks that are read whole, and for ranges of raw chunks, where cutting along the range axis is
 * nearly free. The better of the two. */
static bool direct_box(const struct basis *b, uint64_t room, uint64_t *box, double *factor, uint64_t *piece_raw_bytes)
{
    const struct grid *source = &b->source->chunks, *target = &b->target->chunks;
    uint64_t ranged[RANK_MAX], ranges[RANK_MAX], ranged_piece = *piece_raw_bytes;
    unsigned axis = range_axis(b->source);
    double ranged_factor;

    if (!box_best(target, TILE_WHOLE, b->target->dtype.item_bytes, source->cell, room, box))
        return false;
    *factor = decode_factor(b, box, piece_raw_bytes);
    if (!b->source_raw || source->rank == 0)
        return true;
    memcpy(ranges, source->cell, sizeof ranges);
    ranges[axis] = size_max(1, size_min(source->cell[axis], RAW_PIECE_BYTES_LEAST * source->cell[axis] /
                                                            size_max(1, b->source_chunk_bytes)));
    if (!box_best(target, TILE_WHOLE, b->target->dtype.item_bytes, ranges, room, ranged))
        return true;
    ranged_factor = decode_factor(b, ranged, &ranged_piece);
    if (ranged_factor < *factor) {
        *factor = ranged_factor;
        *piece_raw_bytes = ranged_piece;
        memcpy(box, ranged, target->rank * sizeof *box);
    }
    return true;
}

bool arrange_direct(const struct basis *b, const struct setting *set, uint64_t memory_bytes,
                    struct arrangement *a)
{
    struct stage *s = &a->stages[0];
    uint64_t pool_bytes, room, piece_raw_bytes;

    if (!pool_room(KIND_DIRECT, b, set, memory_bytes, a, &pool_bytes))
        return false;
    a->stage_count = 1;
    a->decode_factor = 1;
    stage_begin(s, "direct", b, set);
    needs_from_chunks(s, b, set, pool_bytes);
    needs_to_chunks(s, b, set, pool_bytes);
    room = room_for_tile(s, pool_bytes);
    memcpy(s->tasks.cell, b->target->chunks.cell, sizeof s->tasks.cell);
    if (!array_is_trivial(b)) {
        piece_raw_bytes = s->piece_raw_bytes;
        if (!direct_box(b, room, s->tasks.cell, &a->decode_factor, &piece_raw_bytes))
            return false;
        s->piece_raw_bytes = piece_raw_bytes;
        s->memory.piece_bytes_max = piece_bytes_max_for(b->source, &b->decode, b->census->encoded_bytes_max,
                                                        piece_raw_bytes);
        s->memory.reads_bytes = size_max(s->memory.reads_bytes, s->memory.piece_bytes_max);
    }
    s->memory.tile_bytes = tile_bytes_max(TILE_WHOLE, b->target->dtype.item_bytes, &s->parts, &s->tasks);
    return arrangement_end(a, b, memory_bytes);
}
