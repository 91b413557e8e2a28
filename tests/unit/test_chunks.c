/* The chunk grammar on one array, and the words of its refusals. */
#include <string.h>

#include "engine/base/size.h"
#include "planner/planner.h"
#include "tests/unit/test.h"

static char name_time[] = "time", name_latitude[] = "latitude", name_longitude[] = "longitude";

/* (720, 721, 1440) float32 in maps. */
static void array_make(struct array_meta *m, bool named)
{
    static const uint64_t shape[] = { 720, 721, 1440 }, cell[] = { 1, 721, 1440 };

    memset(m, 0, sizeof *m);
    m->chunks.rank = 3;
    memcpy(m->chunks.shape, shape, sizeof shape);
    memcpy(m->chunks.cell, cell, sizeof cell);
    m->dtype = (struct dtype){ DTYPE_FLOAT, 4 };
    if (!named)
        return;
    m->dimension_names[0] = name_time;
    m->dimension_names[1] = name_latitude;
    m->dimension_names[2] = name_longitude;
}

static struct axis_request axis(const char *name, enum axis_chunk kind, uint64_t value)
{
    return (struct axis_request){ .kind = kind, .value = value, .name = name };
}

static bool resolve(const struct chunk_request *r, bool named, uint64_t *cell, struct error *err)
{
    struct array_meta m;

    array_make(&m, named);
    memset(err, 0, sizeof *err);
    return chunks_resolve(r, &m, "t2m", cell, err);
}

static void check_cell(const uint64_t *cell, uint64_t a, uint64_t b, uint64_t c)
{
    CHECK_EQUAL(cell[0], a);
    CHECK_EQUAL(cell[1], b);
    CHECK_EQUAL(cell[2], c);
}

static void test_chunks__what_is_not_named_is_kept(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 2 };
    uint64_t cell[RANK_MAX];
    struct error err;

    r.axes[0] = axis("longitude", AXIS_COUNT, 16);
    r.axes[1] = axis("time", AXIS_ALL, 0);
    CHECK(resolve(&r, true, cell, &err));
    check_cell(cell, 720, 721, 16);
    r.form = CHUNKS_KEEP;
    CHECK(resolve(&r, true, cell, &err));
    check_cell(cell, 1, 721, 1440);
}

static void test_chunks__a_name_of_two_dimensions_is_refused(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 1 };
    struct array_meta m;
    uint64_t cell[RANK_MAX];
    struct error err = { 0 };

    array_make(&m, true);
    m.dimension_names[2] = name_latitude;
    r.axes[0] = axis("latitude", AXIS_COUNT, 4);
    CHECK(!chunks_resolve(&r, &m, "t2m", cell, &err));
    CHECK(err.code == ERR_USAGE && strcmp(err.key, "output.chunks") == 0);
    CHECK(strstr(err.message, "positions 1, 2") != NULL && strstr(err.help, "by position") != NULL);

    /* The others can still be named. */
    r.axes[0] = axis("time", AXIS_COUNT, 4);
    CHECK(chunks_resolve(&r, &m, "t2m", cell, &(struct error){ 0 }));
    check_cell(cell, 4, 721, 1440);
}

static void test_chunks__a_list_goes_by_position(void)
{
    struct chunk_request r = { .form = CHUNKS_LISTED, .count = 3 };
    uint64_t cell[RANK_MAX];
    struct error err;

    r.axes[0] = axis(NULL, AXIS_COUNT, 10000);
    r.axes[1] = axis(NULL, AXIS_KEEP, 0);
    r.axes[2] = axis(NULL, AXIS_COUNT, 7);
    CHECK(resolve(&r, true, cell, &err));
    check_cell(cell, 10000, 721, 7);    /* longer than the axis: kept as written */
    r.count = 2;
    CHECK(!resolve(&r, true, cell, &err));
    CHECK_EQUAL(err.code, ERR_USAGE);
    CHECK(strstr(err.message, "3 dimensions") != NULL);
}

static void test_chunks__an_unknown_name_is_refused_with_the_nearest(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 1 };
    uint64_t cell[RANK_MAX];
    struct error err;

    r.axes[0] = axis("latitud", AXIS_COUNT, 16);
    CHECK(!resolve(&r, true, cell, &err));
    CHECK_EQUAL(err.code, ERR_USAGE);
    CHECK(strcmp(err.help, "did you mean 'latitude'?") == 0);
    CHECK(strcmp(err.notes[0], "it has time, latitude, longitude") == 0);
    r.axes[0] = axis("lon", AXIS_COUNT, 16);
    CHECK(!resolve(&r, true, cell, &err));
    CHECK(strcmp(err.help, "did you mean 'longitude'?") == 0);
}

static void test_chunks__unnamed_dimensions_go_by_position(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 1 };
    uint64_t cell[RANK_MAX];
    struct error err;

    r.axes[0] = axis("2", AXIS_COUNT, 16);
    CHECK(resolve(&r, false, cell, &err));
    check_cell(cell, 1, 721, 16);
    r.axes[0] = axis("time", AXIS_COUNT, 16);
    CHECK(!resolve(&r, false, cell, &err));
    CHECK(strstr(err.notes[0], "by position, 0, 1, 2") != NULL);
}

