/* The sum of an object that is written as it comes: of its bytes, however they are cut, of how many, and of its name. */
#include "engine/exec/written.h"

#include <string.h>

#include "tests/unit/test.h"

static const char bytes[12] = "some bytes\0";       /* the last two are zero: those add nothing to a digest */

static uint64_t sum_of(struct digest *d, const char *key, unsigned cut, unsigned count)
{
    written_bytes_add(d, cut, bytes + cut, count - cut);
    written_bytes_add(d, 0, bytes, cut);
    return written_bytes_take(d, key, count);
}

static void test_written__bytes_are_summed_however_they_come(void)
{
    struct error err = { 0 };
    struct digest d;
    uint64_t whole;

    CHECK(written_bytes_init(&d, &err));
    whole = sum_of(&d, "0.0", 0, sizeof bytes);
    for (unsigned cut = 1; cut < sizeof bytes; cut++)
        CHECK_EQUAL(sum_of(&d, "0.0", cut, sizeof bytes), whole);
    digest_release(&d);
}

static void test_written__what_is_shorter_by_zeros_or_has_another_name_is_another(void)
{
    struct error err = { 0 };
    struct digest d;
    uint64_t whole;

    CHECK(written_bytes_init(&d, &err));
    whole = sum_of(&d, "0.0", 0, sizeof bytes);
    CHECK(sum_of(&d, "0.0", 0, sizeof bytes - 1) != whole);
    CHECK(sum_of(&d, "0.0", 0, sizeof bytes - 3) != whole);
    CHECK(sum_of(&d, "0.1", 0, sizeof bytes) != whole);
    digest_release(&d);
}

int main(void)
{
    RUN(test_written__bytes_are_summed_however_they_come);
    RUN(test_written__what_is_shorter_by_zeros_or_has_another_name_is_another);
    return test_summary();
}
