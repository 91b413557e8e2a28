/* recheck.c - before a run is gone on with: is what the journal says still so?
 *
 * Always: the source's objects (sources.c).
 *
 * After another boot, or on a file system that was mounted anew since, unless every run until now was durable: the kernel may
 * not have written out what it had taken. And after a sync, a close or a write that failed, always: what of all that was
 * written is lost the kernel does not say. Then all of it is read again: segments by their checksums, objects of the target
 * by their hash or (written.h) what was summed while they were written. What is wrong is done again: a slab; of the target,
 * what was recorded with it and after it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/size.h"
#include "engine/exec/proof.h"
#include "engine/exec/resuming.h"
#include "engine/exec/written.h"
#include "engine/io/os.h"

#define READ_BYTES (256 * KIB)

/* What stands in memory of the scratch file: offsets in the file, of IO_ALIGN. */
struct window {
    char *memory;
    uint64_t memory_bytes;
    uint64_t from_offset, to_offset;
};

enum { INDEX_WINDOW_BYTES = 4 * IO_ALIGN };

struct check {
    struct resume *resume;
    const struct graph *graph;
    struct scratch *scratch;
    struct report *report;
    const volatile int *stop;
    const char *lost_when;
    int root_fd;                    /* of the target, or of where it is staged */
    char *memory;                   /* of memory_bytes, IO_ALIGN aligned */
    uint64_t memory_bytes;
    struct window index, blocks;    /* of it, when objects of the target, which take all of it, have been read */
    struct digest written;          /* of what is read of the target (written.h) */
    uint64_t *listed;               /* graph_list_tasks */
    uint64_t listed_count;
};

static bool go_on(const struct check *c, struct error *err)
{
    int number = stop_asked(c->stop);

    return number == 0 || error_stopped(err, number);
}

static void task_box(const struct stage *stage, uint64_t task, struct box *box)
{
    uint64_t coords[RANK_MAX];

    walk_grid_coords(&stage->walk, &stage->tasks, task, coords);
    grid_cell_box(&stage->tasks, coords, box);
}

/* Does the chunk's first element lie in the box: is it the first task's that touches the chunk? */
static bool begins_within(const struct grid *chunks, const uint64_t *coords, const struct box *box)
{
    for (unsigned i = 0; i < chunks->rank; i++)
        if (coords[i] * chunks->cell[i] < box->start[i])
            return false;
    return true;
}

/* ---- segments ---- */

static bool window_read(const struct check *c, struct window *w, uint64_t from, uint64_t to)
{
    bool ok = os_pread_all(scratch_fd(c->scratch), w->memory, to - from, from) >= 0;

    w->from_offset = from;
    w->to_offset = ok ? to : from;
    return ok;
}

/* Bytes of a segment's part of the scratch file, which are mostly asked for from front to back; NULL: they cannot be read. */
static const char *scratch_bytes_at(const struct check *c, struct window *w, const struct segment *s, uint64_t offset,
                                    uint64_t bytes)
{
    uint64_t at = scratch_file_offset(c->scratch, offset), from = size_align_down(at, IO_ALIGN);
    uint64_t to = size_align_up(at + bytes, IO_ALIGN);
    uint64_t end = size_align_up(scratch_file_offset(c->scratch, s->index_offset + s->index_bytes), IO_ALIGN);

    if (to - from > w->memory_bytes)
        return NULL;
    /* As much as there is room for; if some of that cannot be read, only what is asked for. */
    if ((from < w->from_offset || to > w->to_offset) &&
        !window_read(c, w, from, size_max(to, size_min(end, from + w->memory_bytes))) && !window_read(c, w, from, to))
        return NULL;
    return w->memory + (at - w->from_offset);
}

/* All blocks that are still needed. */
static bool blocks_are_good(struct check *c, uint64_t number, const struct segment *s, uint64_t needed_offset)
{
    uint64_t entries = s->index_bytes / sizeof(struct index_entry);

    for (uint64_t i = 0; i < entries; i++) {
        uint64_t offset = s->index_offset + i * sizeof(struct index_entry);
        struct index_entry entry;
        const char *bytes = scratch_bytes_at(c, &c->index, s, offset, sizeof entry);

        if (!bytes)
            return false;
        memcpy(&entry, bytes, sizeof entry);
        if (entry.bytes == 0 || entry_offset(&entry) < needed_offset)
            continue;
        if (entry_offset(&entry) + entry.bytes > s->index_offset)
            return false;
        bytes = scratch_bytes_at(c, &c->blocks, s, entry_offset(&entry), entry.bytes);
        if (!bytes || scratch_checksum(bytes, entry.bytes, number, i, entry_encoding(&entry)) != entry.checksum)
            return false;
    }
    return true;
}

