#include "engine/base/error.h"

#include <errno.h>
#include <signal.h>
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
    size_t length, length_max;
    va_list args;

    if (err->code != ERR_NONE)
        return false;
    if (sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == ENOMEM)
        code = ERR_FIT;
    va_start(args, format);
    fill(err, code, span, format, args);
    va_end(args);
    err->sys_errno = sys_errno;
    if (!sentence)
        sentence = strerror(sys_errno);
    /* A path can be longer than the message has room for: the reason must not be what is cut. */
    length_max = sizeof err->message - 1 - strlen(": ") - strlen(sentence);
    length = strlen(err->message);
    if (length > length_max)
        length = length_max;
    snprintf(err->message + length, sizeof err->message - length, ": %s", sentence);
    return false;
}

bool error_changed(struct error *err, struct span span, const char *format, ...)
{
    va_list args;

    if (err->code != ERR_NONE)
        return false;
    va_start(args, format);
    fill(err, ERR_INPUT, span, format, args);
    va_end(args);
    err->input_changed = true;
    return false;
}

bool error_stopped(struct error *err, int number)
{
    bool terminated = number == SIGTERM;

    return error_at(err, terminated ? ERR_TERMINATED : ERR_INTERRUPTED, SPAN_NONE, "stopped by %s",
                    terminated ? "SIGTERM" : "an interrupt");
}

void error_prefix(struct error *err, const char *format, ...)
{
    char what[ERROR_TEXT_BYTES];
    size_t length;
    va_list args;

    if (err->code == ERR_NONE || error_is_stop(err))
        return;
    va_start(args, format);
    vsnprintf(what, sizeof what - 2, format, args);
    va_end(args);
    length = strlen(what);
    memmove(err->message + length + 2, err->message, sizeof err->message - length - 2);
    memcpy(err->message, what, length);
    memcpy(err->message + length, ": ", 2);
    err->message[sizeof err->message - 1] = '\0';
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
    if (err->code != ERR_NONE && !error_is_stop(err) && !err->span.source)
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

/* Messages and source lines carry what came from outside (names, file contents): nothing in them may steer the
 * terminal. A tab is shown as one space, other control bytes as '?', so that a caret stays in its column. */
static void print_clean(const char *at, size_t length, FILE *to)
{
    for (; length; length--, at++)
        fputc(*at == '\t' ? ' ' : (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at, to);
}

static void print_text(const char *text, FILE *to)
{
    print_clean(text, strlen(text), to);
}

/* As many of `mark` as the bytes make characters. */
static void print_marks(const char *at, size_t length, char mark, FILE *to)
{
    for (; length; length--, at++)
        if (((unsigned char)*at & 0xc0) != 0x80)
            fputc(mark, to);
}

/* The line of that number in the source; false: it has no such line. Lines end as YAML has them: \n, \r\n or \r. */
static bool find_line(const struct source *source, uint32_t number, const char **line, size_t *length)
{
    const char *at = source->text, *end = at + source->text_bytes;

    for (uint32_t n = 1; n < number; n++) {
        while (at < end && *at != '\n' && *at != '\r')
            at++;
        if (at == end)
            return false;
        at += at[0] == '\r' && at + 1 < end && at[1] == '\n' ? 2 : 1;
    }
    *line = at;
    for (*length = 0; at + *length < end && at[*length] != '\n' && at[*length] != '\r'; ++*length) { }
    return true;
}

/* Where the character begins that byte `at` is of. Of a line that is not UTF-8 no further back than one can be long. */
static size_t character_start(const char *line, size_t at)
{
    for (unsigned i = 0; i < 3 && at > 0 && ((unsigned char)line[at] & 0xc0) == 0x80; i++)
        at--;
    return at;
}

/* The line the span stands on, and a caret under it. Of a long line only what surrounds the span. */
static void print_line(const struct span *span, FILE *to)
{
    enum { SHOWN_MAX = 160, BEFORE_MAX = 60 };
    size_t length, from = 0, until, column, marked;
    const char *line;

    if (!find_line(span->source, span->line, &line, &length))
        return;
    column = span->column > 0 ? span->column - 1 : 0;
    if (column > length)
        column = length;
    marked = span->length > length - column ? length - column : span->length;
    if (length > SHOWN_MAX && column > BEFORE_MAX)
        from = character_start(line, column - BEFORE_MAX);
    until = length - from > SHOWN_MAX ? character_start(line, from + SHOWN_MAX) : length;
    if (marked > until - column)
        marked = until - column;
    fprintf(to, "%5u | %s", span->line, from ? "..." : "");
    print_clean(line + from, until - from, to);
    fprintf(to, "%s\n      | %s", until < length ? "..." : "", from ? "   " : "");
    print_marks(line + from, column - from, ' ', to);
    fputc('^', to);
    if (marked > 1)
        print_marks(line + column + 1, marked - 1, '~', to);
    fputc('\n', to);
}

void error_print(const struct error *err, FILE *to)
{
    const struct span *span = &err->span;

    if (span->source) {
        print_text(span->source->name, to);
        if (span->line)
            fprintf(to, ":%u:%u", span->line, span->column);
        fputs(": ", to);
    } else
        fputs("sluice: ", to);
    fputs("error: ", to);
    if (err->key[0]) {
        print_text(err->key, to);
        fputs(": ", to);
    }
    print_text(err->message, to);
    fputc('\n', to);
    if (span->source && span->line)
        print_line(span, to);
    for (unsigned i = 0; i < err->note_count; i++) {
        fputs("note: ", to);
        print_text(err->notes[i], to);
        fputc('\n', to);
    }
    if (err->help[0]) {
        fputs("help: ", to);
        print_text(err->help, to);
        fputc('\n', to);
    }
}
