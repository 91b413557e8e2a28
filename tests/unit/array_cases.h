/* array_cases.h - seeded random shapes, boxes and orders for the tests of engine/array, and the naive ways to walk
 * them that the fast ones are held against.
 */
#ifndef SLUICE_TESTS_ARRAY_CASES_H
#define SLUICE_TESTS_ARRAY_CASES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/array/grid.h"

struct cases { uint64_t state; };

static inline uint64_t cases_next(struct cases *c)
{
    c->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = c->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* low .. high, both included */
static inline uint64_t cases_pick(struct cases *c, uint64_t low, uint64_t high)
{
    return low + cases_next(c) % (high - low + 1);
}

static inline void cases_bytes(struct cases *c, void *to, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        ((uint8_t *)to)[i] = (uint8_t)(cases_next(c) >> 56);
}

/* A rank of 0 to 6, now and then 16; lengths such that the whole is small. */
static inline unsigned cases_shape(struct cases *c, uint64_t *shape)
{
    static const uint64_t longest[7] = { 1, 300, 40, 14, 8, 5, 4 };
    unsigned rank = cases_pick(c, 0, 40) == 0 ? 16 : (unsigned)cases_pick(c, 0, 6);

    for (unsigned i = 0; i < rank; i++)
        shape[i] = rank == 16 ? 1 + (i % 3 == 0) * cases_pick(c, 0, 1) : cases_pick(c, 1, longest[rank]);
    return rank;
}

static inline void cases_order(struct cases *c, unsigned rank, uint8_t *order)
{
    for (unsigned i = 0; i < rank; i++)
        order[i] = (uint8_t)i;
    for (unsigned i = rank; i-- > 1; ) {
        unsigned j = (unsigned)cases_pick(c, 0, i);
        uint8_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

/* A box inside the shape, not empty. */
static inline void cases_box(struct cases *c, unsigned rank, const uint64_t *shape, struct box *box)
{
    for (unsigned i = 0; i < rank; i++) {
        box->start[i] = cases_pick(c, 0, shape[i] - 1);
        box->length[i] = cases_pick(c, 1, shape[i] - box->start[i]);
    }
}

/* The next index tuple in C order; false: there is none. */
static inline bool index_next(unsigned rank, const uint64_t *length, uint64_t *index)
{
    for (unsigned i = rank; i-- > 0; ) {
        if (++index[i] < length[i])
            return true;
        index[i] = 0;
    }
    return false;
}

static inline uint64_t dot(unsigned rank, const uint64_t *index, const uint64_t *stride)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < rank; i++)
        sum += index[i] * stride[i];
    return sum;
}

#endif
