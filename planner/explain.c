/* explain.c - a plan for a person: what will be done, in what memory, at what cost, and why so. */
#include "planner/planner.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/size.h"

struct shape_text shape_text(unsigned rank, const uint64_t *length, const uint64_t *shape)
{
    struct shape_text out = { "(" };
    size_t at = 1;

    for (unsigned i = 0; i < rank && at < sizeof out.chars; i++)
        at += (size_t)snprintf(out.chars + at, sizeof out.chars - at, "%s%" PRIu64, i ? ", " : "",
                               shape ? size_min(length[i], shape[i]) : length[i]);
    if (at < sizeof out.chars)
        snprintf(out.chars + at, sizeof out.chars - at, rank == 1 ? ",)" : ")");
    return out;
}

static void add_array(const char *label, const struct array_meta *m, const char *path, struct text *out)
{
    struct text codec;

    text_init(&codec, SHAPE_TEXT_BYTES);
    codec_chain_text(&m->codecs, &codec);
    text_addf(out, "%-9s %s\n", label, path);
    text_addf(out, "          %s %s %s", format_name(m->format), dtype_name(m->dtype),
              SHAPE_TEXT(m->chunks.rank, m->chunks.shape, NULL));
    if (m->chunks.rank)
        text_addf(out, ", chunks %s of %s", SHAPE_TEXT(m->chunks.rank, m->chunks.cell, NULL),
                  SIZE_TEXT(array_chunk_bytes(m)));
    text_addf(out, ", %s\n", codec.chars);
    text_release(&codec);
}

static void add_presence(const struct plan *p, struct text *out)
{
    const struct chunk_census *c = &p->census;

    if (c->counted)
        text_addf(out, "          %s of %s present%s\n", COUNT_TEXT(c->present), COUNTED_TEXT(c->chunks, "chunk"),
                  c->present < c->chunks ? ", the others read as the fill value" : "");
    else
        text_addf(out, "          %s, not all counted: %s of %s looked at %s present\n",
                  COUNTED_TEXT(c->chunks, "chunk"), COUNT_TEXT(c->sampled_present), COUNT_TEXT(c->sampled),
                  c->sampled_present == 1 ? "is" : "are");
}

static const char *box_word(const struct stage *s)
{
    return s->sink == TO_SEGMENTS ? (s->source == FROM_SEGMENTS ? "box" : "slab")
           : s->source == FROM_SEGMENTS ? "bucket" : s->sink == TO_SLICES || s->source == FROM_STREAM ? "slice" : "box";
}

/* How many cells of one length there are in another, clipped to the array. */
static uint64_t cells_in(const struct stage *s, const uint64_t *length, const uint64_t *cell)
{
    uint64_t cells = 1;

    for (unsigned i = 0; i < s->tasks.rank; i++)
        cells = size_mul_sat(cells, size_div_up(size_min(length[i], size_max(1, s->tasks.shape[i])), cell[i]));
    return cells;
}

static bool holds_whole(const struct stage *s, const struct grid *chunks)
{
    for (unsigned i = 0; i < s->tasks.rank; i++)
        if (s->tasks.cell[i] % chunks->cell[i] != 0 && s->tasks.cell[i] < s->tasks.shape[i])
            return false;
    return true;
}

/* What a task is made of, and what becomes of chunks that do not fit into one. */
static void add_what(const struct plan *p, const struct stage *s, struct text *out)
{
    const struct grid *source = &p->source.chunks, *target = &p->target.chunks;
    const char *each = grid_cells(&s->tasks) == 1 ? "" : " each";

    if (s->source == FROM_STREAM && !holds_whole(s, source))
        text_addf(out, "each source chunk in %s, ", COUNTED_TEXT(cells_in(s, source->cell, s->tasks.cell), "slice"));
    else if (s->source == FROM_CHUNKS && s->piece_raw_bytes && p->source.codecs.count)
        text_addf(out, "source chunks by ranges of %s, ", SIZE_TEXT(s->piece_raw_bytes));
    else if (s->source != FROM_SEGMENTS && s->sink != TO_CHUNKS && holds_whole(s, source))
        text_addf(out, "%s%s, ", COUNTED_TEXT(cells_in(s, s->tasks.cell, source->cell), "source chunk"), each);
    if (s->sink == TO_CHUNKS)
        text_addf(out, "%s%s, ", COUNTED_TEXT(cells_in(s, s->tasks.cell, target->cell), "target chunk"), each);
    else if (s->sink == TO_SLICES)
        text_addf(out, "each target chunk in %s, ", COUNTED_TEXT(cells_in(s, target->cell, s->tasks.cell), "slice"));
    else if (s->sink == TO_RANGES)
        text_addf(out, "target chunks in runs of %s, ", SIZE_TEXT((uint64_t)target_run_bytes(&p->target, s)));
    if (s->carries && p->source.dimension_names[s->carry_axis])
        text_addf(out, "border chunks are carried along %s, ", p->source.dimension_names[s->carry_axis]);
    else if (s->carries)
        text_addf(out, "border chunks are carried along axis %u, ", s->carry_axis);
}

