/* decodes.c - how much of the source a stage decodes (reads, where it is not compressed), exactly where a closed form can.
 *
 *   whole chunks    as often as boxes touch them; along the axis of a carry once
 *   a stream        once
 *   ranges          the pieces that a box touches. Seen from a cut axis, what a box needs is runs of rows, one for each
 *                   place on the axes before it, of all that follows:
 *
 *                       pieces   |------|------|------|------|
 *                       run          #############               whole pieces are read: two ends within a piece
 *
 *                   Which axis to cut at is free, so the least of them counts. Where runs begin and end with pieces, the
 *                   count is exact; elsewhere each end costs half a piece on the mean.
 */
#include "planner/planner.h"

#include <math.h>

#include "engine/base/size.h"

/* Chunks in stored order, cut by boxes; a piece is so many bytes. */
struct runs {
    const struct grid *chunks;
    const uint64_t *box;
    const struct stored *stored;
    uint64_t piece_bytes;
};

static uint64_t overlaps_at(const struct runs *r, unsigned i)
{
    unsigned axis = r->stored->axis[i];

    return axis_overlaps(r->chunks->shape[axis], r->chunks->cell[axis], r->box[axis]);
}

static uint64_t chunks_at(const struct runs *r, unsigned i) { return grid_axis_cells(r->chunks, r->stored->axis[i]); }

/* Rows of the last chunk at cut axis `i` that exist; 0: all do. */
static uint64_t ragged_rows(const struct runs *r, unsigned i)
{
    return r->chunks->shape[r->stored->axis[i]] % r->stored->length[i];
}

/* Does each place on the axes before the cut begin with a piece? */
static bool runs_begin_with_pieces(const struct runs *r, unsigned cut)
{
    bool one_place = true;

    for (unsigned i = 0; i < cut; i++)
        one_place = one_place && r->stored->length[i] == 1;
    return one_place || r->stored->row_bytes[cut - 1] % r->piece_bytes == 0;
}

/* Do borders between boxes fall between pieces? In a row of chunks they fall on multiples of the divisor. */
static bool borders_are_aligned(const struct runs *r, unsigned cut)
{
    uint64_t box = r->box[r->stored->axis[cut]];
    uint64_t rows = chunks_at(r, cut) == 1 ? box : size_greatest_divisor(box, r->stored->length[cut]);

    return overlaps_at(r, cut) == chunks_at(r, cut) || size_mul_sat(rows, r->stored->row_bytes[cut]) % r->piece_bytes == 0;
}

/* Is there something for the box in each piece of its rows? */
static bool rows_are_needed(const struct runs *r, unsigned cut)
{
    if (r->piece_bytes % r->stored->row_bytes[cut] == 0)
        return true;
    for (unsigned i = cut + 1; i < r->stored->rank; i++)
        if (overlaps_at(r, i) != chunks_at(r, i) || ragged_rows(r, i))
            return false;
    return true;
}

/* Of one run, the last: up to the end of the piece or of the chunk. */
static double ragged_excess(const struct runs *r, unsigned cut, bool begins)
{
    uint64_t row_bytes = r->stored->row_bytes[cut], run_bytes = ragged_rows(r, cut) * row_bytes, bytes;

    if (run_bytes == 0)
        return 0;
    if (!begins)
        return (double)r->piece_bytes / 2;
    bytes = size_mul_sat(size_div_up(run_bytes, r->piece_bytes), r->piece_bytes);
    return (double)(size_min(bytes, r->stored->length[cut] * row_bytes) - run_bytes);
}

static double bytes_of_runs(const struct basis *b, const struct runs *r, unsigned cut, bool *exact)
{
    bool begins = runs_begin_with_pieces(r, cut), aligned = borders_are_aligned(r, cut);
    double bytes = b->source->dtype.item_bytes, places = 1, ends;

    for (unsigned i = 0; i < r->stored->rank; i++) {
        double rows = (double)r->chunks->shape[r->stored->axis[i]];

        bytes *= i <= cut ? rows : (double)overlaps_at(r, i) * (double)r->stored->length[i];
        places *= i < cut ? rows : i > cut ? (double)overlaps_at(r, i) : 1;
    }
    *exact = begins && aligned && rows_are_needed(r, cut);
    if (begins)
        ends = aligned ? 0 : 2 * (double)(overlaps_at(r, cut) - chunks_at(r, cut));
    else
        ends = 2 * (double)overlaps_at(r, cut);
    return bytes + places * (ends * (double)r->piece_bytes / 2 + ragged_excess(r, cut, begins));
}

static double whole_factor(const struct basis *b, const uint64_t *box)
{
    const struct grid *g = &b->source->chunks;

    return grid_overlaps(g->rank, g->shape, g->cell, box) / (double)b->source_chunks;
}

static double carried_factor(const struct basis *b, const struct stage *s)
{
    const struct grid *g = &b->source->chunks;
    unsigned axis = s->carry_axis;

    return whole_factor(b, s->tasks.cell) * (double)grid_axis_cells(g, axis) /
           (double)axis_overlaps(g->shape[axis], g->cell[axis], s->tasks.cell[axis]);
}

static struct decodes ranged(const struct basis *b, const uint64_t *box, uint64_t piece_bytes)
{
    const struct grid *g = &b->source->chunks;
    double all = (double)b->source_chunks * (double)b->source_chunk_bytes, least = whole_factor(b, box) * all;
    struct stored stored;
    struct runs runs = { g, box, &stored, piece_bytes };

    stored_init(&stored, b->source, TILE_WHOLE);
    for (unsigned cut = 0; cut < stored.rank; cut++) {
        bool exact;
        double bytes = bytes_of_runs(b, &runs, cut, &exact);

        if (exact)
            return (struct decodes){ bytes / all, false };
        least = fmin(least, bytes);
    }
    return (struct decodes){ least / all, true };
}

struct decodes source_decodes(const struct basis *b, const struct stage *s)
{
    if (b->source_chunks == 0 || s->source == FROM_STREAM)
        return (struct decodes){ 1, false };
    if (s->piece_raw_bytes > 0 && s->piece_raw_bytes < b->source_chunk_bytes)
        return ranged(b, s->tasks.cell, s->piece_raw_bytes);
    return (struct decodes){ s->carries ? carried_factor(b, s) : whole_factor(b, s->tasks.cell), false };
}
