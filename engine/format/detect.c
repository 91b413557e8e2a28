/* What a path is when it is not a Zarr array: a group, whose arrays are listed, nothing in a group, or another format,
 * which is named with the tool that converts it. People meet this file more often than any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/format/group.h"
#include "engine/format/meta.h"
#include "engine/io/os.h"

/* ---- files ---- */

/* Formats known by their first bytes. `conversion` gets the path. */
struct signature {
    const char *bytes;
    unsigned length;
    const char *name;
    const char *conversion;
};

static const char with_xarray[] =
    "convert it with xarray: python3 -c \"import xarray; xarray.open_dataset('%s').to_zarr('out.zarr')\"";
static const char with_cfgrib[] =
    "convert it with xarray and cfgrib: python3 -c \"import xarray; "
    "xarray.open_dataset('%s', engine='cfgrib').to_zarr('out.zarr')\"";
static const char with_gdal[] = "convert it with GDAL: gdal_translate -of Zarr '%s' out.zarr";
static const char with_kerchunk[] =
    "copy what it refers to with xarray: python3 -c \"import xarray; "
    "xarray.open_dataset('%s', engine='kerchunk').to_zarr('out.zarr')\"";
static const char with_anything[] = "sluice reads Zarr arrays: give the directory of one, where .zarray or zarr.json is";
static const char with_unzip[] = "unpack it: unzip '%s' -d out.zarr";

static const struct signature signatures[] = {
    { "\x89HDF\r\n\x1a\n", 8, "a NetCDF4 or HDF5 file, which is not built yet", with_xarray },
    { "CDF\x01", 4, "a NetCDF3 file, which is not supported", with_xarray },
    { "CDF\x02", 4, "a NetCDF3 file, which is not supported", with_xarray },
    { "CDF\x05", 4, "a NetCDF3 file, which is not supported", with_xarray },
    { "GRIB", 4, "a GRIB file, which is not supported", with_cfgrib },
    { "II*\0", 4, "a TIFF file, which is not supported", with_gdal },
    { "MM\0*", 4, "a TIFF file, which is not supported", with_gdal },
    { "II+\0", 4, "a BigTIFF file, which is not supported", with_gdal },
    { "MM\0+", 4, "a BigTIFF file, which is not supported", with_gdal },
    { "\x0e\x03\x13\x01", 4, "an HDF4 file, which is not supported", with_gdal },
    { "PK\x03\x04", 4, "a zip file, and zip stores are not built yet", with_unzip },
    { "\x93NUMPY", 6, "a NumPy file, which is not supported",
      "convert it with zarr: python3 -c \"import numpy, zarr; zarr.save('out.zarr', numpy.load('%s'))\"" },
    { "PAR1", 4, "a Parquet file, which is not supported", with_anything },
};

static bool complain(struct error *err, struct span span, const char *path, const char *what, const char *conversion)
{
    const char *at = strstr(conversion, "%s");
    char help[ERROR_TEXT_BYTES];

    error_at(err, ERR_INPUT, span, "'%s' is %s", path, what);
    snprintf(help, sizeof help, "%.*s%s%s", at ? (int)(at - conversion) : (int)strlen(conversion), conversion,
             at ? path : "", at ? at + 2 : "");
    error_help(err, "%s", help);
    return false;
}

/* HDF5 may begin after a block of the user's, of 512 bytes or a power of two times that. */
static bool has_hdf5_signature(int fd)
{
    char head[8];

    for (uint64_t at = 512; at <= 1 << 20; at *= 2)
        if (os_pread_some(fd, head, sizeof head, at) == (int64_t)sizeof head && !memcmp(head, signatures[0].bytes, 8))
            return true;
    return false;
}

/* `head` begins as JSON: metadata given instead of its directory, a kerchunk index, or anything. */
static bool complain_of_json(struct error *err, struct span span, const char *path, const char *head)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    if (!strcmp(name, "zarr.json") || !strcmp(name, ".zarray") || !strcmp(name, ".zgroup") ||
        !strcmp(name, ".zattrs") || !strcmp(name, ".zmetadata"))
        return complain(err, span, path, "the metadata of a Zarr store", "give the directory it is in");
    if (strstr(head, "\"refs\"") || strstr(head, ".zgroup") || strstr(head, ".zarray"))
        return complain(err, span, path, "a kerchunk index, which is not supported",
                        with_kerchunk);
    return complain(err, span, path, "a JSON file, not a Zarr store", with_anything);
}

