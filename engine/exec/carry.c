/* carry.c - what a box passes on to the next one along an axis, so that chunks on their border are decoded once.
 *
 *         box k           box k + 1
 *     |------------------|------------------|
 *        chunk  |  chunk    |  chunk  |  chunk  |
 *                        |~~|
 *                        carried: what the next box needs of the last chunks of this one
 *
 * While box k is filled, what lies in that strip goes to the carry area as well, in C order of the strip. Before box k + 1
 * is filled the strip is copied into its tile (PHASE_CARRY), and only then is the area free for the next one. */
#include <assert.h>

#include "engine/base/size.h"
#include "engine/exec/stage.h"

enum { CARRY_UNIT_BYTES = 256 * 1024 };

uint64_t stage_carry_bytes(const struct grid *chunks, const struct grid *tasks, unsigned axis, uint32_t item_bytes)
{
    uint64_t chunk = chunks->cell[axis], box = tasks->cell[axis], length = tasks->shape[axis], bytes = item_bytes;

    if (box >= length)
        return 0;
    /* Borders of boxes fall on multiples of the divisor in a chunk. */
    bytes = size_mul_sat(bytes, size_min(chunk - size_greatest_divisor(chunk, box), length - box));
    for (unsigned i = 0; i < tasks->rank; i++)
        if (i != axis)
            bytes = size_mul_sat(bytes, size_min(tasks->cell[i], tasks->shape[i]));
    return bytes;
}

/* How far the chunks of a box reach into the next one, on the carry axis. */
static uint64_t carried_length(const struct stage_run *run, const struct box *box)
{
    unsigned axis = run->stage->carry_axis;
    uint64_t end = box->start[axis] + box->length[axis], chunk = run->cells.cell[axis], length = run->cells.shape[axis];

    if (!run->stage->carries || end == length || end % chunk == 0)
        return 0;
    return size_min(chunk - end % chunk, length - end);
}

void stage_reach(const struct stage_run *run, const struct box *box, struct box *reach)
{
    *reach = *box;
    reach->length[run->stage->carry_axis] += carried_length(run, box);
}

/* The box before it was done by another process: nothing is carried to it. */
static bool is_first(const struct stage_run *run, const struct box *box)
{
    struct box first;

    stage_task_box(run, run->first_task, &first);
    for (unsigned i = 0; i < run->cells.rank; i++)
        if (box->start[i] != first.start[i])
            return false;
    return true;
}

void stage_cells(const struct stage_run *run, const struct box *box, struct cell_range *cells)
{
    unsigned axis = run->stage->carry_axis;

    grid_cells_touched(&run->cells, box, cells);
    if (run->stage->carries && box->start[axis] % run->cells.cell[axis] != 0 && !is_first(run, box)) {
        cells->first[axis]++;
        cells->count[axis]--;
    }
}

void carry_check(const struct stage_run *run)
{
    const struct stage *stage = run->stage;
    unsigned axis = stage->carry_axis;

    if (!stage->carries)
        return;
    assert(stage->source == FROM_CHUNKS);
    assert(stage->memory.carry_bytes >= stage_carry_bytes(&run->cells, &stage->tasks, axis, run->item_bytes));
    assert(stage->tasks.cell[axis] >= size_min(run->cells.cell[axis], run->cells.shape[axis]));
    for (unsigned i = 0; i < stage->tasks.rank; i++)
        assert(i == axis ? stage->walk.group[i] >= grid_axis_cells(&stage->tasks, i) : stage->walk.group[i] <= 1);
}

void carry_begin(struct stage_run *run)
{
    const struct box *box = &run->box;
    unsigned axis = run->stage->carry_axis;
    uint64_t length = carried_length(run, box);
    struct box strip = *box;

    run->carrying = length > 0;
    if (!run->carrying)
        return;
    strip.start[axis] = box->start[axis] + box->length[axis];
    strip.length[axis] = length;
    tile_init(&run->carry, TILE_CLIPPED, run->item_bytes, &run->carry_parts, &strip, NULL, run->carry_memory);
}

bool carry_takes(const struct stage_run *run, const struct piece *piece)
{
    unsigned axis = run->stage->carry_axis;

    return run->carrying &&
           piece->box.start[axis] + piece->box.length[axis] > run->box.start[axis] + run->box.length[axis];
}

static uint64_t strip_items(const struct stage_run *run)
{
    return box_elements(run->carry.parts.rank, &run->carry.box);
}

uint64_t carry_units(const struct stage_run *run)
{
    return run->carrying ? size_div_up(strip_items(run) * run->item_bytes, CARRY_UNIT_BYTES) : 0;
}

void carry_copy(struct worker *w, uint64_t unit)
{
    struct stage_run *run = w->run;
    uint64_t unit_items = CARRY_UNIT_BYTES / run->item_bytes;
    struct run elements = { .piece = run->carry.box, .first = unit * unit_items };

    elements.count = size_min(unit_items, strip_items(run) - elements.first);
    elements.data = run->carry_memory + elements.first * run->item_bytes;
    tile_scatter(&run->tile, &elements);
    report_add(run->report, COUNT_WORK_BYTES, elements.count * run->item_bytes);
}
