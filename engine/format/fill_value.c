#include "engine/format/fill_value.h"

#include <errno.h>
#include <fenv.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bits and bytes ---- */

static void put_little_endian(uint64_t bits, uint32_t bytes, uint8_t *to)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(bits >> 8 * i);
}

static uint64_t get_little_endian(const uint8_t *from, uint32_t bytes)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < bytes; i++)
        bits |= (uint64_t)from[i] << 8 * i;
    return bits;
}

static uint64_t double_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_from_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The three float types: bits of the exponent above those of the fraction. */
static unsigned fraction_bits(uint32_t bytes) { return bytes == 2 ? 10 : bytes == 4 ? 23 : 52; }
static uint64_t sign_bit(uint32_t bytes) { return (uint64_t)1 << (8 * bytes - 1); }
static uint64_t infinity_bits(uint32_t bytes)
{
    return (sign_bit(bytes) - 1) & ~(((uint64_t)1 << fraction_bits(bytes)) - 1);
}
/* Sign 0, the quiet bit, the rest 0: what "NaN" stands for. */
static uint64_t nan_bits(uint32_t bytes)
{
    return infinity_bits(bytes) | (uint64_t)1 << (fraction_bits(bytes) - 1);
}
static bool is_nan(uint64_t bits, uint32_t bytes) { return (bits & ~sign_bit(bytes)) > infinity_bits(bytes); }

/* ---- decimal to float ---- */

/* strtod and printf follow the thread's locale, which belongs to whoever called us: its point may be a comma. */
struct plain_locale { locale_t plain, before; };

static struct plain_locale plain_locale_enter(void)
{
    struct plain_locale l = { .plain = newlocale(LC_ALL_MASK, "C", (locale_t)0) };

    if (l.plain)
        l.before = uselocale(l.plain);
    return l;
}

static void plain_locale_leave(struct plain_locale l)
{
    if (!l.plain)
        return;
    uselocale(l.before);
    freelocale(l.plain);
}

/* Round a double to half precision, ties to even. */
static uint64_t half_bits_from_double(double value)
{
    uint64_t bits = double_bits(value), sign = bits >> 48 & 0x8000, magnitude, rest, tie;
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    unsigned drop;

    if (exponent >= 16)
        return sign | 0x7c00;
    if (exponent < -25)
        return sign;
    drop = exponent >= -14 ? 42 : (unsigned)(42 - 14 - exponent);
    magnitude = (bits & 0xfffffffffffffULL) | 1ULL << 52;
    rest = magnitude & ((1ULL << drop) - 1);
    tie = 1ULL << (drop - 1);
    magnitude >>= drop;
    magnitude += rest > tie || (rest == tie && (magnitude & 1));
    /* The leading 1 of a normal number adds one to the exponent, and so does a carry out of the fraction. */
    return sign | (magnitude + (exponent >= -14 ? (uint64_t)(exponent + 14) << 10 : 0));
}

/* Rounding to double first and to half then can round twice the same way. So the double is rounded to odd: of the two
 * doubles around the decimal, the one whose last bit is set. It is on the right side of every tie of the halves. */
static uint64_t half_bits_from_decimal(const char *decimal)
{
    int mode = fegetround();
    double below, above;

    fesetround(FE_DOWNWARD);
    below = strtod(decimal, NULL);
    fesetround(FE_UPWARD);
    above = strtod(decimal, NULL);
    fesetround(mode);
    if (double_bits(below) == double_bits(above) || (double_bits(below) & 1))
        return half_bits_from_double(below);
    return half_bits_from_double(above);
}

uint64_t float_bits_from_decimal(const char *decimal, uint32_t bytes)
{
    struct plain_locale l = plain_locale_enter();
    uint64_t bits = 0;

    if (bytes == 2) {
        bits = half_bits_from_decimal(decimal);
    } else if (bytes == 4) {
        float value = strtof(decimal, NULL);

        memcpy(&bits, &value, sizeof value);
    } else {
        bits = double_bits(strtod(decimal, NULL));
    }
    plain_locale_leave(l);
    return bits;
}

