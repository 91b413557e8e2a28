/* owner.c - which boot of the machine this is, and who is at work. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/exec/resuming.h"
#include "engine/io/os.h"

void boot_now(char boot[BOOT_BYTES])
{
    int fd = os_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
    int64_t got = fd < 0 ? fd : os_pread_some(fd, boot, BOOT_BYTES - 1, 0);

    if (fd >= 0)
        os_close(fd);
    boot[got > 0 ? got : 0] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
}

void owner_note(char *note, size_t note_bytes)
{
    const char *slurm = getenv("SLURM_JOB_ID");
    char host[256] = "?", since[40];
    time_t now = time(NULL);
    struct tm utc;

    gethostname(host, sizeof host - 1);
    strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    snprintf(note, note_bytes, "it is process %ld on %s%s%.40s, since %s", (long)getpid(), host,
             slurm ? ", Slurm job " : "", slurm ? slurm : "", since);
}
