/* arrange.c - from a setting (workers, comfort, block) and a budget to stages with box shapes and memory.
 *
 * Everything a plan can hold at once is added up here, and nowhere else:
 *
 *     budget >= program + tables + metadata + workers * (stack, ring)             outside the pool
 *             + codec libraries of the hungriest stage
 *             + pool: segments kept in memory
 *                     + the hungriest stage's tile + reads + index + workers * (scratch + write buffers)
 *
 * A stage first gets all but its tile by the setting's comfort (needs.c); the tile takes what is left, because extents
 * grow with the product of slab and bucket. Each family of plans is a file of its own: arrange_direct.c,
 * arrange_split.c (further passes too), arrange_ranged.c, arrange_carry.c.
 */
#include "planner/arrange.h"

#include <string.h>

#include "engine/base/size.h"

bool pool_room(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
               struct arrangement *a, uint64_t *pool_bytes)
{
    unsigned reads = reads_in_flight_for(set->comfort, b->backend);
    uint64_t taken;

    memset(a, 0, sizeof *a);
    a->setting = *set;
    a->outside_bytes = program_bytes() + table_bytes() + b->metadata_bytes +
                       set->workers * worker_outside_bytes(b->backend, reads);
    a->library_bytes = kind_spills(kind) ? size_max(source_library_bytes(b, set), target_library_bytes(b, set))
                                         : size_add_sat(source_library_bytes(b, set), target_library_bytes(b, set));
    taken = size_add_sat(size_add_sat(a->outside_bytes, a->library_bytes), set->kept_bytes);
    if (taken >= memory_bytes)
        return false;
    *pool_bytes = size_align_down(memory_bytes - taken, IO_ALIGN);
    return true;
}

void stage_begin(struct stage *s, const char *name, const struct basis *b, const struct setting *set)
{
    s->name = name;
    s->workers = set->workers;
    s->reads_in_flight = reads_in_flight_for(set->comfort, b->backend);
    s->tasks.rank = s->parts.rank = b->source->chunks.rank;
    memcpy(s->tasks.shape, b->source->chunks.shape, sizeof s->tasks.shape);
    memcpy(s->parts.shape, b->source->chunks.shape, sizeof s->parts.shape);
}

bool one_stage(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
               struct arrangement *a, uint64_t *pool_bytes)
{
    struct stage *s = &a->stages[0];

    if (!pool_room(kind, b, set, memory_bytes, a, pool_bytes))
        return false;
    a->stage_count = 1;
    stage_begin(s, "direct", b, set);
    needs_from_source(s, b, set, *pool_bytes);
    needs_to_target(s, b, set, *pool_bytes);
    return true;
}

/* Boxes come in steps of whole chunks; what they leave is for reading ahead, up to a quarter of the pool. */
static void spend_rest_on_reads(struct stage *s, const struct basis *b, uint64_t pool_bytes)
{
    uint64_t useful = size_min(pool_bytes / 4, size_add_sat(b->array_bytes, s->memory.piece_bytes_max));
    uint64_t taken = stage_pool_bytes(s);

    if (taken < pool_bytes && s->memory.reads_bytes < useful)
        s->memory.reads_bytes += size_align_down(size_min(pool_bytes - taken, useful - s->memory.reads_bytes), IO_ALIGN);
}

/* Segments may be longer than expected: what the boxes leave is for them first. */
static void keep_more(struct arrangement *a, const struct basis *b, uint64_t room_bytes)
{
    uint64_t useful = size_min(room_bytes, segments_room_bytes(b, a, false));

    a->setting.kept_bytes = size_max(a->setting.kept_bytes, size_align_down(useful, IO_ALIGN));
}

bool arrangement_end(struct arrangement *a, const struct basis *b, uint64_t memory_bytes)
{
    uint64_t libraries = 0, rest, stages_bytes = 0;

    for (unsigned i = 0; i < a->stage_count; i++) {
        libraries = size_max(libraries, a->stages[i].memory.library_bytes);
        stages_bytes = size_max(stages_bytes, stage_pool_bytes(&a->stages[i]));
    }
    rest = size_add_sat(a->outside_bytes, libraries);
    rest = size_align_down(memory_bytes - size_min(memory_bytes, rest), IO_ALIGN);
    if (a->setting.kept_bytes)
        keep_more(a, b, rest - size_min(rest, stages_bytes));
    rest -= size_min(rest, a->setting.kept_bytes);
    stages_bytes = 0;
    for (unsigned i = 0; i < a->stage_count; i++) {
        spend_rest_on_reads(&a->stages[i], b, rest);
        stages_bytes = size_max(stages_bytes, stage_pool_bytes(&a->stages[i]));
    }
    a->pool_bytes = size_add_sat(stages_bytes, a->setting.kept_bytes);
    a->library_bytes = libraries;
    a->total_bytes = size_add_sat(size_add_sat(a->outside_bytes, a->library_bytes), a->pool_bytes);
    return a->total_bytes <= memory_bytes;
}

uint64_t room_for_tile(const struct stage *s, uint64_t pool_bytes)
{
    struct stage bare = *s;
    uint64_t others;

    bare.memory.tile_bytes = 0;
    others = stage_pool_bytes(&bare);
    return others >= pool_bytes ? 0 : pool_bytes - others;
}

bool arrange(enum plan_kind kind, const struct basis *b, const struct setting *set, uint64_t memory_bytes,
             struct arrangement *out)
{
    static bool (*const families[])(const struct basis *, const struct setting *, uint64_t, struct arrangement *) = {
        [KIND_DIRECT] = arrange_direct, [KIND_SPLIT] = arrange_split, [KIND_PASSES] = arrange_passes,
        [KIND_RANGED_WRITE] = arrange_ranged, [KIND_CARRY] = arrange_carry,
    };
    bool fits = families[kind](b, set, memory_bytes, out);

    if (fits)
        cost_of(b, out);
    return fits;
}