static bool complain_of_file(struct error *err, struct span span, const char *path)
{
    char head[512] = { 0 };
    int fd = os_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    bool hdf5;
    int64_t got;

    if (fd < 0)
        return error_sys(err, -fd, span, "cannot open '%s'", path);
    got = os_pread_some(fd, head, sizeof head - 1, 0);
    hdf5 = has_hdf5_signature(fd);
    os_close(fd);
    if (got < 0)
        return error_sys(err, (int)-got, span, "cannot read '%s'", path);
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const struct signature *s = &signatures[i];

        if (got >= s->length && !memcmp(head, s->bytes, s->length))
            return complain(err, span, path, s->name, s->conversion);
    }
    if (hdf5)
        return complain(err, span, path, signatures[0].name, signatures[0].conversion);
    if (head[strspn(head, " \t\r\n")] == '{')
        return complain_of_json(err, span, path, head);
    return complain(err, span, path, "a file, not a Zarr store, and of no format that is known here", with_anything);
}

/* "s3", "https": what stands before "://". 0: it is a path. */
static size_t scheme_length(const char *path)
{
    size_t length = strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

    return length && !strncmp(path + length, "://", 3) ? length : 0;
}

static bool complain_of_url(struct error *err, struct span span, const char *path)
{
    size_t length = scheme_length(path);

    if (length == 4 && !strncmp(path, "file", 4))
        return complain(err, span, path, "a URL", "give the path alone, without file://");
    error_at(err, ERR_INPUT, span, "'%s' is remote, and %.*s:// is not supported: only local directories are", path,
             (int)length, path);
    error_help(err, "copy it first, for example: %s '%s' data.zarr",
               length == 2 && !strncmp(path, "s3", 2) ? "aws s3 sync" :
               length == 2 && !strncmp(path, "gs", 2) ? "gcloud storage rsync -r" : "rclone sync", path);
    return false;
}

/* ---- groups ---- */

/* What is looked at to list a group's arrays, and how many of them are named. */
enum { LISTED_MAX = 1000, NAMED_MAX = 10, NAMES_BYTES_MAX = 120 };

/* A note of an error that is there: "it holds latitude, t2m and 3 more". */
static void note_names(const struct group *g, const char *what, struct error *err)
{
    struct text names;
    unsigned named;

    text_init(&names, ERROR_TEXT_BYTES);
    for (named = 0; named < g->count && named < NAMED_MAX; named++) {
        if (named && names.length + strlen(g->arrays[named].name) > NAMES_BYTES_MAX)
            break;
        text_addf(&names, "%s%.*s", named ? ", " : "", NAMES_BYTES_MAX, g->arrays[named].name);
    }
    if (named < g->count)
        text_addf(&names, " and %s%u more", g->cut ? "at least " : "", g->count - named);
    error_note(err, "%s holds %s", what, names.chars);
    text_release(&names);
}

/* The one with the most elements, most likely not a coordinate. */
static const char *largest(const struct group *g)
{
    const struct group_array *found = &g->arrays[0];

    for (unsigned i = 1; i < g->count; i++)
        if (g->arrays[i].elements > found->elements)
            found = &g->arrays[i];
    return found->name;
}

/* Names the arrays below the root. False: there are none, and nothing was said. */
static bool complain_of_group(const struct store *s, const char *what, struct error *err)
{
    struct group g;
    bool found = group_list(&g, s, LISTED_MAX) && (g.count || g.kerchunk);

    if (found && g.kerchunk) {
        complain(err, store_span(s), store_path(s), "a kerchunk index, which is not supported", with_kerchunk);
    } else if (found) {
        error_at(err, ERR_INPUT, store_span(s), "'%s' is %s", store_path(s), what);
        note_names(&g, "it", err);
        error_help(err, "give one array: %s/%s", store_path(s), largest(&g));
    }
    group_release(&g);
    return found;
}

static bool is_group(const struct store *s)
{
    int root = store_root_fd(s);

    return group_has_file(root, ".zgroup") || group_has_file(root, "zarr.json") || group_has_file(root, ".zmetadata");
}

/* `name` is not below the group `s`: what is, and what was meant. */
static void note_neighbours(const struct store *s, const char *name, struct error *err)
{
    struct group g;
    bool listed = group_list(&g, s, LISTED_MAX);
    const char **names = listed ? calloc(g.count + 1, sizeof *names) : NULL, *near;

    if (names && g.count) {
        for (unsigned i = 0; i < g.count; i++)
            names[i] = g.arrays[i].name;
        note_names(&g, "the group", err);
        near = text_nearest(name, names, g.count);
        if (near)
            error_help(err, "did you mean '%s/%s'?", store_path(s), near);
    }
    free(names);
    group_release(&g);
}

/* `path` does not exist. If the nearest directory above it that does is a group, its arrays are named. */
static void note_group_above(const char *path, struct error *err)
{
    char *above = strndup(path, path_length(path)), *slash = NULL;
    struct error ignored = { 0 };
    struct store *s;
    struct stat st;

    if (!above)
        return;
    do {
        slash = strrchr(above, '/');
        if (slash)
            *slash = '\0';
    } while (slash && slash > above && os_fstatat(AT_FDCWD, above, &st, 0) == -ENOENT);
    if (slash && slash > above && store_open(&s, above, SPAN_NONE, &ignored)) {
        if (is_group(s))
            note_neighbours(s, path + (slash - above) + 1, err);
        store_close(s);
    }
    free(above);
}

