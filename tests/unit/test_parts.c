/* Source chunks bigger than what a stage may hold: read by ranges and as streams, in graphs made by hand. */
#include <errno.h>
#include <fcntl.h>

#include "tests/unit/codec_bench.h"
#include "tests/unit/graph_cases.h"

enum { RANK = 3, BLOCK_BYTES = 4096 };
/* Chunks hang over every end; a third of one is a slab. */
static const uint64_t shape[RANK] = { 50, 70, 130 }, chunk[RANK] = { 24, 40, 60 };

static char folder[] = "/tmp/sluice-test-parts-XXXXXX";

struct part_case {
    const char *codec;
    bool fortran;               /* slabs cut the last axis, which is stored first */
    uint64_t slab_length;       /* on the sliced axis: 8 or 10 (20 with fortran) */
    uint64_t piece_raw_bytes;   /* 0: FROM_STREAM */
    uint32_t planned_block_bytes;
    uint32_t stride;            /* blocks of source frames are put out of order; 0: they stay */
    bool any_order;             /* the walk leaves a column before it is done */
    bool split;
    unsigned workers;
    uint64_t skip_chunk;
    uint64_t cut_bytes;         /* of one chunk's end */
    const struct os_faults *faults;
    enum io_backend backend;
};

/* What came of it. */
struct part_result {
    uint64_t decoded_bytes, read_bytes, present, missing;
    struct codec_sample seen;
};

static unsigned case_number;

static void chunk_path(const char *path, const struct array_meta *m, uint64_t index, char *out, size_t out_bytes)
{
    uint64_t coords[RANK_MAX];
    struct chunk_place place;

    grid_coords(&m->chunks, index, coords);
    array_chunk_place(m, coords, &place);
    snprintf(out, out_bytes, "%s/%s", path, place.key);
}

static void put_blocks_out_of_order(const char *path, const struct array_meta *m, uint32_t stride)
{
    for (uint64_t i = 0; i < grid_cells(&m->chunks); i++) {
        char name[1024], *frame, *shuffled;
        long bytes;
        FILE *f;

        chunk_path(path, m, i, name, sizeof name);
        f = fopen(name, "r+");
        fseek(f, 0, SEEK_END);
        bytes = ftell(f);
        rewind(f);
        frame = malloc((size_t)bytes);
        CHECK(fread(frame, 1, (size_t)bytes, f) == (size_t)bytes);
        CHECK(!(frame[2] & 2));         /* it has blocks */
        shuffled = shuffled_frame(frame, (uint64_t)bytes, stride);
        rewind(f);
        CHECK(fwrite(shuffled, 1, (size_t)bytes, f) == (size_t)bytes);
        fclose(f);
        free(frame);
        free(shuffled);
    }
}

/* Memory for parts of chunks and no more. */
static void shrink_reads(struct stage *s, const struct array_meta *from, const struct part_case *o)
{
    struct codec_sample sample = { .blosc_block_bytes_max = o->planned_block_bytes };
    struct codec_needs needs;

    s->piece_raw_bytes = o->piece_raw_bytes;
    if (s->source == FROM_STREAM) {
        codec_streamed_needs(&from->codecs, from->dtype, array_chunk_bytes(from), &sample, &needs);
        s->memory.stream_bytes = needs.scratch_bytes_least;
        s->memory.piece_bytes_max = s->memory.reads_bytes = IO_ALIGN;
        s->memory.decode_scratch_bytes = 0;
        return;
    }
    codec_ranged_needs(&from->codecs, from->dtype, array_chunk_bytes(from), o->piece_raw_bytes, &sample, &needs);
    s->memory.piece_bytes_max = size_align_up(needs.encoded_bytes_max, IO_ALIGN) + 2 * IO_ALIGN;
    s->memory.reads_bytes = 2 * s->memory.piece_bytes_max;
    s->memory.decode_scratch_bytes = size_align_up(needs.scratch_bytes_least, IO_ALIGN);
}