static bool index_is_good(struct check *c, const struct segment *s)
{
    XXH3_state_t state;

    XXH3_64bits_reset(&state);
    for (uint64_t done = 0; done < s->index_bytes; ) {
        uint64_t bytes = size_min(s->index_bytes - done, c->index.memory_bytes - IO_ALIGN);
        const char *at = scratch_bytes_at(c, &c->index, s, s->index_offset + done, bytes);

        if (!at || bytes == 0)
            return false;
        XXH3_64bits_update(&state, at, bytes);
        done += bytes;
    }
    return XXH3_64bits_digest(&state) == s->index_sum;
}

/* How many tasks of a stage are done, from the first on. */
static uint64_t tasks_done(const struct check *c, unsigned number)
{
    const struct stage *stage = &c->graph->stages[number];
    uint64_t tasks = grid_cells(&stage->tasks), first = graph_segments_of(c->graph, number), done = 0;

    if (stage->sink != TO_SEGMENTS)
        return c->resume->tasks_done[number];
    while (done < tasks && scratch_segment(c->scratch, stage_segment_number(stage, first, done))->complete)
        done++;
    return done;
}

static bool check_segments(struct check *c, unsigned number, struct error *err)
{
    uint64_t tasks_next = grid_cells(&c->graph->stages[number + 1].tasks), done_next = tasks_done(c, number + 1);
    uint64_t first = graph_segments_of(c->graph, number), tasks = grid_cells(&c->graph->stages[number].tasks), step;

    if (done_next == tasks_next)
        return true;                /* nothing of them is needed */
    step = done_next / segment_step_tasks(tasks_next);
    for (uint64_t i = first; i < first + tasks; i++) {
        struct segment *s = scratch_segment(c->scratch, i);

        if (!s->complete || s->needed_from_offset[step] == s->index_offset)
            continue;
        if (!go_on(c, err))
            return false;
        if (index_is_good(c, s) && blocks_are_good(c, i, s, s->needed_from_offset[step]))
            continue;
        report_note(c->report, "slab %llu was lost %s: it was made again", (unsigned long long)(i - first), c->lost_when);
        *s = (struct segment){ 0 };
        if (!resume_segment_lost(c->resume, i, err))
            return false;
    }
    return true;
}

/* ---- objects of the target ---- */

/* An object to be read, and its length; negative: there is none, or it cannot be read. */
static int open_object(const struct check *c, const char *key, uint64_t *bytes)
{
    int fd = os_open_beneath(c->root_fd, key, O_RDONLY, 0);
    struct stat st;

    if (fd >= 0 && os_fstat(fd, &st) < 0) {
        os_close(fd);
        return -EIO;
    }
    *bytes = fd < 0 ? 0 : (uint64_t)st.st_size;
    if (fd >= 0)
        os_drop_cached(fd, 0, 0);
    return fd;
}

/* The hash of an object as object_hash makes it, or (TO_SLICES) its sum; 0: there is none, or it cannot be read. */
static uint64_t hash_object(struct check *c, enum stage_sink sink, const char *key)
{
    uint64_t bytes, done = 0, sum;
    int fd = open_object(c, key, &bytes);
    XXH3_state_t state;
    int64_t got = 0;

    if (fd < 0)
        return 0;
    XXH3_64bits_reset_withSeed(&state, XXH3_64bits_withSeed(key, strlen(key), bytes));
    while ((got = os_pread_some(fd, c->memory, c->memory_bytes, done)) > 0) {
        if (sink == TO_SLICES)
            written_bytes_add(&c->written, done, c->memory, (uint64_t)got);
        else
            XXH3_64bits_update(&state, c->memory, (uint64_t)got);
        done += (uint64_t)got;
    }
    os_close(fd);
    sum = sink == TO_SLICES ? written_bytes_take(&c->written, key, done) : XXH3_64bits_digest(&state);
    return got < 0 ? 0 : sum;
}

