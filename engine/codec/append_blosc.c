/* blosc, block by block: a step is a block, the head is the frame's header and its table of offsets. */
#include <stdlib.h>

#define ZSTD_STATIC_LINKING_ONLY    /* the estimate of a context's size */
#include <zstd.h>

#include "engine/codec/blosc_frame.h"
#include "engine/codec/blosc_writer.h"
#include "engine/codec/codec_impl.h"

/* What malloc adds to the figures below. */
#define MALLOC_SLACK_BYTES (64 * KIB)

struct blosc_append {
    struct blosc_writer *writer;
    struct blosc_inner inner;       /* to undo blocks with */
    uint64_t raw_bytes;
};

static const char *cannot(const struct codec *c)
{
    return blosc_writer_goes_by_blocks(c) ? NULL : "blosc:blosclz";
}

/* To undo a block takes a decoder too. */
static uint64_t library_bytes(const struct codec *c, uint64_t raw_bytes)
{
    return blosc_writer_library_bytes(c, raw_bytes) + ZSTD_estimateDCtxSize() + 16 * KIB + MALLOC_SLACK_BYTES;
}

static bool open_blocks(void **state, const struct codec *c, uint64_t raw_bytes, char *work, struct error *err)
{
    struct blosc_append *b = calloc(1, sizeof *b);

    if (!b)
        return error_at(err, ERR_FIT, SPAN_NONE, "blosc: no memory for an encoder");
    *state = b;
    b->raw_bytes = raw_bytes;
    return blosc_writer_open(&b->writer, c, raw_bytes, work, err);
}

static void close_blocks(void *state)
{
    struct blosc_append *b = state;

    if (!b)
        return;
    blosc_writer_close(b->writer);
    blosc_inner_release(&b->inner);
    free(b);
}

static bool begin(void *state, char *head, struct error *err)
{
    struct blosc_append *b = state;

    (void)err;
    blosc_writer_begin(b->writer, b->raw_bytes, head);
    return true;
}

static bool step(void *state, const char *from, uint64_t from_bytes, bool last, char *to, uint64_t *to_bytes,
                 struct error *err)
{
    struct blosc_append *b = state;

    (void)last;
    (void)err;
    blosc_writer_block(b->writer, from, from_bytes, to, to_bytes);
    return true;
}

static uint64_t head_bytes(const struct codec *c, uint64_t raw_bytes, bool stored)
{
    return stored ? BLOSC_HEAD_BYTES : blosc_writer_head_bytes(c, raw_bytes);
}

static bool shrinks(const void *state)
{
    return blosc_writer_shrinks(((const struct blosc_append *)state)->writer);
}

static void finish(void *state, bool stored)
{
    blosc_writer_finish(((struct blosc_append *)state)->writer, stored);
}

static void place(const void *state, uint64_t index, uint64_t *offset, uint64_t *bytes)
{
    blosc_writer_place(((const struct blosc_append *)state)->writer, (uint32_t)index, offset, bytes);
}

/* The block in a frame of its own. */
static bool undo(void *state, char *from, uint64_t from_bytes, char *to, struct error *err)
{
    struct blosc_append *b = state;
    char *head = from - BLOSC_HEAD_BYTES - 4;
    struct blosc_frame frame;

    blosc_writer_wrap_block(b->writer, head, from_bytes);
    return blosc_frame_open(&frame, head, BLOSC_HEAD_BYTES + 4 + from_bytes, err) &&
           blosc_inner_ready(&b->inner, &frame, err) &&
           blosc_frame_block(&frame, &b->inner, 0, to, blosc_writer_block_work(b->writer), err);
}

const struct appending blosc_appending = {
    .like_encode = true,
    .cannot = cannot,
    .step_bytes = blosc_writer_block_bytes,
    .room_bytes = blosc_writer_block_room_bytes,
    .work_bytes = blosc_writer_work_bytes,
    .library_bytes = library_bytes,
    .open = open_blocks,
    .close = close_blocks,
    .begin = begin,
    .step = step,
    .head_bytes = head_bytes,
    .shrinks = shrinks,
    .finish = finish,
    .place = place,
    .undo = undo,
};
