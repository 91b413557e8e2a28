/* from_chunks.c - the source is an array's chunks. A piece is a whole chunk, or, where the codecs allow it, a range of
 * one: then only the ranges that the task's box needs are read. Of a blosc frame a range is the blocks that cover it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/stage.h"
#include "engine/io/os.h"

static bool enter_task(struct stage_run *run, struct error *err)
{
    (void)err;
    stage_claim_box(run);
    return true;
}

/* The boxes that a piece is made of, one after another: it is a run in storage order. */
struct piece_boxes {
    const struct piece *piece;
    const uint8_t *order;
    struct box_run run;
};

static void piece_boxes_first(struct piece_boxes *b, const struct stage_run *run, const struct piece *piece)
{
    uint64_t stored_length[RANK_MAX];

    b->piece = piece;
    b->order = run->array->codecs.order;
    for (unsigned i = 0; i < run->cells.rank; i++)
        stored_length[i] = piece->box.length[b->order[i]];
    box_run_first(&b->run, run->cells.rank, stored_length, piece->first, piece->count);
}

static bool piece_boxes_next(struct piece_boxes *b, struct box *out)
{
    struct box stored;

    if (!box_run_next(&b->run, &stored))
        return false;
    for (unsigned i = 0; i < b->run.rank; i++) {
        unsigned axis = b->order[i];
        out->start[axis] = b->piece->box.start[axis] + stored.start[i];
        out->length[axis] = stored.length[i];
    }
    return true;
}

static void chunk_box(const struct stage_run *run, const uint64_t *coords, struct box *box)
{
    for (unsigned i = 0; i < run->cells.rank; i++) {
        box->start[i] = coords[i] * run->cells.cell[i];
        box->length[i] = run->cells.cell[i];
    }
}

/* Of a chunk that is read by ranges: those that hold an element that the task is there for. */
static uint64_t next_sub(const struct stage_run *run, const struct piece *piece, uint64_t sub)
{
    uint64_t sub_items = run->stage->piece_raw_bytes / run->item_bytes, item;
    struct box chunk, reach;

    if (sub_items == 0)
        return sub;
    chunk_box(run, piece->coords, &chunk);
    stage_reach(run, &run->claim_box, &reach);
    item = box_next_within(run->cells.rank, &chunk, run->array->codecs.order, &reach, sub * sub_items);
    return item == UINT64_MAX ? run->subs : item / sub_items;
}

/* The piece as a run of its chunk. */
static void shape_piece(const struct stage_run *run, struct piece *piece)
{
    uint64_t items = shape_elements(run->cells.rank, run->cells.cell), sub_items = items;

    chunk_box(run, piece->coords, &piece->box);
    if (run->stage->piece_raw_bytes > 0)
        sub_items = run->stage->piece_raw_bytes / run->item_bytes;
    piece->first = piece->sub * sub_items;
    piece->count = size_min(sub_items, items - piece->first);
}

/* A chunk's encoded bytes, as they were before payload_offset and payload_bytes became those of a range. */
static bool find_range(struct worker *w, const struct read *read, uint64_t frame_bytes, uint64_t first, uint64_t bytes,
                       uint64_t room_bytes, struct codec_range *range, void *places, struct error *err)
{
    const struct stage_run *run = w->run;
    struct frame_place frame = {
        .object = &read->object, .chunk = grid_index(&run->cells, read->piece.coords),
        .offset = read->payload_offset, .bytes = frame_bytes,
    };

    return frame_window_find(w->frames, run->array, &frame, first, bytes, room_bytes, range, places,
                             run->report, err);
}

/* Of a compressed chunk: only the blocks that cover the piece. Too scattered for the piece's memory, or too many, they
 * are read by hand. */
static bool locate_range(struct worker *w, struct read *read, struct error *err)
{
    const struct stage_run *run = w->run;
    uint64_t piece_bytes = read->piece.count * run->item_bytes, end, from, to;
    struct codec_range *range = &read->range;

    if (!find_range(w, read, read->payload_bytes, read->piece.first * run->item_bytes, piece_bytes, UINT64_MAX, range,
                    frame_window_places(w->frames), err))
        return false;
    end = read->payload_offset + range->encoded_offset + range->encoded_bytes;
    from = size_align_down(read->payload_offset + range->encoded_offset, IO_ALIGN);
    to = size_align_up(end, IO_ALIGN);
    read->beside_bytes = size_align_up(4 * (uint64_t)range->block_count, IO_ALIGN);
    read->by_hand = range->raw_bytes < piece_bytes ||
                    to - from + read->beside_bytes > run->stage->memory.piece_bytes_max;
    if (read->by_hand) {
        read->beside_bytes = run->stage->memory.piece_bytes_max;
        read->payload_bytes = 0;
    } else {
        read->payload_offset += range->encoded_offset;
        read->payload_bytes = range->encoded_bytes;
    }
    return true;
}

