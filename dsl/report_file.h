/* report_file.h - --report FILE: the report of a session as a file that is whole or not there.
 *
 * It is written beside its place and renamed there at the end, so whoever polls for it never reads half of one, and a
 * report of an earlier run stays until there is a new one. What is no regular file (/dev/stderr, a pipe) is written
 * as it is.
 *
 * Ownership: `given` is borrowed; release what was opened, also when opening failed. Threads: one.
 */
#ifndef SLUICE_DSL_REPORT_FILE_H
#define SLUICE_DSL_REPORT_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "dsl/session.h"
#include "engine/base/error.h"

struct report_file {
    const char *given;          /* as typed */
    struct span span;
    char *path;                 /* where it is put: links are followed */
    char *temporary;            /* beside that */
    mode_t mode;                /* that of a report that is there */
    int fd;                     /* of what is no regular file; else -1 */
};

/* Before anything is done: can it be made there, and is the place nobody else's? ERR_USAGE when it is the pipeline's
 * file, lies in the input's directory, or is the output's or in it. */
bool report_file_open(struct report_file *r, const char *path, struct span span, const struct pipeline *p,
                      struct error *err);
/* `outcome`: how the session ended. */
bool report_file_write(struct report_file *r, const struct session *s, const struct error *outcome,
                       struct error *err);
void report_file_release(struct report_file *r);

#endif
