/* info: what an array is, from its metadata and a look at its chunks; or, of a group, a line about each of its arrays.
 *
 * One array of a group is open at a time, and what is said of it is a line, or goes out at once: 10^4 of them take a few
 * MiB.
 */
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/scan_array.h"
#include "engine/base/size.h"
#include "engine/format/group.h"
#include "engine/io/os.h"

/* How long the look at the chunks may take: a directory of 10^7 files is then described by what was seen. */
enum { LOOK_SECONDS = 5 };
/* Directories that are looked at for a group's arrays, and what its table may take. */
enum { GROUP_LOOKED_AT_MAX = 20000, TABLE_BYTES_MAX = 32 << 20 };
/* Of the table; cells longer than that push what follows to the right. */
enum { COLUMNS = 7, COLUMN_WIDTH_MAX = 40 };

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

/* The members of its object. */
static void add_json(const struct array_file *a, const char *codec, const char *fill, struct text *out)
{
    const struct array_meta *m = &a->meta;
    const struct chunk_census *census = &a->census;
    uint64_t raw = array_file_bytes(a), stored = stored_bytes(census);

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
        text_addf(out, "%.4f", (double)raw / (double)stored);
    else
        text_add(out, "null");
}

static void describe(const struct array_file *a, bool json, struct text *out)
{
    struct text codec, fill;

    text_init(&codec, 1024);
    text_init(&fill, 1024);
    codec_chain_text(&a->meta.codecs, &codec);
    array_fill_text(&a->meta, &fill);
    if (json)
        add_json(a, codec.chars, fill.chars, out);
    else
        add_text(a, codec.chars, fill.chars, out);
    text_release(&fill);
    text_release(&codec);
}

/* ---- groups ---- */

static void add_headings(struct text *rows)
{
    text_add(rows, "name\tdtype\tshape\tchunks\tcodec\tbytes\tstored\n");
}

/* Cells end in a tab, the last one in a line feed. */
static void add_row(const struct array_file *a, const char *name, struct text *rows)
{
    const struct grid *chunks = &a->meta.chunks;
    struct text codec;

    text_init(&codec, 1024);
    codec_chain_text(&a->meta.codecs, &codec);
    text_add_shown(rows, name);
    text_addf(rows, "\t%s\t", dtype_name(a->meta.dtype));
    answer_shape(rows, chunks->rank, chunks->shape);
    text_add(rows, "\t");
    answer_shape(rows, chunks->rank, chunks->cell);
    text_addf(rows, "\t%s\t%s\t%s%s\n", codec.chars, SIZE_TEXT(array_file_bytes(a)),
              a->census.sampled < a->census.chunks ? "about " : "", SIZE_TEXT(stored_bytes(&a->census)));
    text_release(&codec);
}

/* What is wrong with it takes all other columns. */
static void add_wrong_row(const char *name, const struct error *why, struct text *rows)
{
    text_add_shown(rows, name);
    text_add(rows, "\t");
    text_add_shown(rows, why->message);
    text_add(rows, "\n");
}

/* One cell from *at on, past what ends it. */
static size_t next_cell(const char **at, const char **cell, bool *last)
{
    size_t length = strcspn(*at, "\t\n");

    *cell = *at;
    *last = (*at)[length] != '\t';
    *at += length + ((*at)[length] != '\0');
    return length;
}

/* In characters, of UTF-8. */
static size_t cell_width(const char *cell, size_t length)
{
    size_t width = 0;

    for (size_t i = 0; i < length; i++)
        width += ((unsigned char)cell[i] & 0xc0) != 0x80;
    return width;
}

static void print_table(const struct text *rows)
{
    size_t widths[COLUMNS] = { 0 }, length, width;
    const char *cell, *at;
    unsigned column = 0;
    bool last;

    for (at = rows->chars; *at; column = last ? 0 : column + 1) {
        length = next_cell(&at, &cell, &last);
        if (!last && column < COLUMNS)
            widths[column] = size_max(widths[column], size_min(cell_width(cell, length), COLUMN_WIDTH_MAX));
    }
    for (at = rows->chars, column = 0; *at; column = last ? 0 : column + 1) {
        length = next_cell(&at, &cell, &last);
        width = cell_width(cell, length);
        printf("  %.*s%*s", (int)length, cell,
               last || column >= COLUMNS || width > widths[column] ? 0 : (int)(widths[column] - width), "");
        if (last)
            putchar('\n');
    }
}

