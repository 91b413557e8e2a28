/* See faults.h. Each __wrap_X stands for the X of the C library in all objects linked here. */
#include "tests/fault/faults.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long held;

long faults_memory_held(void)
{
    return atomic_load(&held);
}

/* ---- words ---- */

static const char *const kind_names[] = {
    "open", "openat2", "read", "write", "truncate", "fallocate", "stat", "mkdir", "unlink", "rename", "renameat2", "sync",
    "ring", "enter", "punch", "lock", "close", "direct", "memory", "list", "thread", "flags",
    "link", "mount",
};

static const struct { const char *name; int how; } hows[] = {
    { "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT }, { "EINTR", EINTR }, { "EAGAIN", EAGAIN },
    { "ENOMEM", ENOMEM }, { "EMFILE", EMFILE }, { "EPERM", EPERM }, { "ENOSYS", ENOSYS }, { "EINVAL", EINVAL },
    { "EOPNOTSUPP", EOPNOTSUPP }, { "EBUSY", EBUSY }, { "EROFS", EROFS }, { "EFBIG", EFBIG },
    { "short", OS_FAULT_SHORT }, { "zero", OS_FAULT_ZERO }, { "kill", OS_FAULT_KILL },
};

unsigned faults_kinds(const char *words)
{
    unsigned kinds = 0;

    while (*words) {
        size_t length = strcspn(words, ","), i;

        for (i = 0; i < sizeof kind_names / sizeof kind_names[0]; i++)
            if (strncmp(kind_names[i], words, length) == 0 && kind_names[i][length] == '\0')
                break;
        if (i == sizeof kind_names / sizeof kind_names[0])
            return 0;
        kinds |= 1u << i;
        words += length + (words[length] == ',');
    }
    return kinds;
}

int faults_how(const char *word)
{
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++)
        if (strcmp(hows[i].name, word) == 0)
            return hows[i].how;
    return 0;
}

const char *faults_how_name(int how)
{
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++)
        if (hows[i].how == how)
            return hows[i].name;
    return "?";
}

bool faults_parse(const char *words, struct os_faults *out)
{
    char kinds[256], number[32], how[16], *end;

    *out = (struct os_faults){ 0 };
    if (sscanf(words, "%255[a-z0-9,]:%31[0-9+]:%15s", kinds, number, how) == 3) {
        out->kinds = faults_kinds(kinds);
        out->first = strtoull(number, &end, 10);
        out->forever = *end == '+';
        out->how = faults_how(how);
        return out->kinds && out->how;
    }
    if (sscanf(words, "%255[a-z0-9,]:%15s", kinds, how) == 2 && strcmp(how, "absent") == 0)
        out->absent = faults_kinds(kinds);
    return out->absent != 0;
}

__attribute__((constructor)) static void take_environment(void)
{
    static struct os_faults faults;
    const char *words = getenv("SLUICE_FAULT");

    if (!words)
        return;
    if (!faults_parse(words, &faults)) {
        fprintf(stderr, "SLUICE_FAULT=%s: not understood\n", words);
        exit(2);
    }
    os_faults_set(&faults);
}

/* ---- wraps ---- */

static bool refused(enum os_kind kind)
{
    int how = os_fault(kind);

    if (how > 0)
        errno = how;
    return how > 0;
}

static void *hold(void *memory)
{
    if (memory)
        atomic_fetch_add(&held, 1);
    return memory;
}

#define WRAP(result, name, ...) \
    result __real_##name(__VA_ARGS__); \
    result __wrap_##name(__VA_ARGS__); \
    result __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t bytes)
{
    return refused(OS_MEMORY) ? NULL : hold(__real_malloc(bytes));
}

WRAP(void *, calloc, size_t count, size_t bytes)
{
    return refused(OS_MEMORY) ? NULL : hold(__real_calloc(count, bytes));
}

WRAP(void *, realloc, void *memory, size_t bytes)
{
    if (refused(OS_MEMORY))
        return NULL;
    return memory ? __real_realloc(memory, bytes) : hold(__real_realloc(NULL, bytes));
}

WRAP(void *, aligned_alloc, size_t align, size_t bytes)
{
    return refused(OS_MEMORY) ? NULL : hold(__real_aligned_alloc(align, bytes));
}

WRAP(void, free, void *memory)
{
    if (memory)
        atomic_fetch_sub(&held, 1);
    __real_free(memory);
}

WRAP(char *, strdup, const char *chars)
{
    return refused(OS_MEMORY) ? NULL : hold(__real_strdup(chars));
}

WRAP(char *, strndup, const char *chars, size_t length)
{
    return refused(OS_MEMORY) ? NULL : hold(__real_strndup(chars, length));
}

WRAP(int, vasprintf, char **to, const char *format, va_list args)
{
    int length = refused(OS_MEMORY) ? -1 : __real_vasprintf(to, format, args);

    if (length >= 0)
        hold(*to);
    return length;
}

int __wrap_asprintf(char **to, const char *format, ...);
int __wrap_asprintf(char **to, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = __wrap_vasprintf(to, format, args);
    va_end(args);
    return length;
}

/* The buffer is the caller's once the stream is closed. */
WRAP(FILE *, open_memstream, char **to, size_t *bytes)
{
    return refused(OS_MEMORY) ? NULL : hold(__real_open_memstream(to, bytes));
}

WRAP(char *, realpath, const char *path, char *to)
{
    if (refused(OS_MEMORY))
        return NULL;
    return to ? __real_realpath(path, to) : hold(__real_realpath(path, NULL));
}

WRAP(FILE *, fdopen, int fd, const char *mode)
{
    return refused(OS_MEMORY) ? NULL : __real_fdopen(fd, mode);
}

WRAP(FILE *, fopen, const char *path, const char *mode)
{
    return refused(OS_OPEN) ? NULL : __real_fopen(path, mode);
}

WRAP(DIR *, fdopendir, int fd)
{
    return refused(OS_MEMORY) ? NULL : __real_fdopendir(fd);
}

WRAP(struct dirent *, readdir, DIR *dir)
{
    return refused(OS_LIST) ? NULL : __real_readdir(dir);
}

WRAP(void *, mmap, void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return refused(OS_MEMORY) ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

WRAP(int, eventfd, unsigned value, int flags)
{
    return refused(OS_OPEN) ? -1 : __real_eventfd(value, flags);
}

WRAP(int, memfd_create, const char *name, unsigned flags)
{
    return refused(OS_OPEN) ? -1 : __real_memfd_create(name, flags);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    int how = os_fault(OS_THREAD);

    return how > 0 ? how : __real_pthread_create(thread, attributes, run, argument);
}
