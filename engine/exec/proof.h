/* proof.h - inside the engine: before a target appears, is it what the source holds?
 *
 * While elements are on their way from the source into the tiles of the first stage, the workers sum those that lie in
 * the box at hand: each element of the array once, whatever is decoded how often. The target is read back as it was written,
 * objects and metadata, and its digest must be the same. A run that did not deliver all of the source (it went on with an
 * earlier one) reads the source again for this.
 *
 * The last stage leaves its workers time, so what it has written and closed is read back while it goes on (stage.h, the
 * follower), box by box, in memory of its own. Where that is not planned, or did not see all of the target, a pass at the
 * end reads it.
 *
 * What is not stored adds nothing to a digest against the source's fill value, so missing chunks, and boxes of them that
 * nobody walks, need no counting: an element that were lost or came twice would show as a difference.
 *
 * Memory: the sums of PROOF_BOXES_MAX boxes for each worker; the follower's areas in the pool of the stages; the passes'
 * own, which are made one after the other when the stages' memory is given back. Threads: one, but for the workers of a
 * stage, each with its own digest.
 */
#ifndef SLUICE_EXEC_PROOF_H
#define SLUICE_EXEC_PROOF_H

#include <stdbool.h>

#include "engine/array/digest.h"
#include "engine/exec/prepare.h"

enum { PROOF_BOXES_MAX = 256 };

struct proof {
    struct digest source;           /* of what the first stage delivered; or of a pass */
    bool whole;                     /* all of the source is in it */
    double sum_seconds;             /* of a worker */
    struct scan back;               /* what the follower does */
    struct scan_run following;
    struct digest target;           /* of what was read back */
    bool followed;                  /* all of the target is in it */
    double follow_seconds;          /* that the follower took when all was written */
};

/* The first stage, prepared: its workers sum what they deliver, if that is wanted and will be all of the source (not so
 * when it `continues`, or is run again for a slab). */
bool proof_begin(struct proof *p, const struct graph *g, bool continues, struct stage_run *run, struct error *err);
/* Always after proof_begin, before stage_release. */
void proof_end(struct proof *p, struct stage_run *run, bool ok);
/* The last stage, prepared: a follower for it, if there is to be one. After this, whatever it gave, proof_follow_end. */
bool proof_follow(struct proof *p, const struct graph *g, struct stage_run *run, struct error *err);
/* Before stage_release. *err: what the stage failed of. False: it failed, or not all was seen. */
bool proof_follow_end(struct proof *p, const struct graph *g, struct stage_run *run, bool ok, struct error *err);
/* The passes that are left, and g->verified. ERR_IO: it is not the same. */
bool proof_make(struct proof *p, const struct graph *g, struct store *target, struct report *report,
                const volatile int *stop, struct error *err);
/* Is the target's metadata what it should be? ERR_IO. */
bool proof_of_metadata(const struct graph *g, struct store *target, struct error *err);
void proof_release(struct proof *p);

#endif
