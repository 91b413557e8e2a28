/* Scans by hand: whole chunks, ranges and streams, with and without a list of what is there, against sums of the formula. */
#include "tests/unit/directory.h"
#include "tests/unit/graph_cases.h"

enum { RANK = 2, BLOCK_BYTES = 4096, SKIPPED = 4, WORKERS = 3 };
static const uint64_t shape[RANK] = { 300, 200 }, chunk[RANK] = { 120, 90 };
/* Of the array; across chunks, without the one that is missing; within the one that is. */
static const struct box withins[] = {
    { { 0, 0 }, { 300, 200 } }, { { 100, 10 }, { 17, 170 } }, { { 130, 95 }, { 40, 50 } }, { { 299, 199 }, { 1, 1 } },
};
enum { WITHINS = sizeof withins / sizeof withins[0] };

struct scan_case {
    const char *codec;
    bool fortran;
    enum stage_source source;
    uint64_t piece_raw_bytes;
};
static const struct scan_case cases[] = {
    { "zstd:1:checksum", false, FROM_CHUNKS, 0 },
    { "none", true, FROM_CHUNKS, 4096 },
    { "blosc:lz4:5:shuffle:4096", false, FROM_CHUNKS, 8192 },
    { "blosc:lz4:5:shuffle:4096", true, FROM_CHUNKS, 8192 },
    { "zstd:1:checksum", true, FROM_STREAM, 0 },
    { "gzip:1", false, FROM_STREAM, 0 },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static struct directory directory;

/* What a scan should find: every element by formula, or the fill value. */
static void digest_of_formula(struct digest *d, const struct array_meta *m, const struct box *within)
{
    uint32_t *items = malloc(array_chunk_bytes(m));

    for (uint64_t i = 0; i < grid_cells(&m->chunks); i++) {
        uint64_t coords[RANK_MAX];
        struct box hole;
        struct run run = { .order = m->codecs.order, .count = array_chunk_bytes(m) / 4, .data = (char *)items };

        grid_coords(&m->chunks, i, coords);
        grid_cell_box(&m->chunks, coords, &hole);
        chunk_values(m, coords, i == SKIPPED ? &hole : NULL, items);
        for (unsigned j = 0; j < RANK; j++) {
            run.piece.start[j] = coords[j] * chunk[j];
            run.piece.length[j] = chunk[j];
        }
        digest_run(d, &run, within);
    }
    free(items);
}

static void set_scan(struct scan *s, const struct scan_case *c)
{
    const struct array_meta *m = s->array;
    struct codec_sample sample = { .blosc_block_bytes_max = BLOCK_BYTES };
    struct stage model = make_stage("scan", FROM_CHUNKS, TO_CHUNKS, shape, &m->chunks, m, m, NULL, BLOCK_BYTES, WORKERS);
    struct codec_needs needs;

    s->source = c->source;
    s->workers = c->source == FROM_STREAM ? 1 : WORKERS;
    s->reads_in_flight = 4;
    s->piece_raw_bytes = c->piece_raw_bytes;
    s->tasks = model.tasks;
    s->memory = (struct stage_memory){
        .piece_bytes_max = model.memory.piece_bytes_max, .reads_bytes = model.memory.reads_bytes,
        .decode_scratch_bytes = model.memory.decode_scratch_bytes,
    };
    if (c->source == FROM_STREAM) {
        codec_streamed_needs(&m->codecs, m->dtype, array_chunk_bytes(m), &sample, &needs);
        s->memory = (struct stage_memory){ .stream_bytes = needs.scratch_bytes_least };
    }
}

/* All chunks but one. */
static struct chunk_list list_of(const struct array_meta *m)
{
    struct chunk_list list = { .chunks = malloc(grid_cells(&m->chunks) * sizeof *list.chunks) };

    for (uint64_t i = 0; i < grid_cells(&m->chunks); i++)
        if (i != SKIPPED)
            list.chunks[list.count++] = i;
    return list;
}

static void check_sums(const struct scan *s, const struct box *within, uint32_t fill)
{
    struct digest got, wanted;
    struct digest_frame frame;
    struct error err = { 0 };

    digest_frame_init(&frame, s->array->dtype, RANK, shape, &fill, 8);
    CHECK(digest_init(&got, &frame) && digest_init(&wanted, &frame));
    CHECK(scan_digest(s, within, &got, NULL, NULL, &err));
    if (err.code)
        error_print(&err, stderr);
    digest_of_formula(&wanted, s->array, within);
    for (uint64_t i = 0; i < grid_cells(&frame.boxes); i++)
        CHECK(memcmp(&got.sums[i], &wanted.sums[i], sizeof got.sums[i]) == 0);
    digest_release(&got);
    digest_release(&wanted);
}

/* Its elements in C order, and nothing behind them. */
static void check_values(const struct scan *s, const struct box *box)
{
    const struct grid *g = &s->array->chunks;
    static uint32_t got[300 * 200 + 1];
    struct error err = { 0 };
    uint64_t coords[RANK_MAX];

    memset(got, 0xa5, sizeof got);
    CHECK(scan_values(s, box, got, NULL, &err));
    grid_coords(g, SKIPPED, coords);
    for (uint64_t i = 0; i < box_elements(RANK, box); i++) {
        uint64_t at[RANK] = { box->start[0] + i / box->length[1], box->start[1] + i % box->length[1] };
        bool missing = at[0] / chunk[0] == coords[0] && at[1] / chunk[1] == coords[1];

        CHECK(got[i] == (missing ? CASE_FILL : value_at(g, at)));
    }
    CHECK(got[box_elements(RANK, box)] == 0xa5a5a5a5);
}

static void test_scan__finds_the_same_in_every_form_with_and_without_a_list(void)
{
    for (unsigned i = 0; i < CASES; i++) {
        struct array_meta m = make_meta(RANK, shape, chunk, cases[i].codec, cases[i].fortran);
        const char *path = directory_path(&directory, "source");
        struct chunk_list list = list_of(&m);
        struct scan scan = { .array = &m };
        struct error err = { 0 };

        write_source(path, &m, SKIPPED);
        CHECK(store_open(&scan.store, path, SPAN_NONE, &err));
        set_scan(&scan, &cases[i]);
        for (unsigned j = 0; case_backend(j, &scan.backend); j++)
            for (unsigned k = 0; k < 2 * 2 * WITHINS; k++) {
                scan.present = k & 1 ? &list : NULL;
                check_sums(&scan, k / 4 == 0 ? NULL : &withins[k / 4], k & 2 ? CASE_FILL : 0);
                check_values(&scan, &withins[k / 4]);
            }
        if (test_failures_here)
            fprintf(stderr, "in case %u, %s\n", i, cases[i].codec);
        store_close(scan.store);
        chunk_list_release(&list);
        os_remove_tree(AT_FDCWD, path);
    }
}

/* A list that is no list of chunks shows: each element is there once, or missing once. */
static void test_scan__fails_when_it_has_lost_count(void)
{
    struct array_meta m = make_meta(RANK, shape, chunk, "zstd:1", false);
    const char *path = directory_path(&directory, "source");
    struct chunk_list list = list_of(&m);
    struct scan scan = { .array = &m, .present = &list, .backend = IO_THREADS };
    struct digest_frame frame;
    struct digest digest;
    struct error err = { 0 };

    write_source(path, &m, SKIPPED);
    CHECK(store_open(&scan.store, path, SPAN_NONE, &err));
    set_scan(&scan, &cases[0]);
    list.chunks[1] = list.chunks[0];
    digest_frame_init(&frame, m.dtype, RANK, shape, m.fill, 1);
    CHECK(digest_init(&digest, &frame));
    CHECK(!scan_digest(&scan, NULL, &digest, NULL, NULL, &err));
    CHECK_EQUAL(err.code, ERR_IO);
    CHECK(strstr(err.message, "this is a bug"));
    digest_release(&digest);
    store_close(scan.store);
    chunk_list_release(&list);
    os_remove_tree(AT_FDCWD, path);
}

struct told {
    unsigned count;
    char keys[16][KEY_BYTES_MAX];
};

static void tell(void *context, const char *key, const struct error *why)
{
    struct told *t = context;

    CHECK_EQUAL(why->code, ERR_INPUT);
    if (t->count < 16)
        snprintf(t->keys[t->count], sizeof t->keys[0], "%s", key);
    t->count++;
}

/* Overwrite the last bytes of a chunk, or cut off so many. */
static void damage(const char *path, const char *key, unsigned bytes, bool cut)
{
    char name[1024], rubbish[512];
    FILE *f;

    snprintf(name, sizeof name, "%s/%s", path, key);
    memset(rubbish, 0xff, sizeof rubbish);
    f = fopen(name, "r+");
    CHECK(f && fseek(f, -(long)bytes, SEEK_END) == 0);
    if (cut)
        CHECK(ftruncate(fileno(f), ftell(f)) == 0);
    else
        CHECK(fwrite(rubbish, 1, bytes, f) == bytes);
    fclose(f);
}

static void test_scan__tells_each_damaged_chunk_once_whichever_piece_is_bad(void)
{
    for (unsigned i = 0; i < CASES; i++) {
        struct array_meta m = make_meta(RANK, shape, chunk, cases[i].codec, cases[i].fortran);
        const char *path = directory_path(&directory, "source");
        struct told told = { 0 };
        struct scan scan = { .array = &m, .backend = IO_THREADS, .damaged = tell, .context = &told };
        bool raw = codec_chain_is_raw(&m.codecs);
        struct digest_frame frame;
        struct digest digest;
        struct error err = { 0 };

        write_source(path, &m, UINT64_MAX);
        damage(path, "0.1", 400, raw);      /* its last piece alone, unless it is raw */
        damage(path, "2.2", 9, true);       /* every piece, where they go by the length */
        CHECK(store_open(&scan.store, path, SPAN_NONE, &err));
        set_scan(&scan, &cases[i]);
        digest_frame_init(&frame, m.dtype, RANK, shape, m.fill, 1);
        CHECK(digest_init(&digest, &frame));
        CHECK(scan_digest(&scan, NULL, &digest, NULL, NULL, &err));
        CHECK_EQUAL(told.count, 2);
        CHECK((strcmp(told.keys[0], "0.1") == 0 && strcmp(told.keys[1], "2.2") == 0) ||
              (strcmp(told.keys[0], "2.2") == 0 && strcmp(told.keys[1], "0.1") == 0));
        if (test_failures_here)
            fprintf(stderr, "in case %u, %s\n", i, cases[i].codec);
        digest_release(&digest);
        store_close(scan.store);
        os_remove_tree(AT_FDCWD, path);
    }
}

int main(void)
{
    directory = directory_new();
    RUN(test_scan__finds_the_same_in_every_form_with_and_without_a_list);
    RUN(test_scan__fails_when_it_has_lost_count);
    RUN(test_scan__tells_each_damaged_chunk_once_whichever_piece_is_bad);
    directory_remove(&directory);
    return test_summary();
}
