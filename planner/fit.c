/* fit.c - the quickest arrangement that fits a budget, and the least budget that any fits in.
 *
 * A setting says how many workers there are, how comfortable the stages are apart from their tiles, how long a
 * block of scratch is, and how much memory is for segments that need not be written. There are few of them, so all
 * are tried and the cost model picks; where the first, most comfortable one already makes long extents, nothing can
 * be gained with less comfort, and where it keeps all segments in memory, nothing at all.
 */
#include "planner/planner.h"

#include <string.h>

#include "engine/base/size.h"

/* Longer extents gain nothing: random reads of this length run at the device's rate. */
#define EXTENT_BYTES_AMPLE (256.0 * 1024)
/* So few that it does not matter how long they are. */
#define EXTENTS_AMPLE 256
/* More than that is decoded, or read, twice. */
#define DECODE_FACTOR_AMPLE 1.001
/* Where to stop looking for a budget that would do. */
#define MEMORY_BYTES_MAX ((uint64_t)1 << 60)

static const uint64_t block_bytes_offered[] = { 512 * KIB, 128 * KIB, 64 * KIB };
/* Memory above the minimum is offered to segments in quarters. */
enum { KEPT_STEPS = 4 };
#define KEPT_RELUCTANCE 1.06
enum { BLOCKS_OFFERED = sizeof block_bytes_offered / sizeof block_bytes_offered[0] };

/* Short blocks for short extents: further passes have no others. */
static const uint64_t *blocks_offered(enum plan_kind kind, unsigned *count)
{
    *count = kind == KIND_SPLIT ? BLOCKS_OFFERED : 1;
    return kind == KIND_PASSES ? &block_bytes_offered[BLOCKS_OFFERED - 1] : block_bytes_offered;
}

/* More workers than pieces to work on would only hold memory. */
static unsigned workers_useful(const struct basis *b)
{
    uint64_t pieces = size_max(1, size_max(b->source_chunks, b->target_chunks));

    if (b->source_raw)
        pieces = size_max(pieces, size_div_up(b->array_bytes, MIB));
    return (unsigned)size_max(1, size_min(b->threads, pieces));
}

bool extents_ample(const struct basis *b, const struct arrangement *a)
{
    for (unsigned i = 0; i + 1 < a->stage_count; i++)
        if (extent_disk_bytes(b, a->extents[i]) < EXTENT_BYTES_AMPLE && a->extents[i] > EXTENTS_AMPLE)
            return false;
    return true;
}

static bool is_ample(const struct basis *b, const struct arrangement *a)
{
    return a->decodes.factor <= DECODE_FACTOR_AMPLE && extents_ample(b, a);
}

/* The best so far. */
struct search {
    enum plan_kind kind;
    const struct basis *b;
    const struct limits *limits;
    struct arrangement *best;
    bool found;
};

/* Keeping a part of the segments makes the boxes smaller, and more of them: it must be worth that. */
static double seconds_of(const struct arrangement *a)
{
    return a->cost.seconds * (a->cost.kept_bytes && a->cost.spill_write_bytes ? KEPT_RELUCTANCE : 1);
}

/* With `workers` and so much of the segments in memory: true if less comfort or fewer workers gain nothing. */
static bool try_comforts(struct search *search, struct forms forms, unsigned workers, uint64_t kept_bytes)
{
    unsigned block_count;
    const uint64_t *blocks = blocks_offered(search->kind, &block_count);
    struct arrangement a;

    for (unsigned block = 0; block < block_count; block++)
        for (int comfort = COMFORT_USEFUL; comfort >= COMFORT_LEAST; comfort--) {
            struct setting set = { workers, (enum comfort)comfort, blocks[block], kept_bytes, forms };

            if (!arrange(search->kind, search->b, &set, search->limits->memory_bytes, &a) ||
                a.cost.scratch_bytes > search->limits->scratch_bytes)
                continue;
            if (!search->found || seconds_of(&a) < seconds_of(search->best))
                *search->best = a;
            search->found = true;
            if (comfort == COMFORT_USEFUL && block == 0 && is_ample(search->b, &a))
                return true;
        }
    return false;
}

