/* Codecs as they are typed: the text form of the engine, or a map as other tools write it. */
#include <stdio.h>
#include <string.h>

#include "dsl/scalars.h"
#include "engine/base/text.h"
#include "engine/codec/codec.h"

enum { CODEC_TEXT_BYTES_MAX = 256 };

/* Words of other tools for what is here, but not as a codec of its own. */
static const struct { const char *word, *help; } other_words[] = {
    { "deflate", "write zlib:5, or gzip:5: both are deflate" },
    { "gz", "write gzip:5" },
    { "zstandard", "write zstd:3" },
    { "lz4hc", "write blosc:lz4hc:5" },
    { "blosclz", "write blosc:blosclz:5" },
    { "snappy", "write blosc:snappy:5" },
    { "shuffle", "write blosc:zstd:5:shuffle" },
    { "bitshuffle", "write blosc:zstd:5:bitshuffle" },
};

static void help_with_word(const char *words, struct error *err)
{
    size_t length = strcspn(words, ":+");

    for (unsigned i = 0; i < sizeof other_words / sizeof other_words[0]; i++)
        if (strlen(other_words[i].word) == length && strncmp(words, other_words[i].word, length) == 0)
            snprintf(err->help, sizeof err->help, "%s", other_words[i].help);
}

bool codec_from_words(const char **out, const char *words, struct span span, struct arena *arena, struct error *err)
{
    struct codec_chain chain = { 0 };
    struct error why = { 0 };

    if (!codec_chain_from_text(&chain, words, 1, &why)) {
        if (err->code == ERR_NONE)
            *err = why;
        help_with_word(words, err);
        error_locate(err, span);
        error_help(err, "a codec is none, zstd:3, gzip:1, zlib:6, lz4, blosc:lz4:5 or blosc:zstd:5:bitshuffle");
        return false;
    }
    *out = arena_text(arena, words, strlen(words));
    return *out || error_at(err, ERR_FIT, span, "no memory for the pipeline");
}

/* What a codec's map may set, in the order of the text form, and the word another tool has for it. */
struct settings {
    const char *name, *other_name;
};
static const struct settings blosc_settings[] = {
    { "cname", NULL }, { "clevel", "level" }, { "shuffle", NULL }, { "blocksize", NULL } };
static const struct settings zstd_settings[] = { { "level", "clevel" }, { "checksum", NULL } };
static const struct settings level_settings[] = { { "level", "clevel" } };
static const struct settings lz4_settings[] = { { "acceleration", "level" } };
enum { SETTINGS_MAX = 4 };

static const struct settings *settings_of(const char *codec, unsigned *count)
{
    *count = strcmp(codec, "blosc") == 0 ? 4 : strcmp(codec, "zstd") == 0 ? 2 : 1;
    return *count == 4 ? blosc_settings : *count == 2 ? zstd_settings :
           strcmp(codec, "lz4") == 0 ? lz4_settings : level_settings;
}

static bool unknown_setting(const struct yaml_node *map, const struct yaml_node *entry,
                            const struct settings *settings, unsigned count, struct error *err)
{
    struct text list;

    text_init(&list, ERROR_TEXT_BYTES / 2);
    for (unsigned i = 0; i < count; i++)
        text_addf(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " and " : ", ", settings[i].name);
    error_at(err, ERR_USAGE, entry->key_span, "'%s' is not a setting of '%s'", entry->key, map->key);
    error_help(err, "'%s' has %s", map->key, list.chars);
    text_release(&list);
    return false;
}

