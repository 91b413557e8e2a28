/* keys.c and pipeline.c: the table holds together, and a pipeline becomes the job it asks for. */
#include <string.h>

#include "dsl/pipeline.h"
#include "tests/unit/test.h"

static void test_keys__every_row_is_whole(void)
{
    for (unsigned i = 0; i < key_count; i++) {
        const struct key *k = &key_table[i];

        CHECK(k->help && k->help[0] && k->synonyms);
        CHECK(key_find(k->section, k->name) == k);      /* no name twice in a section */
        CHECK((k->choices != NULL) == (k->type == KEY_WORD || k->type == KEY_WORD_BOOL || k->type == KEY_FORMAT));
        CHECK(k->type != KEY_COUNT || k->max > k->min);
        CHECK(k->type != KEY_PATH || k->span_offset);   /* an error far from here points at it */
    }
}

static void test_keys__no_key_is_a_synonym_of_another_in_its_section(void)
{
    for (unsigned i = 0; i < key_count; i++)
        for (unsigned j = 0; j < key_count; j++) {
            char list[512], word[64];

            snprintf(list, sizeof list, " %s ", key_table[j].synonyms);
            snprintf(word, sizeof word, " %s ", key_table[i].name);
            if (key_table[i].section == key_table[j].section && strstr(list, word)) {
                fprintf(stderr, "'%s' is a key and a synonym of '%s'\n", key_table[i].name, key_table[j].name);
                CHECK(false);
            }
        }
}

static bool read_pipeline(struct pipeline *p, const char *text, const char *directory, struct error *err)
{
    *err = (struct error){ 0 };
    pipeline_init(p);
    return pipeline_read_text(p, "test.yaml", text, strlen(text), directory, err) && pipeline_finish(p, err);
}

static void test_pipeline__a_whole_file_becomes_a_job(void)
{
    struct pipeline p;
    struct error err;
    const struct job *job = &p.job;

    CHECK(read_pipeline(&p, "memory: 64MiB\nscratch: {path: s, limit: 1GiB, codec: lz4}\nthreads: 3\nio: threads\n"
                        "inputs: {era5: {path: in.zarr, missing: refuse}}\n"
                        "outputs:\n  maps:\n    from: era5\n    path: /out.zarr\n    format: zarr3\n"
                        "    chunks: [all, 32, keep]\n    codec: zstd:3\n    overwrite: true\n"
                        "    empty_chunks: write\n", "dir", &err));
    CHECK(job->memory.set && job->memory.bytes == 64 << 20 && job->memory.span.line == 1);
    CHECK(job->scratch_path && strcmp(job->scratch_path, "dir/s") == 0 && job->scratch_span.line == 2);
    CHECK(job->scratch_limit.bytes == 1 << 30 && job->scratch_codec == SCRATCH_LZ4);
    CHECK(job->threads == 3 && job->threads_span.line == 3 && job->backend == IO_THREADS);
    CHECK(job->input.path && strcmp(job->input.path, "dir/in.zarr") == 0 && job->input.refuse_missing);
    CHECK(job->output.name && strcmp(job->output.name, "maps") == 0);
    CHECK(job->output.path && strcmp(job->output.path, "/out.zarr") == 0 && job->output.span.line == 9);
    CHECK(job->output.format_set && job->output.format == FORMAT_ZARR3);
    CHECK(job->output.chunks.form == CHUNKS_LISTED && job->output.chunks.count == 3);
    CHECK(job->output.codec && strcmp(job->output.codec, "zstd:3") == 0 && job->output.codec_span.line == 12);
    CHECK(job->output.overwrite && job->output.write_empty_chunks);
    pipeline_release(&p);
}

static void test_pipeline__the_smallest_file_leaves_the_rest_to_the_planner(void)
{
    struct pipeline p;
    struct error err;

    CHECK(read_pipeline(&p, "input: in.zarr\noutput: {path: out.zarr}\n", NULL, &err));
    CHECK(!p.job.memory.set && !p.job.threads && !p.job.scratch_path && !p.job.output.codec);
    CHECK(p.job.output.chunks.form == CHUNKS_KEEP && p.job.backend == IO_AUTO && !p.job.output.format_set);
    CHECK(strcmp(p.job.input.path, "in.zarr") == 0);
    pipeline_release(&p);
}

static void test_pipeline__flags_win_and_their_paths_are_our_own(void)
{
    struct pipeline p;
    struct error err;

    CHECK(read_pipeline(&p, "memory: 1GiB\ninput: in.zarr\noutput: {path: out.zarr}\n", "dir", &err));
    CHECK(pipeline_flag(&p, key_of_option("--memory"), "2GiB", SPAN_NONE, &err));
    CHECK(pipeline_flag(&p, key_of_option("--scratch"), "here", SPAN_NONE, &err));
    CHECK(pipeline_flag(&p, key_of_option("--overwrite"), NULL, SPAN_NONE, &err));
    CHECK(p.job.memory.bytes == 2ull << 30 && strcmp(p.job.scratch_path, "here") == 0 && p.job.output.overwrite);
    pipeline_release(&p);
}

static void test_pipeline__what_is_emitted_reads_back_as_the_same(void)
{
    static const char text[] = "memory: 1536MiB\nscratch: {path: '/s $$x', limit: 5MiB, codec: none}\nthreads: 2\n"
                               "input:\n  path: 'a: b #c'\n  missing: refuse\noutput:\n  path: \"o\\\"ut\"\n"
                               "  chunks: {'a b': 8MiB, y: all, n: 012}\n  codec: blosc:lz4:5:shuffle\n";
    struct text first, second;
    struct pipeline p;
    struct error err;

    text_init(&first, 1 << 16);
    text_init(&second, 1 << 16);
    CHECK(read_pipeline(&p, text, NULL, &err));
    pipeline_emit(&p, &first);
    pipeline_release(&p);
    CHECK(read_pipeline(&p, first.chars, NULL, &err));
    CHECK(strcmp(p.job.input.path, "a: b #c") == 0 && strcmp(p.job.scratch_path, "/s $x") == 0);
    CHECK(strcmp(p.job.output.path, "o\"ut") == 0 && p.job.output.chunks.axes[2].value == 12);
    pipeline_emit(&p, &second);
    CHECK(strcmp(first.chars, second.chars) == 0);
    pipeline_release(&p);
    text_release(&first);
    text_release(&second);
}

static void test_pipeline__every_reserved_key_is_refused(void)
{
    for (unsigned i = 0; i < key_count; i++) {
        const struct key *k = &key_table[i];
        struct pipeline p;
        struct error err;
        char text[256];

        if (key_is_built(k) || k->section == IN_STEP)
            continue;
        if (k->section == AT_TOP)
            snprintf(text, sizeof text, "%s: x\n", k->name);
        else
            snprintf(text, sizeof text, "%s: {%s: x}\n", k->section == IN_INPUT ? "input" : "output", k->name);
        CHECK(!read_pipeline(&p, text, NULL, &err) && err.code == ERR_USAGE && strstr(err.message, "not built yet"));
        pipeline_release(&p);
    }
}

int main(void)
{
    RUN(test_keys__every_row_is_whole);
    RUN(test_keys__no_key_is_a_synonym_of_another_in_its_section);
    RUN(test_pipeline__a_whole_file_becomes_a_job);
    RUN(test_pipeline__the_smallest_file_leaves_the_rest_to_the_planner);
    RUN(test_pipeline__flags_win_and_their_paths_are_our_own);
    RUN(test_pipeline__what_is_emitted_reads_back_as_the_same);
    RUN(test_pipeline__every_reserved_key_is_refused);
    return test_summary();
}
