#include "engine/store/store.h"

#include <pthread.h>
#include <sys/wait.h>

#include "engine/base/size.h"
#include "tests/unit/directory.h"
#include "tests/unit/test.h"

static struct store *opened(const char *path)
{
    struct error err = { 0 };
    struct store *s;

    CHECK(store_open(&s, path, SPAN_NONE, &err));
    return s;
}

static struct store *staged(const char *path, bool overwrite)
{
    struct error err = { 0 };
    struct store *s;

    CHECK(store_stage(&s, path, overwrite, "", SPAN_NONE, &err));
    if (err.code)
        error_print(&err, stderr);
    return s;
}

static void put(struct store *s, const char *key, const char *chars)
{
    struct error err = { 0 };

    CHECK(store_put(s, key, chars, strlen(chars), &err));
}

static void test_store__reads_whole_small_objects(void)
{
    struct directory d = directory_new();
    struct store *s = opened(d.path);
    struct error err = { 0 };
    uint64_t bytes;
    char *data;

    directory_put(&d, ".zattrs", "{}");
    CHECK(store_get(s, ".zattrs", 100, &data, &bytes, &err));
    CHECK(data && !strcmp(data, "{}") && bytes == 2);
    free(data);
    CHECK(store_get(s, ".zarray", 100, &data, &bytes, &err));
    CHECK(!data && err.code == ERR_NONE);
    CHECK(!store_get(s, ".zattrs", 1, &data, &bytes, &err));
    CHECK_EQUAL(err.code, ERR_INPUT);
    CHECK(!data);
    store_close(s);
    directory_remove(&d);
}

static void test_store__says_what_a_path_is_that_cannot_be_opened(void)
{
    struct directory d = directory_new();
    struct error missing = { 0 }, file = { 0 };
    struct store *s;

    directory_put(&d, "file", "x");
    CHECK(!store_open(&s, directory_path(&d, "nothing"), SPAN_NONE, &missing));
    CHECK(strstr(missing.message, "does not exist"));
    CHECK(!store_open(&s, directory_path(&d, "file"), SPAN_NONE, &file));
    CHECK(strstr(file.message, "not a directory"));
    directory_remove(&d);
}

static void test_store__takes_a_path_through_a_link_and_with_slashes(void)
{
    struct directory d = directory_new();
    struct object o;
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "real");
    directory_put(&d, "real/0", "abc");
    CHECK(symlink("real", directory_path(&d, "link")) == 0);
    s = opened(directory_path(&d, "link//"));
    CHECK(store_object_open(s, "0", &o, &err) && o.bytes == 3);
    CHECK(store_path(s)[strlen(store_path(s)) - 1] == 'k');
    store_object_close(&o);
    store_close(s);
    directory_remove(&d);
}

static void test_store__tells_missing_from_what_is_no_file(void)
{
    static const struct { const char *key; bool missing; } rows[] = {
        { "nothing", true }, { "no/thing", true }, { "file/0", false },
        { "directory", false }, { "pipe", false }, { "link", false }, { "dead", false }, { "linked/0", false },
        { "../escape", false }, { "", false },
    };
    struct directory d = directory_new();
    struct store *s = opened(d.path);

    directory_put(&d, "file", "x");
    directory_make(&d, "directory");
    directory_put(&d, "directory/0", "x");
    CHECK(mkfifo(directory_path(&d, "pipe"), 0666) == 0);
    CHECK(symlink("file", directory_path(&d, "link")) == 0);
    CHECK(symlink("nowhere", directory_path(&d, "dead")) == 0);
    CHECK(symlink("directory", directory_path(&d, "linked")) == 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err = { 0 };
        struct object o;
        bool ok = store_object_open(s, rows[i].key, &o, &err);

        CHECK_EQUAL(ok, rows[i].missing);
        CHECK_EQUAL(o.fd, -1);
        CHECK(ok || (err.code == ERR_INPUT && strstr(err.message, rows[i].key)));
    }
    store_close(s);
    directory_remove(&d);
}

