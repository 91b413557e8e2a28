/* planner.h - private to planner/: what its files hand one another. Nothing above includes it (its tests do).
 *
 *   resolve.c         job, stores  -> the target's metadata, limits, room on disk
 *   chunk_grammar.c   what was written about chunks, on one array
 *   sides.c           an array     -> what boxes on its side of a plan can be
 *   decodes.c         boxes        -> how much of the source is decoded
 *   boxes.c           two sides    -> box shapes with few overlaps
 *   basis.c           metadata     -> what plans are reckoned from
 *   arrange*.c        a setting    -> stages and their memory, with needs.c for each source and sink
 *   cost.c            stages       -> bytes, files, seconds
 *   fit.c             a budget     -> the best setting; the exact minimum
 *   weigh.c           plans        -> the one chosen, or a refusal
 *   files.c           its files    -> a warning, a refusal, the kernel's memory
 *   memory_table.c    stages       -> named lines
 *   resumed.c         an unfinished run -> its plan, in the budget of now
 *   scan_fit.c        a pass that only reads -> its memory
 *   verified.c        verify: true -> the passes that it takes, beside the plan
 *
 * Everything from boxes.c on is arithmetic on struct basis: no files, no clocks, so tests make one by hand.
 * Byte sums saturate at UINT64_MAX, which never fits. Threads: none of this is shared.
 */
#ifndef SLUICE_PLANNER_PLANNER_H
#define SLUICE_PLANNER_PLANNER_H

#include "engine/array/tile.h"
#include "planner/host.h"
#include "planner/plan.h"

/* ---- what a plan is reckoned from ---- */

struct basis {
    const struct array_meta *source, *target;
    const struct chunk_census *census;
    struct codec_sample sample;     /* what the census saw, and what an earlier try met */
    unsigned threads;
    unsigned cores;                 /* that the threads run on, for predictions; at most threads */
    enum io_backend backend;
    enum spill_encoding spill;

    /* derived by basis_init */
    uint64_t array_bytes;           /* elements that exist, raw */
    uint64_t source_chunks, target_chunks;
    uint64_t target_chunks_written; /* at most: those that are all fill value stay away */
    uint64_t source_chunk_bytes, target_chunk_bytes;
    uint64_t metadata_bytes;        /* in memory, with a long list of chunks */
    bool source_raw, target_raw;    /* no codec */
    struct codec_needs decode, encode;
    /* A part of a chunk: NULL where the chain can; else the codec that cannot, or why not. */
    const char *source_ranges_cannot, *source_stream_cannot, *target_slices_cannot;
    bool target_appends;            /* its chunks are long enough too */
    uint64_t range_bytes;           /* of the source, raw, that are read at once; whole blocks. 0: cannot */
    struct codec_needs range, stream, append;
    double source_ratio;            /* raw / encoded as sampled; 1 where nothing is known */
    double target_ratio;            /* as expected */
    double spill_ratio;             /* as expected, of what the scratch file holds */
    const char *spill_unsure;       /* the source's codec that may have shrunk what LZ4 does not: then spill_ratio is the
                                       best there can be, and 1 the worst. NULL: there is none */
    double present_share;           /* of the source's chunks */
};
void basis_init(struct basis *b, const struct array_meta *source, const struct array_meta *target,
                const struct chunk_census *census, unsigned threads, enum io_backend backend, const struct job *job);
/* A note to a refusal: which codecs keep `what` ("an input chunk") from being decoded in parts. */
void note_decoded_whole(const struct basis *b, const char *what, struct error *err);

/* ---- sides.c ---- */

/* How a plan takes the source's chunks, and how it makes the target's. What is not WHOLE needs no memory for a chunk. */
enum source_form {
    SOURCE_WHOLE,
    SOURCE_RANGED,                  /* only the ranges that a box needs */
    SOURCE_STREAMED,                /* from the beginning to the end, a slice at a time */
};
enum target_form {
    TARGET_WHOLE,
    TARGET_RANGED,                  /* runs at their offsets; no codec */
    TARGET_SLICED,                  /* from the beginning to the end, a slice at a time */
};
struct forms {
    enum source_form source;
    enum target_form target;
};

