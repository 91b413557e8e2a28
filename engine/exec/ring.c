#include "engine/exec/ring.h"

#include <assert.h>
#include <stdlib.h>

bool ring_init(struct ring *r, void *memory, uint64_t capacity_bytes, uint64_t area_count_max)
{
    *r = (struct ring){ .memory = memory, .capacity_bytes = capacity_bytes, .area_count_max = area_count_max };
    r->areas = calloc(area_count_max ? area_count_max : 1, sizeof *r->areas);
    return r->areas != NULL;
}

void ring_release(struct ring *r)
{
    free(r->areas);
    r->areas = NULL;
}

/* Where an area of `bytes` could begin: behind the newest, else at the start if the oldest leaves room there. */
static bool find_room(const struct ring *r, uint64_t bytes, uint64_t *offset)
{
    const struct ring_area *oldest, *newest;
    uint64_t end;

    if (r->count == 0) {
        *offset = 0;
        return bytes <= r->capacity_bytes;
    }
    if (r->count == r->area_count_max)
        return false;
    oldest = &r->areas[r->oldest % r->area_count_max];
    newest = &r->areas[(r->oldest + r->count - 1) % r->area_count_max];
    end = newest->offset + newest->bytes;
    if (newest->offset >= oldest->offset) {     /* not wrapped: free are [end, capacity) and [0, oldest) */
        *offset = bytes <= r->capacity_bytes - end ? end : 0;
        return *offset == end || bytes <= oldest->offset;
    }
    *offset = end;                              /* wrapped: free is [end, oldest) */
    return bytes <= oldest->offset - end;
}

void *ring_take(struct ring *r, uint64_t bytes, uint64_t *id)
{
    uint64_t offset;

    assert(bytes > 0);
    if (!find_room(r, bytes, &offset))
        return NULL;
    *id = r->oldest + r->count;
    r->areas[*id % r->area_count_max] = (struct ring_area){ .offset = offset, .bytes = bytes };
    r->count++;
    return r->memory + offset;
}

void ring_give_back(struct ring *r, uint64_t id)
{
    assert(id - r->oldest < r->count);
    r->areas[id % r->area_count_max].free = true;
    while (r->count > 0 && r->areas[r->oldest % r->area_count_max].free) {
        r->oldest++;
        r->count--;
    }
}
