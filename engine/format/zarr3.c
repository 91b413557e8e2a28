/* Zarr v3: zarr.json of an array.
 *
 * Source: zarr-specs core v3.1 and the zarr-extensions registry. Contrary to v2, what is not understood is refused,
 * unless it says {"must_understand": false}. Extensions are objects with a name, or bare names (3.1).
 */
#include <string.h>

#include "engine/format/fill_value.h"
#include "engine/format/meta.h"

/* ---- extensions ---- */

/* {"name": ..., "configuration": {...}} or "name". *configuration is NULL if absent or null. */
static bool read_extension(const struct reading *r, const struct json *value, const char *what,
                           const char **name, const struct json **configuration)
{
    *configuration = NULL;
    if (!value)
        return meta_fail(r, "'%s' is missing", what);
    *name = json_string(value->kind == JSON_OBJECT ? json_get(value, "name") : value);
    if (!*name)
        return meta_fail(r, "'%s' should be a name, or an object with a name", what);
    *configuration = json_get(value, "configuration");
    if (*configuration && (*configuration)->kind == JSON_NULL)
        *configuration = NULL;
    if (*configuration && (*configuration)->kind != JSON_OBJECT)
        return meta_fail(r, "the configuration of '%s' should be an object", *name);
    return true;
}

/* May a key that is not known here be passed over? */
static bool may_be_ignored(const struct json *value, bool *no_memory)
{
    struct json_doc *must = json_parse_member(value, "must_understand", no_memory);
    bool ignored = must && json_root(must)->kind == JSON_BOOL && !json_root(must)->truth;

    json_free(must);
    return ignored;
}

static bool check_keys(const struct reading *r, const struct json *root)
{
    static const char *const known[] = {
        "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs",
        "attributes", "dimension_names", "storage_transformers",
    };
    const struct json *transformers = json_get(root, "storage_transformers");

    for (const struct json *at = root->first; at; at = at->next) {
        bool no_memory = false, found = may_be_ignored(at, &no_memory);

        found = found || (at->kind == JSON_NULL && !strcmp(at->key, "consolidated_metadata"));
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || !strcmp(at->key, known[i]);
        if (no_memory)
            return meta_no_memory(r);
        if (!found)
            return meta_fail(r, "key '%s' is unknown, and does not say that it may be ignored", at->key);
    }
    if (transformers && transformers->kind != JSON_NULL && (transformers->kind != JSON_ARRAY || transformers->count))
        return meta_unsupported(r, meta_help_layout, "'storage_transformers' are not supported");
    return true;
}

/* ---- type, grid, keys ---- */

static bool read_data_type(const struct reading *r, const struct json *value)
{
    const struct json *configuration;
    const char *name;

    if (!read_extension(r, value, "data_type", &name, &configuration))
        return false;
    return dtype_from_name(&r->m->dtype, name) ||
           meta_unsupported(r, strstr(name, "datetime") || strstr(name, "timedelta") ? meta_help_time : meta_help_type,
                            "data type '%s' is unknown or not supported", name);
}

static bool read_grid(const struct reading *r, const struct json *shape, const struct json *grid)
{
    const struct json *configuration;
    const char *name;

    if (!read_extension(r, grid, "chunk_grid", &name, &configuration))
        return false;
    if (strcmp(name, "regular"))
        return meta_unsupported(r, meta_help_layout, "chunk grid '%s' is unknown or not supported", name);
    return meta_grid(r, shape, json_get(configuration, "chunk_shape"), "chunk_shape");
}

static bool read_key_encoding(const struct reading *r, const struct json *value)
{
    const struct json *configuration, *separator;
    const char *name;
    bool with_c;

    if (!read_extension(r, value, "chunk_key_encoding", &name, &configuration))
        return false;
    with_c = !strcmp(name, "default");
    if (!with_c && strcmp(name, "v2"))
        return meta_unsupported(r, meta_help_layout, "chunk key encoding '%s' is unknown or not supported", name);
    separator = json_get(configuration, "separator");
    if (separator && !json_is(separator, ".") && !json_is(separator, "/"))
        return meta_fail(r, "the 'separator' of chunk keys should be \".\" or \"/\"");
    r->m->keys = (struct key_style){ with_c, separator ? separator->chars[0] : with_c ? '/' : '.' };
    return true;
}

/* ---- codecs ---- */

/* How far the chain of codecs has been read. */
enum stage { ARRAY_TO_ARRAY, BYTES_TO_BYTES };