static void test_chunks__the_same_axis_twice_is_refused(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 2 };
    uint64_t cell[RANK_MAX];
    struct error err;

    r.axes[0] = r.axes[1] = axis("time", AXIS_COUNT, 16);
    CHECK(!resolve(&r, true, cell, &err));
    r.count = 1;
    r.axes[0].value = 0;
    CHECK(!resolve(&r, true, cell, &err));
    CHECK_EQUAL(err.code, ERR_USAGE);
}

static void test_chunks__byte_axes_grow_alike(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 3 };
    uint64_t cell[RANK_MAX], bytes;
    struct error err;

    r.axes[0] = axis("time", AXIS_ALL, 0);
    r.axes[1] = axis("latitude", AXIS_BYTES, 8 * MIB);
    r.axes[2] = axis("longitude", AXIS_BYTES, 8 * MIB);
    CHECK(resolve(&r, true, cell, &err));
    CHECK_EQUAL(cell[1], cell[2]);
    bytes = cell[0] * cell[1] * cell[2] * 4;
    CHECK(bytes <= 8 * MIB && bytes > 7 * MIB);
    r.axes[2].value = 4 * MIB;
    CHECK(!resolve(&r, true, cell, &err));
}

static void test_chunks__bytes_on_all_axes_stop_at_short_ones(void)
{
    struct chunk_request r = { .form = CHUNKS_BYTES, .bytes = 2000ull * 1000 * 1000 };
    uint64_t cell[RANK_MAX];
    struct error err;

    CHECK(resolve(&r, true, cell, &err));
    CHECK_EQUAL(cell[0], 720);
    CHECK(cell[1] * cell[2] * 720 * 4 <= r.bytes && cell[1] * cell[2] * 720 * 4 > r.bytes * 98 / 100);
    r.bytes = 100ull * 1000 * 1000 * 1000;
    CHECK(resolve(&r, true, cell, &err));
    check_cell(cell, 720, 721, 1440);
    r.bytes = 1;
    CHECK(resolve(&r, true, cell, &err));
    check_cell(cell, 1, 1, 1);
}

static void test_chunks__auto_is_16_to_32_mib_on_old_borders(void)
{
    struct chunk_request r = { .form = CHUNKS_AUTO };
    uint64_t cell[RANK_MAX], bytes;
    struct error err;

    CHECK(resolve(&r, true, cell, &err));
    bytes = cell[0] * cell[1] * cell[2] * 4;
    CHECK(bytes >= 16 * MIB && bytes <= 32 * MIB);
    check_cell(cell, 8, 721, 1440);
}

static void test_chunks__longer_than_the_axis_is_kept_and_said(void)
{
    struct chunk_request r = { .form = CHUNKS_NAMED, .count = 3 };
    struct array_meta m = { .chunks = { 3, { 200, 90, 90 }, { 1, 90, 90 } } };
    char lat[] = "lat";
    struct text warnings;

    m.dimension_names[1] = lat;
    r.axes[0] = (struct axis_request){ .kind = AXIS_COUNT, .value = 500, .name = "0" };
    r.axes[1] = (struct axis_request){ .kind = AXIS_COUNT, .value = 91, .name = "lat" };
    r.axes[2] = (struct axis_request){ .kind = AXIS_COUNT, .value = 90, .name = "2" };
    text_init(&warnings, 1024);
    warn_of_long_chunks(&r, &m, &warnings);
    CHECK(strcmp(warnings.chars, "chunks of 500 along axis 0: it has 200, 'all' would do\n"
                                 "chunks of 91 along lat: it has 90, 'all' would do\n") == 0);
    text_clear(&warnings);
    r = (struct chunk_request){ .form = CHUNKS_LISTED, .count = 1, .axes = { { .kind = AXIS_COUNT, .value = 200 } } };
    warn_of_long_chunks(&r, &m, &warnings);
    CHECK_EQUAL(warnings.length, 0);
    text_release(&warnings);
}

int main(void)
{
    RUN(test_chunks__longer_than_the_axis_is_kept_and_said);
    RUN(test_chunks__what_is_not_named_is_kept);
    RUN(test_chunks__a_name_of_two_dimensions_is_refused);
    RUN(test_chunks__a_list_goes_by_position);
    RUN(test_chunks__an_unknown_name_is_refused_with_the_nearest);
    RUN(test_chunks__unnamed_dimensions_go_by_position);
    RUN(test_chunks__the_same_axis_twice_is_refused);
    RUN(test_chunks__byte_axes_grow_alike);
    RUN(test_chunks__bytes_on_all_axes_stop_at_short_ones);
    RUN(test_chunks__auto_is_16_to_32_mib_on_old_borders);
    return test_summary();
}
