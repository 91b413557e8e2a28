#include "engine/format/format.h"

#include "engine/format/census.h"
#include "tests/unit/metadata.h"

/* A zarr.json in which a test changes one thing: `members` come last, and the last of the same key wins. */
#define ARRAY(members) \
    "{\"zarr_format\": 3, \"node_type\": \"array\", \"shape\": [10, 20, 30], \"data_type\": \"float32\", " \
    "\"chunk_grid\": {\"name\": \"regular\", \"configuration\": {\"chunk_shape\": [3, 4, 5]}}, " \
    "\"chunk_key_encoding\": {\"name\": \"default\", \"configuration\": {\"separator\": \"/\"}}, " \
    "\"fill_value\": 0.0, \"codecs\": [" LITTLE "]" members "}"
#define LITTLE "{\"name\": \"bytes\", \"configuration\": {\"endian\": \"little\"}}"
#define TRANSPOSE(order) "{\"name\": \"transpose\", \"configuration\": {\"order\": " order "}}"
#define GZIP "{\"name\": \"gzip\", \"configuration\": {\"level\": 1}}"
#define BIG "{\"name\": \"bytes\", \"configuration\": {\"endian\": \"big\"}}"
#define CODECS(list) ARRAY(", \"codecs\": [" list "]")

static bool refused(const char *json, const char *words)
{
    return metadata_refused("zarr.json", json, words);
}

static bool keyed_as(const struct array_meta *m, const char *wanted)
{
    const uint64_t coords[] = { 1, 23, 45 };
    struct chunk_place place;

    array_chunk_place(m, coords, &place);
    return !strcmp(place.key, wanted);
}

static void test_zarr3__reads_an_array(void)
{
    struct array_meta m = metadata_of("zarr.json", ARRAY(", \"dimension_names\": [\"t\", null, \"x\"], "
        "\"attributes\": {\"a\": 1e400}, \"storage_transformers\": [], \"consolidated_metadata\": null"), NULL);

    CHECK_EQUAL(m.format, FORMAT_ZARR3);
    CHECK(m.chunks.rank == 3 && m.chunks.shape[2] == 30 && m.chunks.cell[2] == 5);
    CHECK(m.dtype.kind == DTYPE_FLOAT && m.dtype.item_bytes == 4);
    CHECK(m.codecs.count == 0 && !m.codecs.transposed && !m.codecs.big_endian && m.codecs.order[2] == 2);
    CHECK(!strcmp(m.dimension_names[0], "t") && !m.dimension_names[1] && !strcmp(m.dimension_names[2], "x"));
    CHECK(!strcmp(m.attributes, "{\"a\": 1e400}"));
    CHECK(keyed_as(&m, "c/1/23/45"));
    array_meta_release(&m);
}

static void test_zarr3__writes_keys_of_every_encoding(void)
{
    static const struct { const char *encoding, *key, *scalar; } rows[] = {
        { "{\"name\": \"default\", \"configuration\": {\"separator\": \".\"}}", "c.1.23.45", "c" },
        { "{\"name\": \"default\"}", "c/1/23/45", "c" },
        { "\"default\"", "c/1/23/45", "c" },
        { "{\"name\": \"v2\"}", "1.23.45", "0" },
        { "\"v2\"", "1.23.45", "0" },
        { "{\"name\": \"v2\", \"configuration\": {\"separator\": \"/\"}}", "1/23/45", "0" },
    };
    char json[1000];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct array_meta m;

        snprintf(json, sizeof json, ARRAY(", \"chunk_key_encoding\": %s"), rows[i].encoding);
        m = metadata_of("zarr.json", json, NULL);
        CHECK(keyed_as(&m, rows[i].key));
        m.chunks.rank = 0;
        CHECK(keyed_as(&m, rows[i].scalar));
        array_meta_release(&m);
    }
    CHECK(refused(ARRAY(", \"chunk_key_encoding\": {\"name\": \"suffix\"}"), "suffix"));
    CHECK(refused(ARRAY(", \"chunk_key_encoding\": {\"name\": \"v2\", \"configuration\": {\"separator\": \"-\"}}"),
                  "separator"));
}

