/* stage.h - inside the engine: one stage at work. graph.h says what a stage is; this is how it runs.
 *
 * All workers share one task (one tile) at a time:
 *
 *     claim -> locate -> take ring memory -> read -> ready -> decode + scatter     (pieces; read ahead of the task)
 *     claim -> encode -> write                                                     (units of the drain)
 *
 * Invariants
 *  1. Pieces are claimed in order (tasks, then pieces of a task), and take ring memory in the same order. So whoever
 *     holds ring memory comes before whoever waits for it, and can be decoded without it: nothing deadlocks.
 *  2. The tile belongs to task `task`. What the task before carried over is copied into it, then the fill value where
 *     chunks are known to be missing, while base_left > 0; it is filled while pieces_left > 0, then drained while
 *     units_left > 0; the worker that finishes the last unit begins the next task.
 *  3. A worker sleeps only in io_reap, and only after setting `sleeping` under the lock; whoever changes what it could
 *     be waiting for (phase, ready pieces, granted memory, failure) wakes it.
 *  4. After a failure nothing new is claimed; workers leave when the kernel holds none of their buffers.
 *  5. The lock is held for arithmetic and list work, never for array data. Segment indexes are the exception, being
 *     small and seldom: a window of one is read when the claim cursor comes to it, and one is written when its
 *     segment is complete.
 *
 * A source (from_*.c) and a sink (to_*.c) are each a small table of functions.
 *
 * The follower of a stage is a scan of what the stage writes. The same threads do both, over one io each: the follower's
 * pieces when the stage has nothing for them, and what is left of it at the end. A task of the follower opens when the
 * stage's task of that number is done for good. One that fails takes the other with it. The stage's lock may be held
 * when the follower's is taken, never the other way round.
 */
#ifndef SLUICE_EXEC_STAGE_H
#define SLUICE_EXEC_STAGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/array/digest.h"
#include "engine/array/tile.h"
#include "engine/base/error.h"
#include "engine/codec/ranged.h"
#include "engine/exec/frame_window.h"
#include "engine/exec/graph.h"
#include "engine/exec/resuming.h"
#include "engine/exec/ring.h"
#include "engine/exec/scan.h"
#include "engine/exec/scratch.h"
#include "engine/exec/written.h"
#include "engine/mem/pool.h"

struct stage_run;
struct worker;

/* A piece of the source: a run of elements, in storage order, of one cell of the source's grid (a chunk, a slab). */
struct piece {
    uint64_t task;
    uint64_t ticket;                /* the order in which pieces were claimed, from 0 */
    uint64_t coords[RANK_MAX];      /* the cell */
    uint64_t cell;                  /* which of the task's cells */
    uint64_t sub;                   /* which run of the cell */
    uint64_t subs_first, subs;      /* the runs it stands for: itself, and those beside it that the task does not need */
    struct box box;                 /* what `first` counts in; may hang over the array */
    uint64_t first, count;          /* items */
};

enum read_state {
    READ_UNUSED,
    READ_WAITING,                   /* located, waits for ring memory */
    READ_GRANTED,                   /* has memory, its owner will submit it */
    READ_SUBMITTED,
    READ_READY,                     /* on the ready list: any worker may decode it */
};

/* Of a scan that wants to know all that is damaged. */
struct begun_chunk {
    uint64_t chunk;
    uint64_t subs_left;             /* 0: unused */
    bool told;
};

/* A piece on its way in. */
struct read {
    enum read_state state;          /* lock */
    struct worker *reader;          /* who submitted it */
    struct piece piece;
    struct object object;           /* FROM_CHUNKS: fd -1 if there is nothing to read */
    bool empty;                     /* there is nothing to decode: its chunk is damaged, and was reported */
    uint64_t payload_offset;        /* in the file, as located */
    uint64_t payload_bytes;
    uint64_t beside_bytes;          /* memory behind that of the payload, for what decode is to know; whole IO_ALIGN */
    struct codec_range range;       /* FROM_CHUNKS, of compressed chunks */
    bool by_hand;                   /* FROM_CHUNKS: the range is read while it is decoded, from payload_offset on */
    struct index_entry entry;       /* FROM_SEGMENTS */
    uint64_t segment, block;        /* FROM_SEGMENTS: which one, as the index counts */
    const char *kept;               /* FROM_SEGMENTS: the block never left memory, and is here */
    uint64_t stamp;                 /* FROM_CHUNKS: what each of its runs adds to the sum over the source's objects */
    uint64_t ring_id;
    char *memory;                   /* NULL: no bytes (missing, empty) */
    struct io_request request;
    struct read *next;              /* lock: in the ready list, by ticket; or among the unused */
};

