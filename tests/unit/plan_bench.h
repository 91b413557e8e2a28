/* plan_bench.h - jobs for the planner without stores, on hand-made metadata, and what must hold for any plan of them. */
#ifndef SLUICE_TESTS_PLAN_BENCH_H
#define SLUICE_TESTS_PLAN_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/planner.h"
#include "tests/unit/graph_check.h"
#include "tests/unit/test.h"

/* Sanitizers are slow and large. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* A job without stores. */
struct bench {
    struct plan plan;
    struct job job;
    struct room room;
    struct error err;
};

static void array_make(struct array_meta *m, unsigned rank, const uint64_t *shape, const uint64_t *cell,
                       uint32_t item_bytes, const char *codec)
{
    struct error err = { 0 };

    memset(m, 0, sizeof *m);
    m->format = FORMAT_ZARR3;
    m->chunks.rank = rank;
    memcpy(m->chunks.shape, shape, rank * sizeof *shape);
    memcpy(m->chunks.cell, cell, rank * sizeof *cell);
    m->dtype = (struct dtype){ DTYPE_FLOAT, item_bytes };
    for (unsigned i = 0; i < rank; i++)
        m->codecs.order[i] = (uint8_t)i;
    CHECK(codec_chain_from_text(&m->codecs, codec, item_bytes, &err));
}

/* Every chunk there, encoded to 1/ratio. */
static inline void bench_init(struct bench *b, unsigned rank, const uint64_t *shape, const uint64_t *from,
                              const uint64_t *to, uint32_t item_bytes, const char *codec, double ratio,
                              uint64_t memory_bytes)
{
    struct plan *p = &b->plan;

    memset(b, 0, sizeof *b);
    array_make(&p->source, rank, shape, from, item_bytes, codec);
    array_make(&p->target, rank, shape, to, item_bytes, codec);
    p->census.chunks = p->census.present = grid_cells(&p->source.chunks);
    p->census.counted = true;
    p->census.sampled = p->census.sampled_present = p->census.chunks ? 1 : 0;
    p->census.encoded_bytes_mean = p->census.encoded_bytes_max =
        (uint64_t)((double)array_chunk_bytes(&p->source) / ratio);
    p->census.codec.blosc_block_bytes_max = 512 * 1024;
    p->memory_bytes = memory_bytes;
    p->graph.threads = 2;
    p->io.backend = IO_URING;
    p->scratch_path = strdup("/there/out.zarr.sluice-scratch");
    text_init(&p->warnings, 1024);
    text_init(&p->notes, 1024);
    b->job.input.path = "in.zarr";
    b->job.output.path = "/there/out.zarr";
    b->room = (struct room){ .scratch_free_bytes = UINT64_MAX, .target_free_bytes = UINT64_MAX,
                              .target_free_files = UINT64_MAX };
}

static bool bench_plan(struct bench *b)
{
    memset(&b->err, 0, sizeof b->err);
    return plan_from_metas(&b->plan, &b->job, &b->room, &b->err);
}

static void bench_release(struct bench *b) { plan_release(&b->plan); }

#define SHAPE(...) ((const uint64_t[]){ __VA_ARGS__ })

/* What the engine will hold, added up anew from the graph. */
static uint64_t held_bytes(const struct plan *p)
{
    uint64_t pool = 0, library = 0, outside = 0;

    for (unsigned i = 0; i < p->graph.stage_count; i++) {
        const struct stage *s = &p->graph.stages[i];

        pool = size_max(pool, stage_pool_bytes(s));
        library = size_max(library, s->memory.library_bytes);
        outside = size_max(outside, program_bytes() + table_bytes() + metadata_bytes(&p->source)
                           + s->workers * worker_outside_bytes(p->graph.backend, s->reads_in_flight));
    }
    return pool + p->graph.scratch.memory_bytes + library + outside;
}

/* Everything that must hold for any plan. */
static void check_sound(const struct plan *p)
{
    const struct graph *g = &p->graph;

    CHECK(held_bytes(p) <= p->memory_bytes);
    CHECK(p->minimum_bytes <= p->memory_bytes);
    check_graph(g);
    for (unsigned i = 0; i < g->stage_count; i++) {
        CHECK(table_chosen_bytes(&p->memory[i]) <= p->memory_bytes);
        for (unsigned line = 0; line < p->memory[i].count; line++) {
            const struct memory_line *l = &p->memory[i].lines[line];
            CHECK(l->least_bytes <= l->chosen_bytes && l->chosen_bytes <= l->useful_bytes);
            CHECK(l->useful_bytes > 0);
        }
    }
}

static inline void show(const struct plan *p)
{
    struct text text;

    if (!getenv("SHOW_PLANS"))
        return;
    text_init(&text, 1 << 16);
    plan_explain(p, &text);
    printf("%s----\n", text.chars);
    text_release(&text);
}

/* ERA5-like: maps to time series. */
static inline void w2_init(struct bench *b, uint64_t times, const char *codec, double ratio, uint64_t memory_bytes)
{
    bench_init(b, 3, SHAPE(times, 721, 1440), SHAPE(1, 721, 1440), SHAPE(times, 16, 16), 4, codec, ratio,
               memory_bytes);
}

#endif
