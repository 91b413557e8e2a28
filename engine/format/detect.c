/* What a path is when it is not a Zarr array: a group, whose arrays are listed, nothing in a group, or another format,
 * which is named with the tool that converts it. People meet this file more often than any other.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/format/meta.h"
#include "engine/io/os.h"

/* ---- files ---- */

/* Formats known by their first bytes. `conversion` gets the path. */
struct signature {
    const char *bytes;
    unsigned length;
    const char *name;
    const char *conversion;     /* NULL: none is known */
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
    { "PAR1", 4, "a Parquet file, which is not supported", NULL },
};

static bool complain(struct error *err, struct span span, const char *path, const char *what, const char *conversion)
{
    error_at(err, ERR_INPUT, span, "'%s' is %s", path, what);
    if (conversion) {
        char help[ERROR_TEXT_BYTES];
        const char *at = strstr(conversion, "%s");

        snprintf(help, sizeof help, "%.*s%s%s", at ? (int)(at - conversion) : (int)strlen(conversion), conversion,
                 at ? path : "", at ? at + 2 : "");
        error_help(err, "%s", help);
    }
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
    return complain(err, span, path, "a JSON file, not a Zarr store", NULL);
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
    return complain(err, span, path, "a file, not a Zarr store, and of no format that is known here", NULL);
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
enum { LISTED_MAX = 1000, NAMED_MAX = 10, NAMES_BYTES_MAX = 120, GROUP_DEPTH_MAX = 4 };

struct listed_array {
    char *name;                 /* its path below the root */
    uint64_t elements;          /* 0: also where the metadata cannot be read */
};

struct listing {
    const struct store *store;
    unsigned looked_at, count;
    bool kerchunk;              /* a directory holds kerchunk's references, in Parquet */
    struct listed_array arrays[LISTED_MAX];
};

static bool has_file(int dir_fd, const char *name)
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

/* Is `file` in the directory `path` the metadata of an array? One that is damaged counts as such: then it is named,
 * and asked for, and told. */
static bool is_array(const struct listing *l, const char *path, const char *file, uint64_t *elements)
{
    char key[KEY_BYTES_MAX], why[64], *text = NULL;
    struct error ignored = { 0 };
    struct json_doc *doc;
    uint64_t bytes;
    bool group = false;

    *elements = 0;
    if ((size_t)snprintf(key, sizeof key, "%s/%s", path, file) >= sizeof key ||
        !store_get(l->store, key, METADATA_BYTES_MAX, &text, &bytes, &ignored) || !text)
        return false;
    if (json_parse(&doc, text, bytes, meta_unread, why, sizeof why)) {
        group = json_is(json_get(json_root(doc), "node_type"), "group");
        *elements = elements_of(json_get(json_root(doc), "shape"));
        json_free(doc);
    }
    free(text);
    return !group;
}

static void list_array(struct listing *l, const char *path, uint64_t elements)
{
    char *name = strdup(path);

    if (name)
        l->arrays[l->count++] = (struct listed_array){ name, elements };
}

static void list_arrays(struct listing *l, int parent_fd, const char *name, const char *path, unsigned depth);

/* `path` is a directory below the root: an array, or a group to look into. */
static void list_child(struct listing *l, int fd, const char *name, const char *path, unsigned depth)
{
    int child = os_openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    uint64_t elements;
    bool v2, v3, group;

    if (child < 0)
        return;
    v2 = has_file(child, ".zarray");
    v3 = has_file(child, "zarr.json");
    group = v3 || has_file(child, ".zgroup");
    l->kerchunk = l->kerchunk || has_file(child, "refs.0.parq");
    os_close(child);
    if ((v2 || v3) && is_array(l, path, v3 ? "zarr.json" : ".zarray", &elements))
        list_array(l, path, elements);
    else if (group)
        list_arrays(l, fd, name, path, depth + 1);
}

static void list_arrays(struct listing *l, int parent_fd, const char *name, const char *path, unsigned depth)
{
    int fd = depth > GROUP_DEPTH_MAX ? -1 :
             os_openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!directory) {
        if (fd >= 0)
            os_close(fd);
        return;
    }
    while (l->looked_at < LISTED_MAX && (entry = readdir(directory))) {
        char below[KEY_BYTES_MAX];

        if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
            continue;
        l->looked_at++;
        if ((size_t)snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", entry->d_name) < sizeof below)
            list_child(l, fd, entry->d_name, below, depth);
    }
    closedir(directory);
}

static int by_name(const void *a, const void *b)
{
    const struct listed_array *first = a, *second = b;

    return strcmp(first->name, second->name);
}

/* The arrays below the root of `s`, by name; to be released. NULL: no memory. */
static struct listing *listing_new(const struct store *s)
{
    struct listing *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->store = s;
    list_arrays(l, store_root_fd(s), ".", "", 0);
    qsort(l->arrays, l->count, sizeof l->arrays[0], by_name);
    return l;
}

static void listing_release(struct listing *l)
{
    for (unsigned i = 0; l && i < l->count; i++)
        free(l->arrays[i].name);
    free(l);
}

/* A note of an error that is there: "it holds latitude, t2m and 3 more". */
static void note_names(const struct listing *l, const char *what, struct error *err)
{
    struct text names;
    unsigned named;

    text_init(&names, ERROR_TEXT_BYTES);
    for (named = 0; named < l->count && named < NAMED_MAX; named++) {
        if (named && names.length + strlen(l->arrays[named].name) > NAMES_BYTES_MAX)
            break;
        text_addf(&names, "%s%.*s", named ? ", " : "", NAMES_BYTES_MAX, l->arrays[named].name);
    }
    if (named < l->count)
        text_addf(&names, " and %s%u more", l->looked_at == LISTED_MAX ? "at least " : "", l->count - named);
    error_note(err, "%s holds %s", what, names.chars);
    text_release(&names);
}

/* The one with the most elements, most likely not a coordinate. */
static const char *largest(const struct listing *l)
{
    const struct listed_array *found = &l->arrays[0];

    for (unsigned i = 1; i < l->count; i++)
        if (l->arrays[i].elements > found->elements)
            found = &l->arrays[i];
    return found->name;
}

/* Names the arrays below the root. False: there are none, and nothing was said. */
static bool complain_of_group(const struct store *s, const char *what, struct error *err)
{
    struct listing *l = listing_new(s);
    bool found = l && (l->count || l->kerchunk);

    if (found && l->kerchunk) {
        complain(err, store_span(s), store_path(s), "a kerchunk index, which is not supported", with_kerchunk);
    } else if (found) {
        error_at(err, ERR_INPUT, store_span(s), "'%s' is %s", store_path(s), what);
        note_names(l, "it", err);
        error_help(err, "give one array: %s/%s", store_path(s), largest(l));
    }
    listing_release(l);
    return found;
}

static bool is_group(const struct store *s)
{
    int root = store_root_fd(s);

    return has_file(root, ".zgroup") || has_file(root, "zarr.json") || has_file(root, ".zmetadata");
}

/* `name` is not below the group `s`: what is, and what was meant. */
static void note_neighbours(const struct store *s, const char *name, struct error *err)
{
    struct listing *l = listing_new(s);
    const char **names = l ? calloc(l->count + 1, sizeof *names) : NULL, *near;

    if (names && l->count) {
        for (unsigned i = 0; i < l->count; i++)
            names[i] = l->arrays[i].name;
        note_names(l, "the group", err);
        near = text_nearest(name, names, l->count);
        if (near)
            error_help(err, "did you mean '%s/%s'?", store_path(s), near);
    }
    free(names);
    listing_release(l);
}

/* `path` does not exist. If the nearest directory above it that does is a group, its arrays are named. */
static void note_group_above(const char *path, struct error *err)
{
    char *above = strdup(path), *slash = NULL;
    struct error ignored = { 0 };
    struct store *s;
    struct stat st;

    if (!above)
        return;
    for (size_t length = strlen(above); length > 1 && above[length - 1] == '/'; length--)
        above[length - 1] = '\0';
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

bool group_is_not_lost(const char *path, struct span span, struct error *err)
{
    struct error ignored = { 0 };
    struct listing *l;
    struct store *s;

    if (!store_open(&s, path, span, &ignored))
        return true;
    l = listing_new(s);
    if (!l) {
        error_sys(err, ENOMEM, span, "looking into '%s'", path);
    } else if (l->count) {
        error_at(err, ERR_EXISTS, span, "'%s' is a group, and an output that replaces it would be one array", path);
        note_names(l, "it", err);
        error_help(err, "give the path of an array in it, as in %s/%s, or remove the group first", path, largest(l));
    }
    listing_release(l);
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
    if (group)
        return error_at(err, ERR_INPUT, store_span(s), "'%s' is a group without arrays", store_path(s));
    if ((has_directory(s, "snapshots") && has_directory(s, "manifests")) || has_file(root, "repo"))
        return complain(err, store_span(s), store_path(s), "an icechunk repository, which is not supported",
                        "copy a branch of it with icechunk and xarray: "
                        "xarray.open_zarr(repo.readonly_session('main').store).to_zarr('out.zarr')");
    if (has_file(root, "attributes.json"))
        return complain(err, store_span(s), store_path(s), "an N5 store, which is not supported",
                        "convert it with zarr-python 2: zarr.copy_store(zarr.N5Store('%s'), "
                        "zarr.DirectoryStore('out.zarr'))");
    if (has_directory(s, "__schema"))
        return complain(err, store_span(s), store_path(s), "a TileDB array, which is not supported", NULL);
    error_at(err, ERR_INPUT, store_span(s), "'%s' is not a Zarr array: it holds neither .zarray nor zarr.json",
             store_path(s));
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
