/* pool.h - the one place chunk-sized memory comes from: an anonymous mapping made once, carved by name.
 *
 * The planner has added up what every stage holds (planner/arrange.c); the pool is exactly the largest of those sums.
 * A stage carves its areas when it starts, and gives all of them back at once when it ends: nobody waits for
 * memory while holding some, so nothing can deadlock. Pages are touched only when used.
 *
 * Threads: pool_carve and pool_reset from one thread (between stages); the memory itself is the caller's business.
 */
#ifndef SLUICE_MEM_POOL_H
#define SLUICE_MEM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

struct pool;

/* Map `bytes`, rounded up to IO_ALIGN: 2 MiB aligned, huge pages asked for, never more resident than that. 0 is
 * fine: then only empty areas can be carved. Fails when the address space does not hold it. Children of fork() do not
 * get the memory. */
bool pool_open(struct pool **p, uint64_t bytes, struct error *err);
void pool_close(struct pool *p);                /* NULL is fine */

/* The next `bytes` of the pool, IO_ALIGN aligned and never NULL, contents undefined. Each area takes a multiple of
 * IO_ALIGN: sums of areas must round each of them up. Running out is our bug (the planner added wrong), so it aborts
 * with the owner's name. `owner`: a static string. */
void *pool_carve(struct pool *p, const char *owner, uint64_t bytes);
/* The same, and pool_reset keeps it: what stays from one stage to the next. Before anything else is carved. */
void *pool_carve_for_good(struct pool *p, const char *owner, uint64_t bytes);
/* Everything else carved is free again. */
void pool_reset(struct pool *p);

uint64_t pool_bytes(const struct pool *p);

#endif
