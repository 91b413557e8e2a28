#include "engine/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void fill(struct error *err, enum error_code code, struct span span, const char *format, va_list args)
{
    err->code = code;
    err->span = span;
    vsnprintf(err->message, sizeof err->message, format, args);
}

bool error_at(struct error *err, enum error_code code, struct span span, const char *format, ...)
{
    va_list args;

    if (err->code != ERR_NONE)
        return false;
    va_start(args, format);
    fill(err, code, span, format, args);
    va_end(args);
    return false;
}

/* What an errno means to somebody whose data is at stake; NULL: the system's words will do. */
static const char *errno_sentence(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC: return "no space left on the file system";
    case EDQUOT: return "the disk quota is used up (the file system itself may have space)";
    case EFBIG:  return "the file would pass the size limit of this process or file system (ulimit -f)";
    case EMFILE: return "this process has too many files open (ulimit -n)";
    case ENFILE: return "the machine has too many files open";
    case EIO:    return "the device reported an input/output error";
    case EROFS:  return "the file system is mounted read-only";
    case ENOMEM: return "the kernel has no memory for it";
    default:     return NULL;
    }
}

bool error_sys(struct error *err, int sys_errno, struct span span, const char *format, ...)
{
    const char *sentence = errno_sentence(sys_errno);
    enum error_code code = ERR_IO;
    size_t length;
    va_list args;

    if (err->code != ERR_NONE)
        return false;
    if (sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == ENOMEM)
        code = ERR_FIT;
    va_start(args, format);
    fill(err, code, span, format, args);
    va_end(args);
    err->sys_errno = sys_errno;
    length = strlen(err->message);
    snprintf(err->message + length, sizeof err->message - length, ": %s", sentence ? sentence : strerror(sys_errno));
    return false;
}

void error_note(struct error *err, const char *format, ...)
{
    va_list args;

    if (err->code == ERR_NONE || err->note_count == ERROR_NOTES_MAX)
        return;
    va_start(args, format);
    vsnprintf(err->notes[err->note_count], sizeof err->notes[0], format, args);
    va_end(args);
    err->note_count++;
}

void error_help(struct error *err, const char *format, ...)
{
    va_list args;

    if (err->code == ERR_NONE || err->help[0])
        return;
    va_start(args, format);
    vsnprintf(err->help, sizeof err->help, format, args);
    va_end(args);
}

void error_key(struct error *err, const char *key)
{
    if (err->code != ERR_NONE && !err->key[0])
        snprintf(err->key, sizeof err->key, "%s", key);
}

void error_bytes(struct error *err, uint64_t need_bytes, uint64_t have_bytes)
{
    if (err->code == ERR_NONE)
        return;
    err->need_bytes = need_bytes;
    err->have_bytes = have_bytes;
}

void error_locate(struct error *err, struct span span)
{
    if (err->code != ERR_NONE && !err->span.source)
        err->span = span;
}

int error_exit_status(enum error_code code)
{
    switch (code) {
    case ERR_NONE:        return 0;
    case ERR_USAGE:       return 2;
    case ERR_FIT:         return 3;
    case ERR_INPUT:       return 4;
    case ERR_IO:          return 5;
    case ERR_EXISTS:      return 6;
    case ERR_INTERRUPTED: return 130;
    case ERR_TERMINATED:  return 143;
    }
    return 5;
}

/* A long line is shown around the span only: this much before it, this much in all. */
enum { SHOWN_BEFORE_BYTES = 80, SHOWN_BYTES = 160 };

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Where the line the span stands on begins; NULL: the source has no such line. */
static const char *find_line(const struct span *span)
{
    const char *at = span->source->text, *end = at + span->source->text_bytes;
    uint32_t line = 1;

    while (line < span->line && at < end)
        if (*at++ == '\n')
            line++;
    return line == span->line && span->column - 1 <= (uint64_t)(end - at) ? at : NULL;
}

/* The line the span stands on, and a caret under its bytes. A tab is shown as one space, other control bytes as
 * '?', and the caret counts characters, so that it stays in its column. */
static void print_line(const struct span *span, FILE *to)
{
    const char *from = find_line(span), *text_end = span->source->text + span->source->text_bytes, *culprit, *end;
    bool cut = false;

    if (!from)
        return;
    culprit = from + span->column - 1;
    if (culprit - from > SHOWN_BEFORE_BYTES) {
        from = culprit - SHOWN_BEFORE_BYTES / 2;
        while (continues_character(*from))
            from++;
        cut = true;
    }
    fprintf(to, "%5u | %s", span->line, cut ? "..." : "");
    for (end = from; end < text_end && *end != '\n' && *end != '\r'; end++) {
        if (end - from >= SHOWN_BYTES && !continues_character(*end)) {
            fprintf(to, "...");
            break;
        }
        fputc((unsigned char)*end >= ' ' ? *end : *end == '\t' ? ' ' : '?', to);
    }
    fprintf(to, "\n      | %s", cut ? "   " : "");
    for (; from < culprit; from++)
        if (from >= end || !continues_character(*from))
            fputc(' ', to);
    fputc('^', to);
    for (from = culprit + 1; from < culprit + span->length && from < end; from++)
        if (!continues_character(*from))
            fputc('~', to);
    fputc('\n', to);
}

void error_print(const struct error *err, FILE *to)
{
    const struct span *span = &err->span;

    if (span->source)
        fprintf(to, "%s:%u:%u: ", span->source->name, span->line, span->column);
    else
        fprintf(to, "sluice: ");
    fprintf(to, "error: %s%s%s\n", err->key, err->key[0] ? ": " : "", err->message);
    if (span->source)
        print_line(span, to);
    for (unsigned i = 0; i < err->note_count; i++)
        fprintf(to, "note: %s\n", err->notes[i]);
    if (err->help[0])
        fprintf(to, "help: %s\n", err->help);
}
