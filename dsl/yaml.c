#include "dsl/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Reading keeps one cursor into the text, because libyaml counts characters and a span counts bytes. Events come
 * in the order of the file, so the cursor only goes forward and the whole costs one pass. */
struct reader {
    yaml_parser_t parser;
    const struct source *source;
    struct arena *arena;
    struct error *err;
    unsigned nodes;

    uint64_t at_byte, at_character;     /* the cursor */
    uint32_t line;                      /* of the cursor */
    uint64_t line_byte;                 /* where that line begins */
};

static uint64_t next_character(const struct source *source, uint64_t at)
{
    for (at++; at < source->text_bytes && ((unsigned char)source->text[at] & 0xc0) == 0x80; at++)
        ;
    return at;
}

static void rewind_cursor(struct reader *r)
{
    r->at_byte = r->at_character = r->line_byte = 0;
    r->line = 1;
}

/* Lines end with \n, \r\n or \r, as error.c shows them. */
static bool ends_line(const struct source *source, uint64_t byte)
{
    return source->text[byte] == '\n' || (source->text[byte] == '\r' && source->text[byte + 1] != '\n');
}

static void move_to(struct reader *r, uint64_t character)
{
    while (r->at_character < character && r->at_byte < r->source->text_bytes) {
        if (ends_line(r->source, r->at_byte)) {
            r->line++;
            r->line_byte = r->at_byte + 1;
        }
        r->at_byte = next_character(r->source, r->at_byte);
        r->at_character++;
    }
}

/* From one mark to another, but not past the end of the first line; at least one byte. */
static struct span span_between(struct reader *r, const yaml_mark_t *from, const yaml_mark_t *to)
{
    struct span span = { .source = r->source };
    uint64_t end, character;

    move_to(r, from->index);
    span.line = r->line;
    span.column = (uint32_t)(r->at_byte - r->line_byte) + 1;
    end = r->at_byte;
    for (character = r->at_character; character < to->index && end < r->source->text_bytes; character++) {
        if (r->source->text[end] == '\n' || r->source->text[end] == '\r')
            break;
        end = next_character(r->source, end);
    }
    while (end > r->at_byte + 1 && (r->source->text[end - 1] == ' ' || r->source->text[end - 1] == '\t'))
        end--;
    span.length = end > r->at_byte ? (uint32_t)(end - r->at_byte) : 1;
    return span;
}

static struct span span_of_byte(const struct source *source, uint64_t byte)
{
    struct span span = { source, 1, 1, 1, NULL };

    for (uint64_t at = 0; at < byte && at < source->text_bytes; at++) {
        span.column++;
        if (ends_line(source, at)) {
            span.line++;
            span.column = 1;
        }
    }
    return span;
}

static bool no_memory(struct error *err)
{
    return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the pipeline file");
}

/* Did libyaml come to the end of the file? Trailing blanks and comments count as none. */
static bool is_at_end(const struct reader *r)
{
    struct reader probe = *r;
    const char *at;

    move_to(&probe, r->parser.problem_mark.index);
    at = r->source->text + probe.at_byte;
    return at[strspn(at, " \t\r\n")] == '\0';
}

/* Is it a quote or a bracket that was opened? Then the place is where that was, not where the file ends. */
static bool never_closed(struct reader *r)
{
    const yaml_mark_t *opened = &r->parser.context_mark;
    struct span span;
    char mark;

    rewind_cursor(r);           /* it may stand before what was read last */
    span = span_between(r, opened, opened);
    mark = r->source->text[r->at_byte];
    rewind_cursor(r);
    if (!mark || !strchr("\"'[{", mark))
        return false;
    error_at(r->err, ERR_USAGE, span, "this %c is never closed", mark);
    if (mark == '"' || mark == '\'')
        error_help(r->err, mark == '"' ? "end the value with \"; a \" inside it is written \\\""
                                       : "end the value with '; a ' inside it is written ''");
    else
        error_help(r->err, "close it with %c", mark == '{' ? '}' : ']');
    return true;
}

/* libyaml found it malformed. Its words are kept; the ones people meet most get help. */
static bool malformed(struct reader *r)
{
    yaml_parser_t *p = &r->parser;
    struct span span;

    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(r->err);
    if (p->error == YAML_READER_ERROR) {
        error_at(r->err, ERR_USAGE, span_of_byte(r->source, p->problem_offset), "%s", p->problem);
        error_help(r->err, "a pipeline file is UTF-8 text");
        return false;
    }
    if (p->context && is_at_end(r) && never_closed(r))
        return false;
    span = span_between(r, &p->problem_mark, &p->problem_mark);
    error_at(r->err, ERR_USAGE, span, "this is not YAML: %s", p->problem ? p->problem : "syntax error");
    if (p->context && p->context_mark.line != p->problem_mark.line)
        error_note(r->err, "%s that begins on line %zu", p->context, p->context_mark.line + 1);
    else if (p->context)
        error_note(r->err, "%s", p->context);
    if (r->at_byte < r->source->text_bytes && r->source->text[r->at_byte] == '\t')
        error_help(r->err, "YAML is indented with spaces, not tabs");
    else if (r->at_byte < r->source->text_bytes && strchr("@`%", r->source->text[r->at_byte]))
        error_help(r->err, "put it in quotes");
    else if (p->problem && strstr(p->problem, "mapping values are not allowed"))
        error_help(r->err, "a value that holds ': ' needs quotes, and a nested key a line of its own");
    return false;
}

