/* verify: do two arrays hold the same values, bit for bit?
 *
 * One pass over each, with sums over the boxes of a coarse grid. Where they differ the passes are repeated on less
 * and less, axis after axis, so that the answer is the first element, in C order, that differs; the memory is that
 * of a pass, and after the first two passes only the chunks around that element are read. At last the values of a small
 * box around it are read from both: what is there, and how many of them differ.
 *
 * Both are summed against the fill value of A, so that what is missing in one and written out in the other compares
 * as the values it stands for.
 */
#include <stdlib.h>
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/scan_array.h"
#include "engine/base/size.h"
#include "engine/format/fill_value.h"

/* Of each array, in place of the many sums of the first pass: so the budget holds them. */
enum { VALUES_BYTES_MAX = DIGEST_BOXES_MAX * sizeof(struct digest_sum) };

/* Values of both arrays in a box around the first difference. */
struct nearby {
    struct box box;
    uint64_t elements, differ;  /* 0: nothing was found to differ, for the arrays changed meanwhile */
    uint8_t a[ITEM_BYTES_MAX], b[ITEM_BYTES_MAX];       /* at the first difference */
};

struct comparison {
    struct array_file a, b;
    struct scan scan_a, scan_b;
    struct scan_limits limits;
    const volatile int *stop;
    uint64_t boxes, boxes_differ, box_elements;
    struct box differs;         /* narrowed down, if boxes_differ */
    struct nearby nearby;
};

/* Sum both over `within` in the frame, and give the first box of the frame that differs. Every element must have been
 * seen on both sides, else our own bookkeeping is at fault, and "the same" would mean nothing. */
static bool compare(struct comparison *c, const struct digest_frame *frame, const struct box *within,
                    struct report *report, uint64_t *count, uint64_t *first, struct error *err)
{
    struct digest a = { 0 }, b = { 0 };
    uint64_t boxes = grid_cells(&frame->boxes);
    bool ok = false;

    *count = 0;
    if (!digest_init(&a, frame) || !digest_init(&b, frame)) {
        error_at(err, ERR_FIT, SPAN_NONE, "no memory for the digests");
        goto out;
    }
    if (!array_file_digest(&c->scan_a, &c->a, &c->limits, within, &a, report, c->stop, err) ||
        !array_file_digest(&c->scan_b, &c->b, &c->limits, within, &b, report, c->stop, err))
        goto out;
    for (uint64_t i = 0; i < boxes; i++) {
        const struct digest_sum *sa = &a.sums[i], *sb = &b.sums[i];

        if (sa->elements != sb->elements) {
            error_at(err, ERR_IO, SPAN_NONE, "a pass over '%s' saw %llu elements where '%s' has %llu: this is a bug",
                     c->b.path, (unsigned long long)sb->elements, c->a.path, (unsigned long long)sa->elements);
            goto out;
        }
        if (sa->d1 == sb->d1 && sa->d2 == sb->d2)
            continue;
        if (!*count)
            *first = i;
        ++*count;
    }
    ok = true;
out:
    if (a.sums)
        digest_release(&a);
    if (b.sums)
        digest_release(&b);
    return ok;
}

/* The frame whose boxes are `length` long on one axis and whole on the others. */
static void frame_of_axis(struct comparison *c, unsigned axis, uint64_t length, struct digest_frame *frame)
{
    const struct grid *chunks = &c->a.meta.chunks;

    digest_frame_init(frame, c->a.meta.dtype, chunks->rank, chunks->shape, c->a.meta.fill, 1);
    frame->boxes.cell[axis] = length;
}

/* Leave of `box` the first index on `axis` at which anything in it differs: thousands of boxes at once first, then
 * by halves. */
static bool narrow_axis(struct comparison *c, unsigned axis, struct box *box, struct error *err)
{
    uint64_t axis_length = c->a.meta.chunks.shape[axis], count, first = 0;
    uint64_t cell = size_div_up(axis_length, DIGEST_BOXES_MAX);
    struct digest_frame frame;
    struct box clip = *box;

    if (box->length[axis] > cell) {
        frame_of_axis(c, axis, cell, &frame);
        if (!compare(c, &frame, box, NULL, &count, &first, err))
            return false;
        if (!count)
            return true;        /* it was changed meanwhile; what is known stands */
        clip.start[axis] = first * cell;
        clip.length[axis] = size_min(cell, axis_length - first * cell);
        box_intersect(c->a.meta.chunks.rank, box, &clip, box);
    }
    frame_of_axis(c, axis, axis_length, &frame);
    while (box->length[axis] > 1) {
        struct box half = *box;

        half.length[axis] /= 2;
        if (!compare(c, &frame, &half, NULL, &count, &first, err))
            return false;
        if (!count) {
            half.start[axis] += half.length[axis];
            half.length[axis] = box->length[axis] - half.length[axis];
        }
        *box = half;
    }
    return true;
}

