/* session.c and what the commands share: a plan that knew too little is made again, reports, limits of scans. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsl/commands.h"
#include "dsl/scan_array.h"
#include "dsl/session.h"
#include "engine/base/size.h"
#include "tests/unit/directory.h"

enum { CHUNKS = 40, BIG_CHUNK = 1 };     /* of 40 chunks the second is not one of the 16 that are looked at */
static const uint64_t chunk_bytes = MIB;

static void put_chunk(struct store *s, const struct array_meta *m, uint64_t index, const char *codec)
{
    static uint8_t raw[MIB];
    struct codec_chain chain = { 0 };
    struct codec_needs needs;
    struct encoder *encoder = NULL;
    struct chunk_place place;
    struct error err = { 0 };
    char *encoded, *scratch;
    uint64_t encoded_bytes;

    for (uint64_t i = 0; i < chunk_bytes; i++)
        raw[i] = (uint8_t)(i / 512 * 31 + index);
    CHECK(codec_chain_from_text(&chain, codec, 1, &err));
    codec_encode_needs(&chain, m->dtype, chunk_bytes, &needs);
    encoded = malloc(needs.encoded_bytes_max);
    scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_useful + 1, IO_ALIGN));
    CHECK(encoder_new(&encoder, &chain, m->dtype, chunk_bytes, scratch, needs.scratch_bytes_useful, &err) &&
          encode(encoder, raw, encoded, &encoded_bytes, &err));
    array_chunk_place(m, (uint64_t[]){ index, 0 }, &place);
    CHECK(store_put(s, place.key, encoded, encoded_bytes, &err));
    encoder_free(encoder);
    free(encoded);
    free(scratch);
}

/* Chunks framed in blocks of 16KiB, but for one of 256KiB. */
static void make_array(const char *path)
{
    struct array_meta m = {
        .format = FORMAT_ZARR2, .dtype = { DTYPE_UINT, 1 }, .keys = { .separator = '.' },
        .chunks = { .rank = 2, .shape = { CHUNKS, MIB }, .cell = { 1, MIB } },
    };
    struct store *s = NULL;
    struct error err = { 0 };

    m.codecs.order[1] = 1;
    CHECK(codec_chain_from_text(&m.codecs, "blosc:lz4:5:noshuffle", 1, &err));
    CHECK(store_stage(&s, path, false, "", SPAN_NONE, &err) && array_meta_write(&m, s, &err));
    for (uint64_t i = 0; i < CHUNKS; i++)
        put_chunk(s, &m, i, i == BIG_CHUNK ? "blosc:lz4:5:noshuffle:262144" : "blosc:lz4:5:noshuffle:16384");
    CHECK(store_publish(s, &err));
    store_close(s);
}

static void make_pipeline(struct pipeline *p, const char *in, const char *out)
{
    struct error err = { 0 };

    pipeline_init(p);
    CHECK(pipeline_flag(p, key_find(IN_INPUT, "path"), in, SPAN_NONE, &err));
    CHECK(pipeline_flag(p, key_find(IN_OUTPUT, "path"), out, SPAN_NONE, &err));
    CHECK(pipeline_flag(p, key_of_option("--chunks"), "8,64KiB", SPAN_NONE, &err));
    CHECK(pipeline_flag(p, key_of_option("--codec"), "none", SPAN_NONE, &err));
    CHECK(pipeline_flag(p, key_of_option("--threads"), "1", SPAN_NONE, &err));
    p->job.memory.set = true;
}

static uint64_t minimum_bytes(const struct job *job)
{
    struct job roomy = *job;
    struct error err = { 0 };
    struct plan plan;
    uint64_t bytes = 0;

    roomy.memory.bytes = GIB;
    if (plan_make(&plan, &roomy, &err)) {
        bytes = plan.minimum_bytes;
        plan_release(&plan);
    }
    return bytes;
}

