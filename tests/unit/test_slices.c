/* Target chunks that pass in slices: graphs made by hand, values by a formula, and every object is compared with what
 * encode() makes of its chunk at once. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/array/tile.h"
#include "engine/base/size.h"
#include "engine/codec/append.h"
#include "engine/exec/graph.h"
#include "engine/exec/scratch.h"
#include "engine/exec/slices.h"
#include "engine/io/os.h"

enum { RANK = 3, FILL = 7 };

static char folder[] = "/tmp/sluice-test-slices-XXXXXX";

/* SMOOTH shrinks, NOISE does not, LATE_NOISE ceases to. HOLES: most is the fill value, and whole chunks are. */
enum values { SMOOTH, NOISE, LATE_NOISE, HOLES };

struct slices_case {
    uint64_t shape[RANK], from_chunk[RANK], to_chunk[RANK], slice[RANK];
    uint64_t group[RANK];           /* of the walk over slices */
    const char *codec;
    enum values values;
    bool fortran, big_endian, write_empty_chunks, fill_undefined;
    unsigned workers, write_slots;
    uint64_t write_bytes;           /* 0: one block */
};

static uint32_t value_at(const struct slices_case *c, const uint64_t *at)
{
    uint64_t index = (at[0] * c->shape[1] + at[1]) * c->shape[2] + at[2];
    uint32_t noise = (uint32_t)((index + 1) * 0x9E3779B97F4A7C15u >> 29);

    switch (c->values) {
    case SMOOTH:     return (uint32_t)(at[0] * 100 + at[1] * 10 + at[2]);
    case NOISE:      return noise;
    case LATE_NOISE: return at[0] < 8 ? (uint32_t)at[2] : noise;
    default:         return at[0] >= 9 && at[0] < 12 && at[1] >= c->to_chunk[1] ? (uint32_t)at[1] : FILL;
    }
}

static struct array_meta make_meta(const struct slices_case *c, bool target)
{
    struct array_meta m = {
        .format = FORMAT_ZARR3, .dtype = { DTYPE_UINT, 4 }, .keys = { .with_c = true, .separator = '/' },
        .fill = { FILL },
    };
    const char *codec = target ? c->codec : "none";
    struct error err = { 0 };

    m.chunks.rank = RANK;
    for (unsigned i = 0; i < RANK; i++) {
        m.chunks.shape[i] = c->shape[i];
        m.chunks.cell[i] = target ? c->to_chunk[i] : c->from_chunk[i];
        m.codecs.order[i] = (uint8_t)(target && c->fortran ? RANK - 1 - i : i);
    }
    m.codecs.transposed = target && c->fortran;
    m.codecs.big_endian = target && c->big_endian;
    m.fill_undefined = target && c->fill_undefined;
    CHECK(codec_chain_from_text(&m.codecs, codec, 4, &err));
    return m;
}

/* A chunk in stored order; what hangs over is the fill value. Is it nothing else? */
static bool chunk_values(const struct slices_case *c, const struct array_meta *m, const uint64_t *coords, uint32_t *out)
{
    uint64_t stored[RANK], count = array_chunk_bytes(m) / 4;
    bool empty = true;

    for (unsigned i = 0; i < RANK; i++)
        stored[i] = m->chunks.cell[m->codecs.order[i]];
    for (uint64_t n = 0; n < count; n++) {
        uint64_t rest = n, at[RANK];
        bool inside = true;

        for (unsigned i = RANK; i-- > 0; rest /= stored[i])
            at[m->codecs.order[i]] = coords[m->codecs.order[i]] * m->chunks.cell[m->codecs.order[i]] + rest % stored[i];
        for (unsigned i = 0; i < RANK; i++)
            inside = inside && at[i] < c->shape[i];
        out[n] = inside ? value_at(c, at) : FILL;
        empty = empty && out[n] == FILL;
    }
    return empty;
}

