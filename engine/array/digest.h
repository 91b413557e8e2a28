/* digest.h - one fingerprint of an array's values, the same whatever the chunks and the order of reading.
 *
 * The C-order little-endian byte image of the array is cut into 32-bit words, w = byte offset / 4. With two
 * independent 32-bit key streams,
 *     D_s = sum over w of (word(w) XOR fill_word(w)) * K_s(w)  mod 2^64,      s = 1, 2
 *     K_1(w) = fmix32(lo(w) XOR (seed_a + mix(hi(w))))   K_2(w) = fmix32(lo(w) + (seed_b ^ mix(hi(w))))
 * with seed_a = 0x9e3779b9, seed_b = 0x7f4a7c15, mix = fmix32, the finaliser of MurmurHash3, all in 32 bits; lo and
 * hi are the halves of w, and fill_word(w) is the word of an array that holds nothing but the fill value.
 * A non-zero difference is missed with probability 2^-64 for random seeds. Words that equal the fill add nothing, so
 * chunks that are not there cost nothing; parts of a word add up, so any cut of the bytes will do. Bits are compared:
 * -0.0 and NaN payloads count. (Multiplying 64-bit items by 64-bit keys would miss a flipped sign bit one time in
 * four.)
 *
 * A digest is a sum per *box* of a coarse grid, so that two arrays that differ can say where.
 *
 * Threads: an accumulator belongs to one thread; digest_merge adds them up.
 */
#ifndef SLUICE_ARRAY_DIGEST_H
#define SLUICE_ARRAY_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/dtype.h"
#include "engine/array/grid.h"
#include "engine/array/tile.h"

enum { DIGEST_BOXES_MAX = 4096 };

struct digest_sum {
    uint64_t d1, d2;
    uint64_t elements;          /* visited, missing chunks included */
};

/* What is summed: the array, its fill (item_bytes bytes, little-endian) and the coarse grid. */
struct digest_frame {
    struct dtype dtype;
    struct grid boxes;          /* shape = the array's; at most DIGEST_BOXES_MAX cells */
    uint8_t fill[ITEM_BYTES_MAX];
};

struct digest {
    struct digest_frame frame;
    struct digest_sum *sums;    /* one per box; owned */
};

/* Choose the coarse grid for an array: at most `boxes_max` boxes, nearly cubic, but with rows of 512 bytes or more
 * (shorter ones would cost time). */
void digest_frame_init(struct digest_frame *f, struct dtype dtype, unsigned rank, const uint64_t *shape,
                       const void *fill, unsigned boxes_max);
bool digest_init(struct digest *d, const struct digest_frame *frame);  /* false: no memory */
void digest_release(struct digest *d);

/* Add a run (tile.h) of decoded elements, clipped to `within` (NULL: the whole array). */
void digest_run(struct digest *d, const struct run *run, const struct box *within);
/* Add a piece that is not stored: every element is `item`. O(boxes) when it is the frame's fill. */
void digest_missing(struct digest *d, const struct box *piece, const void *item, const struct box *within);
/* Take back what digest_missing added, or is going to add, for a piece: it is there after all. */
void digest_present(struct digest *d, const struct box *piece, const void *item, const struct box *within);
void digest_merge(struct digest *into, const struct digest *from);
struct digest_sum digest_total(const struct digest *d);

#endif
