/* The n-th call of the kernel fails, for all n, and the same graph is run again: it goes on, and the values are right. */
#include <fcntl.h>

#include "engine/exec/resume.h"

#include "engine/exec/slices.h"
#include "tests/unit/directory.h"
#include "tests/unit/graph_cases.h"

/* MEMORY_BYTES: of segments. They end within one, whose index is in the file. */
enum { RANK = 3, BLOCK_BYTES = 1024, MEMORY_BYTES = 6 * IO_ALIGN };
static const uint64_t shape[RANK] = { 24, 20, 33 }, from_chunk[RANK] = { 2, 20, 12 }, to_chunk[RANK] = { 24, 5, 8 },
                      long_chunk[RANK] = { 12, 20, 17 };

static struct directory directory;

enum kind { DIRECT, CARRIED, SPLIT, SPLIT_CARRIED, PASSES, RANGES, SLICES, KINDS };

static void fill_graph(enum kind kind, struct graph *g)
{
    static const uint64_t box[RANK] = { 24, 10, 8 }, along[RANK] = { 24, 20, 16 }, slab[RANK] = { 4, 20, 33 },
                          carried_slab[RANK] = { 5, 20, 33 }, super[RANK] = { 24, 20, 16 }, part[RANK] = { 24, 10, 8 };
    struct grid buckets = g->source->chunks, supers = g->source->chunks;
    struct stage *s = g->stages;
    unsigned workers = g->threads;

    memcpy(buckets.cell, part, sizeof part);
    memcpy(supers.cell, super, sizeof super);
    if (kind == SLICES) {
        static const uint64_t slice[RANK] = { 4, 20, 17 };

        s[g->stage_count++] = make_stage("direct", FROM_CHUNKS, TO_SLICES, slice, &g->target->chunks, g->source,
                                         g->target, NULL, BLOCK_BYTES, workers);
        s[0].parts = s[0].tasks;
        s[0].walk.group[0] = WALK_ALL;
        s[0].memory.append_bytes = slices_append_bytes(g->target);
        s[0].memory.tile_bytes = tile_bytes_max(TILE_WHOLE, 4, &s[0].parts, &s[0].tasks);
        s[0].memory.write_bytes = 2 * IO_ALIGN;
    } else if (kind == DIRECT || kind == CARRIED) {
        s[g->stage_count++] = make_stage("direct", FROM_CHUNKS, TO_CHUNKS, kind == CARRIED ? along : box,
                                         &g->target->chunks, g->source, g->target, NULL, BLOCK_BYTES, workers);
    } else {
        s[g->stage_count++] = make_stage("split", FROM_CHUNKS, TO_SEGMENTS, kind == SPLIT_CARRIED ? carried_slab : slab,
                                         kind == PASSES ? &supers : &buckets, g->source, g->target, NULL, BLOCK_BYTES,
                                         workers);
        if (kind == PASSES)
            s[g->stage_count++] = make_stage("pass", FROM_SEGMENTS, TO_SEGMENTS, slab, &buckets, g->source, g->target,
                                             &s[0], BLOCK_BYTES, workers);
        s[g->stage_count] = make_stage("merge", FROM_SEGMENTS, kind == RANGES ? TO_RANGES : TO_CHUNKS, part,
                                       &g->target->chunks, g->source, g->target, &s[g->stage_count - 1], BLOCK_BYTES,
                                       workers);
        g->stage_count++;
    }
    if (kind == PASSES) {               /* a pass lies in the cells of what was split before it */
        s[1].tasks.cell[2] = 16;
        s[1].memory.tile_bytes = tile_bytes_max(TILE_CLIPPED, 4, &s[1].parts, &s[1].tasks);
        s[1].memory.index_bytes = stage_index_bytes(&s[1], &s[0], 4, BLOCK_BYTES);
        s[2].memory.index_bytes = stage_index_bytes(&s[2], &s[1], 4, BLOCK_BYTES);
    }
    if (kind == CARRIED || kind == SPLIT_CARRIED) {
        s[0].carries = true;
        s[0].carry_axis = kind == CARRIED ? 2 : 0;
        s[0].walk.group[s[0].carry_axis] = WALK_ALL;
        s[0].memory.carry_bytes = stage_carry_bytes(&g->source->chunks, &s[0].tasks, s[0].carry_axis, 4);
    }
    sum_pool(g);
}

