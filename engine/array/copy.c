/* copy.c - strided copies: bring the box into its normal form, then choose a kernel.
 *
 *   1. walk_init drops, sorts and merges axes; the innermost axis is the one the destination runs along.
 *   2. A short innermost run (2 to 32 bytes, a power of two) is from now on the item.
 *   3. If the source runs along another axis than the destination, the two axes go through a blocked transpose;
 *      else rows of runs are copied, with the length of a run known to the compiler wherever it is a usual one
 *      (a memcpy of variable length is four times slower at 8 bytes).
 */
#include "engine/array/copy.h"

#include <string.h>

#include "engine/array/kernels.h"
#include "engine/base/size.h"

/* ---- normal form ---- */

void walk_drop_axis(struct walk *w, unsigned axis)
{
    w->rank--;
    for (unsigned i = axis; i < w->rank; i++) {
        w->length[i] = w->length[i + 1];
        w->to[i] = w->to[i + 1];
        w->from[i] = w->from[i + 1];
    }
}

static void walk_insert(struct walk *w, uint64_t length, uint64_t to, uint64_t from)
{
    unsigned at = w->rank++;

    /* Writes go forward; where only reads differ (a fill, a broadcast), reads do. */
    for (; at > 0 && (w->to[at - 1] < to || (w->to[at - 1] == to && w->from[at - 1] < from)); at--) {
        w->length[at] = w->length[at - 1];
        w->to[at] = w->to[at - 1];
        w->from[at] = w->from[at - 1];
    }
    w->length[at] = length;
    w->to[at] = to;
    w->from[at] = from;
}

bool walk_init(struct walk *w, unsigned rank, const uint64_t *length, const uint64_t *to, const uint64_t *from)
{
    w->rank = 0;
    for (unsigned i = 0; i < rank; i++) {
        if (length[i] == 0)
            return false;
        if (length[i] > 1)
            walk_insert(w, length[i], to[i], from[i]);
    }
    for (unsigned i = w->rank; i-- > 1; ) {
        if (w->to[i - 1] == w->length[i] * w->to[i] && w->from[i - 1] == w->length[i] * w->from[i]) {
            w->length[i] *= w->length[i - 1];
            walk_drop_axis(w, i - 1);
        }
    }
    return true;
}

/* ---- rows of runs ---- */

struct rows {
    uint64_t count;
    uint64_t to_step, from_step;
};

#define COPY_ROWS_BODY(copy_run) \
    for (uint64_t i = 0; i < rows->count; i++) { \
        copy_run; \
        to += rows->to_step; \
        from += rows->from_step; \
    }

static inline __attribute__((always_inline))
void copy_rows_constant(const struct rows *rows, char *to, const char *from, uint64_t run_bytes)
{
    COPY_ROWS_BODY(memcpy(to, from, run_bytes))
}

/* A run of step_bytes or more: whole steps, and the last one set back so that it ends where the run does. */
static inline __attribute__((always_inline))
void copy_rows_stepped(const struct rows *rows, char *to, const char *from, uint64_t run_bytes, uint64_t step_bytes)
{
    const uint64_t last = run_bytes - step_bytes;

    COPY_ROWS_BODY({
        for (uint64_t at = 0; at < last; at += step_bytes)
            memcpy(to + at, from + at, step_bytes);
        memcpy(to + last, from + last, step_bytes);
    })
}

static void copy_rows_long(const struct rows *rows, char *to, const char *from, uint64_t run_bytes)
{
    COPY_ROWS_BODY(memcpy(to, from, run_bytes))
}

static void copy_rows(const struct rows *rows, char *to, const char *from, uint64_t run_bytes)
{
    enum { LONG_RUN_BYTES = 256 };  /* from here on the call of memcpy no longer shows */

    switch (run_bytes) {
    case 1:   copy_rows_constant(rows, to, from, 1); return;
    case 2:   copy_rows_constant(rows, to, from, 2); return;
    case 4:   copy_rows_constant(rows, to, from, 4); return;
    case 8:   copy_rows_constant(rows, to, from, 8); return;
    case 16:  copy_rows_constant(rows, to, from, 16); return;
    case 32:  copy_rows_constant(rows, to, from, 32); return;
    case 64:  copy_rows_constant(rows, to, from, 64); return;
    case 128: copy_rows_constant(rows, to, from, 128); return;
    }
    if (run_bytes >= LONG_RUN_BYTES)
        copy_rows_long(rows, to, from, run_bytes);
    else if (run_bytes > 64)
        copy_rows_stepped(rows, to, from, run_bytes, 64);
    else if (run_bytes > 32)
        copy_rows_stepped(rows, to, from, run_bytes, 32);
    else if (run_bytes > 16)
        copy_rows_stepped(rows, to, from, run_bytes, 16);
    else if (run_bytes > 8)
        copy_rows_stepped(rows, to, from, run_bytes, 8);
    else if (run_bytes > 4)
        copy_rows_stepped(rows, to, from, run_bytes, 4);
    else
        copy_rows_stepped(rows, to, from, run_bytes, 1);
}

/* The innermost axis left gives the rows. */
static void copy_runs(const struct walk *w, uint64_t run_bytes, char *to, const char *from)
{
    uint64_t index[COPY_RANK_MAX] = { 0 }, to_offset = 0, from_offset = 0;
    struct rows rows = { .count = 1 };
    unsigned outer = w->rank;

    if (outer > 0) {
        outer--;
        rows = (struct rows){ w->length[outer], w->to[outer], w->from[outer] };
    }
    do
        copy_rows(&rows, to + to_offset, from + from_offset, run_bytes);
    while (walk_step(w, outer, index, &to_offset, &from_offset));
}