static void test_session__plans_again_with_what_it_has_seen(void)
{
    struct directory d = directory_new();
    const char *in = directory_path(&d, "in.zarr"), *out = directory_path(&d, "out.zarr");
    struct session_options o = { .progress = PROGRESS_NONE, .to = tmpfile() };
    volatile int stop = 0;
    struct error err = { 0 };
    struct session session;
    struct pipeline p;
    char lines[4096] = "";
    uint64_t knowing_bytes;

    o.stop = &stop;
    make_array(in);
    make_pipeline(&p, in, out);
    p.job.seen.blosc_block_bytes_max = 256 * KIB;
    knowing_bytes = minimum_bytes(&p.job);
    p.job.seen.blosc_block_bytes_max = 0;
    CHECK(minimum_bytes(&p.job) < knowing_bytes);

    p.job.memory.bytes = minimum_bytes(&p.job);     /* not enough for the chunk that no sample showed */
    CHECK(!session_run(&session, &p, &o, &err) && err.code == ERR_FIT);
    CHECK(err.need_bytes == knowing_bytes && !directory_has(&d, "out.zarr"));
    session_release(&session);

    err = (struct error){ 0 };
    rewind(o.to);
    p.job.memory.bytes = knowing_bytes;
    CHECK(session_run(&session, &p, &o, &err));
    if (err.code)
        error_print(&err, stderr);
    CHECK_EQUAL(session.job.seen.blosc_block_bytes_max, 256 * KIB);
    CHECK(directory_has(&d, "out.zarr/.zarray"));
    session_release(&session);
    rewind(o.to);
    CHECK(fread(lines, 1, sizeof lines - 1, o.to) > 0 && strstr(lines, "planning again"));
    fclose(o.to);
    pipeline_release(&p);
    directory_remove(&d);
}

static void test_scan__is_planned_again_with_what_it_has_seen(void)
{
    static const uint8_t zero[ITEM_BYTES_MAX];
    struct directory d = directory_new();
    const char *in = directory_path(&d, "in.zarr");
    struct scan_limits limits = { .memory_bytes = 1, .threads = 1, .io = { .backend = IO_THREADS } };
    struct error err = { 0 };
    struct digest_frame frame;
    struct digest digest;
    struct array_file a;
    struct scan scan;
    uint64_t least_bytes, knowing_bytes;
    volatile int stop = 0;

    make_array(in);
    CHECK(array_file_open(&a, &(struct word){ in, SPAN_NONE }, 1, &err));
    CHECK(!array_file_scan(&scan, &a, &limits, &err));
    least_bytes = err.need_bytes;
    a.census.codec.blosc_block_bytes_max = 256 * KIB;
    err = (struct error){ 0 };
    CHECK(!array_file_scan(&scan, &a, &limits, &err));
    knowing_bytes = err.need_bytes;
    CHECK(knowing_bytes > least_bytes);
    digest_frame_init(&frame, a.meta.dtype, a.meta.chunks.rank, a.meta.chunks.shape, zero, 1);
    CHECK(digest_init(&digest, &frame));

    for (unsigned knowing = 0; knowing < 2; knowing++) {
        err = (struct error){ 0 };
        a.seen.blosc_block_bytes_max = 0;
        a.census.codec.blosc_block_bytes_max = 16 * KIB;
        limits.memory_bytes = least_bytes;              /* more would be used for a useful decoder */
        CHECK(array_file_scan(&scan, &a, &limits, &err));
        limits.memory_bytes = knowing ? knowing_bytes : least_bytes;
        CHECK_EQUAL(array_file_digest(&scan, &a, &limits, NULL, &digest, NULL, &stop, &err), knowing);
        CHECK(a.census.codec.blosc_block_bytes_max > 16 * KIB);         /* a useful decoder copes with some more */
        CHECK(knowing || a.census.codec.blosc_block_bytes_max == 256 * KIB);
        CHECK(knowing || (err.code == ERR_FIT && err.need_bytes == knowing_bytes));
    }
    CHECK_EQUAL(digest_total(&digest).elements, CHUNKS * MIB);      /* once, for all that were begun */
    digest_release(&digest);
    array_file_release(&a);
    directory_remove(&d);
}

static char said[1 << 16];      /* on standard error, by the last run_words */

