/* listed.c - the tasks of a sparse array: only those that touch a chunk that is there are walked. What the others would
 * have come to is counted at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/prepare.h"

/* As many as listed chunks, or what the planner's tables have room for anyway. */
enum { LISTED_TASKS_LEAST = 16384 };

/* May boxes without a chunk be passed over: would nothing be written, and nothing refused? (Not of streams: their walk
 * has to stay in a column, and missing chunks count once, not once for each box.) */
static bool may_list(const struct graph *g)
{
    const struct stage *only = &g->stages[0];

    return g->present && g->stage_count == 1 && only->source == FROM_CHUNKS && only->sink == TO_CHUNKS &&
           !only->carries && !g->refuse_missing_chunks && !g->write_empty_chunks && !g->target->fill_undefined &&
           memcmp(g->source->fill, g->target->fill, g->source->dtype.item_bytes) == 0;
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

/* The tasks that touch a listed chunk, at most tasks_max. UINT64_MAX: there are too many to be listed. */
static uint64_t find_tasks(const struct graph *g, uint64_t *tasks, uint64_t tasks_max)
{
    const struct stage *stage = &g->stages[0];
    const struct grid *chunks = &g->source->chunks;
    uint64_t count = 0;

    for (uint64_t i = 0; i < g->present->count; i++) {
        uint64_t coords[RANK_MAX], touched;
        struct cell_range range;
        struct box chunk;

        grid_coords(chunks, g->present->chunks[i], coords);
        grid_cell_box(chunks, coords, &chunk);
        grid_cells_touched(&stage->tasks, &chunk, &range);
        touched = cell_range_cells(chunks->rank, &range);
        if (touched > tasks_max - count)
            count = sort_tasks(tasks, count);
        if (touched > tasks_max - count)
            return UINT64_MAX;
        for (uint64_t j = 0; j < touched; j++) {
            cell_range_coords(chunks->rank, &range, j, coords);
            tasks[count++] = walk_grid_index(&stage->walk, &stage->tasks, coords);
        }
    }
    return sort_tasks(tasks, count);
}

bool graph_list_tasks(const struct graph *g, uint64_t **tasks, uint64_t *count, struct error *err)
{
    uint64_t tasks_max;

    *tasks = NULL;
    *count = grid_cells(&g->stages[0].tasks);
    if (!may_list(g) || *count == 0)
        return true;
    tasks_max = size_max(LISTED_TASKS_LEAST, g->present->count);
    *tasks = malloc(tasks_max * sizeof **tasks);
    if (!*tasks)
        return error_sys(err, ENOMEM, g->target_span, "stage '%s': the list of tasks", g->stages[0].name);
    tasks_max = find_tasks(g, *tasks, tasks_max);
    if (tasks_max == UINT64_MAX) {
        free(*tasks);
        *tasks = NULL;
    } else {
        *count = tasks_max;
    }
    return true;
}

/* How many cells all tasks touch, each counted once for each task. */
static uint64_t cells_touched_by_all(const struct grid *tasks, const struct grid *cells)
{
    uint64_t pairs = 1;

    for (unsigned i = 0; i < tasks->rank; i++)
        pairs = size_mul_sat(pairs, axis_overlaps(tasks->shape[i], tasks->cell[i], cells->cell[i]));
    return pairs;
}

/* Everything, less what the listed tasks will report themselves; of the work that an earlier run did nothing. */
static void report_others(const struct stage_run *run)
{
    const struct grid *tasks = &run->stage->tasks;
    uint64_t cells = cells_touched_by_all(tasks, &run->cells), parts = grid_cells(&run->stage->parts);
    uint64_t done = run->resume->tasks_done[run->number];
    uint64_t elements = shape_elements(tasks->rank, tasks->shape) - walk_elements_before(&run->stage->walk, tasks, done);

    for (uint64_t i = 0; i < run->tasks; i++) {
        struct cell_range range;
        struct box box;

        stage_task_box(run, i, &box);
        elements -= run->listed_tasks[i] < done ? 0 : box_elements(tasks->rank, &box);
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

bool stage_list_tasks(struct stage_run *run, const struct graph *g, struct error *err)
{
    if (!graph_list_tasks(g, &run->listed_tasks, &run->tasks, err))
        return false;
    if (run->listed_tasks)
        report_others(run);
    return true;
}
