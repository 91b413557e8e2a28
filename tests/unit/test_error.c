/* test_error.c - engine/base/error.c: what is printed, letter by letter, and what is kept. */
#include "engine/base/error.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

static const char pipeline_text[] =
    "input: in.zarr\n"
    "\n"
    "memory: 512MiB\n"
    "output:\tout.zarr";

static const struct source pipeline = {
    .name = "rechunk.yaml", .text = pipeline_text, .text_bytes = sizeof pipeline_text - 1,
};

static struct span span_at(const struct source *s, uint32_t line, uint32_t column, uint32_t length)
{
    return (struct span){ .source = s, .line = line, .column = column, .length = length };
}

static void check_printed(const struct error *err, const char *wanted)
{
    char got[4096] = "";
    FILE *to = fmemopen(got, sizeof got, "w");

    error_print(err, to);
    fclose(to);
    if (strcmp(got, wanted)) {
        fprintf(stderr, "printed:\n%s\nwanted:\n%s\n", got, wanted);
        CHECK(!strcmp(got, wanted));
    }
}

static void test_error__an_input_that_changed_is_told_from_one_that_is_damaged(void)
{
    struct error changed = { 0 }, damaged = { 0 };

    CHECK(!error_changed(&changed, SPAN_NONE, "it ends after %d bytes", 3));
    CHECK(changed.input_changed && changed.code == ERR_INPUT && !strcmp(changed.message, "it ends after 3 bytes"));
    error_at(&damaged, ERR_INPUT, SPAN_NONE, "damaged");
    error_changed(&damaged, SPAN_NONE, "changed");
    CHECK(!damaged.input_changed && !strcmp(damaged.message, "damaged"));
}

static void test_error__is_printed_with_its_line_and_notes(void)
{
    struct error err = { 0 };

    CHECK(!error_at(&err, ERR_FIT, span_at(&pipeline, 3, 9, 6), "512MiB cannot hold this, which needs %s", "650MiB"));
    error_key(&err, "memory");
    error_note(&err, "merge: one bucket %d x 8MiB", 64);
    error_note(&err, "merge: encoder scratch");
    error_help(&err, "raise memory to 650MiB");
    check_printed(&err,
                  "rechunk.yaml:3:9: error: memory: 512MiB cannot hold this, which needs 650MiB\n"
                  "    3 | memory: 512MiB\n"
                  "      |         ^~~~~~\n"
                  "note: merge: one bucket 64 x 8MiB\n"
                  "note: merge: encoder scratch\n"
                  "help: raise memory to 650MiB\n");
}

static void test_error__without_a_place_names_the_program(void)
{
    struct error err = { 0 };

    error_at(&err, ERR_IO, SPAN_NONE, "something");
    check_printed(&err, "sluice: error: something\n");
}

static void test_error__the_last_line_needs_no_newline_and_tabs_keep_the_column(void)
{
    struct error err = { 0 };

    error_at(&err, ERR_EXISTS, span_at(&pipeline, 4, 9, 8), "'out.zarr' exists");
    check_printed(&err,
                  "rechunk.yaml:4:9: error: 'out.zarr' exists\n"
                  "    4 | output: out.zarr\n"
                  "      |         ^~~~~~~~\n");
}

static void test_error__an_empty_line_and_a_line_that_is_not_there(void)
{
    struct error err = { 0 };

    error_at(&err, ERR_USAGE, span_at(&pipeline, 2, 1, 1), "nothing here");
    check_printed(&err, "rechunk.yaml:2:1: error: nothing here\n    2 | \n      | ^\n");
    err.span = span_at(&pipeline, 5, 1, 1);
    check_printed(&err, "rechunk.yaml:5:1: error: nothing here\n");
}

static void test_error__a_span_past_the_line_is_cut_to_it(void)
{
    struct error err = { 0 };

    error_at(&err, ERR_USAGE, span_at(&pipeline, 1, 8, 4000000000u), "long");
    check_printed(&err, "rechunk.yaml:1:8: error: long\n    1 | input: in.zarr\n      |        ^~~~~~~\n");
    err.span = span_at(&pipeline, 1, 4000000000u, 9);
    check_printed(&err, "rechunk.yaml:1:4000000000: error: long\n    1 | input: in.zarr\n      |               ^\n");
}

