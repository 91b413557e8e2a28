#include "engine/base/text.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"

static char nothing[1];         /* what a text holds before its first byte; never written */

void text_init(struct text *t, size_t length_max)
{
    *t = (struct text){ .chars = nothing, .length_max = length_max };
}

void text_release(struct text *t)
{
    if (t->chars != nothing)
        free(t->chars);
    text_init(t, t->length_max);
}

void text_clear(struct text *t)
{
    t->length = 0;
    t->cut = t->no_memory = false;
    if (t->chars != nothing)
        t->chars[0] = '\0';
}

char *text_detach(struct text *t)
{
    char *chars = t->chars == nothing ? calloc(1, 1) : t->chars;

    text_init(t, t->length_max);
    return chars;
}

/* Room for `more` bytes and the NUL; as many as are to be had. */
static size_t make_room(struct text *t, size_t more)
{
    size_t wanted, capacity;
    char *chars;

    if (more > t->length_max - t->length) {
        more = t->length_max - t->length;
        t->cut = true;
    }
    wanted = t->length + more + 1;
    if (wanted <= t->capacity)
        return more;
    capacity = size_max(size_min(2 * t->capacity, t->length_max + 1), size_max(wanted, 64));
    chars = realloc(t->chars == nothing ? NULL : t->chars, capacity);
    if (!chars) {
        t->cut = t->no_memory = true;
        return 0;
    }
    chars[t->length] = '\0';
    t->chars = chars;
    t->capacity = capacity;
    return more;
}

void text_add_bytes(struct text *t, const char *chars, size_t length)
{
    length = make_room(t, length);
    if (!length)
        return;
    memcpy(t->chars + t->length, chars, length);
    t->length += length;
    t->chars[t->length] = '\0';
}

void text_add(struct text *t, const char *chars)
{
    text_add_bytes(t, chars, strlen(chars));
}

void text_addf(struct text *t, const char *format, ...)
{
    char small[256], *big = NULL;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (length < 0)
        return;
    if ((size_t)length < sizeof small) {
        text_add_bytes(t, small, (size_t)length);
        return;
    }
    va_start(args, format);
    if (vasprintf(&big, format, args) < 0) {
        t->cut = t->no_memory = true;
        big = NULL;             /* it may be anything then */
    } else {
        text_add_bytes(t, big, (size_t)length);
    }
    va_end(args);
    free(big);
}

void text_add_shown(struct text *t, const char *chars)
{
    for (; *chars; chars++)
        text_add_bytes(t, (unsigned char)*chars < ' ' || *chars == 0x7f ? "?" : chars, 1);
}

size_t path_length(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

size_t text_utf8_length(const char *chars, size_t left)
{
    const unsigned char *at = (const unsigned char *)chars;
    size_t length;

    if (left == 0)
        return 0;
    length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

void text_add_json_string(struct text *t, const char *chars)
{
    const unsigned char *at = (const unsigned char *)chars;

    text_add(t, "\"");
    while (*at) {
        size_t length = text_utf8_length((const char *)at, 4);   /* the NUL ends it earlier */

        if (*at == '"' || *at == '\\')
            text_addf(t, "\\%c", *at);
        else if (*at == '\n')
            text_add(t, "\\n");
        else if (*at < 0x20 || *at == 0x7f)
            text_addf(t, "\\u%04x", *at);
        else if (length)
            text_add_bytes(t, (const char *)at, length);
        else
            text_add(t, "\\ufffd");
        at += length ? length : 1;
    }
    text_add(t, "\"");
}

void text_add_lines(struct text *t, const char *prefix, const char *lines)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");

        text_add(t, prefix);
        text_add_bytes(t, lines, length);
        text_add(t, "\n");
        lines += length + (lines[length] == '\n');
    }
}

void text_add_json_lines(struct text *t, const char *lines)
{
    const char *comma = "";
    struct text line;

    text_init(&line, strlen(lines));
    text_add(t, "[");
    while (*lines) {
        size_t length = strcspn(lines, "\n");

        text_clear(&line);
        text_add_bytes(&line, lines, length);
        text_add(t, comma);
        text_add_json_string(t, line.chars);
        comma = ", ";
        lines += length + (lines[length] == '\n');
    }
    text_add(t, "]");
    text_release(&line);
}

