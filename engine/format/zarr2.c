/* Zarr v2: .zarray and .zattrs.
 *
 * Source: zarr-specs v2.0, and what numcodecs and zarr-python 2 write. Unknown keys are ignored, as it says.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/format/fill_value.h"
#include "engine/format/meta.h"

/* ---- dtype ---- */

/* What the letters of types that are not supported stand for; NULL: nothing. */
static const char *unsupported_dtype(char kind)
{
    switch (kind) {
    case 'M': return "datetime64";
    case 'm': return "timedelta64";
    case 'S': return "byte strings";
    case 'U': return "Unicode strings";
    case 'V': return "raw bytes";
    case 'O': return "Python objects";
    default:  return NULL;
    }
}

static bool dtype_from_string(const char *string, struct dtype *d, bool *big_endian)
{
    static const struct { const char *name; enum dtype_kind kind; } rows[] = {
        { "b1", DTYPE_BOOL },
        { "i1", DTYPE_INT }, { "i2", DTYPE_INT }, { "i4", DTYPE_INT }, { "i8", DTYPE_INT },
        { "u1", DTYPE_UINT }, { "u2", DTYPE_UINT }, { "u4", DTYPE_UINT }, { "u8", DTYPE_UINT },
        { "f2", DTYPE_FLOAT }, { "f4", DTYPE_FLOAT }, { "f8", DTYPE_FLOAT },
        { "c8", DTYPE_COMPLEX }, { "c16", DTYPE_COMPLEX },
    };

    if (!strchr("<>|", string[0]))
        return false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(string + 1, rows[i].name)) {
            *d = (struct dtype){ rows[i].kind, (uint32_t)strtoul(rows[i].name + 1, NULL, 10) };
            *big_endian = string[0] == '>' && d->item_bytes > 1;
            return string[0] != '|' || d->item_bytes == 1;
        }
    return false;
}

static bool read_dtype(const struct reading *r, const struct json *value)
{
    const char *string = json_string(value), *what;

    if (!value)
        return meta_fail(r, "'dtype' is missing");
    if (value->kind == JSON_ARRAY)
        return meta_unsupported(r, meta_help_type, "'dtype' is a structure of several fields, which is not supported");
    if (!string)
        return meta_fail(r, "'dtype' should be a string");
    if (*string && dtype_from_string(string, &r->m->dtype, &r->m->codecs.big_endian))
        return true;
    what = *string ? unsupported_dtype(string[strchr("<>|=", *string) ? 1 : 0]) : NULL;
    if (what)
        return meta_unsupported(r, strstr(what, "delta") || strstr(what, "date") ? meta_help_time : meta_help_type,
                                "dtype '%s' (%s) is not supported", string, what);
    return meta_unsupported(r, meta_help_type, "dtype '%s' is unknown or not supported", string);
}

/* ---- codecs ---- */

static bool add_codec(const struct reading *r, const struct json *value, const char *role)
{
    struct codec_chain *chain = &r->m->codecs;
    const char *id = json_string(json_get(value, "id"));
    bool known;

    if (!id)
        return meta_fail(r, "a %s has no 'id'", role);
    if (chain->count == CODECS_MAX)
        return meta_fail(r, "there are more than %d filters", CODECS_MAX);
    /* What comes out of a byte codec is bytes: blosc after it has nothing to shuffle. */
    if (!codec_from_json(r, id, value, chain->count ? 1 : r->m->dtype.item_bytes, &chain->codecs[chain->count],
                         &known))
        return false;
    if (!known)
        return meta_unsupported(r, meta_help_codec, "%s '%s' is not supported", role, id);
    chain->count++;
    return true;
}

/* Filters first, then the compressor. Byte codecs occur among the filters (checksums). */
static bool read_codecs(const struct reading *r, const struct json *filters, const struct json *compressor)
{
    if (filters && filters->kind != JSON_NULL) {
        if (filters->kind != JSON_ARRAY)
            return meta_fail(r, "'filters' should be null or a list");
        for (const struct json *at = filters->first; at; at = at->next)
            if (!add_codec(r, at, "filter"))
                return false;
    }
    return !compressor || compressor->kind == JSON_NULL || add_codec(r, compressor, "compressor");
}

static bool read_order(const struct reading *r, const struct json *order)
{
    struct codec_chain *chain = &r->m->codecs;
    unsigned rank = r->m->chunks.rank;
    bool fortran = json_is(order, "F");

    if (!fortran && !json_is(order, "C"))
        return meta_fail(r, "'order' should be \"C\" or \"F\"");
    for (unsigned i = 0; i < rank; i++)
        chain->order[i] = (uint8_t)(fortran ? rank - 1 - i : i);
    chain->transposed = fortran && rank > 1;
    return true;
}

/* ---- the rest ---- */

static bool read_fill(const struct reading *r, const struct json *value)
{
    if (!value)
        meta_warn(r, "there is no 'fill_value': missing chunks read as zero");
    if (value && value->kind != JSON_NULL)
        return meta_fill(r, value);
    r->m->fill_undefined = true;
    return true;
}

