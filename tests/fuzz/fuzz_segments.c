/* A run that goes on with a scratch file in which somebody wrote. The first byte says which plan, the second at which write
 * the run before it failed; then come damages of DAMAGE_BYTES: where, how many bytes, and with what they are overwritten
 * (0 bytes: the file ends there). The values are right, or it is an error that says so; never others. */
#include <fcntl.h>
#include <unistd.h>

#include "engine/exec/resume.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/directory.h"
#include "tests/unit/graph_cases.h"

enum { RANK = 3, BLOCK_BYTES = 512, HEAD_BYTES = 2, DAMAGE_BYTES = 5, DAMAGES_MAX = 16 };
static const uint64_t shape[RANK] = { 12, 20, 33 }, from_chunk[RANK] = { 2, 20, 12 }, to_chunk[RANK] = { 12, 5, 8 };

static struct directory directory;

static void remove_directory(void)
{
    directory_remove(&directory);
}

/* Where memory can be written to like a file, it is quick. */
static void make_source(void)
{
    struct array_meta from = make_meta(RANK, shape, from_chunk, "none", false);

    if (directory.path[0])
        return;
    if (access("/dev/shm", W_OK) == 0)
        MUST(setenv("TMPDIR", "/dev/shm", 1) == 0);
    directory = directory_new();
    MUST(atexit(remove_directory) == 0);
    write_source(directory_path(&directory, "source"), &from, UINT64_MAX);
}

/* split and merge, or with a further pass between them */
static void fill_graph(struct graph *g, bool passes)
{
    static const uint64_t slab[RANK] = { 4, 20, 33 }, super[RANK] = { 12, 20, 16 }, pass[RANK] = { 4, 20, 16 },
                          bucket[RANK] = { 12, 10, 8 };
    struct grid buckets = g->source->chunks, supers = g->source->chunks;
    struct stage *s = g->stages;

    memcpy(buckets.cell, bucket, sizeof bucket);
    memcpy(supers.cell, super, sizeof super);
    s[g->stage_count++] = make_stage("split", FROM_CHUNKS, TO_SEGMENTS, slab, passes ? &supers : &buckets, g->source,
                                     g->target, NULL, BLOCK_BYTES, 1);
    if (passes) {
        s[1] = make_stage("pass", FROM_SEGMENTS, TO_SEGMENTS, pass, &buckets, g->source, g->target, &s[0], BLOCK_BYTES, 1);
        g->stage_count++;
    }
    s[g->stage_count] = make_stage("merge", FROM_SEGMENTS, TO_CHUNKS, bucket, &g->target->chunks, g->source, g->target,
                                   &s[g->stage_count - 1], BLOCK_BYTES, 1);
    g->stage_count++;
    sum_pool(g);
}

static bool run_graph(unsigned plan, struct error *err)
{
    struct array_meta from = make_meta(RANK, shape, from_chunk, "none", false);
    struct array_meta to = make_meta(RANK, shape, to_chunk, "zstd:1", false);
    struct graph g = { .source = &from, .target = &to, .target_path = directory_path(&directory, "target"),
                       .threads = 1, .backend = IO_THREADS, .missing_chunks_max = UINT64_MAX };
    bool ok;

    MUST(store_open(&g.source_store, directory_path(&directory, "source"), SPAN_NONE, err));
    g.scratch = (struct scratch_layout){ .block_bytes = BLOCK_BYTES, .encoding = plan & 1 ? SPILL_LZ4 : SPILL_RAW,
                                         .give_back = plan & 2, .limit_bytes = 4 * MIB,
                                         .path = directory_path(&directory, "t.sluice-scratch") };
    fill_graph(&g, plan & 4);
    ok = graph_run(&g, NULL, NULL, err);
    store_close(g.source_store);
    return ok;
}

static void damage(const char *path, const uint8_t *data, size_t bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

    for (unsigned i = 0; i < DAMAGES_MAX && bytes >= DAMAGE_BYTES && size > 0; i++) {
        off_t at = (data[0] | data[1] << 8 | data[2] << 16) % size;
        unsigned count = data[3];
        uint8_t with[UINT8_MAX];

        memset(with, data[4], sizeof with);
        MUST(count ? pwrite(fd, with, count, at) == (ssize_t)count : ftruncate(fd, at) == 0);
        data += DAMAGE_BYTES;
        bytes -= DAMAGE_BYTES;
    }
    if (fd >= 0)
        close(fd);
}

/* The run before: it fails, or it is quick and ends. */
static bool run_before(unsigned plan, uint8_t write)
{
    struct os_faults faults = { .kinds = OS_WRITE, .first = write, .forever = true, .how = EIO };
    struct error err = { 0 };
    bool ok;

    os_faults_set(&faults);
    ok = run_graph(plan, &err);
    os_faults_set(NULL);
    return ok;
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    struct error err = { 0 };
    bool ok;

    if (bytes < HEAD_BYTES)
        return 0;
    make_source();
    ok = run_before(data[0], data[1]);
    if (!ok) {
        damage(directory_path(&directory, "t.sluice-scratch"), data + HEAD_BYTES, bytes - HEAD_BYTES);
        ok = run_graph(data[0], &err);
    }
    if (ok) {
        MUST(array_is_right(directory_path(&directory, "target"), NULL));
    } else {
        must_be_said(&err);
        MUST(err.code == ERR_IO && !directory_has(&directory, "target"));
        MUST(resume_clean(directory_path(&directory, "target"), SPAN_NONE, NULL, &(struct error){ 0 }));
    }
    MUST(test_failures_here == 0 && !directory_has(&directory, "t.sluice-scratch"));
    os_remove_tree(AT_FDCWD, directory_path(&directory, "target"));
    return 0;
}