/* What boxes on one side of a plan can be. */
struct side {
    struct grid unit;               /* boxes consist of these cells */
    enum tile_layout layout;        /* of their tiles */
    bool fixed;                     /* there is just one box: unit.cell, a slice in stored order */
    struct walk walk;               /* of fixed boxes */
    bool aligned;                   /* a unit is one piece, or whole pieces, of its chunk */
};
/* The largest slices in stored order whose tile takes at most `bytes_max`. On each axis they consist of whole cells of
 * `step` (NULL: of elements), or reach to its end. False: there are none, or they are so short that it is hopeless. */
bool slices_of(const struct array_meta *m, enum tile_layout layout, const uint64_t *step, uint64_t bytes_max,
               struct side *out);
/* Cells of about `bytes_wanted`, each contiguous in its chunk. */
void pieces_of(const struct array_meta *m, uint64_t bytes_wanted, struct side *out);
bool source_side(const struct basis *b, enum source_form form, uint64_t bytes_max, struct side *out);
bool target_side(const struct basis *b, enum target_form form, uint64_t bytes_max, struct side *out);
/* Axes in stored order: how long a chunk is on each, and one row of it (what follows the axis) in bytes. */
struct stored {
    unsigned rank;
    unsigned axis[RANK_MAX];
    uint64_t length[RANK_MAX];
    uint64_t row_bytes[RANK_MAX];
};
void stored_init(struct stored *s, const struct array_meta *m, enum tile_layout layout);

/* ---- decodes.c ---- */

struct decodes {
    double factor;                  /* bytes decoded / bytes of the chunks that are there */
    bool is_mean;                   /* not exact: the ends of ranges fall anywhere */
};
/* What a first stage decodes, by its source, its pieces and its boxes. */
struct decodes source_decodes(const struct basis *b, const struct stage *s);

/* ---- boxes.c ---- */

/* axis_overlaps (engine/array/grid.h), the product over all axes. */
double grid_overlaps(unsigned rank, const uint64_t *shape, const uint64_t *a, const uint64_t *b);

/* The box of whole cells of `unit` with the fewest overlaps with the grid of `other`, whose tile is at most
 * `bytes_max`. False: not even one cell fits. */
bool box_best(const struct grid *unit, enum tile_layout layout, uint32_t item_bytes, const uint64_t *other,
              uint64_t bytes_max, uint64_t *box);
/* Slabs of one side and buckets of the other, chosen together. */
bool box_pair_best(const struct side *source, const struct side *target, uint32_t item_bytes,
                   uint64_t slab_bytes_max, uint64_t bucket_bytes_max, uint64_t *slab, uint64_t *bucket);

/* ---- arrange.c, needs.c ---- */

/* How generous a stage is to all that is not its tile. */
enum comfort { COMFORT_LEAST, COMFORT_LOW, COMFORT_GOOD, COMFORT_USEFUL, COMFORTS };

struct setting {
    unsigned workers;
    enum comfort comfort;
    uint64_t block_bytes;           /* of scratch */
    uint64_t kept_bytes;            /* room in the pool for the first segments; a multiple of IO_ALIGN */
    struct forms forms;
};

/* A plan with numbers. */
struct arrangement {
    struct setting setting;
    struct stage stages[STAGES_MAX];
    unsigned stage_count;           /* 1: no scratch; 2: split + merge; more: further passes */
    double extents[STAGES_MAX];     /* pieces of scratch that each stage writes */
    struct decodes decodes;         /* by cost.c */
    uint64_t outside_bytes;         /* program, stacks, rings, tables */
    uint64_t library_bytes;         /* the most of any stage */
    uint64_t pool_bytes;            /* the most of any stage, and setting.kept_bytes */
    uint64_t total_bytes;           /* the three together */
    struct plan_cost cost;          /* by cost.c */
};

enum plan_kind { KIND_DIRECT, KIND_SPLIT, KIND_PASSES, KIND_RANGED_WRITE, KIND_CARRY };

/* What the process is before any plan, and what each worker adds outside the pool. */
uint64_t program_bytes(void);
uint64_t table_bytes(void);
/* What an array's metadata takes to be read, and passed on; 0 where it is too short to matter. */
uint64_t metadata_bytes(const struct array_meta *m);
uint64_t worker_outside_bytes(enum io_backend backend, unsigned reads_in_flight);
unsigned reads_in_flight_for(enum comfort comfort, enum io_backend backend);

