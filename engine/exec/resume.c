#include "engine/exec/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/exec/resuming.h"
#include "engine/io/os.h"

enum { DIFFERENCES_BYTES_MAX = 16 * 1024 };

/* ---- segments and tasks ---- */

uint64_t graph_segments_of(const struct graph *g, unsigned stages)
{
    uint64_t segments = 0;

    for (unsigned i = 0; i < stages; i++)
        if (g->stages[i].sink == TO_SEGMENTS)
            segments += grid_cells(&g->stages[i].tasks);
    return segments;
}

uint64_t stage_segment_number(const struct stage *stage, uint64_t first_segment, uint64_t task)
{
    uint64_t coords[RANK_MAX];

    walk_grid_coords(&stage->walk, &stage->tasks, task, coords);
    return first_segment + grid_index(&stage->tasks, coords);
}

/* Elements of the tasks of a stage that have written segments. */
static uint64_t segments_elements(const struct resume *r, const struct graph *g, unsigned number)
{
    const struct grid *tasks = &g->stages[number].tasks;
    uint64_t first = graph_segments_of(g, number), count = grid_cells(tasks), elements = 0;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t coords[RANK_MAX];
        struct box box;

        if (!r->segments[first + i].complete)
            continue;
        grid_coords(tasks, i, coords);
        grid_cell_box(tasks, coords, &box);
        elements += box_elements(tasks->rank, &box);
    }
    return elements;
}

uint64_t resume_work_bytes(const struct resume *r, const struct graph *g)
{
    uint64_t all = shape_elements(g->source->chunks.rank, g->source->chunks.shape), elements = 0;
    bool needed = true;

    for (unsigned i = g->stage_count; i-- > 0; ) {
        const struct stage *stage = &g->stages[i];
        uint64_t done = !needed ? all : stage->sink == TO_SEGMENTS ? segments_elements(r, g, i)
                        : walk_elements_before(&stage->walk, &stage->tasks, r->tasks_done[i]);

        elements += done;
        needed = done < all;
    }
    return 2 * elements * g->source->dtype.item_bytes;
}

/* ---- is it still this machine, and its scratch? ---- */

static bool is_same_boot(const struct resume *r)
{
    char boot[BOOT_BYTES];

    boot_now(boot);
    return boot[0] && strcmp(boot, r->boot) == 0;
}

struct mounts resume_mounts(const struct resume *r)
{
    struct mounts mounts = { .root = os_mount_of(store_root_fd(r->store), "") };
    char directory[PATH_MAX], *slash;

    memcpy(directory, r->scratch_path, sizeof directory);
    slash = strrchr(directory, '/');
    if (slash) {
        slash[slash == directory] = '\0';
        mounts.scratch = os_mount_of(AT_FDCWD, directory);
    }
    return mounts;
}

/* A file system that met an error of its own gives up what it had not written, and may be mounted anew in the same boot.
 * What was not known then says nothing; what is not known now is not the same. */
static bool is_same_mount(const struct resume *r)
{
    struct mounts now = resume_mounts(r);

    return (r->mounts.root == 0 || r->mounts.root == now.root) &&
           (r->mounts.scratch == 0 || r->mounts.scratch == now.scratch || r->scratch_file.inode == 0);
}

bool resume_devices_last(const struct resume *r)
{
    return is_same_boot(r) && is_same_mount(r);
}

const char *resume_lost_when(const struct resume *r)
{
    return r->was_durable ? NULL : r->doubted ? "where a write failed" : !is_same_boot(r) ? "when the machine went down"
           : is_same_mount(r) ? NULL : "when the file system was mounted anew";
}

