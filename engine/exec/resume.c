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

static uint64_t task_work_bytes(const struct graph *g, const struct stage *stage, uint64_t task)
{
    uint64_t coords[RANK_MAX];
    struct box box;

    walk_grid_coords(&stage->walk, &stage->tasks, task, coords);
    grid_cell_box(&stage->tasks, coords, &box);
    return 2 * box_elements(stage->tasks.rank, &box) * g->source->dtype.item_bytes;
}

uint64_t resume_work_bytes(const struct resume *r, const struct graph *g)
{
    bool needed = true;
    uint64_t bytes = 0;

    for (unsigned i = g->stage_count; i-- > 0; ) {
        const struct stage *stage = &g->stages[i];
        uint64_t tasks = grid_cells(&stage->tasks), done = 0, first = graph_segments_of(g, i);

        for (uint64_t task = 0; task < tasks; task++)
            if (!needed || (stage->sink == TO_SEGMENTS ? r->segments[stage_segment_number(stage, first, task)].complete
                                                       : task < r->tasks_done[i])) {
                bytes += task_work_bytes(g, stage, task);
                done++;
            }
        needed = done < tasks;
    }
    return bytes;
}

/* ---- reading the journal ---- */

/* What stands before the identity in the first record, and alone in those of later runs. */
static void run_pack(const struct resume *r, struct text *to)
{
    char boot[BOOT_BYTES];

    boot_now(boot);
    pack_text(to, boot);
    pack_number(to, r->durable);
    pack_number(to, r->scratch_gone);
    pack_text(to, r->scratch_path);
}

static void run_unpack(struct resume *r, struct unpack *u)
{
    bool durable, gone;

    unpack_text(u, r->boot, sizeof r->boot);
    durable = unpack_number_to(u, 1);
    gone = unpack_number_to(u, 1);
    unpack_text(u, r->scratch_path, sizeof r->scratch_path);
    r->was_durable = r->was_durable && durable;
    if (!u->bad && gone && r->segments)
        memset(r->segments, 0, r->segment_count * sizeof *r->segments);
    if (gone)
        r->scratch_file = (struct store_place){ 0 };
}

static bool root_is(const struct resume *r, uint64_t inode)
{
    struct stat st;

    return inode == OS_INODE_ANY || (os_fstat(store_root_fd(r->store), &st) >= 0 && st.st_ino == inode);
}

static void begun_unpack(struct resume *r, struct unpack *u, const struct graph *g, struct text *differences)
{
    r->begun_inode = unpack_number(u);
    run_unpack(r, u);
    if (!g || u->bad)
        return;
    identity_compare(u, g, differences);
    if (differences->length || u->bad)
        return;
    if (!plan_unpack(u, &g->source->chunks, &r->frozen)) {
        u->bad = true;
        return;
    }
    r->segment_count = graph_segments_of(&r->frozen.graph, r->frozen.graph.stage_count);
    r->segments = calloc(r->segment_count ? r->segment_count : 1, sizeof *r->segments);
    r->continues = r->segments != NULL;
}

static void segment_unpack(struct resume *r, struct unpack *u, bool lost)
{
    uint64_t number = unpack_number(u);
    struct segment s = { 0 };

    u->bad = u->bad || number >= r->segment_count;
    if (!lost) {
        s = (struct segment){ .data_offset = unpack_number(u), .complete = true, .in_file = true, .recorded = true };
        s.index_offset = unpack_number(u);
        s.index_bytes = unpack_number(u);
        unpack_numbers(u, s.needed_from_offset, SEGMENT_STEPS);
        s.index_sum = unpack_number(u);
        s.source_sum = unpack_number(u);
        r->scratch_file.device = unpack_number(u);
        r->scratch_file.inode = unpack_number(u);
        u->bad = u->bad || size_add_sat(s.index_offset, s.index_bytes) >= UINT64_C(1) << 56;
    }
    if (!u->bad)
        r->segments[number] = s;
}