static bool run_parts(const struct part_case *o, struct part_result *result, struct error *err)
{
    unsigned axis = o->fortran ? RANK - 1 : 0;
    const uint64_t to_chunk[RANK] = { axis == 0 ? o->slab_length : 24, 20, axis == 2 ? o->slab_length : 60 };
    struct array_meta from = make_meta(RANK, shape, chunk, o->codec, o->fortran);
    struct array_meta to = make_meta(RANK, shape, to_chunk, "none", false);
    struct graph g = { .source = &from, .target = &to, .threads = o->workers, .backend = o->backend,
                       .missing_chunks_max = o->skip_chunk != UINT64_MAX, .write_empty_chunks = true, .seen = &result->seen };
    struct report *report = report_new(&(struct report_options){ .progress = PROGRESS_NONE });
    char source_path[256], target_path[256], scratch_path[256], name[1024];
    uint64_t slab[RANK], bucket[RANK];
    struct box hole;
    bool ok;

    case_number++;
    snprintf(source_path, sizeof source_path, "%s/source-%u", folder, case_number);
    snprintf(target_path, sizeof target_path, "%s/target-%u", folder, case_number);
    snprintf(scratch_path, sizeof scratch_path, "%s/scratch-%u", folder, case_number);
    write_source(source_path, &from, o->skip_chunk);
    if (o->stride)
        put_blocks_out_of_order(source_path, &from, o->stride);
    chunk_path(source_path, &from, 1, name, sizeof name);
    if (o->cut_bytes) {
        struct stat st;

        CHECK(stat(name, &st) == 0 && truncate(name, st.st_size - (off_t)o->cut_bytes) == 0);
    }
    CHECK(store_open(&g.source_store, source_path, SPAN_NONE, err));
    g.target_path = target_path;
    g.scratch = (struct scratch_layout){ .block_bytes = BLOCK_BYTES, .encoding = SPILL_LZ4, .path = scratch_path };
    for (unsigned i = 0; i < RANK; i++) {
        slab[i] = i == axis ? o->slab_length : chunk[i];
        bucket[i] = 2 * to_chunk[i];
    }
    if (o->split) {
        struct grid buckets = from.chunks;

        memcpy(buckets.cell, bucket, sizeof bucket);
        g.stages[0] = make_stage("split", FROM_CHUNKS, TO_SEGMENTS, slab, &buckets, &from, &to, NULL, BLOCK_BYTES,
                                 o->workers);
        g.stages[1] = make_stage("merge", FROM_SEGMENTS, TO_CHUNKS, bucket, &to.chunks, &from, &to, &g.stages[0],
                                 BLOCK_BYTES, o->workers);
    } else {
        g.stages[0] = make_stage("direct", FROM_CHUNKS, TO_CHUNKS, slab, &to.chunks, &from, &to, NULL, BLOCK_BYTES,
                                 o->workers);
    }
    g.stage_count = o->split ? 2 : 1;
    g.stages[0].source = o->piece_raw_bytes ? FROM_CHUNKS : FROM_STREAM;
    if (!o->any_order)
        g.stages[0].walk.group[axis] = WALK_ALL;
    shrink_reads(&g.stages[0], &from, o);
    sum_pool(&g);
    os_faults_set(o->faults);
    ok = graph_run(&g, report, NULL, err);
    os_faults_set(NULL);
    grid_coords(&from.chunks, o->skip_chunk == UINT64_MAX ? 0 : o->skip_chunk, hole.start);
    grid_cell_box(&from.chunks, hole.start, &hole);
    if (ok) {
        CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
        CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
        CHECK(array_is_right(target_path, o->skip_chunk == UINT64_MAX ? NULL : &hole));
    } else {
        CHECK(access(target_path, F_OK) != 0);
    }
    result->decoded_bytes = report_count(report, COUNT_SOURCE_DECODED_BYTES);
    result->read_bytes = report_count(report, COUNT_SOURCE_READ_BYTES);
    result->present = report_count(report, COUNT_CHUNKS_PRESENT);
    result->missing = report_count(report, COUNT_CHUNKS_MISSING);
    report_free(report);
    store_close(g.source_store);
    os_remove_tree(AT_FDCWD, source_path);
    os_remove_tree(AT_FDCWD, target_path);
    return ok;
}

static uint64_t source_raw_bytes(void)
{
    return 3 * 2 * 3 * 4 * chunk[0] * chunk[1] * chunk[2];
}

