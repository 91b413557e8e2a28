/* missing_chunks.c - chunks that are known not to be there are nobody's pieces. Where a task has any, all of its box
 * gets the fill value before its pieces come; the claim cursor then goes from one chunk that is there to the next. So an
 * array of which little is there costs its tiles and that little, whatever the number of its chunks.
 *
 * A scan does the same with its digest: everything counts as missing, and scan.c takes back what the list has. */
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/stage.h"

/* Small enough to be shared among workers; a scan's is what it does between two looks at the lock. */
#define BLANK_UNIT_BYTES MIB
#define SCAN_UNIT_BYTES (16 * MIB)

/* The first cell of the range, from number `cell` of it on, that is listed; as many as it has: none is. */
static uint64_t next_listed(const struct stage_run *run, const struct cell_range *cells, uint64_t cell)
{
    const unsigned rank = run->cells.rank;
    uint64_t count = cell_range_cells(rank, cells), coords[RANK_MAX], chunk;
    struct box grid = { 0 }, within;

    if (cell >= count)
        return count;
    memcpy(within.start, cells->first, sizeof within.start);
    memcpy(within.length, cells->count, sizeof within.length);
    for (unsigned i = 0; i < rank; i++)
        grid.length[i] = grid_axis_cells(&run->cells, i);
    cell_range_coords(rank, cells, cell, coords);
    chunk = grid_index(&run->cells, coords);
    for (;;) {
        uint64_t listed = chunk_list_next(run->present, chunk);

        if (listed == UINT64_MAX)
            return count;
        chunk = box_next_within(rank, &grid, NULL, &within, listed);
        if (chunk == UINT64_MAX)
            return count;
        if (chunk == listed) {
            grid_coords(&run->cells, chunk, coords);
            return cell_range_index(rank, cells, coords);
        }
    }
}

void missing_skip(struct stage_run *run)
{
    run->claim_piece = next_listed(run, &run->claim_cells, run->claim_piece / run->subs) * run->subs;
}

/* What the cells of the task's pieces cover, as far as anybody needs it. */
static void cells_box(const struct stage_run *run, const struct cell_range *cells, struct box *out)
{
    struct box reach, all;

    stage_reach(run, &run->box, &reach);
    for (unsigned i = 0; i < run->cells.rank; i++) {
        all.start[i] = cells->first[i] * run->cells.cell[i];
        all.length[i] = size_min(cells->count[i] * run->cells.cell[i], run->cells.shape[i] - all.start[i]);
    }
    box_intersect(run->cells.rank, &all, &reach, out);
}

uint64_t missing_count(struct stage_run *run, const struct cell_range *cells)
{
    const unsigned rank = run->cells.rank;
    uint64_t all = cell_range_cells(rank, cells), listed = 0, listed_elements = 0, coords[RANK_MAX];
    struct box chunk, needed;

    run->blank_elements = 0;
    for (uint64_t cell = next_listed(run, cells, 0); cell < all; cell = next_listed(run, cells, cell + 1)) {
        cell_range_coords(rank, cells, cell, coords);
        grid_cell_box(&run->cells, coords, &chunk);
        if (box_intersect(rank, &chunk, &run->box, &needed))
            listed_elements += box_elements(rank, &needed);
        listed++;
    }
    if (listed == all && run->to)
        return listed;
    cells_box(run, cells, &run->blank);
    run->blank_elements = box_elements(rank, &run->blank);
    report_add(run->report, COUNT_CHUNKS_MISSING, all - listed);
    if (box_intersect(rank, &run->blank, &run->box, &needed))
        report_add(run->report, COUNT_WORK_BYTES, (box_elements(rank, &needed) - listed_elements) * run->item_bytes);
    return listed;
}

/* A scan of what is missing costs nothing where that is the fill value of its frame. */
static uint64_t unit_items(const struct stage_run *run)
{
    if (run->to)
        return BLANK_UNIT_BYTES / run->item_bytes;
    return memcmp(run->array->fill, run->workers[0].digest.frame.fill, run->item_bytes) == 0
           ? UINT64_MAX : SCAN_UNIT_BYTES / run->item_bytes;
}

uint64_t blank_units(const struct stage_run *run)
{
    return size_div_up(run->blank_elements, unit_items(run));
}

void blank_unit(struct worker *w, uint64_t unit)
{
    const struct stage_run *run = w->run;
    const unsigned rank = run->cells.rank;
    uint64_t items = unit_items(run), first = unit * items;
    struct box_run parts;
    struct box part;

    items = size_min(items, run->blank_elements - first);
    for (box_run_first(&parts, rank, run->blank.length, first, items); box_run_next(&parts, &part); ) {
        for (unsigned i = 0; i < rank; i++)
            part.start[i] += run->blank.start[i];
        stage_deliver_missing(w, &part, run->array->fill);
    }
}
