/* Chains: the table of codecs, bounds, the text grammar. */
#include <stdlib.h>
#include <string.h>

#include "engine/codec/codec_impl.h"

/* By enum codec_kind. */
static const struct codec_class *const codec_classes[] = {
    [CODEC_BLOSC] = &blosc_class, [CODEC_ZSTD] = &zstd_class, [CODEC_GZIP] = &gzip_class,
    [CODEC_ZLIB] = &zlib_class,   [CODEC_LZ4] = &lz4_class,   [CODEC_CRC32C] = &crc32c_class,
};

enum { CODEC_KINDS = sizeof codec_classes / sizeof *codec_classes };

/* The longest text of one codec is far below it. */
enum { WORDS_BYTES_MAX = 128, WORDS_MAX = 8 };

const struct codec_class *codec_class_of(const struct codec *c)
{
    return codec_classes[c->kind];
}

uint64_t chain_encoded_bytes_max(const struct codec_chain *c, unsigned count, uint64_t raw_bytes)
{
    for (unsigned i = 0; i < count; i++)
        raw_bytes = codec_class_of(&c->codecs[i])->encoded_bytes_max(&c->codecs[i], raw_bytes);
    return raw_bytes;
}

/* The only compressor of the chain, if it is innermost or only followed by checksums: they leave the head of what it
 * wrote where it is. NULL: there are none, or several. */
static const struct codec *only_compressor(const struct codec_chain *c)
{
    const struct codec *only = NULL;

    for (unsigned i = 0; i < c->count; i++) {
        if (codec_class_of(&c->codecs[i])->strip)
            continue;
        if (only)
            return NULL;
        only = &c->codecs[i];
    }
    return only;
}

void codec_sample_add(struct codec_sample *s, const struct codec_chain *c, const void *head, uint64_t head_bytes)
{
    const struct codec *only = only_compressor(c);

    if (only && codec_class_of(only)->sample)
        codec_class_of(only)->sample(s, head, head_bytes);
}

void codec_sample_own(struct codec_sample *s, const struct codec_chain *c, uint64_t raw_bytes)
{
    const struct codec *only = only_compressor(c);

    *s = (struct codec_sample){ 0 };
    if (only && codec_class_of(only)->sample_own)
        codec_class_of(only)->sample_own(s, only, raw_bytes);
}

void codec_sample_merge(struct codec_sample *s, const struct codec_sample *other)
{
    s->blosc_block_bytes_max = (uint32_t)size_max(s->blosc_block_bytes_max, other->blosc_block_bytes_max);
    s->zstd_window_bytes_max = size_max(s->zstd_window_bytes_max, other->zstd_window_bytes_max);
}

bool codec_sample_exceeds(const struct codec_sample *s, const struct codec_sample *other)
{
    return s->blosc_block_bytes_max > other->blosc_block_bytes_max ||
           s->zstd_window_bytes_max > other->zstd_window_bytes_max;
}

/* ---- parts ---- */

/* How many codecs, from the innermost on, can. */
static unsigned count_ranged(const struct codec_chain *c)
{
    return c->count > 0 && codec_class_of(&c->codecs[0])->begin_range ? 1 : 0;
}

/* A checksum outside is verified as the bytes go by. */
static unsigned count_streamed(const struct codec_chain *c)
{
    unsigned count = c->count > 0 && codec_class_of(&c->codecs[0])->stream_step ? 1 : 0;

    return count < c->count && c->codecs[count].kind == CODEC_CRC32C ? count + 1 : count;
}

const char *codec_chain_cannot(const struct codec_chain *c, enum codec_ability ability)
{
    unsigned can = ability == CODEC_RANGED ? count_ranged(c) : count_streamed(c);

    if (ability == CODEC_APPENDED)
        return chain_append_cannot(c);
    return can < c->count ? codec_class_of(&c->codecs[can])->name : NULL;
}

/* ---- text ---- */

void codec_chain_text(const struct codec_chain *c, struct text *out)
{
    if (c->count == 0)
        text_add(out, "none");
    for (unsigned i = 0; i < c->count; i++) {
        const struct codec *codec = &c->codecs[i];
        const struct codec_class *class = codec_class_of(codec);

        if (i > 0)
            text_add(out, "+");
        if (class->text)
            class->text(codec, out);
        else if (class->level_min == class->level_max)
            text_add(out, class->name);
        else
            text_addf(out, "%s:%d", class->name, codec->level);
    }
}

