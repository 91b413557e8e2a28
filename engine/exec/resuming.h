/* resuming.h - inside the engine: the state behind resume.h, for graph_run.c and the stages. resume.c finds it and ends it,
 * records.c keeps it in the journal, recheck.c asks whether it is still true.
 *
 * Threads: graph_run.c's, while no stage is at work; then whoever holds the stage's lock, or with durable the thread that
 * waits for the workers. */
#ifndef SLUICE_EXEC_RESUMING_H
#define SLUICE_EXEC_RESUMING_H

#include "engine/exec/frozen.h"
#include "engine/exec/journal.h"
#include "engine/exec/resume.h"
#include "engine/exec/scratch.h"
#include "engine/mem/pool.h"
#include "engine/report/report.h"
#include "engine/store/owner.h"
#include "engine/store/store.h"

/* Sums modulo 2^64, so that order does not matter: over source objects that were read (sources.c; of a stage that reads
 * segments: over all slabs that they were made of), over target objects that were written (of key, length and bytes of
 * each; of parts of objects written.h). */
struct task_sums {
    uint64_t source, objects;
};

/* os_mount_of; 0: not known. */
struct mounts {
    uint64_t root, scratch;         /* of the target, or where it is staged; of the directory of the scratch file */
};

struct resume {
    struct store *store;            /* staged and locked, or (published) the target itself */
    struct span span;
    struct journal journal;
    struct frozen frozen;
    char scratch_path[PATH_MAX];    /* absolute; "": none was made */
    bool durable;                   /* this run */
    bool scratch_synced;            /* by this run, with its name */

    /* as read from the journal */
    bool continues;
    bool published;
    bool committing;
    bool replaced;                  /* `store` is what was replaced, to be removed; the target is complete */
    uint64_t begun_inode;           /* of the root, when the journal was begun */
    bool was_durable;               /* every run until now */
    char boot[40];                  /* of the last run; "": not known */
    struct mounts mounts;           /* of the last run */
    bool doubted;                   /* by the last run: a sync or a write had failed */
    struct store_place old;         /* what the target is to replace; inode 0: nothing */
    struct store_place scratch_file;    /* inode 0: nothing of it is needed */
    bool scratch_gone;              /* something was */
    bool sources_checked;           /* by this run, and nothing had changed */
    bool source_changed;            /* since it was read: the same command is refused again */

    /* lock of the stage at work */
    uint64_t tasks_done[STAGES_MAX];    /* of stages that write chunks: a prefix of the walk */
    struct task_sums sums[STAGES_MAX];  /* of those tasks */
    struct segment *segments;       /* until scratch_open takes them; those that are not complete are zero */
    uint64_t segment_count;
    uint64_t records;               /* of segments and tasks */
};

/* How many segments the first `stages` of the graph write: as many as they have tasks. */
uint64_t graph_segments_of(const struct graph *g, unsigned stages);
/* Which number a segment has that a stage makes in `task`. Stages count their segments on from one another; within a
 * stage they are counted as its tasks' grid is, whatever the walk. */
uint64_t stage_segment_number(const struct stage *stage, uint64_t first_segment, uint64_t task);

/* Which tasks of the one stage touch a chunk of g->present, sorted as the walk counts; to be freed. The others would write
 * nothing. NULL, and *count is that of all tasks: it is not so, or there are too many. */
bool graph_list_tasks(const struct graph *g, uint64_t **tasks, uint64_t *count, struct error *err);

/* Begin anew: staging directory, note, and an empty journal. */
bool resume_new(struct resume **r, const struct graph *g, struct error *err);
/* All records of the journal in r->store, with what they say of target, scratch and tasks. A line of `differences` for
 * what is not as it is asked for in `g` (NULL: nobody asks, and there is no plan then). */
