/* scalars.c, chunks.c, codecs.c: what texts mean. */
#include <string.h>

#include "dsl/scalars.h"
#include "tests/unit/test.h"

static uint64_t size_of(const char *words)
{
    struct size_request size = { 0 };
    struct error err = { 0 };

    return scalar_size(&size, words, SPAN_NONE, false, &err) ? size.bytes : 0;
}

static void test_scalars__sizes_are_powers_of_1000_and_of_1024(void)
{
    CHECK_EQUAL(size_of("737280"), 737280);
    CHECK_EQUAL(size_of("737280B"), 737280);
    CHECK_EQUAL(size_of("64MiB"), 64 << 20);
    CHECK_EQUAL(size_of("64Mi"), 64 << 20);
    CHECK_EQUAL(size_of("1.5GiB"), 3ll << 29);
    CHECK_EQUAL(size_of("500MB"), 500000000);
    CHECK_EQUAL(size_of("4G"), 4000000000);
    CHECK_EQUAL(size_of("1k"), 1000);
    CHECK_EQUAL(size_of("0.5KiB"), 512);
    CHECK_EQUAL(size_of("012"), 12);
    CHECK_EQUAL(size_of("64 MB"), 64000000);
    CHECK_EQUAL(size_of("9007199254740993"), 9007199254740993);
    CHECK_EQUAL(size_of("8388607TiB"), 8388607ll << 40);
}

static void test_scalars__what_is_no_size_is_refused(void)
{
    static const char *const wrong[] = {
        "", "0", "0.0MiB", "-1", "+1", "1e3", "0x10", "MiB", "64  MiB", "64 ", "64mib", "64MiBs", "1.5.5G", ".5G", "5.G",
        "nan", "inf", "8388608TiB", "99999999999999999999", "12:30", "80%",
    };

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (size_of(wrong[i]) != 0) {
            fprintf(stderr, "taken: '%s'\n", wrong[i]);
            CHECK(false);
        }
}

static void test_scalars__no_size_is_refused_with_itself_as_help(void)
{
    static const struct { const char *words, *message, *help; } wrong[] = {
        { "99999999999999999999TiB", "has more than 18 digits", "larger unit" },
        { "0.12345678901234567890MiB", "has more than 18 digits", "fewer digits" },
        { "99999999999999999999", "has more than 18 digits", "larger unit" },
        { "1.2.3GiB", "is not a size", "a size is 64MiB" },
        { ".5GiB", "is not a size", "a size is 64MiB" },
        { "5.GiB", "is not a size", "a size is 64MiB" },
        { "64mib", "is not a size", "write 64MiB" },
        { "64  MiB", "is not a size", "write 64MiB" },
    };

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct size_request size;
        struct error err = { 0 };

        CHECK(!scalar_size(&size, wrong[i].words, SPAN_NONE, false, &err));
        if (!strstr(err.message, wrong[i].message) || !strstr(err.help, wrong[i].help)) {
            fprintf(stderr, "'%s': %s; %s\n", wrong[i].words, err.message, err.help);
            CHECK(false);
        }
    }
}

static void test_scalars__a_share_is_between_0_and_100_percent(void)
{
    struct size_request size;
    struct error err = { 0 };

    CHECK(scalar_size(&size, "80%", SPAN_NONE, true, &err));
    CHECK(size.set && size.bytes == 0 && size.share > 0.799 && size.share < 0.801);
    CHECK(scalar_size(&size, "12.5%", SPAN_NONE, true, &err) && size.share == 0.125);
    CHECK(!scalar_size(&size, "0%", SPAN_NONE, true, &err));
    err = (struct error){ 0 };
    CHECK(!scalar_size(&size, "101%", SPAN_NONE, true, &err));
}

