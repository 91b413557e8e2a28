#include "dsl/report_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsl/answer.h"
#include "engine/io/os.h"
#include "engine/store/store.h"

static bool cannot_write(const struct report_file *r, int sys_errno, struct error *err)
{
    error_sys(err, sys_errno, r->span, "cannot write the report to '%s'", r->given);
    if (sys_errno == ENOENT || sys_errno == ENOTDIR || sys_errno == EISDIR || sys_errno == ELOOP)
        err->code = ERR_USAGE;
    return false;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* "." of "name", "/" of "/name"; to be freed. NULL: no memory. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Is the report what the output will be called, or its staging directory? Both may not be there yet. */
static bool is_output(const char *directory, const char *name, const char *output_path)
{
    char *output = strndup(output_path, path_length(output_path)), *output_directory = NULL;
    struct stat ours, its;
    const char *rest;
    bool is = false;
    size_t length;

    if (output)
        output_directory = directory_of(output);
    if (output_directory && os_fstatat(AT_FDCWD, directory, &ours, 0) >= 0 &&
        os_fstatat(AT_FDCWD, output_directory, &its, 0) >= 0 && same_file(&ours, &its)) {
        length = strlen(name_of(output));
        rest = strncmp(name, name_of(output), length) == 0 ? name + length : "-";
        is = !rest[0] || strcmp(rest, STAGING_SUFFIX) == 0;
    }
    free(output_directory);
    free(output);
    return is;
}

/* Is `directory` the array at `path` or in it? What cannot be opened is the planner's to refuse. */
static bool lies_in(const char *path, const char *directory)
{
    struct error ignored = { 0 };
    struct store *s = NULL;
    bool lies = store_open(&s, path, SPAN_NONE, &ignored) && store_holds_directory(s, directory);

    store_close(s);
    return lies;
}

static bool place_is_free(const struct report_file *r, const struct pipeline *p, struct error *err)
{
    const struct job *job = &p->job;
    char *directory = directory_of(r->path);
    const char *taken = NULL;
    struct stat st;
    int found = directory ? os_fstatat(AT_FDCWD, directory, &st, 0) : -ENOMEM;

    if (found < 0) {
        free(directory);
        return cannot_write(r, -found, err);
    }
    if (os_fstatat(AT_FDCWD, r->path, &st, 0) >= 0 && same_file(&st, &p->file))
        taken = "replace the pipeline";
    else if (lies_in(job->input.path, directory))
        taken = "lie in the input";
    else if (is_output(directory, name_of(r->path), job->output.path))
        taken = "stand where the output is made";
    else if (lies_in(job->output.path, directory))
        taken = "lie in the output";
    free(directory);
    if (!taken)
        return true;
    error_at(err, ERR_USAGE, r->span, "the report '%s' would %s", r->given, taken);
    error_help(err, "give it a place of its own");
    return false;
}

/* What a link leads to is replaced, not the link. NULL with errno. */
static char *real_place(const char *path)
{
    struct stat st;

    if (!path[0] || path[strlen(path) - 1] == '/') {
        errno = path[0] ? EISDIR : ENOENT;
        return NULL;
    }
    return os_fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == -ENOENT ? strdup(path) : realpath(path, NULL);
}

/* Beside the place, under a name that is as long wherever that is. One that is left of a process with our number is
 * replaced. -errno, or an open file. */
static int make_temporary(const struct report_file *r)
{
    enum { FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW };
    int fd = os_open(r->temporary, FLAGS, r->mode);

    if (fd == -EEXIST && os_unlinkat(AT_FDCWD, r->temporary, 0) >= 0)
        fd = os_open(r->temporary, FLAGS, r->mode);
    return fd;
}

/* Can it be made there? Nothing stays, so nothing is left behind when the run is killed. */
static bool try_temporary(struct report_file *r, struct error *err)
{
    int fd;

    if (asprintf(&r->temporary, "%.*s.sluice-report-%d", (int)(name_of(r->path) - r->path), r->path,
                 (int)getpid()) < 0) {
        r->temporary = NULL;
        return error_at(err, ERR_FIT, r->span, "no memory for the report's path");
    }
    fd = make_temporary(r);
    if (fd < 0)
        return cannot_write(r, -fd, err);
    os_close(fd);
    os_unlinkat(AT_FDCWD, r->temporary, 0);
    return true;
}

/* A device, a pipe, or where our own standard output or error goes: what is there was not put by us to be replaced. */
static bool is_stream(const struct stat *st)
{
    struct stat own;

    if (!S_ISREG(st->st_mode))
        return true;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (os_fstat(fd, &own) >= 0 && same_file(st, &own))
            return true;
    return false;
}

bool report_file_open(struct report_file *r, const char *path, struct span span, const struct pipeline *p,
                      struct error *err)
{
    struct stat st;
    bool is_there = os_fstatat(AT_FDCWD, path, &st, 0) >= 0;

    *r = (struct report_file){ .given = path, .span = span, .fd = -1, .mode = is_there ? st.st_mode & 0777 : 0666 };
    if (is_there && S_ISDIR(st.st_mode))
        return cannot_write(r, EISDIR, err);
    if (is_there && is_stream(&st)) {
        r->fd = os_open(path, O_WRONLY | O_APPEND, 0);
        return r->fd >= 0 || cannot_write(r, -r->fd, err);
    }
    r->path = real_place(path);
    if (!r->path || (is_there && access(r->path, W_OK) < 0))
        return cannot_write(r, errno, err);
    return place_is_free(r, p, err) && try_temporary(r, err);
}

bool report_file_write(struct report_file *r, const struct session *s, const struct error *outcome, struct error *err)
{
    bool is_stream = r->fd >= 0;
    struct text document;
    int got, closed;

    if (!is_stream)
        r->fd = make_temporary(r);
    if (r->fd < 0)
        return cannot_write(r, -r->fd, err);
    text_init(&document, ANSWER_BYTES_MAX);
    session_json(s, outcome, &document);
    got = document.cut ? -ENOMEM : os_pwrite_all(r->fd, document.chars, document.length, OS_STREAM);
    text_release(&document);
    closed = os_close(r->fd);
    r->fd = -1;
    if (got >= 0)
        got = closed;
    if (got >= 0 && !is_stream)
        got = os_rename(AT_FDCWD, r->temporary, r->path);
    if (got < 0 && !is_stream)
        os_unlinkat(AT_FDCWD, r->temporary, 0);
    return got >= 0 || cannot_write(r, -got, err);
}

void report_file_release(struct report_file *r)
{
    if (r->fd >= 0)
        os_close(r->fd);
    free(r->path);
    free(r->temporary);
    *r = (struct report_file){ .fd = -1 };
}
