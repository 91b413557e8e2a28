/* test_os.c - engine/io/os.c: opening beneath, renaming, removing, each as the kernel does it and by its fallback,
 * which is reached by refusing the newer call through the seam. */
#include "engine/io/os.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "tests/unit/test.h"

static char root_path[] = "/tmp/sluice-test-os-XXXXXX";
static int root_fd = -1;

static void make_file(const char *path, const char *content)
{
    int fd = openat(root_fd, path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static bool content_is(const char *path, const char *content)
{
    char got[64] = "";
    int fd = openat(root_fd, path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, got, sizeof got - 1);

    if (fd >= 0)
        close(fd);
    return length == (ssize_t)strlen(content) && !strcmp(got, content);
}

static bool is_there(const char *path)
{
    struct stat st;

    return os_fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool lacks(const char *word)
{
    const char *sentence;

    for (unsigned i = 0; (sentence = os_lacks(i)); i++)
        if (strstr(sentence, word))
            return true;
    return false;
}

static void test_os__a_second_name_is_given_only_where_there_is_none(void)
{
    make_file("one", "one");
    make_file("two", "two");
    CHECK_EQUAL(os_link(root_fd, "one", "two"), -EEXIST);
    CHECK_EQUAL(os_link(root_fd, "none", "three"), -ENOENT);
    CHECK_EQUAL(os_link(root_fd, "one", "three"), 0);
    CHECK(content_is("three", "one") && content_is("one", "one") && content_is("two", "two"));
    os_faults_set(&(struct os_faults){ .absent = OS_LINK });
    CHECK_EQUAL(os_link(root_fd, "one", "four"), -EOPNOTSUPP);
    os_faults_set(NULL);
    CHECK(lacks("no links"));
    CHECK(!is_there("four"));
    os_unlinkat(root_fd, "one", 0);
    os_unlinkat(root_fd, "two", 0);
    os_unlinkat(root_fd, "three", 0);
}

/* That another mount has another number is for tests/run/test_mounts.py. */
static void test_os__a_mount_has_one_number_and_what_cannot_be_asked_has_none(void)
{
    uint64_t mount = os_mount_of(root_fd, "");

    make_file("file", "");
    CHECK(os_mount_of(root_fd, "file") == mount && os_mount_of(AT_FDCWD, root_path) == mount);
    CHECK(mount == 0 || os_mount_of(AT_FDCWD, "/proc") != mount);
    CHECK_EQUAL(os_mount_of(root_fd, "none"), 0);
    os_faults_set(&(struct os_faults){ .absent = OS_MOUNT });
    CHECK_EQUAL(os_mount_of(root_fd, "file"), 0);
    os_faults_set(NULL);
    os_unlinkat(root_fd, "file", 0);
}

static unsigned open_fds(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void set_up(void)
{
    root_fd = mkdtemp(root_path) ? open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    CHECK(root_fd >= 0);
    CHECK_EQUAL(mkdirat(root_fd, "store", 0700), 0);
    CHECK_EQUAL(mkdirat(root_fd, "store/a", 0700), 0);
    CHECK_EQUAL(mkdirat(root_fd, "store/a/b", 0700), 0);
    make_file("store/a/b/chunk", "chunk");
    make_file("secret", "secret");
    CHECK_EQUAL(symlinkat("chunk", root_fd, "store/a/b/link"), 0);
    CHECK_EQUAL(symlinkat("../secret", root_fd, "store/out"), 0);
    CHECK_EQUAL(symlinkat("a", root_fd, "store/dirlink"), 0);
    CHECK_EQUAL(symlinkat("nowhere", root_fd, "store/dangling"), 0);
    CHECK_EQUAL(mkfifoat(root_fd, "store/fifo", 0600), 0);
}

/* ---- opening ---- */

struct opening { const char *path; int flags; int result; };      /* 0: opens */

static const struct opening openings[] = {
    { "a/b/chunk", O_RDONLY, 0 },
    { "a//b/./chunk", O_RDONLY, 0 },
    { "./a/b/chunk", O_RDONLY, 0 },
    { "a/b", O_RDONLY | O_DIRECTORY, 0 },
    { "a/b/", O_RDONLY, 0 },
    { ".", O_RDONLY | O_DIRECTORY, 0 },
    { "fifo", O_RDONLY, 0 },                        /* does not hang */
    { "a/b/chunk", O_RDONLY | O_DIRECTORY, -ENOTDIR },
    { "a/b/chunk/", O_RDONLY, -ENOTDIR },
    { "a/b/chunk/d", O_RDONLY, -ENOTDIR },
    { "", O_RDONLY, -ENOENT },
    { "a/missing", O_RDONLY, -ENOENT },
    { "missing/chunk", O_RDONLY, -ENOENT },
    { "../secret", O_RDONLY, -EXDEV },
    { "a/../a/b/chunk", O_RDONLY, -EXDEV },
    { "a/..", O_RDONLY, -EXDEV },
    { "..", O_RDONLY, -EXDEV },
    { "/etc/passwd", O_RDONLY, -EXDEV },
    { "out", O_RDONLY, -ELOOP },
    { "out", O_RDONLY | O_DIRECTORY, -ELOOP },
    { "a/b/link", O_RDONLY, -ELOOP },
    { "dirlink", O_RDONLY | O_DIRECTORY, -ELOOP },
    { "dirlink/", O_RDONLY, -ELOOP },
    { "dirlink/b/chunk", O_RDONLY, -ELOOP },
    { "dangling", O_RDONLY, -ELOOP },
    { "dangling", O_WRONLY | O_CREAT, -ELOOP },
    { "dangling", O_WRONLY | O_CREAT | O_EXCL, -EEXIST },
    { "a/b/chunk", O_WRONLY | O_CREAT | O_EXCL, -EEXIST },
    { "a/b/link", O_PATH, -EINVAL },
};

static void check_openings(void)
{
    int store_fd = openat(root_fd, "store", O_RDONLY | O_DIRECTORY);
    unsigned before = open_fds();

    for (unsigned i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        int fd = os_open_beneath(store_fd, openings[i].path, openings[i].flags, 0600);

        if ((fd < 0 ? fd : 0) != openings[i].result) {
            fprintf(stderr, "'%s' with flags %o:\n", openings[i].path, (unsigned)openings[i].flags);
            CHECK_EQUAL(fd < 0 ? fd : 0, openings[i].result);
        }
        if (fd >= 0) {
            CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            os_close(fd);
        }
    }
    CHECK_EQUAL(open_fds(), before);
    close(store_fd);
    CHECK(!is_there("nowhere") && !is_there("store/nowhere"));
}

static void check_making(void)
{
    int fd = os_open_beneath(root_fd, "store/a/made", O_WRONLY | O_CREAT | O_EXCL, 0640);
    struct stat st;

    CHECK(fd >= 0);
    CHECK_EQUAL(os_pwrite_all(fd, "made", 4, 0), 0);
    CHECK_EQUAL(os_fstat(fd, &st), 0);
    CHECK_EQUAL(st.st_mode & 0777 & ~0022, 0640 & ~0022);
    CHECK_EQUAL(os_close(fd), 0);
    CHECK(content_is("store/a/made", "made"));
    CHECK_EQUAL(os_unlinkat(root_fd, "store/a/made", 0), 0);
}

static void test_os__opening_beneath_stays_beneath(void)
{
    check_openings();
    check_making();
}

static void test_os__the_walk_gives_the_answers_of_openat2(void)
{
    static const int refusals[] = { ENOSYS, EPERM };

    for (unsigned i = 0; i < 2; i++) {
        struct os_faults faults = { .kinds = OS_OPENAT2, .forever = true, .how = refusals[i] };

        os_faults_set(&faults);
        check_openings();
        check_making();
        CHECK(os_faults_hit() > 10);
        os_faults_set(NULL);
    }
    CHECK(lacks("openat2"));
}

static void test_os__the_walk_passes_on_what_an_open_on_the_way_says(void)
{
    unsigned before = open_fds();

    for (unsigned n = 0; n < 5; n++) {      /* store, a, b, chunk, and none */
        struct os_faults faults = { .absent = OS_OPENAT2, .kinds = OS_OPEN, .first = n, .how = EMFILE };
        int fd;

        os_faults_set(&faults);
        fd = os_open_beneath(root_fd, "store/a/b/chunk", O_RDONLY, 0);
        CHECK_EQUAL(os_faults_hit(), n < 4);
        os_faults_set(NULL);
        if (n < 4)
            CHECK_EQUAL(fd, -EMFILE);
        else
            CHECK_EQUAL(os_close(fd), 0);
    }
    CHECK_EQUAL(open_fds(), before);
}

/* ---- reading and writing ---- */

static void test_os__all_means_all(void)
{
    static const int hows[] = { EINTR, OS_FAULT_SHORT };
    char data[100], got[100];
    int fd = os_openat(root_fd, "all", O_RDWR | O_CREAT, 0600);

    memset(data, 'x', sizeof data);
    for (unsigned i = 0; i < 2; i++) {
        struct os_faults faults = { .kinds = OS_READ | OS_WRITE, .how = hows[i],
                                    .forever = hows[i] == OS_FAULT_SHORT };

        CHECK_EQUAL(os_ftruncate(fd, 0), 0);
        os_faults_set(&faults);
        CHECK_EQUAL(os_pwrite_all(fd, data, sizeof data, 5), 0);
        CHECK(os_faults_hit() > 0);
        CHECK_EQUAL(os_pread_all(fd, got, sizeof got, 5), 0);
        os_faults_set(NULL);
        CHECK(!memcmp(data, got, sizeof got));
    }
    CHECK_EQUAL(os_pread_all(fd, got, sizeof got, 6), -ENODATA);
    CHECK_EQUAL(os_pread(fd, got, sizeof got, 6), 99);
    CHECK_EQUAL(os_pread_all(-1, got, 1, 0), -EBADF);
    os_close(fd);
}

static void test_os__a_write_of_nothing_is_no_space(void)
{
    struct os_faults faults = { .kinds = OS_WRITE, .how = OS_FAULT_ZERO };
    int fd = os_openat(root_fd, "all", O_RDWR | O_CREAT, 0600);

    os_faults_set(&faults);
    CHECK_EQUAL(os_pwrite_all(fd, "x", 1, 0), -ENOSPC);
    os_faults_set(NULL);
    os_close(fd);
}

static void test_os__the_seam_fails_the_call_that_was_named(void)
{
    struct os_faults second_mkdir = { .kinds = OS_MKDIR | OS_UNLINK, .first = 1, .how = EDQUOT };
    struct os_faults all_mkdir = { .kinds = OS_MKDIR, .forever = true, .how = EROFS };

    os_faults_set(&second_mkdir);
    CHECK_EQUAL(os_mkdirat(root_fd, "one", 0700), 0);
    CHECK(is_there("one"));                         /* a call of another kind is not counted */
    CHECK_EQUAL(os_mkdirat(root_fd, "two", 0700), -EDQUOT);
    CHECK_EQUAL(os_mkdirat(root_fd, "two", 0700), 0);
    CHECK_EQUAL(os_faults_hit(), 1);
    os_faults_set(&all_mkdir);
    CHECK_EQUAL(os_faults_hit(), 0);
    CHECK_EQUAL(os_mkdirat(root_fd, "three", 0700), -EROFS);
    CHECK_EQUAL(os_mkdirat(root_fd, "three", 0700), -EROFS);
    CHECK_EQUAL(os_faults_hit(), 2);
    os_faults_set(NULL);
    CHECK_EQUAL(os_unlinkat(root_fd, "one", AT_REMOVEDIR), 0);
    CHECK_EQUAL(os_unlinkat(root_fd, "two", AT_REMOVEDIR), 0);
}

static void test_os__short_keeps_direct_transfers_aligned(void)
{
    CHECK_EQUAL(os_fault_short(1), 1);
    CHECK_EQUAL(os_fault_short(2), 1);
    CHECK_EQUAL(os_fault_short(100), 50);
    CHECK_EQUAL(os_fault_short(IO_ALIGN), IO_ALIGN);
    CHECK_EQUAL(os_fault_short(2 * IO_ALIGN), IO_ALIGN);
    CHECK_EQUAL(os_fault_short(3 * IO_ALIGN), 2 * IO_ALIGN);
}

static void test_os__holes_give_space_back(void)
{
    struct os_faults faults = { .absent = OS_FALLOCATE | OS_PUNCH };
    int fd = os_openat(root_fd, "scratch", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct stat before, after;
    int result = os_fallocate(fd, 0, MIB);

    if (result == -EOPNOTSUPP) {
        os_close(fd);
        SKIP("no fallocate in /tmp");
    }
    CHECK_EQUAL(result, 0);
    CHECK_EQUAL(os_fstat(fd, &before), 0);
    CHECK_EQUAL(before.st_size, MIB);
    CHECK_EQUAL(os_punch_hole(fd, 0, MIB / 2), 0);
    CHECK_EQUAL(os_fstat(fd, &after), 0);
    CHECK_EQUAL(after.st_size, MIB);
    CHECK(after.st_blocks < before.st_blocks);
    os_faults_set(&faults);
    CHECK_EQUAL(os_fallocate(fd, 0, MIB), -EOPNOTSUPP);
    CHECK_EQUAL(os_punch_hole(fd, 0, MIB), -EOPNOTSUPP);
    os_faults_set(NULL);
    CHECK(lacks("fallocate") && lacks("hole punching"));
    os_close(fd);
}

static void test_os__space_and_sync_and_time(void)
{
    uint64_t free_bytes = 0, free_files = 0;
    double before = os_now();

    CHECK_EQUAL(os_space(root_fd, &free_bytes, &free_files), 0);
    CHECK(free_bytes > 0 && free_files > 0);
    CHECK_EQUAL(os_space(-1, &free_bytes, &free_files), -EBADF);
    CHECK_EQUAL(os_syncfs(-1), -EBADF);
    CHECK(os_now() >= before);
}

static void test_os__direct_is_seen(void)
{
    int fd = os_openat(root_fd, "direct", O_RDWR | O_CREAT, 0600), direct;

    CHECK(!os_is_direct(fd));
    CHECK(!os_is_direct(-1));
    direct = os_openat(root_fd, "direct", O_RDWR | O_DIRECT, 0);
    if (direct >= 0) {
        CHECK(os_is_direct(direct));
        os_close(direct);
    }
    os_close(fd);
}

/* ---- renaming ---- */

static void check_rename_new(void)
{
    make_file("from", "from");
    make_file("to", "to");
    CHECK_EQUAL(os_rename_new(root_fd, "from", "to"), -EEXIST);
    CHECK(content_is("from", "from") && content_is("to", "to"));
    CHECK_EQUAL(os_unlinkat(root_fd, "to", 0), 0);
    CHECK_EQUAL(symlinkat("nowhere", root_fd, "to"), 0);
    CHECK_EQUAL(os_rename_new(root_fd, "from", "to"), -EEXIST);     /* a dangling link is there, too */
    CHECK_EQUAL(os_unlinkat(root_fd, "to", 0), 0);
    CHECK_EQUAL(os_rename_new(root_fd, "from", "to"), 0);
    CHECK(!is_there("from") && content_is("to", "from"));
    CHECK_EQUAL(os_rename_new(root_fd, "from", "free"), -ENOENT);
    CHECK_EQUAL(os_unlinkat(root_fd, "to", 0), 0);
}

static void test_os__renaming_never_replaces(void)
{
    check_rename_new();
}

static void test_os__renaming_by_steps_never_replaces(void)
{
    static const int refusals[] = { ENOSYS, EINVAL };

    for (unsigned i = 0; i < 2; i++) {
        struct os_faults faults = { .kinds = OS_RENAMEAT2, .forever = true, .how = refusals[i] };

        os_faults_set(&faults);
        check_rename_new();
        os_faults_set(NULL);
    }
    CHECK(lacks("refuses to replace"));
}

static void check_exchange(void)
{
    make_file("a", "a");
    CHECK_EQUAL(mkdirat(root_fd, "b", 0700), 0);
    make_file("b/inside", "b");
    CHECK_EQUAL(os_rename_exchange(root_fd, "a", "b", "aside"), 0);
    CHECK(content_is("b", "a") && content_is("a/inside", "b"));
    CHECK_EQUAL(os_rename_exchange(root_fd, "a", "missing", "aside"), -ENOENT);
    CHECK_EQUAL(os_rename_exchange(root_fd, "missing", "a", "aside"), -ENOENT);
    CHECK(content_is("b", "a") && content_is("a/inside", "b") && !is_there("missing"));
    CHECK_EQUAL(os_remove_tree(root_fd, "a"), 0);
    CHECK_EQUAL(os_remove_tree(root_fd, "b"), 0);
}

static void test_os__exchanging_exchanges(void)
{
    check_exchange();
}

static void test_os__exchanging_by_steps_exchanges(void)
{
    struct os_faults faults = { .kinds = OS_RENAMEAT2, .forever = true, .how = EINVAL };

    os_faults_set(&faults);
    check_exchange();
    os_faults_set(NULL);
    CHECK(lacks("exchanges"));
}

/* Whichever of its three renames fails, the exchange leaves both as they were. */
static void test_os__an_exchange_by_steps_that_fails_is_undone(void)
{
    make_file("a", "a");
    make_file("b", "b");
    for (unsigned n = 0; n < 3; n++) {
        struct os_faults faults = { .absent = OS_RENAMEAT2, .kinds = OS_RENAME, .first = n, .how = EIO };

        os_faults_set(&faults);
        CHECK_EQUAL(os_rename_exchange(root_fd, "a", "b", "aside"), -EIO);
        CHECK_EQUAL(os_faults_hit(), 1);
        os_faults_set(NULL);
        CHECK(content_is("a", "a") && content_is("b", "b"));
    }
    CHECK_EQUAL(os_unlinkat(root_fd, "a", 0), 0);
    CHECK_EQUAL(os_unlinkat(root_fd, "b", 0), 0);
}

/* ---- removing ---- */

static void test_os__removing_a_tree_does_not_follow_links(void)
{
    char deep[2 * 100 + 8] = "tree";

    CHECK_EQUAL(mkdirat(root_fd, "outside", 0700), 0);
    make_file("outside/kept", "kept");
    CHECK_EQUAL(mkdirat(root_fd, "tree", 0700), 0);
    CHECK_EQUAL(symlinkat("../outside", root_fd, "tree/link"), 0);
    CHECK_EQUAL(symlinkat("nowhere", root_fd, "tree/dangling"), 0);
    CHECK_EQUAL(mkfifoat(root_fd, "tree/fifo", 0600), 0);
    for (unsigned i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "tree/%u", i);
        make_file(name, "");
    }
    for (unsigned i = 0; i < 100; i++) {
        strcat(deep, "/d");
        CHECK_EQUAL(mkdirat(root_fd, deep, 0700), 0);
    }
    CHECK_EQUAL(os_remove_tree(root_fd, "tree"), 0);
    CHECK(!is_there("tree"));
    CHECK(content_is("outside/kept", "kept"));
    CHECK_EQUAL(symlinkat("outside", root_fd, "link"), 0);
    CHECK_EQUAL(os_remove_tree(root_fd, "link"), 0);        /* the link goes, not what it points at */
    CHECK(!is_there("link") && content_is("outside/kept", "kept"));
    CHECK_EQUAL(os_remove_tree(root_fd, "outside"), 0);
}

static void test_os__removing_what_is_not_there_is_fine(void)
{
    CHECK_EQUAL(os_remove_tree(root_fd, "missing"), 0);
    make_file("single", "");
    CHECK_EQUAL(os_remove_tree(root_fd, "single"), 0);
    CHECK(!is_there("single"));
}

static void test_os__removing_says_what_failed_and_leaks_nothing(void)
{
    unsigned before = open_fds();

    for (unsigned n = 0; ; n++) {
        struct os_faults faults = { .kinds = OS_UNLINK | OS_OPEN, .first = n, .how = EIO };
        int result;

        mkdirat(root_fd, "tree", 0700);
        mkdirat(root_fd, "tree/sub", 0700);
        make_file("tree/sub/file", "");
        os_faults_set(&faults);
        result = os_remove_tree(root_fd, "tree");
        CHECK_EQUAL(result, os_faults_hit() ? -EIO : 0);
        CHECK_EQUAL(open_fds(), before);
        if (!os_faults_hit())
            break;
        os_faults_set(NULL);
    }
    os_faults_set(NULL);
    CHECK(!is_there("tree"));
}

int main(void)
{
    set_up();
    RUN(test_os__opening_beneath_stays_beneath);
    RUN(test_os__the_walk_gives_the_answers_of_openat2);
    RUN(test_os__the_walk_passes_on_what_an_open_on_the_way_says);
    RUN(test_os__all_means_all);
    RUN(test_os__a_write_of_nothing_is_no_space);
    RUN(test_os__the_seam_fails_the_call_that_was_named);
    RUN(test_os__short_keeps_direct_transfers_aligned);
    RUN(test_os__holes_give_space_back);
    RUN(test_os__space_and_sync_and_time);
    RUN(test_os__direct_is_seen);
    RUN(test_os__renaming_never_replaces);
    RUN(test_os__renaming_by_steps_never_replaces);
    RUN(test_os__exchanging_exchanges);
    RUN(test_os__exchanging_by_steps_exchanges);
    RUN(test_os__an_exchange_by_steps_that_fails_is_undone);
    RUN(test_os__a_second_name_is_given_only_where_there_is_none);
    RUN(test_os__a_mount_has_one_number_and_what_cannot_be_asked_has_none);
    RUN(test_os__removing_a_tree_does_not_follow_links);
    RUN(test_os__removing_what_is_not_there_is_fine);
    RUN(test_os__removing_says_what_failed_and_leaks_nothing);
    close(root_fd);
    CHECK_EQUAL(os_remove_tree(AT_FDCWD, root_path), 0);
    return test_summary();
}