/* An encoded run of bytes on its way out. */
struct write {
    bool busy;
    bool pending;                   /* lock: between stage_write_begins and stage_write_ends */
    uint64_t task;                  /* lock: that it belongs to */
    struct task_sums sums_before;   /* lock: of all tasks before that one */
    char *memory;                   /* of write_bytes; NULL: units are written straight from the tile */
    struct object object;           /* TO_CHUNKS */
    struct open_chunk *chunk;       /* TO_RANGES */
    uint64_t object_bytes;          /* its true length */
    bool holds_tile;                /* the unit counts as drained only when this write is done */
    char key[KEY_BYTES_MAX];
    struct io_request request;
};

/* TO_RANGES: a chunk that a worker has open, until its part is copied out and no write of it is under way. */
struct open_chunk {
    struct ranged_object object;    /* fd -1: none */
    unsigned writes;                /* under way */
    bool copied;                    /* the last of them closes it */
    char key[KEY_BYTES_MAX];
};

struct stage_from {
    /* Lock held: the claim cursor enters `run->claim_task`. Fills claim_box, claim_cells. */
    bool (*enter_task)(struct stage_run *run, struct error *err);
    /* Lock held. The first run of the piece's cell, from `sub` on, that holds anything for run->claim_task; run->subs or
     * more: none does. NULL: all of them do. */
    uint64_t (*next_sub)(const struct stage_run *run, const struct piece *piece, uint64_t sub);
    /* Lock held, the cursor is still in the piece's task: copy what locate needs of it. NULL: nothing. */
    void (*claimed)(struct stage_run *run, struct read *read);
    /* No lock. Find the piece's bytes: object or entry, payload_offset, payload_bytes (0: nothing to read); what memory
     * decode needs beside them. */
    bool (*locate)(struct worker *w, struct read *read, struct error *err);
    /* No lock, on the worker that located it, which has located nothing since: the piece's memory is there and will be
     * read into. NULL: nothing to do. */
    void (*granted)(struct worker *w, struct read *read);
    /* No lock. Decode and hand the elements on with stage_deliver. */
    bool (*decode)(struct worker *w, struct read *read, struct error *err);
    /* Lock held: tasks before run->recorded are done for good; their source bytes will not be read again. NULL: nothing
     * to do. */
    void (*tasks_recorded)(struct stage_run *run);
    /* No lock, on the thread that waits for the workers. What tasks_recorded asked for by give_back_step. NULL: nothing. */
    void (*give_back)(struct stage_run *run, unsigned step);
    /* The same: every task is recorded, nothing of the source is needed any more. May be called again. NULL: nothing. */
    void (*all_recorded)(struct stage_run *run);
};

struct stage_to {
    /* Lock held: the tile is full. How many units there are to drain. */
    uint64_t (*unit_count)(struct stage_run *run);
    /* Lock held. May this worker take a unit now (does it have a free write buffer)? */
    bool (*has_room)(struct worker *w);
    /* No lock. Encode one unit and write it, now or with others. Calls stage_units_done for what needs the tile no more.
     * A unit that takes more write buffers than are free sets w->unit_begun, keeps what it needs to know in the worker,
     * and is called again, for the same unit, when has_room says so. */
    bool (*drain)(struct worker *w, uint64_t unit, struct error *err);
    /* No lock. No unit is left to claim: write what is held back. NULL: nothing is. */
    bool (*flush)(struct worker *w, struct error *err);
    /* No lock. A write of this worker is done; its request has the result. */
    bool (*written)(struct worker *w, struct write *write, struct error *err);
    /* Lock held: all units of the task are drained. NULL: nothing to do. */
    bool (*leave_task)(struct stage_run *run, struct error *err);
    /* Lock held, then: could a process that knows nothing of this task begin with the next? NULL: always. */
    bool (*stands_alone)(const struct stage_run *run);
};

