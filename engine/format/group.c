#include "engine/format/group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/format/meta.h"
#include "engine/io/os.h"

enum { GROUP_DEPTH_MAX = 4 };

bool group_has_file(int dir_fd, const char *name)
{
    struct stat st;

    return os_fstatat(dir_fd, name, &st, 0) >= 0 && S_ISREG(st.st_mode);
}

static uint64_t elements_of(const struct json *shape)
{
    uint64_t elements = 1, length;

    if (!shape || shape->kind != JSON_ARRAY)
        return 0;
    for (const struct json *at = shape->first; at; at = at->next)
        elements = json_uint(at, &length) ? size_mul_sat(elements, length) : 0;
    return elements;
}

/* Is `file` in the directory `path` the metadata of an array? One that is damaged or cannot be read counts as such: then it
 * is named, and asked for, and told. */
static bool is_array(const struct group *g, const char *path, const char *file, uint64_t *elements)
{
    char key[KEY_BYTES_MAX], why[64], *text = NULL;
    struct error ignored = { 0 };
    struct json_doc *doc;
    uint64_t bytes;
    bool group = false;

    *elements = 0;
    if ((size_t)snprintf(key, sizeof key, "%s/%s", path, file) >= sizeof key)
        return false;
    if (!store_get(g->store, key, METADATA_BYTES_MAX, &text, &bytes, &ignored))
        return true;
    if (!text)
        return false;
    if (json_parse(&doc, text, bytes, meta_unread, why, sizeof why)) {
        group = json_is(json_get(json_root(doc), "node_type"), "group");
        *elements = elements_of(json_get(json_root(doc), "shape"));
        json_free(doc);
    }
    free(text);
    return !group;
}

/* Of the name of what an unfinished run has made, without its suffix; 0: it is no such name. */
static size_t unfinished_length(const char *name)
{
    size_t length = strlen(name), suffix_length = sizeof STAGING_SUFFIX - 1;

    return length > suffix_length && strcmp(name + length - suffix_length, STAGING_SUFFIX) == 0 ? length - suffix_length : 0;
}

/* `count` is of all, until they are sorted. */
static void list_array(struct group *g, const char *path, uint64_t elements)
{
    struct group_array *arrays = g->arrays;
    size_t unfinished = unfinished_length(path);
    char *name = unfinished ? strndup(path, unfinished) : strdup(path);

    if (g->count == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        arrays = realloc(g->arrays, g->room * sizeof *arrays);
        g->arrays = arrays ? arrays : g->arrays;
    }
    if (name && arrays) {
        g->arrays[g->count++] = (struct group_array){ name, elements, unfinished > 0 };
        return;
    }
    free(name);
    g->no_memory = true;
}

static void list_arrays(struct group *g, int parent_fd, const char *name, const char *path, unsigned depth);

/* `path` is a directory below the root: an array, or a group to look into. */
static void list_child(struct group *g, int fd, const char *name, const char *path, unsigned depth)
{
    bool v2, v3, below;
    uint64_t elements;
    int child;

    if (unfinished_length(name) > 0) {
        list_array(g, path, 0);
        return;
    }
    child = os_openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (child < 0) {
        g->cut = g->cut || (child != -ENOENT && child != -ENOTDIR && child != -ELOOP);
        return;
    }
    v2 = group_has_file(child, ".zarray");
    v3 = group_has_file(child, "zarr.json");
    below = v3 || group_has_file(child, ".zgroup");
    g->kerchunk = g->kerchunk || group_has_file(child, "refs.0.parq");
    os_close(child);
    if ((v2 || v3) && is_array(g, path, v3 ? "zarr.json" : ".zarray", &elements))
        list_array(g, path, elements);
    else if (below)
        list_arrays(g, fd, name, path, depth + 1);
}

static void list_arrays(struct group *g, int parent_fd, const char *name, const char *path, unsigned depth)
{
    int fd = depth > GROUP_DEPTH_MAX ? -1 :
             os_openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!directory) {
        g->cut = true;
        if (fd >= 0)
            os_close(fd);
        return;
    }
    while (!g->is_full && !g->no_memory && (errno = 0, entry = readdir(directory))) {
        char below[KEY_BYTES_MAX];

        if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
            continue;
        g->is_full = g->looked_at == g->looked_at_max;
        if (g->is_full)
            break;
        g->looked_at++;
        if ((size_t)snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", entry->d_name) < sizeof below)
            list_child(g, fd, entry->d_name, below, depth);
        else
            g->cut = true;
    }
    g->cut = g->cut || g->is_full || errno != 0;
    closedir(directory);
}

static int by_name(const void *a, const void *b)
{
    const struct group_array *first = a, *second = b;

    return first->unfinished != second->unfinished ? first->unfinished - second->unfinished
                                                   : strcmp(first->name, second->name);
}

bool group_list(struct group *g, const struct store *s, unsigned looked_at_max)
{
    *g = (struct group){ .store = s, .looked_at_max = looked_at_max };
    list_arrays(g, store_root_fd(s), ".", "", 0);
    if (g->count)
        qsort(g->arrays, g->count, sizeof g->arrays[0], by_name);
    for (; g->count && g->arrays[g->count - 1].unfinished; g->count--)
        g->unfinished_count++;
    return !g->no_memory;
}

void group_release(struct group *g)
{
    for (unsigned i = 0; i < g->count + g->unfinished_count; i++)
        free(g->arrays[i].name);
    free(g->arrays);
    *g = (struct group){ 0 };
}

bool group_root_is_array(const struct store *s)
{
    struct group root = { .store = s };
    int fd = store_root_fd(s);
    uint64_t elements;

    return group_has_file(fd, "zarr.json") ? is_array(&root, ".", "zarr.json", &elements)
                                           : group_has_file(fd, ".zarray");
}
