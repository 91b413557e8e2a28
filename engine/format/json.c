#include "engine/format/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

/* Nodes and strings are carved from blocks that are freed together. */
struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

struct json_doc {
    struct block *blocks;
    size_t blocks_bytes;
    const struct json *root;
};

struct parser {
    struct json_doc *doc;
    const char *begin, *at, *end;
    const char *const *unread;
    unsigned depth;
    bool skipping;              /* an unread value: nothing is kept */
    const char *why;            /* NULL: all is well */
};

const char json_no_memory[] = "no memory";

static void *carve(struct parser *p, size_t bytes)
{
    struct json_doc *doc = p->doc;
    struct block *block = doc->blocks;
    void *found;

    bytes = (bytes + 15) & ~(size_t)15;
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > 64 * 1024 ? bytes : 64 * 1024;

        if (size > JSON_TREE_BYTES_MAX - doc->blocks_bytes) {
            p->why = "what must be understood of it takes more than the 1MiB it may have in memory";
            return NULL;
        }
        block = malloc(sizeof *block + size);
        if (!block) {
            p->why = json_no_memory;
            return NULL;
        }
        *block = (struct block){ .next = doc->blocks, .size = size };
        doc->blocks = block;
        doc->blocks_bytes += size;
    }
    found = block->bytes + block->used;
    block->used += bytes;
    return found;
}

_Static_assert(JSON_TREE_BYTES_MAX == 1 << 20, "what the complaint says");

/* Forget everything but one block. */
static void clear(struct json_doc *doc)
{
    while (doc->blocks && doc->blocks->next) {
        struct block *next = doc->blocks->next;

        doc->blocks_bytes -= doc->blocks->size;
        free(doc->blocks);
        doc->blocks = next;
    }
    if (doc->blocks)
        doc->blocks->used = 0;
}

static void *complain(struct parser *p, const char *why)
{
    if (!p->why)
        p->why = why;
    return NULL;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
        p->at++;
}

/* The next character, or NUL at the end. */
static char peek(const struct parser *p)
{
    return p->at < p->end ? *p->at : '\0';
}

static bool accept(struct parser *p, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length))
        return false;
    p->at += length;
    return true;
}

/* ---- strings ---- */

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

static bool hex4(struct parser *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        char c = peek(p);

        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            *out = *out << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* After "\u". Half a surrogate pair means nothing and becomes U+FFFD. */
static bool unicode_escape(struct parser *p, uint32_t *c)
{
    const char *before;
    uint32_t low;

    if (!hex4(p, c))
        return false;
    if (*c >= 0xdc00 && *c <= 0xdfff)
        *c = 0xfffd;
    if (*c < 0xd800 || *c > 0xdbff)
        return true;
    before = p->at;
    if (accept(p, "\\u") && hex4(p, &low) && low >= 0xdc00 && low <= 0xdfff) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    } else {
        p->at = before;
        *c = 0xfffd;
    }
    return true;
}

/* The character after a backslash. */
static bool escape(struct parser *p, char **to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = peek(p);
    const char *found = c ? strchr(names, c) : NULL;
    uint32_t code;

    p->at++;
    if (found) {
        *(*to)++ = values[found - names];
        return true;
    }
    if (c != 'u' || !unicode_escape(p, &code))
        return complain(p, "a backslash is followed by something that is no escape");
    *to = put_utf8(*to, code);
    return true;
}

/* At the opening quote. The decoded characters are never more than those written. */
static bool parse_string(struct parser *p, const char **chars, uint32_t *length)
{
    const char *close = p->at + 1;
    char *to, *start, one[8];

    while (close < p->end && *close != '"')
        close += *close == '\\' && p->end - close > 1 ? 2 : 1;
    if (close >= p->end)
        return complain(p, "a string does not end");
    start = to = p->skipping ? one : carve(p, (size_t)(close - p->at));
    if (!start)
        return false;
    p->at++;
    while (p->at < close) {
        size_t sequence = text_utf8_length(p->at, (size_t)(close - p->at));

        if (p->skipping)
            to = one;
        if ((unsigned char)*p->at < 0x20)
            return complain(p, "a string holds a control character");
        if (!sequence)
            return complain(p, "a string is not UTF-8");
        if (*p->at == '\\') {
            p->at++;
            if (!escape(p, &to))
                return false;
            continue;
        }
        memcpy(to, p->at, sequence);
        to += sequence;
        p->at += sequence;
    }
    if (p->at != close)
        return complain(p, "a string ends inside an escape");
    p->at++;
    if (p->skipping)
        return true;
    *to = '\0';
    *chars = start;
    *length = (uint32_t)(to - start);
    return true;
}