static void tasks_unpack(struct resume *r, struct unpack *u, bool lost)
{
    unsigned stage = (unsigned)unpack_number_to(u, r->frozen.graph.stage_count - 1);
    uint64_t done = unpack_number_to(u, grid_cells(&r->frozen.graph.stages[stage].tasks));
    struct task_sums sums;

    sums.source = unpack_number(u);
    sums.objects = unpack_number(u);
    u->bad = u->bad || (!lost && done < r->tasks_done[stage]);
    if (u->bad)
        return;
    r->tasks_done[stage] = done;
    r->sums[stage] = sums;
}

static void record_unpack(struct resume *r, const struct record *record, struct unpack *u)
{
    switch (record->kind) {
    case RECORD_RESUMED:
        run_unpack(r, u);
        return;
    case RECORD_SEGMENT:
    case RECORD_SEGMENT_LOST:
        r->records++;
        if (r->continues)
            segment_unpack(r, u, record->kind == RECORD_SEGMENT_LOST);
        return;
    case RECORD_TASKS:
    case RECORD_TASKS_LOST:
        r->records++;
        if (r->continues)
            tasks_unpack(r, u, record->kind == RECORD_TASKS_LOST);
        return;
    case RECORD_COMMITTING:
        r->committing = true;
        r->old.device = unpack_number(u);
        r->old.inode = unpack_number(u);
        return;
    default:
        u->bad = true;
    }
}

/* Is it where it was begun? Or in what was replaced, for that to be removed? Else it is a copy, or was moved to another
 * file system, and is not gone on with. */
static void check_place(struct resume *r, struct text *differences)
{
    struct store_place now;

    if (root_is(r, r->begun_inode))
        return;
    r->replaced = r->committing && r->old.inode && root_is(r, r->old.inode) && store_place_of(r->store, &now) &&
                  now.inode == r->begun_inode;
    if (!r->replaced)
        text_add(differences, "it was copied or moved from another place\n");
}

enum loaded { LOADED, LOADED_NOTHING, LOADED_OTHER, LOADED_FOREIGN, LOADED_NOT };

/* All records. `g` NULL: only what is left where. LOADED_NOT: *sys_errno says why. */
static enum loaded load(struct resume *r, const struct graph *g, struct text *differences, int *sys_errno)
{
    enum journal_state state = journal_open(&r->journal, store_root_fd(r->store), sys_errno);
    char *buffer = malloc(RECORD_BYTES_MAX);
    enum loaded loaded = LOADED_NOTHING;
    struct record record;

    if (!buffer)
        *sys_errno = ENOMEM;
    if (!buffer || state != JOURNAL_WHOLE) {
        free(buffer);
        return !buffer || state == JOURNAL_UNREADABLE ? LOADED_NOT
               : state == JOURNAL_OTHER ? LOADED_OTHER : state == JOURNAL_FOREIGN ? LOADED_FOREIGN : LOADED_NOTHING;
    }
    r->was_durable = true;
    while (journal_next(&r->journal, buffer, &record, sys_errno)) {
        struct unpack u = { record.payload, record.bytes, false };

        if (loaded == LOADED_NOTHING && record.kind == RECORD_BEGUN)
            begun_unpack(r, &u, g, differences);
        else
            record_unpack(r, &record, &u);
        loaded = u.bad ? LOADED_OTHER : LOADED;
        if (u.bad)
            break;
    }
    free(buffer);
    if (loaded == LOADED)
        check_place(r, differences);
    return *sys_errno ? LOADED_NOT : loaded;
}

bool resume_is_same_boot(const struct resume *r)
{
    char boot[BOOT_BYTES];

    boot_now(boot);
    return boot[0] && strcmp(boot, r->boot) == 0;
}

