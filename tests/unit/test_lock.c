/* Two runs of one target, where the file system has no locks of its own (the seam refuses flock). */
#include "engine/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "engine/store/owner.h"
#include "tests/unit/directory.h"
#include "tests/unit/test.h"

static const struct os_faults no_locks = { .absent = OS_LOCK }, no_links = { .absent = OS_LOCK | OS_LINK };
static const struct os_faults *const lacking[] = { &no_locks, &no_links };

/* A run that takes up what is there, or begins. NULL: refused, or failed. */
static struct store *run_begins(const struct directory *d, struct error *err)
{
    const char *path = directory_path(d, "out");
    struct store *s = NULL;

    if (!store_stage_again(&s, path, true, "who", SPAN_NONE, err))
        return NULL;
    if (!s && !store_stage(&s, path, true, "who", SPAN_NONE, err))
        return NULL;
    return s;
}

static void put_owner(const struct directory *d, const char *name, const struct owner *o)
{
    char text[OWNER_TEXT_BYTES];

    owner_write(o, text);
    directory_put(d, name, text);
}

/* What belongs to the lock: the file, guards, what is to become one of those. */
static unsigned lock_names(const struct directory *d)
{
    DIR *listing = opendir(directory_path(d, "."));
    struct dirent *entry;
    unsigned count = 0;

    while (listing && (entry = readdir(listing)))
        count += strncmp(entry->d_name, "out.sluice-lock", strlen("out.sluice-lock")) == 0;
    closedir(listing);
    return count;
}

/* There is no lock file, or one that says all that it is to say. */
static bool is_never_half(const struct directory *d)
{
    char text[OWNER_TEXT_BYTES] = "";
    int fd = open(directory_path(d, "out.sluice-lock"), O_RDONLY);
    struct owner o;

    if (fd < 0)
        return errno == ENOENT;
    CHECK(read(fd, text, sizeof text - 1) >= 0);
    close(fd);
    return owner_read(&o, text);
}

/* In another process: `work` with `faults`, which may kill it. True: it came to its end and was content. */
static bool in_child(bool (*work)(const struct directory *), const struct directory *d, const struct os_faults *faults)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        os_faults_set(faults);
        _exit(work(d) ? 0 : 3);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool die_at_work(const struct directory *d)
{
    struct error err = { 0 };

    run_begins(d, &err);
    raise(SIGKILL);
    return false;
}

static void test_lock__a_file_tells_the_second_run_of_the_first(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *first, *second;
    char process[40];

    os_faults_set(&no_locks);
    first = run_begins(&d, &err);
    CHECK(first && directory_has(&d, "out.sluice-lock"));
    CHECK(store_took_over(first)[0] == '\0');
    second = run_begins(&d, &err);
    CHECK(!second);
    CHECK_EQUAL(err.code, ERR_EXISTS);
    snprintf(process, sizeof process, "it is process %ld on ", (long)getpid());
    CHECK(err.note_count == 1 && strstr(err.notes[0], process) && strstr(err.notes[0], ", since 2"));
    CHECK(store_abandon(first) == 0);
    store_close(first);
    CHECK(!directory_has(&d, "out.sluice-lock"));
    os_faults_set(NULL);
    directory_remove(&d);
}

/* Mounts of one file system differ: on some nodes of a cluster Lustre has locks, on others not. */
static void test_lock__a_file_is_heeded_where_there_are_locks(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *first;

    os_faults_set(&no_locks);
    first = run_begins(&d, &err);
    CHECK(first != NULL);
    os_faults_set(NULL);
    CHECK(!run_begins(&d, &err));
    CHECK_EQUAL(err.code, ERR_EXISTS);
    store_close(first);
    directory_remove(&d);
}

static void test_lock__of_a_dead_process_is_taken_over_and_that_is_said(void)
{
    for (unsigned locks = 0; locks < 2; locks++) {
        struct directory d = directory_new();
        struct error err = { 0 };
        struct text what;
        struct store *s;

        in_child(die_at_work, &d, &no_locks);
        CHECK(directory_has(&d, "out.sluice-lock"));
        os_faults_set(locks ? NULL : &no_locks);
        s = run_begins(&d, &err);
        CHECK(s && strstr(store_took_over(s), "a run that is dead") && strstr(store_took_over(s), "it is process "));
        CHECK(store_abandon(s) == 0);
        store_close(s);
        CHECK(!directory_has(&d, "out.sluice-lock") && !directory_has(&d, "out.sluice-partial"));

        in_child(die_at_work, &d, &no_locks);       /* and if there is nothing else of it */
        CHECK(rmdir(directory_path(&d, "out.sluice-partial")) != 0);
        os_remove_tree(AT_FDCWD, directory_path(&d, "out.sluice-partial"));
        text_init(&what, 1000);
        CHECK(store_clean_lock(directory_path(&d, "out"), SPAN_NONE, &what, &err));
        CHECK(strstr(what.chars, "a run that is dead") && !directory_has(&d, "out.sluice-lock"));
        text_clear(&what);
        CHECK(store_clean_lock(directory_path(&d, "out"), SPAN_NONE, &what, &err) && what.length == 0);
        text_release(&what);
        os_faults_set(NULL);
        directory_remove(&d);
    }
}

