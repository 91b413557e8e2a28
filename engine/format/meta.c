/* What both dialects share, and the functions of format.h. */
#include "engine/format/meta.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/format/fill_value.h"
#include "engine/io/os.h"

/* ---- names ---- */

const char *format_name(enum format_kind f)
{
    return f == FORMAT_ZARR2 ? "zarr2" : "zarr3";
}

struct key_style key_style_default(enum format_kind f)
{
    return f == FORMAT_ZARR2 ? (struct key_style){ .separator = '.' } :
                               (struct key_style){ .with_c = true, .separator = '/' };
}

/* ---- complaints ---- */

const char meta_help_codec[] =
    "copy the array with zarr-python to a codec that is read here: none, blosc, zstd, gzip, zlib, lz4, crc32c";
const char meta_help_type[] = "booleans, integers, floats and complex numbers are read: leave this array to zarr-python";
const char meta_help_time[] = "write such times as int64 with the attribute 'units', as xarray does";
const char meta_help_layout[] = "copy the array with zarr-python to one with regular chunks and no shards";

static bool fail(const struct reading *r, const char *format, va_list args)
{
    char what[ERROR_TEXT_BYTES];

    vsnprintf(what, sizeof what, format, args);
    return error_at(r->err, ERR_INPUT, store_span(r->store), "'%s/%s': %s", store_path(r->store), r->key, what);
}

bool meta_fail(const struct reading *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(r, format, args);
    va_end(args);
    return false;
}

bool meta_unsupported(const struct reading *r, const char *help, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(r, format, args);
    va_end(args);
    error_help(r->err, "%s", help);
    return false;
}

bool meta_no_memory(const struct reading *r)
{
    return error_at(r->err, ERR_FIT, store_span(r->store), "no memory to read '%s/%s'", store_path(r->store), r->key);
}

