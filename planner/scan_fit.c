/* scan_fit.c - memory of a decode pass: reads and scratch, no tile. */
#include "planner/planner.h"

#include <string.h>

#include "engine/array/digest.h"
#include "engine/base/size.h"
#include "engine/exec/scan.h"

/* How many of the longest pieces each worker should find read. */
enum { PIECES_AHEAD = 4 };
/* Reads beyond this do not make a scan faster. */
#define SCAN_READS_BYTES_MAX (256 * MIB)

/* The sums of each worker, and the totals of two arrays that are compared. */
static uint64_t digest_bytes(unsigned workers)
{
    return (uint64_t)(workers + 2) * DIGEST_BOXES_MAX * sizeof(struct digest_sum);
}

/* What is there whatever the chunks are like. */
static uint64_t outside_bytes(const struct scan *scan)
{
    return program_bytes() + table_bytes() + metadata_bytes(scan->array) + digest_bytes(scan->workers) +
           scan->workers * worker_outside_bytes(scan->backend, scan->reads_in_flight);
}

static uint64_t total_bytes(const struct scan *scan)
{
    struct stage s = { .workers = scan->workers, .memory = scan->memory };

    return size_add_sat(size_add_sat(stage_pool_bytes(&s), scan->memory.library_bytes), outside_bytes(scan));
}

/* Fills in a setting; with the most room for reads that `memory_bytes` leaves. False: it does not fit. */
static bool scan_set(struct scan *scan, const struct codec_needs *needs, unsigned workers, enum comfort comfort,
                     uint64_t memory_bytes)
{
    struct stage_memory *m = &scan->memory;
    uint64_t total, useful_bytes, room_bytes;

    scan->workers = workers;
    scan->reads_in_flight = reads_in_flight_for(comfort, scan->backend);
    m->decode_scratch_bytes = size_align_up(comfort >= COMFORT_GOOD
                                                ? size_max(needs->scratch_bytes_useful, needs->scratch_bytes_least)
                                                : needs->scratch_bytes_least, IO_ALIGN);
    m->library_bytes = size_mul_sat(workers, needs->library_bytes);
    m->reads_bytes = m->piece_bytes_max;
    total = total_bytes(scan);
    if (total > memory_bytes)
        return false;
    useful_bytes = size_min(SCAN_READS_BYTES_MAX, size_mul_sat(PIECES_AHEAD * workers, m->piece_bytes_max));
    room_bytes = m->piece_bytes_max + size_align_down(memory_bytes - total, IO_ALIGN);
    m->reads_bytes = size_max(m->piece_bytes_max, size_min(useful_bytes, room_bytes));
    return true;
}

bool plan_scan(struct scan *scan, uint64_t memory_bytes, unsigned threads, const struct chunk_census *census,
               struct span span, struct error *err)
{
    const struct array_meta *m = scan->array;
    struct codec_needs needs;
    uint64_t need_bytes;
    unsigned workers_max = (unsigned)size_max(1, size_min(threads, grid_cells(&m->chunks)));

    codec_decode_needs(&m->codecs, m->dtype, array_chunk_bytes(m), &census->codec, &needs);
    memset(&scan->memory, 0, sizeof scan->memory);
    scan->tasks = m->chunks;
    for (unsigned i = 0; i < m->chunks.rank; i++)
        scan->tasks.cell[i] = size_mul_sat(size_max(1, grid_axis_cells(&m->chunks, i)), m->chunks.cell[i]);
    scan->piece_raw_bytes = piece_raw_bytes_for(m, MIB);
    scan->memory.piece_bytes_max = piece_bytes_max_for(m, &needs, census->encoded_bytes_max, scan->piece_raw_bytes);
    for (unsigned workers = workers_max; workers >= 1; workers--)
        for (int comfort = COMFORT_USEFUL; comfort >= COMFORT_LEAST; comfort -= COMFORT_USEFUL)
            if (scan_set(scan, &needs, workers, (enum comfort)comfort, memory_bytes))
                return true;

    scan_set(scan, &needs, 1, COMFORT_LEAST, UINT64_MAX);
    scan->memory.reads_bytes = scan->memory.piece_bytes_max;
    need_bytes = total_bytes(scan);
    error_at(err, ERR_FIT, span, "%s cannot hold one chunk and its decoder, which need at least %s",
             SIZE_TEXT(memory_bytes), SIZE_TEXT_UP(need_bytes));
    error_key(err, "memory");
    error_bytes(err, need_bytes, memory_bytes);
    error_note(err, "program, tables, sums and one worker %s", SIZE_TEXT(outside_bytes(scan)));
    error_note(err, "longest encoded chunk %s", SIZE_TEXT(scan->memory.reads_bytes));
    error_note(err, "decoder %s", SIZE_TEXT(scan->memory.decode_scratch_bytes + scan->memory.library_bytes));
    help_budget_unit(memory_bytes, err);
    error_help(err, "raise memory to %s", SIZE_TEXT_UP(need_bytes));
    return false;
}
