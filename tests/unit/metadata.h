/* metadata.h - arrays whose metadata a test wrote by hand: read it, expect a refusal, write it again. */
#ifndef SLUICE_TESTS_METADATA_H
#define SLUICE_TESTS_METADATA_H

#include "engine/format/format.h"
#include "tests/unit/directory.h"
#include "tests/unit/test.h"

/* Read the array in the directory. Complaints go to `err`, warnings to `warned` (NULL: there must be none). */
static inline bool metadata_read(const struct directory *d, struct array_meta *m, char *warned, struct error *err)
{
    struct text warnings;
    struct store *s;
    bool ok;

    text_init(&warnings, 4000);
    ok = array_open(&s, m, d->path, SPAN_NONE, &warnings, err);
    if (warned)
        strcpy(warned, warnings.chars);
    else if (ok)
        CHECK(!warnings.length);
    text_release(&warnings);
    store_close(s);
    return ok;
}

/* `json` under `key` is an array that can be read; to be released. */
static inline struct array_meta metadata_of(const char *key, const char *json, char *warned)
{
    struct directory d = directory_new();
    struct array_meta m;
    struct error err = { 0 };

    directory_put(&d, key, json);
    if (!metadata_read(&d, &m, warned, &err)) {
        error_print(&err, stderr);
        test_failures_here++;
    }
    directory_remove(&d);
    return m;
}

/* `json` under `key` is refused with a message that names the file and holds `words`. */
static inline bool metadata_refused(const char *key, const char *json, const char *words)
{
    struct directory d = directory_new();
    struct array_meta m;
    struct error err = { 0 };
    bool ok, told;

    directory_put(&d, key, json);
    ok = metadata_read(&d, &m, (char[4001]){ 0 }, &err);
    told = !ok && err.code == ERR_INPUT && strstr(err.message, words) && strstr(err.message, key);
    if (!told)
        fprintf(stderr, "%s\n    -> %s: %s\n", json, ok ? "accepted" : "refused", err.message);
    array_meta_release(&m);
    directory_remove(&d);
    return told;
}

/* Write `m` and give back what stands under `key`; "" if there is nothing. To be freed. */
static inline char *metadata_written(const struct array_meta *m, const char *key)
{
    struct directory d = directory_new();
    struct error err = { 0 };
    struct store *s;
    uint64_t bytes;
    char *chars = NULL;

    if (!store_stage(&s, directory_path(&d, "out"), false, "", SPAN_NONE, &err) || !array_meta_write(m, s, &err) ||
        !store_get(s, key, 1 << 20, &chars, &bytes, &err)) {
        error_print(&err, stderr);
        test_failures_here++;
    }
    store_close(s);
    directory_remove(&d);
    return chars ? chars : strdup("");
}

/* Write `m`, read it again. */
static inline struct array_meta metadata_again(const struct array_meta *m)
{
    struct directory d = directory_new(), out;
    struct array_meta again = { 0 };
    struct error err = { 0 };
    struct store *s;

    snprintf(out.path, sizeof out.path, "%.200s/out", d.path);
    if (!store_stage(&s, out.path, false, "", SPAN_NONE, &err) || !array_meta_write(m, s, &err) ||
        !store_publish(s, &err) || !metadata_read(&out, &again, NULL, &err)) {
        error_print(&err, stderr);
        test_failures_here++;
    }
    store_close(s);
    directory_remove(&d);
    return again;
}

/* Everything but the key style's and the codecs' details, which tests look at themselves. */
static inline bool metadata_equal(const struct array_meta *a, const struct array_meta *b)
{
    bool equal = a->format == b->format && a->chunks.rank == b->chunks.rank && dtype_equal(a->dtype, b->dtype) &&
                 !memcmp(a->fill, b->fill, a->dtype.item_bytes) && a->fill_undefined == b->fill_undefined &&
                 a->codecs.count == b->codecs.count && a->codecs.big_endian == b->codecs.big_endian &&
                 a->codecs.transposed == b->codecs.transposed &&
                 !strcmp(a->attributes ? a->attributes : "", b->attributes ? b->attributes : "");

    for (unsigned i = 0; equal && i < a->chunks.rank; i++) {
        const char *one = a->dimension_names[i], *two = b->dimension_names[i];

        equal = a->chunks.shape[i] == b->chunks.shape[i] && a->chunks.cell[i] == b->chunks.cell[i] &&
                a->codecs.order[i] == b->codecs.order[i] && !one == !two && (!one || !strcmp(one, two));
    }
    for (unsigned i = 0; equal && i < a->codecs.count; i++)
        equal = !memcmp(&a->codecs.codecs[i], &b->codecs.codecs[i], sizeof(struct codec));
    return equal;
}

#endif