static void test_zarr3__refuses_data_types_by_name(void)
{
    CHECK(refused(ARRAY(", \"data_type\": \"r16\""), "'r16'"));
    CHECK(refused(ARRAY(", \"data_type\": \"string\""), "'string'"));
    CHECK(refused(ARRAY(", \"data_type\": {\"name\": \"numpy.datetime64\", \"configuration\": {\"unit\": \"s\"}}"),
                  "'numpy.datetime64'"));
    CHECK(refused(ARRAY(", \"data_type\": 3"), "data_type"));
}

static void test_zarr3__composes_transposes(void)
{
    struct array_meta m = metadata_of("zarr.json", CODECS(
        TRANSPOSE("[1, 2, 0]") ", " LITTLE), NULL);

    CHECK(m.codecs.transposed);
    CHECK(m.codecs.order[0] == 1 && m.codecs.order[1] == 2 && m.codecs.order[2] == 0);
    array_meta_release(&m);
    /* B = A by [1, 2, 0], C = B by [1, 0, 2]: axis 0 of C is axis 1 of B, which is axis 2 of A. */
    m = metadata_of("zarr.json", CODECS(
        TRANSPOSE("[1, 2, 0]") ", "
        TRANSPOSE("[1, 0, 2]") ", " LITTLE), NULL);
    CHECK(m.codecs.order[0] == 2 && m.codecs.order[1] == 1 && m.codecs.order[2] == 0);
    array_meta_release(&m);
    m = metadata_of("zarr.json", CODECS(
        TRANSPOSE("[1, 2, 0]") ", "
        TRANSPOSE("[2, 0, 1]") ", " LITTLE), NULL);
    CHECK(!m.codecs.transposed);
    array_meta_release(&m);
    m = metadata_of("zarr.json", CODECS(TRANSPOSE("\"F\"") ", " LITTLE), NULL);
    CHECK(m.codecs.order[0] == 2 && m.codecs.transposed);
    array_meta_release(&m);
    CHECK(refused(CODECS(TRANSPOSE("[0, 1]") ", " LITTLE), "order"));
    CHECK(refused(CODECS(TRANSPOSE("[0, 1, 1]") ", " LITTLE), "permutation"));
    CHECK(refused(CODECS(TRANSPOSE("[0, 1, 3]") ", " LITTLE), "permutation"));
}

static void test_zarr3__reads_byte_codecs(void)
{
    struct array_meta m = metadata_of("zarr.json", CODECS(BIG ", "
        "{\"name\": \"blosc\", \"configuration\": {\"cname\": \"lz4\", \"clevel\": 5, \"shuffle\": \"bitshuffle\", "
        "\"typesize\": 4, \"blocksize\": 0}}, {\"name\": \"gzip\", \"configuration\": {\"level\": 2}}, "
        "{\"name\": \"zstd\", \"configuration\": {\"level\": 3, \"checksum\": true}}, \"crc32c\""), NULL);
    const struct codec *c = m.codecs.codecs;

    CHECK(m.codecs.count == 4 && m.codecs.big_endian);
    CHECK(c[0].kind == CODEC_BLOSC && c[0].shuffle == SHUFFLE_BIT && c[0].typesize == 4);
    CHECK(!strcmp(c[0].cname, "lz4"));
    CHECK(c[1].kind == CODEC_GZIP && c[1].level == 2);
    CHECK(c[2].kind == CODEC_ZSTD && c[2].level == 3 && c[2].checksum);
    CHECK_EQUAL(c[3].kind, CODEC_CRC32C);
    array_meta_release(&m);
    m = metadata_of("zarr.json", CODECS(LITTLE ", {\"name\": \"numcodecs.zlib\", \"configuration\": {\"level\": 9}}, "
        "{\"name\": \"numcodecs.lz4\", \"configuration\": {\"acceleration\": 1}}, {\"name\": \"numcodecs.blosc\", "
        "\"configuration\": {\"cname\": \"zstd\", \"clevel\": 1, \"shuffle\": 1}}"), NULL);
    CHECK(m.codecs.count == 3 && c[0].kind == CODEC_ZLIB && c[0].level == 9);
    CHECK(c[1].kind == CODEC_LZ4 && c[2].kind == CODEC_BLOSC && c[2].shuffle == SHUFFLE_BYTE);
    array_meta_release(&m);
}

