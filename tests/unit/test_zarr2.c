#include "engine/format/format.h"

#include "tests/unit/metadata.h"

/* A .zarray in which a test changes one thing: `members` come last, and the last of the same key wins. */
#define ZARRAY(members) \
    "{\"zarr_format\": 2, \"shape\": [10, 20], \"chunks\": [3, 4], \"dtype\": \"<f4\", \"compressor\": null, " \
    "\"fill_value\": 0.0, \"order\": \"C\", \"filters\": null" members "}"

static bool refused(const char *json, const char *words)
{
    return metadata_refused(".zarray", json, words);
}

static void test_zarr2__reads_an_array(void)
{
    struct array_meta m = metadata_of(".zarray", ZARRAY(", \"dimension_separator\": \"/\""), NULL);

    CHECK_EQUAL(m.format, FORMAT_ZARR2);
    CHECK_EQUAL(m.chunks.rank, 2);
    CHECK(m.chunks.shape[0] == 10 && m.chunks.shape[1] == 20 && m.chunks.cell[0] == 3 && m.chunks.cell[1] == 4);
    CHECK(m.dtype.kind == DTYPE_FLOAT && m.dtype.item_bytes == 4);
    CHECK(m.codecs.count == 0 && !m.codecs.transposed && !m.codecs.big_endian);
    CHECK(m.keys.separator == '/' && !m.keys.with_c);
    CHECK(!m.fill_undefined && !m.attributes && !m.dimension_names[0]);
    CHECK_EQUAL(array_chunk_bytes(&m), 48);
    array_meta_release(&m);
}

static void test_zarr2__knows_the_numeric_dtypes(void)
{
    static const struct { const char *string; enum dtype_kind kind; unsigned bytes; bool big; } rows[] = {
        { "|b1", DTYPE_BOOL, 1, false }, { "|i1", DTYPE_INT, 1, false }, { "<u1", DTYPE_UINT, 1, false },
        { ">b1", DTYPE_BOOL, 1, false }, { "<i2", DTYPE_INT, 2, false }, { ">u4", DTYPE_UINT, 4, true },
        { ">i8", DTYPE_INT, 8, true }, { "<f2", DTYPE_FLOAT, 2, false }, { ">f8", DTYPE_FLOAT, 8, true },
        { "<c8", DTYPE_COMPLEX, 8, false }, { ">c16", DTYPE_COMPLEX, 16, true },
    };
    char json[500];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct array_meta m;

        snprintf(json, sizeof json, ZARRAY(", \"fill_value\": null, \"dtype\": \"%s\""), rows[i].string);
        m = metadata_of(".zarray", json, NULL);
        CHECK(m.dtype.kind == rows[i].kind && m.dtype.item_bytes == rows[i].bytes);
        CHECK_EQUAL(m.codecs.big_endian, rows[i].big);
        array_meta_release(&m);
    }
}

static void test_zarr2__refuses_other_dtypes_by_name(void)
{
    static const char *const strings[] = {
        "<M8[ns]", "<m8[s]", "|S7", "<U4", "|V8", "|O", "|f4", "|i2", "|b2", "<f16", "<i3", "f4", "=f4", "",
        "bfloat16",
    };
    char json[500], words[40];

    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        snprintf(json, sizeof json, ZARRAY(", \"dtype\": \"%s\""), strings[i]);
        snprintf(words, sizeof words, "dtype '%s'", strings[i]);
        CHECK(refused(json, words));
    }
    CHECK(refused(ZARRAY(", \"dtype\": [[\"a\", \"<i2\"]]"), "structure"));
}

static void test_zarr2__order_f_reverses_the_axes(void)
{
    struct array_meta m = metadata_of(".zarray",
        ZARRAY(", \"shape\": [5, 6, 7], \"chunks\": [5, 6, 7], \"order\": \"F\""), NULL);

    CHECK(m.codecs.transposed);
    CHECK(m.codecs.order[0] == 2 && m.codecs.order[1] == 1 && m.codecs.order[2] == 0);
    array_meta_release(&m);
    m = metadata_of(".zarray", ZARRAY(", \"shape\": [5], \"chunks\": [5], \"order\": \"F\""), NULL);
    CHECK(!m.codecs.transposed && m.codecs.order[0] == 0);
    array_meta_release(&m);
    CHECK(refused(ZARRAY(", \"order\": \"A\""), "order"));
}

