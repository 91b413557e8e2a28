/* The bytes-to-bytes codecs as metadata writes them. Names and parameters are numcodecs' for v2, and for v3 those of
 * the core and of the zarr-extensions registry; codecs that exist in v2 only go by "numcodecs.<id>" there.
 */
#include <string.h>

#include "engine/format/meta.h"

/* An integer parameter; absent or null: `otherwise`. */
static bool int_parameter(const struct reading *r, const struct json *parameters, const char *name, const char *codec,
                          int64_t otherwise, int64_t min, int64_t max, int64_t *out)
{
    const struct json *value = json_get(parameters, name);

    *out = otherwise;
    if (!value || value->kind == JSON_NULL)
        return true;
    if (!json_int(value, out) || *out < min || *out > max)
        return meta_fail(r, "codec '%s' has '%s' %.*s, which is not an integer from %lld to %lld", codec, name,
                         (int)(value->source_length > 40 ? 40 : value->source_length), value->source,
                         (long long)min, (long long)max);
    return true;
}

/* v2 has numbers, and -1 for "bits if items are one byte, else bytes"; v3 has names. */
static bool blosc_shuffle_parameter(const struct reading *r, const struct json *value, uint32_t item_bytes,
                                    enum blosc_shuffle *out)
{
    int64_t number = 1;

    if (json_is(value, "noshuffle"))
        number = SHUFFLE_NONE;
    else if (json_is(value, "shuffle"))
        number = SHUFFLE_BYTE;
    else if (json_is(value, "bitshuffle"))
        number = SHUFFLE_BIT;
    else if (value && value->kind != JSON_NULL && (!json_int(value, &number) || number < -1 || number > 2))
        return meta_fail(r, "codec 'blosc' has a 'shuffle' that is unknown");
    if (number == -1)
        number = item_bytes == 1 ? SHUFFLE_BIT : SHUFFLE_BYTE;
    *out = (enum blosc_shuffle)number;
    return true;
}

static bool blosc_from_json(const struct reading *r, const struct json *parameters, uint32_t item_bytes,
                            struct codec *out)
{
    static const char *const cnames[] = { "blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd" };
    const struct json *cname = json_get(parameters, "cname");
    const char *name = cname ? json_string(cname) : "lz4";
    int64_t level, blocksize, typesize;
    bool found = false;

    for (size_t i = 0; i < sizeof cnames / sizeof cnames[0]; i++)
        found = found || (name && !strcmp(name, cnames[i]));
    if (!found)
        return meta_fail(r, "codec 'blosc' has cname '%s', which is unknown", name ? name : "");
    memcpy(out->cname, name, strlen(name) + 1);     /* one of cnames: it fits */
    if (!int_parameter(r, parameters, "clevel", "blosc", 5, 0, 9, &level) ||
        !int_parameter(r, parameters, "blocksize", "blosc", 0, 0, INT32_MAX, &blocksize) ||
        !blosc_shuffle_parameter(r, json_get(parameters, "shuffle"), item_bytes, &out->shuffle))
        return false;
    /* v2 has no typesize (newer numcodecs write one, without a meaning): it is the item's. What is said about it does
     * not matter for reading; a wrong one is common, and null occurs. */
    typesize = item_bytes;
    if (r->m->format == FORMAT_ZARR3 &&
        (!json_int(json_get(parameters, "typesize"), &typesize) || typesize < 1 || typesize > 255))
        typesize = item_bytes;
    out->level = (int)level;
    out->blocksize = (uint32_t)blocksize;
    out->typesize = (uint32_t)typesize;
    return true;
}

/* numcodecs' checksums may stand before the data; that is another format. */
static bool crc32c_from_json(const struct reading *r, const struct json *parameters)
{
    const struct json *location = json_get(parameters, "location");

    if (location && location->kind != JSON_NULL && !json_is(location, "end"))
        return meta_unsupported(r, meta_help_codec,
                                "codec 'crc32c' with its checksum anywhere but at the end is not supported");
    return true;
}