static bool run_once(enum kind kind, unsigned workers, enum io_backend backend, const struct os_faults *faults,
                     bool *hit, struct report *report)
{
    struct array_meta from = make_meta(RANK, shape, from_chunk, "none", false);
    struct array_meta to = make_meta(RANK, shape, kind == SLICES ? long_chunk : to_chunk,
                                     kind == RANGES ? "none" : kind == SLICES ? "blosc:lz4:5" : "zstd:1", false);
    struct graph g = { .source = &from, .target = &to, .target_path = directory_path(&directory, "target"),
                       .threads = workers, .backend = backend, .missing_chunks_max = UINT64_MAX };
    struct error err = { 0 };
    bool ok;

    CHECK(store_open(&g.source_store, directory_path(&directory, "source"), SPAN_NONE, &err));
    g.scratch = (struct scratch_layout){ .block_bytes = BLOCK_BYTES, .encoding = SPILL_LZ4, .give_back = true,
                                         .limit_bytes = 4 * MIB,
                                         .memory_bytes = kind == SPLIT || kind == SPLIT_CARRIED ? MEMORY_BYTES : 0,
                                         .path = directory_path(&directory, "t.sluice-scratch") };
    fill_graph(kind, &g);
    os_faults_set(faults);
    ok = graph_run(&g, report, NULL, &err);
    *hit = os_faults_hit() > 0;
    os_faults_set(NULL);
    CHECK(ok == (err.code == ERR_NONE));
    if (!ok && !faults)
        error_print(&err, stderr);
    CHECK(ok == directory_has(&directory, "target"));
    store_close(g.source_store);
    return ok;
}

static bool has_note(const struct report *report, const char *words)
{
    for (unsigned i = 0; report_note_text(report, i); i++)
        if (strstr(report_note_text(report, i), words))
            return true;
    return false;
}

/* Fail at every step-th call, go on, and fail once more half as far; then it must end well. */
static void fail_each(enum kind kind, enum io_backend backend, struct os_faults faults, unsigned step)
{
    struct array_meta from = make_meta(RANK, shape, from_chunk, "none", false);
    bool hit = true, again;

    write_source(directory_path(&directory, "source"), &from, UINT64_MAX);
    for (; hit && !test_failures_here; faults.first += step) {
        struct os_faults second = faults;
        struct report *report = report_new(&(struct report_options){ .progress = PROGRESS_NONE });

        second.first /= 2;
        if (!run_once(kind, 2, backend, &faults, &hit, report) && !run_once(kind, 1, backend, &second, &again, report))
            CHECK(run_once(kind, 3, backend, NULL, &again, report));
        CHECK(array_is_right(directory_path(&directory, "target"), NULL));
        CHECK(!directory_has(&directory, "target.sluice-partial") && !directory_has(&directory, "t.sluice-scratch"));
        CHECK(!directory_has(&directory, "target/.sluice-journal") && !directory_has(&directory, "target/.sluice-note"));
        CHECK(faults.kinds & OS_READ || !has_note(report, "was made again"));   /* nothing was spoilt */
        if (test_failures_here)
            fprintf(stderr, "kind %d, call %llu of kinds %x\n", kind, (unsigned long long)faults.first, faults.kinds);
        report_free(report);
        os_remove_tree(AT_FDCWD, directory_path(&directory, "target"));
    }
    os_remove_tree(AT_FDCWD, directory_path(&directory, "source"));
}

