/* Chunks as somebody types them: the grammar, and then on two arrays, one with names, one huge without. */
#include "dsl/scalars.h"
#include "planner/planner.h"
#include "tests/fuzz/fuzz.h"

enum { ARENA_BYTES = 1 << 20 };

static char time_name[] = "time", lat_name[] = "lat", lon_name[] = "lon";

static const struct array_meta metas[] = {
    { .chunks = { .rank = 3, .shape = { 744, 721, 1440 }, .cell = { 1, 721, 1440 } }, .dtype = { DTYPE_FLOAT, 4 },
      .dimension_names = { time_name, lat_name, lon_name } },
    { .chunks = { .rank = 2, .shape = { UINT64_C(1) << 40, 1 << 19 }, .cell = { 1, 1 } }, .dtype = { DTYPE_UINT, 8 } },
};

static void resolve(const struct chunk_request *request, const struct array_meta *m)
{
    uint64_t cell[RANK_MAX] = { 0 };
    struct error err = { 0 };

    if (!chunks_resolve(request, m, "in.zarr", cell, &err)) {
        must_be_said(&err);
        return;
    }
    for (unsigned axis = 0; axis < m->chunks.rank; axis++)
        MUST(cell[axis] >= 1 && cell[axis] <= INT64_MAX);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    char *words = as_text(data, bytes);
    struct source source = { .name = "command line", .text = words, .text_bytes = strlen(words) };
    struct span span = { .source = &source, .line = 1, .column = 1, .length = (uint32_t)source.text_bytes + 1 };
    struct chunk_request request = { 0 };
    struct error err = { 0 };
    struct arena arena;

    arena_init(&arena, ARENA_BYTES);
    if (!chunks_from_text(&request, words, span, &arena, &err))
        must_be_said(&err);
    else
        for (unsigned i = 0; i < sizeof metas / sizeof *metas; i++)
            resolve(&request, &metas[i]);
    arena_release(&arena);
    free(words);
    return 0;
}