/* Chunk after chunk: written as a store, or compared with one. */
static void each_chunk(const struct slices_case *c, const struct array_meta *m, struct store *store, bool write,
                       uint64_t *objects, uint64_t *empty_chunks)
{
    uint64_t raw_bytes = array_chunk_bytes(m), encoded_bytes, data_bytes, coords[RANK], wrong = 0;
    struct codec_needs needs;
    struct encoder *encoder = NULL;
    struct error err = { 0 };
    uint32_t *raw = malloc(raw_bytes);
    char *encoded, *scratch, *data;

    codec_encode_needs(&m->codecs, m->dtype, raw_bytes, &needs);
    encoded = malloc(needs.encoded_bytes_max);
    scratch = malloc(needs.scratch_bytes_useful + 1);
    CHECK(encoder_new(&encoder, &m->codecs, m->dtype, raw_bytes, scratch, needs.scratch_bytes_useful, &err));
    for (uint64_t i = 0; i < grid_cells(&m->chunks); i++) {
        struct chunk_place place;
        bool empty, missing;

        grid_coords(&m->chunks, i, coords);
        array_chunk_place(m, coords, &place);
        empty = chunk_values(c, m, coords, raw);
        CHECK(encode(encoder, raw, encoded, &encoded_bytes, &err));
        if (write) {
            CHECK(store_put(store, place.key, encoded, encoded_bytes, &err));
            continue;
        }
        CHECK(store_get(store, place.key, needs.encoded_bytes_max, &data, &data_bytes, &err));
        missing = empty && !c->write_empty_chunks && !c->fill_undefined;
        *(missing ? empty_chunks : objects) += 1;
        wrong += missing ? data != NULL : !data || data_bytes != encoded_bytes || memcmp(data, encoded, data_bytes) != 0;
        free(data);
    }
    CHECK_EQUAL(wrong, 0);
    if (err.code)
        error_print(&err, stderr);
    encoder_free(encoder);
    free(raw);
    free(encoded);
    free(scratch);
}

static struct stage make_stage(const struct slices_case *c, const char *name, enum stage_source source,
                               enum stage_sink sink, const struct array_meta *from, const struct array_meta *to,
                               const struct grid *before)
{
    enum { BLOCK_BYTES = 4096 };
    struct stage s = { .name = name, .source = source, .sink = sink, .workers = c->workers, .reads_in_flight = 4 };
    struct stage_memory *m = &s.memory;
    struct grid slices = from->chunks;
    struct codec_needs decode;

    for (unsigned i = 0; i < RANK; i++)
        slices.cell[i] = c->slice[i];
    s.tasks = s.parts = slices;
    if (sink == TO_SEGMENTS) {
        for (unsigned i = 1; i < RANK; i++)
            s.tasks.cell[i] = c->shape[i];
        s.tasks.cell[0] = size_max(c->from_chunk[0], 5);
    } else {
        memcpy(s.walk.group, c->group, sizeof c->group);
        m->append_bytes = slices_append_bytes(to);
    }
    codec_decode_needs(&from->codecs, from->dtype, array_chunk_bytes(from), &(struct codec_sample){ 0 }, &decode);
    m->tile_bytes = tile_bytes_max(sink == TO_SLICES ? TILE_WHOLE : TILE_CLIPPED, 4, &s.parts, &s.tasks);
    m->piece_bytes_max = size_align_up(size_max(decode.encoded_bytes_max, spill_encoded_bytes_max(BLOCK_BYTES)),
                                       IO_ALIGN) + 2 * IO_ALIGN;
    m->reads_bytes = 3 * m->piece_bytes_max;
    m->decode_scratch_bytes = size_max(decode.scratch_bytes_useful, spill_scratch_bytes(BLOCK_BYTES));
    m->encode_scratch_bytes = spill_scratch_bytes(BLOCK_BYTES);
    m->write_slots = c->write_slots;
    m->write_bytes = size_align_up(size_max(c->write_bytes, 1), IO_ALIGN);
    if (sink == TO_SEGMENTS) {
        m->write_bytes = size_align_up(4 * spill_encoded_bytes_max(BLOCK_BYTES), IO_ALIGN);
        m->index_bytes = split_index_bytes(&s.tasks, &s.parts, 4, BLOCK_BYTES);
    } else if (before) {
        m->index_bytes = merge_index_bytes(before, &s.tasks, 4, BLOCK_BYTES);
    }
    return s;
}

static unsigned run_number;
static const struct os_faults *faults;  /* while the graph runs; NULL: none */

static bool run_graph(const struct slices_case *c, enum io_backend backend, bool split, const volatile int *stop,
                      struct error *err)
{
    struct array_meta from = make_meta(c, false), to = make_meta(c, true);
    struct graph g = { .source = &from, .target = &to, .threads = c->workers, .backend = backend,
                       .write_empty_chunks = c->write_empty_chunks };
    struct report_options report_options = { .progress = PROGRESS_NONE };
    struct report *report = report_new(&report_options);
    char source_path[256], target_path[256], scratch_path[256];
    uint64_t objects = 1, empty_chunks = 0;
    struct store *store = NULL;
    bool ok;

