/* stage_loop.c - the workers of a stage: what each does next, and when it may sleep. stage.h has the invariants. */
#include "engine/exec/stage.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/io/os.h"

enum { REAP_MAX = 32, LOOK_NS = 50 * 1000 * 1000, SECOND_NS = 1000 * 1000 * 1000 };

/* ---- shared by sources and sinks ---- */

void stage_task_box(const struct stage_run *run, uint64_t task, struct box *box)
{
    uint64_t coords[RANK_MAX];

    if (run->within) {
        *box = *run->within;
        return;
    }
    if (run->listed_tasks)
        task = run->listed_tasks[task];
    walk_grid_coords(&run->stage->walk, &run->stage->tasks, task, coords);
    grid_cell_box(&run->stage->tasks, coords, box);
}

void stage_claim_box(struct stage_run *run)
{
    stage_task_box(run, run->claim_task, &run->claim_box);
    stage_cells(run, &run->claim_box, &run->claim_cells);
    run->claim_piece = 0;
    run->claim_pieces = cell_range_cells(run->cells.rank, &run->claim_cells) * run->subs;
    if (run->skips_missing)
        missing_skip(run);
}

struct write *stage_free_write(struct worker *w)
{
    for (unsigned i = 0; i < w->run->stage->memory.write_slots; i++)
        if (!w->writes[i].busy)
            return &w->writes[i];
    return NULL;
}

/* Each element of the source once, though pieces may be decoded for several tasks: what lies in the box at hand, with
 * what it carries over. What is not stored adds nothing. */
static void sum_delivered(struct worker *w, const struct run *elements)
{
    double began = os_now();
    struct box reach;

    stage_reach(w->run, &w->run->box, &reach);
    digest_run(&w->digest, elements, &reach);
    w->sum_seconds += os_now() - began;
}

void stage_deliver(struct worker *w, const struct run *elements)
{
    struct stage_run *run = w->run;

    if (!run->to) {
        digest_run(&w->digest, elements, run->within);
        if (run->values)
            tile_scatter(run->values, elements);
        return;
    }
    if (run->sums_source)
        sum_delivered(w, elements);
    tile_scatter(&run->tile, elements);
    if (run->carrying)
        tile_scatter(&run->carry, elements);
}

void stage_deliver_missing(struct worker *w, const struct box *piece, const void *item)
{
    struct stage_run *run = w->run;

    if (!run->to) {
        digest_missing(&w->digest, piece, item, run->within);
        if (run->values)
            tile_scatter_fill(run->values, piece, item);
        return;
    }
    tile_scatter_fill(&run->tile, piece, item);
    if (run->carrying)
        tile_scatter_fill(&run->carry, piece, item);
}

static bool missing_is_fine(struct stage_run *run, bool first, bool listed, const char *key, struct error *err)
{
    if (run->refuse_missing) {
        error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is missing", key, store_path(run->store));
        error_help(err, "'missing: refuse' is set on this input; without it missing chunks read as the fill value");
        return false;
    }
    if (run->present && !listed)
        return true;
    if (run->present || run->missing_max == 0 ||
        (first && atomic_fetch_add(&run->missing, 1) >= run->missing_max)) {
        error_at(err, ERR_INPUT, SPAN_NONE, "chunk '%s' of '%s' is not there any more: it was when this run was planned",
                 key, store_path(run->store));
        error_help(err, "run it again when nothing changes the input");
        return false;
    }
    return true;
}

bool stage_open_chunk(struct stage_run *run, const uint64_t *coords, bool first, struct stored_chunk *out,
                      struct error *err)
{
    bool listed = !run->present || chunk_list_has(run->present, grid_index(&run->array->chunks, coords));

    *out = (struct stored_chunk){ .object.fd = -1 };
    array_chunk_place(run->array, coords, &out->place);
    if (listed && !store_object_open(run->store, out->place.key, &out->object, err))
        return false;
    if (out->object.fd < 0)
        return missing_is_fine(run, first, listed, out->place.key, err);
    out->bytes = size_min(out->place.bytes, out->object.bytes - size_min(out->place.offset, out->object.bytes));
    return true;
}

