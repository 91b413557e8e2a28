/* kernels.c - how fast the kernels of engine/array are here, in GB/s of elements moved (best of several rounds).
 *
 *     make build/libsluice.a
 *     cc -std=gnu11 -D_GNU_SOURCE -O2 -I. bench/kernels.c build/libsluice.a -o build/kernels && build/kernels
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "engine/array/copy.h"
#include "engine/array/digest.h"
#include "engine/array/kernels.h"
#include "engine/array/tile.h"
#include "engine/base/size.h"

enum { ROUNDS = 7 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Resident memory in huge pages where there are any, as the pool has it. */
static char *memory_new(uint64_t bytes)
{
    char *at = mmap(NULL, bytes + 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    at = (char *)size_align_up((uint64_t)at, 2 * MIB);
    madvise(at, bytes, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < bytes; i += 8)
        memcpy(at + i, &i, 8);
    return at;
}

#define MEASURE(name, bytes, ...) \
    do { \
        double best = 1e9; \
        for (int round = 0; round < ROUNDS; round++) { \
            double start = now(), seconds; \
            __VA_ARGS__; \
            seconds = now() - start; \
            best = seconds < best ? seconds : best; \
        } \
        printf("%-44s %7.2f GB/s\n", name, 1e-9 * (double)(bytes) / best); \
    } while (0)

/* Runs out of rows that are four times as long, packed. */
static void measure_runs(char *to, const char *from)
{
    for (uint64_t run = 8; run <= 4096; run *= 2) {
        const uint64_t rows = 16 * MIB / run;
        const uint64_t length[2] = { rows, run / 4 };
        const uint64_t to_stride[2] = { run, 4 }, from_stride[2] = { 4 * run, 4 };
        char name[64];

        snprintf(name, sizeof name, "copy_box, runs of %llu bytes", (unsigned long long)run);
        MEASURE(name, rows * run, copy_box(2, length, 4, to, to_stride, from, from_stride));
    }
}

static void measure_transposes(char *to, const char *from)
{
    static const uint64_t sides[] = { 64, 1440, 2048, 4096 };

    for (uint32_t item_bytes = 1; item_bytes <= 16; item_bytes *= 2) {
        for (unsigned i = 0; i < sizeof sides / sizeof sides[0]; i++) {
            const uint64_t side = sides[i], rows = 16 * MIB / (side * item_bytes);
            const uint64_t length[2] = { side, rows };
            const uint64_t to_stride[2] = { rows * item_bytes, item_bytes };
            const uint64_t from_stride[2] = { item_bytes, side * item_bytes };
            const struct transpose t = { side, rows, to_stride[0], to_stride[1], from_stride[0], from_stride[1] };
            char name[64];

            snprintf(name, sizeof name, "transpose, %u-byte items, rows of %llu", item_bytes,
                     (unsigned long long)side);
            MEASURE(name, side * rows * item_bytes,
                    copy_box(2, length, item_bytes, to, to_stride, from, from_stride));
            MEASURE("  portable", side * rows * item_bytes, transpose_generic(&t, item_bytes, to, from));
        }
    }
}

static void measure_shuffle(char *to, const char *from)
{
    enum { BYTES = 256 << 10, TIMES = 50 };

    for (uint32_t item_bytes = 2; item_bytes <= 16; item_bytes *= 2) {
        const uint64_t count = BYTES / item_bytes;
        char name[64];

        snprintf(name, sizeof name, "shuffle, %u-byte items, in cache", item_bytes);
        MEASURE(name, BYTES * TIMES, for (int i = 0; i < TIMES; i++) shuffle_bytes(to, from, count, item_bytes));
        MEASURE("  back", BYTES * TIMES,
                for (int i = 0; i < TIMES; i++) unshuffle_bytes(to, from, count, item_bytes));
        MEASURE("  SSE2", BYTES * TIMES, for (int i = 0; i < TIMES; i++) shuffle_sse2(to, from, count, item_bytes));
        MEASURE("  SSE2, back", BYTES * TIMES,
                for (int i = 0; i < TIMES; i++) unshuffle_sse2(to, from, count, item_bytes));
    }
}

static void measure_digest(const char *from)
{
    static const uint8_t fill[16] = { 0 };
    static const uint8_t reversed[3] = { 2, 1, 0 };
    const struct { const char *name; uint64_t shape[3], chunk[3]; const uint8_t *order; } cases[] = {
        { "digest, chunk (1,721,1440)", { 720, 721, 1440 }, { 1, 721, 1440 }, NULL },
        { "digest, chunk (720,16,16)", { 720, 721, 1440 }, { 720, 16, 16 }, NULL },
        { "digest, chunk (4096,1,1)", { 4096, 256, 256 }, { 4096, 1, 1 }, NULL },
        { "digest, chunk (64,64,64) in Fortran order", { 640, 640, 640 }, { 64, 64, 64 }, reversed },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct digest_frame frame;
        struct digest d;
        struct run run = { .order = cases[i].order, .data = from };

        for (unsigned axis = 0; axis < 3; axis++)
            run.piece.length[axis] = cases[i].chunk[axis];
        run.count = box_elements(3, &run.piece);
        digest_frame_init(&frame, (struct dtype){ DTYPE_FLOAT, 4 }, 3, cases[i].shape, fill, DIGEST_BOXES_MAX);
        if (!digest_init(&d, &frame))
            exit(1);
        MEASURE(cases[i].name, 20 * run.count * 4,
                for (int times = 0; times < 20; times++) digest_run(&d, &run, NULL));
        digest_release(&d);
    }
}

/* A piece scattered in runs of `run_bytes`. */
/* A piece scattered in runs of `run_bytes`, as decoders hand them out. */
struct scatter_case {
    const char *name;
    enum tile_layout layout;
    uint64_t shape[3], part[3];
    struct box box, piece;
    uint64_t run_bytes;
};

static void measure_scatter(const struct scatter_case *s, char *to, const char *from)
{
    const uint32_t item_bytes = 4;
    const uint64_t count = box_elements(3, &s->piece), step = s->run_bytes / item_bytes;
    struct grid parts = { .rank = 3 };
    struct tile t;

    memcpy(parts.shape, s->shape, sizeof s->shape);
    memcpy(parts.cell, s->part, sizeof s->part);
    tile_init(&t, s->layout, item_bytes, &parts, &s->box, NULL, to);
    MEASURE(s->name, count * item_bytes, {
        for (uint64_t first = 0; first < count; first += step) {
            struct run run = { s->piece, NULL, first, size_min(step, count - first), from + first * item_bytes };
            tile_scatter(&t, &run);
        }
    });
}

#define W2 { 720, 721, 1440 }
#define W2_BUCKET { { 0, 0, 0 }, { 720, 48, 1440 } }
#define W2_EXTENT { { 52, 0, 0 }, { 52, 48, 1440 } }
#define W2_SLAB { { 0, 0, 0 }, { 52, 721, 1440 } }
#define W2_CHUNK { { 7, 0, 0 }, { 1, 721, 1440 } }
#define PENCILS { 4096, 256, 256 }

static void measure_scatters(char *to, const char *from)
{
    static const struct scatter_case cases[] = {
        { "scatter, W2 merge, runs of 128 KiB", TILE_WHOLE, W2, { 720, 16, 16 }, W2_BUCKET, W2_EXTENT, 128 << 10 },
        { "scatter, W2 merge, runs of 512 KiB", TILE_WHOLE, W2, { 720, 16, 16 }, W2_BUCKET, W2_EXTENT, 512 << 10 },
        { "scatter, W2 split, runs of 128 KiB", TILE_CLIPPED, W2, { 720, 48, 1440 }, W2_SLAB, W2_CHUNK, 128 << 10 },
        { "scatter, W2 split, runs of 512 KiB", TILE_CLIPPED, W2, { 720, 48, 1440 }, W2_SLAB, W2_CHUNK, 512 << 10 },
        { "scatter, W2 split into (720,16,16)", TILE_CLIPPED, W2, { 720, 16, 16 }, W2_SLAB, W2_CHUNK, 512 << 10 },
        { "scatter, pencils (4096,1,1)", TILE_WHOLE, PENCILS, { 4096, 1, 1 },
          { { 0, 0, 0 }, { 4096, 2, 256 } }, { { 64, 0, 0 }, { 64, 2, 256 } }, 128 << 10 },
        { "scatter, parts (4096,4,4)", TILE_WHOLE, PENCILS, { 4096, 4, 4 },
          { { 0, 0, 0 }, { 4096, 4, 256 } }, { { 64, 0, 0 }, { 64, 4, 256 } }, 256 << 10 },
        { "scatter, pencils, one plane", TILE_WHOLE, PENCILS, { 4096, 1, 1 },
          { { 0, 0, 0 }, { 4096, 16, 256 } }, { { 64, 0, 0 }, { 1, 16, 256 } }, 512 << 10 },
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        measure_scatter(&cases[i], to, from);
}

int main(void)
{
    char *from = memory_new(64 * MIB), *to = memory_new(256 * MIB);

    MEASURE("memcpy of 16 MiB", 16 * MIB, memcpy(to, from, 16 * MIB));
    measure_runs(to, from);
    measure_scatters(to, from);
    measure_digest(from);
    measure_shuffle(to, from);
    measure_transposes(to, from);
    return 0;
}
