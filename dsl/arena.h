/* arena.h - small things of one pipeline that live and die together: nodes of a tree, words, paths.
 *
 * Memory comes zeroed and aligned for any struct, and is given back all at once. A ceiling stands on the sum, so a
 * hostile file cannot take the machine's memory: past it arena_take returns NULL, as when memory runs out.
 *
 * Threads: an arena belongs to one thread.
 */
#ifndef SLUICE_DSL_ARENA_H
#define SLUICE_DSL_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t taken_bytes;
    size_t limit_bytes;
};

void arena_init(struct arena *a, size_t limit_bytes);
void arena_release(struct arena *a);

void *arena_take(struct arena *a, size_t bytes);
/* A NUL-terminated copy. */
char *arena_text(struct arena *a, const char *chars, size_t length);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
