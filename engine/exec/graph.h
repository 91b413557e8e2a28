/* graph.h - what to run: a handful of stages, never a list of tasks.
 *
 * The planner fills this in, graph_run.c runs it, and a test may make one by hand. A graph for 10^9 chunks is as small as
 * one for ten: every stage is a few grids and a few numbers.
 *
 * There is one kind of stage. A stage walks boxes of an array (its tasks) one after another; all workers share the
 * one box at hand:
 *
 *     fill   pieces of the source that touch the box are read, decoded and scattered into the tile (array/tile.h)
 *     drain  the tile's parts are encoded and written to the sink
 *
 *   plan            stage    tasks             source           parts of a tile, sink
 *   direct          direct   boxes of target   source chunks    target chunks
 *   split +         split    slabs             source chunks    clipped to buckets: extents of one segment per slab
 *     merge         merge    buckets           segments         target chunks
 *   further passes  split    slabs of slabs    segments         clipped to smaller buckets (between split and merge)
 *   ranged write    direct   boxes of source   source chunks    clipped to target chunks, written at their offsets
 *
 * A chunk that is too big to be held, on either side, is passed through in slices: see enum stage_source and stage_sink.
 * The walk of the tasks then stays in one chunk until it is done.
 *
 * Pieces of the box after the one at hand are read ahead, still encoded, while this one drains.
 */
#ifndef SLUICE_EXEC_GRAPH_H
#define SLUICE_EXEC_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/grid.h"
#include "engine/array/walk.h"
#include "engine/base/error.h"
#include "engine/format/census.h"
#include "engine/format/format.h"
#include "engine/io/io.h"
#include "engine/report/report.h"

/* FROM_CHUNKS    chunks, whole or by ranges (piece_raw_bytes)
 * FROM_STREAM    chunks whose codecs only go forward, too big to be held: each task takes up where the last one stopped.
 *                A task is a slice in stored order of one column of chunks, and the walk stays in a column
 * FROM_SEGMENTS  what the stage before wrote; a task lies in one cell of that stage's `parts` */
enum stage_source { FROM_CHUNKS, FROM_STREAM, FROM_SEGMENTS };
/* TO_SEGMENTS  an extent for each part, in one segment for each task
 * TO_CHUNKS    whole chunks, each encoded at once
 * TO_SLICES    chunks too big to be held, encoded as they come. A task is a slice in stored order of one column of
 *              chunks (it may hold the end of one and the beginning of the next), and the walk stays in a column
 * TO_RANGES    uncompressed chunks (codec_chain_is_raw), written by runs at their offsets, in any order and through
 *              write buffers of any whole number of IO_ALIGN; runs below 64 KiB are right, but slow */
enum stage_sink { TO_SEGMENTS, TO_CHUNKS, TO_SLICES, TO_RANGES };

/* What a stage may hold at once, in bytes; the planner proved that the sum fits. All but the last are carved from
 * the pool, each area rounded up to IO_ALIGN: tile + carry + reads + stream + append + index +
 * workers * (scratch + write_slots * write). */
struct stage_memory {
    uint64_t tile_bytes;
    uint64_t carry_bytes;           /* what a box passes on to the next (stage.carries) */
    uint64_t stream_bytes;          /* FROM_STREAM: the decoder, and what it reads at once */
    uint64_t append_bytes;          /* TO_SLICES: the encoder that goes on from slice to slice (slices.h) */
    uint64_t reads_bytes;           /* encoded pieces, read and not yet decoded; at least one of piece_bytes_max */
    uint64_t piece_bytes_max;       /* the longest encoded piece, aligned for direct I/O (plus one IO_ALIGN at each end) */
    uint64_t decode_scratch_bytes;  /* for each worker */
    uint64_t encode_scratch_bytes;  /* for each worker */
    uint64_t write_bytes;           /* one write buffer: a chunk's longest encoding, or a run of spilled blocks (at
                                       least one block's longest encoding); 0: chunks of a raw chain are
                                       written straight from the tile */
    unsigned write_slots;           /* write buffers of each worker */
    uint64_t index_bytes;           /* segment indexes: one being written, or a window into each that is read */
    uint64_t library_bytes;         /* malloc of the codec libraries, all workers */
};

struct stage {
    const char *name;               /* "split", "merge", "direct" */
    struct span span;               /* the output that asked for it */
    enum stage_source source;
    enum stage_sink sink;
    struct grid tasks;              /* cells are the boxes: slabs, buckets, direct boxes */
    struct walk walk;               /* the order of the tasks */
    /* Parts of a tile. TO_SEGMENTS: boxes of the next stage's tasks (for a merge: just these); TO_CHUNKS, TO_RANGES:
     * the target's chunk grid; TO_SLICES: equal to `tasks`. */
    struct grid parts;
    struct walk parts_walk;         /* TO_SEGMENTS: the order in which the next stage comes to them, for speed alone */
    /* FROM_CHUNKS: a piece is this many raw bytes of a chunk, a multiple of the item size, and only pieces that the
     * task's box needs are read (codec_chain_cannot says which chains allow it); 0: a piece is a whole chunk. */
    uint64_t piece_raw_bytes;
    /* FROM_CHUNKS, whole or by ranges: chunks on the border between a box and the next one along this axis are decoded
     * once: what the next box needs of them is carried over. The walk goes along that axis first (group WALK_ALL on it,
     * 1 elsewhere), and boxes are no shorter on it than the source's chunks, but for the last. */
    bool carries;
    unsigned carry_axis;
    unsigned workers;               /* at most graph.threads: memory may allow fewer */
    unsigned reads_in_flight;       /* of each worker */
    struct stage_memory memory;
};

