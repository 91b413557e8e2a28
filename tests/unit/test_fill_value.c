#include "engine/format/fill_value.h"

#include <locale.h>
#include <string.h>

#include "tests/unit/test.h"

static const struct dtype boolean = { DTYPE_BOOL, 1 };
static const struct dtype int8 = { DTYPE_INT, 1 }, int32 = { DTYPE_INT, 4 }, int64 = { DTYPE_INT, 8 };
static const struct dtype uint8 = { DTYPE_UINT, 1 }, uint64 = { DTYPE_UINT, 8 };
static const struct dtype float16 = { DTYPE_FLOAT, 2 }, float32 = { DTYPE_FLOAT, 4 }, float64 = { DTYPE_FLOAT, 8 };
static const struct dtype complex64 = { DTYPE_COMPLEX, 8 }, complex128 = { DTYPE_COMPLEX, 16 };

static bool parsed(const char *json, struct dtype dtype, enum fill_dialect dialect, uint8_t *item)
{
    struct json_doc *doc;
    char why[128];
    bool ok;

    memset(item, 0xa5, ITEM_BYTES_MAX);
    if (!json_parse(&doc, json, strlen(json), NULL, why, sizeof why)) {
        fprintf(stderr, "%s: %s\n", json, why);
        return false;
    }
    ok = fill_from_json(json_root(doc), dtype, dialect, item, why, sizeof why);
    json_free(doc);
    return ok;
}

/* The bits of a value of at most 8 bytes. */
static uint64_t bits_of(const char *json, struct dtype dtype, enum fill_dialect dialect)
{
    uint8_t item[ITEM_BYTES_MAX];
    uint64_t bits = 0;

    if (!parsed(json, dtype, dialect, item)) {
        fprintf(stderr, "refused: %s\n", json);
        test_failures_here++;
    }
    memcpy(&bits, item, dtype.item_bytes < 8 ? dtype.item_bytes : 8);
    return bits;
}

static bool refused(const char *json, struct dtype dtype, enum fill_dialect dialect)
{
    uint8_t item[ITEM_BYTES_MAX];

    return !parsed(json, dtype, dialect, item);
}

static bool written_as(const char *wanted, uint64_t bits, struct dtype dtype, enum fill_dialect dialect)
{
    uint8_t item[ITEM_BYTES_MAX] = { 0 };
    struct text text;
    bool same;

    memcpy(item, &bits, sizeof bits);
    text_init(&text, 1000);
    fill_to_json(item, dtype, dialect, &text);
    same = !strcmp(text.chars, wanted);
    if (!same)
        fprintf(stderr, "written as %s, not %s\n", text.chars, wanted);
    text_release(&text);
    return same;
}

static void test_fill_value__keeps_integers_of_64_bits(void)
{
    CHECK(bits_of("18446744073709551615", uint64, FILL_ZARR3) == UINT64_MAX);
    CHECK(bits_of("18446744073709551557", uint64, FILL_ZARR2) == 18446744073709551557u);
    CHECK(bits_of("-9223372036854775808", int64, FILL_ZARR2) == (uint64_t)INT64_MIN);
    CHECK(bits_of("9007199254740993", int64, FILL_ZARR3) == 9007199254740993u);
    CHECK(bits_of("-1", int8, FILL_ZARR3) == 0xff);
    CHECK(bits_of("-0", int32, FILL_ZARR3) == 0);
    CHECK(written_as("18446744073709551615", UINT64_MAX, uint64, FILL_ZARR3));
    CHECK(written_as("-9223372036854775808", (uint64_t)INT64_MIN, int64, FILL_ZARR2));
    CHECK(written_as("-1", 0xff, int8, FILL_ZARR2));
    CHECK(written_as("255", 0xff, uint8, FILL_ZARR2));
}

