/* needs.c - what the process holds outside the pool, and what each kind of source and sink holds in it beside the tile.
 *
 * A line missing here is an overrun later. arrange.c adds the lines up.
 */
#include "planner/arrange.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/slices.h"

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
#define WRITE_RUN_BYTES MIB
#define WRITE_RUN_BYTES_LEAST (128 * KIB)

enum { READS_IN_FLIGHT = 16, READS_IN_FLIGHT_LEAST = 4 };

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

uint64_t source_library_bytes(const struct basis *b, const struct setting *set)
{
    return set->forms.source == SOURCE_STREAMED ? b->stream.library_bytes
           : size_mul_sat(set->workers, set->forms.source == SOURCE_RANGED ? b->range.library_bytes
                                                                           : b->decode.library_bytes);
}

uint64_t target_library_bytes(const struct basis *b, const struct setting *set)
{
    return set->forms.target == TARGET_SLICED   ? b->append.library_bytes
           : set->forms.target == TARGET_RANGED ? 0
                                                : size_mul_sat(set->workers, b->encode.library_bytes);
}

static void needs_from_chunks(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    struct stage_memory *m = &s->memory;
    bool ranged = set->forms.source == SOURCE_RANGED;
    const struct codec_needs *n = ranged ? &b->range : &b->decode;
    double chunk_bytes = (double)b->source_chunk_bytes / b->source_ratio;

    s->source = FROM_CHUNKS;
    s->piece_raw_bytes = ranged ? b->range_bytes : piece_raw_bytes_for(b->source, RAW_PIECE_BYTES);
    m->piece_bytes_max = ranged ? piece_with_ends(n->encoded_bytes_max)
                                : piece_bytes_max_for(b->source, n, b->census->encoded_bytes_max, s->piece_raw_bytes);
    m->decode_scratch_bytes = between(n, set->comfort);
    m->library_bytes = source_library_bytes(b, set);
    reads_set(s, set->comfort, b->source_ratio, (double)b->source_chunks * (chunk_bytes + 3 * IO_ALIGN), pool_bytes);
}

/* One decoder for all workers, and it reads for itself. */
static void needs_from_stream(struct stage *s, const struct basis *b, const struct setting *set)
{
    s->source = FROM_STREAM;
    s->memory.stream_bytes = between(&b->stream, set->comfort);
    s->memory.library_bytes = source_library_bytes(b, set);
}

void needs_from_source(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    if (set->forms.source == SOURCE_STREAMED)
        needs_from_stream(s, b, set);
    else
        needs_from_chunks(s, b, set, pool_bytes);
}

void needs_from_segments(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
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

void needs_to_segments(struct stage *s, const struct setting *set)
{
    struct stage_memory *m = &s->memory;
    uint64_t block_bytes = size_align_up(spill_encoded_bytes_max(set->block_bytes), IO_ALIGN);

    s->sink = TO_SEGMENTS;
    m->encode_scratch_bytes = size_align_up(spill_scratch_bytes(set->block_bytes), IO_ALIGN);
    m->write_bytes = set->comfort >= COMFORT_GOOD ? size_max(WRITE_RUN_BYTES, block_bytes) : block_bytes;
    m->write_slots = set->comfort >= COMFORT_GOOD ? 2 : 1;
}

static void needs_to_chunks(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    struct stage_memory *m = &s->memory;

    s->sink = TO_CHUNKS;
    s->parts = b->target->chunks;
    m->encode_scratch_bytes = between(&b->encode, set->comfort);
    m->library_bytes = size_add_sat(m->library_bytes, target_library_bytes(b, set));
    m->write_bytes = size_align_up(b->encode.encoded_bytes_max, IO_ALIGN);
    /* Raw chunks are written from the tile, but for those that do not begin on a page there. */
    if (b->target_raw && b->target_chunk_bytes >= TILE_PAGED_PART_BYTES)
        m->write_bytes = 0;
    m->write_slots = set->comfort >= COMFORT_GOOD ? 2 : 1;
    /* Small chunks: more of them on their way hide the cost of opening files. */
    if (set->comfort == COMFORT_USEFUL && size_mul_sat(4 * set->workers, m->write_bytes) <= pool_bytes / 16)
        m->write_slots = 4;
}

/* One encoder for all workers. */
static void needs_to_slices(struct stage *s, const struct basis *b, const struct setting *set)
{
    struct stage_memory *m = &s->memory;

    s->sink = TO_SLICES;
    m->append_bytes = slices_append_bytes(b->target);
    m->library_bytes = size_add_sat(m->library_bytes, target_library_bytes(b, set));
    m->write_bytes = set->comfort == COMFORT_LEAST ? WRITE_RUN_BYTES_LEAST : WRITE_RUN_BYTES;
    m->write_slots = set->comfort >= COMFORT_GOOD ? 2 : 1;
}

static void needs_to_ranges(struct stage *s, const struct basis *b, const struct setting *set)
{
    struct stage_memory *m = &s->memory;

    s->sink = TO_RANGES;
    s->parts = b->target->chunks;
    m->write_bytes = set->comfort == COMFORT_LEAST ? WRITE_RUN_BYTES_LEAST : WRITE_RUN_BYTES;
    m->write_slots = set->comfort >= COMFORT_GOOD ? 4 : 1;
}

void needs_to_target(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes)
{
    if (set->forms.target == TARGET_SLICED)
        needs_to_slices(s, b, set);
    else if (set->forms.target == TARGET_RANGED)
        needs_to_ranges(s, b, set);
    else
        needs_to_chunks(s, b, set, pool_bytes);
}
