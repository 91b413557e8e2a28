/* fuse_lacking.c - a file system that passes everything on to a directory, but lacks what many network and user space
 * file systems lack: fallocate, hole punching, O_DIRECT, flock, renameat2's flags.
 *
 *     LACKING_DIRECTORY=/what/it/shows [LACKING_WRITES_MAX=N] [LACKING_DELAY_US=N] fuse_lacking -f MOUNT
 *
 * After N writes every further one answers EIO; every read and write takes the delay longer. The tests of whole
 * pipelines compile it where libfuse 3 is.
 */
#if __has_include(<fuse3/fuse.h>)
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int root_fd;
static long writes_max = LONG_MAX;
static useconds_t delay_us;
static atomic_long writes;

/* Paths come as "/a/b"; below root_fd they are "a/b", and "/" is ".". */
static const char *below(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static int answer(long result)
{
    return result < 0 ? -errno : (int)result;
}

static int lacking_getattr(const char *path, struct stat *st, struct fuse_file_info *file)
{
    return answer(file ? fstat((int)file->fh, st) : fstatat(root_fd, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int lacking_readdir(const char *path, void *list, fuse_fill_dir_t add, off_t offset, struct fuse_file_info *file,
                           enum fuse_readdir_flags flags)
{
    int fd = openat(root_fd, below(path), O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    (void)offset, (void)file, (void)flags;
    if (!dir)
        return -errno;
    while ((entry = readdir(dir)))
        add(list, entry->d_name, NULL, 0, 0);
    closedir(dir);
    return 0;
}

static int open_file(const char *path, int flags, mode_t mode, struct fuse_file_info *file)
{
    int fd = file->flags & O_DIRECT ? -1 : openat(root_fd, below(path), flags, mode);

    if (file->flags & O_DIRECT)
        return -EINVAL;
    file->fh = (uint64_t)fd;
    return fd < 0 ? -errno : 0;
}

static int lacking_open(const char *path, struct fuse_file_info *file)
{
    return open_file(path, file->flags, 0, file);
}

static int lacking_create(const char *path, mode_t mode, struct fuse_file_info *file)
{
    return open_file(path, file->flags | O_CREAT, mode, file);
}

static int lacking_release(const char *path, struct fuse_file_info *file)
{
    (void)path;
    return answer(close((int)file->fh));
}

static int lacking_read(const char *path, char *to, size_t bytes, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    usleep(delay_us);
    return answer(pread((int)file->fh, to, bytes, offset));
}

static int lacking_write(const char *path, const char *from, size_t bytes, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    usleep(delay_us);
    if (atomic_fetch_add(&writes, 1) >= writes_max)
        return -EIO;
    return answer(pwrite((int)file->fh, from, bytes, offset));
}

static int lacking_truncate(const char *path, off_t bytes, struct fuse_file_info *file)
{
    int fd = file ? (int)file->fh : openat(root_fd, below(path), O_WRONLY);
    int result = fd < 0 ? -errno : answer(ftruncate(fd, bytes));

    if (!file && fd >= 0)
        close(fd);
    return result;
}

static int lacking_mkdir(const char *path, mode_t mode)
{
    return answer(mkdirat(root_fd, below(path), mode));
}

static int lacking_unlink(const char *path)
{
    return answer(unlinkat(root_fd, below(path), 0));
}

static int lacking_rmdir(const char *path)
{
    return answer(unlinkat(root_fd, below(path), AT_REMOVEDIR));
}

static int lacking_rename(const char *from, const char *to, unsigned flags)
{
    return flags ? -EINVAL : answer(renameat(root_fd, below(from), root_fd, below(to)));
}

static int lacking_statfs(const char *path, struct statvfs *space)
{
    (void)path;
    return answer(fstatvfs(root_fd, space));
}

static int lacking_flock(const char *path, struct fuse_file_info *file, int how)
{
    (void)path, (void)file, (void)how;
    return -EOPNOTSUPP;
}

static int lacking_fallocate(const char *path, int mode, off_t offset, off_t bytes, struct fuse_file_info *file)
{
    (void)path, (void)mode, (void)offset, (void)bytes, (void)file;
    return -EOPNOTSUPP;
}

static const struct fuse_operations operations = {
    .getattr = lacking_getattr, .readdir = lacking_readdir, .open = lacking_open, .create = lacking_create,
    .release = lacking_release, .read = lacking_read, .write = lacking_write, .truncate = lacking_truncate,
    .mkdir = lacking_mkdir, .unlink = lacking_unlink, .rmdir = lacking_rmdir, .rename = lacking_rename,
    .statfs = lacking_statfs, .flock = lacking_flock, .fallocate = lacking_fallocate,
};

int main(int argc, char **argv)
{
    const char *directory = getenv("LACKING_DIRECTORY"), *max = getenv("LACKING_WRITES_MAX"),
               *delay = getenv("LACKING_DELAY_US");

    root_fd = directory ? open(directory, O_RDONLY | O_DIRECTORY) : -1;
    if (root_fd < 0) {
        perror("LACKING_DIRECTORY");
        return 1;
    }
    if (max)
        writes_max = atol(max);
    if (delay)
        delay_us = (useconds_t)atol(delay);
    return fuse_main(argc, argv, &operations, NULL);
}
#else
int main(void)
{
    return 77;      /* no libfuse 3 here: nothing to test with */
}
#endif
