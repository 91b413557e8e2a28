#include "engine/exec/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/size.h"
#include "engine/io/os.h"
#include "engine/io/space.h"

struct scratch {
    struct scratch_layout layout;
    char *memory;                   /* layout.memory_bytes, borrowed */
    int fd;                         /* -1: nothing has gone to the file. Set under the lock, before any offset in it */
    pthread_mutex_t lock;
    uint64_t memory_taken_bytes;    /* lock */
    uint64_t file_taken_bytes;      /* lock */
    uint64_t punched_bytes;         /* lock: of the file, given back */
    uint64_t grown_bytes;           /* lock: of the file, fallocated; UINT64_MAX: the file system has no fallocate */
    bool keeps;
    bool is_left;                   /* it was to go, and could not */
    struct segment *segments;
};

enum { GROWTH_STEPS = 8, STAT_BLOCK_BYTES = 512 };
#define GROWTH_BYTES_MIN (64 * MIB)
#define GROWTH_BYTES_MAX GIB
#define GROWTH_BYTES_PAST (16 * MIB)    /* once it is longer than was predicted */

uint32_t scratch_checksum(const void *data, uint64_t bytes, uint64_t segment, uint64_t number,
                          enum spill_encoding encoding)
{
    return (uint32_t)XXH3_64bits_withSeed(data, bytes, segment << 32 ^ number << 1 ^ encoding);
}

/* -errno, or a file of our own. */
static int create_file(const char *path)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = os_open(path, flags | O_DIRECT, 0600);

    if (fd != -EINVAL)
        return fd;
    os_unlinkat(AT_FDCWD, path, 0);         /* some file systems make the file before they refuse the flag */
    fd = os_open(path, flags, 0600);
    if (fd >= 0)
        os_lacks_direct();
    return fd;
}

/* The file is ours alone, and locked where that can be; O_DIRECT where the file system has it. Lock held. */
static bool make_file(struct scratch *s, struct error *err)
{
    const char *path = s->layout.path;
    int fd = create_file(path);

    if (fd == -EEXIST && scratch_remove_lost(path))
        fd = create_file(path);
    if (fd == -EEXIST) {
        error_at(err, ERR_EXISTS, s->layout.span, "the scratch file '%s' is there already", path);
        error_help(err, "if no other run uses it, remove it; or name another directory with 'scratch'");
        return false;
    }
    if (fd < 0)
        return error_sys(err, -fd, s->layout.span, "cannot make the scratch file '%s'", path);
    os_lock_file(fd);
    s->fd = fd;
    return true;
}

bool scratch_open(struct scratch **out, const struct scratch_layout *layout, char *memory, uint64_t segments,
                  struct segment **table, struct error *err)
{
    struct scratch *s = calloc(1, sizeof *s);

    if (!*table)
        *table = calloc(segments ? segments : 1, sizeof **table);
    if (!s || !*table) {
        free(s);
        return error_sys(err, ENOMEM, layout->span, "the segment table of %llu segments", (unsigned long long)segments);
    }
    s->segments = *table;
    *table = NULL;
    s->layout = *layout;
    s->memory = memory;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return true;
}

uint64_t scratch_remove_leftover(const char *path)
{
    size_t length = strlen(path), suffix_length = strlen(SCRATCH_SUFFIX);
    struct stat st;

    if (length <= suffix_length || strcmp(path + length - suffix_length, SCRATCH_SUFFIX) != 0 ||
        os_fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
        os_unlinkat(AT_FDCWD, path, 0) < 0)
        return 0;
    return size_max(1, (uint64_t)st.st_blocks * STAT_BLOCK_BYTES);
}

uint64_t scratch_remove_lost(const char *path)
{
    int fd = os_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    uint64_t bytes = 0;
    struct stat opened, named;

    if (fd < 0)
        return 0;
    if (os_lock_file(fd) == 0 && os_fstat(fd, &opened) >= 0 && opened.st_uid == geteuid() &&
        os_fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) >= 0 && named.st_ino == opened.st_ino &&
        named.st_dev == opened.st_dev)
        bytes = scratch_remove_leftover(path);
    os_close(fd);
    return bytes;
}

void scratch_discard(struct scratch *s)
{
    int got;

    if (s->fd < 0)
        return;
    os_close(s->fd);
    s->fd = -1;
    got = os_unlinkat(AT_FDCWD, s->layout.path, 0);
    s->is_left = got < 0 && got != -ENOENT;
}

bool scratch_is_left(const struct scratch *s)
{
    return s && s->is_left;
}

void scratch_keep(struct scratch *s)
{
    s->keeps = true;
}

int scratch_file(const struct scratch *s, uint64_t *device, uint64_t *inode)
{
    struct stat st;
    int got = os_fstat(s->fd, &st);

    if (got < 0)
        return got;
    *device = st.st_dev;
    *inode = os_lasting_inode(s->fd, &st);
    return 0;
}

