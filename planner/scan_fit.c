/* scan_fit.c - memory of a decode pass: reads and scratch, no tile. Its source is that of a stage, in the same forms. */
#include "planner/arrange.h"

#include <string.h>

#include "engine/array/digest.h"
#include "engine/base/size.h"
#include "engine/exec/scan.h"

/* How many of the longest pieces each worker should find read. */
enum { PIECES_AHEAD = 4 };
/* Reads beyond this do not make a scan faster. */
#define SCAN_READS_BYTES_MAX (256 * MIB)

/* The sums of each worker, and the totals of two arrays that are compared. */
uint64_t scan_digest_bytes(unsigned workers)
{
    return (uint64_t)(workers + 2) * DIGEST_BOXES_MAX * sizeof(struct digest_sum);
}

/* What is there whatever the chunks are like. */
static uint64_t outside_bytes(const struct basis *b, const struct scan *scan)
{
    return program_bytes() + table_bytes() + b->metadata_bytes + scan_digest_bytes(scan->workers) +
           scan->workers * worker_outside_bytes(scan->backend, scan->reads_in_flight);
}

static uint64_t total_bytes(const struct basis *b, const struct scan *scan)
{
    struct stage s = { .workers = scan->workers, .memory = scan->memory };

    return size_add_sat(size_add_sat(stage_pool_bytes(&s), scan->memory.library_bytes), outside_bytes(b, scan));
}

/* More workers than pieces have nothing to do; a stream has one decoder. */
static uint64_t workers_useful(const struct basis *b, enum source_form form)
{
    uint64_t piece_bytes = form == SOURCE_RANGED ? b->range_bytes : b->source_chunk_bytes;

    if (form == SOURCE_STREAMED)
        return 1;
    return size_max(1, size_mul_sat(b->source_chunks, size_div_up(b->source_chunk_bytes, size_max(1, piece_bytes))));
}

/* Fills in a setting; with the most room for reads that `memory_bytes` leaves. False: it does not fit. */
static bool scan_set(struct scan *scan, const struct basis *b, const struct setting *set, uint64_t memory_bytes)
{
    struct stage_memory *m = &scan->memory;
    uint64_t total, useful_bytes, room_bytes;
    struct stage s = { .workers = set->workers };

    needs_from_source(&s, b, set, 0);
    scan->source = s.source;
    scan->piece_raw_bytes = s.piece_raw_bytes;
    scan->workers = set->workers;
    scan->reads_in_flight = reads_in_flight_for(set->comfort, scan->backend);
    *m = s.memory;
    m->reads_bytes = m->piece_bytes_max;
    total = total_bytes(b, scan);
    if (total > memory_bytes)
        return false;
    useful_bytes = size_min(SCAN_READS_BYTES_MAX, size_mul_sat(PIECES_AHEAD * set->workers, m->piece_bytes_max));
    room_bytes = m->piece_bytes_max + size_align_down(memory_bytes - total, IO_ALIGN);
    m->reads_bytes = size_max(m->piece_bytes_max, size_min(useful_bytes, room_bytes));
    return true;
}

/* Whole chunks, and what does without them. */
static unsigned scan_forms(const struct basis *b, enum source_form *forms)
{
    unsigned count = 0;

    forms[count++] = SOURCE_WHOLE;
    if (b->range_bytes)
        forms[count++] = SOURCE_RANGED;
    else if (!b->source_stream_cannot)
        forms[count++] = SOURCE_STREAMED;
    return count;
}

/* The form that needs the least, in the least. */
static void scan_set_least(struct scan *scan, const struct basis *b, const enum source_form *forms, unsigned count)
{
    struct setting set = { .workers = 1, .comfort = COMFORT_LEAST };
    uint64_t least_bytes = UINT64_MAX;
    struct scan best = *scan;

    for (unsigned i = 0; i < count; i++) {
        set.forms.source = forms[i];
        scan_set(scan, b, &set, 0);
        if (i == 0 || total_bytes(b, scan) < least_bytes) {
            least_bytes = total_bytes(b, scan);
            best = *scan;
        }
    }
    *scan = best;
}

static bool refuse(const struct scan *scan, const struct basis *b, uint64_t memory_bytes, struct span span,
                   struct error *err)
{
    const struct stage_memory *m = &scan->memory;
    bool in_parts = scan->source == FROM_STREAM || scan->piece_raw_bytes > 0;
    uint64_t need_bytes = total_bytes(b, scan);

    error_at(err, ERR_FIT, span, "%s cannot hold %s and its decoder, which need at least %s",
             SIZE_TEXT(memory_bytes), in_parts ? "a part of a chunk" : "one chunk", SIZE_TEXT_UP(need_bytes));
    error_key(err, "memory");
    error_bytes(err, need_bytes, memory_bytes);
    error_note(err, "program, tables, sums and one worker %s", SIZE_TEXT(outside_bytes(b, scan)));
    if (m->reads_bytes)
        error_note(err, "longest encoded %s %s", in_parts ? "part" : "chunk", SIZE_TEXT(m->reads_bytes));
    error_note(err, "decoder%s %s", m->reads_bytes ? "" : ", and what it reads at once",
               SIZE_TEXT(m->decode_scratch_bytes + m->stream_bytes + m->library_bytes));
    if (b->source_stream_cannot && b->source_ranges_cannot)
        note_decoded_whole(b, "a chunk", err);
    help_budget_unit(memory_bytes, err);
    error_help(err, "raise memory to %s", SIZE_TEXT_UP(need_bytes));
    return false;
}

bool plan_scan(struct scan *scan, uint64_t memory_bytes, unsigned threads, const struct chunk_census *census,
               struct span span, struct error *err)
{
    static const struct job nothing;
    const struct array_meta *m = scan->array;
    enum source_form forms[2];
    struct setting set = { 0 };
    struct basis b;
    unsigned count;

    basis_init(&b, m, m, census, threads, scan->backend, &nothing);
    count = scan_forms(&b, forms);
    scan->tasks = m->chunks;
    for (unsigned i = 0; i < m->chunks.rank; i++)
        scan->tasks.cell[i] = size_mul_sat(size_max(1, grid_axis_cells(&m->chunks, i)), m->chunks.cell[i]);
    for (set.workers = size_max(1, threads); set.workers >= 1; set.workers--)
        for (int comfort = COMFORT_USEFUL; comfort >= COMFORT_LEAST; comfort -= COMFORT_USEFUL)
            for (unsigned i = 0; i < count; i++) {
                set.comfort = (enum comfort)comfort;
                set.forms = (struct forms){ .source = forms[i] };
                if ((set.workers == 1 || set.workers <= workers_useful(&b, forms[i])) &&
                    scan_set(scan, &b, &set, memory_bytes))
                    return true;
            }
    scan_set_least(scan, &b, forms, count);
    return refuse(scan, &b, memory_bytes, span, err);
}
