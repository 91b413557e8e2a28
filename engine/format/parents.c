/* parents.c - the groups above a new array, as those who read them find it: by consolidated metadata, which no run changes
 * (a group's other arrays are not ours), or in the group's own format.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/format/group.h"
#include "engine/format/meta.h"

enum { PARENTS_MAX = 8 };

/* What a directory above the array is. */
struct parent {
    bool array, v2, v3;
    bool consolidated;
    bool unread;                /* zarr.json is too long to be looked into: for consolidated metadata, most likely */
};

static void look_v3(const struct store *s, uint64_t bytes_max, struct parent *p)
{
    struct error ignored = { 0 };
    struct json_doc *doc;
    const struct json *root, *consolidated;
    char *text, why[64];
    uint64_t bytes;

    if (!store_get(s, "zarr.json", bytes_max, &text, &bytes, &ignored)) {
        p->v3 = p->consolidated = p->unread = true;
        return;
    }
    if (text && json_parse(&doc, text, bytes, meta_unread, why, sizeof why)) {
        root = json_root(doc);
        consolidated = json_get(root, "consolidated_metadata");
        p->array = p->array || json_is(json_get(root, "node_type"), "array");
        p->v3 = json_is(json_get(root, "node_type"), "group");
        p->consolidated = p->consolidated || (consolidated && consolidated->kind != JSON_NULL);
        json_free(doc);
    }
    free(text);
}

/* False: there is no such directory. */
static bool look(const char *path, uint64_t bytes_max, struct parent *p)
{
    struct error ignored = { 0 };
    struct store *s;
    int root;

    *p = (struct parent){ 0 };
    if (!store_open(&s, path, SPAN_NONE, &ignored))
        return false;
    root = store_root_fd(s);
    p->array = group_has_file(root, ".zarray");
    p->v2 = group_has_file(root, ".zgroup");
    p->consolidated = group_has_file(root, ".zmetadata");
    if (group_has_file(root, "zarr.json"))
        look_v3(s, bytes_max, p);
    store_close(s);
    return true;
}

/* The same place from the root, without links as far as its directories are there. NULL: that cannot be found out. */
static char *absolute(const char *path)
{
    size_t length = path_length(path), cut;
    char *directory = strndup(path, length), *slash, *real, *full = NULL;

    if (!directory)
        return NULL;
    do {
        slash = strrchr(directory, '/');
        *(slash ? slash : directory) = '\0';
        real = realpath(slash == directory ? "/" : slash ? directory : ".", NULL);
    } while (!real && slash && slash > directory);
    cut = strlen(directory) + (slash != NULL);
    if (real && asprintf(&full, "%s/%.*s", strcmp(real, "/") == 0 ? "" : real, (int)(length - cut), path + cut) < 0)
        full = NULL;
    free(real);
    free(directory);
    return full;
}

static void warn_of_format(const char *group, enum format_kind format, enum format_kind of_group, struct text *warnings)
{
    text_addf(warnings, "the group '%s' is %s, and who reads it does not see an array of %s in it: --format %s "
              "(output.format) makes one that is seen\n", group, format_name(of_group), format_name(format),
              format_name(of_group));
}

static void warn_of_consolidated(const char *group, const char *name, bool unread, struct text *out)
{
    text_addf(out, "the group '%s' has consolidated metadata%s, which a run leaves as it is: readers that use it, as xarray "
              "does, see '%s' as it was before, perhaps with wrong values, or not at all. When the run is done: "
              "python3 -c \"import zarr; zarr.consolidate_metadata('%s')\"\n", group,
              unread ? " (most likely: its zarr.json is too long to be looked into)" : "", name, group);
}

void array_warn_of_parents(const char *path, enum format_kind format, uint64_t bytes_max, struct text *warnings,
                           struct text *afterwards)
{
    char *full = absolute(path), *at = full ? strdup(full) : NULL, *slash;
    bool missing = false;

    for (unsigned i = 0; at && i < PARENTS_MAX && (slash = strrchr(at, '/')) && slash > at; i++) {
        struct parent p;

        *slash = '\0';
        if (!look(at, size_min(bytes_max, METADATA_BYTES_MAX), &p)) {
            missing = true;
            continue;
        }
        if (p.array)
            text_addf(warnings, "'%s' lies inside the array '%s', where nobody looks for another one: give a path beside "
                      "it\n", path, at);
        if (p.array || missing || !(p.v2 || p.v3 || p.consolidated))
            break;
        if (i == 0 && p.v2 != p.v3 && p.v2 != (format == FORMAT_ZARR2))
            warn_of_format(at, format, p.v2 ? FORMAT_ZARR2 : FORMAT_ZARR3, warnings);
        if (p.consolidated)
            warn_of_consolidated(at, full + (slash - at) + 1, p.unread, afterwards);
    }
    text_add(warnings, afterwards->chars);
    free(at);
    free(full);
}
