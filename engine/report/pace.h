/* pace.h - how quick a run is, and how long it still takes, from looks at its counters. Arithmetic: no clock, no thread.
 *
 * A part of a stage is taken (read, decoded) and then made (encoded, written), and one can cost a hundred times what the
 * other does. So the rate counts what came out of a stage, since it began, and the seconds that are left are the
 * planner's for what is still to be taken and to be made, scaled by how it was right so far.
 */
#ifndef SLUICE_REPORT_PACE_H
#define SLUICE_REPORT_PACE_H

#include "engine/report/report.h"

/* What the counters say at some time: COUNT_WORK_BYTES, and COUNT_MADE_BYTES of it. */
struct pace_look {
    double seconds;                 /* of any clock that only goes forward */
    uint64_t work_bytes, made_bytes;
};

struct pace {
    const struct report_options *options;
    struct pace_look began, stage_began, last;
    double stage_predicted;         /* seconds of all that was done before the stage */
    double began_predicted;
    double bytes, seconds;          /* met lately, what is longer ago counting less and less */
};

/* `o` is borrowed. The run, and its first stage, begin at `now`. */
void pace_begin(struct pace *p, const struct report_options *o, const struct pace_look *now);
void pace_stage(struct pace *p, const struct pace_look *now);
void pace_look(struct pace *p, const struct pace_look *now);

/* Of work, in bytes per second; 0: not known, as nothing came out of this stage yet. */
double pace_rate(const struct pace *p);
/* Until all is done; negative: not known. */
double pace_seconds_left(const struct pace *p);

#endif
