/* Targets written by ranges: graphs made by hand, every byte of every object by a formula. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "engine/array/tile.h"
#include "engine/base/size.h"
#include "engine/exec/graph.h"
#include "engine/exec/resume.h"
#include "engine/exec/scratch.h"
#include "engine/io/os.h"
#include "tests/unit/directory.h"

enum { RANK = 3, BLOCK_BYTES = 4096 };
/* Three chunks long but for a bit on each axis, so that the last ones hang over. */
static const uint64_t shape[RANK] = { 23, 50, 85 };
static const uint64_t target_chunk[RANK] = { 11, 17, 30 };

struct options {
    enum stage_sink sink;
    enum io_backend backend;
    unsigned workers;
    uint64_t box[RANK];             /* of the tasks that write */
    bool split;                     /* by segments: boxes are buckets */
    uint64_t walk[RANK];
    uint32_t fill;
    bool full;                      /* no element is the fill value */
    bool big_endian, fortran, fill_undefined, write_empty_chunks;
    uint64_t write_bytes;
    const struct os_faults *faults; /* while the graph runs */
    uint64_t faults_hit;
};

/* The fill value in two chunks of the target, in half of another (whose first tasks bring nothing else), and in the
 * second half of a third; elsewhere the element's number, spread so that every byte matters. */
static uint32_t value_at(const struct options *o, const uint64_t *at)
{
    uint64_t index = (at[0] * shape[1] + at[1]) * shape[2] + at[2];
    bool row = at[0] < 11 && at[2] < 30, hole;

    hole = (row && at[1] < 17) || (at[0] >= 22 && at[1] >= 34 && at[2] >= 60) ||
           (row && at[1] >= 34 && at[0] < 8) || (at[0] >= 11 && at[0] < 22 && at[1] < 17 && at[2] < 30 && at[0] > 14);
    return hole && !o->full ? o->fill : (uint32_t)(index * 2654435761u + 12345u) | 1u << 30;
}

static struct array_meta make_meta(const struct options *o, const uint64_t *chunk, const char *codec, bool target)
{
    struct array_meta m = { .format = FORMAT_ZARR2, .dtype = { DTYPE_UINT, 4 }, .keys = { .separator = '.' } };
    struct error err = { 0 };

    memcpy(m.fill, &o->fill, sizeof o->fill);
    m.fill_undefined = target && o->fill_undefined;
    m.chunks.rank = RANK;
    for (unsigned i = 0; i < RANK; i++) {
        m.chunks.shape[i] = shape[i];
        m.chunks.cell[i] = chunk[i];
        m.codecs.order[i] = (uint8_t)(target && o->fortran ? RANK - 1 - i : i);
    }
    CHECK(codec_chain_from_text(&m.codecs, codec, 4, &err));
    m.codecs.transposed = target && o->fortran;
    m.codecs.big_endian = target && o->big_endian;
    return m;
}

/* A chunk's bytes as they should be stored; the overhang is fill. False: it should not be stored. */
static bool chunk_bytes(const struct options *o, const struct array_meta *m, const uint64_t *coords, uint32_t *out)
{
    uint64_t count = array_chunk_bytes(m) / 4;
    bool wanted = o->write_empty_chunks || m->fill_undefined;

    for (uint64_t n = 0; n < count; n++) {
        uint64_t rest = n, at[RANK];
        bool inside = true;

        for (unsigned i = RANK; i-- > 0; ) {
            unsigned axis = m->codecs.order[i];

            at[axis] = coords[axis] * m->chunks.cell[axis] + rest % m->chunks.cell[axis];
            rest /= m->chunks.cell[axis];
            inside = inside && at[axis] < shape[axis];
        }
        out[n] = inside ? value_at(o, at) : o->fill;
        wanted = wanted || out[n] != o->fill;
        if (m->codecs.big_endian)
            out[n] = __builtin_bswap32(out[n]);
    }
    return wanted;
}