/* ---- from JSON ---- */

static bool say(char *why, size_t why_bytes, const char *what)
{
    snprintf(why, why_bytes, "%s", what);
    return false;
}

/* "0x7fc00000": the number that the bits are, all digits of it. */
static bool float_bits_from_hex(const char *chars, uint32_t bytes, uint64_t *bits)
{
    char *end;

    if (strlen(chars) != 2 + 2 * bytes || strspn(chars + 2, "0123456789abcdefABCDEF") != 2 * bytes)
        return false;
    *bits = strtoull(chars + 2, &end, 16);
    return true;
}

static bool float_from_json(const struct json *value, uint32_t bytes, uint8_t *item)
{
    uint64_t bits;

    if (value->kind == JSON_NUMBER)
        bits = float_bits_from_decimal(value->chars, bytes);
    else if (value->kind != JSON_STRING && value->kind != JSON_TOKEN)
        return false;
    else if (!strcmp(value->chars, "NaN"))
        bits = nan_bits(bytes);
    else if (!strcmp(value->chars, "Infinity") || !strcmp(value->chars, "+Infinity"))
        bits = infinity_bits(bytes);
    else if (!strcmp(value->chars, "-Infinity"))
        bits = infinity_bits(bytes) | sign_bit(bytes);
    else if (strncmp(value->chars, "0x", 2) || !float_bits_from_hex(value->chars, bytes, &bits))
        return false;
    put_little_endian(bits, bytes, item);
    return true;
}

static bool int_from_json(const struct json *value, uint32_t bytes, uint8_t *item)
{
    int64_t number, limit = (int64_t)(sign_bit(bytes) - 1);

    if (!json_int(value, &number) || number > limit || number < -limit - 1)
        return false;
    put_little_endian((uint64_t)number, bytes, item);
    return true;
}

static bool uint_from_json(const struct json *value, uint32_t bytes, uint8_t *item)
{
    uint64_t number;

    if (!json_uint(value, &number) || number > UINT64_MAX >> (64 - 8 * bytes))
        return false;
    put_little_endian(number, bytes, item);
    return true;
}

static bool bool_from_json(const struct json *value, enum fill_dialect dialect, uint8_t *item)
{
    uint64_t number;

    if (value->kind == JSON_BOOL)
        *item = value->truth;
    else if (dialect == FILL_ZARR2 && json_uint(value, &number) && number <= 1)
        *item = (uint8_t)number;
    else
        return false;
    return true;
}

static bool complex_from_json(const struct json *value, enum fill_dialect dialect, uint32_t bytes, uint8_t *item)
{
    if (value->kind == JSON_ARRAY && value->count == 2)
        return float_from_json(value->first, bytes / 2, item) &&
               float_from_json(value->first->next, bytes / 2, item + bytes / 2);
    memset(item, 0, bytes);
    return dialect == FILL_ZARR2 && float_from_json(value, bytes / 2, item);
}

bool fill_from_json(const struct json *value, struct dtype dtype, enum fill_dialect dialect, uint8_t *item,
                    char *why, size_t why_bytes)
{
    /* netcdf-c 4.8.0 wrote [x]. */
    if (dialect == FILL_ZARR2 && value->kind == JSON_ARRAY && value->count == 1)
        value = value->first;
    switch (dtype.kind) {
    case DTYPE_BOOL:
        return bool_from_json(value, dialect, item) || say(why, why_bytes, "should be true or false");
    case DTYPE_INT:
        return int_from_json(value, dtype.item_bytes, item) ||
               say(why, why_bytes, "should be an integer in the range of the type");
    case DTYPE_UINT:
        return uint_from_json(value, dtype.item_bytes, item) ||
               say(why, why_bytes, "should be an unsigned integer in the range of the type");
    case DTYPE_FLOAT:
        return float_from_json(value, dtype.item_bytes, item) ||
               say(why, why_bytes, "should be a number, \"NaN\", \"Infinity\", \"-Infinity\" or \"0x...\"");
    case DTYPE_COMPLEX:
        return complex_from_json(value, dialect, dtype.item_bytes, item) ||
               say(why, why_bytes, "should be a list of two floats, real and imaginary part");
    }
    return say(why, why_bytes, "has a type that has no fill values");
}

