/* host.c - the least of all limits that a Linux process is under.
 *
 * cgroup v2: /proc/self/cgroup names our group on its "0::" line; memory.max and cpu.max of it and of every group
 * above count. v1: one line for each controller, below /sys/fs/cgroup/<controller>. In a container the path named
 * may not be visible: then only what can be read counts (the mount's root is our own group). Slurm: the environment
 * it sets for each job (sbatch(1)): memory in MB.
 */
#include "planner/host.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/system_text.h"

enum { FILE_BYTES_MAX = 16384, PATH_BYTES_MAX = 1024 };

/* v1 writes "no limit" as the largest multiple of a page. */
#define CGROUP_UNLIMITED ((uint64_t)1 << 60)

/* A small file below `root`, NUL-terminated. False: not there. */
static bool read_small(const char *root, const char *path, char *text, size_t text_bytes)
{
    char full[PATH_BYTES_MAX];

    return (size_t)snprintf(full, sizeof full, "%s%s", root, path) < sizeof full && system_text(full, text, text_bytes);
}

static void limit_memory(struct host *h, uint64_t bytes, bool dedicated, const char *from, const char *detail)
{
    if (bytes >= h->available_bytes)
        return;
    h->available_bytes = bytes;
    h->dedicated = dedicated;
    snprintf(h->available_from, sizeof h->available_from, "%s%s%.60s", from, *detail ? " " : "", detail);
}

static void limit_threads(struct host *h, uint64_t threads, const char *from)
{
    if (threads < 1)
        threads = 1;
    if (threads >= h->threads)
        return;
    h->threads = (unsigned)threads;
    snprintf(h->threads_from, sizeof h->threads_from, "%s", from);
}

/* ---- the machine ---- */

static void look_meminfo(struct host *h, const char *root)
{
    char text[FILE_BYTES_MAX];
    const char *line;

    if (!read_small(root, "/proc/meminfo", text, sizeof text) || !(line = strstr(text, "MemAvailable:")))
        return;
    limit_memory(h, size_mul_sat(strtoull(line + strlen("MemAvailable:"), NULL, 10), KIB), false, "MemAvailable", "");
}

static void look_process(struct host *h)
{
    struct rlimit limit;
    cpu_set_t set;

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        limit_memory(h, limit.rlim_cur, false, "RLIMIT_AS (ulimit -v)", "");
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        limit_threads(h, (uint64_t)CPU_COUNT(&set), "affinity");
    else
        limit_threads(h, (uint64_t)sysconf(_SC_NPROCESSORS_ONLN), "processors");
}

/* ---- Slurm ---- */

static uint64_t environment_number(const char *name)
{
    const char *value = getenv(name);

    return value && *value >= '0' && *value <= '9' ? strtoull(value, NULL, 10) : 0;
}

static void look_slurm(struct host *h)
{
    uint64_t per_node = environment_number("SLURM_MEM_PER_NODE"), per_cpu = environment_number("SLURM_MEM_PER_CPU");
    uint64_t cpus = environment_number("SLURM_CPUS_PER_TASK"), node_cpus = environment_number("SLURM_CPUS_ON_NODE");

    if (per_node)
        limit_memory(h, size_mul_sat(per_node, MIB), true, "SLURM_MEM_PER_NODE", "");
    else if (per_cpu)
        limit_memory(h, size_mul_sat(size_mul_sat(per_cpu, node_cpus ? node_cpus : cpus ? cpus : 1), MIB), true,
                     "SLURM_MEM_PER_CPU", "");
    if (cpus)
        limit_threads(h, cpus, "SLURM_CPUS_PER_TASK");
}

/* ---- cgroups ---- */

static void cgroup_memory(struct host *h, const char *root, const char *directory, const char *file,
                          const char *group)
{
    char path[PATH_BYTES_MAX], text[64], *end;
    uint64_t bytes;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, file) >= sizeof path ||
        !read_small(root, path, text, sizeof text))
        return;
    bytes = strtoull(text, &end, 10);
    if (end == text || bytes >= CGROUP_UNLIMITED)
        return;
    h->cgroup_limit_bytes = size_min(h->cgroup_limit_bytes, bytes);
    limit_memory(h, bytes, true, "cgroup", *group ? group : "/");
}

