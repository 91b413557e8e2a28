/* What xarray masks, when an array changes its format. The base64 forms are those of xarray 2026.9. */
#include "engine/format/format.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#define NAN_BASE64 "\"AAAAAAAA+H8=\""
#define MINUS_999_BASE64 "\"AAAAAAA4j8A=\""

/* One named dimension of `kind`, as it was read, to be released. */
static struct array_meta array_of(enum format_kind format, enum dtype_kind kind, uint32_t item_bytes,
                                  const char *attributes)
{
    struct array_meta m = { .format = format, .dtype = { kind, item_bytes } };

    m.chunks.rank = 1;
    m.chunks.shape[0] = m.chunks.cell[0] = 4;
    m.dimension_names[0] = strdup("time");
    m.attributes = attributes ? strdup(attributes) : NULL;
    return m;
}

/* `m` in the other format. */
static bool carry(struct array_meta *m, struct text *notes)
{
    enum format_kind from = m->format;
    struct error err = { 0 };

    m->format = from == FORMAT_ZARR2 ? FORMAT_ZARR3 : FORMAT_ZARR2;
    text_init(notes, 1000);
    return array_mask_carry(m, from, notes, &err);
}

/* The fill of a v2 array becomes these attributes. */
static bool becomes(enum dtype_kind kind, uint32_t item_bytes, const void *fill, const char *attributes,
                    const char *wanted)
{
    struct array_meta m = array_of(FORMAT_ZARR2, kind, item_bytes, attributes);
    struct text notes;
    bool ok;

    memcpy(m.fill, fill, item_bytes);
    ok = carry(&m, &notes) && !strcmp(m.attributes ? m.attributes : "none", wanted) && !m.fill_undefined &&
         memcmp(m.fill, fill, item_bytes) == 0;
    if (!ok)
        fprintf(stderr, "%s, not %s\n", m.attributes ? m.attributes : "none", wanted);
    text_release(&notes);
    array_meta_release(&m);
    return ok;
}

static void test_mask__a_fill_of_v2_becomes_the_attribute_of_v3(void)
{
    int16_t packed = -999;
    float single = -999, nan = __builtin_nanf(""), infinite = -__builtin_inff();
    uint8_t truth = 1, half[] = { 0xce, 0xe3 };      /* -999 */

    CHECK(becomes(DTYPE_INT, 2, &packed, NULL, "{\"_FillValue\": -999}"));
    CHECK(becomes(DTYPE_INT, 2, &packed, "{\"scale_factor\": 0.5}", "{\"_FillValue\": -999, \"scale_factor\": 0.5}"));
    CHECK(becomes(DTYPE_BOOL, 1, &truth, "{}", "{\"_FillValue\": true}"));
    CHECK(becomes(DTYPE_FLOAT, 4, &single, NULL, "{\"_FillValue\": " MINUS_999_BASE64 "}"));
    CHECK(becomes(DTYPE_FLOAT, 2, half, NULL, "{\"_FillValue\": " MINUS_999_BASE64 "}"));
    CHECK(becomes(DTYPE_FLOAT, 4, &nan, NULL, "{\"_FillValue\": " NAN_BASE64 "}"));
    CHECK(becomes(DTYPE_FLOAT, 4, &infinite, NULL, "{\"_FillValue\": \"AAAAAAAA8P8=\"}"));
    CHECK(becomes(DTYPE_COMPLEX, 8, (float[]){ 1, 2 }, NULL, "none"));
    /* One that is there is somebody's. */
    CHECK(becomes(DTYPE_INT, 2, &packed, "{\"_FillValue\": 7}", "{\"_FillValue\": 7}"));
}

static void test_mask__an_undefined_fill_masks_nothing_in_v3(void)
{
    struct array_meta m = array_of(FORMAT_ZARR2, DTYPE_INT, 2, NULL);
    struct text notes;

    m.fill_undefined = true;
    CHECK(carry(&m, &notes) && !m.attributes && !notes.length);
    text_release(&notes);
    array_meta_release(&m);
}

/* A v3 array whose fill is 7 has this _FillValue; it becomes a v2 fill of these bytes. */
static bool taken(enum dtype_kind kind, uint32_t item_bytes, const char *json, const void *fill)
{
    struct array_meta m;
    struct text notes;
    char attributes[100];
    bool ok;

    snprintf(attributes, sizeof attributes, "{\"a\": 1, \"_FillValue\": %s, \"b\": 2}", json);
    m = array_of(FORMAT_ZARR3, kind, item_bytes, attributes);
    m.fill[0] = 7;
    ok = carry(&m, &notes) && !m.fill_undefined && memcmp(m.fill, fill, item_bytes) == 0 &&
         !strcmp(m.attributes, "{\"a\": 1, \"b\": 2}") && strstr(notes.chars, "in zarr2 it goes by the fill value");
    text_release(&notes);
    array_meta_release(&m);
    return ok;
}