static void test_zarr2__reads_compressors(void)
{
    struct array_meta m = metadata_of(".zarray", ZARRAY(", \"compressor\": {\"id\": \"blosc\", \"cname\": \"zstd\", "
        "\"clevel\": 9, \"shuffle\": 2, \"blocksize\": 0, \"numThreads\": 1, \"typesize\": 1}"), NULL);
    const struct codec *c = &m.codecs.codecs[0];

    CHECK(m.codecs.count == 1 && c->kind == CODEC_BLOSC && c->level == 9 && c->shuffle == SHUFFLE_BIT);
    CHECK(!strcmp(c->cname, "zstd") && c->typesize == 4);
    array_meta_release(&m);
    m = metadata_of(".zarray", ZARRAY(", \"compressor\": {\"id\": \"blosc\", \"shuffle\": -1}, \"dtype\": \"|u1\", "
                                      "\"fill_value\": 1"), NULL);
    CHECK(m.codecs.codecs[0].shuffle == SHUFFLE_BIT && m.codecs.codecs[0].level == 5);
    array_meta_release(&m);
    m = metadata_of(".zarray", ZARRAY(", \"compressor\": {\"id\": \"zlib\", \"level\": 3}"), NULL);
    CHECK(m.codecs.codecs[0].kind == CODEC_ZLIB && m.codecs.codecs[0].level == 3);
    array_meta_release(&m);
    m = metadata_of(".zarray", ZARRAY(", \"compressor\": {\"id\": \"zstd\", \"level\": -5, "
                                      "\"checksum\": true}"), NULL);
    CHECK(m.codecs.codecs[0].kind == CODEC_ZSTD && m.codecs.codecs[0].level == -5 && m.codecs.codecs[0].checksum);
    array_meta_release(&m);
    m = metadata_of(".zarray", ZARRAY(", \"compressor\": {\"id\": \"lz4\", \"acceleration\": 1}, \"filters\": "
                                      "[{\"id\": \"crc32c\"}]"), NULL);
    CHECK(m.codecs.count == 2 && m.codecs.codecs[0].kind == CODEC_CRC32C && m.codecs.codecs[1].kind == CODEC_LZ4);
    array_meta_release(&m);
}

static void test_zarr2__refuses_what_it_cannot_decode_by_name(void)
{
    CHECK(refused(ZARRAY(", \"compressor\": {\"id\": \"lzma\"}"), "compressor 'lzma'"));
    CHECK(refused(ZARRAY(", \"filters\": [{\"id\": \"delta\", \"dtype\": \"<i2\"}]"), "filter 'delta'"));
    CHECK(refused(ZARRAY(", \"compressor\": {\"id\": \"blosc\", \"cname\": \"lzo\"}"), "lzo"));
    CHECK(refused(ZARRAY(", \"compressor\": {\"id\": \"gzip\", \"level\": 10}"), "level"));
    CHECK(refused(ZARRAY(", \"compressor\": \"zlib\""), "id"));
    CHECK(refused(ZARRAY(", \"filters\": [{\"id\": \"crc32c\", \"location\": \"start\"}]"), "crc32c"));
}

static void test_zarr2__refuses_shapes_that_make_no_sense(void)
{
    CHECK(refused(ZARRAY(", \"chunks\": [3]"), "dimensions"));
    CHECK(refused(ZARRAY(", \"chunks\": [3, 0]"), "length 0"));
    CHECK(refused(ZARRAY(", \"shape\": [10, -1]"), "shape"));
    CHECK(refused(ZARRAY(", \"shape\": [10, 1.5]"), "shape"));
    CHECK(refused(ZARRAY(", \"shape\": [10, 20.0]"), "shape"));
    CHECK(refused(ZARRAY(", \"shape\": [18446744073709551616, 1]"), "shape"));
    CHECK(refused(ZARRAY(", \"shape\": [4294967296, 4294967296]"), "bytes"));
    CHECK(refused(ZARRAY(", \"chunks\": [4294967296, 4294967296]"), "bytes"));
    CHECK(refused(ZARRAY(", \"shape\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"), "at most 16"));
    CHECK(refused("{\"zarr_format\": 2}", "missing"));
    CHECK(refused("{\"zarr_format\": 3}", "zarr_format"));
    CHECK(refused("[]", "object"));
    CHECK(refused("{\"zarr_format\": 2", "line 1"));
    CHECK(refused(ZARRAY("") "x", "follows"));
    CHECK(refused(ZARRAY(", \"fill_value\": \"x\""), "fill_value"));
}

