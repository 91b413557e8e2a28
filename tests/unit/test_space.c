/* What is said when there is no room, as far as it can be known. */
#include "engine/io/space.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/test.h"

static struct error explained(int sys_errno, uint64_t need_bytes)
{
    struct error err = { 0 };
    int fd = open(".", O_RDONLY);

    error_sys(&err, sys_errno, SPAN_NONE, "cannot write '/a/b'");
    CHECK(!space_explain(&err, fd, need_bytes));
    close(fd);
    return err;
}

static void test_space__a_full_disk_says_how_much_is_needed_and_free(void)
{
    struct error err = explained(ENOSPC, 3 << 20);

    CHECK_EQUAL(err.code, ERR_FIT);
    CHECK(err.note_count == 1 && strstr(err.notes[0], "it needed 3MiB, and ") && strstr(err.notes[0], " are free there"));
    CHECK(strstr(err.help, "make room there") != NULL);
    CHECK(err.need_bytes == 3 << 20 && err.have_bytes > 0);
    err = explained(ENOSPC, 0);
    CHECK(strstr(err.notes[0], " are free there") && !strstr(err.notes[0], "needed") && err.need_bytes == 0);
}

static void test_space__a_quota_is_no_full_disk(void)
{
    struct error err = explained(EDQUOT, 3 << 20);

    CHECK_EQUAL(err.code, ERR_FIT);
    CHECK(strstr(err.message, "quota") && !strstr(err.message, "no space"));
    CHECK(strstr(err.notes[0], "a quota keeps them") && strstr(err.help, "quota -s"));
    CHECK(err.need_bytes == 3 << 20 && err.have_bytes == 0);
}

static void test_space__limits_name_their_cure_and_others_nothing(void)
{
    struct error err = explained(EMFILE, 0);

    CHECK(strstr(err.help, "ulimit -n") != NULL);
    err = explained(EFBIG, 1);
    CHECK(strstr(err.help, "ulimit -f") != NULL);
    err = explained(EIO, 1);
    CHECK(!err.help[0] && err.note_count == 0);
}

int main(void)
{
    RUN(test_space__a_full_disk_says_how_much_is_needed_and_free);
    RUN(test_space__a_quota_is_no_full_disk);
    RUN(test_space__limits_name_their_cure_and_others_nothing);
    return test_summary();
}
