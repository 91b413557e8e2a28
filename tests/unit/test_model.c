/* The planner's counts against the engine's: jobs of every kind and form are planned, run, and compared.
 *
 * What has no part in a plan is left out: how well data shrink (encoded bytes are compared where they are known
 * beforehand). `cost.decoded_is_mean` says where the planner itself only claims a mean. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/graph.h"
#include "planner/planner.h"
#include "tests/unit/directory.h"
#include "tests/unit/graph_cases.h"
#include "tests/unit/plan_bench.h"

/* One array, as it is and as it is wanted. */
struct model_case {
    const char *what;
    unsigned rank;
    uint64_t shape[RANK_MAX], from[RANK_MAX], to[RANK_MAX];
    const char *codec_from, *codec_to;
    bool fortran_from, fortran_to;
    unsigned missing_each;          /* every so many chunks are not there; 0: all are */
};

enum plan_seen {
    SEEN_WHOLE, SEEN_RAW_RANGES, SEEN_BLOSC_RANGES, SEEN_STREAM, SEEN_CARRY, SEEN_TO_RANGES, SEEN_TO_SLICES, SEEN_SPLIT,
    SEEN_PASSES, SEEN_KEPT, SEEN_MISSING, SEEN_MEAN, SEEN_COUNT
};
static unsigned seen[SEEN_COUNT];
static const char *const seen_names[SEEN_COUNT] = {
    "whole", "raw ranges", "blosc ranges", "stream", "carry", "ranged write", "slices", "split", "passes", "kept",
    "missing", "mean",
};

struct source_bytes { uint64_t encoded, longest, chunks; };

/* Values that shrink to about a third, and are never the fill value. */
static struct source_bytes write_model_source(const char *path, const struct model_case *c, const struct array_meta *m)
{
    struct source_bytes out = { 0 };
    uint64_t raw_bytes = array_chunk_bytes(m), coords[RANK_MAX], encoded_bytes;
    uint32_t *raw = malloc(raw_bytes);
    struct codec_needs needs;
    struct encoder *encoder = NULL;
    struct store *store = NULL;
    struct error err = { 0 };
    char *encoded, *scratch;

    codec_encode_needs(&m->codecs, m->dtype, raw_bytes, &needs);
    encoded = malloc(needs.encoded_bytes_max);
    scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_useful + 1, IO_ALIGN));
    CHECK(store_stage(&store, path, false, "", SPAN_NONE, &err) && array_meta_write(m, store, &err));
    CHECK(encoder_new(&encoder, &m->codecs, m->dtype, raw_bytes, scratch, needs.scratch_bytes_useful, &err));
    for (uint64_t i = 0; i < grid_cells(&m->chunks); i++) {
        struct chunk_place place;

        if (c->missing_each && i % c->missing_each == 1)
            continue;
        for (uint64_t n = 0; n < raw_bytes / 4; n++)
            raw[n] = (uint32_t)((n + i * 77) * 2654435761u >> 22) + CASE_FILL + 1;
        grid_coords(&m->chunks, i, coords);
        array_chunk_place(m, coords, &place);
        CHECK(encode(encoder, raw, encoded, &encoded_bytes, &err));
        CHECK(store_put(store, place.key, encoded, encoded_bytes, &err));
        out.encoded += encoded_bytes;
        out.longest = size_max(out.longest, encoded_bytes);
        out.chunks++;
    }
    CHECK(store_publish(store, &err));
    encoder_free(encoder);
    store_close(store);
    free(raw);
    free(encoded);
    free(scratch);
    return out;
}

/* ---- one plan ---- */

struct model {
    struct directory directory;
    struct bench bench;
    struct source_bytes bytes;
};

static bool model_plan(struct model *m, enum plan_wanted wanted, uint64_t memory_bytes)
{
    m->bench.job.plan = wanted;
    m->bench.plan.memory_bytes = memory_bytes;
    return bench_plan(&m->bench);
}

