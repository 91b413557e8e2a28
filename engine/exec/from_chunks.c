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

/* Does any element of the piece lie in the box? Looks at the few boxes that make up the run. */
static bool piece_touches(const struct stage_run *run, const struct piece *piece, const struct box *box)
{
    const struct codec_chain *codecs = &run->array->codecs;
    unsigned rank = run->cells.rank;
    uint64_t stored_length[RANK_MAX];
    struct box_run parts;
    struct box stored, overlap;

    for (unsigned i = 0; i < rank; i++)
        stored_length[i] = piece->box.length[codecs->order[i]];
    for (box_run_first(&parts, rank, stored_length, piece->first, piece->count); box_run_next(&parts, &stored); ) {
        struct box part;

        for (unsigned i = 0; i < rank; i++) {
            unsigned axis = codecs->order[i];
            part.start[axis] = piece->box.start[axis] + stored.start[i];
            part.length[axis] = stored.length[i];
        }
        if (box_intersect(rank, &part, box, &overlap))
            return true;
    }
    return false;
}

/* The piece as a run of its chunk. False: there is nothing of it that this task needs. */
static bool shape_piece(const struct stage_run *run, struct piece *piece)
{
    uint64_t items = 1, sub_items;
    struct box task_box;

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
    return piece_touches(run, piece, &task_box);
}

static bool locate(struct stage_run *run, struct read *read, struct error *err)
{
    struct piece *piece = &read->piece;
    uint64_t chunk_bytes = array_chunk_bytes(run->array), piece_bytes_max = run->stage->memory.piece_bytes_max;
    struct chunk_place place;

    read->object.fd = -1;
    read->payload_bytes = 0;
    read->empty = !shape_piece(run, piece);
    if (read->empty)
        return true;
    array_chunk_place(run->array, piece->coords, &place);
    if (!store_object_open(run->store, place.key, &read->object, err))
        return false;
    if (read->object.fd < 0) {
        if (!run->refuse_missing)
            return true;
        error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is missing", place.key, store_path(run->store));
        error_help(err, "'missing: refuse' is set on this input; without it missing chunks read as the fill value");
        return false;
    }
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

static bool decode(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    struct chunk_place place;
    const char *payload;
    uint64_t skip;

    if (read->empty)
        return true;
    if (!read->memory) {
        stage_deliver_missing(w, &read->piece.box, run->array->fill);
        if (read->piece.first == 0)
            report_add(run->report, COUNT_CHUNKS_MISSING, 1);
        return true;
    }
    skip = read->payload_offset - read->request.offset;
    payload = read->memory + skip;
    array_chunk_place(run->array, read->piece.coords, &place);
    if (read->request.result < 0)
        return error_sys(err, (int)-read->request.result, SPAN_NONE, "cannot read chunk '%s' of '%s'", place.key,
                         store_path(run->store));
    if ((uint64_t)read->request.result < skip + read->payload_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' ends after %" PRIi64 " bytes: it changed while"
                        " it was read", place.key, store_path(run->store), read->request.result);
    report_add(run->report, COUNT_SOURCE_READ_BYTES, read->payload_bytes);
    if (read->piece.first == 0)
        report_add(run->report, COUNT_CHUNKS_PRESENT, 1);
    if (!decode_parts(w, read, payload, err)) {
        struct error why = *err;

        if (why.code == ERR_FIT)
            note_blocks(run, payload, read->payload_bytes);

        *err = (struct error){ 0 };
        error_at(err, why.code, why.span, "chunk '%s' of '%s': %.300s", place.key, store_path(run->store), why.message);
        error_help(err, "%s", why.help);
        error_bytes(err, why.need_bytes, why.have_bytes);
        return false;
    }
    return true;
}

const struct stage_from from_chunks = { .enter_task = enter_task, .locate = locate, .decode = decode };
