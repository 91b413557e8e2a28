/* from_chunks.c - the source is an array's chunks. A piece is a whole chunk, or, where no codec stands in the way,
 * a range of one: then only the ranges that the task's box needs are read. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/stage.h"

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

static bool piece_touches(const struct stage_run *run, const struct piece *piece, const struct box *box)
{
    struct piece_boxes boxes;
    struct box part, overlap;

    for (piece_boxes_first(&boxes, run, piece); piece_boxes_next(&boxes, &part); )
        if (box_intersect(run->cells.rank, &part, box, &overlap))
            return true;
    return false;
}

/* The piece as a run of its chunk. False: there is nothing of it that this task needs. */
static bool shape_piece(const struct stage_run *run, struct piece *piece)
{
    uint64_t items = 1, sub_items;
    struct box task_box, reach;

    for (unsigned i = 0; i < run->cells.rank; i++) {
        piece->box.start[i] = piece->coords[i] * run->cells.cell[i];
        piece->box.length[i] = run->cells.cell[i];
        items *= run->cells.cell[i];
    }
    piece->first = 0;
    piece->count = items;
    if (run->stage->piece_raw_bytes == 0)
        return true;
    sub_items = run->stage->piece_raw_bytes / run->item_bytes;
    piece->first = piece->sub * sub_items;
    if (piece->first >= items)
        return false;
    piece->count = size_min(sub_items, items - piece->first);
    stage_task_box(run, piece->task, &task_box);
    stage_reach(run, &task_box, &reach);
    return piece_touches(run, piece, &reach);
}

/* A chunk that is not there reads as the fill value, unless it should be there; a listed one should. */
static bool missing_is_fine(struct stage_run *run, const struct piece *piece, const char *key, bool listed,
                            struct error *err)
{
    if (run->refuse_missing) {
        error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is missing", key, store_path(run->store));
        error_help(err, "'missing: refuse' is set on this input; without it missing chunks read as the fill value");
        return false;
    }
    if (run->present && !listed)
        return true;
    if (run->present || run->missing_max == 0 ||
        (piece->first == 0 && atomic_fetch_add(&run->missing, 1) >= run->missing_max))
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is not there any more: it was when this run was"
                        " planned", key, store_path(run->store));
    return true;
}

static bool locate(struct stage_run *run, struct read *read, struct error *err)
{
    struct piece *piece = &read->piece;
    uint64_t chunk_bytes = array_chunk_bytes(run->array), piece_bytes_max = run->stage->memory.piece_bytes_max;
    struct chunk_place place;
    bool listed;

    read->object.fd = -1;
    read->payload_bytes = 0;
    read->empty = !shape_piece(run, piece);
    if (read->empty)
        return true;
    array_chunk_place(run->array, piece->coords, &place);
    listed = !run->present || chunk_list_has(run->present, grid_index(&run->cells, piece->coords));
    if (listed && !store_object_open(run->store, place.key, &read->object, err))
        return false;
    if (read->object.fd < 0)
        return missing_is_fine(run, piece, place.key, listed, err);
    read->payload_offset = place.offset;
    read->payload_bytes = size_min(place.bytes, read->object.bytes - size_min(place.offset, read->object.bytes));
    if (codec_chain_is_raw(&run->array->codecs)) {
        if (read->payload_bytes != chunk_bytes)
            return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' has %" PRIu64 " bytes, not %" PRIu64,
                            place.key, store_path(run->store), read->payload_bytes, chunk_bytes);
        read->payload_offset += piece->first * run->item_bytes;
        read->payload_bytes = piece->count * run->item_bytes;
    } else if (read->payload_bytes == 0) {
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is empty (0 bytes)", place.key,
                        store_path(run->store));
    } else if (size_add_sat(read->payload_bytes, 2 * IO_ALIGN) > piece_bytes_max) {
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' has %" PRIu64 " bytes, more than any encoding of a"
                        " chunk of %" PRIu64 " bytes", place.key, store_path(run->store), read->payload_bytes, chunk_bytes);
    }
    return true;
}

static bool decode_parts(struct worker *w, struct read *read, const char *payload, struct error *err)
{
    struct stage_run *run = w->run;
    const struct piece *piece = &read->piece;
    struct run elements = { .piece = piece->box, .order = run->array->codecs.order, .first = piece->first };
    uint64_t part_bytes;

    if (!decoder_start(w->decoder, payload, read->payload_bytes, err))
        return false;
    for (;;) {
        if (!decoder_next(w->decoder, &elements.data, &part_bytes, err))
            return false;
        if (part_bytes == 0)
            return true;
        elements.count = part_bytes / run->item_bytes;
        stage_deliver(w, &elements);
        elements.first += elements.count;
        report_add(run->report, COUNT_SOURCE_DECODED_BYTES, part_bytes);
    }
}

/* A chunk whose blocks need more scratch than was planned: let the next plan know. */
static void note_blocks(struct stage_run *run, const void *payload, uint64_t payload_bytes)
{
    pthread_mutex_lock(&run->lock);
    if (run->seen)
        codec_sample_add(run->seen, &run->array->codecs, payload, payload_bytes);
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

static bool decode_payload(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    int64_t result = read->request.result;
    uint64_t skip = read->payload_offset - read->request.offset;
    const char *payload = read->memory + skip;

    if (result < 0)
        return error_sys(err, (int)-result, SPAN_NONE, "cannot read it");
    if ((uint64_t)result < skip + read->payload_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "it ends after %" PRIi64 " bytes: it changed while it was read", result);
    report_add(run->report, COUNT_SOURCE_READ_BYTES, read->payload_bytes);
    if (decode_parts(w, read, payload, err))
        return true;
    if (err->code == ERR_FIT)
        note_blocks(run, payload, read->payload_bytes);
    return false;
}

static bool decode(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    struct chunk_place place;

    if (read->empty)
        return true;
    if (!read->memory) {
        deliver_missing(w, &read->piece);
        return true;
    }
    if (!decode_payload(w, read, err)) {
        array_chunk_place(run->array, read->piece.coords, &place);
        error_prefix(err, "chunk '%s' of '%s'", place.key, store_path(run->store));
        return false;
    }
    if (read->piece.first == 0)
        report_add(run->report, COUNT_CHUNKS_PRESENT, 1);
    return true;
}

const struct stage_from from_chunks = { .enter_task = enter_task, .locate = locate, .decode = decode };
