/* streamed.h - a chunk decoded from its beginning on, a window of encoded bytes at a time.
 *
 * For chunks too big to be held even encoded, of codecs that only go forward (zstd, gzip, zlib; raw too), and a crc32c
 * around them. The caller reads into the decoder's window and gives what it read:
 *
 *     stream_decoder_start(s, encoded_bytes)
 *     until the chunk is complete:
 *         read some of what follows into the window;  stream_decoder_give(s, from, bytes)
 *         while stream_decoder_next(s, &part, &part_bytes) gives a part: take it
 *
 * Memory is all the caller's: codec_streamed_needs (codec.h) says how much. A zstd frame whose window is larger than was
 * planned for is ERR_FIT, and stream_decoder_saw says what to plan with. Errors otherwise as in codec.h; what is wrong
 * at a chunk's end (a checksum, bytes that follow) is found there, after its elements were given out.
 *
 * Threads: one at a time.
 */
#ifndef SLUICE_CODEC_STREAMED_H
#define SLUICE_CODEC_STREAMED_H

#include "engine/codec/codec.h"

struct stream_decoder;

/* `memory` (borrowed, IO_ALIGN aligned) holds scratch_bytes_least of codec_streamed_needs or more. */
bool stream_decoder_new(struct stream_decoder **s, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                        void *memory, uint64_t memory_bytes, struct error *err);
void stream_decoder_free(struct stream_decoder *s);     /* NULL is fine */

/* Where encoded bytes are read to: IO_ALIGN aligned, a multiple of it, at least two. */
char *stream_decoder_window(const struct stream_decoder *s, uint64_t *window_bytes);

/* Begin a chunk that has so many encoded bytes. */
bool stream_decoder_start(struct stream_decoder *s, uint64_t encoded_bytes, struct error *err);
/* The encoded bytes that follow those given before; they must last until the parts are taken. */
void stream_decoder_give(struct stream_decoder *s, const char *from, uint64_t bytes);
/* The next raw bytes: whole items, valid until the next call. *part_bytes 0: it wants more, or, when all
 * were given, the chunk is complete and was found sound. */
bool stream_decoder_next(struct stream_decoder *s, const char **part, uint64_t *part_bytes, struct error *err);

/* After ERR_FIT: what the next plan should know. */
void stream_decoder_saw(const struct stream_decoder *s, struct codec_sample *sample);

#endif
