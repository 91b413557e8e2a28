#include "dsl/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 16 * 1024, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t used_bytes, room_bytes;
    _Alignas(ALIGN) char memory[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){ .limit_bytes = limit_bytes };
}

void arena_release(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;

        free(a->blocks);
        a->blocks = next;
    }
    a->taken_bytes = 0;
}

void *arena_take(struct arena *a, size_t bytes)
{
    struct arena_block *block = a->blocks;
    void *memory;

    if (bytes > a->limit_bytes - a->taken_bytes)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!block || bytes > block->room_bytes - block->used_bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

        block = calloc(1, sizeof *block + room);
        if (!block)
            return NULL;
        block->room_bytes = room;
        block->next = a->blocks;
        a->blocks = block;
    }
    memory = block->memory + block->used_bytes;
    block->used_bytes += bytes;
    a->taken_bytes = bytes > a->limit_bytes - a->taken_bytes ? a->limit_bytes : a->taken_bytes + bytes;
    return memory;
}

char *arena_text(struct arena *a, const char *chars, size_t length)
{
    char *copy = arena_take(a, length + 1);

    if (copy)
        memcpy(copy, chars, length);
    return copy;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    char *copy = NULL;
    int length;

    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    if (length >= 0)
        copy = arena_take(a, (size_t)length + 1);
    if (copy)
        vsnprintf(copy, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return copy;
}
