/* Further passes: splits whose source is segments, of any shape and in any walk. Values by a formula. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "engine/exec/resume.h"
#include "tests/unit/directory.h"
#include "tests/unit/graph_cases.h"

enum { RANK = 3, BLOCK_BYTES = 1024 };
static const uint64_t shape[RANK] = { 40, 34, 55 }, from_chunk[RANK] = { 2, 34, 20 }, to_chunk[RANK] = { 40, 5, 8 };

/* The boxes of each split and what it cuts them into; the tasks of the merge are the last parts. */
struct plan {
    const char *what;
    unsigned splits;
    uint64_t tasks[3][RANK], parts[3][RANK];
};

static const struct plan plans[] = {
    { "slabs of whole slabs", 2, { { 4, 34, 55 }, { 12, 20, 24 } }, { { 40, 20, 24 }, { 40, 10, 8 } } },
    { "slabs that cut slabs and super-buckets", 2, { { 4, 34, 55 }, { 7, 10, 24 } }, { { 40, 20, 24 }, { 40, 5, 16 } } },
    { "buckets across super-buckets", 2, { { 6, 34, 40 }, { 13, 20, 12 } }, { { 40, 20, 12 }, { 40, 15, 16 } } },
    { "three splits", 3, { { 2, 34, 55 }, { 8, 20, 48 }, { 24, 20, 24 } },
                         { { 40, 20, 48 }, { 40, 20, 24 }, { 40, 5, 8 } } },
    { "three splits that do not nest", 3, { { 4, 34, 40 }, { 9, 10, 24 }, { 16, 5, 12 } },
                                          { { 40, 20, 48 }, { 32, 10, 12 }, { 40, 10, 16 } } },
};
enum { PLANS = sizeof plans / sizeof plans[0], WALKS = 3 };

/* Plain; the writers know the readers' order; each does as it likes. */
static void set_walks(struct graph *g, unsigned walks)
{
    for (unsigned i = 1; walks > 0 && i < g->stage_count; i++) {
        static const struct walk down = { .group = { WALK_ALL, 1, 1 } }, tiles = { .group = { 1, 2, 2 } },
                                 across = { .group = { 2, WALK_ALL, 3 } };

        g->stages[i].walk = i % 2 ? down : tiles;
        g->stages[i - 1].parts_walk = walks == 1 ? g->stages[i].walk : across;
    }
}

struct passes {
    const struct plan *plan;
    unsigned walks, workers;
    const char *codec_from, *codec_to;
    struct scratch_layout scratch;
    enum io_backend backend;
};

static struct directory directory;

static void fill_graph(const struct passes *p, struct graph *g)
{
    unsigned last = p->plan->splits;
    struct grid parts = g->source->chunks;

    g->stage_count = last + 1;
    for (unsigned i = 0; i < last; i++) {
        memcpy(parts.cell, p->plan->parts[i], sizeof p->plan->parts[i]);
        g->stages[i] = make_stage("split", i ? FROM_SEGMENTS : FROM_CHUNKS, TO_SEGMENTS, p->plan->tasks[i], &parts,
                                  g->source, g->target, i ? &g->stages[i - 1] : NULL, BLOCK_BYTES, p->workers);
    }
    g->stages[last] = make_stage("merge", FROM_SEGMENTS, TO_CHUNKS, p->plan->parts[last - 1], &g->target->chunks,
                                 g->source, g->target, &g->stages[last - 1], BLOCK_BYTES, p->workers);
    set_walks(g, p->walks);
    sum_pool(g);
}