/* ---- waking (lock held) ---- */

void stage_wake(struct worker *w)
{
    if (w->sleeping) {
        w->sleeping = false;
        io_wake(w->io);
    }
}

void stage_wake_all(struct stage_run *run)
{
    for (unsigned i = 0; i < run->worker_count; i++)
        stage_wake(&run->workers[i]);
}

/* Wake one sleeper, for one more ready piece. */
void stage_wake_one(struct stage_run *run)
{
    for (unsigned i = 0; i < run->worker_count; i++)
        if (run->workers[i].sleeping) {
            stage_wake(&run->workers[i]);
            return;
        }
}

void stage_follow(struct stage_run *follower, uint64_t tasks)
{
    die_at("before-read-back");
    pthread_mutex_lock(&follower->lock);
    follower->tasks_open = tasks;
    stage_wake_all(follower);
    pthread_mutex_unlock(&follower->lock);
}

/* The first failure wins. */
void stage_fail(struct stage_run *run, const struct error *why)
{
    if (!run->failed)
        run->error = *why;
    run->failed = true;
    stage_wake_all(run);
}

void stage_fail_unlocked(struct stage_run *run, const struct error *why)
{
    pthread_mutex_lock(&run->lock);
    stage_fail(run, why);
    pthread_mutex_unlock(&run->lock);
}

/* ---- phases (lock held) ---- */

static void end_task(struct stage_run *run);

/* The tile is full: drain it. */
static void begin_drain(struct stage_run *run)
{
    run->phase = PHASE_DRAIN;
    run->unit_next = 0;
    run->units = run->units_left = run->to ? run->to->unit_count(run) : 0;
    if (run->units == 0)
        end_task(run);
    stage_wake_all(run);
}

static void begin_fill(struct stage_run *run)
{
    run->phase = PHASE_FILL;
    stage_wake_all(run);
    if (run->pieces_left == 0)
        begin_drain(run);
}

/* The units of a phase before the fill. False: there are none. */
static bool begin_base(struct stage_run *run, enum stage_phase phase, uint64_t units)
{
    run->base_next = 0;
    run->base_units = run->base_left = units;
    if (units == 0)
        return false;
    run->phase = phase;
    stage_wake_all(run);
    return true;
}

/* What was carried over is in the tile. */
static void begin_blank(struct stage_run *run)
{
    carry_begin(run);
    if (!begin_base(run, PHASE_BLANK, run->skips_missing ? blank_units(run) : 0))
        begin_fill(run);
}

/* How the sink wants the tile. */
static enum tile_layout sink_layout(enum stage_sink sink)
{
    return sink == TO_CHUNKS || sink == TO_SLICES ? TILE_WHOLE : TILE_CLIPPED;
}

static void begin_task(struct stage_run *run)
{
    struct cell_range cells;

    stage_task_box(run, run->task, &run->box);
    stage_cells(run, &run->box, &cells);
    run->pieces_left = (run->skips_missing ? missing_count(run, &cells) : cell_range_cells(run->cells.rank, &cells)) *
                       run->subs;
    if (run->to)
        tile_init(&run->tile, sink_layout(run->stage->sink), run->item_bytes,
                  &run->stage->parts, &run->box, run->target ? run->target->codecs.order : NULL, run->tile_memory);
    if (!begin_base(run, PHASE_CARRY, carry_units(run)))
        begin_blank(run);
}

static void end_task(struct stage_run *run)
{
    struct error err = { 0 };

    if (run->to && run->to->leave_task && !run->to->leave_task(run, &err)) {
        stage_fail(run, &err);
        return;
    }
    stage_task_ends(run);
    run->task = stage_next_task(run, run->task + 1);
    stage_task_begins(run);
    if (run->task == run->tasks) {
        run->phase = PHASE_DONE;
        run->done_at = os_now();
        stage_wake_all(run);
    } else {
        begin_task(run);
    }
}