/* Add the values that an object holds of `within`. False: it cannot be read. */
static bool add_values(struct check *c, int fd, const uint64_t *coords, const struct box *within)
{
    const struct array_meta *target = c->graph->target;
    uint32_t item_bytes = target->dtype.item_bytes, swap_bytes = dtype_swap_bytes(target->dtype);
    uint64_t items = array_chunk_bytes(target) / item_bytes, window_items = c->memory_bytes / item_bytes;
    struct run run = { .order = target->codecs.order, .data = c->memory };

    for (unsigned i = 0; i < target->chunks.rank; i++) {
        run.piece.start[i] = coords[i] * target->chunks.cell[i];
        run.piece.length[i] = target->chunks.cell[i];
    }
    while ((run.first = box_next_within(target->chunks.rank, &run.piece, run.order, within, run.first)) != UINT64_MAX) {
        run.count = size_min(window_items, items - run.first);
        if (os_pread_all(fd, c->memory, run.count * item_bytes, run.first * item_bytes) < 0)
            return false;
        if (target->codecs.big_endian && swap_bytes > 1)
            dtype_swap(c->memory, run.count * item_bytes, swap_bytes);
        digest_run(&c->written, &run, within);
        run.first += run.count;
        if (run.first == items)
            break;
    }
    return true;
}

/* What hangs over the array was filled when the chunk was made: with nothing that adds to a sum. */
static bool add_overhang(struct check *c, int fd, const uint64_t *coords)
{
    const struct grid *chunks = &c->graph->target->chunks;
    struct box beyond;

    for (unsigned i = 0; i < chunks->rank; i++) {
        beyond.start[i] = coords[i] * chunks->cell[i];
        beyond.length[i] = chunks->cell[i];
    }
    for (unsigned i = 0; i < chunks->rank; i++) {
        uint64_t end = beyond.start[i] + chunks->cell[i];

        if (end <= chunks->shape[i])
            continue;
        beyond.start[i] = chunks->shape[i];
        beyond.length[i] = end - chunks->shape[i];
        if (!add_values(c, fd, coords, &beyond))
            return false;
        beyond.start[i] = coords[i] * chunks->cell[i];      /* the next axis: only beside this one */
        beyond.length[i] = chunks->shape[i] - beyond.start[i];
    }
    return true;
}

/* What a task wrote of the chunk at `coords`, from where it lies. */
static uint64_t sum_part(struct check *c, const uint64_t *coords, const struct box *box)
{
    const struct array_meta *target = c->graph->target;
    struct chunk_place place;
    uint64_t bytes;
    int fd;
    bool ok;

    array_chunk_place(target, coords, &place);
    fd = open_object(c, place.key, &bytes);
    if (fd == -ENOENT)              /* it holds the fill value, which adds nothing; a 1 makes any sum wrong */
        return c->graph->write_empty_chunks || target->fill_undefined;
    if (fd < 0)
        return 1;
    ok = bytes == array_chunk_bytes(target) && add_values(c, fd, coords, box);
    if (ok && begins_within(&target->chunks, coords, box))
        ok = add_overhang(c, fd, coords);
    os_close(fd);
    return written_values_take(&c->written) + !ok;
}

/* Chunks are counted to the task that wrote the last of them. */
static bool ends_within(const struct grid *chunks, const uint64_t *coords, const struct box *box)
{
    struct box chunk;

    grid_cell_box(chunks, coords, &chunk);
    for (unsigned i = 0; i < chunks->rank; i++)
        if (chunk.start[i] + chunk.length[i] > box->start[i] + box->length[i])
            return false;
    return true;
}

/* What the task added to the sum over the target's objects, if all is still there. */
static uint64_t sum_task(struct check *c, unsigned number, uint64_t task)
{
    const struct stage *stage = &c->graph->stages[number];
    const struct grid *chunks = &c->graph->target->chunks;
    uint64_t count, sum = 0;
    struct cell_range cells;
    struct box box;

    task_box(stage, task, &box);
    grid_cells_touched(chunks, &box, &cells);
    count = cell_range_cells(chunks->rank, &cells);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t coords[RANK_MAX];
        struct chunk_place place;

        cell_range_coords(chunks->rank, &cells, i, coords);
        array_chunk_place(c->graph->target, coords, &place);
        if (stage->sink == TO_RANGES)
            sum += sum_part(c, coords, &box);
        else if (ends_within(chunks, coords, &box))
            sum += hash_object(c, stage->sink, place.key);
    }
    return sum;
}