struct worker {
    struct stage_run *run;
    pthread_t thread;
    bool started;
    struct io *io;
    bool sleeping;                  /* lock */
    struct worker *beside;          /* the same thread, in the follower; NULL: there is none */
    uint64_t open_seen;             /* lock: run->tasks_open when it last looked for a piece to claim */
    struct read *waiting;           /* lock: its one piece that waits for memory or was just granted it */
    unsigned reads_in_flight;
    struct decoder *decoder;
    struct encoder *encoder;
    struct frame_window *frames;    /* FROM_CHUNKS, ranges of compressed chunks */
    char *decode_scratch, *encode_scratch;
    struct write *writes;           /* write_slots of them */
    struct digest digest;           /* of a scan, or of what is delivered */
    struct digest written;          /* TO_RANGES (written.h) */
    double sum_seconds;             /* spent on the latter */
    uint64_t unit;                  /* of the drain, that this worker took last */
    bool unit_begun;                /* it is not done with it: it goes on when there is room */
    /* TO_SEGMENTS: the buffer being packed */
    struct write *packing;
    uint64_t packed_bytes;
    uint32_t *packed_entries;       /* numbers of the entries in it, to be given their offset */
    uint32_t packed_count;
    /* TO_RANGES */
    struct open_chunk *open_chunks; /* write_slots + 1 of them */
    struct open_chunk *chunk;       /* of the unit begun; NULL: none is */
    uint64_t position;              /* items of the unit copied out, in stored order */
};

enum { PACKED_ENTRIES_MAX = 1024, WORKER_STACK_BYTES = 256 * 1024 };

enum stage_phase { PHASE_CARRY, PHASE_BLANK, PHASE_FILL, PHASE_DRAIN, PHASE_DONE };

/* A window into one segment's index, for the task that the claim cursor is in. */
struct index_window {
    uint64_t segment;               /* UINT64_MAX: none */
    uint64_t first, count;          /* entries held */
    struct index_entry *entries;
};

struct stage_run {
    const struct stage *stage;
    unsigned number;                /* of the stage in its graph */
    const struct stage_from *from;
    const struct stage_to *to;      /* NULL: a scan */
    struct pool *pool;
    struct report *report;
    const volatile int *stop;
    enum io_backend backend;

    /* the source */
    const struct array_meta *array;
    struct store *store;
    const struct stage *before;     /* FROM_SEGMENTS: the stage that wrote them */
    uint64_t segments_before;       /* FROM_SEGMENTS: the number of its first segment */
    struct grid cells;              /* chunks, or the slabs of the stage before */
    uint64_t subs;                  /* runs in a cell, at most */
    struct span source_span;        /* whose line its errors point at */
    bool refuse_missing;
    const struct chunk_list *present;   /* the graph's; NULL: not known */
    bool skips_missing;             /* `cells` are chunks, and only those of `present` are pieces (missing_chunks.c) */
    uint64_t *listed_tasks;         /* owned; only these are walked, as the walk counts; NULL: all */
    uint64_t missing_max;           /* the graph's missing_chunks_max */
    atomic_uint_fast64_t missing;   /* chunks found missing, each once, however often the plan reads it */
    struct codec_sample *seen;      /* lock; NULL: nobody asks */
    struct chunk_stream *stream;    /* FROM_STREAM: the worker that decodes the task's one piece */
    bool sums_source;               /* what is delivered goes into the workers' digests, too (proof.h) */
    /* the target */
    const struct array_meta *target;
    struct store *target_store;
    bool write_empty_chunks;
    uint32_t item_bytes;
    struct slices *slices;          /* TO_SLICES: the chunk at hand */
    /* scratch */
    struct scratch *scratch;
    const struct stage *after;      /* TO_SEGMENTS: the stage that reads them */
    uint64_t first_segment;         /* TO_SEGMENTS: the number of this stage's first; stages count on from one another */
    uint64_t segment;               /* TO_SEGMENTS: the one being written; changes only between tasks */
    struct index_entry *index;      /* TO_SEGMENTS: of the segment being written */
    uint64_t index_blocks;          /* TO_SEGMENTS: entries for each extent */
    uint64_t segment_begin_offset;  /* TO_SEGMENTS, lock: where the data of the segment being written begins */
    struct index_window *windows;   /* FROM_SEGMENTS: one for each slab that a task touches */
    uint64_t window_bytes;
    uint64_t damaged_segment;       /* FROM_SEGMENTS, lock: one that cannot be read; UINT64_MAX: none */
    unsigned give_back_step;        /* FROM_SEGMENTS, lock: space may be given back up to this step; 0: not now */
    /* what is done for good (advance.c) */
    struct resume *resume;          /* NULL: a scan, which keeps nothing */
    uint64_t first_task;            /* the first that this process does */
    atomic_bool kept_in_memory;     /* TO_SEGMENTS: some of the segment being written is */
    uint64_t recorded;              /* lock: tasks before it are */
    struct task_sums sums;          /* lock: of all tasks, and of the one at hand as far as it has come */
    struct task_sums sums_before;   /* lock: of the tasks before the one at hand */
    uint64_t carried_source;        /* lock: what the one at hand adds to the next one's, with what it carries over */
    uint64_t alone_task;            /* lock: the last with which a process could begin, not recorded yet; 0: none */
    struct task_sums alone_sums;    /* lock: of the tasks before it */
    struct stage_run *follower;     /* reads back what this one writes; borrowed, prepared; NULL: nobody does */
    bool failed_following;          /* lock: the error is the follower's */
    double done_at;                 /* lock: when the last task was drained */
    /* a scan */
    const struct box *within;
    const struct tile *values;      /* what is summed goes there, too; NULL: nobody wants it */
    void (*damaged)(void *context, const char *key, const struct error *why);
    void *damaged_context;
    struct begun_chunk *begun;      /* lock; owned; read_count + 1 of them. Chunks of which pieces are under way, where it
                                       matters: chunks come in several pieces, and each that is damaged is told once */

