/* fuzz.h - what the fuzz targets share. A target is tests/fuzz/fuzz_NAME.c with one function, fuzz_one, which takes any
 * bytes: it returns, and MUST() holds, or the input is a finding.
 *
 * `make fuzz` links the targets with libFuzzer; `make unit` links the same targets with replay.c, which plays the seeds
 * in tests/fuzz/seeds/NAME/. A finding becomes a test by being copied there. fuzz_NAME.dict, where it is there, holds
 * words that mutations may use.
 */
#ifndef SLUICE_TESTS_FUZZ_H
#define SLUICE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"

/* libFuzzer calls it by this name. */
#define fuzz_one LLVMFuzzerTestOneInput
int fuzz_one(const uint8_t *data, size_t bytes);

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* A copy that ends where its memory ends: to read past it is found. To be freed. */
static inline void *exactly(const void *data, size_t bytes)
{
    void *copy = malloc(bytes ? bytes : 1);

    MUST(copy);
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

/* The same with a NUL behind it. */
static inline char *as_text(const void *data, size_t bytes)
{
    char *copy = malloc(bytes + 1);

    MUST(copy);
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    return copy;
}

/* A refusal says something, points into its source, and can be printed. */
static inline void must_be_said(const struct error *err)
{
    char *chars = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&chars, &length);

    MUST(to && err->code != ERR_NONE && err->message[0]);
    error_print(err, to);
    MUST(fclose(to) == 0 && length > 0);
    for (size_t i = 0; i < length; i++)     /* control bytes of a file would reach somebody's terminal */
        MUST(chars[i] == '\n' || (unsigned char)chars[i] >= ' ');
    free(chars);
}

#endif