/* On both back ends, straight and through scratch, in slabs that divide a chunk and in others; `check` (NULL: not)
 * looks at the counts of each. */
static void run_all(struct part_case o, void (*check)(const struct part_case *, const struct part_result *))
{
    static const uint64_t lengths[2][2] = { { 8, 10 }, { 20, 22 } };

    for (unsigned b = 0; case_backend(b, &o.backend); b++)
        for (unsigned variant = 0; variant < 4; variant++) {
            struct part_result result = { 0 };
            struct error err = { 0 };

            o.split = variant & 1;
            o.slab_length = lengths[o.fortran][variant >> 1];
            CHECK(run_parts(&o, &result, &err));
            if (err.code)
                error_print(&err, stderr);
            else if (check)
                check(&o, &result);
        }
}

/* Where slabs do not divide chunks, some pieces are read twice. */
static void all_are_counted(const struct part_case *o, const struct part_result *r)
{
    bool once = !o->piece_raw_bytes || o->slab_length == 8 || o->slab_length == 20;

    CHECK(once ? r->present == 18 : r->present >= 18);
    CHECK_EQUAL(r->missing, 0);
}

/* Not more than a block is decoded twice at the border of a piece, of a third of a chunk. */
static void few_are_decoded_twice(const struct part_case *o, const struct part_result *r)
{
    all_are_counted(o, r);
    if (o->slab_length == 8)
        CHECK(r->decoded_bytes < source_raw_bytes() * 5 / 4);
}

static void test_parts__ranges_of_blosc_chunks(void)
{
    run_all((struct part_case){ .codec = "blosc:zstd:1:shuffle:4096", .piece_raw_bytes = 12800, .workers = 2,
                                .planned_block_bytes = 4096, .skip_chunk = UINT64_MAX }, few_are_decoded_twice);
    run_all((struct part_case){ .codec = "blosc:zstd:3", .fortran = true, .piece_raw_bytes = 76800, .workers = 3,
                                .any_order = true, .skip_chunk = UINT64_MAX }, all_are_counted);
    run_all((struct part_case){ .codec = "blosc:lz4:0", .piece_raw_bytes = 4000, .workers = 2,
                                .skip_chunk = UINT64_MAX }, all_are_counted);
}

static void test_parts__ranges_of_raw_chunks(void)
{
    run_all((struct part_case){ .codec = "none", .piece_raw_bytes = 4096, .workers = 2, .skip_chunk = UINT64_MAX },
            all_are_counted);
    run_all((struct part_case){ .codec = "none", .fortran = true, .piece_raw_bytes = 76800, .workers = 2,
                                .skip_chunk = UINT64_MAX }, all_are_counted);
}

/* Further apart than there is room for: read one by one. */
static void test_parts__ranges_of_frames_whose_blocks_are_scattered(void)
{
    run_all((struct part_case){ .codec = "blosc:zstd:1:shuffle:2048", .piece_raw_bytes = 8192, .workers = 2, .stride = 29,
                                .planned_block_bytes = 2048, .skip_chunk = UINT64_MAX }, all_are_counted);
    run_all((struct part_case){ .codec = "blosc:zstd:1:shuffle:1024", .piece_raw_bytes = 76800 * 2, .workers = 2,
                                .planned_block_bytes = 1024, .stride = 5, .skip_chunk = UINT64_MAX }, NULL);
}

static void each_is_decoded_once(const struct part_case *o, const struct part_result *r)
{
    all_are_counted(o, r);
    CHECK_EQUAL(r->decoded_bytes, source_raw_bytes());
}

static void each_is_decoded_often(const struct part_case *o, const struct part_result *r)
{
    all_are_counted(o, r);
    CHECK(r->decoded_bytes > source_raw_bytes());
}

static void test_parts__streams_decode_each_chunk_once(void)
{
    static const char *const codecs[] = { "zstd:3", "gzip:1", "zlib:1" };

    for (unsigned i = 0; i < 3; i++)
        for (unsigned fortran = 0; fortran < 2; fortran++)
            run_all((struct part_case){ .codec = codecs[i], .fortran = fortran, .workers = 2, .skip_chunk = UINT64_MAX },
                    each_is_decoded_once);
}

