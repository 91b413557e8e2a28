/* test_pool.c - engine/mem/pool.c. */
#include "engine/mem/pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "tests/unit/test.h"

static struct pool *open_pool(uint64_t bytes)
{
    struct error err = { 0 };
    struct pool *p = NULL;

    CHECK(pool_open(&p, bytes, &err));
    return p;
}

static void test_pool__areas_are_aligned_and_apart(void)
{
    struct pool *p = open_pool(4 * MIB);
    char *a = pool_carve(p, "a", 1), *b = pool_carve(p, "b", IO_ALIGN), *c = pool_carve(p, "c", IO_ALIGN + 1);

    CHECK_EQUAL((uintptr_t)a % (2 * MIB), 0);
    CHECK_EQUAL(b - a, IO_ALIGN);
    CHECK_EQUAL(c - b, IO_ALIGN);
    CHECK_EQUAL((char *)pool_carve(p, "d", 4 * MIB - 4 * IO_ALIGN) - c, 2 * IO_ALIGN);
    memset(a, 1, 4 * MIB);
    CHECK_EQUAL(pool_bytes(p), 4 * MIB);
    pool_close(p);
}

static void test_pool__reset_frees_everything(void)
{
    struct pool *p = open_pool(MIB);
    void *first = pool_carve(p, "large", MIB);

    pool_reset(p);
    CHECK(pool_carve(p, "small", IO_ALIGN) == first);
    CHECK_EQUAL((char *)pool_carve(p, "rest", MIB - IO_ALIGN) - (char *)first, IO_ALIGN);
    pool_close(p);
}

static void test_pool__an_empty_pool_has_empty_areas(void)
{
    struct pool *p = open_pool(0);

    CHECK_EQUAL(pool_bytes(p), 0);
    CHECK(pool_carve(p, "nothing", 0) != NULL);
    pool_close(p);
    pool_close(NULL);
}

static uint64_t resident_bytes(const char *memory, uint64_t bytes)
{
    unsigned char *pages = calloc(bytes / IO_ALIGN, 1);
    uint64_t resident = 0;

    CHECK_EQUAL(mincore((void *)memory, bytes, pages), 0);
    for (uint64_t i = 0; i < bytes / IO_ALIGN; i++)
        resident += (pages[i] & 1u) * IO_ALIGN;
    free(pages);
    return resident;
}

/* An odd size: the last huge page must not stick out of the pool. */
static void test_pool__never_more_resident_than_asked_for(void)
{
    uint64_t bytes = 5 * MIB + 3 * IO_ALIGN;
    struct pool *p = open_pool(bytes - 100);
    char *memory = pool_carve(p, "all", bytes - 100);

    CHECK_EQUAL(pool_bytes(p), bytes);
    CHECK_EQUAL(resident_bytes(memory, bytes), 0);
    memset(memory, 1, bytes);
    CHECK_EQUAL(resident_bytes(memory, bytes), bytes);
    pool_close(p);
}

/* Address space, in pages, from /proc/self/statm. */
static long mapped_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = -1;

    CHECK(file && fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    return pages;
}

static void test_pool__maps_what_was_asked_for_and_unmaps_it(void)
{
    long before = mapped_pages(), with;
    struct pool *p = open_pool(64 * MIB + IO_ALIGN);

    with = mapped_pages();
    pool_close(p);
    CHECK((uint64_t)(with - before) * IO_ALIGN >= 64 * MIB + IO_ALIGN);
    CHECK((uint64_t)(with - before) * IO_ALIGN < 65 * MIB);
    CHECK((uint64_t)(mapped_pages() - before) * IO_ALIGN < MIB);
}

static void test_pool__running_out_aborts_with_the_owners_name(void)
{
    char said[400] = "";
    int status, fds[2];
    ssize_t length;
    pid_t child;

    CHECK_EQUAL(pipe(fds), 0);
    child = fork();
    if (child == 0) {
        struct rlimit no_core = { 0, 0 };
        struct pool *p = open_pool(MIB);

        setrlimit(RLIMIT_CORE, &no_core);
        dup2(fds[1], STDERR_FILENO);
        pool_carve(p, "tile", MIB / 2);
        pool_carve(p, "reads", MIB);
        _exit(0);
    }
    close(fds[1]);
    CHECK(waitpid(child, &status, 0) == child);
    length = read(fds[0], said, sizeof said - 1);
    close(fds[0]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(length > 0);
    CHECK(strstr(said, "'reads' wants 1048576 bytes of the pool, which has 524288 of 1048576 left"));
}

static void test_pool__what_the_address_space_does_not_hold_is_refused(void)
{
    struct error err = { 0 };
    struct pool *p;

    CHECK(!pool_open(&p, UINT64_C(1) << 62, &err));
    CHECK(p == NULL);
    CHECK_EQUAL(err.code, ERR_FIT);
    CHECK(strstr(err.message, "cannot reserve 4EiB of memory"));
    err = (struct error){ 0 };
    CHECK(!pool_open(&p, UINT64_MAX, &err));
    CHECK_EQUAL(err.code, ERR_FIT);
}

int main(void)
{
    RUN(test_pool__areas_are_aligned_and_apart);
    RUN(test_pool__reset_frees_everything);
    RUN(test_pool__an_empty_pool_has_empty_areas);
    RUN(test_pool__never_more_resident_than_asked_for);
    RUN(test_pool__maps_what_was_asked_for_and_unmaps_it);
    RUN(test_pool__running_out_aborts_with_the_owners_name);
    RUN(test_pool__what_the_address_space_does_not_hold_is_refused);
    return test_summary();
}
