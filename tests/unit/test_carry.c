/* Chunks on the border between two boxes are decoded once along the carry axis. Values by a formula. */
#include "tests/unit/directory.h"
#include "tests/unit/graph_cases.h"

enum { BLOCK_BYTES = 4096 };

struct shapes {
    unsigned rank, axis;
    uint64_t shape[3], from_chunk[3], to_chunk[3], box[3];
    uint64_t decodes;               /* of each chunk: columns of boxes that it lies in */
};

static const struct shapes cases[] = {
    { 1, 0, { 1000 }, { 100 }, { 128 }, { 128 }, 1 },
    { 1, 0, { 1000 }, { 128 }, { 100 }, { 200 }, 1 },
    { 1, 0, { 1000 }, { 100 }, { 111 }, { 333 }, 1 },       /* the last box is one element, and all of it is carried */
    { 1, 0, { 1000 }, { 999 }, { 500 }, { 1000 }, 1 },      /* one box */
    { 1, 0, { 200000 }, { 99999 }, { 100000 }, { 100000 }, 1 }, /* in several units */
    { 2, 0, { 90, 70 }, { 10, 70 }, { 9, 7 }, { 18, 70 }, 1 },
    { 2, 1, { 90, 70 }, { 90, 16 }, { 30, 7 }, { 90, 21 }, 1 },
    { 2, 0, { 95, 70 }, { 10, 70 }, { 9, 7 }, { 18, 35 }, 2 },
    { 2, 1, { 90, 73 }, { 45, 5 }, { 30, 7 }, { 90, 7 }, 1 },
    { 3, 2, { 21, 34, 55 }, { 5, 34, 20 }, { 21, 7, 8 }, { 21, 34, 24 }, 1 },
    { 3, 1, { 21, 34, 55 }, { 21, 6, 55 }, { 7, 5, 11 }, { 21, 10, 55 }, 1 },
    { 3, 0, { 61, 12, 15 }, { 10, 12, 4 }, { 11, 5, 15 }, { 11, 12, 15 }, 1 },
};
enum { CASES = sizeof cases / sizeof cases[0] };

struct options {
    const char *codec_from, *codec_to;
    bool fortran_from, fortran_to, split;
    bool skips;                     /* a chunk in the middle is missing */
    bool listed;                    /* and that is known */
    unsigned workers;
    enum io_backend backend;
};

static struct directory directory;

static void fill_graph(const struct shapes *c, const struct options *o, struct graph *g)
{
    struct stage *first = &g->stages[0];

    g->stage_count = o->split ? 2 : 1;
    *first = make_stage("first", FROM_CHUNKS, o->split ? TO_SEGMENTS : TO_CHUNKS, c->box, &g->target->chunks, g->source,
                        g->target, NULL, BLOCK_BYTES, o->workers);
    first->carries = true;
    first->carry_axis = c->axis;
    first->walk.group[c->axis] = WALK_ALL;
    first->memory.carry_bytes = stage_carry_bytes(&g->source->chunks, &first->tasks, c->axis, 4);
    if (o->split)
        g->stages[1] = make_stage("merge", FROM_SEGMENTS, TO_CHUNKS, c->to_chunk, &g->target->chunks, g->source,
                                  g->target, first, BLOCK_BYTES, o->workers);
    sum_pool(g);
}

/* Whole chunks are decoded so often; of ranges none more often. */
static void check_decoded(const struct shapes *c, const struct graph *g, struct report *report)
{
    uint64_t chunks = (uint64_t)(report_count(report, COUNT_CHUNKS_PRESENT) + report_count(report, COUNT_CHUNKS_MISSING));
    uint64_t decoded_bytes = (uint64_t)report_count(report, COUNT_SOURCE_DECODED_BYTES);
    uint64_t present_bytes = (uint64_t)report_count(report, COUNT_CHUNKS_PRESENT) * array_chunk_bytes(g->source);

    if (g->stages[0].piece_raw_bytes)
        CHECK(decoded_bytes <= c->decodes * grid_cells(&g->source->chunks) * array_chunk_bytes(g->source));
    else
        CHECK_EQUAL(decoded_bytes, present_bytes);
    CHECK_EQUAL(chunks, c->decodes * grid_cells(&g->source->chunks));
}