/* A command line, run; its standard output is thrown away. */
static int run_words(char **words)
{
    int saved[2] = { dup(1), dup(2) }, nowhere = open("/dev/null", O_WRONLY), count = 0, status;
    struct stop_request stop = { 0 };
    FILE *errors = tmpfile();
    size_t length;

    while (words[count])
        count++;
    fflush(stdout);
    dup2(nowhere, 1);
    dup2(fileno(errors), 2);
    status = command_main(count, words, &stop);
    fflush(stdout);
    for (int fd = 1; fd <= 2; fd++) {
        dup2(saved[fd - 1], fd);
        close(saved[fd - 1]);
    }
    close(nowhere);
    rewind(errors);
    length = fread(said, 1, sizeof said - 1, errors);
    said[length] = '\0';
    fclose(errors);
    return status;
}

static bool file_says(const char *path, const char *words)
{
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;

    text[length] = '\0';
    if (file)
        fclose(file);
    return strstr(text, words) != NULL;
}

/* Four rows, no fill value, no codec. */
static const char no_fill_zarray[] =
    "{\"zarr_format\": 2, \"shape\": [4, 4], \"chunks\": [1, 4], \"dtype\": \"|u1\", \"fill_value\": null, "
    "\"order\": \"C\", \"filters\": null, \"compressor\": null}";

static char *copy_path(const struct directory *d, const char *name)
{
    return strdup(directory_path(d, name));
}

static void test_report__is_written_by_all_that_plan_and_counts_alike(void)
{
    struct directory d = directory_new();
    char *pipeline = copy_path(&d, "p.yaml"), *report = copy_path(&d, "report.json");
    char *commands[] = { "check", "plan", "run" };

    directory_make(&d, "in.zarr");
    directory_put(&d, "in.zarr/.zarray", no_fill_zarray);
    directory_put(&d, "in.zarr/.zattrs", "{\"units\": \"K\"}");
    directory_put(&d, "p.yaml", "memory: 64MiB\ninput: in.zarr\noutput: {path: out.zarr, chunks: [4, 2], "
                  "empty_chunks: write}\n");
    for (unsigned i = 0; i < 3; i++) {
        char *words[] = { "sluice", commands[i], pipeline, "--progress", "none", "--report", report, NULL };

        CHECK_EQUAL(run_words(words), 0);
        CHECK(file_says(report, "\"exit_status\": 0") && file_says(report, "\"plan\": {"));
        CHECK_EQUAL(file_says(report, "\"run\": {"), i == 2);
        CHECK(file_says(report, "\"files\": 4"));       /* two chunks, .zarray and .zattrs */
    }
    CHECK(file_says(report, "\"target_objects\": 4"));
    free(pipeline);
    free(report);
    directory_remove(&d);
}

/* A plan that reads chunks several times has nothing better than the census. */
static void test_summary__counts_the_chunks_that_the_run_met(void)
{
    static const struct { const char *cut; enum plan_wanted plan; bool exact; } cases[] = {
        { "4,2048", PLAN_SPLIT, true }, { "2,4096", PLAN_DIRECT, true }, { "3,4096", PLAN_DIRECT, false },
    };
    struct directory d = directory_new();
    struct session_options o = { .progress = PROGRESS_NONE };
    volatile int stop = 0;

    o.stop = &stop;
    directory_make(&d, "in.zarr");
    directory_put(&d, "in.zarr/.zarray", "{\"zarr_format\": 2, \"shape\": [400, 4096], \"chunks\": [2, 4096], "
                  "\"dtype\": \"|u1\", \"fill_value\": 0, \"order\": \"C\", \"filters\": null, "
                  "\"compressor\": {\"id\": \"zlib\", \"level\": 1}}");
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *in = directory_path(&d, "in.zarr"), *out = directory_path(&d, "out.zarr");
        struct error err = { 0 };
        struct session session;
        struct pipeline p;
        struct text lines;

        text_init(&lines, 4096);
        make_pipeline(&p, in, out);
        CHECK(pipeline_flag(&p, key_of_option("--chunks"), cases[i].cut, SPAN_NONE, &err));
        CHECK(pipeline_flag(&p, key_of_option("--overwrite"), NULL, SPAN_NONE, &err));
        p.job.plan = cases[i].plan;
        p.job.memory.bytes = 64 * MIB;
        p.job.memory.bytes = minimum_bytes(&p.job);
        CHECK(session_run(&session, &p, &o, &err));
        if (err.code)
            error_print(&err, stderr);
        session.plan.census.present = 7;        /* as if chunks had gone since it was taken */
        if (!err.code)
            session_summary(&session, &lines);
        CHECK(strstr(lines.chars, cases[i].exact ? " 0 of 200 chunks present" : " 7 of 200 chunks present"));
        session_release(&session);
        pipeline_release(&p);
        text_release(&lines);
    }
    directory_remove(&d);
}

