/* Which back end is taken, what is said of one that is refused, and what io_uring alone has to do. The contract of both is
 * in test_io.c. */
#include "engine/io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/io/os.h"
#include "tests/unit/test.h"

static bool uring_works;

static void test_io__threads_are_had_when_wanted(void)
{
    struct error err = { 0 };
    struct io_choice choice;

    CHECK(io_choose(&choice, IO_THREADS, &err));
    CHECK_EQUAL(choice.backend, IO_THREADS);
    CHECK(!choice.why[0]);
    CHECK(!strcmp(io_backend_name(IO_THREADS), "threads"));
    CHECK(!strcmp(io_backend_name(IO_URING), "uring"));
    CHECK(io_bytes(IO_THREADS, 1) < io_bytes(IO_THREADS, 64));
    CHECK(io_bytes(IO_URING, 1) < io_bytes(IO_URING, 512));
}

/* Every errno that io_uring_setup is known to answer has its sentence, falls back when left to us, fails when not. */
static void test_io__a_refused_ring_is_said_with_its_reason(void)
{
    static const struct { int how; const char *word; enum error_code code; } cases[] = {
        { EPERM, "seccomp", ERR_USAGE }, { ENOSYS, "no io_uring", ERR_USAGE }, { ENOMEM, "ulimit -l", ERR_FIT },
        { EMFILE, "does not work", ERR_IO },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct os_faults faults = { .kinds = OS_RING, .forever = true, .how = cases[i].how };
        struct error err = { 0 };
        struct io_choice choice;

        os_faults_set(&faults);
        CHECK(io_choose(&choice, IO_AUTO, &err));
        CHECK_EQUAL(choice.backend, IO_THREADS);
        CHECK_EQUAL(err.code, ERR_NONE);
        CHECK(strstr(choice.why, cases[i].word) || (cases[i].how == EPERM && strstr(choice.why, "switched off")));
        CHECK(!io_choose(&choice, IO_URING, &err));
        CHECK_EQUAL(err.code, cases[i].code);
        CHECK(strstr(err.message, cases[i].word) || cases[i].how == EPERM);
        CHECK(err.help[0]);
        os_faults_set(NULL);
    }
}

static bool refuse_call(unsigned call, unsigned sys_errno)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | sys_errno),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child: refuse the call, then choose. Exit status 0: threads, with a reason. */
static void check_under_seccomp(unsigned call, unsigned sys_errno)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        struct error err = { 0 };
        struct io_choice choice;

        if (!refuse_call(call, sys_errno))
            _exit(77);
        if (!io_choose(&choice, IO_AUTO, &err) || choice.backend != IO_THREADS || !choice.why[0])
            _exit(1);
        _exit(io_choose(&choice, IO_URING, &err) ? 2 : 0);
    }
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("seccomp filters are not allowed here");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_io__a_seccomp_profile_that_refuses_gives_threads(void)
{
    check_under_seccomp(SYS_io_uring_setup, EPERM);
}

static void test_io__a_seccomp_profile_that_hides_gives_threads(void)
{
    check_under_seccomp(SYS_io_uring_setup, ENOSYS);
}

/* A child that may no longer enter the ring still gets its completions: a worker that computes between two looks pays
 * nothing for looking. (Entering would abort.) */
static void test_io__looking_for_completions_makes_no_system_call(void)
{
    int status = -1;
    pid_t child;

    if (!uring_works)
        SKIP("io_uring is refused here");
    child = fork();
    if (child == 0) {
        char memory[16];
        int fd = open("/dev/zero", O_RDONLY);
        struct io_request request = { .op = IO_READ, .fd = fd, .memory = memory, .bytes = sizeof memory }, *done;
        struct error err = { 0 };
        unsigned count = 0;
        struct io *io;

        if (!io_open(&io, IO_URING, 1, &err))
            _exit(1);
        io_submit(io, &request);
        if (!refuse_call(SYS_io_uring_enter, EPERM))
            _exit(77);
        for (unsigned i = 0; i < 1000 && !count; i++) {
            usleep(1000);
            count = io_reap(io, &done, 1, false);
        }
        _exit(count == 1 && request.result == sizeof memory && io_reap(io, &done, 1, false) == 0 ? 0 : 2);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("seccomp filters are not allowed here");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A kernel that takes nothing for seconds will not: the request fails, and a worker that sleeps is woken all the same. */
static void test_io__a_ring_that_takes_nothing_is_given_up(void)
{
    struct os_faults faults = { .kinds = OS_ENTER, .forever = true, .how = ENOMEM };
    struct io_request request = { .op = IO_READ, .fd = -1, .bytes = 1 }, *done[1];
    struct error err = { 0 };
    struct io *io;

    if (!uring_works)
        SKIP("io_uring is refused here");
    CHECK(io_open(&io, IO_URING, 4, &err));
    os_faults_set(&faults);
    io_wake(io);
    CHECK_EQUAL(io_reap(io, done, 1, true), 0);
    io_submit(io, &request);
    CHECK_EQUAL(io_reap(io, done, 1, true), 1);
    CHECK(done[0] == &request && request.result == -ENOMEM && os_faults_hit() > 2);
    os_faults_set(NULL);
    io_wake(io);                        /* and it goes on when the kernel does */
    CHECK_EQUAL(io_reap(io, done, 1, true), 0);
    io_close(io);
}

int main(void)
{
    struct error err = { 0 };
    struct io_choice choice;

    setvbuf(stdout, NULL, _IOLBF, 0);
    uring_works = io_choose(&choice, IO_AUTO, &err) && choice.backend == IO_URING;
    RUN(test_io__threads_are_had_when_wanted);
    RUN(test_io__a_refused_ring_is_said_with_its_reason);
    RUN(test_io__a_ring_that_takes_nothing_is_given_up);
    RUN(test_io__a_seccomp_profile_that_refuses_gives_threads);
    RUN(test_io__a_seccomp_profile_that_hides_gives_threads);
    RUN(test_io__looking_for_completions_makes_no_system_call);
    return test_summary();
}
