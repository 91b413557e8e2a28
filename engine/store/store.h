/* store.h - keys to objects. Today a store is a directory; memory, zip and object stores come as further openers.
 *
 * Reading: keys are resolved below the root and nowhere else (no "..", no links), and only regular files count:
 * anything else under a chunk's key is an error, never "missing". Sources are opened read-only, always.
 *
 * Writing: a target is staged in `<path>.sluice-partial/` beside it and appears by one rename at the end, so a
 * reader sees it whole or not at all. The staging directory is locked while its store is open, so a second run is
 * refused instead of removing the first one's work: by flock, or where that reaches no other machine by a file
 * `<path>.sluice-lock` (lock.c). A death leaves it where it is: the next run takes it up.
 *
 * Errors of the kernel are ERR_IO or ERR_FIT (error_sys), something odd under a key is ERR_INPUT; all name the path
 * and carry the span that the store was opened with.
 *
 * Threads: after opening, any thread may open, create and finish objects. Publishing and abandoning are for one
 * thread, when no object is open.
 */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "engine/base/error.h"
#include "engine/base/text.h"

enum { KEY_BYTES_MAX = 512 };   /* "c/" + 16 x 20 digits and separators, or a metadata key; longer is refused */

struct store;

/* An existing directory, for reading. The path may be a link to one and may end in slashes. */
bool store_open(struct store **s, const char *path, struct span span, struct error *err);
void store_close(struct store *s);              /* NULL is fine. Leaves what was staged where it is */
const char *store_path(const struct store *s);  /* as given, without slashes at its end */
struct span store_span(const struct store *s);
int store_root_fd(const struct store *s);

/* A whole small object (metadata) as NUL-terminated memory, to be freed. Not there: true with *data NULL.
 * Larger than `bytes_max` is an error. */
bool store_get(const struct store *s, const char *key, uint64_t bytes_max,
               char **data, uint64_t *data_bytes, struct error *err);

/* An object opened for reading by parts. */
struct object {
    int fd;                     /* -1: there is no such object */
    bool direct;                /* O_DIRECT: offsets, lengths and memory must be IO_ALIGN aligned */
    uint64_t bytes;             /* its size when opened */
    struct timespec written;    /* when it had last been written to then */
    uint64_t stamp;             /* store_stamp of it then; 0: there is no such object */
};
bool store_object_open(struct store *s, const char *key, struct object *o, struct error *err);
/* -ESTALE if it was written to since it was opened for reading, as far as its size and time say: what was read may be
 * neither the old nor the new. One that was replaced or removed is still what was opened. Else 0 or -errno. */
int store_object_changed(const struct object *o);
void store_object_close(struct object *o);
/* Of size, time of change and (where it lasts) inode: differs when an object was changed or replaced. Never 0. */
struct stat;
uint64_t store_stamp(const struct store *s, const struct stat *st);

/* Is the output the input, in it, or around it? Compares what the paths lead to, not how they are spelled. Counts
 * the staging directory as the output's: an input in there would be removed. 1 or 0; -errno: it cannot be found out. */
int store_paths_overlap(const struct store *input, const char *output_path);
/* Is the directory `path`, which exists, the input's root or below it? 1 or 0; -errno: it cannot be found out. */
int store_holds_directory(const struct store *input, const char *path);

/* ---- writing ---- */

/* Where a target is staged: its name, and this. */
#define STAGING_SUFFIX ".sluice-partial"
/* In the root of what is staged, and never of what is published: the journal of the run (exec/journal.h). */
#define STAGING_JOURNAL ".sluice-journal"
/* Beside it, where a record of doubt could not be written. */
#define STAGING_DOUBT ".sluice-doubt"

/* Begin a target at `path`: makes the staging directory beside it; one that is there is refused.
 * `path` exists: ERR_EXISTS, unless `overwrite` and it is a directory that holds Zarr metadata or nothing at all:
 * other people's directories are not removed. Parent directories are made.
 * `note` is kept in the staging directory for who finds it locked, and is shown then: who we are, and since when. It
 * also marks the directory as ours: one without it (or a journal) is not touched. */
bool store_stage(struct store **s, const char *path, bool overwrite, const char *note, struct span span,
                 struct error *err);
/* Take up what a dead run left in the staging directory of `path`, to go on with it or to abandon it. *s NULL: nothing
 * is there. ERR_EXISTS: another run is at work, or it is not ours. Objects that are there are replaced by
 * store_object_create. */
bool store_stage_again(struct store **s, const char *path, bool overwrite, const char *note, struct span span,
                       struct error *err);
/* The same for who only wants to know: nothing is changed, or locked for longer than the look takes, and the store is for
 * reading what is there. */
bool store_stage_look(struct store **s, const char *path, struct span span, struct error *err);
/* The target at `path` itself, if a run died after giving it its name and before it had tidied up: it holds a
 * journal then, and store_publish_end does the rest. *s NULL: it is not so. */