/* ---- transpose ---- */

static void copy_transposed(struct walk *w, unsigned axis_a, uint32_t item_bytes, char *to, const char *from)
{
    uint64_t index[COPY_RANK_MAX] = { 0 }, to_offset = 0, from_offset = 0;
    const unsigned axis_b = w->rank - 1;
    const struct transpose t = {
        .length_a = w->length[axis_a], .to_a = w->to[axis_a], .from_a = w->from[axis_a],
        .length_b = w->length[axis_b], .to_b = w->to[axis_b], .from_b = w->from[axis_b],
    };
    const bool vectors = item_bytes <= 8 && t.from_a == item_bytes && t.to_b == item_bytes && cpu_has_avx2();

    walk_drop_axis(w, axis_b);
    walk_drop_axis(w, axis_a);
    do {
        if (vectors)
            transpose_avx2(&t, item_bytes, to + to_offset, from + from_offset);
        else
            transpose_generic(&t, item_bytes, to + to_offset, from + from_offset);
    } while (walk_step(w, w->rank, index, &to_offset, &from_offset));
}

static bool is_item_size(uint64_t bytes)
{
    return bytes <= 32 && (bytes & (bytes - 1)) == 0;
}

void copy_box(unsigned rank, const uint64_t *length, uint32_t item_bytes,
              void *to, const uint64_t *to_stride, const void *from, const uint64_t *from_stride)
{
    uint64_t run_bytes = item_bytes;
    unsigned nearest;               /* the axis the source runs along */
    struct walk w;

    if (!walk_init(&w, rank, length, to_stride, from_stride))
        return;
    if (w.rank > 0 && w.to[w.rank - 1] == item_bytes && w.from[w.rank - 1] == item_bytes)
        run_bytes *= w.length[--w.rank];
    nearest = w.rank - 1;
    for (unsigned i = w.rank; i-- > 0; )
        if (w.from[i] < w.from[nearest])
            nearest = i;
    if (w.rank >= 2 && nearest != w.rank - 1 && is_item_size(run_bytes))
        copy_transposed(&w, nearest, (uint32_t)run_bytes, to, from);
    else
        copy_runs(&w, run_bytes, to, from);
}

/* ---- fill and compare ---- */

void fill_bytes(void *to, uint64_t bytes, const void *item, uint32_t item_bytes)
{
    enum { PATTERN_BYTES = 64 };
    char pattern[PATTERN_BYTES], *at = to;

    if (all_equal_item(item, item_bytes, item, 1)) {
        memset(to, *(const unsigned char *)item, bytes);
        return;
    }
    for (unsigned i = 0; i < PATTERN_BYTES; i += item_bytes)
        memcpy(pattern + i, item, item_bytes);
    for (; bytes >= PATTERN_BYTES; bytes -= PATTERN_BYTES, at += PATTERN_BYTES)
        memcpy(at, pattern, PATTERN_BYTES);
    memcpy(at, pattern, bytes);
}

static inline __attribute__((always_inline))
void fill_rows(uint64_t count, uint64_t step, char *to, const void *item, uint32_t item_bytes)
{
    for (; count > 0; count--, to += step)
        memcpy(to, item, item_bytes);
}

static void fill_items(uint64_t count, uint64_t step, char *to, const void *item, uint32_t item_bytes)
{
    switch (item_bytes) {
    case 1: fill_rows(count, step, to, item, 1); return;
    case 2: fill_rows(count, step, to, item, 2); return;
    case 4: fill_rows(count, step, to, item, 4); return;
    case 8: fill_rows(count, step, to, item, 8); return;
    case 16: fill_rows(count, step, to, item, 16); return;
    }
}

void fill_box(unsigned rank, const uint64_t *length, uint32_t item_bytes,
              void *to, const uint64_t *to_stride, const void *item)
{
    const uint64_t nothing[COPY_RANK_MAX] = { 0 };
    uint64_t index[COPY_RANK_MAX] = { 0 }, to_offset = 0, from_offset = 0;
    uint64_t count = 1, step = item_bytes;
    struct walk w;

    if (!walk_init(&w, rank, length, to_stride, nothing))
        return;
    if (w.rank > 0) {
        w.rank--;
        count = w.length[w.rank];
        step = w.to[w.rank];
    }
    do {
        if (step == item_bytes)
            fill_bytes((char *)to + to_offset, count * item_bytes, item, item_bytes);
        else
            fill_items(count, step, (char *)to + to_offset, item, item_bytes);
    } while (walk_step(&w, w.rank, index, &to_offset, &from_offset));
}

bool all_equal_item(const void *data, uint64_t bytes, const void *item, uint32_t item_bytes)
{
    if (bytes < item_bytes)
        return true;
    /* The first item is it, and each item is the one before. */
    return memcmp(data, item, item_bytes) == 0
        && memcmp(data, (const char *)data + item_bytes, bytes - item_bytes) == 0;
}

void strides_c(unsigned rank, const uint64_t *length, uint32_t item_bytes, uint64_t *stride)
{
    uint64_t bytes = item_bytes;

    for (unsigned i = rank; i-- > 0; ) {
        stride[i] = bytes;
        bytes *= length[i];
    }
}
