/* The planner as a whole, on hand-made metadata: it fits what should fit, chooses what is quicker, refuses
 * exactly. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/os.h"
#include "planner/planner.h"
#include "tests/unit/plan_bench.h"

/* ---- choices ---- */

static void test_plan__maps_to_series_is_split_and_merged(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    show(&b.plan);
    CHECK_EQUAL(b.plan.graph.stage_count, 2);
    /* The obvious shapes: slabs are times, buckets are places. */
    CHECK_EQUAL(b.plan.graph.stages[0].tasks.cell[1], 721);
    CHECK_EQUAL(b.plan.graph.stages[0].tasks.cell[2], 1440);
    CHECK(b.plan.graph.stages[0].tasks.cell[0] >= 20);
    CHECK_EQUAL(b.plan.graph.stages[1].tasks.cell[0], 720);
    CHECK(b.plan.candidates[b.plan.chosen].cost.seconds > 3.0);
    CHECK(b.plan.candidates[b.plan.chosen].cost.seconds < 4.5);
    bench_release(&b);
}

static void test_plan__segments_stay_in_memory_where_they_fit(void)
{
    struct bench b;
    const struct plan_cost *cost;
    struct text text;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 3 * GIB / 2);
    b.job.plan = PLAN_SPLIT;
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    show(&b.plan);
    cost = &b.plan.candidates[1].cost;
    CHECK_EQUAL(cost->scratch_bytes, 0);
    CHECK_EQUAL(cost->spill_write_bytes, 0);
    CHECK(cost->kept_bytes > 800 * MIB && cost->kept_bytes == cost->segment_bytes);
    CHECK(b.plan.graph.scratch.memory_bytes >= cost->segment_bytes / 5 * 6);
    CHECK_EQUAL(b.plan.graph.scratch.predicted_bytes, 0);
    text_init(&text, 1 << 16);
    plan_explain(&b.plan, &text);
    CHECK(strstr(text.chars, "segments kept in memory") != NULL && strstr(text.chars, "kept in memory\n") != NULL);
    CHECK(strstr(text.chars, "scratch   none") != NULL);
    CHECK(strstr(text.chars, "memory of pass 1, split ") > strstr(text.chars, "\nwhy "));
    CHECK(strstr(text.chars, "memory of pass 2, merge ") > strstr(text.chars, "memory of pass 1, split "));
    text_release(&text);

    /* Without room for scratch at all it is as good. */
    b.room.scratch_free_bytes = 0;
    CHECK(bench_plan(&b));
    CHECK_EQUAL(b.plan.candidates[1].cost.scratch_bytes, 0);
    bench_release(&b);
}

/* What is kept is not written, and is counted where memory is. */
static void test_plan__some_segments_stay_in_memory(void)
{
    struct bench b;
    const struct plan_cost *cost;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 900 * MIB);
    b.job.plan = PLAN_SPLIT;
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    show(&b.plan);
    cost = &b.plan.candidates[1].cost;
    CHECK(cost->kept_bytes > 0 && cost->spill_write_bytes > 0);
    CHECK_EQUAL(cost->kept_bytes + cost->spill_write_bytes, cost->segment_bytes);
    CHECK(b.plan.graph.scratch.memory_bytes >= cost->kept_bytes);
    CHECK(cost->scratch_bytes + b.plan.graph.scratch.memory_bytes >= cost->segment_bytes / 5 * 6);
    bench_release(&b);
}