void meta_warn(const struct reading *r, const char *format, ...)
{
    char what[ERROR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    text_addf(r->warnings, "'%s/%s': %s\n", store_path(r->store), r->key, what);
}

/* ---- documents ---- */

const char *const meta_unread[] = { "attributes", "consolidated_metadata", NULL };

bool meta_get(const struct reading *r, bool unread, struct meta_doc *doc)
{
    char why[128];
    uint64_t bytes;
    bool ok;

    *doc = (struct meta_doc){ 0 };
    if (!store_get(r->store, r->key, METADATA_BYTES_MAX, &doc->text, &bytes, r->err))
        return false;
    if (!doc->text)
        return true;
    ok = unread ? json_parse_unread(&doc->doc, doc->text, bytes, why, sizeof why)
                : json_parse(&doc->doc, doc->text, bytes, meta_unread, why, sizeof why);
    r->m->file_bytes += bytes;
    if (ok) {
        if (json_root(doc->doc)->kind == JSON_OBJECT)
            return true;
        snprintf(why, sizeof why, "it should be an object");
    }
    meta_doc_release(doc);
    if (strcmp(why, json_no_memory) == 0)
        return meta_no_memory(r);
    return meta_fail(r, "not JSON as it should be: %s", why);
}

void meta_doc_release(struct meta_doc *doc)
{
    json_free(doc->doc);
    free(doc->text);
    *doc = (struct meta_doc){ 0 };
}

/* ---- shape and chunks ---- */

static bool read_lengths(const struct reading *r, const struct json *list, const char *name,
                         uint64_t *lengths, unsigned *count)
{
    const struct json *at;

    *count = 0;
    if (!list)
        return meta_fail(r, "'%s' is missing", name);
    if (list->kind != JSON_ARRAY)
        return meta_fail(r, "'%s' should be a list of lengths", name);
    if (list->count > RANK_MAX)
        return meta_fail(r, "'%s' has %u dimensions, at most %d are supported", name, list->count, RANK_MAX);
    for (at = list->first; at; at = at->next)
        /* Half the range, so that the end of a cell that hangs over the shape still fits. */
        if (!json_uint(at, &lengths[(*count)++]) || lengths[*count - 1] > INT64_MAX)
            return meta_fail(r, "'%s' should hold whole numbers that fit 63 bits", name);
    return true;
}

/* The bytes of `lengths` items fit 64 bits, counting axes of length 0 as 1. */
static bool bytes_fit(unsigned rank, const uint64_t *lengths, uint32_t item_bytes)
{
    uint64_t bytes = item_bytes;

    for (unsigned i = 0; i < rank; i++)
        if (!size_mul(bytes, size_max(lengths[i], 1), &bytes))
            return false;
    return bytes <= INT64_MAX;
}

bool meta_grid(const struct reading *r, const struct json *shape, const struct json *cell, const char *cell_name)
{
    struct grid *g = &r->m->chunks;
    unsigned cell_rank;

    if (!read_lengths(r, shape, "shape", g->shape, &g->rank) ||
        !read_lengths(r, cell, cell_name, g->cell, &cell_rank))
        return false;
    if (cell_rank != g->rank)
        return meta_fail(r, "'shape' has %u dimensions and '%s' has %u", g->rank, cell_name, cell_rank);
    for (unsigned i = 0; i < g->rank; i++) {
        if (g->cell[i] == 0 && g->shape[i] > 0)
            return meta_fail(r, "'%s' has length 0 on axis %u, which has %llu elements", cell_name, i,
                             (unsigned long long)g->shape[i]);
        g->cell[i] = size_max(g->cell[i], 1);
    }
    if (!bytes_fit(g->rank, g->shape, r->m->dtype.item_bytes))
        return meta_fail(r, "'shape' has more bytes than 63 bits can count");
    if (!bytes_fit(g->rank, g->cell, r->m->dtype.item_bytes))
        return meta_fail(r, "'%s' has more bytes than 63 bits can count", cell_name);
    return true;
}

/* ---- attributes, dimension names, fill ---- */

bool meta_dimension_names(const struct reading *r, const struct json *names, bool nullable)
{
    char **to = r->m->dimension_names;
    unsigned i = 0;

    if (names->kind != JSON_ARRAY || names->count != r->m->chunks.rank)
        return false;
    for (const struct json *at = names->first; at; at = at->next)
        if (!json_string(at) && !(nullable && at->kind == JSON_NULL))
            return false;
    for (const struct json *at = names->first; at; at = at->next, i++) {
        to[i] = at->kind == JSON_NULL ? NULL : strdup(at->chars);
        if (at->kind != JSON_NULL && !to[i])
            error_at(r->err, ERR_FIT, store_span(r->store), "no memory for names of dimensions");
    }
    return true;
}

/* JSON as owned text. NULL: no memory, said in `err`. */
static char *written(const struct reading *r, const struct json *value, const char *without)
{
    struct text text;

    text_init(&text, 4 * (size_t)METADATA_BYTES_MAX);
    json_write(value, without, &text);
    if (!text.cut)
        return text_detach(&text);
    text_release(&text);
    error_at(r->err, ERR_FIT, store_span(r->store), "no memory for the attributes of '%s'", store_path(r->store));
    return NULL;
}

bool meta_attributes(const struct reading *r, const struct json *attributes)
{
    static const char dimensions_key[] = "_ARRAY_DIMENSIONS";
    struct json_doc *dimensions;
    bool named = false, stripped = false, no_memory = false;

    if (!attributes || attributes->kind == JSON_NULL)
        return true;
    if (attributes->kind != JSON_OBJECT)
        return meta_fail(r, "attributes should be an object");
    dimensions = json_parse_member(attributes, dimensions_key, &no_memory);
    if (no_memory)
        return meta_no_memory(r);
    for (unsigned i = 0; i < RANK_MAX; i++)
        named = named || r->m->dimension_names[i];
    if (dimensions && !named)
        stripped = meta_dimension_names(r, json_root(dimensions), false);
    if (dimensions && !named && !stripped)
        meta_warn(r, "attribute '%s' is not one name for each of the %u dimensions, and is kept as it is",
                  dimensions_key, r->m->chunks.rank);
    /* v3 names won: the attribute says the same, or is wrong. */
    stripped = stripped || (dimensions && named);
    json_free(dimensions);
    if (attributes->count == (stripped ? 1u : 0u))
        return true;
    r->m->attributes = written(r, attributes, stripped ? dimensions_key : NULL);
    return r->m->attributes;
}

bool meta_fill(const struct reading *r, const struct json *value)
{
    enum fill_dialect dialect = r->m->format == FORMAT_ZARR2 ? FILL_ZARR2 : FILL_ZARR3;
    char why[128];

    if (fill_from_json(value, r->m->dtype, dialect, r->m->fill, why, sizeof why))
        return true;
    return meta_fail(r, "'fill_value' %.*s of a %s array %s", (int)size_min(value->source_length, 60), value->source,
                     dtype_name(r->m->dtype), why);
}

void meta_list(const uint64_t *numbers, unsigned count, struct text *out)
{
    text_add(out, "[");
    for (unsigned i = 0; i < count; i++)
        text_addf(out, "%s%llu", i ? ", " : "", (unsigned long long)numbers[i]);
    text_add(out, "]");
}

void array_fill_text(const struct array_meta *m, struct text *out)
{
    if (m->fill_undefined)
        text_add(out, "null");
    else
        fill_to_json(m->fill, m->dtype, m->format == FORMAT_ZARR2 ? FILL_ZARR2 : FILL_ZARR3, out);
}

/* ---- array_meta ---- */

void array_meta_release(struct array_meta *m)
{
    for (unsigned i = 0; i < RANK_MAX; i++)
        free(m->dimension_names[i]);
    free(m->attributes);
    *m = (struct array_meta){ 0 };
}

/* False: no memory for a copy of `from`, which may be NULL. */
static bool copy_chars(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return *to || !from;
}

bool array_meta_copy(struct array_meta *to, const struct array_meta *from, struct error *err)
{
    bool ok;

    *to = *from;
    to->attributes = NULL;
    memset(to->dimension_names, 0, sizeof to->dimension_names);
    ok = copy_chars(&to->attributes, from->attributes);
    for (unsigned i = 0; i < RANK_MAX; i++)
        ok = ok && copy_chars(&to->dimension_names[i], from->dimension_names[i]);
    if (ok)
        return true;
    array_meta_release(to);
    return error_at(err, ERR_FIT, SPAN_NONE, "no memory for an array's metadata");
}

/* ---- reading and writing ---- */

static bool read_zarr3(const struct reading *r, const struct json *root, bool zarray_too)
{
    if (zarray_too)
        meta_warn(r, "there is a .zarray beside it, which is not used");
    return zarr3_read(r, root);
}

bool array_meta_read(struct array_meta *m, const struct store *s, struct text *warnings, struct error *err)
{
    struct reading v2 = { m, s, ".zarray", warnings, err }, v3 = { m, s, "zarr.json", warnings, err };
    struct meta_doc zarray = { 0 }, root = { 0 };
    bool ok = false;

    *m = (struct array_meta){ 0 };
    if (!meta_get(&v3, false, &root) || (!root.doc && !meta_get(&v2, false, &zarray)))
        goto out;
    if (root.doc && json_is(json_get(json_root(root.doc), "node_type"), "group")) {
        not_an_array(s, err);
    } else if (root.doc) {
        struct stat st;

        ok = read_zarr3(&v3, json_root(root.doc), os_fstatat(store_root_fd(s), ".zarray", &st, 0) >= 0);
    } else if (zarray.doc) {
        ok = zarr2_read(&v2, json_root(zarray.doc));
    } else {
        not_an_array(s, err);
    }
    ok = ok && err->code == ERR_NONE;
out:
    if (!ok)
        array_meta_release(m);
    meta_doc_release(&zarray);
    meta_doc_release(&root);
    return ok;
}

bool array_meta_writable(const struct array_meta *m, struct error *err)
{
    if (!bytes_fit(m->chunks.rank, m->chunks.cell, m->dtype.item_bytes))
        return error_at(err, ERR_USAGE, SPAN_NONE, "a chunk would have more bytes than 63 bits can count");
    return m->format == FORMAT_ZARR3 || zarr2_writable(m, err);
}

static bool put_text(struct store *s, const char *key, struct text *text, struct error *err)
{
    bool ok = text->cut ? error_at(err, ERR_FIT, store_span(s), "no memory to write '%s/%s'", store_path(s), key) :
                          store_put(s, key, text->chars, text->length, err);

    text_release(text);
    return ok;
}

bool array_meta_write(const struct array_meta *m, struct store *s, struct error *err)
{
    struct text text;

    if (!array_meta_writable(m, err))
        return false;
    text_init(&text, 8 * (size_t)METADATA_BYTES_MAX);
    if (m->format == FORMAT_ZARR3) {
        zarr3_text(m, &text);
        return put_text(s, "zarr.json", &text, err);
    }
    if (zarr2_attributes_text(m, &text) && !put_text(s, ".zattrs", &text, err))
        return false;
    zarr2_array_text(m, &text);
    return put_text(s, ".zarray", &text, err);
}

unsigned array_meta_files(const struct array_meta *m)
{
    struct text attributes;     /* none of it is kept */
    unsigned files = 1;

    text_init(&attributes, 0);
    if (m->format == FORMAT_ZARR2 && zarr2_attributes_text(m, &attributes))
        files++;
    text_release(&attributes);
    return files;
}

/* ---- chunks ---- */

void array_chunk_place(const struct array_meta *m, const uint64_t *coords, struct chunk_place *out)
{
    char *at = out->key, *end = out->key + sizeof out->key;

    out->offset = 0;
    out->bytes = UINT64_MAX;
    if (m->keys.with_c)
        at += snprintf(at, (size_t)(end - at), "c");
    else if (m->chunks.rank == 0)
        at += snprintf(at, (size_t)(end - at), "0");
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        if (i || m->keys.with_c)
            *at++ = m->keys.separator;
        at += snprintf(at, (size_t)(end - at), "%llu", (unsigned long long)coords[i]);
    }
    *at = '\0';
}

uint64_t array_chunk_bytes(const struct array_meta *m)
{
    return size_mul_sat(shape_elements(m->chunks.rank, m->chunks.cell), m->dtype.item_bytes);
}
