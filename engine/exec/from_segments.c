/* from_segments.c - the source is the segments that the stage before wrote. A piece is one block of one extent.
 *
 * A task lies in one bucket (cell of the `parts` of the stage before), which may hold several: a piece is what a slab
 * has of the bucket, and the tile takes what is in its box.
 *
 * Where a block lies is in its segment's index on disk. A window of it is held for each segment that the task at the
 * claim cursor touches; where the buckets are walked in the index's own order a window is read once and moves on. */
#include <assert.h>
#include <inttypes.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/base/text.h"
#include "engine/exec/stage.h"
#include "engine/io/os.h"

/* The bucket's place among those that a slab touches: what the slab's index is counted by. */
static uint64_t bucket_ordinal(const struct stage_run *run, const uint64_t *slab, const uint64_t *bucket)
{
    struct cell_range touched;
    struct box slab_box;

    grid_cell_box(&run->cells, slab, &slab_box);
    grid_cells_touched(&run->before->parts, &slab_box, &touched);
    return walk_index(run->cells.rank, &run->before->parts_walk, &touched, bucket);
}

/* The bucket that holds the box of a task. */
static void task_bucket(const struct stage_run *run, const struct box *box, uint64_t *bucket)
{
    for (unsigned i = 0; i < run->cells.rank; i++) {
        bucket[i] = box->start[i] / run->before->parts.cell[i];
        assert((box->start[i] + box->length[i] - 1) / run->before->parts.cell[i] == bucket[i]);
    }
}

/* What a slab has of the bucket that holds the box of a task. */
static void slab_share(const struct stage_run *run, const uint64_t *slab, const struct box *task_box, struct box *share)
{
    struct box slab_box, bucket_box;
    uint64_t bucket[RANK_MAX];

    task_bucket(run, task_box, bucket);
    grid_cell_box(&run->cells, slab, &slab_box);
    grid_cell_box(&run->before->parts, bucket, &bucket_box);
    box_intersect(run->cells.rank, &slab_box, &bucket_box, share);
}

static uint64_t block_items(const struct stage_run *run)
{
    return scratch_layout(run->scratch)->block_bytes / run->item_bytes;
}

/* Where it should be in the scratch file; of one in memory, or of an entry that is not true, where that says. */
static uint64_t file_offset(const struct stage_run *run, uint64_t offset)
{
    return scratch_at(run->scratch, offset) ? offset : scratch_file_offset(run->scratch, offset);
}

/* Make window `w` hold the entries [first, first + subs) of a segment's index, and what follows them. */
static bool load_window(struct stage_run *run, struct index_window *w, uint64_t segment_number, uint64_t first,
                        struct error *err)
{
    const struct segment *segment = scratch_segment(run->scratch, segment_number);
    uint64_t from_bytes = size_align_down(first * sizeof(struct index_entry), IO_ALIGN);
    uint64_t bytes = size_min(run->window_bytes, segment->index_bytes - from_bytes);
    int result;

    if (w->segment == segment_number && first >= w->first && first + run->subs <= w->first + w->count)
        return true;
    w->segment = UINT64_MAX;
    result = scratch_read(run->scratch, w->entries, bytes, segment->index_offset + from_bytes);
    if (result < 0)
        run->damaged_segment = segment_number;
    if (result < 0)
        return error_sys(err, -result, SPAN_NONE, "cannot read the index of a slab, %" PRIu64 " bytes at offset %" PRIu64
                         " of the scratch file '%s'", bytes, file_offset(run, segment->index_offset + from_bytes),
                         scratch_layout(run->scratch)->path);
    if (!scratch_at(run->scratch, segment->index_offset))
        report_add(run->report, COUNT_SPILL_READ_BYTES, bytes);
    w->segment = segment_number;
    w->first = from_bytes / sizeof(struct index_entry);
    w->count = bytes / sizeof(struct index_entry);
    return true;
}

static bool enter_task(struct stage_run *run, struct error *err)
{
    uint64_t bucket[RANK_MAX], slab[RANK_MAX], slabs;

    stage_claim_box(run);
    task_bucket(run, &run->claim_box, bucket);
    slabs = cell_range_cells(run->cells.rank, &run->claim_cells);
    for (uint64_t i = 0; i < slabs; i++) {
        struct index_window *w = &run->windows[i];
        uint64_t number, first;

        cell_range_coords(run->cells.rank, &run->claim_cells, i, slab);
        number = run->segments_before + grid_index(&run->cells, slab);
        first = bucket_ordinal(run, slab, bucket) * run->subs;
        if (!load_window(run, w, number, first, err))
            return false;
    }
    return true;
}

static uint64_t next_sub(const struct stage_run *run, const struct piece *piece, uint64_t sub)
{
    struct box share;
    uint64_t item;

    slab_share(run, piece->coords, &run->claim_box, &share);
    item = box_next_within(run->cells.rank, &share, NULL, &run->claim_box, sub * block_items(run));
    return item == UINT64_MAX ? run->subs : item / block_items(run);
}

static void claimed(struct stage_run *run, struct read *read)
{
    const struct index_window *w = &run->windows[read->piece.cell];
    uint64_t bucket[RANK_MAX];

    task_bucket(run, &run->claim_box, bucket);
    read->segment = w->segment;
    read->block = bucket_ordinal(run, read->piece.coords, bucket) * run->subs + read->piece.sub;
    read->entry = w->entries[read->block - w->first];
}

