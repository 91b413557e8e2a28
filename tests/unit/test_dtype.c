#include <stdint.h>
#include <string.h>

#include "engine/array/dtype.h"
#include "tests/unit/test.h"

static void test_dtype__names_and_types_match_both_ways(void)
{
    static const struct { const char *name; enum dtype_kind kind; uint32_t item_bytes; } wanted[] = {
        { "bool", DTYPE_BOOL, 1 },         { "int8", DTYPE_INT, 1 },          { "int64", DTYPE_INT, 8 },
        { "uint16", DTYPE_UINT, 2 },       { "float16", DTYPE_FLOAT, 2 },     { "float32", DTYPE_FLOAT, 4 },
        { "complex64", DTYPE_COMPLEX, 8 }, { "complex128", DTYPE_COMPLEX, 16 },
    };

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct dtype d = { DTYPE_BOOL, 0 };
        CHECK(dtype_from_name(&d, wanted[i].name));
        CHECK(dtype_equal(d, (struct dtype){ wanted[i].kind, wanted[i].item_bytes }));
        CHECK(strcmp(dtype_name(d), wanted[i].name) == 0);
    }
}

static void test_dtype__an_unknown_name_is_refused(void)
{
    struct dtype d;

    CHECK(!dtype_from_name(&d, "float128"));
    CHECK(!dtype_from_name(&d, "float"));
    CHECK(!dtype_from_name(&d, ""));
}

static void test_dtype__complex_swaps_by_halves(void)
{
    CHECK_EQUAL(dtype_swap_bytes((struct dtype){ DTYPE_COMPLEX, 16 }), 8);
    CHECK_EQUAL(dtype_swap_bytes((struct dtype){ DTYPE_FLOAT, 8 }), 8);
}

static void test_dtype__swap_reverses_each_unit(void)
{
    for (uint32_t unit = 1; unit <= 16; unit *= 2) {
        for (uint32_t units = 0; units < 70; units++) {
            uint8_t data[70 * 16];
            uint32_t wrong = 0;

            for (uint32_t i = 0; i < units * unit; i++)
                data[i] = (uint8_t)(i * 7);
            dtype_swap(data, units * unit, unit);
            for (uint32_t i = 0; i < units * unit; i++)
                wrong += data[i] != (uint8_t)((i / unit * unit + unit - 1 - i % unit) * 7);
            CHECK_EQUAL(wrong, 0);
        }
    }
}

int main(void)
{
    RUN(test_dtype__names_and_types_match_both_ways);
    RUN(test_dtype__an_unknown_name_is_refused);
    RUN(test_dtype__complex_swaps_by_halves);
    RUN(test_dtype__swap_reverses_each_unit);
    return test_summary();
}
