/* advance.c - which tasks of a stage are done for good: all their writes have ended, and the journal knows.
 *
 * Tasks follow one another, but writes of one may still be under way while the next are drained. So what is done for
 * good is a prefix of the walk: the tasks before the one at hand, and before the oldest that a pending write belongs
 * to. Sums over what tasks read and wrote go along with it: each pending write knows those of the tasks before its own.
 *
 * A record costs a write of a few hundred bytes and is made by whoever ends the last write, under the lock. With durable
 * it takes syncs: then it is made by the thread that waits for the workers, for all that is done by then. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/size.h"
#include "engine/exec/stage.h"

uint64_t source_stamp(uint64_t chunk_index, uint64_t stamp)
{
    uint64_t both[2] = { chunk_index, stamp };

    return stamp ? XXH3_64bits(both, sizeof both) : 0;
}

uint64_t object_hash(const char *key, const void *bytes, uint64_t length)
{
    return XXH3_64bits_withSeed(bytes, length, XXH3_64bits_withSeed(key, strlen(key), length));
}

uint64_t stage_chunk_runs(const struct stage *stage, const struct array_meta *source)
{
    return stage->piece_raw_bytes ? size_div_up(array_chunk_bytes(source), stage->piece_raw_bytes) : 1;
}

void stage_source_read(struct stage_run *run, const uint64_t *coords, uint64_t stamp)
{
    pthread_mutex_lock(&run->lock);
    run->sums.source += source_stamp(grid_index(&run->array->chunks, coords), stamp);
    pthread_mutex_unlock(&run->lock);
}

/* The journal counts as the walk does; of listed tasks those between them are done, too. */
static uint64_t walk_tasks(const struct stage_run *run, uint64_t tasks)
{
    if (!run->listed_tasks)
        return tasks;
    return tasks < run->tasks ? run->listed_tasks[tasks] : grid_cells(&run->stage->tasks);
}

void stage_begin_at(struct stage_run *run)
{
    uint64_t done = run->resume->tasks_done[run->number];

    if (!run->listed_tasks)
        run->recorded = done;
    while (run->listed_tasks && run->recorded < run->tasks && run->listed_tasks[run->recorded] < done)
        run->recorded++;
}

static struct segment *segment_of(const struct stage_run *run, uint64_t task)
{
    return scratch_segment(run->scratch, stage_segment_number(run->stage, run->first_segment, task));
}

uint64_t stage_next_task(const struct stage_run *run, uint64_t task)
{
    if (!run->resume)
        return task;
    if (run->stage->sink != TO_SEGMENTS)
        return task < run->recorded ? run->recorded : task;
    /* A box needs what the one before it carries to it: only the first of a process does without. */
    if (run->stage->carries && task > 0)
        return task;
    while (task < run->tasks && segment_of(run, task)->complete)
        task++;
    return task;
}

/* Tasks before the one returned are done, and `sums` are theirs. Lock held. */
static uint64_t tasks_done(const struct stage_run *run, struct task_sums *sums)
{
    uint64_t done = run->task;

    *sums = run->sums_before;
    for (unsigned i = 0; i < run->worker_count; i++)
        for (unsigned j = 0; run->workers[i].writes && j < run->stage->memory.write_slots; j++) {
            const struct write *write = &run->workers[i].writes[j];

            if (write->pending && write->task < done) {
                done = write->task;
                *sums = write->sums_before;
            }
        }
    if (!run->to->stands_alone)
        return done;
    if (run->alone_task == 0 || run->alone_task > done)
        return run->recorded;
    *sums = run->alone_sums;
    return run->alone_task;
}

static bool record_segments(struct stage_run *run, uint64_t done, struct error *err)
{
    for (uint64_t task = run->recorded; task < done; task++) {
        struct segment *segment = segment_of(run, task);

        if (!segment->complete || !segment->in_file || segment->recorded)
            continue;
        if (!resume_segment(run->resume, stage_segment_number(run->stage, run->first_segment, task), run->scratch, segment,
                            err))
            return false;
        segment->recorded = true;
    }
    return true;
}

/* `locked`: by the caller, who does not want to be held up. */
static void advance(struct stage_run *run, bool locked)
{
    struct error err = { 0 };
    struct task_sums sums;
    uint64_t done;
    bool ok;

    if (!locked)
        pthread_mutex_lock(&run->lock);
    done = tasks_done(run, &sums);
    if (done > run->recorded) {
        if (!locked)
            pthread_mutex_unlock(&run->lock);
        ok = run->stage->sink == TO_SEGMENTS ? record_segments(run, done, &err)
                                             : resume_tasks(run->resume, run->number, walk_tasks(run, done), &sums, &err);
        if (!locked)
            pthread_mutex_lock(&run->lock);
        if (!ok) {
            stage_fail(run, &err);
        } else {
            run->recorded = done;
            run->alone_task = run->alone_task > done ? run->alone_task : 0;
            if (run->from->tasks_recorded)
                run->from->tasks_recorded(run);
            if (run->follower)
                stage_follow(run->follower, done);
        }
    }
    if (!locked)
        pthread_mutex_unlock(&run->lock);
}

void stage_record(struct stage_run *run)
{
    if (run->resume && run->resume->durable)
        advance(run, false);
}

void stage_task_ends(struct stage_run *run)
{
    if (!run->resume)
        return;
    run->sums_before = run->sums;
    if (run->to->stands_alone && (run->task + 1 == run->tasks || run->to->stands_alone(run))) {
        run->alone_task = run->task + 1;
        run->alone_sums = run->sums;
    }
    run->sums.source += run->carried_source;
    run->carried_source = 0;
}

void stage_task_begins(struct stage_run *run)
{
    if (run->resume && !run->resume->durable)
        advance(run, true);
}

void stage_write_begins(struct worker *w, struct write *write, uint64_t hash)
{
    struct stage_run *run = w->run;

    pthread_mutex_lock(&run->lock);
    write->pending = true;
    write->task = run->task;
    write->sums_before = run->sums_before;
    run->sums.objects += hash;
    pthread_mutex_unlock(&run->lock);
}

void stage_object_written(struct stage_run *run, uint64_t sum)
{
    pthread_mutex_lock(&run->lock);
    run->sums.objects += sum;
    pthread_mutex_unlock(&run->lock);
}

void stage_write_ends(struct worker *w, struct write *write)
{
    struct stage_run *run = w->run;

    pthread_mutex_lock(&run->lock);
    write->pending = false;
    if (run->resume && !run->resume->durable && write->task < run->task)
        advance(run, true);
    pthread_mutex_unlock(&run->lock);
}
