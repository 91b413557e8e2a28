/* lock.c - one run of a target at a time.
 *
 * On the file systems of one machine the staging directory is locked, and that is all: the kernel gives the lock back at
 * death. On others such a lock is missing or reaches no other machine (Lustre, NFS, FUSE: os_lock), so there the lock is
 * a file beside the target, `<target>.sluice-lock`, that says whose it is (owner.h). It is written under a name of its
 * own and linked to that one: so it is there with all that it says, and only where there was none. Of one that is found:
 *
 *   it works        refused, with who and since when
 *   it is gone      taken over: ours is renamed over it, by the one run that has the right to
 *   cannot be told  (another host, another container) refused, with what to remove when one is sure
 *
 * The right to take over a file that says T has whoever made the guard `...-lock-takeover-N`, where N is the hash of T; if
 * the guard's maker is dead, too, and it says U, whoever made that of the hash of T and U; and so on. Who has it reads the
 * lock file once more, and lets go unless that says T.
 *
 * Why that lets nobody in beside another: a dead process writes no T again, so a lock file that says T is the one that was
 * seen. As long as there is one, guards of T are taken away by their makers alone, who do no more then; for others go only
 * by the hand of a run that holds the lock, and then the lock file says who that is, and not T. So one living run at a time
 * has the right, and nobody else touches the file: what it read is still so when it renames. Who comes later, or was held
 * up with a guard, a file, or a name in mind that is gone, reads something else than T, or finds the name taken.
 *
 * Where files cannot be linked a lock file is made with O_EXCL and then written. One that is not whole after two seconds is
 * that of a dead run there; its maker, if it was only that slow, looks whether it still has it. (A run that is stopped just
 * after it looked, for as long as it takes to be taken over, is not found out.)
 *
 * Who finds a lock file heeds it, whatever his own mount can do: that of the other may differ.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/die.h"
#include "engine/io/os.h"
#include "engine/io/space.h"
#include "engine/store/store_impl.h"

enum {
    TRIES_MAX = 300,                    /* one every hundredth of a second, while others are at it */
    UNWRITTEN_TRIES = 200,              /* after which an unfinished file is that of a dead run */
    NAP_US = 10000,
    GUARDS_MAX = 32,                    /* of runs that died taking over from one another */
    NUMBER_DIGITS = 16,
};

