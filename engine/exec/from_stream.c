/* from_stream.c - the source is an array's chunks that are too big to be held even encoded, and that decode only from
 * the beginning on. A piece is a whole task: the slices of the chunks that its box touches, in stored order. Of a scan,
 * whose one task is the whole array, it is a chunk.
 *
 * There is one decoder. It stands somewhere in one chunk; a task that goes on from there goes on, any other begins its
 * chunk anew and drops what comes before. So the walk decides what is decoded twice, not whether it is right. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/codec/streamed.h"
#include "engine/exec/stage.h"
#include "engine/io/os.h"

struct chunk_stream {
    struct stream_decoder *decoder;
    /* the chunk that it stands in */
    bool open;
    uint64_t coords[RANK_MAX];
    struct object object;
    uint64_t offset, bytes;             /* its encoded bytes in the object */
    uint64_t read_bytes;                /* of them, given to the decoder */
    struct run part;                    /* decoded, not yet delivered */
};

bool chunk_stream_new(struct chunk_stream **out, const struct stage_run *run, char *memory, struct error *err)
{
    struct chunk_stream *s = calloc(1, sizeof *s);

    *out = s;
    if (!s)
        return error_sys(err, ENOMEM, run->stage->span, "stage '%s': the stream", run->stage->name);
    s->object.fd = -1;
    return stream_decoder_new(&s->decoder, &run->array->codecs, run->array->dtype, array_chunk_bytes(run->array),
                              memory, run->stage->memory.stream_bytes, err);
}

static void close_chunk(struct chunk_stream *s)
{
    store_object_close(&s->object);
    s->open = false;
}

void chunk_stream_free(struct chunk_stream *s)
{
    if (!s)
        return;
    close_chunk(s);
    stream_decoder_free(s->decoder);
    free(s);
}

static bool enter_task(struct stage_run *run, struct error *err)
{
    (void)err;
    stage_claim_box(run);
    return true;
}

/* Reading is decode's: what to read next hangs on what was decoded. */
static bool locate(struct worker *w, struct read *read, struct error *err)
{
    const struct stage_run *run = w->run;
    struct box task, cell;

    (void)err;
    stage_task_box(run, read->piece.task, &task);
    grid_cell_box(&run->cells, read->piece.coords, &cell);
    box_intersect(run->cells.rank, &task, &cell, &read->piece.box);
    return true;
}

/* ---- the chunk at hand ---- */

/* What a task needs of one chunk. */
struct slice {
    uint64_t coords[RANK_MAX];
    struct box chunk;                   /* may hang over the array */
    struct box needed;
    uint64_t first, end;                /* items in stored order: from the first needed to after the last */
    bool is_first, is_last;             /* holds the chunk's first element; its last that lies in the array */
};

static void shape_slice(const struct stage_run *run, const struct box *box, struct slice *slice)
{
    const struct grid *chunks = &run->array->chunks;
    const uint8_t *order = run->array->codecs.order;

    slice->first = slice->end = 0;
    slice->is_first = slice->is_last = true;
    for (unsigned i = 0; i < chunks->rank; i++) {
        slice->chunk.start[i] = slice->coords[i] * chunks->cell[i];
        slice->chunk.length[i] = chunks->cell[i];
    }
    box_intersect(chunks->rank, &slice->chunk, box, &slice->needed);
    for (unsigned i = 0; i < chunks->rank; i++) {
        unsigned axis = order[i];
        uint64_t from = slice->needed.start[axis] - slice->chunk.start[axis];
        uint64_t last = from + slice->needed.length[axis] - 1;
        uint64_t inside = size_min(chunks->cell[axis], chunks->shape[axis] - slice->chunk.start[axis]);

        slice->first = slice->first * chunks->cell[axis] + from;
        slice->end = slice->end * chunks->cell[axis] + last;
        slice->is_first = slice->is_first && from == 0;
        slice->is_last = slice->is_last && last + 1 == inside;
    }
    slice->end++;
}

/* Stand at the beginning of a chunk. *missing: there is none. */
static bool open_chunk(struct stage_run *run, const struct slice *slice, bool *missing, struct error *err)
{
    struct chunk_stream *s = run->stream;
    struct stored_chunk chunk;
    bool ok;

    close_chunk(s);
    ok = stage_open_chunk(run, slice->coords, slice->is_first, &chunk, err);
    s->object = chunk.object;
    if (!ok)
        return false;
    *missing = s->object.fd < 0;
    if (*missing)
        return true;
    s->offset = chunk.place.offset;
    s->bytes = chunk.bytes;
    s->read_bytes = 0;
    s->part = (struct run){ .piece = slice->chunk, .order = run->array->codecs.order };
    memcpy(s->coords, slice->coords, sizeof s->coords);
    if (s->bytes == 0)
        return error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is empty (0 bytes)", chunk.place.key,
                        store_path(run->store));
    s->open = true;
    if (stream_decoder_start(s->decoder, s->bytes, err))
        return true;
    error_prefix(err, "chunk '%s' of '%s'", chunk.place.key, store_path(run->store));
    return false;
}