/* `path` does not exist; perhaps it will. */
static void note_unfinished_run(const char *path, struct error *err)
{
    int length = (int)path_length(path);
    struct stat st;
    char *partial;

    if (asprintf(&partial, "%.*s" STAGING_SUFFIX, length, path) < 0)
        return;
    if (os_fstatat(AT_FDCWD, partial, &st, 0) >= 0 && S_ISDIR(st.st_mode))
        error_help(err, "an unfinished run of it is there ('%s'): the command that began it goes on with it, and "
                   "sluice clean %.*s removes it", partial, length, path);
    free(partial);
}

bool group_is_not_lost(const char *path, struct span span, struct error *err)
{
    struct error ignored = { 0 };
    struct group g;
    struct store *s;

    if (!store_open(&s, path, span, &ignored))
        return true;
    if (!group_list(&g, s, LISTED_MAX)) {
        error_sys(err, ENOMEM, span, "looking into '%s'", path);
    } else if (g.count) {
        error_at(err, ERR_EXISTS, span, "'%s' is a group, and an output that replaces it would be one array", path);
        note_names(&g, "it", err);
        error_help(err, "give the path of an array in it, as in %s/%s, or remove the group first", path, largest(&g));
    } else if (g.unfinished_count) {
        error_at(err, ERR_EXISTS, span, "'%s' is a group, and an unfinished run of '%s' is in it", path, g.arrays[0].name);
        error_help(err, "give another path, or finish that run first, or remove what it left: sluice clean %s/%s", path,
                   g.arrays[0].name);
    } else if (g.cut && !group_root_is_array(s)) {
        error_at(err, ERR_EXISTS, span, "'%s' is a group of which not all could be looked at, and an output that replaces it "
                 "would be one array", path);
        error_help(err, "give another path, or remove the group first");
    }
    group_release(&g);
    store_close(s);
    return err->code == ERR_NONE;
}

/* ---- directories ---- */

static bool has_directory(const struct store *s, const char *name)
{
    struct stat st;

    return os_fstatat(store_root_fd(s), name, &st, 0) >= 0 && S_ISDIR(st.st_mode);
}

bool not_an_array(const struct store *s, struct error *err)
{
    int root = store_root_fd(s);
    bool group = is_group(s);

    if (complain_of_group(s, group ? "a group" : "a directory, not a Zarr array", err))
        return false;
    if (group) {
        error_at(err, ERR_INPUT, store_span(s), "'%s' is a group, and no array was found in it", store_path(s));
        error_help(err, "give the directory of an array");
        return false;
    }
    if ((has_directory(s, "snapshots") && has_directory(s, "manifests")) || group_has_file(root, "repo"))
        return complain(err, store_span(s), store_path(s), "an icechunk repository, which is not supported",
                        "copy a branch of it with icechunk and xarray: "
                        "xarray.open_zarr(repo.readonly_session('main').store).to_zarr('out.zarr')");
    if (group_has_file(root, "attributes.json"))
        return complain(err, store_span(s), store_path(s), "an N5 store, which is not supported",
                        "convert it with zarr-python 2: zarr.copy_store(zarr.N5Store('%s'), "
                        "zarr.DirectoryStore('out.zarr'))");
    if (has_directory(s, "__schema"))
        return complain(err, store_span(s), store_path(s), "a TileDB array, which is not supported",
                        "copy it with TileDB-Py and zarr-python: zarr.save('out.zarr', tiledb.open('%s')[:])");
    error_at(err, ERR_INPUT, store_span(s), "'%s' is not a Zarr array: it holds neither .zarray nor zarr.json",
             store_path(s));
    error_help(err, "give the directory of an array: the one with that file in it");
    return false;
}

bool array_open(struct store **s, struct array_meta *m, const char *path, struct span span,
                struct text *warnings, struct error *err)
{
    struct stat st;
    int status;

    *s = NULL;
    *m = (struct array_meta){ 0 };
    if (scheme_length(path))
        return complain_of_url(err, span, path);
    status = os_fstatat(AT_FDCWD, path, &st, 0);
    if (status >= 0 && S_ISREG(st.st_mode))
        return complain_of_file(err, span, path);
    if (!store_open(s, path, span, err)) {
        if (status == -ENOENT)
            note_unfinished_run(path, err);
        if (status == -ENOENT)
            note_group_above(path, err);
        return false;
    }
    if (array_meta_read(m, *s, warnings, err))
        return true;
    error_locate(err, span);
    store_close(*s);
    *s = NULL;
    return false;
}