/* What zstd shrank LZ4 may not: then scratch is raw. Who has room for the one and not for the other is told. */
static void test_plan__scratch_is_a_range_where_the_input_shrank_by_more_than_lz4(void)
{
    struct bench b;
    const struct plan_cost *cost;
    uint64_t raw_bytes = UINT64_C(720) * 721 * 1440 * 4;
    struct text text;

    text_init(&text, 1 << 16);
    for (unsigned i = 0; i < 5; i++) {
        static const char *const codecs[] = { "zstd:3", "gzip:1", "zlib:1", "blosc:zstd:5:shuffle", "blosc:zlib:5:shuffle" };

        w2_init(&b, 720, codecs[i], 3.1, 256 * MIB);
        b.job.plan = PLAN_SPLIT;
        CHECK(bench_plan(&b));
        cost = &b.plan.candidates[b.plan.chosen].cost;
        CHECK(cost->scratch_bytes > raw_bytes / 3 && cost->scratch_bytes < raw_bytes / 2);
        CHECK(cost->scratch_bytes_max > raw_bytes && cost->scratch_bytes_max < raw_bytes / 10 * 11);
        CHECK(b.plan.warnings.length == 0);
        bench_release(&b);
    }

    w2_init(&b, 720, "zstd:3", 3.1, 256 * MIB);
    b.job.plan = PLAN_SPLIT;
    b.room.scratch_free_bytes = 2 * GIB;
    CHECK(bench_plan(&b));
    CHECK(strstr(b.plan.warnings.chars, "scratch may take up to 28") && strstr(b.plan.warnings.chars, "zstd"));
    CHECK(strstr(b.plan.warnings.chars, "'/there/out.zarr.sluice-scratch' has 2GiB free"));
    CHECK(b.plan.graph.scratch.give_back);
    plan_explain(&b.plan, &text);
    CHECK(strstr(text.chars, "scratch   1.") && strstr(text.chars, "GiB to 2."));
    text_clear(&text);
    plan_explain_json(&b.plan, &text);
    CHECK(strstr(text.chars, "\"scratch_bytes_max\": 29"));
    bench_release(&b);

    w2_init(&b, 720, "zstd:3", 3.1, 256 * MIB);
    b.job.plan = PLAN_SPLIT;
    b.job.scratch_limit = (struct size_request){ .set = true, .bytes = 2 * GIB };
    CHECK(bench_plan(&b));
    CHECK(strstr(b.plan.warnings.chars, "scratch may take up to 28") && strstr(b.plan.warnings.chars, "its limit is 2GiB"));
    b.job.scratch_limit.bytes = GIB / 2;            /* not even what is expected */
    CHECK(!bench_plan(&b) && b.err.code == ERR_FIT && strstr(b.err.notes[0], "may take up to 28"));
    bench_release(&b);

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.1, 256 * MIB);    /* as LZ4 did, LZ4 does */
    b.job.plan = PLAN_SPLIT;
    b.room.scratch_free_bytes = 2 * GIB;
    CHECK(bench_plan(&b));
    cost = &b.plan.candidates[b.plan.chosen].cost;
    CHECK_EQUAL(cost->scratch_bytes_max, cost->scratch_bytes);
    CHECK(b.plan.warnings.length == 0);
    bench_release(&b);
    text_release(&text);
}

static double seconds_with(const char *codec, double ratio)
{
    struct bench b;
    double seconds;

    w2_init(&b, 720, codec, ratio, 256 * MIB);
    CHECK(bench_plan(&b));
    seconds = b.plan.candidates[1].cost.seconds;
    bench_release(&b);
    return seconds;
}

/* 3 GB on two cores at the rates that were measured of each codec and level. */
static void test_plan__strong_levels_take_longer(void)
{
    static const char *const weak_to_strong[][3] = {
        { "blosc:zstd:1:shuffle", "blosc:zstd:5:shuffle", "blosc:zstd:9:shuffle" },
        { "blosc:lz4hc:1:shuffle", "blosc:lz4hc:5:shuffle", "blosc:lz4hc:9:shuffle" },
        { "zstd:3", "zstd:9", "zstd:19" }, { "gzip:1", "gzip:6", "gzip:9" },
    };

    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j + 1 < 3; j++)
            CHECK(seconds_with(weak_to_strong[i][j], 3) * 1.2 < seconds_with(weak_to_strong[i][j + 1], 3));
    /* c-blosc's 9 is zstd's 22. */
    CHECK(seconds_with("blosc:zstd:9:shuffle", 3) > 100);
    CHECK(seconds_with("gzip:9", 3) > 60 && seconds_with("gzip:9", 3) < 130);
    CHECK(seconds_with("zstd:19", 30) < seconds_with("zstd:19", 3) / 4);
    CHECK(seconds_with("zstd:22", 3) == seconds_with("zstd:19", 3));
}