/* Segments are worth nothing without their file. */
static void look_for_scratch(struct resume *r)
{
    struct stat st;

    if (!resume_is_same_boot(r))        /* devices may be numbered otherwise */
        r->scratch_file.device = 0;
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
    uint64_t scratch_bytes = r->scratch_path[0] ? scratch_remove_leftover(r->scratch_path) : 0;
    int got = r->committing ? store_put_back(r->store, &r->old) : 0;

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
    r->published = load(r, NULL, &ignored, &sys_errno) == LOADED && r->committing && ignored.length == 0;
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
    char line[256];

    error_at(err, ERR_EXISTS, r->span, "an unfinished run of '%s' %s", store_path(r->store), what);
    for (const char *at = differences->chars; *at; at += strcspn(at, "\n") + 1) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        error_note(err, "%s", line);
    }
    error_help(err, "start over with --restart, or remove what it left with: sluice clean %s", store_path(r->store));
    return false;
}

/* Go on with it, or say why not. *removed: it was not worth it. */
static bool take_up(struct resume *r, const struct graph *g, struct text *notes, bool *removed, struct error *err)
{
    struct text differences;
    enum loaded loaded;
    int sys_errno;
    bool ok = true;

    text_init(&differences, DIFFERENCES_BYTES_MAX);
    loaded = load(r, g, &differences, &sys_errno);
    *removed = loaded == LOADED_NOTHING;
    r->published = loaded == LOADED && r->replaced && r->continues && !differences.length;
    if (loaded == LOADED_NOTHING) {
        ok = remove_left(r, notes, err);
    } else if (loaded == LOADED_NOT) {
        ok = error_sys(err, sys_errno, r->span, "cannot read the journal of '%s.sluice-partial'", store_path(r->store));
    } else if (r->published) {
        journal_close(&r->journal);
    } else if (loaded == LOADED && r->replaced) {   /* of another request, but its target is complete */
        *removed = true;
        ok = store_remove_replaced(r->store, err);
    } else if (loaded == LOADED_FOREIGN) {
        ok = refuse(r, "belongs to another user, or others may write to its journal", &differences, err);
    } else if (differences.length) {
        ok = refuse(r, "was asked for something else", &differences, err);
    } else if (loaded == LOADED_OTHER || !r->continues) {
        ok = refuse(r, "has a journal that is damaged, or of another version", &differences, err);
    } else if ((sys_errno = journal_cut(&r->journal)) < 0) {
        ok = error_sys(err, -sys_errno, r->span, "cannot write the journal of '%s.sluice-partial'",
                       store_path(r->store));
    } else {
        look_for_scratch(r);
    }
    text_release(&differences);
    return ok;
}

/* For a run that starts over, whatever is left goes, read or not. */
static bool restart_over(struct resume *r, struct text *notes, struct error *err)
{
    struct text ignored;
    int sys_errno;

    if (r->published)
        return store_publish_end(r->store, &r->old, err);
    text_init(&ignored, DIFFERENCES_BYTES_MAX);
    load(r, NULL, &ignored, &sys_errno);
    text_release(&ignored);
    return remove_left(r, notes, err);
}

/* It published what was asked for now? Then the run is as good as done; else that one is brought to its end, and what
 * stands there is a target like any other. */
static bool end_published(struct resume **r, const struct graph *g, struct error *err)
{
    struct text differences;
    int sys_errno;
    bool same;

    text_init(&differences, DIFFERENCES_BYTES_MAX);
    journal_close(&(*r)->journal);
    same = load(*r, g, &differences, &sys_errno) == LOADED && differences.length == 0 && (*r)->continues;
    text_release(&differences);
    if (same)
        return true;
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
    if (restart) {
        ok = restart_over(r, notes, err);
    } else if (r->published) {
        ok = end_published(&r, g, err);
    } else {
        ok = take_up(r, g, notes, &removed, err);
    }
    text_release(&nobody);
    if (ok && !removed) {
        *out = r;
        return true;
    }
    resume_close(r);
    return ok;
}

