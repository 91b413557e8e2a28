/* needs.c - from a setting (workers, comfort, block) and a budget to stages with box shapes and memory.
 *
 * Everything a plan can hold at once is added up here, and nowhere else:
 *
 *     budget >= program + tables + metadata + workers * (stack, ring)             outside the pool
 *             + codec libraries of the hungriest stage
 *             + pool: segments kept in memory
 *                     + the hungriest stage's tile + reads + index + workers * (scratch + write buffers)
 *
 * A stage first gets all but its tile by the setting's comfort; the tile takes what is left, because extents grow
 * with the product of slab and bucket. Indexes depend on the boxes and the boxes on what indexes leave, so that
 * is settled in a few rounds, in which the room for tiles only shrinks.
 */
#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/scratch.h"

/* What the process holds before it plans anything: text, libraries, heap, the pipeline. Measured: 4 to 5 MiB. */
#define PROGRAM_BYTES (8 * MIB)
/* The plan, the report, the engine's tables of up to a thousand reads; the lists of a sparse array (256 KiB). */
#define TABLE_BYTES MIB
/* Attributes, in memory: of the source, of the target, and as they are written. Measured: 3.0 to 3.3. */
#define METADATA_COPIES 4
/* Metadata that takes less is among the tables. */
#define METADATA_BYTES_LEAST (64 * KIB)
/* What a worker's stack touches, and its own tables of reads, writes and packed blocks. */
#define WORKER_BYTES (256 * KIB)
#define RAW_PIECE_BYTES MIB
#define RAW_PIECE_BYTES_LEAST (64 * KIB)
#define WRITE_RUN_BYTES MIB
/* The engine's records of a segment and of a window into one, beside the pool; counted with the indexes. */
#define SEGMENT_BYTES 192
#define WINDOW_BYTES 64
/* "extents under 4 KiB": too many seeks, unless there are few of them at all. */
#define EXTENT_BYTES_LEAST 4096.0
#define EXTENTS_FEW 100000.0

enum { ARRANGE_ROUNDS_MAX = 8, READS_IN_FLIGHT = 16, READS_IN_FLIGHT_LEAST = 4 };

/* The share of the pool for encoded pieces, where there is plenty. */
static const double reads_share_max[COMFORTS] = { 0, 0.08, 0.15, 0.30 };

uint64_t program_bytes(void) { return PROGRAM_BYTES; }
uint64_t table_bytes(void) { return TABLE_BYTES; }

uint64_t metadata_bytes(const struct array_meta *m)
{
    uint64_t attributes_bytes = m->attributes ? strlen(m->attributes) : 0;
    uint64_t bytes = size_max(METADATA_COPIES * attributes_bytes, m->file_bytes + 2 * attributes_bytes);

    return bytes > METADATA_BYTES_LEAST ? size_align_up(bytes, IO_ALIGN) : 0;
}

unsigned reads_in_flight_for(enum comfort comfort, enum io_backend backend)
{
    if (comfort == COMFORT_LEAST)
        return READS_IN_FLIGHT_LEAST;
    return backend == IO_THREADS ? READS_IN_FLIGHT / 2 : READS_IN_FLIGHT;
}

uint64_t worker_outside_bytes(enum io_backend backend, unsigned reads_in_flight)
{
    return io_bytes(backend, 2 * reads_in_flight) + WORKER_BYTES;
}

static double ratio_expected(const struct basis *b)
{
    if (b->target_raw)
        return 1;
    return b->source_raw ? 2 : b->source_ratio;
}

/* What chunks are missing, in every box that they alone cover, is not written: they are fill in both arrays. */
static uint64_t chunks_written_max(const struct basis *b, const struct job *job)
{
    if (!b->census->counted || job->output.write_empty_chunks || b->target->fill_undefined ||
        memcmp(b->source->fill, b->target->fill, b->source->dtype.item_bytes) != 0)
        return b->target_chunks;
    return size_min(b->target_chunks, size_mul_sat(b->census->present,
                                                   cells_touched_max(&b->source->chunks, &b->target->chunks)));
}