/* ---- values ---- */

/* `key` (NULL: none) was read before and is taken over into the node. */
static struct json *parse_value(struct parser *p, const struct json *key);
static bool skip_value(struct parser *p);

static bool digits(struct parser *p)
{
    const char *before = p->at;

    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return p->at > before;
}

static bool parse_number(struct parser *p, struct json *node)
{
    const char *start = p->at;
    char *chars;

    accept(p, "-");
    if (!accept(p, "0") && !digits(p))
        return complain(p, "expected a value");
    if (accept(p, ".") && !digits(p))
        return complain(p, "a number has no digits after its point");
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        if (!accept(p, "+"))
            accept(p, "-");
        if (!digits(p))
            return complain(p, "a number has no digits in its exponent");
    }
    node->kind = JSON_NUMBER;
    if (p->skipping)
        return true;
    node->length = (uint32_t)(p->at - start);
    chars = carve(p, node->length + 1u);
    if (!chars)
        return false;
    memcpy(chars, start, node->length);
    chars[node->length] = '\0';
    node->chars = chars;
    return true;
}

static bool parse_key(struct parser *p, struct json *key)
{
    skip_space(p);
    if (peek(p) != '"')
        return complain(p, "expected a key in double quotes");
    key->key_source = p->at;
    if (!parse_string(p, &key->key, &key->key_length))
        return false;
    key->key_source_length = (uint32_t)(p->at - key->key_source);
    skip_space(p);
    return accept(p, ":") || complain(p, "expected ':'");
}

/* After '[' or '{'. */
static bool parse_members(struct parser *p, struct json *node, const char *close)
{
    const struct json **link = &node->first;

    if (++p->depth > JSON_DEPTH_MAX)
        return complain(p, "it is nested too deeply");
    skip_space(p);
    if (accept(p, close)) {
        p->depth--;
        return true;
    }
    do {
        struct json key = { 0 };

        if (node->kind == JSON_OBJECT && !parse_key(p, &key))
            return false;
        node->count++;
        if (p->skipping) {
            if (!skip_value(p))
                return false;
        } else {
            struct json *member = parse_value(p, &key);

            if (!member)
                return false;
            *link = member;
            link = &member->next;
        }
        skip_space(p);
    } while (accept(p, ","));
    if (!accept(p, close))
        return complain(p, node->kind == JSON_OBJECT ? "expected ',' or '}'" : "expected ',' or ']'");
    p->depth--;
    return true;
}

static bool parse_into(struct parser *p, struct json *node)
{
    static const char *const tokens[] = { "NaN", "Infinity", "-Infinity" };

    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        if (accept(p, tokens[i])) {
            node->kind = JSON_TOKEN;
            node->chars = tokens[i];
            node->length = (uint32_t)strlen(tokens[i]);
            return true;
        }
    if (accept(p, "null")) {
        node->kind = JSON_NULL;
        return true;
    }
    if ((node->truth = accept(p, "true")) || accept(p, "false")) {
        node->kind = JSON_BOOL;
        return true;
    }
    if (peek(p) == '"') {
        node->kind = JSON_STRING;
        return parse_string(p, &node->chars, &node->length);
    }
    if (accept(p, "[")) {
        node->kind = JSON_ARRAY;
        return parse_members(p, node, "]");
    }
    if (accept(p, "{")) {
        node->kind = JSON_OBJECT;
        return parse_members(p, node, "}");
    }
    return parse_number(p, node);
}

