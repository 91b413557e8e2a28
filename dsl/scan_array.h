/* scan_array.h - an array that is there, opened to be described or read through: what info, verify, digest and
 * check --chunks share.
 *
 * Threads: one; the scan starts its own.
 */
#ifndef SLUICE_DSL_SCAN_ARRAY_H
#define SLUICE_DSL_SCAN_ARRAY_H

#include <stdbool.h>

#include "dsl/options.h"
#include "engine/array/digest.h"
#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/exec/scan.h"
#include "engine/format/census.h"
#include "engine/format/format.h"
#include "engine/io/io.h"
#include "engine/store/store.h"
#include "planner/host.h"

struct array_file {
    const char *path;
    struct span span;
    struct store *store;
    struct array_meta meta;
    struct chunk_census census;
    struct chunk_list present;      /* what is there, where that is known and little */
    struct codec_sample seen;       /* by a scan, beyond the census */
    struct text warnings;
};

/* `seconds_max` bounds the look at its chunks. Release it always, also on failure. */
bool array_file_open(struct array_file *a, const struct word *path, double seconds_max, struct error *err);
void array_file_release(struct array_file *a);

/* How scans may run, from the flags --memory, --threads, --io, --progress and what the machine offers. */
struct scan_limits {
    uint64_t memory_bytes;
    struct span memory_span;
    unsigned threads;
    struct io_choice io;
    enum report_progress progress;
};
bool scan_limits_read(struct scan_limits *limits, const struct command_line *line, const struct host *host,
                      struct error *err);

/* A scan of the whole array, planned. */
bool array_file_scan(struct scan *scan, struct array_file *a, const struct scan_limits *limits, struct error *err);
/* The same with room for blocks and windows as long as a chunk, if it is to be had: no chunk then stops the scan half-way. */
bool array_file_scan_roomy(struct scan *scan, struct array_file *a, const struct scan_limits *limits,
                           struct error *err);
/* scan_digest; planned again with what was seen when chunks turn out to be framed in larger blocks than those that
 * were looked at. */
bool array_file_digest(struct scan *scan, struct array_file *a, const struct scan_limits *limits,
                       const struct box *within, struct digest *digest, struct report *report,
                       const volatile int *stop, struct error *err);

/* Progress of the scan of arrays with `work_bytes` together; NULL: no memory, which is fine. Already started. */
struct report *scan_report_new(const struct scan_limits *limits, uint64_t work_bytes);

uint64_t array_file_bytes(const struct array_file *a);

#endif
