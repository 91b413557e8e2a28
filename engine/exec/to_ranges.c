/* to_ranges.c - the sink is the target's uncompressed chunks, each written in parts by the tasks that touch it.
 *
 * A part of the tile is what one task has of one chunk, and one unit. Its elements are runs of the chunk, which are
 * copied into write buffers at the place they have in a block of the file, so that whole blocks leave directly:
 *
 *     file    |........####|############|############|####........|
 *                 head           direct                tail
 *
 * A head or tail shares its block with a neighbour, perhaps one of another task, and goes through the page cache; so does
 * the neighbour's, and the kernel puts them together. So does all of a short run that has a head or tail.
 *
 * A chunk that is all fill value is never made. Whether it is, nobody knows before the last of its tasks; so a part that
 * is all fill leaves no trace until another part has made the object, and whoever makes it makes up for what was left out:
 * by zeros, which a new file holds anyway, or by writing fill all over it first. */
#include <assert.h>
#include <string.h>

#include "engine/array/copy.h"
#include "engine/base/size.h"
#include "engine/exec/stage.h"
#include "engine/io/os.h"
#include "engine/io/space.h"

/* Runs copied by one call: then completions and other work have their turn. */
enum { RUNS_AT_ONCE = 256 };
/* Fewer bytes of whole blocks than this go with their head or tail through the page cache: one write instead of up to
 * three. */
enum { DIRECT_BYTES_MIN = 4 * IO_ALIGN };

static uint64_t unit_count(struct stage_run *run)
{
    return tile_part_count(&run->tile);
}

static bool has_room(struct worker *w)
{
    return stage_free_write(w) != NULL;
}

static bool cannot_write(const struct worker *w, const struct open_chunk *chunk, int result, struct error *err)
{
    error_sys(err, -result, w->run->stage->span, "cannot write chunk '%s' of '%s'", chunk->key,
              store_path(w->run->target_store));
    return space_explain(err, store_root_fd(w->run->target_store), 0);
}

/* ---- the object ---- */

/* Does the part hold the chunk's first element? Then its task is the first that touches the chunk: of the tasks that do,
 * a walk begins with the one nearest to the origin. */
static bool is_first(const struct stage_run *run, const struct tile_part *part)
{
    const struct grid *chunks = &run->stage->parts;

    for (unsigned i = 0; i < chunks->rank; i++)
        if (part->box.start[i] != part->coords[i] * chunks->cell[i])
            return false;
    return true;
}

/* And its last, within the array: then it is the last. */
static bool is_last(const struct stage_run *run, const struct tile_part *part)
{
    struct box chunk;

    grid_cell_box(&run->stage->parts, part->coords, &chunk);
    for (unsigned i = 0; i < run->stage->parts.rank; i++)
        if (part->box.start[i] + part->box.length[i] != chunk.start[i] + chunk.length[i])
            return false;
    return true;
}

static bool hangs_over(const struct stage_run *run, const struct tile_part *part)
{
    const struct grid *chunks = &run->stage->parts;

    for (unsigned i = 0; i < chunks->rank; i++)
        if (part->coords[i] * chunks->cell[i] + chunks->cell[i] > chunks->shape[i])
            return true;
    return false;
}

static bool is_all_fill(const struct stage_run *run, const struct tile_part *part)
{
    return !run->write_empty_chunks && !run->target->fill_undefined &&
           all_equal_item(part->memory, part->bytes, run->target->fill, run->item_bytes);
}

static void swap_bytes(const struct stage_run *run, char *memory, uint64_t bytes)
{
    uint32_t unit_bytes = run->target->codecs.big_endian ? dtype_swap_bytes(run->target->dtype) : 1;

    if (unit_bytes > 1)
        dtype_swap(memory, bytes, unit_bytes);
}

/* Bytes that are no whole blocks, or of a file without direct writes. */
static bool write_cached(struct worker *w, const struct open_chunk *chunk, const char *memory, uint64_t bytes,
                         uint64_t offset, struct error *err)
{
    int result = bytes ? os_pwrite_all(chunk->object.cached_fd, memory, bytes, offset) : 0;

    if (result < 0)
        return cannot_write(w, chunk, result, err);
    report_add(w->run->report, COUNT_TARGET_WRITE_BYTES, bytes);
    return true;
}