static bool locate_chunk(struct worker *w, struct read *read, const char *key, struct error *err)
{
    const struct stage_run *run = w->run;
    const struct piece *piece = &read->piece;
    uint64_t chunk_bytes = array_chunk_bytes(run->array);

    if (codec_chain_is_raw(&run->array->codecs)) {
        if (read->payload_bytes != chunk_bytes)
            return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' has %" PRIu64 " bytes, not %" PRIu64,
                            key, store_path(run->store), read->payload_bytes, chunk_bytes);
        read->payload_offset += piece->first * run->item_bytes;
        read->payload_bytes = piece->count * run->item_bytes;
        return true;
    }
    if (read->payload_bytes == 0)
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is empty (0 bytes)", key,
                        store_path(run->store));
    if (run->stage->piece_raw_bytes > 0) {
        if (locate_range(w, read, err))
            return true;
        error_prefix(err, "chunk '%s' of '%s'", key, store_path(run->store));
        return false;
    }
    if (size_add_sat(read->payload_bytes, 2 * IO_ALIGN) > run->stage->memory.piece_bytes_max)
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' has %" PRIu64 " bytes, more than any encoding of a"
                        " chunk of %" PRIu64 " bytes", key, store_path(run->store), read->payload_bytes, chunk_bytes);
    return true;
}

/* Of all pieces of all tasks, does this one stand for its chunk: does it hold the first element, and its task too? */
static bool stands_for_chunk(const struct stage_run *run, const struct piece *piece)
{
    struct box task_box;
    bool stands = piece->first == 0;

    stage_task_box(run, piece->task, &task_box);
    for (unsigned i = 0; i < run->cells.rank; i++)
        stands = stands && piece->box.start[i] >= task_box.start[i] &&
                 piece->box.start[i] - task_box.start[i] < task_box.length[i];
    return stands;
}

static bool locate(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    struct piece *piece = &read->piece;
    struct stored_chunk chunk;
    bool ok;

    shape_piece(run, piece);
    ok = stage_open_chunk(run, piece->coords, stands_for_chunk(run, piece), &chunk, err);
    read->object = chunk.object;
    read->payload_offset = chunk.place.offset;
    read->payload_bytes = chunk.bytes;
    if (!ok)
        return false;
    if (run->resume)
        read->stamp = source_stamp(grid_index(&run->cells, piece->coords), read->object.stamp);
    return read->object.fd < 0 || locate_chunk(w, read, chunk.place.key, err);
}

/* Until now the places of its blocks were in the worker's window. */
static void granted(struct worker *w, struct read *read)
{
    if (read->range.block_count > 0)
        memcpy(read->memory + read->request.bytes, frame_window_places(w->frames), 4 * (uint64_t)read->range.block_count);
}

/* Hand on what the decoder was started on. */
static bool deliver_parts(struct worker *w, const struct piece *piece, uint64_t first, uint64_t *bytes,
                          struct error *err)
{
    struct stage_run *run = w->run;
    struct run elements = { .piece = piece->box, .order = run->array->codecs.order, .first = first };
    uint64_t part_bytes;

    for (*bytes = 0; ; *bytes += part_bytes) {
        if (!decoder_next(w->decoder, &elements.data, &part_bytes, err))
            return false;
        if (part_bytes == 0)
            return true;
        elements.count = part_bytes / run->item_bytes;
        stage_deliver(w, &elements);
        elements.first += elements.count;
    }
}

static bool deliver_range(struct worker *w, const struct piece *piece, const struct codec_range *range,
                          const char *encoded, uint64_t encoded_bytes, const char *places, struct error *err)
{
    uint64_t bytes;

    if (!decoder_start_range(w->decoder, range, encoded, encoded_bytes, places, err) ||
        !deliver_parts(w, piece, range->raw_first / w->run->item_bytes, &bytes, err))
        return false;
    report_add(w->run->report, COUNT_SOURCE_DECODED_BYTES, range->decoded_bytes);
    return true;
}

static bool deliver_payload(struct worker *w, const struct read *read, const char *payload, struct error *err)
{
    const struct piece *piece = &read->piece;
    uint64_t bytes;

    if (w->frames)
        return deliver_range(w, piece, &read->range, payload, read->payload_bytes, read->memory + read->request.bytes, err);
    if (!decoder_start(w->decoder, payload, read->payload_bytes, err) ||
        !deliver_parts(w, piece, piece->first, &bytes, err))
        return false;
    report_add(w->run->report, COUNT_SOURCE_DECODED_BYTES, bytes);
    return true;
}

static bool read_into(const struct read *read, char *to, uint64_t bytes, uint64_t offset, struct stage_run *run,
                      struct error *err)
{
    int result = os_pread_all(read->object.fd, to, bytes, read->payload_offset + offset);

    if (result == -ENODATA)
        return error_changed(err, SPAN_NONE, "it ends early: it changed while it was read");
    if (result < 0)
        return error_sys(err, -result, SPAN_NONE, "cannot read it");
    report_add(run->report, COUNT_SOURCE_READ_BYTES, bytes);
    return true;
}

