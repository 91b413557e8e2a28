/* owner.h - who is at work on an output, so that another run can tell: is it still there?
 *
 * Threads: any.
 */
#ifndef SLUICE_STORE_OWNER_H
#define SLUICE_STORE_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Texts are "" and numbers 0 where they are not known. */
enum { BOOT_BYTES = 40, OWNER_TEXT_BYTES = 1024, OWNER_SENTENCE_BYTES = 440 };
struct owner {
    char host[256];
    char machine[BOOT_BYTES];       /* of /etc/machine-id: hosts of one name are not always one */
    char boot[BOOT_BYTES];
    uint64_t pid_space;             /* which the pid counts in: containers have their own */
    uint64_t pid;
    uint64_t pid_began;             /* when it began, in ticks since the boot: pids are used again */
    char job[40];                   /* of Slurm */
    char since[40];
};

void boot_now(char boot[BOOT_BYTES]);
void owner_now(struct owner *o);
/* For people: "it is process 7 on node3, Slurm job 12, since ...". */
void owner_sentence(const struct owner *o, char sentence[OWNER_SENTENCE_BYTES]);
/* The sentence of this process. */
void owner_note(char *note, size_t note_bytes);

/* A few lines that owner_read understands, the sentence first. */
void owner_write(const struct owner *o, char text[OWNER_TEXT_BYTES]);
/* False: it is not all there, or no such text. */
bool owner_read(struct owner *o, const char *text);

enum owner_state {
    OWNER_WORKS,
    OWNER_GONE,                     /* its process ended, or its machine was started anew */
    OWNER_ELSEWHERE,                /* it cannot be told from here */
};
enum owner_state owner_state(const struct owner *o);

#endif