static void test_store__a_directory_does_not_turn_direct_reads_off(void)
{
    struct directory d = directory_new();
    struct store *s = opened(d.path);
    struct error ignored = { 0 }, err = { 0 };
    struct object before, after;

    directory_put(&d, "file", "x");
    directory_make(&d, "directory");
    CHECK(store_object_open(s, "file", &before, &err));
    store_object_close(&before);
    CHECK(!store_object_open(s, "directory", &after, &ignored));
    CHECK(store_object_open(s, "file", &after, &err));
    CHECK_EQUAL(after.direct, before.direct);
    store_object_close(&after);
    store_close(s);
    directory_remove(&d);
}

static void test_store__an_object_that_is_written_to_while_it_is_read_is_told(void)
{
    static const struct timespec times[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000, .tv_nsec = 5 } };
    struct directory d = directory_new();
    struct store *s = opened(d.path);
    struct error err = { 0 };
    struct object o;

    directory_put(&d, "0.0", "old!");
    CHECK(store_object_open(s, "0.0", &o, &err));
    CHECK_EQUAL(store_object_changed(&o), 0);
    CHECK(utimensat(AT_FDCWD, directory_path(&d, "0.0"), times, 0) == 0);
    CHECK_EQUAL(store_object_changed(&o), -ESTALE);
    store_object_close(&o);
    /* longer, and between two ticks of the clock */
    CHECK(store_object_open(s, "0.0", &o, &err));
    directory_put(&d, "0.0", "longer");
    CHECK(utimensat(AT_FDCWD, directory_path(&d, "0.0"), times, 0) == 0);
    CHECK_EQUAL(store_object_changed(&o), -ESTALE);
    store_object_close(&o);
    /* of what is replaced or removed, the old bytes are still read, all of them */
    CHECK(store_object_open(s, "0.0", &o, &err));
    directory_put(&d, "new", "new!");
    CHECK(rename(directory_path(&d, "new"), directory_path(&d, "0.0")) == 0);
    CHECK_EQUAL(store_object_changed(&o), 0);
    store_object_close(&o);
    store_close(s);
    directory_remove(&d);
}

static void test_store__a_stamp_is_of_size_time_and_inode(void)
{
    struct directory d = directory_new();
    struct store *s = opened(d.path);
    const struct stat now = { .st_size = 1, .st_mtim = { 2, 3 }, .st_ino = 4 };
    struct stat other[] = { now, now, now, now };
    struct stat same = now;

    other[0].st_size++;
    other[1].st_mtim.tv_sec++;
    other[2].st_mtim.tv_nsec++;
    other[3].st_ino++;
    same.st_atim.tv_sec = same.st_ctim.tv_sec = 9;
    same.st_nlink = 9;
    CHECK(store_stamp(s, &now) != 0 && store_stamp(s, &now) == store_stamp(s, &same));
    for (unsigned i = 0; i < 4; i++)
        CHECK(store_stamp(s, &now) != store_stamp(s, &other[i]));
    store_close(s);
    directory_remove(&d);
}

static void test_store__publishes_at_the_end_and_not_before(void)
{
    struct directory d = directory_new();
    struct store *s = staged(directory_path(&d, "deep/er/out.zarr/"), false);
    struct error err = { 0 };

    put(s, "c/0/1", "chunk");
    put(s, "zarr.json", "{}");
    CHECK(!directory_has(&d, "deep/er/out.zarr"));
    CHECK(directory_has(&d, "deep/er/out.zarr.sluice-partial/c/0/1"));
    CHECK(store_publish(s, &err));
    CHECK(directory_has(&d, "deep/er/out.zarr/c/0/1"));
    CHECK(!directory_has(&d, "deep/er/out.zarr.sluice-partial"));
    CHECK_EQUAL(store_objects_made(s), 2);
    store_abandon(s);
    CHECK(directory_has(&d, "deep/er/out.zarr/zarr.json"));
    store_close(s);
    directory_remove(&d);
}