/* The blocks of a range to the piece's memory: in one piece if that fits, else one by one. */
static bool read_blocks(struct worker *w, const struct read *read, const struct codec_range *range, void *places,
                        uint64_t room_bytes, uint64_t *got_bytes, struct error *err)
{
    char *room = read->memory;

    *got_bytes = range->encoded_bytes;
    if (range->encoded_bytes <= room_bytes)
        return read_into(read, room, range->encoded_bytes, range->encoded_offset, w->run, err);
    *got_bytes = 0;
    for (uint32_t i = 0; i < range->block_count; i++) {
        uint64_t offset, bytes;

        codec_range_gather(range, i, places, *got_bytes, &offset, &bytes);
        if (!read_into(read, room + *got_bytes, bytes, offset, w->run, err))
            return false;
        *got_bytes += bytes;
    }
    return true;
}

/* As many blocks at a time as the piece's memory holds, their places at its end: those in the window belong to the
 * piece that this worker located last. Nothing else goes on in the file meanwhile, so it need not be
 * read past its page cache. */
static bool decode_by_hand(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    const struct piece *piece = &read->piece;
    uint64_t first = piece->first * run->item_bytes, end = first + piece->count * run->item_bytes, got_bytes;
    uint64_t room_bytes = run->stage->memory.piece_bytes_max - size_align_up(CODEC_PLACES_BYTES_MAX, IO_ALIGN);
    uint64_t frame_bytes = read->range.frame_bytes;
    char *places = read->memory + room_bytes;
    struct codec_range range;
    int result = read->object.direct ? os_set_buffered(read->object.fd) : 0;

    if (result < 0)
        return error_sys(err, -result, SPAN_NONE, "cannot read it through the page cache");
    read->object.direct = false;
    for (; first < end; first += range.raw_bytes) {
        if (stop_asked(run->stop))
            return error_stopped(err, stop_asked(run->stop));
        if (!find_range(w, read, frame_bytes, first, end - first, room_bytes, &range, places, err) ||
            !read_blocks(w, read, &range, places, room_bytes, &got_bytes, err) ||
            !deliver_range(w, piece, &range, read->memory, got_bytes, places, err))
            return false;
    }
    return true;
}

/* A chunk whose blocks need more scratch than was planned: let the next plan know. */
static void note_blocks(struct stage_run *run, const void *head, uint64_t head_bytes)
{
    pthread_mutex_lock(&run->lock);
    if (run->seen)
        codec_sample_add(run->seen, &run->array->codecs, head, head_bytes);
    pthread_mutex_unlock(&run->lock);
}

/* Only what the piece covers: the other pieces of the chunk bring the rest. */
static void deliver_missing(struct worker *w, const struct piece *piece)
{
    struct stage_run *run = w->run;
    struct piece_boxes boxes;
    struct box part;

    for (piece_boxes_first(&boxes, run, piece); piece_boxes_next(&boxes, &part); )
        stage_deliver_missing(w, &part, run->array->fill);
    if (piece->first == 0)
        report_add(run->report, COUNT_CHUNKS_MISSING, 1);
}

/* What was read for the piece. */
static bool decode_payload(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    int64_t result = read->request.result;
    uint64_t skip = read->payload_offset - read->request.offset;
    const char *payload = read->memory + skip;

    if (result == -ESTALE)
        return error_changed(err, SPAN_NONE, "it changed while it was read");
    if (result < 0)
        return error_sys(err, (int)-result, SPAN_NONE, "cannot read it");
    if ((uint64_t)result < skip + read->payload_bytes)
        return error_changed(err, SPAN_NONE, "it ends after %" PRIi64 " bytes: it changed while it was read", result);
    report_add(run->report, COUNT_SOURCE_READ_BYTES, read->payload_bytes);
    if (deliver_payload(w, read, payload, err))
        return true;
    if (err->code == ERR_FIT && !w->frames)
        note_blocks(run, payload, read->payload_bytes);
    return false;
}

static bool decode(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    struct chunk_place place;
    bool ok;

    if (read->empty)
        return true;
    if (!read->memory) {
        deliver_missing(w, &read->piece);
        return true;
    }
    ok = read->by_hand ? decode_by_hand(w, read, err) : decode_payload(w, read, err);
    if (ok && read->by_hand && store_object_changed(&read->object) == -ESTALE)
        ok = error_changed(err, SPAN_NONE, "it changed while it was read");
    store_object_close(&read->object);
    if (!ok) {
        if (err->code == ERR_FIT && w->frames)
            note_blocks(run, read->range.head, sizeof read->range.head);
        array_chunk_place(run->array, read->piece.coords, &place);
        error_prefix(err, "chunk '%s' of '%s'", place.key, store_path(run->store));
        return false;
    }
    if (read->piece.first == 0)
        report_add(run->report, COUNT_CHUNKS_PRESENT, 1);
    return true;
}

const struct stage_from from_chunks = {
    .enter_task = enter_task, .next_sub = next_sub, .locate = locate, .granted = granted, .decode = decode,
};
