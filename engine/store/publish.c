/* publish.c - the end of a directory store that is written: the target gets its name, and what is left over goes. */
#include <errno.h>
#include <fcntl.h>

#include "engine/base/die.h"
#include "engine/io/os.h"
#include "engine/store/store_impl.h"

bool store_place_is(const struct store *s, const struct store_place *place, const char *name)
{
    struct stat st;

    return os_fstatat(s->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0 && st.st_ino == place->inode &&
           (st.st_dev == place->device || place->device == 0);
}

/* The target has its name: what stood there before goes, then the note, and the journal last: as long as it is there
 * the next run knows what to end. */
static bool publish_end(struct store *s, const struct store_place *old, struct error *err)
{
    int got = 0;

    s->published = true;
    if (s->durable)
        got = os_fsync(s->parent_fd);
    if (got < 0)
        return error_sys(err, -got, s->span, "cannot write out the directory of '%s'", s->path);
    die_at("after-publish");
    if (old && store_place_is(s, old, s->staging_name))
        got = os_remove_tree(s->parent_fd, s->staging_name);
    if (got >= 0 && old && store_place_is(s, old, s->aside_name))
        got = os_remove_tree(s->parent_fd, s->aside_name);
    if (got < 0) {
        error_sys(err, -got, s->span, "cannot remove the old '%s', now called '%s'", s->path, s->staging_name);
        error_note(err, "the new one is complete and in its place; the same command tries again");
        return false;
    }
    die_at("after-old");
    os_unlinkat(s->root_fd, STAGING_NOTE, 0);
    die_at("after-note");
    os_unlinkat(s->root_fd, STAGING_JOURNAL, 0);
    return true;
}

bool store_place_of(const struct store *s, struct store_place *target)
{
    struct stat st;

    if (os_fstatat(s->parent_fd, s->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    *target = (struct store_place){ st.st_dev, st.st_ino };
    return true;
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
    if (there && store_place_of(s, &old)) {
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

bool store_publish_end(struct store *s, const struct store_place *old, struct error *err)
{
    return publish_end(s, old->inode ? old : NULL, err);
}
