/* Samples first, since they are what a plan needs; then counting, as far as the time goes:
 *
 *     small grids   each chunk is looked at (stat), so sizes are exact too
 *     others        the directory is listed, up to ENTRIES_MAX names that are chunks of the grid
 */
#include "engine/format/census.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/io/os.h"

enum { SAMPLES_MAX = 16, STAT_CHUNKS_MAX = 4096, ENTRIES_MAX = 200000, ENTRIES_PER_CLOCK = 256 };

/* What the sizes are collected in. */
struct sizes {
    uint64_t present, bytes, bytes_max;
};

static void sizes_add(struct sizes *z, uint64_t bytes)
{
    z->present++;
    z->bytes = size_add_sat(z->bytes, bytes);
    z->bytes_max = size_max(z->bytes_max, bytes);
}

static void chunk_key(const struct array_meta *m, uint64_t index, struct chunk_place *place)
{
    uint64_t coords[RANK_MAX];

    grid_coords(&m->chunks, index, coords);
    array_chunk_place(m, coords, place);
}

static bool sample_chunk(const struct array_meta *m, struct store *s, uint64_t index, struct sizes *sizes,
                         struct codec_sample *codec, struct error *err)
{
    _Alignas(IO_ALIGN) char head[IO_ALIGN];
    struct chunk_place place;
    struct object o;
    int64_t got;

    chunk_key(m, index, &place);
    if (!store_object_open(s, place.key, &o, err))
        return false;
    if (o.fd < 0)
        return true;
    sizes_add(sizes, o.bytes);
    got = os_pread_some(o.fd, head, o.direct ? sizeof head : 64, 0);
    store_object_close(&o);
    if (got < 0)
        return error_sys(err, (int)-got, store_span(s), "cannot read '%s/%s'", store_path(s), place.key);
    if (got >= 16)
        codec_sample_add(codec, &m->codecs, head, (uint64_t)got);
    return true;
}

/* The first, the last, and some evenly between: all of them however slow the disk is, for what a plan needs at least must
 * not depend on the time of day. */
static bool sample(const struct array_meta *m, struct store *s, struct chunk_census *out, struct sizes *sizes,
                   struct error *err)
{
    uint64_t wanted = size_min(out->chunks, SAMPLES_MAX);

    for (uint64_t i = 0; i < wanted; i++) {
        uint64_t index = wanted == 1 ? 0 :
                         (uint64_t)((unsigned __int128)i * (out->chunks - 1) / (wanted - 1));

        if (!sample_chunk(m, s, index, sizes, &out->codec, err))
            return false;
        out->sampled++;
    }
    out->sampled_present = sizes->present;
    return true;
}

/* ---- the list ---- */

/* A list that is too long is none. */
static void list_add(struct chunk_list *l, uint64_t chunk)
{
    if (!l || !l->chunks)
        return;
    if (l->count == LISTED_CHUNKS_MAX)
        chunk_list_release(l);
    else
        l->chunks[l->count++] = chunk;
}

static int compare_chunks(const void *a, const void *b)
{
    const uint64_t *one = a, *two = b;

    return *one < *two ? -1 : *one > *two;
}

bool chunk_list_has(const struct chunk_list *l, uint64_t chunk)
{
    return bsearch(&chunk, l->chunks, l->count, sizeof *l->chunks, compare_chunks) != NULL;
}

uint64_t chunk_list_next(const struct chunk_list *l, uint64_t chunk)
{
    uint64_t from = 0, to = l->count;

    while (from < to) {
        uint64_t middle = from + (to - from) / 2;

        if (l->chunks[middle] < chunk)
            from = middle + 1;
        else
            to = middle;
    }
    return from < l->count ? l->chunks[from] : UINT64_MAX;
}

void chunk_list_release(struct chunk_list *l)
{
    free(l->chunks);
    *l = (struct chunk_list){ 0 };
}

/* ---- counting ---- */

/* The directory of the chunk last looked at, since the next one is mostly in the same. */
struct parent {
    char path[KEY_BYTES_MAX];
    int fd;                         /* -errno where it could not be opened */
    bool opened;                    /* `path` and `fd` say something */
};

static void parent_close(struct parent *p)
{
    if (p->opened && p->fd >= 0)
        os_close(p->fd);
    p->opened = false;
}

/* Look at a chunk without opening it, and without following a link on the way, which stat would do. 0 or -errno. */
static int stat_chunk(const struct store *s, const char *key, struct parent *p, struct stat *st)
{
    const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
    size_t length = slash ? (size_t)(slash - key) : 0;

    if (!slash)
        return os_fstatat(store_root_fd(s), key, st, AT_SYMLINK_NOFOLLOW);
    if (!p->opened || strncmp(p->path, key, length) != 0 || p->path[length]) {
        parent_close(p);
        memcpy(p->path, key, length);
        p->path[length] = '\0';
        p->fd = os_open_beneath(store_root_fd(s), p->path, O_RDONLY | O_DIRECTORY, 0);
        p->opened = true;
    }
    return p->fd < 0 ? p->fd : os_fstatat(p->fd, name, st, AT_SYMLINK_NOFOLLOW);
}

static bool count_by_stat(const struct array_meta *m, struct store *s, double until, struct chunk_list *list,
                          struct chunk_census *out, struct error *err)
{
    struct parent parent = { 0 };
    struct sizes sizes = { 0 };
    bool ok = false;

