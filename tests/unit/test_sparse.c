/* Arrays of which few chunks are there: from the census to a run, which must cost what is there and not what could be. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "engine/array/tile.h"
#include "engine/base/size.h"
#include "engine/exec/graph.h"
#include "tests/unit/directory.h"

enum { RANK = 3, ITEMS = 16 };
static const uint64_t source_chunk[RANK] = { 1, 1, ITEMS }, target_chunk[RANK] = { 2, 1, 24 };
/* Boxes of a few chunks, and of many. */
static const uint64_t small_box[RANK] = { 2, 3, 48 }, large_box[RANK] = { 100, 1000, 48 };

static struct array_meta make_meta(const uint64_t *shape, const uint64_t *chunk)
{
    struct array_meta m = { .format = FORMAT_ZARR2, .dtype = { DTYPE_UINT, 4 }, .keys = { .separator = '.' }, .fill = { 9 } };

    m.chunks.rank = RANK;
    for (unsigned i = 0; i < RANK; i++) {
        m.chunks.shape[i] = shape[i];
        m.chunks.cell[i] = chunk[i];
        m.codecs.order[i] = (uint8_t)i;
    }
    return m;
}

static void put_chunk(struct store *s, const struct array_meta *m, uint64_t chunk)
{
    uint32_t items[ITEMS];
    uint64_t coords[RANK];
    struct chunk_place place;

    for (unsigned i = 0; i < ITEMS; i++)
        items[i] = (uint32_t)(chunk * 2654435761u + i) | 1u << 20;
    grid_coords(&m->chunks, chunk, coords);
    array_chunk_place(m, coords, &place);
    CHECK(store_put(s, place.key, (char *)items, sizeof items, &(struct error){ 0 }));
}

/* What the target should hold at one element. */
static uint32_t value_at(const struct array_meta *from, const struct chunk_list *list, const uint64_t *at)
{
    uint64_t coords[RANK] = { at[0], at[1], at[2] / ITEMS }, chunk;

    for (unsigned i = 0; i < RANK; i++)
        if (at[i] >= from->chunks.shape[i])
            return 9;
    chunk = grid_index(&from->chunks, coords);
    return chunk_list_has(list, chunk) ? (uint32_t)(chunk * 2654435761u + at[2] % ITEMS) | 1u << 20 : 9;
}

/* Every target chunk that a listed chunk touches is there and right. Returns how many those are. */
static uint64_t check_target(const char *path, const struct array_meta *from, const struct array_meta *to,
                             const struct chunk_list *list)
{
    struct store *s = NULL;
    uint64_t checked[64], count = 0;

    CHECK(store_open(&s, path, SPAN_NONE, &(struct error){ 0 }));
    for (uint64_t i = 0; i < list->count; i++) {
        uint64_t coords[RANK], bytes, chunk;
        struct cell_range touched;
        struct box source;

        grid_coords(&from->chunks, list->chunks[i], coords);
        grid_cell_box(&from->chunks, coords, &source);
        grid_cells_touched(&to->chunks, &source, &touched);
        for (uint64_t j = 0; j < cell_range_cells(RANK, &touched); j++) {
            struct chunk_place place;
            uint32_t *got = NULL;
            bool seen = false, right = true;

            cell_range_coords(RANK, &touched, j, coords);
            chunk = grid_index(&to->chunks, coords);
            for (uint64_t k = 0; k < count; k++)
                seen = seen || checked[k] == chunk;
            if (seen)
                continue;
            checked[count++] = chunk;
            array_chunk_place(to, coords, &place);
            CHECK(store_get(s, place.key, 1 << 20, (char **)&got, &bytes, &(struct error){ 0 }) && got);
            for (uint64_t n = 0; got && n < array_chunk_bytes(to) / 4; n++) {
                const uint64_t at[RANK] = { coords[0] * 2 + n / 24, coords[1], coords[2] * 24 + n % 24 };

                right = right && got[n] == value_at(from, list, at);
            }
            CHECK(right);
            free(got);
        }
    }
    store_close(s);
    return count;
}

struct change { bool vanishes, appears, refuse, streams; };

/* Rechunk an array with these chunks, `change.streams` as if they were too big to be held; the others happen between the
 * census and the run. */
static bool run_sparse(const uint64_t *shape, const uint64_t *box, const uint64_t *chunks, unsigned count,
                       struct change change, struct error *err)
{
    struct directory d = directory_new();
    struct array_meta from = make_meta(shape, source_chunk), to = make_meta(shape, target_chunk);
    struct report *report = report_new(&(struct report_options){ .progress = PROGRESS_NONE });
    struct chunk_list list = { 0 };
    struct chunk_census census;
    struct store *s = NULL;
    struct graph g = { .source = &from, .target = &to, .target_path = directory_path(&d, "target"), .threads = 2,
                       .backend = IO_THREADS, .stage_count = 1, .refuse_missing_chunks = change.refuse };
    struct stage *stage = &g.stages[0];
    const char *source_path = directory_path(&d, "source");
    double began;
    bool ok;

