#include "dsl/scalars.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "engine/base/size.h"
#include "engine/base/text.h"

struct unit {
    const char *name;
    uint64_t bytes;
};

#define THOUSAND ((uint64_t)1000)

static const struct unit units[] = {
    { "", 1 }, { "B", 1 },
    { "K", THOUSAND }, { "KB", THOUSAND }, { "k", THOUSAND }, { "kB", THOUSAND },
    { "M", THOUSAND * THOUSAND }, { "MB", THOUSAND * THOUSAND },
    { "G", THOUSAND * THOUSAND * THOUSAND }, { "GB", THOUSAND * THOUSAND * THOUSAND },
    { "T", THOUSAND * THOUSAND * THOUSAND * THOUSAND }, { "TB", THOUSAND * THOUSAND * THOUSAND * THOUSAND },
    { "Ki", KIB }, { "KiB", KIB }, { "Mi", MIB }, { "MiB", MIB }, { "Gi", GIB }, { "GiB", GIB },
    { "Ti", 1024 * GIB }, { "TiB", 1024 * GIB },
};
enum { UNIT_COUNT = sizeof units / sizeof units[0], DIGITS_MAX = 18 };

/* digits[.digits] as a whole number over a power of ten; *end: what follows. False: no such number, or too long. */
static bool decimal(const char *words, uint64_t *digits, uint64_t *divisor, const char **end)
{
    unsigned count = 0, seen = 0;
    bool point = false;

    *digits = 0;
    *divisor = 1;
    for (; isdigit((unsigned char)*words) || (*words == '.' && !point); words++) {
        if (*words == '.') {
            if (!seen)
                return false;
            point = true;
            continue;
        }
        seen++;
        if (*digits || *words != '0')
            count++;
        if (count > DIGITS_MAX || seen > 64)
            return false;
        *digits = 10 * *digits + (uint64_t)(*words - '0');
        if (point && !size_mul(*divisor, 10, divisor))
            return false;
    }
    *end = words;
    return seen && words[-1] != '.';
}

/* Does it begin with digits[.digits], however many? */
static bool is_number(const char *words)
{
    static const char all[] = "0123456789";
    size_t whole = strspn(words, all);

    return whole && (words[whole] != '.' || (strspn(words + whole + 1, all) &&
                                             words[whole + 1 + strspn(words + whole + 1, all)] != '.'));
}

static bool not_a_size(const char *words, struct span span, bool share, struct error *err)
{
    uint64_t digits, divisor;
    const char *end;

    if (is_number(words) && !decimal(words, &digits, &divisor, &end)) {
        error_at(err, ERR_USAGE, span, "'%s' has more than %d digits", words, DIGITS_MAX);
        error_help(err, "write fewer digits and a larger unit, as in 4TiB; no size is more than 8EiB");
        return false;
    }
    error_at(err, ERR_USAGE, span, "'%s' is not a size", words);
    if (decimal(words, &digits, &divisor, &end))
        for (unsigned i = 2; i < UNIT_COUNT; i++)
            if (strcasecmp(end + strspn(end, " "), units[i].name) == 0)
                error_help(err, "write %.*s%s", (int)(end - words), words, units[i].name);
    if (*words == '-')
        error_help(err, "a size is not negative");
    error_help(err, "a size is 64MiB, 1.5GiB, 64Mi, 500MB, 4G%s or plain bytes", share ? ", 80%" : "");
    return false;
}

static bool percentage(struct size_request *out, const char *words, uint64_t digits, uint64_t divisor,
                       struct span span, bool share, struct error *err)
{
    double value = (double)digits / (double)divisor;

    if (!share) {
        error_at(err, ERR_USAGE, span, "'%s': a share makes no sense here", words);
        error_help(err, "give a size: 64MiB, 1.5GiB, 500MB");
        return false;
    }
    if (value <= 0 || value > 100)
        return error_at(err, ERR_USAGE, span, "'%s' is not between 0%% and 100%%", words);
    *out = (struct size_request){ .set = true, .share = value / 100, .span = span };
    return true;
}

