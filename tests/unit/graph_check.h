/* graph_check.h - what graph.h asks of every graph that a planner makes, checked task by task where tasks are few. */
#ifndef SLUICE_TESTS_GRAPH_CHECK_H
#define SLUICE_TESTS_GRAPH_CHECK_H

#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/graph.h"
#include "engine/exec/scratch.h"
#include "tests/unit/test.h"

enum { TASKS_CHECKED = 3000 };

static bool cells_equal(const struct grid *a, const struct grid *b)
{
    return a->rank == b->rank && memcmp(a->cell, b->cell, a->rank * sizeof *a->cell) == 0 &&
           memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

/* Where an element of a chunk is in stored order, among those that the array has. */
static uint64_t stored_place(const struct array_meta *m, const struct box *chunk, const uint64_t *at)
{
    uint64_t place = 0;

    for (unsigned i = 0; i < m->chunks.rank; i++) {
        unsigned axis = m->codecs.order[i];

        place = place * chunk->length[axis] + (at[axis] - chunk->start[axis]);
    }
    return place;
}

/* Each chunk is one run after another from its beginning to its end, and none is begun before the last one is done. */
static void check_slices(const struct stage *s, const struct array_meta *m)
{
    uint64_t tasks = grid_cells(&s->tasks), coords[RANK_MAX], chunk_index = UINT64_MAX, next = 0, elements = 0;

    for (uint64_t task = 0; task < tasks && task < TASKS_CHECKED; task++) {
        struct cell_range touched;
        struct box box;

        walk_grid_coords(&s->walk, &s->tasks, task, coords);
        grid_cell_box(&s->tasks, coords, &box);
        grid_cells_touched(&m->chunks, &box, &touched);
        for (uint64_t i = 0; i < cell_range_cells(m->chunks.rank, &touched); i++) {
            uint64_t cell[RANK_MAX], last[RANK_MAX], first;
            struct box chunk, part;

            cell_range_coords(m->chunks.rank, &touched, i, cell);
            grid_cell_box(&m->chunks, cell, &chunk);
            CHECK(box_intersect(m->chunks.rank, &chunk, &box, &part));
            for (unsigned axis = 0; axis < m->chunks.rank; axis++)
                last[axis] = part.start[axis] + part.length[axis] - 1;
            first = stored_place(m, &chunk, part.start);
            if (grid_index(&m->chunks, cell) != chunk_index) {
                CHECK(next == elements);
                chunk_index = grid_index(&m->chunks, cell);
                elements = box_elements(m->chunks.rank, &chunk);
                next = 0;
            }
            CHECK_EQUAL(first, next);
            next = stored_place(m, &chunk, last) + 1;
            CHECK_EQUAL(next - first, box_elements(m->chunks.rank, &part));
        }
    }
}

static void check_source(const struct graph *g, unsigned number)
{
    const struct stage *s = &g->stages[number], *before = s - 1;

    CHECK((s->source == FROM_SEGMENTS) == (number > 0));
    CHECK(number == 0 || before->sink == TO_SEGMENTS);
    if (s->source == FROM_SEGMENTS)
        for (unsigned i = 0; i < s->tasks.rank; i++)        /* each task in one cell of what was written */
            CHECK(before->parts.cell[i] % s->tasks.cell[i] == 0 || before->parts.cell[i] >= s->tasks.shape[i]);
    if (s->source == FROM_CHUNKS && s->piece_raw_bytes) {
        CHECK_EQUAL(s->piece_raw_bytes % g->source->dtype.item_bytes, 0);
        CHECK(codec_chain_cannot(&g->source->codecs, CODEC_RANGED) == NULL);
    }
    if (s->source == FROM_STREAM) {
        CHECK(codec_chain_cannot(&g->source->codecs, CODEC_STREAMED) == NULL);
        CHECK(s->memory.stream_bytes > 0);
        check_slices(s, g->source);
    } else {
        CHECK(s->memory.piece_bytes_max > 0);
        CHECK(s->memory.reads_bytes >= s->memory.piece_bytes_max);
    }
}

static void check_sink(const struct graph *g, unsigned number)
{
    const struct stage *s = &g->stages[number];

    CHECK((s->sink == TO_SEGMENTS) == (number + 1 < g->stage_count));
    if (s->sink == TO_CHUNKS)
        for (unsigned i = 0; i < s->tasks.rank; i++)
            CHECK(s->tasks.cell[i] % s->parts.cell[i] == 0 || s->tasks.cell[i] >= s->tasks.shape[i]);
    if (s->sink == TO_CHUNKS || s->sink == TO_RANGES)
        CHECK(cells_equal(&s->parts, &g->target->chunks));
    if (s->sink == TO_RANGES)
        CHECK(codec_chain_is_raw(&g->target->codecs));
    if (s->sink == TO_SLICES) {
        CHECK(codec_chain_cannot(&g->target->codecs, CODEC_APPENDED) == NULL);
        CHECK(cells_equal(&s->parts, &s->tasks));
        CHECK(s->memory.append_bytes > 0 && s->memory.write_bytes > 0);
        check_slices(s, g->target);
    }
    if (s->sink == TO_SEGMENTS)
        CHECK(s->memory.index_bytes >= split_index_bytes(&s->tasks, &s->parts, g->source->dtype.item_bytes,
                                                         g->scratch.block_bytes));
    CHECK(s->memory.write_slots >= 1);
}

/* A box begins where the one before it ended on that axis, or is the first of its row. */
static void check_carry(const struct graph *g, const struct stage *s)
{
    unsigned axis = s->carry_axis;

    CHECK(s->source == FROM_CHUNKS && s->memory.carry_bytes > 0);
    CHECK(s->walk.group[axis] == WALK_ALL);
    CHECK(s->tasks.cell[axis] >= size_min(g->source->chunks.cell[axis], s->tasks.shape[axis]));
    for (unsigned i = 0; i < s->tasks.rank; i++)
        CHECK(i == axis || s->walk.group[i] <= 1);
}

static void check_graph(const struct graph *g)
{
    CHECK(g->stage_count >= 1 && g->stage_count <= STAGES_MAX);
    for (unsigned i = 0; i < g->stage_count; i++) {
        const struct stage *s = &g->stages[i];

        CHECK(s->tasks.rank == g->source->chunks.rank && s->parts.rank == s->tasks.rank);
        CHECK(memcmp(s->tasks.shape, g->source->chunks.shape, s->tasks.rank * sizeof(uint64_t)) == 0);
        CHECK(stage_pool_bytes(s) + g->scratch.memory_bytes <= g->pool_bytes);
        CHECK(s->workers >= 1 && s->workers <= g->threads);
        CHECK(s->memory.tile_bytes >=
              tile_bytes_max(s->sink == TO_CHUNKS || s->sink == TO_SLICES ? TILE_WHOLE : TILE_CLIPPED,
                             g->source->dtype.item_bytes, &s->parts, &s->tasks));
        check_source(g, i);
        check_sink(g, i);
        if (s->carries)
            check_carry(g, s);
    }
    if (g->stage_count == 1)
        CHECK_EQUAL(g->scratch.memory_bytes, 0);
    else
        CHECK(g->scratch.path != NULL && g->scratch.block_bytes % 16 == 0);
}

#endif
