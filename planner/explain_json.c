/* explain_json.c - a plan for programs: one JSON object, raw numbers in bytes and seconds, "schema": 1. */
#include "planner/planner.h"

#include <inttypes.h>

/* Every member but an object's first has a comma before it: `first` is cleared by the first. */
static void add_key(struct text *out, bool *first, const char *key)
{
    text_add(out, *first ? "" : ", ");
    *first = false;
    text_add_json_string(out, key);
    text_add(out, ": ");
}

static void add_string(struct text *out, bool *first, const char *key, const char *value)
{
    add_key(out, first, key);
    if (value)
        text_add_json_string(out, value);
    else
        text_add(out, "null");
}

/* UINT64_MAX stands for "no number". */
static void add_number(struct text *out, bool *first, const char *key, uint64_t value)
{
    add_key(out, first, key);
    if (value == UINT64_MAX)
        text_add(out, "null");
    else
        text_addf(out, "%" PRIu64, value);
}

static void add_bool(struct text *out, bool *first, const char *key, bool value)
{
    add_key(out, first, key);
    text_add(out, value ? "true" : "false");
}

static void add_lengths(struct text *out, bool *first, const char *key, unsigned rank, const uint64_t *length)
{
    add_key(out, first, key);
    text_add(out, "[");
    for (unsigned i = 0; i < rank; i++)
        text_addf(out, "%s%" PRIu64, i ? ", " : "", length[i]);
    text_add(out, "]");
}

static void add_array(struct text *out, bool *first, const char *key, const struct array_meta *m, const char *path)
{
    struct text codec;
    bool inner = true;

    text_init(&codec, 400);
    codec_chain_text(&m->codecs, &codec);
    add_key(out, first, key);
    text_add(out, "{");
    add_string(out, &inner, "path", path);
    add_string(out, &inner, "format", format_name(m->format));
    add_string(out, &inner, "dtype", dtype_name(m->dtype));
    add_lengths(out, &inner, "shape", m->chunks.rank, m->chunks.shape);
    add_lengths(out, &inner, "chunks", m->chunks.rank, m->chunks.cell);
    add_number(out, &inner, "chunk_bytes", array_chunk_bytes(m));
    add_string(out, &inner, "codec", codec.chars);
    text_add(out, "}");
    text_release(&codec);
}

static void add_census(struct text *out, bool *first, const struct chunk_census *c)
{
    bool inner = true;

    add_key(out, first, "source_chunks");
    text_add(out, "{");
    add_number(out, &inner, "chunks", c->chunks);
    add_bool(out, &inner, "counted", c->counted);
    add_number(out, &inner, "present", c->counted ? c->present : UINT64_MAX);
    add_number(out, &inner, "sampled", c->sampled);
    add_number(out, &inner, "sampled_present", c->sampled_present);
    add_number(out, &inner, "encoded_bytes_mean", c->encoded_bytes_mean);
    text_add(out, "}");
}

static void add_table(struct text *out, bool *first, const struct memory_table *t)
{
    add_key(out, first, "memory");
    text_add(out, "[");
    for (unsigned i = 0; i < t->count; i++) {
        const struct memory_line *l = &t->lines[i];
        bool inner = true;

        text_add(out, i ? ", {" : "{");
        add_string(out, &inner, "what", l->what);
        add_number(out, &inner, "count", l->count);
        add_number(out, &inner, "least_bytes", l->least_bytes);
        add_number(out, &inner, "useful_bytes", l->useful_bytes);
        add_number(out, &inner, "chosen_bytes", l->chosen_bytes);
        text_add(out, "}");
    }
    text_add(out, "]");
}

/* How chunks are taken, and how they are made. */
static const char *source_name(const struct plan *p, const struct stage *s)
{
    if (s->source == FROM_SEGMENTS)
        return "segments";
    return s->source == FROM_STREAM ? "stream" : s->piece_raw_bytes && p->source.codecs.count ? "ranges" : "chunks";
}

static const char *sink_name(const struct stage *s)
{
    static const char *const names[] = {
        [TO_SEGMENTS] = "segments", [TO_CHUNKS] = "chunks", [TO_SLICES] = "slices", [TO_RANGES] = "ranges",
    };

    return names[s->sink];
}

static void add_stages(struct text *out, bool *first, const struct plan *p)
{
    const struct plan_cost *cost = &p->candidates[p->chosen].cost;

    add_key(out, first, "stages");
    text_add(out, "[");
    for (unsigned i = 0; i < p->graph.stage_count; i++) {
        const struct stage *s = &p->graph.stages[i];
        bool inner = true;

        text_add(out, i ? ", {" : "{");
        add_string(out, &inner, "name", s->name);
        add_string(out, &inner, "source", source_name(p, s));
        add_string(out, &inner, "sink", sink_name(s));
        if (s->carries)
            add_number(out, &inner, "carry_axis", s->carry_axis);
        add_number(out, &inner, "tasks", grid_cells(&s->tasks));
        add_lengths(out, &inner, "box", s->tasks.rank, s->tasks.cell);
        add_lengths(out, &inner, "part", s->parts.rank, s->parts.cell);
        add_number(out, &inner, "workers", s->workers);
        add_number(out, &inner, "pool_bytes", stage_pool_bytes(s));
        add_key(out, &inner, "seconds");
        text_addf(out, "%.3f", cost->stages[i].taking + cost->stages[i].making);
        add_table(out, &inner, &p->memory[i]);
        text_add(out, "}");
    }
    text_add(out, "]");
}

