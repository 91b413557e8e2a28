/* graph_run.c - a graph from its first stage to the rename that publishes the target. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/exec/prepare.h"
#include "engine/exec/proof.h"
#include "engine/io/os.h"

static const struct stage_to *const sinks[] = {
    [TO_SEGMENTS] = &to_segments, [TO_CHUNKS] = &to_chunks, [TO_SLICES] = &to_slices,
    [TO_RANGES] = &to_ranges,
};

/* By enum stage_source. */
static const struct stage_from *const sources[] = {
    [FROM_CHUNKS] = &from_chunks, [FROM_STREAM] = &from_stream, [FROM_SEGMENTS] = &from_segments,
};

/* A graph at work. */
struct running {
    const struct graph *graph;
    struct resume *resume;
    struct pool *pool;
    struct scratch *scratch;        /* NULL: no stage writes segments */
    struct proof *proof;
    struct report *report;
    const volatile int *stop;
    uint64_t doubts;                /* os_doubts() when it began */
};

/* One stage over the pool. *damaged: the number of a segment that could not be read; UINT64_MAX: none. */
static bool run_stage(const struct running *r, unsigned number, uint64_t *damaged, struct error *err)
{
    const struct graph *g = r->graph;
    const struct stage *stage = &g->stages[number];
    uint32_t item_bytes = g->source->dtype.item_bytes;
    struct stage_run run = {
        .stage = stage,
        .number = number,
        .pool = r->pool,
        .report = r->report,
        .backend = g->backend,
        .stop = r->stop,
        .from = sources[stage->source],
        .to = sinks[stage->sink],
        .array = g->source,
        .store = g->source_store,
        .source_span = stage->source == FROM_SEGMENTS ? g->scratch.span : g->source_span,
        .refuse_missing = g->refuse_missing_chunks,
        .present = g->present,
        .skips_missing = g->present && stage->source == FROM_CHUNKS && !g->refuse_missing_chunks,
        .missing_max = g->missing_chunks_max,
        .seen = g->seen,
        .target = stage->sink == TO_SEGMENTS ? NULL : g->target,
        .target_store = r->resume->store,
        .write_empty_chunks = g->write_empty_chunks,
        .item_bytes = item_bytes,
        .scratch = r->scratch,
        .damaged_segment = UINT64_MAX,
        .resume = r->resume,
        .sums = r->resume->sums[number],
        .sums_before = r->resume->sums[number],
        .tasks = grid_cells(&stage->tasks),
        .subs = 1,
    };
    bool ok;

    if (stage->source == FROM_CHUNKS) {
        run.cells = g->source->chunks;
        run.subs = stage_chunk_runs(stage, g->source);
    } else if (stage->source == FROM_STREAM) {
        run.cells = stage->tasks;       /* a task is one piece, whatever it touches */
    } else {
        assert(number > 0 && g->stages[number - 1].sink == TO_SEGMENTS);
        run.before = &g->stages[number - 1];
        run.segments_before = graph_segments_of(g, number - 1);
        run.cells = run.before->tasks;
        run.subs = extent_blocks_max(&run.before->tasks, &run.before->parts, item_bytes, g->scratch.block_bytes);
        if (!resume_same_slabs(r->resume, g, scratch_segment(r->scratch, 0), &run.sums.source, err))
            return false;
        run.sums_before = run.sums;
    }
    if (stage->sink == TO_SEGMENTS) {
        assert(number + 1 < g->stage_count);
        run.after = &g->stages[number + 1];
        run.first_segment = graph_segments_of(g, number);
        run.segment_begin_offset = scratch_bytes_taken(r->scratch);
        run.index_blocks = extent_blocks_max(&stage->tasks, &stage->parts, item_bytes, g->scratch.block_bytes);
    }
    report_stage(r->report, stage->name);
    pool_reset(r->pool);
    ok = stage_prepare(&run, err) && (number > 0 || stage_list_tasks(&run, g, err));
    ok = ok && (number > 0 || proof_begin(r->proof, g, r->resume->continues, &run, err));
    if (ok) {
        stage_begin_at(&run);
        ok = proof_follow(r->proof, g, &run, err) && stage_run(&run, err);
    }
    ok = proof_follow_end(r->proof, g, &run, ok, err);
    if (number == 0)
        proof_end(r->proof, &run, ok);
    stage_release(&run);
    *damaged = run.damaged_segment;
    die_at("before-stage-end");
    return ok;
}

/* Has the stage anything to do, for itself or for those that follow it? */
static bool is_needed(const struct running *r, unsigned number)
{
    const struct stage *stage = &r->graph->stages[number];
    uint64_t tasks = grid_cells(&stage->tasks), first = graph_segments_of(r->graph, number);

    if (stage->sink != TO_SEGMENTS)
        return r->resume->tasks_done[number] < tasks;
    if (!is_needed(r, number + 1))
        return false;
    for (uint64_t i = first; i < first + tasks; i++)
        if (!scratch_segment(r->scratch, i)->complete)
            return true;
    return false;
}

static bool forget(const struct running *r, unsigned number, uint64_t slab, struct error *err);

