/* What the machine gives, read from trees of our own: /proc and /sys below a temporary directory. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/os.h"
#include "planner/host.h"
#include "tests/unit/test.h"

static char root[64];

/* A file below the root, with its directories. */
static void put(const char *path, const char *text)
{
    char full[512];
    FILE *file;

    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0777);
        *slash = '/';
    }
    file = fopen(full, "w");
    CHECK(file != NULL);
    if (!file)
        return;
    fputs(text, file);
    fclose(file);
}

static void begin(void)
{
    static const char *const names[] = { "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_PER_TASK",
                                         "SLURM_CPUS_ON_NODE" };

    for (unsigned i = 0; i < 4; i++)
        unsetenv(names[i]);
    strcpy(root, "/tmp/sluice-host-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    put("/proc/meminfo", "MemTotal:       33554432 kB\nMemFree: 1 kB\nMemAvailable:   16777216 kB\n");
}

static void end(void) { CHECK_EQUAL(os_remove_tree(AT_FDCWD, root), 0); }

static void test_host__takes_half_of_a_shared_machine(void)
{
    struct host h;

    begin();
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, 16 * GIB);
    CHECK(!h.dedicated);
    CHECK(strcmp(h.available_from, "MemAvailable") == 0);
    CHECK_EQUAL(host_default_budget(&h), 8 * GIB);
    CHECK_EQUAL(h.cgroup_limit_bytes, UINT64_MAX);
    CHECK(h.threads >= 1);
    end();
}

static void test_host__the_least_limit_on_the_way_up_counts_v2(void)
{
    struct host h;

    begin();
    put("/proc/self/cgroup", "0::/user.slice/job\n");
    put("/sys/fs/cgroup/user.slice/job/memory.max", "max\n");
    put("/sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/user.slice/job/cpu.max", "100000 100000\n");
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, GIB);
    CHECK_EQUAL(h.cgroup_limit_bytes, GIB);
    CHECK(h.dedicated);
    CHECK(strcmp(h.available_from, "cgroup /user.slice") == 0);
    CHECK_EQUAL(host_default_budget(&h), GIB / 5 * 4);
    CHECK_EQUAL(h.threads, 1);
    end();
}

static void test_host__reads_v1_and_its_word_for_no_limit(void)
{
    struct host h;

    begin();
    put("/proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "536870912\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, 512 * MIB);
    CHECK_EQUAL(h.cgroup_limit_bytes, 512 * MIB);
    end();
}

static void test_host__a_group_that_is_not_visible_falls_back_to_the_mount(void)
{
    struct host h;

    begin();
    put("/proc/self/cgroup", "0::/somewhere/outside/the/container\n");
    put("/sys/fs/cgroup/memory.max", "268435456\n");
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, 256 * MIB);
    end();
}

static void test_host__slurm_gives_memory_and_cpus(void)
{
    struct host h;

    begin();
    setenv("SLURM_MEM_PER_NODE", "2048", 1);
    setenv("SLURM_CPUS_PER_TASK", "1", 1);
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, 2 * GIB);
    CHECK(h.dedicated);
    CHECK_EQUAL(h.threads, 1);
    CHECK_EQUAL(h.cgroup_limit_bytes, UINT64_MAX);

    unsetenv("SLURM_MEM_PER_NODE");
    setenv("SLURM_MEM_PER_CPU", "512", 1);
    setenv("SLURM_CPUS_ON_NODE", "4", 1);
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, 2 * GIB);
    CHECK(strcmp(h.available_from, "SLURM_MEM_PER_CPU") == 0);
    setenv("SLURM_MEM_PER_CPU", "0", 1);        /* Slurm's word for all there is */
    host_look(&h, root);
    CHECK_EQUAL(h.available_bytes, 16 * GIB);
    unsetenv("SLURM_MEM_PER_CPU");
    unsetenv("SLURM_CPUS_ON_NODE");
    unsetenv("SLURM_CPUS_PER_TASK");
    end();
}

int main(void)
{
    RUN(test_host__takes_half_of_a_shared_machine);
    RUN(test_host__the_least_limit_on_the_way_up_counts_v2);
    RUN(test_host__reads_v1_and_its_word_for_no_limit);
    RUN(test_host__a_group_that_is_not_visible_falls_back_to_the_mount);
    RUN(test_host__slurm_gives_memory_and_cpus);
    return test_summary();
}