/* The first from `task` on that can have written anything. */
static uint64_t next_task(const struct check *c, uint64_t task)
{
    const struct chunk_list listed = { c->listed, c->listed_count };

    return c->listed ? chunk_list_next(&listed, task) : task;
}

/* How far what the journal says of the stage is true. */
struct good {
    uint64_t done;
    struct task_sums sums;
};

static bool read_again(struct check *c, unsigned number, struct journal *j, char *buffer, struct good *good,
                       struct error *err)
{
    struct task_sums sums;
    struct record record;
    int sys_errno;

    while (journal_next(j, buffer, &record, &sys_errno)) {
        struct unpack u = { record.payload, record.bytes, false };
        uint64_t stage, done, objects = good->sums.objects;

        if (record.kind != RECORD_TASKS && record.kind != RECORD_TASKS_LOST)
            continue;
        stage = unpack_number(&u);
        done = unpack_number(&u);
        sums.source = unpack_number(&u);
        sums.objects = unpack_number(&u);
        if (stage != number)
            continue;
        if (record.kind == RECORD_TASKS_LOST) {     /* an earlier check ended there, and it went on from there */
            *good = (struct good){ done, sums };
            continue;
        }
        for (uint64_t task = next_task(c, good->done); task < done; task = next_task(c, task + 1)) {
            if (!go_on(c, err))
                return false;
            objects += sum_task(c, number, task);
        }
        if (objects != sums.objects)
            return true;
        *good = (struct good){ done, sums };
    }
    return true;
}

/* Reads all that the stage is said to have written. */
static bool find_good(struct check *c, unsigned number, struct good *good, struct error *err)
{
    enum stage_sink sink = c->graph->stages[number].sink;
    struct journal again = c->resume->journal;
    char *buffer;
    bool ok;

    *good = (struct good){ 0 };
    if (c->resume->tasks_done[number] == 0)
        return true;
    if (!graph_list_tasks(c->graph, &c->listed, &c->listed_count, err))
        return false;
    buffer = malloc(RECORD_BYTES_MAX);
    ok = buffer || error_sys(err, ENOMEM, c->resume->span, "reading the journal again");
    ok = ok && (sink == TO_RANGES ? written_values_init(&c->written, c->graph->target, err)
                                  : written_bytes_init(&c->written, err));
    journal_rewind(&again);
    ok = ok && read_again(c, number, &again, buffer, good, err);
    digest_release(&c->written);
    free(buffer);
    free(c->listed);
    c->listed = NULL;
    return ok;
}

static bool check_objects(struct check *c, unsigned number, struct error *err)
{
    struct good good;

    if (!find_good(c, number, &good, err))
        return false;
    if (good.done < c->resume->tasks_done[number]) {
        report_note(c->report, "some of the output was lost %s: it was made again", c->lost_when);
        if (!resume_tasks_lost(c->resume, number, good.done, &good.sums, err))
            return false;
    }
    return true;
}

/* ---- all of it ---- */

/* What a failed sync left in memory only is not to be taken for what is on the disk. */
static bool sync_all(const struct check *c, struct error *err)
{
    int scratch = c->scratch ? scratch_fd(c->scratch) : -1, got = os_syncfs(store_root_fd(c->resume->store));

    if (got >= 0 && scratch >= 0) {
        got = os_fdatasync(scratch);
        os_drop_cached(scratch, 0, 0);
    }
    return got >= 0 || error_sys(err, -got, c->resume->span, "cannot write out what an earlier run of '%s' left",
                                 store_path(c->resume->store));
}

/* What the page cache has of it, as open_object does with chunks. */
static void drop_metadata(const struct check *c)
{
    static const char *const keys[] = { ".zarray", ".zattrs", "zarr.json" };

    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint64_t bytes;
        int fd = open_object(c, keys[i], &bytes);

        if (fd >= 0)
            os_close(fd);
    }
}

static void note_read_again(const struct check *c)
{
    report_note(c->report, "what an earlier run had done was read again: some of it could have gone %s", c->lost_when);
}

