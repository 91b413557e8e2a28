/* plan.h - from a job to a graph that fits: opens the input's metadata, resolves chunks and codec, weighs the plans,
 * proves that the best one fits memory and scratch, and explains it. No array data is read; nothing is
 * O(chunks): 10^9 chunks plan in well under 0.1 s.
 */
#ifndef SLUICE_PLANNER_PLAN_H
#define SLUICE_PLANNER_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/exec/graph.h"
#include "engine/exec/resume.h"
#include "engine/exec/scan.h"
#include "engine/format/census.h"
#include "engine/format/format.h"
#include "planner/job.h"

/* One named line of the memory table of a stage. chosen is between least and useful. */
struct memory_line {
    const char *what;               /* "merge: one bucket" */
    uint64_t least_bytes, useful_bytes, chosen_bytes;
    unsigned count;                 /* how many of them, for the text; the bytes above are for all together */
};
enum { MEMORY_LINES_MAX = 24 };
struct memory_table {
    struct memory_line lines[MEMORY_LINES_MAX];
    unsigned count;
};

/* Of one stage: what its source, and what its sink takes. */
struct stage_seconds {
    double taking, making;
};

/* What a plan will cost, as predicted. Counts are those of engine/report/report.h and come out exactly, but:
 *
 *   ratios      encoded bytes are raw bytes by the ratio that was sampled (or is hoped for)
 *   read_bytes  the same bytes as decoded_bytes, encoded; the places of a blosc frame's blocks, read where only some
 *               of them are wanted, come on top
 *   missing     chunks that are not there are taken to be spread evenly: exact where each chunk is decoded once
 *   files       at most: chunks that turn out to be all fill value are not written */
struct plan_cost {
    uint64_t read_bytes, decoded_bytes, write_bytes, files;
    bool decoded_is_mean;           /* boxes end within ranges that are read, anywhere: a few per cent, at worst a half */
    uint64_t spill_raw_bytes;       /* all elements, once for each stage that writes segments */
    uint64_t segment_bytes;         /* encoded, with indexes: kept in memory, or in the scratch file */
    uint64_t kept_bytes;            /* of segment_bytes, in memory */
    uint64_t spill_write_bytes, spill_read_bytes;       /* the rest of them */
    uint64_t scratch_bytes;         /* room for the scratch file, also if segments are longer than expected */
    uint64_t scratch_bytes_max;     /* more than that where the input's codec shrinks what scratch may not (zstd, say) */
    double seconds;
    struct stage_seconds stages[STAGES_MAX];            /* of the seconds; a little is of no stage */
    double verify_seconds;          /* of them; one pass over the output */
};

/* A plan that was weighed: chosen, slower, or impossible. */
struct plan_candidate {
    const char *name;               /* "direct", "split + merge" */
    bool fits;
    char why_not[480];              /* if it does not fit, or is not built for this job */
    uint64_t need_bytes;            /* the least budget it would run in */
    struct plan_cost cost;          /* if it fits */
};
enum { CANDIDATES_MAX = 8 };

/* What a larger budget, of at most a few times the bytes, would buy. */
struct more_memory {
    uint64_t memory_bytes;          /* 0: nothing worth it */
    double seconds;
    const char *plan;
};

struct plan {
    struct array_meta source, target;
    struct store *source_store;
    struct chunk_census census;
    struct chunk_list present;          /* empty: not known, or too many */
    struct graph graph;             /* points into this plan and the job */

    uint64_t memory_bytes;          /* the budget */
    char memory_from[180];          /* "rechunk.yaml:3", "--memory", "half of MemAvailable (23.1GiB)" */
    char threads_from[180];
    unsigned cores;                 /* there are; 0: as many as threads */
    char scratch_from[180];
    struct io_choice io;
    uint64_t kernel_bytes;          /* "kernel, outside RSS": what a cgroup must have beside the budget */
    uint64_t minimum_bytes;         /* the least budget any plan of this job runs in, exactly */

    struct memory_table memory[STAGES_MAX];     /* of each stage of the graph */
    struct scan read_back, read_source;         /* of job.verify: the graph's passes, which point here */
    struct scan read_beside;                    /* the graph's, if it has one */
    struct memory_table verify_memory;          /* of the hungrier of them */
    struct memory_table beside_memory;          /* of reading back beside the last stage: its lines alone */
    uint64_t beside_bytes;                      /* its sum, which memory_bytes is without while the stages are planned */
    struct plan_candidate candidates[CANDIDATES_MAX];
    unsigned candidate_count, chosen;
    struct more_memory more_memory;
    struct text warnings, notes;    /* one per line; notes: what is worth knowing, and no danger */
    struct text afterwards;         /* those of the warnings that are of use when the run is done */
    char *scratch_path;             /* owned; NULL: no scratch */
    struct resume *resume;          /* owned; an unfinished run that is gone on with by its own plan; NULL: none */
    uint64_t resumed_bytes;         /* what it has done, of graph_work_bytes */
    double resumed_seconds;         /* predicted for what it has left */
};

/* On failure the plan is released; errors point into the job's spans (a budget that is too small: ERR_FIT with the
 * table as notes and need_bytes exact). The graph points into the plan: do not move it. */
bool plan_make(struct plan *p, const struct job *job, struct error *err);
void plan_release(struct plan *p);

/* How much of the work the run that is gone on with has done. */
unsigned plan_resumed_percent(const struct plan *p);

/* The bytes of a budget that was asked for. ERR_FIT: it is more than our cgroup may have. */
struct host;
bool plan_budget(uint64_t *bytes, const struct size_request *asked, const struct host *host, struct error *err);

/* `plan` for people: stages, memory table, bytes, files, scratch, predicted seconds, why this plan, warnings. */
void plan_explain(const struct plan *p, struct text *out);
/* "about 1.2GiB", "147MiB to 381MiB", "up to 381MiB": the room in scratch. False: there is none to be taken. */
bool plan_scratch_text(const struct plan_cost *cost, struct text *out);
/* The same facts as one JSON object ("schema": 1). */
void plan_explain_json(const struct plan *p, struct text *out);

/* Memory for a scan (engine/exec/scan.h) of one array within a budget: fills the scan's memory, workers, tasks and
 * reads. ERR_FIT with the exact minimum if it does not fit. */
bool plan_scan(struct scan *scan, uint64_t memory_bytes, unsigned threads, const struct chunk_census *census,
               struct span span, struct error *err);

#endif