static void test_store__objects_get_their_true_length(void)
{
    struct directory d = directory_new();
    struct store *s = staged(directory_path(&d, "out"), false);
    struct error err = { 0 }, too_short = { 0 };
    struct object o;
    struct stat st;
    char *block = aligned_alloc(IO_ALIGN, 2 * IO_ALIGN);

    memset(block, 7, 2 * IO_ALIGN);
    CHECK(store_object_create(s, "1.2", &o, &err));
    CHECK(os_pwrite_all(o.fd, block, IO_ALIGN, 0) == 0);
    if (!o.direct)
        CHECK(os_pwrite_all(o.fd, block, 5000 - IO_ALIGN, IO_ALIGN) == 0);
    CHECK(store_object_finish(s, &o, o.direct ? block + IO_ALIGN : NULL, 5000, &err));
    CHECK_EQUAL(o.fd, -1);
    CHECK(stat(directory_path(&d, "out.sluice-partial/1.2"), &st) == 0 && st.st_size == 5000);
    CHECK(store_object_create(s, "1.3", &o, &err));
    CHECK(os_pwrite_all(o.fd, block, IO_ALIGN, 0) == 0);
    CHECK(!store_object_finish(s, &o, NULL, 5000, &too_short));
    CHECK_EQUAL(too_short.code, ERR_IO);
    CHECK(!store_object_create(s, "1.2", &o, &err));
    store_abandon(s);
    CHECK(!directory_has(&d, "out.sluice-partial"));
    store_close(s);
    free(block);
    directory_remove(&d);
}

static void test_store__objects_in_parts_tell_what_either_descriptor_lost(void)
{
    struct os_faults faults = { .kinds = OS_CLOSE, .how = EIO };
    struct directory d = directory_new();
    struct store *s = staged(directory_path(&d, "out"), false);
    struct ranged_object o;

    for (unsigned n = 0; n < 3; n++) {
        struct error err = { 0 };

        CHECK(n ? store_ranged_open(s, "0", &o, &err) : store_ranged_make(s, "0", 3 * IO_ALIGN, &o, &err) &&
                                                        store_ranged_show(s, "0", &err));
        CHECK_EQUAL(o.direct, o.cached_fd != o.fd);
        faults.first = n;
        os_faults_set(&faults);
        CHECK_EQUAL(store_ranged_close(s, &o, &err), n > o.direct);
        CHECK_EQUAL(err.code, n > o.direct ? ERR_NONE : ERR_IO);
        os_faults_set(NULL);
        CHECK(o.fd == -1 && o.cached_fd == -1);
    }
    store_abandon(s);
    store_close(s);
    directory_remove(&d);
}

static void test_store__refuses_keys_that_are_too_long(void)
{
    struct directory d = directory_new();
    struct store *s = staged(directory_path(&d, "out"), false);
    char key[KEY_BYTES_MAX + 2], *data;
    struct error err = { 0 };
    struct object o;
    uint64_t bytes;

    memset(key, 'k', sizeof key);
    for (unsigned i = 100; i < sizeof key; i += 100)
        key[i] = '/';
    key[KEY_BYTES_MAX] = '\0';
    CHECK(!store_put(s, key, "x", 1, &err) && err.code == ERR_INPUT);
    CHECK(!store_get(s, key, 1, &data, &bytes, &err) && !store_object_open(s, key, &o, &err));
    CHECK(!store_put(s, "", "x", 1, &err));
    key[KEY_BYTES_MAX - 1] = '\0';
    err = (struct error){ 0 };
    CHECK(store_put(s, key, "x", 1, &err) && store_get(s, key, 1, &data, &bytes, &err) && bytes == 1);
    free(data);
    store_abandon(s);
    store_close(s);
    directory_remove(&d);
}

/* It says whose it is, and that it is ours at all. */
static void test_store__stages_nothing_without_its_note(void)
{
    struct os_faults faults = { .kinds = OS_WRITE, .how = ENOSPC };
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    os_faults_set(&faults);
    CHECK(!store_stage(&s, directory_path(&d, "out"), false, "note", SPAN_NONE, &err));
    CHECK(err.code == ERR_FIT && !s);
    os_faults_set(NULL);
    CHECK(!directory_has(&d, "out.sluice-partial"));
    s = staged(directory_path(&d, "out"), false);
    store_close(s);
    os_faults_set(&faults);
    err = (struct error){ 0 };
    CHECK(!store_stage_again(&s, directory_path(&d, "out"), false, "note", SPAN_NONE, &err));
    CHECK(err.code == ERR_FIT && !s);
    os_faults_set(NULL);
    directory_remove(&d);
}