/* Segments are worth nothing without their file. */
static void look_for_scratch(struct resume *r)
{
    struct stat st;

    if (r->scratch_file.inode == 0 ||
        (os_fstatat(AT_FDCWD, r->scratch_path, &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
         (r->scratch_file.inode == OS_INODE_ANY ||
          (st.st_ino == r->scratch_file.inode && (r->scratch_file.device == 0 || st.st_dev == r->scratch_file.device)))))
        return;
    r->scratch_gone = true;
    r->scratch_file = (struct store_place){ 0 };
    memset(r->segments, 0, r->segment_count * sizeof *r->segments);
}

/* ---- finding ---- */

static struct resume *resume_of(struct store *store, struct span span, struct error *err)
{
    struct resume *r = calloc(1, sizeof *r);

    if (!r) {
        error_sys(err, ENOMEM, span, "the table of what an earlier run did");
        store_close(store);
        return NULL;
    }
    r->store = store;
    r->span = span;
    r->journal.fd = -1;
    return r;
}

void resume_close(struct resume *r)
{
    if (!r)
        return;
    journal_close(&r->journal);
    store_close(r->store);
    free(r->segments);
    free(r);
}

static bool remove_left(struct resume *r, struct text *notes, struct error *err)
{
    int got = r->committing ? store_put_back(r->store, &r->old) : 0;
    uint64_t scratch_bytes;

    if (!r->scratch_path[0])        /* a power cut may have taken the journal, and left what lies beside the output */
        snprintf(r->scratch_path, sizeof r->scratch_path, "%s" SCRATCH_SUFFIX, store_path(r->store));
    scratch_bytes = scratch_remove_leftover(r->scratch_path);
    if (scratch_bytes)
        text_addf(notes, "removed its scratch file '%s' (%s)\n", r->scratch_path, SIZE_TEXT(scratch_bytes));
    journal_close(&r->journal);
    if (got >= 0)
        got = store_abandon(r->store);
    if (got < 0)
        return error_sys(err, -got, r->span, "cannot remove '%s.sluice-partial', which an earlier run had left",
                         store_path(r->store));
    text_addf(notes, "removed '%s.sluice-partial', which an earlier run had left\n", store_path(r->store));
    return true;
}

/* What is left of a run that had published. NULL: nothing, or (err filled) it cannot be told. */
static struct resume *find_published(const char *path, struct span span, struct error *err)
{
    struct store *store;
    struct resume *r;
    struct text ignored;
    int sys_errno;

    if (!store_stage_published(&store, path, span, err) || !store)
        return NULL;
    r = resume_of(store, span, err);
    if (!r)
        return NULL;
    text_init(&ignored, DIFFERENCES_BYTES_MAX);
    r->published = resume_load(r, NULL, &ignored, &sys_errno) == LOADED && r->committing && ignored.length == 0;
    text_release(&ignored);
    if (r->published)
        return r;
    resume_close(r);                /* a copy of a target, say: its journal is of another */
    return NULL;
}

static bool find_left(struct resume **out, const char *path, bool overwrite, struct span span, struct error *err)
{
    struct store *store;
    char note[512];

    *out = find_published(path, span, err);
    if (*out || err->code != ERR_NONE)
        return *out != NULL;
    owner_note(note, sizeof note);
    if (!store_stage_again(&store, path, overwrite, note, span, err))
        return false;
    if (store)
        *out = resume_of(store, span, err);
    return !store || *out;
}

static bool refuse(const struct resume *r, const char *what, const struct text *differences, struct error *err)
{
    error_at(err, ERR_EXISTS, r->span, "an unfinished run of '%s' %s", store_path(r->store), what);
    for (const char *at = differences->chars; *at; at += strcspn(at, "\n") + 1)
        error_note(err, "%.*s", (int)strcspn(at, "\n"), at);
    error_help(err, "start over with --restart, or remove what it left with: sluice clean %s", store_path(r->store));
    return false;
}

/* Of another request, and it has its name; only that request knows what should be there. Or of this one but for
 * --overwrite, without which what it replaced cannot be replaced once more. */
static bool refuse_unseen(const struct resume *r, bool without_overwrite, struct error *err)
{
    error_at(err, ERR_EXISTS, r->span, "an earlier run had just finished '%s', some of which may have been lost %s, and "
             "nobody has looked whether it is whole", store_path(r->store), resume_lost_when(r));
    error_help(err, "give the command of that run once more%s: it looks; or start over with --restart",
               without_overwrite ? ", with --overwrite" : "");
    return false;
}

/* What the same command comes to with what is left. */
enum standing {
    STANDS_TO_GO_ON,
    STANDS_FOR_NOTHING,             /* it is not worth it */
    STANDS_PUBLISHED,
    STANDS_REPLACED,                /* of another request, but its target is complete */
    STANDS_REFUSED,                 /* err says why */
};

static enum standing judge(struct resume *r, const struct graph *g, struct error *err)
{
    enum standing standing = STANDS_REFUSED;
    struct text differences;
    enum loaded loaded;
    int sys_errno;

    text_init(&differences, DIFFERENCES_BYTES_MAX);
    loaded = resume_load(r, g, &differences, &sys_errno);
    if (loaded == LOADED && r->continues && r->records == 0 && !r->committing && !differences.length)
        loaded = LOADED_NOTHING;    /* it had begun, but nothing was done; what it wrote to scratch goes, too */
    r->published = loaded == LOADED && r->replaced && r->continues && !differences.length;
    if (loaded == LOADED_NOTHING)
        standing = STANDS_FOR_NOTHING;
    else if (loaded == LOADED_NOT)
        error_sys(err, sys_errno, r->span, "cannot read the journal of '%s.sluice-partial'", store_path(r->store));
    else if (r->published)
        standing = STANDS_PUBLISHED;
    else if (loaded == LOADED && r->replaced && resume_lost_when(r))
        refuse_unseen(r, false, err);
    else if (loaded == LOADED && r->replaced)
        standing = STANDS_REPLACED;
    else if (loaded == LOADED_FOREIGN)
        refuse(r, "belongs to another user, or others may write to its journal", &differences, err);
    else if (differences.length)
        refuse(r, "was asked for something else", &differences, err);
    else if (loaded == LOADED_OTHER || !r->continues)
        refuse(r, "has a journal that is damaged, or of another version", &differences, err);
    else
        standing = STANDS_TO_GO_ON;
    text_release(&differences);
    return standing;
}

/* Go on with it, or say why not. *removed: it was not worth it. */
static bool take_up(struct resume *r, const struct graph *g, struct text *notes, bool *removed, struct error *err)
{
    enum standing standing = judge(r, g, err);
    int got;

    *removed = standing == STANDS_FOR_NOTHING || standing == STANDS_REPLACED;
    switch (standing) {
    case STANDS_FOR_NOTHING: return remove_left(r, notes, err);
    case STANDS_REPLACED:    return store_remove_replaced(r->store, err);
    case STANDS_PUBLISHED:   return true;
    case STANDS_REFUSED:     return false;
    case STANDS_TO_GO_ON:    break;
    }
    got = journal_cut(&r->journal);
    if (got < 0)
        return error_sys(err, -got, r->span, "cannot write the journal of '%s.sluice-partial'", store_path(r->store));
    look_for_scratch(r);
    return true;
}

bool resume_look(struct resume **out, const struct graph *g, struct error *err)
{
    enum standing standing;
    struct store *store;
    struct resume *r;

    *out = NULL;
    if (!store_stage_look(&store, g->target_path, g->target_span, err) || !store)
        return err->code == ERR_NONE;
    r = resume_of(store, g->target_span, err);
    if (!r)
        return false;
    standing = judge(r, g, err);
    if (standing == STANDS_TO_GO_ON) {
        look_for_scratch(r);
        *out = r;
        return true;
    }
    resume_close(r);
    return standing != STANDS_REFUSED;
}

/* Its name may not be on the disk, and a sync that succeeds now would not say so: names that are given anew it has to write.
 * Until then what was there before has its name back. Where inodes do not last that may be half gone by now, so there it is
 * only synced once more. */
static bool is_to_be_published_again(const struct resume *r)
{
    return r->doubted && r->old.inode != OS_INODE_ANY;
}

static bool publish_end(struct resume *r, struct error *err)
{
    if (!is_to_be_published_again(r))
        return store_publish_end(r->store, &r->old, err);
    store_make_durable(r->store);
    return store_take_back(r->store, &r->old, err) && store_publish(r->store, err);
}

/* For a run that starts over, whatever is left goes, read or not. */
static bool restart_over(struct resume *r, struct text *notes, struct error *err)
{
    struct text ignored;
    int sys_errno;

    if (r->published)
        return publish_end(r, err);
    text_init(&ignored, DIFFERENCES_BYTES_MAX);
    resume_load(r, NULL, &ignored, &sys_errno);
    text_release(&ignored);
    return remove_left(r, notes, err);
}

/* It published what was asked for now? Then the run is as good as done, or (in doubt) one that has everything but has not
 * published it; else that one is brought to its end, and what stands there is a target like any other. */
static bool end_published(struct resume **r, const struct graph *g, struct error *err)
{
    struct text differences;
    int sys_errno;
    bool same, again;

    text_init(&differences, DIFFERENCES_BYTES_MAX);
    journal_close(&(*r)->journal);
    same = resume_load(*r, g, &differences, &sys_errno) == LOADED && differences.length == 0 && (*r)->continues;
    text_release(&differences);
    again = same && is_to_be_published_again(*r);
    if (again && (g->overwrite || (*r)->old.inode == 0)) {
        same = store_take_back((*r)->store, &(*r)->old, err);
        resume_close(*r);
        *r = NULL;
        return same && find_left(r, g->target_path, g->overwrite, g->target_span, err);
    }
    if (same && !again)
        return true;
    if (resume_lost_when(*r))
        return refuse_unseen(*r, again, err);
    same = store_publish_end((*r)->store, &(*r)->old, err);
    resume_close(*r);
    *r = NULL;
    return same;
}

bool resume_find(struct resume **out, const struct graph *g, bool restart, struct text *notes, struct error *err)
{
    struct text nobody;
    struct resume *r;
    bool ok, removed = restart;

    *out = NULL;
    if (!find_left(&r, g->target_path, g->overwrite, g->target_span, err))
        return false;
    if (!r)
        return true;
    text_init(&nobody, DIFFERENCES_BYTES_MAX);
    notes = notes ? notes : &nobody;
    ok = restart ? restart_over(r, notes, err) : !r->published || end_published(&r, g, err);
    if (!restart && ok && r && !r->published)
        ok = take_up(r, g, notes, &removed, err);
    text_release(&nobody);
    if (ok && !removed) {
        *out = r;
        return true;
    }
    resume_close(r);
    return ok;
}

/* Beside the output; of one elsewhere only the same command knows. */
static void clean_lost_scratch(const char *path, struct text *what)
{
    char scratch_path[PATH_MAX];
    uint64_t bytes;

    if (snprintf(scratch_path, sizeof scratch_path, "%.*s" SCRATCH_SUFFIX, (int)path_length(path), path) >= PATH_MAX)
        return;
    bytes = scratch_remove_lost(scratch_path);
    if (bytes)
        text_addf(what, "removed a scratch file whose run is not known, '%s' (%s)\n", scratch_path, SIZE_TEXT(bytes));
}

bool resume_clean(const char *path, struct span span, struct text *what, struct error *err)
{
    const char *lost_when;
    struct text nobody;
    struct resume *r;
    bool ok;

    if (!find_left(&r, path, true, span, err))
        return false;
    text_init(&nobody, DIFFERENCES_BYTES_MAX);
    what = what ? what : &nobody;
    lost_when = r && r->published ? resume_lost_when(r) : NULL;
    if (lost_when)
        text_addf(what, "ended what an earlier run of '%s' had left to do: the output has its name, but some of it may have "
                  "been lost %s: sluice verify tells whether it is whole\n", path, lost_when);
    else if (r && r->published)
        text_addf(what, "ended what an earlier run of '%s' had left to do: the output is complete\n", path);
    if (r && store_took_over(r->store)[0])
        text_addf(what, "%s\n", store_took_over(r->store));
    ok = r ? restart_over(r, what, err) : store_clean_lock(path, span, what, err);
    if (ok && !r)
        clean_lost_scratch(path, what);
    text_release(&nobody);
    resume_close(r);
    return ok;
}

bool resume_is_finished(const struct resume *r)
{
    return r->published;
}

void resume_plan(const struct resume *r, struct graph *g)
{
    const struct graph *frozen = &r->frozen.graph;
    struct scratch_layout scratch = frozen->scratch;

    scratch.path = r->scratch_file.inode ? r->scratch_path : g->scratch.path;
    scratch.span = g->scratch.span;
    scratch.limit_span = g->scratch.limit_span;
    scratch.limit_bytes = g->scratch.limit_bytes;
    scratch.give_back = scratch.give_back || g->scratch.give_back;
    g->scratch = scratch;
    g->stage_count = frozen->stage_count;
    memcpy(g->stages, frozen->stages, sizeof g->stages);
    for (unsigned i = 0; i < g->stage_count; i++)
        g->stages[i].span = g->target_span;
    g->pool_bytes = frozen->pool_bytes;
    g->plan_name = frozen->plan_name;
    g->predicted_seconds = frozen->predicted_seconds;
}

const char *resume_scratch_elsewhere(const struct resume *r, const char *path)
{
    struct text packed;
    bool same;

    if (!r->scratch_file.inode || !path)
        return NULL;
    text_init(&packed, sizeof r->scratch_path - 1);
    path_pack(path, &packed);
    same = packed.cut || strcmp(packed.chars, r->scratch_path) == 0;
    text_release(&packed);
    return same ? NULL : r->scratch_path;
}

/* ---- a run of ours ---- */

bool resume_new(struct resume **out, const struct graph *g, struct error *err)
{
    struct store *store;
    char note[512];
    int got;

    *out = NULL;
    owner_note(note, sizeof note);
    if (!store_stage(&store, g->target_path, g->overwrite, note, g->target_span, err))
        return false;
    die_at("after-stage");
    *out = resume_of(store, g->target_span, err);
    if (!*out)
        return false;
    got = journal_make(&(*out)->journal, store_root_fd(store));
    if (got >= 0)
        return true;
    store_abandon(store);
    resume_close(*out);
    *out = NULL;
    return error_sys(err, -got, g->target_span, "cannot make the journal of '%s'", g->target_path);
}

bool resume_is_empty(const struct resume *r)
{
    return r->records == 0;
}

bool resume_scratch(struct resume *r, const struct graph *g, struct scratch *s, struct report *report,
                    struct error *err)
{
    struct segment *segments = scratch_segment(s, 0);
    uint64_t end_offset = g->scratch.memory_bytes;

    if (!r->continues)
        return true;
    for (uint64_t i = 0; i < r->segment_count; i++)
        end_offset = size_max(end_offset, segments[i].index_offset + segments[i].index_bytes);
    if (r->scratch_file.inode &&
        !scratch_reopen(s, r->scratch_file.device, r->scratch_file.inode, end_offset, err)) {
        if (err->code != ERR_NONE)
            return false;
        r->scratch_gone = true;
        r->scratch_file = (struct store_place){ 0 };
    }
    /* When all is written it is meant to be gone. */
    if (r->scratch_gone && r->tasks_done[g->stage_count - 1] < grid_cells(&g->stages[g->stage_count - 1].tasks))
        report_note(report, "the scratch of the earlier run is gone: what it held is made again, finished chunks of the "
                    "output are kept (it was '%s')", r->scratch_path);
    if (r->scratch_file.inode == 0) {
        memset(segments, 0, r->segment_count * sizeof *segments);
        scratch_remove_leftover(r->scratch_path);   /* begun, but no segment of it was finished */
    }
    return true;
}

bool resume_publish(struct resume *r, struct error *err)
{
    struct store_place now;
    int got;

    if (r->replaced || r->published)
        journal_close(&r->journal);     /* nothing more to say, and some file systems cannot remove what is open */
    if (r->replaced || r->published)
        scratch_remove_leftover(r->scratch_path);   /* that run may not have been able to */
    if (r->replaced)
        return store_remove_replaced(r->store, err);
    if (r->published)
        return store_publish_end(r->store, &r->old, err);    /* not in doubt, or not to be taken back */
    if (r->committing && r->old.inode)
        store_was_replacing(r->store, &r->old);
    /* What stands there may be another one than when an earlier run was about to replace it; and without a rename that
     * exchanges, that run may have died with the old one moved aside. */
    got = store_place_of(r->store, &now);
    if (got < 0)
        return error_sys(err, -got, r->span, "cannot look at '%s'", store_path(r->store));
    if (!r->committing || (now.inode && now.inode != r->old.inode)) {
        r->old = now;
        die_at("before-committing");
        if (!resume_committing(r, err))
            return false;
    }
    journal_close(&r->journal);
    return store_publish(r->store, err);
}
