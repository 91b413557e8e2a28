/* slices.h - chunks that are encoded as they come (to_slices.c): what such a stage keeps from task to task.
 *
 * All of it is one area, stage_memory.append_bytes: the appender's scratch (codec/append.h), the last bytes of what
 * was encoded, which do not fill a block for direct I/O yet, and a run of fill values.
 *
 * Threads: prepared and released by one; between, it belongs to the worker that has the task's one unit.
 */
#ifndef SLUICE_EXEC_SLICES_H
#define SLUICE_EXEC_SLICES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/format/format.h"

struct stage_run;

/* What append_bytes must be. Saturates; UINT64_MAX too where chunks of the target cannot be appended. */
uint64_t slices_append_bytes(const struct array_meta *target);

/* With the stage: from the pool, and back. An object that is open is closed. */
bool slices_prepare(struct stage_run *run, struct error *err);
void slices_release(struct stage_run *run);

#endif