static void test_store__refuses_a_target_that_is_there(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "out");
    CHECK(!store_stage(&s, directory_path(&d, "out"), false, "", SPAN_NONE, &err));
    CHECK_EQUAL(err.code, ERR_EXISTS);
    CHECK(strstr(err.help, "--overwrite") && strstr(err.help, "overwrite: true"));
    CHECK(!directory_has(&d, "out.sluice-partial"));
    directory_remove(&d);
}

static void test_store__overwrites_a_store_by_exchange(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "out");
    directory_put(&d, "out/.zarray", "old");
    directory_put(&d, "out/0", "old");
    s = staged(directory_path(&d, "out"), true);
    put(s, "zarr.json", "new");
    CHECK(directory_has(&d, "out/0"));
    CHECK(store_publish(s, &err));
    CHECK(directory_has(&d, "out/zarr.json") && !directory_has(&d, "out/0"));
    CHECK(!directory_has(&d, "out.sluice-partial"));
    store_close(s);
    s = staged(directory_path(&d, "fresh"), true);
    CHECK(store_publish(s, &err));
    CHECK(directory_has(&d, "fresh"));
    store_close(s);
    directory_remove(&d);
}

static void test_store__does_not_overwrite_what_is_no_store(void)
{
    static const char *const names[] = { "home", "file", "link" };
    struct directory d = directory_new();
    struct store *s;

    directory_make(&d, "home");
    directory_put(&d, "home/thesis.tex", "x");
    directory_put(&d, "file", "x");
    directory_make(&d, "store");
    directory_put(&d, "store/.zarray", "x");
    CHECK(symlink("store", directory_path(&d, "link")) == 0);
    for (size_t i = 0; i < 3; i++) {
        struct error err = { 0 };

        CHECK(!store_stage(&s, directory_path(&d, names[i]), true, "", SPAN_NONE, &err));
        CHECK_EQUAL(err.code, ERR_EXISTS);
        CHECK(strstr(err.message, i == 2 ? "is a symbolic link" : "is not a Zarr store"));
        CHECK(directory_has(&d, names[i]));
    }
    directory_make(&d, "empty");
    s = staged(directory_path(&d, "empty"), true);
    store_abandon(s);
    store_close(s);
    directory_remove(&d);
}

static bool directory_holds(const struct directory *d, const char *name, const char *chars)
{
    FILE *file = fopen(directory_path(d, name), "r");
    char found[100];
    size_t count = file ? fread(found, 1, sizeof found, file) : 0;

    if (file)
        fclose(file);
    return count == strlen(chars) && memcmp(found, chars, count) == 0;
}

static struct store *staged_again(const char *path)
{
    struct error err = { 0 };
    struct store *s;

    CHECK(store_stage_again(&s, path, false, "third", SPAN_NONE, &err));
    return s;
}

static void test_store__takes_up_what_a_dead_run_left_but_not_a_living_one(void)
{
    struct directory d = directory_new();
    struct store *first, *second;
    struct error err = { 0 };

    CHECK(staged_again(directory_path(&d, "no/such/out")) == NULL);
    CHECK(!directory_has(&d, "no"));
    first = staged(directory_path(&d, "out"), false);
    put(first, "a/0", "mine");
    put(first, "a/1", "longer than what comes");
    CHECK(!store_stage(&second, directory_path(&d, "out"), false, "second", SPAN_NONE, &err));
    CHECK(err.code == ERR_EXISTS && strstr(err.message, "another run"));
    err = (struct error){ 0 };
    CHECK(!store_stage_again(&second, directory_path(&d, "out"), false, "second", SPAN_NONE, &err));
    CHECK(err.code == ERR_EXISTS && strstr(err.message, "another run"));
    store_close(first);
    second = staged_again(directory_path(&d, "out"));
    CHECK(second && directory_has(&d, "out.sluice-partial/a/0"));
    err = (struct error){ 0 };
    CHECK(!store_stage_again(&first, directory_path(&d, "out"), false, "fourth", SPAN_NONE, &err));
    CHECK(err.note_count == 1 && !strcmp(err.notes[0], "third"));
    put(second, "a/1", "new");
    err = (struct error){ 0 };
    CHECK(store_publish(second, &err));
    CHECK(directory_holds(&d, "out/a/0", "mine") && directory_holds(&d, "out/a/1", "new"));
    CHECK(!directory_has(&d, "out/.sluice-note"));
    store_close(second);
    directory_remove(&d);
}