/* An array of the group; what was odd in its metadata is said when it is asked for by itself. */
static bool open_member(struct array_file *a, const char *path, double until, struct error *err)
{
    double left = until - os_now();

    *a = (struct array_file){ .path = path };
    text_init(&a->warnings, 0);
    return array_open(&a->store, &a->meta, path, SPAN_NONE, &a->warnings, err) &&
           array_census(&a->meta, a->store, left > 0 ? left : 0, &a->census, err);
}

/* JSON goes out array by array; rows are collected, for their columns. */
static void describe_member(const char *path, const char *name, double until, bool json, struct text *out)
{
    struct error why = { 0 };
    struct array_file a;
    bool ok = open_member(&a, path, until, &why);

    if (json) {
        text_add(out, "{");
        answer_json_text(out, "name", name);
        if (ok)
            describe(&a, true, out);
        else
            text_add(out, "\"error\": ");
        if (!ok)
            text_add_json_string(out, why.message);
        text_add(out, "}");
        fputs(out->chars, stdout);
        text_clear(out);
    } else if (ok) {
        add_row(&a, name, out);
    } else {
        add_wrong_row(name, &why, out);
    }
    array_file_release(&a);
}

static void print_members(const struct group *g, const char *root, bool json, struct text *out)
{
    double until = os_now() + LOOK_SECONDS;
    struct text path;

    text_init(&path, ANSWER_BYTES_MAX);
    for (unsigned i = 0; i < g->count; i++) {
        text_clear(&path);
        text_addf(&path, "%s%s%s", root, root[0] && root[strlen(root) - 1] == '/' ? "" : "/", g->arrays[i].name);
        if (json && i)
            fputs(", ", stdout);
        describe_member(path.chars, g->arrays[i].name, until, json, out);
    }
    text_release(&path);
}

static void print_unfinished(const struct group *g, bool json)
{
    struct text name;

    text_init(&name, ANSWER_BYTES_MAX);
    for (unsigned i = g->count; i < g->count + g->unfinished_count; i++) {
        text_clear(&name);
        if (json)
            text_add_json_string(&name, g->arrays[i].name);
        else
            text_add_shown(&name, g->arrays[i].name);
        printf(json ? "%s%s" : "%sunfinished: %s\n", json && i > g->count ? ", " : "", name.chars);
    }
    text_release(&name);
}

static bool print_group(const struct group *g, const char *root, bool json, struct error *err)
{
    struct text out;

    text_init(&out, TABLE_BYTES_MAX);
    if (json) {
        text_add(&out, "{\"schema\": 1, ");
        answer_json_text(&out, "path", root);
        text_addf(&out, "\"complete\": %s, \"arrays\": [", g->cut ? "false" : "true");
        fputs(out.chars, stdout);
        text_clear(&out);
    } else {
        text_add_shown(&out, root);
        printf("%s: %s%s\n", out.chars, g->cut ? "at least " : "", COUNTED_TEXT(g->count, "array"));
        text_clear(&out);
        if (g->count)
            add_headings(&out);
    }
    print_members(g, root, json, &out);
    if (json)
        fputs("], \"unfinished\": [", stdout);
    else
        print_table(&out);
    print_unfinished(g, json);
    fputs(json ? "]}\n" : "", stdout);
    if (out.cut)
        error_at(err, ERR_FIT, SPAN_NONE, "no memory for the answer");
    text_release(&out);
    return err->code == ERR_NONE && answer_flush(err);
}

/* False, and no error: it is no group that has arrays. */
static bool info_group(const struct word *word, bool json, struct error *err)
{
    struct error ignored = { 0 };
    struct store *store;
    struct group group;
    bool is_group;

    if (!store_open(&store, word->text, word->span, &ignored))
        return false;
    if (group_root_is_array(store)) {
        store_close(store);
        return false;
    }
    is_group = group_list(&group, store, GROUP_LOOKED_AT_MAX) && (group.count || group.unfinished_count) &&
               !group.kerchunk;
    if (is_group)
        print_group(&group, word->text, json, err);
    group_release(&group);
    store_close(store);
    return is_group;
}

int cmd_info(struct invocation *v, struct error *err)
{
    const struct word *word = &v->line->positionals[0];
    bool json = wants_json(v->line);
    struct array_file a;
    struct text out;

    if (info_group(word, json, err))
        return 0;
    text_init(&out, ANSWER_BYTES_MAX);
    if (array_file_open(&a, word, LOOK_SECONDS, err)) {
        text_add(&out, json ? "{\"schema\": 1, " : "");
        describe(&a, json, &out);
        text_add(&out, json ? "}\n" : "");
        answer_print(&out, err);
    }
    array_file_release(&a);
    text_release(&out);
    return 0;
}