/* What a slab of stage `number` was made of was given back when the last of its tasks was recorded: the slabs of the stage
 * before that the box touches are to be made again, too. What is in memory is not given back. */
static bool forget_sources(const struct running *r, unsigned number, const struct box *box, struct error *err)
{
    const struct grid *slabs = &r->graph->stages[number - 1].tasks;
    uint64_t first = graph_segments_of(r->graph, number - 1), count;
    struct cell_range touched;

    grid_cells_touched(slabs, box, &touched);
    count = cell_range_cells(slabs->rank, &touched);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t coords[RANK_MAX], slab;

        cell_range_coords(slabs->rank, &touched, i, coords);
        slab = grid_index(slabs, coords);
        if (!scratch_at(r->scratch, scratch_segment(r->scratch, first + slab)->index_offset) &&
            !forget(r, number - 1, slab, err))
            return false;
    }
    return true;
}

/* The task that makes the slab is to be done again. Its own record goes last: until then nothing of it is missed. */
static bool forget(const struct running *r, unsigned number, uint64_t slab, struct error *err)
{
    const struct stage *stage = &r->graph->stages[number];
    uint64_t segment_number = graph_segments_of(r->graph, number) + slab, coords[RANK_MAX];
    struct segment *segment = scratch_segment(r->scratch, segment_number);
    struct box box;

    if (!segment->complete)
        return true;
    grid_coords(&stage->tasks, slab, coords);
    grid_cell_box(&stage->tasks, coords, &box);
    if (stage->source == FROM_SEGMENTS && r->graph->scratch.give_back && !forget_sources(r, number, &box, err))
        return false;
    if (segment->recorded && !resume_segment_lost(r->resume, segment_number, err))
        return false;
    *segment = (struct segment){ .made_again = segment->made_again };
    return true;
}

/* A segment of stage `number` cannot be read: forget it, and what it was made of if that was given back, so that all of it
 * is made again. False: that was tried before. */
static bool forget_damaged(const struct running *r, unsigned number, uint64_t segment_number, struct error *err)
{
    const struct stage *stage = &r->graph->stages[number];
    struct segment *segment = scratch_segment(r->scratch, segment_number);
    uint64_t slab = segment_number - graph_segments_of(r->graph, number);
    bool from_input = stage->source != FROM_SEGMENTS || r->graph->scratch.give_back;
    struct error lost = { 0 };

    if (segment->made_again)
        error_note(err, "it belongs to slab %" PRIu64 " of stage '%s', which was made again once already", slab, stage->name);
    if (segment->made_again || !forget(r, number, slab, &lost))
        return false;
    segment->made_again = true;
    report_note(r->report, "slab %" PRIu64 " of stage '%s' was made again from %s: %s", slab, stage->name,
                from_input ? "the input" : "what the stage before it left", err->message);
    *err = (struct error){ 0 };
    return true;
}

static bool run_stages(const struct running *r, struct error *err)
{
    for (unsigned i = 0; i < r->graph->stage_count; ) {
        uint64_t damaged = UINT64_MAX;

        if (!is_needed(r, i) || run_stage(r, i, &damaged, err))
            i++;
        else if (damaged != UINT64_MAX && forget_damaged(r, i - 1, damaged, err) &&
                 resume_remove_leftovers(r->resume, r->graph, r->pool, r->stop, err))
            i = 0;
        else
            return false;
    }
    return true;
}

/* From an open target to the last stage. */
static bool run_all(struct running *r, struct error *err)
{
    const struct graph *g = r->graph;
    uint64_t segments = graph_segments_of(g, g->stage_count);
    char *segment_memory = NULL;

    if (!r->resume->continues && !resume_begin(r->resume, g, err))
        return false;
    if (!array_meta_write(g->target, r->resume->store, err))
        return false;
    report_add(r->report, COUNT_TARGET_OBJECTS, store_objects_made(r->resume->store));
    if (!pool_open(&r->pool, g->pool_bytes, err))
        return false;
    if (g->scratch.memory_bytes)
        segment_memory = pool_carve_for_good(r->pool, "segments in memory", g->scratch.memory_bytes);
    if (!resume_check_sources(r->resume, g, r->stop, err))
        return false;
    /* an empty array has no segments, and its stages ask for the scratch all the same */
    if (g->stage_count > 1 && !scratch_open(&r->scratch, &g->scratch, segment_memory, segments, &r->resume->segments, err))
        return false;
    if (r->resume->continues && (!resume_check(r->resume, g, r->scratch, r->pool, r->report, r->stop, err) ||
                                 !resume_remove_leftovers(r->resume, g, r->pool, r->stop, err) ||
                                 !resume_begin(r->resume, g, err)))
        return false;
    die_at("before-stages");
    return run_stages(r, err) && resume_check_end(r->resume, g, r->stop, err);
}

