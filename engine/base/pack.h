/* pack.h - numbers and texts as bytes, field by field, and back; for what is written by one run and read by another.
 *
 * Every number is 8 bytes, little-endian; a text is its length and its bytes. Packing appends to a struct text (its
 * `cut` says that it did not fit). Unpacking trusts nothing: what is too short, too long or out of range makes
 * `bad` true, and everything after that is 0 or "".
 *
 * Threads: none of it is shared.
 */
#ifndef SLUICE_BASE_PACK_H
#define SLUICE_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/text.h"

void pack_number(struct text *to, uint64_t number);
void pack_numbers(struct text *to, const uint64_t *numbers, unsigned count);
void pack_text(struct text *to, const char *chars);

struct unpack {
    const char *at;
    uint64_t left;              /* bytes */
    bool bad;
};

uint64_t unpack_number(struct unpack *u);
/* At most `most`. */
uint64_t unpack_number_to(struct unpack *u, uint64_t most);
void unpack_numbers(struct unpack *u, uint64_t *numbers, unsigned count);
/* With a NUL at its end, `to_bytes` at most with it; a text that holds a NUL is bad. */
void unpack_text(struct unpack *u, char *to, size_t to_bytes);

#endif
