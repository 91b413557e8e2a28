/* dtype.h - what one element is. In the engine every element is little-endian; the order on disk belongs to
 * the codec chain ("bytes" codec, the '>' of a v2 dtype), and is undone where bytes leave or enter a chunk.
 */
#ifndef SLUICE_ARRAY_DTYPE_H
#define SLUICE_ARRAY_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

enum { ITEM_BYTES_MAX = 16 };

enum dtype_kind { DTYPE_BOOL, DTYPE_INT, DTYPE_UINT, DTYPE_FLOAT, DTYPE_COMPLEX };

struct dtype {
    enum dtype_kind kind;
    uint32_t item_bytes;        /* 1 2 4 8 16 */
};

static inline bool dtype_equal(struct dtype a, struct dtype b)
{
    return a.kind == b.kind && a.item_bytes == b.item_bytes;
}

/* The unit that a byte swap reverses: the item, but half of it for complex. */
static inline uint32_t dtype_swap_bytes(struct dtype d)
{
    return d.kind == DTYPE_COMPLEX ? d.item_bytes / 2 : d.item_bytes;
}

/* "float32", "bool", "complex128": the names of Zarr v3 and NumPy. Never NULL for a valid dtype. */
const char *dtype_name(struct dtype d);
/* False: no such type here (the caller says which name it was). */
bool dtype_from_name(struct dtype *d, const char *name);

/* Reverse the bytes of each unit of `unit_bytes` in place. */
void dtype_swap(void *data, uint64_t bytes, uint32_t unit_bytes);

#endif
