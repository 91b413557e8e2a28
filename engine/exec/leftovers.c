/* leftovers.c - objects of the target that no record speaks of: tasks made them that were under way when a run died or
 * failed, or that were given up as lost. Doing such a task again replaces what it writes, but what turns out to be nothing
 * but the fill value is not written, and no record held on to the source that said otherwise. So they go first.
 *
 * The directories of the target are listed; tasks are not walked. Most tasks of a sparse array have nothing to do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/resuming.h"
#include "engine/io/os.h"

enum { DEPTH_MAX = RANK_MAX + 2, PASSES_MAX = 64 };

struct sweep {
    const struct graph *graph;
    const struct stage *stage;      /* that writes the target */
    uint64_t tasks_done;
    const volatile int *stop;
    uint64_t names;                 /* looked at */
    char key[KEY_BYTES_MAX];        /* of the name at hand, with the directories that it lies in */
};

/* The coordinates in the key of a chunk of the target. */
static bool parse_key(const struct array_meta *target, const char *key, uint64_t *coords)
{
    const char *at = key + strcspn(key, "0123456789");
    struct chunk_place place;

    for (unsigned i = 0; i < target->chunks.rank; i++) {
        char *end;

        coords[i] = strtoull(at, &end, 10);
        if (end == at || coords[i] >= grid_axis_cells(&target->chunks, i))
            return false;
        at = *end ? end + 1 : end;
    }
    array_chunk_place(target, coords, &place);
    return strcmp(place.key, key) == 0;
}

/* A chunk that is written in parts counts from its first one on: what comes later writes into what is there. Others are
 * there when the last of them is. */
static bool is_recorded(const struct sweep *s, const uint64_t *coords)
{
    const struct grid *chunks = &s->graph->target->chunks, *tasks = &s->stage->tasks;
    uint64_t task[RANK_MAX];
    struct box chunk;

    grid_cell_box(chunks, coords, &chunk);
    for (unsigned i = 0; i < chunks->rank; i++)
        task[i] = (chunk.start[i] + (s->stage->sink == TO_RANGES ? 0 : chunk.length[i] - 1)) / tasks->cell[i];
    return walk_grid_index(&s->stage->walk, tasks, task) < s->tasks_done;
}

static bool is_left_over(const struct sweep *s)
{
    uint64_t coords[RANK_MAX];

    return store_key_is_unshown(s->key) || (parse_key(s->graph->target, s->key, coords) && !is_recorded(s, coords));
}

static int sweep_directory(struct sweep *s, int parent_fd, const char *name, size_t key_length, unsigned depth,
                           uint64_t *removed);

/* Whatever is below the name at hand, which ends the key. Counts what went. */
static int sweep_name(struct sweep *s, int dir_fd, const struct dirent *entry, size_t key_length, unsigned depth,
                      uint64_t *removed)
{
    const char *name = entry->d_name;
    size_t length = strlen(name);
    int got = 0;

    if (key_length + length + 2 > sizeof s->key)
        return 0;                   /* no chunk's */
    memcpy(s->key + key_length, name, length + 1);
    if (is_left_over(s)) {
        got = os_unlinkat(dir_fd, name, 0);
        *removed += got >= 0;
    } else if (depth < DEPTH_MAX && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)) {
        s->key[key_length + length] = '/';
        got = sweep_directory(s, dir_fd, name, key_length + length + 1, depth + 1, removed);
    }
    return got == -ENOENT || got == -EISDIR ? 0 : got;
}

/* Some file systems pass names over when others vanish under readdir. */
static int sweep_entries(struct sweep *s, DIR *dir, size_t key_length, unsigned depth, uint64_t *removed)
{
    const struct dirent *entry;

    *removed = 0;
    rewinddir(dir);
    while (errno = 0, (entry = readdir(dir))) {
        int got;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (++s->names % 1024 == 0 && stop_asked(s->stop))
            return -ECANCELED;
        got = sweep_name(s, dirfd(dir), entry, key_length, depth, removed);
        if (got < 0)
            return got;
    }
    return -errno;
}

/* A directory that has nothing left goes, too. */
static int sweep_directory(struct sweep *s, int parent_fd, const char *name, size_t key_length, unsigned depth,
                           uint64_t *removed)
{
    int fd = os_openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), got;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    uint64_t here, removed_here = 0;
    unsigned passes = 0;

    if (!dir) {
        got = fd < 0 ? fd : -errno;
        if (fd >= 0)
            os_close(fd);
        return got == -ENOTDIR || got == -ELOOP ? 0 : got;
    }
    do {
        got = sweep_entries(s, dir, key_length, depth, &here);
        removed_here += here;
    } while (got == 0 && here && ++passes < PASSES_MAX);
    closedir(dir);
    if (got == 0 && removed_here && depth > 0)
        *removed += os_unlinkat(parent_fd, name, AT_REMOVEDIR) >= 0;
    return got;
}

bool resume_remove_leftovers(const struct resume *r, const struct graph *g, const volatile int *stop, struct error *err)
{
    unsigned last = g->stage_count - 1;
    struct sweep s = { .graph = g, .stage = &g->stages[last], .tasks_done = r->tasks_done[last], .stop = stop };
    uint64_t removed;
    int got = sweep_directory(&s, store_root_fd(r->store), ".", 0, 0, &removed);

    if (got == -ECANCELED)
        return error_stopped(err, stop_asked(stop));
    return got >= 0 || error_sys(err, -got, r->span, "cannot remove from '%s.sluice-partial' what was not finished",
                                 store_path(r->store));
}
