/* to_slices.c - the sink is target chunks too big to be held, one after another. The tile is one slice of a column of
 * chunks, one unit: it may hold the end of one chunk and the beginning of the next.
 *
 *     raw     |  put already  |  gap  |  this slice  |  what hangs over  |        gap, overhang: fill values
 *             0            position   first                          chunk's end
 *     file    |  written, whole blocks  |  write buffer at hand  ...              between units its end is in `tail`
 *
 * Slices of nothing but the fill value are not put: the gap before the next one that holds anything else is filled
 * anyway. So a chunk without any is never begun.
 *
 * One worker drains the unit, since a chunk is one stream. It goes through the buffers that it has, and comes back to
 * the unit when one is free; the unit is done when all that it wrote is there, so whoever takes the next one finds no
 * write in flight. */
#include "engine/exec/slices.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/array/copy.h"
#include "engine/base/size.h"
#include "engine/codec/append.h"
#include "engine/exec/stage.h"
#include "engine/io/os.h"
#include "engine/io/space.h"

#define FILL_BYTES (64 * KIB)

/* What the tile holds of one chunk; all in raw bytes of the chunk. */
struct slice {
    char *memory;
    uint64_t first, bytes;          /* bytes 0: nothing but fill values, or nothing more */
    uint64_t end;                   /* put up to here, with what hangs over */
    bool last;                      /* the chunk ends with it */
    bool encoded;                   /* all of it is put and taken */
};

struct slices {
    struct appender *appender;
    char *tail, *fill;

    /* the chunk at hand */
    bool begun;
    char key[KEY_BYTES_MAX];
    struct object object;
    uint64_t position;              /* raw bytes put */
    uint64_t file_bytes;            /* submitted; a multiple of IO_ALIGN */
    uint64_t tail_bytes;
    struct digest written;          /* of what was submitted (written.h) */
    struct object old;              /* what was written before it turned out not to shrink */
    bool restarting;

    /* the unit at hand, of the worker that drains it */
    bool open;
    struct tile_part part;
    struct cell_range chunks;
    uint64_t chunk_next, chunk_count;
    bool slice_open;
    struct slice slice;
    struct write *write;            /* being filled; NULL: none */
    uint64_t write_used_bytes;
    unsigned writes_in_flight;
    bool settling;                  /* it waits until no write is in flight */
};

/* How a part of a unit went: it may have to wait for a write. */
enum progress { FAILED, WAITS, DONE };

/* ---- memory ---- */

static void needs_of(const struct array_meta *target, struct codec_needs *needs)
{
    codec_appended_needs(&target->codecs, target->dtype, array_chunk_bytes(target), needs);
}

uint64_t slices_append_bytes(const struct array_meta *target)
{
    struct codec_needs needs;

    needs_of(target, &needs);
    return size_add_sat(size_align_up(needs.scratch_bytes_least, IO_ALIGN), IO_ALIGN + FILL_BYTES);
}

bool slices_prepare(struct stage_run *run, struct error *err)
{
    uint64_t append_bytes = run->stage->memory.append_bytes, own_bytes = IO_ALIGN + FILL_BYTES;
    const struct array_meta *target = run->target;
    struct slices *s = calloc(1, sizeof *s);
    char *memory = pool_carve(run->pool, "append", append_bytes);

    if (!s)
        return error_at(err, ERR_FIT, run->stage->span, "no memory for the chunk at hand");
    run->slices = s;
    s->object.fd = s->old.fd = -1;
    assert(append_bytes >= own_bytes && run->stage->memory.write_bytes >= IO_ALIGN);
    s->tail = memory;
    s->fill = memory + IO_ALIGN;
    if (!appender_new(&s->appender, &target->codecs, target->dtype, array_chunk_bytes(target), memory + own_bytes,
                      append_bytes - own_bytes, err))
        return false;
    appender_stop_when(s->appender, run->stop);
    return written_bytes_init(&s->written, err);
}

void slices_release(struct stage_run *run)
{
    struct slices *s = run->slices;

    if (!s)
        return;
    appender_free(s->appender);
    store_object_close(&s->object);
    store_object_close(&s->old);
    digest_release(&s->written);
    free(s);
    run->slices = NULL;
}

