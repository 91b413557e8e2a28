/* usage.c - what this process has used, from getrusage and /proc/self/status. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/report/report.h"

/* The kB behind "<name>:" in the text of /proc/self/status, as bytes; 0: not there. */
static uint64_t status_bytes(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    return at ? size_mul_sat(strtoull(at + strlen(name), NULL, 10), KIB) : 0;
}

static void read_status(char *status, size_t capacity)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, status, capacity - 1);

    status[length > 0 ? length : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

void process_usage(struct process_usage *u)
{
    char status[4096];
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    u->user_seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6;
    u->system_seconds = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec * 1e-6;
    read_status(status, sizeof status);
    u->rss_bytes = status_bytes(status, "\nVmRSS:");
    u->rss_peak_bytes = status_bytes(status, "\nVmHWM:");
    if (!u->rss_peak_bytes)     /* no /proc */
        u->rss_peak_bytes = (uint64_t)usage.ru_maxrss * KIB;
}