static void test_mask__the_attribute_of_v3_becomes_the_fill_of_v2(void)
{
    float single = -999, nan = __builtin_nanf(""), fifth = 0.2f;
    double wide = -999;

    CHECK(taken(DTYPE_INT, 2, "-999", (int16_t[]){ -999 }));
    CHECK(taken(DTYPE_UINT, 8, "18446744073709551615", (uint64_t[]){ UINT64_MAX }));
    CHECK(taken(DTYPE_BOOL, 1, "true", (uint8_t[]){ 1 }));
    CHECK(taken(DTYPE_FLOAT, 4, MINUS_999_BASE64, &single));
    CHECK(taken(DTYPE_FLOAT, 2, MINUS_999_BASE64, (uint8_t[]){ 0xce, 0xe3 }));
    CHECK(taken(DTYPE_FLOAT, 8, MINUS_999_BASE64, &wide));
    CHECK(taken(DTYPE_FLOAT, 4, NAN_BASE64, &nan));
    CHECK(taken(DTYPE_FLOAT, 4, "\"NaN\"", &nan));
    /* v2 has one NaN: a payload would be refused. */
    CHECK(taken(DTYPE_FLOAT, 4, "\"0x7fc00001\"", &nan));
    CHECK(taken(DTYPE_FLOAT, 4, "-999.0", &single));
    /* The double 0.2: a float rounds it. */
    CHECK(taken(DTYPE_FLOAT, 4, "\"mpmZmZmZyT8=\"", &fifth));
}

static void test_mask__the_only_attribute_leaves_none_behind(void)
{
    struct array_meta m = array_of(FORMAT_ZARR3, DTYPE_INT, 2, "{\"_FillValue\": 3}");
    struct text notes;

    CHECK(carry(&m, &notes) && !m.attributes && m.fill[0] == 3);
    text_release(&notes);
    array_meta_release(&m);
}

/* A v3 array with these attributes becomes a v2 array without a fill, and keeps them. */
static bool undefined(enum dtype_kind kind, uint32_t item_bytes, const char *attributes)
{
    struct array_meta m = array_of(FORMAT_ZARR3, kind, item_bytes, attributes);
    struct text notes;
    bool ok;

    m.fill[0] = 7;
    ok = carry(&m, &notes) && m.fill_undefined && m.fill[0] == 0 && notes.length &&
         (attributes ? m.attributes && !strcmp(m.attributes, attributes) : !m.attributes);
    text_release(&notes);
    array_meta_release(&m);
    return ok;
}

static void test_mask__without_an_attribute_v2_has_no_fill(void)
{
    CHECK(undefined(DTYPE_INT, 4, NULL));
    CHECK(undefined(DTYPE_FLOAT, 4, "{\"units\": \"K\"}"));
}

static void test_mask__an_attribute_of_another_type_is_kept(void)
{
    CHECK(undefined(DTYPE_INT, 1, "{\"_FillValue\": 128}"));
    CHECK(undefined(DTYPE_INT, 2, "{\"_FillValue\": \"x\"}"));
    CHECK(undefined(DTYPE_FLOAT, 4, "{\"_FillValue\": \"AAAAAAA4j8A\"}"));
    CHECK(undefined(DTYPE_FLOAT, 4, "{\"_FillValue\": \"AAAAAAA4j8==\"}"));
    /* 1e300 */
    CHECK(undefined(DTYPE_FLOAT, 4, "{\"_FillValue\": \"nHUAiDzkN34=\"}"));
    CHECK(undefined(DTYPE_COMPLEX, 8, "{\"_FillValue\": [" NAN_BASE64 ", " NAN_BASE64 "]}"));
}

static void test_mask__arrays_that_are_not_xarrays_keep_their_fill(void)
{
    struct array_meta m = array_of(FORMAT_ZARR3, DTYPE_INT, 2, "{\"_FillValue\": 3}");
    struct text notes;

    free(m.dimension_names[0]);
    m.dimension_names[0] = NULL;
    m.fill[0] = 7;
    CHECK(carry(&m, &notes) && m.fill[0] == 7 && !m.fill_undefined && !notes.length);
    CHECK(!strcmp(m.attributes, "{\"_FillValue\": 3}"));
    text_release(&notes);
    array_meta_release(&m);
}

static void test_mask__the_same_format_changes_nothing(void)
{
    struct array_meta m = array_of(FORMAT_ZARR3, DTYPE_INT, 2, "{\"_FillValue\": 3}");
    struct error err = { 0 };
    struct text notes;

    text_init(&notes, 1000);
    m.fill[0] = 7;
    CHECK(array_mask_carry(&m, FORMAT_ZARR3, &notes, &err) && m.fill[0] == 7 && !notes.length);
    CHECK(!strcmp(m.attributes, "{\"_FillValue\": 3}"));
    text_release(&notes);
    array_meta_release(&m);
}

int main(void)
{
    RUN(test_mask__a_fill_of_v2_becomes_the_attribute_of_v3);
    RUN(test_mask__an_undefined_fill_masks_nothing_in_v3);
    RUN(test_mask__the_attribute_of_v3_becomes_the_fill_of_v2);
    RUN(test_mask__the_only_attribute_leaves_none_behind);
    RUN(test_mask__without_an_attribute_v2_has_no_fill);
    RUN(test_mask__an_attribute_of_another_type_is_kept);
    RUN(test_mask__arrays_that_are_not_xarrays_keep_their_fill);
    RUN(test_mask__the_same_format_changes_nothing);
    return test_summary();
}