static void add_stage(const struct plan *p, const struct stage *s, unsigned index, struct text *out)
{
    uint64_t tasks = grid_cells(&s->tasks);

    text_addf(out, "  %u %-7s %s %s%s of %s, %s; ", index + 1, s->name, COUNT_TEXT(tasks), box_word(s),
              tasks == 1 ? "" : strcmp(box_word(s), "box") == 0 ? "es" : "s",
              SHAPE_TEXT(s->tasks.rank, s->tasks.cell, s->tasks.shape), SIZE_TEXT(s->memory.tile_bytes));
    add_what(p, s, out);
    text_addf(out, "%s\n", COUNTED_TEXT(s->workers, "worker"));
}

/* What a stage writes for the next one. */
static void add_extents(const struct plan *p, unsigned index, struct text *out)
{
    const struct stage *s = &p->graph.stages[index];
    double bytes = (double)shape_elements(p->source.chunks.rank, p->source.chunks.shape) * p->source.dtype.item_bytes;
    double extents = grid_overlaps(s->tasks.rank, s->tasks.shape, s->tasks.cell, s->parts.cell);
    char between[40] = "them";

    if (extents <= 0)
        return;
    if (p->graph.stage_count > 2)
        snprintf(between, sizeof between, "%u and %u", index + 1, index + 2);
    text_addf(out, "            %s of about %s raw between %s, %s in scratch\n",
              COUNTED_TEXT((uint64_t)extents, "extent"), SIZE_TEXT((uint64_t)(bytes / extents)), between,
              p->graph.scratch.encoding == SPILL_LZ4 ? "lz4" : "raw");
}

static void add_verify(const struct plan *p, struct text *out)
{
    const struct graph *g = &p->graph;

    if (!g->read_back)
        return;
    text_addf(out, "  %u verify  the output is read back%s, and its digest compared with the input's%s; %s\n",
              g->stage_count + 1, g->read_beside ? " while it is written" : "", g->resume ? ", which is read again" : "",
              COUNTED_TEXT(g->read_back->workers, "worker"));
}

static void add_stages(const struct plan *p, struct text *out)
{
    text_addf(out, "\nplan      %s\n", p->candidates[p->chosen].name);
    for (unsigned i = 0; i < p->graph.stage_count; i++)
        add_stage(p, &p->graph.stages[i], i, out);
    for (unsigned i = 0; i + 1 < p->graph.stage_count; i++)
        add_extents(p, i, out);
    add_verify(p, out);
}

static void add_memory(const struct memory_table *t, unsigned stage, const char *name, struct text *out)
{
    char title[64];

    snprintf(title, sizeof title, "memory of pass %u, %s", stage + 1, name);
    text_addf(out, "\n%-36s %10s %10s %10s\n", title, "least", "useful", "chosen");
    for (unsigned i = 0; i < t->count; i++) {
        const struct memory_line *l = &t->lines[i];

        text_addf(out, "  %-28s %5u %10s %10s %10s\n", l->what, l->count, SIZE_TEXT(l->least_bytes),
                  SIZE_TEXT(l->useful_bytes), SIZE_TEXT(l->chosen_bytes));
    }
    text_addf(out, "  %-34s %10s %10s %10s\n", "sum", "", "", SIZE_TEXT(table_chosen_bytes(t)));
}

