/* written.h - inside the engine: sums over what was written to the target and never lay in memory as a whole object, so
 * that it can be asked of the files alone, later, whether it is still there (recheck.c). Whole chunks have object_hash.
 *
 *   encoded as it came    over the object's bytes, each with its offset, in any order. Zeros add nothing: what a codec
 *                         leaves room for at the front, and writes last, is added last
 *   written in parts      over the values of each part against the fill value. Fill adds nothing, so it does not matter
 *                         whether the chunk of a part that is all fill has been made yet; nor does what hangs over
 *
 * Both are the digest of array/digest.h: of an array of bytes; of the target, filled up to whole chunks.
 *
 * Threads: a sum belongs to one.
 */
#ifndef SLUICE_EXEC_WRITTEN_H
#define SLUICE_EXEC_WRITTEN_H

#include "engine/array/digest.h"
#include "engine/format/format.h"

bool written_bytes_init(struct digest *d, struct error *err);
void written_bytes_add(struct digest *d, uint64_t offset, const char *data, uint64_t bytes);
/* Of the object `key` of `bytes`. The next one begins at nothing. */
uint64_t written_bytes_take(struct digest *d, const char *key, uint64_t bytes);

bool written_values_init(struct digest *d, const struct array_meta *target, struct error *err);
/* Add with digest_run. What was added; then it is nothing again. */
uint64_t written_values_take(struct digest *d);

#endif