/* The segment cannot be read: it is to be made again. */
static void note_damage(struct stage_run *run, const struct read *read)
{
    pthread_mutex_lock(&run->lock);
    run->damaged_segment = read->segment;
    pthread_mutex_unlock(&run->lock);
}

static bool damaged(struct stage_run *run, const struct read *read, const char *what, struct error *err)
{
    note_damage(run, read);
    return error_at(err, ERR_IO, SPAN_NONE, "a block of %u bytes at offset %" PRIu64 " of the scratch file '%s' %s",
                    read->entry.bytes, file_offset(run, entry_offset(&read->entry)), scratch_layout(run->scratch)->path,
                    what);
}

/* The piece as a run of what its slab has of the bucket. */
static void shape_piece(const struct stage_run *run, struct piece *piece)
{
    struct box task_box;

    stage_task_box(run, piece->task, &task_box);
    slab_share(run, piece->coords, &task_box, &piece->box);
    piece->first = piece->sub * block_items(run);
    piece->count = size_min(block_items(run), box_elements(run->cells.rank, &piece->box) - piece->first);
}

static bool locate(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;

    read->object.fd = -1;
    read->payload_bytes = 0;
    shape_piece(run, &read->piece);
    if (read->entry.bytes > spill_encoded_bytes_max(scratch_layout(run->scratch)->block_bytes) ||
        !scratch_holds(run->scratch, entry_offset(&read->entry), read->entry.bytes))
        return damaged(run, read, "lies outside it: its index is damaged", err);
    if (read->entry.bytes)
        read->kept = scratch_at(run->scratch, entry_offset(&read->entry));
    if (!read->kept) {
        read->payload_offset = scratch_file_offset(run->scratch, entry_offset(&read->entry));
        read->payload_bytes = read->entry.bytes;
    }
    return true;
}

/* Where the block's encoded bytes are; NULL: they could not be read. */
static const char *block_bytes_of(struct stage_run *run, const struct read *read, struct error *err)
{
    uint64_t skip = read->payload_offset - read->request.offset;

    if (read->kept)
        return read->kept;
    if (!read->memory) {
        damaged(run, read, "is not in its index", err);
        return NULL;
    }
    if (read->request.result < 0) {
        note_damage(run, read);
        error_sys(err, (int)-read->request.result, SPAN_NONE, "cannot read a block of %u bytes at offset %" PRIu64
                  " of the scratch file '%s'", read->entry.bytes, file_offset(run, entry_offset(&read->entry)),
                  scratch_layout(run->scratch)->path);
        return NULL;
    }
    if ((uint64_t)read->request.result < skip + read->payload_bytes) {
        damaged(run, read, "is cut short", err);
        return NULL;
    }
    report_add(run->report, COUNT_SPILL_READ_BYTES, read->payload_bytes);
    return read->memory + skip;
}

static bool decode(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    const struct index_entry *entry = &read->entry;
    struct run elements = { .piece = read->piece.box, .first = read->piece.first, .count = read->piece.count };
    const char *payload;

    payload = block_bytes_of(run, read, err);
    if (!payload)
        return false;
    if (scratch_checksum(payload, entry->bytes, read->segment, read->block, entry_encoding(entry)) != entry->checksum)
        return damaged(run, read, "does not match its checksum", err);
    if (!spill_decode(entry_encoding(entry), payload, entry->bytes, elements.count * run->item_bytes, run->item_bytes,
                      w->decode_scratch, &elements.data))
        return damaged(run, read, "cannot be decoded", err);
    stage_deliver(w, &elements);
    return true;
}

static void tasks_recorded(struct stage_run *run)
{
    uint64_t tasks_each = segment_step_tasks(run->tasks);

    if (scratch_layout(run->scratch)->give_back && run->recorded < run->tasks)
        run->give_back_step = (unsigned)(run->recorded / tasks_each);
}

/* A punch waits until no direct read of the file is under way, and holds new ones up: ten milliseconds each. So what
 * lies side by side is given back at once. */
struct hole {
    uint64_t from, to;
};

static void punch(struct stage_run *run, struct hole *hole, uint64_t from, uint64_t to)
{
    if (from != hole->to) {
        scratch_punch(run->scratch, hole->from, hole->to);
        hole->from = from;
    }
    hole->to = to;
}

/* SEGMENT_STEPS: after the last task. A segment that no later task touches goes with its index. */
static void give_back(struct stage_run *run, unsigned step)
{
    uint64_t segments = grid_cells(&run->cells);
    struct hole hole = { 0 };

    for (uint64_t i = 0; i < segments; i++) {
        struct segment *segment = scratch_segment(run->scratch, run->segments_before + i);
        uint64_t offset = step < SEGMENT_STEPS ? segment->needed_from_offset[step] : segment->index_offset;

        if (offset == segment->index_offset)
            offset += segment->index_bytes;
        if (offset <= segment->data_offset)
            continue;
        die_at("before-give-back");
        punch(run, &hole, segment->data_offset, offset);
        segment->data_offset = offset;
    }
    scratch_punch(run->scratch, hole.from, hole.to);
    die_at("after-give-back");
}

/* Where this stage writes segments itself the file holds what comes next, too. */
static void all_recorded(struct stage_run *run)
{
    if (run->to != &to_segments)
        scratch_discard(run->scratch);
    else if (scratch_layout(run->scratch)->give_back)
        give_back(run, SEGMENT_STEPS);
}

const struct stage_from from_segments = {
    .enter_task = enter_task, .next_sub = next_sub, .claimed = claimed, .locate = locate, .decode = decode,
    .tasks_recorded = tasks_recorded, .give_back = give_back, .all_recorded = all_recorded,
};