static void test_lock__of_another_host_is_refused_with_what_to_remove(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct owner o;
    struct text what;

    owner_now(&o);
    strcpy(o.host, "node7");
    strcpy(o.boot, "11111111-2222-3333-4444-555555555555");
    strcpy(o.job, "4711");
    put_owner(&d, "out.sluice-lock", &o);
    os_faults_set(&no_locks);
    CHECK(!run_begins(&d, &err));
    CHECK_EQUAL(err.code, ERR_EXISTS);
    CHECK(strstr(err.notes[0], "on node7, Slurm job 4711, since ") && strstr(err.help, "out.sluice-lock'"));
    CHECK(directory_has(&d, "out.sluice-lock"));
    err = (struct error){ 0 };
    text_init(&what, 1000);
    CHECK(!store_clean_lock(directory_path(&d, "out"), SPAN_NONE, &what, &err) && what.length == 0);
    CHECK_EQUAL(err.code, ERR_EXISTS);
    text_release(&what);
    CHECK(directory_has(&d, "out.sluice-lock"));
    os_faults_set(NULL);
    directory_remove(&d);
}

/* What of ourselves differs in the lock file, and what is to be made of it. */
static void test_lock__whoever_may_be_alive_is_believed_to_be(void)
{
    static const char other_boot[] = "11111111-2222-3333-4444-555555555555";
    struct owner us, o;

    owner_now(&us);
    CHECK_EQUAL(owner_state(&us), OWNER_WORKS);
    o = us, o.pid_began++;                          /* the number is another's now */
    CHECK_EQUAL(owner_state(&o), OWNER_GONE);
    o = us, o.pid = INT32_MAX;
    CHECK_EQUAL(owner_state(&o), OWNER_GONE);
    o = us, o.pid_space++;                          /* a container beside ours */
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);
    o = us, strcpy(o.boot, other_boot);             /* this machine, before it was started anew, if it says which it is */
    CHECK_EQUAL(owner_state(&o), us.machine[0] ? OWNER_GONE : OWNER_ELSEWHERE);
    strcpy(o.machine, "another");
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);
    o = us, strcpy(o.boot, other_boot), strcpy(o.host, "node7");
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);
    o = us, strcpy(o.boot, other_boot), o.machine[0] = '\0';
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);
    o = us, o.boot[0] = '\0';
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);

    o = us, strcpy(o.boot, other_boot), strcpy(o.host, "node7"), strcpy(o.job, "4711");
    setenv("SLURM_JOB_ID", "4711", 1);
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);  /* another task of the job */
    setenv("SLURM_RESTART_COUNT", "1", 1);
    CHECK_EQUAL(owner_state(&o), OWNER_ELSEWHERE);  /* a node that was lost may still write */
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
}

static void test_lock__a_text_that_is_torn_or_foreign_is_no_owner(void)
{
    char text[OWNER_TEXT_BYTES], torn[OWNER_TEXT_BYTES];
    struct owner o, read;

    owner_now(&o);
    owner_write(&o, text);
    CHECK(owner_read(&read, text) && memcmp(&read, &o, sizeof o) == 0);
    for (size_t length = 0; length < strlen(text); length++) {
        snprintf(torn, sizeof torn, "%.*s", (int)length, text);
        CHECK(!owner_read(&read, torn));
    }
    CHECK(!owner_read(&read, "\nhost=x\npid=0x7\nend\n"));
}

/* What is published stays: who died after that has only left his lock. */
static bool run_to_its_end(const struct directory *d)
{
    struct error err = { 0 };
    struct store *s;
    struct text what;
    bool ok;

    if (directory_has(d, "out")) {
        text_init(&what, 1000);
        ok = store_clean_lock(directory_path(d, "out"), SPAN_NONE, &what, &err);
        text_release(&what);
        return ok;
    }
    s = run_begins(d, &err);
    if (!s) {
        error_print(&err, stderr);
        return false;
    }
    ok = store_put(s, ".zarray", "{}", 2, &err) && store_publish(s, &err);
    store_close(s);
    return ok;
}

