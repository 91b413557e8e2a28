/* ring.h - the memory of encoded pieces between their read and their decoding: a ring of variable-size areas.
 *
 * Areas are given out in order and come back in almost any order; the ring moves on when its oldest area is free.
 * An empty ring has all its bytes in one piece, so whatever fits at all fits in the end.
 *
 * Threads: the caller's lock.
 */
#ifndef SLUICE_EXEC_RING_H
#define SLUICE_EXEC_RING_H

#include <stdbool.h>
#include <stdint.h>

struct ring_area {
    uint64_t offset, bytes;
    bool free;
};

struct ring {
    char *memory;
    uint64_t capacity_bytes;
    struct ring_area *areas;        /* a queue, oldest first; owned */
    uint64_t area_count_max;
    uint64_t oldest, count;         /* areas [oldest, oldest + count), modulo area_count_max */
};

/* At most `area_count_max` areas at once. False: no memory for the queue. */
bool ring_init(struct ring *r, void *memory, uint64_t capacity_bytes, uint64_t area_count_max);
void ring_release(struct ring *r);

/* An area of `bytes` (a multiple of IO_ALIGN, not 0), or NULL: not now. `*id` names it for ring_give_back. */
void *ring_take(struct ring *r, uint64_t bytes, uint64_t *id);
void ring_give_back(struct ring *r, uint64_t id);

#endif
