/* arrange.h - private to arrange*.c and needs.c: what the families of plans are laid out with.
 *
 *   pool_room           what is left of the memory for the stages
 *   stage_begin         then for each stage: its name and grids,
 *   needs_from_...      a source
 *   needs_to_...        and a sink, by the setting's comfort
 *   room_for_tile       what they leave for the tile; the family chooses boxes for it
 *   arrangement_end     adds everything up
 *
 * Arithmetic, as planner.h says: no files, no clocks. Threads: none of it is shared.
 */
#ifndef SLUICE_PLANNER_ARRANGE_H
#define SLUICE_PLANNER_ARRANGE_H

#include "engine/base/size.h"
#include "planner/planner.h"

/* Uncompressed chunks are read in pieces of this length, or shorter ones where little of a chunk is needed. */
#define RAW_PIECE_BYTES MIB
#define RAW_PIECE_BYTES_LEAST (64 * KIB)

/* An array without elements or axes: one box. */
static inline bool array_is_trivial(const struct basis *b)
{
    return b->array_bytes == 0 || b->source->chunks.rank == 0;
}

/* Scratch lies between its stages, so the source's codecs and the target's are never at work at once. */
static inline bool kind_spills(enum plan_kind kind) { return kind == KIND_SPLIT || kind == KIND_PASSES; }

/* ---- arrange.c ---- */

/* Outside bytes and libraries; what is left is the pool. False: nothing is. */
bool pool_room(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
               struct arrangement *a, uint64_t *pool_bytes);
void stage_begin(struct stage *s, const char *name, const struct basis *b, const struct setting *set);
/* Both, and source and sink, for a plan of one stage from the source to the target: a->stages[0]. */
bool one_stage(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
               struct arrangement *a, uint64_t *pool_bytes);
uint64_t room_for_tile(const struct stage *s, uint64_t pool_bytes);
/* False: it does not fit after all. */
bool arrangement_end(struct arrangement *a, const struct basis *b, uint64_t memory_bytes);

/* ---- needs.c ---- */

/* malloc of the codec libraries, all workers. */
uint64_t source_library_bytes(const struct basis *b, const struct setting *set);
uint64_t target_library_bytes(const struct basis *b, const struct setting *set);

void needs_from_source(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes);
void needs_from_segments(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes);
void needs_to_segments(struct stage *s, const struct setting *set);
void needs_to_target(struct stage *s, const struct basis *b, const struct setting *set, uint64_t pool_bytes);

/* ---- one family each ---- */

bool arrange_direct(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a);
bool arrange_split(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a);
bool arrange_passes(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a);
bool arrange_ranged(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a);
bool arrange_carry(const struct basis *b, const struct setting *set, uint64_t memory_bytes, struct arrangement *a);

/* ---- pass_boxes.c ---- */

/* Boxes of the stages between a split (stages[0].tasks) and its merge (the last one's tasks), each within its room, and
 * the parts and walks of all. False: they do not fit. */
bool pass_boxes(struct stage *stages, unsigned stage_count, uint32_t item_bytes, const uint64_t *room_bytes);

#endif
