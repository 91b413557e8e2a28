/* to_chunks.c - the sink is the target's chunks: every part of the tile is one chunk, one unit. */
#include <inttypes.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/array/copy.h"
#include "engine/exec/stage.h"
#include "engine/io/space.h"

static uint64_t unit_count(struct stage_run *run)
{
    return tile_part_count(&run->tile);
}

static bool has_room(struct worker *w)
{
    return stage_free_write(w) != NULL;
}

static bool finish(struct worker *w, struct write *write, struct error *err)
{
    struct stage_run *run = w->run;
    uint64_t whole_bytes = size_align_down(write->object_bytes, IO_ALIGN);
    const char *tail = write->object.direct ? (char *)write->request.memory + whole_bytes : NULL;

    write->busy = false;
    if (!store_object_finish(run->target_store, &write->object, tail, write->object_bytes, err)) {
        error_prefix(err, "chunk '%s'", write->key);
        return false;
    }
    report_add(run->report, COUNT_TARGET_WRITE_BYTES, write->object_bytes);
    report_add(run->report, COUNT_TARGET_OBJECTS, 1);
    stage_write_ends(w, write);
    if (write->holds_tile)
        stage_units_done(run, 1);
    return true;
}

/* Write the chunk's `bytes` at `memory`: whole blocks now, what is left when they are there. */
static bool submit(struct worker *w, struct write *write, char *memory, uint64_t bytes, struct error *err)
{
    write->object_bytes = bytes;
    write->request = (struct io_request){
        .op = IO_WRITE, .fd = write->object.fd, .memory = memory,
        .bytes = write->object.direct ? size_align_down(bytes, IO_ALIGN) : bytes,
    };
    write->busy = true;
    if (write->request.bytes == 0)
        return finish(w, write, err);
    io_submit(w->io, &write->request);
    return true;
}

static bool drain(struct worker *w, uint64_t unit, struct error *err)
{
    struct stage_run *run = w->run;
    const struct array_meta *target = run->target;
    struct write *write = stage_free_write(w);
    uint64_t encoded_bytes, part_items_bytes;
    struct chunk_place place;
    struct tile_part part;
    char *encoded;

    tile_part(&run->tile, unit, &part);
    tile_part_pad(&run->tile, &part, target->fill);
    part_items_bytes = box_elements(run->stage->parts.rank, &part.box) * run->item_bytes;
    if (!run->write_empty_chunks && !target->fill_undefined &&
        all_equal_item(part.memory, part.bytes, target->fill, run->item_bytes)) {
        report_add(run->report, COUNT_TARGET_EMPTY, 1);
        report_made(run->report, part_items_bytes);
        stage_units_done(run, 1);
        return true;
    }
    write->holds_tile = write->memory == NULL;
    encoded = write->holds_tile ? part.memory : write->memory;
    if (!encode(w->encoder, part.memory, encoded, &encoded_bytes, err))
        return false;
    report_made(run->report, part_items_bytes);
    array_chunk_place(target, part.coords, &place);
    memcpy(write->key, place.key, sizeof write->key);
    if (!store_object_create(run->target_store, place.key, &write->object, err))
        return false;
    stage_write_begins(w, write, object_hash(place.key, encoded, encoded_bytes));
    if (!write->holds_tile)
        stage_units_done(run, 1);
    return submit(w, write, encoded, encoded_bytes, err);
}

static bool written(struct worker *w, struct write *write, struct error *err)
{
    struct stage_run *run = w->run;

    if (write->request.result < 0) {
        write->busy = false;
        error_sys(err, (int)-write->request.result, run->stage->span, "cannot write chunk '%s' of '%s'", write->key,
                  store_path(run->target_store));
        space_explain(err, write->object.fd, write->object_bytes);
        store_object_close(&write->object);
        return false;
    }
    return finish(w, write, err);
}

const struct stage_to to_chunks = { .unit_count = unit_count, .has_room = has_room, .drain = drain, .written = written };