static void test_scalars__counts_are_digits(void)
{
    static const char *const wrong[] = {
        "", "-1", "1.5", "0x10", "1_000", "1e3", "12:30:00", "many", "18446744073709551616", "0",
    };
    struct error err = { 0 };
    uint64_t count = 0;

    CHECK(scalar_count(&count, "012", SPAN_NONE, 1, 100, &err) && count == 12);
    CHECK(scalar_count(&count, "18446744073709551615", SPAN_NONE, 1, UINT64_MAX, &err) && count == UINT64_MAX);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        err = (struct error){ 0 };
        CHECK(!scalar_count(&count, wrong[i], SPAN_NONE, 1, UINT64_MAX, &err) && err.code == ERR_USAGE);
    }
}

static void test_scalars__booleans_are_true_and_false_only(void)
{
    static const char *const wrong[] = { "yes", "no", "on", "off", "y", "n", "1", "0", "True", "FALSE", "", "~" };
    struct error err = { 0 };
    bool value = false;

    CHECK(scalar_bool(&value, "true", SPAN_NONE, &err) && value);
    CHECK(scalar_bool(&value, "false", SPAN_NONE, &err) && !value);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        err = (struct error){ 0 };
        CHECK(!scalar_bool(&value, wrong[i], SPAN_NONE, &err) && err.help[0]);
    }
}

static bool chunks_of(struct chunk_request *chunks, const char *words, struct arena *arena)
{
    struct error err = { 0 };

    return chunks_from_text(chunks, words, SPAN_NONE, arena, &err);
}

static void test_scalars__chunks_have_one_grammar(void)
{
    struct chunk_request c;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    CHECK(chunks_of(&c, "time=all,lat=32,lon=-1,level=keep,x=8MiB", &arena));
    CHECK(c.form == CHUNKS_NAMED && c.count == 5);
    CHECK(strcmp(c.axes[0].name, "time") == 0 && c.axes[0].kind == AXIS_ALL);
    CHECK(c.axes[1].kind == AXIS_COUNT && c.axes[1].value == 32);
    CHECK(c.axes[2].kind == AXIS_ALL && c.axes[3].kind == AXIS_KEEP);
    CHECK(c.axes[4].kind == AXIS_BYTES && c.axes[4].value == 8 << 20);
    CHECK(chunks_of(&c, "744,32,-1", &arena) && c.form == CHUNKS_LISTED && c.count == 3 && !c.axes[0].name);
    CHECK(chunks_of(&c, "32", &arena) && c.form == CHUNKS_LISTED && c.count == 1 && c.axes[0].value == 32);
    CHECK(chunks_of(&c, "8MiB", &arena) && c.form == CHUNKS_BYTES && c.bytes == 8 << 20);
    CHECK(chunks_of(&c, "auto", &arena) && c.form == CHUNKS_AUTO);
    CHECK(chunks_of(&c, "", &arena) && c.form == CHUNKS_LISTED && c.count == 0);
    arena_release(&arena);
}

static void test_scalars__chunks_that_make_no_sense_are_refused(void)
{
    static const char *const wrong[] = {
        ",", "1,", ",1", "1,,2", "0", "time=0", "=3", "time=", "time=all,32", "32,time=all", "a=1,a=2", "time=auto",
        "-2", "1.5", "all,all,many", "8mib", "a=b=c", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
    };
    struct chunk_request c;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (chunks_of(&c, wrong[i], &arena)) {
            fprintf(stderr, "taken: '%s'\n", wrong[i]);
            CHECK(false);
        }
    arena_release(&arena);
}

static void test_scalars__a_wrong_axis_is_underlined_alone(void)
{
    static const char line[] = "sluice rechunk --chunks 32,32,0";
    struct source source = { "command line", line, sizeof line - 1 };
    struct span span = { &source, 1, 25, 7, NULL };
    struct chunk_request c;
    struct error err = { 0 };
    struct arena arena;

    arena_init(&arena, 1 << 20);
    CHECK(!chunks_from_text(&c, "32,32,0", span, &arena, &err));
    CHECK_EQUAL(err.span.column, 31);
    CHECK_EQUAL(err.span.length, 1);
    arena_release(&arena);
}

