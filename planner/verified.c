/* verified.c - verify: true takes passes that only read: over the target as it was written, and, when the run has not
 * delivered all of the source, over the source. They are planned with the rest, so that what does not fit is refused
 * before the first read. They come when the stages' memory is given back, so the budget must hold the hungriest.
 *
 * Where the memory of the pass over the target is little of the budget, it is put aside for good, and the last stage's
 * workers read back what they have written while they wait for something else. It is never what a job is refused for. */
#include "planner/planner.h"

#include <string.h>

#include "engine/base/size.h"

/* What the target's chunks will be like. Where little of the source is there, the target may have as long a list. */
static void target_census(const struct plan *p, struct chunk_census *out)
{
    *out = (struct chunk_census){ .chunks = grid_cells(&p->target.chunks), .listed = p->census.listed };
    if (out->listed)
        out->present = size_min(out->chunks, LISTED_CHUNKS_MAX);
    codec_sample_own(&out->codec, &p->target.codecs, array_chunk_bytes(&p->target));
}

/* The least budget, and the scan in it. */
static uint64_t scan_least(const struct scan *scan, const struct chunk_census *census, struct scan *least)
{
    struct error ignored = { 0 };

    *least = *scan;
    plan_scan(least, 0, 1, census, SPAN_NONE, &ignored);
    return ignored.need_bytes;
}

/* How much of the budget may be put aside: about what costs nothing elsewhere. */
enum { BESIDE_SHARE = 16 };
/* What is left, of the seconds of a pass, of one that goes on beside a stage. */
static const double beside_seconds_left = 0.5;

uint64_t plan_beside(struct plan *p, const struct job *job)
{
    struct scan *scan = &p->read_beside, least;
    struct error ignored = { 0 };
    struct chunk_census census;
    uint64_t always_bytes = program_bytes() + table_bytes() + metadata_bytes(&p->target);

    if (!job->verify || p->present.chunks)
        return 0;
    target_census(p, &census);
    *scan = (struct scan){ .array = &p->target, .span = job->output.span, .backend = p->io.backend };
    scan_least(scan, &census, &least);
    if (!plan_scan(scan, always_bytes + p->memory_bytes / BESIDE_SHARE, p->graph.threads, &census, SPAN_NONE, &ignored) ||
        scan->source != FROM_CHUNKS)
        return 0;
    memset(&p->beside_memory, 0, sizeof p->beside_memory);
    table_add_scan(&p->beside_memory, scan, &least);
    return table_chosen_bytes(&p->beside_memory);
}

void plan_beside_use(struct plan *p)
{
    struct graph *g = &p->graph;
    struct memory_table *t = &p->memory[g->stage_count - 1];
    struct stage pass = { .workers = p->read_beside.workers, .memory = p->read_beside.memory };

    if (g->stages[g->stage_count - 1].sink != TO_CHUNKS)
        return;
    for (unsigned i = 0; i < p->beside_memory.count; i++)
        t->lines[t->count++] = p->beside_memory.lines[i];
    g->pool_bytes += stage_pool_bytes(&pass);
    g->read_beside = &p->read_beside;
}

/* One pass, within the budget. *least_bytes: what it takes at least. */
static void plan_pass(struct plan *p, struct scan *scan, const struct chunk_census *census, const struct job *job,
                      const char *what, uint64_t *least_bytes, struct error *err)
{
    static const struct job nothing;
    struct scan least;
    struct basis b;

    *least_bytes = scan_least(scan, census, &least);
    if (!plan_scan(scan, p->memory_bytes, p->graph.threads, census, job->memory.span, err)) {
        error_note(err, "that is to %s, for 'verify'", what);
        return;
    }
    basis_init(&b, scan->array, scan->array, census, p->graph.threads, scan->backend, &nothing);
    if (scan == &p->read_back || *least_bytes > p->minimum_bytes)
        table_fill_scan(&p->verify_memory, scan, &least, b.metadata_bytes);
}

static void add_seconds(struct plan *p)
{
    static const struct job nothing;
    struct chunk_census census;
    struct basis b;

    target_census(p, &census);
    basis_init(&b, &p->target, &p->target, &census, p->graph.threads, p->io.backend, &nothing);
    for (unsigned i = 0; i < p->candidate_count; i++) {
        struct plan_cost *cost = &p->candidates[i].cost;
        double written = cost->write_bytes ? (double)cost->write_bytes : (double)b.array_bytes;

        if (!p->candidates[i].fits)
            continue;
        cost->verify_seconds = cost_scan_seconds(&b, written, p->read_back.workers) *
                               (p->graph.read_beside ? beside_seconds_left : 1);
        cost->seconds += cost->verify_seconds;
    }
    p->resumed_seconds += 2 * p->candidates[p->chosen].cost.verify_seconds;     /* the input is read again, too */
}

bool plan_verified(struct plan *p, const struct job *job, bool ok, struct error *err)
{
    struct chunk_census written, source = p->census;
    uint64_t back_bytes = 0, source_bytes = 0;
    struct error why = { 0 }, why_source = { 0 };
    bool fits;

    if (!job->verify || (!ok && (err->code != ERR_FIT || strcmp(err->key, "memory") != 0)))
        return ok;
    target_census(p, &written);
    codec_sample_merge(&source.codec, &job->seen);
    p->read_back = (struct scan){ .array = &p->target, .span = job->output.span, .backend = p->io.backend };
    p->read_source = (struct scan){ .array = &p->source, .store = p->source_store, .span = job->input.span,
                                    .backend = p->io.backend, .present = p->graph.present };
    plan_pass(p, &p->read_back, &written, job, "read the output back", &back_bytes, &why);
    plan_pass(p, &p->read_source, &source, job, "read the input again, should it come to that", &source_bytes, &why_source);
    if (why_source.need_bytes > why.need_bytes)
        why = why_source;
    fits = why.code == ERR_NONE;
    if (!fits && (ok || why.need_bytes > err->need_bytes))
        *err = why;
    if (!fits || !ok)
        return false;
    p->minimum_bytes = size_max(p->minimum_bytes, size_max(back_bytes, source_bytes));
    p->graph.read_back = &p->read_back;
    p->graph.read_source = &p->read_source;
    add_seconds(p);
    return true;
}
