#include "engine/exec/frame_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/io/os.h"

/* A table's part of a range, wherever it begins in a page, lies in these. */
enum { WINDOW_BYTES = 2 * IO_ALIGN };

struct frame_window {
    char *memory;                   /* WINDOW_BYTES, and CODEC_PLACES_BYTES_MAX behind them */
    uint64_t chunk;                 /* UINT64_MAX: none */
    uint64_t offset, bytes;         /* of the object: what is held */
    char head[CODEC_RANGE_HEAD_BYTES];
};

bool frame_window_new(struct frame_window **out, struct error *err)
{
    struct frame_window *w = calloc(1, sizeof *w);

    if (w)
        w->memory = aligned_alloc(IO_ALIGN, WINDOW_BYTES + size_align_up(CODEC_PLACES_BYTES_MAX, IO_ALIGN));
    if (!w || !w->memory) {
        free(w);
        return error_sys(err, ENOMEM, SPAN_NONE, "a window into frames");
    }
    w->chunk = UINT64_MAX;
    *out = w;
    return true;
}

void frame_window_free(struct frame_window *w)
{
    if (w)
        free(w->memory);
    free(w);
}

void *frame_window_places(struct frame_window *w)
{
    return w->memory + WINDOW_BYTES;
}

/* [offset, offset + bytes) of the object, which has them; NULL: they could not be read. */
static const char *bytes_at(struct frame_window *w, const struct object *object, uint64_t offset, uint64_t bytes,
                            struct report *report, struct error *err)
{
    uint64_t from = size_align_down(offset, IO_ALIGN);
    int64_t got;

    if (offset >= w->offset && offset + bytes <= w->offset + w->bytes)
        return w->memory + (offset - w->offset);
    w->bytes = 0;
    got = os_pread_some(object->fd, w->memory, WINDOW_BYTES, from);
    if (got < 0) {
        error_sys(err, (int)-got, SPAN_NONE, "cannot read it");
        return NULL;
    }
    if ((uint64_t)got < offset - from + bytes) {
        error_changed(err, SPAN_NONE, "it ends after %llu bytes: it changed while it was read",
                 (unsigned long long)(from + got));
        return NULL;
    }
    report_add(report, COUNT_SOURCE_READ_BYTES, got);
    w->offset = from;
    w->bytes = got;
    return w->memory + (offset - from);
}

/* A chunk that the window does not know: its head. */
static bool enter_frame(struct frame_window *w, const struct frame_place *frame, struct report *report,
                        struct error *err)
{
    uint64_t head_bytes = size_min(sizeof w->head, frame->bytes);
    const char *head;

    w->chunk = UINT64_MAX;
    w->bytes = 0;
    memset(w->head, 0, sizeof w->head);
    head = bytes_at(w, frame->object, frame->offset, head_bytes, report, err);
    if (!head)
        return false;
    memcpy(w->head, head, head_bytes);
    w->chunk = frame->chunk;
    return true;
}

bool frame_window_find(struct frame_window *w, const struct array_meta *array, const struct frame_place *frame,
                       uint64_t raw_first, uint64_t raw_bytes, uint64_t room_bytes, struct codec_range *range,
                       void *places, struct report *report, struct error *err)
{
    const char *table = NULL;

    if (w->chunk != frame->chunk && !enter_frame(w, frame, report, err))
        return false;
    if (!codec_range_begin(range, array->dtype, array_chunk_bytes(array), w->head, frame->bytes, raw_first, raw_bytes,
                           room_bytes, err))
        return false;
    if (range->table_bytes > 0) {
        table = bytes_at(w, frame->object, frame->offset + range->table_offset, range->table_bytes, report, err);
        if (!table)
            return false;
    }
    return codec_range_place(range, table, places, err);
}