/* The entries of a map, by setting; what is not there is NULL. */
static bool read_settings(const struct yaml_node *map, const struct settings *settings, unsigned count,
                          const struct yaml_node **found, struct error *err)
{
    for (const struct yaml_node *entry = map->first; entry; entry = entry->next) {
        unsigned i = 0;

        while (i < count && strcmp(entry->key, settings[i].name) != 0 &&
               !(settings[i].other_name && strcmp(entry->key, settings[i].other_name) == 0))
            i++;
        if (i == count)
            return unknown_setting(map, entry, settings, count, err);
        if (entry->kind != YAML_SCALAR)
            return error_at(err, ERR_USAGE, entry->span, "'%s' is %s, not text", entry->key,
                            yaml_kind_name(entry->kind));
        if (!entry->text[0] || strpbrk(entry->text, ":+"))
            return error_at(err, ERR_USAGE, entry->span, "'%s' is no value for '%s'", entry->text, entry->key);
        if (found[i]) {
            error_at(err, ERR_USAGE, entry->key_span, "'%s' and '%s' say the same", found[i]->key, entry->key);
            error_help(err, "leave one of them out");
            return false;
        }
        found[i] = entry;
    }
    return true;
}

/* `checksum: true` is the word "checksum" in the text form. */
static bool checksum_word(const struct yaml_node **found, struct text *out, struct error *err)
{
    bool checksum = false;

    if (found[1] && !scalar_bool(&checksum, found[1]->text, found[1]->span, err))
        return false;
    if (found[0] || checksum)
        text_addf(out, ":%s", found[0] ? found[0]->text : "3");
    text_add(out, checksum ? ":checksum" : "");
    return true;
}

/* What is not said stays out of the text, so that its defaults hold; but what stands before something said has to be
 * written. Of these only the shuffle has no one default. */
static bool blosc_words(const struct yaml_node **found, struct text *out, struct error *err)
{
    static const char *const defaults[] = { "lz4", "5", NULL, "0" };
    unsigned last = 0;

    for (unsigned i = 0; i < SETTINGS_MAX; i++)
        if (found[i])
            last = i + 1;
    if (found[3] && !found[2]) {
        error_at(err, ERR_USAGE, found[3]->key_span, "'blocksize' needs 'shuffle' beside it");
        error_help(err, "add shuffle: noshuffle, shuffle or bitshuffle");
        return false;
    }
    for (unsigned i = 0; i < last; i++)
        text_addf(out, ":%s", found[i] ? found[i]->text : defaults[i]);
    return true;
}

static bool map_words(const struct yaml_node *codec, struct text *out, struct error *err)
{
    const struct yaml_node *found[SETTINGS_MAX] = { NULL };
    const struct settings *settings;
    unsigned count;

    settings = settings_of(codec->key, &count);
    if (!read_settings(codec, settings, count, found, err))
        return false;
    text_add(out, codec->key);
    if (settings == blosc_settings)
        return blosc_words(found, out, err);
    if (settings == zstd_settings)
        return checksum_word(found, out, err);
    if (found[0])
        text_addf(out, ":%s", found[0]->text);
    return true;
}

bool codec_from_node(const char **out, const struct yaml_node *node, struct arena *arena, struct error *err)
{
    const struct yaml_node *codec = node->first;
    struct text words;
    bool ok;

    if (node->kind == YAML_SCALAR)
        return codec_from_words(out, node->text, node->span, arena, err);
    if (node->kind == YAML_LIST || node->count != 1) {
        error_at(err, ERR_USAGE, node->span, "a codec is text, or a map with one entry");
        error_help(err, "write blosc:zstd:5:bitshuffle or {blosc: {cname: zstd, clevel: 5, shuffle: bitshuffle}}");
        return false;
    }
    if (codec->kind == YAML_SCALAR && codec->text[0]) {
        error_at(err, ERR_USAGE, codec->span, "the settings of '%s' are %s, not a map", codec->key,
                 yaml_kind_name(codec->kind));
        error_help(err, "write %s:%s or {%s: {%s: %s}}", codec->key, codec->text, codec->key,
                   strcmp(codec->key, "blosc") == 0 ? "cname" : "level", codec->text);
        return false;
    }
    if (codec->kind == YAML_LIST)
        return error_at(err, ERR_USAGE, codec->span, "the settings of '%s' are a list, not a map", codec->key);
    text_init(&words, CODEC_TEXT_BYTES_MAX);
    ok = map_words(codec, &words, err) && codec_from_words(out, words.chars, node->span, arena, err);
    text_release(&words);
    return ok;
}