/* ---- writes ---- */

static void submit(struct worker *w, uint64_t bytes)
{
    struct slices *s = w->run->slices;
    struct write *write = s->write;

    write->request = (struct io_request){
        .op = IO_WRITE, .fd = s->object.fd, .memory = write->memory, .offset = s->file_bytes, .bytes = bytes,
    };
    write->busy = true;
    written_bytes_add(&s->written, s->file_bytes, write->memory, bytes);
    s->write = NULL;
    s->file_bytes += bytes;
    s->writes_in_flight++;
    io_submit(w->io, &write->request);
}

/* A buffer to go on in. It begins with what did not make a whole block. */
static bool take_write(struct worker *w)
{
    struct slices *s = w->run->slices;

    if (s->write)
        return true;
    s->write = stage_free_write(w);
    if (!s->write)
        return false;
    memcpy(s->write->memory, s->tail, s->tail_bytes);
    s->write_used_bytes = s->tail_bytes;
    s->tail_bytes = 0;
    return true;
}

/* Write what is in the buffer, but for the tail, and wait until all is there. */
static enum progress settle(struct worker *w)
{
    struct slices *s = w->run->slices;

    s->settling = true;
    if (s->write) {
        uint64_t whole_bytes = size_align_down(s->write_used_bytes, IO_ALIGN);

        s->tail_bytes = s->write_used_bytes - whole_bytes;
        memcpy(s->tail, s->write->memory + whole_bytes, s->tail_bytes);
        if (whole_bytes > 0)
            submit(w, whole_bytes);
        s->write = NULL;
    }
    if (s->writes_in_flight > 0)
        return WAITS;
    s->settling = false;
    return DONE;
}

/* ---- chunks ---- */

static bool begin_chunk(struct stage_run *run, const uint64_t *coords, struct error *err)
{
    struct slices *s = run->slices;
    struct chunk_place place;

    array_chunk_place(run->target, coords, &place);
    memcpy(s->key, place.key, sizeof s->key);
    s->file_bytes = s->tail_bytes = 0;
    s->begun = true;
    return appender_begin(s->appender, err) && store_object_create(run->target_store, s->key, &s->object, err);
}

static bool read_back(void *context, uint64_t offset, void *to, uint64_t bytes, struct error *err)
{
    struct stage_run *run = context;
    int got = os_pread_all(run->slices->old.fd, to, bytes, offset);

    return got >= 0 || error_sys(err, -got, run->stage->span, "cannot read back chunk '%s' of '%s'",
                                 run->slices->key, store_path(run->target_store));
}

/* The chunk does not shrink: a fresh object, while the old one is read back. */
static enum progress restart(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;
    struct slices *s = run->slices;
    enum progress progress = settle(w);

    if (progress != DONE)
        return progress;
    if (!store_object_finish(run->target_store, &s->object, s->tail, s->file_bytes + s->tail_bytes, err) ||
        !store_object_reopen_removed(run->target_store, s->key, &s->old, err) ||
        !store_object_create(run->target_store, s->key, &s->object, err))
        return FAILED;
    s->file_bytes = s->tail_bytes = 0;
    written_bytes_take(&s->written, s->key, 0);
    s->restarting = false;
    appender_restart(s->appender, read_back, run);
    return DONE;
}

/* What the codec knew only now goes to the front; some of that may be in the tail, which is written last. */
static bool write_head(struct stage_run *run, struct error *err)
{
    struct slices *s = run->slices;
    const char *head;
    uint64_t bytes;

    appender_head(s->appender, &head, &bytes);
    if (bytes > s->file_bytes)
        memcpy(s->tail, head + s->file_bytes, bytes - s->file_bytes);
    bytes = size_min(bytes, s->file_bytes);
    written_bytes_add(&s->written, 0, head, bytes);
    return store_object_write_head(run->target_store, &s->object, head, bytes, err);
}

