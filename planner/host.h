/* host.h - what this process may use of the machine: memory, cores, and who said so.
 *
 * Memory: the least of MemAvailable, every cgroup limit (v1 and v2) from our group up to the root, RLIMIT_AS, and
 * SLURM_MEM_PER_NODE (or SLURM_MEM_PER_CPU times the cpus); the default budget is half of it on a shared machine,
 * 80 % where a cgroup or Slurm set it. Threads: the least of the affinity mask, the cgroup's cpu quota,
 * SLURM_CPUS_PER_TASK.
 */
#ifndef SLUICE_PLANNER_HOST_H
#define SLUICE_PLANNER_HOST_H

#include <stdbool.h>
#include <stdint.h>

struct host {
    uint64_t available_bytes;
    char available_from[80];        /* "MemAvailable", "cgroup /user.slice/...", "SLURM_MEM_PER_NODE" */
    bool dedicated;                 /* a cgroup or Slurm set it */
    uint64_t cgroup_limit_bytes;    /* UINT64_MAX: none; a budget above it is refused */
    unsigned threads;
    char threads_from[80];
};

/* Where the facts are read, so that tests can give a tree of their own; NULL: "/". */
void host_look(struct host *h, const char *root);

/* What a budget is when none was given. */
uint64_t host_default_budget(const struct host *h);

#endif
