/* census.h - what is really there of an array: how many of its chunks, how large, framed how.
 *
 * Reads the heads of a few chunks, never whole chunks, and directory listings, of which no more names than can be looked at
 * while somebody waits: a plan must be quick also for 10^9 chunks. What could not be counted in time says so.
 */
#ifndef SLUICE_FORMAT_CENSUS_H
#define SLUICE_FORMAT_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/codec/codec.h"
#include "engine/format/format.h"
#include "engine/store/store.h"

/* Which chunks are there, where they are few: their C-order numbers, sorted. A snapshot: a chunk that appears later is
 * not on it. Empty (chunks NULL): not known, too many, or none is missing. */
enum { LISTED_CHUNKS_MAX = 65536 };
struct chunk_list {
    uint64_t *chunks;               /* owned; of at most LISTED_CHUNKS_MAX */
    uint64_t count;
};
bool chunk_list_has(const struct chunk_list *l, uint64_t chunk);
/* The first one from `chunk` on; UINT64_MAX: there is none. */
uint64_t chunk_list_next(const struct chunk_list *l, uint64_t chunk);
void chunk_list_release(struct chunk_list *l);

struct chunk_census {
    uint64_t chunks;                /* of the grid; saturates */
    uint64_t present;               /* exact if counted */
    bool counted;
    bool listed;                    /* there is a list of them */
    uint64_t sampled;               /* chunks opened and looked at: the first, the last and some in between */
    uint64_t sampled_present;
    uint64_t encoded_bytes_mean;    /* of those present; 0: none was */
    uint64_t encoded_bytes_max;
    struct codec_sample codec;
};

/* `list` may be NULL; else it is filled, and to be released also when this fails. */
bool array_census_listed(const struct array_meta *m, struct store *s, double seconds_max, struct chunk_list *list,
                         struct chunk_census *out, struct error *err);
bool array_census(const struct array_meta *m, struct store *s, double seconds_max,
                  struct chunk_census *out, struct error *err);

#endif