static void test_store__ends_a_publication_that_a_death_cut_short(void)
{
    struct directory d = directory_new();
    struct store_place old, other = { 0, 12 };
    struct error err = { 0 };
    struct store *s;
    struct stat st;

    directory_make(&d, "out");
    CHECK(store_stage_published(&s, directory_path(&d, "out"), SPAN_NONE, &err) && !s);
    directory_put(&d, "out/" STAGING_JOURNAL, "");
    directory_make(&d, "out.sluice-partial");
    directory_put(&d, "out.sluice-partial/0", "old");
    CHECK(store_stage_published(&s, directory_path(&d, "out.sluice-partial"), SPAN_NONE, &err) && !s);
    CHECK(store_stage_published(&s, directory_path(&d, "out"), SPAN_NONE, &err) && s);
    CHECK(store_publish_end(s, &other, &err));
    CHECK(directory_has(&d, "out.sluice-partial/0"));       /* not what stood there: not removed */
    CHECK(stat(directory_path(&d, "out.sluice-partial"), &st) == 0);
    other = (struct store_place){ st.st_dev + 1, st.st_ino };
    CHECK(store_publish_end(s, &other, &err));
    CHECK(directory_has(&d, "out.sluice-partial/0"));       /* nor by the same number on another file system */
    CHECK_EQUAL(store_abandon(s), 0);
    CHECK(directory_has(&d, "out.sluice-partial/0"));       /* what is published is not given up, and this is another's */
    store_close(s);
    directory_put(&d, "out/" STAGING_JOURNAL, "");
    CHECK(store_stage_published(&s, directory_path(&d, "out"), SPAN_NONE, &err) && s);
    CHECK(stat(directory_path(&d, "out.sluice-partial"), &st) == 0);
    old = (struct store_place){ st.st_dev, st.st_ino };
    CHECK(store_publish_end(s, &old, &err));
    CHECK(!directory_has(&d, "out.sluice-partial") && !directory_has(&d, "out/" STAGING_JOURNAL));
    store_close(s);
    directory_remove(&d);
}

/* There a name in doubt is not taken back; what said that it was goes with the rest. */
static void test_store__ends_one_in_doubt_where_inodes_do_not_last(void)
{
    const struct store_place old = { 0, OS_INODE_ANY };
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "out");
    directory_put(&d, "out/" STAGING_JOURNAL, "");
    directory_put(&d, "out/" STAGING_DOUBT, "");
    directory_make(&d, "out.sluice-partial");
    directory_put(&d, "out.sluice-partial/.zarray", "old");
    CHECK(store_stage_published(&s, directory_path(&d, "out"), SPAN_NONE, &err) && s);
    CHECK(store_publish_end(s, &old, &err));
    CHECK(!directory_has(&d, "out.sluice-partial") && !directory_has(&d, "out/" STAGING_JOURNAL));
    CHECK(!directory_has(&d, "out/" STAGING_DOUBT));
    store_close(s);
    directory_remove(&d);
}

/* What is published goes back to where it was staged. A death on the way, by one rename or by steps, leaves what a
 * publication leaves, too: the new one at its name, or staged and the old one at its name or aside. */
