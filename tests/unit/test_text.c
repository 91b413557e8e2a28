/* test_text.c - engine/base/text.c and engine/base/size.h. */
#include "engine/base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "tests/unit/test.h"

static void check_words(const char *got, const char *wanted, int line)
{
    if (strcmp(got, wanted)) {
        fprintf(stderr, "line %d: '%s', not '%s'\n", line, got, wanted);
        CHECK(!strcmp(got, wanted));
    }
}

#define CHECK_TEXT(got, wanted) check_words((got), (wanted), __LINE__)

static void test_text__grows_and_is_always_terminated(void)
{
    struct text t;

    text_init(&t, 100000);
    CHECK_TEXT(t.chars, "");
    text_clear(&t);
    free(memset(malloc(64), 'x', 64));      /* so that what is not written shows */
    text_add(&t, "");
    CHECK_TEXT(t.chars, "");
    for (int i = 0; i < 1000; i++) {
        text_addf(&t, "%d,", i);
        CHECK_EQUAL(t.chars[t.length], '\0');
    }
    CHECK_EQUAL(t.length, strlen(t.chars));
    CHECK(!strncmp(t.chars, "0,1,2,", 6) && strstr(t.chars, ",998,999,"));
    CHECK(!t.cut);
    text_clear(&t);
    CHECK_TEXT(t.chars, "");
    text_add_bytes(&t, "abcdef", 3);
    CHECK_TEXT(t.chars, "abc");
    text_release(&t);
    CHECK_TEXT(t.chars, "");
    text_release(&t);
}

static void test_text__is_cut_at_its_ceiling_and_says_so(void)
{
    struct text t;
    char long_word[500];

    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    text_init(&t, 10);
    text_add(&t, "12345");
    CHECK(!t.cut);
    text_add(&t, "67890");
    CHECK(!t.cut);
    text_add(&t, "");
    CHECK(!t.cut);
    text_add(&t, "a");
    CHECK(t.cut);
    CHECK_TEXT(t.chars, "1234567890");
    text_clear(&t);
    CHECK(!t.cut);
    text_addf(&t, "%s", long_word);
    CHECK(t.cut && t.length == 10);
    text_release(&t);
}

static void test_text__long_formats_are_whole(void)
{
    struct text t;
    char long_word[500];

    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    text_init(&t, SIZE_MAX);
    text_addf(&t, "<%s>", long_word);
    CHECK_EQUAL(t.length, 501);
    CHECK_EQUAL(t.chars[500], '>');
    text_release(&t);
}

static void test_text__detach_hands_the_characters_over(void)
{
    struct text t;
    char *chars;

    text_init(&t, 100);
    chars = text_detach(&t);
    CHECK_TEXT(chars, "");
    free(chars);
    text_add(&t, "mine");
    chars = text_detach(&t);
    CHECK_TEXT(chars, "mine");
    CHECK_TEXT(t.chars, "");
    free(chars);
    text_release(&t);
}

