/* journal.h - what a run has done, for whoever goes on with it after a death: records appended to one file.
 *
 * The file is STAGING_JOURNAL (store.h) in the staging directory: 24 bytes of name and version, then records.
 *
 *   record, little-endian: payload bytes (4), kind (4), number of the record (8), checksum (8), payload
 *   The checksum is XXH3-64 of the payload, seeded with that of the three numbers before it: no record passes for another.
 *
 * A record counts when all of it is there. Reading stops at the first that does not, and what follows is cut off: it
 * was being written when the process died. What a payload holds is the business of records.c.
 *
 * Not trusted: a length is checked before memory is taken for it, and a journal of another version is not read.
 *
 * Threads: one at a time.
 */
#ifndef SLUICE_EXEC_JOURNAL_H
#define SLUICE_EXEC_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/text.h"

enum { JOURNAL_VERSION = 3, RECORD_BYTES_MAX = 1 << 17 };

/* On disk: values never change. */
enum record_kind {
    RECORD_BEGUN = 1,           /* the request, the plan, who and where: the first one */
    RECORD_RESUMED = 2,         /* another process goes on */
    RECORD_SEGMENT = 3,         /* a segment is whole */
    RECORD_SEGMENT_LOST = 4,    /* it is not, after all */
    RECORD_TASKS = 5,           /* tasks whose target objects are whole */
    RECORD_TASKS_LOST = 6,      /* fewer than was said */
    RECORD_COMMITTING = 7,      /* everything is there; the target gets its name */
    RECORD_DOUBT = 8,           /* a sync or a write failed: what was recorded so far may be lost */
};

struct journal {
    int fd;                     /* -1: none */
    uint64_t bytes;             /* up to the end of the last whole record */
    uint64_t records;
};

struct record {
    enum record_kind kind;
    const char *payload;        /* the buffer's, until the next call */
    uint64_t bytes;
};

enum journal_state {
    JOURNAL_NONE,               /* no file, or one that a death cut before its first record */
    JOURNAL_WHOLE,
    JOURNAL_OTHER,              /* not a journal, or of another version */
    JOURNAL_FOREIGN,            /* somebody else's, or others may write to it: plans in it are obeyed, so it is not read */
    JOURNAL_UNREADABLE,         /* *sys_errno */
};

/* 0 or -errno. Make it in a directory that has none; open what is there, for reading from the beginning. */
int journal_make(struct journal *j, int dir_fd);
enum journal_state journal_open(struct journal *j, int dir_fd, int *sys_errno);
void journal_close(struct journal *j);
/* To append to it once more. 0 or -errno. */
int journal_reopen(struct journal *j, int dir_fd);

/* The next whole record, into `buffer` (of RECORD_BYTES_MAX). False: there is none; *sys_errno tells a read that failed
 * from the end (0). */
bool journal_next(struct journal *j, char *buffer, struct record *r, int *sys_errno);
/* To the first record again. */
void journal_rewind(struct journal *j);
/* After the last one: cut what follows. 0 or -errno. */
int journal_cut(struct journal *j);
/* 0 or -errno; then nothing may be appended any more. */
int journal_append(struct journal *j, enum record_kind kind, const struct text *payload);

#endif