uint64_t scratch_file_bytes(const struct scratch *s)
{
    struct stat st;

    return s->fd < 0 || os_fstat(s->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
}

bool scratch_reopen(struct scratch *s, uint64_t device, uint64_t inode, uint64_t end_offset, struct error *err)
{
    const char *path = s->layout.path;
    int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, fd;
    struct stat st;

    if (!path)
        return false;
    fd = os_open(path, flags | O_DIRECT, 0);
    if (fd == -EINVAL)
        fd = os_open(path, flags, 0);
    if (fd == -ENOENT)
        return false;
    if (fd < 0)
        return error_sys(err, -fd, s->layout.span, "cannot open the scratch file '%s' of the earlier run", path);
    if (os_fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        (inode != OS_INODE_ANY && (st.st_ino != inode || (device && st.st_dev != device)))) {
        os_close(fd);
        return false;
    }
    os_lock_file(fd);
    s->fd = fd;
    s->file_taken_bytes = scratch_file_offset(s, end_offset);
    /* The file system had fallocate if the file is longer than what was taken, or knows that it has not. */
    s->grown_bytes = size_max(size_align_down((uint64_t)st.st_size, IO_ALIGN), s->file_taken_bytes);
    return true;
}

void scratch_close(struct scratch *s)
{
    if (!s)
        return;
    if (s->keeps && s->fd >= 0)
        os_close(s->fd);
    else
        scratch_discard(s);
    pthread_mutex_destroy(&s->lock);
    free(s->segments);
    free(s);
}

int scratch_fd(const struct scratch *s) { return s->fd; }
const struct scratch_layout *scratch_layout(const struct scratch *s) { return &s->layout; }
struct segment *scratch_segment(struct scratch *s, uint64_t i) { return &s->segments[i]; }

uint64_t scratch_bytes_taken(struct scratch *s)
{
    uint64_t taken_bytes;

    pthread_mutex_lock(&s->lock);
    taken_bytes = s->layout.memory_bytes + s->file_taken_bytes;
    pthread_mutex_unlock(&s->lock);
    return taken_bytes;
}

bool scratch_holds(struct scratch *s, uint64_t offset, uint64_t bytes)
{
    uint64_t end_offset;

    pthread_mutex_lock(&s->lock);
    end_offset = offset < s->layout.memory_bytes ? s->memory_taken_bytes : s->layout.memory_bytes + s->file_taken_bytes;
    pthread_mutex_unlock(&s->lock);
    return offset <= end_offset && bytes <= end_offset - offset;
}

char *scratch_at(const struct scratch *s, uint64_t offset)
{
    return offset < s->layout.memory_bytes ? s->memory + offset : NULL;
}

uint64_t scratch_file_offset(const struct scratch *s, uint64_t offset)
{
    return offset - s->layout.memory_bytes;
}

int scratch_read(const struct scratch *s, void *to, uint64_t bytes, uint64_t offset)
{
    if (!scratch_at(s, offset))
        return os_pread_all(s->fd, to, bytes, scratch_file_offset(s, offset));
    memcpy(to, scratch_at(s, offset), bytes);
    return 0;
}

int scratch_write(const struct scratch *s, const void *from, uint64_t bytes, uint64_t offset)
{
    if (!scratch_at(s, offset))
        return os_pwrite_all(s->fd, from, bytes, scratch_file_offset(s, offset));
    memcpy(scratch_at(s, offset), from, bytes);
    return 0;
}

/* The file may reach this far: what was given back counts no more. Lock held. */
static uint64_t file_end_max(const struct scratch *s)
{
    return s->layout.limit_bytes ? size_add_sat(s->layout.limit_bytes, s->punched_bytes) : UINT64_MAX;
}

/* Allocate blocks ahead of the cursor: writes into allocated space run beside one another, writes that extend a
 * file wait for one another. Called with the lock held. */
static bool grow(struct scratch *s, uint64_t to_bytes, struct error *err)
{
    uint64_t predicted = size_align_up(s->layout.predicted_bytes, IO_ALIGN), step, wanted;
    int result;

    step = size_min(size_max(predicted / GROWTH_STEPS, GROWTH_BYTES_MIN), GROWTH_BYTES_MAX);
    /* No further ahead than was predicted: the output may need the rest of the disk. */
    step = s->grown_bytes < predicted ? size_min(step, predicted - s->grown_bytes) : GROWTH_BYTES_PAST;
    wanted = size_align_up(size_max(to_bytes, s->grown_bytes + step), IO_ALIGN);
    if (wanted > file_end_max(s))
        wanted = size_max(size_align_up(file_end_max(s), IO_ALIGN), to_bytes);
    result = os_fallocate(s->fd, s->grown_bytes, wanted - s->grown_bytes);
    /* A whole step is too much: just what is needed. */
    if ((result == -ENOSPC || result == -EDQUOT || result == -EFBIG) && wanted > to_bytes) {
        wanted = to_bytes;
        os_ftruncate(s->fd, s->grown_bytes);    /* what was allocated before it failed would be kept from others */
        result = os_fallocate(s->fd, s->grown_bytes, wanted - s->grown_bytes);
    }
    if (result == -EOPNOTSUPP || result == -ENOSYS) {
        wanted = UINT64_MAX;
    } else if (result < 0) {
        error_sys(err, -result, s->layout.span, "cannot grow the scratch file '%s' to %s", s->layout.path,
                  SIZE_TEXT(wanted));
        return space_explain(err, s->fd, wanted - s->grown_bytes);
    }
    s->grown_bytes = wanted;
    return true;
}

/* Lock held: room in the file up to `to_bytes` of it. */
static bool reserve_file(struct scratch *s, uint64_t to_bytes, struct error *err)
{
    if (to_bytes > file_end_max(s)) {
        error_at(err, ERR_FIT, s->layout.limit_span.source ? s->layout.limit_span : s->layout.span,
                 "scratch grows past its limit of %s", SIZE_TEXT(s->layout.limit_bytes));
        error_help(err, "raise the limit of 'scratch' and give the same command again; or start over in more memory: "
                   "--restart");
        error_bytes(err, to_bytes - s->punched_bytes, s->layout.limit_bytes);
        return false;
    }
    if (s->fd < 0 && !make_file(s, err))
        return false;
    return to_bytes <= s->grown_bytes || grow(s, to_bytes, err);
}

bool scratch_take(struct scratch *s, uint64_t bytes, uint64_t *offset, struct error *err)
{
    bool ok = true;

    pthread_mutex_lock(&s->lock);
    if (bytes <= s->layout.memory_bytes - s->memory_taken_bytes) {
        *offset = s->memory_taken_bytes;
        s->memory_taken_bytes += bytes;
    } else {
        s->memory_taken_bytes = s->layout.memory_bytes;     /* what is left of it is too short */
        *offset = s->layout.memory_bytes + s->file_taken_bytes;
        ok = reserve_file(s, s->file_taken_bytes + bytes, err);
        if (ok)
            s->file_taken_bytes += bytes;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void scratch_punch(struct scratch *s, uint64_t from, uint64_t to)
{
    from = size_align_up(size_max(from, s->layout.memory_bytes), IO_ALIGN);
    to = size_align_down(to, IO_ALIGN);
    if (from >= to || os_punch_hole(s->fd, scratch_file_offset(s, from), to - from) < 0)
        return;         /* where it fails nothing is lost */
    pthread_mutex_lock(&s->lock);
    s->punched_bytes += to - from;
    pthread_mutex_unlock(&s->lock);
}

uint64_t scratch_sum(const void *data, uint64_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t extent_blocks_max(const struct grid *slabs, const struct grid *buckets, uint32_t item_bytes,
                           uint64_t block_bytes)
{
    uint64_t bytes = item_bytes;

    for (unsigned i = 0; i < slabs->rank; i++)
        bytes = size_mul_sat(bytes, size_min(slabs->shape[i], size_min(slabs->cell[i], buckets->cell[i])));
    return size_div_up(bytes, block_bytes);
}

uint64_t cells_touched_max(const struct grid *boxes, const struct grid *cells)
{
    uint64_t touched = 1;

    for (unsigned i = 0; i < boxes->rank; i++) {
        uint64_t length = size_min(boxes->cell[i], boxes->shape[i]), cell = cells->cell[i], on_axis;

        if (length == 0)
            return 0;
        on_axis = boxes->cell[i] % cell == 0 ? size_div_up(length, cell) : (length - 1) / cell + 2;
        touched = size_mul_sat(touched, size_min(on_axis, grid_axis_cells(cells, i)));
    }
    return touched;
}

uint64_t split_index_bytes(const struct grid *slabs, const struct grid *buckets, uint32_t item_bytes,
                           uint64_t block_bytes)
{
    uint64_t entries = size_mul_sat(cells_touched_max(slabs, buckets),
                                    extent_blocks_max(slabs, buckets, item_bytes, block_bytes));

    return size_align_up(size_mul_sat(entries, sizeof(struct index_entry)), IO_ALIGN);
}

uint64_t index_window_bytes(uint64_t blocks_max)
{
    return size_add_sat(size_align_up(size_mul_sat(blocks_max, sizeof(struct index_entry)), IO_ALIGN), IO_ALIGN);
}

/* A window into each segment that a task touches. */
static uint64_t windows_bytes(const struct grid *slabs, const struct grid *buckets, const struct grid *tasks,
                              uint32_t item_bytes, uint64_t block_bytes)
{
    return size_mul_sat(cells_touched_max(tasks, slabs),
                        index_window_bytes(extent_blocks_max(slabs, buckets, item_bytes, block_bytes)));
}

uint64_t merge_index_bytes(const struct grid *slabs, const struct grid *buckets, uint32_t item_bytes,
                           uint64_t block_bytes)
{
    return windows_bytes(slabs, buckets, buckets, item_bytes, block_bytes);
}

uint64_t stage_index_bytes(const struct stage *stage, const struct stage *before, uint32_t item_bytes,
                           uint64_t block_bytes)
{
    uint64_t bytes = 0;

    if (before)
        bytes = windows_bytes(&before->tasks, &before->parts, &stage->tasks, item_bytes, block_bytes);
    if (stage->sink == TO_SEGMENTS)
        bytes = size_add_sat(bytes, split_index_bytes(&stage->tasks, &stage->parts, item_bytes, block_bytes));
    return bytes;
}