void basis_init(struct basis *b, const struct array_meta *source, const struct array_meta *target,
                const struct chunk_census *census, unsigned threads, enum io_backend backend, const struct job *job)
{
    uint64_t elements = shape_elements(source->chunks.rank, source->chunks.shape);

    memset(b, 0, sizeof *b);
    b->source = source;
    b->target = target;
    b->census = census;
    b->threads = threads;
    b->backend = backend;
    b->array_bytes = size_mul_sat(elements, source->dtype.item_bytes);
    b->source_chunks = grid_cells(&source->chunks);
    b->target_chunks = grid_cells(&target->chunks);
    b->target_chunks_written = chunks_written_max(b, job);
    b->source_chunk_bytes = array_chunk_bytes(source);
    b->target_chunk_bytes = array_chunk_bytes(target);
    b->metadata_bytes = metadata_bytes(source);
    b->source_raw = codec_chain_is_raw(&source->codecs);
    b->target_raw = codec_chain_is_raw(&target->codecs);
    b->sample = census->codec;
    codec_sample_merge(&b->sample, &job->seen);
    codec_decode_needs(&source->codecs, source->dtype, b->source_chunk_bytes, &b->sample, &b->decode);
    codec_encode_needs(&target->codecs, target->dtype, b->target_chunk_bytes, &b->encode);
    b->source_ratio = 1;
    if (!b->source_raw && census->encoded_bytes_mean)
        b->source_ratio = fmax(1, (double)b->source_chunk_bytes / (double)census->encoded_bytes_mean);
    b->target_ratio = ratio_expected(b);
    b->present_share = 1;
    if (census->counted && census->chunks)
        b->present_share = (double)census->present / (double)census->chunks;
    else if (census->sampled)
        b->present_share = (double)census->sampled_present / (double)census->sampled;
    /* A source that a codec could not shrink will not shrink in scratch either; of a raw one nothing is known. */
    b->spill = job->scratch_codec == SCRATCH_NONE ? SPILL_RAW : SPILL_LZ4;
    if (job->scratch_codec == SCRATCH_AUTO && !b->source_raw && census->encoded_bytes_mean && b->source_ratio < 1.1)
        b->spill = SPILL_RAW;
    b->spill_ratio = b->spill == SPILL_RAW ? 1 : fmin(4, b->source_ratio);
}

/* ---- pieces ---- */

uint64_t piece_raw_bytes_for(const struct array_meta *m, uint64_t span_bytes)
{
    uint64_t chunk_bytes = array_chunk_bytes(m), item_bytes = m->dtype.item_bytes;
    uint64_t piece_bytes = size_max(RAW_PIECE_BYTES_LEAST,
                                    size_min(RAW_PIECE_BYTES, size_align_down(span_bytes, IO_ALIGN)));

    if (!codec_chain_is_raw(&m->codecs))
        return 0;
    return size_min(chunk_bytes, piece_bytes / item_bytes * item_bytes);
}

/* Direct reads begin up to one IO_ALIGN early and end up to one late. */
static uint64_t piece_with_ends(uint64_t bytes)
{
    return size_add_sat(size_align_up(bytes, IO_ALIGN), 2 * IO_ALIGN);
}

uint64_t piece_bytes_max_for(const struct array_meta *m, const struct codec_needs *decode, uint64_t encoded_bytes_max,
                             uint64_t piece_raw_bytes)
{
    if (codec_chain_is_raw(&m->codecs))
        return piece_with_ends(piece_raw_bytes);
    return piece_with_ends(size_max(decode->encoded_bytes_max, encoded_bytes_max));
}

/* ---- one stage without its tile and index ---- */

static uint64_t between(const struct codec_needs *n, enum comfort comfort)
{
    return size_align_up(comfort >= COMFORT_GOOD ? size_max(n->scratch_bytes_least, n->scratch_bytes_useful)
                                                 : n->scratch_bytes_least, IO_ALIGN);
}

static void reads_set(struct stage *s, enum comfort comfort, double ratio, double pieces_bytes, uint64_t pool_bytes)
{
    double share = fmin(reads_share_max[comfort], 1 / (1 + ratio));
    double wanted = fmin(share * (double)pool_bytes, pieces_bytes);

    s->memory.reads_bytes = size_max(s->memory.piece_bytes_max, size_align_up((uint64_t)wanted, IO_ALIGN));
}

