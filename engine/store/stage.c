/* The writing half of a directory store.
 *
 *     stage     <parent>/<name>.sluice-partial is made, opened and locked; a note in it says by whom
 *     objects   are made below it
 *     publish   is one rename to <parent>/<name> (publish.c)
 *
 * What a dead run left is taken up, or removed, only while we hold its lock, so a living run never loses its staging
 * directory. The lock is that of the root's file descriptor: the kernel gives it back when the process dies; where it
 * has none to give, see lock.c.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/base/text.h"
#include "engine/io/os.h"
#include "engine/io/space.h"
#include "engine/store/store.h"
#include "engine/store/store_impl.h"

/* Names and inodes that are dirty are charged to our cgroup, and the kernel cannot take them back there. */
enum { OBJECTS_PER_SYNC = 8192, NOTE_BYTES_MAX = 4096 };

/* mkdir -p: `path` below `dir_fd`. Tries the deepest first, which is nearly always all there is to do. */
static int make_directories(int dir_fd, char *path)
{
    int got = os_mkdirat(dir_fd, path, 0777);

    if (got == -ENOENT) {
        char *slash = strrchr(path, '/');

        if (!slash || slash == path)
            return got;
        *slash = '\0';
        got = make_directories(dir_fd, path);
        *slash = '/';
        if (got >= 0)
            got = os_mkdirat(dir_fd, path, 0777);
    }
    return got == -EEXIST ? 0 : got;
}

/* Split s->path into the parent, which is made and opened, and the name in it. */
static bool open_parent(struct store *s, struct error *err)
{
    char *slash = strrchr(s->path, '/');
    char *parent;
    int got;

    s->name = slash ? slash + 1 : s->path;
    if (!*s->name || !strcmp(s->name, ".") || !strcmp(s->name, ".."))
        return error_at(err, ERR_USAGE, s->span, "'%s' cannot be an output: give it a name of its own", s->path);
    parent = slash == s->path ? strdup("/") : slash ? strndup(s->path, (size_t)(slash - s->path)) : strdup(".");
    if (!parent || asprintf(&s->staging_name, "%s" STAGING_SUFFIX, s->name) < 0)
        s->staging_name = NULL;
    if (!s->staging_name || asprintf(&s->aside_name, "%s.sluice-aside", s->name) < 0)
        s->aside_name = NULL;
    if (!s->aside_name || asprintf(&s->lock_name, "%s.sluice-lock", s->name) < 0) {
        s->lock_name = NULL;
        free(parent);
        return error_at(err, ERR_FIT, s->span, "no memory to stage '%s'", s->path);
    }
    for (size_t end = strlen(parent); end > 1 && parent[end - 1] == '/'; end--)
        parent[end - 1] = '\0';
    got = os_open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (got == -ENOENT && (got = make_directories(AT_FDCWD, parent)) >= 0)
        got = os_open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (got < 0)
        error_sys(err, -got, s->span, "cannot make or open the directory '%s'", parent);
    else
        s->parent_fd = got;
    free(parent);
    return got >= 0;
}

