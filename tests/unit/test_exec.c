/* The engine without planner or language: graphs made by hand, values by a formula, on both back ends. */
#include <fcntl.h>

#include "engine/exec/ring.h"
#include "tests/unit/graph_cases.h"

enum { RANK = 3, BLOCK_BYTES = 4096 };
static const uint64_t shape[RANK] = { 21, 34, 55 };

static char folder[] = "/tmp/sluice-test-exec-XXXXXX";

/* The digest of a stored array, by a scan with pieces of 4 KiB where it is raw. */
static struct digest_sum digest_of(const char *path)
{
    struct text warnings;
    struct array_meta m;
    struct digest_frame frame;
    struct digest digest;
    struct scan scan = { .array = &m, .workers = 2, .reads_in_flight = 4, .backend = IO_THREADS };
    struct digest_sum sum = { 0 };
    struct error err = { 0 };
    struct stage model;

    text_init(&warnings, 4096);
    CHECK(store_open(&scan.store, path, SPAN_NONE, &err) && array_meta_read(&m, scan.store, &warnings, &err));
    model = make_stage("scan", FROM_CHUNKS, TO_CHUNKS, m.chunks.shape, &m.chunks, &m, &m, NULL, BLOCK_BYTES, 2);
    scan.memory = model.memory;
    scan.memory.tile_bytes = scan.memory.write_slots = scan.memory.encode_scratch_bytes = 0;
    scan.piece_raw_bytes = model.piece_raw_bytes;
    scan.tasks = model.tasks;
    digest_frame_init(&frame, m.dtype, RANK, m.chunks.shape, "\0\0\0\0", 8);
    CHECK(digest_init(&digest, &frame));
    CHECK(scan_digest(&scan, NULL, &digest, NULL, NULL, &err));
    if (err.code)
        error_print(&err, stderr);
    sum = digest_total(&digest);
    digest_release(&digest);
    array_meta_release(&m);
    store_close(scan.store);
    text_release(&warnings);
    return sum;
}

struct case_options {
    const char *codec_from, *codec_to;
    bool fortran_from, fortran_to, split, give_back;
    uint64_t memory_bytes;          /* for segments */
    uint64_t missing_max;
    enum io_backend backend;
    unsigned workers;
    uint64_t skip_chunk;
};

static unsigned case_number;