static void test_plan__seconds_grow_with_bytes(void)
{
    struct bench small, large;
    double ratio;

    w2_init(&small, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    w2_init(&large, 7200, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    CHECK(bench_plan(&small) && bench_plan(&large));
    ratio = large.plan.candidates[1].cost.seconds / small.plan.candidates[1].cost.seconds;
    CHECK(ratio > 8 && ratio < 15);
    bench_release(&small);
    bench_release(&large);
}

static void test_plan__everything_in_one_box_when_it_fits(void)
{
    struct bench b;

    bench_init(&b, 2, SHAPE(1000, 1000), SHAPE(100, 1000), SHAPE(1000, 100), 4, "zstd:3", 3, 256 * MIB);
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    CHECK_EQUAL(b.plan.graph.stage_count, 1);
    CHECK_EQUAL(grid_cells(&b.plan.graph.stages[0].tasks), 1);
    CHECK(b.plan.candidates[0].cost.decoded_bytes == 4000000);
    bench_release(&b);
}

static void test_plan__direct_where_grids_agree(void)
{
    struct bench b;

    bench_init(&b, 3, SHAPE(4000, 1000, 1000), SHAPE(1, 1000, 1000), SHAPE(10, 1000, 1000), 4, "zstd:3", 3,
               256 * MIB);
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    CHECK_EQUAL(b.plan.graph.stage_count, 1);
    CHECK_EQUAL(b.plan.candidates[0].cost.decoded_bytes, 16000000000);
    bench_release(&b);
}

static void test_plan__a_wanted_plan_is_taken(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    b.job.plan = PLAN_DIRECT;
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    CHECK_EQUAL(b.plan.graph.stage_count, 1);
    CHECK(!b.plan.candidates[1].fits);
    bench_release(&b);
}

/* ---- odd shapes ---- */

static void test_plan__arrays_without_elements_or_axes_plan(void)
{
    struct bench b;

    bench_init(&b, 2, SHAPE(0, 100), SHAPE(10, 10), SHAPE(5, 100), 4, "zstd:3", 1, 64 * MIB);
    CHECK(bench_plan(&b));
    CHECK(held_bytes(&b.plan) <= 64 * MIB);
    CHECK_EQUAL(grid_cells(&b.plan.graph.stages[0].tasks), 0);
    bench_release(&b);

    bench_init(&b, 0, SHAPE(1), SHAPE(1), SHAPE(1), 8, "none", 1, 64 * MIB);
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    CHECK_EQUAL(grid_cells(&b.plan.graph.stages[0].tasks), 1);
    b.job.plan = PLAN_SPLIT;
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    bench_release(&b);
}

static void test_plan__chunks_longer_than_the_axis_plan(void)
{
    struct bench b;

    bench_init(&b, 2, SHAPE(7, 5), SHAPE(100, 3), SHAPE(3, 100), 4, "blosc:lz4:5:shuffle", 1, 64 * MIB);
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    b.job.plan = PLAN_SPLIT;
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    bench_release(&b);
}

/* 10^9 chunks each way, no grid a multiple of the other. In a process of its own, whose memory is then known. */
static int plan_huge(void)
{
    struct bench b;
    struct timespec used;
    bool planned;

    test_failures_here = 0;
    bench_init(&b, 3, SHAPE(100000, 100000, 100000), SHAPE(100, 99, 101), SHAPE(101, 100, 98), 4, "zstd:3", 3, GIB);
    planned = bench_plan(&b);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);     /* of this child alone: a busy machine does not count */
    CHECK(planned);
    if (planned)
        check_sound(&b.plan);
    CHECK(SANITIZED || (used.tv_sec == 0 && used.tv_nsec < 100 * 1000 * 1000));
    if (getenv("SHOW_PLANS"))
        fprintf(stderr, "planned in %ld us: %s\n", used.tv_nsec / 1000, b.err.message);
    bench_release(&b);
    return test_failures_here != 0;
}

static void test_plan__huge_grids_plan_quickly(void)
{
    struct rusage usage = { 0 };
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(plan_huge());
    CHECK(child > 0 && wait4(child, &status, 0, &usage) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(SANITIZED || usage.ru_maxrss < 32 * 1024);
}

static void test_plan__many_files_are_said_aloud_with_the_shards(void)
{
    struct bench b;

    bench_init(&b, 3, SHAPE(100, 4000, 4000), SHAPE(1, 4000, 4000), SHAPE(100, 10, 10), 4, "zstd:3", 3, GIB);
    b.plan.target.dimension_names[2] = strdup("x");
    CHECK(bench_plan(&b));
    CHECK(strstr(b.plan.warnings.chars, "160,001 files") != NULL);
    /* 40,000 bytes doubled twelve times are 164 MB. */
    CHECK(strstr(b.plan.warnings.chars, "are not built yet (shards: {0: 100, 1: 640, x: 640})\n") != NULL);
    bench_release(&b);

    /* Whole chunks, and no more than the axis. */
    bench_init(&b, 3, SHAPE(300000, 300, 30), SHAPE(1000, 300, 30), SHAPE(1, 200, 30), 4, "zstd:3", 3, GIB);
    CHECK(bench_plan(&b));
    CHECK(strstr(b.plan.warnings.chars, "(shards: {0: 8192, 1: 200, 2: 30})\n") != NULL);
    bench_release(&b);

    bench_init(&b, 3, SHAPE(100, 4000, 4000), SHAPE(1, 4000, 4000), SHAPE(100, 20, 20), 4, "zstd:3", 3, GIB);
    CHECK(bench_plan(&b));
    CHECK_EQUAL(b.plan.warnings.length, 0);
    bench_release(&b);
}

/* A file takes whole blocks of the disk, however short it is. */
static void test_plan__small_files_say_what_they_take(void)
{
    struct bench b;
    struct text text;

    bench_init(&b, 1, SHAPE(100000), SHAPE(100000), SHAPE(100), 1, "none", 1, GIB);
    CHECK(bench_plan(&b));
    text_init(&text, 1 << 16);
    plan_explain(&b.plan, &text);
    CHECK(strstr(text.chars, "in 1,001 files; about 3.91MiB on disk") != NULL);
    text_release(&text);
    bench_release(&b);
}

/* Missing chunks hold the source's fill: where that is not the target's, they are written. */
static void test_plan__missing_chunks_are_written_where_the_fill_changes(void)
{
    struct bench b;

    for (unsigned changed = 0; changed < 2; changed++) {
        bench_init(&b, 2, SHAPE(100, 100), SHAPE(10, 10), SHAPE(10, 10), 4, "zstd:3", 3, GIB);
        b.plan.census.present = 0;
        b.plan.target.fill[0] = (uint8_t)changed;
        CHECK(bench_plan(&b));
        CHECK_EQUAL(b.plan.candidates[b.plan.chosen].cost.files, changed ? 101 : 1);
        bench_release(&b);
    }
}

/* What is useful is more than what a small budget gives. */
static void test_plan__reads_say_how_much_would_be_useful(void)
{
    struct bench b;
    const struct memory_table *t = &b.plan.memory[0];
    bool found = false;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 40 * MIB);
    CHECK(bench_plan(&b));
    for (unsigned i = 0; i < t->count; i++)
        if (strcmp(t->lines[i].what, "split: chunks read ahead") == 0) {
            found = true;
            CHECK(t->lines[i].useful_bytes > t->lines[i].chosen_bytes);
        }
    CHECK(found);
    bench_release(&b);
}

/* Planned again after a block that no sample had shown, there is room for it. */
static void test_plan__blocks_met_before_are_counted(void)
{
    struct bench b;
    uint64_t need_bytes, scratch_bytes;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    CHECK(bench_plan(&b));
    need_bytes = b.plan.minimum_bytes;
    scratch_bytes = b.plan.graph.stages[0].memory.decode_scratch_bytes;
    b.job.seen.blosc_block_bytes_max = 4 * 1024 * 1024;
    CHECK(bench_plan(&b));
    CHECK(b.plan.minimum_bytes > need_bytes);
    CHECK(b.plan.graph.stages[0].memory.decode_scratch_bytes > scratch_bytes + 3 * MIB);
    b.job.seen.blosc_block_bytes_max = 1024;
    CHECK(bench_plan(&b));
    CHECK_EQUAL(b.plan.minimum_bytes, need_bytes);
    bench_release(&b);
}

/* Attributes are text, but there can be megabytes of it. */
static void test_plan__long_attributes_are_counted(void)
{
    struct bench b;
    uint64_t without_bytes;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, MIB);
    CHECK(!bench_plan(&b));
    without_bytes = b.err.need_bytes;
    b.plan.source.attributes = malloc(4 * MIB);
    memset(b.plan.source.attributes, ' ', 4 * MIB - 1);
    b.plan.source.attributes[4 * MIB - 1] = '\0';
    CHECK(!bench_plan(&b));
    CHECK(b.err.need_bytes > without_bytes + 12 * MIB && b.err.need_bytes < without_bytes + 17 * MIB);
    b.plan.memory_bytes = b.err.need_bytes;
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    CHECK(strcmp(b.plan.memory[0].lines[2].what, "metadata, read and passed on") == 0);
    bench_release(&b);
}

