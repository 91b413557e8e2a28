/* fit.c - the quickest arrangement that fits a budget, and the least budget that any fits in.
 *
 * A setting says how many workers there are, how comfortable the stages are apart from their tiles, and how long a
 * block of scratch is. There are few of them, so all are tried and the cost model picks; where the first, most
 * comfortable one already makes long extents, nothing can be gained and the search ends there.
 */
#include "planner/planner.h"

#include <string.h>

#include "engine/base/size.h"

/* Longer extents gain nothing: random reads of this length run at the device's rate. */
#define EXTENT_BYTES_AMPLE (256.0 * 1024)
/* Where to stop looking for a budget that would do. */
#define MEMORY_BYTES_MAX ((uint64_t)1 << 60)

static const uint64_t block_bytes_offered[] = { 512 * KIB, 128 * KIB, 64 * KIB };
enum { BLOCKS_OFFERED = sizeof block_bytes_offered / sizeof block_bytes_offered[0] };

static unsigned blocks_offered(enum plan_kind kind) { return kind == KIND_SPLIT ? BLOCKS_OFFERED : 1; }

/* More workers than pieces to work on would only hold memory. */
static unsigned workers_useful(const struct basis *b)
{
    uint64_t pieces = size_max(1, size_max(b->source_chunks, b->target_chunks));

    if (b->source_raw)
        pieces = size_max(pieces, size_div_up(b->array_bytes, MIB));
    return (unsigned)size_max(1, size_min(b->threads, pieces));
}

static bool is_ample(const struct basis *b, const struct arrangement *a)
{
    return a->stage_count == 2 ? extent_disk_bytes(b, a->extents) >= EXTENT_BYTES_AMPLE || a->extents <= 256
                               : a->decode_factor <= 1.001;
}

/* With `workers`: true if nothing better is to be found with fewer. */
static bool try_workers(enum plan_kind kind, const struct basis *b, uint64_t memory_bytes, unsigned workers,
                        struct arrangement *best, bool *found)
{
    struct arrangement a;

    for (unsigned block = 0; block < blocks_offered(kind); block++)
        for (int comfort = COMFORT_USEFUL; comfort >= COMFORT_LEAST; comfort--) {
            struct setting set = { workers, (enum comfort)comfort, block_bytes_offered[block] };

            if (!arrange(kind, b, &set, memory_bytes, &a))
                continue;
            if (!*found || a.cost.seconds < best->cost.seconds)
                *best = a;
            *found = true;
            if (comfort == COMFORT_USEFUL && block == 0 && is_ample(b, &a))
                return true;
        }
    return false;
}

bool fit_best(enum plan_kind kind, const struct basis *b, uint64_t memory_bytes, struct arrangement *out)
{
    bool found = false;

    for (unsigned workers = workers_useful(b); workers >= 1; workers = workers > 4 ? workers / 2 : workers - 1)
        if (try_workers(kind, b, memory_bytes, workers, out, &found))
            break;
    return found;
}

/* One worker with the least of everything. */
static bool fit_least(enum plan_kind kind, const struct basis *b, uint64_t memory_bytes, struct arrangement *out)
{
    for (unsigned block = blocks_offered(kind); block-- > 0; ) {
        struct setting set = { 1, COMFORT_LEAST, block_bytes_offered[block] };

        if (arrange(kind, b, &set, memory_bytes, out))
            return true;
    }
    return false;
}

uint64_t fit_minimum(enum plan_kind kind, const struct basis *b, struct arrangement *out)
{
    uint64_t low = 0, high = MIB;      /* in bytes; low does not fit, high does */
    struct arrangement a;

    while (!fit_least(kind, b, high, out)) {
        low = high;
        high *= 2;
        if (high > MEMORY_BYTES_MAX)
            return UINT64_MAX;
    }
    while (high - low > MEMORY_STEP_BYTES) {
        uint64_t middle = size_align_down(low + (high - low) / 2, MEMORY_STEP_BYTES);

        if (fit_least(kind, b, middle, &a)) {
            high = middle;
            *out = a;
        } else {
            low = middle;
        }
    }
    return high;
}
