/* weigh.c - every plan there is for a job, measured with the same rule; the quickest that fits is taken.
 *
 * A new plan is a row in `kinds` and one in arrange() (arrange.c); cost.c goes by its stages.
 */
#include "planner/planner.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/codec/append.h"

/* In the order of enum plan_kind. */
static const struct {
    enum plan_kind kind;
    const char *name;
    enum plan_wanted wanted;
} kinds[] = {
    { KIND_DIRECT,       "direct",                PLAN_DIRECT },
    { KIND_SPLIT,        "split + merge",         PLAN_SPLIT },
    { KIND_PASSES,       "split + split + merge", PLAN_PASSES },
    { KIND_RANGED_WRITE, "ranged write",          PLAN_RANGED_WRITE },
    { KIND_CARRY,        "direct with carry",     PLAN_CARRY },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* By how many stages there are. */
static const char *const names_of_passes[STAGES_MAX + 1] = {
    [3] = "split + split + merge", [4] = "3 splits + merge", [5] = "4 splits + merge", [6] = "5 splits + merge",
    [7] = "6 splits + merge", [8] = "7 splits + merge",
};

/* Without scratch there is less to go wrong: it may be this much slower and is still taken. */
static const double scratch_reluctance = 1.05;

/* Where a reason is about scratch; in an error the key says so already. */
static const char scratch_prefix[] = "scratch: ";

/* One plan with the arrangements behind its candidate. */
struct weighed {
    struct plan_candidate candidate;
    struct arrangement best, least;
    uint64_t least_bytes;           /* of any budget, found once; 0: not looked for */
    bool asked;                     /* it may be chosen at all */
    bool lacks_scratch;             /* fits memory, but not the file system */
    uint64_t scratch_need_bytes, scratch_have_bytes;
};

/* Carrying gains nothing where less than this is decoded twice. */
static const double decoded_again_least = 1.01;

/* Where there is this many times the room that scratch needs (at least seven copies of the segments, if there are
 * further passes), none of it is given back before the end: that holds up the reads. */
enum { SPACE_AMPLE_FACTOR = 4 };

static void why_not(struct plan_candidate *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void why_not(struct plan_candidate *c, const char *format, ...)
{
    va_list args;

    c->fits = false;
    va_start(args, format);
    vsnprintf(c->why_not, sizeof c->why_not, format, args);
    va_end(args);
}

static uint64_t scratch_limit_bytes(const struct job *job)
{
    return job->scratch_limit.set && job->scratch_limit.bytes ? job->scratch_limit.bytes : UINT64_MAX;
}

static void scratch_check(const struct plan *p, uint64_t memory_bytes, const struct job *job, const struct room *room,
                          struct weighed *w, struct plan_candidate *c)
{
    uint64_t need = w->best.cost.scratch_bytes, limit = scratch_limit_bytes(job);

    if (w->best.stage_count < 2 || !c->fits)
        return;
    w->scratch_need_bytes = need;
    w->scratch_have_bytes = size_min(limit, room->scratch_free_bytes);
    if (need > limit)
        why_not(c, "%sabout %s, and the limit is %s", scratch_prefix, SIZE_TEXT(need), SIZE_TEXT(limit));
    else if (need > room->scratch_free_bytes)
        why_not(c, "%sabout %s, and '%.320s' has %s free", scratch_prefix, SIZE_TEXT(need),
                p->scratch_path ? p->scratch_path : "", SIZE_TEXT(room->scratch_free_bytes));
    else if (room->scratch_is_memory && need > memory_bytes - size_min(memory_bytes, w->best.total_bytes)) {
        why_not(c, "%s'%.320s' is memory (tmpfs), and %s more do not fit in the budget", scratch_prefix,
                p->scratch_path ? p->scratch_path : "", SIZE_TEXT(need));
        w->scratch_have_bytes = memory_bytes - size_min(memory_bytes, w->best.total_bytes);
    }
    w->lacks_scratch = !c->fits;
}

static void weigh_one(const struct plan *p, uint64_t memory_bytes, const struct job *job, const struct room *room,
                      const struct basis *b, unsigned i, struct weighed *w)
{
    struct plan_candidate *c = &w->candidate;
    struct limits limits;

    w->asked = job->plan == PLAN_AUTO || job->plan == kinds[i].wanted;
    if (!w->least_bytes)
        w->least_bytes = fit_minimum(kinds[i].kind, b, &w->least);
    c->name = kinds[i].name;
    c->need_bytes = w->least_bytes;
    limits = (struct limits){
        .memory_bytes = memory_bytes, .least_bytes = c->need_bytes,
        /* A file in a tmpfs is memory too: nothing is gained by making one. */
        .scratch_bytes = room->scratch_is_memory
                             ? 0 : size_min(scratch_limit_bytes(job), room->scratch_free_bytes),
    };
    c->fits = c->need_bytes <= memory_bytes && fit_best(kinds[i].kind, b, &limits, &w->best);
    if (!c->fits && c->need_bytes <= memory_bytes) {     /* scratch_check says by how much */
        limits.scratch_bytes = UINT64_MAX;
        c->fits = true;
        if (!fit_best(kinds[i].kind, b, &limits, &w->best))
            w->best = w->least;     /* which fits, if little else does */
    }
    if (kinds[i].kind == KIND_PASSES && c->fits)
        c->name = names_of_passes[w->best.stage_count];
    if (c->fits)
        c->cost = w->best.cost;
    else if (c->need_bytes == UINT64_MAX)
        why_not(c, "no budget is enough");
    else
        why_not(c, "needs %s of memory", SIZE_TEXT(c->need_bytes));
    scratch_check(p, memory_bytes, job, room, w, c);
    if (!w->asked)
        why_not(c, "not asked for");
}

/* Can a plan that nobody asked for do better than the direct one, or than one split? */
static bool is_worth_weighing(enum plan_kind kind, const struct basis *b, const struct weighed *w)
{
    const struct weighed *direct = &w[KIND_DIRECT], *split = &w[KIND_SPLIT];

    if (kind == KIND_PASSES)
        return split->candidate.need_bytes == UINT64_MAX || !extents_ample(b, &split->least);
    if (kind == KIND_CARRY)
        return !direct->candidate.fits || direct->best.decodes.factor > decoded_again_least;
    return true;
}

/* In that memory; `w` may have been weighed in another. */
static void weigh_all(const struct plan *p, uint64_t memory_bytes, const struct job *job, const struct room *room,
                      const struct basis *b, struct weighed *w)
{
    for (unsigned i = 0; i < KINDS; i++) {
        w[i].candidate = (struct plan_candidate){ 0 };
        w[i].asked = w[i].lacks_scratch = false;
        if (job->plan == kinds[i].wanted || is_worth_weighing(kinds[i].kind, b, w))
            weigh_one(p, memory_bytes, job, room, b, i, &w[i]);
        else
            w[i].candidate.need_bytes = UINT64_MAX;
    }
}

/* The quickest of those that fit; KINDS: none does. */
static unsigned choose(const struct weighed *w)
{
    unsigned chosen = KINDS;

    for (unsigned i = 0; i < KINDS; i++) {
        const struct plan_candidate *c = &w[i].candidate;

        if (c->fits && (chosen == KINDS || c->cost.seconds * (c->cost.scratch_bytes ? scratch_reluctance : 1) <
                                               w[chosen].candidate.cost.seconds))
            chosen = i;
    }
    return chosen;
}

/* The first two are always spoken of; others where they fit, or were asked for. */
static void candidates_set(struct plan *p, const struct job *job, const struct weighed *w, unsigned chosen)
{
    p->candidate_count = 0;
    for (unsigned i = 0; i < KINDS; i++) {
        if (i > 1 && !w[i].candidate.fits && job->plan != kinds[i].wanted)
            continue;
        if (i == chosen)
            p->chosen = p->candidate_count;
        p->candidates[p->candidate_count++] = w[i].candidate;
    }
}

/* ---- what more memory would buy ---- */

/* So many times the memory is tried, and whether it takes at most half the time and so many seconds less. */
enum { MORE_MEMORY_MOST = 4 };
static const double more_memory_times[] = { 1.25, 1.5, 2, 3 };
enum { MORE_MEMORY_TIMES = sizeof more_memory_times / sizeof more_memory_times[0] };
const double worth_saying_seconds = 10;

/* A scratch that somebody chose is not passed over in silence where it would have been of use; nor is the usual one where
 * that would be of much. */
static void note_scratch(const struct job *job, const struct weighed *w, unsigned chosen, struct text *notes)
{
    bool explicit = job->scratch_path || job->scratch_limit.set;
    double wanted_seconds = w[chosen].candidate.cost.seconds / scratch_reluctance - (explicit ? 0 : worth_saying_seconds);
    const struct plan_candidate *best = NULL;

    for (unsigned i = 0; i < KINDS; i++) {
        const struct plan_candidate *c = &w[i].candidate;

        if (w[i].asked && w[i].lacks_scratch && c->cost.seconds < (best ? best->cost.seconds : wanted_seconds))
            best = c;
    }
    if (best)
        text_addf(notes, "%s would take about %s, but has no room in scratch: %s\n", best->name,
                  SECONDS_TEXT(best->cost.seconds), best->why_not + strlen(scratch_prefix));
}

/* What is chosen fits if all shrinks as the input did; here it is said if it may not. */
static void warn_of_scratch(const struct plan *p, const struct job *job, const struct room *room, const struct basis *b,
                            const struct arrangement *a, struct text *warnings)
{
    uint64_t most = a->cost.scratch_bytes_max, limit = scratch_limit_bytes(job);
    uint64_t memory_left = p->memory_bytes - size_min(p->memory_bytes, a->total_bytes);

    if (!b->spill_unsure || most <= a->cost.scratch_bytes)
        return;
    if (most > limit)
        text_addf(warnings, "scratch may take up to %s, and its limit is %s", SIZE_TEXT_UP(most), SIZE_TEXT(limit));
    else if (most > room->scratch_free_bytes)
        text_addf(warnings, "scratch may take up to %s, and '%s' has %s free", SIZE_TEXT_UP(most),
                  p->scratch_path ? p->scratch_path : "", SIZE_TEXT(room->scratch_free_bytes));
    else if (room->scratch_is_memory && most > memory_left)
        text_addf(warnings, "scratch may take up to %s, and '%s' is memory (tmpfs), of which the budget has %s left",
                  SIZE_TEXT_UP(most), p->scratch_path ? p->scratch_path : "", SIZE_TEXT(memory_left));
    else
        return;
    text_addf(warnings, ": it is kept in LZ4, which may not shrink what %s did; a run that finds no room stops\n",
              b->spill_unsure);
}

/* The quickest plan in that memory. False: there is none. */
static bool quickest_in(const struct plan *p, uint64_t memory_bytes, const struct job *job, const struct room *room,
                        const struct basis *b, struct weighed *w, struct more_memory *out)
{
    unsigned chosen;

    weigh_all(p, memory_bytes, job, room, b, w);
    chosen = choose(w);
    if (chosen == KINDS)
        return false;
    *out = (struct more_memory){ memory_bytes, w[chosen].candidate.cost.seconds, w[chosen].candidate.name };
    return true;
}

/* The least of the budgets to try that is above `bytes`: what some plan needs, and multiples of what there is. */
static uint64_t budget_above(uint64_t bytes, uint64_t now_bytes, const uint64_t *need_bytes)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < KINDS; i++)
        if (need_bytes[i] < UINT64_MAX - MIB && size_align_up(need_bytes[i], MIB) > bytes)
            least = size_min(least, size_align_up(need_bytes[i], MIB));
    for (unsigned i = 0; i < MORE_MEMORY_TIMES; i++) {
        uint64_t tried = size_align_up((uint64_t)(more_memory_times[i] * (double)now_bytes), MIB);

        if (tried > bytes)
            least = size_min(least, tried);
    }
    return least;
}

