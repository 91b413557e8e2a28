#include "engine/exec/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/die.h"
#include "engine/io/os.h"
#include "engine/store/store.h"

static const char magic[16] = "sluice journal\n";
enum { HEAD_BYTES = 24 };

static void put_number(char *to, unsigned bytes, uint64_t number)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (char)(number >> 8 * i);
}

static uint64_t get_number(const char *from, unsigned bytes)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)(unsigned char)from[i] << 8 * i;
    return number;
}

/* Of the payload and the first 16 bytes of the head. */
static uint64_t record_checksum(const char *head, const char *payload, uint64_t bytes)
{
    return XXH3_64bits_withSeed(payload, bytes, XXH3_64bits(head, 16));
}

int journal_make(struct journal *j, int dir_fd)
{
    char head[HEAD_BYTES] = { 0 };
    int got = os_openat(dir_fd, STAGING_JOURNAL, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

    *j = (struct journal){ .fd = got };
    if (got < 0)
        return got;
    memcpy(head, magic, sizeof magic);
    put_number(head + sizeof magic, 8, JOURNAL_VERSION);
    got = os_pwrite_all(j->fd, head, sizeof head, 0);
    j->bytes = sizeof head;
    return got;
}

/* As many bytes as the file has, `bytes` at most. A read that ends where the file does not is no end: what comes after it
 * would be cut off as torn. */
static int64_t read_some(int fd, void *to, uint64_t bytes, uint64_t offset)
{
    int64_t got = os_pread_some(fd, to, bytes, offset);
    struct stat st;
    int looked;

    if (got < 0 || (uint64_t)got == bytes)
        return got;
    looked = os_fstat(fd, &st);
    return looked < 0 ? looked : offset + (uint64_t)got < (uint64_t)st.st_size ? -EIO : got;
}

enum journal_state journal_open(struct journal *j, int dir_fd, int *sys_errno)
{
    char head[HEAD_BYTES];
    struct stat st;
    int64_t got;

    *sys_errno = 0;
    *j = (struct journal){ .fd = os_openat(dir_fd, STAGING_JOURNAL, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0) };
    if (j->fd == -ENOENT)
        return JOURNAL_NONE;
    got = j->fd < 0 ? j->fd : os_fstat(j->fd, &st);
    if (got >= 0 && !S_ISREG(st.st_mode))
        return JOURNAL_OTHER;
    if (got >= 0 && (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)))
        return JOURNAL_FOREIGN;
    if (got >= 0)
        got = read_some(j->fd, head, sizeof head, 0);
    if (got < 0) {
        *sys_errno = (int)-got;
        return JOURNAL_UNREADABLE;
    }
    if ((uint64_t)got < sizeof head)        /* it died before the first record */
        return memcmp(head, magic, (size_t)(got < (int64_t)sizeof magic ? got : (int64_t)sizeof magic)) == 0
                   ? JOURNAL_NONE : JOURNAL_OTHER;
    if (memcmp(head, magic, sizeof magic) != 0 || get_number(head + sizeof magic, 8) != JOURNAL_VERSION)
        return JOURNAL_OTHER;
    j->bytes = sizeof head;
    return JOURNAL_WHOLE;
}

void journal_close(struct journal *j)
{
    if (j->fd >= 0)
        os_close(j->fd);
    j->fd = -1;
}

int journal_reopen(struct journal *j, int dir_fd)
{
    if (j->fd < 0)
        j->fd = os_openat(dir_fd, STAGING_JOURNAL, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    return j->fd < 0 ? j->fd : 0;
}

bool journal_next(struct journal *j, char *buffer, struct record *r, int *sys_errno)
{
    char head[HEAD_BYTES];
    int64_t got = read_some(j->fd, head, sizeof head, j->bytes);
    uint64_t bytes;

    *sys_errno = 0;
    if (got == sizeof head) {
        bytes = get_number(head, 4);
        if (bytes > RECORD_BYTES_MAX || get_number(head + 8, 8) != j->records)
            return false;
        got = read_some(j->fd, buffer, bytes, j->bytes + sizeof head);
        if (got == (int64_t)bytes) {
            *r = (struct record){ (enum record_kind)get_number(head + 4, 4), buffer, bytes };
            if (record_checksum(head, buffer, bytes) != get_number(head + 16, 8))
                return false;
            j->bytes += sizeof head + bytes;
            j->records++;
            return true;
        }
    }
    if (got < 0)
        *sys_errno = (int)-got;
    return false;
}

void journal_rewind(struct journal *j)
{
    j->bytes = HEAD_BYTES;
    j->records = 0;
}

int journal_cut(struct journal *j)
{
    return os_ftruncate(j->fd, j->bytes);
}

int journal_append(struct journal *j, enum record_kind kind, const struct text *payload)
{
    uint64_t bytes = payload->length;
    char head[HEAD_BYTES];
    struct text whole;
    int got;

    if (payload->cut || bytes > RECORD_BYTES_MAX)
        return -ENOMEM;
    put_number(head, 4, bytes);
    put_number(head + 4, 4, kind);
    put_number(head + 8, 8, j->records);
    put_number(head + 16, 8, record_checksum(head, payload->chars, bytes));
    text_init(&whole, RECORD_BYTES_MAX + HEAD_BYTES);
    text_add_bytes(&whole, head, sizeof head);
    text_add_bytes(&whole, payload->chars, bytes);
    if (die_is_due("torn-record")) {
        os_pwrite_all(j->fd, whole.chars, whole.length / 2, j->bytes);
        die_now();
    }
    got = whole.cut ? -ENOMEM : os_pwrite_all(j->fd, whole.chars, whole.length, j->bytes);
    text_release(&whole);
    if (got < 0)
        return got;
    j->bytes += HEAD_BYTES + bytes;
    j->records++;
    return 0;
}