/* The box that the first difference is in, of a grid of boxes for which there is room. */
static void nearby_box(const struct comparison *c, struct box *out)
{
    const struct array_meta *m = &c->a.meta;
    uint64_t elements_max = VALUES_BYTES_MAX / m->dtype.item_bytes, coords[RANK_MAX];
    uint64_t boxes = size_div_up(array_file_bytes(&c->a), VALUES_BYTES_MAX);
    struct digest_frame frame;
    struct grid near;

    digest_frame_init(&frame, m->dtype, m->chunks.rank, m->chunks.shape, m->fill,
                      (unsigned)size_min(boxes, DIGEST_BOXES_MAX));
    near = frame.boxes;
    for (unsigned i = 0; i < near.rank; i++)
        near.cell[i] = size_min(near.cell[i], near.shape[i]);
    while (shape_elements(near.rank, near.cell) > elements_max) {
        unsigned longest = 0;

        for (unsigned i = 1; i < near.rank; i++)
            longest = near.cell[i] > near.cell[longest] ? i : longest;
        near.cell[longest] = size_div_up(near.cell[longest], 2);
    }
    for (unsigned i = 0; i < near.rank; i++)
        coords[i] = c->differs.start[i] / near.cell[i];
    grid_cell_box(&near, coords, out);
}

static void nearby_compare(struct comparison *c, const uint8_t *a, const uint8_t *b)
{
    uint32_t item_bytes = c->a.meta.dtype.item_bytes;
    struct nearby *n = &c->nearby;
    uint64_t first = 0;

    for (unsigned i = 0; i < c->a.meta.chunks.rank; i++)
        first = first * n->box.length[i] + c->differs.start[i] - n->box.start[i];
    for (uint64_t i = 0; i < n->elements; i++)
        n->differ += memcmp(a + i * item_bytes, b + i * item_bytes, item_bytes) != 0;
    memcpy(n->a, a + first * item_bytes, item_bytes);
    memcpy(n->b, b + first * item_bytes, item_bytes);
    if (memcmp(n->a, n->b, item_bytes) == 0)
        n->differ = 0;
}

static bool look_nearby(struct comparison *c, struct error *err)
{
    uint8_t *a = malloc(VALUES_BYTES_MAX), *b = malloc(VALUES_BYTES_MAX);
    bool ok = a && b;

    nearby_box(c, &c->nearby.box);
    c->nearby.elements = box_elements(c->a.meta.chunks.rank, &c->nearby.box);
    if (!ok)
        error_at(err, ERR_FIT, SPAN_NONE, "no memory for the values that differ");
    ok = ok && scan_values(&c->scan_a, &c->nearby.box, a, c->stop, err) &&
         scan_values(&c->scan_b, &c->nearby.box, b, c->stop, err);
    if (ok)
        nearby_compare(c, a, b);
    free(a);
    free(b);
    return ok;
}

/* A budget that is too small is refused with what the hungrier one needs. */
static bool plan_both(struct comparison *c, struct error *err)
{
    struct error of_b = { 0 };
    bool ok = array_file_scan(&c->scan_a, &c->a, &c->limits, err);

    if (array_file_scan(&c->scan_b, &c->b, &c->limits, &of_b))
        return ok;
    if (ok || of_b.need_bytes > err->need_bytes)
        *err = of_b;
    return false;
}

