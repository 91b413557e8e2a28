/* replay.c - a fuzz target without a fuzzer: plays every seed, and some hundred damaged copies of each, always the
 * same ones. With arguments it plays those files, as they are. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { DAMAGED_COPIES = 200, SEED_BYTES_MAX = 1 << 20 };

/* What was last played, for whoever meets a crash. */
static void say_last(const char *path, unsigned copy)
{
    char line[512];
    int length = snprintf(line, sizeof line, "%s, copy %u", path, copy);

    if (setenv("SLUICE_FUZZ_LAST", line, 1) != 0 || length < 0)
        abort();
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A few bytes changed, cut, or doubled. Returns the new length, at most `bytes`. */
static size_t damage(uint8_t *data, size_t bytes, uint64_t *state)
{
    unsigned changes = 1 + next_random(state) % 3;

    for (unsigned i = 0; i < changes && bytes > 0; i++) {
        /* mostly near the beginning, where lengths and flags are */
        size_t at = next_random(state) % (next_random(state) % 2 && bytes > 32 ? 32 : bytes);

        switch (next_random(state) % 4) {
        case 0: data[at] ^= (uint8_t)(1 << next_random(state) % 8); break;
        case 1: data[at] = (uint8_t)next_random(state); break;
        case 2: memmove(data + at, data + bytes / 2, bytes - (at > bytes / 2 ? at : bytes / 2)); break;
        default: bytes = next_random(state) % 8 ? bytes : at; break;
        }
    }
    return bytes;
}

static bool play(const char *path, unsigned copies)
{
    FILE *file = fopen(path, "rb");
    uint8_t *seed = malloc(SEED_BYTES_MAX);
    size_t bytes;
    uint64_t state = 0x9e3779b97f4a7c15;

    if (!file || !seed) {
        perror(path);
        return false;
    }
    bytes = fread(seed, 1, SEED_BYTES_MAX, file);
    fclose(file);
    for (unsigned copy = 0; copy <= copies; copy++) {
        uint8_t *data = exactly(seed, bytes);

        say_last(path, copy);
        fuzz_one(data, copy == 0 ? bytes : damage(data, bytes, &state));
        free(data);
    }
    free(seed);
    return true;
}

static int play_directory(const char *path)
{
    unsigned passed = 0, failed = 0;
    struct dirent *entry;
    DIR *directory = opendir(path);

    while (directory && (entry = readdir(directory))) {
        char name[1024];
        bool ok;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        ok = play(name, DAMAGED_COPIES);
        passed += ok;
        failed += !ok;
    }
    if (directory)
        closedir(directory);
    if (passed + failed == 0) {
        fprintf(stderr, "%s: no seeds\n", path);
        failed = 1;
    }
    printf("%s: %u passed, %u failed, 0 skipped\n", program_invocation_short_name, passed, failed);
    return failed != 0;
}

int main(int argc, char **argv)
{
    char seeds[256];
    int status = 0;

    if (argc < 2) {
        snprintf(seeds, sizeof seeds, "tests/fuzz/seeds/%s", program_invocation_short_name + strlen("fuzz_"));
        return play_directory(seeds);
    }
    for (int i = 1; i < argc; i++)
        status |= !play(argv[i], 0);
    return status;
}