static void test_zarr3__refuses_chains_in_the_wrong_order(void)
{
    CHECK(refused(CODECS(""), "no codec 'bytes'"));
    CHECK(refused(CODECS(GZIP ", " LITTLE), "before codec 'bytes'"));
    CHECK(refused(CODECS(LITTLE ", " LITTLE), "'bytes'"));
    CHECK(refused(CODECS(LITTLE ", " TRANSPOSE("[0, 1, 2]")), "'transpose'"));
    CHECK(refused(ARRAY(", \"codecs\": null"), "codecs"));
}

static void test_zarr3__refuses_codecs_by_name(void)
{
    CHECK(refused(CODECS(LITTLE ", {\"name\": \"numcodecs.delta\", \"configuration\": {}}"), "'numcodecs.delta'"));
    CHECK(refused(CODECS(LITTLE ", {\"name\": \"mine\", \"must_understand\": false}"), "'mine'"));
    CHECK(refused(CODECS(LITTLE ", \"lz4\""), "'lz4'"));
    CHECK(refused(CODECS("{\"name\": \"sharding_indexed\", \"configuration\": {}}"), "not built yet"));
}

static void test_zarr3__takes_a_missing_endian_as_little_and_warns(void)
{
    char warned[4001];
    struct array_meta m = metadata_of("zarr.json", CODECS("\"bytes\""), warned);

    CHECK(!m.codecs.big_endian && strstr(warned, "endian"));
    array_meta_release(&m);
    m = metadata_of("zarr.json", ARRAY(", \"data_type\": \"uint8\", \"fill_value\": 1, \"codecs\": "
                                       "[{\"name\": \"endian\"}]"), NULL);
    CHECK(!m.codecs.big_endian);
    array_meta_release(&m);
}

static void test_zarr3__refuses_what_it_must_understand(void)
{
    struct array_meta m;

    CHECK(refused(ARRAY(", \"mystery\": 1"), "'mystery'"));
    CHECK(refused(ARRAY(", \"mystery\": {\"must_understand\": true}"), "'mystery'"));
    CHECK(refused(ARRAY(", \"mystery\": {}"), "'mystery'"));
    m = metadata_of("zarr.json", ARRAY(", \"mystery\": {\"must_understand\": false}"), NULL);
    array_meta_release(&m);
    CHECK(refused(ARRAY(", \"storage_transformers\": [{\"name\": \"x\"}]"), "storage_transformers"));
    CHECK(refused(ARRAY(", \"chunk_grid\": {\"name\": \"rectilinear\"}"), "'rectilinear'"));
    CHECK(refused(ARRAY(", \"dimension_names\": [\"a\"]"), "dimension_names"));
    CHECK(refused(ARRAY(", \"attributes\": []"), "attributes"));
    CHECK(refused(ARRAY(", \"zarr_format\": 2"), "zarr_format"));
}

static void test_zarr3__needs_a_fill_value(void)
{
    char warned[4001];
    struct array_meta m = metadata_of("zarr.json", ARRAY(", \"fill_value\": null"), warned);

    CHECK(m.fill_undefined && strstr(warned, "null"));
    array_meta_release(&m);
    CHECK(refused("{\"zarr_format\": 3, \"node_type\": \"array\", \"shape\": [1], \"data_type\": \"int8\", "
        "\"chunk_grid\": {\"name\": \"regular\", \"configuration\": {\"chunk_shape\": [1]}}, "
        "\"chunk_key_encoding\": \"default\", \"codecs\": [\"bytes\"]}", "'fill_value' is missing"));
    CHECK(refused(ARRAY(", \"data_type\": \"uint8\", \"fill_value\": 256"), "fill_value"));
}

