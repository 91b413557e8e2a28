#include "engine/base/die.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char name[64];               /* "": nowhere */
static atomic_long left;            /* how often it may be passed */
static int signal_number = SIGKILL;

static void read_variable(void)
{
    const char *words = getenv("SLUICE_DIE_AT"), *colon = words ? strchr(words, ':') : NULL;
    size_t length = !words ? 0 : colon ? (size_t)(colon - words) : strlen(words);

    if (length >= sizeof name)
        return;
    atomic_store(&left, colon ? strtol(colon + 1, NULL, 10) : 1);
    if (colon && strchr(colon + 1, ':') && strcmp(strchr(colon + 1, ':'), ":stop") == 0)
        signal_number = SIGSTOP;
    memcpy(name, words ? words : "", length);
}

bool die_is_due(const char *place)
{
    pthread_once(&once, read_variable);
    return name[0] && strcmp(name, place) == 0 && atomic_fetch_sub(&left, 1) == 1;
}

void die_now(void)
{
    raise(signal_number);       /* to this thread: it goes no further, as it might if another one took the signal */
    while (signal_number == SIGKILL)
        pause();
}
