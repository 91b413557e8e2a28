/* store_impl.h - what a directory store is made of. For store.c (reading), stage.c, lock.c and publish.c
 * (writing) only. */
#ifndef SLUICE_STORE_STORE_IMPL_H
#define SLUICE_STORE_STORE_IMPL_H

#include <stdatomic.h>

#include "engine/store/owner.h"
#include "engine/store/store.h"

struct store {
    char *path;                     /* owned; without slashes at its end */
    struct span span;
    int root_fd;
    bool inodes_last;               /* opened for reading: os_lasting_inode */
    atomic_bool direct_refused;     /* O_DIRECT gave EINVAL once: not tried again */

    /* Staged stores only. */
    int parent_fd;                  /* -1: opened for reading */
    const char *name;               /* of the target in its parent; points into path */
    char *staging_name;             /* owned */
    char *aside_name;               /* owned: where the old target is for a moment, without a rename that exchanges */
    char *lock_name;                /* owned: of the lock file */
    char *lock_text;                /* owned: what is in it while it is ours; NULL: it is not */
    bool lock_swept;                /* nothing is left of runs that died on their way to it */
    char took_over[OWNER_SENTENCE_BYTES + 80];  /* "", or whose lock file was in the way */
    bool overwrite;
    bool only_looks;                /* it is not locked, and nothing is changed */
    bool taken_up;                  /* an earlier run left files in it */
    bool durable;
    struct store_place old;         /* what an earlier run had begun to replace; inode 0: nothing */
    bool published;
    bool in_doubt;                  /* published, but a sync failed that was to make it so on the disk */
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

/* Lock the directory `fd`, and so the target, until the store is closed. False: another run has it (ERR_EXISTS, and
 * nothing may be touched), or it cannot be locked. */
bool store_lock(struct store *s, int fd, struct error *err);
/* Would store_lock have it? Changes nothing. What cannot be told is taken for free. */
bool store_lock_look(const struct store *s, int fd, struct error *err);
/* Another run is at work on the target, as its `note` says (NULL: not known). False. */
bool store_busy(const struct store *s, const char *note, struct error *err);
/* Take the lock file, whatever the file system can do. */
bool store_lock_file_take(struct store *s, struct error *err);
/* If we have it. */
void store_lock_file_give_back(struct store *s);
/* The note in the directory `fd`, to be freed; NULL: none. */
char *store_note(int fd);

/* What is at the staging name, so that it can be told at every instant whose it is. 0 or -errno. */
int store_remove_staging(const struct store *s);

/* May the target be made, or replaced? Sets *there. */
bool store_check_target(const struct store *s, bool *there, struct error *err);
/* Is that what stands at `name` in the parent? 1, 0, or -errno. */
int store_place_is(const struct store *s, const struct store_place *place, const char *name);

bool store_key_check(const struct store *s, const char *key, struct error *err);

#endif
