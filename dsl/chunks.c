/* The chunk grammar, for files (a map, a list, a text) and for flags (a text). */
#include <ctype.h>
#include <string.h>

#include "dsl/scalars.h"

static bool no_memory(struct error *err)
{
    return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the pipeline");
}

static bool what_an_axis_is(struct error *err)
{
    error_help(err, "an axis is a count (32), all, keep, or bytes (8MiB)");
    return false;
}

/* A count, `all`, `-1`, `keep`, or a size. What only digits make is a count, so a size needs its unit. */
static bool axis_from_text(struct axis_request *axis, const char *words, struct span span, struct error *err)
{
    struct size_request size;

    axis->span = span;
    if (strcmp(words, "all") == 0 || strcmp(words, "-1") == 0) {
        axis->kind = AXIS_ALL;
        return true;
    }
    if (strcmp(words, "keep") == 0) {
        axis->kind = AXIS_KEEP;
        return true;
    }
    axis->kind = AXIS_COUNT;
    if (words[0] && words[strspn(words, "0123456789")] == '\0')
        return scalar_count(&axis->value, words, span, 1, INT64_MAX, err) || what_an_axis_is(err);
    axis->kind = AXIS_BYTES;
    if (isdigit((unsigned char)words[0]) && isalpha((unsigned char)words[strlen(words) - 1])) {
        if (!scalar_size(&size, words, span, false, err))
            return false;
        axis->value = size.bytes;
        return true;
    }
    error_at(err, ERR_USAGE, span, "'%s' is not a chunk length", words);
    if (strcmp(words, "auto") == 0)
        error_help(err, "auto stands for all axes together: chunks: auto");
    return what_an_axis_is(err);
}

/* NULL: there are too many. */
static struct axis_request *next_axis(struct chunk_request *out, struct span span, struct error *err)
{
    if (out->count == RANK_MAX) {
        error_at(err, ERR_USAGE, span, "more than %d axes", RANK_MAX);
        return NULL;
    }
    out->axes[out->count] = (struct axis_request){ .span = span };
    return &out->axes[out->count++];
}

/* The place of words[offset ..] inside the place of all the words. */
static struct span part_span(struct span whole, const char *words, size_t offset, size_t length)
{
    size_t all = strlen(words);
    struct span span = yaml_span_of(whole, words, (uint32_t)all);

    if (span.length != all)
        return whole;
    span.column += (uint32_t)offset;
    span.length = length ? (uint32_t)length : 1;
    return span;
}

static bool name_is_new(const struct chunk_request *out, const char *name, struct span span, struct error *err)
{
    for (unsigned i = 0; i + 1 < out->count; i++)
        if (strcmp(out->axes[i].name, name) == 0)
            return error_at(err, ERR_USAGE, span, "axis '%s' comes twice", name);
    return true;
}

/* One "time=all" or "32" of a flag. */
static bool part_from_text(struct chunk_request *out, const char *part, size_t length, struct span span,
                           struct arena *arena, struct error *err)
{
    const char *equals = memchr(part, '=', length);
    enum chunk_form form = equals ? CHUNKS_NAMED : CHUNKS_LISTED;
    struct axis_request *axis;
    struct span words_span = span;
    char *words;

    if (!length) {
        error_at(err, ERR_USAGE, span, "an axis is missing between the commas");
        error_help(err, "by position every axis is given: 744,keep,32");
        return false;
    }
    if (out->count && out->form != form) {
        error_at(err, ERR_USAGE, span, "axes are given by name and by position");
        error_help(err, "name all of them (time=all,lat=32) or none (744,32)");
        return false;
    }
    out->form = form;
    axis = next_axis(out, span, err);
    if (!axis)
        return false;
    if (equals) {
        size_t name_length = (size_t)(equals - part);

        if (!name_length)
            return error_at(err, ERR_USAGE, span, "an axis has no name before '='");
        axis->name = arena_text(arena, part, name_length);
        axis->name_span = span;
        axis->name_span.length = (uint32_t)name_length;
        words_span.column += (uint32_t)name_length + 1;
        words_span.length = length > name_length + 1 ? (uint32_t)(length - name_length - 1) : 1;
        if (!axis->name)
            return no_memory(err);
        if (!name_is_new(out, axis->name, axis->name_span, err))
            return false;
        length -= name_length + 1;
        part = equals + 1;
    }
    words = arena_text(arena, part, length);
    if (!words)
        return no_memory(err);
    return axis_from_text(axis, words, words_span, err);
}

static bool is_size(const char *words)
{
    return isdigit((unsigned char)words[0]) && isalpha((unsigned char)words[strlen(words) - 1]);
}

bool chunks_from_text(struct chunk_request *out, const char *words, struct span span, struct arena *arena,
                      struct error *err)
{
    struct size_request size;

    *out = (struct chunk_request){ .form = CHUNKS_LISTED, .span = span };
    if (!words[0])
        return true;
    if (strcmp(words, "auto") == 0 || strcmp(words, "keep") == 0) {
        out->form = words[0] == 'a' ? CHUNKS_AUTO : CHUNKS_KEEP;
        return true;
    }
    if (!strpbrk(words, ",=") && is_size(words)) {
        out->form = CHUNKS_BYTES;
        if (!scalar_size(&size, words, span, false, err))
            return false;
        out->bytes = size.bytes;
        return true;
    }
    for (const char *part = words;; ) {
        size_t length = strcspn(part, ",");

        if (!part_from_text(out, part, length, part_span(span, words, (size_t)(part - words), length), arena, err))
            return false;
        if (!part[length])
            return true;
        part += length + 1;
    }
}

bool chunks_from_node(struct chunk_request *out, const struct yaml_node *node, struct arena *arena, struct error *err)
{
    struct axis_request *axis;

    if (node->kind == YAML_SCALAR)
        return chunks_from_text(out, node->text, node->span, arena, err);
    *out = (struct chunk_request){ .span = node->span };
    out->form = node->kind == YAML_MAP ? CHUNKS_NAMED : CHUNKS_LISTED;
    for (const struct yaml_node *entry = node->first; entry; entry = entry->next) {
        if (entry->kind != YAML_SCALAR) {
            error_at(err, ERR_USAGE, entry->span, "the chunk length of an axis is %s", yaml_kind_name(entry->kind));
            return what_an_axis_is(err);
        }
        axis = next_axis(out, entry->span, err);
        if (!axis)
            return false;
        axis->name = entry->key;
        axis->name_span = entry->key_span;
        if (!axis_from_text(axis, entry->text, entry->span, err))
            return false;
    }
    return true;
}
