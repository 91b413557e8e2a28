/* to_segments.c - the sink is the scratch file: the tile becomes one segment. A unit is one block of one extent.
 *
 * A worker packs encoded blocks into a write buffer; when the next might not fit, the buffer gets a place in the
 * file and is written, and the entries of its blocks get their offsets. So a segment has no gaps but the padding of
 * each write, and lies in the order in which the next stage comes to its buckets, but for what the workers wrote side
 * by side. */
#include <inttypes.h>
#include <string.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/exec/stage.h"
#include "engine/io/space.h"

/* The i-th part in the order of the index. */
static void part_in_order(const struct stage_run *run, uint64_t i, struct tile_part *part)
{
    unsigned rank = run->tile.parts.rank;
    uint64_t coords[RANK_MAX];

    walk_coords(rank, &run->stage->parts_walk, &run->tile.cells, i, coords);
    tile_part(&run->tile, cell_range_index(rank, &run->tile.cells, coords), part);
}

static uint64_t unit_count(struct stage_run *run)
{
    uint64_t units = tile_part_count(&run->tile) * run->index_blocks;

    run->segment = stage_segment_number(run->stage, run->first_segment, run->task);
    memset(run->index, 0, units * sizeof *run->index);
    return units;
}

static uint64_t block_encoded_bytes_max(const struct stage_run *run)
{
    return spill_encoded_bytes_max(scratch_layout(run->scratch)->block_bytes);
}

static bool has_room(struct worker *w)
{
    return w->packing || stage_free_write(w);
}

/* Write a packed buffer of `bytes` to its place: to the file, or at once to the segments in memory. */
static void put(struct worker *w, struct write *write, uint64_t bytes, uint64_t offset)
{
    struct scratch *scratch = w->run->scratch;

    if (scratch_at(scratch, offset)) {
        memcpy(scratch_at(scratch, offset), write->memory, bytes);
        atomic_store_explicit(&w->run->kept_in_memory, true, memory_order_relaxed);
        report_add(w->run->report, COUNT_SPILL_KEPT_BYTES, bytes);
        return;
    }
    write->request = (struct io_request){
        .op = IO_WRITE, .fd = scratch_fd(scratch), .memory = write->memory,
        .offset = scratch_file_offset(scratch, offset), .bytes = bytes,
    };
    write->busy = true;
    stage_write_begins(w, write, 0);
    io_submit(w->io, &write->request);
}

/* Write what is packed. */
static bool flush(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;
    struct write *write = w->packing;
    uint64_t offset, bytes = size_align_up(w->packed_bytes, IO_ALIGN);
    uint32_t count = w->packed_count;

    if (!write)
        return true;
    if (!scratch_take(run->scratch, bytes, &offset, err))
        return false;
    for (uint32_t i = 0; i < count; i++)
        run->index[w->packed_entries[i]].place += offset;
    memset(write->memory + w->packed_bytes, 0, bytes - w->packed_bytes);
    w->packing = NULL;
    w->packed_bytes = 0;
    w->packed_count = 0;
    put(w, write, bytes, offset);
    stage_units_done(run, count);
    return true;
}

static void pack(struct worker *w, uint64_t unit, const char *raw, uint64_t raw_bytes)
{
    struct stage_run *run = w->run;
    enum spill_encoding encoding;
    char *to = w->packing->memory + w->packed_bytes;
    uint64_t bytes = spill_encode(scratch_layout(run->scratch)->encoding, raw, raw_bytes, run->item_bytes, to,
                                  w->encode_scratch, &encoding);

    run->index[unit] = (struct index_entry){
        .place = w->packed_bytes | (uint64_t)encoding << 56,
        .bytes = (uint32_t)bytes,
        .checksum = scratch_checksum(to, bytes, run->segment, unit, encoding),
    };
    w->packed_entries[w->packed_count++] = (uint32_t)unit;
    w->packed_bytes += bytes;
    report_add(run->report, COUNT_SPILL_RAW_BYTES, raw_bytes);
    report_made(run->report, raw_bytes);
}

static bool drain(struct worker *w, uint64_t unit, struct error *err)
{
    struct stage_run *run = w->run;
    uint64_t block_bytes = scratch_layout(run->scratch)->block_bytes;
    uint64_t first = unit % run->index_blocks * block_bytes;
    struct tile_part part;

    part_in_order(run, unit / run->index_blocks, &part);
    if (first >= part.bytes) {
        stage_units_done(run, 1);
        return true;
    }
    if (!w->packing)
        w->packing = stage_free_write(w);
    pack(w, unit, part.memory + first, size_min(block_bytes, part.bytes - first));
    if (w->packed_count == PACKED_ENTRIES_MAX ||
        w->packed_bytes + block_encoded_bytes_max(run) > run->stage->memory.write_bytes)
        return flush(w, err);
    return true;
}