static void test_parts__streams_are_right_in_any_order(void)
{
    run_all((struct part_case){ .codec = "zstd:3", .any_order = true, .workers = 2, .skip_chunk = UINT64_MAX },
            each_is_decoded_often);
}

static void one_is_missing(const struct part_case *o, const struct part_result *r)
{
    bool once = !o->piece_raw_bytes || o->slab_length == 8;

    CHECK(once ? r->present == 17 : r->present >= 17);
    CHECK(once ? r->missing == 1 : r->missing >= 1);
}

static void test_parts__a_missing_chunk_reads_as_fill(void)
{
    run_all((struct part_case){ .codec = "zstd:3", .workers = 2, .skip_chunk = 4 }, one_is_missing);
    run_all((struct part_case){ .codec = "blosc", .piece_raw_bytes = 76800, .workers = 2, .skip_chunk = 4 },
            one_is_missing);
    /* it begins inside a slab, and its first range is of two slabs */
    run_all((struct part_case){ .codec = "blosc", .piece_raw_bytes = 76800, .workers = 2, .skip_chunk = 7 },
            one_is_missing);
}

static void test_parts__a_chunk_that_is_cut_short_is_named(void)
{
    static const char *const codecs[] = { "zstd:3", "gzip:1", "none", "blosc" };

    for (unsigned i = 0; i < 4; i++) {
        struct part_case o = { .codec = codecs[i], .slab_length = 8, .workers = 2, .backend = IO_THREADS, .cut_bytes = 5,
                               .skip_chunk = UINT64_MAX, .piece_raw_bytes = i < 2 ? 0 : 76800 };
        struct part_result result = { 0 };
        struct error err = { 0 };

        CHECK(!run_parts(&o, &result, &err));
        CHECK_EQUAL(err.code, ERR_INPUT);
        CHECK(strstr(err.message, "chunk '0.0.1' of"));
    }
}

/* Blocks longer than planned: the next plan is told. */
static void test_parts__larger_blocks_than_planned_are_remembered(void)
{
    struct part_case o = { .codec = "blosc:lz4:5:shuffle:32768", .slab_length = 8, .workers = 2, .backend = IO_THREADS,
                           .skip_chunk = UINT64_MAX, .piece_raw_bytes = 4096, .planned_block_bytes = 2048 };
    struct part_result result = { 0 };
    struct error err = { 0 };

    CHECK(!run_parts(&o, &result, &err));
    CHECK_EQUAL(err.code, ERR_FIT);
    CHECK(result.seen.blosc_block_bytes_max > 2048);
    o.planned_block_bytes = result.seen.blosc_block_bytes_max;
    err = (struct error){ 0 };
    CHECK(run_parts(&o, &result, &err));
}

/* Plain reads fail in turn, and all of them are short. A block of scratch that cannot be read is made again, so a run may
 * also be right. */
static void test_parts__survives_reads_that_fail_or_are_short(void)
{
    static const char *const codecs[] = { "zstd:3", "blosc" };

    for (unsigned i = 0; i < 2; i++) {
        struct part_case o = { .codec = codecs[i], .slab_length = 10, .workers = 2, .backend = IO_THREADS,
                               .skip_chunk = UINT64_MAX, .piece_raw_bytes = i == 0 ? 0 : 76800 };
        struct os_faults shorts = { .kinds = OS_READ, .forever = true, .how = OS_FAULT_SHORT };
        struct part_result result = { 0 };
        unsigned healed = 0;
        struct error err = { 0 };

        o.faults = &shorts;
        CHECK(run_parts(&o, &result, &err));
        for (uint64_t n = 0; n < 18; n += 5) {
            struct os_faults fault = { .kinds = OS_READ, .first = n, .how = EIO };
            struct error why = { 0 };

            o.faults = &fault;
            if (run_parts(&o, &result, &why))
                healed++;
            else
                CHECK_EQUAL(why.code, ERR_IO);
        }
        CHECK(healed < 4);
    }
}

/* A chunk of a TiB that takes no space, in 2^28 pieces, of which the box needs two hundred. Whoever looks at all of them
 * does not get done. */