static bool read_separator(const struct reading *r, const struct json *separator)
{
    if (separator && !json_is(separator, ".") && !json_is(separator, "/"))
        return meta_fail(r, "'dimension_separator' should be \".\" or \"/\"");
    r->m->keys = (struct key_style){ .separator = separator ? separator->chars[0] : '.' };
    return true;
}

bool zarr2_read(const struct reading *r, const struct json *zarray)
{
    struct reading attributes = *r;
    struct meta_doc doc;
    uint64_t version;
    bool ok;

    r->m->format = FORMAT_ZARR2;
    if (!json_uint(json_get(zarray, "zarr_format"), &version) || version != 2)
        return meta_fail(r, "'zarr_format' should be 2");
    if (!read_dtype(r, json_get(zarray, "dtype")) ||
        !meta_grid(r, json_get(zarray, "shape"), json_get(zarray, "chunks"), "chunks") ||
        !read_order(r, json_get(zarray, "order")) ||
        !read_codecs(r, json_get(zarray, "filters"), json_get(zarray, "compressor")) ||
        !read_fill(r, json_get(zarray, "fill_value")) ||
        !read_separator(r, json_get(zarray, "dimension_separator")))
        return false;
    attributes.key = ".zattrs";
    if (!meta_get(&attributes, true, &doc))
        return false;
    ok = !doc.doc || meta_attributes(&attributes, json_root(doc.doc));
    meta_doc_release(&doc);
    return ok;
}

/* ---- writing ---- */

static bool is_reversed(const struct array_meta *m)
{
    unsigned rank = m->chunks.rank;

    for (unsigned i = 0; i < rank; i++)
        if (m->codecs.order[i] != rank - 1 - i)
            return false;
    return true;
}

bool zarr2_writable(const struct array_meta *m, struct error *err)
{
    bool ok = true;

    if (m->codecs.count > 1)
        ok = error_at(err, ERR_USAGE, SPAN_NONE, "Zarr v2 has one compressor, and this array has %u codecs",
                      m->codecs.count);
    else if (m->codecs.transposed && !is_reversed(m))
        ok = error_at(err, ERR_USAGE, SPAN_NONE,
                      "Zarr v2 stores chunks in order C or F, and this array has another axis order");
    else if (m->keys.with_c)
        ok = error_at(err, ERR_USAGE, SPAN_NONE, "Zarr v2 has no chunk keys that begin with 'c'");
    else if (!m->fill_undefined && !fill_is_writable(m->fill, m->dtype, FILL_ZARR2))
        ok = error_at(err, ERR_USAGE, SPAN_NONE,
                      "Zarr v2 has one NaN, and the fill value of this array is another, with a sign or a payload");
    if (!ok)
        error_help(err, "write it as zarr3");
    return ok;
}

void zarr2_array_text(const struct array_meta *m, struct text *out)
{
    static const char kinds[] = { [DTYPE_BOOL] = 'b', [DTYPE_INT] = 'i', [DTYPE_UINT] = 'u', [DTYPE_FLOAT] = 'f',
                                  [DTYPE_COMPLEX] = 'c' };

    text_add(out, "{\n    \"zarr_format\": 2,\n    \"shape\": ");
    meta_list(m->chunks.shape, m->chunks.rank, out);
    text_add(out, ",\n    \"chunks\": ");
    meta_list(m->chunks.cell, m->chunks.rank, out);
    text_addf(out, ",\n    \"dtype\": \"%c%c%u\"",
              m->dtype.item_bytes == 1 ? '|' : m->codecs.big_endian ? '>' : '<', kinds[m->dtype.kind],
              m->dtype.item_bytes);
    text_add(out, ",\n    \"compressor\": ");
    if (m->codecs.count)
        codec_to_json_v2(&m->codecs.codecs[0], out);
    else
        text_add(out, "null");
    text_add(out, ",\n    \"fill_value\": ");
    array_fill_text(m, out);
    text_addf(out, ",\n    \"order\": \"%c\"", m->codecs.transposed ? 'F' : 'C');
    text_addf(out, ",\n    \"filters\": null,\n    \"dimension_separator\": \"%c\"\n}\n", m->keys.separator);
}

bool zarr2_attributes_text(const struct array_meta *m, struct text *out)
{
    bool named = m->chunks.rank > 0;

    /* Readers take the list only if it is whole. */
    for (unsigned i = 0; i < m->chunks.rank; i++)
        named = named && m->dimension_names[i];
    if (!named && !m->attributes)
        return false;
    if (!named) {
        text_add(out, m->attributes);
        text_add(out, "\n");
        return true;
    }
    text_add(out, "{\"_ARRAY_DIMENSIONS\": [");
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        text_add(out, i ? ", " : "");
        text_add_json_string(out, m->dimension_names[i]);
    }
    text_add(out, "]");
    if (m->attributes && strcmp(m->attributes, "{}")) {
        text_add(out, ", ");
        text_add(out, m->attributes + 1);
        text_add(out, "\n");
    } else {
        text_add(out, "}\n");
    }
    return true;
}
