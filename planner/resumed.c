/* resumed.c - an unfinished run is gone on with by its own plan: it must fit the memory and the threads there are now. */
#include "planner/planner.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"

void graph_request(struct plan *p, const struct job *job)
{
    struct graph *g = &p->graph;

    g->source = &p->source;
    g->source_store = p->source_store;
    g->target = &p->target;
    g->target_path = job->output.path;
    g->overwrite = job->output.overwrite;
    g->write_empty_chunks = job->output.write_empty_chunks || p->target.fill_undefined;
    g->present = p->present.chunks ? &p->present : NULL;
    g->refuse_missing_chunks = job->input.refuse_missing;
    g->missing_chunks_max = UINT64_MAX;
    g->source_span = job->input.span;
    g->target_span = job->output.span;
    g->durable = job->durable;
}

bool plan_resume(struct plan *p, const struct job *job, struct error *err)
{
    if (job->start == START_NOT)
        return true;
    graph_request(p, job);
    return resume_find(&p->resume, &p->graph, job->start == START_OVER, &p->notes, err);
}

/* What the process holds with that plan, as needs.c adds it up. */
static uint64_t bytes_needed(const struct plan *p)
{
    const struct graph *g = &p->graph;
    uint64_t workers_bytes = 0, library_bytes = 0;

    for (unsigned i = 0; i < g->stage_count; i++) {
        const struct stage *s = &g->stages[i];

        workers_bytes = size_max(workers_bytes, s->workers * worker_outside_bytes(g->backend, s->reads_in_flight));
        library_bytes = size_max(library_bytes, s->memory.library_bytes);
    }
    return program_bytes() + table_bytes() + metadata_bytes(&p->source) + workers_bytes +
           size_add_sat(library_bytes, g->pool_bytes);
}

static uint64_t pool_bytes_of(const struct graph *g)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < g->stage_count; i++)
        bytes = size_max(bytes, stage_pool_bytes(&g->stages[i]));
    return size_add_sat(bytes, g->scratch.memory_bytes);
}

/* What is missing comes from the room for reading ahead, where there is more than a piece needs. */
static void read_less_ahead(struct plan *p)
{
    struct graph *g = &p->graph;
    uint64_t need_bytes, short_bytes;

    g->pool_bytes = pool_bytes_of(g);
    need_bytes = bytes_needed(p);
    short_bytes = size_align_up(need_bytes - size_min(need_bytes, p->memory_bytes), IO_ALIGN);
    for (unsigned i = 0; i < g->stage_count; i++) {
        struct stage_memory *m = &g->stages[i].memory;
        uint64_t least_bytes = size_min(m->reads_bytes, size_align_up(m->piece_bytes_max, IO_ALIGN));

        m->reads_bytes = size_max(least_bytes, m->reads_bytes - size_min(m->reads_bytes, short_bytes));
    }
    g->pool_bytes = pool_bytes_of(g);
}

/* As many workers as there are threads now, or fewer where memory does not hold them: another back end may need more for
 * each than the one that was planned with. */
static void fit_workers(struct plan *p)
{
    struct graph *g = &p->graph;
    uint64_t library_bytes_each[STAGES_MAX], reads_bytes[STAGES_MAX];

    for (unsigned i = 0; i < g->stage_count; i++) {
        struct stage *s = &g->stages[i];

        library_bytes_each[i] = s->memory.library_bytes / s->workers;
        reads_bytes[i] = s->memory.reads_bytes;
        s->reads_in_flight = (unsigned)size_min(s->reads_in_flight, reads_in_flight_for(COMFORT_USEFUL, g->backend));
    }
    for (unsigned workers = g->threads; workers > 0; workers--) {
        for (unsigned i = 0; i < g->stage_count; i++) {
            g->stages[i].workers = workers;
            g->stages[i].memory.library_bytes = size_mul_sat(library_bytes_each[i], workers);
            g->stages[i].memory.reads_bytes = reads_bytes[i];
        }
        read_less_ahead(p);
        if (bytes_needed(p) <= p->memory_bytes)
            return;
    }
}

