/* plan.c - the order in which a plan is made: what is cheap and most often wrong comes first. */
#include "planner/planner.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"

/* How long the source's chunks may be looked at. */
static const double census_seconds_max = 0.03;
/* Files of one output, above which it is said aloud. */
static const uint64_t files_many = 100000;

enum { WARNINGS_BYTES_MAX = 64 * 1024 };

/* The shard shape that would hold about 256 MiB: the chunk doubled along the axes that still have cells, the one with
 * the most cells first. */
static void shard_shape(const struct array_meta *m, uint64_t *shard)
{
    const struct grid *g = &m->chunks;
    double bytes = (double)array_chunk_bytes(m);

    memcpy(shard, g->cell, g->rank * sizeof *shard);
    while (bytes < 128.0 * (double)MIB) {
        unsigned best = g->rank;

        for (unsigned i = 0; i < g->rank; i++)
            if (shard[i] < g->shape[i] && (best == g->rank || g->shape[i] / shard[i] > g->shape[best] / shard[best]))
                best = i;
        if (best == g->rank)
            return;
        shard[best] *= 2;
        bytes *= 2;
    }
}

static void warn_of_files(struct plan *p)
{
    uint64_t files = p->candidates[p->chosen].cost.files, shard[RANK_MAX];

    if (files <= files_many)
        return;
    shard_shape(&p->target, shard);
    text_addf(&p->warnings, "the output is %s files; with shards of 100-500MiB it would be far fewer: shards: ",
              COUNT_TEXT(files));
    for (unsigned i = 0; i < p->target.chunks.rank; i++) {
        text_add(&p->warnings, i ? ", " : "{");
        if (p->target.dimension_names[i])
            text_addf(&p->warnings, "%s: ", p->target.dimension_names[i]);
        else
            text_addf(&p->warnings, "%u: ", i);
        text_addf(&p->warnings, "%llu", (unsigned long long)shard[i]);
    }
    text_add(&p->warnings, "}\n");
}

static bool make(struct plan *p, const struct job *job, struct error *err)
{
    struct host host;
    struct room room;

    host_look(&host, NULL);
    if (!array_open(&p->source_store, &p->source, job->input.path, job->input.span, &p->warnings, err))
        return false;
    if (!resolve_output_place(job, p->source_store, err) ||
        !resolve_target(&p->target, &p->source, job, &p->warnings, err) ||
        !resolve_limits(p, job, &host, err) || !resolve_room(p, job, &room, err) ||
        !io_choose(&p->io, job->backend, err))
        return false;
    if (!array_census(&p->source, p->source_store, census_seconds_max, &p->census, err)) {
        error_locate(err, job->input.span);
        return false;
    }
    p->census.codec.blosc_block_bytes_max = (uint32_t)size_max(p->census.codec.blosc_block_bytes_max,
                                                               job->seen.blosc_block_bytes_max);
    if (!plan_from_metas(p, job, &room, err))
        return false;
    warn_of_files(p);
    return true;
}

bool plan_make(struct plan *p, const struct job *job, struct error *err)
{
    memset(p, 0, sizeof *p);
    text_init(&p->warnings, WARNINGS_BYTES_MAX);
    if (make(p, job, err))
        return true;
    plan_release(p);
    return false;
}

void plan_release(struct plan *p)
{
    array_meta_release(&p->source);
    array_meta_release(&p->target);
    store_close(p->source_store);
    text_release(&p->warnings);
    free(p->scratch_path);
    memset(p, 0, sizeof *p);
}
