/* scan.h - one decode pass over an array, in its own chunk order, with a digest, or the values of a small box, as its
 * only result.
 *
 * What `digest`, `verify` and `check --chunks` stand on: the same reads and decoders as a stage's fill, but what
 * is decoded is summed instead of scattered, so memory is reads and scratch, whatever the array's size. Chunks too
 * big to be held pass through in ranges or as a stream, as they do in a stage.
 *
 * Every element is decoded once, or known to be missing once; a scan that has lost count fails.
 */
#ifndef SLUICE_EXEC_SCAN_H
#define SLUICE_EXEC_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/digest.h"
#include "engine/base/error.h"
#include "engine/exec/graph.h"
#include "engine/format/format.h"
#include "engine/report/report.h"

struct scan {
    const char *name;               /* in the progress; NULL: "scan" */
    const struct array_meta *array;
    struct store *store;
    struct span span;
    const struct chunk_list *present;   /* the graph's; NULL: not known, every chunk is looked for */
    struct grid tasks;              /* as a stage's: boxes of chunks, walked in order. Usually one box: the whole array */
    enum stage_source source;       /* the fields of struct stage of the same name; FROM_STREAM: a piece is a chunk */
    uint64_t piece_raw_bytes;
    unsigned workers;               /* FROM_STREAM: 1 */
    unsigned reads_in_flight;
    struct stage_memory memory;     /* tile_bytes 0; reads, piece, decode scratch are used */
    enum io_backend backend;
    struct codec_sample *seen;      /* as the graph's */
    /* Called once for each damaged chunk instead of failing, under a lock; NULL: the first one fails the scan. */
    void (*damaged)(void *context, const char *key, const struct error *why);
    void *context;
};

/* Sum the elements of `within` (NULL: all) into `d`, which is initialised with the frame wanted: the frame's fill may
 * be another array's, so that two arrays with different fill values can be compared. */
bool scan_digest(const struct scan *s, const struct box *within, struct digest *d, struct report *report,
                 const volatile int *stop, struct error *err);

/* The elements of a box that is not empty, in C order, to `items`, which has room for them: little-endian, as all is in
 * memory. Only chunks that touch the box are read. */
bool scan_values(const struct scan *s, const struct box *box, void *items, const volatile int *stop, struct error *err);

#endif