static bool skip_value(struct parser *p)
{
    struct json node = { 0 };

    skip_space(p);
    return parse_into(p, &node);
}

static bool has_key(const struct json *member, const char *key)
{
    return member->key && member->key_length == strlen(key) && !memcmp(member->key, key, member->key_length);
}

static bool is_unread(const struct parser *p, const struct json *node)
{
    if (p->depth != 1 || !node->key)
        return false;
    for (const char *const *at = p->unread; at && *at; at++)
        if (has_key(node, *at))
            return true;
    return false;
}

static struct json *parse_value(struct parser *p, const struct json *key)
{
    struct json *node = carve(p, sizeof *node);
    bool ok;

    if (!node)
        return NULL;
    *node = key ? *key : (struct json){ 0 };
    skip_space(p);
    node->source = p->at;
    node->unread = p->skipping = p->skipping || is_unread(p, node);
    ok = parse_into(p, node);
    p->skipping = false;
    if (!ok)
        return NULL;
    node->source_length = (uint32_t)(p->at - node->source);
    return node;
}

static bool parse(struct json_doc **out, struct parser p, char *why, size_t why_bytes)
{
    uint64_t text_bytes = (uint64_t)(p.end - p.begin);
    unsigned line = 1;

    *out = p.doc = calloc(1, sizeof *p.doc);
    if (!p.doc) {
        snprintf(why, why_bytes, "%s", json_no_memory);
        return false;
    }
    if (text_bytes > UINT32_MAX)
        complain(&p, "it is too long");
    else
        p.doc->root = parse_value(&p, NULL);
    if (p.doc->root) {
        skip_space(&p);
        if (p.at == p.end)
            return true;
        complain(&p, "something follows the end");
    }
    for (const char *at = p.begin; at < p.at && at < p.end; at++)
        line += *at == '\n';
    if (p.why == json_no_memory)
        snprintf(why, why_bytes, "%s", json_no_memory);
    else
        snprintf(why, why_bytes, "line %u: %s", line, p.why);
    json_free(p.doc);
    *out = NULL;
    return false;
}

void json_free(struct json_doc *doc)
{
    if (!doc)
        return;
    while (doc->blocks) {
        struct block *next = doc->blocks->next;

        free(doc->blocks);
        doc->blocks = next;
    }
    free(doc);
}

const struct json *json_root(const struct json_doc *doc)
{
    return doc->root;
}

bool json_parse(struct json_doc **doc, const char *text, uint64_t text_bytes, const char *const *unread, char *why,
                size_t why_bytes)
{
    return parse(doc, (struct parser){ .begin = text, .at = text, .end = text + text_bytes, .unread = unread }, why,
                 why_bytes);
}

bool json_parse_unread(struct json_doc **doc, const char *text, uint64_t text_bytes, char *why, size_t why_bytes)
{
    return parse(doc, (struct parser){ .begin = text, .at = text, .end = text + text_bytes, .skipping = true }, why,
                 why_bytes);
}

/* ---- members of what was checked before ---- */

/* At an object's '{'. `doc` is for keys, one after the other. */
static struct parser members_begin(struct json_doc *doc, const struct json *object)
{
    return (struct parser){ .doc = doc, .begin = object->source, .at = object->source + 1,
                            .end = object->source + object->source_length };
}

/* Longer keys are none that anybody looks for: they are not decoded, which may take more memory than there is. */
enum { KEY_SOURCE_BYTES_MAX = 4096 };

/* The next member's key, and its value's source alone. False: there is none, or no memory for its key. */
static bool members_next(struct parser *p, struct json *member)
{
    const char *begin;

    *member = (struct json){ 0 };
    clear(p->doc);
    skip_space(p);
    accept(p, ",");
    skip_space(p);
    begin = p->at;
    p->skipping = true;
    if (peek(p) != '"' || !parse_key(p, member))
        return false;
    p->skipping = false;
    if (member->key_source_length <= KEY_SOURCE_BYTES_MAX) {
        p->at = begin;
        if (!parse_key(p, member))
            return false;
    }
    skip_space(p);
    member->source = p->at;
    p->skipping = true;
    if (!skip_value(p))
        return false;
    p->skipping = false;
    member->source_length = (uint32_t)(p->at - member->source);
    return true;
}