/* Those of them that are above what there is and below `largest`, ascending. */
static unsigned budgets_offered(uint64_t now_bytes, uint64_t largest, const struct weighed *w, uint64_t *budgets)
{
    uint64_t need_bytes[KINDS];
    unsigned count = 0;

    for (unsigned i = 0; i < KINDS; i++)
        need_bytes[i] = w[i].asked ? w[i].candidate.need_bytes : UINT64_MAX;
    for (uint64_t bytes = now_bytes; (bytes = budget_above(bytes, now_bytes, need_bytes)) < largest; )
        budgets[count++] = bytes;
    return count;
}

/* Of the budgets up to a few times that of `now`, the least in which a plan is nearly as quick as in the largest. All
 * zero: it would not be worth it. `w`: as weighed, and weighed anew. */
static struct more_memory more_memory(const struct plan *p, const struct more_memory *now, const struct job *job,
                                      const struct room *room, const struct basis *b, struct weighed *w)
{
    uint64_t largest = size_align_up(size_mul_sat(now->memory_bytes, MORE_MEMORY_MOST), MIB);
    uint64_t budgets[KINDS + MORE_MEMORY_TIMES];
    double wanted_seconds = fmin(now->seconds / 2, now->seconds - worth_saying_seconds);
    struct more_memory found, tried;
    unsigned low = 0, high;

    if (room->memory_available_bytes)
        largest = size_min(largest, size_align_down(room->memory_available_bytes, MIB));
    high = budgets_offered(now->memory_bytes, largest, w, budgets);
    if (now->seconds < worth_saying_seconds || largest <= now->memory_bytes ||
        !quickest_in(p, largest, job, room, b, w, &found) || found.seconds > wanted_seconds)
        return (struct more_memory){ 0 };
    wanted_seconds = fmin(wanted_seconds, 2 * found.seconds);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        bool does = quickest_in(p, budgets[middle], job, room, b, w, &tried) && tried.seconds <= wanted_seconds;

        found = does ? tried : found;
        low = does ? low : middle + 1;
        high = does ? middle : high;
    }
    return found;
}

