#include "engine/io/space.h"

#include <errno.h>
#include <stdio.h>

#include "engine/base/text.h"
#include "engine/io/os.h"

static void explain_full(struct error *err, uint64_t need_bytes, uint64_t free_bytes, uint64_t free_files)
{
    if (need_bytes) {
        error_note(err, "it needed %s, and %s are free there", SIZE_TEXT(need_bytes), SIZE_TEXT(free_bytes));
        error_bytes(err, need_bytes, free_bytes);
    } else {
        error_note(err, "%s are free there", SIZE_TEXT(free_bytes));
    }
    if (free_files == 0) {
        error_note(err, "the file system has no room for more files (inodes), however small");
        error_help(err, "remove files there, or make the chunks larger; then give the same command again");
    }
    error_help(err, "make room there, then give the same command again; or name another place: for scratch that takes "
               "--restart");
}

static void explain_quota(struct error *err, uint64_t need_bytes, uint64_t free_bytes)
{
    if (need_bytes) {
        error_note(err, "it needed %s; %s are free there, but a quota keeps them from this user, group or project",
                   SIZE_TEXT(need_bytes), SIZE_TEXT(free_bytes));
        error_bytes(err, need_bytes, 0);
    }
    error_help(err, "remove files of yours there or ask for a larger quota ('quota -s', 'lfs quota' and 'xfs_quota' show "
               "it), then give the same command again; or name another place: for scratch that takes --restart");
}

bool space_explain(struct error *err, int fd, uint64_t need_bytes)
{
    uint64_t free_bytes = 0, free_files = 1;

    switch (err->sys_errno) {
    case ENOSPC:
    case EDQUOT:
        if (err->note_count || os_space(fd, &free_bytes, &free_files) < 0)
            break;
        if (err->sys_errno == ENOSPC)
            explain_full(err, need_bytes, free_bytes, free_files);
        else
            explain_quota(err, need_bytes, free_bytes);
        break;
    case EFBIG:
        error_help(err, "raise 'ulimit -f' (in blocks of 1KiB; Slurm and systemd set it too), or choose a file system that "
                   "holds larger files");
        break;
    case EMFILE:
        error_help(err, "raise 'ulimit -n', or use fewer threads");
        break;
    }
    return false;
}
