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

/* A piece of the words of a flag, without the blanks around it. */
struct part {
    const char *chars;
    size_t length;
};

static struct part trimmed(const char *chars, size_t length)
{
    while (length && (chars[0] == ' ' || chars[0] == '\t')) {
        chars++;
        length--;
    }
    while (length && (chars[length - 1] == ' ' || chars[length - 1] == '\t'))
        length--;
    return (struct part){ chars, length };
}

/* A place inside that of `whole`. */
static struct span span_within(struct span span, struct part whole, struct part part)
{
    if (span.length == whole.length || (span.length == 1 && !whole.length)) {
        span.column += (uint32_t)(part.chars - whole.chars);
        span.length = part.length ? (uint32_t)part.length : 1;
    }
    return span;
}

static bool no_axis(const struct chunk_request *out, struct span span, bool last, struct error *err)
{
    error_at(err, ERR_USAGE, span, last ? "nothing follows the last comma" : "an axis is missing between the commas");
    if (last)
        error_help(err, "leave the comma out");
    else if (out->form == CHUNKS_NAMED)
        error_help(err, "axes that keep their length need not be named");
    error_help(err, "by position every axis is given: 744,keep,32");
    return false;
}

/* The name before '=', if there is one; the part is then what follows. */
static bool name_from_text(struct chunk_request *out, struct axis_request *axis, struct part *part, struct span *span,
                           struct arena *arena, struct error *err)
{
    const char *equals = memchr(part->chars, '=', part->length);
    struct part whole = *part, name;

    if (!equals)
        return true;
    name = trimmed(whole.chars, (size_t)(equals - whole.chars));
    *part = trimmed(equals + 1, whole.length - (size_t)(equals + 1 - whole.chars));
    if (!name.length)
        return error_at(err, ERR_USAGE, *span, "an axis has no name before '='");
    axis->name = arena_text(arena, name.chars, name.length);
    axis->name_span = span_within(*span, whole, name);
    *span = span_within(*span, whole, *part);
    if (!axis->name)
        return no_memory(err);
    return name_is_new(out, axis->name, axis->name_span, err);
}

/* One "time=all" or "32" of a flag. */
static bool part_from_text(struct chunk_request *out, struct part part, struct span span, bool last,
                           struct arena *arena, struct error *err)
{
    enum chunk_form form = memchr(part.chars, '=', part.length) ? CHUNKS_NAMED : CHUNKS_LISTED;
    struct axis_request *axis;
    char *words;

    if (!part.length)
        return no_axis(out, span, last && out->count, err);
    if (out->count && out->form != form) {
        error_at(err, ERR_USAGE, span, "axes are given by name and by position");
        error_help(err, "name all of them (time=all,lat=32) or none (744,32)");
        return false;
    }
    out->form = form;
    axis = next_axis(out, span, err);
    if (!axis || !name_from_text(out, axis, &part, &span, arena, err))
        return false;
    words = arena_text(arena, part.chars, part.length);
    if (!words)
        return no_memory(err);
    return axis_from_text(axis, words, span, err);
}

static bool is_size(const char *words)
{
    return isdigit((unsigned char)words[0]) && isalpha((unsigned char)words[strlen(words) - 1]);
}

static bool parts_from_text(struct chunk_request *out, const char *words, struct span span, struct arena *arena,
                            struct error *err)
{
    for (const char *at = words;; ) {
        size_t length = strcspn(at, ",");
        struct part part = trimmed(at, length);
        bool last = !at[length];

        if (!part_from_text(out, part, part_span(span, words, (size_t)(part.chars - words), part.length), last, arena,
                            err))
            return false;
        if (last)
            return true;
        at += length + 1;
    }
}

/* As it is written here: "{time: all, lat: 16}", "time:all" and "time=all lat=16" are how it is written elsewhere.
 * False: there is no room. */
static bool as_written_here(const char *words, char *out, size_t out_bytes)
{
    size_t length = 0;

    for (; *words; words++) {
        bool blank = strchr(" \t{}[]()", *words) != NULL;
        char c = *words == ':' ? '=' : blank ? ',' : *words;
        char before = length ? out[length - 1] : ',';

        if (blank && (before == ',' || before == '='))
            continue;
        if ((c == '=' || c == ',') && before == ',' && length)
            length--;
        if (length + 1 >= out_bytes)
            return false;
        out[length++] = c;
    }
    while (length && out[length - 1] == ',')
        length--;
    out[length] = '\0';
    return true;
}

static void help_as_written_here(const char *words, struct arena *arena, struct error *err)
{
    struct chunk_request request = { .form = CHUNKS_LISTED };
    struct error ignored = { 0 };
    char here[ERROR_TEXT_BYTES / 2];

    if (!as_written_here(words, here, sizeof here) ||
        !parts_from_text(&request, here, SPAN_NONE, arena, &ignored))
        return;
    err->help[0] = '\0';
    error_help(err, "write %s", here);
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
    if (parts_from_text(out, words, span, arena, err))
        return true;
    if (strpbrk(words, ":= [({"))
        help_as_written_here(words, arena, err);
    return false;
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
