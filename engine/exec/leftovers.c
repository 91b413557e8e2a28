/* leftovers.c - objects of the target that no record speaks of: tasks made them that were under way when a run died or
 * failed, or that were given up as lost. Doing such a task again replaces what it writes, but what turns out to be nothing
 * but the fill value is not written, and no record held on to the source that said otherwise. So they go first.
 *
 * Of a chunk that is written in parts some tasks may be recorded and others not. A part that is nothing but fill value makes
 * no object (to_ranges.c), so a recorded task made it if, and only if, one of them has another value in it: that is looked
 * for. In nearly all of them it stands first; what is read to its end is mostly fill value, or holes.
 *
 * The directories of the target are listed; tasks are not walked. Most tasks of a sparse array have nothing to do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/array/copy.h"
#include "engine/base/size.h"
#include "engine/exec/resuming.h"
#include "engine/io/os.h"

#define READ_BYTES (256 * KIB)

enum { DEPTH_MAX = RANK_MAX + 2, PASSES_MAX = 64 };

struct sweep {
    const struct graph *graph;
    const struct stage *stage;      /* that writes the target */
    int root_fd;
    uint64_t tasks_done;
    const volatile int *stop;
    uint64_t names;                 /* looked at */
    char *memory;                   /* of memory_bytes, for whole items */
    uint64_t memory_bytes;
    uint8_t fill[ITEM_BYTES_MAX];   /* as it is stored */
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

static bool is_recorded(const struct sweep *s, const uint64_t *at)
{
    uint64_t task[RANK_MAX];

    for (unsigned i = 0; i < s->stage->tasks.rank; i++)
        task[i] = at[i] / s->stage->tasks.cell[i];
    return walk_grid_index(&s->stage->walk, &s->stage->tasks, task) < s->tasks_done;
}

/* Item number `item`, not fill, of the chunk that begins at `start`: so it does not hang over. */
static bool item_is_recorded(const struct sweep *s, const uint64_t *start, uint64_t item)
{
    const struct array_meta *target = s->graph->target;
    uint64_t at[RANK_MAX];

    for (unsigned i = target->chunks.rank; i-- > 0; ) {
        unsigned axis = target->codecs.order[i];

        at[axis] = start[axis] + item % target->chunks.cell[axis];
        item /= target->chunks.cell[axis];
    }
    return is_recorded(s, at);
}

/* Of a window of the chunk, which begins with item `first`. */
static bool window_has_recorded(const struct sweep *s, const uint64_t *start, uint64_t first, uint64_t items)
{
    uint32_t item_bytes = s->graph->target->dtype.item_bytes;

    if (all_equal_item(s->memory, items * item_bytes, s->fill, item_bytes))
        return false;
    for (uint64_t i = 0; i < items; i++)
        if (memcmp(s->memory + i * item_bytes, s->fill, item_bytes) != 0 && item_is_recorded(s, start, first + i))
            return true;
    return false;
}

/* Has a recorded task written another value than fill to the object at hand? 1, 0 or -errno. */
static int has_recorded_values(const struct sweep *s, const uint64_t *start)
{
    uint32_t item_bytes = s->graph->target->dtype.item_bytes;
    int fd = os_open_beneath(s->root_fd, s->key, O_RDONLY, 0);
    uint64_t done = 0;
    bool found = false;
    int64_t got = fd;

    while (got >= 0 && !found) {
        got = stop_asked(s->stop) ? -ECANCELED : os_pread_some(fd, s->memory, s->memory_bytes, done);
        if (got <= 0)
            break;
        found = window_has_recorded(s, start, done / item_bytes, (uint64_t)got / item_bytes);
        done += (uint64_t)got;
    }
    if (fd >= 0) {
        os_drop_cached(fd, 0, 0);
        os_close(fd);
    }
    return found ? 1 : (int)got;
}

/* Whether it is there since a task that is recorded: 1, 0 or -errno. Others than those written in parts are when the last
 * task that touches them is. */
static int chunk_is_recorded(const struct sweep *s, const uint64_t *coords)
{
    const struct grid *chunks = &s->graph->target->chunks;
    uint64_t last[RANK_MAX];
    struct box chunk;

    grid_cell_box(chunks, coords, &chunk);
    for (unsigned i = 0; i < chunks->rank; i++)
        last[i] = chunk.start[i] + chunk.length[i] - 1;
    if (is_recorded(s, last))
        return 1;
    if (s->stage->sink != TO_RANGES || !is_recorded(s, chunk.start))
        return 0;
    return s->graph->write_empty_chunks || s->graph->target->fill_undefined ? 1 : has_recorded_values(s, chunk.start);
}

static int is_left_over(const struct sweep *s)
{
    uint64_t coords[RANK_MAX];
    int recorded;

    if (store_key_is_unshown(s->key))
        return 1;
    if (!parse_key(s->graph->target, s->key, coords))
        return 0;
    recorded = chunk_is_recorded(s, coords);
    return recorded < 0 ? recorded : !recorded;
}

static int sweep_directory(struct sweep *s, int parent_fd, const char *name, size_t key_length, unsigned depth,
                           uint64_t *removed);

/* Whatever is below the name at hand, which ends the key. Counts what went. */
static int sweep_name(struct sweep *s, int dir_fd, const struct dirent *entry, size_t key_length, unsigned depth,
                      uint64_t *removed)
{
    const char *name = entry->d_name;
    size_t length = strlen(name);
    int got;

    if (key_length + length + 2 > sizeof s->key)
        return 0;                   /* no chunk's */
    memcpy(s->key + key_length, name, length + 1);
    got = is_left_over(s);
    if (got > 0) {
        got = os_unlinkat(dir_fd, name, 0);
        *removed += got >= 0;
    } else if (got == 0 && depth < DEPTH_MAX && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)) {
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

bool resume_remove_leftovers(const struct resume *r, const struct graph *g, struct pool *pool, const volatile int *stop,
                             struct error *err)
{
    const struct array_meta *target = g->target;
    unsigned last = g->stage_count - 1;
    struct sweep s = { .graph = g, .stage = &g->stages[last], .root_fd = store_root_fd(r->store),
                       .tasks_done = r->tasks_done[last], .stop = stop };
    uint64_t removed;
    int got;

    memcpy(s.fill, target->fill, target->dtype.item_bytes);
    if (target->codecs.big_endian && dtype_swap_bytes(target->dtype) > 1)
        dtype_swap(s.fill, target->dtype.item_bytes, dtype_swap_bytes(target->dtype));
    pool_reset(pool);
    s.memory_bytes = size_min(READ_BYTES, size_align_down(pool_bytes(pool) - g->scratch.memory_bytes, IO_ALIGN));
    s.memory = pool_carve(pool, "looking for leftovers", s.memory_bytes);
    got = sweep_directory(&s, s.root_fd, ".", 0, 0, &removed);
    if (got == -ECANCELED)
        return error_stopped(err, stop_asked(stop));
    return got >= 0 || error_sys(err, -got, r->span, "cannot remove from '%s.sluice-partial' what was not finished",
                                 store_path(r->store));
}
