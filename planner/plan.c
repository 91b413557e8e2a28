/* plan.c - the order in which a plan is made: what is cheap and most often wrong comes first. */
#include "planner/planner.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"

/* How long the source's chunks may be looked at. Enough, on any local disk, for as many names as a census takes: then
 * the same array always gives the same plan. */
static const double census_seconds_max = 2;

enum { WARNINGS_BYTES_MAX = 64 * 1024 };

/* Of the budget, for a look into a group's metadata: beside the program, and before there is anything else. */
enum { METADATA_SHARE = 8 };

/* With room beside the stages for reading back, if they do with the rest; else in all of the budget. */
static bool plan_stages(struct plan *p, const struct job *job, const struct room *room, struct error *err)
{
    uint64_t memory_bytes = p->memory_bytes;
    struct error ignored = { 0 };
    bool ok;

    p->beside_bytes = plan_beside(p, job);
    if (p->beside_bytes == 0)
        return plan_from_metas(p, job, room, err);
    p->memory_bytes -= p->beside_bytes;
    ok = plan_from_metas(p, job, room, &ignored);
    p->memory_bytes = memory_bytes;
    if (!ok) {
        p->beside_bytes = 0;
        return plan_from_metas(p, job, room, err);
    }
    plan_beside_use(p);
    return true;
}

/* By its own plan, if there is an unfinished run. */
static bool plan_rest_or_all(struct plan *p, const struct job *job, const struct room *room, struct error *err)
{
    if (!p->resume)
        return plan_stages(p, job, room, err);
    if (!plan_resumed(p, job, err))
        return false;
    note_restart(p, job, room);
    return true;
}

static bool make(struct plan *p, const struct job *job, struct error *err)
{
    struct host host;
    struct room room;

    host_look(&host, NULL);
    p->cores = host.threads;
    if (!array_open(&p->source_store, &p->source, job->input.path, job->input.span, &p->warnings, err))
        return false;
    if (!resolve_output_place(job, p->source_store, err) ||
        !resolve_target(&p->target, &p->source, job, &p->warnings, &p->notes, err) ||
        !plan_resume(p, job, err) ||
        (!(p->resume && resume_is_finished(p->resume)) && !resolve_output_free(job, &p->notes, err)) ||
        !resolve_limits(p, job, &host, err) || !resolve_room(p, job, &host, &room, err) ||
        !io_choose(&p->io, job->backend, err))
        return false;
    array_warn_of_parents(job->output.path, p->target.format, p->memory_bytes / METADATA_SHARE, &p->warnings,
                          &p->afterwards);
    warn_of_long_chunks(&job->output.chunks, &p->target, &p->warnings);
    if (!array_census_listed(&p->source, p->source_store, census_seconds_max, &p->present, &p->census, err)) {
        error_locate(err, job->input.span);
        return false;
    }
    if (job->start == START_NOT && !job->plans_restart)
        note_unfinished(p, job);
    return plan_verified(p, job, plan_rest_or_all(p, job, &room, err), err);
}

bool plan_make(struct plan *p, const struct job *job, struct error *err)
{
    memset(p, 0, sizeof *p);
    text_init(&p->warnings, WARNINGS_BYTES_MAX);
    text_init(&p->notes, WARNINGS_BYTES_MAX);
    text_init(&p->afterwards, WARNINGS_BYTES_MAX);
    if (make(p, job, err))
        return true;
    plan_release(p);
    return false;
}

void plan_release(struct plan *p)
{
    resume_close(p->resume);
    array_meta_release(&p->source);
    array_meta_release(&p->target);
    chunk_list_release(&p->present);
    store_close(p->source_store);
    text_release(&p->warnings);
    text_release(&p->notes);
    text_release(&p->afterwards);
    free(p->scratch_path);
    memset(p, 0, sizeof *p);
}