bool codec_parse_level(int *level, const char *word, const struct codec_class *class, struct error *err)
{
    char *end;
    long value = strtol(word, &end, 10);

    if (*word == '\0' || *word == ' ' || *word == '+' || *end || value < class->level_min || value > class->level_max)
        return error_at(err, ERR_USAGE, SPAN_NONE, "'%s' takes a level from %d to %d, not '%s'", class->name,
                        class->level_min, class->level_max, word);
    *level = (int)value;
    return true;
}

/* NAME[:LEVEL] and nothing more. */
static bool parse_plain(struct codec *c, const struct codec_class *class, char *const *words, unsigned count,
                        struct error *err)
{
    bool takes_level = class->level_min != class->level_max;

    if (count > (takes_level ? 1u : 0u))
        return error_at(err, ERR_USAGE, SPAN_NONE, takes_level ? "'%s' takes a level and nothing else, not '%s'"
                        : "'%s' takes nothing, not '%s'", class->name, words[count - 1]);
    return count == 0 || codec_parse_level(&c->level, words[0], class, err);
}

static bool unknown_codec(const char *name, struct error *err)
{
    const char *names[CODEC_KINDS + 1], *nearest;

    for (unsigned kind = 0; kind < CODEC_KINDS; kind++)
        names[kind] = codec_classes[kind]->name;
    names[CODEC_KINDS] = "none";
    nearest = text_nearest(name, names, CODEC_KINDS + 1);
    error_at(err, ERR_USAGE, SPAN_NONE, "there is no codec '%s'", name);
    if (nearest)
        error_help(err, "did you mean '%s'?", nearest);
    else
        error_help(err, "there are none, blosc, zstd, gzip, zlib, lz4, and crc32c after a '+'");
    return false;
}

/* One codec: `words` is cut up. */
static bool parse_codec(struct codec *c, char *words, uint32_t item_bytes, struct error *err)
{
    char *word[WORDS_MAX];
    unsigned count = 0, kind = 0;

    for (char *rest = words; rest; ) {
        if (count == WORDS_MAX)
            return error_at(err, ERR_USAGE, SPAN_NONE, "too many ':' in codec '%s'", words);
        word[count++] = strsep(&rest, ":");
    }
    if (strcmp(word[0], "none") == 0) {
        error_at(err, ERR_USAGE, SPAN_NONE, "'none' stands alone: it has no level, and no codec beside it");
        error_help(err, "write none");
        return false;
    }
    while (kind < CODEC_KINDS && strcmp(word[0], codec_classes[kind]->name) != 0)
        kind++;
    if (kind == CODEC_KINDS)
        return unknown_codec(word[0], err);
    *c = (struct codec){ .kind = (enum codec_kind)kind, .level = codec_classes[kind]->level_default };
    if (codec_classes[kind]->parse)
        return codec_classes[kind]->parse(c, word + 1, count - 1, item_bytes, err);
    return parse_plain(c, codec_classes[kind], word + 1, count - 1, err);
}

bool codec_chain_from_text(struct codec_chain *c, const char *words, uint32_t item_bytes, struct error *err)
{
    char copy[WORDS_BYTES_MAX], *rest = copy;
    struct codec codecs[CODECS_MAX];
    unsigned count = 0;

    if (strlen(words) >= sizeof copy)
        return error_at(err, ERR_USAGE, SPAN_NONE, "a codec is at most %d letters, not %zu", WORDS_BYTES_MAX - 1,
                        strlen(words));
    if (strcmp(words, "none") == 0) {
        c->count = 0;
        return true;
    }
    memcpy(copy, words, strlen(words) + 1);
    while (rest) {
        char *one = strsep(&rest, "+");

        if (count == CODECS_MAX)
            return error_at(err, ERR_USAGE, SPAN_NONE, "a chain is at most %d codecs", CODECS_MAX);
        if (!parse_codec(&codecs[count++], one, item_bytes, err))
            return false;
    }
    memcpy(c->codecs, codecs, count * sizeof *codecs);
    c->count = count;
    return true;
}