static bool run_case(const struct case_options *o, const volatile int *stop, struct error *err)
{
    static const uint64_t from_chunk[RANK] = { 2, 34, 20 }, to_chunk[RANK] = { 21, 5, 8 };
    static const uint64_t slab[RANK] = { 6, 34, 55 }, bucket[RANK] = { 21, 10, 24 };
    struct array_meta from = make_meta(RANK, shape, from_chunk, o->codec_from, o->fortran_from);
    struct array_meta to = make_meta(RANK, shape, to_chunk, o->codec_to, o->fortran_to);
    struct graph g = { .source = &from, .target = &to, .threads = o->workers, .backend = o->backend };
    char source_path[256], target_path[256], scratch_path[256];
    struct report_options report_options = { .progress = PROGRESS_NONE };
    struct report *report = report_new(&report_options);
    struct grid buckets;
    struct box hole;
    bool ok;

    case_number++;
    snprintf(source_path, sizeof source_path, "%s/source-%u", folder, case_number);
    snprintf(target_path, sizeof target_path, "%s/target-%u", folder, case_number);
    snprintf(scratch_path, sizeof scratch_path, "%s/scratch-%u", folder, case_number);
    write_source(source_path, &from, o->skip_chunk);
    CHECK(store_open(&g.source_store, source_path, SPAN_NONE, err));
    g.target_path = target_path;
    g.missing_chunks_max = o->missing_max;
    g.scratch = (struct scratch_layout){ .block_bytes = BLOCK_BYTES, .encoding = SPILL_LZ4, .path = scratch_path,
                                          .give_back = o->give_back, .memory_bytes = o->memory_bytes };
    buckets = from.chunks;
    for (unsigned i = 0; i < RANK; i++)
        buckets.cell[i] = bucket[i];
    if (o->split) {
        g.stage_count = 2;
        g.stages[0] = make_stage("split", FROM_CHUNKS, TO_SEGMENTS, slab, &buckets, &from, &to, NULL, BLOCK_BYTES,
                                 o->workers);
        g.stages[1] = make_stage("merge", FROM_SEGMENTS, TO_CHUNKS, bucket, &to.chunks, &from, &to, &g.stages[0],
                                 BLOCK_BYTES, o->workers);
    } else {
        g.stage_count = 1;
        g.stages[0] = make_stage("direct", FROM_CHUNKS, TO_CHUNKS, bucket, &to.chunks, &from, &to, NULL,
                                 BLOCK_BYTES, o->workers);
    }
    sum_pool(&g);
    ok = graph_run(&g, report, stop, err);
    grid_coords(&from.chunks, o->skip_chunk == UINT64_MAX ? 0 : o->skip_chunk, hole.start);
    grid_cell_box(&from.chunks, hole.start, &hole);
    if (ok) {
        CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
        CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
        CHECK(!o->split || (report_count(report, COUNT_SPILL_KEPT_BYTES) > 0) == (o->memory_bytes > 0));
        CHECK(!o->split || (report_count(report, COUNT_SPILL_WRITE_BYTES) == 0) == (o->memory_bytes >= MIB));
        struct digest_sum before = digest_of(source_path), after = digest_of(target_path);

        CHECK(before.d1 == after.d1 && before.d2 == after.d2 && before.elements == after.elements);
        CHECK(array_is_right(target_path, o->skip_chunk == UINT64_MAX ? NULL : &hole));
    } else {
        CHECK(access(target_path, F_OK) != 0);
    }
    CHECK(access(scratch_path, F_OK) != 0);
    report_free(report);
    store_close(g.source_store);
    os_remove_tree(AT_FDCWD, source_path);
    os_remove_tree(AT_FDCWD, target_path);
    return ok;
}

static void run_all(struct case_options o)
{
    static const enum io_backend backends[] = { IO_URING, IO_THREADS };

    for (unsigned b = 0; b < 2; b++)
        for (unsigned split = 0; split < 2; split++) {
            struct error err = { 0 };
            struct io_choice choice;

            o.backend = backends[b];
            o.split = split;
            if (!io_choose(&choice, o.backend, &(struct error){ 0 }))
                continue;
            CHECK(run_case(&o, NULL, &err));
            if (err.code)
                error_print(&err, stderr);
        }
}

static void test_graph__rechunks_compressed_chunks(void)
{
    run_all((struct case_options){ .codec_from = "blosc:lz4:5", .codec_to = "zstd:3", .workers = 2,
                                   .skip_chunk = UINT64_MAX });
}

static void test_graph__rechunks_raw_chunks_by_ranges(void)
{
    run_all((struct case_options){ .codec_from = "none", .codec_to = "none", .workers = 3, .skip_chunk = UINT64_MAX });
}

static void test_graph__follows_the_stored_axis_order_on_both_sides(void)
{
    run_all((struct case_options){ .codec_from = "gzip:1", .codec_to = "none", .fortran_from = true, .workers = 2,
                                   .skip_chunk = UINT64_MAX });
    run_all((struct case_options){ .codec_from = "none", .codec_to = "blosc:lz4:1", .fortran_from = true,
                                   .fortran_to = true, .workers = 1, .skip_chunk = UINT64_MAX });
}

static void test_graph__reads_a_missing_chunk_as_fill(void)
{
    run_all((struct case_options){ .codec_from = "blosc:lz4:5", .codec_to = "none", .workers = 2, .skip_chunk = 4,
                                   .missing_max = 1000 });
    run_all((struct case_options){ .codec_from = "none", .codec_to = "zstd:1", .workers = 2, .skip_chunk = 4,
                                   .missing_max = 1000 });
}