static enum progress finish_chunk(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;
    struct slices *s = run->slices;
    enum progress progress = settle(w);
    uint64_t bytes = s->file_bytes + s->tail_bytes;

    if (progress != DONE)
        return progress;
    assert(appender_is_complete(s->appender));
    if (!write_head(run, err) || !store_object_finish(run->target_store, &s->object, s->tail, bytes, err)) {
        error_prefix(err, "chunk '%s'", s->key);
        return FAILED;
    }
    store_object_close(&s->old);
    written_bytes_add(&s->written, s->file_bytes, s->tail, s->tail_bytes);
    stage_object_written(run, written_bytes_take(&s->written, s->key, bytes));
    report_add(run->report, COUNT_TARGET_WRITE_BYTES, bytes);
    report_add(run->report, COUNT_TARGET_OBJECTS, 1);
    s->begun = false;
    s->position = s->tail_bytes = 0;
    return DONE;
}

/* ---- slices ---- */

/* Strides of a cell in stored order. */
static void stored_strides(const struct grid *cells, const uint8_t *order, uint64_t item_bytes, uint64_t *stride)
{
    for (unsigned i = cells->rank; i-- > 0; item_bytes *= cells->cell[order[i]])
        stride[order[i]] = item_bytes;
}

/* The axis that a slice is cut on: the first in stored order on which it is longer than one, or the last. On those
 * after it the slice is as long as the chunk. */
static unsigned sliced_axis(const struct grid *parts, const uint8_t *order)
{
    unsigned i = 0;

    while (i + 1 < parts->rank && parts->cell[order[i]] == 1)
        i++;
    return order[i];
}

/* What the tile holds of the chunk. */
static void find_slice(const struct stage_run *run, const uint64_t *coords, struct slice *out)
{
    const struct grid *chunks = &run->target->chunks, *parts = &run->stage->parts;
    const uint8_t *order = run->target->codecs.order;
    const struct tile_part *part = &run->slices->part;
    uint64_t stride[RANK_MAX], part_stride[RANK_MAX];
    struct box chunk, box;

    *out = (struct slice){ .memory = part->memory, .bytes = run->item_bytes, .last = true };
    grid_cell_box(chunks, coords, &chunk);
    box_intersect(chunks->rank, &part->box, &chunk, &box);
    stored_strides(chunks, order, run->item_bytes, stride);
    stored_strides(parts, order, run->item_bytes, part_stride);
    for (unsigned i = 0; i < chunks->rank; i++) {
        out->first += (box.start[i] - coords[i] * chunks->cell[i]) * stride[i];
        out->memory += (box.start[i] - part->coords[i] * parts->cell[i]) * part_stride[i];
        out->last = out->last && box.start[i] + box.length[i] == chunk.start[i] + chunk.length[i];
    }
    if (chunks->rank > 0) {
        unsigned axis = sliced_axis(parts, order);

        assert(stride[axis] == part_stride[axis]);
        out->bytes = box.length[axis] * stride[axis];
    }
    out->end = out->first + out->bytes;
}

/* Look at the next chunk that the tile touches. */
static void open_slice(struct stage_run *run, uint64_t *coords)
{
    const struct array_meta *target = run->target;
    struct slices *s = run->slices;
    struct slice *slice = &s->slice;

    s->slice_open = true;
    find_slice(run, coords, slice);
    assert(slice->first >= s->position);
    if (all_equal_item(slice->memory, slice->bytes, target->fill, run->item_bytes)) {
        slice->first = slice->end = s->position;
        slice->bytes = 0;
    }
    if (slice->last)
        slice->end = array_chunk_bytes(target);
}

/* Is there nothing to be written of it? */
static bool is_empty(const struct stage_run *run)
{
    const struct slices *s = run->slices;

    return s->slice.bytes == 0 &&
           (!s->slice.last || (!s->begun && !run->write_empty_chunks && !run->target->fill_undefined));
}

/* The next raw bytes: a gap, the slice, what hangs over. */
static void put_more(const struct stage_run *run)
{
    struct slices *s = run->slices;
    const struct slice *slice = &s->slice;
    uint64_t slice_end = slice->first + slice->bytes, bytes;
    char *from = s->fill;

    if (s->position >= slice->first && s->position < slice_end) {
        from = slice->memory + (s->position - slice->first);
        bytes = slice_end - s->position;
    } else {
        bytes = size_min(FILL_BYTES, (s->position < slice->first ? slice->first : slice->end) - s->position);
        fill_bytes(from, bytes, run->target->fill, run->item_bytes);
    }
    s->position += bytes;
    appender_put(s->appender, from, bytes);
}