static void check_case(const struct shapes *c, const struct options *o)
{
    struct array_meta from = make_meta(c->rank, c->shape, c->from_chunk, o->codec_from, o->fortran_from);
    struct array_meta to = make_meta(c->rank, c->shape, c->to_chunk, o->codec_to, o->fortran_to);
    const char *source_path = directory_path(&directory, "source"), *target_path = directory_path(&directory, "target");
    struct report *report = report_new(&(struct report_options){ .progress = PROGRESS_NONE });
    struct graph g = { .source = &from, .target = &to, .target_path = target_path, .threads = o->workers,
                       .backend = o->backend, .missing_chunks_max = UINT64_MAX,
                       .write_empty_chunks = true };
    uint64_t skipped = o->skips ? grid_cells(&from.chunks) / 2 : UINT64_MAX;
    struct chunk_list list = { .chunks = malloc(grid_cells(&from.chunks) * sizeof *list.chunks) };
    struct error err = { 0 };
    struct box hole;

    for (uint64_t i = 0; i < grid_cells(&from.chunks); i++)
        if (i != skipped)
            list.chunks[list.count++] = i;
    g.present = o->listed ? &list : NULL;
    write_source(source_path, &from, skipped);
    CHECK(store_open(&g.source_store, source_path, SPAN_NONE, &err));
    g.scratch = (struct scratch_layout){ .block_bytes = BLOCK_BYTES, .encoding = SPILL_LZ4, .memory_bytes = 4 * MIB,
                                         .path = directory_path(&directory, "scratch") };
    fill_graph(c, o, &g);
    CHECK(graph_run(&g, report, NULL, &err));
    if (err.code)
        error_print(&err, stderr);
    if (o->skips) {
        grid_coords(&from.chunks, skipped, hole.start);
        grid_cell_box(&from.chunks, (const uint64_t[]){ hole.start[0], hole.start[1], hole.start[2] }, &hole);
    }
    CHECK(array_is_right(target_path, o->skips ? &hole : NULL));
    CHECK_EQUAL(report_count(report, COUNT_WORK_BYTES), graph_work_bytes(&g));
    CHECK_EQUAL(report_count(report, COUNT_MADE_BYTES), graph_work_bytes(&g) / 2);
    check_decoded(c, &g, report);
    if (test_failures_here)
        fprintf(stderr, "in case %d of %s, %u workers\n", (int)(c - cases), o->codec_from, o->workers);
    report_free(report);
    chunk_list_release(&list);
    store_close(g.source_store);
    os_remove_tree(AT_FDCWD, source_path);
    os_remove_tree(AT_FDCWD, target_path);
}

static void check_all(struct options o)
{
    for (unsigned b = 0; case_backend(b, &o.backend); b++)
        for (unsigned i = 0; i < CASES && !test_failures_here; i++) {
            o.workers = 1 + (i + b) % 4;
            check_case(&cases[i], &o);
        }
}

static void test_carry__decodes_each_chunk_once_along_its_axis(void)
{
    check_all((struct options){ .codec_from = "blosc:lz4:5", .codec_to = "zstd:1" });
    check_all((struct options){ .codec_from = "zstd:1", .codec_to = "none", .fortran_from = true, .fortran_to = true });
}

static void test_carry__works_with_ranges_of_raw_chunks(void)
{
    check_all((struct options){ .codec_from = "none", .codec_to = "none" });
    check_all((struct options){ .codec_from = "none", .codec_to = "blosc:lz4:1", .fortran_from = true });
}

static void test_carry__carries_the_fill_of_a_missing_chunk(void)
{
    check_all((struct options){ .codec_from = "blosc:lz4:5", .codec_to = "none", .skips = true });
    check_all((struct options){ .codec_from = "none", .codec_to = "none", .skips = true });
}

static void test_carry__carries_the_fill_where_a_chunk_is_known_to_be_missing(void)
{
    check_all((struct options){ .codec_from = "blosc:lz4:5", .codec_to = "none", .skips = true, .listed = true });
    check_all((struct options){ .codec_from = "none", .codec_to = "none", .skips = true, .listed = true,
                                .fortran_from = true, .fortran_to = true });
    check_all((struct options){ .codec_from = "none", .codec_to = "none", .skips = true, .listed = true, .split = true });
}

static void test_carry__feeds_a_split(void)
{
    check_all((struct options){ .codec_from = "blosc:lz4:5", .codec_to = "none", .split = true });
}

static void test_carry_bytes__is_what_the_widest_border_needs(void)
{
    for (uint64_t box = 1; box < 30; box++)
        for (uint64_t chunk = 1; chunk <= box; chunk++)
            for (uint64_t length = 1; length < 1000; length += 37) {
                struct grid chunks = { 2, { 5, length }, { 1, chunk } }, tasks = { 2, { 5, length }, { 3, box } };
                uint64_t widest = 0, bytes = stage_carry_bytes(&chunks, &tasks, 1, 4);

                for (uint64_t end = box; end < length; end += box)
                    if (end % chunk)
                        widest = size_max(widest, size_min(chunk - end % chunk, length - end));
                CHECK(bytes >= widest * 3 * 4);
                CHECK(length < 2 * box * chunk || bytes == widest * 3 * 4);
            }
}

int main(void)
{
    directory = directory_new();
    RUN(test_carry__decodes_each_chunk_once_along_its_axis);
    RUN(test_carry__works_with_ranges_of_raw_chunks);
    RUN(test_carry__carries_the_fill_of_a_missing_chunk);
    RUN(test_carry__carries_the_fill_where_a_chunk_is_known_to_be_missing);
    RUN(test_carry__feeds_a_split);
    RUN(test_carry_bytes__is_what_the_widest_border_needs);
    directory_remove(&directory);
    return test_summary();
}