/* ---- to JSON ---- */

/* What a finite float of 2 or 4 bytes is as a double: the same number. */
static double widen(uint64_t bits, uint32_t bytes)
{
    unsigned fraction = fraction_bits(bytes);
    int bias = bytes == 2 ? 15 : 127, exponent = (int)(bits >> fraction & (bytes == 2 ? 0x1f : 0xff));
    uint64_t digits = bits & (((uint64_t)1 << fraction) - 1);
    double value;

    if (bytes == 8)
        return double_from_bits(bits);
    if (exponent)
        digits |= (uint64_t)1 << fraction;
    else
        exponent = 1;
    /* digits * 2^shift: both factors are doubles, and so is the product. */
    value = (double)digits * double_from_bits((uint64_t)(exponent - bias - (int)fraction + 1023) << 52);
    return bits & sign_bit(bytes) ? -value : value;
}

static void decimal_from_float(uint64_t bits, uint32_t bytes, struct text *out)
{
    struct plain_locale l = plain_locale_enter();
    double value = widen(bits, bytes);
    char decimal[40];

    for (int count = 1; count <= 17; count++) {
        snprintf(decimal, sizeof decimal, "%.*g", count, value);
        if (float_bits_from_decimal(decimal, bytes) == bits)
            break;
    }
    plain_locale_leave(l);
    text_add(out, decimal);
    /* "-0" is an integer for many readers, and loses its sign. */
    if (!strpbrk(decimal, ".e"))
        text_add(out, ".0");
}

static void float_to_json(const uint8_t *item, uint32_t bytes, enum fill_dialect dialect, struct text *out)
{
    uint64_t bits = get_little_endian(item, bytes);

    if (is_nan(bits, bytes) && bits != nan_bits(bytes) && dialect == FILL_ZARR3)
        text_addf(out, "\"0x%0*llx\"", (int)(2 * bytes), (unsigned long long)bits);
    else if (is_nan(bits, bytes))
        text_add(out, "\"NaN\"");
    else if ((bits & ~sign_bit(bytes)) == infinity_bits(bytes))
        text_add(out, bits & sign_bit(bytes) ? "\"-Infinity\"" : "\"Infinity\"");
    else
        decimal_from_float(bits, bytes, out);
}

void fill_to_json(const uint8_t *item, struct dtype dtype, enum fill_dialect dialect, struct text *out)
{
    uint64_t bits = get_little_endian(item, dtype.item_bytes < 8 ? dtype.item_bytes : 8);
    unsigned unused = 64 - 8 * (dtype.item_bytes < 8 ? dtype.item_bytes : 8);

    switch (dtype.kind) {
    case DTYPE_BOOL:
        text_add(out, *item ? "true" : "false");
        break;
    case DTYPE_INT:
        text_addf(out, "%lld", (long long)((int64_t)(bits << unused) >> unused));
        break;
    case DTYPE_UINT:
        text_addf(out, "%llu", (unsigned long long)bits);
        break;
    case DTYPE_FLOAT:
        float_to_json(item, dtype.item_bytes, dialect, out);
        break;
    case DTYPE_COMPLEX:
        text_add(out, "[");
        float_to_json(item, dtype.item_bytes / 2, dialect, out);
        text_add(out, ", ");
        float_to_json(item + dtype.item_bytes / 2, dtype.item_bytes / 2, dialect, out);
        text_add(out, "]");
        break;
    }
}

bool fill_is_writable(const uint8_t *item, struct dtype dtype, enum fill_dialect dialect)
{
    uint32_t bytes = dtype_swap_bytes(dtype);

    if (dialect == FILL_ZARR3 || (dtype.kind != DTYPE_FLOAT && dtype.kind != DTYPE_COMPLEX))
        return true;
    for (uint32_t at = 0; at < dtype.item_bytes; at += bytes) {
        uint64_t bits = get_little_endian(item + at, bytes);

        if (is_nan(bits, bytes) && bits != nan_bits(bytes))
            return false;
    }
    return true;
}