/* Pieces of the source: how long one is raw (0: whole chunks) and, in memory, encoded. */
uint64_t piece_raw_bytes_for(const struct array_meta *m, uint64_t span_bytes);
uint64_t piece_bytes_max_for(const struct array_meta *m, const struct codec_needs *decode, uint64_t encoded_bytes_max,
                             uint64_t piece_raw_bytes);

/* The forms of a plan that can be of use for this job in that memory, the plainest first. */
enum { FORMS_MAX = 4 };
unsigned forms_offered(enum plan_kind kind, const struct basis *b, uint64_t memory_bytes, struct forms *forms);
/* Lay a plan out within `memory_bytes`. False: it does not fit. */
bool arrange(enum plan_kind kind, const struct basis *b, const struct setting *s, uint64_t memory_bytes,
             struct arrangement *out);
/* Bytes of one mean extent on disk. */
double extent_disk_bytes(const struct basis *b, double extents);

/* ---- cost.c ---- */

void cost_of(const struct basis *b, struct arrangement *a);
/* A pass that reads and sums all of an array, its chunks encoded to `encoded_bytes` together. `b`: from it to itself. */
double cost_scan_seconds(const struct basis *b, double encoded_bytes, unsigned workers);
/* Bytes of a target chunk that a task writes in one go. */
double target_run_bytes(const struct array_meta *target, const struct stage *s);
/* Segments as expected, encoded, without their indexes and padding. */
double segment_bytes_expected(const struct basis *b);
/* Memory that keeps all segments: as they are expected with a tenth more, and (`surely`) with a fifth more. */
uint64_t kept_bytes_for_all(const struct basis *b, bool surely);
/* What all segments of an arrangement take with indexes and padding, a fifth longer than expected; `most`: if nothing
 * shrinks that may not. */
uint64_t segments_room_bytes(const struct basis *b, const struct arrangement *a, bool most);

/* ---- fit.c ---- */

/* What an arrangement must fit in. */
struct limits {
    uint64_t memory_bytes;
    uint64_t least_bytes;           /* the plan's minimum: what is above it may keep segments */
    uint64_t scratch_bytes;         /* of the file; UINT64_MAX: as many as it takes */
};
/* Extents are so long, or so few, that longer ones gain nothing. */
bool extents_ample(const struct basis *b, const struct arrangement *a);
/* The quickest arrangement within the limits. */
bool fit_best(enum plan_kind kind, const struct basis *b, const struct limits *limits, struct arrangement *out);
/* The least memory, exact to MEMORY_STEP_BYTES, and the arrangement that runs in it. UINT64_MAX: none does. */
enum { MEMORY_STEP_BYTES = 4096 };
uint64_t fit_minimum(enum plan_kind kind, const struct basis *b, struct arrangement *out);

/* ---- memory_table.c ---- */

/* The lines of one stage. `least`: the same plan in the least memory. */
void table_fill(struct memory_table *t, const struct basis *b, const struct arrangement *a, unsigned stage,
                const struct arrangement *least);
/* Of a pass that only reads: what it holds beside the program and its tables; all of it. */
void table_add_scan(struct memory_table *t, const struct scan *scan, const struct scan *least);
void table_fill_scan(struct memory_table *t, const struct scan *scan, const struct scan *least, uint64_t metadata_bytes);
uint64_t table_chosen_bytes(const struct memory_table *t);

/* What the file systems offer. Zeroes but UINT64_MAX for what is not known. */
struct room {
    uint64_t scratch_free_bytes;
    bool scratch_is_memory;         /* tmpfs */
    uint64_t target_free_bytes, target_free_files;
    uint64_t memory_available_bytes;    /* 0: not known */
};

/* ---- files.c ---- */

/* "kernel, outside RSS": of all that is opened and made. */
uint64_t kernel_bytes_for(const struct basis *b, const struct plan_cost *cost);
/* What the output takes of the file system, where each file takes whole blocks. */
uint64_t disk_bytes_of(const struct plan_cost *cost);
/* Says how many files there will be, if they are many, and the shards that would make them few. */
void warn_of_files(const struct array_meta *target, const struct plan_cost *cost, struct text *warnings);
/* Says that the output, as large as is expected of its codec, does not fit where it goes. */
void warn_of_room(const struct job *job, const struct room *room, const struct plan_cost *cost, struct text *warnings);
/* Refuses more files than the file system has inodes for; need_bytes and have_bytes of the error count files. */
bool check_files(const struct array_meta *target, const struct job *job, const struct room *room,
                 const struct plan_cost *cost, struct error *err);

