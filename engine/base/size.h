/* size.h - arithmetic on sizes that come from outside: checked, saturating, aligned.
 *
 * Sums and products of shapes go through here. The saturating forms are for estimates and for comparisons with
 * a limit ("does it fit"): UINT64_MAX never fits.
 */
#ifndef SLUICE_BASE_SIZE_H
#define SLUICE_BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* What direct I/O is aligned to: offsets, lengths and addresses. */
enum { IO_ALIGN = 4096 };

static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool size_add(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }

static inline uint64_t size_mul_sat(uint64_t a, uint64_t b)
{
    uint64_t product;
    return size_mul(a, b, &product) ? product : UINT64_MAX;
}

static inline uint64_t size_add_sat(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return size_add(a, b, &sum) ? sum : UINT64_MAX;
}

static inline uint64_t size_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t size_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Division that rounds up; `b` > 0. */
static inline uint64_t size_div_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/* Both > 0. */
static inline uint64_t size_greatest_divisor(uint64_t a, uint64_t b)
{
    while (b > 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* `align` a power of two. Saturates. */
static inline uint64_t size_align_up(uint64_t a, uint64_t align)
{
    uint64_t sum = size_add_sat(a, align - 1);
    return sum == UINT64_MAX ? sum : sum & ~(align - 1);
}
static inline uint64_t size_align_down(uint64_t a, uint64_t align) { return a & ~(align - 1); }

#endif
