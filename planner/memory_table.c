/* memory_table.c - the memory table of a stage: the same numbers arrange.c added up, with a name for each. */
#include "planner/planner.h"

#include <string.h>

#include "engine/base/size.h"

/* The names of one kind of stage. */
struct names {
    const char *stage, *tile, *reads, *decode, *encode, *write, *index, *library, *carry, *stream, *append;
};
static const struct names names_of_stages[] = {
    { "split",  "split: one slab", "split: chunks read ahead", "split: decoder scratch", "split: encoder scratch",
      "split: extents being written", "split: index of a segment", "split: codec libraries", NULL,
      "split: chunk being decoded", NULL },
    { "merge",  "merge: one bucket", "merge: extents read ahead", "merge: decoder scratch", "merge: encoder scratch",
      "merge: chunks being written", "merge: segment indexes", "merge: codec libraries", NULL, NULL,
      "merge: chunk being encoded" },
    { "direct", "direct: one box", "direct: chunks read ahead", "direct: decoder scratch", "direct: encoder scratch",
      "direct: chunks being written", "direct: index", "direct: codec libraries", "direct: carried to the next box",
      "direct: chunk being decoded", "direct: chunk being encoded" },
};
/* A split of segments. */
static const struct names names_of_pass = {
    "split", "split: one box", "split: extents read ahead", "split: decoder scratch", "split: encoder scratch",
    "split: extents being written", "split: segment indexes", "split: codec libraries", NULL, NULL, NULL
};

static const struct names *names_of(const struct stage *s)
{
    const char *stage = s->name;

    if (s->source == FROM_SEGMENTS && s->sink == TO_SEGMENTS)
        return &names_of_pass;
    for (unsigned i = 0; i < sizeof names_of_stages / sizeof names_of_stages[0]; i++)
        if (strcmp(names_of_stages[i].stage, stage) == 0)
            return &names_of_stages[i];
    return &names_of_stages[2];
}

/* What a line holds in one arrangement, and how many it is made of. */
struct held {
    uint64_t bytes;
    unsigned count;
};

static void line_add(struct memory_table *t, const char *what, struct held chosen, struct held least,
                     uint64_t useful_bytes)
{
    struct memory_line *line;

    if (t->count == MEMORY_LINES_MAX || (chosen.bytes == 0 && (least.bytes == 0 || useful_bytes == 0)))
        return;
    line = &t->lines[t->count++];
    line->what = what;
    line->chosen_bytes = chosen.bytes;
    line->least_bytes = size_min(least.bytes, chosen.bytes);
    line->useful_bytes = size_max(useful_bytes, chosen.bytes);
    line->count = chosen.count ? chosen.count : 1;
}

static struct held each(unsigned workers, uint64_t bytes)
{
    return (struct held){ size_mul_sat(workers, size_align_up(bytes, IO_ALIGN)), workers };
}

static struct held writes(const struct stage *s)
{
    unsigned count = s->workers * s->memory.write_slots;

    return (struct held){ size_mul_sat(count, size_align_up(s->memory.write_bytes, IO_ALIGN)), count };
}

static struct held reads(const struct stage *s)
{
    uint64_t bytes = size_align_up(s->memory.reads_bytes, IO_ALIGN);

    return (struct held){ bytes, s->memory.piece_bytes_max ? (unsigned)size_max(1, size_min(UINT32_MAX,
                                                             bytes / s->memory.piece_bytes_max)) : 1 };
}

static struct held one(uint64_t bytes) { return (struct held){ size_align_up(bytes, IO_ALIGN), 1 }; }

static struct held outside(const struct basis *b, const struct stage *s)
{
    return (struct held){ size_mul_sat(s->workers, worker_outside_bytes(b->backend, s->reads_in_flight)),
                         s->workers };
}

static uint64_t useful_scratch(const struct basis *b, const struct codec_needs *n)
{
    return size_mul_sat(b->threads, size_align_up(size_max(n->scratch_bytes_useful, n->scratch_bytes_least),
                                                  IO_ALIGN));
}

/* All of the next box, still encoded. */
static uint64_t useful_reads(const struct basis *b, const struct stage *s)
{
    double ratio = s->source == FROM_SEGMENTS ? b->spill_ratio : b->source_ratio;
    uint64_t box_bytes = (uint64_t)((double)size_min(s->memory.tile_bytes, b->array_bytes) / ratio);

    return size_align_up(size_add_sat(box_bytes, s->memory.piece_bytes_max), IO_ALIGN);
}

/* The stage of the least arrangement that does the same: it may have more passes, or fewer. */
static const struct stage *like_stage(const struct arrangement *least, const struct arrangement *a, unsigned stage)
{
    if (stage + 1 == a->stage_count)
        return &least->stages[least->stage_count - 1];
    return &least->stages[size_min(stage, least->stage_count - 1)];
}