static void test_zarr3__writes_what_it_read(void)
{
    static const char *const arrays[] = {
        ARRAY(", \"fill_value\": \"0x7fa00000\", \"dimension_names\": [\"t\", null, \"\\u00e9\\\"\"]"),
        ARRAY(", \"attributes\": {\"a\": [1, {\"b\": null}], \"c\": \"d\"}, \"fill_value\": -0.0"),
        ARRAY(", \"data_type\": \"bool\", \"fill_value\": true, \"shape\": [0, 20, 30]"),
        ARRAY(", \"data_type\": \"uint64\", \"fill_value\": 18446744073709551615"),
        ARRAY(", \"data_type\": \"complex64\", \"fill_value\": [\"NaN\", \"0xffc00001\"]"),
        CODECS(TRANSPOSE("[1, 2, 0]") ", " BIG ", "
               "{\"name\": \"blosc\", \"configuration\": {\"cname\": \"zstd\", \"clevel\": 5, "
               "\"shuffle\": \"shuffle\", \"typesize\": 4, \"blocksize\": 0}}, {\"name\": \"crc32c\"}"),
        CODECS(LITTLE ", {\"name\": \"zstd\", \"configuration\": {\"level\": -7, \"checksum\": false}}, "
               "{\"name\": \"numcodecs.lz4\", \"configuration\": {\"acceleration\": 3}}, "
               "{\"name\": \"numcodecs.zlib\", \"configuration\": {\"level\": 3}}"),
    };

    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        struct array_meta m = metadata_of("zarr.json", arrays[i], NULL), again = metadata_again(&m);

        CHECK(metadata_equal(&m, &again));
        CHECK(keyed_as(&again, "c/1/23/45"));
        array_meta_release(&m);
        array_meta_release(&again);
    }
}

static void test_zarr3__names_travel_to_v2_and_back(void)
{
    struct array_meta m = metadata_of("zarr.json",
        ARRAY(", \"dimension_names\": [\"t\", \"y\", \"x\"], \"attributes\": {}"), NULL);
    struct array_meta copy, again;
    struct error err = { 0 };

    CHECK(array_meta_copy(&copy, &m, &err));
    copy.format = FORMAT_ZARR2;
    copy.keys = key_style_default(FORMAT_ZARR2);
    again = metadata_again(&copy);
    CHECK(metadata_equal(&copy, &again));
    CHECK(!strcmp(again.dimension_names[2], "x"));
    array_meta_release(&m);
    array_meta_release(&copy);
    array_meta_release(&again);
}

static void test_zarr3__is_preferred_to_v2_in_the_same_directory(void)
{
    struct directory d = directory_new();
    struct array_meta m;
    struct error err = { 0 };
    char warned[4001];

    directory_put(&d, "zarr.json", ARRAY(""));
    directory_put(&d, ".zarray", "{}");
    CHECK(metadata_read(&d, &m, warned, &err));
    CHECK_EQUAL(m.format, FORMAT_ZARR3);
    CHECK(strstr(warned, ".zarray"));
    array_meta_release(&m);
    directory_remove(&d);
}

/* sub/time, t2m, tp: t2m has the most elements. */
static void put_arrays(const struct directory *d)
{
    directory_make(d, "tp");
    directory_put(d, "tp/zarr.json", ARRAY(""));
    directory_make(d, "t2m");
    directory_put(d, "t2m/.zarray", "{\"shape\": [1000, 1000, 1000, 1000]}");
    directory_make(d, "sub");
    directory_put(d, "sub/zarr.json", "{\"zarr_format\": 3, \"node_type\": \"group\"}");
    directory_make(d, "sub/time");
    directory_put(d, "sub/time/zarr.json", ARRAY(""));
    directory_make(d, "nothing");
}