    run_number++;
    snprintf(source_path, sizeof source_path, "%s/source-%u", folder, run_number);
    snprintf(target_path, sizeof target_path, "%s/target-%u", folder, run_number);
    snprintf(scratch_path, sizeof scratch_path, "%s/scratch-%u", folder, run_number);
    CHECK(store_stage(&store, source_path, false, "", SPAN_NONE, err));
    CHECK(array_meta_write(&from, store, err));
    each_chunk(c, &from, store, true, NULL, NULL);
    CHECK(store_publish(store, err));
    g.source_store = store;
    g.target_path = target_path;
    g.scratch = (struct scratch_layout){ .block_bytes = 4096, .encoding = SPILL_LZ4, .path = scratch_path };
    if (split)
        g.stages[g.stage_count++] = make_stage(c, "split", FROM_CHUNKS, TO_SEGMENTS, &from, &to, NULL);
    g.stages[g.stage_count] = make_stage(c, split ? "merge" : "direct", split ? FROM_SEGMENTS : FROM_CHUNKS, TO_SLICES,
                                         &from, &to, split ? &g.stages[0].tasks : NULL);
    g.stage_count++;
    for (unsigned i = 0; i < g.stage_count; i++)
        g.pool_bytes = size_max(g.pool_bytes, stage_pool_bytes(&g.stages[i]));
    os_faults_set(faults);
    ok = graph_run(&g, report, stop, err);
    os_faults_set(NULL);
    store_close(store);
    if (ok) {
        CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
        CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
        CHECK(store_open(&store, target_path, SPAN_NONE, err));
        each_chunk(c, &to, store, false, &objects, &empty_chunks);
        CHECK_EQUAL(report_count(report, COUNT_TARGET_OBJECTS), objects);
        CHECK_EQUAL(report_count(report, COUNT_TARGET_EMPTY), empty_chunks);
        store_close(store);
    } else {
        CHECK(access(target_path, F_OK) != 0);
    }
    report_free(report);
    os_remove_tree(AT_FDCWD, source_path);
    os_remove_tree(AT_FDCWD, target_path);
    return ok;
}

static void run_case(const struct slices_case *c)
{
    static const enum io_backend backends[] = { IO_URING, IO_THREADS };

    for (unsigned b = 0; b < 2; b++)
        for (unsigned split = 0; split < 2; split++) {
            struct error err = { 0 };
            struct io_choice choice;

            if (!io_choose(&choice, backends[b], &(struct error){ 0 }))
                continue;
            CHECK(run_graph(c, backends[b], split, NULL, &err));
            if (err.code)
                error_print(&err, stderr);
        }
}

/* Edges hang over on every axis; slices of 4 rows straddle chunks of 9. */
static const struct slices_case usual = {
    .shape = { 21, 34, 55 }, .from_chunk = { 2, 34, 20 }, .to_chunk = { 9, 20, 30 }, .slice = { 4, 20, 30 },
    .group = { WALK_ALL, 1, 1 }, .codec = "blosc:lz4:5:shuffle", .workers = 2, .write_slots = 2,
};

static void test_slices__make_the_chunks_that_encode_makes(void)
{
    static const char *const codecs[] = {
        "blosc:lz4:5:shuffle", "blosc:zstd:1:bitshuffle", "blosc:lz4:1:noshuffle:1000", "none", "crc32c",
    };

    for (unsigned i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        struct slices_case c = usual;

        c.codec = codecs[i];
        c.workers = 1 + i;
        c.write_slots = 1 + i % 3;
        run_case(&c);
        c.big_endian = true;
        c.values = NOISE;
        run_case(&c);
    }
}

/* Longer than several chunks, a row at a time, an exact fraction, the whole axis. */
static void test_slices__may_be_of_any_length(void)
{
    static const uint64_t lengths[] = { 1, 3, 9, 20, 21 };

    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct slices_case c = usual;

        c.slice[0] = lengths[i];
        c.values = i % 2 ? NOISE : SMOOTH;
        c.write_bytes = 20000;
        run_case(&c);
    }
}

static void test_slices__follow_the_stored_axis_order(void)
{
    struct slices_case c = usual;

    c.fortran = true;
    memcpy(c.slice, (uint64_t[]){ 9, 20, 7 }, sizeof c.slice);
    memcpy(c.group, (uint64_t[]){ 1, 1, WALK_ALL }, sizeof c.group);
    run_case(&c);
    c.values = NOISE;
    c.slice[2] = 1;
    run_case(&c);
}