bool codec_from_json(const struct reading *r, const char *name, const struct json *parameters, uint32_t item_bytes,
                     struct codec *out, bool *known)
{
    static const struct { const char *name; enum codec_kind kind; int level, min, max; } rows[] = {
        { "blosc",  CODEC_BLOSC,  5, 0, 9 },
        { "zstd",   CODEC_ZSTD,   0, -131072, 22 },
        { "gzip",   CODEC_GZIP,   1, -1, 9 },
        { "zlib",   CODEC_ZLIB,   1, -1, 9 },
        { "lz4",    CODEC_LZ4,    1, INT32_MIN, INT32_MAX },
        { "crc32c", CODEC_CRC32C, 0, 0, 0 },
    };
    const struct json *checksum;
    int64_t level;
    size_t i = 0;

    while (i < sizeof rows / sizeof rows[0] && strcmp(name, rows[i].name))
        i++;
    *known = i < sizeof rows / sizeof rows[0];
    if (!*known)
        return true;
    *out = (struct codec){ .kind = rows[i].kind };
    if (out->kind == CODEC_BLOSC)
        return blosc_from_json(r, parameters, item_bytes, out);
    if (out->kind == CODEC_CRC32C)
        return crc32c_from_json(r, parameters);
    if (!int_parameter(r, parameters, out->kind == CODEC_LZ4 ? "acceleration" : "level", name, rows[i].level,
                       rows[i].min, rows[i].max, &level))
        return false;
    if (level == -1 && (out->kind == CODEC_GZIP || out->kind == CODEC_ZLIB))
        level = 6;                      /* zlib's default */
    if (out->kind == CODEC_LZ4 && level < 1)
        level = 1;
    out->level = (int)level;
    checksum = json_get(parameters, "checksum");
    out->checksum = out->kind == CODEC_ZSTD && checksum && checksum->truth;
    return true;
}

void codec_to_json_v2(const struct codec *c, struct text *out)
{
    switch (c->kind) {
    case CODEC_BLOSC:
        text_addf(out, "{\"id\": \"blosc\", \"cname\": \"%s\", \"clevel\": %d, \"shuffle\": %d, \"blocksize\": %u}",
                  c->cname, c->level, (int)c->shuffle, c->blocksize);
        break;
    case CODEC_ZSTD:
        /* Readers of v2 have choked on "checksum", so it is there only if it says something. */
        text_addf(out, "{\"id\": \"zstd\", \"level\": %d%s}", c->level, c->checksum ? ", \"checksum\": true" : "");
        break;
    case CODEC_GZIP:
        text_addf(out, "{\"id\": \"gzip\", \"level\": %d}", c->level);
        break;
    case CODEC_ZLIB:
        text_addf(out, "{\"id\": \"zlib\", \"level\": %d}", c->level);
        break;
    case CODEC_LZ4:
        text_addf(out, "{\"id\": \"lz4\", \"acceleration\": %d}", c->level);
        break;
    case CODEC_CRC32C:
        text_add(out, "{\"id\": \"crc32c\"}");
        break;
    }
}

void codec_to_json_v3(const struct codec *c, struct text *out)
{
    static const char *const shuffles[] = { "noshuffle", "shuffle", "bitshuffle" };

    switch (c->kind) {
    case CODEC_BLOSC:
        text_addf(out, "{\"name\": \"blosc\", \"configuration\": {\"typesize\": %u, \"cname\": \"%s\", "
                  "\"clevel\": %d, \"shuffle\": \"%s\", \"blocksize\": %u}}",
                  c->typesize, c->cname, c->level, shuffles[c->shuffle], c->blocksize);
        break;
    case CODEC_ZSTD:
        text_addf(out, "{\"name\": \"zstd\", \"configuration\": {\"level\": %d, \"checksum\": %s}}", c->level,
                  c->checksum ? "true" : "false");
        break;
    case CODEC_GZIP:
        text_addf(out, "{\"name\": \"gzip\", \"configuration\": {\"level\": %d}}", c->level);
        break;
    case CODEC_ZLIB:
        text_addf(out, "{\"name\": \"numcodecs.zlib\", \"configuration\": {\"level\": %d}}", c->level);
        break;
    case CODEC_LZ4:
        text_addf(out, "{\"name\": \"numcodecs.lz4\", \"configuration\": {\"acceleration\": %d}}", c->level);
        break;
    case CODEC_CRC32C:
        text_add(out, "{\"name\": \"crc32c\"}");
        break;
    }
}
