/* frozen.h - inside the engine: a request and a plan as bytes, for the journal.
 *
 * The identity of a run is what was asked for: the input with its metadata, the output with its metadata, whatever else
 * decides which bytes come out, and the versions of what writes them. It is a list of named texts, so that a refusal
 * can say which of them differs. Not in it: budget, threads, back end, scratch.
 *
 * The plan is what graph_run needs beside the request: stages, scratch layout, pool. It is written field by field.
 *
 * Threads: none of this is shared.
 */
#ifndef SLUICE_EXEC_FROZEN_H
#define SLUICE_EXEC_FROZEN_H

#include <limits.h>

#include "engine/base/pack.h"
#include "engine/exec/graph.h"

enum { IDENTITY_PARTS_MAX = 32, IDENTITY_NAME_BYTES = 32, IDENTITY_TEXT_BYTES = PATH_MAX + 64 };

/* All of these say out->no_memory when there was none: what they made is then not to be used. */
/* A path of something that is not there yet: what its directory leads to, and its name. */
void path_pack(const char *path, struct text *out);
void identity_pack(const struct graph *g, struct text *to);
/* Compare what was packed with `g`, and read past it: a line for each thing that differs is added; none if nothing
 * does. What cannot be read makes u->bad. */
void identity_compare(struct unpack *u, const struct graph *g, struct text *differences);

/* A plan that was read: its texts are here. */
struct frozen {
    struct graph graph;             /* stages, scratch, pool_bytes, plan_name, predicted_seconds; all else is zero */
    char stage_names[STAGES_MAX][32];
    char plan_name[64];
};

/* Where the scratch file is to be, and its limit, are not in it: they may change. */
void plan_pack(const struct graph *g, struct text *to);
/* False: it is not a plan for arrays of that rank and shape. Pointers in f->graph lead into *f. */
bool plan_unpack(struct unpack *u, const struct grid *array, struct frozen *f);

#endif