static void test_zarr2__takes_empty_axes_and_scalars(void)
{
    struct array_meta m = metadata_of(".zarray", ZARRAY(", \"shape\": [0, 3], \"chunks\": [0, 5]"), NULL);
    struct chunk_place place;

    CHECK(m.chunks.cell[0] == 1 && m.chunks.cell[1] == 5);
    array_meta_release(&m);
    m = metadata_of(".zarray", ZARRAY(", \"shape\": [], \"chunks\": [], \"filters\": []"), NULL);
    CHECK_EQUAL(m.chunks.rank, 0);
    array_chunk_place(&m, NULL, &place);
    CHECK(!strcmp(place.key, "0") && place.offset == 0 && place.bytes == UINT64_MAX);
    array_meta_release(&m);
}

static void test_zarr2__writes_keys_with_its_separator(void)
{
    const uint64_t coords[] = { 1, 4 };
    struct array_meta m = metadata_of(".zarray", ZARRAY(""), NULL);
    struct chunk_place place;

    array_chunk_place(&m, coords, &place);
    CHECK(!strcmp(place.key, "1.4"));
    m.keys.separator = '/';
    array_chunk_place(&m, coords, &place);
    CHECK(!strcmp(place.key, "1/4"));
    array_meta_release(&m);
}

static void test_zarr2__takes_a_missing_fill_value_with_a_warning(void)
{
    char warned[4001];
    struct array_meta m = metadata_of(".zarray", "{\"zarr_format\": 2, \"shape\": [2], \"chunks\": [2], \"dtype\": "
        "\"<i4\", \"compressor\": null, \"order\": \"C\", \"filters\": null, \"unknown\": [1]}", warned);

    CHECK(m.fill_undefined);
    CHECK(strstr(warned, "fill_value"));
    array_meta_release(&m);
}

static void test_zarr2__array_dimensions_become_names(void)
{
    struct directory d = directory_new();
    struct array_meta m, again;
    struct error err = { 0 };
    char *attributes;

    directory_put(&d, ".zarray", ZARRAY(""));
    directory_put(&d, ".zattrs", "{\"units\": \"K\", \"_ARRAY_DIMENSIONS\": [\"time\", \"lat\"], \"big\": "
                  "123456789012345678901234567890, \"x\": 1.10, \"bad\": NaN, \"s\": \"\\u00e9\\/\"}");
    CHECK(metadata_read(&d, &m, NULL, &err));
    CHECK(!strcmp(m.dimension_names[0], "time") && !strcmp(m.dimension_names[1], "lat"));
    CHECK(!strcmp(m.attributes, "{\"units\": \"K\", \"big\": 123456789012345678901234567890, \"x\": 1.10, "
                                "\"bad\": \"NaN\", \"s\": \"\\u00e9\\/\"}"));
    attributes = metadata_written(&m, ".zattrs");
    CHECK(strstr(attributes, "{\"_ARRAY_DIMENSIONS\": [\"time\", \"lat\"], \"units\": \"K\", ") == attributes);
    again = metadata_again(&m);
    CHECK(metadata_equal(&m, &again));
    free(attributes);
    array_meta_release(&m);
    array_meta_release(&again);
    directory_remove(&d);
}

static void test_zarr2__keeps_dimensions_that_do_not_fit_as_an_attribute(void)
{
    struct directory d = directory_new();
    struct array_meta m;
    struct error err = { 0 };
    char warned[4001];

    directory_put(&d, ".zarray", ZARRAY(""));
    directory_put(&d, ".zattrs", "{\"_ARRAY_DIMENSIONS\": [\"time\"]}");
    CHECK(metadata_read(&d, &m, warned, &err));
    CHECK(!m.dimension_names[0] && strstr(m.attributes, "_ARRAY_DIMENSIONS"));
    CHECK(strstr(warned, "_ARRAY_DIMENSIONS"));
    array_meta_release(&m);
    directory_remove(&d);
}