static void add_limits(const struct plan *p, struct text *out)
{
    text_addf(out, "\nbudget    %s, %s; this job needs at least %s\n", SIZE_TEXT(p->memory_bytes), p->memory_from,
              SIZE_TEXT_WITHIN(p->minimum_bytes, p->memory_bytes));
    text_addf(out, "          kernel, outside RSS: up to %s more in a cgroup\n", SIZE_TEXT(p->kernel_bytes));
    text_addf(out, "threads   %u, %s; io %s%s%s\n", p->graph.threads, p->threads_from,
              io_backend_name(p->io.backend), p->io.why[0] ? ": " : "", p->io.why);
}

bool plan_scratch_text(const struct plan_cost *c, struct text *out)
{
    if (c->scratch_bytes_max <= c->scratch_bytes && c->scratch_bytes)
        text_addf(out, "about %s", SIZE_TEXT(c->scratch_bytes));
    else if (c->scratch_bytes)
        text_addf(out, "%s to %s", SIZE_TEXT(c->scratch_bytes), SIZE_TEXT(c->scratch_bytes_max));
    else if (c->scratch_bytes_max)
        text_addf(out, "up to %s", SIZE_TEXT(c->scratch_bytes_max));
    return c->scratch_bytes_max > 0;
}

static void add_cost(const struct plan *p, struct text *out)
{
    const struct plan_cost *c = &p->candidates[p->chosen].cost;

    text_addf(out, "\nread      %s, decoded to %s\n", SIZE_TEXT(c->read_bytes), SIZE_TEXT(c->decoded_bytes));
    if (c->kept_bytes)
        text_addf(out, "segments  %s of %s kept in memory\n", SIZE_TEXT(c->kept_bytes), SIZE_TEXT(c->segment_bytes));
    if (c->spill_write_bytes)
        text_addf(out, "spilled   %s, and read back\n", SIZE_TEXT(c->spill_write_bytes));
    text_addf(out, "written   %s in %s", SIZE_TEXT(c->write_bytes), COUNTED_TEXT(c->files, "file"));
    if (disk_bytes_of(c) > c->write_bytes + c->write_bytes / 4)
        text_addf(out, "; about %s on disk, where a file takes at least 4KiB", SIZE_TEXT(disk_bytes_of(c)));
    text_add(out, "\n");
    text_add(out, "scratch   ");
    if (plan_scratch_text(c, out))
        text_addf(out, " in %s (%s)\n", p->scratch_path, p->scratch_from);
    else
        text_add(out, "none\n");
    text_addf(out, "time      about %s\n", SECONDS_TEXT(c->seconds));
}

/* The longest name of a plan, or what the usual two take. */
static int name_width(const struct plan *p)
{
    size_t width = 14;

    for (unsigned i = 0; i < p->candidate_count; i++)
        width = size_max(width, strlen(p->candidates[i].name));
    return (int)width;
}

static void add_candidates(const struct plan *p, struct text *out)
{
    text_add(out, "\nwhy       ");
    for (unsigned i = 0; i < p->candidate_count; i++) {
        const struct plan_candidate *c = &p->candidates[i];

        text_addf(out, "%s%-*s ", i ? "          " : "", name_width(p), c->name);
        if (c->fits)
            text_addf(out, "%s, decodes %s%s\n", SECONDS_TEXT(c->cost.seconds), SIZE_TEXT(c->cost.decoded_bytes),
                      i == p->chosen ? "  <- chosen" : "");
        else
            text_addf(out, "no: %s\n", c->why_not);
    }
}

void plan_explain(const struct plan *p, struct text *out)
{
    add_array("input", &p->source, p->source_store ? store_path(p->source_store) : "-", out);
    add_presence(p, out);
    add_array("output", &p->target, p->graph.target_path, out);
    add_stages(p, out);
    add_cost(p, out);
    add_candidates(p, out);
    add_limits(p, out);
    text_add(out, p->warnings.length || p->notes.length ? "\n" : "");
    text_add_lines(out, "warning: ", p->warnings.chars);
    text_add_lines(out, "note: ", p->notes.chars);
    for (unsigned i = 0; i < p->graph.stage_count; i++)
        add_memory(&p->memory[i], i, p->graph.stages[i].name, out);
    if (p->graph.read_back && !p->graph.read_beside)
        add_memory(&p->verify_memory, p->graph.stage_count, "verify", out);
}
