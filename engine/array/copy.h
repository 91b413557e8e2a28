/* copy.h - the kernels that move elements: strided copy, fill, comparison with the fill value, byte shuffle.
 *
 * Strides are in bytes, never negative. Source and destination do not overlap. No allocation, no failure.
 * The longest contiguous run is found first and copied whole; where the two sides run along different axes the
 * copy goes through a cache-blocked transpose. AVX2 is used where the processor has it (checked at run time).
 *
 * Threads: any, on disjoint destinations.
 */
#ifndef SLUICE_ARRAY_COPY_H
#define SLUICE_ARRAY_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/grid.h"

/* What copy_box and fill_box take; twice RANK_MAX, so that each axis of an array may be cut in two. */
enum { COPY_RANK_MAX = 2 * RANK_MAX };

/* Copy a box of `length` elements of `item_bytes` (1 2 4 8 16). Any rank to COPY_RANK_MAX; an axis may be empty. */
void copy_box(unsigned rank, const uint64_t *length, uint32_t item_bytes,
              void *to, const uint64_t *to_stride, const void *from, const uint64_t *from_stride);

/* Write one item all over a box, or all over `bytes` contiguous bytes (a multiple of item_bytes). */
void fill_box(unsigned rank, const uint64_t *length, uint32_t item_bytes,
              void *to, const uint64_t *to_stride, const void *item);
void fill_bytes(void *to, uint64_t bytes, const void *item, uint32_t item_bytes);

/* Is every item bitwise `item`? -0.0 is not 0.0, and NaN payloads count. */
bool all_equal_item(const void *data, uint64_t bytes, const void *item, uint32_t item_bytes);

/* Byte shuffle: byte j of item i moves to j * count + i, as blosc and HDF5 do it; and back. */
void shuffle_bytes(void *to, const void *from, uint64_t count, uint32_t item_bytes);
void unshuffle_bytes(void *to, const void *from, uint64_t count, uint32_t item_bytes);

/* Strides of a contiguous C-order box. */
void strides_c(unsigned rank, const uint64_t *length, uint32_t item_bytes, uint64_t *stride);

#endif