static bool refuse(const struct plan *p, const struct job *job, uint64_t need_bytes, struct error *err)
{
    error_at(err, ERR_FIT, job->memory.set ? job->memory.span : SPAN_NONE, "the unfinished run of '%s' was planned for "
             "more memory: going on with it needs at least %s, and this is %s", job->output.path,
             SIZE_TEXT_UP(need_bytes), SIZE_TEXT(p->memory_bytes));
    error_key(err, "memory");
    error_bytes(err, need_bytes, p->memory_bytes);
    error_help(err, "raise memory to %s, or start over with --restart", SIZE_TEXT_UP(need_bytes));
    return false;
}

/* The seconds of its stages in this run's threads, and its scratch; the seconds of the whole are as they were said then. */
static void predict_stages(const struct plan *p, const struct job *job, struct plan_cost *cost)
{
    const struct graph *g = &p->graph;
    struct arrangement a = { .stage_count = g->stage_count,
                             .setting = { .block_bytes = g->scratch.block_bytes, .kept_bytes = g->scratch.memory_bytes } };
    struct basis b;

    if (!g->stage_count)
        return;
    basis_init(&b, &p->source, &p->target, &p->census, g->threads, g->backend, job);
    for (unsigned i = 0; i < g->stage_count; i++) {
        const struct stage *s = &g->stages[i];

        a.stages[i] = *s;
        if (i + 1 < g->stage_count)
            a.extents[i] = grid_overlaps(s->tasks.rank, s->tasks.shape, s->tasks.cell, s->parts.cell);
    }
    cost_of(&b, &a);
    memcpy(cost->stages, a.cost.stages, sizeof cost->stages);
    cost->scratch_bytes = g->stage_count > 1 ? g->scratch.predicted_bytes : 0;
    cost->scratch_bytes_max = size_max(cost->scratch_bytes,
                                       g->scratch.encoding == SPILL_LZ4 ? a.cost.scratch_bytes_max : 0);
}

/* Stages are done one after another, each decodes and encodes the whole array. */
static double seconds_left(const struct plan *p, const struct plan_cost *cost)
{
    const struct graph *g = &p->graph;
    double stages_done = g->stage_count
                         ? (double)p->resumed_bytes / (double)size_max(1, graph_work_bytes(g)) * g->stage_count : 0;
    double seconds = 0;

    for (unsigned i = 0; i < g->stage_count; i++) {
        double left = fmin(1, fmax(0, i + 1 - stages_done));

        seconds += left * (cost->stages[i].taking + cost->stages[i].making);
    }
    return seconds;
}

void note_restart(struct plan *p, const struct job *job, const struct room *room)
{
    struct plan *fresh = p->graph.stage_count ? malloc(sizeof *fresh) : NULL;
    struct error ignored = { 0 };
    double seconds;

    if (!fresh)
        return;
    *fresh = *p;
    fresh->resume = NULL;
    text_init(&fresh->warnings, 0);
    text_init(&fresh->notes, 0);
    if (plan_from_metas(fresh, job, room, &ignored)) {
        seconds = fresh->candidates[fresh->chosen].cost.seconds;
        if (seconds < fmin(p->resumed_seconds / 2, p->resumed_seconds - worth_saying_seconds))
            text_addf(&p->notes, "what is left takes about %s by the plan that it was begun with; --restart, with the memory "
                      "there is now, about %s for all of it (%s)\n", SECONDS_TEXT(p->resumed_seconds),
                      SECONDS_TEXT(seconds), fresh->candidates[fresh->chosen].name);
    }
    text_release(&fresh->warnings);
    text_release(&fresh->notes);
    free(fresh);
}

/* Its scratch stays where it was made: what is said is that place, and that another was not taken. */
static bool keep_scratch_place(struct plan *p, const struct job *job, struct error *err)
{
    const char *place = resume_scratch_elsewhere(p->resume, p->scratch_path);
    char *copy = place ? strdup(place) : NULL;

    if (!place)
        return true;
    if (!copy)
        return error_sys(err, ENOMEM, job->output.span, "the scratch file's name");
    if (job->scratch_path)
        text_addf(&p->notes, "the scratch of the run that goes on stays at '%s'; --restart takes the new place\n", place);
    free(p->scratch_path);
    p->scratch_path = copy;
    snprintf(p->scratch_from, sizeof p->scratch_from, "where the run was begun");
    return true;
}