static const char *codec_of(const char *yaml, struct arena *arena, struct error *err)
{
    struct source source = { "test.yaml", yaml, strlen(yaml) };
    struct yaml_node *root;
    const char *codec = NULL;

    *err = (struct error){ 0 };
    return yaml_read(&root, &source, arena, err) && codec_from_node(&codec, root, arena, err) ? codec : "";
}

static void test_scalars__a_codec_map_is_the_text_written_out(void)
{
    struct arena arena;
    struct error err;

    arena_init(&arena, 1 << 20);
    CHECK(strcmp(codec_of("blosc:zstd:5:bitshuffle", &arena, &err), "blosc:zstd:5:bitshuffle") == 0);
    CHECK(strcmp(codec_of("{blosc: {cname: zstd, clevel: 5, shuffle: bitshuffle}}", &arena, &err),
                 "blosc:zstd:5:bitshuffle") == 0);
    CHECK(strcmp(codec_of("{zstd: {level: 7}}", &arena, &err), "zstd:7") == 0);
    CHECK(strcmp(codec_of("{gzip: {level: 1}}", &arena, &err), "gzip:1") == 0);
    CHECK(strcmp(codec_of("{zstd: {level: 7, checksum: true}}", &arena, &err), "zstd:7:checksum") == 0);
    CHECK(strcmp(codec_of("{zstd: {checksum: true}}", &arena, &err), "zstd:3:checksum") == 0);
    CHECK(strcmp(codec_of("{zstd: {checksum: false}}", &arena, &err), "zstd") == 0);
    CHECK(strcmp(codec_of("{lz4: {acceleration: 2}}", &arena, &err), "lz4:2") == 0);
    /* What is not said is not said in the text either: bitshuffle is what items of one byte get. */
    CHECK(strcmp(codec_of("{blosc: {}}", &arena, &err), "blosc") == 0);
    CHECK(strcmp(codec_of("{blosc: {cname: zstd}}", &arena, &err), "blosc:zstd") == 0);
    CHECK(strcmp(codec_of("{blosc: {clevel: 9}}", &arena, &err), "blosc:lz4:9") == 0);
    CHECK(strcmp(codec_of("{blosc: {shuffle: noshuffle, blocksize: 4096}}", &arena, &err),
                 "blosc:lz4:5:noshuffle:4096") == 0);
    CHECK(err.code == ERR_NONE);
    CHECK(codec_of("{zstd: 3}", &arena, &err)[0] == '\0' && strstr(err.help, "zstd:3"));
    CHECK(codec_of("{blosc: {cname: zstd, speed: 5}}", &arena, &err)[0] == '\0');
    err = (struct error){ 0 };
    CHECK(codec_of("{blosc: {clevel: 5, level: 9}}", &arena, &err)[0] == '\0' && strstr(err.message, "say the same"));
    err = (struct error){ 0 };
    CHECK(codec_of("{blosc: {blocksize: 4096}}", &arena, &err)[0] == '\0' && strstr(err.help, "shuffle"));
    err = (struct error){ 0 };
    CHECK(codec_of("{zstd: {level: 3+crc32c}}", &arena, &err)[0] == '\0' && strstr(err.message, "no value"));
    CHECK(codec_of("[zstd, gzip]", &arena, &err)[0] == '\0');
    CHECK(codec_of("zstd:99", &arena, &err)[0] == '\0' && err.span.source);
    arena_release(&arena);
}

int main(void)
{
    RUN(test_scalars__sizes_are_powers_of_1000_and_of_1024);
    RUN(test_scalars__what_is_no_size_is_refused);
    RUN(test_scalars__no_size_is_refused_with_itself_as_help);
    RUN(test_scalars__a_share_is_between_0_and_100_percent);
    RUN(test_scalars__counts_are_digits);
    RUN(test_scalars__booleans_are_true_and_false_only);
    RUN(test_scalars__chunks_have_one_grammar);
    RUN(test_scalars__chunks_that_make_no_sense_are_refused);
    RUN(test_scalars__a_wrong_axis_is_underlined_alone);
    RUN(test_scalars__a_codec_map_is_the_text_written_out);
    return test_summary();
}
