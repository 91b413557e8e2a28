/* error.h - one way to fail: a struct on the caller's stack, filled once, with its place in the pipeline.
 *
 * A function that can fail returns bool and takes `struct error *err` last. It is untouched on success.
 * The first cause wins: a second error_at() on a filled error changes nothing, so clean-up code may fail too.
 * Everything has a fixed size: reporting that memory ran out allocates none.
 *
 * Places: whatever is born of a pipeline file (or of the command line, which is a one-line source) keeps its
 * span down to the engine's stages, so that a full disk in the middle of a merge still points at the line that
 * asked for that output.
 *
 * Threads: an error belongs to one thread at a time.
 */
#ifndef SLUICE_BASE_ERROR_H
#define SLUICE_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A text somebody typed, kept whole so that its lines can be shown. Outlives every span into it. */
struct source {
    const char *name;           /* file name as given, "<stdin>", or "command line" */
    const char *text;           /* NUL-terminated */
    uint64_t text_bytes;
};

/* Where in a source something stands. `source` NULL: nowhere in particular. */
struct span {
    const struct source *source;
    uint32_t line;              /* 1-based; 0: the source as a whole, such as one in which something is missing */
    uint32_t column;            /* 1-based, in bytes */
    uint32_t length;            /* bytes to underline, at least 1 */
    const char *set_name;       /* of the --set NAME=VALUE that the value there begins with; NULL: of none */
};

#define SPAN_NONE ((struct span){ 0 })

/* What kind of failure, which is also what the program exits with (error_exit_status). */
enum error_code {
    ERR_NONE = 0,
    ERR_USAGE,                  /* the command line or the pipeline is wrong: exit 2 */
    ERR_FIT,                    /* does not fit: memory, scratch, quota, no space left: exit 3 */
    ERR_INPUT,                  /* an input is damaged or of a kind we cannot read: exit 4 */
    ERR_IO,                     /* an I/O error: exit 5 */
    ERR_EXISTS,                 /* the output is already there, nothing was done: exit 6 */
    ERR_INTERRUPTED,            /* SIGINT: exit 130 */
    ERR_TERMINATED,             /* SIGTERM: exit 143 */
};

enum { ERROR_NOTES_MAX = 16, ERROR_TEXT_BYTES = 512 };

struct error {
    enum error_code code;
    int sys_errno;              /* 0: not the kernel's doing */
    struct span span;
    char key[64];               /* the pipeline key it is about, "memory"; "" if none */
    char message[ERROR_TEXT_BYTES];
    char help[ERROR_TEXT_BYTES];
    char notes[ERROR_NOTES_MAX][ERROR_TEXT_BYTES];      /* long enough for a path: a cut one leads nowhere */
    unsigned note_count;
    bool input_changed;         /* while it was read (error_changed) */
    uint64_t need_bytes;        /* 0: unknown */
    uint64_t have_bytes;
};

/* Fill `err` unless it already holds an error. Always returns false, so a failure is one return statement.
 * Messages: lower case, no full stop, the subject in single quotes. */
bool error_at(struct error *err, enum error_code code, struct span span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a failed system call: appends ": <what the errno means>" and picks the code from the errno
 * (ENOSPC, EDQUOT: ERR_FIT, told apart in words; EEXIST stays ERR_IO: the caller knows better). */
bool error_sys(struct error *err, int sys_errno, struct span span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ERR_INPUT of an input that changed while it was read, which need not be damaged. */
bool error_changed(struct error *err, struct span span, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The number of the signal that asks for a stop, 0: none. `stop` NULL: nobody ever does. A handler may run in any
 * thread, so this is an atomic load. */
static inline int stop_asked(const volatile int *stop)
{
    return stop ? __atomic_load_n(stop, __ATOMIC_RELAXED) : 0;
}

/* Signal `number` asks us to stop: ERR_TERMINATED for SIGTERM, else ERR_INTERRUPTED. Returns false. */
bool error_stopped(struct error *err, int number);

/* Put "what: " before the message of an error that is there: the caller knows which object it was about. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Add to an error that is there. Without an error, or past the limits, they do nothing. */
void error_note(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
void error_help(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
void error_key(struct error *err, const char *key);
void error_bytes(struct error *err, uint64_t need_bytes, uint64_t have_bytes);

/* Somebody asked us to stop: no line of the pipeline is to blame. */
static inline bool error_is_stop(const struct error *err)
{
    return err->code == ERR_INTERRUPTED || err->code == ERR_TERMINATED;
}

/* Give a span to an error that has none yet: the layer that knows the place calls this. A stop has no place. */
void error_locate(struct error *err, struct span span);

/* The process's exit status for a code, as promised in the manual. */
int error_exit_status(enum error_code code);

/* Print as a compiler does: place, message, the line (of a long one the part around the place), a caret under the
 * culprit, notes, help. Control bytes, which may come from a file, are printed as '?'. */
void error_print(const struct error *err, FILE *to);

#endif