/* ---- refusals ---- */

/* Who names one axis only may not know how long the others are. */
static void note_kept_axes(const struct plan *p, const struct job *job, struct error *err)
{
    const struct grid *g = &p->target.chunks;
    bool kept[RANK_MAX];
    unsigned count = chunks_kept(&job->output.chunks, &p->source, kept), listed = 0;
    struct text list;

    if (!count)
        return;
    text_init(&list, ERROR_TEXT_BYTES);
    for (unsigned i = 0; i < g->rank; i++) {
        if (!kept[i])
            continue;
        text_add(&list, listed == 0 ? "" : listed + 1 == count ? " and " : ", ");
        if (p->source.dimension_names[i])
            text_add(&list, p->source.dimension_names[i]);
        else
            text_addf(&list, "axis %u", i);
        listed++;
    }
    error_note(err, "an output chunk is %s, %s; %s %s kept from the input", SHAPE_TEXT(g->rank, g->cell, NULL),
               SIZE_TEXT(array_chunk_bytes(&p->target)), list.chars, count == 1 ? "is" : "are");
    text_release(&list);
}

/* Chunks that take a good part of the memory because a codec knows them as a whole only. */
enum { WHOLE_CHUNK_SHARE = 8 };

/* One of several chunks on an axis whose length has no divisor that makes slices short enough, but no mere bytes. */
static void note_shape(const char *what, const struct array_meta *m, uint64_t memory_bytes, struct error *err)
{
    struct side side;

    if (memory_bytes > program_bytes() && array_chunk_bytes(m) > memory_bytes &&
        !slices_of(m, TILE_CLIPPED, NULL, memory_bytes, &side))
        error_note(err, "an %s chunk of %s has no equal slices: another chunk length would do",
                   what, SIZE_TEXT(array_chunk_bytes(m)));
}

