/* publish.c - the end of a directory store that is written: the target gets its name, and what is left over goes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "engine/base/die.h"
#include "engine/io/os.h"
#include "engine/store/store_impl.h"

int store_place_is(const struct store *s, const struct store_place *place, const char *name)
{
    struct stat st;
    int got = os_fstatat(s->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW);

    if (got < 0)
        return got == -ENOENT ? 0 : got;
    return place->inode == OS_INODE_ANY ||
           (st.st_ino == place->inode && (st.st_dev == place->device || place->device == 0));
}

int store_remove_staging(const struct store *s)
{
    int got = os_remove_tree_but(s->parent_fd, s->staging_name, STAGING_MARK);
    char note[PATH_MAX];

    if (got < 0)
        return got == -ENOENT ? 0 : got;
    snprintf(note, sizeof note, "%s/%s", s->staging_name, STAGING_NOTE);
    got = os_unlinkat(s->parent_fd, note, 0);
    return got < 0 && got != -ENOENT ? got : os_remove_tree(s->parent_fd, s->staging_name);
}

int store_abandon(struct store *s)
{
    int got;

    if (s->parent_fd < 0 || s->published)
        return 0;
    got = os_unlinkat(s->root_fd, STAGING_JOURNAL, 0);
    return got < 0 && got != -ENOENT ? got : store_remove_staging(s);
}

static bool remove_old(struct store *s, struct error *err)
{
    int got = store_remove_staging(s);

    if (got >= 0)
        return true;
    error_sys(err, -got, s->span, "cannot remove the old '%s', now called '%s'", s->path, s->staging_name);
    error_note(err, "the new one is complete and in its place");
    error_help(err, "remove the old one, or give the same command again, which tries that first");
    return false;
}

/* What is ours leaves the target: for the old tree, which is to be removed (then whoever finds that knows what it is); or
 * it goes, where that cannot be. */
static int mark_goes(struct store *s, const char *mark, bool to_old)
{
    char from[PATH_MAX], to[PATH_MAX];
    int got = -ENOENT;

    snprintf(from, sizeof from, "%s/%s", s->name, mark);
    snprintf(to, sizeof to, "%s/%s", s->staging_name, mark);
    if (to_old)
        got = os_rename_new(s->parent_fd, from, to);
    if (got < 0)
        got = os_unlinkat(s->root_fd, mark, 0);
    return got == -ENOENT ? 0 : got;
}

/* The target is where it is to be, as everybody sees who looks; but the disk may not have it so, and what a second sync says
 * is worth nothing: a kernel may take what it could not write for written. */
static bool is_in_doubt(struct store *s, int got, const char *what, struct error *err)
{
    s->in_doubt = true;
    error_sys(err, -got, s->span, "cannot write out the %s of '%s'", what, s->path);
    error_note(err, "it is complete and has its name; that the disk has it so, too, is not certain");
    error_note(err, "after a power cut what was there before may be back");
    return false;
}

/* Is the old tree where it is removed from? 1, 0 or -errno. A death in an exchange by steps leaves it aside. */
static int old_is_staged(const struct store *s, const struct store_place *old)
{
    int got = store_place_is(s, old, s->aside_name);

    if (got > 0)
        got = os_rename_new(s->parent_fd, s->aside_name, s->staging_name);
    return got < 0 ? got : store_place_is(s, old, s->staging_name);
}

/* The target has its name. What is ours leaves it, the journal last: as long as it is there the next run knows what to
 * end. Only then what stood there before goes, which may take long, or fail; it has the journal by then. Where inodes do not
 * last nobody could tell it from a new one that has not got its name: there it goes first. */