static void test_check__warnings_say_what_they_are(void)
{
    struct directory d = directory_new();
    char *pipeline = copy_path(&d, "p.yaml");
    char *words[] = { "sluice", "check", pipeline, NULL };

    directory_make(&d, "in.zarr");
    directory_put(&d, "in.zarr/.zarray", no_fill_zarray);
    directory_put(&d, "p.yaml", "memory: 64MiB\ninput: in.zarr\noutput: {path: out.zarr, format: zarr3}\n");
    CHECK_EQUAL(run_words(words), 0);
    CHECK(strncmp(said, "note: the input has no fill value", 33) == 0);
    free(pipeline);
    directory_remove(&d);
}

/* As it would be typed: no word of an example has blanks in it. */
static void test_help__every_command_has_an_example_that_is_taken(void)
{
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *c = &command_table[i];
        char *words[32], *example = c->example ? strdup(c->example) : NULL, *rest = example;
        struct command_line line;
        struct error err = { 0 };
        int count = 0;

        CHECK(example || strcmp(c->name, "doctor") == 0);
        while (rest)
            words[count++] = strsep(&rest, " ");
        if (count) {
            command_line_init(&line, count, words);
            CHECK(count > 1 && strcmp(words[0], "sluice") == 0 && strcmp(words[1], c->name) == 0);
            CHECK(command_line_read(&line, count, words, c->bit, &err));
            CHECK(line.positional_count >= c->words_min && line.positional_count <= c->words_max);
            command_line_release(&line);
        }
        free(example);
    }
}

static void test_scan__a_budget_above_the_cgroup_is_refused(void)
{
    struct host host = { .available_bytes = 512 * MIB, .cgroup_limit_bytes = 512 * MIB, .threads = 1 };
    char *above[] = { "sluice", "digest", "in.zarr", "--memory", "513MiB", NULL };
    char *within[] = { "sluice", "digest", "in.zarr", "--memory", "512MiB", NULL };
    struct scan_limits limits;
    struct command_line line;
    struct error err = { 0 };

    command_line_init(&line, 5, above);
    CHECK(command_line_read(&line, 5, above, FOR_DIGEST, &err));
    CHECK(!scan_limits_read(&limits, &line, &host, &err) && err.code == ERR_FIT && strstr(err.message, "cgroup"));
    CHECK(err.span.column == 32 && strcmp(err.key, "memory") == 0 && err.have_bytes == 512 * MIB);
    command_line_release(&line);
    err = (struct error){ 0 };
    command_line_init(&line, 5, within);
    CHECK(command_line_read(&line, 5, within, FOR_DIGEST, &err));
    CHECK(scan_limits_read(&limits, &line, &host, &err));
    CHECK_EQUAL(limits.memory_bytes, 512 * MIB);
    command_line_release(&line);
}

int main(void)
{
    RUN(test_session__plans_again_with_what_it_has_seen);
    RUN(test_scan__is_planned_again_with_what_it_has_seen);
    RUN(test_report__is_written_by_all_that_plan_and_counts_alike);
    RUN(test_summary__counts_the_chunks_that_the_run_met);
    RUN(test_check__warnings_say_what_they_are);
    RUN(test_help__every_command_has_an_example_that_is_taken);
    RUN(test_scan__a_budget_above_the_cgroup_is_refused);
    return test_summary();
}
