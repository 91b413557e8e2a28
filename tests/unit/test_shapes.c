/* Odd shapes in small budgets: each plans, quickly, and what it plans is sound. */
#include <time.h>

#include "tests/unit/plan_bench.h"

struct shape_case {
    const char *what;
    unsigned rank;
    uint64_t shape[RANK_MAX], from[RANK_MAX], to[RANK_MAX];
    uint32_t item_bytes;
    const char *codec;
    double ratio;
    uint64_t memory_bytes;
};

static const struct shape_case odd[] = {
    { "one huge axis", 1, { 1000000000000 }, { 1000000 }, { 999999 }, 8, "zstd:3", 3, 64 * MIB },
    { "one huge chunk to small ones", 1, { 1000000000 }, { 250000000 }, { 100000 }, 8, "zstd:3", 3, 64 * MIB },
    { "small chunks to one huge one", 1, { 1000000000 }, { 100000 }, { 250000000 }, 8, "zstd:3", 3, 64 * MIB },
    { "10^7 by 3", 2, { 10000000, 3 }, { 1000, 3 }, { 10000000, 1 }, 4, "blosc:lz4:5:shuffle", 2, 64 * MIB },
    { "10^7 by 3, the other way", 2, { 10000000, 3 }, { 10000000, 1 }, { 1000, 3 }, 4, "blosc:lz4:5:shuffle", 2,
      64 * MIB },
    { "rank 10", 10, { 10, 10, 10, 10, 10, 10, 10, 10, 5, 5 }, { 1, 1, 1, 10, 10, 10, 10, 10, 5, 1 },
      { 10, 10, 10, 1, 1, 1, 10, 10, 1, 5 }, 4, "zstd:3", 2, 64 * MIB },
    { "chunks along one element", 2, { 100000, 100000 }, { 1, 100000 }, { 100000, 1 }, 4, "blosc:lz4:5:shuffle", 3,
      64 * MIB },
    { "ragged edges that waste 8x", 3, { 1000, 513, 513 }, { 10, 512, 512 }, { 1000, 64, 64 }, 4, "zstd:3", 2,
      64 * MIB },
    { "sizes 0", 2, { 0, 100 }, { 1, 100 }, { 10, 1 }, 4, "zstd:3", 1, 64 * MIB },
    { "sizes 1", 4, { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, 4, "zstd:3", 1, 64 * MIB },
    { "chunks longer than everything", 2, { 3, 5 }, { 1000, 1000 }, { 100, 7 }, 4, "zstd:3", 1, 64 * MIB },
    { "hours to points", 3, { 394488, 778, 706 }, { 24, 778, 706 }, { 43800, 5, 5 }, 4, "blosc:lz4:5:shuffle", 3,
      64 * MIB },
    { "a wide matrix", 2, { 67186, 1093742 }, { 2000, 1 }, { 67186, 10 }, 4, "blosc:lz4:5:shuffle", 3, 64 * MIB },
    { "W2 in little", 3, { 2000, 721, 1440 }, { 1, 721, 1440 }, { 2000, 16, 16 }, 4, "blosc:lz4:5:shuffle", 3.4,
      32 * MIB },
    { "1 TB", 3, { 240000, 721, 1440 }, { 1, 721, 1440 }, { 24000, 4, 4 }, 4, "blosc:lz4:5:shuffle", 3.4, 64 * MIB },
    { "1 TB, long series", 3, { 240000, 721, 1440 }, { 1, 721, 1440 }, { 240000, 16, 16 }, 4, "blosc:lz4:5:shuffle",
      3.4, 64 * MIB },
    { "64 MB source chunks", 3, { 100, 4000, 4000 }, { 1, 4000, 4000 }, { 100, 100, 100 }, 4, "blosc:lz4:5:shuffle", 3,
      32 * MIB },
    { "64 MB source chunks, zstd", 3, { 100, 4000, 4000 }, { 1, 4000, 4000 }, { 100, 100, 100 }, 4, "zstd:3", 3,
      32 * MIB },
    { "2 GB source chunks", 2, { 20000, 50000 }, { 10000, 50000 }, { 20000, 10 }, 4, "zstd:3", 3, 256 * MIB },
    { "2 GB target chunks", 2, { 20000, 50000 }, { 20000, 10 }, { 10000, 50000 }, 4, "zstd:3", 3, 256 * MIB },
    { "2 GB both", 2, { 20000, 50000 }, { 20000, 25000 }, { 10000, 50000 }, 4, "gzip:3", 3, 64 * MIB },
    { "2 GB raw both", 2, { 20000, 50000 }, { 20000, 25000 }, { 10000, 50000 }, 4, "none", 1, 64 * MIB },
    { "16 GB raw", 3, { 125, 4000, 4000 }, { 1, 4000, 4000 }, { 125, 1000, 1000 }, 8, "none", 1, GIB },
    { "16 GB raw in little", 3, { 125, 4000, 4000 }, { 1, 4000, 4000 }, { 125, 1000, 1000 }, 8, "none", 1, 64 * MIB },
    { "misaligned", 1, { 3000000000 }, { 1000000 }, { 999999 }, 1, "blosc:lz4:5:shuffle", 2, 64 * MIB },
    { "misaligned small", 1, { 750000000 }, { 1000 }, { 999 }, 4, "blosc:lz4:5:shuffle", 2, 256 * MIB },
    { "misaligned cubes", 3, { 1000, 1000, 1000 }, { 100, 100, 100 }, { 128, 128, 128 }, 4, "zstd:3", 2, 64 * MIB },
};
enum { ODD = sizeof odd / sizeof odd[0] };

static void bench_of(struct bench *b, const struct shape_case *c)
{
    bench_init(b, c->rank, c->shape, c->from, c->to, c->item_bytes, c->codec, c->ratio, c->memory_bytes);
}

static void test_shapes__odd_ones_plan_soundly_and_quickly(void)
{
    for (unsigned i = 0; i < ODD; i++) {
        struct bench b;
        struct timespec from, to;
        double seconds;
        unsigned failures = test_failures_here;

        bench_of(&b, &odd[i]);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        if (bench_plan(&b)) {
            check_sound(&b.plan);
            show(&b.plan);
        } else {
            CHECK(!"it plans");
            printf("%s: %s\n", odd[i].what, b.err.message);
            for (unsigned n = 0; n < b.err.note_count; n++)
                printf("    %s\n", b.err.notes[n]);
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        CHECK(SANITIZED || seconds < 0.1);
        if (test_failures_here > failures || getenv("SHOW_PLANS"))
            printf("    in '%s' (%.3f s)\n", odd[i].what, seconds);
        bench_release(&b);
    }
}

/* ---- choices ---- */

static const struct shape_case *case_of(const char *what)
{
    for (unsigned i = 0; i < ODD; i++)
        if (strcmp(odd[i].what, what) == 0)
            return &odd[i];
    return NULL;
}

static void test_shapes__raw_planes_to_cubes_need_no_scratch(void)
{
    static const char *const what[] = { "16 GB raw", "16 GB raw in little", "2 GB raw both" };

    for (unsigned i = 0; i < 3; i++) {
        struct bench b;

        bench_of(&b, case_of(what[i]));
        CHECK(bench_plan(&b));
        CHECK_EQUAL(b.plan.graph.stage_count, 1);
        CHECK_EQUAL(b.plan.graph.stages[0].sink, TO_RANGES);
        CHECK(b.plan.candidates[b.plan.chosen].cost.decoded_bytes < b.plan.candidates[1].cost.decoded_bytes * 11 / 10);
        bench_release(&b);
    }
}

/* Extents of both passes are long. */
static void test_shapes__a_terabyte_takes_a_pass_more(void)
{
    static const char *const what[] = { "1 TB", "1 TB, long series" };

    for (unsigned i = 0; i < 2; i++) {
        struct bench b;
        const struct plan_cost *cost = &b.plan.candidates[2].cost;
        struct text text;

        bench_of(&b, case_of(what[i]));
        CHECK(bench_plan(&b));
        CHECK_EQUAL(b.plan.graph.stage_count, 3);
        CHECK(strcmp(b.plan.candidates[b.plan.chosen].name, "split + split + merge") == 0);
        for (unsigned s = 0; s < 2; s++) {
            const struct stage *stage = &b.plan.graph.stages[s];

            CHECK(1e12 / grid_overlaps(3, stage->tasks.shape, stage->tasks.cell, stage->parts.cell) > 300e3);
        }
        CHECK_EQUAL(cost->spill_write_bytes, cost->spill_read_bytes);
        CHECK_EQUAL(cost->spill_write_bytes, cost->segment_bytes);
        CHECK(cost->scratch_bytes < cost->segment_bytes * 13 / 10);     /* two copies */
        text_init(&text, 1 << 16);
        plan_explain(&b.plan, &text);
        CHECK(strstr(text.chars, "raw between 1 and 2, lz4") && strstr(text.chars, "raw between 2 and 3, lz4"));
        CHECK(strstr(text.chars, "split: segment indexes"));
        text_release(&text);
        bench_release(&b);
    }
}

static void test_shapes__misaligned_chunks_are_carried_where_that_is_cheaper(void)
{
    struct bench b;
    struct text text;

    bench_of(&b, case_of("misaligned"));
    CHECK(bench_plan(&b));
    CHECK(b.plan.graph.stages[0].carries);
    CHECK_EQUAL(b.plan.candidates[b.plan.chosen].cost.decoded_bytes, 3000000000);
    text_init(&text, 1 << 16);
    plan_explain(&b.plan, &text);
    CHECK(strstr(text.chars, "border chunks are carried along axis 0") && strstr(text.chars, "carried to the next box"));
    text_release(&text);
    bench_release(&b);
}

/* Where a chunk goes through whole or not at all, the codec is named, and the memory that does. */
static void test_shapes__a_codec_that_cannot_go_on_is_named(void)
{
    static const struct { const char *from, *to, *note; } cases[] = {
        { "lz4", "zstd:3", "decoded whole: lz4 cannot" }, { "zstd:3", "lz4", "encoded whole: lz4 cannot" },
        { "blosc:lz4:5+crc32c", "zstd:3", "decoded whole: crc32c allows no range of one, and blosc cannot" },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        struct error err = { 0 };
        bool named = false;

        bench_init(&b, 2, SHAPE(20000, 5000), SHAPE(10000, 5000), SHAPE(20000, 2500), 4, cases[i].from, 2, 64 * MIB);
        CHECK(codec_chain_from_text(&b.plan.target.codecs, cases[i].to, 4, &err));
        CHECK(!bench_plan(&b));
        for (unsigned n = 0; n < b.err.note_count; n++)
            named = named || strstr(b.err.notes[n], cases[i].note);
        CHECK(named);
        CHECK(b.err.need_bytes > 200 * MIB);
        b.plan.memory_bytes = b.err.need_bytes;
        CHECK(bench_plan(&b));
        check_sound(&b.plan);
        bench_release(&b);
    }
}

/* ---- at random ---- */

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static uint64_t random_length(uint64_t *state, uint64_t most)
{
    uint64_t length = 1 + random_next(state) % most;

    return random_next(state) % 3 ? length : 1 + length % 17;
}

static void random_case(struct shape_case *c, uint64_t longer, uint64_t *seed)
{
    static const char *const codecs[] = { "none", "zstd:3", "gzip:3", "lz4", "blosc:lz4:5:shuffle", "zstd:3+crc32c" };
    static const uint64_t most[] = { 0, 400000000, 30000, 1000, 150 };

    memset(c, 0, sizeof *c);
    c->what = "random";
    c->rank = 1 + (unsigned)(random_next(seed) % 4);
    c->item_bytes = 1u << random_next(seed) % 4;
    c->codec = codecs[random_next(seed) % 6];
    c->ratio = strcmp(c->codec, "none") == 0 ? 1 : 2;
    for (unsigned i = 0; i < c->rank; i++) {
        c->shape[i] = random_length(seed, most[c->rank] * longer);
        c->from[i] = random_next(seed) % 4 ? random_length(seed, c->shape[i]) : c->shape[i];
        c->to[i] = random_next(seed) % 4 ? random_length(seed, c->shape[i]) : c->shape[i];
    }
}

/* Axes in another order, for half of them. */
static void random_order(struct array_meta *m, uint64_t *seed)
{
    if (random_next(seed) % 2)
        return;
    for (unsigned i = m->chunks.rank; i-- > 1; ) {
        unsigned j = (unsigned)(random_next(seed) % (i + 1));
        uint8_t axis = m->codecs.order[i];

        m->codecs.order[i] = m->codecs.order[j];
        m->codecs.order[j] = axis;
        m->codecs.transposed = true;
    }
}

/* A target with a codec of its own. */
static void random_target_codec(struct bench *b, uint64_t *seed)
{
    static const char *const codecs[] = { "none", "zstd:3", "gzip:3", "lz4", "blosc:zstd:5:shuffle" };
    struct error err = { 0 };

    CHECK(codec_chain_from_text(&b->plan.target.codecs, codecs[random_next(seed) % 5],
                                b->plan.target.dtype.item_bytes, &err));
}

enum { RANDOM_CASES = 150 };

/* How many plans had each form: what is not there is not tested. */
struct seen { unsigned streams, ranges_read, slices, ranges_written, passes, carries; };

static void see(struct seen *seen, const struct plan *p)
{
    const struct stage *first = &p->graph.stages[0], *last = &p->graph.stages[p->graph.stage_count - 1];

    seen->streams += first->source == FROM_STREAM;
    seen->ranges_read += first->piece_raw_bytes > 0 && p->source.codecs.count > 0;
    seen->slices += last->sink == TO_SLICES;
    seen->ranges_written += last->sink == TO_RANGES;
    seen->passes += p->graph.stage_count > 2;
    seen->carries += first->carries;
}

/* Of all that fit; without scratch a twentieth more is taken. */
static void check_quickest(const struct plan *p)
{
    for (unsigned i = 0; i < p->candidate_count; i++)
        CHECK(!p->candidates[i].fits ||
              p->candidates[p->chosen].cost.seconds <= p->candidates[i].cost.seconds * 1.0501);
}

static void test_shapes__random_ones_are_sound_down_to_the_exact_minimum(void)
{
    static const enum plan_wanted wanted[] = {
        PLAN_AUTO, PLAN_AUTO, PLAN_DIRECT, PLAN_SPLIT, PLAN_PASSES, PLAN_RANGED_WRITE, PLAN_CARRY,
    };
    struct seen seen = { 0 };
    uint64_t seed = 20;

    for (unsigned i = 0; i < RANDOM_CASES; i++) {
        struct shape_case c;
        struct bench b;
        uint64_t need_bytes;
        unsigned failures = test_failures_here;

        random_case(&c, 1, &seed);
        c.memory_bytes = MIB;
        bench_of(&b, &c);
        random_order(&b.plan.source, &seed);
        random_order(&b.plan.target, &seed);
        random_target_codec(&b, &seed);
        b.job.plan = wanted[random_next(&seed) % 7];
        CHECK(!bench_plan(&b));
        need_bytes = b.err.need_bytes;
        if (b.plan.minimum_bytes != UINT64_MAX) {       /* there is such a plan */
            b.plan.memory_bytes = need_bytes - MEMORY_STEP_BYTES;
            CHECK(!bench_plan(&b));
            for (unsigned times = 0; times < 3; times++) {
                b.plan.memory_bytes = times ? need_bytes + need_bytes / 7 * (1 + random_next(&seed) % 50) : need_bytes;
                CHECK(bench_plan(&b));
                check_sound(&b.plan);
                check_quickest(&b.plan);
                see(&seen, &b.plan);
            }
        }
        if (test_failures_here > failures) {
            printf("    in case %u: need %llu, plan %u\n", i, (unsigned long long)need_bytes, b.job.plan);
            show(&b.plan);
        }
        bench_release(&b);
    }
    CHECK(seen.streams > 5 && seen.ranges_read > 5 && seen.slices > 5);
    CHECK(seen.ranges_written > 5 && seen.passes > 5 && seen.carries > 5);
    if (getenv("SHOW_PLANS"))
        printf("streams %u, ranges read %u, slices %u, ranges written %u, passes %u, carries %u\n", seen.streams,
               seen.ranges_read, seen.slices, seen.ranges_written, seen.passes, seen.carries);
}

/* An array of a few MiB, which soon is one box. */
static void test_shapes__what_carries_in_some_memory_carries_in_more(void)
{
    struct bench b;
    uint64_t least;

    bench_init(&b, 2, SHAPE(1000, 900), SHAPE(100, 100), SHAPE(99, 101), 4, "zstd:3", 2, MIB);
    b.job.plan = PLAN_CARRY;
    CHECK(!bench_plan(&b));
    CHECK(b.plan.minimum_bytes != UINT64_MAX);
    least = b.err.need_bytes;
    for (unsigned times = 16; times <= 64 && !test_failures_here; times++) {
        b.plan.memory_bytes = size_align_down(least * times / 16, MEMORY_STEP_BYTES);
        CHECK(bench_plan(&b));
        CHECK(b.plan.graph.stages[0].carries);
        check_sound(&b.plan);
    }
    bench_release(&b);
}

/* ---- holes ---- */

enum { OPEN_CASES = 2000 };

/* Take out the codecs that a refusal names. */
static bool without_named_codecs(struct bench *b)
{
    bool named = false;

    for (unsigned n = 0; n < b->err.note_count; n++) {
        bool source = strstr(b->err.notes[n], " cannot decode a part of one") != NULL;
        bool target = strstr(b->err.notes[n], " cannot go on from ") != NULL;

        if (source)
            b->plan.source.codecs.count = 0;
        if (target)
            b->plan.target.codecs.count = 0;
        named = named || source || target;
    }
    return named;
}

/* Whatever the shape, the chunks and the order of axes. */
static void test_shapes__only_codecs_that_cannot_go_on_are_refused_in_64MiB(void)
{
    unsigned refused = 0;
    uint64_t seed = 77;

    for (unsigned i = 0; i < (SANITIZED ? OPEN_CASES / 10 : OPEN_CASES); i++) {
        struct shape_case c;
        struct bench b;

        random_case(&c, 1 + random_next(&seed) % 6, &seed);
        c.memory_bytes = 64 * MIB;
        bench_of(&b, &c);
        random_order(&b.plan.source, &seed);
        random_order(&b.plan.target, &seed);
        random_target_codec(&b, &seed);
        if (!bench_plan(&b)) {
            refused++;
            while (without_named_codecs(&b) && !bench_plan(&b))
                ;                   /* there may be one on the other side */
            if (b.err.code) {
                printf("    case %u: %s\n", i, b.err.message);
                CHECK(!"a codec is named");
            }
        }
        bench_release(&b);
    }
    CHECK(refused > OPEN_CASES / 200);            /* or no codec was ever named */
}

int main(void)
{
    RUN(test_shapes__raw_planes_to_cubes_need_no_scratch);
    RUN(test_shapes__a_terabyte_takes_a_pass_more);
    RUN(test_shapes__misaligned_chunks_are_carried_where_that_is_cheaper);
    RUN(test_shapes__what_carries_in_some_memory_carries_in_more);
    RUN(test_shapes__a_codec_that_cannot_go_on_is_named);
    RUN(test_shapes__only_codecs_that_cannot_go_on_are_refused_in_64MiB);
    RUN(test_shapes__random_ones_are_sound_down_to_the_exact_minimum);
    RUN(test_shapes__odd_ones_plan_soundly_and_quickly);
    return test_summary();
}
