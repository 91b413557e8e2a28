/* graph_run.c - a graph from its first stage to the rename that publishes the target. */
#include <errno.h>

#include "engine/base/size.h"
#include "engine/exec/prepare.h"
#include "engine/io/os.h"

/* One stage over the pool. `before` is the stage whose segments this one reads. */
static bool run_stage(const struct graph *g, unsigned number, struct store *target_store, struct pool *pool,
                      struct scratch *scratch, struct report *report, const volatile int *stop, struct error *err)
{
    const struct stage *stage = &g->stages[number], *before = number > 0 ? &g->stages[number - 1] : NULL;
    uint32_t item_bytes = g->source->dtype.item_bytes;
    struct stage_run run = {
        .stage = stage,
        .pool = pool,
        .report = report,
        .backend = g->backend,
        .stop = stop,
        .from = stage->source == FROM_CHUNKS ? &from_chunks : &from_segments,
        .to = stage->sink == TO_CHUNKS ? &to_chunks : &to_segments,
        .array = g->source,
        .store = g->source_store,
        .source_span = stage->source == FROM_CHUNKS ? g->source_span : g->scratch.span,
        .refuse_missing = g->refuse_missing_chunks,
        .seen = g->seen,
        .target = stage->sink == TO_CHUNKS ? g->target : NULL,
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
    } else {
        run.cells = before->tasks;
        run.segment_parts = stage->tasks;
        run.subs = extent_blocks_max(&before->tasks, &stage->tasks, item_bytes, g->scratch.block_bytes);
    }
    if (stage->sink == TO_SEGMENTS)
        run.index_blocks = extent_blocks_max(&stage->tasks, &stage->parts, item_bytes, g->scratch.block_bytes);
    report_stage(report, stage->name);
    pool_reset(pool);
    ok = stage_prepare(&run, err) && stage_run(&run, err);
    stage_release(&run);
    return ok;
}

/* How many segments the graph writes: the tasks of its stages that write any. */
static uint64_t graph_segments(const struct graph *g)
{
    uint64_t segments = 0;

    for (unsigned i = 0; i < g->stage_count; i++)
        if (g->stages[i].sink == TO_SEGMENTS)
            segments += grid_cells(&g->stages[i].tasks);
    return segments;
}

/* What a run that died left behind is gone now: say so. */
static void note_leftovers(const struct graph *g, const struct store *target_store, const struct scratch *scratch,
                           struct report *report)
{
    if (store_leftover_removed(target_store))
        report_note(report, "an earlier run of '%s' had stopped half-way; this one started over", g->target_path);
    if (scratch && scratch_leftover_bytes(scratch))
        report_note(report, "its scratch file '%s' (%s) was removed", g->scratch.path,
                    SIZE_TEXT(scratch_leftover_bytes(scratch)));
}

bool graph_run(const struct graph *g, struct report *report, const volatile int *stop, struct error *err)
{
    uint64_t segments = graph_segments(g);
    struct store *target_store = NULL;
    struct scratch *scratch = NULL;
    struct pool *pool = NULL;
    char *segment_memory = NULL;
    bool ok = false;

    if (!store_stage(&target_store, g->target_path, g->overwrite, g->target_span, err))
        return false;
    if (!array_meta_write(g->target, target_store, err))
        goto out;
    report_add(report, COUNT_TARGET_OBJECTS, store_objects_made(target_store));
    if (!pool_open(&pool, g->pool_bytes, err))
        goto out;
    if (g->scratch.memory_bytes)
        segment_memory = pool_carve_for_good(pool, "segments in memory", g->scratch.memory_bytes);
    if (segments > 0 && !scratch_open(&scratch, &g->scratch, segment_memory, segments, err))
        goto out;
    note_leftovers(g, target_store, scratch, report);
    for (unsigned i = 0; i < g->stage_count; i++)
        if (!run_stage(g, i, target_store, pool, scratch, report, stop, err))
            goto out;
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
