/* sides.c - what boxes on one side of a plan can be: whole chunks, pieces of them in any order, or slices in stored
 * order.
 *
 * In stored order a chunk is rows within rows. Slices cut it along the first stored axis on which a row fits:
 *
 *     chunk (2, 6, 100), rows of 100 that fit in threes:   slices (1, 3, 100)
 *
 *     |- - -|- - -|      the first and the second slice, then
 *     |- - -|- - -|      the third and the fourth, then the next chunk
 *
 * Where the axes before that one are one element long, chunks above one another follow on from one another, and slices
 * may be of any length; so where a chunk has all of that axis. Else the length must divide the chunk's.
 */
#include "planner/planner.h"

#include <string.h>

#include "engine/base/size.h"

/* A piece of a chunk that is read or written at once. */
#define PIECE_BYTES_LEAST (64 * KIB)
#define PIECE_BYTES_MOST MIB
/* Slices shorter than that, of chunks that are longer, are nothing but tasks. */
#define SLICE_BYTES_LEAST (4 * KIB)
/* Smaller chunks fit into any memory; and of these, more than a sixteenth of the memory is too much. */
#define PARTED_CHUNK_BYTES_LEAST (2 * MIB)
enum { PARTED_MEMORY_SHARE = 16 };
/* Of lengths beyond four thousand millions not all divisors are found. */
enum { DIVISORS_TRIED = 65536 };

void stored_init(struct stored *s, const struct array_meta *m, enum tile_layout layout)
{
    uint64_t bytes = m->dtype.item_bytes;

    s->rank = m->chunks.rank;
    for (unsigned i = s->rank; i-- > 0; ) {
        unsigned axis = s->axis[i] = m->codecs.order[i];

        s->length[i] = m->chunks.cell[axis];
        s->row_bytes[i] = bytes;
        bytes = size_mul_sat(bytes, layout == TILE_WHOLE ? s->length[i] : size_min(s->length[i], m->chunks.shape[axis]));
    }
}

/* The largest divisor of `n` that is at most `most` and a multiple of `step`; 0: none. */
static uint64_t divisor_at_most(uint64_t n, uint64_t most, uint64_t step)
{
    uint64_t best = 0;

    for (uint64_t i = 1; i <= n / i && i <= DIVISORS_TRIED; i++) {
        if (n % i)
            continue;
        if (i <= most && i > best && i % step == 0)
            best = i;
        if (n / i <= most && n / i > best && (n / i) % step == 0)
            best = n / i;
    }
    return best;
}

static bool is_whole(uint64_t length, uint64_t shape, uint64_t step) { return length % step == 0 || length >= shape; }

/* The cells of a chunk follow one another in stored order. */
static void walk_in_stored_order(const struct stored *s, struct walk *w)
{
    w->ordered = true;
    for (unsigned i = 0; i < s->rank; i++)
        w->order[i] = (uint8_t)s->axis[i];
}

bool slices_of(const struct array_meta *m, enum tile_layout layout, const uint64_t *step, uint64_t bytes_max,
               struct side *out)
{
    const struct grid *g = &m->chunks;
    struct stored s;
    bool straddles = true;
    unsigned cut = 0, axis;
    uint64_t rows, shape, unit;

    stored_init(&s, m, layout);
    for (; cut < s.rank && s.row_bytes[cut] > bytes_max; cut++)
        straddles = straddles && s.length[cut] == 1;
    if (cut == s.rank)
        return false;
    axis = s.axis[cut];
    shape = g->shape[axis];
    unit = step ? step[axis] : 1;
    rows = bytes_max / s.row_bytes[cut];
    straddles = straddles || s.length[cut] >= shape;
    *out = (struct side){ .unit = *g, .layout = layout, .fixed = true };
    walk_in_stored_order(&s, &out->walk);
    for (unsigned i = 0; i < cut; i++) {
        out->unit.cell[s.axis[i]] = 1;
        out->walk.group[s.axis[i]] = s.length[i];
    }
    if (straddles) {
        rows = rows >= shape ? shape : rows / unit * unit;
        if (rows == 0)
            return false;
        if (rows < shape)           /* alike, so that the last is no sliver */
            rows = size_div_up(size_div_up(shape, size_div_up(shape, rows)), unit) * unit;
        out->walk.group[axis] = WALK_ALL;
    } else {
        rows = divisor_at_most(s.length[cut], rows, unit);
        if (rows == 0 || rows * s.row_bytes[cut] < size_min(SLICE_BYTES_LEAST, s.length[cut] * s.row_bytes[cut]))
            return false;
        out->walk.group[axis] = s.length[cut] / rows;
    }
    out->unit.cell[axis] = rows;
    for (unsigned i = 0; step && i < g->rank; i++)
        if (!is_whole(out->unit.cell[i], g->shape[i], step[i]))
            return false;
    return true;
}