bool resume_clean(const char *path, struct span span, struct text *what, struct error *err)
{
    struct text nobody;
    struct resume *r;
    bool ok;

    if (!find_left(&r, path, true, span, err))
        return false;
    text_init(&nobody, DIFFERENCES_BYTES_MAX);
    what = what ? what : &nobody;
    if (r && r->published)
        text_addf(what, "ended what an earlier run of '%s' had left to do: the output is complete\n", path);
    if (r && store_took_over(r->store)[0])
        text_addf(what, "%s\n", store_took_over(r->store));
    ok = r ? restart_over(r, what, err) : store_clean_lock(path, span, what, err);
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

/* One record. With durable, what it speaks of has been synced by now, and so is it. */
static bool append(struct resume *r, enum record_kind kind, struct text *payload, struct error *err)
{
    int got;

    die_at("before-record");
    got = journal_append(&r->journal, kind, payload);
    text_release(payload);
    if (got >= 0 && r->durable)
        got = os_fdatasync(r->journal.fd);
    if (got < 0)
        return error_sys(err, -got, r->span, "cannot write the journal of '%s'", store_path(r->store));
    die_at("after-record");
    return true;
}

static bool sync_root(const struct resume *r, struct error *err)
{
    int got = r->durable ? os_syncfs(store_root_fd(r->store)) : 0;

    return got >= 0 || error_sys(err, -got, r->span, "cannot write out the files of '%s'", store_path(r->store));
}

bool resume_begin(struct resume *r, const struct graph *g, struct error *err)
{
    struct stat st = { 0 };
    struct text payload, path;

    r->durable = g->durable;
    if (g->durable)
        store_make_durable(r->store);
    text_init(&payload, RECORD_BYTES_MAX);
    text_init(&path, sizeof r->scratch_path - 1);
    if (g->scratch.path)
        path_pack(g->scratch.path, &path);
    memcpy(r->scratch_path, path.chars, path.length + 1);
    text_release(&path);
    if (r->continues) {
        run_pack(r, &payload);
        return append(r, RECORD_RESUMED, &payload, err);
    }
    os_fstat(store_root_fd(r->store), &st);
    pack_number(&payload, os_lasting_inode(store_root_fd(r->store), &st));
    run_pack(r, &payload);
    identity_pack(g, &payload);
    plan_pack(g, &payload);
    die_at("before-header");
    if (!append(r, RECORD_BEGUN, &payload, err) || !sync_root(r, err))
        return false;
    die_at("after-header");
    r->segment_count = graph_segments_of(g, g->stage_count);
    return true;
}

bool resume_is_empty(const struct resume *r)
{
    return r->records == 0;
}

bool resume_scratch(struct resume *r, const struct graph *g, struct scratch *s, struct report *report,
                    struct error *err)
{
    uint64_t end_offset = g->scratch.memory_bytes;

    if (!r->continues)
        return true;
    for (uint64_t i = 0; i < r->segment_count; i++)
        end_offset = size_max(end_offset, r->segments[i].index_offset + r->segments[i].index_bytes);
    if (r->scratch_file.inode &&
        !scratch_reopen(s, r->scratch_file.device, r->scratch_file.inode, end_offset, err)) {
        if (err->code != ERR_NONE)
            return false;
        r->scratch_gone = true;
        r->scratch_file = (struct store_place){ 0 };
    }
    /* When all is written it is meant to be gone. */
    if (r->scratch_gone && r->tasks_done[g->stage_count - 1] < grid_cells(&g->stages[g->stage_count - 1].tasks))
        report_note(report, "the scratch file '%s' of the earlier run is gone: what it held is made again, finished "
                    "chunks of the output are kept", r->scratch_path);
    if (r->scratch_file.inode == 0) {
        memset(r->segments, 0, r->segment_count * sizeof *r->segments);
        scratch_remove_leftover(r->scratch_path);   /* begun, but no segment of it was finished */
    }
    for (uint64_t i = 0; i < r->segment_count; i++)
        *scratch_segment(s, i) = r->segments[i];
    free(r->segments);
    r->segments = NULL;
    return true;
}

/* ---- records ---- */

bool resume_segment(struct resume *r, uint64_t number, struct scratch *s, const struct segment *segment,
                    struct error *err)
{
    struct store_place file = { 0 };
    struct text payload;
    int got;

    if (!scratch_file(s, &file.device, &file.inode))
        return error_sys(err, EIO, r->span, "cannot look at the scratch file '%s'", scratch_layout(s)->path);
    /* The first time its name, too. */
    got = !r->durable ? 0 : r->scratch_synced ? os_fdatasync(scratch_fd(s)) : os_syncfs(scratch_fd(s));
    r->scratch_synced = true;
    if (got < 0)
        return error_sys(err, -got, r->span, "cannot write out the scratch file '%s'", scratch_layout(s)->path);
    text_init(&payload, RECORD_BYTES_MAX);
    pack_numbers(&payload, (uint64_t[]){ number, segment->data_offset, segment->index_offset, segment->index_bytes }, 4);
    pack_numbers(&payload, segment->needed_from_offset, SEGMENT_STEPS);
    pack_numbers(&payload, (uint64_t[]){ segment->index_sum, segment->source_sum, file.device, file.inode }, 4);
    r->records++;
    return append(r, RECORD_SEGMENT, &payload, err);
}

bool resume_segment_lost(struct resume *r, uint64_t number, struct error *err)
{
    struct text payload;

    text_init(&payload, RECORD_BYTES_MAX);
    pack_number(&payload, number);
    return append(r, RECORD_SEGMENT_LOST, &payload, err);
}

static bool append_tasks(struct resume *r, enum record_kind kind, unsigned stage, uint64_t done,
                         const struct task_sums *sums, struct error *err)
{
    struct text payload;

    text_init(&payload, RECORD_BYTES_MAX);
    pack_numbers(&payload, (uint64_t[]){ stage, done, sums->source, sums->objects }, 4);
    if (!append(r, kind, &payload, err))
        return false;
    r->tasks_done[stage] = done;
    r->sums[stage] = *sums;
    return true;
}

bool resume_tasks(struct resume *r, unsigned stage, uint64_t done, const struct task_sums *sums, struct error *err)
{
    r->records++;
    return sync_root(r, err) && append_tasks(r, RECORD_TASKS, stage, done, sums, err);
}

bool resume_tasks_lost(struct resume *r, unsigned stage, uint64_t done, const struct task_sums *sums,
                       struct error *err)
{
    return append_tasks(r, RECORD_TASKS_LOST, stage, done, sums, err);
}

bool resume_publish(struct resume *r, struct error *err)
{
    struct store_place now;
    struct text payload;

    if (r->replaced || r->published)
        journal_close(&r->journal);     /* nothing more to say, and some file systems cannot remove what is open */
    if (r->replaced)
        return store_remove_replaced(r->store, err);
    if (r->published)
        return store_publish_end(r->store, &r->old, err);
    if (r->committing && r->old.inode)
        store_was_replacing(r->store, &r->old);
    /* What stands there may be another one than when an earlier run was about to replace it; and without a rename that
     * exchanges, that run may have died with the old one moved aside. */
    if (!r->committing || (store_place_of(r->store, &now) && now.inode != r->old.inode)) {
        r->old = (struct store_place){ 0 };
        store_place_of(r->store, &r->old);
        die_at("before-committing");
        text_init(&payload, RECORD_BYTES_MAX);
        pack_numbers(&payload, (uint64_t[]){ r->old.device, r->old.inode }, 2);
        if (!sync_root(r, err) || !append(r, RECORD_COMMITTING, &payload, err))
            return false;
    }
    journal_close(&r->journal);
    return store_publish(r->store, err);
}
