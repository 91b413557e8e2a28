#include "engine/exec/written.h"

#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Longer than any object. */
#define BYTES_MAX (UINT64_C(1) << 60)
/* Makes one number of both sums; any odd one, so that numbers of parts still add up. */
#define BOTH 0x9e3779b97f4a7c15u

static bool begin(struct digest *d, const struct digest_frame *frame, struct error *err)
{
    return digest_init(d, frame) || error_sys(err, ENOMEM, SPAN_NONE, "the sum of what is written");
}

static uint64_t take(struct digest *d)
{
    struct digest_sum total = digest_total(d);

    d->sums[0] = (struct digest_sum){ 0 };
    return total.d1 + total.d2 * BOTH;
}

bool written_bytes_init(struct digest *d, struct error *err)
{
    struct digest_frame frame;

    digest_frame_init(&frame, (struct dtype){ DTYPE_UINT, 1 }, 1, (uint64_t[]){ BYTES_MAX }, "", 1);
    return begin(d, &frame, err);
}

void written_bytes_add(struct digest *d, uint64_t offset, const char *data, uint64_t bytes)
{
    digest_run(d, &(struct run){ .piece.length = { BYTES_MAX }, .first = offset, .count = bytes, .data = data }, NULL);
}

uint64_t written_bytes_take(struct digest *d, const char *key, uint64_t bytes)
{
    uint64_t numbers[2] = { take(d), bytes };

    return XXH3_64bits_withSeed(key, strlen(key), XXH3_64bits(numbers, sizeof numbers));
}

bool written_values_init(struct digest *d, const struct array_meta *target, struct error *err)
{
    const struct grid *chunks = &target->chunks;
    uint64_t shape[RANK_MAX];
    struct digest_frame frame;

    for (unsigned i = 0; i < chunks->rank; i++)
        shape[i] = grid_axis_cells(chunks, i) * chunks->cell[i];
    digest_frame_init(&frame, target->dtype, chunks->rank, shape, target->fill, 1);
    return begin(d, &frame, err);
}

uint64_t written_values_take(struct digest *d)
{
    return take(d);
}
