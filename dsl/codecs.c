/* Codecs as they are typed: the text form of the engine, or a map as other tools write it. */
#include <string.h>

#include "dsl/scalars.h"
#include "engine/base/text.h"
#include "engine/codec/codec.h"

enum { CODEC_TEXT_BYTES_MAX = 256 };

bool codec_from_words(const char **out, const char *words, struct span span, struct arena *arena, struct error *err)
{
    struct codec_chain chain = { 0 };
    struct error why = { 0 };

    if (!codec_chain_from_text(&chain, words, 1, &why)) {
        if (err->code == ERR_NONE)
            *err = why;
        error_locate(err, span);
        error_help(err, "a codec is none, zstd:3, gzip:1, zlib:6, lz4, blosc:lz4:5 or blosc:zstd:5:bitshuffle");
        return false;
    }
    *out = arena_text(arena, words, strlen(words));
    return *out || error_at(err, ERR_FIT, span, "no memory for the pipeline");
}

/* One setting of a codec's map; NULL: not there. */
static const char *setting(const struct yaml_node *map, const char *name, const char *other_name)
{
    const struct yaml_node *entry = yaml_get(map, name);

    if (!entry)
        entry = yaml_get(map, other_name);
    return entry ? entry->text : NULL;
}

static bool settings_are_known(const struct yaml_node *map, bool blosc, struct error *err)
{
    static const char *const known[] = { "level", "clevel", "cname", "shuffle" };

    for (const struct yaml_node *entry = map->first; entry; entry = entry->next) {
        bool found = false;

        for (unsigned i = 0; i < (blosc ? 4 : 2); i++)
            found = found || strcmp(entry->key, known[i]) == 0;
        if (!found) {
            error_at(err, ERR_USAGE, entry->key_span, "'%s' is not a setting of '%s'", entry->key, map->key);
            error_help(err, blosc ? "blosc has cname, clevel and shuffle" : "it has level");
            return false;
        }
        if (entry->kind != YAML_SCALAR)
            return error_at(err, ERR_USAGE, entry->span, "'%s' is %s, not text", entry->key,
                            yaml_kind_name(entry->kind));
    }
    return true;
}

bool codec_from_node(const char **out, const struct yaml_node *node, struct arena *arena, struct error *err)
{
    const struct yaml_node *codec = node->first;
    const char *level, *cname, *shuffle;
    struct text words;
    bool blosc, ok;

    if (node->kind == YAML_SCALAR)
        return codec_from_words(out, node->text, node->span, arena, err);
    if (node->kind == YAML_LIST || node->count != 1) {
        error_at(err, ERR_USAGE, node->span, "a codec is text, or a map with one entry");
        error_help(err, "write blosc:zstd:5:bitshuffle or {blosc: {cname: zstd, clevel: 5, shuffle: bitshuffle}}");
        return false;
    }
    blosc = strcmp(codec->key, "blosc") == 0;
    if (codec->kind == YAML_SCALAR && codec->text[0]) {
        error_at(err, ERR_USAGE, codec->span, "the settings of '%s' are %s, not a map", codec->key,
                 yaml_kind_name(codec->kind));
        error_help(err, "write %s:%s or {%s: {%s: %s}}", codec->key, codec->text, codec->key,
                   blosc ? "cname" : "level", codec->text);
        return false;
    }
    if (codec->kind == YAML_LIST)
        return error_at(err, ERR_USAGE, codec->span, "the settings of '%s' are a list, not a map", codec->key);
    if (!settings_are_known(codec, blosc, err))
        return false;
    cname = setting(codec, "cname", "cname");
    level = setting(codec, "level", "clevel");
    shuffle = setting(codec, "shuffle", "shuffle");
    text_init(&words, CODEC_TEXT_BYTES_MAX);
    text_add(&words, codec->key);
    if (blosc)
        text_addf(&words, ":%s:%s:%s", cname ? cname : "lz4", level ? level : "5", shuffle ? shuffle : "shuffle");
    else if (level)
        text_addf(&words, ":%s", level);
    ok = codec_from_words(out, words.chars, node->span, arena, err);
    text_release(&words);
    return ok;
}
