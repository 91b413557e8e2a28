/* die.h - for tests: the process kills itself at a named place, as sudden as kill -9 from outside.
 *
 * SLUICE_DIE_AT=NAME[:COUNT] dies when NAME is passed for the COUNT-th time (from 1); with NAME:COUNT:stop it stops
 * instead, to be told to continue (SIGCONT) when the test has changed what it wanted to. Without the variable a place
 * costs one load. The places, in the order in which a run comes to them:
 *
 *   before-write, before-lock                    a lock file is there and empty, or written, and not in its place
 *   before-guard, before-takeover                that of a dead run is found, is to be replaced
 *   after-stage, before-header, after-header     the staging directory is there; the journal begins
 *   before-stages                                everything is open; of a run that goes on, all is checked
 *   before-index                                 the blocks of a segment are written
 *   before-record, torn-record, after-record     of any kind
 *   before-give-back, after-give-back            of extents that are merged
 *   before-read-back                             of a task, while the stage goes on
 *   before-stage-end, before-discard, after-discard      the scratch file goes
 *   before-verify                                the target is there, and nobody has looked at it yet
 *   before-committing, before-publish, after-exchange, after-publish, after-note, after-journal
 *   after-take-back                              what was published in doubt is where it was staged again
 *
 * Threads: any.
 */
#ifndef SLUICE_BASE_DIE_H
#define SLUICE_BASE_DIE_H

#include <stdbool.h>

/* Is it time to die at `place`? Counts. */
bool die_is_due(const char *place);
/* SIGKILL to ourselves; or SIGSTOP, and then it returns. */
void die_now(void);

static inline void die_at(const char *place)
{
    if (die_is_due(place))
        die_now();
}

#endif
