/* directory.h - a directory of one test: made under $TMPDIR, filled with small files, removed at the end. */
#ifndef SLUICE_TESTS_DIRECTORY_H
#define SLUICE_TESTS_DIRECTORY_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/io/os.h"

struct directory {
    char path[256];
};

static inline struct directory directory_new(void)
{
    struct directory d;
    const char *where = getenv("TMPDIR");

    snprintf(d.path, sizeof d.path, "%s/sluice-test-XXXXXX", where ? where : "/tmp");
    if (!mkdtemp(d.path)) {
        perror(d.path);
        abort();
    }
    return d;
}

static inline void directory_remove(const struct directory *d)
{
    os_remove_tree(AT_FDCWD, d->path);
}

/* "<directory>/<name>", in one of a few buffers that are used in turn. */
static inline const char *directory_path(const struct directory *d, const char *name)
{
    static char buffers[8][1024];
    static unsigned turn;
    char *buffer = buffers[turn++ % 8];

    snprintf(buffer, sizeof buffers[0], "%s/%s", d->path, name);
    return buffer;
}

static inline void directory_make(const struct directory *d, const char *name)
{
    if (mkdir(directory_path(d, name), 0777) < 0) {
        perror(name);
        abort();
    }
}

/* A file with these bytes; its directory is there. */
static inline void directory_put_bytes(const struct directory *d, const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(directory_path(d, name), "w");

    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file)) {
        perror(name);
        abort();
    }
}

static inline void directory_put(const struct directory *d, const char *name, const char *chars)
{
    directory_put_bytes(d, name, chars, strlen(chars));
}

static inline bool directory_has(const struct directory *d, const char *name)
{
    struct stat st;

    return lstat(directory_path(d, name), &st) == 0;
}

/* With the one that counts; to be compared with another count. */
static inline unsigned descriptors_open(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

#endif
