/* progress.h - the progress line: a thread that looks at the counters and draws it. For report.c alone.
 *
 * Ownership: progress_start / progress_stop; options, counters and stream are borrowed until stop.
 * Threads: one caller.
 */
#ifndef SLUICE_REPORT_PROGRESS_H
#define SLUICE_REPORT_PROGRESS_H

#include <stdatomic.h>

#include "engine/report/report.h"

struct progress;

/* NULL: nothing is to be drawn, or no thread could be had; a run goes on without its line. */
struct progress *progress_start(const struct report_options *o, const atomic_uint_least64_t *counters);
/* A stage begins: the name shown from now on; copied. */
void progress_stage(struct progress *p, const char *name);
/* Wipes a line on a terminal. NULL is fine. */
void progress_stop(struct progress *p);

/* What the line says, at most `columns` long. `rate` in bytes per second, 0: not known yet; `left_seconds` negative: not
 * known yet. */
struct progress_facts {
    const char *stage;
    uint64_t done_bytes, work_bytes;
    double rate, left_seconds;
    uint64_t memory_bytes, memory_limit_bytes;
};
enum { PROGRESS_LINE_BYTES = 160 };
void progress_line(char line[PROGRESS_LINE_BYTES], unsigned columns, const struct progress_facts *facts);

/* Seconds of a clock that only goes forward. */
double monotonic_seconds(void);

#endif
