/* What fits and what is refused: the exact minimum, scratch, inodes, missing chunks. On hand-made metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/os.h"
#include "planner/planner.h"
#include "tests/unit/plan_bench.h"

static void test_plan__tight_budget_still_works(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 32 * MIB);
    CHECK(bench_plan(&b));
    check_sound(&b.plan);
    show(&b.plan);
    bench_release(&b);
}

static void test_plan__every_budget_above_the_minimum_is_sound(void)
{
    static const uint64_t budgets_mib[] = { 28, 40, 48, 64, 100, 128, 200, 256, 512, 1024, 4096 };
    static const unsigned threads[] = { 1, 2, 8, 64 };

    for (unsigned t = 0; t < 4; t++)
        for (unsigned i = 0; i < sizeof budgets_mib / sizeof budgets_mib[0]; i++) {
            struct bench b;

            w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, budgets_mib[i] * MIB);
            b.plan.graph.threads = threads[t];
            if (bench_plan(&b))
                check_sound(&b.plan);
            else
                CHECK(b.err.need_bytes > budgets_mib[i] * MIB);
            bench_release(&b);
        }
}

static void check_minimum_is_exact(unsigned rank, const uint64_t *shape, const uint64_t *from, const uint64_t *to,
                                   const char *codec, double ratio)
{
    struct bench b;
    uint64_t need_bytes;

    bench_init(&b, rank, shape, from, to, 4, codec, ratio, MIB);
    CHECK(!bench_plan(&b));
    CHECK_EQUAL(b.err.code, ERR_FIT);
    need_bytes = b.err.need_bytes;
    CHECK(need_bytes > MIB && b.err.have_bytes == MIB);
    CHECK(strcmp(b.err.key, "memory") == 0);
    CHECK(b.err.note_count > 3);

    b.plan.memory_bytes = need_bytes;
    CHECK(bench_plan(&b));
    CHECK_EQUAL(b.plan.minimum_bytes, need_bytes);
    check_sound(&b.plan);
    b.plan.memory_bytes = need_bytes - MEMORY_STEP_BYTES;
    CHECK(!bench_plan(&b));
    bench_release(&b);
}

static void test_plan__refuses_with_the_exact_minimum(void)
{
    check_minimum_is_exact(3, SHAPE(720, 721, 1440), SHAPE(1, 721, 1440), SHAPE(720, 16, 16), "blosc:lz4:5:shuffle",
                           3.4);
    check_minimum_is_exact(3, SHAPE(720, 721, 1440), SHAPE(1, 721, 1440), SHAPE(720, 16, 16), "none", 1);
    check_minimum_is_exact(3, SHAPE(720, 721, 1440), SHAPE(720, 16, 16), SHAPE(1, 721, 1440), "zstd:3", 3);
    check_minimum_is_exact(2, SHAPE(40000, 40000), SHAPE(1000, 1000), SHAPE(40000, 10), "gzip:1", 2);
    check_minimum_is_exact(1, SHAPE(100000000), SHAPE(1000000), SHAPE(999999), "blosc:zstd:5:shuffle", 2);
}

/* The sum of the lines of its table; the note after a folded one says where all lines are. */
static double noted_bytes(const struct error *err)
{
    double sum = 0;

    for (unsigned i = 0; i < err->note_count; i++) {
        double count, each;
        char unit[8];

        if (i == 4 && strncmp(err->notes[i], "--dry-run --memory ", 19) == 0)
            continue;
        if (strncmp(err->notes[i], "in ", 3) == 0)      /* so much memory it would be quicker */
            continue;
        CHECK(sscanf(err->notes[i] + 30, " %lf x %lf%7[A-Za-z]", &count, &each, unit) == 3);
        sum += count * each * (strcmp(unit, "MiB") == 0 ? (double)MIB : strcmp(unit, "KiB") == 0 ? (double)KIB : 1);
    }
    return sum;
}