void stage_units_done(struct stage_run *run, uint64_t count)
{
    pthread_mutex_lock(&run->lock);
    assert(run->units_left >= count);
    run->units_left -= count;
    if (run->units_left == 0 && count > 0 && !run->failed)
        end_task(run);
    pthread_mutex_unlock(&run->lock);
}

void stage_pieces_done(struct stage_run *run, uint64_t pieces)
{
    assert(run->pieces_left >= pieces);
    run->pieces_left -= pieces;
    if (run->pieces_left == 0 && !run->failed)
        begin_drain(run);
}

/* ---- units ---- */

/* Is there a unit of a phase before the fill? Lock held. */
static bool has_base(const struct stage_run *run)
{
    return (run->phase == PHASE_CARRY || run->phase == PHASE_BLANK) && run->base_next < run->base_units;
}

/* A unit of what the task before carried over, or of what is missing. False: there is none. */
static bool base_one(struct worker *w)
{
    struct stage_run *run = w->run;
    enum stage_phase phase;
    uint64_t unit = UINT64_MAX;

    pthread_mutex_lock(&run->lock);
    phase = run->phase;
    if (has_base(run) && !run->failed)
        unit = run->base_next++;
    pthread_mutex_unlock(&run->lock);
    if (unit == UINT64_MAX)
        return false;
    if (phase == PHASE_CARRY)
        carry_copy(w, unit);
    else
        blank_unit(w, unit);
    pthread_mutex_lock(&run->lock);
    if (--run->base_left == 0 && !run->failed) {
        if (phase == PHASE_CARRY)
            begin_blank(run);
        else
            begin_fill(run);
    }
    pthread_mutex_unlock(&run->lock);
    return true;
}

/* May this worker drain a unit now: the one it has begun, or another? Lock held. */
static bool has_unit(struct worker *w)
{
    struct stage_run *run = w->run;

    return run->phase == PHASE_DRAIN && run->to && (w->unit_begun || run->unit_next < run->units) &&
           run->to->has_room(w);
}

/* Is anything held back that nothing will be added to? Lock held. */
static bool has_held(const struct worker *w)
{
    const struct stage_run *run = w->run;

    return run->phase == PHASE_DRAIN && run->unit_next == run->units && !w->unit_begun && w->packing;
}

/* Drain one unit of the task at hand, or write what is held back when none is left. False: nothing to do. */
static bool drain_one(struct worker *w)
{
    struct stage_run *run = w->run;
    struct error err = { 0 };
    bool unit = false, held = false, ok;

    pthread_mutex_lock(&run->lock);
    if (!run->failed) {
        unit = has_unit(w);
        held = !unit && has_held(w);
    }
    if (unit && !w->unit_begun)
        w->unit = run->unit_next++;
    pthread_mutex_unlock(&run->lock);
    if (!unit && !held)
        return false;
    w->unit_begun = false;
    ok = unit ? run->to->drain(w, w->unit, &err) : run->to->flush(w, &err);
    if (!ok)
        stage_fail_unlocked(run, &err);
    return true;
}

/* ---- the loop ---- */

static void read_done(struct worker *w, struct read *read)
{
    struct stage_run *run = w->run;

    w->reads_in_flight--;
    if (read->object.fd >= 0 && read->request.result >= 0) {
        int changed = store_object_changed(&read->object);

        read->request.result = changed < 0 ? changed : read->request.result;
    }
    store_object_close(&read->object);
    pthread_mutex_lock(&run->lock);
    stage_put_ready(run, read);
    pthread_mutex_unlock(&run->lock);
}

static void handle(struct worker *w, struct io_request *request)
{
    struct error err = { 0 };

    if (request->op == IO_READ) {
        struct read *read = (struct read *)((char *)request - offsetof(struct read, request));

        read_done(read->reader, read);
        return;
    }
    if (!w->run->to->written(w, (struct write *)((char *)request - offsetof(struct write, request)), &err))
        stage_fail_unlocked(w->run, &err);
}

