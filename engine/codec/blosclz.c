/* blosclz, the LZ77 of c-blosc: a stream of instructions, each a control byte c and what it says.
 *
 *   c < 32    c + 1 literal bytes follow (in the first byte of all only the low five bits count)
 *   else      copy (c >> 5) + 2 bytes from `distance` back; if c >> 5 is 7, bytes follow that add to the length up to
 *             and with the first that is not 255. Then a byte b: distance = (c & 31) * 256 + b + 1; but with
 *             c & 31 = 31 and b = 255 two more bytes follow, high and low: distance = that + 8192.
 */
#include <string.h>

#include "engine/codec/blosc_frame.h"

enum { FAR_DISTANCE = 8191 };

/* One match. Lengths are 64 bit: a long run of 255s must not wrap. */
struct match {
    uint64_t length, distance;
};

static bool read_match(struct match *m, unsigned control, const unsigned char **at, const unsigned char *end)
{
    const unsigned char *p = *at;
    unsigned code;

    m->length = (control >> 5) + 2;
    if (control >> 5 == 7) {
        do {
            if (p == end)
                return false;
            code = *p++;
            m->length += code;
        } while (code == 255);
    }
    if (p == end)
        return false;
    code = *p++;
    m->distance = (control & 31) * 256 + code + 1;
    if (code == 255 && (control & 31) == 31) {
        if (end - p < 2)
            return false;
        m->distance = ((uint64_t)p[0] << 8 | p[1]) + FAR_DISTANCE + 1;
        p += 2;
    }
    *at = p;
    return true;
}

/* The source may overlap the destination, which then repeats: each pass copies what is there, twice as much. */
static void copy_match(char *to, uint64_t distance, uint64_t length)
{
    const char *from = to - distance;

    while (length > distance) {
        memcpy(to, from, distance);
        to += distance;
        length -= distance;
        distance *= 2;
    }
    memcpy(to, from, length);
}

bool blosclz_decode(const char *from, uint32_t from_bytes, char *to, uint32_t to_bytes)
{
    const unsigned char *at = (const unsigned char *)from, *end = at + from_bytes;
    uint64_t done = 0;
    unsigned control;

    if (at == end)
        return to_bytes == 0;
    control = *at++ & 31;
    for (;;) {
        if (control >= 32) {
            struct match m;

            if (!read_match(&m, control, &at, end) || m.length > to_bytes - done || m.distance > done)
                return false;
            copy_match(to + done, m.distance, m.length);
            done += m.length;
        } else {
            uint64_t length = control + 1;

            if (length > (uint64_t)(end - at) || length > to_bytes - done)
                return false;
            memcpy(to + done, at, length);
            at += length;
            done += length;
        }
        if (at == end)
            return done == to_bytes;
        control = *at++;
    }
}
