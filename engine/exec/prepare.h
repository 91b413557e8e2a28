/* prepare.h - inside the engine: what a stage needs before its first task, and how it is put away.
 *
 * Everything is made here, so that nothing is allocated while a stage runs: areas carved from the pool, a decoder
 * and an encoder for each worker, the table of reads (a worker opens its io when its thread starts). stage_release
 * copes with a half-made run.
 */
#ifndef SLUICE_EXEC_PREPARE_H
#define SLUICE_EXEC_PREPARE_H

#include "engine/exec/stage.h"

/* `run` holds the source, target, scratch and stage already; the rest is filled in. */
bool stage_prepare(struct stage_run *run, struct error *err);
/* Walk only the tasks that graph_list_tasks lists (all, if it does not), and report what the others would. */
bool stage_list_tasks(struct stage_run *run, const struct graph *g, struct error *err);
void stage_release(struct stage_run *run);

/* A scan as a stage at work: pinned, for `run` points to `stage`. */
struct scan_run {
    struct stage stage;
    struct stage_run run;
};
/* Nothing to be released yet. */
void scan_run_init(struct scan_run *r, const struct scan *s, const struct box *within, struct report *report,
                   const volatile int *stop);
/* Areas in r->run.pool, and a digest for each worker. */
bool scan_run_prepare(struct scan_run *r, const struct scan *s, const struct digest_frame *frame, struct error *err);
/* Always after scan_run_prepare. `ok`: the run was; what its workers summed is added to `d`, and must be all elements. */
bool scan_run_end(struct scan_run *r, const struct scan *s, bool ok, struct digest *d, struct error *err);

#endif
