/* files.c - how many files a plan makes: too many for the file system, many enough to say so, what the kernel takes
 * for them, and the shards that would make them few.
 */
#include "planner/planner.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/size.h"

/* Files of one output, above which it is said aloud. */
static const uint64_t files_many = 100000;

/* What a cgroup is charged for outside our RSS: a base, and for each file its dentry, inode and dirty metadata, up
 * to where the kernel gives them back. */
#define KERNEL_BYTES (8 * MIB)
#define KERNEL_FILE_BYTES (2 * KIB)
#define KERNEL_FILES_BYTES_MAX (40 * MIB)

uint64_t kernel_bytes_for(const struct basis *b, const struct plan_cost *cost)
{
    uint64_t files = size_add_sat(b->source_chunks, cost->files);

    return KERNEL_BYTES + size_min(size_mul_sat(KERNEL_FILE_BYTES, files), KERNEL_FILES_BYTES_MAX);
}

/* What a file takes on disk is a multiple of this on common file systems. */
#define FILE_BLOCK_BYTES (4 * KIB)

uint64_t disk_bytes_of(const struct plan_cost *cost)
{
    uint64_t files = size_max(1, cost->files);

    return size_mul_sat(files, size_align_up(cost->write_bytes / files, FILE_BLOCK_BYTES));
}

/* The shard shape that would hold about 256 MiB: the chunk doubled along the axes that have room for two of it, the
 * one with the most cells first. Whole chunks, and no more than the axis. */
static void shard_shape(const struct array_meta *m, uint64_t *shard)
{
    const struct grid *g = &m->chunks;
    double bytes = (double)array_chunk_bytes(m);

    memcpy(shard, g->cell, g->rank * sizeof *shard);
    while (bytes < 128.0 * (double)MIB) {
        unsigned best = g->rank;

        for (unsigned i = 0; i < g->rank; i++)
            if (shard[i] <= g->shape[i] / 2 && (best == g->rank || g->shape[i] / shard[i] > g->shape[best] / shard[best]))
                best = i;
        if (best == g->rank)
            return;
        shard[best] *= 2;
        bytes *= 2;
    }
}

/* "shards: {time: 720, y: 128, x: 128}", as one would write it. */
static void add_shards(const struct array_meta *m, struct text *out)
{
    uint64_t shard[RANK_MAX];

    shard_shape(m, shard);
    text_add(out, "shards: {");
    for (unsigned i = 0; i < m->chunks.rank; i++) {
        text_add(out, i ? ", " : "");
        if (m->dimension_names[i])
            text_addf(out, "%s: ", m->dimension_names[i]);
        else
            text_addf(out, "%u: ", i);
        text_addf(out, "%" PRIu64, shard[i]);
    }
    text_add(out, "}");
}

void warn_of_files(const struct array_meta *target, const struct plan_cost *cost, struct text *warnings)
{
    if (cost->files <= files_many)
        return;
    text_addf(warnings, "the output is %s files, about %s on disk; larger chunks help; shards, which will cure that, "
              "are not built yet (", COUNT_TEXT(cost->files), SIZE_TEXT(disk_bytes_of(cost)));
    add_shards(target, warnings);
    text_add(warnings, ")\n");
}

void warn_of_room(const struct job *job, const struct room *room, const struct plan_cost *cost, struct text *warnings)
{
    if (disk_bytes_of(cost) > room->target_free_bytes)
        text_addf(warnings, "the output takes about %s on disk, and there are %s free at '%s'\n",
                  SIZE_TEXT(disk_bytes_of(cost)), SIZE_TEXT(room->target_free_bytes), job->output.path);
}

bool check_files(const struct array_meta *target, const struct job *job, const struct room *room,
                 const struct plan_cost *cost, struct error *err)
{
    struct text shards;

    if (cost->files <= room->target_free_files)
        return true;
    error_at(err, ERR_FIT, job->output.span, "'%s' would be %s files, and the file system has room for %s more",
             job->output.path, COUNT_TEXT(cost->files), COUNT_TEXT(room->target_free_files));
    error_key(err, "output.chunks");
    error_bytes(err, cost->files, room->target_free_files);
    text_init(&shards, ERROR_TEXT_BYTES);
    add_shards(target, &shards);
    error_help(err, "make the chunks larger; with shards, once they can be written, few files would do: %s",
               shards.chars);
    text_release(&shards);
    return false;
}
