/* os.h - every system call that touches a file, in one place.
 *
 * Thin: same arguments and meaning as the call of that name, but the result is >= 0 or -errno, EINTR is retried, and
 * what is opened is closed on exec. They exist so that one seam can refuse or shorten the n-th call in a test
 * (os_faults), and so that what a kernel or file system lacks is decided here once: openat2 falls back to a
 * component-wise O_NOFOLLOW walk, renameat2's flags to a check and plain renames. What was fallen back from is said
 * by os_lacks().
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

/* All of these add O_CLOEXEC. */
int os_open(const char *path, int flags, mode_t mode);
int os_openat(int dir_fd, const char *path, int flags, mode_t mode);
/* Below `dir_fd` and nowhere else: no "..", no absolute path, no symbolic link on the way or at the end
 * (-EXDEV, -ELOOP). O_NONBLOCK is added, so a FIFO cannot hang us. Not for O_PATH (-EINVAL), which opens links. */
int os_open_beneath(int dir_fd, const char *path, int flags, mode_t mode);
int os_close(int fd);
/* Lock the open directory `fd` for ourselves until it is closed, without waiting: -EWOULDBLOCK, somebody else has it.
 * -EOPNOTSUPP: there are no such locks here, or it is locked for this machine alone; os_lacks() says so. */
int os_lock(int fd);
/* The same of a file that can do without: os_lacks() says nothing. */
int os_lock_file(int fd);
/* Would it be ours? For an instant it is shared, and then given back. 0 or -EWOULDBLOCK; another -errno: it cannot be
 * told. */
int os_lock_look(int fd);
/* Turn O_DIRECT off again: for the end of a file, which has no aligned length. */
int os_set_buffered(int fd);
/* Was it opened with O_DIRECT? */
bool os_is_direct(int fd);
/* Where there is no O_DIRECT, what large files leave in the page cache is kept small. Begin to write it out; */
void os_begin_write_out(int fd, uint64_t offset, uint64_t bytes);
/* write it out and wait: an error is that of the write, and nothing is to be believed of it; */
int os_write_out(int fd, uint64_t offset, uint64_t bytes);
#define OS_WRITE_OUT_FLAGS (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
/* (is there no sync_file_range, or the ring's, as its `result` says?) */
bool os_cannot_write_out(int64_t result);
/* and what is clean of it leaves the page cache; 0 bytes: to the end. Only a hint, it cannot fail. */
void os_drop_cached(int fd, uint64_t offset, uint64_t bytes);
/* Another descriptor of the same open file. */
int os_dup(int fd);
/* As an offset: from where the descriptor stands, which may be a pipe's. */
#define OS_STREAM UINT64_MAX
int64_t os_pread(int fd, void *to, size_t bytes, uint64_t offset);
int64_t os_pwrite(int fd, const void *from, size_t bytes, uint64_t offset);
/* As much as there is up to `bytes`, or -errno. */
int64_t os_pread_some(int fd, void *to, size_t bytes, uint64_t offset);
/* All of it, or -errno; -ENODATA: the file ended early. These carry on after short calls, and retry EAGAIN for a while. */
int os_pread_all(int fd, void *to, size_t bytes, uint64_t offset);
int os_pwrite_all(int fd, const void *from, size_t bytes, uint64_t offset);
int os_ftruncate(int fd, uint64_t bytes);
/* Grows the file. -EOPNOTSUPP where the file system cannot (NFSv3, some FUSE): go on without. */
int os_fallocate(int fd, uint64_t offset, uint64_t bytes);
/* Gives the space back, keeps the size. -EOPNOTSUPP likewise. */
int os_punch_hole(int fd, uint64_t offset, uint64_t bytes);
int os_fstat(int fd, struct stat *st);
int os_fstatat(int dir_fd, const char *path, struct stat *st, int flags);
/* The inode of `st`, for a later run to know the file by: where numbers do not outlive the kernel's memory of a file (most
 * of FUSE, some of CIFS; `fd` is anything there) OS_INODE_ANY, which is not compared. */
enum { OS_INODE_ANY = 1 };
uint64_t os_lasting_inode(int fd, const struct stat *st);
/* Which mount `path` (below `dir_fd`; "": itself) lies in; 0: not known (before Linux 6.8). What is mounted anew has
 * another number, in the same boot, too; so has another mount of the same file system that lives on. Not stat's device,
 * which the next mount may be given as well, nor the older number of mounts (STATX_MNT_ID), which is used again as soon
 * as it is free: a file system that is unmounted and mounted anew mostly gets the one it had. */
uint64_t os_mount_of(int dir_fd, const char *path);
int os_mkdirat(int dir_fd, const char *path, mode_t mode);
int os_unlinkat(int dir_fd, const char *path, int flags);
/* Another name of a file, at once and only where there is none (-EEXIST). -EOPNOTSUPP where files have one name each. */
int os_link(int dir_fd, const char *from, const char *to);
/* Never replaces: -EEXIST when `to` is there. Atomic, but for file systems that lack it (os_lacks). */
int os_rename_new(int dir_fd, const char *from, const char *to);
/* What is called `to` is replaced. */
int os_rename(int dir_fd, const char *from, const char *to);
/* Both exist and change places. Atomic, but for file systems that lack it: there, `b` is missing for a moment, and what
 * it was is called `aside`. */
