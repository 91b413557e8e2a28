/* Box shapes: closed forms against counting, the search against trying everything; and memory of scans. */
#include <math.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/scan.h"
#include "planner/planner.h"
#include "tests/unit/test.h"

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void test_fit__overlaps_are_what_counting_gives(void)
{
    uint64_t seed = 1;

    for (unsigned i = 0; i < 5000; i++) {
        uint64_t shape = 1 + random_next(&seed) % 60, a = 1 + random_next(&seed) % 70;
        uint64_t b = 1 + random_next(&seed) % 70;
        uint64_t pieces = 0;

        for (uint64_t x = 0; x < shape; x++)
            pieces += x == 0 || x % a == 0 || x % b == 0;
        CHECK_EQUAL(axis_overlaps(shape, a, b), pieces);
    }
    CHECK_EQUAL(axis_overlaps(0, 3, 4), 0);
    CHECK_EQUAL(axis_overlaps(UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 2), 3);
}

static struct grid grid_make(unsigned rank, const uint64_t *shape, const uint64_t *cell)
{
    struct grid g = { .rank = rank };

    memcpy(g.shape, shape, rank * sizeof *shape);
    memcpy(g.cell, cell, rank * sizeof *cell);
    return g;
}
#define GRID(rank, shape, cell) grid_make(rank, (const uint64_t[])shape, (const uint64_t[])cell)
#define L(...) { __VA_ARGS__ }

static double tile_of(const struct grid *unit, enum tile_layout layout, const uint64_t *box)
{
    struct grid boxes = *unit;

    memcpy(boxes.cell, box, unit->rank * sizeof *box);
    return (double)tile_bytes_max(layout, 4, unit, &boxes);
}

/* Every box of whole cells. */
static double fewest_by_trying(const struct grid *unit, enum tile_layout layout, const uint64_t *other,
                               uint64_t bytes_max)
{
    uint64_t n0 = grid_axis_cells(unit, 0), n1 = grid_axis_cells(unit, 1);
    double fewest = INFINITY;

    for (uint64_t i = 1; i <= n0; i++)
        for (uint64_t j = 1; j <= n1; j++) {
            uint64_t box[] = { i * unit->cell[0], j * unit->cell[1] };

            if (tile_of(unit, layout, box) <= (double)bytes_max)
                fewest = fmin(fewest, grid_overlaps(2, unit->shape, box, other));
        }
    return fewest;
}

static void test_fit__the_search_is_as_good_as_trying_all(void)
{
    uint64_t seed = 7;

    for (unsigned i = 0; i < 300; i++) {
        uint64_t shape[] = { 1 + random_next(&seed) % 300, 1 + random_next(&seed) % 300 };
        uint64_t cell[] = { 1 + random_next(&seed) % 20, 1 + random_next(&seed) % 20 };
        uint64_t other[] = { 1 + random_next(&seed) % 40, 1 + random_next(&seed) % 40 };
        struct grid unit = grid_make(2, shape, cell);
        uint64_t bytes_max = 4096 + random_next(&seed) % 200000, box[RANK_MAX];
        double fewest = fewest_by_trying(&unit, TILE_CLIPPED, other, bytes_max);

        if (!box_best(&unit, TILE_CLIPPED, 4, other, bytes_max, box)) {
            CHECK(fewest == INFINITY);
            continue;
        }
        CHECK(tile_of(&unit, TILE_CLIPPED, box) <= (double)bytes_max);
        CHECK(box[0] % cell[0] == 0 && box[1] % cell[1] == 0);
        CHECK(grid_overlaps(2, shape, box, other) <= 1.15 * fewest);
    }
}

/* Whole chunks on both sides. */
static bool pair_best(const struct grid *source, const struct grid *target, uint64_t slab_bytes_max,
                      uint64_t bucket_bytes_max, uint64_t *slab, uint64_t *bucket)
{
    struct side from = { .unit = *source, .layout = TILE_CLIPPED }, to = { .unit = *target, .layout = TILE_WHOLE };

    return box_pair_best(&from, &to, 4, slab_bytes_max, bucket_bytes_max, slab, bucket);
}

/* Extents of the pair found, after checking that both sides fit. */
static double pair_extents(const struct grid *source, const struct grid *target, uint64_t bytes_max,
                           uint64_t *slab, uint64_t *bucket)
{
    if (!pair_best(source, target, bytes_max, bytes_max, slab, bucket))
        return 0;
    CHECK(tile_of(source, TILE_CLIPPED, slab) <= (double)bytes_max);
    CHECK(tile_of(target, TILE_WHOLE, bucket) <= (double)bytes_max);
    return grid_overlaps(source->rank, source->shape, slab, bucket);
}