static void write_source(const struct options *o, const char *path, const struct array_meta *m)
{
    struct store *store = NULL;
    struct error err = { 0 };
    uint32_t *raw = malloc(array_chunk_bytes(m));

    CHECK(store_stage(&store, path, false, "", SPAN_NONE, &err) && array_meta_write(m, store, &err));
    for (uint64_t i = 0; i < grid_cells(&m->chunks); i++) {
        uint64_t coords[RANK];
        struct chunk_place place;

        grid_coords(&m->chunks, i, coords);
        array_chunk_place(m, coords, &place);
        if (chunk_bytes(o, m, coords, raw))
            CHECK(store_put(store, place.key, (char *)raw, array_chunk_bytes(m), &err));
    }
    CHECK(store_publish(store, &err));
    store_close(store);
    free(raw);
}

/* Every object, there or not, byte for byte. */
static bool target_is_right(const struct options *o, const char *path, const struct array_meta *m, uint64_t *objects)
{
    struct store *store = NULL;
    struct error err = { 0 };
    uint64_t bytes = array_chunk_bytes(m), got_bytes;
    uint32_t *wanted = malloc(bytes);
    bool right = store_open(&store, path, SPAN_NONE, &err);

    *objects = 0;
    for (uint64_t i = 0; right && i < grid_cells(&m->chunks); i++) {
        uint64_t coords[RANK];
        struct chunk_place place;
        char *got = NULL;
        bool there;

        grid_coords(&m->chunks, i, coords);
        array_chunk_place(m, coords, &place);
        there = chunk_bytes(o, m, coords, wanted);
        right = store_get(store, place.key, 1 << 26, &got, &got_bytes, &err) && !got == !there &&
                (!got || (got_bytes == bytes && !memcmp(got, wanted, bytes)));
        if (!right)
            fprintf(stderr, "chunk %s is wrong\n", place.key);
        *objects += there;
        free(got);
    }
    free(wanted);
    store_close(store);
    return right;
}

static struct stage make_stage(const struct options *o, const char *name, enum stage_source source, enum stage_sink sink,
                               const uint64_t *box, const struct grid *parts, const struct array_meta *from)
{
    struct stage s = { .name = name, .source = source, .sink = sink, .parts = *parts, .workers = o->workers,
                       .reads_in_flight = 4 };
    struct stage_memory *m = &s.memory;

    s.tasks = *parts;
    memcpy(s.tasks.cell, box, sizeof(uint64_t[RANK]));
    m->tile_bytes = tile_bytes_max(sink == TO_CHUNKS ? TILE_WHOLE : TILE_CLIPPED, 4, parts, &s.tasks);
    m->piece_bytes_max = size_align_up(size_max(array_chunk_bytes(from), spill_encoded_bytes_max(BLOCK_BYTES)), IO_ALIGN) +
                         2 * IO_ALIGN;
    m->reads_bytes = 3 * m->piece_bytes_max;
    m->decode_scratch_bytes = m->encode_scratch_bytes = size_align_up(spill_scratch_bytes(BLOCK_BYTES), IO_ALIGN);
    m->write_slots = 2;
    m->write_bytes = sink == TO_SEGMENTS ? size_align_up(4 * spill_encoded_bytes_max(BLOCK_BYTES), IO_ALIGN) :
                     sink == TO_CHUNKS ? 64 * KIB : o->write_bytes;
    return s;
}