bool store_stage_published(struct store **s, const char *path, struct span span, struct error *err);
/* "", or whose lock file was in the way, for the report: that run is dead, and its file was taken over. */
const char *store_took_over(const struct store *s);
/* Remove the lock file that a dead run of the target at `path` left, if nothing else of it is there to be taken up.
 * `what` gets a line if there was one. */
bool store_clean_lock(const char *path, struct span span, struct text *what, struct error *err);
/* Publishing waits until the kernel has written everything out. */
void store_make_durable(struct store *s);

/* What a name leads to. */
struct store_place {
    uint64_t device;            /* 0: any; numbers may change when a machine starts anew */
    uint64_t inode;             /* os_lasting_inode: OS_INODE_ANY is like any */
};
/* What stands at the target's path now; inode 0: nothing. 0 or -errno. */
int store_place_of(const struct store *s, struct store_place *target);

/* A new object, for writing by parts; missing directories of the key are made. Uses O_DIRECT where the file system
 * has it. */
bool store_object_create(struct store *s, const char *key, struct object *o, struct error *err);
/* Close a new object of `bytes`. Direct writes carry whole IO_ALIGN blocks only; what is left, its last
 * bytes % IO_ALIGN bytes, is at `tail` and is written here (not direct: NULL). Padding the last write and cutting the
 * file would cost more: ext4 reads the last block back to clear the rest of it. */
bool store_object_finish(struct store *s, struct object *o, const char *tail, uint64_t bytes, struct error *err);
/* An object of known length that is written by parts in any order, each time between an opening and a closing. Several
 * may have it open at once, as long as they write different bytes. */
struct ranged_object {
    int fd;                     /* -1: it has not been made */
    bool direct;                /* `fd` is O_DIRECT: whole IO_ALIGN blocks, aligned memory */
    int cached_fd;              /* direct: the same file through the page cache, for bytes that share an IO_ALIGN block with
                                   a neighbour's; else `fd` itself */
};
/* Open it if it has been made. */
bool store_ranged_open(struct store *s, const char *key, struct ranged_object *o, struct error *err);
/* Make it, `bytes` long and all zeros, its space taken where the file system can: runs that come in any order would lie
 * scattered over the disk. It is found by others only when it is shown, filled as it is to be: after a death it has been
 * made whole or not at all. For one caller, who knows that it is not there, or is to be made anew. */
bool store_ranged_make(struct store *s, const char *key, uint64_t bytes, struct ranged_object *o, struct error *err);
bool store_ranged_show(struct store *s, const char *key, struct error *err);
/* Is that the name of one that was not shown? */
bool store_key_is_unshown(const char *key);
/* Not open is fine. */
bool store_ranged_close(struct store *s, struct ranged_object *o, struct error *err);
/* Write over the beginning of a new object of which at least `bytes` are there: nothing direct may follow. */
bool store_object_write_head(struct store *s, struct object *o, const char *head, uint64_t bytes, struct error *err);
/* Open an object that was made and finished, for reading without O_DIRECT, and remove it: it may be made anew, and can
 * be read until it is closed. */
bool store_object_reopen_removed(struct store *s, const char *key, struct object *o, struct error *err);
/* A small object at once (metadata). */
bool store_put(struct store *s, const char *key, const char *data, uint64_t bytes, struct error *err);

/* Publish: one rename (an exchange on overwrite, then the old tree is removed). The store stays open for reading. */
bool store_publish(struct store *s, struct error *err);
/* An earlier run had begun to publish in the place of `old`, and may have moved it aside: publishing removes it. */
void store_was_replacing(struct store *s, const struct store_place *old);
/* What is left of that for a store of store_stage_published. `old` (inode 0: none) is what stood there before: it is
 * removed where publishing put it, and nothing else is. */
bool store_publish_end(struct store *s, const struct store_place *old, struct error *err);
/* And for a store of store_stage_again, if it is what was replaced: it has the journal then. */
bool store_remove_replaced(struct store *s, struct error *err);
/* Without a rename that exchanges, a death may leave no target and the old one aside: it gets its name back. 0 or -errno. */
int store_put_back(const struct store *s, const struct store_place *old);
bool store_is_published(const struct store *s);
/* It is, but the sync failed that was to make it so on the disk. Nothing of what it replaced was removed because of it. */
bool store_is_in_doubt(const struct store *s);
/* For a store of store_stage_published: back to where it was staged, and `old` to its name, so that publishing has to write
 * both names anew. Where inodes do not last nobody can tell whether `old` is still whole: not for those. */
bool store_take_back(struct store *s, const struct store_place *old, struct error *err);
/* Remove the staging directory: the journal first, for what it speaks of goes next, and the note last. 0 or -errno. After
 * store_publish it does nothing. */
int store_abandon(struct store *s);
/* What was made so far: objects (files), for the report. */
uint64_t store_objects_made(const struct store *s);

#endif