/* Amounts of memory for segments that are worth a try, the largest first. */
static unsigned kept_offered(const struct search *search, uint64_t *kept)
{
    uint64_t surely = kept_bytes_for_all(search->b, true), likely = kept_bytes_for_all(search->b, false);
    uint64_t above = search->limits->memory_bytes - search->limits->least_bytes;
    unsigned count = 0;

    if (search->kind == KIND_SPLIT) {
        if (surely < above)
            kept[count++] = surely;
        if (likely < above && likely < surely)
            kept[count++] = likely;
        for (unsigned quarters = KEPT_STEPS - 1; quarters >= 1; quarters--)
            if (size_align_down(above / KEPT_STEPS * quarters, IO_ALIGN) < likely)
                kept[count++] = size_align_down(above / KEPT_STEPS * quarters, IO_ALIGN);
    }
    kept[count++] = 0;
    return count;
}

/* True if another form gains nothing. */
static bool try_forms(struct search *search, struct forms forms)
{
    uint64_t kept[KEPT_STEPS + 2];
    unsigned kept_count = kept_offered(search, kept);

    for (unsigned workers = workers_useful(search->b); workers >= 1; workers = workers > 4 ? workers / 2 : workers - 1) {
        bool ample = false;

        for (unsigned i = 0; i < kept_count; i++) {
            ample = try_comforts(search, forms, workers, kept[i]) || ample;
            if (ample && search->best->cost.spill_write_bytes == 0)
                return true;
        }
        if (ample)
            return true;
    }
    return false;
}

bool fit_best(enum plan_kind kind, const struct basis *b, const struct limits *limits, struct arrangement *out)
{
    struct search search = { .kind = kind, .b = b, .limits = limits, .best = out };
    struct forms forms[FORMS_MAX];
    unsigned count = forms_offered(kind, b, limits->memory_bytes, forms);

    for (unsigned i = 0; i < count; i++)
        if (try_forms(&search, forms[i]))
            break;
    return search.found;
}

/* One worker with the least of everything. */
static bool fit_least(enum plan_kind kind, const struct basis *b, struct forms forms, uint64_t memory_bytes,
                      struct arrangement *out)
{
    unsigned count;
    const uint64_t *blocks = blocks_offered(kind, &count);

    while (count-- > 0) {
        struct setting set = { 1, COMFORT_LEAST, blocks[count], 0, forms };

        if (arrange(kind, b, &set, memory_bytes, out))
            return true;
    }
    return false;
}

static uint64_t minimum_of(enum plan_kind kind, const struct basis *b, struct forms forms, struct arrangement *out)
{
    uint64_t low = 0, high = MIB;      /* in bytes; low does not fit, high does */
    struct arrangement a;

    while (!fit_least(kind, b, forms, high, out)) {
        low = high;
        high *= 2;
        if (high > MEMORY_BYTES_MAX)
            return UINT64_MAX;
    }
    while (high - low > MEMORY_STEP_BYTES) {
        uint64_t middle = size_align_down(low + (high - low) / 2, MEMORY_STEP_BYTES);

        if (fit_least(kind, b, forms, middle, &a)) {
            high = middle;
            *out = a;
        } else {
            low = middle;
        }
    }
    return high;
}

uint64_t fit_minimum(enum plan_kind kind, const struct basis *b, struct arrangement *out)
{
    struct forms forms[FORMS_MAX];
    unsigned count = forms_offered(kind, b, 0, forms);
    uint64_t least_bytes = UINT64_MAX;
    struct arrangement a;

    for (unsigned i = 0; i < count; i++) {
        uint64_t bytes = minimum_of(kind, b, forms[i], &a);

        if (bytes >= least_bytes)
            continue;
        least_bytes = bytes;
        *out = a;
    }
    return least_bytes;
}
