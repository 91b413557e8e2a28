/* report.h - one observer of a run: counters that the workers add to, a progress line, a summary, a JSON report.
 *
 * The engine only adds to counters and names the stage it is in; what is shown, and where, is decided here. A thread
 * of its own draws the line (on a terminal seven times a second; in a log every 10 % or 5 minutes).
 *
 *     split   41 %  1.2/3.0 GiB  812 MiB/s  ETA 3 s  memory 231/256 MiB
 *
 * Fields that a narrow terminal has no room for are left out. No colours.
 *
 * Threads: report_add from any thread (relaxed atomics); the rest from the thread that runs the graph.
 */
#ifndef SLUICE_REPORT_REPORT_H
#define SLUICE_REPORT_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/text.h"

enum report_counter {
    COUNT_SOURCE_READ_BYTES,    /* bytes of source objects read */
    COUNT_SOURCE_DECODED_BYTES, /* raw bytes decoded from them (a chunk read twice counts twice) */
    COUNT_CHUNKS_PRESENT,
    COUNT_CHUNKS_MISSING,
    COUNT_SPILL_WRITE_BYTES,    /* written to scratch */
    COUNT_SPILL_READ_BYTES,     /* read back */
    COUNT_SPILL_KEPT_BYTES,     /* of segments that stayed in memory */
    COUNT_SPILL_RAW_BYTES,      /* what all segments held before encoding */
    COUNT_TARGET_WRITE_BYTES,   /* bytes of target objects */
    COUNT_TARGET_OBJECTS,       /* files made, those of the metadata too */
    COUNT_TARGET_EMPTY,         /* chunks not written because they equal the fill value */
    COUNT_WORK_BYTES,           /* raw bytes through the current plan's stages, each once as they are decoded and once
                                   as they are encoded: what progress is measured in */
    COUNT_MADE_BYTES,           /* of COUNT_WORK_BYTES, those that were encoded */
    COUNT_COUNTERS
};

/* AUTO: bar on a terminal that can clear a line (TERM is not "dumb"), log otherwise. */
enum report_progress { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_LOG, PROGRESS_NONE };

/* One stage as it was predicted. */
struct report_leg {
    uint64_t taken_bytes, made_bytes;           /* raw: decoded, and encoded; of a pass that only reads nothing is made */
    double taking_seconds, making_seconds;
};
enum { REPORT_LEGS_MAX = 16 };

struct report_options {
    enum report_progress progress;
    FILE *to;                       /* standard error; borrowed */
    uint64_t memory_limit_bytes;    /* 0: memory is not shown */
    uint64_t work_bytes;            /* COUNT_WORK_BYTES at the end: the sum over all stages; 0: not known */
    struct report_leg legs[REPORT_LEGS_MAX];    /* in the order of the stages, for the time that is left */
    unsigned leg_count;             /* 0: it is reckoned from the rate */
};

struct report;

struct report *report_new(const struct report_options *o);     /* NULL: no memory */
void report_free(struct report *r);             /* stops the line first; NULL is fine */

void report_add(struct report *r, enum report_counter c, uint64_t amount);      /* r NULL: nothing */
/* So many raw bytes were encoded: COUNT_WORK_BYTES and COUNT_MADE_BYTES. */
void report_made(struct report *r, uint64_t bytes);
uint64_t report_count(const struct report *r, enum report_counter c);
/* For what is read only to verify: counts apart, but for COUNT_WORK_BYTES; all else is told to r. Belongs to r; NULL for
 * NULL. */
struct report *report_aside(struct report *r);
const char *report_counter_name(enum report_counter c);         /* "source_read_bytes", as in the JSON report */

/* Something the person should know, one sentence; shown in the summary. At most REPORT_NOTES_MAX, more are dropped. */
enum { REPORT_NOTES_MAX = 8, REPORT_NOTE_BYTES = 256 };
void report_note(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* i = 0, 1, ... until NULL. */
const char *report_note_text(const struct report *r, unsigned i);

/* The stage that starts now ("split", "merge", "direct"; copied): shown in the line, timed for the report. More than
 * REPORT_STAGES_MAX are counted as the last one. */
enum { REPORT_STAGES_MAX = 16 };
void report_stage(struct report *r, const char *name);
/* Start and stop the clock and the drawing; once each. Stop wipes the line and ends the last stage. */
void report_start(struct report *r);
void report_stop(struct report *r);

/* Times and memory. Seconds of stage i in the order they were named; a stage lasts until the next one is named. */
unsigned report_stage_count(const struct report *r);
const char *report_stage_name(const struct report *r, unsigned i);
double report_stage_seconds(const struct report *r, unsigned i);
double report_seconds(const struct report *r);  /* since report_start, until report_stop */

struct process_usage {
    double user_seconds, system_seconds;
    uint64_t rss_peak_bytes;        /* of this program alone; getrusage's may be that of whoever started it */
    uint64_t rss_bytes;
};
void process_usage(struct process_usage *u);

#endif