static void test_graph__notices_a_chunk_that_has_gone(void)
{
    struct case_options o = { .codec_from = "blosc:lz4:5", .codec_to = "none", .workers = 2, .backend = IO_THREADS,
                              .skip_chunk = 4, .missing_max = 0 };
    struct error err = { 0 };

    CHECK(!run_case(&o, NULL, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK(strstr(err.message, "not there any more"));
}

static void test_graph__runs_with_many_workers(void)
{
    run_all((struct case_options){ .codec_from = "none", .codec_to = "zstd:1", .workers = 12, .skip_chunk = UINT64_MAX });
}

/* Workers that are held up write their blocks behind those of many later buckets; what is freed must not be theirs. */
static void test_graph__gives_back_only_what_no_later_bucket_needs(void)
{
    for (unsigned i = 0; i < 4; i++)
        run_all((struct case_options){ .codec_from = "none", .codec_to = "none", .workers = 16, .give_back = true,
                                       .skip_chunk = UINT64_MAX });
}

static void test_graph__keeps_segments_in_memory_while_they_fit(void)
{
    /* none on disk, some, most */
    static const uint64_t memory_bytes[] = { MIB, 128 * KIB, 32 * KIB };

    for (unsigned i = 0; i < 3; i++)
        run_all((struct case_options){ .codec_from = "blosc:lz4:5", .codec_to = "none", .workers = 3, .give_back = true,
                                       .memory_bytes = memory_bytes[i], .skip_chunk = UINT64_MAX });
}

static void test_graph__stops_at_a_signal_and_leaves_nothing(void)
{
    static const volatile int stop = 15;
    struct case_options o = { .codec_from = "none", .codec_to = "none", .workers = 2, .split = true,
                              .backend = IO_THREADS, .skip_chunk = UINT64_MAX };
    struct error err = { 0 };

    CHECK(!run_case(&o, &stop, &err));
    CHECK_EQUAL(err.code, ERR_TERMINATED);
}

static void test_ring__gives_areas_in_order_and_wraps(void)
{
    static char memory[16 * 4096];
    struct ring r;
    uint64_t a, b, c, d;

    CHECK(ring_init(&r, memory, sizeof memory, 8));
    CHECK(ring_take(&r, 6 * 4096, &a) == memory);
    CHECK(ring_take(&r, 6 * 4096, &b) == memory + 6 * 4096);
    CHECK(ring_take(&r, 6 * 4096, &c) == NULL);
    ring_give_back(&r, b);
    CHECK(ring_take(&r, 6 * 4096, &c) == NULL);     /* the oldest is still out */
    ring_give_back(&r, a);
    CHECK(ring_take(&r, 16 * 4096, &c) == memory);  /* empty: all of it */
    CHECK(ring_take(&r, 4096, &d) == NULL);
    ring_give_back(&r, c);
    CHECK(ring_take(&r, 10 * 4096, &a) == memory);
    CHECK(ring_take(&r, 4 * 4096, &b) == memory + 10 * 4096);
    ring_give_back(&r, a);
    CHECK(ring_take(&r, 8 * 4096, &c) == memory);   /* wrapped */
    CHECK(ring_take(&r, 4 * 4096, &d) == NULL);     /* only two blocks before the oldest */
    CHECK(ring_take(&r, 2 * 4096, &d) == memory + 8 * 4096);
    ring_release(&r);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_ring__gives_areas_in_order_and_wraps);
    RUN(test_graph__rechunks_compressed_chunks);
    RUN(test_graph__rechunks_raw_chunks_by_ranges);
    RUN(test_graph__follows_the_stored_axis_order_on_both_sides);
    RUN(test_graph__reads_a_missing_chunk_as_fill);
    RUN(test_graph__notices_a_chunk_that_has_gone);
    RUN(test_graph__runs_with_many_workers);
    RUN(test_graph__gives_back_only_what_no_later_bucket_needs);
    RUN(test_graph__keeps_segments_in_memory_while_they_fit);
    RUN(test_graph__stops_at_a_signal_and_leaves_nothing);
    os_remove_tree(AT_FDCWD, folder);
    return test_summary();
}
