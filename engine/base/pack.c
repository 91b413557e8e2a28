#include "engine/base/pack.h"

#include <string.h>

enum { NUMBER_BYTES = 8 };

void pack_number(struct text *to, uint64_t number)
{
    char bytes[NUMBER_BYTES];

    for (unsigned i = 0; i < NUMBER_BYTES; i++)
        bytes[i] = (char)(number >> 8 * i);
    text_add_bytes(to, bytes, sizeof bytes);
}

void pack_numbers(struct text *to, const uint64_t *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pack_number(to, numbers[i]);
}

void pack_text(struct text *to, const char *chars)
{
    pack_number(to, strlen(chars));
    text_add(to, chars);
}

uint64_t unpack_number(struct unpack *u)
{
    uint64_t number = 0;

    if (u->bad || u->left < NUMBER_BYTES) {
        u->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < NUMBER_BYTES; i++)
        number |= (uint64_t)(unsigned char)u->at[i] << 8 * i;
    u->at += NUMBER_BYTES;
    u->left -= NUMBER_BYTES;
    return number;
}

uint64_t unpack_number_to(struct unpack *u, uint64_t most)
{
    uint64_t number = unpack_number(u);

    u->bad = u->bad || number > most;
    return u->bad ? 0 : number;
}

void unpack_numbers(struct unpack *u, uint64_t *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        numbers[i] = unpack_number(u);
}

void unpack_text(struct unpack *u, char *to, size_t to_bytes)
{
    uint64_t length = unpack_number(u);

    to[0] = '\0';
    if (u->bad || length >= to_bytes || length > u->left || memchr(u->at, '\0', length)) {
        u->bad = true;
        return;
    }
    memcpy(to, u->at, length);
    to[length] = '\0';
    u->at += length;
    u->left -= length;
}