static void test_fill_value__refuses_integers_out_of_range_or_not_written_as_such(void)
{
    CHECK(refused("18446744073709551616", uint64, FILL_ZARR3));
    CHECK(refused("-1", uint64, FILL_ZARR3));
    CHECK(refused("256", uint8, FILL_ZARR3));
    CHECK(refused("128", int8, FILL_ZARR3));
    CHECK(refused("-129", int8, FILL_ZARR3));
    CHECK(refused("-9223372036854775809", int64, FILL_ZARR3));
    CHECK(refused("1.0", int32, FILL_ZARR3));
    CHECK(refused("1e3", int32, FILL_ZARR2));
    CHECK(refused("\"NaN\"", int32, FILL_ZARR2));
    CHECK(refused("true", int32, FILL_ZARR3));
}

static void test_fill_value__reads_booleans(void)
{
    CHECK(bits_of("true", boolean, FILL_ZARR3) == 1);
    CHECK(bits_of("false", boolean, FILL_ZARR2) == 0);
    CHECK(bits_of("1", boolean, FILL_ZARR2) == 1);
    CHECK(refused("2", boolean, FILL_ZARR2));
    CHECK(refused("1", boolean, FILL_ZARR3));
    CHECK(written_as("true", 1, boolean, FILL_ZARR2));
}

static void test_fill_value__reads_floats_that_are_no_numbers(void)
{
    CHECK(bits_of("\"NaN\"", float16, FILL_ZARR3) == 0x7e00);
    CHECK(bits_of("\"NaN\"", float32, FILL_ZARR3) == 0x7fc00000);
    CHECK(bits_of("\"NaN\"", float64, FILL_ZARR2) == 0x7ff8000000000000);
    CHECK(bits_of("NaN", float32, FILL_ZARR2) == 0x7fc00000);
    CHECK(bits_of("-Infinity", float64, FILL_ZARR2) == 0xfff0000000000000);
    CHECK(bits_of("\"Infinity\"", float16, FILL_ZARR3) == 0x7c00);
    CHECK(bits_of("\"+Infinity\"", float32, FILL_ZARR3) == 0x7f800000);
    CHECK(bits_of("\"-Infinity\"", float32, FILL_ZARR3) == 0xff800000);
    CHECK(refused("\"nan\"", float32, FILL_ZARR3));
    CHECK(refused("\"0.0\"", float32, FILL_ZARR3));
    CHECK(refused("null", float32, FILL_ZARR3));
}

static void test_fill_value__keeps_the_bits_of_hexadecimal_floats(void)
{
    CHECK(bits_of("\"0x7fa00000\"", float32, FILL_ZARR3) == 0x7fa00000);        /* a signalling NaN */
    CHECK(bits_of("\"0xFFF8000000000001\"", float64, FILL_ZARR3) == 0xfff8000000000001);
    CHECK(bits_of("\"0x3c00\"", float16, FILL_ZARR3) == 0x3c00);
    CHECK(refused("\"0x7fc0\"", float32, FILL_ZARR3));
    CHECK(refused("\"0x-fc00000\"", float32, FILL_ZARR3));
    CHECK(written_as("\"0x7fa00000\"", 0x7fa00000, float32, FILL_ZARR3));
    CHECK(written_as("\"0xffc00000\"", 0xffc00000, float32, FILL_ZARR3));
    CHECK(written_as("\"NaN\"", 0x7fc00000, float32, FILL_ZARR3));
    CHECK(written_as("\"-Infinity\"", 0xfc00, float16, FILL_ZARR3));
}

static void test_fill_value__rounds_decimals_once(void)
{
    /* Just beside a tie of two halves: through a double they would become the tie, and round the other way. */
    CHECK(bits_of("1.00048828125000000000000000000001", float16, FILL_ZARR3) == 0x3c01);
    CHECK(bits_of("1.00146484374999999999999999999999", float16, FILL_ZARR3) == 0x3c01);
    CHECK(bits_of("-1.00048828125000000000000000000001", float16, FILL_ZARR3) == 0xbc01);
    CHECK(bits_of("1.00048828125", float16, FILL_ZARR3) == 0x3c00);
    CHECK(bits_of("1.00146484375", float16, FILL_ZARR3) == 0x3c02);
    /* The same for floats: 1 + 2^-24 and a little. */
    CHECK(bits_of("1.000000059604644775390625000000001", float32, FILL_ZARR3) == 0x3f800001);
    CHECK(bits_of("1.000000059604644775390625", float32, FILL_ZARR3) == 0x3f800000);
}