static bool written(struct worker *w, struct write *write, struct error *err)
{
    struct stage_run *run = w->run;

    write->busy = false;
    if (write->request.result < 0) {
        error_sys(err, (int)-write->request.result, scratch_layout(run->scratch)->span,
                  "cannot write the scratch file '%s'", scratch_layout(run->scratch)->path);
        return space_explain(err, write->request.fd, write->request.bytes);
    }
    report_add(run->report, COUNT_SPILL_WRITE_BYTES, write->request.bytes);
    stage_write_ends(w, write);
    return true;
}

/* The step of the next stage that reads the extent last. Of the tasks that touch a box, a walk comes last to the one at
 * its far corner. */
static uint64_t last_step(const struct stage_run *run, const struct box *extent)
{
    const struct grid *tasks = &run->after->tasks;
    struct cell_range touched;

    grid_cells_touched(tasks, extent, &touched);
    for (unsigned i = 0; i < tasks->rank; i++)
        touched.first[i] += touched.count[i] - 1;
    return walk_grid_index(&run->after->walk, tasks, touched.first) / segment_step_tasks(grid_cells(tasks));
}

/* From where on its data is needed at each step of the next stage. Without any block of a later step: from its index
 * on. */
static void note_steps(const struct stage_run *run, struct segment *segment)
{
    uint64_t parts = tile_part_count(&run->tile);

    for (unsigned s = 0; s < SEGMENT_STEPS; s++)
        segment->needed_from_offset[s] = segment->index_offset;
    for (uint64_t i = 0; i < parts; i++) {
        const struct index_entry *entries = run->index + i * run->index_blocks;
        uint64_t lowest = UINT64_MAX, step;
        struct tile_part part;

        part_in_order(run, i, &part);
        step = last_step(run, &part.box);
        for (uint64_t j = 0; j < run->index_blocks; j++)
            if (entries[j].bytes)
                lowest = size_min(lowest, entry_offset(&entries[j]));
        for (unsigned s = 0; s < SEGMENT_STEPS && s <= step; s++)
            segment->needed_from_offset[s] = size_min(segment->needed_from_offset[s], lowest);
    }
}

/* The index follows the data. */
static bool leave_task(struct stage_run *run, struct error *err)
{
    struct segment *segment = scratch_segment(run->scratch, run->segment);
    uint64_t entries = tile_part_count(&run->tile) * run->index_blocks;
    uint64_t bytes = size_align_up(entries * sizeof *run->index, IO_ALIGN);
    int result;

    memset(run->index + entries, 0, bytes - entries * sizeof *run->index);
    if (!scratch_take(run->scratch, bytes, &segment->index_offset, err))
        return false;
    segment->index_bytes = bytes;
    segment->data_offset = run->segment_begin_offset;
    note_steps(run, segment);
    die_at("before-index");
    result = scratch_write(run->scratch, run->index, bytes, segment->index_offset);
    if (result < 0) {
        error_sys(err, -result, scratch_layout(run->scratch)->span, "cannot write the scratch file '%s'",
                  scratch_layout(run->scratch)->path);
        return space_explain(err, scratch_fd(run->scratch), bytes);
    }
    segment->index_sum = scratch_sum(run->index, bytes);
    segment->source_sum = run->sums.source - (run->before ? 0 : run->sums_before.source);
    segment->in_file = !scratch_at(run->scratch, segment->index_offset) &&
                       !atomic_load_explicit(&run->kept_in_memory, memory_order_relaxed);
    segment->recorded = false;
    segment->complete = true;
    atomic_store_explicit(&run->kept_in_memory, false, memory_order_relaxed);
    run->segment_begin_offset = scratch_bytes_taken(run->scratch);
    report_add(run->report, scratch_at(run->scratch, segment->index_offset) ? COUNT_SPILL_KEPT_BYTES
                                                                            : COUNT_SPILL_WRITE_BYTES, bytes);
    return true;
}

const struct stage_to to_segments = {
    .unit_count = unit_count, .has_room = has_room, .drain = drain, .flush = flush, .written = written,
    .leave_task = leave_task,
};
