/* store_impl.h - what a directory store is made of. For store.c (reading), stage.c and publish.c (writing) only. */
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
    char *aside_name;               /* owned: where the old target is for a moment, without a rename that exchanges */
    bool overwrite;
    bool taken_up;                  /* an earlier run left files in it */
    bool durable;
    struct store_place old;         /* what an earlier run had begun to replace; inode 0: nothing */
    bool published;
    atomic_uint_fast64_t objects_made;
};

/* An empty store with its path; the file descriptors are -1. NULL: no memory, said in `err`. */
struct store *store_new(const char *path, struct span span, struct error *err);

/* O_DIRECT was refused where an open without it worked: it is not tried again, and the report says so. */
void store_without_direct(struct store *s);

/* In the root of what is staged: who is at work. */
#define STAGING_NOTE ".sluice-note"
/* What begins so in that root is ours and no object. */
#define STAGING_MARK ".sluice-"

/* What is at the staging name, so that it can be told at every instant whose it is. 0 or -errno. */
int store_remove_staging(const struct store *s);

/* May the target be made, or replaced? Sets *there. */
bool store_check_target(const struct store *s, bool *there, struct error *err);
/* Is that what stands at `name` in the parent? */
bool store_place_is(const struct store *s, const struct store_place *place, const char *name);

bool store_key_check(const struct store *s, const char *key, struct error *err);

#endif