static void test_zarr3__a_group_lists_its_arrays_and_proposes_the_largest(void)
{
    struct directory d = directory_new();
    struct array_meta m;
    struct error plain = { 0 }, group = { 0 };

    put_arrays(&d);
    CHECK(!metadata_read(&d, &m, NULL, &plain));
    CHECK(plain.code == ERR_INPUT && strstr(plain.message, "is a directory, not a Zarr array"));
    CHECK(plain.note_count == 1 && !strcmp(plain.notes[0], "it holds sub/time, t2m, tp"));
    directory_put(&d, "zarr.json", "{\"zarr_format\": 3, \"node_type\": \"group\"}");
    CHECK(!metadata_read(&d, &m, NULL, &group));
    CHECK(group.code == ERR_INPUT && strstr(group.message, "is a group"));
    CHECK(group.note_count == 1 && !strcmp(group.notes[0], "it holds sub/time, t2m, tp"));
    CHECK(!strncmp(group.help, "give one array: ", 16) && strstr(group.help, "/t2m"));
    directory_remove(&d);
}

static void test_zarr3__a_large_group_names_some_of_its_arrays(void)
{
    struct directory d = directory_new();
    struct array_meta m;
    struct error err = { 0 };

    for (unsigned i = 0; i < 15; i++) {
        char name[40];

        snprintf(name, sizeof name, "a%02u", i);
        directory_make(&d, name);
        snprintf(name, sizeof name, "a%02u/.zarray", i);
        directory_put(&d, name, "damaged");
    }
    CHECK(!metadata_read(&d, &m, NULL, &err));
    CHECK(!strcmp(err.notes[0], "it holds a00, a01, a02, a03, a04, a05, a06, a07, a08, a09 and 5 more"));
    CHECK(strstr(err.help, "/a00"));
    directory_remove(&d);
}

/* What is said of `name` in the group. */
static struct error not_there(const struct directory *d, const char *name)
{
    struct directory below;
    struct array_meta m;
    struct error err = { 0 };

    snprintf(below.path, sizeof below.path, "%.200s/%s", d->path, name);
    CHECK(!metadata_read(&below, &m, NULL, &err));
    CHECK(err.code == ERR_INPUT && strstr(err.message, "does not exist"));
    return err;
}

static void test_zarr3__a_misspelt_array_of_a_group_is_told_the_names(void)
{
    struct directory d = directory_new();
    struct error err;

    put_arrays(&d);
    CHECK_EQUAL(not_there(&d, "t2n").note_count, 0);        /* no group: any directory may hold arrays */
    directory_put(&d, "zarr.json", "{\"zarr_format\": 3, \"node_type\": \"group\"}");
    err = not_there(&d, "t2n/");
    CHECK(err.note_count == 1 && !strcmp(err.notes[0], "the group holds sub/time, t2m, tp"));
    CHECK(strstr(err.help, "did you mean '") && strstr(err.help, "/t2m'?"));
    err = not_there(&d, "sbu/time");
    CHECK(strstr(err.help, "/sub/time'?"));
    err = not_there(&d, "precipitation");
    CHECK(err.note_count == 1 && !err.help[0]);
    /* An array has no arrays below. */
    CHECK_EQUAL(not_there(&d, "tp/t2m").note_count, 0);
    directory_remove(&d);
}

static void test_zarr3__names_paths_that_are_something_else(void)
{
    static const struct { const char *bytes; size_t count; const char *words; } rows[] = {
        { "\x89HDF\r\n\x1a\n....", 12, "NetCDF4 or HDF5" },
        { "CDF\x01....", 8, "NetCDF3" }, { "CDF\x05....", 8, "NetCDF3" },
        { "GRIB....", 8, "GRIB" }, { "II*\0....", 8, "TIFF" }, { "MM\0*....", 8, "TIFF" },
        { "PK\x03\x04....", 8, "zip" }, { "{\"version\": 1, \"refs\": {}}", 26, "kerchunk" },
        { "hello", 5, "no format that is known" }, { "", 0, "no format that is known" },
    };
    struct directory d = directory_new(), file;
    struct array_meta m;
    struct error bucket = { 0 }, empty = { 0 };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err = { 0 };

        directory_put_bytes(&d, "file", rows[i].bytes, rows[i].count);
        snprintf(file.path, sizeof file.path, "%.200s/file", d.path);
        CHECK(!metadata_read(&file, &m, NULL, &err));
        CHECK(err.code == ERR_INPUT && strstr(err.message, rows[i].words));
        CHECK(i >= 8 || (err.help[0] && !strstr(err.help, "%s")));
    }
    strcpy(file.path, "s3://bucket/data.zarr");
    CHECK(!metadata_read(&file, &m, NULL, &bucket));
    CHECK(bucket.code == ERR_INPUT && strstr(bucket.message, "s3://") && strstr(bucket.help, "aws s3 sync"));
    CHECK(!metadata_read(&d, &m, NULL, &empty));
    CHECK(strstr(empty.message, "neither .zarray nor zarr.json"));
    directory_remove(&d);
}