/* The first run dies before its n-th call, the second and third, too: while they take over what is left. */
static void dying_at_any_call_keeps_nobody_out(unsigned absent)
{
    bool ended = false;

    for (uint64_t n = 0; !ended && n < 1000; n++) {
        struct os_faults kill = { .absent = absent, .kinds = OS_EVERY_KIND, .first = n, .how = OS_FAULT_KILL };
        struct directory d = directory_new();

        ended = in_child(run_to_its_end, &d, &kill);
        CHECK(is_never_half(&d) || (absent & OS_LINK));
        in_child(run_to_its_end, &d, &kill);
        in_child(run_to_its_end, &d, &kill);
        CHECK(is_never_half(&d) || (absent & OS_LINK));
        CHECK(in_child(run_to_its_end, &d, absent & OS_LINK ? &no_links : &no_locks));
        CHECK(directory_has(&d, "out/.zarray"));
        CHECK_EQUAL(lock_names(&d), 0);
        directory_remove(&d);
    }
    CHECK(ended);
}

static void test_lock__dying_at_any_call_keeps_nobody_out(void)
{
    dying_at_any_call_keeps_nobody_out(OS_LOCK);
}

static void test_lock__nor_does_it_where_files_cannot_be_linked(void)
{
    dying_at_any_call_keeps_nobody_out(OS_LOCK | OS_LINK);
}

static bool no_call_failed(const struct directory *d)
{
    struct error err = { 0 };
    struct store *s = run_begins(d, &err);
    bool ok = s && store_put(s, ".zarray", "{}", 2, &err) && store_publish(s, &err);

    store_close(s);
    if (!ok && err.code == ERR_NONE)
        directory_put(d, "failed without a word", "");
    return os_faults_hit() == 0;
}

/* A call that fails ends in an error; after that nobody is kept out, and what is published is there. */
static void test_lock__calls_that_fail_keep_nobody_out(void)
{
    bool ended = false;

    for (uint64_t n = 0; !ended && n < 1000; n++) {
        struct os_faults fault = { .absent = OS_LOCK, .kinds = OS_EVERY_KIND, .first = n, .how = EIO };
        struct directory d = directory_new();

        in_child(die_at_work, &d, &no_locks);
        ended = in_child(no_call_failed, &d, &fault);
        CHECK(!directory_has(&d, "failed without a word"));
        CHECK(in_child(run_to_its_end, &d, &no_locks));
        CHECK(directory_has(&d, "out/.zarray"));
        CHECK_EQUAL(lock_names(&d), 0);
        directory_remove(&d);
    }
    CHECK(ended);
}

enum { RUNS = 6, ROUNDS = 40 };

/* Holds the target for a moment; with a status of its own if somebody else does. */
static bool hold_for_a_moment(const struct directory *d)
{
    struct error err = { 0 };
    struct store *s = run_begins(d, &err);
    int marker;

    if (!s)
        return err.code == ERR_EXISTS;
    marker = open(directory_path(d, "held"), O_CREAT | O_EXCL | O_WRONLY, 0600);
    usleep(500);
    if (marker < 0 || unlink(directory_path(d, "held")) < 0)
        return false;
    store_abandon(s);
    store_close(s);
    return true;
}

/* Of two dead runs, the second of which had the right to take over from the first. */
static void leave_a_guard(const struct directory *d, unsigned absent)
{
    struct os_faults kill = { .absent = absent, .kinds = OS_RENAME, .how = OS_FAULT_KILL };

    in_child(die_at_work, d, &kill);
    in_child(die_at_work, d, &kill);
    CHECK_EQUAL(lock_names(d), 3);
}

static void test_lock__of_those_that_find_dead_runs_one_at_a_time_is_let_in(void)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct os_faults *faults = lacking[round % 2];
        struct directory d = directory_new();
        pid_t runs[RUNS];
        int status;

        if (round % 4 < 2)
            leave_a_guard(&d, faults->absent);
        else
            in_child(die_at_work, &d, faults);
        for (unsigned i = 0; i < RUNS; i++)
            if ((runs[i] = fork()) == 0) {
                os_faults_set(faults);
                _exit(hold_for_a_moment(&d) ? 0 : 3);
            }
        for (unsigned i = 0; i < RUNS; i++) {
            CHECK(waitpid(runs[i], &status, 0) == runs[i]);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        CHECK_EQUAL(lock_names(&d), 0);
        directory_remove(&d);
    }
}

/* A run that stops at the place (NULL: nowhere). If it is let in it makes the file `name` and stays. */
static pid_t start_with(const struct directory *d, const char *name, const char *place, const struct os_faults *faults)
{
    pid_t run = fork();
    struct error err = { 0 };
    int status;

    if (run == 0) {
        if (place)
            setenv("SLUICE_DIE_AT", place, 1);
        os_faults_set(faults);
        if (!run_begins(d, &err))
            _exit(3);
        directory_put(d, name, "");
        pause();
    }
    if (place)
        CHECK(waitpid(run, &status, WUNTRACED) == run && WIFSTOPPED(status));
    return run;
}