    struct worker *workers;
    unsigned worker_count;

    pthread_mutex_t lock;
    /* all below: lock */
    uint64_t tasks;
    uint64_t tasks_open;            /* those that may be claimed from: all of them, but for a follower */
    uint64_t claim_task, claim_piece, claim_pieces; /* the cursor; claim_pieces of claim_task */
    struct box claim_box;
    struct cell_range claim_cells;
    uint64_t next_ticket, next_grant;
    struct ring ring;
    struct read *reads;
    uint64_t read_count;
    struct read *unused, *ready;
    uint64_t task;                  /* that the tile holds */
    enum stage_phase phase;
    struct box box;                 /* of the task; read without lock while its phase lasts */
    struct tile tile;
    char *tile_memory;
    bool carrying;                  /* the carry area is in use: filled beside the tile, then copied to the next one */
    struct tile carry;              /* one part */
    struct grid carry_parts;
    char *carry_memory;
    struct box blank;               /* what PHASE_BLANK covers; read without lock */
    uint64_t blank_elements;        /* of it; 0: nothing */
    uint64_t base_next, base_units, base_left;      /* of PHASE_CARRY or PHASE_BLANK */
    uint64_t pieces_left;
    uint64_t unit_next, units, units_left;
    bool failed;
    struct error error;
};

extern const struct stage_from from_chunks, from_stream, from_segments;
extern const struct stage_to to_chunks, to_segments, to_slices, to_ranges;

/* FROM_STREAM: the stage's one decoder, in stream_bytes of `memory`. */
bool chunk_stream_new(struct chunk_stream **s, const struct stage_run *run, char *memory, struct error *err);
void chunk_stream_free(struct chunk_stream *s);     /* NULL is fine */

/* Run a prepared stage until its last task is drained, and all of its follower too. */
bool stage_run(struct stage_run *run, struct error *err);

/* ---- for sources and sinks ---- */

/* The box of a task: clipped to the array (a scan: to `within`). */
void stage_task_box(const struct stage_run *run, uint64_t task, struct box *box);
/* The box and the cells of run->claim_task, for enter_task. */
void stage_claim_box(struct stage_run *run);
/* The cells whose pieces a box claims: those it touches, but for what the box before carries over to it. */
void stage_cells(const struct stage_run *run, const struct box *box, struct cell_range *cells);
/* What the pieces of a box are decoded for: the box, and what it carries over. */
void stage_reach(const struct stage_run *run, const struct box *box, struct box *reach);
/* Elements on their way: into the tile, or into the worker's digest. */
void stage_deliver(struct worker *w, const struct run *run);
void stage_deliver_missing(struct worker *w, const struct box *piece, const void *item);
/* A chunk of the source as it lies in its object. */
struct stored_chunk {
    struct chunk_place place;
    struct object object;           /* fd -1: there is none; the caller's to close */
    uint64_t bytes;                 /* from place.offset on, as far as the object goes */
};
/* No lock. Open a chunk's object. One that is not there reads as the fill value, unless it should be there, as a listed
 * one should: then it fails. `first`: of all pieces of the chunk that are read, the one that counts. */
