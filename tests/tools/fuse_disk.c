/* fuse_disk.c - a disk as one file, that remembers every write and every flush, for whoever wants to know what a
 * power cut would have left: a loop device on MOUNT/disk, and a file system on that, write to it as to a disk that has
 * a cache.
 *
 *     DISK_IMAGE=what/it/holds DISK_LOG=what/was/done fuse_disk -f MOUNT
 *
 * The log is a row of records: nanoseconds of CLOCK_MONOTONIC, offset and length (uint64_t each), then the bytes
 * written; or the offset FLUSHED and the length 0, when all before it had to be on the disk. The tests compile it where
 * libfuse 3 is.
 */
#if __has_include(<fuse3/fuse.h>)
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FLUSHED UINT64_MAX
static const char disk_path[] = "/disk";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int image_fd, log_fd;

/* The log tells writes in the order in which they reached the image. */
static int record(uint64_t offset, const char *data, uint64_t bytes)
{
    uint64_t head[3] = { 0, offset, bytes };
    struct iovec parts[2] = { { head, sizeof head }, { (void *)(uintptr_t)data, bytes } };
    struct timespec now;
    bool ok;

    pthread_mutex_lock(&lock);
    clock_gettime(CLOCK_MONOTONIC, &now);
    head[0] = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    ok = writev(log_fd, parts, 2) == (ssize_t)(sizeof head + bytes) &&
         (bytes == 0 || pwrite(image_fd, data, bytes, (off_t)offset) == (ssize_t)bytes);
    pthread_mutex_unlock(&lock);
    return ok ? (int)bytes : -EIO;
}

static int disk_getattr(const char *path, struct stat *st, struct fuse_file_info *file)
{
    (void)file;
    if (strcmp(path, disk_path) == 0)
        return fstat(image_fd, st) < 0 ? -errno : 0;
    *st = (struct stat){ .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
    return strcmp(path, "/") == 0 ? 0 : -ENOENT;
}

static int disk_open(const char *path, struct fuse_file_info *file)
{
    (void)file;
    return strcmp(path, disk_path) == 0 ? 0 : -ENOENT;
}

static int disk_read(const char *path, char *to, size_t bytes, off_t offset, struct fuse_file_info *file)
{
    ssize_t got = pread(image_fd, to, bytes, offset);

    (void)path, (void)file;
    return got < 0 ? -errno : (int)got;
}

static int disk_write(const char *path, const char *from, size_t bytes, off_t offset, struct fuse_file_info *file)
{
    (void)path, (void)file;
    return record((uint64_t)offset, from, bytes);
}

static int disk_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)path, (void)data_only, (void)file;
    return record(FLUSHED, NULL, 0);
}

static const struct fuse_operations operations = {
    .getattr = disk_getattr, .open = disk_open, .read = disk_read, .write = disk_write, .fsync = disk_fsync,
};

static int open_named(const char *variable, int flags)
{
    const char *path = getenv(variable);
    int fd = path ? open(path, flags | O_CLOEXEC, 0600) : -1;

    if (fd < 0)
        perror(variable);
    return fd;
}

int main(int argc, char **argv)
{
    image_fd = open_named("DISK_IMAGE", O_RDWR);
    log_fd = open_named("DISK_LOG", O_WRONLY | O_CREAT | O_APPEND);
    return image_fd < 0 || log_fd < 0 ? 1 : fuse_main(argc, argv, &operations, NULL);
}
#else
int main(void)
{
    return 1;
}
#endif