void pieces_of(const struct array_meta *m, uint64_t bytes_wanted, struct side *out)
{
    struct stored s;
    unsigned cut = 0;
    uint64_t rows, most;

    stored_init(&s, m, TILE_WHOLE);
    *out = (struct side){ .unit = m->chunks, .layout = TILE_CLIPPED };
    if (s.rank == 0)
        return;
    while (cut + 1 < s.rank && s.row_bytes[cut] > bytes_wanted)
        out->unit.cell[s.axis[cut++]] = 1;
    most = size_min(s.length[cut], size_max(1, bytes_wanted / s.row_bytes[cut]));
    rows = divisor_at_most(s.length[cut], most, 1);
    out->aligned = rows * s.row_bytes[cut] >= size_min(PIECE_BYTES_LEAST, s.length[cut] * s.row_bytes[cut]);
    out->unit.cell[s.axis[cut]] = out->aligned ? rows : most;
}

/* What one unit is in its chunk. */
static uint64_t unit_bytes(const struct side *side, uint32_t item_bytes)
{
    return size_mul_sat(shape_elements(side->unit.rank, side->unit.cell), item_bytes);
}

bool source_side(const struct basis *b, enum source_form form, uint64_t bytes_max, struct side *out)
{
    if (form == SOURCE_STREAMED)
        return slices_of(b->source, TILE_CLIPPED, NULL, bytes_max, out);
    if (form == SOURCE_RANGED) {
        pieces_of(b->source, b->range_bytes, out);
        if (!b->source_raw)
            out->aligned = unit_bytes(out, b->source->dtype.item_bytes) % b->range_bytes == 0;
        return true;
    }
    *out = (struct side){ .unit = b->source->chunks, .layout = TILE_CLIPPED, .aligned = true };
    return true;
}

bool target_side(const struct basis *b, enum target_form form, uint64_t bytes_max, struct side *out)
{
    if (form == TARGET_SLICED)
        return slices_of(b->target, TILE_WHOLE, NULL, bytes_max, out);
    if (form == TARGET_RANGED) {
        pieces_of(b->target, PIECE_BYTES_MOST, out);
        return true;
    }
    *out = (struct side){ .unit = b->target->chunks, .layout = TILE_WHOLE, .aligned = true };
    return true;
}

/* ---- forms ---- */

static bool is_parted(uint64_t chunk_bytes, uint64_t memory_bytes)
{
    return chunk_bytes >= PARTED_CHUNK_BYTES_LEAST && chunk_bytes > memory_bytes / PARTED_MEMORY_SHARE;
}

/* Where whole chunks do not fit, or where ranges of them may be all that a box needs. */
static bool source_in_parts(enum plan_kind kind, const struct basis *b, uint64_t memory_bytes, enum source_form *form)
{
    bool parted = is_parted(b->source_chunk_bytes, memory_bytes);

    *form = b->range_bytes ? SOURCE_RANGED : SOURCE_STREAMED;
    if (*form == SOURCE_STREAMED)
        return parted && !b->source_stream_cannot;
    return parted || (kind == KIND_DIRECT && !b->source_raw && b->source_chunk_bytes / 4 >= b->range_bytes);
}

static bool target_in_parts(const struct basis *b, uint64_t memory_bytes, enum target_form *form)
{
    *form = b->target_raw ? TARGET_RANGED : TARGET_SLICED;
    return is_parted(b->target_chunk_bytes, memory_bytes) && (b->target_raw || b->target_appends);
}

unsigned forms_offered(enum plan_kind kind, const struct basis *b, uint64_t memory_bytes, struct forms *forms)
{
    enum source_form source[2] = { SOURCE_WHOLE };
    enum target_form target[2] = { TARGET_WHOLE };
    unsigned sources = 1, targets = 1, count = 0;

    if (kind != KIND_CARRY) {
        sources += source_in_parts(kind, b, memory_bytes, &source[1]);
        targets += target_in_parts(b, memory_bytes, &target[1]);
    }
    if (kind == KIND_RANGED_WRITE) {
        target[0] = TARGET_RANGED;
        targets = b->target_raw;
    }
    for (unsigned i = 0; i < sources; i++)
        for (unsigned j = 0; j < targets; j++)
            forms[count++] = (struct forms){ source[i], target[j] };
    return count;
}
