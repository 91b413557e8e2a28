/* meta.h - what the readers and writers of one metadata dialect share: zarr2.c, zarr3.c, codec_json.c.
 * Only files of engine/format include it.
 */
#ifndef SLUICE_FORMAT_META_H
#define SLUICE_FORMAT_META_H

#include "engine/format/format.h"
#include "engine/format/json.h"

/* Larger metadata is refused: 10,000 arrays, consolidated, have 16 MB. */
enum { METADATA_BYTES_MAX = 16 << 20 };

/* A metadata document being read: complaints name its file. */
struct reading {
    struct array_meta *m;
    const struct store *store;
    const char *key;            /* ".zarray" */
    struct text *warnings;
    struct error *err;
};

/* ERR_INPUT "'path/key': ...". Always false. */
bool meta_fail(const struct reading *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same of what the format has and is not read here, with what to do. */
bool meta_unsupported(const struct reading *r, const char *help, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
extern const char meta_help_codec[], meta_help_type[], meta_help_time[], meta_help_layout[];
/* The document may be as it should: there is no memory to read it. */
bool meta_no_memory(const struct reading *r);
void meta_warn(const struct reading *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is in a metadata document but is only passed on, or not used: it may be long. */
extern const char *const meta_unread[];
/* A metadata object as JSON; *text is what doc points into. */
struct meta_doc {
    struct json_doc *doc;
    char *text;
};
/* `unread`: only checked, where a file holds attributes alone. Not there: true with doc->doc NULL. */
bool meta_get(const struct reading *r, bool unread, struct meta_doc *doc);
void meta_doc_release(struct meta_doc *doc);

/* m->chunks and its checks: rank, no chunk of length 0, sizes that fit 64 bits. Needs m->dtype. */
bool meta_grid(const struct reading *r, const struct json *shape, const struct json *cell, const char *cell_name);
/* m->attributes, and m->dimension_names from _ARRAY_DIMENSIONS. `attributes` NULL or null: none. */
bool meta_attributes(const struct reading *r, const struct json *attributes);
/* A list of `rank` strings (or nulls, if `nullable`) to m->dimension_names, which is empty. False: it is none such,
 * and nothing was taken. Without memory for the names r->err is filled. */
bool meta_dimension_names(const struct reading *r, const struct json *names, bool nullable);
/* m->fill. */
bool meta_fill(const struct reading *r, const struct json *value);

/* One bytes-to-bytes codec: its name without "numcodecs.", and its parameters (v2: the object that holds the id).
 * *known false: no codec of ours, nothing was said. */
bool codec_from_json(const struct reading *r, const char *name, const struct json *parameters, uint32_t item_bytes,
                     struct codec *out, bool *known);
/* {"id": "blosc", ...} and {"name": "blosc", "configuration": {...}} */
void codec_to_json_v2(const struct codec *c, struct text *out);
void codec_to_json_v3(const struct codec *c, struct text *out);

/* "[1, 2, 3]" */
void meta_list(const uint64_t *numbers, unsigned count, struct text *out);

/* The documents of both dialects. Reading starts from a zeroed array_meta, which the caller releases on failure. */
bool zarr2_read(const struct reading *r, const struct json *zarray);
bool zarr3_read(const struct reading *r, const struct json *root);
bool zarr2_writable(const struct array_meta *m, struct error *err);
void zarr2_array_text(const struct array_meta *m, struct text *out);
/* False: there are no attributes to write. */
bool zarr2_attributes_text(const struct array_meta *m, struct text *out);
void zarr3_text(const struct array_meta *m, struct text *out);

/* detect.c: the store's root has no array metadata; say what it is instead. Always false. */
bool not_an_array(const struct store *s, struct error *err);

#endif