/* One row of the first axis is too much: chunks of 4 are cut on the second, in each row of the first. */
static void test_slices__may_lie_below_a_row(void)
{
    struct slices_case c = usual;

    memcpy(c.to_chunk, (uint64_t[]){ 4, 20, 30 }, sizeof c.to_chunk);
    memcpy(c.slice, (uint64_t[]){ 1, 5, 30 }, sizeof c.slice);
    memcpy(c.group, (uint64_t[]){ 4, 4, 1 }, sizeof c.group);
    run_case(&c);
    memcpy(c.slice, (uint64_t[]){ 1, 1, 30 }, sizeof c.slice);
    memcpy(c.group, (uint64_t[]){ 4, 20, 1 }, sizeof c.group);
    run_case(&c);
}

static void test_slices__of_fill_values_alone_make_no_object(void)
{
    struct slices_case c = usual;

    c.values = HOLES;
    run_case(&c);
    c.slice[0] = 1;
    run_case(&c);
    c.write_empty_chunks = true;
    run_case(&c);
}

/* Frames that turn out not to shrink when much of them is on disk already. */
static void test_slices__begin_a_blosc_frame_again_as_stored(void)
{
    struct slices_case c = {
        .shape = { 21, 200, 300 }, .from_chunk = { 5, 200, 300 }, .to_chunk = { 20, 180, 290 },
        .slice = { 3, 180, 290 }, .group = { WALK_ALL, 1, 1 }, .codec = "blosc:lz4:5:noshuffle:65536",
        .values = LATE_NOISE, .workers = 2, .write_slots = 2, .write_bytes = 100000,
    };

    run_case(&c);
    c.values = NOISE;
    c.codec = "blosc:zstd:1:shuffle";
    run_case(&c);
}

/* Streams are sliced from 16 MiB on; two such chunks, the second mostly hanging over. */
static void test_slices__of_long_streams(void)
{
    static const char *const codecs[] = { "zstd:1+crc32c", "gzip:1" };

    for (unsigned i = 0; i < 2; i++) {
        struct slices_case c = {
            .shape = { 30, 430, 440 }, .from_chunk = { 10, 430, 440 }, .to_chunk = { 24, 430, 450 },
            .slice = { 5, 430, 450 }, .group = { WALK_ALL, 1, 1 }, .codec = codecs[i], .workers = 2, .write_slots = 2,
            .write_bytes = 200000,
        };
        struct error err = { 0 };

        CHECK(run_graph(&c, IO_THREADS, i, NULL, &err));
        if (err.code)
            error_print(&err, stderr);
    }
}

static void test_slices__stop_at_a_signal_and_leave_nothing(void)
{
    static const volatile int stop = 15;
    struct error err = { 0 };

    CHECK(!run_graph(&usual, IO_THREADS, false, &stop, &err));
    CHECK_EQUAL(err.code, ERR_TERMINATED);
}

/* Whatever call fails while an object is written, read back, removed, made anew or finished: nothing is left. */
static void test_slices__leave_nothing_when_a_call_fails(void)
{
    struct slices_case c = usual;
    unsigned failed = 0;

    c.values = NOISE;
    c.write_bytes = 8192;
    for (uint64_t n = 0; n < 400; n += 5) {
        struct os_faults one = { .kinds = OS_EVERY_KIND & ~OS_RING, .first = n, .how = EIO };
        struct error err = { 0 };

        faults = &one;
        if (!run_graph(&c, n % 2 ? IO_URING : IO_THREADS, false, NULL, &err)) {
            CHECK(err.code == ERR_IO || err.code == ERR_EXISTS);    /* what cannot be looked at is in the way */
            failed++;
        }
        faults = NULL;
    }
    CHECK(failed > 40);
}

int main(void)
{
    CHECK(mkdtemp(folder) != NULL);
    RUN(test_slices__make_the_chunks_that_encode_makes);
    RUN(test_slices__may_be_of_any_length);
    RUN(test_slices__follow_the_stored_axis_order);
    RUN(test_slices__may_lie_below_a_row);
    RUN(test_slices__of_fill_values_alone_make_no_object);
    RUN(test_slices__begin_a_blosc_frame_again_as_stored);
    RUN(test_slices__of_long_streams);
    RUN(test_slices__stop_at_a_signal_and_leave_nothing);
    RUN(test_slices__leave_nothing_when_a_call_fails);
    os_remove_tree(AT_FDCWD, folder);
    return test_summary();
}