/* The target is right, or there is none. */
static bool run_passes(const struct passes *p, struct report *report, struct error *err)
{
    struct array_meta from = make_meta(RANK, shape, from_chunk, p->codec_from, false);
    struct array_meta to = make_meta(RANK, shape, to_chunk, p->codec_to, false);
    const char *source_path = directory_path(&directory, "source"), *target_path = directory_path(&directory, "target");
    struct graph g = { .source = &from, .target = &to, .target_path = target_path, .threads = p->workers,
                       .backend = p->backend, .scratch = p->scratch };
    bool ok;

    write_source(source_path, &from, UINT64_MAX);
    CHECK(store_open(&g.source_store, source_path, SPAN_NONE, err));
    g.scratch.block_bytes = BLOCK_BYTES;
    g.scratch.path = directory_path(&directory, "t.sluice-scratch");
    fill_graph(p, &g);
    ok = graph_run(&g, report, NULL, err);
    if (ok)
        CHECK(array_is_right(target_path, NULL));
    if (ok && !report_note_text(report, 0)) {       /* no slab was made again */
        CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
        CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
        CHECK_EQUAL(report_count(report, COUNT_SPILL_RAW_BYTES),
                    p->plan->splits * 4 * shape_elements(RANK, shape));
    }
    CHECK(ok == directory_has(&directory, "target"));
    if (!ok)
        CHECK(resume_clean(target_path, SPAN_NONE, NULL, &(struct error){ 0 }));
    CHECK(!directory_has(&directory, "t.sluice-scratch"));
    store_close(g.source_store);
    os_remove_tree(AT_FDCWD, source_path);
    os_remove_tree(AT_FDCWD, target_path);
    return ok;
}

static struct report *quiet_report(void)
{
    return report_new(&(struct report_options){ .progress = PROGRESS_NONE });
}

static void check_passes(const struct passes *p)
{
    struct report *report = quiet_report();
    struct error err = { 0 };

    if (!run_passes(p, report, &err)) {
        fprintf(stderr, "%s, walks %u, %u workers\n", p->plan->what, p->walks, p->workers);
        error_print(&err, stderr);
        CHECK(false);
    }
    CHECK_EQUAL(report_count(report, COUNT_SPILL_KEPT_BYTES) > 0, p->scratch.memory_bytes > 0);
    CHECK_EQUAL(report_count(report, COUNT_SPILL_WRITE_BYTES) == 0, p->scratch.memory_bytes >= 4 * MIB);
    report_free(report);
}

static void test_passes__bring_every_element_whatever_the_shapes_and_walks(void)
{
    static const uint64_t memory_bytes[] = { 128 * KIB, 4 * MIB };
    enum io_backend backend;
    unsigned n = 0;

    for (unsigned b = 0; case_backend(b, &backend); b++)
        for (unsigned plan = 0; plan < PLANS; plan++)
            for (unsigned walks = 0; walks < WALKS; walks++)
                for (unsigned m = 0; m < 2; m++, n++)
                    check_passes(&(struct passes){
                        .plan = &plans[plan], .walks = walks, .workers = 1 + n % 4, .backend = backend,
                        .codec_from = n % 2 ? "none" : "blosc:lz4:5", .codec_to = n % 3 ? "zstd:1" : "none",
                        .scratch = { .memory_bytes = m ? memory_bytes[n / 2 % 2] : 0, .give_back = n % 8 != 1,
                                     .limit_bytes = 4 * MIB,    /* or the file would grow by 64 MiB */
                                     .encoding = n % 4 < 2 ? SPILL_LZ4 : SPILL_RAW },
                    });
}

/* ---- watching the scratch file of a run ---- */

struct watch {
    pthread_t thread;
    char path[1024];
    bool damages;
    atomic_bool over;
    uint64_t bytes_max;             /* that the file held at any time */
};

enum { PAGE_BYTES = 4096, STAT_BLOCK = 512 };

/* Write over the first bytes of each page, by a descriptor of our own. */
static void damage(int fd, uint64_t bytes)
{
    static const char noise[8] = "damaged";

    for (uint64_t at = 0; at < bytes; at += PAGE_BYTES)
        if (pwrite(fd, noise, sizeof noise, (off_t)at) < 0)
            return;
}

