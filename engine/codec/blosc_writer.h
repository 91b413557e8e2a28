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

#endif
