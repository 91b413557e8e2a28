/* test.h - the least that a unit test needs. A test is a function named like a sentence,
 * test_<module>__<what_holds>; CHECK reports file, line and expression and goes on, so one run shows all that is wrong.
 *
 *     int main(void) { RUN(test_grid__counts_cells_that_overhang); ...; return test_summary(); }
 *
 * A test that cannot run here calls SKIP("why") and is counted aloud.
 */
#ifndef SLUICE_TESTS_TEST_H
#define SLUICE_TESTS_TEST_H

#include <errno.h>
#include <stdio.h>

static unsigned test_passed, test_failed, test_skipped;
static unsigned test_failures_here;
static const char *test_skip_reason __attribute__((unused));

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            test_failures_here++; \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
        } \
    } while (0)

#define CHECK_EQUAL(got, wanted) \
    do { \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted); \
        if (got_ != wanted_) { \
            test_failures_here++; \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, got_, wanted_); \
        } \
    } while (0)

#define SKIP(why) do { test_skip_reason = (why); return; } while (0)

#define RUN(test) \
    do { \
        test_failures_here = 0; \
        test_skip_reason = NULL; \
        test(); \
        if (test_skip_reason) { \
            test_skipped++; \
            printf("skipped %s: %s\n", #test, test_skip_reason); \
        } else if (test_failures_here) { \
            test_failed++; \
            printf("FAILED %s\n", #test); \
        } else { \
            test_passed++; \
        } \
    } while (0)

static inline int test_summary(void)
{
    printf("%s: %u passed, %u failed, %u skipped\n", program_invocation_short_name, test_passed, test_failed, test_skipped);
    return test_failed != 0;
}

#endif