static void test_error__carets_count_characters_not_bytes(void)
{
    static const char text[] = "\xc3\xa4\xc3\xb6: w\xc3\xbcst\r\nb: 1\rc: 2";
    struct source source = { .name = "x", .text = text, .text_bytes = sizeof text - 1 };
    struct error err = { 0 };

    error_at(&err, ERR_USAGE, span_at(&source, 1, 7, 5), "no");
    check_printed(&err, "x:1:7: error: no\n    1 | \xc3\xa4\xc3\xb6: w\xc3\xbcst\n      |     ^~~~\n");
    err.span = span_at(&source, 2, 4, 1);
    check_printed(&err, "x:2:4: error: no\n    2 | b: 1\n      |    ^\n");
    err.span = span_at(&source, 3, 4, 1);       /* a lone carriage return ends a line, too */
    check_printed(&err, "x:3:4: error: no\n    3 | c: 2\n      |    ^\n");
}

static void test_error__of_a_long_line_the_part_around_the_place_is_shown(void)
{
    char text[1000], got[2048] = "";
    struct source source = { .name = "x", .text = text, .text_bytes = sizeof text };
    struct error err = { 0 };
    FILE *to = fmemopen(got, sizeof got, "w");
    const char *second, *third;

    memset(text, 'a', sizeof text);
    text[500] = 'X';
    error_at(&err, ERR_USAGE, span_at(&source, 1, 501, 700), "here");
    error_print(&err, to);
    fclose(to);
    second = strchr(got, '\n') + 1;
    third = strchr(second, '\n') + 1;
    CHECK_EQUAL(third - second - 1, strlen("    1 | ") + 3 + 160 + 3);
    CHECK(!strncmp(second, "    1 | ...aaa", 14));
    CHECK_EQUAL(strchr(second, 'X') - second, strchr(third, '^') - third);
    CHECK(strlen(third) <= (size_t)(third - second));
}

/* A run of bytes that are all inside of characters has no place to begin at. */
static void test_error__a_long_line_that_is_not_utf8_is_shown_too(void)
{
    char line[400];
    struct source noise = { .name = "p.yaml", .text = line, .text_bytes = sizeof line };

    memset(line, '\xb1', sizeof line);
    for (uint32_t column = 1; column <= sizeof line; column += 19) {
        struct error err = { 0 };
        char *chars = NULL;
        size_t length = 0;
        FILE *to = open_memstream(&chars, &length);

        error_at(&err, ERR_USAGE, span_at(&noise, 1, column, 300), "not UTF-8");
        error_print(&err, to);
        fclose(to);
        CHECK(length < 300 && strchr(chars, '^'));
        free(chars);
    }
}

static void test_error__what_comes_from_outside_cannot_steer_the_terminal(void)
{
    static const char text[] = "a: \x1b[31mred";
    struct source source = { .name = "x\n.yaml", .text = text, .text_bytes = sizeof text - 1 };
    struct error err = { 0 };

    error_at(&err, ERR_INPUT, span_at(&source, 1, 4, 1), "'%s'", "\x1b]0;x\x07");
    check_printed(&err, "x?.yaml:1:4: error: '?]0;x?'\n    1 | a: ?[31mred\n      |    ^\n");
}

static void test_error__the_first_cause_wins(void)
{
    struct error err = { 0 };

    error_at(&err, ERR_INPUT, SPAN_NONE, "first");
    CHECK(!error_at(&err, ERR_IO, span_at(&pipeline, 1, 1, 1), "second"));
    CHECK(!error_sys(&err, ENOSPC, SPAN_NONE, "third"));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK_EQUAL(err.sys_errno, 0);
    CHECK(!strcmp(err.message, "first"));
    CHECK(!err.span.source);
    error_locate(&err, span_at(&pipeline, 3, 1, 6));
    error_locate(&err, span_at(&pipeline, 1, 1, 1));
    CHECK_EQUAL(err.span.line, 3);
    error_key(&err, "memory");
    error_key(&err, "other");
    CHECK(!strcmp(err.key, "memory"));
    error_help(&err, "one");
    error_help(&err, "two");
    CHECK(!strcmp(err.help, "one"));
}

static void test_error__nothing_is_added_to_no_error(void)
{
    struct error err = { 0 }, untouched = { 0 };

    error_note(&err, "note");
    error_help(&err, "help");
    error_key(&err, "key");
    error_bytes(&err, 1, 2);
    error_locate(&err, span_at(&pipeline, 1, 1, 1));
    CHECK(!memcmp(&err, &untouched, sizeof err));
}