static void note_codecs(const struct plan *p, const struct basis *b, struct error *err)
{
    if (b->source_stream_cannot && !b->range_bytes && b->source_chunk_bytes > p->minimum_bytes / WHOLE_CHUNK_SHARE)
        note_decoded_whole(b, "an input chunk", err);
    if (!b->source_stream_cannot && !b->range_bytes)
        note_shape("input", b->source, p->memory_bytes, err);
    if (b->target_appends)
        note_shape("output", b->target, p->memory_bytes, err);
    if (b->target_raw || b->target_appends || b->target_chunk_bytes <= p->minimum_bytes / WHOLE_CHUNK_SHARE)
        return;
    if (b->target_slices_cannot)
        error_note(err, "an output chunk of %s is encoded whole: %s cannot go on from one part to the next",
                   SIZE_TEXT(b->target_chunk_bytes), b->target_slices_cannot);
    else
        error_note(err, "an output chunk of %s is encoded whole, like all below %s", SIZE_TEXT(b->target_chunk_bytes),
                   SIZE_TEXT(APPENDED_RAW_BYTES_LEAST));
}

/* A table of up to so many lines is shown whole; of a longer one the largest, and the others as one. */
enum { TABLE_WHOLE_LINES = 6, TABLE_LARGEST_LINES = 3 };