static void model_init(struct model *m, const struct model_case *c)
{
    struct plan *p = &m->bench.plan;
    struct array_meta from = make_meta(c->rank, c->shape, c->from, c->codec_from, c->fortran_from);
    struct error err = { 0 };

    memset(m, 0, sizeof *m);
    m->directory = directory_new();
    m->bytes = write_model_source(directory_path(&m->directory, "in.zarr"), c, &from);
    text_init(&p->warnings, 4096);
    CHECK(array_open(&p->source_store, &p->source, directory_path(&m->directory, "in.zarr"), SPAN_NONE, &p->warnings,
                     &err));
    p->target = make_meta(c->rank, c->shape, c->to, c->codec_to, c->fortran_to);
    CHECK(array_census(&p->source, p->source_store, 100, &p->census, &err));
    p->census.encoded_bytes_mean = m->bytes.encoded / m->bytes.chunks;
    p->graph.threads = 2;
    CHECK(io_choose(&p->io, IO_AUTO, &err));
    p->scratch_path = strdup(directory_path(&m->directory, "x.sluice-scratch"));
    m->bench.job.input.path = strdup(directory_path(&m->directory, "in.zarr"));
    m->bench.job.output.path = strdup(directory_path(&m->directory, "out.zarr"));
    m->bench.room = (struct room){ .scratch_free_bytes = UINT64_MAX, .target_free_bytes = UINT64_MAX,
                              .target_free_files = UINT64_MAX };
}

static void model_release(struct model *m)
{
    free((char *)m->bench.job.input.path);
    free((char *)m->bench.job.output.path);
    bench_release(&m->bench);
    directory_remove(&m->directory);
}

static void note_seen(const struct plan *p)
{
    const struct stage *first = &p->graph.stages[0], *last = &p->graph.stages[p->graph.stage_count - 1];
    const struct plan_cost *cost = &p->candidates[p->chosen].cost;
    bool raw = p->source.codecs.count == 0;

    seen[SEEN_WHOLE] += first->source == FROM_CHUNKS && !first->piece_raw_bytes;
    seen[SEEN_RAW_RANGES] += first->piece_raw_bytes && raw;
    seen[SEEN_BLOSC_RANGES] += first->piece_raw_bytes && !raw;
    seen[SEEN_STREAM] += first->source == FROM_STREAM;
    seen[SEEN_CARRY] += first->carries;
    seen[SEEN_TO_RANGES] += last->sink == TO_RANGES;
    seen[SEEN_TO_SLICES] += last->sink == TO_SLICES;
    seen[SEEN_SPLIT] += p->graph.stage_count == 2;
    seen[SEEN_PASSES] += p->graph.stage_count > 2;
    seen[SEEN_KEPT] += p->graph.scratch.memory_bytes > 0;
    seen[SEEN_MISSING] += p->census.present < p->census.chunks;
    seen[SEEN_MEAN] += cost->decoded_is_mean;
}

static bool is_within(uint64_t counted, uint64_t predicted, double factor)
{
    return (double)counted <= (double)predicted * factor && (double)predicted <= (double)counted * factor;
}

static void check_read(const struct model *m, const struct plan_cost *cost, const struct report *r)
{
    const struct plan *p = &m->bench.plan;
    const struct stage *first = &p->graph.stages[0];
    /* A chunk that is not there may be one that would have been decoded often. */
    bool each_once = cost->decoded_bytes == m->bytes.chunks * array_chunk_bytes(&p->source);
    bool is_exact = !cost->decoded_is_mean && (p->census.present == p->census.chunks || each_once);
    uint64_t decoded = report_count(r, COUNT_SOURCE_DECODED_BYTES), read = report_count(r, COUNT_SOURCE_READ_BYTES);

    if (!is_exact)
        CHECK(is_within(decoded, cost->decoded_bytes, 1.5));
    else
        CHECK_EQUAL(decoded, cost->decoded_bytes);
    if (codec_chain_is_raw(&p->source.codecs)) {
        CHECK_EQUAL(read, decoded);
        if (is_exact)
            CHECK_EQUAL(read, cost->read_bytes);
    } else if (first->piece_raw_bytes == 0 && each_once) {
        CHECK_EQUAL(read, m->bytes.encoded);
        if (each_once)                  /* the mean is rounded */
            CHECK(cost->read_bytes <= read && read - cost->read_bytes < p->census.chunks);
    } else if (is_exact) {
        CHECK(is_within(read, cost->read_bytes, 1.3));
    }
}

