/* sources.c - are the source's objects what they were when they were read?
 *
 * A task adds a number for each chunk that its box touches to a sum modulo 2^64: of size, time of change and inode as they
 * were when the chunk was opened for it (store_stamp), once for each run of the chunk (stage.subs). So what the sum has to
 * be is known from what is there now: the same number, times the tasks that touch the chunk. One look at each object, none
 * is read, tells whether any was changed, replaced, removed or added since; also between two tasks that read the same
 * chunk. Of an array whose chunks were listed (graph.present) only those are looked at: it is what it was when they were.
 *
 * Asked of what earlier runs have done before one goes on, and of everything before the target gets its name. So what is
 * published is what the source was at one instant.
 *
 * Buckets are made of all slabs. Whatever is recorded of a stage that reads segments has with it the sum over all slabs, so
 * that it outlives them (they may be in memory, lost, or damaged): slabs that are made again must come to the same. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/resuming.h"
#include "engine/io/os.h"

/* Looking is waiting, where a file system is far away: more threads than cores. */
enum { LOOKERS_MAX = 32, LOOKERS_PER_THREAD = 4, LOOKS_AT_ONCE = 128, LOOKER_STACK_BYTES = 128 * 1024 };

/* The object of those looked at that changed last, for the message. */
struct newest {
    char key[KEY_BYTES_MAX];
    struct timespec when;
};

struct look {
    const struct graph *graph;
    const volatile int *stop;
    /* Which tasks of stage 0 count. */
    const struct segment *segments; /* those whose segment is complete; NULL: */
    uint64_t tasks_done;            /* those before this one in the walk */
    uint64_t objects;               /* to be looked at, as chunk_of() counts them */
    atomic_uint_fast64_t next;      /* that nobody has taken yet */
    atomic_bool over;               /* a look failed, or we were told to stop */

    pthread_mutex_t lock;
    uint64_t sum;                   /* lock */
    struct newest newest;           /* lock */
    struct error error;             /* lock: the first */
};

/* ---- what counts ---- */

static uint64_t chunk_of(const struct look *l, uint64_t object)
{
    return l->graph->present ? l->graph->present->chunks[object] : object;
}

/* How far tasks that count reach on the first axis: of a prefix of the walk to the end of its last group at most. */
static uint64_t reach_of_tasks(const struct look *l)
{
    const struct stage *stage = &l->graph->stages[0];
    uint64_t coords[RANK_MAX] = { 0 }, group = size_max(1, stage->walk.group[0]), count = l->tasks_done;

    if (l->segments) {
        count = grid_cells(&stage->tasks);
        while (count > 0 && !l->segments[count - 1].complete)
            count--;
        group = 1;
    }
    if (count == 0)
        return 0;
    if (l->segments)
        grid_coords(&stage->tasks, count - 1, coords);
    else
        walk_grid_coords(&stage->walk, &stage->tasks, count - 1, coords);
    return size_mul_sat(size_mul_sat(coords[0] / group + 1, group), stage->tasks.cell[0]);
}

/* No chunk behind them is touched. */
static uint64_t objects_of(const struct look *l)
{
    const struct grid *chunks = &l->graph->source->chunks;
    uint64_t reach, rows = 1;

    if (l->graph->present || chunks->rank == 0)
        return l->graph->present ? l->graph->present->count : 1;
    reach = reach_of_tasks(l);
    for (unsigned i = 1; i < chunks->rank; i++)
        rows *= grid_axis_cells(chunks, i);
    return size_div_up(size_min(reach, chunks->shape[0]), chunks->cell[0]) * rows;
}

/* How many of the tasks that count touch the chunk. */
static uint64_t times_read(const struct look *l, const uint64_t *chunk)
{
    const struct stage *stage = &l->graph->stages[0];
    const struct grid *tasks = &stage->tasks;
    uint64_t touching, times = 0;
    struct cell_range range;
    struct box box;

    grid_cell_box(&l->graph->source->chunks, chunk, &box);
    grid_cells_touched(tasks, &box, &range);
    touching = cell_range_cells(tasks->rank, &range);
    if (!l->segments && l->tasks_done == grid_cells(tasks))
        return touching;
    for (uint64_t i = 0; i < touching; i++) {
        uint64_t coords[RANK_MAX];

        cell_range_coords(tasks->rank, &range, i, coords);
        times += l->segments ? l->segments[grid_index(tasks, coords)].complete
                             : walk_grid_index(&stage->walk, tasks, coords) < l->tasks_done;
    }
    return times;
}

/* ---- looking ---- */

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec >= b->tv_nsec);
}

static bool look_at(const struct look *l, uint64_t chunk, struct newest *newest, uint64_t *sum, struct error *err)
{
    const struct graph *g = l->graph;
    uint64_t coords[RANK_MAX], times;
    struct chunk_place place;
    struct stat st;
    int got;

    grid_coords(&g->source->chunks, chunk, coords);
    times = times_read(l, coords);
    if (times == 0)
        return true;
    array_chunk_place(g->source, coords, &place);
    got = os_fstatat(store_root_fd(g->source_store), place.key, &st, AT_SYMLINK_NOFOLLOW);
    if (got == -ENOENT)
        return true;                /* it adds nothing */
    if (got < 0)
        return error_sys(err, -got, g->source_span, "cannot look at '%s/%s'", store_path(g->source_store), place.key);
    if (is_newer(&st.st_mtim, &newest->when)) {
        newest->when = st.st_mtim;
        memcpy(newest->key, place.key, sizeof newest->key);
    }
    *sum += source_stamp(chunk, store_stamp(g->source_store, &st)) * times * stage_chunk_runs(&g->stages[0], g->source);
    return true;
}