static void test_fit__maps_to_series_cut_time_against_places(void)
{
    struct grid source = GRID(3, L(720, 721, 1440), L(1, 721, 1440));
    struct grid target = GRID(3, L(720, 721, 1440), L(720, 16, 16));
    uint64_t slab[RANK_MAX], bucket[RANK_MAX];
    double extents = pair_extents(&source, &target, 100 * MIB, slab, bucket);

    /* 25 maps fit a slab, 142 of 4,140 series chunks a bucket: 29 slabs, 30 buckets and a few for whole cells. */
    CHECK(extents > 0 && extents <= 29 * 34);
    CHECK_EQUAL(slab[2], 1440);
    CHECK_EQUAL(bucket[0], 720);
}

static void test_fit__cubes_to_planes_and_back(void)
{
    struct grid cubes = GRID(3, L(1000, 1000, 1000), L(100, 100, 100));
    struct grid planes = GRID(3, L(1000, 1000, 1000), L(1, 1000, 1000));
    uint64_t slab[RANK_MAX], bucket[RANK_MAX];
    double extents = pair_extents(&cubes, &planes, 64 * MIB, slab, bucket);

    CHECK(extents > 0 && extents <= 700);
    CHECK(slab[0] == 100);
    extents = pair_extents(&planes, &cubes, 64 * MIB, slab, bucket);
    CHECK(extents > 0 && extents <= 700);
    CHECK(bucket[0] == 100);
}

static void test_fit__squares_to_columns(void)
{
    struct grid source = GRID(2, L(10000, 10000), L(1000, 1000)), target = GRID(2, L(10000, 10000), L(10000, 10));
    uint64_t slab[RANK_MAX], bucket[RANK_MAX];
    double extents = pair_extents(&source, &target, 44 * MIB, slab, bucket);

    /* Ten squares above one another hold what a tenth of the columns needs: each slab is its own bucket. */
    CHECK_EQUAL(slab[0], 10000);
    CHECK_EQUAL(slab[1], 1000);
    CHECK_EQUAL(bucket[1], 1000);
    CHECK_EQUAL((uint64_t)extents, 10);

    /* With room for three squares only, three rows of squares and many buckets. */
    extents = pair_extents(&source, &target, 13 * MIB, slab, bucket);
    CHECK(extents > 0 && extents <= 200);
}

static void test_fit__misaligned_lengths_touch_few(void)
{
    struct grid source = GRID(1, L(100000000), L(1000)), target = GRID(1, L(100000000), L(999));
    uint64_t slab[RANK_MAX], bucket[RANK_MAX];
    double extents = pair_extents(&source, &target, 4 * MIB, slab, bucket);

    /* About a hundred slabs and a hundred buckets, side by side. */
    CHECK(extents > 0 && extents <= 220);
}

static void test_fit__the_last_box_is_no_sliver(void)
{
    struct grid source = GRID(2, L(101, 1000), L(1, 1000)), target = GRID(2, L(101, 1000), L(101, 1));
    uint64_t slab[RANK_MAX], bucket[RANK_MAX];

    /* 100 of 101 rows would fit: two boxes of 51 and 50 do the same. */
    CHECK(pair_extents(&source, &target, 403000, slab, bucket) > 0);
    CHECK_EQUAL(slab[0], 51);
}

/* Small chunks lie on lines of 64 bytes, not on pages: 4 MiB hold 65,536 of them. */
static void test_fit__small_chunks_are_packed(void)
{
    struct grid source = GRID(2, L(1024, 65536), L(1, 65536)), target = GRID(2, L(1024, 65536), L(16, 1));
    uint64_t box[RANK_MAX];

    CHECK(box_best(&target, TILE_WHOLE, 4, source.cell, 4 * MIB, box));
    CHECK_EQUAL(box[0] / 16 * box[1], 65536);
}

static void test_fit__one_cell_that_does_not_fit_is_said(void)
{
    struct grid source = GRID(2, L(100, 1000), L(10, 1000)), target = GRID(2, L(100, 1000), L(100, 10));
    uint64_t slab[RANK_MAX], bucket[RANK_MAX];

    CHECK(!pair_best(&source, &target, 39999, 1 << 20, slab, bucket));
    CHECK(pair_best(&source, &target, 40000, 1 << 20, slab, bucket));
    CHECK(!pair_best(&source, &target, 40000, 4031, slab, bucket));
    CHECK(pair_best(&source, &target, 40000, 4032, slab, bucket));
}