/* A run on its way to the lock. */
struct taking {
    struct store *s;
    char ours[OWNER_TEXT_BYTES];        /* what our files say */
    char written[NAME_MAX + 1];         /* a file of ours that says it, under a name of its own */
    bool is_written;
    unsigned tries;
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

static bool are_linked(const struct store *s, const char *a, const char *b)
{
    struct stat first, second;

    return os_fstatat(s->parent_fd, a, &first, AT_SYMLINK_NOFOLLOW) >= 0 &&
           os_fstatat(s->parent_fd, b, &second, AT_SYMLINK_NOFOLLOW) >= 0 && first.st_nlink > 1 &&
           first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

/* Names beside the lock file; sweep() knows them. */
static const char guard_infix[] = "-takeover-", written_infix[] = "-new-";

/* 0 or -errno. */
static int name_beside(const struct store *s, const char *infix, uint64_t number, char name[NAME_MAX + 1])
{
    int length = snprintf(name, NAME_MAX + 1, "%s%s%0*" PRIx64, s->lock_name, infix, NUMBER_DIGITS, number);

    return length > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* 0 or -errno; -EEXIST: somebody else has it. */
static int write_new(const struct store *s, const char *name, const char *ours)
{
    int fd = os_openat(s->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    int got, closed;

    if (fd < 0)
        return fd;
    die_at("before-write");
    got = os_pwrite_all(fd, ours, strlen(ours), 0);
    closed = os_close(fd);
    if (got >= 0)
        got = closed;
    if (got < 0)
        os_unlinkat(s->parent_fd, name, 0);
    return got;
}

/* Without links. */
static int write_in_place(const struct store *s, const char *name, const char *ours)
{
    int got = write_new(s, name, ours);

    if (got < 0)
        return got;
    /* Were we so slow that it was taken for what a dead run had not finished? */
    got = is_ours(s, name, ours);
    if (got < 0)
        os_unlinkat(s->parent_fd, name, 0);
    return got < 0 ? got : got == 0 ? -EEXIST : 0;
}

static void remove_written(struct taking *t)
{
    if (t->is_written)
        os_unlinkat(t->s->parent_fd, t->written, 0);
    t->is_written = false;
}

/* 0 or -errno. */
static int write_ours(struct taking *t)
{
    /* Runs differ in what they say, and those of one process in where they are. */
    int got = t->is_written ? 0 : name_beside(t->s, written_infix, XXH3_64bits_withSeed(t->ours, strlen(t->ours),
                                                                                       (uintptr_t)t->s), t->written);

    if (got < 0 || t->is_written)
        return got;
    got = write_new(t->s, t->written, t->ours);
    if (got == -EEXIST && os_unlinkat(t->s->parent_fd, t->written, 0) >= 0)     /* it could not be removed before */
        got = write_new(t->s, t->written, t->ours);
    t->is_written = got >= 0;
    return got;
}

/* 0 or -errno; -EEXIST: somebody else has it, or all that was ours was swept away by somebody who had. */
static int make_file(struct taking *t, const char *name)
{
    const struct store *s = t->s;
    int got = write_ours(t);

    if (got < 0)
        return got;
    die_at("before-lock");
    got = os_link(s->parent_fd, t->written, name);
    if (got == -EOPNOTSUPP)
        return write_in_place(s, name, t->ours);
    if (got == -ENOENT) {
        t->is_written = false;
        return -EEXIST;
    }
    if (got >= 0 || !are_linked(s, t->written, name))
        return got;
    if (got == -EEXIST)                 /* the first answer of the server was lost */
        return 0;
    os_unlinkat(s->parent_fd, name, 0);
    return got;
}

/* Who has it, when we cannot have it now: 1; 0: nobody, any more; -errno. */
static int look(const struct taking *t, const char *name, char text[OWNER_TEXT_BYTES], struct owner *o,
                enum owner_state *state)
{
    int got = read_file(t->s, name, text);

    *o = (struct owner){ 0 };
    if (got < 0)
        return got == -ENOENT ? 0 : got;
    *state = owner_read(o, text) ? owner_state(o) : t->tries < UNWRITTEN_TRIES ? OWNER_WORKS : OWNER_GONE;
    return 1;
}

/* ---- taking it over ---- */

/* Get the right to take over what says `dead`. 0, with the name of the guard; -EEXIST: not now; -errno. */
static int make_guard(struct taking *t, const char *dead, char guard[NAME_MAX + 1])
{
    uint64_t number = XXH3_64bits(dead, strlen(dead));

    for (unsigned i = 0; i < GUARDS_MAX; i++) {
        char text[OWNER_TEXT_BYTES];
        enum owner_state state;
        struct owner o;
        int got = name_beside(t->s, guard_infix, number, guard);

        if (got < 0)
            return got;
        die_at("before-guard");
        got = make_file(t, guard);
        if (got != -EEXIST)
            return got;
        got = look(t, guard, text, &o, &state);
        if (got < 0)
            return got;
        if (got == 0 || state != OWNER_GONE)
            break;
        number = XXH3_64bits_withSeed(text, strlen(text), number);
    }
    usleep(NAP_US);
    return -EEXIST;
}

/* 0: the lock is ours; -EEXIST: not now; -errno. */
static int take_over(struct taking *t, const char *dead, const struct owner *o)
{
    char guard[NAME_MAX + 1], text[OWNER_TEXT_BYTES], sentence[OWNER_SENTENCE_BYTES];
    struct store *s = t->s;
    int got = make_guard(t, dead, guard);

    if (got < 0)
        return got;
    got = write_ours(t);
    if (got >= 0)
        got = read_file(s, s->lock_name, text);
    if (got >= 0)
        got = strcmp(text, dead) == 0 ? 0 : -EEXIST;
    if (got >= 0) {
        die_at("before-takeover");
        got = os_rename(s->parent_fd, t->written, s->lock_name);
        t->is_written = got < 0 && got != -ENOENT;
    }
    if (got >= 0) {
        owner_sentence(o, sentence);
        snprintf(s->took_over, sizeof s->took_over, "the lock file of a run that is dead was taken over%s%s",
                 o->pid ? ": " : "", o->pid ? sentence : "");
    }
    os_unlinkat(s->parent_fd, guard, 0);
    return got == -ENOENT ? -EEXIST : got;
}

static bool is_beside(const struct store *s, const char *name, const char *infix)
{
    size_t lock_length = strlen(s->lock_name), infix_length = strlen(infix);

    return strncmp(name, s->lock_name, lock_length) == 0 && strncmp(name + lock_length, infix, infix_length) == 0 &&
           strspn(name + lock_length + infix_length, "0123456789abcdef") == NUMBER_DIGITS &&
           strlen(name) == lock_length + infix_length + NUMBER_DIGITS;
}

/* What runs have left that died on their way to the lock, which is ours. Of one that lives, what it has in hand goes, too: it
 * looks anew then, and finds us. */
static void sweep(struct store *s)
{
    int fd = os_openat(s->parent_fd, ".", O_RDONLY | O_DIRECTORY, 0), got = 0;
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!listing && fd >= 0)
        os_close(fd);
    while (listing && (errno = 0, entry = readdir(listing)))
        if (is_beside(s, entry->d_name, guard_infix) || is_beside(s, entry->d_name, written_infix))
            got = os_unlinkat(s->parent_fd, entry->d_name, 0) < 0 ? -1 : got;
    s->lock_swept = listing && errno == 0 && got == 0;
    if (listing)
        closedir(listing);
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
    struct taking t = { .s = s };
    enum owner_state state = OWNER_WORKS;
    char text[OWNER_TEXT_BYTES];
    int got = -EEXIST;
    struct owner o;

    if (s->lock_text)
        return true;
    owner_now(&o);
    owner_write(&o, t.ours);
    for (; t.tries < TRIES_MAX && got == -EEXIST; t.tries++) {
        int there = look(&t, s->lock_name, text, &o, &state);

        if (there <= 0)
            got = there < 0 ? there : make_file(&t, s->lock_name);
        else if (state == OWNER_GONE)
            got = take_over(&t, text, &o);
        else if (o.pid)
            break;
        else
            usleep(NAP_US);
    }
    remove_written(&t);
    if (got == 0 && (s->lock_text = strdup(t.ours))) {
        sweep(s);
        return true;
    }
    if (got == -EEXIST)
        return refuse(s, &o, state, err);
    if (got == 0)
        os_unlinkat(s->parent_fd, s->lock_name, 0);
    error_sys(err, got == 0 ? ENOMEM : -got, s->span, "cannot make the lock file '%s.sluice-lock'", s->path);
    return space_explain(err, s->parent_fd, 0);
}

void store_lock_file_give_back(struct store *s)
{
    if (s->lock_text && is_ours(s, s->lock_name, s->lock_text) == 1) {
        if (!s->lock_swept)
            sweep(s);
        os_unlinkat(s->parent_fd, s->lock_name, 0);
    }
    free(s->lock_text);
    s->lock_text = NULL;
}

/* ---- either kind ---- */

static bool busy_as_noted(const struct store *s, int fd, struct error *err)
{
    char *note = store_note(fd);

    store_busy(s, note, err);
    free(note);
    return false;
}

bool store_lock(struct store *s, int fd, struct error *err)
{
    int got = os_lock(fd);
    struct stat st;

    if (got == -EWOULDBLOCK)
        return busy_as_noted(s, fd, err);
    if (got == 0 && os_fstatat(s->parent_fd, s->lock_name, &st, AT_SYMLINK_NOFOLLOW) == -ENOENT)
        return true;
    return store_lock_file_take(s, err);
}

bool store_lock_look(const struct store *s, int fd, struct error *err)
{
    char text[OWNER_TEXT_BYTES];
    struct owner o;

    if (os_lock_look(fd) == -EWOULDBLOCK)
        return busy_as_noted(s, fd, err);
    if (read_file(s, s->lock_name, text) < 0 || !owner_read(&o, text) || owner_state(&o) == OWNER_GONE)
        return true;
    return refuse(s, &o, owner_state(&o), err);
}