/* 1, 0, or -errno: what cannot be listed could be somebody's. */
static int directory_is_empty(int parent_fd, const char *name)
{
    int fd = os_openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int empty;

    if (!listing) {
        empty = fd < 0 ? fd : -errno;
        if (fd >= 0)
            os_close(fd);
        return empty;
    }
    while (errno = 0, (entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            break;
    empty = entry ? 0 : errno ? -errno : 1;
    closedir(listing);
    return empty;
}

/* A directory with Zarr metadata in its root, so an output of ours or of a program like ours; or nothing at all: 1.
 * -errno: it cannot be looked at. */
static int may_be_replaced(const struct store *s)
{
    static const char *const keys[] = { ".zarray", ".zgroup", "zarr.json", ".zmetadata" };
    char path[PATH_MAX];
    struct stat st;
    int got;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", s->name, keys[i]);
        got = os_fstatat(s->parent_fd, path, &st, AT_SYMLINK_NOFOLLOW);
        if (got != -ENOENT)
            return got < 0 ? got : 1;
    }
    return directory_is_empty(s->parent_fd, s->name);
}

/* May the target be made, or replaced? Sets *there. */
bool store_check_target(const struct store *s, bool *there, struct error *err)
{
    struct stat st;
    int got = os_fstatat(s->parent_fd, s->name, &st, AT_SYMLINK_NOFOLLOW);

    *there = got >= 0;
    if (got == -ENOENT)
        return true;
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot look at '%s'", s->path);
    if (!s->overwrite) {
        error_at(err, ERR_EXISTS, s->span, "'%s' is already there", s->path);
        error_help(err, "give another path, or replace it with --overwrite (in a pipeline: overwrite: true)");
        return false;
    }
    if (S_ISLNK(st.st_mode)) {
        error_at(err, ERR_EXISTS, s->span, "'%s' is a symbolic link, which is not overwritten", s->path);
        error_help(err, "give the path that it leads to");
        return false;
    }
    got = S_ISDIR(st.st_mode) ? may_be_replaced(s) : 0;
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot look into '%s'", s->path);
    if (!got) {
        error_at(err, ERR_EXISTS, s->span, "'%s' is not a Zarr store, and only those are overwritten", s->path);
        error_help(err, "give another path, or remove it first");
        return false;
    }
    return true;
}

/* The note in a directory that we may have left: 0 or -errno. -ENOENT: it is not ours. An empty directory is ours too: we
 * died before the note was written; and so is one with a journal: that is the last to go. */
static int read_note(int fd, char **note)
{
    int note_fd = os_openat(fd, STAGING_NOTE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    int64_t got = note_fd;
    struct stat st;

    *note = calloc(1, NOTE_BYTES_MAX + 1);
    if (note_fd >= 0) {
        got = *note ? os_pread_some(note_fd, *note, NOTE_BYTES_MAX, 0) : -ENOMEM;
        os_close(note_fd);
    } else if (note_fd == -ENOENT) {
        got = *note ? os_fstatat(fd, STAGING_JOURNAL, &st, AT_SYMLINK_NOFOLLOW) : -ENOMEM;
        if (got == -ENOENT) {
            got = directory_is_empty(fd, ".");
            got = got == 0 ? -ENOENT : got;
        }
    }
    if (got >= 0)
        return 0;
    free(*note);
    *note = NULL;
    return (int)got;
}

static int write_note(int fd, const char *note)
{
    int note_fd = os_openat(fd, STAGING_NOTE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int got = note_fd < 0 ? note_fd : os_pwrite_all(note_fd, note, strlen(note), 0);

    if (note_fd >= 0)
        os_close(note_fd);
    return got;
}

char *store_note(int fd)
{
    char *note = NULL;

    read_note(fd, &note);
    return note;
}

static bool is_still_there(const struct store *s, const char *name, int fd)
{
    struct stat opened, named;

    return os_fstat(fd, &opened) >= 0 && os_fstatat(s->parent_fd, name, &named, AT_SYMLINK_NOFOLLOW) >= 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* A directory in our parent that holds a note or a journal: locked, and the note is ours (NULL: it stays). *fd -1: there
 * is none. */
static bool take_directory(struct store *s, const char *name, const char *note, int *fd, struct error *err)
{
    char *old = NULL;
    int got;

    *fd = os_openat(s->parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (*fd == -ENOENT) {
        *fd = -1;
        return true;
    }
    if (*fd < 0 && *fd != -ENOTDIR && *fd != -ELOOP)
        return error_sys(err, -*fd, s->span, "cannot open '%s.sluice-partial', which is there", s->path);
    if (*fd >= 0 && !(s->only_looks ? store_lock_look(s, *fd, err) : store_lock(s, *fd, err))) {
        os_close(*fd);
        return false;
    }
    if (*fd >= 0 && !is_still_there(s, name, *fd)) {    /* its run ended between our opening and our lock */
        os_close(*fd);
        *fd = -1;
        return true;
    }
    got = *fd < 0 ? -ENOENT : read_note(*fd, &old);
    free(old);
    if (got < 0 && *fd >= 0)
        os_close(*fd);
    if (got < 0 && got != -ENOENT && got != -ELOOP)
        return error_sys(err, -got, s->span, "cannot look into '%s.sluice-partial', left by an earlier run", s->path);
    if (got < 0) {
        error_at(err, ERR_EXISTS, s->span, "'%s.sluice-partial' is in the way, and no run of ours made it", s->path);
        error_help(err, "move it away: the output is made under that name before it is published");
        return false;
    }
    got = note ? write_note(*fd, note) : 0;
    if (got >= 0)
        return true;
    error_sys(err, -got, s->span, "cannot write into what an earlier run of '%s' left", s->path);
    space_explain(err, *fd, strlen(note));
    os_close(*fd);
    return false;
}

static bool make_staging(struct store *s, const char *note, struct error *err)
{
    struct stat named, opened;
    int got = os_mkdirat(s->parent_fd, s->staging_name, 0777);

    if (got == -EEXIST)
        return store_busy(s, NULL, err);
    if (got < 0) {
        error_sys(err, -got, s->span, "cannot make the directory '%s.sluice-partial'", s->path);
        return space_explain(err, s->parent_fd, 0);
    }
    got = os_openat(s->parent_fd, s->staging_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (got == -ENOENT)             /* empty, and taken for a leftover before we could lock it */
        return store_busy(s, NULL, err);
    if (got < 0) {
        os_unlinkat(s->parent_fd, s->staging_name, AT_REMOVEDIR);
        return error_sys(err, -got, s->span, "cannot open the directory '%s.sluice-partial'", s->path);
    }
    s->root_fd = got;
    if (!store_lock(s, s->root_fd, err)) {
        if (err->code != ERR_EXISTS)
            os_unlinkat(s->parent_fd, s->staging_name, AT_REMOVEDIR);
        return false;
    }
    got = os_fstat(s->root_fd, &opened);
    if (got >= 0)
        got = os_fstatat(s->parent_fd, s->staging_name, &named, AT_SYMLINK_NOFOLLOW);
    if (got < 0 && got != -ENOENT)
        return error_sys(err, -got, s->span, "cannot look at '%s.sluice-partial'", s->path);
    /* Between mkdir and lock another run may have taken it for a leftover. */
    if (got < 0 || named.st_dev != opened.st_dev || named.st_ino != opened.st_ino)
        return store_busy(s, NULL, err);
    got = write_note(s->root_fd, note);
    if (got >= 0)
        return true;
    error_sys(err, -got, s->span, "cannot write into '%s.sluice-partial'", s->path);
    space_explain(err, s->root_fd, strlen(note));
    store_abandon(s);
    return false;
}

/* `needs` is what must be there beside or below `path` ("": nothing); if it is not, NULL without an error, and no parent
 * directory is made. */
static struct store *staged_new(const char *path, const char *needs, struct span span, struct error *err)
{
    char needed[PATH_MAX];
    struct store *s;
    struct stat st;
    int got = 0;

    if (!*path) {
        error_at(err, ERR_USAGE, span, "the path is empty");
        return NULL;
    }
    s = store_new(path, span, err);
    if (!s)
        return NULL;
    snprintf(needed, sizeof needed, "%s%s", s->path, needs);
    if (*needs)
        got = os_fstatat(AT_FDCWD, needed, &st, AT_SYMLINK_NOFOLLOW);
    if (got < 0 && got != -ENOENT && got != -ENOTDIR && got != -ENAMETOOLONG)
        error_sys(err, -got, span, "cannot look at '%s'", needed);
    else if (got >= 0 && open_parent(s, err))
        return s;
    store_close(s);
    return NULL;
}

bool store_stage(struct store **out, const char *path, bool overwrite, const char *note, struct span span,
                 struct error *err)
{
    struct store *s;
    bool there;

    *out = NULL;
    s = staged_new(path, "", span, err);
    if (!s)
        return false;
    s->overwrite = overwrite;
    if (!store_check_target(s, &there, err) || !make_staging(s, note, err)) {
        store_close(s);
        return false;
    }
    *out = s;
    return true;
}

static bool stage_again(struct store **out, const char *path, bool only_looks, const char *note, struct span span,
                        struct error *err)
{
    struct store *s;

    *out = NULL;
    s = staged_new(path, STAGING_SUFFIX, span, err);
    if (!s)
        return err->code == ERR_NONE;
    s->only_looks = only_looks;
    s->taken_up = !only_looks;
    if (!take_directory(s, s->staging_name, note, &s->root_fd, err)) {
        s->root_fd = -1;
        store_close(s);
        return false;
    }
    if (s->root_fd < 0)
        store_close(s);
    else
        *out = s;
    return true;
}

bool store_stage_again(struct store **s, const char *path, bool overwrite, const char *note, struct span span,
                       struct error *err)
{
    bool ok = stage_again(s, path, false, note, span, err);

    if (*s)
        (*s)->overwrite = overwrite;
    return ok;
}

bool store_stage_look(struct store **s, const char *path, struct span span, struct error *err)
{
    return stage_again(s, path, true, NULL, span, err);
}

bool store_stage_published(struct store **out, const char *path, struct span span, struct error *err)
{
    struct store *s;

    *out = NULL;
    s = staged_new(path, "/" STAGING_JOURNAL, span, err);
    if (!s)
        return err->code == ERR_NONE;
    if (!take_directory(s, s->name, NULL, &s->root_fd, err)) {
        s->root_fd = -1;
        store_close(s);
        return false;
    }
    s->published = true;
    if (s->root_fd < 0)
        store_close(s);
    else
        *out = s;
    return true;
}

bool store_clean_lock(const char *path, struct span span, struct text *what, struct error *err)
{
    struct store *s = staged_new(path, ".sluice-lock", span, err);
    bool ok;

    if (!s)
        return err->code == ERR_NONE;
    ok = store_lock_file_take(s, err);
    if (s->took_over[0])
        text_addf(what, "%s\n", s->took_over);
    store_close(s);
    return ok;
}

void store_make_durable(struct store *s)
{
    s->durable = true;
}

/* Make and open a new file, and the directories on its way if they are not there. What an earlier run left under
 * that name is not written into: it goes. */
static int create_key(struct store *s, const char *key, int flags)
{
    int got = os_open_beneath(s->root_fd, key, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0666);
    char directory[KEY_BYTES_MAX];
    char *slash;

    if (got == -EEXIST && s->taken_up && os_unlinkat(s->root_fd, key, 0) >= 0)
        got = os_open_beneath(s->root_fd, key, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0666);
    if (got != -ENOENT)
        return got;
    memcpy(directory, key, strlen(key) + 1);    /* store_key_check saw its length */
    slash = strrchr(directory, '/');
    if (!slash)
        return got;
    *slash = '\0';
    got = make_directories(s->root_fd, directory);
    return got < 0 ? got : os_open_beneath(s->root_fd, key, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0666);
}

bool store_object_create(struct store *s, const char *key, struct object *o, struct error *err)
{
    bool direct = !atomic_load_explicit(&s->direct_refused, memory_order_relaxed);
    int got;

    *o = (struct object){ .fd = -1 };
    if (!store_key_check(s, key, err))
        return false;
    got = create_key(s, key, direct ? O_DIRECT : 0);
    if (direct && got == -EINVAL) {
        /* Some file systems make the file before they refuse O_DIRECT. O_EXCL: it cannot be anybody else's. */
        os_unlinkat(s->root_fd, key, 0);
        direct = false;
        got = create_key(s, key, 0);
        if (got >= 0)
            store_without_direct(s);
    }
    if (got < 0) {
        error_sys(err, -got, s->span, "cannot make '%s/%s'", s->path, key);
        return space_explain(err, s->root_fd, 0);
    }
    o->fd = got;
    o->direct = direct;
    return true;
}

/* Count an object; every so often one caller makes the kernel write out what it knows about them. */
static bool count_object(struct store *s, struct error *err)
{
    uint64_t made = atomic_fetch_add_explicit(&s->objects_made, 1, memory_order_relaxed) + 1;
    int got;

    if (made % OBJECTS_PER_SYNC != 0)
        return true;
    got = os_syncfs(s->root_fd);
    return got >= 0 || error_sys(err, -got, s->span, "cannot write out the files of '%s'", s->path);
}

/* The last bytes of a direct object, through the page cache. */
static int write_tail(const struct object *o, const char *tail, uint64_t bytes)
{
    uint64_t tail_bytes = bytes % IO_ALIGN;
    int got;

    if (!tail || tail_bytes == 0)
        return 0;
    got = os_set_buffered(o->fd);
    return got < 0 ? got : os_pwrite_all(o->fd, tail, tail_bytes, bytes - tail_bytes);
}

bool store_object_finish(struct store *s, struct object *o, const char *tail, uint64_t bytes, struct error *err)
{
    struct stat st = { 0 };
    int got = write_tail(o, tail, bytes), closed;
    bool wrong_length;

    if (got >= 0)
        got = os_fstat(o->fd, &st);
    wrong_length = got >= 0 && (uint64_t)st.st_size != bytes;
    closed = os_close(o->fd);           /* network file systems report lost writes here */
    o->fd = -1;
    o->bytes = bytes;
    if (wrong_length)
        return error_at(err, ERR_IO, s->span, "an object of '%s' has %s after %s were written", s->path,
                        SIZE_TEXT((uint64_t)st.st_size), SIZE_TEXT(bytes));
    if (got >= 0)
        got = closed;
    if (got < 0) {
        error_sys(err, -got, s->span, "cannot finish an object of '%s'", s->path);
        return space_explain(err, s->root_fd, bytes);
    }
    return count_object(s, err);
}

/* ---- objects written by parts ---- */

/* The way into the file `key` through the page cache, beside a direct one. */
static int open_cached(const struct store *s, const char *key, struct ranged_object *o)
{
    o->cached_fd = o->direct ? os_open_beneath(s->root_fd, key, O_WRONLY | O_CLOEXEC, 0) : o->fd;
    return o->cached_fd;
}

static int close_ranged(struct ranged_object *o)
{
    int got = 0, cached = 0;

    if (o->cached_fd >= 0 && o->cached_fd != o->fd)
        cached = os_close(o->cached_fd);
    if (o->fd >= 0)
        got = os_close(o->fd);
    o->fd = o->cached_fd = -1;
    return got < 0 ? got : cached;
}

bool store_ranged_open(struct store *s, const char *key, struct ranged_object *o, struct error *err)
{
    bool direct = !atomic_load_explicit(&s->direct_refused, memory_order_relaxed);
    int got;

    *o = (struct ranged_object){ .fd = -1, .cached_fd = -1 };
    if (!store_key_check(s, key, err))
        return false;
    got = os_open_beneath(s->root_fd, key, O_WRONLY | O_CLOEXEC | (direct ? O_DIRECT : 0), 0);
    if (direct && got == -EINVAL) {
        direct = false;
        got = os_open_beneath(s->root_fd, key, O_WRONLY | O_CLOEXEC, 0);
    }
    if (got == -ENOENT)
        return true;
    if (got >= 0) {
        o->fd = got;
        o->direct = direct;
        got = open_cached(s, key, o);
    }
    if (got >= 0)
        return true;
    close_ranged(o);
    return error_sys(err, -got, s->span, "cannot open '%s/%s'", s->path, key);
}

/* What it is called until it is shown. */
static const char unshown_suffix[] = ".sluice-new";

static void ranged_name(const char *key, char name[KEY_BYTES_MAX + 16])
{
    snprintf(name, KEY_BYTES_MAX + 16, "%s%s", key, unshown_suffix);
}

bool store_key_is_unshown(const char *key)
{
    size_t length = strlen(key), suffix_length = strlen(unshown_suffix);

    return length > suffix_length && strcmp(key + length - suffix_length, unshown_suffix) == 0;
}

bool store_ranged_make(struct store *s, const char *key, uint64_t bytes, struct ranged_object *o, struct error *err)
{
    char name[KEY_BYTES_MAX + 16];
    struct object made;
    int got;

    *o = (struct ranged_object){ .fd = -1, .cached_fd = -1 };
    ranged_name(key, name);
    if (!store_object_create(s, name, &made, err))
        return false;
    o->fd = made.fd;
    o->direct = made.direct;
    got = os_fallocate(o->fd, 0, bytes);
    if (got == -EOPNOTSUPP)
        got = os_ftruncate(o->fd, bytes);
    if (got >= 0)
        got = open_cached(s, name, o);
    if (got >= 0)
        return count_object(s, err);
    close_ranged(o);
    error_sys(err, -got, s->span, "cannot make '%s/%s'", s->path, key);
    return space_explain(err, s->root_fd, bytes);
}

bool store_ranged_show(struct store *s, const char *key, struct error *err)
{
    char name[KEY_BYTES_MAX + 16];
    int got;

    ranged_name(key, name);
    got = os_rename_new(s->root_fd, name, key);
    return got >= 0 || error_sys(err, -got, s->span, "cannot make '%s/%s'", s->path, key);
}

bool store_ranged_close(struct store *s, struct ranged_object *o, struct error *err)
{
    int got = close_ranged(o);          /* network file systems report lost writes here */

    return got >= 0 || error_sys(err, -got, s->span, "cannot finish an object of '%s'", s->path);
}

bool store_object_write_head(struct store *s, struct object *o, const char *head, uint64_t bytes, struct error *err)
{
    int got = 0;

    if (bytes == 0)
        return true;
    if (o->direct)
        got = os_set_buffered(o->fd);
    o->direct = false;
    if (got >= 0)
        got = os_pwrite_all(o->fd, head, bytes, 0);
    if (got >= 0)
        return true;
    error_sys(err, -got, s->span, "cannot write to an object of '%s'", s->path);
    return space_explain(err, s->root_fd, bytes);
}

bool store_object_reopen_removed(struct store *s, const char *key, struct object *o, struct error *err)
{
    int got;

    if (!store_object_open(s, key, o, err))
        return false;
    got = o->fd < 0 ? -ENOENT : o->direct ? os_set_buffered(o->fd) : 0;
    o->direct = false;
    if (got >= 0)
        got = os_unlinkat(s->root_fd, key, 0);
    if (got < 0) {
        store_object_close(o);
        return error_sys(err, -got, s->span, "cannot make '%s/%s' anew", s->path, key);
    }
    atomic_fetch_sub_explicit(&s->objects_made, 1, memory_order_relaxed);
    return true;
}

bool store_put(struct store *s, const char *key, const char *data, uint64_t bytes, struct error *err)
{
    struct object o = { .fd = -1 };
    int got;

    if (!store_key_check(s, key, err))
        return false;
    got = create_key(s, key, 0);
    if (got < 0) {
        error_sys(err, -got, s->span, "cannot make '%s/%s'", s->path, key);
        return space_explain(err, s->root_fd, 0);
    }
    o.fd = got;
    got = os_pwrite_all(o.fd, data, bytes, 0);
    if (got < 0) {
        store_object_close(&o);
        error_sys(err, -got, s->span, "cannot write '%s/%s'", s->path, key);
        return space_explain(err, s->root_fd, bytes);
    }
    return store_object_finish(s, &o, NULL, bytes, err);
}

bool store_is_published(const struct store *s)
{
    return s->published;
}

bool store_is_in_doubt(const struct store *s)
{
    return s->in_doubt;
}

uint64_t store_objects_made(const struct store *s)
{
    return atomic_load_explicit(&s->objects_made, memory_order_relaxed);
}
