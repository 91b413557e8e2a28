#include "engine/exec/scan.h"

#include <errno.h>

#include "engine/base/size.h"
#include "engine/exec/prepare.h"

/* A box that has no elements is not scanned: there is nothing in it. */
static bool nothing_to_scan(const struct scan *s, const struct box *within)
{
    const struct grid *chunks = &s->array->chunks;

    return (within ? box_elements(chunks->rank, within) : shape_elements(chunks->rank, chunks->shape)) == 0;
}

bool scan_digest(const struct scan *s, const struct box *within, struct digest *d, struct report *report,
                 const volatile int *stop, struct error *err)
{
    struct stage stage = {
        .name = "scan", .span = s->span, .source = FROM_CHUNKS, .tasks = s->tasks,
        .piece_raw_bytes = s->piece_raw_bytes, .workers = s->workers, .reads_in_flight = s->reads_in_flight,
        .memory = s->memory,
    };
    struct stage_run run = {
        .stage = &stage, .report = report, .stop = stop, .backend = s->backend, .from = &from_chunks,
        .array = s->array, .store = s->store, .source_span = s->span, .seen = s->seen, .missing_max = UINT64_MAX,
        .item_bytes = s->array->dtype.item_bytes,
        .cells = s->array->chunks, .subs = 1, .within = within, .tasks = within ? 1 : grid_cells(&s->tasks),
        .damaged = s->damaged, .damaged_context = s->context,
    };
    bool ok;

    if (nothing_to_scan(s, within))
        return true;
    if (s->piece_raw_bytes)
        run.subs = size_div_up(array_chunk_bytes(s->array), s->piece_raw_bytes);
    if (!pool_open(&run.pool, stage_pool_bytes(&stage), err))
        return false;
    report_stage(report, stage.name);
    ok = stage_prepare(&run, err);
    for (unsigned i = 0; ok && i < run.worker_count; i++)
        if (!digest_init(&run.workers[i].digest, &d->frame))
            ok = error_sys(err, ENOMEM, s->span, "the digest of '%s'", store_path(s->store));
    ok = ok && stage_run(&run, err);
    for (unsigned i = 0; run.workers && i < run.worker_count; i++) {
        if (ok)
            digest_merge(d, &run.workers[i].digest);
        digest_release(&run.workers[i].digest);
    }
    stage_release(&run);
    pool_close(run.pool);
    return ok;
}