static void test_fill_value__rounds_halves_at_their_limits(void)
{
    CHECK(bits_of("65504", float16, FILL_ZARR3) == 0x7bff);
    CHECK(bits_of("65519.999", float16, FILL_ZARR3) == 0x7bff);
    CHECK(bits_of("65520", float16, FILL_ZARR3) == 0x7c00);
    CHECK(bits_of("1e400", float16, FILL_ZARR3) == 0x7c00);
    CHECK(bits_of("5.960464477539063e-08", float16, FILL_ZARR3) == 1);
    CHECK(bits_of("2.98023223876953125e-08", float16, FILL_ZARR3) == 0);
    CHECK(bits_of("2.98023223876953126e-08", float16, FILL_ZARR3) == 1);
    CHECK(bits_of("1e-400", float16, FILL_ZARR3) == 0);
    CHECK(bits_of("-1e-400", float16, FILL_ZARR3) == 0x8000);
    CHECK(bits_of("6.103515625e-05", float16, FILL_ZARR3) == 0x0400);
    CHECK(bits_of("6.1005353927612305e-05", float16, FILL_ZARR3) == 0x0400);      /* a tie, carried upwards */
    CHECK(bits_of("1e400", float64, FILL_ZARR2) == 0x7ff0000000000000);
}

static void test_fill_value__keeps_negative_zero(void)
{
    CHECK(bits_of("-0.0", float32, FILL_ZARR3) == 0x80000000);
    CHECK(bits_of("-0", float64, FILL_ZARR2) == 0x8000000000000000);
    CHECK(written_as("-0.0", 0x80000000, float32, FILL_ZARR3));
    CHECK(written_as("0.0", 0, float16, FILL_ZARR2));
}

static void test_fill_value__writes_the_shortest_decimal_that_comes_back(void)
{
    CHECK(written_as("0.1", 0x3fb999999999999a, float64, FILL_ZARR3));
    CHECK(written_as("0.1", 0x3dcccccd, float32, FILL_ZARR3));
    CHECK(written_as("0.1", 0x2e66, float16, FILL_ZARR3));
    CHECK(written_as("1e+20", 0x60ad78ec, float32, FILL_ZARR2));
    CHECK(written_as("-32767.0", 0xc6fffe00, float32, FILL_ZARR2));
    CHECK(written_as("9.96921e+36", 0x7cf00000, float32, FILL_ZARR2));          /* NetCDF's own */
    CHECK(written_as("5e-324", 1, float64, FILL_ZARR3));
    CHECK(written_as("1.7976931348623157e+308", 0x7fefffffffffffff, float64, FILL_ZARR3));
}

static void test_fill_value__every_half_comes_back(void)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint8_t item[ITEM_BYTES_MAX] = { (uint8_t)bits, (uint8_t)(bits >> 8) };
        struct text text;

        text_init(&text, 1000);
        fill_to_json(item, float16, FILL_ZARR3, &text);
        if (bits_of(text.chars, float16, FILL_ZARR3) != bits) {
            fprintf(stderr, "half 0x%04x is written as %s\n", bits, text.chars);
            test_failures_here++;
        }
        text_release(&text);
    }
}

static void test_fill_value__many_floats_come_back(void)
{
    uint64_t state = 88172645463325252u;

    for (unsigned i = 0; i < 3000; i++) {
        struct dtype dtype = i % 2 ? float64 : float32;
        uint8_t item[ITEM_BYTES_MAX] = { 0 };
        struct text text;

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(item, &state, dtype.item_bytes);
        text_init(&text, 1000);
        fill_to_json(item, dtype, FILL_ZARR3, &text);
        CHECK(bits_of(text.chars, dtype, FILL_ZARR3) == (i % 2 ? state : (state & 0xffffffff)));
        text_release(&text);
    }
}

