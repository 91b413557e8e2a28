/* append.h - encoding a chunk that is never in memory as a whole: raw bytes go in as they come, encoded bytes come out.
 *
 *     appender_begin
 *     for each run of raw bytes: appender_put, then appender_take into one buffer after another until it gives less
 *                                than there was room for
 *     appender_is_complete; appender_head is written over the beginning
 *
 * The bytes depend on the chunk and the chain, never on the lengths of the runs: the chunk goes to the codec in steps
 * of one length, counted from its beginning, and what does not make a step yet waits. encode() gives the same bytes.
 * Where a library's stream differs from its encoding at once (zstd, gzip, zlib), encode() goes this way too for
 * chunks of at least APPENDED_RAW_BYTES_LEAST; shorter ones of such a chain cannot be appended.
 *
 * blosc has at its front what is known only at its end: lengths and offsets of blocks. Zeros come first, and
 * appender_head gives what belongs there. c-blosc stores a frame as it is once it does not shrink, and so it is here:
 * appender_must_restart is true after a take, and after appender_restart the whole chunk comes once more, from its
 * first byte on, of which the part that was encoded already is read back, block by block.
 *
 * Memory is the caller's: codec_appended_needs. Errors: as for an encoder.
 * Threads: an appender belongs to one worker at a time.
 */
#ifndef SLUICE_CODEC_APPEND_H
#define SLUICE_CODEC_APPEND_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/codec/codec.h"

/* A build for fuzzing has its own. */
#ifndef APPENDED_RAW_BYTES_LEAST
#define APPENDED_RAW_BYTES_LEAST (16 * MIB)
#endif

/* Can chunks of that length be appended? codec_chain_cannot, and the length. */
bool codec_chain_appends(const struct codec_chain *c, uint64_t raw_bytes);

struct appender;

/* `scratch` (borrowed, aligned as malloc aligns) must hold scratch_bytes_least of codec_appended_needs. */
bool appender_new(struct appender **a, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                  void *scratch, uint64_t scratch_bytes, struct error *err);
void appender_free(struct appender *a);         /* NULL is fine */
/* As encoder_stop_when. */
void appender_stop_when(struct appender *a, const volatile int *stop);

/* Begin a chunk; an unfinished one is forgotten. */
bool appender_begin(struct appender *a, struct error *err);
/* The next raw bytes: whole items in stored axis order, no more than the chunk still lacks. They may be changed, and
 * must last until appender_take gives less than there is room for. */
void appender_put(struct appender *a, void *raw, uint64_t raw_bytes);
/* Encoded bytes that are ready. *bytes < room_bytes: all that was put is taken in. */
bool appender_take(struct appender *a, void *to, uint64_t room_bytes, uint64_t *bytes, struct error *err);
/* All raw bytes were put and all encoded bytes taken. */
bool appender_is_complete(const struct appender *a);
/* What belongs over the first bytes of a complete chunk. *bytes 0: nothing. Valid until the next begin. */
void appender_head(const struct appender *a, const char **head, uint64_t *bytes);

/* The chunk does not shrink: what was taken so far is no good. */
bool appender_must_restart(const struct appender *a);
/* What was taken so far, read back. */
typedef bool append_read(void *context, uint64_t offset, void *to, uint64_t bytes, struct error *err);
/* Go on taking, from the chunk's first byte. `read` is called from within appender_take. */
void appender_restart(struct appender *a, append_read *read, void *context);

#endif
