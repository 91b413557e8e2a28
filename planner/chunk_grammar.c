/* chunk_grammar.c - the one chunk grammar (LANGUAGE) on one array: from what was written to a chunk shape.
 *
 * Per axis a count (kept as written, also when longer than the axis), all, keep, or bytes; a list by position or
 * names; bytes on all axes; auto. Dimensions without a name are called by their position, "0", "1", ...
 */
#include "planner/planner.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "engine/base/size.h"

/* What auto aims at: one chunk of this many raw bytes, or up to twice that. */
#define AUTO_CHUNK_BYTES (16 * MIB)

enum { POSITION_BYTES = 12, NAMES_TEXT_BYTES = 300 };

/* The names of all axes; those without one get their position. */
struct axis_names {
    const char *name[RANK_MAX];
    char position[RANK_MAX][POSITION_BYTES];
    unsigned unnamed;
};

static void axis_names_init(struct axis_names *n, const struct array_meta *m)
{
    memset(n, 0, sizeof *n);
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        snprintf(n->position[i], sizeof n->position[i], "%u", i);
        n->name[i] = m->dimension_names[i] ? m->dimension_names[i] : n->position[i];
        n->unnamed += !m->dimension_names[i];
    }
}

/* The name that was meant: one that is spelled alike, or that begins alike (lon, longitude). */
static const char *nearest_name(const struct axis_names *n, unsigned rank, const char *word)
{
    const char *nearest = text_nearest(word, n->name, rank);

    for (unsigned i = 0; !nearest && i < rank; i++)
        if (strncasecmp(n->name[i], word, size_min(strlen(n->name[i]), strlen(word))) == 0)
            nearest = n->name[i];
    return nearest;
}

static bool refuse_name(const struct axis_names *n, unsigned rank, const struct axis_request *axis, const char *what,
                        struct error *err)
{
    const char *nearest = nearest_name(n, rank, axis->name);
    char names[NAMES_TEXT_BYTES] = "";
    size_t length = 0;

    for (unsigned i = 0; i < rank && length < sizeof names; i++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", n->name[i]);
    error_at(err, ERR_USAGE, axis->name_span, "'%s' is not a dimension of '%s'", axis->name, what);
    error_key(err, "output.chunks");
    if (rank == 0)
        error_note(err, "it has no dimensions");
    else if (n->unnamed == rank)
        error_note(err, "its dimensions have no names: they are called by position, %s", names);
    else
        error_note(err, "it has %s", names);
    if (nearest && n->unnamed < rank)
        error_help(err, "did you mean '%s'?", nearest);
    return false;
}

/* Several dimensions of the same name (a covariance: x, x) can only be told apart by position. */
static bool refuse_ambiguous(const struct axis_names *n, unsigned rank, const struct axis_request *axis,
                             const char *what, struct error *err)
{
    char positions[NAMES_TEXT_BYTES] = "";
    size_t length = 0;

    for (unsigned i = 0; i < rank && length < sizeof positions; i++)
        if (strcmp(n->name[i], axis->name) == 0)
            length += (size_t)snprintf(positions + length, sizeof positions - length, "%s%u", length ? ", " : "", i);
    error_at(err, ERR_USAGE, axis->name_span, "'%s' names more than one dimension of '%s': positions %s", axis->name,
             what, positions);
    error_key(err, "output.chunks");
    error_help(err, "give the chunks by position, %u of them, as in [%s]", rank,
               rank == 2 ? "64, 64" : "64, 64, ...");
    return false;
}

static bool find_axis(const struct axis_names *n, unsigned rank, const struct axis_request *axis, const char *what,
                      unsigned *found, struct error *err)
{
    unsigned count = 0;

    for (unsigned i = rank; i-- > 0; )
        if (strcmp(n->name[i], axis->name) == 0) {
            *found = i;
            count++;
        }
    if (count > 1)
        return refuse_ambiguous(n, rank, axis, what, err);
    return count == 1 || refuse_name(n, rank, axis, what, err);
}

/* ---- bytes ---- */

static double chunk_bytes_with(const struct array_meta *m, const uint64_t *cell, const bool *grows, double side)
{
    double bytes = m->dtype.item_bytes;

    for (unsigned i = 0; i < m->chunks.rank; i++)
        bytes *= grows[i] ? fmin(side, (double)size_max(1, m->chunks.shape[i])) : (double)cell[i];
    return bytes;
}

/* The axes that grow get the same length, the longest with which the chunk stays within `bytes`; short axes are
 * taken whole. */
static void grow_alike(const struct array_meta *m, uint64_t *cell, const bool *grows, uint64_t bytes)
{
    uint64_t low = 1, high = 1;     /* low fits, or is as short as it gets */

    for (unsigned i = 0; i < m->chunks.rank; i++)
        if (grows[i])
            high = size_max(high, m->chunks.shape[i]);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2 + 1;

        if (middle > high)
            middle = high;
        if (chunk_bytes_with(m, cell, grows, (double)middle) <= (double)bytes)
            low = middle;
        else
            high = middle - 1;
    }
    for (unsigned i = 0; i < m->chunks.rank; i++)
        if (grows[i])
            cell[i] = size_min(low, size_max(1, m->chunks.shape[i]));
}