static void note_line(const struct memory_line *l, struct error *err)
{
    error_note(err, "%-30s %4u x %9s%s%s", l->what, l->count, SIZE_TEXT(l->chosen_bytes / l->count),
               l->count > 1 ? " = " : "", l->count > 1 ? SIZE_TEXT(l->chosen_bytes) : "");
}

static void note_table(const struct memory_table *t, const struct plan *p, const struct job *job, struct error *err)
{
    uint64_t rest = table_chosen_bytes(t);
    bool shown[MEMORY_LINES_MAX] = { false };
    char what[64];

    for (unsigned i = 0; t->count <= TABLE_WHOLE_LINES && i < t->count; i++)
        note_line(&t->lines[i], err);
    if (t->count <= TABLE_WHOLE_LINES)
        return;
    for (unsigned n = 0; n < TABLE_LARGEST_LINES; n++) {
        unsigned best = t->count;

        for (unsigned i = 0; i < t->count; i++)
            if (!shown[i] && (best == t->count || t->lines[i].chosen_bytes > t->lines[best].chosen_bytes))
                best = i;
        shown[best] = true;
        note_line(&t->lines[best], err);
        rest -= t->lines[best].chosen_bytes;
    }
    snprintf(what, sizeof what, "%u others, together", t->count - TABLE_LARGEST_LINES);
    error_note(err, "%-30s %4u x %9s", what, 1u, SIZE_TEXT(rest));
    error_note(err, "%s --memory %s shows all", span_is_in_file(&job->input.span) ? "sluice plan" : "--dry-run",
               SIZE_TEXT_UP(p->minimum_bytes));
}

/* Which stage of the least arrangement is the hungriest. */
static unsigned hungriest(const struct arrangement *a)
{
    unsigned at = 0;

    for (unsigned i = 1; i < a->stage_count; i++)
        if (stage_pool_bytes(&a->stages[i]) + a->stages[i].memory.library_bytes >
            stage_pool_bytes(&a->stages[at]) + a->stages[at].memory.library_bytes)
            at = i;
    return at;
}

static const char *name_of(enum plan_wanted wanted)
{
    for (unsigned i = 0; i < KINDS; i++)
        if (kinds[i].wanted == wanted)
            return kinds[i].name;
    return "auto";
}

/* How long it would take in the least memory; a note says how long in a little more. `w`: weighed anew. */
static double note_more_memory(const struct plan *p, const struct job *job, const struct room *room,
                               const struct basis *b, struct weighed *w, struct error *err)
{
    struct more_memory least, more;

    if (!quickest_in(p, size_align_up(p->minimum_bytes, MIB), job, room, b, w, &least))
        return 0;
    more = more_memory(p, &least, job, room, b, w);
    if (more.memory_bytes)
        error_note(err, "in %s it would take about %s, in %s about %s (%s)", SIZE_TEXT(least.memory_bytes),
                   SECONDS_TEXT(least.seconds), SIZE_TEXT(more.memory_bytes), SECONDS_TEXT(more.seconds), more.plan);
    return least.seconds;
}

static bool refuse_memory(const struct plan *p, const struct job *job, const struct room *room, const struct basis *b,
                          struct weighed *w, const struct arrangement *least, struct error *err)
{
    struct memory_table table;
    char then[64] = "";
    double seconds;