static struct yaml_node *new_node(struct reader *r, enum yaml_kind kind, const yaml_event_t *event)
{
    struct yaml_node *node;

    if (++r->nodes > YAML_NODES_MAX) {
        error_at(r->err, ERR_USAGE, span_between(r, &event->start_mark, &event->end_mark),
                 "the file has more than %d values", YAML_NODES_MAX);
        return NULL;
    }
    node = arena_take(r->arena, sizeof *node);
    if (!node) {
        no_memory(r->err);
        return NULL;
    }
    node->kind = kind;
    node->span = span_between(r, &event->start_mark, &event->end_mark);
    return node;
}

/* What is legal YAML and not taken here. */
static bool refuse_features(struct reader *r, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    struct span span = span_between(r, &event->start_mark, &event->end_mark);

    if (event->type == YAML_ALIAS_EVENT) {
        error_at(r->err, ERR_USAGE, span, "alias '*%s': aliases are not taken", event->data.alias.anchor);
        error_help(r->err, "write the value again, or give it a name under 'params:' and use $NAME; a text that "
                   "begins with * needs quotes");
        return false;
    }
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor) {
        error_at(r->err, ERR_USAGE, span, "anchor '&%s': anchors are not taken", anchor);
        error_help(r->err, "write the value where it is used, or give it a name under 'params:' and use $NAME");
        return false;
    }
    if (tag) {
        error_at(r->err, ERR_USAGE, span, "tag '%s': tags are not taken", tag);
        error_help(r->err, "leave it out: the key says what its value means; a text that begins with ! needs quotes");
        return false;
    }
    return true;
}

/* The next event, with what is not taken refused. The caller deletes it, also on failure (it is empty then). */
static bool next_event(struct reader *r, yaml_event_t *event)
{
    memset(event, 0, sizeof *event);
    if (!yaml_parser_parse(&r->parser, event))
        return malformed(r);
    return refuse_features(r, event);
}

static struct yaml_node *scalar(struct reader *r, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    struct yaml_node *node = new_node(r, YAML_SCALAR, event);

    if (!node)
        return NULL;
    if (memchr(value, '\0', event->data.scalar.length)) {
        error_at(r->err, ERR_USAGE, node->span, "a NUL byte in a value");
        return NULL;
    }
    node->text = arena_text(r->arena, value, event->data.scalar.length);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!node->text) {
        no_memory(r->err);
        return NULL;
    }
    return node;
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_node *left = *(struct yaml_node *const *)a, *right = *(struct yaml_node *const *)b;
    int order = strcmp(left->key, right->key);

    if (order)
        return order;
    if (left->key_span.line != right->key_span.line)
        return left->key_span.line < right->key_span.line ? -1 : 1;
    return left->key_span.column < right->key_span.column ? -1 : left->key_span.column > right->key_span.column;
}

/* By sorting: a map of 100,000 keys must not cost 10^10 comparisons. */
static bool keys_differ(struct reader *r, const struct yaml_node *map)
{
    struct yaml_node **sorted;
    unsigned count = 0;

    if (map->count < 2)
        return true;
    sorted = malloc(map->count * sizeof *sorted);
    if (!sorted)
        return no_memory(r->err);
    for (struct yaml_node *entry = map->first; entry; entry = entry->next)
        sorted[count++] = entry;
    qsort(sorted, count, sizeof *sorted, compare_keys);
    for (unsigned i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0) {
            error_at(r->err, ERR_USAGE, sorted[i]->key_span, "key '%s' comes twice", sorted[i]->key);
            error_note(r->err, "the first one is on line %u", sorted[i - 1]->key_span.line);
            error_help(r->err, "leave one of them out");
            break;
        }
    free(sorted);
    return r->err->code == ERR_NONE;
}

static struct yaml_node *value(struct reader *r, yaml_event_t *event, unsigned depth);

/* The key of the next entry; *key NULL: the map is at its end. */
static bool map_key(struct reader *r, struct yaml_node **key)
{
    yaml_event_t event;
    struct span span;
    bool ok = false;

    *key = NULL;
    if (!next_event(r, &event))
        goto out;
    if (event.type == YAML_MAPPING_END_EVENT) {
        ok = true;
        goto out;
    }
    if (event.type != YAML_SCALAR_EVENT) {
        span = span_between(r, &event.start_mark, &event.end_mark);
        error_at(r->err, ERR_USAGE, span, "a %s cannot be a key",
                 event.type == YAML_SEQUENCE_START_EVENT ? "list" : "map");
        error_help(r->err, "a word in {braces} that is a value needs quotes");
        goto out;
    }
    *key = scalar(r, &event);
    if (*key && !(*key)->text[0])
        error_at(r->err, ERR_USAGE, (*key)->span, "a key is empty");
    ok = *key && r->err->code == ERR_NONE;
out:
    yaml_event_delete(&event);
    return ok;
}