/* null: not asked for. */
static void add_verify(struct text *out, bool *first, const struct plan *p)
{
    bool inner = true;

    add_key(out, first, "verify");
    if (!p->graph.read_back) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{");
    add_number(out, &inner, "workers", p->graph.read_back->workers);
    add_bool(out, &inner, "reads_input_again", p->graph.resume != NULL);
    add_bool(out, &inner, "beside", p->graph.read_beside != NULL);
    add_table(out, &inner, &p->verify_memory);
    text_add(out, "}");
}

static void add_cost(struct text *out, bool *first, const struct plan_cost *c)
{
    add_number(out, first, "read_bytes", c->read_bytes);
    add_number(out, first, "decoded_bytes", c->decoded_bytes);
    add_number(out, first, "segment_bytes", c->segment_bytes);
    add_number(out, first, "kept_bytes", c->kept_bytes);
    add_number(out, first, "spill_write_bytes", c->spill_write_bytes);
    add_number(out, first, "spill_read_bytes", c->spill_read_bytes);
    add_number(out, first, "write_bytes", c->write_bytes);
    add_number(out, first, "scratch_bytes", c->scratch_bytes);
    add_number(out, first, "scratch_bytes_max", c->scratch_bytes_max);
    add_number(out, first, "files", c->files);
    add_key(out, first, "seconds");
    text_addf(out, "%.3f", c->seconds);
}

static void add_candidates(struct text *out, bool *first, const struct plan *p)
{
    add_key(out, first, "candidates");
    text_add(out, "[");
    for (unsigned i = 0; i < p->candidate_count; i++) {
        const struct plan_candidate *c = &p->candidates[i];
        bool inner = true;

        text_add(out, i ? ", {" : "{");
        add_string(out, &inner, "name", c->name);
        add_bool(out, &inner, "chosen", i == p->chosen);
        add_bool(out, &inner, "fits", c->fits);
        add_string(out, &inner, "why_not", c->fits ? NULL : c->why_not);
        add_number(out, &inner, "need_bytes", c->need_bytes);
        if (c->fits)
            add_cost(out, &inner, &c->cost);
        text_add(out, "}");
    }
    text_add(out, "]");
}

/* null: it would buy nothing much. */
static void add_more_memory(struct text *out, bool *first, const struct more_memory *more)
{
    bool inner = true;

    add_key(out, first, "more_memory");
    if (!more->memory_bytes) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{");
    add_number(out, &inner, "memory_bytes", more->memory_bytes);
    add_key(out, &inner, "seconds");
    text_addf(out, "%.3f", more->seconds);
    add_string(out, &inner, "plan", more->plan);
    text_add(out, "}");
}

void plan_explain_json(const struct plan *p, struct text *out)
{
    const struct graph *g = &p->graph;
    bool first = true;

    text_add(out, "{\"schema\": 1, ");
    add_array(out, &first, "input", &p->source, p->source_store ? store_path(p->source_store) : NULL);
    add_census(out, &first, &p->census);
    add_array(out, &first, "output", &p->target, g->target_path);
    add_string(out, &first, "plan", p->candidates[p->chosen].name);
    add_stages(out, &first, p);
    add_verify(out, &first, p);
    add_number(out, &first, "memory_bytes", p->memory_bytes);
    add_string(out, &first, "memory_from", p->memory_from);
    add_number(out, &first, "minimum_bytes", p->minimum_bytes);
    add_number(out, &first, "pool_bytes", g->pool_bytes);
    add_number(out, &first, "kernel_bytes", p->kernel_bytes);
    add_number(out, &first, "threads", g->threads);
    add_string(out, &first, "threads_from", p->threads_from);
    add_string(out, &first, "io", io_backend_name(p->io.backend));
    add_string(out, &first, "io_why", p->io.why[0] ? p->io.why : NULL);
    add_string(out, &first, "scratch_path", g->stage_count > 1 ? p->scratch_path : NULL);
    add_string(out, &first, "scratch_from", g->stage_count > 1 ? p->scratch_from : NULL);
    add_number(out, &first, "segment_memory_bytes", g->scratch.memory_bytes);
    add_cost(out, &first, &p->candidates[p->chosen].cost);
    add_candidates(out, &first, p);
    add_more_memory(out, &first, &p->more_memory);
    add_key(out, &first, "warnings");
    text_add_json_lines(out, p->warnings.chars);
    add_key(out, &first, "notes");
    text_add_json_lines(out, p->notes.chars);
    text_add(out, "}\n");
}