enum loaded {
    LOADED,
    LOADED_NOTHING,                 /* it did not come as far as its first record */
    LOADED_OTHER,                   /* damaged, or of another version */
    LOADED_FOREIGN,
    LOADED_NOT,                     /* it cannot be read: *sys_errno */
};
enum loaded resume_load(struct resume *r, const struct graph *g, struct text *differences, int *sys_errno);

/* The first record of this run: the request and the plan, or that we go on. Nothing may have been done before. */
bool resume_begin(struct resume *r, const struct graph *g, struct error *err);
/* Nothing was done yet that is worth being kept. */
bool resume_is_empty(const struct resume *r);

/* Take up the scratch file, for a scratch that is open and has the segments; if it is gone, that is noted, and everything
 * of it is to be done again, at the path that is g's now. */
bool resume_scratch(struct resume *r, const struct graph *g, struct scratch *s, struct report *report,
                    struct error *err);
/* Is what was done still true, of a source that resume_check_sources found unchanged? After another boot, without durable,
 * the segments and the target's objects are read: what is not as it was written is done again. Uses the pool and gives it
 * back. */
bool resume_check(struct resume *r, const struct graph *g, struct scratch *s, struct pool *pool,
                  struct report *report, const volatile int *stop, struct error *err);

/* Before a stage that reads segments: what slabs were made of, for its sums, and for those of its segments. ERR_INPUT: some
 * of them were made again, and not of what was used before. */
bool resume_same_slabs(struct resume *r, const struct graph *g, const struct segment *segments, uint64_t *sum,
                       struct error *err);
/* All stages are done. ERR_INPUT: the source's objects are not what they were when they were read. */
bool resume_check_end(struct resume *r, const struct graph *g, const volatile int *stop, struct error *err);
/* Away with what is in the target of tasks that are not recorded as done, before any of them is done again: what they find
 * to be nothing but the fill value they would leave as it is. */
bool resume_remove_leftovers(const struct resume *r, const struct graph *g, struct pool *pool, const volatile int *stop,
                             struct error *err);

/* The same of what has its name already, which is not made again. ERR_IO says what stands where. */
bool resume_check_published(struct resume *r, const struct graph *g, struct report *report, const volatile int *stop,
                            struct error *err);

/* Where it lies now. */
struct mounts resume_mounts(const struct resume *r);
/* Are devices numbered as in the last run? Not after another boot, nor where one is mounted anew. */
bool resume_devices_last(const struct resume *r);
/* What was written is still what the kernel has, or on the disk for certain: NULL. Else words for when some of it may
 * have been lost: "when the machine went down". */
const char *resume_lost_when(const struct resume *r);

/* Records. With durable, what they speak of is synced before, and they are after. */
bool resume_segment(struct resume *r, uint64_t number, struct scratch *s, const struct segment *segment,
                    struct error *err);
bool resume_segment_lost(struct resume *r, uint64_t number, struct error *err);
/* Tasks of the stage up to `done` are, with the sums of all of them since the first. */
bool resume_tasks(struct resume *r, unsigned stage, uint64_t done, const struct task_sums *sums, struct error *err);
bool resume_tasks_lost(struct resume *r, unsigned stage, uint64_t done, const struct task_sums *sums,
                       struct error *err);
/* A sync or a write failed: whoever goes on reads all of it again. False: that cannot be recorded. */
bool resume_doubt(struct resume *r);
/* Everything is there, and r->old is what the target replaces. */
bool resume_committing(struct resume *r, struct error *err);

/* Give the target its name. */
bool resume_publish(struct resume *r, struct error *err);

/* In how many runs a stage reads a chunk of the source. */
uint64_t stage_chunk_runs(const struct stage *stage, const struct array_meta *source);
/* What each run of a chunk of the source adds to the sums of each task that touches it. `stamp` 0: there is no such object,
 * and it adds nothing. */
uint64_t source_stamp(uint64_t chunk_index, uint64_t stamp);
/* And an object of the target. */
uint64_t object_hash(const char *key, const void *bytes, uint64_t length);

#endif
