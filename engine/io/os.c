/* os.c - see os.h. Each function is one call through CALL(), which asks the seam and retries EINTR; below them are
 * the few that are more than a call: opening beneath, renaming with flags. Removing a tree is in remove_tree.c. */
#include "engine/io/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/die.h"
#include "engine/base/size.h"

/* Of file systems that linux/magic.h does not name. */
enum { ZFS_MAGIC = 0x2fc12fc1, JFS_MAGIC = 0x3153464a };
#define BCACHEFS_MAGIC 0xca451a4eu
#define EXFAT_MAGIC 0x2011bab0u

/* Headers before Linux 6.8 do not know it; kernels that do not, leave it out of what they answer. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

enum { AGAIN_MAX = 1000 };      /* EAGAIN in a row before it is believed */

/* The kernel reads ahead in pages as large as this, and drops only whole ones: the one before must have its turn again. */
#define FOLIO_BYTES_MAX (4 * MIB)

/* ---- the seam ---- */

/* The seam is the one state of this file: tests set it for the whole process, under whatever is being tested. */
static _Atomic(const struct os_faults *) faults_now;
static atomic_ullong faults_seen, faults_hit;

void os_faults_set(const struct os_faults *faults)
{
    atomic_store(&faults_seen, 0);
    atomic_store(&faults_hit, 0);
    atomic_store(&faults_now, faults);
}

uint64_t os_faults_hit(void)
{
    return atomic_load(&faults_hit);
}

int os_fault(enum os_kind kind)
{
    const struct os_faults *faults = atomic_load_explicit(&faults_now, memory_order_acquire);
    uint64_t call;

    if (!faults)
        return 0;
    if (faults->absent & kind)
        return kind & (OS_FALLOCATE | OS_PUNCH) ? EOPNOTSUPP : kind == OS_DIRECT ? EINVAL : ENOSYS;
    if (!(faults->kinds & kind))
        return 0;
    call = atomic_fetch_add(&faults_seen, 1);
    if (call < faults->first || (call > faults->first && !faults->forever))
        return 0;
    if (faults->how == OS_FAULT_KILL)
        die_now();
    atomic_fetch_add(&faults_hit, 1);
    return faults->how;
}

uint64_t os_fault_short(uint64_t bytes)
{
    /* A direct transfer must stay aligned, and one block of it cannot be halved. */
    if (bytes % IO_ALIGN == 0)
        return bytes <= IO_ALIGN ? bytes : size_align_up(bytes / 2, IO_ALIGN);
    return bytes == 1 ? 1 : bytes / 2;
}

/* ---- what may be lost ---- */

static atomic_ullong doubts;

uint64_t os_doubts(void)
{
    return atomic_load(&doubts);
}

/* What was writable, and is so no more, has met an error of its own. */
static long call_failed(int sys_errno)
{
    if (sys_errno == EROFS)
        atomic_fetch_add(&doubts, 1);
    return -(long)sys_errno;
}

int os_sync_ended(int64_t result)
{
    if (result < 0)
        atomic_fetch_add(&doubts, 1);
    return (int)result;
}

/* Where there is no room the call itself has said so, of its own bytes. */
void os_write_ended(int64_t result)
{
    if (result < 0 && result != -ENOSPC && result != -EDQUOT && result != -EFBIG && result != -EAGAIN)
        atomic_fetch_add(&doubts, 1);
}

#define CALL(kind, call) \
    ({ \
        long result_; \
        do { \
            int fault_ = os_fault(kind); \
            if (fault_ > 0) { \
                errno = fault_; \
                result_ = -1; \
            } else \
                result_ = (call); \
        } while (result_ < 0 && errno == EINTR); \
        result_ < 0 ? call_failed(errno) : result_; \
    })

/* ---- what is lacking ---- */

enum lack {
    LACK_OPENAT2, LACK_RENAME_NEW, LACK_RENAME_EXCHANGE, LACK_FALLOCATE, LACK_PUNCH_HOLE, LACK_LOCK, LACK_LINK,
    LACK_DIRECT, LACKS,
};

