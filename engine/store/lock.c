/* lock.c - one run of a target at a time.
 *
 * On the file systems of one machine the staging directory is locked, and that is all: the kernel gives the lock back at
 * death. On others such a lock is missing or reaches no other machine (Lustre, NFS, FUSE: os_lock), so there the lock is
 * a file beside the target, `<target>.sluice-lock`, made with O_EXCL and saying who made it (owner.h):
 *
 *   it works        refused, with who and since when
 *   it is gone      the file is removed, under a second lock of the same kind (`...-lock-takeover`), so that of two
 *                   that find it none removes what the other has made since; then made anew like any other
 *   cannot be told  (another host, another container) refused, with what to remove when one is sure
 *
 * Who finds such a file heeds it, whatever his own mount can do: that of the other may differ.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/die.h"
#include "engine/io/os.h"
#include "engine/io/space.h"
#include "engine/store/store_impl.h"

enum {
    TRIES_MAX = 300,                    /* one every hundredth of a second, while others are at it */
    UNWRITTEN_TRIES = 200,              /* after which an unfinished file is that of a dead run */
    NAP_US = 10000,
};

const char *store_took_over(const struct store *s)
{
    return s->took_over;
}

bool store_busy(const struct store *s, const char *note, struct error *err)
{
    error_at(err, ERR_EXISTS, s->span, "another run is writing '%s' at this moment", s->path);
    if (note && *note)
        error_note(err, "%s", note);
    error_help(err, "wait for it to end, or give another path; its work is in '%s.sluice-partial'", s->path);
    return false;
}

/* ---- one lock file ---- */