static void *watch_main(void *argument)
{
    struct watch *w = argument;
    int fd = -1;

    while (!atomic_load(&w->over)) {
        struct stat st;

        if (fd < 0)
            fd = open(w->path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
            continue;
        w->bytes_max = size_max(w->bytes_max, (uint64_t)st.st_blocks * STAT_BLOCK);
        if (w->damages)
            damage(fd, size_min((uint64_t)st.st_size, MIB));
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void watch_begin(struct watch *w, bool damages)
{
    *w = (struct watch){ .damages = damages };
    snprintf(w->path, sizeof w->path, "%s", directory_path(&directory, "t.sluice-scratch"));
    CHECK(pthread_create(&w->thread, NULL, watch_main, w) == 0);
}

static void watch_end(struct watch *w)
{
    atomic_store(&w->over, true);
    pthread_join(w->thread, NULL);
}

static bool can_punch(void)
{
    int fd = open(directory_path(&directory, "hole"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool can = fd >= 0 && os_fallocate(fd, 0, 2 * PAGE_BYTES) == 0 && os_punch_hole(fd, 0, PAGE_BYTES) == 0;

    close(fd);
    return can;
}

/* Three splits write three copies, and there is room for two and some padding. */
static void test_passes__hold_two_copies_of_the_data_when_they_give_back(void)
{
    uint64_t copy_bytes = 4 * shape_elements(RANK, shape);
    struct passes p = {
        .plan = &plans[3], .walks = 1, .workers = 2, .codec_from = "none", .codec_to = "none", .backend = IO_THREADS,
        .scratch = { .encoding = SPILL_RAW, .give_back = true },
    };
    struct report *report;
    struct error err = { 0 };
    struct watch watch;

    if (!can_punch())
        SKIP("the file system of $TMPDIR cannot punch holes");
    report = quiet_report();
    p.scratch.give_back = false;
    CHECK(run_passes(&p, report, &err));
    p.scratch.limit_bytes = report_count(report, COUNT_SPILL_WRITE_BYTES) * 3 / 4;
    CHECK(p.scratch.limit_bytes > 2 * copy_bytes);
    report_free(report);

    report = quiet_report();
    CHECK(!run_passes(&p, report, &err));
    CHECK_EQUAL(err.code, ERR_FIT);
    report_free(report);

    err = (struct error){ 0 };
    report = quiet_report();
    p.scratch.give_back = true;
    watch_begin(&watch, false);
    CHECK(run_passes(&p, report, &err));
    watch_end(&watch);
    if (err.code)
        error_print(&err, stderr);
    CHECK(report_count(report, COUNT_SPILL_WRITE_BYTES) > p.scratch.limit_bytes);
    CHECK(watch.bytes_max > 0);     /* a few pages more are the file system's own */
    CHECK(watch.bytes_max <= p.scratch.limit_bytes + 4 * PAGE_BYTES);
    report_free(report);
}

/* The watcher is a thread among others, so it may come too late; then the values are right. It does not always. */
static void test_passes__find_a_damaged_block_or_are_right(void)
{
    bool found = false;

    for (unsigned i = 0; i < 50 && !found; i++) {
        struct passes p = {
            .plan = &plans[i % PLANS], .walks = 1, .workers = 1, .codec_from = "blosc:lz4:5", .codec_to = "none",
            .backend = IO_THREADS, .scratch = { .encoding = SPILL_LZ4, .give_back = true },
        };
        struct report *report = quiet_report();
        struct error err = { 0 };
        struct watch watch;

        watch_begin(&watch, true);
        if (!run_passes(&p, report, &err)) {
            CHECK_EQUAL(err.code, ERR_IO);
            CHECK(strstr(err.message, "scratch file") && strstr(err.message, " at offset "));
            CHECK(err.note_count > 0 && strstr(err.notes[0], "which was made again once already"));
            found = true;
        }
        watch_end(&watch);
        report_free(report);
    }
    CHECK(found);
}

int main(void)
{
    directory = directory_new();
    RUN(test_passes__bring_every_element_whatever_the_shapes_and_walks);
    RUN(test_passes__hold_two_copies_of_the_data_when_they_give_back);
    RUN(test_passes__find_a_damaged_block_or_are_right);
    directory_remove(&directory);
    return test_summary();
}