/* A permutation, as a list, or as "C" or "F" in data from before the specification. */
static bool read_permutation(const struct reading *r, const struct json *order, uint8_t *out)
{
    unsigned rank = r->m->chunks.rank, i = 0;
    uint32_t seen = 0;

    if (json_is(order, "C") || json_is(order, "F")) {
        for (i = 0; i < rank; i++)
            out[i] = (uint8_t)(order->chars[0] == 'C' ? i : rank - 1 - i);
        return true;
    }
    if (!order || order->kind != JSON_ARRAY || order->count != rank)
        return meta_fail(r, "codec 'transpose' has no 'order' of %u axes", rank);
    for (const struct json *at = order->first; at; at = at->next, i++) {
        uint64_t axis;

        if (!json_uint(at, &axis) || axis >= rank || (seen & 1u << axis))
            return meta_fail(r, "codec 'transpose' has an 'order' that is no permutation");
        seen |= 1u << axis;
        out[i] = (uint8_t)axis;
    }
    return true;
}

/* Axis i of what a transpose gives is axis order[i] of what it was given; the next one is given that. */
static bool read_transpose(const struct reading *r, const struct json *configuration)
{
    struct codec_chain *chain = &r->m->codecs;
    uint8_t order[RANK_MAX], before[RANK_MAX];

    if (!read_permutation(r, json_get(configuration, "order"), order))
        return false;
    memcpy(before, chain->order, sizeof before);
    chain->transposed = false;
    for (unsigned i = 0; i < r->m->chunks.rank; i++) {
        chain->order[i] = before[order[i]];
        chain->transposed = chain->transposed || chain->order[i] != i;
    }
    return true;
}

static bool read_bytes(const struct reading *r, const struct json *configuration)
{
    const struct json *endian = json_get(configuration, "endian");
    bool wide = r->m->dtype.item_bytes > 1;

    if (endian && endian->kind != JSON_NULL && !json_is(endian, "little") && !json_is(endian, "big"))
        return meta_fail(r, "codec 'bytes' has an 'endian' that is neither \"little\" nor \"big\"");
    if (wide && !json_string(endian))
        meta_warn(r, "codec 'bytes' has no 'endian' and is taken as little");
    r->m->codecs.big_endian = wide && json_is(endian, "big");
    return true;
}

static bool read_byte_codec(const struct reading *r, const char *name, const struct json *configuration)
{
    static const char prefix[] = "numcodecs.";
    struct codec_chain *chain = &r->m->codecs;
    const char *id = strncmp(name, prefix, sizeof prefix - 1) ? name : name + sizeof prefix - 1;
    /* zlib and lz4 have no names of their own in v3. */
    bool named = id != name || (strcmp(name, "zlib") && strcmp(name, "lz4")), known = false;

    if (chain->count == CODECS_MAX)
        return meta_fail(r, "there are more than %d codecs after 'bytes'", CODECS_MAX);
    if (named && !codec_from_json(r, id, configuration, chain->count ? 1 : r->m->dtype.item_bytes,
                                  &chain->codecs[chain->count], &known))
        return false;
    if (!known)
        return meta_unsupported(r, meta_help_codec, "codec '%s' is unknown or not supported", name);
    chain->count++;
    return true;
}

static bool read_codec(const struct reading *r, const struct json *value, enum stage *stage)
{
    const struct json *configuration;
    const char *name;
    bool transpose, bytes;

    if (!read_extension(r, value, "codecs", &name, &configuration))
        return false;
    if (!strcmp(name, "sharding_indexed"))
        return meta_unsupported(r, meta_help_layout,
                                "codec 'sharding_indexed' is not built yet: sharded arrays cannot be read");
    transpose = !strcmp(name, "transpose");
    bytes = !strcmp(name, "bytes") || !strcmp(name, "endian");
    if (transpose || bytes) {
        if (*stage != ARRAY_TO_ARRAY)
            return meta_fail(r, "codec '%s' stands after the array has become bytes", name);
        if (bytes)
            *stage = BYTES_TO_BYTES;
        return bytes ? read_bytes(r, configuration) : read_transpose(r, configuration);
    }
    /* What is known is a byte codec; what is not gets the complaint about its name, wherever it stands. */
    if (!read_byte_codec(r, name, configuration))
        return false;
    return *stage == BYTES_TO_BYTES || meta_fail(r, "codec '%s' stands before codec 'bytes'", name);
}

static bool read_codecs(const struct reading *r, const struct json *codecs)
{
    enum stage stage = ARRAY_TO_ARRAY;

    if (!codecs || codecs->kind != JSON_ARRAY)
        return meta_fail(r, "'codecs' should be a list");
    for (unsigned i = 0; i < r->m->chunks.rank; i++)
        r->m->codecs.order[i] = (uint8_t)i;
    for (const struct json *at = codecs->first; at; at = at->next)
        if (!read_codec(r, at, &stage))
            return false;
    return stage == BYTES_TO_BYTES || meta_fail(r, "'codecs' has no codec 'bytes'");
}