static void take_back(unsigned absent, uint64_t first, bool *hit)
{
    struct os_faults kill = { .absent = absent, .kinds = OS_RENAME | OS_RENAMEAT2 | OS_UNLINK, .first = first,
                              .how = OS_FAULT_KILL };
    struct directory d = directory_new();
    struct store_place old;
    struct error err = { 0 };
    struct store *s;
    struct stat st;
    pid_t child;
    int status;

    directory_make(&d, "out");
    directory_put(&d, "out/" STAGING_JOURNAL, "");
    directory_put(&d, "out/0", "new");
    directory_make(&d, "out.sluice-partial");
    directory_put(&d, "out.sluice-partial/.zarray", "old");
    directory_put(&d, "out.sluice-partial/.sluice-note", "was to be removed");
    CHECK(stat(directory_path(&d, "out.sluice-partial"), &st) == 0);
    old = (struct store_place){ st.st_dev, st.st_ino };
    child = fork();
    if (child == 0) {
        os_faults_set(&kill);
        _exit(store_stage_published(&s, directory_path(&d, "out"), SPAN_NONE, &err) && store_take_back(s, &old, &err)
                  ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    *hit = WIFSIGNALED(status);
    CHECK(*hit || WEXITSTATUS(status) == 0);
    CHECK(!directory_has(&d, "out/.sluice-note"));
    if (directory_has(&d, "out/0"))
        CHECK(*hit && (directory_has(&d, "out.sluice-partial/.zarray") || directory_has(&d, "out.sluice-aside/.zarray")));
    else
        CHECK(directory_has(&d, "out.sluice-partial/" STAGING_JOURNAL) &&
              (directory_has(&d, "out/.zarray") || (*hit && directory_has(&d, "out.sluice-aside/.zarray"))));
    if (!*hit) {
        CHECK(store_stage_again(&s, directory_path(&d, "out"), true, "who", SPAN_NONE, &err) && s);
        store_was_replacing(s, &old);
        CHECK(store_publish(s, &err) && directory_holds(&d, "out/0", "new"));
        CHECK(!directory_has(&d, "out.sluice-partial") && !directory_has(&d, "out.sluice-aside"));
        store_close(s);
    }
    directory_remove(&d);
}

static void test_store__takes_back_what_is_published_to_publish_it_anew(void)
{
    static const unsigned lacking[] = { 0, OS_RENAMEAT2 };

    for (unsigned i = 0; i < 2; i++) {
        uint64_t calls = 0;
        bool hit = true;

        for (; hit && calls < 10; calls++)
            take_back(lacking[i], calls, &hit);
        CHECK_EQUAL(calls, i == 0 ? 3 : 5);
    }
}

/* What was replaced cannot be removed: the new target is as it is to be, and the old tree says what it is. */
static void test_store__publishes_nothing_of_ours_when_the_old_tree_stays(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "out");
    directory_put(&d, "out/.zarray", "old");
    CHECK(store_stage(&s, directory_path(&d, "out"), true, "who", SPAN_NONE, &err));
    directory_put(&d, "out.sluice-partial/" STAGING_JOURNAL, "what");
    os_faults_set(&(struct os_faults){ .kinds = OS_UNLINK, .forever = true, .how = EIO });
    CHECK(!store_publish(s, &err) && err.code == ERR_IO && strstr(err.message, "cannot remove the old"));
    os_faults_set(NULL);
    CHECK(!directory_has(&d, "out/.zarray") && !directory_has(&d, "out/.sluice-note"));
    CHECK(!directory_has(&d, "out/" STAGING_JOURNAL) && directory_has(&d, "out.sluice-partial/.zarray"));
    CHECK(directory_has(&d, "out.sluice-partial/" STAGING_JOURNAL));
    store_close(s);
    err = (struct error){ 0 };
    CHECK(store_stage_again(&s, directory_path(&d, "out"), true, "who", SPAN_NONE, &err) && s);
    CHECK(store_remove_replaced(s, &err) && !directory_has(&d, "out.sluice-partial"));
    store_close(s);
    directory_remove(&d);
}

/* A death while what is given up is removed must not leave a journal that speaks of it. */
static void test_store__gives_up_its_journal_first_and_its_note_last(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    CHECK(store_stage(&s, directory_path(&d, "out"), false, "who", SPAN_NONE, &err));
    directory_put(&d, "out.sluice-partial/" STAGING_JOURNAL, "what");
    directory_put(&d, "out.sluice-partial/0.0", "chunk");
    os_faults_set(&(struct os_faults){ .kinds = OS_UNLINK, .first = 1, .forever = true, .how = EIO });
    CHECK_EQUAL(store_abandon(s), -EIO);
    os_faults_set(NULL);
    CHECK(!directory_has(&d, "out.sluice-partial/" STAGING_JOURNAL) && directory_has(&d, "out.sluice-partial/0.0"));
    CHECK(directory_has(&d, "out.sluice-partial/.sluice-note"));
    CHECK_EQUAL(store_abandon(s), 0);
    CHECK(!directory_has(&d, "out.sluice-partial"));
    store_close(s);
    directory_remove(&d);
}

static void test_store__gives_an_old_target_that_was_moved_aside_its_name_back(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store_place old;
    struct stat st;
    struct store *s;

    directory_make(&d, "out.sluice-aside");
    directory_put(&d, "out.sluice-aside/.zarray", "old");
    CHECK(stat(directory_path(&d, "out.sluice-aside"), &st) == 0);
    CHECK(store_stage(&s, directory_path(&d, "out"), true, "who", SPAN_NONE, &err));
    old = (struct store_place){ st.st_dev, st.st_ino + 1 };
    CHECK(store_put_back(s, &old) == 0 && !directory_has(&d, "out"));       /* not what stood there */
    old.inode--;
    CHECK(store_put_back(s, &old) == 0 && directory_has(&d, "out/.zarray"));
    CHECK(store_put_back(s, &old) == 0 && !directory_has(&d, "out.sluice-aside"));
    store_abandon(s);
    store_close(s);
    directory_remove(&d);
}

static void test_store__does_not_touch_a_directory_that_no_run_made(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    directory_make(&d, "out.sluice-partial");
    directory_put(&d, "out.sluice-partial/thesis.tex", "ten years");
    CHECK(!store_stage(&s, directory_path(&d, "out"), false, "", SPAN_NONE, &err));
    CHECK_EQUAL(err.code, ERR_EXISTS);
    err = (struct error){ 0 };
    CHECK(!store_stage_again(&s, directory_path(&d, "out"), false, "", SPAN_NONE, &err));
    CHECK_EQUAL(err.code, ERR_EXISTS);
    CHECK(directory_has(&d, "out.sluice-partial/thesis.tex"));
    directory_remove(&d);
}

static void test_store__refuses_outputs_without_a_name(void)
{
    static const char *const paths[] = { "", ".", "..", "/", "//", "a/.." };

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct error err = { 0 };
        struct store *s;

        CHECK(!store_stage(&s, paths[i], true, "", SPAN_NONE, &err));
        CHECK_EQUAL(err.code, ERR_USAGE);
    }
}