static void test_plan__a_refusal_adds_up(void)
{
    static const char *const codecs[] = { "none", "blosc:zstd:5:shuffle" };

    for (unsigned i = 0; i < 2; i++) {
        struct bench b;

        w2_init(&b, 720, codecs[i], 1, 4 * MIB);
        CHECK(!bench_plan(&b));
        CHECK(strstr(b.err.message, "needs at least") != NULL);
        CHECK(strstr(b.err.help, "raise memory to") != NULL);
        CHECK(noted_bytes(&b.err) > 0.97 * (double)b.err.need_bytes);
        CHECK(noted_bytes(&b.err) < 1.03 * (double)b.err.need_bytes);
        CHECK(i == 0 || strncmp(b.err.notes[4], "--dry-run", 9) == 0);
        bench_release(&b);
    }
}

static void test_plan__a_refusal_says_which_axes_were_kept(void)
{
    struct bench b;

    w2_init(&b, 720, "none", 1, 4 * MIB);
    b.job.output.chunks.form = CHUNKS_NAMED;
    b.job.output.chunks.count = 1;
    b.job.output.chunks.axes[0] = (struct axis_request){ .kind = AXIS_COUNT, .value = 720, .name = "0" };
    CHECK(!bench_plan(&b));
    CHECK(strcmp(b.err.notes[0], "an output chunk is (720, 16, 16), 720KiB; axis 1 and axis 2 are kept from the input") ==
          0);
    bench_release(&b);
}

/* A budget that nobody typed says whose it is, and points at no word. */
static void test_plan__a_budget_that_was_not_set_says_where_it_came_from(void)
{
    static const struct source file = { .name = "p.yaml" };
    struct bench b;

    w2_init(&b, 720, "none", 1, 4 * MIB);
    b.job.output.span = (struct span){ .source = &file, .line = 7, .column = 3 };
    b.job.memory.span = (struct span){ .source = &file, .line = 2, .column = 9 };
    snprintf(b.plan.memory_from, sizeof b.plan.memory_from, "half of MemAvailable (8MiB)");
    CHECK(!bench_plan(&b));
    CHECK(strstr(b.err.message, "4MiB, half of MemAvailable (8MiB), cannot hold") != NULL);
    CHECK(b.err.span.source == NULL);
    b.job.memory.set = true;
    CHECK(!bench_plan(&b));
    CHECK(strncmp(b.err.message, "4MiB cannot hold", 16) == 0);
    CHECK(b.err.span.line == 2);
    bench_release(&b);
}

static void test_plan__missing_chunks_are_refused_before_the_run(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    b.job.input.refuse_missing = true;
    CHECK(bench_plan(&b));
    b.plan.census.present = 700;
    CHECK(!bench_plan(&b));
    CHECK(b.err.code == ERR_INPUT && strcmp(b.err.key, "input.missing") == 0);
    CHECK(strstr(b.err.message, "20 of the 720 chunks of 'in.zarr' are missing") != NULL);
    b.plan.census.counted = false;
    CHECK(bench_plan(&b));
    bench_release(&b);
}

static void test_plan__scratch_that_does_not_fit_is_refused(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 64 * MIB);
    b.job.plan = PLAN_SPLIT;
    b.room.scratch_free_bytes = 100 * MIB;
    CHECK(!bench_plan(&b));
    CHECK_EQUAL(b.err.code, ERR_FIT);
    CHECK_EQUAL(b.err.have_bytes, 100 * MIB);
    CHECK(b.err.need_bytes > 800 * MIB && b.err.need_bytes < 1200 * MIB);
    CHECK(strcmp(b.err.key, "scratch.path") == 0);
    b.room.scratch_free_bytes = b.err.need_bytes;
    CHECK(bench_plan(&b));
    b.job.scratch_limit.set = true;
    b.job.scratch_limit.bytes = 500 * MIB;
    CHECK(!bench_plan(&b));
    CHECK_EQUAL(b.err.have_bytes, 500 * MIB);
    CHECK(strcmp(b.err.key, "scratch.limit") == 0);
    CHECK(strstr(b.err.help, "raise the limit to"));
    bench_release(&b);
}