/* ---- census ---- */

static struct chunk_census census_of(const struct directory *d, const struct array_meta *m, double seconds_max)
{
    struct chunk_census census = { 0 };
    struct error err = { 0 };
    struct store *s;

    CHECK(store_open(&s, d->path, SPAN_NONE, &err));
    CHECK(array_census(m, s, seconds_max, &census, &err));
    store_close(s);
    return census;
}

static struct array_meta counted_meta(uint64_t chunks, struct key_style keys)
{
    return (struct array_meta){
        .format = FORMAT_ZARR3, .keys = keys, .dtype = { DTYPE_UINT, 1 },
        .chunks = { .rank = 2, .shape = { chunks, 4 }, .cell = { 1, 4 } },
    };
}

static void test_census__looks_at_each_chunk_of_a_small_grid(void)
{
    struct directory d = directory_new();
    struct array_meta m = counted_meta(100, key_style_default(FORMAT_ZARR2));
    struct chunk_census census;

    directory_put(&d, "0.0", "1234567890123456");
    directory_put(&d, "50.0", "1234");
    directory_put(&d, "7.0", "12345678");
    directory_put(&d, "100.0", "not of the grid");
    census = census_of(&d, &m, 10);
    CHECK(census.chunks == 100 && census.counted && census.present == 3);
    CHECK(census.encoded_bytes_max == 16 && census.encoded_bytes_mean == 9);
    CHECK(census.sampled == 16 && census.sampled_present == 1);
    directory_remove(&d);
}

static void test_census__lists_the_directories_of_a_large_grid(void)
{
    struct directory d = directory_new();
    struct array_meta flat = counted_meta(1000000, key_style_default(FORMAT_ZARR2));
    struct array_meta nested = counted_meta(1000000, key_style_default(FORMAT_ZARR3));
    struct chunk_census census;

    directory_put(&d, "0.0", "1234");
    directory_put(&d, "999999.0", "12345678");
    directory_put(&d, "1000000.0", "outside");
    directory_put(&d, "01.0", "no key");
    directory_put(&d, "1.0.partial", "no key");
    census = census_of(&d, &flat, 10);
    CHECK(census.counted && census.present == 2 && census.sampled_present == 2);
    CHECK(census.encoded_bytes_max == 8 && census.encoded_bytes_mean == 6);
    directory_make(&d, "c");
    directory_make(&d, "c/5");
    directory_make(&d, "c/999999");
    directory_put(&d, "c/5/0", "1");
    directory_put(&d, "c/999999/0", "1");
    directory_put(&d, "c/999999/1", "outside");
    census = census_of(&d, &nested, 10);
    CHECK(census.counted && census.present == 2 && census.sampled_present == 1);
    census = census_of(&d, &nested, 0);
    CHECK(!census.counted && census.sampled == 16);
    directory_remove(&d);
}