static void test_fill_value__reads_complex_pairs(void)
{
    uint8_t item[ITEM_BYTES_MAX];
    struct text text;

    CHECK(bits_of("[1.0, \"NaN\"]", complex64, FILL_ZARR3) == 0x7fc000003f800000);
    CHECK(bits_of("[[1, 0]]", complex64, FILL_ZARR2) == 0x3f800000);
    CHECK(bits_of("0", complex64, FILL_ZARR2) == 0);
    CHECK(refused("0", complex64, FILL_ZARR3));
    CHECK(refused("[1]", complex64, FILL_ZARR3));
    CHECK(refused("[1, 2, 3]", complex64, FILL_ZARR3));
    CHECK(parsed("[-0.0, \"0x7ff8000000000001\"]", complex128, FILL_ZARR3, item));
    text_init(&text, 1000);
    fill_to_json(item, complex128, FILL_ZARR3, &text);
    CHECK(!strcmp(text.chars, "[-0.0, \"0x7ff8000000000001\"]"));
    text_release(&text);
}

static void test_fill_value__takes_lists_of_one_in_v2(void)
{
    CHECK(bits_of("[7]", int32, FILL_ZARR2) == 7);
    CHECK(bits_of("[\"NaN\"]", float32, FILL_ZARR2) == 0x7fc00000);
    CHECK(refused("[7]", int32, FILL_ZARR3));
    CHECK(refused("[]", int32, FILL_ZARR2));
}

static void test_fill_value__knows_which_nans_v2_cannot_write(void)
{
    const uint8_t plain[ITEM_BYTES_MAX] = { 0, 0, 0xc0, 0x7f }, payload[ITEM_BYTES_MAX] = { 1, 0, 0xc0, 0x7f };
    const uint8_t imaginary[ITEM_BYTES_MAX] = { 0, 0, 0, 0, 0, 0, 0xc0, 0xff };

    CHECK(fill_is_writable(plain, float32, FILL_ZARR2));
    CHECK(!fill_is_writable(payload, float32, FILL_ZARR2));
    CHECK(fill_is_writable(payload, float32, FILL_ZARR3));
    CHECK(fill_is_writable(payload, int32, FILL_ZARR2));
    CHECK(!fill_is_writable(imaginary, complex64, FILL_ZARR2));
}

static void test_fill_value__does_not_follow_the_locale(void)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8"))
        SKIP("no German locale here");
    CHECK(bits_of("1.5", float32, FILL_ZARR3) == 0x3fc00000);
    CHECK(written_as("1.5", 0x3fc00000, float32, FILL_ZARR3));
    setlocale(LC_ALL, "C");
}

int main(void)
{
    RUN(test_fill_value__keeps_integers_of_64_bits);
    RUN(test_fill_value__refuses_integers_out_of_range_or_not_written_as_such);
    RUN(test_fill_value__reads_booleans);
    RUN(test_fill_value__reads_floats_that_are_no_numbers);
    RUN(test_fill_value__keeps_the_bits_of_hexadecimal_floats);
    RUN(test_fill_value__rounds_decimals_once);
    RUN(test_fill_value__rounds_halves_at_their_limits);
    RUN(test_fill_value__keeps_negative_zero);
    RUN(test_fill_value__writes_the_shortest_decimal_that_comes_back);
    RUN(test_fill_value__every_half_comes_back);
    RUN(test_fill_value__many_floats_come_back);
    RUN(test_fill_value__reads_complex_pairs);
    RUN(test_fill_value__takes_lists_of_one_in_v2);
    RUN(test_fill_value__knows_which_nans_v2_cannot_write);
    RUN(test_fill_value__does_not_follow_the_locale);
    return test_summary();
}
