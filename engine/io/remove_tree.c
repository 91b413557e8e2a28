/* remove_tree.c - os_remove_tree and os_remove_tree_but (os.h), of its other calls. */
#include "engine/io/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { REMOVE_DEPTH_MAX = 128, REMOVE_PASSES_MAX = 64 };

static int remove_below(int dir_fd, const char *name, bool is_directory, unsigned depth);

/* One pass over a directory. Some file systems skip names when others vanish under readdir, so the caller passes
 * again while `removed` says that it helped, but not for ever: a file that is open somewhere gets a new name each time it is
 * removed on others (NFS, FUSE). Names that begin with `kept` (NULL: none) stay. */
static int remove_entries(DIR *dir, const char *kept, unsigned depth, uint64_t *removed)
{
    struct dirent *entry;

    *removed = 0;
    rewinddir(dir);
    while (errno = 0, (entry = readdir(dir))) {
        int result;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            (kept && !strncmp(entry->d_name, kept, strlen(kept))))
            continue;
        result = remove_below(dirfd(dir), entry->d_name, entry->d_type == DT_DIR, depth);
        if (result < 0)
            return result;
        ++*removed;
    }
    return -errno;
}

/* All that is in it; and the directory itself, if nothing is kept. */
static int remove_directory(int parent_fd, const char *name, const char *kept, unsigned depth)
{
    unsigned passes = 0;
    uint64_t removed;
    int result, fd;
    DIR *dir;

    if (depth == REMOVE_DEPTH_MAX)
        return -ELOOP;
    fd = os_openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    dir = fdopendir(fd);
    if (!dir) {
        result = -errno;
        os_close(fd);
        return result;
    }
    do {
        result = remove_entries(dir, kept, depth + 1, &removed);
        if (result == 0)
            result = kept ? -ENOTEMPTY : os_unlinkat(parent_fd, name, AT_REMOVEDIR);
    } while (result == -ENOTEMPTY && removed && ++passes < REMOVE_PASSES_MAX);
    if (kept && result == -ENOTEMPTY)
        result = 0;
    closedir(dir);
    return result == -ENOENT ? 0 : result;
}

static int remove_below(int dir_fd, const char *name, bool is_directory, unsigned depth)
{
    int result = is_directory ? -EISDIR : os_unlinkat(dir_fd, name, 0);

    if (result == -EISDIR)
        result = remove_directory(dir_fd, name, NULL, depth);
    return result == -ENOENT ? 0 : result;
}

int os_remove_tree(int dir_fd, const char *path)
{
    return remove_below(dir_fd, path, false, 0);
}

int os_remove_tree_but(int dir_fd, const char *path, const char *kept)
{
    return remove_directory(dir_fd, path, kept, 0);
}