/* Before sleeping: is there really nothing? Sets `sleeping`. *over: nor will there ever be. */
static bool has_nothing(struct worker *w, bool *over)
{
    struct stage_run *run = w->run;
    bool base, ready, units, held, granted, opened, nothing;

    pthread_mutex_lock(&run->lock);
    base = has_base(run);
    ready = run->phase == PHASE_FILL && run->ready && run->ready->piece.task == run->task;
    units = has_unit(w);
    held = has_held(w);
    granted = w->waiting && w->waiting->state == READ_GRANTED;
    opened = w->open_seen != run->tasks_open;
    *over = run->failed || run->phase == PHASE_DONE;
    w->sleeping = *over || (!base && !ready && !units && !held && !granted && !opened);
    nothing = w->sleeping;      /* from here on another worker may change it */
    pthread_mutex_unlock(&run->lock);
    return nothing;
}

static bool may_sleep(struct worker *w)
{
    bool over, over_beside = true;

    return has_nothing(w, &over) && (!w->beside || has_nothing(w->beside, &over_beside)) &&
           !(over && over_beside && io_in_flight(w->io) == 0);
}

static void sleeps_no_more(struct worker *w)
{
    pthread_mutex_lock(&w->run->lock);
    w->sleeping = false;
    pthread_mutex_unlock(&w->run->lock);
}

enum outcome { GOES_ON, IS_DONE, HAS_FAILED };

static enum outcome outcome_of(struct stage_run *run)
{
    enum outcome outcome;

    pthread_mutex_lock(&run->lock);
    outcome = run->failed ? HAS_FAILED : run->phase == PHASE_DONE ? IS_DONE : GOES_ON;
    pthread_mutex_unlock(&run->lock);
    return outcome;
}

/* A stage and its follower: one that failed takes the other with it. */
static void fail_too(struct stage_run *run, struct stage_run *other)
{
    struct error why;

    pthread_mutex_lock(&other->lock);
    why = other->error;
    pthread_mutex_unlock(&other->lock);
    pthread_mutex_lock(&run->lock);
    run->failed_following = run->failed_following || (!run->failed && other == run->follower);
    stage_fail(run, &why);
    pthread_mutex_unlock(&run->lock);
}

static bool finished(struct worker *w)
{
    struct stage_run *run = w->run, *follower = w->beside ? w->beside->run : NULL;
    enum outcome outcome = outcome_of(run), following = follower ? outcome_of(follower) : outcome;

    if (outcome == HAS_FAILED && following != HAS_FAILED)
        fail_too(follower, run);
    else if (following == HAS_FAILED && outcome != HAS_FAILED)
        fail_too(run, follower);
    return outcome != GOES_ON && following != GOES_ON && io_in_flight(w->io) == 0;
}

/* Reads of the follower are begun like those of the stage, so that there is something to decode when there is time for it.
 * False: there was nothing to do. */
static bool step(struct worker *w)
{
    struct error err = { 0 };
    bool started = stage_start_reads(w, &err), started_beside = w->beside && stage_start_reads(w->beside, &err);

    return base_one(w) || stage_decode_ready(w) || drain_one(w) || started ||
           (w->beside && stage_decode_ready(w->beside)) || started_beside;
}

static void work(struct worker *w)
{
    struct io_request *done[REAP_MAX];
    bool idle = false;

    while (!finished(w)) {
        unsigned count = io_reap(w->io, done, REAP_MAX, idle && may_sleep(w));

        if (idle) {
            sleeps_no_more(w);
            if (w->beside)
                sleeps_no_more(w->beside);
        }
        for (unsigned i = 0; i < count; i++)
            handle(w, done[i]);
        idle = !step(w) && count == 0;
    }
}