static pid_t start(const struct directory *d, const char *name, const char *place)
{
    return start_with(d, name, place, &no_locks);
}

static void end(pid_t run)
{
    kill(run, SIGKILL);
    waitpid(run, NULL, 0);
}

static bool is_let_in(const struct directory *d, const char *name, unsigned tenths)
{
    while (!directory_has(d, name) && tenths-- > 0)
        usleep(100000);
    return directory_has(d, name);
}

/* Refused, or let in while another one is. */
static bool is_refused(pid_t run)
{
    int status;

    for (unsigned tenths = 0; tenths < 50; tenths++) {
        if (waitpid(run, &status, WNOHANG) == run)
            return WIFEXITED(status) && WEXITSTATUS(status) == 3;
        usleep(100000);
    }
    return false;
}

/* It saw a dead run, or that another died taking over from that one, and somebody else has taken it over since; or what it
 * was about to link, or to write, is another's name by now. Where files cannot be linked a file that was only just made is
 * taken for a dead run's when it stays empty for so long. */
static void test_lock__who_was_held_up_does_not_take_it_from_the_next(void)
{
    static const struct {
        const char *place;
        unsigned dead;
        const struct os_faults *faults;
    } cases[] = {
        { "before-guard:1:stop", 1, &no_locks }, { "before-guard:1:stop", 1, &no_links },
        { "before-guard:2:stop", 2, &no_locks }, { "before-guard:2:stop", 2, &no_links },
        { "before-guard:3:stop", 3, &no_locks }, { "before-lock:1:stop", 0, &no_locks },
        { "before-write:1:stop", 0, &no_locks }, { "before-lock:1:stop", 0, &no_links },
        { "before-write:2:stop", 0, &no_links },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct directory d = directory_new();
        bool in_place = cases[i].faults == &no_links && cases[i].dead == 0 && strstr(cases[i].place, "write");
        pid_t slow, next;

        for (unsigned dead = 0; dead < cases[i].dead; dead++)
            if (dead == 0)
                in_child(die_at_work, &d, cases[i].faults);
            else
                end(start_with(&d, "dead", "before-takeover:1:stop", cases[i].faults));
        slow = start_with(&d, "slow", cases[i].place, cases[i].faults);
        next = start_with(&d, "next", NULL, cases[i].faults);
        if (in_place)
            CHECK(!is_let_in(&d, "next", 5));       /* whoever makes a file may be about to write it */
        CHECK(is_let_in(&d, "next", 50));
        kill(slow, SIGCONT);
        CHECK(is_refused(slow));
        CHECK(!directory_has(&d, "slow") && is_never_half(&d));
        end(next);
        end(slow);
        directory_remove(&d);
    }
}

static void test_lock__while_one_takes_over_the_next_waits(void)
{
    struct directory d = directory_new();
    pid_t slow, next;

    in_child(die_at_work, &d, &no_locks);
    slow = start(&d, "slow", "before-takeover:1:stop");
    next = start(&d, "next", NULL);
    CHECK(!is_let_in(&d, "next", 3));
    kill(slow, SIGCONT);
    CHECK(is_let_in(&d, "slow", 50));
    CHECK(is_refused(next));
    end(slow);
    end(next);
    directory_remove(&d);
}

static void test_lock__that_is_another_runs_by_now_is_not_given_back(void)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;

    os_faults_set(&no_locks);
    s = run_begins(&d, &err);
    CHECK(s);
    directory_put(&d, "out.sluice-lock", "of another run");
    store_close(s);
    os_faults_set(NULL);
    CHECK(directory_has(&d, "out.sluice-lock"));
    directory_remove(&d);
}

int main(void)
{
    /* First: a process asks once where to stop, and those that it forks know. */
    RUN(test_lock__who_was_held_up_does_not_take_it_from_the_next);
    RUN(test_lock__while_one_takes_over_the_next_waits);
    RUN(test_lock__a_file_tells_the_second_run_of_the_first);
    RUN(test_lock__a_file_is_heeded_where_there_are_locks);
    RUN(test_lock__of_a_dead_process_is_taken_over_and_that_is_said);
    RUN(test_lock__of_another_host_is_refused_with_what_to_remove);
    RUN(test_lock__whoever_may_be_alive_is_believed_to_be);
    RUN(test_lock__a_text_that_is_torn_or_foreign_is_no_owner);
    RUN(test_lock__dying_at_any_call_keeps_nobody_out);
    RUN(test_lock__nor_does_it_where_files_cannot_be_linked);
    RUN(test_lock__calls_that_fail_keep_nobody_out);
    RUN(test_lock__that_is_another_runs_by_now_is_not_given_back);
    RUN(test_lock__of_those_that_find_dead_runs_one_at_a_time_is_let_in);
    return test_summary();
}
