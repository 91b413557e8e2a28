/* run.c - the boxes of a run: storage order becomes array order, and what lies outside is dropped. */
#include "engine/array/kernels.h"

#include "engine/array/copy.h"

static unsigned storage_axis(const struct run *run, unsigned i)
{
    return run->order ? run->order[i] : i;
}

void run_boxes_first(struct run_boxes *b, unsigned rank, uint32_t item_bytes, const struct run *run,
                     const struct box *clip)
{
    uint64_t length[RANK_MAX] = { 0 }, stride[RANK_MAX];

    b->rank = rank;
    b->run = run;
    b->clip = clip;
    b->first_offset = run->first * item_bytes;
    for (unsigned i = 0; i < rank; i++)
        length[i] = run->piece.length[storage_axis(run, i)];
    strides_c(rank, length, item_bytes, stride);
    for (unsigned i = 0; i < rank; i++)
        b->stride[storage_axis(run, i)] = stride[i];
    box_run_first(&b->in_storage, rank, length, run->first, run->count);
}

bool run_boxes_next(struct run_boxes *b, struct run_box *out)
{
    const struct box *piece = &b->run->piece;
    struct box part, whole;
    uint64_t offset;

    while (box_run_next(&b->in_storage, &part)) {
        for (unsigned i = 0; i < b->rank; i++) {
            unsigned axis = storage_axis(b->run, i);
            whole.start[axis] = piece->start[axis] + part.start[i];
            whole.length[axis] = part.length[i];
        }
        if (!box_intersect(b->rank, &whole, b->clip, &out->box))
            continue;
        offset = 0;
        for (unsigned i = 0; i < b->rank; i++)
            offset += (out->box.start[i] - piece->start[i]) * b->stride[i];
        out->data = b->run->data + (offset - b->first_offset);
        return true;
    }
    return false;
}