/* 0 or -errno. */
static int read_file(const struct store *s, const char *name, char text[OWNER_TEXT_BYTES])
{
    int fd = os_openat(s->parent_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    int64_t got = fd < 0 ? fd : os_pread_some(fd, text, OWNER_TEXT_BYTES - 1, 0);

    if (fd >= 0)
        os_close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got < 0 ? (int)got : 0;
}

/* 1, 0 or -errno. */
static int is_ours(const struct store *s, const char *name, const char *ours)
{
    char text[OWNER_TEXT_BYTES];
    int got = read_file(s, name, text);

    return got < 0 && got != -ENOENT ? got : strcmp(text, ours) == 0;
}

/* 0 or -errno; -EEXIST: somebody else has it. */
static int make_file(const struct store *s, const char *name, const char *ours)
{
    int fd = os_openat(s->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    int got, closed;

    if (fd < 0)
        return fd;
    die_at("before-lock");
    got = os_pwrite_all(fd, ours, strlen(ours), 0);
    closed = os_close(fd);
    if (got >= 0)
        got = closed;
    /* Were we so slow that it was taken for what a dead run had not finished? */
    if (got >= 0 && (got = is_ours(s, name, ours)) == 0)
        return -EEXIST;
    if (got < 0)
        os_unlinkat(s->parent_fd, name, 0);
    return got < 0 ? got : 0;
}

/* Who has it, when we cannot have it now. False: nobody, any more. `tries`: how often it was looked at so far. */
static bool look(const struct store *s, const char *name, unsigned tries, struct owner *o, enum owner_state *state,
                 int *sys_errno)
{
    char text[OWNER_TEXT_BYTES];

    *o = (struct owner){ 0 };
    *sys_errno = read_file(s, name, text);
    if (*sys_errno == -ENOENT) {
        *sys_errno = 0;
        return false;
    }
    *state = owner_read(o, text) ? owner_state(o) : tries < UNWRITTEN_TRIES ? OWNER_WORKS : OWNER_GONE;
    return *sys_errno == 0;
}

/* ---- taking it over ---- */

static void guard_name(const struct store *s, char name[NAME_MAX + 1])
{
    snprintf(name, NAME_MAX + 1, "%s-takeover", s->lock_name);
}

static void remove_stale_guard(const struct store *s, unsigned tries)
{
    char guard[NAME_MAX + 1];
    enum owner_state state;
    struct owner o;
    int sys_errno;

    guard_name(s, guard);
    if (look(s, guard, tries, &o, &state, &sys_errno) && state == OWNER_GONE)
        os_unlinkat(s->parent_fd, guard, 0);
}

/* Remove the lock file if its owner is gone, while nobody else does. 0 or -errno; that it did not work now is no error. */
static int remove_stale(struct store *s, const char *ours, unsigned tries)
{
    char guard[NAME_MAX + 1], sentence[OWNER_SENTENCE_BYTES];
    enum owner_state state;
    struct owner o;
    int got, sys_errno;

    guard_name(s, guard);
    die_at("before-guard");
    got = make_file(s, guard, ours);
    if (got == -EEXIST) {
        remove_stale_guard(s, tries);
        usleep(NAP_US);
        return 0;
    }
    if (got < 0)
        return got;
    if (look(s, s->lock_name, tries, &o, &state, &sys_errno) && state == OWNER_GONE) {
        owner_sentence(&o, sentence);
        die_at("before-takeover");
        got = os_unlinkat(s->parent_fd, s->lock_name, 0);
        if (got >= 0)
            snprintf(s->took_over, sizeof s->took_over, "the lock file of a run that is dead was removed%s%s",
                     o.pid ? ": " : "", o.pid ? sentence : "");
    }
    os_unlinkat(s->parent_fd, guard, 0);
    return got < 0 && got != -ENOENT ? got : sys_errno;
}

static bool refuse(const struct store *s, const struct owner *o, enum owner_state state, struct error *err)
{
    char sentence[OWNER_SENTENCE_BYTES];

    owner_sentence(o, sentence);
    if (state != OWNER_ELSEWHERE)
        return store_busy(s, o->pid ? sentence : NULL, err);
    error_at(err, ERR_EXISTS, s->span, "another run is writing '%s', or died on another machine", s->path);
    error_note(err, "%s", sentence);
    error_note(err, "file locks of this place do not reach other machines, so from here it cannot be told whether it is "
               "still at work");
    error_help(err, "wait for it to end; if you are sure that it has, remove '%s.sluice-lock' and give the same "
               "command again", s->path);
    return false;
}

bool store_lock_file_take(struct store *s, struct error *err)
{
    char ours[OWNER_TEXT_BYTES];
    enum owner_state state = OWNER_WORKS;
    int got = -EEXIST, sys_errno = 0;
    struct owner o;

    if (s->lock_text)
        return true;
    owner_now(&o);
    owner_write(&o, ours);
    for (unsigned tries = 0; tries < TRIES_MAX && sys_errno == 0; tries++) {
        got = make_file(s, s->lock_name, ours);
        if (got != -EEXIST)
            break;
        if (!look(s, s->lock_name, tries, &o, &state, &sys_errno))
            continue;
        if (state == OWNER_GONE)
            sys_errno = remove_stale(s, ours, tries);
        else if (o.pid)
            return refuse(s, &o, state, err);
        else
            usleep(NAP_US);
    }
    if (got == 0 && (s->lock_text = strdup(ours))) {
        remove_stale_guard(s, 0);       /* of one that died taking it over */
        return true;
    }
    if (got == -EEXIST && sys_errno == 0)
        return refuse(s, &o, OWNER_WORKS, err);
    if (got == 0)
        os_unlinkat(s->parent_fd, s->lock_name, 0);
    error_sys(err, got == 0 ? ENOMEM : sys_errno ? -sys_errno : -got, s->span, "cannot make the lock file '%s.sluice-lock'",
              s->path);
    return space_explain(err, s->parent_fd, 0);
}

void store_lock_file_give_back(struct store *s)
{
    if (s->lock_text && is_ours(s, s->lock_name, s->lock_text) == 1)
        os_unlinkat(s->parent_fd, s->lock_name, 0);
    free(s->lock_text);
    s->lock_text = NULL;
}

/* ---- either kind ---- */

bool store_lock(struct store *s, int fd, struct error *err)
{
    int got = os_lock(fd);
    struct stat st;
    char *note;

    if (got == -EWOULDBLOCK) {
        note = store_note(fd);
        store_busy(s, note, err);
        free(note);
        return false;
    }
    if (got == 0 && os_fstatat(s->parent_fd, s->lock_name, &st, AT_SYMLINK_NOFOLLOW) == -ENOENT)
        return true;
    return store_lock_file_take(s, err);
}
