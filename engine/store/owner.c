/* owner.c - which boot of the machine this is, who is at work, and whether somebody else still is. */
#include "engine/store/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/io/os.h"
#include "engine/io/system_text.h"

/* ---- this process ---- */

static void read_line(const char *path, char *to, size_t to_bytes)
{
    system_text(path, to, to_bytes);
    to[strcspn(to, "\n")] = '\0';
}

void boot_now(char boot[BOOT_BYTES])
{
    read_line("/proc/sys/kernel/random/boot_id", boot, BOOT_BYTES);
}

/* When process `pid` began. False: there is none, or it is dead and only waited for; or we may not see it (0). */
static bool process_began(uint64_t pid, uint64_t *began)
{
    char path[64], text[512];
    const char *at;

    *began = 0;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    system_text(path, text, sizeof text);
    at = strrchr(text, ')');            /* the program's name ends there, and may hold anything */
    if (!at || strlen(at) < 3)
        return false;
    for (unsigned field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at)
        *began = strtoull(at + 1, NULL, 10);
    at = strrchr(text, ')');
    return at[2] != 'Z' && at[2] != 'X';
}

static void text_of(char *to, size_t to_bytes, const char *from)
{
    snprintf(to, to_bytes, "%s", from ? from : "");
    for (char *at = to; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
}

void owner_now(struct owner *o)
{
    time_t now = time(NULL);
    struct stat st;
    struct tm utc;

    *o = (struct owner){ .pid = (uint64_t)getpid() };
    gethostname(o->host, sizeof o->host - 1);
    read_line("/etc/machine-id", o->machine, sizeof o->machine);
    boot_now(o->boot);
    if (os_fstatat(AT_FDCWD, "/proc/self/ns/pid", &st, 0) >= 0)
        o->pid_space = st.st_ino;
    process_began(o->pid, &o->pid_began);
    text_of(o->job, sizeof o->job, getenv("SLURM_JOB_ID"));
    strftime(o->since, sizeof o->since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
}

void owner_sentence(const struct owner *o, char sentence[OWNER_SENTENCE_BYTES])
{
    snprintf(sentence, OWNER_SENTENCE_BYTES, "it is process %" PRIu64 " on %s%s%s, since %s", o->pid,
             o->host[0] ? o->host : "?", o->job[0] ? ", Slurm job " : "", o->job, o->since);
}

void owner_note(char *note, size_t note_bytes)
{
    char sentence[OWNER_SENTENCE_BYTES];
    struct owner o;

    owner_now(&o);
    owner_sentence(&o, sentence);
    snprintf(note, note_bytes, "%s", sentence);
}

/* ---- as text ---- */

void owner_write(const struct owner *o, char text[OWNER_TEXT_BYTES])
{
    char sentence[OWNER_SENTENCE_BYTES];

    owner_sentence(o, sentence);
    snprintf(text, OWNER_TEXT_BYTES,
             "%s\nhost=%s\nmachine=%s\nboot=%s\npid_space=%" PRIu64 "\npid=%" PRIu64 "\npid_began=%" PRIu64
             "\njob=%s\nsince=%s\nend\n", sentence, o->host, o->machine, o->boot, o->pid_space,
             o->pid, o->pid_began, o->job, o->since);
}

/* What stands behind `name`, which begins a line and ends in '='. */
static bool field(const char *text, const char *name, char *to, size_t to_bytes)
{
    const char *at = strstr(text, name);
    size_t length = at ? strcspn(at + strlen(name), "\n") : 0;

    if (!at || length >= to_bytes)
        return false;
    memcpy(to, at + strlen(name), length);
    to[length] = '\0';
    return true;
}

static bool number_field(const char *text, const char *name, uint64_t *to)
{
    char digits[24], *end;

    if (!field(text, name, digits, sizeof digits) || !*digits)
        return false;
    *to = strtoull(digits, &end, 10);
    return !*end;
}

bool owner_read(struct owner *o, const char *text)
{
    *o = (struct owner){ 0 };
    return strstr(text, "\nend\n") && field(text, "\nhost=", o->host, sizeof o->host) &&
           field(text, "\nmachine=", o->machine, sizeof o->machine) && field(text, "\nboot=", o->boot, sizeof o->boot) &&
           number_field(text, "\npid_space=", &o->pid_space) && number_field(text, "\npid=", &o->pid) &&
           number_field(text, "\npid_began=", &o->pid_began) && field(text, "\njob=", o->job, sizeof o->job) &&
           field(text, "\nsince=", o->since, sizeof o->since);
}

/* ---- is it still there? ---- */

/* Of a process of this machine, this boot and our numbering. */
static bool process_works(const struct owner *o)
{
    uint64_t began;

    if (process_began(o->pid, &began))
        return o->pid_began == 0 || began == o->pid_began;
    /* /proc may hide the processes of others. */
    return began == 0 && o->pid <= INT32_MAX && (kill((pid_t)o->pid, 0) == 0 || errno == EPERM);
}

static bool same_machine(const struct owner *a, const struct owner *b)
{
    return a->host[0] && a->machine[0] && strcmp(a->host, b->host) == 0 && strcmp(a->machine, b->machine) == 0;
}

enum owner_state owner_state(const struct owner *o)
{
    struct owner us;

    owner_now(&us);
    if (us.boot[0] && strcmp(us.boot, o->boot) == 0 && us.pid_space == o->pid_space && o->pid > 0)
        return process_works(o) ? OWNER_WORKS : OWNER_GONE;
    /* Not even the same Slurm job begun anew: when a node is lost its processes may still write. */
    return us.boot[0] && o->boot[0] && strcmp(us.boot, o->boot) != 0 && same_machine(&us, o) ? OWNER_GONE
                                                                                           : OWNER_ELSEWHERE;
}