static bool ended_early(uint64_t bytes, struct error *err)
{
    return error_changed(err, SPAN_NONE, "it ends after %" PRIu64 " bytes: it changed while it was read", bytes);
}

/* The next window of encoded bytes. */
static bool read_window(struct stage_run *run, struct error *err)
{
    struct chunk_stream *s = run->stream;
    uint64_t at = s->offset + s->read_bytes, from = size_align_down(at, IO_ALIGN), skip = at - from, window_bytes;
    char *window = stream_decoder_window(s->decoder, &window_bytes);
    uint64_t wanted = size_min(window_bytes, size_align_up(s->offset + s->bytes, IO_ALIGN) - from), fresh;
    int64_t got = os_pread_some(s->object.fd, window, wanted, from);

    if (got < 0)
        return error_sys(err, (int)-got, SPAN_NONE, "cannot read it");
    if ((uint64_t)got <= skip)
        return ended_early(from + (uint64_t)got, err);
    fresh = size_min((uint64_t)got - skip, s->bytes - s->read_bytes);
    stream_decoder_give(s->decoder, window + skip, fresh);
    s->read_bytes += fresh;
    report_add(run->report, COUNT_SOURCE_READ_BYTES, fresh);
    return true;
}

/* The next decoded part behind those before; none when the chunk is complete. */
static bool next_part(struct stage_run *run, struct error *err)
{
    struct chunk_stream *s = run->stream;
    uint64_t part_bytes;

    s->part.first += s->part.count;
    s->part.count = 0;
    for (;;) {
        if (stop_asked(run->stop))
            return error_stopped(err, stop_asked(run->stop));
        if (!stream_decoder_next(s->decoder, &s->part.data, &part_bytes, err))
            return false;
        if (part_bytes > 0) {
            s->part.count = part_bytes / run->item_bytes;
            report_add(run->report, COUNT_SOURCE_DECODED_BYTES, part_bytes);
            return true;
        }
        if (s->read_bytes == s->bytes)
            return store_object_changed(&s->object) != -ESTALE ||
                   error_changed(err, SPAN_NONE, "it changed while it was read");
        if (!read_window(run, err))
            return false;
    }
}

/* Decode up to the slice's end; with the chunk's last element to the chunk's, where the rest of it is checked. A
 * part that reaches beyond stays for the next slice: what of it lies outside the tile is dropped by the scatter. */
static bool pass_through(struct worker *w, const struct slice *slice, struct error *err)
{
    struct stage_run *run = w->run;
    struct chunk_stream *s = run->stream;

    while (slice->is_last || s->part.first + s->part.count < slice->end) {
        if (!next_part(run, err))
            return false;
        if (s->part.count == 0)
            break;
        if (s->part.first + s->part.count > slice->first && s->part.first < slice->end)
            stage_deliver(w, &s->part);
    }
    return true;
}

/* A chunk whose frames refer further back than was planned: let the next plan know. */
static void note_window(struct stage_run *run)
{
    pthread_mutex_lock(&run->lock);
    if (run->seen)
        stream_decoder_saw(run->stream->decoder, run->seen);
    pthread_mutex_unlock(&run->lock);
}

static bool decode_slice(struct worker *w, const struct slice *slice, struct error *err)
{
    struct stage_run *run = w->run;
    struct chunk_stream *s = run->stream;
    struct chunk_place place;
    bool missing = false;

    if (!s->open || memcmp(s->coords, slice->coords, run->array->chunks.rank * sizeof *s->coords) != 0 ||
        s->part.first > slice->first) {
        if (!open_chunk(run, slice, &missing, err))
            return false;
    } else if (s->part.first + s->part.count > slice->first) {
        stage_deliver(w, &s->part);
    }
    if (run->resume)
        stage_source_read(run, slice->coords, s->object.stamp);
    if (missing) {
        stage_deliver_missing(w, &slice->needed, run->array->fill);
        report_add(run->report, COUNT_CHUNKS_MISSING, slice->is_first);
        return true;
    }
    if (!pass_through(w, slice, err)) {
        if (err->code == ERR_FIT)
            note_window(run);
        array_chunk_place(run->array, slice->coords, &place);
        error_prefix(err, "chunk '%s' of '%s'", place.key, store_path(run->store));
        return false;
    }
    report_add(run->report, COUNT_CHUNKS_PRESENT, slice->is_first);
    if (slice->is_last)
        close_chunk(s);
    return true;
}

static bool decode(struct worker *w, struct read *read, struct error *err)
{
    struct stage_run *run = w->run;
    const struct grid *chunks = &run->array->chunks;
    struct cell_range touched;
    struct slice slice;

    grid_cells_touched(chunks, &read->piece.box, &touched);
    for (uint64_t i = 0; i < cell_range_cells(chunks->rank, &touched); i++) {
        cell_range_coords(chunks->rank, &touched, i, slice.coords);
        shape_slice(run, &read->piece.box, &slice);
        if (!decode_slice(w, &slice, err))
            return false;
    }
    return true;
}

const struct stage_from from_stream = { .enter_task = enter_task, .locate = locate, .decode = decode };