bool resume_check(struct resume *r, const struct graph *g, struct scratch *s, struct pool *pool,
                  struct report *report, const volatile int *stop, struct error *err)
{
    struct check c = { .resume = r, .graph = g, .scratch = s, .report = report, .stop = stop,
                       .root_fd = store_root_fd(r->store) };

    if (s && !resume_scratch(r, g, s, report, err))
        return false;
    c.lost_when = resume_lost_when(r);
    if (!c.lost_when)
        return true;
    if (r->doubted && !sync_all(&c, err))
        return false;
    c.memory_bytes = size_align_up(size_max(READ_BYTES, spill_encoded_bytes_max(g->scratch.block_bytes)), IO_ALIGN) +
                     2 * IO_ALIGN + INDEX_WINDOW_BYTES;
    c.memory_bytes = size_min(c.memory_bytes, size_align_down(pool_bytes(pool) - g->scratch.memory_bytes, IO_ALIGN));
    c.memory = pool_carve(pool, "reading again", c.memory_bytes);
    c.index = (struct window){ .memory = c.memory, .memory_bytes = size_min(INDEX_WINDOW_BYTES, c.memory_bytes) };
    c.blocks = (struct window){ .memory = c.memory + c.index.memory_bytes,
                                .memory_bytes = c.memory_bytes - c.index.memory_bytes };
    for (unsigned i = g->stage_count; i-- > 0; )     /* which segments are needed depends on what comes after them */
        if (!(g->stages[i].sink == TO_SEGMENTS ? check_segments(&c, i, err) : check_objects(&c, i, err)))
            return false;
    note_read_again(&c);
    return true;
}

/* ---- what has its name already ---- */

/* It cannot be taken back: what it replaced may be half gone. So all is left as it stands. */
static bool lost_published(const struct check *c, const struct good *good, struct error *err)
{
    const struct stage *last = &c->graph->stages[c->graph->stage_count - 1];
    const char *path = store_path(c->resume->store);
    char old[PATH_MAX], from[256] = "";
    struct stat st;
    struct box box;

    task_box(last, good->done, &box);
    for (unsigned i = 0, at = 0; i < last->tasks.rank && at < sizeof from; i++)
        at += (unsigned)snprintf(from + at, sizeof from - at, "%s%llu", i ? ", " : "", (unsigned long long)box.start[i]);
    error_at(err, ERR_IO, c->resume->span, "'%s' has its name, but not all of its data: some was lost %s; from (%s) on it "
             "is not what it was", path, c->lost_when, from);
    snprintf(old, sizeof old, "%s" STAGING_SUFFIX, path);
    if (os_fstatat(AT_FDCWD, old, &st, AT_SYMLINK_NOFOLLOW) < 0)
        snprintf(old, sizeof old, "%s.sluice-aside", path);
    if (c->resume->old.inode && os_fstatat(AT_FDCWD, old, &st, AT_SYMLINK_NOFOLLOW) >= 0)
        error_note(err, "what it replaced is still there, or some of it: '%s'", old);
    error_help(err, "make it anew with --restart and --overwrite, which remove both; what is worth keeping move away before");
    return false;
}

bool resume_check_published(struct resume *r, const struct graph *g, struct report *report, const volatile int *stop,
                            struct error *err)
{
    struct check c = { .resume = r, .graph = g, .report = report, .stop = stop };
    unsigned last = g->stage_count - 1;
    struct store *target = NULL;
    struct pool *pool = NULL;
    struct good good;
    bool ok;

    c.lost_when = resume_lost_when(r);
    if (!c.lost_when)
        return true;
    if (r->doubted && !sync_all(&c, err))
        return false;
    c.memory_bytes = size_min(READ_BYTES, size_align_down(g->pool_bytes, IO_ALIGN));
    ok = store_open(&target, store_path(r->store), r->span, err);
    if (ok) {
        c.root_fd = store_root_fd(target);
        drop_metadata(&c);
    }
    ok = ok && proof_of_metadata(g, target, err) && pool_open(&pool, c.memory_bytes, err);
    if (ok) {
        c.memory = pool_carve(pool, "reading again", c.memory_bytes);
        ok = find_good(&c, last, &good, err) && (good.done == r->tasks_done[last] || lost_published(&c, &good, err));
    }
    if (ok)
        note_read_again(&c);
    pool_close(pool);
    store_close(target);
    return ok;
}