    for (uint64_t i = 0; i < out->chunks; i++) {
        struct chunk_place place;
        struct object o;
        struct stat st;
        int result;

        if (i % ENTRIES_PER_CLOCK == ENTRIES_PER_CLOCK - 1 && os_now() >= until) {
            ok = true;
            goto out;
        }
        chunk_key(m, i, &place);
        result = stat_chunk(s, place.key, &parent, &st);
        if (result == -ENOENT)
            continue;
        if (result < 0 || !S_ISREG(st.st_mode)) {       /* opening it says what is wrong */
            if (!store_object_open(s, place.key, &o, err))
                goto out;
            if (o.fd < 0)
                continue;
            st.st_size = (off_t)o.bytes;
            store_object_close(&o);
        }
        sizes_add(&sizes, (uint64_t)st.st_size);
        list_add(list, i);
    }
    out->present = sizes.present;
    out->counted = true;
    out->encoded_bytes_mean = sizes.present ? sizes.bytes / sizes.present : 0;
    out->encoded_bytes_max = sizes.bytes_max;
    ok = true;
out:
    parent_close(&parent);
    return ok;
}

/* Where a walk of the directories is. */
struct listing {
    const struct array_meta *m;
    double until;
    uint64_t entries, present;
    uint64_t coords[RANK_MAX];      /* of the name at hand, as far as they are known */
    struct chunk_list *list;
    bool stopped;
};

/* One coordinate at *at, of axis `axis`, which goes to w->coords; false if it is none of the grid. "00" is no coordinate. */
static bool parse_coordinate(struct listing *w, unsigned axis, const char **at)
{
    const char *start = *at;
    uint64_t value = 0;

    for (; **at >= '0' && **at <= '9'; ++*at)
        if (!size_mul(value, 10, &value) || !size_add(value, (uint64_t)(**at - '0'), &value))
            return false;
    w->coords[axis] = value;
    return *at > start && (*start != '0' || *at == start + 1) && value < grid_axis_cells(&w->m->chunks, axis);
}

/* Is the name a whole key of a chunk in one directory ("1.2", "c.1.2")? */
static bool is_flat_key(struct listing *w, const char *name)
{
    if (w->m->keys.with_c && *name++ != 'c')
        return false;
    for (unsigned axis = 0; axis < w->m->chunks.rank; axis++) {
        if ((axis || w->m->keys.with_c) && *name++ != w->m->keys.separator)
            return false;
        if (!parse_coordinate(w, axis, &name))
            return false;
    }
    return *name == '\0';
}

static bool is_coordinate(struct listing *w, unsigned axis, const char *name)
{
    return parse_coordinate(w, axis, &name) && *name == '\0';
}

static void count_chunk(struct listing *w)
{
    w->present++;
    list_add(w->list, grid_index(&w->m->chunks, w->coords));
}

/* Count the names below `name`. With '/' a directory holds the coordinates of one axis, `axis`. */
static void walk_directory(struct listing *w, int parent_fd, const char *name, unsigned axis)
{
    bool nested = w->m->keys.separator == '/' && w->m->chunks.rank > 0;
    int fd = os_openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!directory) {
        if (fd >= 0)
            os_close(fd);
        /* What cannot be listed cannot be counted; what is no directory holds none. */
        w->stopped = w->stopped || (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP);
        if (fd != -ENOENT && w->list)       /* opening the chunks below it says what is wrong */
            chunk_list_release(w->list);
        return;
    }
    while (!w->stopped && (errno = 0, entry = readdir(directory))) {
        if (++w->entries % ENTRIES_PER_CLOCK == 0)
            w->stopped = w->entries >= ENTRIES_MAX || os_now() >= w->until;
        if (nested ? !is_coordinate(w, axis, entry->d_name) : !is_flat_key(w, entry->d_name))
            continue;
        if (nested && axis + 1 < w->m->chunks.rank)
            walk_directory(w, fd, entry->d_name, axis + 1);
        else
            count_chunk(w);
    }
    w->stopped = w->stopped || errno;
    closedir(directory);
}

static void count_by_listing(const struct array_meta *m, const struct store *s, double until, struct chunk_list *list,
                             struct chunk_census *out)
{
    struct listing w = { .m = m, .until = until, .list = list };
    bool below_c = m->keys.with_c && m->keys.separator == '/';

    w.stopped = os_now() >= until;
    walk_directory(&w, store_root_fd(s), below_c ? "c" : ".", 0);
    out->counted = !w.stopped;
    out->present = w.stopped ? 0 : w.present;
}

static bool count(const struct array_meta *m, struct store *s, double until, struct chunk_list *list,
                  struct chunk_census *out, struct error *err)
{
    if (out->chunks <= STAT_CHUNKS_MAX)
        return count_by_stat(m, s, until, list, out, err);
    count_by_listing(m, s, until, list, out);
    return true;
}

bool array_census_listed(const struct array_meta *m, struct store *s, double seconds_max, struct chunk_list *list,
                         struct chunk_census *out, struct error *err)
{
    double until = os_now() + seconds_max;
    struct sizes sizes = { 0 };

    *out = (struct chunk_census){ .chunks = grid_cells(&m->chunks) };
    if (list)
        *list = (struct chunk_list){ .chunks = malloc(LISTED_CHUNKS_MAX * sizeof *list->chunks) };
    if (!sample(m, s, out, &sizes, err))
        return false;
    out->encoded_bytes_mean = sizes.present ? sizes.bytes / sizes.present : 0;
    out->encoded_bytes_max = sizes.bytes_max;
    if (!count(m, s, until, list, out, err))
        return false;
    if (list && (!out->counted || out->chunks == UINT64_MAX || out->present == out->chunks))
        chunk_list_release(list);
    out->listed = list && list->chunks;
    if (out->listed)
        qsort(list->chunks, list->count, sizeof *list->chunks, compare_chunks);
    return true;
}

bool array_census(const struct array_meta *m, struct store *s, double seconds_max,
                  struct chunk_census *out, struct error *err)
{
    return array_census_listed(m, s, seconds_max, NULL, out, err);
}
