/* proof.h - inside the engine: before a target appears, is it what the source holds?
 *
 * While elements are on their way from the source into the tiles of the first stage, the workers sum those that lie in
 * the box at hand: each element of the array once, whatever is decoded how often. At the end the target is read back as it
 * was written, objects and metadata, and its digest must be the same. A run that did not deliver all of the source (it
 * went on with an earlier one) reads the source again for this.
 *
 * What is not stored adds nothing to a digest against the source's fill value, so missing chunks, and boxes of them that
 * nobody walks, need no counting: an element that were lost or came twice would show as a difference.
 *
 * Memory: the sums of PROOF_BOXES_MAX boxes for each worker, and the passes' own, which are made one after the other when
 * the stages' memory is given back. Threads: one, but for the workers of a stage, each with its own digest.
 */
#ifndef SLUICE_EXEC_PROOF_H
#define SLUICE_EXEC_PROOF_H

#include <stdbool.h>

#include "engine/array/digest.h"
#include "engine/exec/stage.h"

enum { PROOF_BOXES_MAX = 256 };

struct proof {
    struct digest source;           /* of what the first stage delivered; or of a pass */
    bool whole;                     /* all of the source is in it */
    double sum_seconds;             /* of a worker */
};

/* The first stage, prepared: its workers sum what they deliver, if that is wanted and will be all of the source (not so
 * when it `continues`, or is run again for a slab). */
bool proof_begin(struct proof *p, const struct graph *g, bool continues, struct stage_run *run, struct error *err);
/* Always after proof_begin, before stage_release. */
void proof_end(struct proof *p, struct stage_run *run, bool ok);
/* The passes, and g->verified. ERR_IO: it is not the same. */
bool proof_make(struct proof *p, const struct graph *g, struct store *target, struct report *report,
                const volatile int *stop, struct error *err);
void proof_release(struct proof *p);

#endif
