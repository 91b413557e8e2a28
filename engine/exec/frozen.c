#include "engine/exec/frozen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/size.h"

/* Raised when the same request gives other bytes, or a plan or a segment means something else, than in the version
 * before. */
enum { ENGINE_VERSION = 2, THREADS_MAX = 4096 };

struct part {
    char name[IDENTITY_NAME_BYTES];
    char text[IDENTITY_TEXT_BYTES];
};

struct identity {
    bool no_memory;                 /* it is not what it should be */
    unsigned count;
    struct part parts[IDENTITY_PARTS_MAX];
};

/* The text is begun anew. `whose` may be "". */
static void add_part(struct identity *id, const char *whose, const char *what, struct text *text)
{
    struct part *part = &id->parts[id->count++];

    snprintf(part->name, sizeof part->name, "%s%s", whose, what);
    id->no_memory = id->no_memory || text->no_memory;
    snprintf(part->text, sizeof part->text, "%s", text->chars);
    text_clear(text);
}

/* Where a path leads to, if it is there; else as it is spelled. */
static void absolute_path(const char *path, struct text *out)
{
    char *real = realpath(path, NULL), here[PATH_MAX];

    if (!real && errno == ENOMEM)
        out->cut = out->no_memory = true;
    if (real)
        text_add(out, real);
    else if (path[0] == '/' || !getcwd(here, sizeof here))
        text_add(out, path);
    else
        text_addf(out, "%s/%s", here, path);
    free(real);
}

void path_pack(const char *path, struct text *out)
{
    size_t length = path_length(path);
    char *directory = strndup(path, length), *slash;

    if (!directory)
        out->cut = out->no_memory = true;
    slash = directory ? strrchr(directory, '/') : NULL;
    if (slash && slash != directory)
        *slash = '\0';
    absolute_path(!slash ? "." : slash == directory ? "/" : directory, out);
    text_addf(out, "/%s", slash ? slash + 1 : directory ? directory : "");
    free(directory);
}

static void add_shape(const uint64_t *length, unsigned rank, struct text *out)
{
    for (unsigned i = 0; i < rank; i++)
        text_addf(out, "%s%llu", i ? "," : "", (unsigned long long)length[i]);
}

/* What blosc frames are framed in, beside what the codec is called. Empty without blosc. */
static void add_framing(const struct codec_chain *c, struct text *out)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->codecs[i].typesize)
            text_addf(out, "%stypesize %u", out->length ? ", " : "", c->codecs[i].typesize);
        if (c->codecs[i].blocksize)
            text_addf(out, "%sblocksize %u", out->length ? ", " : "", c->codecs[i].blocksize);
    }
}

/* What else decides a chunk's bytes and keys, and what travels along. */
static void add_details(struct identity *id, const char *whose, const struct array_meta *m, struct text *t)
{
    unsigned rank = m->chunks.rank;
    uint64_t order[RANK_MAX] = { 0 };

    text_add(t, m->fill_undefined ? "not defined, 0x" : "0x");
    for (unsigned i = m->dtype.item_bytes; i-- > 0; )
        text_addf(t, "%02x", m->fill[i]);
    add_part(id, whose, "fill value", t);
    text_add(t, m->codecs.big_endian ? "big-endian" : "little-endian");
    add_part(id, whose, "byte order", t);
    for (unsigned i = 0; i < rank; i++)
        order[i] = m->codecs.order[i];
    add_shape(order, rank, t);
    add_part(id, whose, "order of axes", t);
    text_addf(t, "%s%c", m->keys.with_c ? "c" : "", m->keys.separator);
    add_part(id, whose, "chunk keys", t);
    for (unsigned i = 0; i < rank; i++)
        text_addf(t, "%s%s", i ? "," : "", m->dimension_names[i] ? m->dimension_names[i] : "");
    add_part(id, whose, "dimension names", t);
    if (m->attributes)
        text_addf(t, "%llu bytes, checksum %016llx", (unsigned long long)strlen(m->attributes),
                  (unsigned long long)XXH3_64bits(m->attributes, strlen(m->attributes)));
    add_part(id, whose, "attributes", t);
}

static void add_meta(struct identity *id, const struct array_meta *m, bool input, struct text *t)
{
    const char *whose = input ? "input's " : "output's ";

    text_add(t, format_name(m->format));
    add_part(id, whose, "format", t);
    add_shape(m->chunks.shape, m->chunks.rank, t);
    text_addf(t, " of %s", dtype_name(m->dtype));
    add_part(id, whose, "shape", t);
    add_shape(m->chunks.cell, m->chunks.rank, t);
    add_part(id, whose, "chunks", t);
    codec_chain_text(&m->codecs, t);
    add_part(id, whose, "codec", t);
    add_framing(&m->codecs, t);
    add_part(id, whose, "blosc frames", t);
    add_details(id, whose, m, t);
}

static struct identity *identity_of(const struct graph *g)
{
    struct identity *id = calloc(1, sizeof *id);
    struct text t;

