/* dsl/sluice.h, as a program sees it that links the static library and includes nothing else. */
#include <string.h>

#include "dsl/sluice.h"
#include "tests/unit/directory.h"
#include "tests/unit/test.h"

enum { ROWS = 6, COLUMNS = 4 };

static const char pipeline[] =
    "memory: 64MiB\nthreads: 1\ninput: in-$year.zarr\noutput: {path: out.zarr, chunks: {1: all, 0: 2}}\n";

/* Rows of one chunk each, without a codec: element [r][c] is 10 r + c. */
static void make_array(const struct directory *d)
{
    directory_make(d, "in-1979.zarr");
    directory_put(d, "in-1979.zarr/.zarray",
                  "{\"zarr_format\": 2, \"shape\": [6, 4], \"chunks\": [1, 4], \"dtype\": \"|u1\", "
                  "\"fill_value\": 0, \"order\": \"C\", \"filters\": null, \"compressor\": null}");
    for (unsigned r = 0; r < ROWS; r++) {
        unsigned char row[COLUMNS];
        char name[64];

        for (unsigned c = 0; c < COLUMNS; c++)
            row[c] = (unsigned char)(10 * r + c);
        snprintf(name, sizeof name, "in-1979.zarr/%u.0", r);
        directory_put_bytes(d, name, row, sizeof row);
    }
}

/* A handle that has read the pipeline, as a text of that directory. */
static struct sluice *read_pipeline(const struct directory *d)
{
    struct sluice *s = sluice_new();

    CHECK(s != NULL);
    CHECK_EQUAL(sluice_set_param(s, "year", "1979"), 0);
    CHECK_EQUAL(sluice_read_text(s, "rows.yaml", pipeline, strlen(pipeline), d->path), 0);
    CHECK_EQUAL(sluice_set(s, "output.chunks", "2,4"), 0);
    CHECK(sluice_error(s)[0] == '\0');
    return s;
}

static void test_sluice__plans_runs_and_reports(void)
{
    struct directory d = directory_new();
    struct sluice *s;
    const char *text;
    unsigned char got[2 * COLUMNS] = { 0 };
    FILE *chunk;

    make_array(&d);
    s = read_pipeline(&d);
    CHECK_EQUAL(sluice_plan(s, 0, &text), 0);
    CHECK(strstr(text, "budget    64MiB") != NULL && !directory_has(&d, "out.zarr"));
    CHECK_EQUAL(sluice_plan(s, 1, &text), 0);
    CHECK(strncmp(text, "{\"schema\": 1, ", 14) == 0);
    CHECK_EQUAL(sluice_run(s), 0);
    CHECK(sluice_error(s)[0] == '\0' && sluice_error_json(s)[0] == '\0');
    CHECK(strstr(sluice_report(s), "\"exit_status\": 0") != NULL);
    CHECK(strstr(sluice_report(s), "\"target_objects\": 4") != NULL);  /* three chunks and .zarray */
    chunk = fopen(directory_path(&d, "out.zarr/1.0"), "r");
    CHECK(chunk && fread(got, 1, sizeof got, chunk) == sizeof got && got[0] == 20 && got[2 * COLUMNS - 1] == 33);
    if (chunk)
        fclose(chunk);
    CHECK_EQUAL(sluice_run(s), 6);      /* it is there now */
    CHECK(strstr(sluice_error(s), "rows.yaml:4:16: error:") != NULL);
    CHECK_EQUAL(sluice_set(s, "output.overwrite", "true"), 0);
    CHECK_EQUAL(sluice_run(s), 0);
    sluice_free(s);
    directory_remove(&d);
}

static void test_sluice__says_what_is_wrong_as_a_text_and_as_json(void)
{
    static const char wrong[] = "memory: lots\ninput: in.zarr\noutput: {path: out.zarr, chunk: 3}\n";
    struct sluice *s = sluice_new();

    CHECK_EQUAL(sluice_read_text(s, "wrong.yaml", wrong, strlen(wrong), NULL), 2);
    CHECK(strstr(sluice_error(s), "wrong.yaml:1:9: error: memory: 'lots' is not a size") != NULL);
    CHECK(strstr(sluice_error(s), "help: ") != NULL);
    CHECK(strstr(sluice_error_json(s), "\"key\": \"memory\"") != NULL);
    CHECK(strstr(sluice_error_json(s), "\"line\": 1, \"column\": 9") != NULL);
    CHECK(strstr(sluice_error(s), "wrong.yaml:3:26: error: output.chunk: ") != NULL);   /* and all else that is */
    CHECK(strstr(sluice_error_json(s), "\"key\": \"output.chunk\"") != NULL);
    CHECK_EQUAL(sluice_set(s, "memory", "1GiB"), 0);
    CHECK(sluice_error(s)[0] == '\0');
    CHECK_EQUAL(sluice_set(s, "max_mem", "1GiB"), 2);
    CHECK(strstr(sluice_error(s), "'memory'") != NULL);
    CHECK_EQUAL(sluice_read_file(s, "another.yaml"), 2);        /* one handle, one pipeline */
    CHECK(strstr(sluice_error(s), "wrong.yaml") == NULL);
    sluice_free(s);
    sluice_free(NULL);
}

static void test_sluice__a_handle_is_filled_by_keys_alone(void)
{
    struct directory d = directory_new();
    struct sluice *s = sluice_new();
    const char *text;

    make_array(&d);
    CHECK_EQUAL(sluice_plan(s, 0, &text), 2);
    CHECK(text[0] == '\0' && strstr(sluice_error(s), "input.path") != NULL);
    CHECK_EQUAL(sluice_set(s, "input.path", directory_path(&d, "in-1979.zarr")), 0);
    CHECK_EQUAL(sluice_set(s, "output.path", directory_path(&d, "out.zarr")), 0);
    CHECK_EQUAL(sluice_set(s, "memory", "1KiB"), 0);
    CHECK_EQUAL(sluice_run(s), 3);
    CHECK(strstr(sluice_error_json(s), "\"need_bytes\": ") != NULL);
    CHECK(strstr(sluice_report(s), "\"exit_status\": 3") != NULL && !directory_has(&d, "out.zarr"));
    CHECK_EQUAL(sluice_set(s, "memory", "64MiB"), 0);
    CHECK_EQUAL(sluice_run(s), 0);
    CHECK(directory_has(&d, "out.zarr/.zarray"));
    sluice_free(s);
    directory_remove(&d);
}

int main(void)
{
    CHECK(sluice_version()[0] != '\0');
    RUN(test_sluice__plans_runs_and_reports);
    RUN(test_sluice__says_what_is_wrong_as_a_text_and_as_json);
    RUN(test_sluice__a_handle_is_filled_by_keys_alone);
    return test_summary();
}