static enum progress encode_slice(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;
    struct slices *s = run->slices;
    uint64_t write_bytes = size_align_down(run->stage->memory.write_bytes, IO_ALIGN), got;

    for (;;) {
        if (s->restarting) {
            enum progress progress = restart(w, err);

            if (progress != DONE)
                return progress;
        }
        if (!take_write(w))
            return WAITS;
        if (!appender_take(s->appender, s->write->memory + s->write_used_bytes, write_bytes - s->write_used_bytes,
                           &got, err))
            return FAILED;
        s->write_used_bytes += got;
        s->restarting = appender_must_restart(s->appender);
        if (s->restarting)
            continue;
        if (s->write_used_bytes == write_bytes) {
            submit(w, write_bytes);
            continue;
        }
        if (s->position == s->slice.end)
            return DONE;
        put_more(run);
    }
}

static enum progress pass_chunk(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;
    struct slices *s = run->slices;
    uint64_t coords[RANK_MAX];
    enum progress progress;

    cell_range_coords(run->target->chunks.rank, &s->chunks, s->chunk_next, coords);
    if (!s->slice_open)
        open_slice(run, coords);
    if (is_empty(run)) {
        if (s->slice.last)
            report_add(run->report, COUNT_TARGET_EMPTY, 1);
        return DONE;
    }
    if (!s->begun && !begin_chunk(run, coords, err))
        return FAILED;
    if (!s->slice.encoded) {
        progress = encode_slice(w, err);
        if (progress != DONE)
            return progress;
        s->slice.encoded = true;
    }
    return s->slice.last ? finish_chunk(w, err) : DONE;
}

/* ---- the unit ---- */

static uint64_t unit_count(struct stage_run *run)
{
    return tile_part_count(&run->tile);
}

static bool has_room(struct worker *w)
{
    const struct slices *s = w->run->slices;

    return s->settling ? s->writes_in_flight == 0 : stage_free_write(w) != NULL;
}

static void open_unit(struct stage_run *run, uint64_t unit)
{
    struct slices *s = run->slices;

    tile_part(&run->tile, unit, &s->part);
    tile_part_pad(&run->tile, &s->part, run->target->fill);
    grid_cells_touched(&run->target->chunks, &s->part.box, &s->chunks);
    s->chunk_next = 0;
    s->chunk_count = cell_range_cells(run->target->chunks.rank, &s->chunks);
    s->open = true;
}

static bool drain(struct worker *w, uint64_t unit, struct error *err)
{
    struct stage_run *run = w->run;
    struct slices *s = run->slices;
    enum progress progress = DONE;

    if (!s->open)
        open_unit(run, unit);
    while (s->chunk_next < s->chunk_count && progress == DONE) {
        progress = pass_chunk(w, err);
        if (progress == DONE) {
            s->slice_open = false;
            s->chunk_next++;
        }
    }
    if (progress == DONE)
        progress = settle(w);
    if (progress == DONE) {
        s->open = false;
        report_made(run->report, box_elements(run->stage->parts.rank, &s->part.box) * run->item_bytes);
        stage_units_done(run, 1);
    }
    w->unit_begun = progress == WAITS;
    return progress != FAILED;
}

static bool written(struct worker *w, struct write *write, struct error *err)
{
    struct stage_run *run = w->run;

    write->busy = false;
    run->slices->writes_in_flight--;
    if (write->request.result >= 0)
        return true;
    error_sys(err, (int)-write->request.result, run->stage->span, "cannot write chunk '%s' of '%s'", run->slices->key,
              store_path(run->target_store));
    return space_explain(err, write->request.fd, write->request.bytes);
}

/* Within a chunk only this process can go on. */
static bool stands_alone(const struct stage_run *run)
{
    return !run->slices->begun;
}

const struct stage_to to_slices = { .unit_count = unit_count, .has_room = has_room, .drain = drain, .written = written,
                                    .stands_alone = stands_alone };