    if (!id)
        return NULL;
    text_init(&t, IDENTITY_TEXT_BYTES - 1);
    text_addf(&t, "sluice engine %d, ", ENGINE_VERSION);
    codec_versions_text(&t);
    add_part(id, "", "program", &t);
    absolute_path(store_path(g->source_store), &t);
    add_part(id, "", "input", &t);
    add_meta(id, g->source, true, &t);
    path_pack(g->target_path, &t);
    add_part(id, "", "output", &t);
    add_meta(id, g->target, false, &t);
    text_add(&t, g->write_empty_chunks ? "write" : "skip");
    add_part(id, "", "empty chunks", &t);
    text_add(&t, g->refuse_missing_chunks ? "refuse" : "fill");
    add_part(id, "", "missing chunks", &t);
    text_release(&t);
    return id;
}

void identity_pack(const struct graph *g, struct text *to)
{
    struct identity *id = identity_of(g);

    if (!id || id->no_memory) {
        to->cut = to->no_memory = true;
        free(id);
        return;
    }
    pack_number(to, id->count);
    for (unsigned i = 0; i < id->count; i++) {
        pack_text(to, id->parts[i].name);
        pack_text(to, id->parts[i].text);
    }
    free(id);
}

void identity_compare(struct unpack *u, const struct graph *g, struct text *differences)
{
    struct identity *id = identity_of(g);
    uint64_t count = unpack_number_to(u, IDENTITY_PARTS_MAX);

    if (!id || id->no_memory)
        differences->cut = differences->no_memory = true;
    else if (count != id->count)
        text_add(differences, "it was written by another version of sluice\n");
    for (uint64_t i = 0; i < count && !u->bad; i++) {
        const struct part *now = id && i < id->count ? &id->parts[i] : NULL;
        char name[IDENTITY_NAME_BYTES], text[IDENTITY_TEXT_BYTES];

        unpack_text(u, name, sizeof name);
        unpack_text(u, text, sizeof text);
        if (!now || u->bad || (strcmp(name, now->name) == 0 && strcmp(text, now->text) == 0))
            continue;
        /* What one of them does not have at all follows from what was said already: the framing, where the codec differs. */
        if ((text[0] && now->text[0]) || differences->length == 0)
            text_addf(differences, "%s then: %s\n%s now: %s\n", name, text[0] ? text : "none", now->name,
                      now->text[0] ? now->text : "none");
    }
    free(id);
}

/* ---- the plan ---- */

static void grid_pack(const struct grid *g, struct text *to)
{
    pack_number(to, g->rank);
    pack_numbers(to, g->shape, g->rank);
    pack_numbers(to, g->cell, g->rank);
}

static void grid_unpack(struct unpack *u, const struct grid *array, struct grid *g)
{
    g->rank = (unsigned)unpack_number_to(u, RANK_MAX);
    unpack_numbers(u, g->shape, g->rank);
    unpack_numbers(u, g->cell, g->rank);
    u->bad = u->bad || g->rank != array->rank;
    for (unsigned i = 0; i < g->rank && !u->bad; i++)
        u->bad = g->shape[i] != array->shape[i] || (g->cell[i] == 0 && g->shape[i] > 0);
}

static void walk_pack(const struct walk *w, struct text *to)
{
    pack_numbers(to, w->group, RANK_MAX);
    pack_number(to, w->ordered);
    for (unsigned i = 0; i < RANK_MAX; i++)
        pack_number(to, w->order[i]);
}

static void walk_unpack(struct unpack *u, unsigned rank, struct walk *w)
{
    bool seen[RANK_MAX] = { false };

    unpack_numbers(u, w->group, RANK_MAX);
    w->ordered = unpack_number_to(u, 1);
    for (unsigned i = 0; i < RANK_MAX; i++)
        w->order[i] = (uint8_t)unpack_number_to(u, RANK_MAX - 1);
    for (unsigned i = 0; i < rank && w->ordered; i++) {
        u->bad = u->bad || w->order[i] >= rank || seen[w->order[i]];
        seen[w->order[i]] = true;
    }
}

/* The numbers of stage_memory, in the order of their declaration. */
enum { MEMORY_NUMBERS = 11 };

static void memory_numbers(const struct stage_memory *m, uint64_t *n)
{
    uint64_t numbers[MEMORY_NUMBERS] = {
        m->tile_bytes, m->carry_bytes, m->stream_bytes, m->append_bytes, m->reads_bytes, m->piece_bytes_max,
        m->decode_scratch_bytes, m->encode_scratch_bytes, m->write_bytes, m->index_bytes, m->library_bytes,
    };

    memcpy(n, numbers, sizeof numbers);
}