static bool publish_end(struct store *s, const struct store_place *old, struct error *err)
{
    int got = 0, old_fd = -1;
    struct stat st;
    bool ok, to_old;

    s->published = true;
    if (s->durable)
        got = os_fsync(s->parent_fd);
    if (got < 0)
        return is_in_doubt(s, got, "directory", err);
    die_at("after-publish");
    if (old)
        got = old_is_staged(s, old);
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot look for the old '%s', now called '%s' or '%s'", s->path,
                         s->staging_name, s->aside_name);
    if (got > 0) {
        old_fd = os_openat(s->parent_fd, s->staging_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (old_fd >= 0)
            os_lock(old_fd);        /* it is under a name that other runs look for */
    } else {
        old = NULL;
    }
    ok = !old || old->inode != OS_INODE_ANY || remove_old(s, err);
    to_old = old && old->inode != OS_INODE_ANY;
    got = ok ? mark_goes(s, STAGING_NOTE, to_old) : 0;
    if (ok && got >= 0 && os_fstatat(s->root_fd, STAGING_DOUBT, &st, AT_SYMLINK_NOFOLLOW) != -ENOENT)
        got = mark_goes(s, STAGING_DOUBT, false);
    if (ok)
        die_at("after-note");
    if (ok && got >= 0)
        got = mark_goes(s, STAGING_JOURNAL, to_old);
    if (got < 0)
        error_sys(err, -got, s->span, "cannot tidy up in '%s', which is complete", s->path);
    ok = ok && got >= 0;
    if (ok && to_old) {
        die_at("after-journal");
        ok = remove_old(s, err);
    }
    if (old_fd >= 0)
        os_close(old_fd);
    return ok;
}

int store_place_of(const struct store *s, struct store_place *target)
{
    struct stat st;
    int got = os_fstatat(s->parent_fd, s->name, &st, AT_SYMLINK_NOFOLLOW);

    *target = (struct store_place){ 0 };
    if (got >= 0)
        *target = (struct store_place){ st.st_dev, os_lasting_inode(s->parent_fd, &st) };
    return got < 0 && got != -ENOENT ? got : 0;
}

bool store_publish(struct store *s, struct error *err)
{
    struct store_place old;
    bool there;
    int got;

    if (!store_check_target(s, &there, err))
        return false;
    got = s->durable ? os_syncfs(s->root_fd) : 0;
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot write out the files of '%s'", s->path);
    die_at("before-publish");
    got = store_place_of(s, &old);
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot look at '%s'", s->path);
    if (there && old.inode) {
        got = os_rename_exchange(s->parent_fd, s->staging_name, s->name, s->aside_name);
        if (got < 0)
            return error_sys(err, -got, s->span, "cannot put the new '%s' in the place of the old", s->path);
        die_at("after-exchange");
        return publish_end(s, &old, err);
    }
    got = os_rename_new(s->parent_fd, s->staging_name, s->name);
    if (got == -EEXIST)
        return error_at(err, ERR_EXISTS, s->span, "'%s' was made by somebody else in the meantime", s->path);
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot give '%s' its name", s->path);
    return publish_end(s, s->old.inode ? &s->old : NULL, err);
}

void store_was_replacing(struct store *s, const struct store_place *old)
{
    s->old = *old;
}

int store_put_back(const struct store *s, const struct store_place *old)
{
    struct store_place now;
    int got = old->inode ? store_place_of(s, &now) : 0;

    if (got < 0 || old->inode == 0 || now.inode)
        return got;
    got = store_place_is(s, old, s->aside_name);
    return got <= 0 ? got : os_rename_new(s->parent_fd, s->aside_name, s->name);
}

/* The run that gave it its name may not have been durable, or may have died before it was. Both trees are on one file
 * system. */
static bool sync_published(struct store *s, struct error *err)
{
    int got = s->durable ? os_syncfs(s->root_fd) : 0;

    return got >= 0 || is_in_doubt(s, got, "files", err);
}

bool store_remove_replaced(struct store *s, struct error *err)
{
    s->published = true;
    return sync_published(s, err) && remove_old(s, err);
}

bool store_publish_end(struct store *s, const struct store_place *old, struct error *err)
{
    return sync_published(s, err) && publish_end(s, old->inode ? old : NULL, err);
}

bool store_take_back(struct store *s, const struct store_place *old, struct error *err)
{
    int got = old->inode ? old_is_staged(s, old) : 0;
    bool replaces = got > 0;
    char note[PATH_MAX];

    if (replaces) {                     /* a death may have come just when it was marked as to be removed */
        snprintf(note, sizeof note, "%s/%s", s->staging_name, STAGING_NOTE);
        got = os_unlinkat(s->parent_fd, note, 0);
        got = got == -ENOENT ? 0 : got;
    }
    if (got >= 0)
        /* In this order: by steps it comes through nothing that a publication does not come through. */
        got = replaces ? os_rename_exchange(s->parent_fd, s->name, s->staging_name, s->aside_name)
                       : os_rename_new(s->parent_fd, s->name, s->staging_name);
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot take back '%s', to publish it once more", s->path);
    die_at("after-take-back");
    s->published = false;
    s->overwrite = true;
    s->old = *old;
    return true;
}
