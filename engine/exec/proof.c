#include "engine/exec/proof.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/format/census.h"
#include "engine/io/os.h"

/* How long what was written may be listed, where little of it is expected. */
static const double listing_seconds_max = 10;

enum { WARNINGS_BYTES_MAX = 4096, CODEC_TEXT_BYTES_MAX = 1024 };

static void frame_of(const struct graph *g, struct digest_frame *frame)
{
    digest_frame_init(frame, g->source->dtype, g->source->chunks.rank, g->source->chunks.shape, g->source->fill,
                      PROOF_BOXES_MAX);
}

static bool no_memory(const struct graph *g, struct error *err)
{
    return error_sys(err, ENOMEM, g->target_span, "the digest of '%s'", g->target_path);
}

bool proof_begin(struct proof *p, const struct graph *g, bool continues, struct stage_run *run, struct error *err)
{
    struct digest_frame frame;

    if (!g->read_back || continues || p->whole)
        return true;
    frame_of(g, &frame);
    if (!digest_init(&p->source, &frame))
        return no_memory(g, err);
    run->sums_source = true;
    for (unsigned i = 0; i < run->worker_count; i++)
        if (!digest_init(&run->workers[i].digest, &frame))
            return no_memory(g, err);
    return true;
}

void proof_end(struct proof *p, struct stage_run *run, bool ok)
{
    if (!run->sums_source)
        return;
    for (unsigned i = 0; i < run->worker_count; i++) {
        struct worker *w = &run->workers[i];

        if (ok)
            digest_merge(&p->source, &w->digest);
        digest_release(&w->digest);
        p->sum_seconds += w->sum_seconds / run->worker_count;
    }
    p->whole = ok;
}

void proof_release(struct proof *p)
{
    digest_release(&p->source);
    digest_release(&p->target);
}

/* ---- what was written ---- */

/* NULL: as it should be; else what is not. *lost: there was no memory to tell. */
static const char *difference(const struct array_meta *wanted, const struct array_meta *found, bool *lost)
{
    const unsigned rank = wanted->chunks.rank;
    struct text wanted_codecs, found_codecs;
    bool same;

    if (found->dtype.kind != wanted->dtype.kind || found->dtype.item_bytes != wanted->dtype.item_bytes)
        return "dtype";
    if (found->chunks.rank != rank ||
        memcmp(found->chunks.shape, wanted->chunks.shape, rank * sizeof *wanted->chunks.shape) != 0)
        return "shape";
    if (memcmp(found->chunks.cell, wanted->chunks.cell, rank * sizeof *wanted->chunks.cell) != 0)
        return "chunks";
    if (!wanted->fill_undefined && memcmp(found->fill, wanted->fill, wanted->dtype.item_bytes) != 0)
        return "fill value";
    text_init(&wanted_codecs, CODEC_TEXT_BYTES_MAX);
    text_init(&found_codecs, CODEC_TEXT_BYTES_MAX);
    codec_chain_text(&wanted->codecs, &wanted_codecs);
    codec_chain_text(&found->codecs, &found_codecs);
    same = strcmp(wanted_codecs.chars, found_codecs.chars) == 0 &&
           memcmp(found->codecs.order, wanted->codecs.order, rank * sizeof *wanted->codecs.order) == 0 &&
           found->codecs.big_endian == wanted->codecs.big_endian;
    *lost = wanted_codecs.no_memory || found_codecs.no_memory;
    text_release(&wanted_codecs);
    text_release(&found_codecs);
    return same ? NULL : "codec";
}

/* What the output is like that cannot be read, or is wrong: no input of anybody's, but our own failure. */
static bool is_wrong(const struct graph *g, struct error *err)
{
    if (err->code != ERR_INPUT && err->code != ERR_IO)
        return false;
    err->code = ERR_IO;
    err->span = g->target_span;
    error_help(err, "the same command looks once more; if it says this again, --restart makes all of the output anew");
    return false;
}

bool proof_of_metadata(const struct graph *g, struct store *target, struct error *err)
{
    struct array_meta found = { 0 };
    struct text warnings;
    const char *what;
    bool ok, lost = false;

    text_init(&warnings, WARNINGS_BYTES_MAX);
    ok = array_meta_read(&found, target, &warnings, err);
    text_release(&warnings);
    if (!ok) {
        error_prefix(err, "the output's metadata, read back");
        return is_wrong(g, err);
    }
    what = difference(g->target, &found, &lost);
    array_meta_release(&found);
    if (lost)
        return no_memory(g, err);
    if (!what)
        return true;
    error_at(err, ERR_IO, g->target_span, "the output's metadata, read back, has another %s than was written", what);
    return is_wrong(g, err);
}

/* ---- passes ---- */

static bool sum_source(struct proof *p, const struct graph *g, struct report *report, const volatile int *stop,
                       struct error *err)
{
    struct scan scan = *g->read_source;
    struct digest_frame frame;