static void memory_from_numbers(const uint64_t *n, struct stage_memory *m)
{
    *m = (struct stage_memory){
        .tile_bytes = n[0], .carry_bytes = n[1], .stream_bytes = n[2], .append_bytes = n[3], .reads_bytes = n[4],
        .piece_bytes_max = n[5], .decode_scratch_bytes = n[6], .encode_scratch_bytes = n[7], .write_bytes = n[8],
        .index_bytes = n[9], .library_bytes = n[10],
    };
}

static void stage_pack(const struct stage *s, struct text *to)
{
    uint64_t memory[MEMORY_NUMBERS];

    pack_text(to, s->name);
    pack_number(to, s->source);
    pack_number(to, s->sink);
    grid_pack(&s->tasks, to);
    walk_pack(&s->walk, to);
    grid_pack(&s->parts, to);
    walk_pack(&s->parts_walk, to);
    pack_number(to, s->piece_raw_bytes);
    pack_number(to, s->carries);
    pack_number(to, s->carry_axis);
    pack_number(to, s->workers);
    pack_number(to, s->reads_in_flight);
    memory_numbers(&s->memory, memory);
    pack_numbers(to, memory, MEMORY_NUMBERS);
    pack_number(to, s->memory.write_slots);
}

static void stage_unpack(struct unpack *u, const struct grid *array, struct stage *s, char *name, size_t name_bytes)
{
    uint64_t memory[MEMORY_NUMBERS];

    unpack_text(u, name, name_bytes);
    s->name = name;
    s->source = (enum stage_source)unpack_number_to(u, FROM_SEGMENTS);
    s->sink = (enum stage_sink)unpack_number_to(u, TO_RANGES);
    grid_unpack(u, array, &s->tasks);
    walk_unpack(u, array->rank, &s->walk);
    grid_unpack(u, array, &s->parts);
    walk_unpack(u, array->rank, &s->parts_walk);
    s->piece_raw_bytes = unpack_number(u);
    s->carries = unpack_number_to(u, 1);
    s->carry_axis = (unsigned)unpack_number_to(u, RANK_MAX);
    s->workers = (unsigned)unpack_number_to(u, THREADS_MAX);
    s->reads_in_flight = (unsigned)unpack_number_to(u, THREADS_MAX);
    unpack_numbers(u, memory, MEMORY_NUMBERS);
    memory_from_numbers(memory, &s->memory);
    s->memory.write_slots = (unsigned)unpack_number_to(u, THREADS_MAX);
    u->bad = u->bad || s->workers == 0 || s->reads_in_flight == 0 || (s->carries && s->carry_axis >= array->rank);
}

void plan_pack(const struct graph *g, struct text *to)
{
    const struct scratch_layout *l = &g->scratch;

    pack_number(to, g->stage_count);
    for (unsigned i = 0; i < g->stage_count; i++)
        stage_pack(&g->stages[i], to);
    pack_numbers(to, (uint64_t[]){ l->block_bytes, l->memory_bytes, l->predicted_bytes, l->give_back, l->encoding }, 5);
    pack_number(to, g->pool_bytes);
    pack_text(to, g->plan_name ? g->plan_name : "");
    pack_number(to, (uint64_t)(g->predicted_seconds * 1e6));
}

/* Do the stages follow one from another, and fit the pool? */
static bool plan_is_sound(const struct graph *g)
{
    const struct stage *last = &g->stages[g->stage_count - 1];
    uint64_t pool_bytes = 0;

    for (unsigned i = 0; i < g->stage_count; i++) {
        bool before = i > 0 && g->stages[i - 1].sink == TO_SEGMENTS;

        if ((g->stages[i].source == FROM_SEGMENTS) != before)
            return false;
        pool_bytes = size_max(pool_bytes, stage_pool_bytes(&g->stages[i]));
    }
    return last->sink != TO_SEGMENTS && size_add_sat(pool_bytes, g->scratch.memory_bytes) <= g->pool_bytes &&
           g->pool_bytes < UINT64_MAX;
}

bool plan_unpack(struct unpack *u, const struct grid *array, struct frozen *f)
{
    struct graph *g = &f->graph;
    struct scratch_layout *l = &g->scratch;

    memset(f, 0, sizeof *f);
    g->stage_count = (unsigned)unpack_number_to(u, STAGES_MAX);
    for (unsigned i = 0; i < g->stage_count && !u->bad; i++)
        stage_unpack(u, array, &g->stages[i], f->stage_names[i], sizeof f->stage_names[i]);
    l->block_bytes = unpack_number(u);
    l->memory_bytes = unpack_number(u);
    l->predicted_bytes = unpack_number(u);
    l->give_back = unpack_number_to(u, 1);
    l->encoding = (enum spill_encoding)unpack_number_to(u, SPILL_LZ4);
    g->pool_bytes = unpack_number(u);
    unpack_text(u, f->plan_name, sizeof f->plan_name);
    g->plan_name = f->plan_name;
    g->predicted_seconds = (double)unpack_number(u) / 1e6;
    return !u->bad && u->left == 0 && g->stage_count > 0 && plan_is_sound(g);
}