static void test_store__takes_paths_relative_to_the_current_directory(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;
    int before = open(".", O_RDONLY | O_DIRECTORY);

    CHECK(chdir(d.path) == 0);
    s = staged("out.zarr", false);
    put(s, "zarr.json", "{}");
    CHECK(fchdir(before) == 0);         /* the store does not care any more */
    CHECK(store_publish(s, &err));
    CHECK(directory_has(&d, "out.zarr/zarr.json"));
    store_close(s);
    close(before);
    directory_remove(&d);
}

enum { MAKERS = 4, OBJECTS_PER_MAKER = 300 };
struct maker { struct store *s; unsigned number; bool ok; };

static void *make_objects(void *argument)
{
    struct maker *maker = argument;
    struct error err = { 0 };
    char key[64];

    maker->ok = true;
    for (unsigned i = 0; i < OBJECTS_PER_MAKER; i++) {
        struct object o;

        snprintf(key, sizeof key, "c/%u/%u/%u", i / 20, i % 20, maker->number);
        maker->ok = maker->ok && store_object_create(maker->s, key, &o, &err) &&
                    store_object_finish(maker->s, &o, NULL, 0, &err);
    }
    return NULL;
}

static void test_store__makes_the_same_directories_from_many_threads(void)
{
    struct directory d = directory_new();
    struct store *s = staged(directory_path(&d, "out"), false);
    struct maker makers[MAKERS];
    pthread_t threads[MAKERS];

    for (unsigned i = 0; i < MAKERS; i++) {
        makers[i] = (struct maker){ .s = s, .number = i };
        CHECK(pthread_create(&threads[i], NULL, make_objects, &makers[i]) == 0);
    }
    for (unsigned i = 0; i < MAKERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(makers[i].ok);
    }
    CHECK_EQUAL(store_objects_made(s), MAKERS * OBJECTS_PER_MAKER);
    store_abandon(s);
    store_close(s);
    directory_remove(&d);
}

