/* job.h - what was asked for, as the planner takes it: one input array, one output array, limits.
 *
 * The layer above (a pipeline file, a command line, a test) fills it in. Every value keeps the span of the words it
 * came from; strings are borrowed and must outlive the plan. Unset values are zero or NULL: the planner knows the
 * defaults and says where each came from.
 */
#ifndef SLUICE_PLANNER_JOB_H
#define SLUICE_PLANNER_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/grid.h"
#include "engine/base/error.h"
#include "engine/codec/codec.h"
#include "engine/format/format.h"
#include "engine/io/io.h"

enum axis_chunk {
    AXIS_KEEP,                      /* as the source */
    AXIS_ALL,                       /* the whole axis */
    AXIS_COUNT,                     /* `value` elements; kept as written also when longer than the axis */
    AXIS_BYTES,                     /* grown, alike with the other byte axes, until the chunk has about
                                       `value` bytes */
};

struct axis_request {
    enum axis_chunk kind;
    uint64_t value;
    const char *name;               /* dimension; NULL: by position */
    struct span name_span;
    struct span span;               /* of the value */
};

enum chunk_form {
    CHUNKS_KEEP,                    /* nothing said: as the source */
    CHUNKS_NAMED,                   /* axes[] with names, in any order; what is not named is kept */
    CHUNKS_LISTED,                  /* axes[] by position; their number must be the rank */
    CHUNKS_BYTES,                   /* `bytes` on all axes alike */
    CHUNKS_AUTO,
};

struct chunk_request {
    enum chunk_form form;
    struct axis_request axes[RANK_MAX];
    unsigned count;
    uint64_t bytes;
    struct span span;
};

/* A size as typed: bytes, or a share of what is available. */
struct size_request {
    bool set;
    bool plain;                     /* typed without a unit */
    uint64_t bytes;
    double share;                   /* > 0: `80%`; then bytes is 0 */
    struct span span;
};

enum scratch_codec { SCRATCH_AUTO, SCRATCH_NONE, SCRATCH_LZ4 };
/* What to do about an unfinished run of the same output. */
enum job_start {
    START_NOT,                      /* nothing: we only plan */
    START_OR_CONTINUE,
    START_OVER,                     /* what is left of it goes */
};
enum plan_wanted { PLAN_AUTO, PLAN_DIRECT, PLAN_SPLIT, PLAN_PASSES, PLAN_RANGED_WRITE, PLAN_CARRY };

struct job {
    struct {
        const char *path;
        struct span span;
        bool refuse_missing;
    } input;
    struct {
        const char *name;           /* of the output in the file; NULL in the short form */
        const char *path;
        struct span span;           /* of the path */
        bool format_set;
        enum format_kind format;
        struct span format_span;
        struct chunk_request chunks;
        const char *codec;          /* the text grammar of codec.h; NULL: the source's */
        struct span codec_span;
        bool overwrite;
        bool write_empty_chunks;
    } output;
    struct size_request memory;
    unsigned threads;               /* 0: unset */
    struct span threads_span;
    const char *scratch_path;       /* a directory, or NULL: beside the output */
    struct span scratch_span;
    struct size_request scratch_limit;
    enum scratch_codec scratch_codec;
    enum io_backend backend;
    struct codec_sample seen;       /* what an earlier try met that the census had not sampled; zero at first */
    enum plan_wanted plan;
    enum job_start start;
    bool plans_restart;             /* start is START_NOT, for a run that would start over */
    bool durable;
    bool verify;                    /* the run proves that the output holds the input's values */
};

/* Is the output of a kind that can be written, as far as its path and format say? ERR_USAGE else. */
bool job_output_is_built(const struct job *job, struct error *err);

#endif
