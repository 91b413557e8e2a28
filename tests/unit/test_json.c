/* JSON that is only passed on: checked as everything, kept as text alone. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "engine/format/json.h"
#include "tests/unit/test.h"

static const char *const unread[] = { "attributes", NULL };

/* What json_write makes of "attributes" in `text`. To be freed; NULL: `text` was refused. */
static char *rewritten(const char *text, const char *without, char *why)
{
    struct json_doc *doc;
    struct text out;

    if (!json_parse(&doc, text, strlen(text), unread, why, 128))
        return NULL;
    CHECK(json_get(json_root(doc), "attributes")->unread);
    text_init(&out, 64 << 20);
    json_write(json_get(json_root(doc), "attributes"), without, &out);
    json_free(doc);
    return text_detach(&out);
}

static bool gives(const char *text, const char *without, const char *wanted)
{
    char why[128] = "", *got = rewritten(text, without, why);
    bool same = got && !strcmp(got, wanted);

    if (!same)
        fprintf(stderr, "%s\n    -> %s %s\n", text, got ? got : "", why);
    free(got);
    return same;
}

static void test_json__unread_values_are_written_as_they_were(void)
{
    CHECK(gives("{\"attributes\" : { \"a\" :1e-5,\n\"b\":[ -1 , -Infinity,NaN , Infinity,-2.5E-3],\"c\" : {\"\" : null }}}",
                NULL, "{\"a\": 1e-5, \"b\": [-1, \"-Infinity\", \"NaN\", \"Infinity\", -2.5E-3], \"c\": {\"\": null}}"));
    CHECK(gives("{\"attributes\": {\"NaN\": \"x, y: \\\"NaN\\\\\", \"e\": [ ], \"f\": { }, \"t\": true}}", NULL,
                "{\"NaN\": \"x, y: \\\"NaN\\\\\", \"e\": [], \"f\": {}, \"t\": true}"));
    CHECK(gives("{\"attributes\": [1, \"\\u00e9\"]}", NULL, "[1, \"\\u00e9\"]"));
}

static void test_json__members_are_left_out_by_what_their_key_means(void)
{
    CHECK(gives("{\"attributes\": {\"x\": 1, \"y\": [2], \"z\": {\"x\": 3}}}", "x", "{\"y\": [2], \"z\": {\"x\": 3}}"));
    CHECK(gives("{\"attributes\": {\"a\": NaN, \"\\u0078\": 1}}", "x", "{\"a\": \"NaN\"}"));
    CHECK(gives("{\"attributes\": {\"x\": 1}}", "x", "{}"));
    /* a NUL does not end a key: this is another one */
    CHECK(gives("{\"attributes\": {\"x\\u0000\": 1}, \"attributes\\u0000\": 2}", "x", "{\"x\\u0000\": 1}"));
}

/* It would take more memory than a tree may have. */
static void test_json__a_huge_key_hides_no_other(void)
{
    enum { KEY_BYTES = 2 << 20 };
    static const char head[] = "{\"attributes\": {\"x\": 1, \"", tail[] = "\": 2, \"last\": 3}}";
    static const char rest[] = "\": 2, \"last\": 3}";
    char *text = calloc(1, KEY_BYTES + 100), why[128] = "", *got;

    strcpy(text, head);
    memset(text + strlen(head), 'k', KEY_BYTES);
    strcat(text + KEY_BYTES, tail);
    got = rewritten(text, "x", why);
    CHECK(got && strlen(got) == KEY_BYTES + strlen(rest) + 2 && !strcmp(got + KEY_BYTES + 2, rest));
    free(got);
    free(text);
}

static void test_json__members_of_unread_objects_are_found(void)
{
    static const char text[] = " {\"x\": 1, \"y\": [\"a\", \"b\"], \"x\": {\"deep\": 5}} ";
    struct json_doc *doc, *member;
    uint64_t number = 0;
    bool no_memory;
    char why[128];

    CHECK(json_parse_unread(&doc, text, strlen(text), why, sizeof why));
    CHECK(json_root(doc)->unread && json_root(doc)->count == 3 && json_root(doc)->kind == JSON_OBJECT);
    CHECK(!json_get(json_root(doc), "x"));
    member = json_parse_member(json_root(doc), "x", &no_memory);
    CHECK(member && json_uint(json_get(json_root(member), "deep"), &number) && number == 5);
    json_free(member);
    member = json_parse_member(json_root(doc), "y", &no_memory);
    CHECK(member && json_is(json_root(member)->first->next, "b"));
    json_free(member);
    CHECK(!json_parse_member(json_root(doc), "z", &no_memory) && !no_memory);
    json_free(doc);
}

static bool refused(const char *text, const char *words)
{
    char why[128] = "", *got = rewritten(text, NULL, why);
    bool told = !got && strstr(why, words);

    if (!told)
        fprintf(stderr, "%.80s\n    -> %s %s\n", text, got ? "accepted" : "refused", why);
    free(got);
    return told;
}

static void test_json__unread_values_are_checked_all_the_same(void)
{
    char deep[600] = "{\"attributes\": ";

    CHECK(refused("{\"attributes\": {\"a\" 1}}", "expected ':'"));
    CHECK(refused("{\"attributes\": {\"a\": 1", "expected ',' or '}'"));
    CHECK(refused("{\"attributes\": [1, 2,]}", "expected a value"));
    CHECK(refused("{\"attributes\": [01]}", "expected ',' or ']'"));
    CHECK(refused("{\"attributes\":\n\"\xff\"}", "line 2: a string is not UTF-8"));
    CHECK(refused("{\"attributes\": \"\\q\"}", "no escape"));
    CHECK(refused("{\"attributes\": \"\\u12\"}", "no escape"));
    CHECK(refused("{\"attributes\": \"abc}", "does not end"));
    memset(deep + strlen(deep), '[', 200);
    CHECK(refused(deep, "nested too deeply"));
}

/* Two million numbers and a string of 9 MB: as a tree they would be hundreds of MB. */
static void test_json__unread_values_cost_their_text_alone(void)
{
    size_t length = 0, numbers = 2000000, letters = 9000000, before;
    char *text = malloc(numbers * 2 + letters + 100), why[128] = "";
    struct json_doc *doc;

    length += (size_t)snprintf(text, 100, "{\"attributes\": {\"a\": [0");
    for (size_t i = 0; i < numbers; i++, length += 2)
        memcpy(text + length, ",1", 2);
    memcpy(text + length, "], \"b\": \"", 9);
    memset(text + length + 9, 'x', letters);
    length += 9 + letters;
    memcpy(text + length, "\"}}", 4);
    length += 3;
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    CHECK(json_parse(&doc, text, length, unread, why, sizeof why));
    CHECK(mallinfo2().uordblks + mallinfo2().hblkhd < before + (1 << 20));
    json_free(doc);
    CHECK(!json_parse(&doc, text, length, NULL, why, sizeof why));
    CHECK(strstr(why, "1MiB") != NULL);
    free(text);
}

int main(void)
{
    RUN(test_json__unread_values_are_written_as_they_were);
    RUN(test_json__members_are_left_out_by_what_their_key_means);
    RUN(test_json__a_huge_key_hides_no_other);
    RUN(test_json__members_of_unread_objects_are_found);
    RUN(test_json__unread_values_are_checked_all_the_same);
    RUN(test_json__unread_values_cost_their_text_alone);
    return test_summary();
}
