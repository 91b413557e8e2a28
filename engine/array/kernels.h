/* kernels.h - what the files of engine/array share among themselves (and with their tests): the normal form of a
 * strided walk, the boxes of a run, and the inner loops in their portable and AVX2 forms. Nobody else includes it.
 *
 * Offsets, strides and steps are in bytes. AVX2 forms may only be called where cpu_has_avx2().
 */
#ifndef SLUICE_ARRAY_KERNELS_H
#define SLUICE_ARRAY_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/copy.h"
#include "engine/array/grid.h"
#include "engine/array/tile.h"

static inline bool cpu_has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }

/* ---- a walk: a box of elements with an offset on two sides ---- */

/* After walk_init: no axis of length 1, the smallest `to` stride last, and neighbours merged where both sides go on
 * without a break. The order of the axes of a box is free, so nothing is lost. */
struct walk {
    unsigned rank;
    uint64_t length[COPY_RANK_MAX];
    uint64_t to[COPY_RANK_MAX];
    uint64_t from[COPY_RANK_MAX];
};

/* False: the box is empty. */
bool walk_init(struct walk *w, unsigned rank, const uint64_t *length, const uint64_t *to, const uint64_t *from);
void walk_drop_axis(struct walk *w, unsigned axis);

/* The next position of the first `axes` axes; `index` starts as zeroes, the offsets wherever the box begins.
 * False: all were visited. */
static inline bool walk_step(const struct walk *w, unsigned axes, uint64_t *index, uint64_t *to, uint64_t *from)
{
    while (axes-- > 0) {
        *to += w->to[axes];
        *from += w->from[axes];
        if (++index[axes] < w->length[axes])
            return true;
        *to -= w->length[axes] * w->to[axes];
        *from -= w->length[axes] * w->from[axes];
        index[axes] = 0;
    }
    return false;
}

/* ---- the boxes of a run, in array order, clipped ---- */

struct run_boxes {
    unsigned rank;
    const struct run *run;
    const struct box *clip;
    struct box_run in_storage;
    uint64_t stride[RANK_MAX];      /* of the data, by array axis */
    uint64_t first_offset;          /* of the run's first element in its piece */
};

struct run_box {
    struct box box;
    const char *data;               /* of the box's first element; strides are run_boxes.stride */
};

void run_boxes_first(struct run_boxes *b, unsigned rank, uint32_t item_bytes, const struct run *run,
                     const struct box *clip);
bool run_boxes_next(struct run_boxes *b, struct run_box *out);

/* ---- transpose ---- */

/* Element (a, b) goes from a * from_a + b * from_b to a * to_a + b * to_b. */
struct transpose {
    uint64_t length_a, length_b;
    uint64_t to_a, to_b;
    uint64_t from_a, from_b;
};

/* Items of 1 2 4 8 16 32 bytes, any strides. */
void transpose_generic(const struct transpose *t, uint32_t item_bytes, char *to, const char *from);
/* Items of 1 2 4 8 bytes, from_a == to_b == item_bytes. */
void transpose_avx2(const struct transpose *t, uint32_t item_bytes, char *to, const char *from);

/* ---- byte shuffle ---- */

void shuffle_generic(char *to, const char *from, uint64_t first, uint64_t count, uint32_t item_bytes);
void unshuffle_generic(char *to, const char *from, uint64_t first, uint64_t count, uint32_t item_bytes);
/* Items of 2 4 8 16 bytes. Give the items done, from the first. */
uint64_t shuffle_sse2(char *to, const char *from, uint64_t count, uint32_t item_bytes);
uint64_t unshuffle_sse2(char *to, const char *from, uint64_t count, uint32_t item_bytes);
uint64_t shuffle_avx2(char *to, const char *from, uint64_t count, uint32_t item_bytes);
uint64_t unshuffle_avx2(char *to, const char *from, uint64_t count, uint32_t item_bytes);

/* ---- digest ---- */

/* The keys of the words that share a high half. */
struct digest_keys { uint32_t a, b; };
struct digest_keys digest_keys(uint32_t w_high);

/* Rows of whole words. Within a call no word number crosses a multiple of 2^32; only its low half is needed. */
struct digest_rows {
    uint64_t rows, words;           /* words of each row */
    uint32_t w, w_step;             /* first word of the first row; from row to row */
    const char *data;
    uint64_t data_step;             /* bytes */
};

/* Word w has the fill fill[w % 4]. Adds to d[0] and d[1]. */
void digest_rows_generic(struct digest_keys keys, const struct digest_rows *r, const uint32_t fill[4], uint64_t d[2]);
void digest_rows_avx2(struct digest_keys keys, const struct digest_rows *r, const uint32_t fill[4], uint64_t d[2]);

/* Items one by one, `step` bytes apart in the image (a multiple of item_bytes) and next to one another in memory.
 * `offset` counts from the last multiple of 2^34 bytes; all items lie before the next one. */
struct digest_items {
    uint64_t count;
    uint64_t offset, step;
    uint32_t item_bytes;
    const char *data;
};

void digest_items_generic(struct digest_keys keys, const struct digest_items *i, const uint32_t fill[4],
                          uint64_t d[2]);
void digest_items_avx2(struct digest_keys keys, const struct digest_items *i, const uint32_t fill[4], uint64_t d[2]);

#endif
