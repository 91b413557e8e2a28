/* resume.h - a run that is gone on with after any death, and what it leaves for that.
 *
 * Identity is the request, not the plan: the plan of the first run is frozen in the journal and taken up again, with
 * whatever threads, back end and memory there are now. What was done is in the journal, too (journal.h):
 *
 *   a segment       when its data and its index are written
 *   tasks           of a stage that writes chunks, when all their objects are written
 *   committing      when everything is there, just before the target gets its name
 *
 * and only after the record is the space of what was read given back. Doing a task twice is harmless, so what was under
 * way at the death is done again: one slab, or one bucket; and segments that were in memory, if they are still needed.
 *
 * The order of a publication: committing - the rename or the exchange - the note and the journal leave the target (for the
 * old one, if there is one) - the old target goes. If a sync fails on the way the next run undoes the rename and begins
 * again with what is in doubt then.
 *
 * Threads: one at a time; a running stage holds its lock.
 */
#ifndef SLUICE_EXEC_RESUME_H
#define SLUICE_EXEC_RESUME_H

#include <stdbool.h>

#include "engine/base/text.h"
#include "engine/exec/graph.h"

struct resume;

/* What an earlier run left at g->target_path, of which source, target, paths and flags are filled in. *r NULL: nothing
 * to go on with; a run that had not begun anything is removed. `restart`: whatever is left is removed, of any request.
 * ERR_EXISTS: another run is at work, or what is left is of another request (with what differs). `notes` gets a line
 * for everything that is removed. */
bool resume_find(struct resume **r, const struct graph *g, bool restart, struct text *notes, struct error *err);
/* The same for who does not run: what resume_find would find to go on with, and refuse. Nothing is changed, or locked
 * for longer than the look takes, and *r is good for what can be asked of it, not for a run. What had published is nothing
 * to go on with. */
bool resume_look(struct resume **r, const struct graph *g, struct error *err);
/* Leaves everything where it is. NULL is fine. */
void resume_close(struct resume *r);

/* It had given the target its name, and only has to tidy up. */
bool resume_is_finished(const struct resume *r);
/* Put the frozen plan into `g`: stages, scratch, pool_bytes, plan_name. Its texts are the resume's. Where the scratch
 * file would be if it has to be made, and its limit, are what g says. */
void resume_plan(const struct resume *r, struct graph *g);
/* Where its scratch file is, if that is not `path`: it stays there. NULL: it is, or there is no file yet. */
const char *resume_scratch_elsewhere(const struct resume *r, const char *path);
/* Are the source's objects those that finished tasks read? Each is looked at, none is read. ERR_EXISTS: not all of them.
 * `g` is what resume_plan made it. graph_run asks, too, if nobody has; before anything is said of going on it is better. */
bool resume_check_sources(struct resume *r, const struct graph *g, const volatile int *stop, struct error *err);
/* Of graph_work_bytes, what is done. */
uint64_t resume_work_bytes(const struct resume *r, const struct graph *g);

/* Remove what an unfinished run of the output at `path` left, scratch file and all; says so, a line each (`what`, and
 * `notes` above, may be NULL). ERR_EXISTS:
 * it is at work. */
bool resume_clean(const char *path, struct span span, struct text *what, struct error *err);

#endif
