#include "engine/exec/scan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "engine/base/size.h"
#include "engine/exec/prepare.h"

static uint64_t elements_wanted(const struct scan *s, const struct box *within)
{
    const struct grid *chunks = &s->array->chunks;

    return within ? box_elements(chunks->rank, within) : shape_elements(chunks->rank, chunks->shape);
}

/* Everything is counted as missing first (missing_chunks.c). What the list has is not, whatever its pieces come to: one
 * that were lost, or came twice, would show in the number of elements. */
static bool take_back_present(const struct stage_run *run, struct digest *d, struct error *err)
{
    for (uint64_t i = 0; i < run->present->count; i++) {
        uint64_t coords[RANK_MAX];
        struct box box;

        if (stop_asked(run->stop))
            return error_stopped(err, stop_asked(run->stop));
        grid_coords(&run->cells, run->present->chunks[i], coords);
        grid_cell_box(&run->cells, coords, &box);
        digest_present(d, &box, run->array->fill, run->within);
    }
    return true;
}

void scan_run_init(struct scan_run *r, const struct scan *s, const struct box *within, struct report *report,
                   const volatile int *stop)
{
    r->stage = (struct stage){
        .name = s->name ? s->name : "scan", .span = s->span, .source = s->source, .tasks = s->tasks,
        .piece_raw_bytes = s->piece_raw_bytes, .workers = s->workers, .reads_in_flight = s->reads_in_flight,
        .memory = s->memory,
    };
    r->run = (struct stage_run){
        .stage = &r->stage, .report = report, .stop = stop, .backend = s->backend,
        .from = s->source == FROM_STREAM ? &from_stream : &from_chunks,
        .array = s->array, .store = s->store, .source_span = s->span, .seen = s->seen, .missing_max = UINT64_MAX,
        .present = s->present, .skips_missing = s->present != NULL,
        .item_bytes = s->array->dtype.item_bytes,
        .cells = s->array->chunks, .subs = 1, .within = within, .tasks = within ? 1 : grid_cells(&s->tasks),
        .damaged = s->damaged, .damaged_context = s->context,
    };
    assert(s->source != FROM_SEGMENTS && (s->source != FROM_STREAM || s->workers == 1));
    if (s->piece_raw_bytes)
        r->run.subs = size_div_up(array_chunk_bytes(s->array), s->piece_raw_bytes);
}

bool scan_run_prepare(struct scan_run *r, const struct scan *s, const struct digest_frame *frame, struct error *err)
{
    if (!stage_prepare(&r->run, err))
        return false;
    for (unsigned i = 0; i < r->run.worker_count; i++)
        if (!digest_init(&r->run.workers[i].digest, frame))
            return error_sys(err, ENOMEM, s->span, "the digest of '%s'", store_path(s->store));
    return !s->present || take_back_present(&r->run, &r->run.workers[0].digest, err);
}

bool scan_run_end(struct scan_run *r, const struct scan *s, bool ok, struct digest *d, struct error *err)
{
    uint64_t elements_before = digest_total(d).elements, elements, wanted = elements_wanted(s, r->run.within);

    for (unsigned i = 0; r->run.workers && i < r->run.worker_count; i++) {
        if (ok)
            digest_merge(d, &r->run.workers[i].digest);
        digest_release(&r->run.workers[i].digest);
    }
    stage_release(&r->run);
    elements = digest_total(d).elements - elements_before;
    if (ok && !s->damaged && elements != wanted)
        return error_at(err, ERR_IO, s->span, "a pass over '%s' saw %" PRIu64 " elements of %" PRIu64 ": this is a bug",
                        store_path(s->store), elements, wanted);
    return ok;
}

static bool scan(const struct scan *s, const struct box *within, const struct tile *values, struct digest *d,
                 struct report *report, const volatile int *stop, struct error *err)
{
    struct scan_run r;
    bool ok;

    if (elements_wanted(s, within) == 0)        /* there is nothing in it */
        return true;
    scan_run_init(&r, s, within, report, stop);
    r.run.values = values;
    if (!pool_open(&r.run.pool, stage_pool_bytes(&r.stage), err))
        return false;
    report_stage(report, r.stage.name);
    ok = scan_run_prepare(&r, s, &d->frame, err) && stage_run(&r.run, err);
    ok = scan_run_end(&r, s, ok, d, err);
    pool_close(r.run.pool);
    return ok;
}

bool scan_digest(const struct scan *s, const struct box *within, struct digest *d, struct report *report,
                 const volatile int *stop, struct error *err)
{
    return scan(s, within, NULL, d, report, stop, err);
}

/* The digest is of no use but to count elements. */
bool scan_values(const struct scan *s, const struct box *box, void *items, const volatile int *stop, struct error *err)
{
    const struct array_meta *m = s->array;
    struct digest_frame frame;
    struct digest digest;
    struct tile tile;
    bool ok;

    digest_frame_init(&frame, m->dtype, m->chunks.rank, m->chunks.shape, m->fill, 1);
    if (!digest_init(&digest, &frame))
        return error_sys(err, ENOMEM, s->span, "the digest of '%s'", store_path(s->store));
    tile_init(&tile, TILE_CLIPPED, m->dtype.item_bytes, &frame.boxes, box, NULL, items);
    ok = scan(s, box, &tile, &digest, NULL, stop, err);
    digest_release(&digest);
    return ok;
}