static void fail_all_kinds(struct os_faults faults, unsigned step)
{
    enum io_backend backend;

    for (unsigned b = 0; case_backend(b, &backend); b++)
        for (enum kind kind = DIRECT; kind < KINDS && !test_failures_here; kind++)
            fail_each(kind, backend, faults, step);
}

static void test_resume__ends_well_after_any_write_that_failed(void)
{
    fail_all_kinds((struct os_faults){ .kinds = OS_WRITE, .how = EIO }, 4);
}

static void test_resume__ends_well_after_any_read_that_failed(void)
{
    fail_all_kinds((struct os_faults){ .kinds = OS_READ, .how = EIO }, 11);
}

static void test_resume__ends_well_after_any_other_call_that_failed(void)
{
    fail_all_kinds((struct os_faults){ .kinds = OS_OPEN | OS_OPENAT2 | OS_MKDIR | OS_FALLOCATE | OS_TRUNCATE | OS_RENAME |
                                                OS_RENAMEAT2, .how = EIO }, 9);
}

/* Damage the n-th page of the scratch file that holds anything. False: there is none. */
static bool damage_page(unsigned n)
{
    int fd = open(directory_path(&directory, "t.sluice-scratch"), O_RDWR | O_CLOEXEC);
    char page[IO_ALIGN];
    bool done = false;

    for (off_t at = 0; fd >= 0 && !done && pread(fd, page, sizeof page, at) == sizeof page; at += IO_ALIGN) {
        bool holds = false;

        for (unsigned i = 0; i < IO_ALIGN; i++)
            holds = holds || page[i];
        if (!holds || n-- > 0)
            continue;
        memset(page, 0x5a, sizeof page);
        done = pwrite(fd, page, sizeof page, at) == sizeof page;
    }
    if (fd >= 0)
        close(fd);
    return done;
}

/* A run that found no room for the target: all passes are behind it, and what the last one read was given back. (Of another
 * failure everything would be read again, before any stage is at work.) */
static void test_resume__makes_a_damaged_slab_of_any_pass_again(void)
{
    struct array_meta from = make_meta(RANK, shape, from_chunk, "none", false);
    unsigned damaged = 0, of_a_pass = 0, of_the_first = 0;

    write_source(directory_path(&directory, "source"), &from, UINT64_MAX);
    for (unsigned call = 0; call < 400 && !test_failures_here; call += 3) {
        struct os_faults faults = { .kinds = OS_WRITE, .how = ENOSPC, .first = call };
        struct report *report = report_new(&(struct report_options){ .progress = PROGRESS_NONE });
        bool hit;

        if (!run_once(PASSES, 2, IO_THREADS, &faults, &hit, report) && damage_page(call % 7)) {
            CHECK(run_once(PASSES, 2, IO_THREADS, NULL, &hit, report));
            damaged++;
            of_a_pass += has_note(report, "of stage 'pass' was made again");
            of_the_first += has_note(report, "of stage 'split' was made again");
        }
        report_free(report);
        if (!directory_has(&directory, "target"))
            CHECK(run_once(PASSES, 2, IO_THREADS, NULL, &hit, NULL));
        CHECK(array_is_right(directory_path(&directory, "target"), NULL));
        CHECK(!directory_has(&directory, "target.sluice-partial") && !directory_has(&directory, "t.sluice-scratch"));
        os_remove_tree(AT_FDCWD, directory_path(&directory, "target"));
    }
    CHECK(damaged > 5 && of_a_pass > 0 && of_the_first > 0);
    os_remove_tree(AT_FDCWD, directory_path(&directory, "source"));
}

int main(void)
{
    directory = directory_new();
    RUN(test_resume__ends_well_after_any_write_that_failed);
    RUN(test_resume__ends_well_after_any_read_that_failed);
    RUN(test_resume__ends_well_after_any_other_call_that_failed);
    RUN(test_resume__makes_a_damaged_slab_of_any_pass_again);
    directory_remove(&directory);
    return test_summary();
}
