/* graph_run.c - a graph from its first stage to the rename that publishes the target. */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/exec/prepare.h"
#include "engine/io/os.h"

static const struct stage_to *const sinks[] = {
    [TO_SEGMENTS] = &to_segments, [TO_CHUNKS] = &to_chunks, [TO_SLICES] = &to_slices,
    [TO_RANGES] = &to_ranges,
};

/* May boxes without a chunk be passed over: would nothing be written, and nothing refused? */
static bool may_list_tasks(const struct graph *g)
{
    const struct stage *only = &g->stages[0];

    return g->present && g->stage_count == 1 && only->sink == TO_CHUNKS && !only->carries && !g->refuse_missing_chunks &&
           !g->write_empty_chunks && !g->target->fill_undefined &&
           memcmp(g->source->fill, g->target->fill, g->source->dtype.item_bytes) == 0;
}

/* How many segments the first `stages` of the graph write: as many as they have tasks. */
static uint64_t segments_of(const struct graph *g, unsigned stages)
{
    uint64_t segments = 0;

    for (unsigned i = 0; i < stages; i++)
        if (g->stages[i].sink == TO_SEGMENTS)
            segments += grid_cells(&g->stages[i].tasks);
    return segments;
}

/* By enum stage_source. */
static const struct stage_from *const sources[] = {
    [FROM_CHUNKS] = &from_chunks, [FROM_STREAM] = &from_stream, [FROM_SEGMENTS] = &from_segments,
};

/* One stage over the pool. */
static bool run_stage(const struct graph *g, unsigned number, struct store *target_store, struct pool *pool,
                      struct scratch *scratch, struct report *report, const volatile int *stop, struct error *err)
{
    const struct stage *stage = &g->stages[number];
    uint32_t item_bytes = g->source->dtype.item_bytes;
    struct stage_run run = {
        .stage = stage,
        .pool = pool,
        .report = report,
        .backend = g->backend,
        .stop = stop,
        .from = sources[stage->source],
        .to = sinks[stage->sink],
        .array = g->source,
        .store = g->source_store,
        .source_span = stage->source == FROM_SEGMENTS ? g->scratch.span : g->source_span,
        .refuse_missing = g->refuse_missing_chunks,
        .present = g->present,
        .missing_max = g->missing_chunks_max,
        .seen = g->seen,
        .target = stage->sink == TO_SEGMENTS ? NULL : g->target,
        .target_store = target_store,
        .write_empty_chunks = g->write_empty_chunks,
        .item_bytes = item_bytes,
        .scratch = scratch,
        .tasks = grid_cells(&stage->tasks),
        .subs = 1,
    };
    bool ok;

    if (stage->source == FROM_CHUNKS) {
        run.cells = g->source->chunks;
        if (stage->piece_raw_bytes)
            run.subs = size_div_up(array_chunk_bytes(g->source), stage->piece_raw_bytes);
    } else if (stage->source == FROM_STREAM) {
        run.cells = stage->tasks;       /* a task is one piece, whatever it touches */
    } else {
        assert(number > 0 && g->stages[number - 1].sink == TO_SEGMENTS);
        run.before = &g->stages[number - 1];
        run.segments_before = segments_of(g, number - 1);
        run.cells = run.before->tasks;
        run.subs = extent_blocks_max(&run.before->tasks, &run.before->parts, item_bytes, g->scratch.block_bytes);
    }
    if (stage->sink == TO_SEGMENTS) {
        assert(number + 1 < g->stage_count);
        run.after = &g->stages[number + 1];
        run.first_segment = segments_of(g, number);
        run.segment_begin_offset = scratch_bytes_taken(scratch);
        run.index_blocks = extent_blocks_max(&stage->tasks, &stage->parts, item_bytes, g->scratch.block_bytes);
    }
    report_stage(report, stage->name);
    pool_reset(pool);
    ok = stage_prepare(&run, err) && (!may_list_tasks(g) || stage_list_tasks(&run, err)) && stage_run(&run, err);
    stage_release(&run);
    return ok;
}

/* What a run that died left behind: its staging directory is gone already, its scratch file goes now. */
static void remove_leftovers(const struct graph *g, const struct store *target_store, struct report *report)
{
    const char *scratch_path = store_leftover_note(target_store);
    uint64_t scratch_bytes;

    if (!scratch_path)
        return;
    report_note(report, "an earlier run of '%s' had stopped half-way; this one started over", g->target_path);
    scratch_bytes = scratch_remove_leftover(scratch_path);
    if (scratch_bytes)
        report_note(report, "its scratch file '%s' (%s) was removed", scratch_path, SIZE_TEXT(scratch_bytes));
}

/* Where the scratch file will be, for whoever finds the staging directory after a death. */
static void scratch_note(const struct graph *g, char *note, size_t note_bytes)
{
    char here[PATH_MAX] = "";
    const char *path = g->scratch.path ? g->scratch.path : "";

    if (path[0] && path[0] != '/' && !getcwd(here, sizeof here))
        path = "";
    snprintf(note, note_bytes, "%s%s%s", here, here[0] ? "/" : "", path);
}

bool graph_run(const struct graph *g, struct report *report, const volatile int *stop, struct error *err)
{
    uint64_t segments = segments_of(g, g->stage_count);
    struct store *target_store = NULL;
    struct scratch *scratch = NULL;
    struct pool *pool = NULL;
    char *segment_memory = NULL, note[2 * PATH_MAX];
    bool ok = false;

    scratch_note(g, note, sizeof note);
    if (!store_stage(&target_store, g->target_path, g->overwrite, note, g->target_span, err))
        return false;
    remove_leftovers(g, target_store, report);
    if (!array_meta_write(g->target, target_store, err))
        goto out;
    report_add(report, COUNT_TARGET_OBJECTS, store_objects_made(target_store));
    if (!pool_open(&pool, g->pool_bytes, err))
        goto out;
    if (g->scratch.memory_bytes)
        segment_memory = pool_carve_for_good(pool, "segments in memory", g->scratch.memory_bytes);
    /* an empty array has no segments, and its stages ask for the scratch all the same */
    if (g->stage_count > 1 && !scratch_open(&scratch, &g->scratch, segment_memory, segments, err))
        goto out;
    for (unsigned i = 0; i < g->stage_count; i++)
        if (!run_stage(g, i, target_store, pool, scratch, report, stop, err))
            goto out;
    scratch_close(scratch);         /* first: after a death in between nobody would know of the file */
    scratch = NULL;
    ok = store_publish(target_store, err);
    for (unsigned i = 0; os_lacks(i); i++)
        report_note(report, "%s", os_lacks(i));
out:
    if (!error_is_stop(err))
        error_locate(err, g->target_span);
    scratch_close(scratch);
    pool_close(pool);
    if (!ok)
        store_abandon(target_store);
    store_close(target_store);
    return ok;
}

uint64_t graph_work_bytes(const struct graph *g)
{
    uint64_t array_bytes = size_mul_sat(shape_elements(g->source->chunks.rank, g->source->chunks.shape),
                                        g->source->dtype.item_bytes);

    return size_mul_sat(array_bytes, 2 * (uint64_t)g->stage_count);
}