static void quota_limit(struct host *h, uint64_t quota, uint64_t period)
{
    if (quota && period)
        limit_threads(h, size_div_up(quota, period), "cgroup cpu quota");
}

static void cgroup_cpu_v2(struct host *h, const char *root, const char *directory)
{
    char path[PATH_BYTES_MAX], text[64], *end;
    uint64_t quota;

    if ((size_t)snprintf(path, sizeof path, "%s/cpu.max", directory) >= sizeof path ||
        !read_small(root, path, text, sizeof text))
        return;
    quota = strtoull(text, &end, 10);
    if (end != text)
        quota_limit(h, quota, strtoull(end, NULL, 10));
}

static void cgroup_cpu_v1(struct host *h, const char *root, const char *directory)
{
    char path[PATH_BYTES_MAX], quota[64], period[64];

    if ((size_t)snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory) >= sizeof path ||
        !read_small(root, path, quota, sizeof quota) || quota[0] == '-' ||
        (size_t)snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory) >= sizeof path ||
        !read_small(root, path, period, sizeof period))
        return;
    quota_limit(h, strtoull(quota, NULL, 10), strtoull(period, NULL, 10));
}

enum controller { CONTROL_ALL, CONTROL_MEMORY, CONTROL_CPU };

/* Our group and every one above it, up to the mount's root. */
static void walk_up(struct host *h, const char *root, const char *mount, const char *group, enum controller what)
{
    char at[PATH_BYTES_MAX], directory[PATH_BYTES_MAX];

    if (strcmp(group, "/") == 0)
        group = "";
    if (strstr(group, "..") || (size_t)snprintf(at, sizeof at, "%s", group) >= sizeof at)
        at[0] = '\0';
    for (;;) {
        if ((size_t)snprintf(directory, sizeof directory, "%s%s", mount, at) < sizeof directory) {
            if (what == CONTROL_ALL) {
                cgroup_memory(h, root, directory, "memory.max", at);
                cgroup_cpu_v2(h, root, directory);
            } else if (what == CONTROL_MEMORY) {
                cgroup_memory(h, root, directory, "memory.limit_in_bytes", at);
            } else {
                cgroup_cpu_v1(h, root, directory);
            }
        }
        if (!at[0])
            return;
        *strrchr(at, '/') = '\0';
    }
}

/* Is `name` one of a comma-separated list? */
static bool lists(const char *list, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = list; (at = strstr(at, name)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == '\0' || at[length] == ','))
            return true;
    return false;
}

static void look_cgroups(struct host *h, const char *root)
{
    char text[FILE_BYTES_MAX], mount[PATH_BYTES_MAX], *save = NULL;

    if (!read_small(root, "/proc/self/cgroup", text, sizeof text))
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!group || group[1] != '/')
            continue;
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0') {
            walk_up(h, root, "/sys/fs/cgroup", group, CONTROL_ALL);
            walk_up(h, root, "/sys/fs/cgroup/unified", group, CONTROL_ALL);
            continue;
        }
        if (lists(controllers, "memory"))
            walk_up(h, root, "/sys/fs/cgroup/memory", group, CONTROL_MEMORY);
        if (lists(controllers, "cpu")) {
            snprintf(mount, sizeof mount, "/sys/fs/cgroup/%.200s", controllers);
            walk_up(h, root, mount, group, CONTROL_CPU);
            if (strcmp(controllers, "cpu") != 0)
                walk_up(h, root, "/sys/fs/cgroup/cpu", group, CONTROL_CPU);
        }
    }
}

/* ---- all of it ---- */

void host_look(struct host *h, const char *root)
{
    memset(h, 0, sizeof *h);
    h->available_bytes = UINT64_MAX;
    h->cgroup_limit_bytes = UINT64_MAX;
    h->threads = UINT32_MAX;
    if (!root || strcmp(root, "/") == 0)
        root = "";
    look_meminfo(h, root);
    look_process(h);
    look_cgroups(h, root);
    look_slurm(h);
    if (h->available_bytes == UINT64_MAX)
        limit_memory(h, GIB, false, "a guess (nothing says how much there is)", "");
}

uint64_t host_default_budget(const struct host *h)
{
    return h->dedicated ? h->available_bytes / 5 * 4 : h->available_bytes / 2;
}
