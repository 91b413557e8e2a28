/* pool.c - a bump allocator over one mapping. See pool.h. */
#include "engine/mem/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/base/size.h"
#include "engine/base/text.h"

#define HUGE_PAGE_BYTES (2 * MIB)

struct pool {
    char *memory;
    uint64_t mapped_bytes;      /* at least one page, so that an empty area has an address */
    uint64_t bytes;
    uint64_t kept_bytes;        /* carved for good */
    uint64_t carved_bytes;
};

/* `bytes` at a multiple of HUGE_PAGE_BYTES, and nothing else mapped. The mapping ends where the pool ends: the kernel
 * makes no huge page that would stick out of it, so what is resident never passes `bytes`. NULL: errno says why. */
static char *map_aligned(uint64_t bytes)
{
    uint64_t wide_bytes = size_add_sat(bytes, HUGE_PAGE_BYTES), head_bytes;
    char *wide;

    if (wide_bytes > INTPTR_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    wide = mmap(NULL, wide_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (wide == MAP_FAILED)
        return NULL;
    head_bytes = size_align_up((uintptr_t)wide, HUGE_PAGE_BYTES) - (uintptr_t)wide;
    if (head_bytes)
        munmap(wide, head_bytes);
    if (head_bytes < HUGE_PAGE_BYTES)
        munmap(wide + head_bytes + bytes, HUGE_PAGE_BYTES - head_bytes);
    return wide + head_bytes;
}

bool pool_open(struct pool **pool, uint64_t bytes, struct error *err)
{
    struct pool *p = calloc(1, sizeof *p);

    *pool = NULL;
    if (!p)
        return error_sys(err, ENOMEM, SPAN_NONE, "cannot set up memory");
    p->bytes = size_align_up(bytes, IO_ALIGN);
    p->mapped_bytes = size_max(p->bytes, IO_ALIGN);
    p->memory = map_aligned(p->mapped_bytes);
    if (!p->memory) {
        error_sys(err, errno, SPAN_NONE, "cannot reserve %s of memory", SIZE_TEXT(bytes));
        error_help(err, "look at 'ulimit -v' and at what else runs here");
        free(p);
        return false;
    }
    /* Both only advise: a kernel without huge pages runs the same, slower. */
    madvise(p->memory, p->mapped_bytes, MADV_HUGEPAGE);
    madvise(p->memory, p->mapped_bytes, MADV_DONTFORK);
    *pool = p;
    return true;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    munmap(p->memory, p->mapped_bytes);
    free(p);
}

void *pool_carve(struct pool *p, const char *owner, uint64_t bytes)
{
    uint64_t left_bytes = p->bytes - p->carved_bytes;
    char *area = p->memory + p->carved_bytes;

    if (size_align_up(bytes, IO_ALIGN) > left_bytes) {
        fprintf(stderr, "sluice: internal error: '%s' wants %llu bytes of the pool, which has %llu of %llu left\n",
                owner, (unsigned long long)bytes, (unsigned long long)left_bytes, (unsigned long long)p->bytes);
        abort();
    }
    p->carved_bytes += size_align_up(bytes, IO_ALIGN);
    return area;
}

void *pool_carve_for_good(struct pool *p, const char *owner, uint64_t bytes)
{
    char *area = pool_carve(p, owner, bytes);

    p->kept_bytes = p->carved_bytes;
    return area;
}

void pool_reset(struct pool *p)
{
    p->carved_bytes = p->kept_bytes;
}

uint64_t pool_bytes(const struct pool *p)
{
    return p->bytes;
}