bool plan_resumed(struct plan *p, const struct job *job, struct error *err)
{
    struct plan_candidate *c = &p->candidates[0];
    struct graph *g = &p->graph;
    uint64_t need_bytes;

    graph_request(p, job);
    if (!keep_scratch_place(p, job, err))
        return false;
    g->scratch.path = p->scratch_path;
    g->scratch.span = job->scratch_path ? job->scratch_span : job->output.span;
    g->scratch.limit_span = job->scratch_limit.span;
    g->scratch.limit_bytes = job->scratch_limit.set ? job->scratch_limit.bytes : 0;
    g->backend = p->io.backend;
    resume_plan(p->resume, g);
    fit_workers(p);
    if (p->census.counted && g->stage_count > 1)
        g->missing_chunks_max = p->census.chunks - p->census.present;
    need_bytes = bytes_needed(p);
    if (need_bytes > p->memory_bytes)
        return refuse(p, job, need_bytes, err);
    *c = (struct plan_candidate){ .name = g->plan_name, .fits = true, .need_bytes = need_bytes,
                                  .cost = { .seconds = g->predicted_seconds } };
    predict_stages(p, job, &c->cost);
    p->candidate_count = 1;
    p->minimum_bytes = need_bytes;
    p->resumed_bytes = resume_work_bytes(p->resume, g);
    p->resumed_seconds = seconds_left(p, &c->cost);
    g->resume = p->resume;
    return true;
}

unsigned plan_resumed_percent(const struct plan *p)
{
    uint64_t work_bytes = graph_work_bytes(&p->graph);

    return work_bytes ? (unsigned)((double)p->resumed_bytes / (double)work_bytes * 100) : 0;
}

/* All of it on one line. */
static void warn_of_refusal(const struct error *err, struct text *warnings)
{
    text_add(warnings, "a run would be refused now: ");
    text_add_shown(warnings, err->message);
    for (unsigned i = 0; i < err->note_count; i++) {
        text_add(warnings, "; ");
        text_add_shown(warnings, err->notes[i]);
    }
    if (err->help[0]) {
        text_add(warnings, "; ");
        text_add_shown(warnings, err->help);
    }
    text_add(warnings, "\n");
}

/* `left` is taken. */
static void note_rest(struct plan *p, const struct job *job, struct resume *left)
{
    struct plan *rest = malloc(sizeof *rest);
    struct error err = { 0 };

    if (!rest) {
        resume_close(left);
        return;
    }
    *rest = *p;
    rest->resume = left;
    text_init(&rest->warnings, 0);
    text_init(&rest->notes, ERROR_TEXT_BYTES);
    rest->scratch_path = p->scratch_path ? strdup(p->scratch_path) : NULL;
    if (plan_resumed(rest, job, &err)) {
        text_addf(&p->notes, "'%s.sluice-partial' is there, of an unfinished run: a run goes on with it, by the plan that it "
                  "was begun with, or starts over with --restart; %u %% done, and what is left is predicted to take %s\n",
                  job->output.path, plan_resumed_percent(rest), SECONDS_TEXT(rest->resumed_seconds));
        text_add(&p->notes, rest->notes.chars);
    } else {
        warn_of_refusal(&err, &p->warnings);
    }
    text_release(&rest->warnings);
    text_release(&rest->notes);
    free(rest->scratch_path);
    resume_close(left);
    free(rest);
}

void note_unfinished(struct plan *p, const struct job *job)
{
    struct error err = { 0 };
    struct resume *left;

    graph_request(p, job);
    if (!resume_look(&left, &p->graph, &err))
        warn_of_refusal(&err, &p->warnings);
    else if (left)
        note_rest(p, job, left);
}
