/* info: what an array is, from its metadata and a look at its chunks. */
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/scan_array.h"
#include "engine/base/size.h"

/* How long the look at the chunks may take: a directory of 10^7 files is then described by what was seen. */
enum { LOOK_SECONDS = 5 };

/* Bytes of all objects, as far as the census can tell; *exact: it counted every chunk and they are of one size. */
static uint64_t stored_bytes(const struct chunk_census *census)
{
    uint64_t present = census->present;

    if (!census->counted && census->sampled)
        present = (uint64_t)((double)census->chunks * (double)census->sampled_present / (double)census->sampled);
    return size_mul_sat(present, census->encoded_bytes_mean);
}

static void add_dimensions(const struct array_meta *m, bool json, struct text *out)
{
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        text_add(out, i ? json ? ", " : "," : "");
        if (json && m->dimension_names[i])
            text_add_json_string(out, m->dimension_names[i]);
        else
            text_add_shown(out, m->dimension_names[i] ? m->dimension_names[i] : json ? "null" : "-");
    }
}

static bool has_names(const struct array_meta *m)
{
    for (unsigned i = 0; i < m->chunks.rank; i++)
        if (m->dimension_names[i])
            return true;
    return false;
}

static void add_text(const struct array_file *a, const char *codec, const char *fill, struct text *out)
{
    const struct array_meta *m = &a->meta;
    const struct chunk_census *census = &a->census;
    uint64_t raw = array_file_bytes(a), stored = stored_bytes(census);

    text_add_shown(out, a->path);
    text_addf(out, ": %s, %s ", format_name(m->format), dtype_name(m->dtype));
    answer_shape(out, m->chunks.rank, m->chunks.shape);
    text_addf(out, ", %s\n", SIZE_TEXT(raw));
    if (has_names(m)) {
        text_add(out, "  dimensions  (");
        add_dimensions(m, false, out);
        text_add(out, ")\n");
    } else if (m->chunks.rank) {
        text_add(out, "  dimensions  no names\n");
    }
    text_add(out, "  chunks      ");
    answer_shape(out, m->chunks.rank, m->chunks.cell);
    text_addf(out, ", %s each, %s of them\n", SIZE_TEXT(array_chunk_bytes(m)), COUNT_TEXT(census->chunks));
    if (census->counted)
        text_addf(out, "  present     %s of %s\n", COUNT_TEXT(census->present),
                  COUNTED_TEXT(census->chunks, "chunk"));
    else
        text_addf(out, "  present     %s of %s looked at (not all were counted)\n",
                  COUNT_TEXT(census->sampled_present), COUNTED_TEXT(census->sampled, "chunk"));
    text_addf(out, "  codec       %s%s%s\n", codec, m->codecs.big_endian ? ", big-endian" : "",
              m->codecs.transposed ? ", transposed" : "");
    text_add(out, "  fill        ");
    answer_value(out, fill);
    text_addf(out, "%s\n", m->fill_undefined ? " (undefined: read as zero)" : "");
    text_addf(out, "  stored      about %s", SIZE_TEXT(stored));
    if (stored)
        text_addf(out, ", ratio %.2f", (double)raw / (double)stored);
    if (census->sampled < census->chunks)
        text_addf(out, " (estimated from %s of %s)", COUNT_TEXT(census->sampled), COUNTED_TEXT(census->chunks, "chunk"));
    text_add(out, "\n");
}

static void add_json(const struct array_file *a, const char *codec, const char *fill, struct text *out)
{
    const struct array_meta *m = &a->meta;
    const struct chunk_census *census = &a->census;
    uint64_t raw = array_file_bytes(a), stored = stored_bytes(census);

    text_add(out, "{\"schema\": 1, ");
    answer_json_text(out, "path", a->path);
    answer_json_text(out, "format", format_name(m->format));
    answer_json_text(out, "dtype", dtype_name(m->dtype));
    text_add(out, "\"shape\": ");
    answer_shape_json(out, m->chunks.rank, m->chunks.shape);
    text_add(out, ", \"chunks\": ");
    answer_shape_json(out, m->chunks.rank, m->chunks.cell);
    text_add(out, ", \"dimensions\": [");
    add_dimensions(m, true, out);
    text_add(out, "], ");
    answer_json_text(out, "codec", codec);
    text_add(out, "\"fill\": ");
    text_add(out, m->fill_undefined ? "null" : fill);
    text_addf(out, ", \"bytes\": %llu, \"chunk_bytes\": %llu, \"chunk_count\": %llu, ", (unsigned long long)raw,
              (unsigned long long)array_chunk_bytes(m), (unsigned long long)census->chunks);
    if (census->counted)
        text_addf(out, "\"chunks_present\": %llu, ", (unsigned long long)census->present);
    else
        text_add(out, "\"chunks_present\": null, ");
    text_addf(out, "\"chunks_sampled\": %llu, \"stored_bytes_estimate\": %llu, \"ratio\": ",
              (unsigned long long)census->sampled, (unsigned long long)stored);
    if (stored)
        text_addf(out, "%.4f}\n", (double)raw / (double)stored);
    else
        text_add(out, "null}\n");
}

int cmd_info(struct invocation *v, struct error *err)
{
    struct array_file a;
    struct text codec, fill, out;

    text_init(&codec, 1024);
    text_init(&fill, 1024);
    text_init(&out, ANSWER_BYTES_MAX);
    if (array_file_open(&a, &v->line->positionals[0], LOOK_SECONDS, err)) {
        codec_chain_text(&a.meta.codecs, &codec);
        array_fill_text(&a.meta, &fill);
        if (wants_json(v->line))
            add_json(&a, codec.chars, fill.chars, &out);
        else
            add_text(&a, codec.chars, fill.chars, &out);
        answer_print(&out, err);
    }
    array_file_release(&a);
    text_release(&out);
    text_release(&fill);
    text_release(&codec);
    return 0;
}