/* The fill value all over a new object. Nobody else writes to it before this part is drained. */
static bool fill_chunk(struct worker *w, const struct open_chunk *chunk, struct error *err)
{
    struct stage_run *run = w->run;
    uint64_t chunk_bytes = array_chunk_bytes(run->target), whole_bytes = size_align_down(chunk_bytes, IO_ALIGN);
    uint64_t buffer_bytes = size_min(run->stage->memory.write_bytes, size_align_up(chunk_bytes, IO_ALIGN));
    char *memory = stage_free_write(w)->memory;

    fill_bytes(memory, buffer_bytes, run->target->fill, run->item_bytes);
    swap_bytes(run, memory, buffer_bytes);
    for (uint64_t offset = 0; offset < whole_bytes; offset += buffer_bytes) {
        uint64_t bytes = size_min(buffer_bytes, whole_bytes - offset);
        int result;

        if (stop_asked(run->stop))
            return error_stopped(err, stop_asked(run->stop));
        result = os_pwrite_all(chunk->object.fd, memory, bytes, offset);
        if (result < 0)
            return cannot_write(w, chunk, result, err);
        report_add(run->report, COUNT_TARGET_WRITE_BYTES, bytes);
    }
    return write_cached(w, chunk, memory, chunk_bytes - whole_bytes, whole_bytes, err);
}

static bool make_chunk(struct worker *w, struct open_chunk *chunk, const struct tile_part *part, struct error *err)
{
    static const uint8_t zeros[ITEM_BYTES_MAX];
    struct stage_run *run = w->run;

    if (!store_ranged_make(run->target_store, chunk->key, array_chunk_bytes(run->target), &chunk->object, err))
        return false;
    report_add(run->report, COUNT_TARGET_OBJECTS, 1);
    if (memcmp(run->target->fill, zeros, run->item_bytes) != 0 && !(is_first(run, part) && !hangs_over(run, part)) &&
        !fill_chunk(w, chunk, err))
        return false;
    return store_ranged_show(run->target_store, chunk->key, err);
}

/* What its values add to the sum over the target. */
static void sum_part(struct worker *w, const struct tile_part *part)
{
    digest_run(&w->written, &(struct run){ .piece = part->box, .count = part->bytes / w->run->item_bytes,
                                           .data = part->memory }, NULL);
    stage_object_written(w->run, written_values_take(&w->written));
}

/* One that this worker has no object open in. There are more than writes, so there is one. */
static struct open_chunk *unused_chunk(struct worker *w)
{
    struct open_chunk *chunk = w->open_chunks;

    while (chunk->object.fd >= 0)
        chunk++;
    assert(chunk <= w->open_chunks + w->run->stage->memory.write_slots);
    return chunk;
}

/* Open the part's object, or make it. w->chunk stays NULL if the part is to be left out. */
static bool open_chunk(struct worker *w, const struct tile_part *part, struct error *err)
{
    struct stage_run *run = w->run;
    struct open_chunk *chunk = unused_chunk(w);
    struct chunk_place place;

    array_chunk_place(run->target, part->coords, &place);
    memcpy(chunk->key, place.key, sizeof chunk->key);
    chunk->writes = 0;
    chunk->copied = false;
    if (!is_first(run, part) && !store_ranged_open(run->target_store, chunk->key, &chunk->object, err))
        return false;
    if (chunk->object.fd < 0 && is_all_fill(run, part)) {
        if (is_last(run, part))
            report_add(run->report, COUNT_TARGET_EMPTY, 1);
        return true;
    }
    if (chunk->object.fd < 0 && !make_chunk(w, chunk, part, err))
        return false;
    w->chunk = chunk;
    w->position = 0;
    return true;
}

/* Close it once it will not be written to any more. */
static bool let_go(struct worker *w, struct open_chunk *chunk, struct error *err)
{
    if (!chunk->copied || chunk->writes > 0)
        return true;
    if (store_ranged_close(w->run->target_store, &chunk->object, err))
        return true;
    error_prefix(err, "chunk '%s'", chunk->key);
    return false;
}

/* ---- the runs ---- */

/* A part as it lies in its chunk: axes in stored order. */
struct stored_part {
    const struct tile_part *part;
    unsigned rank;
    uint64_t length[RANK_MAX], start[RANK_MAX], cell[RANK_MAX];
    uint64_t stride[RANK_MAX];      /* bytes, in the tile */
    uint64_t items, run_items;      /* of the part; of one run, contiguous in the chunk */
};

static void stored_part_init(struct stored_part *s, const struct stage_run *run, const struct tile_part *part)
{
    uint64_t stride[RANK_MAX];

    s->part = part;
    s->rank = run->stage->parts.rank;
    s->items = s->run_items = 1;
    strides_c(s->rank, part->box.length, run->item_bytes, stride);
    for (unsigned i = 0; i < s->rank; i++) {
        unsigned axis = run->target->codecs.order[i];

        s->length[i] = part->box.length[axis];
        s->cell[i] = run->stage->parts.cell[axis];
        s->start[i] = part->box.start[axis] - part->coords[axis] * s->cell[i];
        s->stride[i] = stride[axis];
        s->items *= s->length[i];
    }
    for (unsigned i = s->rank; i-- > 0; ) {
        s->run_items *= s->length[i];
        if (s->length[i] < s->cell[i])
            break;
    }
}

