/* blosc_writer.h - private to engine/codec: writing Blosc 1 frames (blosc_frame.h has the layout).
 *
 * Why not c-blosc's own encoder: it allocates two blocks and the inner codec's context for every call, and what
 * malloc makes of that cannot be bounded. Here all of it is `work`, memory of the caller's, but for what is said of
 * blosc_writer_library_bytes. Streams are encoded straight into the frame, block by block.
 *
 * The bytes are those of blosc_compress_ctx, c-blosc 1.21, with one thread and room for raw_bytes + 16, for the same
 * inner libraries: its rules of block sizes, of splitting, and of giving up are kept. c-blosc itself is called for
 * cname blosclz only.
 *
 * Threads: a writer belongs to one worker.
 */
#ifndef SLUICE_CODEC_BLOSC_WRITER_H
#define SLUICE_CODEC_BLOSC_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/codec/codec.h"

/* The longest that a chunk can be; c-blosc's own. */
#define BLOSC_RAW_BYTES_MAX ((uint64_t)INT32_MAX - 16)

/* What a frame of so many raw bytes can have at most: it is stored as it is if it does not shrink. */
uint64_t blosc_frame_bytes_max(uint64_t raw_bytes);

/* The room that a writer of frames of up to `raw_bytes` works in, and what libraries take from malloc: zlib once for
 * each writer; snappy and blosclz, which cannot be told to use the room, for each stream or frame. */
uint64_t blosc_writer_work_bytes(const struct codec *c, uint64_t raw_bytes);
uint64_t blosc_writer_library_bytes(const struct codec *c, uint64_t raw_bytes);

struct blosc_writer;

/* `c` and `work` (work_bytes, aligned as malloc aligns) are borrowed and must last as long as the writer. */
bool blosc_writer_open(struct blosc_writer **w, const struct codec *c, uint64_t raw_bytes, char *work,
                       struct error *err);
void blosc_writer_close(struct blosc_writer *w);        /* NULL is fine */
/* Write one frame; `to` has room for blosc_frame_bytes_max. `stop`: as for encoder_stop_when; NULL is fine. */
bool blosc_writer_write(struct blosc_writer *w, const char *from, uint64_t from_bytes, char *to, uint64_t *to_bytes,
                        const volatile int *stop, struct error *err);

/* ---- a frame written block by block, in the same bytes ---- */

/* False: c-blosc writes these itself, at once. */
bool blosc_writer_goes_by_blocks(const struct codec *c);
/* A block's raw bytes (the last may be shorter), the longest that one is encoded to, and the frame's beginning: header
 * and offsets. */
uint64_t blosc_writer_block_bytes(const struct codec *c, uint64_t raw_bytes);
uint64_t blosc_writer_block_room_bytes(const struct codec *c, uint64_t raw_bytes);
uint64_t blosc_writer_head_bytes(const struct codec *c, uint64_t raw_bytes);

/* Begin a frame of `raw_bytes`, for which the writer was opened. The offsets are kept in `head` (of head_bytes). */
void blosc_writer_begin(struct blosc_writer *w, uint64_t raw_bytes, char *head);
/* Does the frame shrink, as far as it has come? Once it does not, no block may follow: c-blosc stores it as it is. */
bool blosc_writer_shrinks(const struct blosc_writer *w);
/* The next block: its bytes follow those of the one before; the first one's follow the head. */
void blosc_writer_block(struct blosc_writer *w, const char *from, uint64_t from_bytes, char *to, uint64_t *to_bytes);
/* Where a block is in the frame, once it is written. */
void blosc_writer_place(const struct blosc_writer *w, uint32_t index, uint64_t *offset, uint64_t *bytes);
/* Write the header into `head`: after the last block; or `stored`: 16 bytes before the raw ones. */
void blosc_writer_finish(struct blosc_writer *w, bool stored);
/* A frame of one block, whose bytes are behind `frame` + 20: write what comes before them. */
void blosc_writer_wrap_block(const struct blosc_writer *w, char *frame, uint64_t block_bytes);
/* Room for one shuffled block, which is free between blocks. */
char *blosc_writer_block_work(struct blosc_writer *w);

#endif
