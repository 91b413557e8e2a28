/* JSON texts: read, read without keeping, written again. */
#include "engine/format/json.h"
#include "tests/fuzz/fuzz.h"

static void walk(const struct json *value, unsigned depth)
{
    uint32_t count = 0;
    uint64_t u;
    int64_t i;

    MUST(depth <= JSON_DEPTH_MAX + 1);
    MUST(!json_uint(value, &u) || value->kind == JSON_NUMBER);
    MUST(!json_int(value, &i) || value->kind == JSON_NUMBER);
    if (value->chars)
        MUST(value->chars[value->length] == '\0');
    for (const struct json *at = value->first; at; at = at->next, count++) {
        MUST(!at->key || strlen(at->key) != at->key_length || json_get(value, at->key));
        walk(at, depth + 1);
    }
    MUST(value->unread || count == value->count || value->kind < JSON_ARRAY);
}

static void must_come_back(const struct json *root)
{
    struct text once, twice;
    struct json_doc *doc;
    char why[128] = "";

    text_init(&once, 8 << 20);
    text_init(&twice, 8 << 20);
    json_write(root, NULL, &once);
    if (!json_parse(&doc, once.chars, once.length, NULL, why, sizeof why)) {
        fprintf(stderr, "%s\n%s\n", once.chars, why);
        MUST(!"what was written is refused");
    }
    json_write(json_root(doc), NULL, &twice);
    MUST(strcmp(once.chars, twice.chars) == 0);
    json_free(doc);
    text_release(&once);
    text_release(&twice);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    static const char *const unread[] = { "attributes", NULL };
    char *text = exactly(data, bytes), why[128] = "";
    struct json_doc *doc = NULL, *member;
    bool read = json_parse(&doc, text, bytes, NULL, why, sizeof why), partly, no_memory;

    if (read) {
        walk(json_root(doc), 0);
        must_come_back(json_root(doc));
        json_free(doc);
    } else {
        MUST(why[0]);
    }
    partly = json_parse(&doc, text, bytes, unread, why, sizeof why);
    MUST(partly || !read);
    if (partly) {
        walk(json_root(doc), 0);
        member = json_parse_member(json_root(doc), "attributes", &no_memory);
        if (member)
            walk(json_root(member), 0);
        json_free(member);
        json_free(doc);
    }
    if (json_parse_unread(&doc, text, bytes, why, sizeof why))
        json_free(doc);
    else
        MUST(!partly);
    free(text);
    return 0;
}