bool scalar_size(struct size_request *out, const char *words, struct span span, bool share, struct error *err)
{
    uint64_t digits, divisor, unit = 0;
    unsigned __int128 bytes;
    const char *end;

    if (!decimal(words, &digits, &divisor, &end))
        return not_a_size(words, span, share, err);
    if (strcmp(end, "%") == 0)
        return percentage(out, words, digits, divisor, span, share, err);
    if (end[0] == ' ' && end[1])    /* "64 MB", as people write it */
        end++;
    for (unsigned i = 0; i < UNIT_COUNT; i++)
        if (strcmp(end, units[i].name) == 0)
            unit = units[i].bytes;
    if (!unit)
        return not_a_size(words, span, share, err);
    bytes = (unsigned __int128)digits * unit / divisor;
    if (bytes > INT64_MAX)
        return error_at(err, ERR_USAGE, span, "'%s' is more than 8EiB", words);
    if (!bytes)
        return error_at(err, ERR_USAGE, span, "'%s' is nothing: a size is at least 1 byte", words);
    *out = (struct size_request){ .set = true, .plain = !end[0], .bytes = (uint64_t)bytes, .span = span };
    return true;
}

bool scalar_count(uint64_t *out, const char *words, struct span span, uint64_t min, uint64_t max, struct error *err)
{
    const char *at = words;
    uint64_t value = 0;
    bool fits = true;

    for (; isdigit((unsigned char)*at); at++)
        fits = fits && size_mul(value, 10, &value) && size_add(value, (uint64_t)(*at - '0'), &value);
    if (at == words || *at) {
        error_at(err, ERR_USAGE, span, "'%s' is not a count", words);
        error_help(err, "a count is written in digits: 32");
        return false;
    }
    if (fits && value < min && max == INT64_MAX)
        return error_at(err, ERR_USAGE, span, "%s is too small: it is at least %llu", words, (unsigned long long)min);
    if ((!fits || value > max) && max == INT64_MAX)
        return error_at(err, ERR_USAGE, span, "%s is too large", words);
    if (!fits || value < min || value > max)
        return error_at(err, ERR_USAGE, span, "%s is not between %llu and %llu", words, (unsigned long long)min,
                        (unsigned long long)max);
    *out = value;
    return true;
}

bool scalar_bool(bool *out, const char *words, struct span span, struct error *err)
{
    static const char *const like_true[] = { "yes", "y", "on", "1", "t", "true" };
    static const char *const like_false[] = { "no", "n", "off", "0", "f", "false" };

    *out = strcmp(words, "true") == 0;
    if (*out || strcmp(words, "false") == 0)
        return true;
    error_at(err, ERR_USAGE, span, "'%s' is not true or false", words);
    for (unsigned i = 0; i < sizeof like_true / sizeof like_true[0]; i++) {
        if (strcasecmp(words, like_true[i]) == 0)
            error_help(err, "write true");
        if (strcasecmp(words, like_false[i]) == 0)
            error_help(err, "write false");
    }
    error_help(err, "write true or false");
    return false;
}

/* "auto none lz4" -> "auto, none or lz4" */
static void list_choices(struct text *out, const char *choices)
{
    while (*choices) {
        size_t length = strcspn(choices, " ");
        const char *rest = choices + length + (choices[length] == ' ');

        text_add_bytes(out, choices, length);
        if (*rest)
            text_add(out, strchr(rest, ' ') ? ", " : " or ");
        choices = rest;
    }
}

bool scalar_word(unsigned *out, const char *words, struct span span, const char *choices, struct error *err)
{
    struct text list;
    unsigned index = 0;

    for (const char *at = choices; *at; index++) {
        size_t length = strcspn(at, " ");

        if (strlen(words) == length && strncmp(at, words, length) == 0) {
            *out = index;
            return true;
        }
        at += length + (at[length] == ' ');
    }
    text_init(&list, 256);
    list_choices(&list, choices);
    error_at(err, ERR_USAGE, span, "'%s' is not known here", words);
    error_help(err, "it is %s", list.chars);
    text_release(&list);
    return false;
}