static bool entries(struct reader *r, struct yaml_node *parent, unsigned depth)
{
    struct yaml_node **end = &parent->first, *node, *key = NULL;
    yaml_event_t event;
    bool done;

    for (;;) {
        if (parent->kind == YAML_MAP) {
            if (!map_key(r, &key))
                return false;
            if (!key)
                return keys_differ(r, parent);
        }
        if (!next_event(r, &event)) {
            yaml_event_delete(&event);
            return false;
        }
        done = event.type == YAML_SEQUENCE_END_EVENT;
        node = done ? NULL : value(r, &event, depth + 1);
        yaml_event_delete(&event);
        if (done)
            return true;
        if (!node)
            return false;
        if (key) {
            node->key = key->text;
            node->key_span = key->span;
        }
        *end = node;
        end = &node->next;
        parent->count++;
    }
}

/* The node that begins with `event`; NULL on error. Recursion is bounded by YAML_DEPTH_MAX. */
static struct yaml_node *value(struct reader *r, yaml_event_t *event, unsigned depth)
{
    struct yaml_node *node;

    if (depth > YAML_DEPTH_MAX) {
        error_at(r->err, ERR_USAGE, span_between(r, &event->start_mark, &event->end_mark),
                 "nested deeper than %d levels", YAML_DEPTH_MAX);
        return NULL;
    }
    if (event->type == YAML_SCALAR_EVENT)
        return scalar(r, event);
    node = new_node(r, event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST, event);
    return node && entries(r, node, depth) ? node : NULL;
}

/* Step over the events before the first value. False and no error: there is none. */
static bool first_event(struct reader *r, yaml_event_t *event)
{
    do {
        yaml_event_delete(event);
        if (!next_event(r, event))
            return false;
    } while (event->type == YAML_STREAM_START_EVENT || event->type == YAML_DOCUMENT_START_EVENT);
    return event->type != YAML_STREAM_END_EVENT;
}

static bool read_rest(struct reader *r)
{
    yaml_event_t event;
    bool end = false, ok;

    do {
        ok = next_event(r, &event);
        if (ok && event.type == YAML_DOCUMENT_START_EVENT) {
            ok = error_at(r->err, ERR_USAGE, span_between(r, &event.start_mark, &event.end_mark),
                          "a second document begins here");
            error_help(r->err, "one file is one pipeline: put the other into a file of its own");
        }
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    } while (ok && !end);
    return ok;
}

static bool sizes_are_sane(const struct source *source, struct error *err)
{
    const char *nul = memchr(source->text, '\0', source->text_bytes);

    if (source->text_bytes > YAML_FILE_BYTES_MAX)
        return error_at(err, ERR_USAGE, (struct span){ .source = source }, "larger than 1MiB: not a pipeline file");
    if (nul) {
        error_at(err, ERR_USAGE, span_of_byte(source, (uint64_t)(nul - source->text)), "a NUL byte");
        error_help(err, "a pipeline file is UTF-8 text");
        return false;
    }
    return true;
}

bool yaml_read(struct yaml_node **root, const struct source *source, struct arena *arena, struct error *err)
{
    struct reader r = { .source = source, .arena = arena, .err = err, .line = 1 };
    yaml_event_t event = { 0 };

    *root = NULL;
    if (!sizes_are_sane(source, err))
        return false;
    if (!yaml_parser_initialize(&r.parser))
        return no_memory(err);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)source->text, source->text_bytes);
    if (first_event(&r, &event)) {
        *root = value(&r, &event, 1);
    } else if (err->code == ERR_NONE) {
        error_at(err, ERR_USAGE, (struct span){ .source = source }, "there is nothing in this file");
        error_help(err, "'sluice help keys' shows a small one");
    }
    yaml_event_delete(&event);
    if (*root && !read_rest(&r))
        *root = NULL;
    yaml_parser_delete(&r.parser);
    return *root != NULL;
}

const char *yaml_kind_name(enum yaml_kind kind)
{
    return kind == YAML_MAP ? "a map" : kind == YAML_LIST ? "a list" : "text";
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    for (struct yaml_node *entry = map->first; entry; entry = entry->next)
        if (entry->key && strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

struct span yaml_span_of(struct span whole, const char *what, uint32_t length)
{
    const char *at = whole.source ? whole.source->text : NULL, *end, *found;

    if (!at)
        return whole;
    end = at + whole.source->text_bytes;
    for (uint32_t line = 1; line < whole.line && at < end; at++)
        line += ends_line(whole.source, (uint64_t)(at - whole.source->text));
    at += whole.column - 1;
    if (at > end || whole.length > (uint64_t)(end - at))
        return whole;
    found = memmem(at, whole.length, what, length);
    if (!found)
        return whole;
    whole.column += (uint32_t)(found - at);
    whole.length = length;
    return whole;
}