static void from_chunks(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    struct stage_memory *m = &s->memory;
    double chunk_bytes = (double)b->source_chunk_bytes / b->source_ratio;

    s->source = FROM_CHUNKS;
    if (s->piece_raw_bytes == 0)
        s->piece_raw_bytes = piece_raw_bytes_for(b->source, RAW_PIECE_BYTES);
    m->piece_bytes_max = piece_bytes_max_for(b->source, &b->decode, b->census->encoded_bytes_max, s->piece_raw_bytes);
    m->decode_scratch_bytes = between(&b->decode, set->comfort);
    m->library_bytes = size_mul_sat(set->workers, b->decode.library_bytes);
    reads_set(s, set->comfort, b->source_ratio, (double)b->source_chunks * (chunk_bytes + 3 * IO_ALIGN), pool_bytes);
}

static void from_segments(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    struct stage_memory *m = &s->memory;
    double on_disk;

    s->source = FROM_SEGMENTS;
    m->piece_bytes_max = piece_with_ends(spill_encoded_bytes_max(set->block_bytes));
    m->decode_scratch_bytes = size_align_up(spill_scratch_bytes(set->block_bytes), IO_ALIGN);
    /* What is kept in memory is not read. */
    on_disk = fmax(0, 1 - (double)set->kept_bytes / (double)kept_bytes_for_all(b, false));
    reads_set(s, set->comfort, b->spill_ratio, on_disk * (2 * (double)b->array_bytes + (double)MIB), pool_bytes);
}

static void to_segments(struct stage *s, const struct setting *set)
{
    struct stage_memory *m = &s->memory;
    uint64_t block_bytes = size_align_up(spill_encoded_bytes_max(set->block_bytes), IO_ALIGN);

    s->sink = TO_SEGMENTS;
    m->encode_scratch_bytes = size_align_up(spill_scratch_bytes(set->block_bytes), IO_ALIGN);
    m->write_bytes = set->comfort >= COMFORT_GOOD ? size_max(WRITE_RUN_BYTES, block_bytes) : block_bytes;
    m->write_slots = set->comfort >= COMFORT_GOOD ? 2 : 1;
}

static void to_chunks(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    struct stage_memory *m = &s->memory;

    s->sink = TO_CHUNKS;
    s->parts = b->target->chunks;
    m->encode_scratch_bytes = between(&b->encode, set->comfort);
    m->library_bytes = size_add_sat(m->library_bytes, size_mul_sat(set->workers, b->encode.library_bytes));
    m->write_bytes = size_align_up(b->encode.encoded_bytes_max, IO_ALIGN);
    /* Raw chunks are written from the tile, but for those that do not begin on a page there. */
    if (b->target_raw && b->target_chunk_bytes >= TILE_PAGED_PART_BYTES)
        m->write_bytes = 0;
    m->write_slots = set->comfort >= COMFORT_GOOD ? 2 : 1;
    /* Small chunks: more of them on their way hide the cost of opening files. */
    if (set->comfort == COMFORT_USEFUL && size_mul_sat(4 * set->workers, m->write_bytes) <= pool_bytes / 16)
        m->write_slots = 4;
}

/* ---- the frame around the stages ---- */

/* Outside bytes and libraries; what is left is the pool. False: nothing is. */
static bool pool_room(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
                      struct arrangement *a, uint64_t *pool_bytes)
{
    unsigned reads = reads_in_flight_for(set->comfort, b->backend);
    uint64_t taken;

    memset(a, 0, sizeof *a);
    a->setting = *set;
    a->outside_bytes = PROGRAM_BYTES + TABLE_BYTES + b->metadata_bytes +
                       set->workers * worker_outside_bytes(b->backend, reads);
    a->library_bytes = size_mul_sat(set->workers, kind == KIND_SPLIT
                                                      ? size_max(b->decode.library_bytes, b->encode.library_bytes)
                                                      : size_add_sat(b->decode.library_bytes,
                                                                     b->encode.library_bytes));
    taken = size_add_sat(size_add_sat(a->outside_bytes, a->library_bytes), set->kept_bytes);
    if (taken >= memory_bytes)
        return false;
    *pool_bytes = size_align_down(memory_bytes - taken, IO_ALIGN);
    return true;
}

