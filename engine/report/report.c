/* report.c - the counters, the clock and the stages of a run. The line is drawn by progress.c. See report.h. */
#include "engine/report/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/report/progress.h"

struct stage_time {
    char name[32];
    double started;             /* seconds of monotonic_seconds() */
};

struct report {
    struct report_options options;
    atomic_uint_least64_t counters[COUNT_COUNTERS];
    struct report *aside;       /* owned; its `whole` is this */
    struct report *whole;       /* NULL, but for what is counted apart */
    struct stage_time stages[REPORT_STAGES_MAX];
    unsigned stage_count;
    double started, stopped;    /* 0: not yet */
    char notes[REPORT_NOTES_MAX][REPORT_NOTE_BYTES];
    unsigned note_count;
    struct progress *progress;  /* NULL: nothing is drawn */
};

struct report *report_new(const struct report_options *o)
{
    struct report *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->options = *o;
    r->aside = calloc(1, sizeof *r->aside);
    if (!r->aside) {
        free(r);
        return NULL;
    }
    r->aside->whole = r;
    return r;
}

void report_free(struct report *r)
{
    if (!r)
        return;
    report_stop(r);
    free(r->aside);
    free(r);
}

void report_add(struct report *r, enum report_counter c, uint64_t amount)
{
    if (r && r->whole && c == COUNT_WORK_BYTES)
        r = r->whole;
    if (r)
        atomic_fetch_add_explicit(&r->counters[c], amount, memory_order_relaxed);
}

void report_made(struct report *r, uint64_t bytes)
{
    report_add(r, COUNT_WORK_BYTES, bytes);
    report_add(r, COUNT_MADE_BYTES, bytes);
}

struct report *report_aside(struct report *r)
{
    return r ? r->aside : NULL;
}

uint64_t report_count(const struct report *r, enum report_counter c)
{
    return r ? atomic_load_explicit(&r->counters[c], memory_order_relaxed) : 0;
}

const char *report_counter_name(enum report_counter c)
{
    static const char *const names[COUNT_COUNTERS] = {
        [COUNT_SOURCE_READ_BYTES] = "source_read_bytes",
        [COUNT_SOURCE_DECODED_BYTES] = "source_decoded_bytes",
        [COUNT_CHUNKS_PRESENT] = "chunks_present",
        [COUNT_CHUNKS_MISSING] = "chunks_missing",
        [COUNT_SPILL_WRITE_BYTES] = "spill_write_bytes",
        [COUNT_SPILL_READ_BYTES] = "spill_read_bytes",
        [COUNT_SPILL_KEPT_BYTES] = "spill_kept_bytes",
        [COUNT_SPILL_RAW_BYTES] = "spill_raw_bytes",
        [COUNT_TARGET_WRITE_BYTES] = "target_write_bytes",
        [COUNT_TARGET_OBJECTS] = "target_objects",
        [COUNT_TARGET_EMPTY] = "target_empty",
        [COUNT_WORK_BYTES] = "work_bytes",
        [COUNT_MADE_BYTES] = "made_bytes",
    };

    return names[c];
}

void report_note(struct report *r, const char *format, ...)
{
    va_list args;

    if (r && r->whole)
        r = r->whole;
    if (!r || r->note_count == REPORT_NOTES_MAX)
        return;
    va_start(args, format);
    vsnprintf(r->notes[r->note_count++], REPORT_NOTE_BYTES, format, args);
    va_end(args);
}

const char *report_note_text(const struct report *r, unsigned i)
{
    return i < r->note_count ? r->notes[i] : NULL;
}

void report_stage(struct report *r, const char *name)
{
    struct stage_time *stage;

    if (r && r->whole)
        r = r->whole;
    if (!r || r->stage_count == REPORT_STAGES_MAX)
        return;
    stage = &r->stages[r->stage_count++];
    strncpy(stage->name, name, sizeof stage->name - 1);
    stage->started = monotonic_seconds();
    if (r->progress)
        progress_stage(r->progress, stage->name);
}

void report_start(struct report *r)
{
    if (!r || r->started > 0)
        return;
    r->started = monotonic_seconds();
    r->progress = progress_start(&r->options, r->counters);
    if (r->progress && r->stage_count)
        progress_stage(r->progress, r->stages[r->stage_count - 1].name);
}

void report_stop(struct report *r)
{
    if (!r || r->stopped > 0)
        return;
    r->stopped = monotonic_seconds();
    progress_stop(r->progress);
    r->progress = NULL;
}

unsigned report_stage_count(const struct report *r)
{
    return r ? r->stage_count : 0;
}

const char *report_stage_name(const struct report *r, unsigned i)
{
    return r->stages[i].name;
}

static double stopped_or_now(const struct report *r)
{
    return r->stopped > 0 ? r->stopped : monotonic_seconds();
}

double report_stage_seconds(const struct report *r, unsigned i)
{
    double ended = i + 1 < r->stage_count ? r->stages[i + 1].started : stopped_or_now(r);

    return ended - r->stages[i].started;
}

double report_seconds(const struct report *r)
{
    return r && r->started > 0 ? stopped_or_now(r) - r->started : 0;
}