    CHECK(store_stage(&s, source_path, false, "", SPAN_NONE, err) && array_meta_write(&from, s, err));
    for (unsigned i = 0; i < count; i++)
        put_chunk(s, &from, chunks[i]);
    CHECK(store_publish(s, err));
    CHECK(array_census_listed(&from, s, 10, &list, &census, err));
    CHECK(census.counted && census.present == count && list.count == count);
    if (change.appears)
        put_chunk(s, &from, chunks[0] + 1);
    if (change.vanishes) {
        struct chunk_place place;
        uint64_t coords[RANK];

        grid_coords(&from.chunks, chunks[0], coords);
        array_chunk_place(&from, coords, &place);
        CHECK(unlinkat(store_root_fd(s), place.key, 0) == 0);
    }
    g.source_store = s;
    g.present = &list;
    g.missing_chunks_max = UINT64_MAX;
    *stage = (struct stage){ .name = "direct", .source = FROM_CHUNKS, .sink = TO_CHUNKS, .tasks = to.chunks,
                             .parts = to.chunks, .workers = 2, .reads_in_flight = 4, .walk = { .group = { 4, 1, 2 } } };
    memcpy(stage->tasks.cell, box, sizeof small_box);
    stage->memory = (struct stage_memory){
        .tile_bytes = tile_bytes_max(TILE_WHOLE, 4, &to.chunks, &stage->tasks), .reads_bytes = 64 * KIB,
        .piece_bytes_max = 3 * IO_ALIGN, .decode_scratch_bytes = IO_ALIGN, .encode_scratch_bytes = IO_ALIGN,
        .write_slots = 2, .write_bytes = IO_ALIGN,
    };
    if (change.streams) {
        struct codec_needs needs;

        codec_streamed_needs(&from.codecs, from.dtype, array_chunk_bytes(&from), NULL, &needs);
        stage->source = FROM_STREAM;
        stage->memory.stream_bytes = needs.scratch_bytes_least;
    }
    g.pool_bytes = stage_pool_bytes(stage);
    began = os_now();
    ok = graph_run(&g, report, NULL, err);
    CHECK(os_now() - began < 60);    /* visiting every chunk takes hours */
    if (ok) {
        uint64_t written = check_target(g.target_path, &from, &to, &list);

        CHECK_EQUAL(report_count(report, COUNT_TARGET_OBJECTS), written + array_meta_files(&to));
        CHECK_EQUAL(report_count(report, COUNT_TARGET_EMPTY), grid_cells(&to.chunks) - written);
        CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
        CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
    }
    report_free(report);
    chunk_list_release(&list);
    store_close(s);
    directory_remove(&d);
    return ok;
}

static const uint64_t huge[RANK] = { 1000, 1000, 1000 * ITEMS };
static const uint64_t ten[10] = {
    0, 123456789, 123456790, 123456800, 222222222, 345678901, 500000000, 777777777, 999999000, 999999999,
};

static void test_sparse__ten_chunks_of_a_thousand_million_cost_ten(void)
{
    struct error err = { 0 };

    CHECK(run_sparse(huge, small_box, ten, 10, (struct change){ 0 }, &err));
    CHECK(run_sparse(huge, small_box, ten, 0, (struct change){ 0 }, &err));
    CHECK_EQUAL(err.code, ERR_NONE);
}

/* More than two million are within the boxes that are touched. */
static void test_sparse__missing_chunks_beside_one_that_is_there_cost_nothing(void)
{
    struct error err = { 0 };

    CHECK(run_sparse(huge, large_box, ten, 10, (struct change){ 0 }, &err));
    CHECK_EQUAL(err.code, ERR_NONE);
}

static void test_sparse__one_chunk_of_few_may_be_missing(void)
{
    static const uint64_t small[RANK] = { 3, 3, 2 * ITEMS - 5 };
    uint64_t chunks[17];
    struct error err = { 0 };

    for (unsigned missing = 0; missing < 18; missing += 4) {
        for (unsigned i = 0; i < 17; i++)
            chunks[i] = i + (i >= missing);
        CHECK(run_sparse(small, small_box, chunks, 17, (struct change){ 0 }, &err));
    }
    CHECK(!run_sparse(small, small_box, chunks, 17, (struct change){ .refuse = true }, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
}

static void test_sparse__a_chunk_that_goes_is_an_error_and_one_that_comes_is_not_seen(void)
{
    struct error err = { 0 };

    CHECK(!run_sparse(huge, small_box, ten + 1, 9, (struct change){ .vanishes = true }, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK(strstr(err.message, "not there any more"));
    err = (struct error){ 0 };
    CHECK(run_sparse(huge, small_box, ten + 4, 6, (struct change){ .appears = true }, &err));
}

static void test_sparse__chunks_that_are_streamed_are_found_too(void)
{
    static const uint64_t shape[RANK] = { 20, 10, 100 * ITEMS }, chunks[3] = { 7, 4321, 19999 };
    struct error err = { 0 };

    CHECK(run_sparse(shape, small_box, chunks, 3, (struct change){ .streams = true }, &err));
    CHECK_EQUAL(err.code, ERR_NONE);
}

static void test_sparse__refuses_what_is_missing_where_that_is_asked_for(void)
{
    struct error err = { 0 };

    CHECK(!run_sparse(huge, small_box, ten, 10, (struct change){ .refuse = true }, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
}

int main(void)
{
    RUN(test_sparse__ten_chunks_of_a_thousand_million_cost_ten);
    RUN(test_sparse__missing_chunks_beside_one_that_is_there_cost_nothing);
    RUN(test_sparse__one_chunk_of_few_may_be_missing);
    RUN(test_sparse__a_chunk_that_goes_is_an_error_and_one_that_comes_is_not_seen);
    RUN(test_sparse__chunks_that_are_streamed_are_found_too);
    RUN(test_sparse__refuses_what_is_missing_where_that_is_asked_for);
    return test_summary();
}
