/* fill_value.h - a fill value between its JSON forms and its exact bytes.
 *
 * Bytes are one item, little-endian. Nothing passes through a wider or narrower type on its way: integers of 64 bits
 * are lexed as such, decimal text is rounded once, to the item's own float type, and NaN payloads are kept where the
 * JSON form has them.
 *
 * Sources: zarr v2 spec ("fill value encoding") and what writers of its time made of it; zarr v3 core, "Permitted
 * fill values".
 */
#ifndef SLUICE_FORMAT_FILL_VALUE_H
#define SLUICE_FORMAT_FILL_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/array/dtype.h"
#include "engine/base/text.h"
#include "engine/format/json.h"

/* How lenient reading is. Writing: v2 has one NaN. */
enum fill_dialect { FILL_ZARR2, FILL_ZARR3 };

/* `value` is not null. False: `why` (may be cut) says what the value should have been. */
bool fill_from_json(const struct json *value, struct dtype dtype, enum fill_dialect dialect, uint8_t *item,
                    char *why, size_t why_bytes);
/* The JSON text; decimals are the shortest that give the same bits back. */
void fill_to_json(const uint8_t *item, struct dtype dtype, enum fill_dialect dialect, struct text *out);
/* Does fill_to_json keep every bit? Only a NaN with a payload or a sign can be lost, and only in v2. */
bool fill_is_writable(const uint8_t *item, struct dtype dtype, enum fill_dialect dialect);

/* xarray's attribute _FillValue of a v3 array: a float of any size is base64 of its little-endian double, the others
 * are as in JSON. Reading takes plain floats too; a NaN loses its payload. False: it is no value of that type, or the
 * type is complex, for which none is written. */
bool mask_from_json(const struct json *value, struct dtype dtype, uint8_t *item);
bool mask_to_json(const uint8_t *item, struct dtype dtype, struct text *out);

/* Decimal text (a JSON number) to the nearest float of 2, 4 or 8 bytes, ties to even, as its bits. */
uint64_t float_bits_from_decimal(const char *decimal, uint32_t bytes);

#endif
