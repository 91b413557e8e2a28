/* group.h - the arrays beneath a group, or beneath a directory that holds some without being one.
 *
 * Directories are listed, a few levels deep, and no more of them than the caller allows: a group of 10^6 arrays must not be
 * walked to say that it is none. Consolidated metadata is not asked: it may be older than what is there.
 *
 * Memory: the names. Threads: a group belongs to one.
 */
#ifndef SLUICE_FORMAT_GROUP_H
#define SLUICE_FORMAT_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/store/store.h"

struct group_array {
    char *name;                 /* owned; its path below the root */
    uint64_t elements;          /* 0: also where the metadata cannot be read */
    bool unfinished;            /* what an unfinished run has made of one; the name is the array's */
};

struct group {
    const struct store *store;
    unsigned looked_at, looked_at_max;  /* directories */
    bool is_full;               /* no more directories are looked at */
    bool cut;                   /* there may be more arrays: not all could be looked at, or some lie too deep */
    bool kerchunk;              /* a directory holds kerchunk's references, in Parquet */
    bool no_memory;
    struct group_array *arrays; /* owned; by name; behind them those that are unfinished */
    unsigned count, unfinished_count, room;
};

/* The arrays below the root of `s`, and those that are unfinished. False: no memory. Release it always. */
bool group_list(struct group *g, const struct store *s, unsigned looked_at_max);
void group_release(struct group *g);
/* Is the root of `s` itself an array, as far as a glance tells? One that is damaged counts as such. */
bool group_root_is_array(const struct store *s);

/* Is there a file of that name in an open directory? */
bool group_has_file(int dir_fd, const char *name);

#endif