static void stage_begin(struct stage *s, const char *name, const struct basis *b, const struct setting *set)
{
    s->name = name;
    s->workers = set->workers;
    s->reads_in_flight = reads_in_flight_for(set->comfort, b->backend);
    s->tasks.rank = s->parts.rank = b->source->chunks.rank;
    memcpy(s->tasks.shape, b->source->chunks.shape, sizeof s->tasks.shape);
    memcpy(s->parts.shape, b->source->chunks.shape, sizeof s->parts.shape);
}

/* Boxes come in steps of whole chunks; what they leave is for reading ahead, up to a quarter of the pool. */
static void spend_rest_on_reads(struct stage *s, const struct basis *b, uint64_t pool_bytes)
{
    uint64_t useful = size_min(pool_bytes / 4, size_add_sat(b->array_bytes, s->memory.piece_bytes_max));
    uint64_t taken = stage_pool_bytes(s);

    if (taken < pool_bytes && s->memory.reads_bytes < useful)
        s->memory.reads_bytes += size_align_down(size_min(pool_bytes - taken, useful - s->memory.reads_bytes), IO_ALIGN);
}

/* Segments may be longer than expected: what the boxes leave is for them first. */
static void keep_more(struct arrangement *a, const struct basis *b, uint64_t room_bytes)
{
    uint64_t useful = size_min(room_bytes, segments_room_bytes(b, a));

    a->setting.kept_bytes = size_max(a->setting.kept_bytes, size_align_down(useful, IO_ALIGN));
}

static bool arrangement_end(struct arrangement *a, const struct basis *b, uint64_t memory_bytes)
{
    uint64_t libraries = 0, rest, stages_bytes = 0;

    for (unsigned i = 0; i < a->stage_count; i++) {
        libraries = size_max(libraries, a->stages[i].memory.library_bytes);
        stages_bytes = size_max(stages_bytes, stage_pool_bytes(&a->stages[i]));
    }
    rest = size_add_sat(a->outside_bytes, libraries);
    rest = size_align_down(memory_bytes - size_min(memory_bytes, rest), IO_ALIGN);
    if (a->setting.kept_bytes)
        keep_more(a, b, rest - size_min(rest, stages_bytes));
    rest -= size_min(rest, a->setting.kept_bytes);
    stages_bytes = 0;
    for (unsigned i = 0; i < a->stage_count; i++) {
        spend_rest_on_reads(&a->stages[i], b, rest);
        stages_bytes = size_max(stages_bytes, stage_pool_bytes(&a->stages[i]));
    }
    a->pool_bytes = size_add_sat(stages_bytes, a->setting.kept_bytes);
    a->library_bytes = libraries;
    a->total_bytes = size_add_sat(size_add_sat(a->outside_bytes, a->library_bytes), a->pool_bytes);
    return a->total_bytes <= memory_bytes;
}

static uint64_t room_for_tile(const struct stage *s, uint64_t pool_bytes)
{
    struct stage bare = *s;
    uint64_t others;

    bare.memory.tile_bytes = 0;
    others = stage_pool_bytes(&bare);
    return others >= pool_bytes ? 0 : pool_bytes - others;
}

/* An array without elements or axes: one box. */
static bool array_is_trivial(const struct basis *b) { return b->array_bytes == 0 || b->source->chunks.rank == 0; }

/* ---- direct ---- */

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

static bool arrange_direct(const struct basis *b, const struct setting *set, uint64_t memory_bytes,
                           struct arrangement *a)
{
    struct stage *s = &a->stages[0];
    uint64_t pool_bytes, room, piece_raw_bytes;

    if (!pool_room(KIND_DIRECT, b, set, memory_bytes, a, &pool_bytes))
        return false;
    a->stage_count = 1;
    a->decode_factor = 1;
    stage_begin(s, "direct", b, set);
    from_chunks(s, b, set, pool_bytes);
    to_chunks(s, b, set, pool_bytes);
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

/* ---- split + merge ---- */

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

static bool arrange_split(const struct basis *b, const struct setting *set, uint64_t memory_bytes,
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
    from_chunks(split, b, set, pool_bytes);
    to_segments(split, set);
    from_segments(merge, b, set, pool_bytes);
    to_chunks(merge, b, set, pool_bytes);
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

bool arrange(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
             struct arrangement *out)
{
    bool fits = kind == KIND_DIRECT ? arrange_direct(b, set, memory_bytes, out)
                                    : arrange_split(b, set, memory_bytes, out);

    if (fits)
        cost_of(b, out);
    return fits;
}