static void test_fit__a_scan_needs_one_chunk_and_says_how_much(void)
{
    struct array_meta m = { .dtype = { DTYPE_FLOAT, 4 } };
    struct chunk_census census = { .chunks = 720, .encoded_bytes_max = 1 << 20, .encoded_bytes_mean = 1 << 20 };
    struct scan scan = { .array = &m, .backend = IO_URING };
    double sum = 0;
    struct error err = { 0 };

    m.chunks = GRID(3, L(720, 721, 1440), L(1, 721, 1440));
    for (unsigned i = 0; i < 3; i++)
        m.codecs.order[i] = (uint8_t)i;
    CHECK(codec_chain_from_text(&m.codecs, "zstd:3", 4, &err));
    CHECK(!plan_scan(&scan, 4 * MIB, 2, &census, SPAN_NONE, &err));
    CHECK_EQUAL(err.code, ERR_FIT);
    CHECK(err.need_bytes > 4 * MIB);
    CHECK_EQUAL(err.note_count, 2);
    for (unsigned i = 0; i < err.note_count; i++) {
        double size;
        char unit[8];

        CHECK(sscanf(strpbrk(err.notes[i], "0123456789"), "%lf%7[A-Za-z]", &size, unit) == 2);
        sum += size * (strcmp(unit, "MiB") == 0 ? (double)MIB : (double)KIB);
    }
    CHECK(fabs(sum - (double)err.need_bytes) < 0.01 * (double)err.need_bytes);
    CHECK(plan_scan(&scan, err.need_bytes, 2, &census, SPAN_NONE, &(struct error){ 0 }));
    CHECK_EQUAL(scan.workers, 1);
    CHECK(!plan_scan(&scan, err.need_bytes - 1, 2, &census, SPAN_NONE, &(struct error){ 0 }));
    CHECK(plan_scan(&scan, 256 * MIB, 2, &census, SPAN_NONE, &(struct error){ 0 }));
    CHECK_EQUAL(scan.workers, 2);
    CHECK_EQUAL(grid_cells(&scan.tasks), 1);
    CHECK(scan.memory.reads_bytes >= 2 * scan.memory.piece_bytes_max);
    CHECK_EQUAL(scan.memory.tile_bytes, 0);
}

/* As the planner's own plans do, so that what was made in a budget can be verified in it. */
static void test_fit__a_scan_of_chunks_too_big_to_be_held_goes_in_parts(void)
{
    static const struct { const char *codec; enum stage_source source; bool ranged, whole; } cases[] = {
        { "none", FROM_CHUNKS, true, false },
        { "blosc:lz4:5", FROM_CHUNKS, true, false },
        { "zstd:3", FROM_STREAM, false, false },
        { "gzip:5", FROM_STREAM, false, false },
        { "lz4", FROM_CHUNKS, false, true },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct array_meta m = { .dtype = { DTYPE_FLOAT, 4 } };
        struct chunk_census census = { .chunks = 3, .encoded_bytes_max = 300 * MIB, .encoded_bytes_mean = 300 * MIB };
        struct scan scan = { .array = &m, .backend = IO_THREADS };
        struct error err = { 0 };

        m.chunks = GRID(2, L(3, 100000000), L(1, 100000000));
        m.codecs.order[1] = 1;
        census.codec = (struct codec_sample){ .blosc_block_bytes_max = 128 * KIB, .zstd_window_bytes_max = 2 * MIB };
        CHECK(codec_chain_from_text(&m.codecs, cases[i].codec, 4, &err));
        CHECK(plan_scan(&scan, 32 * MIB, 2, &census, SPAN_NONE, &err) != cases[i].whole);
        CHECK(scan.source == cases[i].source && (scan.piece_raw_bytes > 0) == cases[i].ranged);
        CHECK(scan.source != FROM_STREAM || scan.workers == 1);
        if (cases[i].whole) {
            CHECK(err.code == ERR_FIT && strstr(err.notes[err.note_count - 1], cases[i].codec));
            CHECK(plan_scan(&scan, err.need_bytes, 2, &census, SPAN_NONE, &(struct error){ 0 }));
        }
        CHECK(!plan_scan(&scan, MIB, 2, &census, SPAN_NONE, (err = (struct error){ 0 }, &err)));
        CHECK(plan_scan(&scan, err.need_bytes, 2, &census, SPAN_NONE, &(struct error){ 0 }));
        CHECK(!plan_scan(&scan, err.need_bytes - 1, 2, &census, SPAN_NONE, &(struct error){ 0 }));
        CHECK(plan_scan(&scan, 4 * GIB, 2, &census, SPAN_NONE, &(struct error){ 0 }));
        CHECK_EQUAL(scan.workers, 2);
    }
}

int main(void)
{
    RUN(test_fit__overlaps_are_what_counting_gives);
    RUN(test_fit__the_search_is_as_good_as_trying_all);
    RUN(test_fit__maps_to_series_cut_time_against_places);
    RUN(test_fit__cubes_to_planes_and_back);
    RUN(test_fit__squares_to_columns);
    RUN(test_fit__misaligned_lengths_touch_few);
    RUN(test_fit__the_last_box_is_no_sliver);
    RUN(test_fit__small_chunks_are_packed);
    RUN(test_fit__one_cell_that_does_not_fit_is_said);
    RUN(test_fit__a_scan_needs_one_chunk_and_says_how_much);
    RUN(test_fit__a_scan_of_chunks_too_big_to_be_held_goes_in_parts);
    return test_summary();
}