    if (p->minimum_bytes == UINT64_MAX) {
        if (job->plan != PLAN_AUTO)
            error_at(err, ERR_FIT, job->output.chunks.span, "this job has no plan '%s'", name_of(job->plan));
        else
            error_at(err, ERR_FIT, job->output.chunks.span, "no memory is enough for these chunks (%s each)",
                     SIZE_TEXT(b->target_chunk_bytes));
        error_help(err, "%s", job->plan != PLAN_AUTO ? "leave --plan out: the quickest is taken"
                                                     : "make the output's chunks smaller");
        return false;
    }
    if (job->memory.set)
        error_at(err, ERR_FIT, job->memory.span, "%s cannot hold this pipeline, which needs at least %s",
                 SIZE_TEXT(p->memory_bytes), SIZE_TEXT_UP(p->minimum_bytes));
    else                            /* nobody typed it: say who did */
        error_at(err, ERR_FIT, SPAN_NONE, "%s, %s, cannot hold this pipeline, which needs at least %s",
                 SIZE_TEXT(p->memory_bytes), p->memory_from, SIZE_TEXT_UP(p->minimum_bytes));
    error_key(err, "memory");
    error_bytes(err, p->minimum_bytes, p->memory_bytes);
    table_fill(&table, b, least, hungriest(least), least);
    if (job->memory.set)
        help_budget_unit(job->memory.plain ? job->memory.bytes : UINT64_MAX, err);
    note_kept_axes(p, job, err);
    note_table(&table, p, job, err);
    note_codecs(p, b, err);
    seconds = note_more_memory(p, job, room, b, w, err);
    if (seconds >= worth_saying_seconds)
        snprintf(then, sizeof then, " (then about %s)", SECONDS_TEXT(seconds));
    if (span_is_in_file(&job->output.chunks.span))
        error_help(err, "raise memory to %s%s, or make the chunks of '%s' smaller on line %u",
                   SIZE_TEXT_UP(p->minimum_bytes), then, job->output.name ? job->output.name : "output",
                   job->output.chunks.span.line);
    else
        error_help(err, "raise memory to %s%s, or make the output's chunks smaller", SIZE_TEXT_UP(p->minimum_bytes),
                   then);
    return false;
}

static bool refuse_scratch(const struct plan *p, const struct job *job, const struct weighed *w,
                           const struct plan_candidate *c, const struct plan_candidate *direct, struct error *err)
{
    struct span span = job->scratch_limit.set ? job->scratch_limit.span
                       : job->scratch_path ? job->scratch_span : job->output.span;
    bool over_limit = job->scratch_limit.set && w->scratch_need_bytes > job->scratch_limit.bytes;

    error_at(err, ERR_FIT, span, "%s", c->why_not + strlen(scratch_prefix));
    error_key(err, over_limit ? "scratch.limit" : "scratch.path");
    error_bytes(err, w->scratch_need_bytes, w->scratch_have_bytes);
    if (w->best.cost.scratch_bytes_max > w->scratch_need_bytes)
        error_note(err, "it may take up to %s, if LZ4 shrinks nothing of what the input's codec did",
                   SIZE_TEXT_UP(w->best.cost.scratch_bytes_max));
    if (direct->need_bytes != UINT64_MAX && direct->need_bytes > p->memory_bytes)
        error_note(err, "without scratch (the direct plan) this takes at least %s of memory",
                   SIZE_TEXT_UP(direct->need_bytes));
    if (over_limit)
        error_help(err, "raise the limit to %s", SIZE_TEXT_UP(w->scratch_need_bytes));
    else
        error_help(err, "point scratch at a disk with %s free", SIZE_TEXT_UP(w->scratch_need_bytes));
    return false;
}

static bool refuse(const struct plan *p, const struct job *job, const struct room *room, const struct basis *b,
                   struct weighed *w, struct error *err)
{
    unsigned least = KINDS;

    for (unsigned i = 0; i < KINDS; i++)
        if (w[i].lacks_scratch && w[i].asked)
            return refuse_scratch(p, job, &w[i], &w[i].candidate, &w[0].candidate, err);
    for (unsigned i = 0; i < KINDS; i++)
        if (w[i].asked && (least == KINDS || w[i].candidate.need_bytes < w[least].candidate.need_bytes))
            least = i;
    return refuse_memory(p, job, room, b, w, &w[least].least, err);
}

/* ---- the plan ---- */