    if (p->whole)
        return true;
    frame_of(g, &frame);
    digest_release(&p->source);
    if (!digest_init(&p->source, &frame))
        return no_memory(g, err);
    scan.name = "input again";
    return scan_digest(&scan, NULL, &p->source, report, stop, err);
}

/* What the target's digest is summed in. */
static bool begin_target(struct proof *p, const struct graph *g, struct error *err)
{
    struct digest_frame frame;

    frame_of(g, &frame);
    digest_release(&p->target);
    return digest_init(&p->target, &frame) || no_memory(g, err);
}

static bool is_wrong_read_back(const struct graph *g, struct error *err)
{
    if (!error_is_stop(err))
        error_prefix(err, "the output, read back");
    return is_wrong(g, err);
}

static bool sum_target(struct proof *p, const struct graph *g, struct store *target, struct report *report,
                       const volatile int *stop, struct error *err)
{
    struct scan scan = *g->read_back;
    struct chunk_list list = { 0 };
    struct chunk_census census;
    bool ok;

    if (p->followed)
        return true;
    if (!begin_target(p, g, err))
        return false;
    scan.name = "read back";
    scan.store = target;
    if (g->present && !array_census_listed(g->target, target, listing_seconds_max, &list, &census, err)) {
        chunk_list_release(&list);
        return false;
    }
    scan.present = list.chunks && census.listed ? &list : NULL;
    ok = scan_digest(&scan, NULL, &p->target, report, stop, err);
    chunk_list_release(&list);
    return ok || is_wrong_read_back(g, err);
}

/* ---- beside the last stage ---- */

bool proof_follow(struct proof *p, const struct graph *g, struct stage_run *run, struct error *err)
{
    struct scan_run *f = &p->following;

    if (!g->read_beside || run->stage->sink != TO_CHUNKS || g->present || run->recorded > 0)
        return true;
    if (!begin_target(p, g, err))
        return false;
    p->back = *g->read_beside;
    p->back.store = run->target_store;
    p->back.tasks = run->stage->tasks;
    p->back.workers = (unsigned)size_min(p->back.workers, run->worker_count);
    scan_run_init(f, &p->back, NULL, report_aside(run->report), run->stop);
    f->stage.walk = run->stage->walk;
    f->run.pool = run->pool;
    run->follower = &f->run;
    return scan_run_prepare(f, &p->back, &p->target.frame, err);
}

bool proof_follow_end(struct proof *p, const struct graph *g, struct stage_run *run, bool ok, struct error *err)
{
    if (!run->follower)
        return ok;
    run->follower = NULL;
    if (run->failed_following)
        is_wrong_read_back(g, err);
    p->follow_seconds = ok ? os_now() - run->done_at : 0;
    p->followed = ok = scan_run_end(&p->following, &p->back, ok, &p->target, err);
    return ok;
}

static bool compare(const struct proof *p, const struct graph *g, struct error *err)
{
    const struct grid *boxes = &p->source.frame.boxes;
    uint64_t count = grid_cells(boxes), differ = 0, first = 0, coords[RANK_MAX];
    struct text place;

    for (uint64_t i = 0; i < count; i++) {
        const struct digest_sum *a = &p->source.sums[i], *b = &p->target.sums[i];

        if (a->d1 == b->d1 && a->d2 == b->d2)
            continue;
        first = differ++ ? first : i;
    }
    if (!differ)
        return true;
    text_init(&place, CODEC_TEXT_BYTES_MAX);
    grid_coords(boxes, first, coords);
    for (unsigned i = 0; i < boxes->rank; i++)
        text_addf(&place, "%s%" PRIu64, i ? ", " : "", coords[i] * boxes->cell[i]);
    error_at(err, ERR_IO, g->target_span, "the output, read back, does not hold the input's values: their digests differ in "
             "%" PRIu64 " of %" PRIu64 " parts of the array, the first of which begins at (%.200s)", differ, count,
             place.chars);
    text_release(&place);
    return is_wrong(g, err);
}

static void note_result(const struct proof *p, const struct graph *g, double seconds)
{
    struct digest_sum total = digest_total(&p->source);

    if (g->verified)
        *g->verified = (struct verified){ .done = true, .read_source = !p->whole, .d1 = total.d1, .d2 = total.d2,
                                          .sum_seconds = p->sum_seconds, .pass_seconds = p->follow_seconds + seconds };
}

bool proof_make(struct proof *p, const struct graph *g, struct store *target, struct report *report,
                const volatile int *stop, struct error *err)
{
    struct report *aside = report_aside(report);
    double began = os_now();

    if (!g->read_back)
        return true;
    die_at("before-verify");
    if (!proof_of_metadata(g, target, err) || !sum_source(p, g, aside, stop, err) ||
        !sum_target(p, g, target, aside, stop, err) || !compare(p, g, err))
        return false;
    note_result(p, g, os_now() - began);
    return true;
}