static void test_text__json_strings_are_valid_whatever_comes(void)
{
    static const struct { const char *from, *to; } cases[] = {
        { "", "\"\"" },
        { "plain", "\"plain\"" },
        { "a\"b\\c/d", "\"a\\\"b\\\\c/d\"" },
        { "l\nt\tr\r", "\"l\\nt\\u0009r\\u000d\"" },
        { "\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\"" },
        { "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\"" },
        { "\xff", "\"\\ufffd\"" },
        { "\xc3", "\"\\ufffd\"" },                  /* cut short by the end */
        { "\xc3(", "\"\\ufffd(\"" },
        { "\xe2\x82", "\"\\ufffd\\ufffd\"" },
        { "\xc0\xaf", "\"\\ufffd\\ufffd\"" },       /* overlong */
        { "\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\"" },
        { "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },        /* a surrogate */
        { "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },     /* past U+10FFFF */
        { "\xf5\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
    };
    struct text t;

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_init(&t, 1000);
        text_add_json_string(&t, cases[i].from);
        CHECK_TEXT(t.chars, cases[i].to);
        text_release(&t);
    }
}

static void test_text__sizes_are_written_as_people_read_them(void)
{
    CHECK_TEXT(SIZE_TEXT(0), "0B");
    CHECK_TEXT(SIZE_TEXT(1023), "1023B");
    CHECK_TEXT(SIZE_TEXT(1024), "1KiB");
    CHECK_TEXT(SIZE_TEXT(1025), "1.00KiB");
    CHECK_TEXT(SIZE_TEXT(737280), "720KiB");
    CHECK_TEXT(SIZE_TEXT(737281), "720KiB");
    CHECK_TEXT(SIZE_TEXT(64 * MIB), "64MiB");
    CHECK_TEXT(SIZE_TEXT(GIB + GIB / 2), "1.5GiB");
    CHECK_TEXT(SIZE_TEXT(GIB + GIB / 4), "1.25GiB");
    CHECK_TEXT(SIZE_TEXT(10 * MIB + 1), "10.0MiB");
    CHECK_TEXT(SIZE_TEXT(10 * MIB - 1), "10.0MiB");
    CHECK_TEXT(SIZE_TEXT(100 * MIB - 1), "100MiB");
    CHECK_TEXT(SIZE_TEXT(GIB - 1), "1.00GiB");
    CHECK_TEXT(SIZE_TEXT(1023 * MIB), "1023MiB");
    CHECK_TEXT(SIZE_TEXT(UINT64_C(1) << 60), "1EiB");
    CHECK_TEXT(SIZE_TEXT(UINT64_MAX), "16.0EiB");
}

static void test_text__a_size_to_type_back_is_never_less(void)
{
    CHECK_TEXT(SIZE_TEXT_UP(0), "0KiB");
    CHECK_TEXT(SIZE_TEXT_UP(1), "1KiB");
    CHECK_TEXT(SIZE_TEXT_UP(1025), "2KiB");
    CHECK_TEXT(SIZE_TEXT_UP(MIB), "1MiB");
    CHECK_TEXT(SIZE_TEXT_UP(MIB + 1), "2MiB");
    CHECK_TEXT(SIZE_TEXT_UP(5 * GIB), "5120MiB");
    CHECK_TEXT(SIZE_TEXT_UP(UINT64_MAX), "17592186044416MiB");
    CHECK_TEXT(SIZE_TEXT_WITHIN(MIB + 1, 2 * MIB), "2MiB");
    CHECK_TEXT(SIZE_TEXT_WITHIN(MIB + 1, MIB + 512 * KIB), "1025KiB");
    CHECK_TEXT(SIZE_TEXT_WITHIN(10 * MIB + 512 * KIB, 10 * MIB + 512 * KIB), "10752KiB");
    CHECK_TEXT(SIZE_TEXT_WITHIN(10 * MIB + 512 * KIB + 1, 10 * MIB + 512 * KIB + 1), "10.5MiB");
}

static void test_text__counts_and_times(void)
{
    CHECK_TEXT(COUNT_TEXT(0), "0");
    CHECK_TEXT(COUNT_TEXT(999), "999");
    CHECK_TEXT(COUNT_TEXT(1000), "1,000");
    CHECK_TEXT(COUNT_TEXT(1234567), "1,234,567");
    CHECK_TEXT(COUNT_TEXT(UINT64_MAX), "18,446,744,073,709,551,615");
    CHECK_TEXT(SECONDS_TEXT(0), "0.00 s");
    CHECK_TEXT(SECONDS_TEXT(0.25), "0.25 s");
    CHECK_TEXT(SECONDS_TEXT(3.62), "3.6 s");
    CHECK_TEXT(SECONDS_TEXT(99.4), "99.4 s");
    CHECK_TEXT(SECONDS_TEXT(99.6), "1 min 40 s");
    CHECK_TEXT(SECONDS_TEXT(725), "12 min 05 s");
    CHECK_TEXT(SECONDS_TEXT(7380), "2 h 03 min");
    CHECK(strstr(SECONDS_TEXT(INFINITY), " h "));
    CHECK(strstr(SECONDS_TEXT(NAN), " h "));
}

static void test_text__the_nearest_word_is_near(void)
{
    static const char *const words[] = { "memory", "scratch", "threads", "io", "output", "input", "chunks", "id" };
    enum { COUNT = sizeof words / sizeof words[0] };
    char long_word[300];

    CHECK_TEXT(text_nearest("memroy", words, COUNT), "memory");
    CHECK_TEXT(text_nearest("Memory", words, COUNT), "memory");
    CHECK_TEXT(text_nearest("thread", words, COUNT), "threads");
    CHECK_TEXT(text_nearest("ouput", words, COUNT), "output");
    CHECK_TEXT(text_nearest("chunk_s", words, COUNT), "chunks");
    CHECK_TEXT(text_nearest("ie", words, COUNT), "io");             /* the first of equals */
    CHECK_TEXT(text_nearest("io", words, COUNT), "io");
    CHECK(!text_nearest("xyz", words, COUNT));
    CHECK(!text_nearest("foo", words, COUNT));
    CHECK(!text_nearest("q", words, COUNT));
    CHECK(!text_nearest("", words, COUNT));
    CHECK(!text_nearest("memory", words, 0));
    memset(long_word, 'm', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    CHECK(!text_nearest(long_word, words, COUNT));
}

static void test_size__does_not_overflow(void)
{
    uint64_t out;

    CHECK(size_mul(UINT64_C(1) << 32, UINT64_C(1) << 31, &out) && out == UINT64_C(1) << 63);
    CHECK(!size_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    CHECK(!size_add(UINT64_MAX, 1, &out));
    CHECK(size_mul_sat(UINT64_MAX, 2) == UINT64_MAX);
    CHECK(size_add_sat(UINT64_MAX - 1, 5) == UINT64_MAX);
    CHECK(size_div_up(UINT64_MAX, 2) == UINT64_C(1) << 63);
    CHECK_EQUAL(size_div_up(0, 5), 0);
    CHECK_EQUAL(size_align_up(0, 4096), 0);
    CHECK_EQUAL(size_align_up(1, 4096), 4096);
    CHECK_EQUAL(size_align_up(4096, 4096), 4096);
    CHECK_EQUAL(size_align_down(8191, 4096), 4096);
    CHECK(size_align_up(UINT64_MAX - 5, 4096) == UINT64_MAX);
}

static void test_text__nouns_follow_their_number(void)
{
    CHECK_TEXT(COUNTED_TEXT(0, "file"), "0 files");
    CHECK_TEXT(COUNTED_TEXT(1, "file"), "1 file");
    CHECK_TEXT(COUNTED_TEXT(UINT64_MAX, "chunk"), "18,446,744,073,709,551,615 chunks");
}

static void test_text__lines_come_with_a_prefix_and_as_json(void)
{
    struct text t;

    text_init(&t, 1000);
    text_add_lines(&t, "warning: ", "one\ntwo \"2\"\nthree");
    CHECK_TEXT(t.chars, "warning: one\nwarning: two \"2\"\nwarning: three\n");
    text_clear(&t);
    text_add_lines(&t, "warning: ", "");
    CHECK_TEXT(t.chars, "");
    text_add_json_lines(&t, "one\ntwo \"2\"\n");
    CHECK_TEXT(t.chars, "[\"one\", \"two \\\"2\\\"\"]");
    text_clear(&t);
    text_add_json_lines(&t, "");
    CHECK_TEXT(t.chars, "[]");
    text_release(&t);
}

static void test_text__a_path_counts_without_the_slashes_it_ends_in(void)
{
    CHECK_EQUAL(path_length("a/b"), 3);
    CHECK_EQUAL(path_length("a/b//"), 3);
    CHECK_EQUAL(path_length("/"), 1);
    CHECK_EQUAL(path_length("//"), 1);
    CHECK_EQUAL(path_length(""), 0);
}

int main(void)
{
    RUN(test_text__grows_and_is_always_terminated);
    RUN(test_text__is_cut_at_its_ceiling_and_says_so);
    RUN(test_text__long_formats_are_whole);
    RUN(test_text__detach_hands_the_characters_over);
    RUN(test_text__json_strings_are_valid_whatever_comes);
    RUN(test_text__sizes_are_written_as_people_read_them);
    RUN(test_text__a_size_to_type_back_is_never_less);
    RUN(test_text__counts_and_times);
    RUN(test_text__nouns_follow_their_number);
    RUN(test_text__lines_come_with_a_prefix_and_as_json);
    RUN(test_text__the_nearest_word_is_near);
    RUN(test_text__a_path_counts_without_the_slashes_it_ends_in);
    RUN(test_size__does_not_overflow);
    return test_summary();
}