enum { STAGES_MAX = 8 };

/* The longest run of raw bytes that is encoded, checksummed and indexed as one piece of scratch. */
struct scratch_layout {
    uint64_t block_bytes;           /* a multiple of 16 */
    uint64_t memory_bytes;          /* the first segments stay here, in the pool beside the stages' areas, and only what
                                       does not fit goes to the file; a multiple of IO_ALIGN */
    uint64_t predicted_bytes;       /* of the file, as planned: growth steps */
    uint64_t limit_bytes;           /* 0: none */
    bool give_back;                 /* free the space of what is merged: the file system could need it */
    enum spill_encoding encoding;   /* what is tried */
    const char *path;               /* the scratch file */
    struct span span, limit_span;
};

struct resume;
struct scan;

/* What came of verifying. */
struct verified {
    bool done;                      /* the target as it was written holds the source's values */
    bool read_source;               /* the source was read for this alone: this process had not read all of it */
    uint64_t d1, d2;                /* the digest of both (array/digest.h), against the source's fill value */
    double sum_seconds;             /* of a worker, while elements were on their way from the source */
    double pass_seconds;            /* from the last chunk written on: what was left to read back, passes */
};

struct graph {
    const struct array_meta *source;
    struct store *source_store;     /* open; borrowed */
    const struct array_meta *target;
    const char *target_path;
    bool overwrite;
    bool write_empty_chunks;
    bool refuse_missing_chunks;
    /* The chunks that were there when the run was planned; NULL: not known. The others are not looked for, and boxes without
     * any are passed over where nothing would be written. */
    const struct chunk_list *present;
    /* So many chunks were not there when the run was planned; one more is an input that changes under us. UINT64_MAX: not
     * known. */
    uint64_t missing_chunks_max;
    /* Raised when a chunk is framed in larger blocks than was planned for (the run then fails with ERR_FIT): plan again
     * with it. NULL: nobody asks. */
    struct codec_sample *seen;
    struct span source_span, target_span;

    struct stage stages[STAGES_MAX];
    unsigned stage_count;
    struct scratch_layout scratch;  /* used if a stage writes segments */
    unsigned threads;
    enum io_backend backend;        /* chosen: not IO_AUTO */
    uint64_t pool_bytes;            /* the largest pool sum of all stages, and scratch.memory_bytes */

    const char *plan_name;          /* kept with the plan, for whoever goes on with it; NULL: none */
    double predicted_seconds;
    bool durable;                   /* what the journal says survives a power cut, at the price of syncs */
    /* Verify before publishing (proof.h): a pass over the target as it was written, and one over the source, for a run that
     * has not delivered all of it. As planned, in memory of their own when the stages' is given back; the target's store is
     * the run's. NULL: not wanted. */
    const struct scan *read_back, *read_source;
    /* What the last stage has written and closed its workers read back while it goes on, in memory that is in the pool beside
     * that of the stages. What that does not see (of a run that goes on, chunks written in parts) takes the pass. NULL: all
     * takes the pass. */
    const struct scan *read_beside;
    struct verified *verified;      /* filled in; NULL: nobody asks */
    struct resume *resume;          /* an earlier run to go on with (resume.h), whose plan this is; borrowed. NULL: look
                                       whether there is one of the same request */
};

/* Run all stages and publish the target. On failure nothing appears at target_path. What a run had done when it failed,
 * or died, is kept with its journal, and the next run of the same request goes on from there; nothing is kept of a
 * run that had done nothing. `stop` is set by a signal handler: the number of the signal; checked between blocks.
 * `report` may be NULL. */
bool graph_run(const struct graph *g, struct report *report, const volatile int *stop, struct error *err);

/* What COUNT_WORK_BYTES comes to at the end: every stage fills and drains the whole array once, and passes that verify
 * fill. */
uint64_t graph_work_bytes(const struct graph *g);

/* stage_memory.carry_bytes: the most that a box passes on along `axis`; 0: no chunk is on a border. Saturates. */
uint64_t stage_carry_bytes(const struct grid *chunks, const struct grid *tasks, unsigned axis, uint32_t item_bytes);

/* The bytes of pool one stage carves. The planner's sum and the engine's carving are this one function. Saturates. */
uint64_t stage_pool_bytes(const struct stage *s);

#endif