/* ---- auto ---- */

static double bytes_of(const struct array_meta *m, const uint64_t *cell)
{
    const bool none[RANK_MAX] = { false };

    return chunk_bytes_with(m, cell, none, 0);
}

/* The source's chunk doubled, or halved, along one axis after the other (the one that changed least first, so that
 * proportions stay) until it has 16 to 32 MiB. Doubling keeps old borders, so that no source chunk is cut. */
static void auto_chunk(const struct array_meta *m, uint64_t *cell)
{
    const struct grid *g = &m->chunks;
    unsigned steps[RANK_MAX] = { 0 };

    for (unsigned i = 0; i < g->rank; i++)
        cell[i] = size_min(g->cell[i], size_max(1, g->shape[i]));
    for (;;) {
        bool grow = bytes_of(m, cell) < (double)AUTO_CHUNK_BYTES;
        bool shrink = bytes_of(m, cell) > 2 * (double)AUTO_CHUNK_BYTES;
        unsigned best = g->rank;

        for (unsigned i = 0; i < g->rank; i++) {
            if (grow ? cell[i] >= g->shape[i] : cell[i] <= 1)
                continue;
            /* Growing prefers the last axis, shrinking the longest one. */
            if (best == g->rank || steps[i] < steps[best] ||
                (steps[i] == steps[best] && (grow || cell[i] > cell[best])))
                best = i;
        }
        if ((!grow && !shrink) || best == g->rank)
            return;
        cell[best] = grow ? size_min(cell[best] * 2, g->shape[best]) : size_div_up(cell[best], 2);
        steps[best]++;
    }
}

/* ---- axes ---- */

/* What has been said about the axes so far. */
struct axes_said {
    bool said[RANK_MAX], grows[RANK_MAX];
    uint64_t grow_bytes;            /* 0: no axis grows */
};

static bool set_axis(const struct axis_request *r, const struct array_meta *m, unsigned axis, struct axes_said *said,
                     uint64_t *cell, struct error *err)
{
    switch (r->kind) {
    case AXIS_KEEP:
        return true;
    case AXIS_ALL:
        cell[axis] = size_max(1, m->chunks.shape[axis]);
        return true;
    case AXIS_COUNT:
        if (r->value == 0)
            break;
        cell[axis] = r->value;
        return true;
    case AXIS_BYTES:
        if (r->value == 0)
            break;
        if (said->grow_bytes && said->grow_bytes != r->value) {
            error_at(err, ERR_USAGE, r->span, "axes that grow to a size grow to one size, not %s and %s",
                     SIZE_TEXT(said->grow_bytes), SIZE_TEXT(r->value));
            error_key(err, "output.chunks");
            return false;
        }
        said->grow_bytes = r->value;
        said->grows[axis] = true;
        return true;
    }
    error_at(err, ERR_USAGE, r->span, "a chunk has at least one element on each axis");
    error_key(err, "output.chunks");
    return false;
}