static void graph_fill(struct plan *p, const struct job *job, const struct room *room, const struct basis *b,
                       const struct arrangement *a)
{
    struct graph *g = &p->graph;
    uint64_t limit = scratch_limit_bytes(job);

    /* A direct plan may meet a missing chunk more than once. */
    g->missing_chunks_max = !p->census.counted || (a->stage_count == 1 && p->census.present < p->census.chunks)
                                ? UINT64_MAX : p->census.chunks - p->census.present;
    g->stage_count = a->stage_count;
    for (unsigned i = 0; i < a->stage_count; i++) {
        g->stages[i] = a->stages[i];
        g->stages[i].span = job->output.span;
    }
    g->backend = b->backend;
    g->pool_bytes = a->pool_bytes;
    memset(&g->scratch, 0, sizeof g->scratch);
    if (a->stage_count < 2)
        return;
    g->scratch.block_bytes = a->setting.block_bytes;
    g->scratch.memory_bytes = a->setting.kept_bytes;
    g->scratch.predicted_bytes = a->cost.scratch_bytes;
    g->scratch.limit_bytes = limit == UINT64_MAX ? 0 : limit;
    g->scratch.encoding = b->spill;
    g->scratch.give_back = size_min(limit, room->scratch_free_bytes) / SPACE_AMPLE_FACTOR < a->cost.scratch_bytes_max;
    g->scratch.path = p->scratch_path;
    g->scratch.span = job->scratch_path ? job->scratch_span : job->output.span;
    g->scratch.limit_span = job->scratch_limit.span;
}

/* What a run would stop at, said before it begins. */
static bool check_missing(const struct plan *p, const struct job *job, struct error *err)
{
    const struct chunk_census *c = &p->census;

    if (!job->input.refuse_missing || !c->counted || c->present >= c->chunks)
        return true;
    error_at(err, ERR_INPUT, job->input.span, "%s of the %s chunks of '%s' are missing", COUNT_TEXT(c->chunks - c->present),
             COUNT_TEXT(c->chunks), job->input.path);
    error_key(err, "input.missing");
    error_help(err, "'missing: refuse' is set on this input; without it missing chunks read as the fill value");
    return false;
}

bool plan_from_metas(struct plan *p, const struct job *job, const struct room *room, struct error *err)
{
    struct weighed weighed[KINDS] = { 0 };
    const struct arrangement *best;
    struct basis b;
    unsigned chosen;

    if (!check_missing(p, job, err))
        return false;
    basis_init(&b, &p->source, &p->target, &p->census, p->graph.threads, p->io.backend, job);
    if (p->cores && p->cores < b.cores)
        b.cores = p->cores;
    p->minimum_bytes = UINT64_MAX;
    weigh_all(p, p->memory_bytes, job, room, &b, weighed);
    for (unsigned i = 0; i < KINDS; i++) {
        if (weighed[i].asked && !weighed[i].lacks_scratch)
            p->minimum_bytes = size_min(p->minimum_bytes, weighed[i].candidate.need_bytes);
    }
    chosen = choose(weighed);
    candidates_set(p, job, weighed, chosen);
    if (chosen == KINDS)
        return refuse(p, job, room, &b, weighed, err);
    best = &weighed[chosen].best;
    note_scratch(job, weighed, chosen, &p->notes);
    graph_request(p, job);
    graph_fill(p, job, room, &b, best);
    p->graph.plan_name = weighed[chosen].candidate.name;
    p->graph.predicted_seconds = weighed[chosen].candidate.cost.seconds;
    for (unsigned i = 0; i < p->graph.stage_count; i++)
        table_fill(&p->memory[i], &b, best, i, &weighed[chosen].least);
    p->kernel_bytes = kernel_bytes_for(&b, &p->candidates[p->chosen].cost);
    warn_of_scratch(p, job, room, &b, best, &p->warnings);
    warn_of_files(&p->target, &p->candidates[p->chosen].cost, &p->warnings);
    warn_of_room(job, room, &p->candidates[p->chosen].cost, &p->warnings);
    p->more_memory = more_memory(p, &(struct more_memory){ p->memory_bytes, p->graph.predicted_seconds, NULL }, job, room,
                                 &b, weighed);
    if (p->more_memory.memory_bytes) {
        p->more_memory.memory_bytes = size_align_up(p->more_memory.memory_bytes + p->beside_bytes, MIB);
        text_addf(&p->notes, "a budget of %s would take about %s (%s)\n", SIZE_TEXT(p->more_memory.memory_bytes),
                  SECONDS_TEXT(p->more_memory.seconds), p->more_memory.plan);
    }
    return check_files(&p->target, job, room, &p->candidates[p->chosen].cost, err);
}