static void test_store__sees_outputs_that_overlap_an_input(void)
{
    static const struct { const char *output; bool overlap; } rows[] = {
        { "data/in.zarr", true }, { "data/in.zarr/", true }, { "data/in.zarr/sub/out", true }, { "data", true },
        { "link", true }, { "link/x", true }, { "data/../data/in.zarr/y", true }, { "", true },
        { "data/in.zarr2", false }, { "data/out.zarr", false }, { "other/in.zarr", false }, { "in.zarr", false },
    };
    struct directory d = directory_new();
    struct store *s;

    directory_make(&d, "data");
    directory_make(&d, "data/in.zarr");
    CHECK(symlink("data/in.zarr", directory_path(&d, "link")) == 0);
    s = opened(directory_path(&d, "link"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int overlap = store_paths_overlap(s, directory_path(&d, rows[i].output));

        if (overlap != rows[i].overlap)
            fprintf(stderr, "output '%s':\n", rows[i].output);
        CHECK_EQUAL(overlap, rows[i].overlap);
    }
    store_close(s);
    directory_make(&d, "out.sluice-partial");
    s = opened(directory_path(&d, "out.sluice-partial"));
    CHECK_EQUAL(store_paths_overlap(s, directory_path(&d, "out")), 1);
    store_close(s);
    directory_remove(&d);
}

int main(void)
{
    RUN(test_store__reads_whole_small_objects);
    RUN(test_store__says_what_a_path_is_that_cannot_be_opened);
    RUN(test_store__takes_a_path_through_a_link_and_with_slashes);
    RUN(test_store__tells_missing_from_what_is_no_file);
    RUN(test_store__a_directory_does_not_turn_direct_reads_off);
    RUN(test_store__an_object_that_is_written_to_while_it_is_read_is_told);
    RUN(test_store__a_stamp_is_of_size_time_and_inode);
    RUN(test_store__publishes_at_the_end_and_not_before);
    RUN(test_store__objects_get_their_true_length);
    RUN(test_store__objects_in_parts_tell_what_either_descriptor_lost);
    RUN(test_store__refuses_keys_that_are_too_long);
    RUN(test_store__stages_nothing_without_its_note);
    RUN(test_store__refuses_a_target_that_is_there);
    RUN(test_store__overwrites_a_store_by_exchange);
    RUN(test_store__does_not_overwrite_what_is_no_store);
    RUN(test_store__takes_up_what_a_dead_run_left_but_not_a_living_one);
    RUN(test_store__ends_a_publication_that_a_death_cut_short);
    RUN(test_store__ends_one_in_doubt_where_inodes_do_not_last);
    RUN(test_store__takes_back_what_is_published_to_publish_it_anew);
    RUN(test_store__publishes_nothing_of_ours_when_the_old_tree_stays);
    RUN(test_store__gives_up_its_journal_first_and_its_note_last);
    RUN(test_store__gives_an_old_target_that_was_moved_aside_its_name_back);
    RUN(test_store__does_not_touch_a_directory_that_no_run_made);
    RUN(test_store__refuses_outputs_without_a_name);
    RUN(test_store__takes_paths_relative_to_the_current_directory);
    RUN(test_store__makes_the_same_directories_from_many_threads);
    RUN(test_store__sees_outputs_that_overlap_an_input);
    return test_summary();
}
