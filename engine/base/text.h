/* text.h - a growable string with a ceiling, and the way sizes and times are written for people.
 *
 * Ownership: text_init / text_release; text_detach hands the characters to the caller (free()).
 * A text that would pass its ceiling, or for which memory ran out, is cut there and says so (text->cut, and
 * text->no_memory in the second case).
 */
#ifndef SLUICE_BASE_TEXT_H
#define SLUICE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *chars;                /* NUL-terminated, never NULL after init */
    size_t length;
    size_t capacity;
    size_t length_max;
    bool cut;
    bool no_memory;
};

void text_init(struct text *t, size_t length_max);
void text_release(struct text *t);
void text_clear(struct text *t);
char *text_detach(struct text *t);

void text_add(struct text *t, const char *chars);
void text_add_bytes(struct text *t, const char *chars, size_t length);
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A name out of a file, for people: control bytes, which could steer a terminal or begin a line, become '?'. */
void text_add_shown(struct text *t, const char *chars);
/* Of a path without the slashes that it ends in; of "/" it is 1. */
size_t path_length(const char *path);
/* Length of the well-formed UTF-8 sequence at `at`, at most `left` bytes; 0 if there is none. */
size_t text_utf8_length(const char *at, size_t left);
/* As a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void text_add_json_string(struct text *t, const char *chars);
/* Warnings are collected one per line. Each line of `lines` with `prefix` before it; and as a JSON list of strings. */
void text_add_lines(struct text *t, const char *prefix, const char *lines);
void text_add_json_lines(struct text *t, const char *lines);

/* "64MiB", "1.5GiB", "703KiB": exact where one digit after the point is, else rounded to three digits. A struct, so
 * that the macros below can stand in an argument list. */
enum { SIZE_TEXT_BYTES = 32 };
struct size_text { char chars[SIZE_TEXT_BYTES]; };
struct size_text size_text(uint64_t bytes);
/* For a limit somebody will type back: the smallest "NMiB" (or "NKiB" below 1 MiB) that is not less than `bytes`. */
struct size_text size_text_up(uint64_t bytes);
/* The same, of a need beside a budget that meets it: never more than that. */
struct size_text size_text_within(uint64_t bytes, uint64_t budget_bytes);
/* "1,234,567" */
struct size_text count_text(uint64_t count);
/* "1 file", "1,234 files": `noun` is short, and takes an s. */
struct counted_text { char chars[2 * SIZE_TEXT_BYTES]; };
struct counted_text counted_text(uint64_t count, const char *noun);
/* "3.6 s", "12 min 05 s", "2 h 03 min" */
struct size_text seconds_text(double seconds);

#define SIZE_TEXT(bytes) (size_text(bytes).chars)
#define SIZE_TEXT_UP(bytes) (size_text_up(bytes).chars)
#define SIZE_TEXT_WITHIN(bytes, budget_bytes) (size_text_within(bytes, budget_bytes).chars)
#define COUNT_TEXT(count) (count_text(count).chars)
#define COUNTED_TEXT(count, noun) (counted_text(count, noun).chars)
#define SECONDS_TEXT(seconds) (seconds_text(seconds).chars)

/* Of `count` words, the one most like `word`, the first of equals; NULL if none is: letters missing, added, other or
 * swapped may be at most a third of its letters, rounded up. Case does not count. */
const char *text_nearest(const char *word, const char *const *words, size_t count);

#endif