static bool compare_all(struct comparison *c, struct error *err)
{
    const struct grid *chunks = &c->a.meta.chunks;
    struct digest_frame frame;
    struct report *report;
    uint64_t first = 0;
    bool ok;

    digest_frame_init(&frame, c->a.meta.dtype, chunks->rank, chunks->shape, c->a.meta.fill, DIGEST_BOXES_MAX);
    c->boxes = grid_cells(&frame.boxes);
    c->box_elements = 1;
    for (unsigned i = 0; i < chunks->rank; i++)
        c->box_elements = size_mul_sat(c->box_elements, size_min(frame.boxes.cell[i], chunks->shape[i]));
    report = scan_report_new(&c->limits, size_mul_sat(2, array_file_bytes(&c->a)));
    ok = compare(c, &frame, NULL, report, &c->boxes_differ, &first, err);
    report_free(report);
    if (!ok || !c->boxes_differ)
        return ok;
    memset(c->differs.start, 0, sizeof c->differs.start);
    memcpy(c->differs.length, chunks->shape, sizeof c->differs.length);
    for (unsigned axis = 0; axis < chunks->rank; axis++)
        if (!narrow_axis(c, axis, &c->differs, err))
            return false;
    return look_nearby(c, err);
}

/* Why they cannot be the same, whatever their chunks hold; "" if they can. */
static void kinds_differ(const struct comparison *c, struct text *out)
{
    const struct array_meta *a = &c->a.meta, *b = &c->b.meta;

    if (!dtype_equal(a->dtype, b->dtype)) {
        text_addf(out, "dtype %s and %s", dtype_name(a->dtype), dtype_name(b->dtype));
    } else if (a->chunks.rank != b->chunks.rank ||
               memcmp(a->chunks.shape, b->chunks.shape, a->chunks.rank * sizeof a->chunks.shape[0]) != 0) {
        text_add(out, "shape ");
        answer_shape(out, a->chunks.rank, a->chunks.shape);
        text_add(out, " and ");
        answer_shape(out, b->chunks.rank, b->chunks.shape);
    }
}

static void add_place(const struct comparison *c, struct text *out)
{
    unsigned rank = c->a.meta.chunks.rank;

    text_add(out, "[");
    for (unsigned i = 0; i < rank; i++)
        text_addf(out, "%s%llu", i ? ", " : "", (unsigned long long)c->differs.start[i]);
    text_add(out, "]");
}

static void add_names(const struct comparison *c, struct text *out)
{
    for (unsigned i = 0; i < c->a.meta.chunks.rank; i++)
        if (c->a.meta.dimension_names[i]) {
            text_add(out, i ? ", " : " (");
            text_add_shown(out, c->a.meta.dimension_names[i]);
            text_addf(out, " %llu", (unsigned long long)c->differs.start[i]);
        } else
            text_addf(out, "%saxis %u: %llu", i ? ", " : " (", i, (unsigned long long)c->differs.start[i]);
    text_add(out, c->a.meta.chunks.rank ? ")" : "");
}

/* How much of it differs, as far as the sums tell. */
static void add_extent(const struct comparison *c, struct text *out)
{
    text_add(out, "different: ");
    if (c->box_elements == 1)
        text_addf(out, "%s of %s; ", COUNT_TEXT(c->boxes_differ), COUNTED_TEXT(c->boxes, "value"));
    else if (c->boxes > 1)
        text_addf(out, "values in %s of %s boxes of about %s values each; ", COUNT_TEXT(c->boxes_differ),
                  COUNT_TEXT(c->boxes), COUNT_TEXT(c->box_elements));
}

/* What is there in both, and how much differs around it. Two values that are written alike are told by their bytes. */
static void add_values(const struct comparison *c, struct text *out)
{
    const struct nearby *n = &c->nearby;
    struct dtype dtype = c->a.meta.dtype;
    struct text a, b;

    text_init(&a, 1024);
    text_init(&b, 1024);
    fill_to_json(n->a, dtype, FILL_ZARR3, &a);
    fill_to_json(n->b, dtype, FILL_ZARR3, &b);
    if (a.length == b.length && !memcmp(a.chars, b.chars, a.length))
        for (uint32_t i = 0; i < dtype.item_bytes; i++) {
            text_addf(&a, "%s%02x", i ? " " : ", bytes ", n->a[i]);
            text_addf(&b, "%s%02x", i ? " " : ", bytes ", n->b[i]);
        }
    text_add(out, "  ");
    answer_value(out, a.chars);
    text_addf(out, " in %s\n  ", c->a.path);
    answer_value(out, b.chars);
    text_addf(out, " in %s\n", c->b.path);
    text_release(&a);
    text_release(&b);
}