static void check_spilled(const struct model *m, const struct plan_cost *cost, const struct report *r)
{
    const struct graph *g = &m->bench.plan.graph;

    CHECK_EQUAL(report_count(r, COUNT_SPILL_RAW_BYTES), cost->spill_raw_bytes);
    if (g->scratch.encoding == SPILL_RAW && g->stage_count > 1)
        CHECK(is_within(report_count(r, COUNT_SPILL_WRITE_BYTES) + report_count(r, COUNT_SPILL_KEPT_BYTES),
                        cost->segment_bytes, 1.1));
}

static void check_written(const struct model *m, const struct plan_cost *cost, const struct report *r)
{
    const struct plan *p = &m->bench.plan;
    uint64_t files = report_count(r, COUNT_TARGET_OBJECTS), empty = report_count(r, COUNT_TARGET_EMPTY);

    CHECK_EQUAL(files + empty, grid_cells(&p->target.chunks) + array_meta_files(&p->target));
    CHECK(p->census.present == p->census.chunks ? files == cost->files : files <= cost->files);
    if (codec_chain_is_raw(&p->target.codecs) && files == cost->files)
        CHECK_EQUAL(report_count(r, COUNT_TARGET_WRITE_BYTES), cost->write_bytes);
}

static void check_run(struct model *m, const char *what)
{
    struct plan *p = &m->bench.plan;
    const struct plan_cost *cost = &p->candidates[p->chosen].cost;
    struct report_options options = { .progress = PROGRESS_NONE, .to = stderr };
    struct report *r = report_new(&options);
    volatile int stop = 0;
    struct error err = { 0 };
    unsigned failures = test_failures_here;

    check_sound(p);
    note_seen(p);
    CHECK(graph_run(&p->graph, r, &stop, &err));
    if (err.code)
        error_print(&err, stderr);
    check_read(m, cost, r);
    check_spilled(m, cost, r);
    check_written(m, cost, r);
    CHECK_EQUAL(report_count(r, COUNT_WORK_BYTES), graph_work_bytes(&p->graph));
    if (test_failures_here > failures) {
        struct text text;

        text_init(&text, 1 << 16);
        plan_explain(p, &text);
        printf("    in '%s' with %llu bytes; decoded %llu of %llu, read %llu of %llu, written %llu of %llu\n%.1200s\n", what,
               (unsigned long long)p->memory_bytes,
               (unsigned long long)report_count(r, COUNT_SOURCE_DECODED_BYTES), (unsigned long long)cost->decoded_bytes,
               (unsigned long long)report_count(r, COUNT_SOURCE_READ_BYTES), (unsigned long long)cost->read_bytes,
               (unsigned long long)report_count(r, COUNT_TARGET_WRITE_BYTES), (unsigned long long)cost->write_bytes,
               text.chars);
        text_release(&text);
    }
    report_free(r);
    os_remove_tree(AT_FDCWD, p->graph.target_path);
}

/* ---- the cases ---- */