/* Where item `position` of the part is in its chunk. */
static uint64_t chunk_offset(const struct stored_part *s, uint64_t position, uint32_t item_bytes)
{
    uint64_t offset = 0, stride = item_bytes;

    for (unsigned i = s->rank; i-- > 0; position /= s->length[i]) {
        offset += (s->start[i] + position % s->length[i]) * stride;
        stride *= s->cell[i];
    }
    return offset;
}

static void copy_items(const struct stored_part *s, uint64_t first, uint64_t count, uint32_t item_bytes, char *to)
{
    uint64_t to_stride[RANK_MAX];
    struct box_run boxes;
    struct box box;

    for (box_run_first(&boxes, s->rank, s->length, first, count); box_run_next(&boxes, &box); ) {
        const char *from = s->part->memory;

        for (unsigned i = 0; i < s->rank; i++)
            from += box.start[i] * s->stride[i];
        strides_c(s->rank, box.length, item_bytes, to_stride);
        copy_box(s->rank, box.length, item_bytes, to, to_stride, from, s->stride);
        to += box_elements(s->rank, &box) * item_bytes;
    }
}

/* Write `bytes` at `memory`, which lies as in a block of the file: the ends now, what is between them when it is there. */
static bool submit(struct worker *w, struct write *write, char *memory, uint64_t bytes, uint64_t offset,
                   struct error *err)
{
    struct open_chunk *chunk = w->chunk;
    uint64_t end = offset + bytes, from = offset, to = end;

    if (chunk->object.direct) {
        from = size_min(size_align_up(offset, IO_ALIGN), end);
        to = size_max(size_align_down(end, IO_ALIGN), from);
        if (to - from < DIRECT_BYTES_MIN && to - from < bytes)
            from = to = end;
    }
    if (!write_cached(w, chunk, memory, from - offset, offset, err) ||
        !write_cached(w, chunk, memory + (to - offset), end - to, to, err))
        return false;
    if (from == to)
        return true;
    write->chunk = chunk;
    write->request = (struct io_request){
        .op = IO_WRITE, .fd = chunk->object.fd, .memory = memory + (from - offset), .offset = from, .bytes = to - from,
    };
    write->busy = true;
    chunk->writes++;
    stage_write_begins(w, write, 0);
    io_submit(w->io, &write->request);
    return true;
}

/* Write one run from w->position on, or as much of it as a buffer takes. */
static bool write_run(struct worker *w, const struct stored_part *s, struct write *write, struct error *err)
{
    const struct stage_run *run = w->run;
    uint64_t offset = chunk_offset(s, w->position, run->item_bytes), skip = offset % IO_ALIGN;
    uint64_t room = (run->stage->memory.write_bytes - skip) / run->item_bytes;
    uint64_t count = size_min(room, s->run_items - w->position % s->run_items);
    char *memory = write->memory + skip;

    copy_items(s, w->position, count, run->item_bytes, memory);
    swap_bytes(run, memory, count * run->item_bytes);
    w->position += count;
    return submit(w, write, memory, count * run->item_bytes, offset, err);
}

static bool drain(struct worker *w, uint64_t unit, struct error *err)
{
    struct stage_run *run = w->run;
    struct stored_part stored;
    struct open_chunk *chunk;
    struct tile_part part;

    tile_part(&run->tile, unit, &part);
    if (!w->chunk) {
        if (!open_chunk(w, &part, err))
            return false;
        if (!w->chunk) {
            report_made(run->report, part.bytes);
            stage_units_done(run, 1);
            return true;
        }
        sum_part(w, &part);
    }
    stored_part_init(&stored, run, &part);
    for (unsigned i = 0; w->position < stored.items; i++) {
        struct write *write = stage_free_write(w);

        if (!write || i == RUNS_AT_ONCE) {
            w->unit_begun = true;
            return true;
        }
        if (!write_run(w, &stored, write, err))
            return false;
    }
    chunk = w->chunk;
    chunk->copied = true;
    w->chunk = NULL;
    if (!let_go(w, chunk, err))
        return false;
    report_made(run->report, part.bytes);
    stage_units_done(run, 1);
    return true;
}

static bool written(struct worker *w, struct write *write, struct error *err)
{
    struct open_chunk *chunk = write->chunk;

    write->busy = false;
    chunk->writes--;
    if (write->request.result < 0)
        return cannot_write(w, chunk, (int)write->request.result, err);
    report_add(w->run->report, COUNT_TARGET_WRITE_BYTES, write->request.bytes);
    if (!let_go(w, chunk, err))
        return false;
    stage_write_ends(w, write);
    return true;
}

const struct stage_to to_ranges = { .unit_count = unit_count, .has_room = has_room, .drain = drain, .written = written };
