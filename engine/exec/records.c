/* records.c - what the records of a journal hold: appended by a run at work, read by one that goes on with it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/die.h"
#include "engine/base/size.h"
#include "engine/exec/resuming.h"
#include "engine/io/os.h"

/* ---- reading ---- */

static void run_unpack(struct resume *r, struct unpack *u)
{
    bool durable, gone;

    unpack_text(u, r->boot, sizeof r->boot);
    durable = unpack_number_to(u, 1);
    gone = unpack_number_to(u, 1);
    unpack_text(u, r->scratch_path, sizeof r->scratch_path);
    r->mounts.root = unpack_number(u);
    r->mounts.scratch = unpack_number(u);
    r->was_durable = r->was_durable && durable;
    r->doubted = false;
    if (!u->bad && gone && r->segments)
        memset(r->segments, 0, r->segment_count * sizeof *r->segments);
    if (gone)
        r->scratch_file = (struct store_place){ 0 };
}

static void begun_unpack(struct resume *r, struct unpack *u, const struct graph *g, struct text *differences)
{
    r->begun_inode = unpack_number(u);
    run_unpack(r, u);
    if (!g || u->bad)
        return;
    identity_compare(u, g, differences);
    if (differences->length || differences->no_memory || u->bad)
        return;
    if (!plan_unpack(u, &g->source->chunks, &r->frozen)) {
        u->bad = true;
        return;
    }
    r->segment_count = graph_segments_of(&r->frozen.graph, r->frozen.graph.stage_count);
    r->segments = calloc(r->segment_count ? r->segment_count : 1, sizeof *r->segments);
    r->continues = r->segments != NULL;
    differences->no_memory = !r->segments;
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

static void distrust(struct resume *r)
{
    r->boot[0] = '\0';
    r->was_durable = false;
    r->doubted = true;
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
    case RECORD_DOUBT:
        distrust(r);
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
static void check_place(struct resume *r, struct text *differences, int *sys_errno)
{
    struct store_place now;
    struct stat st;
    int got = os_fstat(store_root_fd(r->store), &st);

    if (got < 0)
        *sys_errno = -got;
    if (got < 0 || r->begun_inode == OS_INODE_ANY || st.st_ino == r->begun_inode)
        return;
    got = store_place_of(r->store, &now);
    if (got < 0)
        *sys_errno = -got;
    r->replaced = r->committing && r->old.inode && (r->old.inode == OS_INODE_ANY || st.st_ino == r->old.inode) &&
                  now.inode == r->begun_inode;
    if (!r->replaced && got >= 0)
        text_add(differences, "it was copied or moved from another place\n");
}

enum loaded resume_load(struct resume *r, const struct graph *g, struct text *differences, int *sys_errno)
{
    enum journal_state state = journal_open(&r->journal, store_root_fd(r->store), sys_errno);
    char *buffer = malloc(RECORD_BYTES_MAX);
    enum loaded loaded = LOADED_NOTHING;
    struct record record;
    struct stat st;

    if (!buffer)
        *sys_errno = ENOMEM;
    if (!buffer || state != JOURNAL_WHOLE) {
        free(buffer);
        return !buffer || state == JOURNAL_UNREADABLE ? LOADED_NOT
               : state == JOURNAL_OTHER ? LOADED_OTHER : state == JOURNAL_FOREIGN ? LOADED_FOREIGN : LOADED_NOTHING;
    }
    r->was_durable = true;
    while (loaded != LOADED_OTHER && journal_next(&r->journal, buffer, &record, sys_errno)) {
        struct unpack u = { record.payload, record.bytes, false };

        if (loaded == LOADED_NOTHING && record.kind == RECORD_BEGUN)
            begun_unpack(r, &u, g, differences);
        else
            record_unpack(r, &record, &u);
        loaded = u.bad ? LOADED_OTHER : LOADED;
    }
    free(buffer);
    if (os_fstatat(store_root_fd(r->store), STAGING_DOUBT, &st, AT_SYMLINK_NOFOLLOW) != -ENOENT)
        distrust(r);
    if (!resume_devices_last(r))
        r->old.device = r->scratch_file.device = 0;
    if (loaded == LOADED)
        check_place(r, differences, sys_errno);
    if (differences->no_memory)
        *sys_errno = ENOMEM;
    return *sys_errno ? LOADED_NOT : loaded;
}

/* ---- appending ---- */

/* What stands before the identity in the first record, and alone in those of later runs. */
static void run_pack(const struct resume *r, struct text *to)
{
    struct mounts mounts = resume_mounts(r);
    char boot[BOOT_BYTES];

    boot_now(boot);
    pack_text(to, boot);
    pack_number(to, r->durable);
    pack_number(to, r->scratch_gone);
    pack_text(to, r->scratch_path);
    pack_numbers(to, (uint64_t[]){ mounts.root, mounts.scratch }, 2);
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

/* All of it was read again. */
static bool doubt_ends(const struct resume *r, struct error *err)
{
    int got = os_unlinkat(store_root_fd(r->store), STAGING_DOUBT, 0);

    return got >= 0 || got == -ENOENT || error_sys(err, -got, r->span, "cannot remove '%s' from what an earlier run of "
                                                   "'%s' left", STAGING_DOUBT, store_path(r->store));
}

bool resume_begin(struct resume *r, const struct graph *g, struct error *err)
{
    struct stat st;
    struct text payload, path;
    int got = os_fstat(store_root_fd(r->store), &st);

    if (got < 0)
        return error_sys(err, -got, r->span, "cannot look at '%s.sluice-partial'", store_path(r->store));
    r->durable = g->durable;
    if (g->durable)
        store_make_durable(r->store);
    text_init(&payload, RECORD_BYTES_MAX);
    text_init(&path, sizeof r->scratch_path - 1);
    if (g->scratch.path)
        path_pack(g->scratch.path, &path);
    memcpy(r->scratch_path, path.chars, path.length + 1);
    payload.cut = path.no_memory;       /* not a word of it is written */
    text_release(&path);
    if (r->continues) {
        run_pack(r, &payload);
        return append(r, RECORD_RESUMED, &payload, err) && doubt_ends(r, err);
    }
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

bool resume_segment(struct resume *r, uint64_t number, struct scratch *s, const struct segment *segment,
                    struct error *err)
{
    struct store_place file = { 0 };
    struct text payload;
    int got = scratch_file(s, &file.device, &file.inode);

    if (got < 0)
        return error_sys(err, -got, r->span, "cannot look at the scratch file '%s'", scratch_layout(s)->path);
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

bool resume_doubt(struct resume *r)
{
    int got = journal_reopen(&r->journal, store_root_fd(r->store));
    struct text nothing;

    text_init(&nothing, 0);
    if (got >= 0)
        got = journal_cut(&r->journal);     /* the record that failed may be there by half */
    if (got >= 0)
        got = journal_append(&r->journal, RECORD_DOUBT, &nothing);
    text_release(&nothing);
    if (got >= 0) {
        os_fdatasync(r->journal.fd);        /* if that fails, too, it still holds for this boot */
        return true;
    }
    /* An empty file takes no write. */
    got = os_openat(store_root_fd(r->store), STAGING_DOUBT, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
    if (got >= 0) {
        os_close(got);
        return true;
    }
    return false;
}

bool resume_committing(struct resume *r, struct error *err)
{
    struct text payload;

    if (!sync_root(r, err))
        return false;
    text_init(&payload, RECORD_BYTES_MAX);
    pack_numbers(&payload, (uint64_t[]){ r->old.device, r->old.inode }, 2);
    return append(r, RECORD_COMMITTING, &payload, err);
}