static const char *const unit_names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

struct size_text size_text(uint64_t bytes)
{
    struct size_text out;
    unsigned unit = 0;
    uint64_t scale = 1;
    double value;
    int digits;

    while (unit < 6 && bytes / scale >= 1024) {
        scale *= 1024;
        unit++;
    }
    value = (double)bytes / (double)scale;
    if (value >= 1023.5 && unit < 6 && bytes % scale) {         /* would be rounded to 1024 of its unit */
        value = 1;
        unit++;
        digits = 2;
    } else if (bytes % scale == 0)
        digits = 0;
    else if (bytes % scale * 10 % scale == 0)
        digits = 1;
    else
        digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out.chars, sizeof out.chars, "%.*f%s", digits, value, unit_names[unit]);
    return out;
}

static struct size_text whole_units(uint64_t bytes, uint64_t unit)
{
    struct size_text out;

    snprintf(out.chars, sizeof out.chars, "%llu%s", (unsigned long long)size_div_up(bytes, unit),
             unit == MIB ? "MiB" : "KiB");
    return out;
}

struct size_text size_text_up(uint64_t bytes)
{
    return whole_units(bytes, bytes < MIB ? KIB : MIB);
}

struct size_text size_text_within(uint64_t bytes, uint64_t budget_bytes)
{
    if (bytes >= MIB && size_div_up(bytes, MIB) <= budget_bytes / MIB)
        return whole_units(bytes, MIB);
    return size_div_up(bytes, KIB) <= budget_bytes / KIB ? whole_units(bytes, KIB) : size_text(bytes);
}

struct size_text count_text(uint64_t count)
{
    struct size_text out;
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count), at = 0;

    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            out.chars[at++] = ',';
        out.chars[at++] = digits[i];
    }
    out.chars[at] = '\0';
    return out;
}

struct counted_text counted_text(uint64_t count, const char *noun)
{
    struct counted_text out;

    snprintf(out.chars, sizeof out.chars, "%s %s%s", COUNT_TEXT(count), noun, count == 1 ? "" : "s");
    return out;
}

struct size_text seconds_text(double seconds)
{
    struct size_text out;
    uint64_t whole;

    if (!(seconds < 1e12))          /* an estimate may be infinite, and that has no whole number */
        seconds = 1e12;
    whole = seconds > 0 ? (uint64_t)(seconds + 0.5) : 0;
    if (seconds < 99.5)
        snprintf(out.chars, sizeof out.chars, "%.*f s", seconds < 0.995 ? 2 : 1, seconds);
    else if (whole < 3600)
        snprintf(out.chars, sizeof out.chars, "%llu min %02llu s", (unsigned long long)whole / 60,
                 (unsigned long long)whole % 60);
    else
        snprintf(out.chars, sizeof out.chars, "%llu h %02llu min", (unsigned long long)whole / 3600,
                 (unsigned long long)whole % 3600 / 60);
    return out;
}

enum { NEAREST_WORD_MAX = 48 };

/* Optimal string alignment distance: insert, delete, replace, swap neighbours. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][NEAREST_WORD_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];
    size_t a_length = strlen(a), b_length = strlen(b);

    if (a_length > NEAREST_WORD_MAX || b_length > NEAREST_WORD_MAX)
        return UINT_MAX;
    for (size_t j = 0; j <= b_length; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        unsigned *spare = before;

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned differs = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);

            row[j] = (unsigned)size_min(size_min(above[j] + 1, row[j - 1] + 1), above[j - 1] + differs);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = (unsigned)size_min(row[j], before[j - 2] + 1);
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[b_length];
}

const char *text_nearest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)(strlen(word) + 2) / 3;

    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(word, words[i]);
        if (d < best_distance || (d == best_distance && !best && d < strlen(word))) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