/* ---- weigh.c ---- */

/* What saves less is not worth a note. */
extern const double worth_saying_seconds;

/* From p->source, target, census, memory_bytes, graph.threads, io and scratch_path to everything else in the plan. */
bool plan_from_metas(struct plan *p, const struct job *job, const struct room *room, struct error *err);

/* ---- resumed.c ---- */

/* The graph as far as it is the request: everything but stages, scratch and pool. */
void graph_request(struct plan *p, const struct job *job);
/* Look for an unfinished run, if the job asks for it: p->resume. */
bool plan_resume(struct plan *p, const struct job *job, struct error *err);
/* The plan is that of p->resume: refuse it if the budget does not hold it, and fit threads to it. */
bool plan_resumed(struct plan *p, const struct job *job, struct error *err);
/* For a job that only plans, which is what p is for: what a run would make of an unfinished one, if there is one. */
void note_unfinished(struct plan *p, const struct job *job);
/* Says so where a plan made now would have done all of it well before p->resume's has done what is left. */
void note_restart(struct plan *p, const struct job *job, const struct room *room);

/* ---- scan_fit.c (plan_scan: plan.h) ---- */

/* The sums of a scan: outside the pool, not in proportion to the array. */
uint64_t scan_digest_bytes(unsigned workers);

/* ---- verified.c ---- */

/* If the job wants it, and it is little beside the budget: memory to read back what is written while the last stage goes
 * on. 0: there is to be none; else what all stages must leave of the budget. */
uint64_t plan_beside(struct plan *p, const struct job *job);
/* The rest was planned in what that leaves: the memory is the graph's, if its last stage writes whole chunks. */
void plan_beside_use(struct plan *p);
/* If the job wants it: the passes by which the run proves its output, planned and put into the graph. `ok`, `err`: what
 * came of planning the rest. A budget that holds all but a pass is refused; one that holds neither, with what both need. */
bool plan_verified(struct plan *p, const struct job *job, bool ok, struct error *err);

/* ---- chunk_grammar.c ---- */

/* `what` names the array in messages. Fills cell[0 .. rank - 1]. */
bool chunks_resolve(const struct chunk_request *request, const struct array_meta *source, const char *what,
                    uint64_t *cell, struct error *err);

/* Says which counts are longer than their axis: they are kept as written, and a chunk then holds more than there is. */
void warn_of_long_chunks(const struct chunk_request *request, const struct array_meta *target, struct text *warnings);
/* Which axes keep the source's chunk length because nothing was said about them, and how many those are. */
unsigned chunks_kept(const struct chunk_request *request, const struct array_meta *source, bool *kept);

/* ---- explain.c ---- */

/* "(720, 16, 16)"; with a `shape`, lengths are clipped to it. */
enum { SHAPE_TEXT_BYTES = 400 };
struct shape_text { char chars[SHAPE_TEXT_BYTES]; };
struct shape_text shape_text(unsigned rank, const uint64_t *length, const uint64_t *shape);
#define SHAPE_TEXT(rank, length, shape) (shape_text(rank, length, shape).chars)

/* ---- resolve.c ---- */

/* The format an output path and key ask for. */
bool resolve_format(const struct job *job, enum format_kind source_format, enum format_kind *format,
                    struct error *err);
/* Everything about the target, from the source's metadata and the job. `target` is zero before. */
bool resolve_target(struct array_meta *target, const struct array_meta *source, const struct job *job,
                    struct text *warnings, struct text *notes, struct error *err);
/* Refuses a target that overlaps the input; and one that is there, of which a job that only plans is told. */
bool resolve_output_place(const struct job *job, const struct store *source, struct error *err);
bool resolve_output_free(const struct job *job, struct text *notes, struct error *err);
/* The help for a budget that is too small because its unit was left out, if that is what it looks like. */
void help_budget_unit(uint64_t asked_bytes, struct error *err);
/* Budget, threads and scratch path with where each came from. */
bool resolve_limits(struct plan *p, const struct job *job, const struct host *host, struct error *err);
bool resolve_room(const struct plan *p, const struct job *job, const struct host *host, struct room *room,
                  struct error *err);
/* How a person recognises where a value came from: "--memory", "--set memory", "rechunk.yaml:3". */
bool span_is_in_file(const struct span *span);
void span_origin(const struct span *span, const char *flag, char *buffer, size_t buffer_bytes);

#endif