int os_rename_exchange(int dir_fd, const char *a, const char *b, const char *aside);
int os_syncfs(int fd);
/* A file or a directory; all that is known of it, or (data) what reading it again needs. After a failure nothing of it
 * is to be trusted, however often it is tried again. */
int os_fsync(int fd);
int os_fdatasync(int fd);
/* How often until now a sync or a close failed, or a write (for another reason than no room), or any call because the file
 * system is read-only by now: what was written before may be lost, too, and not only of the file in question. */
uint64_t os_doubts(void);
/* For the io back ends: a write came to that; a call that writes out, which gives it back. */
void os_write_ended(int64_t result);
int os_sync_ended(int64_t result);
/* Bytes that an unprivileged user may still write, and free inodes, on the file system of `fd`. */
int os_space(int fd, uint64_t *free_bytes, uint64_t *free_files);
/* Seconds of a clock that only goes forward. */
double os_now(void);

/* Remove a tree (or a file) at `path`, not following links in it. Missing is fine. Takes one descriptor for each
 * level; deeper than 128 is -ELOOP. */
int os_remove_tree(int dir_fd, const char *path);
/* All in the directory `path` but what begins with `kept`, which says whose the rest is until it is gone. */
int os_remove_tree_but(int dir_fd, const char *path, const char *kept);

/* O_DIRECT was refused (-EINVAL) where the same open without it worked: os_lacks() is to say so. */
void os_lacks_direct(void);
/* Was it? Then what goes through the page cache is not to stay there. */
bool os_is_without_direct(void);
/* What this kernel or file system turned out not to have, one sentence each, for the report: i = 0, 1, ... until
 * NULL. Only what was tried is known. */
const char *os_lacks(unsigned i);

/* ---- the seam for tests ---- */

/* Kinds of calls, as bits. OPENAT2 and RENAMEAT2 are the calls that have a fallback, which is made of OPEN and
 * RENAME. MEMORY, LIST and THREAD are not calls of this file: the test programs count them by wrapping the C library's
 * functions when they are linked (tests/fault/faults.h), so the program that people run has no such switch in it. */
enum os_kind {
    OS_OPEN = 1 << 0,
    OS_OPENAT2 = 1 << 1,
    OS_READ = 1 << 2,
    OS_WRITE = 1 << 3,
    OS_TRUNCATE = 1 << 4,
    OS_FALLOCATE = 1 << 5,
    OS_STAT = 1 << 6,               /* and os_space */
    OS_MKDIR = 1 << 7,
    OS_UNLINK = 1 << 8,
    OS_RENAME = 1 << 9,
    OS_RENAMEAT2 = 1 << 10,
    OS_SYNC = 1 << 11,
    OS_RING = 1 << 12,              /* setting up an io_uring */
    OS_ENTER = 1 << 13,             /* io_uring_enter: EINTR, EAGAIN, EBUSY and ENOMEM are what the kernel may say */
    OS_PUNCH = 1 << 14,
    OS_LOCK = 1 << 15,
    OS_CLOSE = 1 << 16,             /* the descriptor is closed all the same */
    OS_DIRECT = 1 << 17,            /* an open with O_DIRECT, before it counts as OPEN or OPENAT2 */
    OS_MEMORY = 1 << 18,
    OS_LIST = 1 << 19,              /* readdir */
    OS_THREAD = 1 << 20,
    OS_FLAGS = 1 << 21,             /* turning O_DIRECT off */
    OS_LINK = 1 << 22,
    OS_MOUNT = 1 << 23,             /* which mount it is */
    OS_EVERY_KIND = ((1 << 24) - 1) & ~OS_ENTER,   /* that can answer any errno */
};

enum { OS_FAULT_SHORT = -1, OS_FAULT_ZERO = -2, OS_FAULT_KILL = -3 };

/* Of all calls of the `kinds`, number `first` (from 0) fails, or all from there on. Apart from that, `absent` kinds
 * (of OPENAT2, RENAMEAT2, RING, FALLOCATE, PUNCH, LOCK, DIRECT, LINK, MOUNT) always answer, uncounted, what an older
 * kernel or a file system without them says: EOPNOTSUPP, EINVAL for O_DIRECT, else ENOSYS. */
struct os_faults {
    unsigned absent;
    unsigned kinds;
    uint64_t first;
    bool forever;                   /* not with EINTR: it would be retried for ever */
    int how;                        /* an errno; or, for reads and writes only: OS_FAULT_SHORT does about half of what
                                       is asked (in whole IO_ALIGN where that is asked), OS_FAULT_ZERO nothing.
                                       OS_FAULT_KILL: the process dies before the call */
};

/* Borrowed until the next call; NULL: off. Counts start anew. Not while other threads make calls. */
void os_faults_set(const struct os_faults *faults);
uint64_t os_faults_hit(void);       /* calls that were made to fail */

/* For the io back ends, whose calls the kernel makes: count one call, and what is to become of it: 0, nothing;
 * else the `how`. */
int os_fault(enum os_kind kind);
/* How many bytes OS_FAULT_SHORT leaves of `bytes`. */
uint64_t os_fault_short(uint64_t bytes);

#endif