static void test_plan__without_scratch_the_direct_plan_is_taken(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    b.room.scratch_free_bytes = 100 * MIB;
    CHECK(bench_plan(&b));
    CHECK_EQUAL(b.plan.graph.stage_count, 1);
    CHECK(strstr(b.plan.candidates[1].why_not, "scratch") != NULL);
    bench_release(&b);
}

static void test_plan__tmpfs_scratch_counts_as_memory(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    b.job.plan = PLAN_SPLIT;
    b.room.scratch_is_memory = true;
    CHECK(!bench_plan(&b));
    CHECK(strstr(b.err.message, "tmpfs") != NULL);
    b.plan.memory_bytes = 2 * GIB;
    CHECK(bench_plan(&b));
    CHECK(held_bytes(&b.plan) + b.plan.graph.scratch.predicted_bytes <= 2 * GIB);
    bench_release(&b);
}

static void test_plan__more_files_than_inodes_are_refused(void)
{
    struct bench b;

    w2_init(&b, 720, "blosc:lz4:5:shuffle", 3.4, 256 * MIB);
    b.room.target_free_files = 4000;
    CHECK(!bench_plan(&b));
    CHECK_EQUAL(b.err.code, ERR_FIT);
    CHECK(strstr(b.err.message, "4,141 files") != NULL);
    CHECK(b.err.need_bytes == 4141 && b.err.have_bytes == 4000);
    CHECK(strstr(b.err.help, "shards") != NULL);
    bench_release(&b);
}

static void test_plan__missing_chunks_make_no_files(void)
{
    struct bench b;

    /* 10^9 chunks, of which one is there: it touches at most 2 x 2 x 2 of the target's. */
    bench_init(&b, 3, SHAPE(100000, 100000, 100000), SHAPE(100, 100, 100), SHAPE(99, 101, 100), 4, "zstd:3", 3, GIB);
    b.plan.census.present = 1;
    b.room.target_free_files = 100;
    CHECK(bench_plan(&b));
    CHECK(b.plan.candidates[b.plan.chosen].cost.files <= 1 + 3 * 2 * 1);
    CHECK(b.plan.candidates[b.plan.chosen].cost.write_bytes <= 6 * 99 * 101 * 100 * 4 / 2);

    /* All of them are written if that is asked for, or if it is not known how many there are. */
    b.job.output.write_empty_chunks = true;
    CHECK(!bench_plan(&b));
    CHECK(b.err.need_bytes > 900000000);
    b.job.output.write_empty_chunks = false;
    b.plan.census.counted = false;
    CHECK(!bench_plan(&b));
    bench_release(&b);
}

static void test_plan__millions_of_tiny_extents_are_refused(void)
{
    struct bench b;

    /* A row each way over 4 TB: in 64 MiB an extent would be about a KiB. */
    bench_init(&b, 2, SHAPE(1000000, 1000000), SHAPE(1, 1000000), SHAPE(1000000, 1), 4, "zstd:3", 2, 64 * MIB);
    b.job.plan = PLAN_SPLIT;
    CHECK(!bench_plan(&b));
    CHECK(b.err.need_bytes > 200 * MIB);
    bench_release(&b);
}

int main(void)
{
    RUN(test_plan__tight_budget_still_works);
    RUN(test_plan__every_budget_above_the_minimum_is_sound);
    RUN(test_plan__refuses_with_the_exact_minimum);
    RUN(test_plan__a_refusal_adds_up);
    RUN(test_plan__a_refusal_says_which_axes_were_kept);
    RUN(test_plan__a_budget_that_was_not_set_says_where_it_came_from);
    RUN(test_plan__missing_chunks_are_refused_before_the_run);
    RUN(test_plan__scratch_that_does_not_fit_is_refused);
    RUN(test_plan__without_scratch_the_direct_plan_is_taken);
    RUN(test_plan__tmpfs_scratch_counts_as_memory);
    RUN(test_plan__more_files_than_inodes_are_refused);
    RUN(test_plan__missing_chunks_make_no_files);
    RUN(test_plan__millions_of_tiny_extents_are_refused);
    return test_summary();
}