struct json_doc *json_parse_member(const struct json *object, const char *key, bool *no_memory)
{
    struct json_doc keys = { 0 }, *found = NULL;
    struct parser p = members_begin(&keys, object);
    struct json member, last = { 0 };
    char why[64];

    while (object->kind == JSON_OBJECT && members_next(&p, &member))
        if (has_key(&member, key))
            last = member;
    clear(&keys);
    free(keys.blocks);
    *no_memory = p.why == json_no_memory;
    if (*no_memory)
        return NULL;
    if (last.source && json_parse(&found, last.source, last.source_length, NULL, why, sizeof why))
        return found;
    *no_memory = last.source && strcmp(why, json_no_memory) == 0;
    return NULL;
}

/* ---- looking at values ---- */

const struct json *json_get(const struct json *object, const char *key)
{
    const struct json *found = NULL;

    if (!object || object->kind != JSON_OBJECT)
        return NULL;
    for (const struct json *member = object->first; member; member = member->next)
        if (has_key(member, key))
            found = member;
    return found;
}

const char *json_string(const struct json *value)
{
    bool has_chars = value && value->kind == JSON_STRING && !value->unread;

    return has_chars && strlen(value->chars) == value->length ? value->chars : NULL;
}

bool json_is(const struct json *value, const char *chars)
{
    const char *string = json_string(value);

    return string && !strcmp(string, chars);
}

bool json_uint(const struct json *value, uint64_t *out)
{
    unsigned long long number;
    char *end;

    if (!value || value->kind != JSON_NUMBER || value->unread || value->chars[0] == '-')
        return false;
    errno = 0;
    number = strtoull(value->chars, &end, 10);
    if (errno || *end)
        return false;
    *out = number;
    return true;
}

bool json_int(const struct json *value, int64_t *out)
{
    long long number;
    char *end;

    if (!value || value->kind != JSON_NUMBER || value->unread)
        return false;
    errno = 0;
    number = strtoll(value->chars, &end, 10);
    if (errno || *end)
        return false;
    *out = number;
    return true;
}

/* ---- writing ---- */

/* What was checked before needs no grammar: what is not in a string is copied, spaced anew. */
static void write_source(const char *at, const char *end, struct text *out)
{
    while (at < end) {
        size_t length = 1;

        if (*at == '"') {
            while (at[length] != '"')
                length += at[length] == '\\' ? 2 : 1;
            text_add_bytes(out, at, ++length);
        } else if (*at == ',' || *at == ':') {
            text_add(out, *at == ',' ? ", " : ": ");
        } else if (*at == 'N' || *at == 'I' || (*at == '-' && at[1] == 'I')) {
            length = *at == 'N' ? strlen("NaN") : *at == 'I' ? strlen("Infinity") : strlen("-Infinity");
            text_addf(out, "\"%.*s\"", (int)length, at);
        } else if (*at != ' ' && *at != '\t' && *at != '\n' && *at != '\r') {
            while (at + length < end && !strchr("\",: \t\n\rNI-", at[length]))
                length++;
            text_add_bytes(out, at, length);
        }
        at += length;
    }
}

void json_write(const struct json *value, const char *without, struct text *out)
{
    struct json_doc keys = { 0 };
    struct parser p = members_begin(&keys, value);
    struct json member;
    bool first = true;

    if (!without || value->kind != JSON_OBJECT) {
        write_source(value->source, value->source + value->source_length, out);
        return;
    }
    text_add(out, "{");
    while (members_next(&p, &member)) {
        if (has_key(&member, without))
            continue;
        if (!first)
            text_add(out, ", ");
        first = false;
        text_add_bytes(out, member.key_source, member.key_source_length);
        text_add(out, ": ");
        write_source(member.source, member.source + member.source_length, out);
    }
    text_add(out, "}");
    if (p.why == json_no_memory)
        out->cut = out->no_memory = true;
    clear(&keys);
    free(keys.blocks);
}
