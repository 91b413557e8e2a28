#include "engine/array/dtype.h"

#include <immintrin.h>
#include <stddef.h>
#include <string.h>

#include "engine/array/kernels.h"

static const struct {
    const char *name;
    struct dtype dtype;
} names[] = {
    { "bool", { DTYPE_BOOL, 1 } },
    { "int8", { DTYPE_INT, 1 } },
    { "int16", { DTYPE_INT, 2 } },
    { "int32", { DTYPE_INT, 4 } },
    { "int64", { DTYPE_INT, 8 } },
    { "uint8", { DTYPE_UINT, 1 } },
    { "uint16", { DTYPE_UINT, 2 } },
    { "uint32", { DTYPE_UINT, 4 } },
    { "uint64", { DTYPE_UINT, 8 } },
    { "float16", { DTYPE_FLOAT, 2 } },
    { "float32", { DTYPE_FLOAT, 4 } },
    { "float64", { DTYPE_FLOAT, 8 } },
    { "complex64", { DTYPE_COMPLEX, 8 } },
    { "complex128", { DTYPE_COMPLEX, 16 } },
};

const char *dtype_name(struct dtype d)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (dtype_equal(d, names[i].dtype))
            return names[i].name;
    return NULL;
}

bool dtype_from_name(struct dtype *d, const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *d = names[i].dtype;
            return true;
        }
    }
    return false;
}

/* Reverse units in whole vectors; gives the bytes done. */
__attribute__((target("avx2")))
static uint64_t swap_avx2(char *data, uint64_t bytes, uint32_t unit_bytes)
{
    uint8_t order[32];
    __m256i shuffle;
    uint64_t done;

    for (unsigned i = 0; i < 32; i++)
        order[i] = (uint8_t)((i % 16) / unit_bytes * unit_bytes + (unit_bytes - 1 - i % unit_bytes));
    shuffle = _mm256_loadu_si256((const __m256i *)order);
    for (done = 0; bytes - done >= 32; done += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(data + done));
        _mm256_storeu_si256((__m256i *)(data + done), _mm256_shuffle_epi8(v, shuffle));
    }
    return done;
}

void dtype_swap(void *data, uint64_t bytes, uint32_t unit_bytes)
{
    char *bytes_at = data;
    uint64_t done = 0;

    if (unit_bytes < 2)
        return;
    if (cpu_has_avx2())
        done = swap_avx2(bytes_at, bytes, unit_bytes);
    for (; done < bytes; done += unit_bytes) {
        for (uint32_t i = 0; i < unit_bytes / 2; i++) {
            char low = bytes_at[done + i];
            bytes_at[done + i] = bytes_at[done + unit_bytes - 1 - i];
            bytes_at[done + unit_bytes - 1 - i] = low;
        }
    }
}