static void test_parts__a_thin_box_of_a_huge_chunk_takes_only_its_own_pieces(void)
{
    const uint64_t huge[2] = { 1 << 20, 1 << 18 };
    const struct box within = { .start = { 777777, 1020 }, .length = { 100, 5 } };   /* on a border of two pieces */
    struct array_meta m = make_meta(2, huge, huge, "none", false);
    struct scan scan = { .array = &m, .tasks = m.chunks, .workers = 2, .reads_in_flight = 4, .piece_raw_bytes = 4096,
                         .memory = { .piece_bytes_max = 3 * IO_ALIGN, .reads_bytes = 9 * IO_ALIGN } };
    struct report *report = report_new(&(struct report_options){ .progress = PROGRESS_NONE });
    char path[256], name[1024];
    struct digest digest;
    struct error err = { 0 };

    snprintf(path, sizeof path, "%s/huge", folder);
    CHECK(store_stage(&scan.store, path, false, "", SPAN_NONE, &err) && array_meta_write(&m, scan.store, &err) &&
          store_publish(scan.store, &err));
    store_close(scan.store);
    chunk_path(path, &m, 0, name, sizeof name);
    close(open(name, O_CREAT | O_WRONLY, 0644));
    CHECK(truncate(name, (off_t)array_chunk_bytes(&m)) == 0);
    CHECK(store_open(&scan.store, path, SPAN_NONE, &err));
    case_backend(0, &scan.backend);
    digest = (struct digest){ .frame = { .dtype = m.dtype, .boxes = m.chunks } };
    CHECK(digest_init(&digest, &digest.frame));
    CHECK(scan_digest(&scan, &within, &digest, report, NULL, &err));
    if (err.code)
        error_print(&err, stderr);
    CHECK_EQUAL(digest_total(&digest).elements, 500);
    CHECK_EQUAL(report_count(report, COUNT_SOURCE_READ_BYTES), 200 * 4096);
    CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), 500 * 4);
    digest_release(&digest);
    report_free(report);
    store_close(scan.store);
    os_remove_tree(AT_FDCWD, path);
}

/* What is read past the page cache is opened so; blocks one by one are not, which may be refused. Where nothing is, there is
 * nothing to turn off. */
static void test_parts__scattered_blocks_that_cannot_be_read_through_the_page_cache_are_named(void)
{
    static const struct os_faults refused = { .kinds = OS_FLAGS, .forever = true, .how = EIO };
    static const struct os_faults none = { .absent = OS_DIRECT };
    struct part_case o = { .codec = "blosc:zstd:1:shuffle:1024", .piece_raw_bytes = 76800 * 2, .workers = 2, .split = true,
                           .planned_block_bytes = 1024, .stride = 5, .slab_length = 8, .backend = IO_THREADS,
                           .skip_chunk = UINT64_MAX, .faults = &refused };
    struct part_result result = { 0 };
    struct error err = { 0 };

    CHECK(!run_parts(&o, &result, &err));
    CHECK_EQUAL(err.code, ERR_IO);
    CHECK(strstr(err.message, "chunk '0.0.") && strstr(err.message, "cannot read it through the page cache"));
    err = (struct error){ 0 };
    o.faults = &none;
    CHECK(run_parts(&o, &result, &err));
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_parts__ranges_of_blosc_chunks);
    RUN(test_parts__ranges_of_raw_chunks);
    RUN(test_parts__ranges_of_frames_whose_blocks_are_scattered);
    RUN(test_parts__a_thin_box_of_a_huge_chunk_takes_only_its_own_pieces);
    RUN(test_parts__streams_decode_each_chunk_once);
    RUN(test_parts__streams_are_right_in_any_order);
    RUN(test_parts__a_missing_chunk_reads_as_fill);
    RUN(test_parts__a_chunk_that_is_cut_short_is_named);
    RUN(test_parts__larger_blocks_than_planned_are_remembered);
    RUN(test_parts__survives_reads_that_fail_or_are_short);
    RUN(test_parts__scattered_blocks_that_cannot_be_read_through_the_page_cache_are_named);
    os_remove_tree(AT_FDCWD, folder);
    return test_summary();
}