static bool run_case_in(const struct directory *d, struct options *o, struct error *err)
{
    static const uint64_t source_chunk[RANK] = { 2, 50, 40 }, slab[RANK] = { 4, 50, 85 };
    struct array_meta from = make_meta(o, source_chunk, "none", false);
    struct array_meta to = make_meta(o, target_chunk, "none", true);
    const char *source_path = directory_path(d, "source"), *target_path = directory_path(d, "target");
    const char *scratch_path = directory_path(d, "t.sluice-scratch");
    struct graph g = { .source = &from, .target = &to, .target_path = target_path, .threads = o->workers,
                       .backend = o->backend, .missing_chunks_max = UINT64_MAX,
                       .write_empty_chunks = o->write_empty_chunks, .stage_count = 1 };
    struct report_options report_options = { .progress = PROGRESS_NONE };
    struct report *report = report_new(&report_options);
    struct stage *last = &g.stages[0];
    struct grid buckets = to.chunks;
    uint64_t objects;
    bool ok;

    if (!directory_has(d, "source"))
        write_source(o, source_path, &from);
    CHECK(store_open(&g.source_store, source_path, SPAN_NONE, &(struct error){ 0 }));
    g.scratch = (struct scratch_layout){ .block_bytes = BLOCK_BYTES, .encoding = SPILL_LZ4, .path = scratch_path };
    memcpy(buckets.cell, o->box, sizeof o->box);
    if (o->split) {
        g.stages[0] = make_stage(o, "split", FROM_CHUNKS, TO_SEGMENTS, slab, &buckets, &from);
        g.stages[0].memory.index_bytes = split_index_bytes(&g.stages[0].tasks, &buckets, 4, BLOCK_BYTES);
        last = &g.stages[g.stage_count++];
    }
    *last = make_stage(o, "last", o->split ? FROM_SEGMENTS : FROM_CHUNKS, o->sink, o->box, &to.chunks, &from);
    if (o->split)
        last->memory.index_bytes = merge_index_bytes(&g.stages[0].tasks, &last->tasks, 4, BLOCK_BYTES);
    else
        memcpy(last->walk.group, o->walk, sizeof o->walk);
    for (unsigned i = 0; i < g.stage_count; i++)
        g.pool_bytes = size_max(g.pool_bytes, stage_pool_bytes(&g.stages[i]));
    os_faults_set(o->faults);
    ok = graph_run(&g, report, NULL, err);
    o->faults_hit = os_faults_hit();
    os_faults_set(NULL);
    if (ok) {
        CHECK(target_is_right(o, target_path, &to, &objects));
        CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
        CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
        CHECK_EQUAL(report_count(report, COUNT_TARGET_OBJECTS), objects + array_meta_files(&to));
        CHECK_EQUAL(report_count(report, COUNT_TARGET_EMPTY), grid_cells(&to.chunks) - objects);
        if (o->sink == TO_RANGES && o->fill == 0 && o->full)
            CHECK_EQUAL(report_count(report, COUNT_TARGET_WRITE_BYTES), shape_elements(RANK, shape) * 4);
    } else {
        CHECK(!directory_has(d, "target"));
        CHECK(resume_clean(target_path, SPAN_NONE, NULL, &(struct error){ 0 }));
    }
    CHECK(!directory_has(d, "t.sluice-scratch"));
    /* What cannot be opened cannot be removed; the next run does that. */
    CHECK(!directory_has(d, "target.sluice-partial") || (o->faults && o->faults->kinds == OS_OPEN));
    os_remove_tree(AT_FDCWD, target_path);
    report_free(report);
    store_close(g.source_store);
    return ok;
}

/* The two back ends take turns. */
static void run_case(struct options o)
{
    static unsigned turn;
    struct directory d = directory_new();
    struct error err = { 0 };
    struct io_choice choice;

    o.backend = turn++ % 2 && io_choose(&choice, IO_URING, &(struct error){ 0 }) ? IO_URING : IO_THREADS;
    CHECK(run_case_in(&d, &o, &err));
    if (err.code)
        error_print(&err, stderr);
    directory_remove(&d);
}

/* Every kind of box against every kind of chunk: slabs of whole rows, boxes across chunks, single rows, elements. The last
 * has a run that is long enough for a direct write between a head and a tail. */
static void run_boxes(struct options o)
{
    static const uint64_t boxes[][RANK] = {
        { 1, 50, 85 }, { 4, 50, 85 }, { 23, 5, 85 }, { 11, 17, 30 }, { 23, 50, 85 }, { 5, 9, 13 }, { 3, 34, 60 },
        { 12, 50, 85 },
    };

    for (unsigned i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        memcpy(o.box, boxes[i], sizeof o.box);
        o.workers = 1 + i % 4;
        o.write_bytes = i % 3 == 0 ? IO_ALIGN : i % 3 == 1 ? 64 * KIB : 3 * IO_ALIGN;
        run_case(o);
    }
}

static void test_ranges__write_what_whole_chunks_would(void)
{
    run_boxes((struct options){ .sink = TO_RANGES });
    run_boxes((struct options){ .sink = TO_RANGES, .full = true });
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7 });
    run_case((struct options){ .sink = TO_CHUNKS, .fill = 7, .box = { 11, 50, 90 }, .workers = 2 });
}

