/* frame_window.h - inside the engine: where a range of a chunk lies, from the head of its frame and a part of its table.
 *
 * Each worker has a window of two pages into the frame it looked at last, so that a chunk's pieces, which come one
 * after another, read its table once. Reads are plain ones: they are small, and what to read next hangs on them.
 *
 * Threads: a window belongs to one worker.
 */
#ifndef SLUICE_EXEC_FRAME_WINDOW_H
#define SLUICE_EXEC_FRAME_WINDOW_H

#include "engine/codec/ranged.h"
#include "engine/format/format.h"
#include "engine/report/report.h"

struct frame_window;

bool frame_window_new(struct frame_window **w, struct error *err);
void frame_window_free(struct frame_window *w);     /* NULL is fine */

/* A chunk's encoded bytes in its object. */
struct frame_place {
    const struct object *object;
    uint64_t chunk;                 /* its number: what the window knows it by */
    uint64_t offset, bytes;
};

/* Find the range [raw_first, raw_first + raw_bytes) of a chunk of `array`; for `room_bytes`, and what comes out shorter,
 * see codec_range_begin. What is read is counted in `report`. */
bool frame_window_find(struct frame_window *w, const struct array_meta *array, const struct frame_place *frame,
                       uint64_t raw_first, uint64_t raw_bytes, uint64_t room_bytes, struct codec_range *range,
                       void *places, struct report *report, struct error *err);
/* Room for the places of one range's blocks (codec_range_place), 4 bytes each. */
void *frame_window_places(struct frame_window *w);

#endif
