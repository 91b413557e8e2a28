/* listed.c - the tasks of a sparse array: only those that touch a chunk that is there are walked. What the others would
 * have come to is counted at once. */
#include <errno.h>
#include <stdlib.h>

#include "engine/base/size.h"
#include "engine/exec/prepare.h"

/* As many as listed chunks, or what the planner's tables have room for anyway. */
enum { LISTED_TASKS_LEAST = 16384 };

static uint64_t listed_tasks_max(const struct stage_run *run)
{
    return size_max(LISTED_TASKS_LEAST, run->present->count);
}

static int compare_tasks(const void *a, const void *b)
{
    const uint64_t *one = a, *two = b;

    return *one < *two ? -1 : *one > *two;
}

/* Sorted, each once. Returns how many are left. */
static uint64_t sort_tasks(uint64_t *tasks, uint64_t count)
{
    uint64_t kept = 0;

    qsort(tasks, count, sizeof *tasks, compare_tasks);
    for (uint64_t i = 0; i < count; i++)
        if (kept == 0 || tasks[i] != tasks[kept - 1])
            tasks[kept++] = tasks[i];
    return kept;
}

/* The tasks that touch a listed chunk, at most listed_tasks_max. UINT64_MAX: there are too many to be listed. */
static uint64_t find_tasks(const struct stage_run *run, uint64_t *tasks)
{
    const struct stage *stage = run->stage;
    uint64_t count = 0, tasks_max = listed_tasks_max(run);

    for (uint64_t i = 0; i < run->present->count; i++) {
        uint64_t coords[RANK_MAX], touched;
        struct cell_range range;
        struct box chunk;

        grid_coords(&run->cells, run->present->chunks[i], coords);
        grid_cell_box(&run->cells, coords, &chunk);
        grid_cells_touched(&stage->tasks, &chunk, &range);
        touched = cell_range_cells(run->cells.rank, &range);
        if (touched > tasks_max - count)
            count = sort_tasks(tasks, count);
        if (touched > tasks_max - count)
            return UINT64_MAX;
        for (uint64_t j = 0; j < touched; j++) {
            cell_range_coords(run->cells.rank, &range, j, coords);
            tasks[count++] = walk_grid_index(&stage->walk, &stage->tasks, coords);
        }
    }
    return sort_tasks(tasks, count);
}

/* How many cells all tasks touch, each counted once for each task. */
static uint64_t cells_touched_by_all(const struct grid *tasks, const struct grid *cells)
{
    uint64_t pairs = 1;

    for (unsigned i = 0; i < tasks->rank; i++)
        pairs = size_mul_sat(pairs, axis_overlaps(tasks->shape[i], tasks->cell[i], cells->cell[i]));
    return pairs;
}

/* Everything, less what the listed tasks will report themselves. */
static void report_others(const struct stage_run *run)
{
    const struct grid *tasks = &run->stage->tasks;
    uint64_t cells = cells_touched_by_all(tasks, &run->cells), parts = grid_cells(&run->stage->parts);
    uint64_t elements = shape_elements(tasks->rank, tasks->shape);

    for (uint64_t i = 0; i < run->tasks; i++) {
        struct cell_range range;
        struct box box;

        stage_task_box(run, i, &box);
        elements -= box_elements(tasks->rank, &box);
        grid_cells_touched(&run->cells, &box, &range);
        cells -= cell_range_cells(tasks->rank, &range);
        grid_cells_touched(&run->stage->parts, &box, &range);
        parts -= cell_range_cells(tasks->rank, &range);
    }
    report_add(run->report, COUNT_WORK_BYTES, size_mul_sat(elements, run->item_bytes));
    report_made(run->report, size_mul_sat(elements, run->item_bytes));
    report_add(run->report, COUNT_CHUNKS_MISSING, cells);
    report_add(run->report, COUNT_TARGET_EMPTY, parts);
}

bool stage_list_tasks(struct stage_run *run, struct error *err)
{
    uint64_t count;

    if (run->tasks == 0)
        return true;
    run->listed_tasks = malloc(listed_tasks_max(run) * sizeof *run->listed_tasks);
    if (!run->listed_tasks)
        return error_sys(err, ENOMEM, run->stage->span, "stage '%s': the list of tasks", run->stage->name);
    count = find_tasks(run, run->listed_tasks);
    if (count == UINT64_MAX) {
        free(run->listed_tasks);
        run->listed_tasks = NULL;
        return true;
    }
    run->tasks = count;
    report_others(run);
    return true;
}