static const struct model_case cases[] = {
    { "maps to series", 3, { 60, 181, 180 }, { 1, 181, 180 }, { 60, 16, 16 }, "blosc:lz4:5:shuffle",
      "blosc:lz4:5:shuffle", 0, 0, 0 },
    { "series to maps, raw", 3, { 60, 181, 180 }, { 60, 16, 16 }, { 1, 181, 180 }, "none", "none", 0, 0, 0 },
    { "maps to series, some missing", 3, { 60, 181, 180 }, { 1, 181, 180 }, { 60, 16, 16 }, "zstd:3", "zstd:3", 0, 0,
      7 },
    { "misaligned", 1, { 3000000 }, { 100000 }, { 99900 }, "blosc:lz4:5:shuffle", "none", 0, 0, 0 },
    { "misaligned cubes", 3, { 120, 121, 122 }, { 20, 20, 20 }, { 25, 27, 30 }, "zstd:1", "none", 0, 0, 0 },
    { "raw planes to cubes", 3, { 24, 400, 400 }, { 1, 400, 400 }, { 24, 100, 100 }, "none", "none", 0, 0, 0 },
    { "raw planes to ragged cubes", 3, { 25, 401, 399 }, { 2, 401, 399 }, { 25, 128, 128 }, "none", "none", 0, 0, 0 },
    { "raw across", 2, { 1500, 2003 }, { 1500, 64 }, { 64, 2003 }, "none", "none", 0, 0, 0 },
    { "raw, other order", 2, { 1500, 2003 }, { 750, 2003 }, { 1500, 501 }, "none", "none", true, false, 0 },
    { "long chunks in blocks", 2, { 2000, 3000 }, { 1000, 3000 }, { 2000, 300 }, "blosc:lz4:5:shuffle", "none", 0, 0, 0 },
    { "long chunks in a stream", 2, { 2000, 3000 }, { 1000, 3000 }, { 2000, 300 }, "zstd:3", "gzip:1", 0, 0, 0 },
    { "long chunks, appended", 2, { 2000, 3000 }, { 200, 3000 }, { 2000, 1500 }, "blosc:lz4:5:shuffle", "zstd:1", 0, 0,
      0 },
    { "the same chunks, again", 2, { 2000, 3000 }, { 1000, 1500 }, { 1000, 1500 }, "zstd:3", "blosc:lz4:5:shuffle", 0, 0,
      0 },
    { "one axis, missing ones", 1, { 3000000 }, { 50000 }, { 300000 }, "none", "none", 0, 0, 3 },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static const enum plan_wanted kinds_wanted[] = { PLAN_DIRECT, PLAN_SPLIT, PLAN_PASSES, PLAN_RANGED_WRITE, PLAN_CARRY };
enum { KINDS_WANTED = sizeof kinds_wanted / sizeof kinds_wanted[0] };

/* Above the minimum, in eighths of it. */
static const unsigned eighths_more[] = { 0, 5 };
enum { BUDGETS = sizeof eighths_more / sizeof eighths_more[0] };

static void check_case(const struct model_case *c)
{
    struct model m;

    model_init(&m, c);
    for (unsigned kind = 0; kind < KINDS_WANTED; kind++) {
        uint64_t least_bytes;

        model_plan(&m, kinds_wanted[kind], MIB);
        least_bytes = m.bench.plan.minimum_bytes;
        for (unsigned more = 0; least_bytes != UINT64_MAX && more < BUDGETS; more++)
            if (model_plan(&m, kinds_wanted[kind], least_bytes + least_bytes / 8 * eighths_more[more]))
                check_run(&m, c->what);
            else
                CHECK(!"it plans");
    }
    model_release(&m);
}

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* About two million elements, in no more than a few hundred chunks. */
static void random_case(struct model_case *c, uint64_t *seed)
{
    static const char *const codecs[] = { "none", "none", "zstd:1", "blosc:lz4:5:shuffle", "gzip:1", "lz4" };
    static const uint64_t mean_length[] = { 0, 2000000, 1400, 125 };

    *c = (struct model_case){ .what = "random", .rank = 1 + (unsigned)(random_next(seed) % 3) };
    c->codec_from = codecs[random_next(seed) % 6];
    c->codec_to = codecs[random_next(seed) % 6];
    c->fortran_from = random_next(seed) % 3 == 0;
    c->fortran_to = random_next(seed) % 3 == 0;
    c->missing_each = random_next(seed) % 4 == 0 ? 3 : 0;
    for (unsigned i = 0; i < c->rank; i++) {
        c->shape[i] = mean_length[c->rank] / 4 * 3 + random_next(seed) % (mean_length[c->rank] / 2);
        c->from[i] = size_div_up(c->shape[i], 1 + random_next(seed) % 7) + random_next(seed) % 2;
        c->to[i] = size_div_up(c->shape[i], 1 + random_next(seed) % 7) + random_next(seed) % 2;
    }
}

enum { RANDOM_CASES = 10 };

static void test_model__what_is_predicted_is_what_is_counted(void)
{
    uint64_t seed = 4;

    for (unsigned i = 0; i < CASES; i++)
        check_case(&cases[i]);
    for (unsigned i = 0; i < RANDOM_CASES; i++) {
        struct model_case c;

        random_case(&c, &seed);
        check_case(&c);
    }
    for (unsigned i = 0; i < SEEN_COUNT; i++) {
        if (!seen[i] || getenv("SHOW_PLANS"))
            printf("%s: %u\n", seen_names[i], seen[i]);
        CHECK(seen[i] > 0);
    }
}

int main(void)
{
    RUN(test_model__what_is_predicted_is_what_is_counted);
    return test_summary();
}
