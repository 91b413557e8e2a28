/* os.h - every system call that touches a file, in one place.
 *
 * Thin: same arguments and meaning as the call of that name, but the result is >= 0 or -errno, and EINTR is
 * retried. They exist so that one seam can refuse or shorten the n-th call in a test (os_faults), and so that
 * what a kernel or file system lacks is decided here once: openat2 falls back to a component-wise O_NOFOLLOW walk
 * (ENOSYS), renameat2 flags to a check and a plain rename, fallocate to writing ahead, each said in os_lacks().
 *
 * Threads: any.
 */
#ifndef SLUICE_IO_OS_H
#define SLUICE_IO_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

int os_open(const char *path, int flags, mode_t mode);
int os_openat(int dir_fd, const char *path, int flags, mode_t mode);
/* Below `dir_fd` and nowhere else: no "..", no absolute path, no symbolic link on the way or at the end
 * (-EXDEV, -ELOOP). O_NONBLOCK is added, so a FIFO cannot hang us. */
int os_open_beneath(int dir_fd, const char *path, int flags, mode_t mode);
int os_close(int fd);
int64_t os_pread(int fd, void *to, size_t bytes, uint64_t offset);
int64_t os_pwrite(int fd, const void *from, size_t bytes, uint64_t offset);
/* All of it, or -errno; -ENODATA: the file ended early. */
int os_pread_all(int fd, void *to, size_t bytes, uint64_t offset);
int os_pwrite_all(int fd, const void *from, size_t bytes, uint64_t offset);
int os_ftruncate(int fd, uint64_t bytes);
int os_fallocate(int fd, uint64_t offset, uint64_t bytes);
int os_punch_hole(int fd, uint64_t offset, uint64_t bytes);
int os_fstat(int fd, struct stat *st);
int os_fstatat(int dir_fd, const char *path, struct stat *st, int flags);
int os_mkdirat(int dir_fd, const char *path, mode_t mode);
int os_unlinkat(int dir_fd, const char *path, int flags);
/* Never replaces: -EEXIST when `to` is there. */
int os_rename_new(int dir_fd, const char *from, const char *to);
/* Both exist and change places. */
int os_rename_exchange(int dir_fd, const char *a, const char *b);
int os_syncfs(int fd);
int os_fdatasync(int fd);
/* Bytes that an unprivileged user may still write, and free inodes, on the file system of `fd`. */
int os_space(int fd, uint64_t *free_bytes, uint64_t *free_files);
/* Seconds of a clock that only goes forward. */
double os_now(void);

/* Remove a tree below `dir_fd`, not following links. Missing is fine. */
int os_remove_tree(int dir_fd, const char *path);

#endif