static void test_ranges__write_the_stored_byte_and_axis_order(void)
{
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7, .big_endian = true });
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7, .fortran = true });
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 0, .fortran = true, .big_endian = true });
}

static void test_ranges__write_empty_chunks_where_they_are_asked_for(void)
{
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7, .write_empty_chunks = true });
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 0, .fill_undefined = true });
}

static void test_ranges__may_come_in_any_order(void)
{
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7, .walk = { WALK_ALL, 1, 1 } });
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7, .walk = { 2, 3, 2 } });
}

static void test_ranges__come_from_segments_too(void)
{
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 7, .split = true });
    run_boxes((struct options){ .sink = TO_RANGES, .fill = 0, .split = true, .big_endian = true });
}

/* The n-th call fails, for n = first, first + step ...: then there is no target, or the failure was made good. Returns how
 * often it was. */
static unsigned fail_each(struct os_faults faults, uint64_t step, uint32_t fill)
{
    struct options o = { .sink = TO_RANGES, .backend = IO_THREADS, .fill = fill, .box = { 4, 50, 85 }, .workers = 1,
                         .write_bytes = 3 * IO_ALIGN };
    struct directory d = directory_new();
    unsigned made_good = 0;
    bool hit = true;

    CHECK(run_case_in(&d, &o, &(struct error){ 0 }));
    for (; hit; faults.first += step) {
        struct error err = { 0 };
        bool ok;

        o.faults = &faults;
        ok = run_case_in(&d, &o, &err);
        hit = o.faults_hit > 0;
        CHECK(hit || ok);
        CHECK(ok || err.code != ERR_NONE);
        CHECK(ok || faults.kinds != OS_FALLOCATE || err.note_count > 0);      /* how much is free */
        made_good += hit && ok;
    }
    CHECK(faults.first > step);
    directory_remove(&d);
    return made_good;
}

static void test_ranges__leave_no_target_when_a_call_fails(void)
{
    /* Write 0 is the store's note. Most of the others are the short runs of the chunks that hang over. */
    CHECK_EQUAL(fail_each((struct os_faults){ .kinds = OS_WRITE, .how = ENOSPC, .first = 1 }, 29, 7), 0);
    CHECK_EQUAL(fail_each((struct os_faults){ .kinds = OS_FALLOCATE, .how = ENOSPC }, 1, 7), 0);
    fail_each((struct os_faults){ .absent = OS_OPENAT2, .kinds = OS_OPEN, .how = EMFILE }, 7, 7);
}

static void test_ranges__need_no_direct_writes(void)
{
    CHECK(fail_each((struct os_faults){ .absent = OS_OPENAT2, .kinds = OS_OPEN, .how = EINVAL }, 5, 7) > 0);
}

static void test_ranges__need_no_fallocate(void)
{
    CHECK(fail_each((struct os_faults){ .kinds = OS_FALLOCATE, .how = EOPNOTSUPP }, 4, 7) > 0);
    /* nobody writes what hangs over where it is zeros: the length alone makes it */
    CHECK(fail_each((struct os_faults){ .kinds = OS_FALLOCATE, .how = EOPNOTSUPP }, 1, 0) > 0);
}

static void test_ranges__go_on_after_short_writes(void)
{
    fail_each((struct os_faults){ .kinds = OS_WRITE, .how = OS_FAULT_SHORT }, 97, 7);
}

int main(void)
{
    RUN(test_ranges__write_what_whole_chunks_would);
    RUN(test_ranges__write_the_stored_byte_and_axis_order);
    RUN(test_ranges__write_empty_chunks_where_they_are_asked_for);
    RUN(test_ranges__may_come_in_any_order);
    RUN(test_ranges__come_from_segments_too);
    RUN(test_ranges__leave_no_target_when_a_call_fails);
    RUN(test_ranges__need_no_direct_writes);
    RUN(test_ranges__need_no_fallocate);
    RUN(test_ranges__go_on_after_short_writes);
    return test_summary();
}
