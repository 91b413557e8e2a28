/* space.h - what to say when the kernel had no room: how much was needed, how much is free, and what to do.
 *
 * Threads: any.
 */
#ifndef SLUICE_IO_SPACE_H
#define SLUICE_IO_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

/* Add to an error of error_sys what its errno asks for: ENOSPC, EDQUOT (a quota: space that is free is of no use),
 * EFBIG, EMFILE; to others nothing. `fd` is open on the file system that was written to, `need_bytes` is what the write
 * needed, 0: not known, or a new name. Returns false. */
bool space_explain(struct error *err, int fd, uint64_t need_bytes);

#endif
