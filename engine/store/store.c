/* The reading half of a directory store, and what both halves share. */
#include "engine/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/io/os.h"
#include "engine/store/store_impl.h"

struct store *store_new(const char *path, struct span span, struct error *err)
{
    struct store *s = calloc(1, sizeof *s);

    if (s)
        s->path = strndup(path, path_length(path));
    if (!s || !s->path) {
        free(s);
        error_at(err, ERR_FIT, span, "no memory to open '%s'", path);
        return NULL;
    }
    s->span = span;
    s->root_fd = s->parent_fd = -1;
    return s;
}

static bool inodes_last(int fd)
{
    struct stat st = { .st_ino = OS_INODE_ANY + 1 };

    return os_lasting_inode(fd, &st) != OS_INODE_ANY;
}

bool store_open(struct store **out, const char *path, struct span span, struct error *err)
{
    struct store *s;

    *out = NULL;
    if (!*path)
        return error_at(err, ERR_USAGE, span, "the path is empty");
    s = store_new(path, span, err);
    if (!s)
        return false;
    s->root_fd = os_open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (s->root_fd < 0) {
        int sys_errno = -s->root_fd;

        s->root_fd = -1;
        store_close(s);
        if (sys_errno == ENOENT)
            return error_at(err, ERR_INPUT, span, "'%s' does not exist", path);
        if (sys_errno == ENOTDIR)
            return error_at(err, ERR_INPUT, span, "'%s' is not a directory", path);
        return error_sys(err, sys_errno, span, "cannot open '%s'", path);
    }
    s->inodes_last = inodes_last(s->root_fd);
    *out = s;
    return true;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    store_lock_file_give_back(s);
    if (s->root_fd >= 0)
        os_close(s->root_fd);
    if (s->parent_fd >= 0)
        os_close(s->parent_fd);
    free(s->staging_name);
    free(s->aside_name);
    free(s->lock_name);
    free(s->path);
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

struct span store_span(const struct store *s)
{
    return s->span;
}

int store_root_fd(const struct store *s)
{
    return s->root_fd;
}

void store_without_direct(struct store *s)
{
    atomic_store_explicit(&s->direct_refused, true, memory_order_relaxed);
    os_lacks_direct();
}

bool store_key_check(const struct store *s, const char *key, struct error *err)
{
    if (!*key || strlen(key) >= KEY_BYTES_MAX)
        return error_at(err, ERR_INPUT, s->span, "'%s' has a key of %zu bytes: 1 to %d are possible", s->path,
                        strlen(key), KEY_BYTES_MAX - 1);
    return true;
}

/* What stands where a regular file should be. */
static const char *kind_name(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a pipe" : S_ISLNK(mode) ? "a symbolic link" :
           S_ISCHR(mode) || S_ISBLK(mode) ? "a device" : S_ISSOCK(mode) ? "a socket" : "not a regular file";
}

/* Open an existing key. *fd -1 if there is none. */
static bool open_key(const struct store *s, const char *key, int flags, int *fd, struct error *err)
{
    int got = os_open_beneath(s->root_fd, key, O_RDONLY | O_CLOEXEC | flags, 0);

    *fd = got < 0 ? -1 : got;
    if (got >= 0 || got == -ENOENT)
        return true;
    switch (-got) {
    case EINVAL:
        return false;                   /* without a word: O_DIRECT may be to blame, the caller knows */
    case ELOOP:
        return error_at(err, ERR_INPUT, s->span, "'%s/%s' is, or lies behind, a symbolic link", s->path, key);
    case ENOTDIR:
        return error_at(err, ERR_INPUT, s->span, "'%s/%s' lies behind something that is not a directory", s->path, key);
    case EXDEV:
        return error_at(err, ERR_INPUT, s->span, "'%s/%s' leads out of the store", s->path, key);
    case ENXIO:
    case ENODEV:
        return error_at(err, ERR_INPUT, s->span, "'%s/%s' is a socket or a device, not a regular file", s->path, key);
    default:
        return error_sys(err, -got, s->span, "cannot open '%s/%s'", s->path, key);
    }
}

uint64_t store_stamp(const struct store *s, const struct stat *st)
{
    uint64_t parts[4] = { (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
                          s->inodes_last ? st->st_ino : OS_INODE_ANY };
    uint64_t stamp = 0;

    for (unsigned i = 0; i < 4; i++) {
        stamp = (stamp ^ parts[i]) * UINT64_C(0x9E3779B97F4A7C15);
        stamp ^= stamp >> 29;
    }
    return stamp | 1;
}

/* A regular file, its size and time. */
static bool check_kind(const struct store *s, const char *key, struct object *o, struct error *err)
{
    struct stat st;
    int got = os_fstat(o->fd, &st);

    if (got < 0)
        return error_sys(err, -got, s->span, "cannot look at '%s/%s'", s->path, key);
    if (!S_ISREG(st.st_mode))
        return error_at(err, ERR_INPUT, s->span, "'%s/%s' is %s, not a regular file", s->path, key,
                        kind_name(st.st_mode));
    o->bytes = (uint64_t)st.st_size;
    o->written = st.st_mtim;
    o->stamp = store_stamp(s, &st);
    return true;
}

int store_object_changed(const struct object *o)
{
    struct stat st;
    int got = os_fstat(o->fd, &st);

    if (got < 0)
        return got;
    return (uint64_t)st.st_size == o->bytes && st.st_mtim.tv_sec == o->written.tv_sec &&
           st.st_mtim.tv_nsec == o->written.tv_nsec ? 0 : -ESTALE;
}

bool store_object_open(struct store *s, const char *key, struct object *o, struct error *err)
{
    bool direct = !atomic_load_explicit(&s->direct_refused, memory_order_relaxed), opened = false;

    *o = (struct object){ .fd = -1 };
    if (!store_key_check(s, key, err))
        return false;
    if (direct) {
        opened = open_key(s, key, O_DIRECT, &o->fd, err);
        if (!opened && err->code != ERR_NONE)
            return false;
        o->direct = opened;
    }
    if (!opened && !open_key(s, key, 0, &o->fd, err))
        return error_sys(err, EINVAL, s->span, "cannot open '%s/%s'", s->path, key);
    if (o->fd < 0)
        return true;
    if (!check_kind(s, key, o, err)) {
        store_object_close(o);
        return false;
    }
    /* Only now: a directory refuses O_DIRECT too, and says nothing about the file system. */
    if (direct && !o->direct)
        store_without_direct(s);
    return true;
}

void store_object_close(struct object *o)
{
    if (o->fd >= 0 && !o->direct && os_is_without_direct())
        os_drop_cached(o->fd, 0, 0);        /* also what the kernel read ahead of us */
    if (o->fd >= 0)
        os_close(o->fd);
    o->fd = -1;
}

bool store_get(const struct store *s, const char *key, uint64_t bytes_max,
               char **data, uint64_t *data_bytes, struct error *err)
{
    struct object o = { .fd = -1 };
    int got;

    *data = NULL;
    *data_bytes = 0;
    if (!store_key_check(s, key, err))
        return false;
    if (!open_key(s, key, 0, &o.fd, err))
        return error_sys(err, EINVAL, s->span, "cannot open '%s/%s'", s->path, key);
    if (o.fd < 0)
        return true;
    if (!check_kind(s, key, &o, err))
        goto fail;
    if (o.bytes > bytes_max) {
        error_at(err, ERR_INPUT, s->span, "'%s/%s' has %s, more than the %s that are possible", s->path, key,
                 SIZE_TEXT(o.bytes), SIZE_TEXT(bytes_max));
        goto fail;
    }
    *data = malloc(o.bytes + 1);
    if (!*data) {
        error_at(err, ERR_FIT, s->span, "no memory for the %s of '%s/%s'", SIZE_TEXT(o.bytes), s->path, key);
        goto fail;
    }
    got = os_pread_all(o.fd, *data, o.bytes, 0);
    if (got == -ENODATA)
        error_at(err, ERR_INPUT, s->span, "'%s/%s' became shorter while it was read", s->path, key);
    else if (got < 0)
        error_sys(err, -got, s->span, "cannot read '%s/%s'", s->path, key);
    if (got < 0)
        goto fail;
    (*data)[o.bytes] = '\0';
    *data_bytes = o.bytes;
    os_close(o.fd);
    return true;
fail:
    free(*data);
    *data = NULL;
    os_close(o.fd);
    return false;
}

/* ---- do two paths overlap? ---- */

static bool same_place(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is the directory `fd` (taken over; -errno goes through) at `place` or below it? Walks up by "..", which links cannot
 * fool. 1, 0, or -errno. */
static int lies_at_or_below(int fd, const struct stat *place)
{
    struct stat here, above;
    int got, up;

    while (fd >= 0) {
        got = os_fstat(fd, &here);
        up = got < 0 ? got : same_place(&here, place) ? -EEXIST : os_openat(fd, "..", O_PATH | O_DIRECTORY, 0);
        os_close(fd);
        if (got >= 0 && same_place(&here, place))
            return 1;
        if (up < 0)
            return up;
        fd = up;
        got = os_fstat(fd, &above);
        if (got < 0 || same_place(&here, &above)) {     /* the root is its own parent */
            os_close(fd);
            return got;
        }
    }
    return fd;
}

/* The deepest directory on the way to `path` (changed) that exists. -errno: what is there cannot be opened. */
static int open_existing_ancestor(char *path)
{
    for (;;) {
        int fd = os_open(path, O_PATH | O_DIRECTORY, 0);
        char *slash = strrchr(path, '/');

        if (fd != -ENOENT && fd != -ENOTDIR)
            return fd;
        if (slash == path)
            return os_open("/", O_PATH | O_DIRECTORY, 0);
        if (!slash)
            return os_open(".", O_PATH | O_DIRECTORY, 0);
        *slash = '\0';
    }
}

/* The same for one of the output's two names. */
static int place_overlaps(const struct store *input, const struct stat *root, char *path)
{
    struct stat output;
    int got = os_fstatat(AT_FDCWD, path, &output, 0);

    if (got >= 0)
        got = lies_at_or_below(os_openat(input->root_fd, ".", O_PATH | O_DIRECTORY, 0), &output);
    else if (got == -ENOENT || got == -ENOTDIR)
        got = 0;
    return got ? got : lies_at_or_below(open_existing_ancestor(path), root);
}

int store_paths_overlap(const struct store *input, const char *output_path)
{
    size_t length = path_length(output_path);
    char *path = malloc(length + sizeof STAGING_SUFFIX);
    struct stat root;
    int got = path ? os_fstat(input->root_fd, &root) : -ENOMEM;

    for (int staging = 0; staging < 2 && got == 0; staging++) {
        memcpy(path, output_path, length);
        memcpy(path + length, staging ? STAGING_SUFFIX : "", staging ? sizeof STAGING_SUFFIX : 1);
        got = place_overlaps(input, &root, path);
    }
    free(path);
    return got;
}

int store_holds_directory(const struct store *input, const char *path)
{
    struct stat root;
    int got = os_fstat(input->root_fd, &root);

    return got < 0 ? got : lies_at_or_below(os_open(path, O_PATH | O_DIRECTORY, 0), &root);
}