static const char *const lack_sentences[LACKS] = {
    [LACK_OPENAT2] = "no openat2: keys are opened directory by directory",
    [LACK_RENAME_NEW] = "no rename that refuses to replace: looked whether the name was free before renaming",
    [LACK_RENAME_EXCHANGE] = "no rename that exchanges: the old output was moved aside before the new one came",
    [LACK_FALLOCATE] = "no fallocate: files grew as they were written",
    [LACK_PUNCH_HOLE] = "no hole punching: scratch space is given back only at the end",
    [LACK_LOCK] = "no file locks that reach other machines: a lock file beside the output kept other runs away",
    [LACK_LINK] = "no links: the lock file was made first and then written",
    [LACK_DIRECT] = "no direct I/O: files went through the page cache, written out and dropped 32MiB behind the writer",
};

static atomic_uint lacks;

static void note_lack(enum lack lack)
{
    atomic_fetch_or_explicit(&lacks, 1u << lack, memory_order_relaxed);
}

void os_lacks_direct(void)
{
    note_lack(LACK_DIRECT);
}

bool os_is_without_direct(void)
{
    return atomic_load_explicit(&lacks, memory_order_relaxed) & 1u << LACK_DIRECT;
}

const char *os_lacks(unsigned i)
{
    unsigned set = atomic_load_explicit(&lacks, memory_order_relaxed);

    for (unsigned lack = 0; lack < LACKS; lack++)
        if ((set & 1u << lack) && i-- == 0)
            return lack_sentences[lack];
    return NULL;
}

/* ---- plain calls ---- */

static bool direct_is_refused(int flags)
{
    return flags & O_DIRECT && os_fault(OS_DIRECT) == EINVAL;
}

int os_open(const char *path, int flags, mode_t mode)
{
    if (direct_is_refused(flags))
        return -EINVAL;
    return (int)CALL(OS_OPEN, open(path, flags | O_CLOEXEC, mode));
}

int os_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    if (direct_is_refused(flags))
        return -EINVAL;
    return (int)CALL(OS_OPEN, openat(dir_fd, path, flags | O_CLOEXEC, mode));
}

int os_close(int fd)
{
    int how = os_fault(OS_CLOSE);

    /* After EINTR the descriptor is gone on Linux; closing again could close another thread's. */
    if (close(fd) < 0 && errno != EINTR)
        return os_sync_ended(-errno);
    return how == EINTR ? 0 : os_sync_ended(-how);
}

/* Only one kernel has such a file system mounted at a time. Of others it keeps the locks of directories to itself, even
 * where those of files reach other machines: neither NFS nor Lustre nor FUSE is told of them. */
static bool is_of_one_machine(int fd)
{
    static const unsigned types[] = {
        EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC, RAMFS_MAGIC,
        OVERLAYFS_SUPER_MAGIC, ZFS_MAGIC, BCACHEFS_MAGIC, MSDOS_SUPER_MAGIC, EXFAT_MAGIC, REISERFS_SUPER_MAGIC, JFS_MAGIC,
    };
    struct statfs place;

    if (CALL(OS_STAT, fstatfs(fd, &place)) < 0)
        return false;
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((unsigned)place.f_type == types[i])
            return true;
    return false;
}

int os_lock_file(int fd)
{
    int result = (int)CALL(OS_LOCK, flock(fd, LOCK_EX | LOCK_NB));

    return result == -EWOULDBLOCK || (result == 0 && is_of_one_machine(fd)) ? result : -EOPNOTSUPP;
}

int os_lock(int fd)
{
    int result = os_lock_file(fd);

    if (result == -EOPNOTSUPP)
        note_lack(LACK_LOCK);
    return result;
}

int os_lock_look(int fd)
{
    int result = (int)CALL(OS_LOCK, flock(fd, LOCK_SH | LOCK_NB));

    if (result == 0)
        flock(fd, LOCK_UN);
    return result;
}

int os_set_buffered(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -errno : (int)CALL(OS_FLAGS, fcntl(fd, F_SETFL, flags & ~O_DIRECT));
}

bool os_is_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_DIRECT);
}