/* How many requests it may have in flight. */
static unsigned io_depth(const struct worker *w)
{
    const struct stage *stage = w->run->stage;

    return stage->reads_in_flight + stage->memory.write_slots + (w->beside ? w->beside->run->stage->reads_in_flight : 0);
}

/* The worker opens its io itself: a ring takes requests from the thread that made it alone. */
static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct stage_run *run = w->run;
    struct error err = { 0 };
    int result;

    if (!io_open(&w->io, run->backend, io_depth(w), &err)) {
        stage_fail_unlocked(run, &err);
        return NULL;
    }
    if (w->beside)
        w->beside->io = w->io;
    work(w);
    result = io_close(w->io);
    w->io = NULL;
    if (result < 0) {
        error_sys(&err, -result, run->stage->span, "cannot write out what was written");
        stage_fail_unlocked(run, &err);
    }
    return NULL;
}

static void check_stop(struct stage_run *run)
{
    int signal_number = stop_asked(run->stop);
    struct error err = { 0 };

    if (signal_number == 0)
        return;
    error_stopped(&err, signal_number);
    stage_fail_unlocked(run, &err);
}

/* What takes long and needs no worker: giving scratch space back, and all of it once the last task is recorded. */
static void tidy_source(struct stage_run *run)
{
    unsigned step;
    bool all_recorded;

    pthread_mutex_lock(&run->lock);
    step = run->give_back_step;
    run->give_back_step = 0;
    all_recorded = run->recorded == run->tasks && !run->failed;
    pthread_mutex_unlock(&run->lock);
    if (step > 0 && run->from->give_back)
        run->from->give_back(run, step);
    if (all_recorded && run->from->all_recorded)
        run->from->all_recorded(run);
}

/* Wait for a worker. Meanwhile watch for a signal (workers may all be asleep) and do what nobody should wait for. */
static void join(struct stage_run *run, pthread_t thread)
{
    struct timespec until;

    do {
        check_stop(run);
        stage_record(run);
        tidy_source(run);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        if (until.tv_nsec >= SECOND_NS) {
            until.tv_nsec -= SECOND_NS;
            until.tv_sec++;
        }
    } while (pthread_timedjoin_np(thread, NULL, &until) == ETIMEDOUT);
}

/* False, without an error: there is nothing to do. */
static bool begin(struct stage_run *run, struct error *err)
{
    run->first_task = run->task = run->claim_task = stage_next_task(run, 0);
    if (run->task == run->tasks || !run->from->enter_task(run, err))
        return false;
    begin_task(run);
    return true;
}

/* Its workers are those of the stage, which writes as it reads: task by task. */
static bool begin_following(struct stage_run *run, struct error *err)
{
    struct stage_run *follower = run->follower;

    if (!follower)
        return true;
    assert(follower->worker_count <= run->worker_count && run->first_task == 0);
    for (unsigned i = 0; i < follower->worker_count; i++)
        run->workers[i].beside = &follower->workers[i];
    follower->tasks_open = 0;
    return begin(follower, err);
}

bool stage_run(struct stage_run *run, struct error *err)
{
    struct error first = { 0 };

    run->tasks_open = run->tasks;
    if (!begin(run, err) || !begin_following(run, err))
        return err->code == ERR_NONE;
    for (unsigned i = 0; i < run->worker_count; i++) {
        struct worker *w = &run->workers[i];
        pthread_attr_t attributes;
        int result;

        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
        result = pthread_create(&w->thread, &attributes, worker_main, w);
        pthread_attr_destroy(&attributes);
        w->started = result == 0;
        if (result != 0) {
            error_sys(&first, result, run->stage->span, "cannot start worker thread %u", i);
            stage_fail_unlocked(run, &first);
            break;
        }
    }
    for (unsigned i = 0; i < run->worker_count; i++)
        if (run->workers[i].started)
            join(run, run->workers[i].thread);
    stage_record(run);
    tidy_source(run);
    if (!run->failed)
        return true;
    error_locate(&run->error, run->stage->span);
    if (err->code == ERR_NONE)
        *err = run->error;
    return false;
}