static void test_census__follows_no_link_on_the_way_to_a_chunk(void)
{
    struct directory d = directory_new(), other = directory_new();
    struct array_meta m = counted_meta(100, key_style_default(FORMAT_ZARR3));
    struct chunk_census census = { 0 };
    struct error err = { 0 };
    struct store *s;

    m.chunks.cell[1] = 2;           /* so that two chunks share a directory */
    directory_make(&d, "c");
    directory_make(&d, "c/3");
    directory_put(&d, "c/3/0", "1");
    directory_put(&d, "c/3/1", "123");
    census = census_of(&d, &m, 10);
    CHECK(census.counted && census.present == 2 && census.encoded_bytes_mean == 2);
    directory_put(&other, "0", "1234");
    CHECK_EQUAL(symlink(other.path, directory_path(&d, "c/2")), 0);     /* of no sampled chunk */
    CHECK(store_open(&s, d.path, SPAN_NONE, &err));
    CHECK(!array_census(&m, s, 10, &census, &err) && strstr(err.message, "c/2/0"));
    store_close(s);
    directory_remove(&d);
    directory_remove(&other);
}

static void test_metadata__says_how_many_files_it_is(void)
{
    struct array_meta m = counted_meta(4, key_style_default(FORMAT_ZARR2));

    CHECK_EQUAL(array_meta_files(&m), 1);
    m.format = FORMAT_ZARR2;
    CHECK_EQUAL(array_meta_files(&m), 1);
    m.attributes = "{\"units\": \"K\"}";
    CHECK_EQUAL(array_meta_files(&m), 2);
    m.format = FORMAT_ZARR3;
    CHECK_EQUAL(array_meta_files(&m), 1);
}

static void test_census__takes_no_time_for_1e9_chunks(void)
{
    struct directory d = directory_new();
    struct array_meta m = counted_meta(UINT64_C(1) << 40, key_style_default(FORMAT_ZARR3));
    double before = os_now();
    struct chunk_census census = census_of(&d, &m, 1);

    CHECK(os_now() - before < 1);
    CHECK(census.counted && census.present == 0 && census.encoded_bytes_mean == 0);
    CHECK(census.chunks == UINT64_C(1) << 40 && census.sampled == 16);
    directory_remove(&d);
}

static void test_census__refuses_a_directory_under_a_chunks_key(void)
{
    struct directory d = directory_new();
    struct array_meta m = counted_meta(100, key_style_default(FORMAT_ZARR2));
    struct chunk_census census;
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "3.0");
    CHECK(store_open(&s, d.path, SPAN_NONE, &err));
    CHECK(!array_census(&m, s, 10, &census, &err));
    CHECK(err.code == ERR_INPUT && strstr(err.message, "3.0' is a directory"));
    store_close(s);
    directory_remove(&d);
}

int main(void)
{
    RUN(test_zarr3__reads_an_array);
    RUN(test_zarr3__writes_keys_of_every_encoding);
    RUN(test_zarr3__refuses_data_types_by_name);
    RUN(test_zarr3__composes_transposes);
    RUN(test_zarr3__reads_byte_codecs);
    RUN(test_zarr3__refuses_chains_in_the_wrong_order);
    RUN(test_zarr3__refuses_codecs_by_name);
    RUN(test_zarr3__takes_a_missing_endian_as_little_and_warns);
    RUN(test_zarr3__refuses_what_it_must_understand);
    RUN(test_zarr3__needs_a_fill_value);
    RUN(test_zarr3__writes_what_it_read);
    RUN(test_zarr3__names_travel_to_v2_and_back);
    RUN(test_zarr3__is_preferred_to_v2_in_the_same_directory);
    RUN(test_zarr3__a_group_lists_its_arrays_and_proposes_the_largest);
    RUN(test_zarr3__a_large_group_names_some_of_its_arrays);
    RUN(test_zarr3__a_misspelt_array_of_a_group_is_told_the_names);
    RUN(test_zarr3__names_paths_that_are_something_else);
    RUN(test_census__looks_at_each_chunk_of_a_small_grid);
    RUN(test_census__lists_the_directories_of_a_large_grid);
    RUN(test_census__follows_no_link_on_the_way_to_a_chunk);
    RUN(test_metadata__says_how_many_files_it_is);
    RUN(test_census__takes_no_time_for_1e9_chunks);
    RUN(test_census__refuses_a_directory_under_a_chunks_key);
    return test_summary();
}