/* ---- the whole ---- */

static bool read_fill(const struct reading *r, const struct json *value)
{
    if (!value)
        return meta_fail(r, "'fill_value' is missing");
    if (value->kind != JSON_NULL)
        return meta_fill(r, value);
    meta_warn(r, "'fill_value' is null, which v3 does not have: missing chunks read as zero");
    r->m->fill_undefined = true;
    return true;
}

static bool read_names(const struct reading *r, const struct json *names)
{
    return !names || names->kind == JSON_NULL || meta_dimension_names(r, names, true) ||
           meta_fail(r, "'dimension_names' should be a list of %u names or nulls", r->m->chunks.rank);
}

bool zarr3_read(const struct reading *r, const struct json *root)
{
    uint64_t version;

    r->m->format = FORMAT_ZARR3;
    if (!json_uint(json_get(root, "zarr_format"), &version) || version != 3)
        return meta_fail(r, "'zarr_format' should be 3");
    if (!json_is(json_get(root, "node_type"), "array"))
        return meta_fail(r, "'node_type' should be \"array\"");
    return check_keys(r, root) &&
           read_data_type(r, json_get(root, "data_type")) &&
           read_grid(r, json_get(root, "shape"), json_get(root, "chunk_grid")) &&
           read_key_encoding(r, json_get(root, "chunk_key_encoding")) &&
           read_codecs(r, json_get(root, "codecs")) &&
           read_fill(r, json_get(root, "fill_value")) &&
           read_names(r, json_get(root, "dimension_names")) &&
           meta_attributes(r, json_get(root, "attributes"));
}

/* ---- writing ---- */

static void codecs_text(const struct array_meta *m, struct text *out)
{
    text_add(out, "[\n");
    if (m->codecs.transposed) {
        uint64_t order[RANK_MAX];

        for (unsigned i = 0; i < m->chunks.rank; i++)
            order[i] = m->codecs.order[i];
        text_add(out, "    {\"name\": \"transpose\", \"configuration\": {\"order\": ");
        meta_list(order, m->chunks.rank, out);
        text_add(out, "}},\n");
    }
    if (m->dtype.item_bytes > 1)
        text_addf(out, "    {\"name\": \"bytes\", \"configuration\": {\"endian\": \"%s\"}}",
                  m->codecs.big_endian ? "big" : "little");
    else
        text_add(out, "    {\"name\": \"bytes\"}");
    for (unsigned i = 0; i < m->codecs.count; i++) {
        text_add(out, ",\n    ");
        codec_to_json_v3(&m->codecs.codecs[i], out);
    }
    text_add(out, "\n  ]");
}

static void names_text(const struct array_meta *m, struct text *out)
{
    bool named = false;

    for (unsigned i = 0; i < m->chunks.rank; i++)
        named = named || m->dimension_names[i];
    if (!named)
        return;
    text_add(out, ",\n  \"dimension_names\": [");
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        text_add(out, i ? ", " : "");
        if (m->dimension_names[i])
            text_add_json_string(out, m->dimension_names[i]);
        else
            text_add(out, "null");
    }
    text_add(out, "]");
}

void zarr3_text(const struct array_meta *m, struct text *out)
{
    text_add(out, "{\n  \"zarr_format\": 3,\n  \"node_type\": \"array\",\n  \"shape\": ");
    meta_list(m->chunks.shape, m->chunks.rank, out);
    text_addf(out, ",\n  \"data_type\": \"%s\"", dtype_name(m->dtype));
    text_add(out, ",\n  \"chunk_grid\": {\"name\": \"regular\", \"configuration\": {\"chunk_shape\": ");
    meta_list(m->chunks.cell, m->chunks.rank, out);
    text_addf(out, "}},\n  \"chunk_key_encoding\": {\"name\": \"%s\", \"configuration\": {\"separator\": \"%c\"}}",
              m->keys.with_c ? "default" : "v2", m->keys.separator);
    text_add(out, ",\n  \"fill_value\": ");
    fill_to_json(m->fill, m->dtype, FILL_ZARR3, out);       /* zero if undefined: v3 has no null */
    text_add(out, ",\n  \"codecs\": ");
    codecs_text(m, out);
    names_text(m, out);
    text_add(out, ",\n  \"attributes\": ");
    text_add(out, m->attributes ? m->attributes : "{}");
    text_add(out, "\n}\n");
}