void table_fill(struct memory_table *t, const struct basis *b, const struct arrangement *a, unsigned stage,
                const struct arrangement *least)
{
    const struct stage *s = &a->stages[stage], *l = like_stage(least, a, stage);
    const struct names *n = names_of(s);

    memset(t, 0, sizeof *t);
    line_add(t, "program and libraries", one(program_bytes()), one(program_bytes()), 0);
    line_add(t, "plan and tables", one(table_bytes()), one(table_bytes()), 0);
    line_add(t, "metadata, read and passed on", one(b->metadata_bytes), one(b->metadata_bytes), 0);
    line_add(t, "workers: stack and ring", outside(b, s), outside(b, l),
             outside(b, s).bytes / s->workers * b->threads);
    line_add(t, n->library, (struct held){ s->memory.library_bytes, s->workers },
             (struct held){ l->memory.library_bytes, l->workers },
             size_mul_sat(b->threads, s->memory.library_bytes / s->workers));
    line_add(t, n->tile, one(s->memory.tile_bytes), one(l->memory.tile_bytes),
             size_max(b->array_bytes, l->memory.tile_bytes));
    line_add(t, n->carry, one(s->memory.carry_bytes), one(l->memory.carry_bytes), 0);
    line_add(t, n->stream, one(s->memory.stream_bytes), one(l->memory.stream_bytes),
             s->source == FROM_STREAM ? b->stream.scratch_bytes_useful : 0);
    line_add(t, n->append, one(s->memory.append_bytes), one(l->memory.append_bytes), 0);
    line_add(t, n->reads, reads(s), reads(l), useful_reads(b, s));
    line_add(t, n->decode, each(s->workers, s->memory.decode_scratch_bytes),
             each(l->workers, l->memory.decode_scratch_bytes),
             s->source == FROM_CHUNKS ? useful_scratch(b, &b->decode) : 0);
    line_add(t, n->encode, each(s->workers, s->memory.encode_scratch_bytes),
             each(l->workers, l->memory.encode_scratch_bytes),
             s->sink == TO_CHUNKS ? useful_scratch(b, &b->encode) : 0);
    line_add(t, n->write, writes(s), writes(l),
             size_mul_sat(2 * b->threads, size_align_up(s->memory.write_bytes, IO_ALIGN)));
    line_add(t, n->index, one(s->memory.index_bytes), one(l->memory.index_bytes), 0);
    line_add(t, "segments kept in memory", one(a->setting.kept_bytes), one(0),
             a->stage_count == 2 ? segments_room_bytes(b, a, false) : 0);
}

static struct held scan_workers(const struct scan *scan, unsigned workers)
{
    return (struct held){ workers * worker_outside_bytes(scan->backend, scan->reads_in_flight), workers };
}

static void add_scan(struct memory_table *t, const char *workers, const struct scan *scan, const struct scan *least)
{
    const struct stage_memory *m = &scan->memory, *l = &least->memory;
    struct held reads = { size_align_up(m->reads_bytes, IO_ALIGN),
                          m->piece_bytes_max ? (unsigned)size_max(1, m->reads_bytes / m->piece_bytes_max) : 1 };

    line_add(t, workers, scan_workers(scan, scan->workers), scan_workers(least, 1), 0);
    line_add(t, "verify: sums", (struct held){ scan_digest_bytes(scan->workers), 1 },
             (struct held){ scan_digest_bytes(least->workers), 1 }, 0);
    line_add(t, "verify: codec libraries", (struct held){ m->library_bytes, scan->workers },
             (struct held){ l->library_bytes, 1 }, 0);
    line_add(t, "verify: chunk being decoded", one(m->stream_bytes), one(l->stream_bytes), 0);
    line_add(t, "verify: chunks read ahead", reads, one(l->reads_bytes), 0);
    line_add(t, "verify: decoder scratch", each(scan->workers, m->decode_scratch_bytes),
             each(least->workers, l->decode_scratch_bytes), 0);
}

void table_add_scan(struct memory_table *t, const struct scan *scan, const struct scan *least)
{
    add_scan(t, "verify: tables and ring", scan, least);
}

void table_fill_scan(struct memory_table *t, const struct scan *scan, const struct scan *least, uint64_t metadata_bytes)
{
    memset(t, 0, sizeof *t);
    line_add(t, "program and libraries", one(program_bytes()), one(program_bytes()), 0);
    line_add(t, "plan and tables", one(table_bytes()), one(table_bytes()), 0);
    line_add(t, "metadata, read and passed on", one(metadata_bytes), one(metadata_bytes), 0);
    add_scan(t, "workers: stack and ring", scan, least);
}

uint64_t table_chosen_bytes(const struct memory_table *t)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < t->count; i++)
        sum = size_add_sat(sum, t->lines[i].chosen_bytes);
    return sum;
}
