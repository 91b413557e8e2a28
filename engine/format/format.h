/* format.h - what an array is, as its store says it; and how a new array says it.
 *
 * Formats today: Zarr v2 (.zarray, .zattrs) and v3 (zarr.json). A format turns metadata into struct array_meta, a
 * chunk's coordinates into a key, and array_meta into metadata. Sharded arrays and HDF5 will answer
 * array_chunk_place with an offset and a length inside an object; today it is always a whole object.
 *
 * Sources: zarr-specs v2.0 and core v3.1; what else is in the wild is accepted as said at each place.
 * Threads: array_meta is read-only once read.
 */
#ifndef SLUICE_FORMAT_FORMAT_H
#define SLUICE_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/array/dtype.h"
#include "engine/array/grid.h"
#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/codec/codec.h"
#include "engine/store/store.h"

enum format_kind { FORMAT_ZARR2, FORMAT_ZARR3 };
const char *format_name(enum format_kind f);    /* "zarr2", "zarr3" */

/* How chunk keys are written: "c/1/2" (v3 default) or "1.2" (v2). */
struct key_style {
    bool with_c;
    char separator;             /* '/' or '.' */
};
/* What a new array of that format gets. */
struct key_style key_style_default(enum format_kind f);

struct array_meta {
    enum format_kind format;
    struct grid chunks;         /* rank, shape, cell = chunk shape; cell >= 1 (0 on an empty axis is read as 1) */
    struct dtype dtype;
    uint8_t fill[ITEM_BYTES_MAX];   /* one item, little-endian */
    bool fill_undefined;        /* v2 null: missing chunks read as zero, and empty chunks are always written */
    struct codec_chain codecs;
    struct key_style keys;
    char *dimension_names[RANK_MAX];    /* owned; NULL: unnamed. From dimension_names or _ARRAY_DIMENSIONS */
    char *attributes;           /* owned; a JSON object as text without _ARRAY_DIMENSIONS, NULL: none */
    uint64_t file_bytes;        /* of the metadata it was read from */
};

void array_meta_release(struct array_meta *m);
/* A deep copy. False: no memory. */
bool array_meta_copy(struct array_meta *to, const struct array_meta *from, struct error *err);

/* Read the array at the store's root. ERR_INPUT names what is wrong or not supported, with the metadata's file; a
 * group says which arrays it holds; other formats (NetCDF, GRIB, TIFF, ...) are recognised by name. Warnings
 * (oddities accepted) are appended to `warnings`, one per line. */
bool array_meta_read(struct array_meta *m, const struct store *s, struct text *warnings, struct error *err);

/* The array at `path`: opens the store and reads its metadata. What is no Zarr store is named for what it is (NetCDF,
 * GRIB, TIFF, icechunk, kerchunk, s3:// ...) with the tool that converts it. On success the store is the caller's. */
bool array_open(struct store **s, struct array_meta *m, const char *path, struct span span,
                struct text *warnings, struct error *err);

/* What overwriting `path` would take away is not a group with arrays in it: ERR_EXISTS names them. */
bool group_is_not_lost(const char *path, struct span span, struct error *err);

/* What those who read the groups above `path`, or an array it lies in, will not see of an array put there, one line for
 * each. Lines about consolidated metadata, with their cure, go to `afterwards`, too. A zarr.json of more than `bytes_max`
 * is not looked into. */
void array_warn_of_parents(const char *path, enum format_kind format, uint64_t bytes_max, struct text *warnings,
                           struct text *afterwards);

/* `m` was read as `from`, and m->format is what it will be: what xarray masks stays what it masks (mask.c). Changes
 * the fill value and the attribute _FillValue; then `notes` gets a line. */
bool array_mask_carry(struct array_meta *m, enum format_kind from, struct text *notes, struct error *err);

/* Can m->format say all of this? Zarr v2 has one compressor and the axis orders C and F; ERR_USAGE names what it
 * cannot say. Array sizes that overflow are refused too. */
bool array_meta_writable(const struct array_meta *m, struct error *err);
/* Write the metadata of m->format into a staged store. Consolidated metadata is a group's business. Fails as
 * array_meta_writable does. */
bool array_meta_write(const struct array_meta *m, struct store *s, struct error *err);
/* How many files that makes. */
unsigned array_meta_files(const struct array_meta *m);

/* The fill value as its format writes it, for info. */
void array_fill_text(const struct array_meta *m, struct text *out);

/* Where a chunk's bytes are. */
struct chunk_place {
    char key[KEY_BYTES_MAX];
    uint64_t offset;            /* in the object */
    uint64_t bytes;             /* UINT64_MAX: to the object's end */
};
void array_chunk_place(const struct array_meta *m, const uint64_t *coords, struct chunk_place *out);

/* Bytes of one decoded chunk; saturates. */
uint64_t array_chunk_bytes(const struct array_meta *m);

#endif