/* What a cgroup is charged for: the files read and the files made. */
static void test_plan__kernel_memory_counts_files_both_ways(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    CHECK(bench_plan(&b));
    CHECK_EQUAL(b.plan.kernel_bytes, 8 * MIB + (720 + 4141) * 2 * KIB);
    bench_release(&b);
}

/* ---- words ---- */

/* Below 20 MiB there is no room for a slab: the source is read over and over. */
static void test_plan__says_what_a_little_more_memory_would_buy(void)
{
    struct more_memory more;
    struct bench b;
    struct text text;
    double seconds;
    char said[64];

    bench_init(&b, 3, SHAPE(60000, 512, 512), SHAPE(1, 512, 512), SHAPE(60000, 8, 8), 4, "none", 1, 16 * MIB);
    CHECK(bench_plan(&b));
    more = b.plan.more_memory;
    seconds = b.plan.candidates[b.plan.chosen].cost.seconds;
    CHECK(more.memory_bytes > 16 * MIB && more.memory_bytes <= 32 * MIB && more.seconds < seconds / 4);
    text_init(&text, 1 << 16);
    plan_explain(&b.plan, &text);
    CHECK(strstr(text.chars, "\nnote: a budget of ") && strstr(text.chars, "MiB would take about ") &&
          strstr(text.chars, " (split + merge)\n"));
    text_clear(&text);
    plan_explain_json(&b.plan, &text);
    CHECK(strstr(text.chars, "\"more_memory\": {\"memory_bytes\": ") != NULL);
    text_release(&text);

    b.room.memory_available_bytes = 17 * MIB;       /* there is no more */
    CHECK(bench_plan(&b) && !b.plan.more_memory.memory_bytes);
    b.room.memory_available_bytes = 0;
    text_clear(&b.plan.notes);
    b.plan.beside_bytes = 3 * MIB;                  /* what is put aside of a budget is no part of what was weighed */
    snprintf(said, sizeof said, "a budget of %s would", SIZE_TEXT(more.memory_bytes + 3 * MIB));
    CHECK(bench_plan(&b) && b.plan.more_memory.memory_bytes == more.memory_bytes + 3 * MIB);
    CHECK(strncmp(b.plan.notes.chars, said, strlen(said)) == 0);
    b.plan.beside_bytes = 0;
    b.plan.memory_bytes = more.memory_bytes;        /* it was no empty promise, and more buys little */
    CHECK(bench_plan(&b) && b.plan.candidates[b.plan.chosen].cost.seconds == more.seconds);
    CHECK(b.plan.more_memory.memory_bytes == 0);
    b.plan.memory_bytes = MIB;
    CHECK(!bench_plan(&b) && strstr(b.err.help, "MiB (then about ") != NULL);
    CHECK(strstr(b.err.notes[b.err.note_count - 1], "in 12MiB it would take about ") != NULL);
    bench_release(&b);
}