static void add_nearby(const struct comparison *c, struct text *out)
{
    const struct nearby *n = &c->nearby;

    if (!n->differ)
        return;
    add_values(c, out);
    if (n->elements == 1 || c->box_elements == 1)
        return;
    text_addf(out, "  %s of the %s ", COUNT_TEXT(n->differ), COUNTED_TEXT(n->elements, "value"));
    if (n->elements == shape_elements(c->a.meta.chunks.rank, c->a.meta.chunks.shape)) {
        text_add(out, "differ\n");
        return;
    }
    for (unsigned i = 0; i < c->a.meta.chunks.rank; i++)
        text_addf(out, "%s%llu:%llu", i ? ", " : "in [", (unsigned long long)n->box.start[i],
                  (unsigned long long)(n->box.start[i] + n->box.length[i]));
    text_add(out, "] around it differ\n");
}

static void add_nearby_json(const struct comparison *c, struct text *out)
{
    const struct nearby *n = &c->nearby;
    unsigned rank = c->a.meta.chunks.rank;

    if (!n->differ) {
        text_add(out, ", \"values\": null, \"nearby\": null");
        return;
    }
    text_add(out, ", \"values\": {\"a\": ");
    fill_to_json(n->a, c->a.meta.dtype, FILL_ZARR3, out);
    text_add(out, ", \"b\": ");
    fill_to_json(n->b, c->a.meta.dtype, FILL_ZARR3, out);
    text_add(out, "}, \"nearby\": {\"start\": ");
    answer_shape_json(out, rank, n->box.start);
    text_add(out, ", \"shape\": ");
    answer_shape_json(out, rank, n->box.length);
    text_addf(out, ", \"elements\": %llu, \"differ\": %llu}", (unsigned long long)n->elements,
              (unsigned long long)n->differ);
}

static void add_answer(const struct comparison *c, const char *reason, bool json, struct text *out)
{
    bool same = !reason[0] && !c->boxes_differ;

    if (json) {
        text_addf(out, "{\"schema\": 1, \"same\": %s, ", same ? "true" : "false");
        answer_json_text(out, "a", c->a.path);
        answer_json_text(out, "b", c->b.path);
        answer_json_text(out, "reason", reason[0] ? reason : same ? NULL : "values");
        text_addf(out, "\"boxes\": %llu, \"boxes_differ\": %llu, \"first_difference\": ",
                  (unsigned long long)c->boxes, (unsigned long long)c->boxes_differ);
        if (c->boxes_differ)
            add_place(c, out);
        else
            text_add(out, "null");
        add_nearby_json(c, out);
        text_add(out, "}\n");
        return;
    }
    if (same) {
        text_addf(out, "the same: %s ", dtype_name(c->a.meta.dtype));
        answer_shape(out, c->a.meta.chunks.rank, c->a.meta.chunks.shape);
        text_add(out, ", bit for bit\n");
    } else if (reason[0]) {
        text_addf(out, "different: %s\n", reason);
    } else {
        add_extent(c, out);
        text_add(out, "the first difference is at ");
        add_place(c, out);
        add_names(c, out);
        text_add(out, "\n");
        add_nearby(c, out);
    }
}

int cmd_verify(struct invocation *v, struct error *err)
{
    struct comparison c = { .stop = heed_stop(v) };
    struct text reason, out;
    struct host host;
    bool ok;

    host_look(&host, NULL);
    text_init(&reason, 1024);
    text_init(&out, ANSWER_BYTES_MAX);
    text_init(&c.b.warnings, 0);        /* so that it can be released when A could not be opened */
    ok = array_file_open(&c.a, &v->line->positionals[0], 1, err) &&
         array_file_open(&c.b, &v->line->positionals[1], 1, err) && scan_limits_read(&c.limits, v->line, &host, err);
    if (ok) {
        kinds_differ(&c, &reason);
        if (!reason.length)
            ok = plan_both(&c, err) && compare_all(&c, err);
    }
    if (ok) {
        add_answer(&c, reason.chars, wants_json(v->line), &out);
        answer_print(&out, err);
    }
    ok = ok && !reason.length && !c.boxes_differ;
    array_file_release(&c.a);
    array_file_release(&c.b);
    text_release(&reason);
    text_release(&out);
    return ok ? 0 : 1;
}