/* Away with it. `lost`: something was done that is not to be gone on with. */
static void abandon(const struct running *r, bool lost, struct error *err)
{
    bool known = resume_mounts(r->resume).root;     /* by which the next run tells */
    int got;

    journal_close(&r->resume->journal);     /* what is open some file systems only rename */
    got = store_abandon(r->resume->store);
    if (lost && got < 0) {
        error_note(err, "what was done may be lost, and that could neither be noted nor all of it removed");
        error_note(err, "%sgive sluice clean, with the output's path, before the same command", known
                   ? "unless the file system is mounted anew " : "");
    } else if (lost)
        error_note(err, "nothing is kept: what was done may be lost, and that could not be noted");
    else if (error_is_stop(err))
        error_help(err, "nothing was left at the output; the same command starts over");
}

/* What was done stays for the same command, if anything was. */
static void keep_or_abandon(const struct running *r, struct error *err)
{
    const struct graph *g = r->graph;
    uint64_t scratch_bytes = r->scratch ? scratch_file_bytes(r->scratch) : 0;
    bool in_doubt = os_doubts() != r->doubts, empty = resume_is_empty(r->resume);

    if (empty || (in_doubt && !resume_doubt(r->resume))) {
        abandon(r, !empty, err);
        if (err->input_changed)
            error_help(err, "run it again when nothing changes the input any more");
        return;
    }
    if (r->scratch)
        scratch_keep(r->scratch);
    if (r->resume->source_changed)      /* what is done is of no use any more, and the help says what is */
        return;
    error_note(err, "what is done is kept in '%s.sluice-partial'", g->target_path);
    if (scratch_bytes)
        error_note(err, "%s of it are in scratch, '%s'", SIZE_TEXT(scratch_bytes), g->scratch.path);
    if (in_doubt)
        error_note(err, "it is read again before it is gone on with: some of it may be lost");
    if (err->input_changed)
        error_help(err, "when nothing changes the input any more, the same command continues, or says that --restart is "
                   "needed");
    if (err->help[0])                   /* what to do about the cause comes first */
        error_note(err, "the same command continues; sluice clean, with the output's path, removes what it left");
    error_help(err, "the same command continues; sluice clean %s removes what it left", g->target_path);
}

/* It has its name, but perhaps not on the disk. */
static void doubt_published(const struct running *r, struct error *err)
{
    if (resume_doubt(r->resume))
        error_help(err, "the same command reads it again and makes it certain");
    else
        error_help(err, "that could not be noted: make it anew with --restart and --overwrite");
}

/* In memory that the stages need no more. */
static bool verify(struct running *r, struct error *err)
{
    pool_close(r->pool);
    r->pool = NULL;
    return proof_make(r->proof, r->graph, r->resume->store, r->report, r->stop, err);
}

bool graph_run(const struct graph *request, struct report *report, const volatile int *stop, struct error *err)
{
    struct graph graph = *request;
    struct proof proof = { 0 };
    struct running r = { .graph = &graph, .resume = request->resume, .proof = &proof, .report = report, .stop = stop,
                         .doubts = os_doubts() };
    bool ok = false;

    if (!r.resume && (!resume_find(&r.resume, &graph, false, NULL, err) ||
                      (!r.resume && !resume_new(&r.resume, &graph, err))))
        return false;
    if (!request->resume && r.resume->continues) {
        resume_plan(r.resume, &graph);
        graph.read_beside = NULL;       /* that plan's pool may have no room for it */
    }
    if (r.resume->published && graph.durable)
        store_make_durable(r.resume->store);
    if (r.resume->published && !resume_check_published(r.resume, &graph, report, stop, err)) {
        ok = false;
    } else if (r.resume->published) {
        report_note(report, "an earlier run had finished it, and only had to tidy up%s", graph.read_back
                    ? ": it is not read back now, sluice verify compares" : "");
        ok = resume_publish(r.resume, err);
    } else {
        ok = run_all(&r, err);
        die_at("before-discard");
        if (ok && r.scratch)
            scratch_discard(r.scratch);     /* first: after a death in between nobody would know of the file */
        if (ok && scratch_is_left(r.scratch))
            report_note(report, "the scratch file '%s' could not be removed: it is of no more use", graph.scratch.path);
        if (ok)
            scratch_close(r.scratch);
        if (ok)
            r.scratch = NULL;
        die_at("after-discard");
        ok = ok && verify(&r, err) && resume_publish(r.resume, err);
    }
    if (store_took_over(r.resume->store)[0])
        report_note(report, "%s", store_took_over(r.resume->store));
    for (unsigned i = 0; os_lacks(i); i++)
        report_note(report, "%s", os_lacks(i));
    error_locate(err, graph.target_span);
    if (!ok && !r.resume->published && !store_is_published(r.resume->store))
        keep_or_abandon(&r, err);
    else if (!ok && store_is_in_doubt(r.resume->store))
        doubt_published(&r, err);
    scratch_close(r.scratch);
    pool_close(r.pool);
    proof_release(&proof);
    if (!request->resume)
        resume_close(r.resume);
    return ok;
}

uint64_t graph_work_bytes(const struct graph *g)
{
    uint64_t array_bytes = size_mul_sat(shape_elements(g->source->chunks.rank, g->source->chunks.shape),
                                        g->source->dtype.item_bytes);

    uint64_t passes = !g->read_back ? 0 : g->resume ? 2 : 1;

    return size_mul_sat(array_bytes, 2 * (uint64_t)g->stage_count + passes);
}