static void test_plan__explains_itself(void)
{
    struct bench b;
    struct text text;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    b.plan.census.present = 700;
    CHECK(bench_plan(&b));
    text_init(&text, 1 << 16);
    plan_explain(&b.plan, &text);
    CHECK(strstr(text.chars, "700 of 720 chunks present, the others read as the fill value") != NULL);
    CHECK(strstr(text.chars, "merge: one bucket") != NULL);
    CHECK(strstr(text.chars, "kernel, outside RSS") != NULL);
    CHECK(strstr(text.chars, "<- chosen") != NULL);
    text_clear(&text);
    plan_explain_json(&b.plan, &text);
    CHECK(strncmp(text.chars, "{\"schema\": 1, ", 14) == 0);
    if (getenv("SHOW_PLANS"))
        printf("%s", text.chars);
    text_release(&text);
    bench_release(&b);
}

int main(void)
{
    RUN(test_plan__maps_to_series_is_split_and_merged);
    RUN(test_plan__segments_stay_in_memory_where_they_fit);
    RUN(test_plan__some_segments_stay_in_memory);
    RUN(test_plan__scratch_is_a_range_where_the_input_shrank_by_more_than_lz4);
    RUN(test_plan__strong_levels_take_longer);
    RUN(test_plan__seconds_grow_with_bytes);
    RUN(test_plan__everything_in_one_box_when_it_fits);
    RUN(test_plan__direct_where_grids_agree);
    RUN(test_plan__a_wanted_plan_is_taken);
    RUN(test_plan__arrays_without_elements_or_axes_plan);
    RUN(test_plan__chunks_longer_than_the_axis_plan);
    RUN(test_plan__huge_grids_plan_quickly);
    RUN(test_plan__small_files_say_what_they_take);
    RUN(test_plan__many_files_are_said_aloud_with_the_shards);
    RUN(test_plan__missing_chunks_are_written_where_the_fill_changes);
    RUN(test_plan__reads_say_how_much_would_be_useful);
    RUN(test_plan__blocks_met_before_are_counted);
    RUN(test_plan__long_attributes_are_counted);
    RUN(test_plan__kernel_memory_counts_files_both_ways);
    RUN(test_plan__says_what_a_little_more_memory_would_buy);
    RUN(test_plan__explains_itself);
    return test_summary();
}