bool stage_open_chunk(struct stage_run *run, const uint64_t *coords, bool first, struct stored_chunk *out,
                      struct error *err);
/* `count` units need the tile no more. */
void stage_units_done(struct stage_run *run, uint64_t count);
/* A write buffer that is not in flight; NULL: none now. */
struct write *stage_free_write(struct worker *w);
/* A write belongs to the task at hand: before its units count as done. `hash`: what it adds to the sum over the
 * target's objects (object_hash), 0 for what is no whole object. Its task counts as done only when it has ended well. */
void stage_write_begins(struct worker *w, struct write *write, uint64_t hash);
void stage_write_ends(struct worker *w, struct write *write);
/* No lock. The task at hand wrote, or is going to write, what adds `sum` to that over the target's objects. */
void stage_object_written(struct stage_run *run, uint64_t sum);
/* No lock. The task at hand reads the chunk at `coords`; once for each task and chunk. */
void stage_source_read(struct stage_run *run, const uint64_t *coords, uint64_t stamp);

/* ---- advance.c, for stage_loop.c: which tasks are done for good ---- */

/* What an earlier process did of the stage is recorded. */
void stage_begin_at(struct stage_run *run);
/* The first task from `task` on that is to be done; run->tasks: none is. */
uint64_t stage_next_task(const struct stage_run *run, uint64_t task);
/* Lock held: the task at hand is drained, and run->task still is that task; then: it is another, or run->tasks. */
void stage_task_ends(struct stage_run *run);
void stage_task_begins(struct stage_run *run);
/* No lock, on the thread that waits for the workers. */
void stage_record(struct stage_run *run);

/* ---- between stage_loop.c and stage_pieces.c ---- */

/* Lock held. Whoever sleeps; all of them; one of them (enough for one more ready piece). */
void stage_wake(struct worker *w);
void stage_wake_all(struct stage_run *run);
void stage_wake_one(struct stage_run *run);
/* Lock held, of the stage that it follows: so many of its tasks are done for good. */
void stage_follow(struct stage_run *follower, uint64_t tasks);
/* The first failure wins. stage_fail: lock held. */
void stage_fail(struct stage_run *run, const struct error *why);
void stage_fail_unlocked(struct stage_run *run, const struct error *why);
/* Lock held. The elements of so many pieces are in the tile; the last one begins the drain. */
void stage_pieces_done(struct stage_run *run, uint64_t pieces);
/* Lock held. A piece whose bytes are here (or that has none): any worker may decode it. */
void stage_put_ready(struct stage_run *run, struct read *read);
/* Claim, locate and submit pieces until memory, slots or pieces run out. False: nothing was begun. */
bool stage_start_reads(struct worker *w, struct error *err);
/* Decode one ready piece of the task at hand. False: there was none. */
bool stage_decode_ready(struct worker *w);

/* ---- missing_chunks.c: of a stage that skips_missing; all but blank_unit with the lock held ---- */

/* Move the claim cursor, where it is at the first run of a cell, on to a cell that is there, or to the end. */
void missing_skip(struct stage_run *run);
/* How many cells of run->task are there. Reports the others; run->blank is what they lie in. */
uint64_t missing_count(struct stage_run *run, const struct cell_range *cells);
/* In how many units the fill value is laid out; 0: nothing is missing. */
uint64_t blank_units(const struct stage_run *run);
void blank_unit(struct worker *w, uint64_t unit);

/* ---- carry.c ---- */

/* Does the stage keep the rules of `carries`? Aborts if not: the planner's mistake. */
void carry_check(const struct stage_run *run);
/* Lock held: what was carried is copied; the area now waits for what the box at hand passes on. */
void carry_begin(struct stage_run *run);
/* Does what the piece is of reach into the next box, with a carry area to hold that? */
bool carry_takes(const struct stage_run *run, const struct piece *piece);
/* Lock held: in how many units it is copied into the next tile; 0: nothing was carried. */
uint64_t carry_units(const struct stage_run *run);
/* No lock. Copy one unit. */
void carry_copy(struct worker *w, uint64_t unit);

#endif