static void test_zarr2__writes_what_it_read(void)
{
    static const char *const arrays[] = {
        ZARRAY(", \"dimension_separator\": \"/\", \"dtype\": \">f8\", \"fill_value\": \"NaN\", \"order\": \"F\""),
        ZARRAY(", \"dtype\": \"|i1\", \"fill_value\": null"),
        ZARRAY(", \"dtype\": \"<c16\", \"fill_value\": [-0.0, \"-Infinity\"]"),
        ZARRAY(", \"compressor\": {\"id\": \"blosc\", \"cname\": \"lz4hc\", \"clevel\": 3, \"shuffle\": 0}"),
        ZARRAY(", \"compressor\": {\"id\": \"zstd\", \"level\": 7}"),
        ZARRAY(", \"compressor\": {\"id\": \"gzip\", \"level\": 1}"),
        ZARRAY(", \"compressor\": {\"id\": \"lz4\", \"acceleration\": 2}, \"shape\": [], \"chunks\": []"),
        ZARRAY(", \"compressor\": {\"id\": \"crc32c\"}, \"fill_value\": -0.0"),
    };

    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        struct array_meta m = metadata_of(".zarray", arrays[i], NULL), again = metadata_again(&m);

        CHECK(metadata_equal(&m, &again));
        CHECK(m.keys.separator == again.keys.separator);
        array_meta_release(&m);
        array_meta_release(&again);
    }
}

static void test_zarr2__writes_every_key_that_readers_want(void)
{
    static const char *const keys[] = { "zarr_format", "shape", "chunks", "dtype", "compressor", "fill_value",
                                        "order", "filters", "dimension_separator" };
    struct array_meta m = metadata_of(".zarray", ZARRAY(", \"compressor\": {\"id\": \"zstd\", \"level\": 1}"), NULL);
    char *json = metadata_written(&m, ".zarray"), *attributes = metadata_written(&m, ".zattrs");

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        CHECK(strstr(json, keys[i]));
    CHECK(!strstr(json, "checksum"));
    CHECK(!*attributes);
    free(json);
    free(attributes);
    array_meta_release(&m);
}

static void test_zarr2__says_early_what_it_cannot_write(void)
{
    struct array_meta m = metadata_of(".zarray", ZARRAY(", \"shape\": [5, 6, 7], \"chunks\": [5, 6, 7]"), NULL);
    struct error codecs = { 0 }, order = { 0 }, nan = { 0 }, fine = { 0 };

    CHECK(array_meta_writable(&m, &fine));
    m.codecs.count = 2;
    CHECK(!array_meta_writable(&m, &codecs));
    CHECK(codecs.code == ERR_USAGE && strstr(codecs.message, "one compressor") && strstr(codecs.help, "zarr3"));
    m.codecs.count = 0;
    m.codecs.transposed = true;
    memcpy(m.codecs.order, (uint8_t[]){ 1, 2, 0 }, 3);
    CHECK(!array_meta_writable(&m, &order));
    CHECK(strstr(order.message, "axis order"));
    m.codecs.transposed = false;
    memcpy(m.fill, (uint8_t[]){ 1, 0, 0xc0, 0x7f }, 4);
    CHECK(!array_meta_writable(&m, &nan));
    m.format = FORMAT_ZARR3;
    CHECK(array_meta_writable(&m, &fine));
    array_meta_release(&m);
}

int main(void)
{
    RUN(test_zarr2__reads_an_array);
    RUN(test_zarr2__knows_the_numeric_dtypes);
    RUN(test_zarr2__refuses_other_dtypes_by_name);
    RUN(test_zarr2__order_f_reverses_the_axes);
    RUN(test_zarr2__reads_compressors);
    RUN(test_zarr2__refuses_what_it_cannot_decode_by_name);
    RUN(test_zarr2__refuses_shapes_that_make_no_sense);
    RUN(test_zarr2__takes_empty_axes_and_scalars);
    RUN(test_zarr2__writes_keys_with_its_separator);
    RUN(test_zarr2__takes_a_missing_fill_value_with_a_warning);
    RUN(test_zarr2__array_dimensions_become_names);
    RUN(test_zarr2__keeps_dimensions_that_do_not_fit_as_an_attribute);
    RUN(test_zarr2__writes_what_it_read);
    RUN(test_zarr2__writes_every_key_that_readers_want);
    RUN(test_zarr2__says_early_what_it_cannot_write);
    return test_summary();
}