bool os_cannot_write_out(int64_t result)
{
    return result == -ENOSYS || result == -EOPNOTSUPP || result == -EINVAL || result == -EPERM;
}

int os_write_out(int fd, uint64_t offset, uint64_t bytes)
{
    int result = (int)CALL(OS_SYNC, sync_file_range(fd, (off_t)offset, (off_t)bytes, OS_WRITE_OUT_FLAGS));

    return os_cannot_write_out(result) ? os_fdatasync(fd) : os_sync_ended(result);
}

void os_begin_write_out(int fd, uint64_t offset, uint64_t bytes)
{
    sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
}

int os_dup(int fd)
{
    return (int)CALL(OS_OPEN, fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

void os_drop_cached(int fd, uint64_t offset, uint64_t bytes)
{
    uint64_t before_bytes = bytes ? size_min(offset, FOLIO_BYTES_MAX) : 0;

    posix_fadvise(fd, (off_t)(offset - before_bytes), (off_t)(bytes ? bytes + before_bytes : 0), POSIX_FADV_DONTNEED);
}

/* What becomes of a transfer of *bytes. 0: the kernel does it; 1: nothing is transferred; else -errno. */
static int transfer_fault(enum os_kind kind, size_t *bytes)
{
    int how;

    while ((how = os_fault(kind)) == EINTR) { }
    if (how == OS_FAULT_SHORT)
        *bytes = os_fault_short(*bytes);
    return how > 0 ? -how : how == OS_FAULT_ZERO;
}

static uint64_t further(uint64_t offset, size_t done)
{
    return offset == OS_STREAM ? offset : offset + done;
}

int64_t os_pread(int fd, void *to, size_t bytes, uint64_t offset)
{
    int fault = transfer_fault(OS_READ, &bytes);

    if (fault)
        return fault < 0 ? fault : 0;
    return offset == OS_STREAM ? CALL(0, read(fd, to, bytes)) : CALL(0, pread(fd, to, bytes, (off_t)offset));
}

static int64_t pwrite_once(int fd, const void *from, size_t bytes, uint64_t offset)
{
    int fault = transfer_fault(OS_WRITE, &bytes);

    if (fault)
        return fault < 0 ? fault : 0;
    return offset == OS_STREAM ? CALL(0, write(fd, from, bytes)) : CALL(0, pwrite(fd, from, bytes, (off_t)offset));
}

int64_t os_pwrite(int fd, const void *from, size_t bytes, uint64_t offset)
{
    int64_t put = pwrite_once(fd, from, bytes, offset);

    os_write_ended(put);
    return put;
}

int64_t os_pread_some(int fd, void *to, size_t bytes, uint64_t offset)
{
    unsigned again = 0;
    size_t done = 0;

    while (done < bytes) {
        int64_t got = os_pread(fd, (char *)to + done, bytes - done, further(offset, done));

        if (got == -EAGAIN && again++ < AGAIN_MAX)
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
        /* A direct read is cut inside a block by the end of the file alone, and its rest would not be aligned. */
        if (done < bytes && (offset + done) % IO_ALIGN && os_is_direct(fd))
            break;
    }
    return (int64_t)done;
}

int os_pread_all(int fd, void *to, size_t bytes, uint64_t offset)
{
    int64_t got = os_pread_some(fd, to, bytes, offset);

    return got < 0 ? (int)got : (uint64_t)got < bytes ? -ENODATA : 0;
}

int os_pwrite_all(int fd, const void *from, size_t bytes, uint64_t offset)
{
    unsigned again = 0;

    for (size_t done = 0; done < bytes; ) {
        int64_t put = os_pwrite(fd, (const char *)from + done, bytes - done, further(offset, done));

        if (put == -EAGAIN && again++ < AGAIN_MAX)
            continue;
        if (put <= 0)
            return put < 0 ? (int)put : -ENOSPC;
        done += (size_t)put;
    }
    return 0;
}

int os_ftruncate(int fd, uint64_t bytes)
{
    return (int)CALL(OS_TRUNCATE, ftruncate(fd, (off_t)bytes));
}

static int fallocate_or_lack(int fd, int mode, uint64_t offset, uint64_t bytes, enum lack lack)
{
    int result = (int)CALL(mode ? OS_PUNCH : OS_FALLOCATE, fallocate(fd, mode, (off_t)offset, (off_t)bytes));

    if (result != -EOPNOTSUPP && result != -ENOSYS)
        return result;
    note_lack(lack);
    return -EOPNOTSUPP;
}

int os_fallocate(int fd, uint64_t offset, uint64_t bytes)
{
    return fallocate_or_lack(fd, 0, offset, bytes, LACK_FALLOCATE);
}

int os_punch_hole(int fd, uint64_t offset, uint64_t bytes)
{
    return fallocate_or_lack(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes, LACK_PUNCH_HOLE);
}

int os_fstat(int fd, struct stat *st)
{
    return (int)CALL(OS_STAT, fstat(fd, st));
}

int os_fstatat(int dir_fd, const char *path, struct stat *st, int flags)
{
    return (int)CALL(OS_STAT, fstatat(dir_fd, path, st, flags));
}

uint64_t os_lasting_inode(int fd, const struct stat *st)
{
    struct statfs place;

    if (CALL(OS_STAT, fstatfs(fd, &place)) < 0)
        return st->st_ino;
    switch ((unsigned)place.f_type) {
    case FUSE_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case V9FS_MAGIC:
        return OS_INODE_ANY;
    }
    return st->st_ino;
}

uint64_t os_mount_of(int dir_fd, const char *path)
{
    struct statx st = { 0 };

    if (CALL(OS_MOUNT, statx(dir_fd, path, AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, &st)) < 0)
        return 0;
    return st.stx_mask & STATX_MNT_ID_UNIQUE ? st.stx_mnt_id : 0;
}

int os_mkdirat(int dir_fd, const char *path, mode_t mode)
{
    return (int)CALL(OS_MKDIR, mkdirat(dir_fd, path, mode));
}

int os_unlinkat(int dir_fd, const char *path, int flags)
{
    return (int)CALL(OS_UNLINK, unlinkat(dir_fd, path, flags));
}

int os_link(int dir_fd, const char *from, const char *to)
{
    int result = (int)CALL(OS_LINK, linkat(dir_fd, from, dir_fd, to, 0));

    if (result != -ENOSYS && result != -EPERM && result != -EOPNOTSUPP)
        return result;
    note_lack(LACK_LINK);
    return -EOPNOTSUPP;
}

int os_syncfs(int fd)
{
    return os_sync_ended(CALL(OS_SYNC, syncfs(fd)));
}

int os_fsync(int fd)
{
    return os_sync_ended(CALL(OS_SYNC, fsync(fd)));
}

int os_fdatasync(int fd)
{
    return os_sync_ended(CALL(OS_SYNC, fdatasync(fd)));
}

int os_space(int fd, uint64_t *free_bytes, uint64_t *free_files)
{
    struct statvfs space;
    int result = (int)CALL(OS_STAT, fstatvfs(fd, &space));

    if (result < 0)
        return result;
    *free_bytes = size_mul_sat(space.f_bavail, space.f_frsize);
    *free_files = space.f_files ? space.f_favail : UINT64_MAX;     /* btrfs and others have no such limit */
    return 0;
}

double os_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- opening beneath ---- */

/* The next component of `path`: its length, with slashes before it skipped. 0: there is none. */
static size_t component(const char **path)
{
    *path += strspn(*path, "/");
    return strcspn(*path, "/");
}

static bool has_dotdot(const char *path)
{
    size_t length;

    for (; (length = component(&path)); path += length)
        if (length == 2 && path[0] == '.' && path[1] == '.')
            return true;
    return false;
}

/* Open one component. What a link answers depends on the flags (ELOOP, ENOTDIR); here it is always -ELOOP, as openat2
 * says it. */
static int open_component(int dir_fd, const char *name, int flags, mode_t mode)
{
    struct stat st;
    int fd = os_openat(dir_fd, name, flags | O_NOFOLLOW, mode);

    if (fd == -ENOTDIR && os_fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return -ELOOP;
    return fd;
}

/* openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) for kernels before 5.6 and sandboxes that refuse it. */
static int walk_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
    char name[NAME_MAX + 1];
    int at_fd = dir_fd, fd = -ENOENT;
    size_t length;

    while ((length = component(&path))) {
        const char *rest = path + length;
        bool last = !component(&rest), slash = path[length] == '/';

        if (length > NAME_MAX) {
            fd = -ENAMETOOLONG;
            break;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        if (last) {
            fd = open_component(at_fd, name, flags | (slash ? O_DIRECTORY : 0), mode);
            break;
        }
        fd = open_component(at_fd, name, O_PATH | O_DIRECTORY, 0);
        if (at_fd != dir_fd)
            os_close(at_fd);
        if (fd < 0)
            return fd;
        at_fd = fd;
        path = rest;
    }
    if (at_fd != dir_fd)
        os_close(at_fd);
    return fd;
}

int os_open_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NONBLOCK),
        .mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd, walked;

    if (flags & O_PATH)
        return -EINVAL;
    if (path[0] == '/' || has_dotdot(path))
        return -EXDEV;
    if (direct_is_refused(flags))
        return -EINVAL;
    fd = (int)CALL(OS_OPENAT2, syscall(SYS_openat2, dir_fd, path, &how, sizeof how));
    if (fd != -ENOSYS && fd != -EPERM)
        return fd;
    /* EPERM is what sandboxes answer, but it may be the file's own: then walking says it again. */
    walked = walk_beneath(dir_fd, path, flags | O_NONBLOCK, mode);
    if (fd == -ENOSYS || walked != -EPERM)
        note_lack(LACK_OPENAT2);
    return walked;
}

/* ---- renaming ---- */

int os_rename(int dir_fd, const char *from, const char *to)
{
    return (int)CALL(OS_RENAME, renameat(dir_fd, from, dir_fd, to));
}

static int rename_flags(int dir_fd, const char *from, const char *to, unsigned flags)
{
    return (int)CALL(OS_RENAMEAT2, syscall(SYS_renameat2, dir_fd, from, dir_fd, to, flags));
}

/* Not known to the kernel (ENOSYS), the file system (EINVAL) or the sandbox (EPERM). */
static bool rename_is_lacking(int result)
{
    return result == -ENOSYS || result == -EINVAL || result == -EPERM;
}

static int rename_if_free(int dir_fd, const char *from, const char *to)
{
    struct stat st;
    int result = os_fstatat(dir_fd, to, &st, AT_SYMLINK_NOFOLLOW);

    if (result == 0)
        return -EEXIST;
    return result == -ENOENT ? os_rename(dir_fd, from, to) : result;
}

int os_rename_new(int dir_fd, const char *from, const char *to)
{
    int result = rename_flags(dir_fd, from, to, RENAME_NOREPLACE);

    if (!rename_is_lacking(result))
        return result;
    result = rename_if_free(dir_fd, from, to);
    if (result == 0)
        note_lack(LACK_RENAME_NEW);
    return result;
}

/* b goes aside, a becomes b, what was b becomes a. A step that fails is undone. */
static int exchange_by_steps(int dir_fd, const char *a, const char *b, const char *aside)
{
    struct stat st;
    int result = os_fstatat(dir_fd, a, &st, AT_SYMLINK_NOFOLLOW);

    if (result < 0)
        return result;
    if ((result = rename_if_free(dir_fd, b, aside)) < 0)
        return result;
    if ((result = os_rename(dir_fd, a, b)) < 0) {
        os_rename(dir_fd, aside, b);
        return result;
    }
    if ((result = os_rename(dir_fd, aside, a)) < 0) {
        os_rename(dir_fd, b, a);
        os_rename(dir_fd, aside, b);
    }
    return result;
}

int os_rename_exchange(int dir_fd, const char *a, const char *b, const char *aside)
{
    int result = rename_flags(dir_fd, a, b, RENAME_EXCHANGE);

    if (!rename_is_lacking(result))
        return result;
    result = exchange_by_steps(dir_fd, a, b, aside);
    if (result == 0)
        note_lack(LACK_RENAME_EXCHANGE);
    return result;
}