static bool set_axes(const struct chunk_request *request, const struct array_meta *m, const char *what,
                     uint64_t *cell, struct axes_said *said, struct error *err)
{
    struct axis_names names;

    axis_names_init(&names, m);
    for (unsigned i = 0; i < request->count; i++) {
        const struct axis_request *r = &request->axes[i];
        unsigned axis = i;

        if (request->form == CHUNKS_NAMED && !find_axis(&names, m->chunks.rank, r, what, &axis, err))
            return false;
        if (said->said[axis]) {
            error_at(err, ERR_USAGE, r->name_span, "'%s' is given twice", names.name[axis]);
            error_key(err, "output.chunks");
            return false;
        }
        said->said[axis] = true;
        if (!set_axis(r, m, axis, said, cell, err))
            return false;
    }
    return true;
}

static bool check_count(const struct chunk_request *request, const struct array_meta *m, const char *what,
                        struct error *err)
{
    struct axis_names names;

    if (request->form != CHUNKS_LISTED || request->count == m->chunks.rank)
        return true;
    axis_names_init(&names, m);
    error_at(err, ERR_USAGE, request->span, "%u chunk length%s, and '%s' has %u dimension%s", request->count,
             request->count == 1 ? "" : "s", what, m->chunks.rank, m->chunks.rank == 1 ? "" : "s");
    error_key(err, "output.chunks");
    for (unsigned i = 0; i < m->chunks.rank && i < 8; i++)
        error_note(err, "%-16s %12" PRIu64 " elements in chunks of %" PRIu64, names.name[i], m->chunks.shape[i],
                   m->chunks.cell[i]);
    error_help(err, "give one for each dimension, 'keep' where it stays as it is, or name those that change");
    return false;
}

bool chunks_resolve(const struct chunk_request *request, const struct array_meta *source, const char *what,
                    uint64_t *cell, struct error *err)
{
    struct axes_said said = { .grow_bytes = 0 };

    memcpy(cell, source->chunks.cell, source->chunks.rank * sizeof *cell);
    switch (request->form) {
    case CHUNKS_KEEP:
        break;
    case CHUNKS_NAMED:
    case CHUNKS_LISTED:
        if (!check_count(request, source, what, err) || !set_axes(request, source, what, cell, &said, err))
            return false;
        break;
    case CHUNKS_BYTES:
        for (unsigned i = 0; i < source->chunks.rank; i++)
            said.grows[i] = true;
        said.grow_bytes = request->bytes;
        break;
    case CHUNKS_AUTO:
        auto_chunk(source, cell);
        break;
    }
    if (said.grow_bytes)
        grow_alike(source, cell, said.grows, said.grow_bytes);
    return true;
}

unsigned chunks_kept(const struct chunk_request *request, const struct array_meta *source, bool *kept)
{
    struct axis_names names;
    unsigned count = 0;

    axis_names_init(&names, source);
    for (unsigned i = 0; i < source->chunks.rank; i++) {
        kept[i] = request->form == CHUNKS_NAMED;
        for (unsigned j = 0; kept[i] && j < request->count; j++)
            kept[i] = strcmp(request->axes[j].name, names.name[i]) != 0;
        count += kept[i];
    }
    return count;
}

void warn_of_long_chunks(const struct chunk_request *request, const struct array_meta *target, struct text *warnings)
{
    const struct grid *g = &target->chunks;
    struct axis_names names;

    axis_names_init(&names, target);
    for (unsigned i = 0; i < request->count; i++) {
        const struct axis_request *r = &request->axes[i];
        unsigned axis = i;

        if (request->form == CHUNKS_NAMED)
            for (axis = 0; axis < g->rank && strcmp(names.name[axis], r->name) != 0; axis++)
                ;
        if (r->kind != AXIS_COUNT || axis >= g->rank || r->value <= size_max(1, g->shape[axis]))
            continue;
        text_addf(warnings, "chunks of %" PRIu64 " along %s", r->value, target->dimension_names[axis] ? "" : "axis ");
        text_add_shown(warnings, names.name[axis]);
        text_addf(warnings, ": it has %" PRIu64 ", 'all' would do\n", g->shape[axis]);
    }
}
