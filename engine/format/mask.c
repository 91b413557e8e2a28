/* What xarray masks, when an array changes its format.
 *
 * For a v2 array xarray takes fill_value as the missing value; for a v3 array it takes the attribute _FillValue, and
 * fill_value only fills. Copied as they are, zeros of a v3 array would become missing in v2, and what was missing in v2
 * would become numbers in v3. Arrays without names of dimensions are none of xarray's, and keep what they have.
 *
 * Source: xarray 2026.9, backends/zarr.py: FillValueCoder, open_store_variable.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/format/fill_value.h"
#include "engine/format/meta.h"

static const char mask_key[] = "_FillValue";

static bool is_xarrays(const struct array_meta *m)
{
    bool named = m->chunks.rank > 0;

    for (unsigned i = 0; i < m->chunks.rank; i++)
        named = named && m->dimension_names[i];
    return named;
}

static bool no_memory(struct error *err)
{
    return error_at(err, ERR_FIT, SPAN_NONE, "no memory for an array's attributes");
}

/* The attributes become `text`, which is used up. */
static bool replace_attributes(struct array_meta *m, struct text *text, struct error *err)
{
    if (text->cut) {
        text_release(text);
        return no_memory(err);
    }
    free(m->attributes);
    m->attributes = text_detach(text);
    return true;
}

/* "xarray shows the fill value -999.0" */
static void add_shown_missing(const struct array_meta *m, struct text *notes)
{
    text_add(notes, "xarray shows the fill value ");
    array_fill_text(m, notes);
}

static bool add_mask(struct array_meta *m, struct text *notes, struct error *err)
{
    struct text value, text;
    bool ok = true;

    text_init(&value, 64);
    if (mask_to_json(m->fill, m->dtype, &value)) {
        text_init(&text, 8 * (size_t)METADATA_BYTES_MAX);
        text_addf(&text, "{\"%s\": %s", mask_key, value.chars);
        text_add(&text, m->attributes && strcmp(m->attributes, "{}") ? ", " : "}");
        if (m->attributes && strcmp(m->attributes, "{}"))
            text_add(&text, m->attributes + 1);
        text.cut = text.cut || value.cut;
        ok = replace_attributes(m, &text, err);
        add_shown_missing(m, notes);
        text_addf(notes, " as missing; in zarr3 it goes by the attribute %s, which is added\n", mask_key);
    }
    text_release(&value);
    return ok;
}

/* fill_value becomes what the attribute says. False: `err` tells. */
static bool take_mask(struct array_meta *m, const struct json *attributes, struct text *notes, struct error *err)
{
    struct text text;

    m->fill_undefined = false;
    add_shown_missing(m, notes);
    text_addf(notes, " as missing, by the attribute %s; in zarr2 it goes by the fill value itself, which is now that\n",
              mask_key);
    if (attributes->count == 1) {
        free(m->attributes);
        m->attributes = NULL;
        return true;
    }
    text_init(&text, 8 * (size_t)METADATA_BYTES_MAX);
    json_write(attributes, mask_key, &text);
    return replace_attributes(m, &text, err);
}

static void take_no_mask(struct array_meta *m, bool unreadable, struct text *notes)
{
    m->fill_undefined = true;
    memset(m->fill, 0, sizeof m->fill);
    if (unreadable)
        text_addf(notes, "the attribute %s is no %s: it is kept as it is, and the output has no fill value\n", mask_key,
                  dtype_name(m->dtype));
    else
        text_add(notes, "the output has no fill value, for xarray would show it as missing in zarr2; so every chunk is "
                 "written\n");
}

bool array_mask_carry(struct array_meta *m, enum format_kind from, struct text *notes, struct error *err)
{
    struct json_doc *attributes = NULL, *mask = NULL;
    uint8_t item[ITEM_BYTES_MAX] = { 0 };
    bool ok = true, starved = false;
    char why[8];

    if (m->format == from || !is_xarrays(m))
        return true;
    if (m->attributes && !json_parse_unread(&attributes, m->attributes, strlen(m->attributes), why, sizeof why))
        return no_memory(err);      /* it was read before */
    if (attributes)
        mask = json_parse_member(json_root(attributes), mask_key, &starved);
    if (starved) {
        ok = no_memory(err);
    } else if (m->format == FORMAT_ZARR3) {
        if (!mask && !m->fill_undefined)
            ok = add_mask(m, notes, err);
    } else if (mask && mask_from_json(json_root(mask), m->dtype, item)) {
        memcpy(m->fill, item, sizeof item);
        ok = take_mask(m, json_root(attributes), notes, err);
    } else {
        take_no_mask(m, mask, notes);
    }
    json_free(mask);
    json_free(attributes);
    return ok;
}