static void *look_main(void *argument)
{
    struct look *l = argument;
    struct newest newest = { 0 };
    struct error err = { 0 };
    uint64_t sum = 0;

    while (!atomic_load(&l->over) && err.code == ERR_NONE) {
        uint64_t from = atomic_fetch_add(&l->next, LOOKS_AT_ONCE), to = size_min(l->objects, from + LOOKS_AT_ONCE);

        if (from >= l->objects)
            break;
        if (stop_asked(l->stop))
            error_stopped(&err, stop_asked(l->stop));
        for (uint64_t i = from; i < to && err.code == ERR_NONE; i++)
            look_at(l, chunk_of(l, i), &newest, &sum, &err);
    }
    pthread_mutex_lock(&l->lock);
    l->sum += sum;
    if (newest.key[0] && is_newer(&newest.when, &l->newest.when))
        l->newest = newest;
    if (err.code != ERR_NONE && !atomic_exchange(&l->over, true))
        l->error = err;
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* This thread looks, too, so that nothing depends on how many could be started. */
static bool look(struct look *l, struct error *err)
{
    uint64_t helpers = size_min(LOOKERS_MAX, (uint64_t)l->graph->threads * LOOKERS_PER_THREAD), started = 0;
    pthread_t threads[LOOKERS_MAX];
    pthread_attr_t attributes;

    l->objects = objects_of(l);
    helpers = size_min(helpers, l->objects / LOOKS_AT_ONCE);
    pthread_mutex_init(&l->lock, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, LOOKER_STACK_BYTES);
    while (started < helpers && pthread_create(&threads[started], &attributes, look_main, l) == 0)
        started++;
    pthread_attr_destroy(&attributes);
    look_main(l);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    pthread_mutex_destroy(&l->lock);
    if (!l->over)
        return true;
    *err = l->error;
    return false;
}

/* ---- what was read ---- */

/* The sum over all slabs that something which is still there was made of. False: nothing was. */
static bool sum_in_use(const struct resume *r, const struct graph *g, const struct segment *segments, uint64_t *sum)
{
    uint64_t first = graph_segments_of(g, 1), end = graph_segments_of(g, g->stage_count);
    unsigned last = g->stage_count - 1;

    *sum = r->sums[last].source;
    if (r->tasks_done[last] > 0)
        return true;
    for (uint64_t i = first; i < end; i++)
        if (segments[i].complete) {
            *sum = segments[i].source_sum;
            return true;
        }
    return false;
}

/* Over the slabs that are there. *all: none is missing. */
static uint64_t sum_of_slabs(const struct graph *g, const struct segment *segments, bool *all)
{
    uint64_t slabs = graph_segments_of(g, 1), sum = 0;

    *all = true;
    for (uint64_t i = 0; i < slabs; i++) {
        sum += segments[i].complete ? segments[i].source_sum : 0;
        *all = *all && segments[i].complete;
    }
    return sum;
}

static bool help_over(struct resume *r, const struct graph *g, const struct newest *newest, struct error *err)
{
    r->source_changed = true;
    if (newest->key[0])
        error_note(err, "of the chunks in question '%s' was changed last", newest->key);
    error_help(err, "when nothing changes it any more, start over with --restart, or remove what is left with: "
               "sluice clean %s", g->target_path);
    return false;
}

bool resume_check_sources(struct resume *r, const struct graph *g, const volatile int *stop, struct error *err)
{
    struct look of_all = { .graph = g, .stop = stop, .tasks_done = grid_cells(&g->stages[0].tasks) };
    struct look of_slabs = { .graph = g, .stop = stop, .segments = r->segments };
    struct look of_tasks = { .graph = g, .stop = stop, .tasks_done = r->tasks_done[0] };
    bool split = g->stages[0].sink == TO_SEGMENTS, all;
    struct look *l = split ? &of_slabs : &of_tasks;
    uint64_t sum = r->sums[0].source;

    if (!r->continues || r->published || r->sources_checked)
        return true;
    if (split && sum_in_use(r, g, r->segments, &sum))
        l = &of_all;
    else if (split)
        sum = sum_of_slabs(g, r->segments, &all);
    if (!look(l, err))
        return false;
    r->sources_checked = l->sum == sum;
    if (r->sources_checked)
        return true;
    error_at(err, ERR_EXISTS, g->source_span, "the input '%s' is not what it was when the unfinished run of '%s' read it",
             store_path(g->source_store), g->target_path);
    return help_over(r, g, &l->newest, err);
}

bool resume_same_slabs(struct resume *r, const struct graph *g, const struct segment *segments, uint64_t *sum,
                       struct error *err)
{
    bool all, used = sum_in_use(r, g, segments, sum);
    uint64_t of_slabs = sum_of_slabs(g, segments, &all);

    if (used && all && of_slabs != *sum) {
        error_changed(err, g->source_span, "the input '%s' has changed since it was read: slabs that were made again "
                 "are not what others were made of", store_path(g->source_store));
        return help_over(r, g, &(struct newest){ 0 }, err);
    }
    if (!used)
        *sum = of_slabs;
    return true;
}

bool resume_check_end(struct resume *r, const struct graph *g, const volatile int *stop, struct error *err)
{
    struct look l = { .graph = g, .stop = stop, .tasks_done = grid_cells(&g->stages[0].tasks) };

    if (!look(&l, err))
        return false;
    if (l.sum == r->sums[g->stage_count - 1].source)
        return true;
    error_changed(err, g->source_span, "the input '%s' changed while it was read", store_path(g->source_store));
    return help_over(r, g, &l.newest, err);
}