/* ---- xarray's _FillValue ---- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { DOUBLE_DIGITS = 11 };        /* 8 bytes in base64, before one '=' */

static void base64_from_double(uint64_t bits, char *out)
{
    /* The first byte, which is the lowest, has the first digits. */
    uint64_t bytes = __builtin_bswap64(bits);

    for (unsigned i = 0; i < DOUBLE_DIGITS - 1; i++)
        out[i] = base64_digits[bytes >> (58 - 6 * i) & 63];
    out[DOUBLE_DIGITS - 1] = base64_digits[(bytes & 15) << 2];
    memcpy(out + DOUBLE_DIGITS, "=", 2);
}

static bool double_from_base64(const char *chars, uint64_t *bits)
{
    uint64_t bytes = 0;

    if (strlen(chars) != DOUBLE_DIGITS + 1 || chars[DOUBLE_DIGITS] != '=')
        return false;
    for (unsigned i = 0; i < DOUBLE_DIGITS; i++) {
        const char *digit = strchr(base64_digits, chars[i]);
        uint64_t value = digit ? (uint64_t)(digit - base64_digits) : 0;

        if (!digit)
            return false;
        bytes = i < DOUBLE_DIGITS - 1 ? bytes << 6 | value : bytes << 4 | value >> 2;
    }
    *bits = __builtin_bswap64(bytes);
    return true;
}

/* To the nearest float of that size. False: it is too large for one. */
static bool narrow(uint64_t wide, uint32_t bytes, uint64_t *bits)
{
    bool infinite = (wide & ~sign_bit(8)) == infinity_bits(8);
    float value = (float)double_from_bits(wide);
    uint32_t float_bits;

    memcpy(&float_bits, &value, sizeof float_bits);
    *bits = is_nan(wide, 8) ? nan_bits(bytes) : bytes == 8 ? wide : bytes == 4 ? float_bits
            : half_bits_from_double(double_from_bits(wide));
    return infinite || is_nan(wide, 8) || (*bits & ~sign_bit(bytes)) != infinity_bits(bytes);
}

static bool float_mask_from_json(const struct json *value, uint32_t bytes, uint8_t *item)
{
    uint64_t bits;

    if (json_string(value) && double_from_base64(value->chars, &bits)) {
        if (!narrow(bits, bytes, &bits))
            return false;
    } else if (float_from_json(value, bytes, item)) {
        bits = get_little_endian(item, bytes);
    } else {
        return false;
    }
    put_little_endian(is_nan(bits, bytes) ? nan_bits(bytes) : bits, bytes, item);
    return true;
}

bool mask_from_json(const struct json *value, struct dtype dtype, uint8_t *item)
{
    char why[8];

    if (dtype.kind == DTYPE_FLOAT)
        return float_mask_from_json(value, dtype.item_bytes, item);
    return dtype.kind != DTYPE_COMPLEX && value->kind != JSON_ARRAY &&
           fill_from_json(value, dtype, FILL_ZARR2, item, why, sizeof why);
}

bool mask_to_json(const uint8_t *item, struct dtype dtype, struct text *out)
{
    uint64_t bits = get_little_endian(item, dtype.item_bytes < 8 ? dtype.item_bytes : 8);
    uint32_t bytes = dtype.item_bytes;
    char base64[DOUBLE_DIGITS + 2];

    if (dtype.kind == DTYPE_COMPLEX)
        return false;
    if (dtype.kind != DTYPE_FLOAT) {
        fill_to_json(item, dtype, FILL_ZARR3, out);
        return true;
    }
    if (is_nan(bits, bytes))
        bits = nan_bits(8);
    else if ((bits & ~sign_bit(bytes)) == infinity_bits(bytes))
        bits = infinity_bits(8) | (bits & sign_bit(bytes) ? sign_bit(8) : 0);
    else
        bits = double_bits(widen(bits, bytes));
    base64_from_double(bits, base64);
    text_addf(out, "\"%s\"", base64);
    return true;
}
