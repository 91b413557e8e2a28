/* store_impl.h - what a directory store is made of. For store.c (reading) and stage.c (writing) only. */
#ifndef SLUICE_STORE_STORE_IMPL_H
#define SLUICE_STORE_STORE_IMPL_H

#include <stdatomic.h>

#include "engine/store/store.h"

struct store {
    char *path;                     /* owned; without slashes at its end */
    struct span span;
    int root_fd;
    atomic_bool direct_refused;     /* O_DIRECT gave EINVAL once: not tried again */

    /* Staged stores only. */
    int parent_fd;                  /* -1: opened for reading */
    const char *name;               /* of the target in its parent; points into path */
    char *staging_name;             /* owned */
    bool overwrite;
    char *leftover_note;            /* owned; NULL: there was no leftover */
    bool published;
    atomic_uint_fast64_t objects_made;
};

/* An empty store with its path; the file descriptors are -1. NULL: no memory, said in `err`. */
struct store *store_new(const char *path, struct span span, struct error *err);

/* O_DIRECT was refused where an open without it worked: it is not tried again, and the report says so. */
void store_without_direct(struct store *s);

bool store_key_check(const struct store *s, const char *key, struct error *err);

#endif
