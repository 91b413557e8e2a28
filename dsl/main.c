/* The program: malloc's settings, limits, signals, and then commands.c. Nothing else may call exit. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dsl/commands.h"
#include "engine/io/os.h"

/* Handlers can reach only what is global. */
static struct stop_request stop;

/* In a signal handler: nothing but write(2). A progress line may stand there, so a new one is begun. */
static void say(const char *words, size_t length)
{
    ssize_t ignored = write(STDERR_FILENO, words, length);

    (void)ignored;
}

/* Before anything is begun, one is enough. Then the first asks, and the second insists. */
static void on_signal(int number)
{
    static const char stopping[] = "\nstopping...\n";
    static const char stopped[] = "\nstopped at once: what is named .sluice-partial and .sluice-scratch may be left "
                                  "beside the output; the same command continues\n";
    int saved_errno = errno;

    if (!stop.is_heeded)
        _exit(128 + number);
    if (__atomic_exchange_n(&stop.signal, number, __ATOMIC_RELAXED)) {
        say(stopped, sizeof stopped - 1);
        _exit(128 + number);
    }
    say(stopping, sizeof stopping - 1);
    errno = saved_errno;
}

/* Where one of the three is closed, the next file that is opened gets its number, and what is then said would be
 * written into that file. Something that takes no reads and no writes stands there instead. */
static void hold_standard_descriptors(void)
{
    int fd;

    do {
        fd = os_open("/", O_PATH | O_CLOEXEC, 0);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        os_close(fd);
}

static void set_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);      /* a closed pipe is an error of the write, with a message */
    sigaction(SIGXFSZ, &action, NULL);      /* likewise a file over the limit */
}

/* Chunk-sized memory is in the pool, and most codecs' contexts too; what is left to malloc is what blosclz, snappy and
 * deflate take, up to a few MiB for each worker. One arena: with more, each keeps the peak of its own (64 threads kept
 * 778 MiB after everything had been freed). A threshold as high as glibc takes (32 MiB): below it a temporary is a
 * piece of the heap that was touched before, above it an mmap that faults page by page every time. Trimming as late
 * as that, for the same reason. */
static void set_malloc(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

/* Every read and write under way has a file open: some twenty for each worker, and the usual limit is 1,024. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    set_malloc();
    raise_file_limit();
    set_signals();
    return command_main(argc, argv, &stop);
}