static void test_error__a_stop_has_no_place(void)
{
    struct error err = { 0 };

    CHECK(!error_stopped(&err, SIGTERM));
    error_locate(&err, span_at(&pipeline, 1, 1, 1));
    error_prefix(&err, "chunk");
    CHECK(!err.span.source);
    CHECK(!strcmp(err.message, "stopped by SIGTERM"));
}

static void test_error__notes_end_at_their_limit(void)
{
    struct error err = { 0 };
    char long_note[2 * ERROR_TEXT_BYTES], path[400];

    memset(long_note, 'n', sizeof long_note - 1);
    long_note[sizeof long_note - 1] = '\0';
    error_at(&err, ERR_FIT, SPAN_NONE, "%s", long_note);
    for (int i = 0; i < 2 * ERROR_NOTES_MAX; i++)
        error_note(&err, "%d%s", i, long_note);
    CHECK_EQUAL(err.note_count, ERROR_NOTES_MAX);
    CHECK_EQUAL(strlen(err.notes[0]), sizeof err.notes[0] - 1);
    CHECK_EQUAL(atoi(err.notes[ERROR_NOTES_MAX - 1]), ERROR_NOTES_MAX - 1);
    error_bytes(&err, 10, 5);
    CHECK(err.need_bytes == 10 && err.have_bytes == 5);

    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    err.note_count = 0;
    error_note(&err, "what is done is kept in '%s.sluice-partial'", path);
    CHECK(strstr(err.notes[0], "ppp.sluice-partial'"));
}

static void test_error__system_calls_say_what_the_errno_means(void)
{
    static const struct { int sys_errno; enum error_code code; const char *message; } cases[] = {
        { ENOSPC, ERR_FIT, "cannot write 'x': no space left on the file system" },
        { EDQUOT, ERR_FIT, "cannot write 'x': the disk quota is used up (the file system itself may have space)" },
        { ENOMEM, ERR_FIT, "cannot write 'x': the kernel has no memory for it" },
        { EIO, ERR_IO, "cannot write 'x': the device reported an input/output error" },
        { EEXIST, ERR_IO, "cannot write 'x': File exists" },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = { 0 };

        CHECK(!error_sys(&err, cases[i].sys_errno, SPAN_NONE, "cannot write '%s'", "x"));
        CHECK_EQUAL(err.code, cases[i].code);
        CHECK_EQUAL(err.sys_errno, cases[i].sys_errno);
        CHECK(!strcmp(err.message, cases[i].message));
    }
}

static void test_error__a_long_path_does_not_hide_the_reason(void)
{
    struct error err = { 0 };
    char path[2000];

    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    error_sys(&err, ENOSPC, SPAN_NONE, "cannot write '%s'", path);
    CHECK_EQUAL(strlen(err.message), ERROR_TEXT_BYTES - 1);
    CHECK(strstr(err.message, "ppp: no space left on the file system"));
}

static void test_error__exit_statuses_are_those_of_the_manual(void)
{
    static const int wanted[] = { 0, 2, 3, 4, 5, 6, 130, 143 };

    for (int code = ERR_NONE; code <= ERR_TERMINATED; code++)
        CHECK_EQUAL(error_exit_status((enum error_code)code), wanted[code]);
}

int main(void)
{
    RUN(test_error__an_input_that_changed_is_told_from_one_that_is_damaged);
    RUN(test_error__is_printed_with_its_line_and_notes);
    RUN(test_error__without_a_place_names_the_program);
    RUN(test_error__the_last_line_needs_no_newline_and_tabs_keep_the_column);
    RUN(test_error__an_empty_line_and_a_line_that_is_not_there);
    RUN(test_error__a_span_past_the_line_is_cut_to_it);
    RUN(test_error__carets_count_characters_not_bytes);
    RUN(test_error__of_a_long_line_the_part_around_the_place_is_shown);
    RUN(test_error__a_long_line_that_is_not_utf8_is_shown_too);
    RUN(test_error__what_comes_from_outside_cannot_steer_the_terminal);
    RUN(test_error__the_first_cause_wins);
    RUN(test_error__nothing_is_added_to_no_error);
    RUN(test_error__a_stop_has_no_place);
    RUN(test_error__notes_end_at_their_limit);
    RUN(test_error__system_calls_say_what_the_errno_means);
    RUN(test_error__a_long_path_does_not_hide_the_reason);
    RUN(test_error__exit_statuses_are_those_of_the_manual);
    return test_summary();
}
