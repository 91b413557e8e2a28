/* generate.c - writes a Zarr v2 array that looks like reanalysis data, as large as you like, quickly.
 *
 *     generate PATH --shape 720,721,1440 --chunks 1,721,1440 [--dtype float32|float64|int16]
 *              [--codec lz4|zstd|none] [--field waves|random] [--threads N] [--seed N]
 *
 * waves   smooth waves around 255 with white noise (sigma 0.25), rounded to 1/16: with byte shuffle and lz4 it shrinks
 *         about three times, as ERA5 temperatures do. int16 holds sixteenths above 255.
 * random  every bit random: what no codec shrinks
 *
 * A value depends on its coordinates, the chunk shape and the seed alone, so the same command writes the same bytes.
 * Chunks are split over threads; each holds one raw chunk and its encoding.
 */
#include <blosc.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AXES_MAX = 8, THREADS_MAX = 64, KEY_BYTES = 21 * AXES_MAX };

enum item { ITEM_FLOAT32, ITEM_FLOAT64, ITEM_INT16 };
static const struct { const char *name, *zarr; unsigned bytes; } items[] = {
    [ITEM_FLOAT32] = { "float32", "<f4", 4 },
    [ITEM_FLOAT64] = { "float64", "<f8", 8 },
    [ITEM_INT16] = { "int16", "<i2", 2 },
};

struct work {
    const char *path;
    unsigned rank;
    uint64_t shape[AXES_MAX], chunk[AXES_MAX], count[AXES_MAX];
    uint64_t chunks, chunk_items;
    enum item item;
    const char *codec;              /* "lz4", "zstd"; NULL: none */
    bool random;
    uint64_t seed;
    unsigned threads;
    double *wave[AXES_MAX];         /* one smooth wave along each axis */
    double *across[2];              /* and a pattern over the last two */
    atomic_uint_fast64_t next, encoded_bytes;
    atomic_bool failed;
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "generate: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

/* splitmix64: good bits from a counter. */
static inline uint64_t random_bits(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Four 16-bit uniforms added up are normal enough here, with variance 4/12. */
static inline double noise(uint64_t *state)
{
    uint64_t bits = random_bits(state);
    double sum = (double)(bits & 0xffff) + (double)(bits >> 16 & 0xffff) + (double)(bits >> 32 & 0xffff) +
                 (double)(bits >> 48);

    return (sum / 65536 - 2) * 1.7320508;
}

static void *allocate(uint64_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);

    if (!memory)
        die("no memory for %llu bytes", (unsigned long long)bytes);
    return memory;
}

static void make_waves(struct work *w)
{
    for (unsigned i = 0; i < w->rank; i++) {
        double periods = i + 1 == w->rank ? 3 : i ? 1.5 : 4;

        w->wave[i] = allocate(w->shape[i] * sizeof(double));
        for (uint64_t x = 0; x < w->shape[i]; x++)
            w->wave[i][x] = 8 * sin(2 * M_PI * periods * (double)x / (double)w->shape[i] + i);
    }
    for (unsigned k = 0; k < 2 && k < w->rank; k++) {
        unsigned axis = w->rank - 1 - k;

        w->across[k] = allocate(w->shape[axis] * sizeof(double));
        for (uint64_t x = 0; x < w->shape[axis]; x++)
            w->across[k][x] = 4 * cos(2 * M_PI * 7 * (double)x / (double)w->shape[axis]);
    }
}

static inline void put(void *chunk, uint64_t at, enum item item, double value)
{
    double sixteenths = nearbyint(value * 16);

    if (item == ITEM_FLOAT32)
        ((float *)chunk)[at] = (float)(sixteenths / 16 + 255);
    else if (item == ITEM_FLOAT64)
        ((double *)chunk)[at] = sixteenths / 16 + 255;
    else
        ((int16_t *)chunk)[at] = (int16_t)sixteenths;
}

/* One row along the last axis; what hangs over the array is zero. */
static void fill_row(const struct work *w, void *chunk, uint64_t at, const uint64_t *start, uint64_t *state)
{
    unsigned last = w->rank - 1;
    double base = 0, slope = 0;

    for (unsigned i = 0; i < last; i++)
        base += w->wave[i][start[i]];
    if (w->rank > 1)
        slope = w->across[1][start[last - 1]] / 4;
    for (uint64_t x = 0; x < w->chunk[last] && start[last] + x < w->shape[last]; x++) {
        uint64_t column = start[last] + x;

        put(chunk, at + x, w->item, base + w->wave[last][column] + slope * w->across[0][column] + 0.25 * noise(state));
    }
}

static void fill_waves(const struct work *w, void *chunk, const uint64_t *origin, uint64_t *state)
{
    uint64_t row_items = w->chunk[w->rank - 1];

    memset(chunk, 0, w->chunk_items * items[w->item].bytes);
    for (uint64_t row = 0; row < w->chunk_items / row_items; row++) {
        uint64_t at[AXES_MAX], rest = row;
        bool inside = true;

        at[w->rank - 1] = origin[w->rank - 1];
        for (unsigned i = w->rank - 1; i-- > 0; rest /= w->chunk[i]) {
            at[i] = origin[i] + rest % w->chunk[i];
            inside = inside && at[i] < w->shape[i];
        }
        if (inside)
            fill_row(w, chunk, row * row_items, at, state);
    }
}

/* Doubles stay finite and normal, so that every tool may compare them as numbers. */
static void fill_random(const struct work *w, void *chunk, uint64_t *state)
{
    uint64_t words = w->chunk_items * items[w->item].bytes / 8, *to = chunk;

    for (uint64_t i = 0; i < words; i++) {
        uint64_t bits = random_bits(state);

        if (w->item == ITEM_FLOAT64)
            bits = (bits & 0x800fffffffffffffu) | (0x3f0u + (bits >> 52 & 0x1f)) << 52;
        else if (w->item == ITEM_FLOAT32)
            bits &= 0xbfffffffbfffffffu;
        to[i] = bits;
    }
}

static bool write_file(const char *path, const void *data, uint64_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const char *from = data;
    bool ok = fd >= 0;

    while (ok && bytes) {
        ssize_t n = write(fd, from, bytes < 1 << 30 ? bytes : 1 << 30);

        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        from += ok ? n : 0;
        bytes -= ok ? (uint64_t)n : 0;
    }
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    if (!ok)
        fprintf(stderr, "generate: '%s': %s\n", path, strerror(errno));
    return ok;
}

static bool write_chunk(struct work *w, uint64_t index, void *raw, void *encoded, uint64_t encoded_bytes_max)
{
    uint64_t origin[AXES_MAX], coords[AXES_MAX], state = w->seed * 0x2545f4914f6cdd1du + index;
    uint64_t bytes = w->chunk_items * items[w->item].bytes, rest = index;
    char path[4096 + KEY_BYTES];
    int at;

    for (unsigned i = w->rank; i-- > 0; rest /= w->count[i]) {
        coords[i] = rest % w->count[i];
        origin[i] = coords[i] * w->chunk[i];
    }
    if (w->random)
        fill_random(w, raw, &state);
    else
        fill_waves(w, raw, origin, &state);

    at = snprintf(path, sizeof(path), "%s/", w->path);
    for (unsigned i = 0; i < w->rank; i++)
        at += snprintf(path + at, sizeof(path) - (size_t)at, "%s%llu", i ? "." : "", (unsigned long long)coords[i]);

    if (w->codec) {
        int got = blosc_compress_ctx(5, BLOSC_SHUFFLE, items[w->item].bytes, bytes, raw, encoded, encoded_bytes_max,
                                     w->codec, 0, 1);

        if (got <= 0)
            return false;
        bytes = (uint64_t)got;
    }
    atomic_fetch_add(&w->encoded_bytes, bytes);
    return write_file(path, w->codec ? encoded : raw, bytes);
}

static void *worker(void *argument)
{
    struct work *w = argument;
    uint64_t bytes = w->chunk_items * items[w->item].bytes;
    uint64_t encoded_bytes_max = bytes + BLOSC_MAX_OVERHEAD, index;
    void *raw = allocate(bytes + 8), *encoded = allocate(w->codec ? encoded_bytes_max : 1);

    while (!atomic_load(&w->failed) && (index = atomic_fetch_add(&w->next, 1)) < w->chunks)
        if (!write_chunk(w, index, raw, encoded, encoded_bytes_max))
            atomic_store(&w->failed, true);
    free(encoded);
    free(raw);
    return NULL;
}

static void print_list(FILE *f, unsigned rank, const uint64_t *list)
{
    for (unsigned i = 0; i < rank; i++)
        fprintf(f, "%s%llu", i ? ", " : "", (unsigned long long)list[i]);
}

static FILE *open_metadata(const struct work *w, const char *name)
{
    char path[4096 + 16];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", w->path, name);
    f = fopen(path, "w");
    if (!f)
        die("'%s': %s", path, strerror(errno));
    return f;
}

static void write_metadata(const struct work *w)
{
    static const char *const names[] = { "time", "latitude", "longitude" };
    FILE *f = open_metadata(w, ".zarray");

    fprintf(f, "{\"zarr_format\": 2, \"shape\": [");
    print_list(f, w->rank, w->shape);
    fprintf(f, "], \"chunks\": [");
    print_list(f, w->rank, w->chunk);
    fprintf(f, "], \"dtype\": \"%s\", \"fill_value\": 0, \"order\": \"C\", \"filters\": null, "
            "\"dimension_separator\": \".\", \"compressor\": ", items[w->item].zarr);
    if (w->codec)
        fprintf(f, "{\"id\": \"blosc\", \"cname\": \"%s\", \"clevel\": 5, \"shuffle\": 1, \"blocksize\": 0}}\n", w->codec);
    else
        fprintf(f, "null}\n");
    if (fclose(f))
        die("'%s/.zarray': %s", w->path, strerror(errno));

    f = open_metadata(w, ".zattrs");
    fprintf(f, "{\"long_name\": \"2 metre temperature\", \"units\": \"K\", \"_ARRAY_DIMENSIONS\": [");
    for (unsigned i = 0; i < w->rank; i++) {
        if (w->rank == 3)
            fprintf(f, "%s\"%s\"", i ? ", " : "", names[i]);
        else
            fprintf(f, "%s\"axis_%u\"", i ? ", " : "", i);
    }
    fprintf(f, "]}\n");
    if (fclose(f))
        die("'%s/.zattrs': %s", w->path, strerror(errno));
}

static unsigned read_list(const char *words, uint64_t *list)
{
    unsigned count = 0;

    for (const char *at = words; *at; ) {
        char *end;
        unsigned long long value = strtoull(at, &end, 10);

        if (end == at || !value || count == AXES_MAX || (*end && *end != ','))
            die("'%s' is not a list of up to %d counts", words, AXES_MAX);
        list[count++] = value;
        at = *end ? end + 1 : end;
    }
    return count;
}

static uint64_t read_number(const char *words)
{
    char *end;
    unsigned long long value = strtoull(words, &end, 10);

    if (end == words || *end)
        die("'%s' is not a number", words);
    return value;
}

static void read_option(struct work *w, const char *name, const char *value, unsigned *chunk_rank)
{
    if (!strcmp(name, "--shape")) {
        w->rank = read_list(value, w->shape);
    } else if (!strcmp(name, "--chunks")) {
        *chunk_rank = read_list(value, w->chunk);
    } else if (!strcmp(name, "--dtype")) {
        for (w->item = 0; strcmp(items[w->item].name, value); w->item++)
            if (w->item == ITEM_INT16)
                die("dtype '%s': float32, float64 or int16", value);
    } else if (!strcmp(name, "--codec")) {
        if (strcmp(value, "lz4") && strcmp(value, "zstd") && strcmp(value, "none"))
            die("codec '%s': lz4, zstd or none", value);
        w->codec = strcmp(value, "none") ? value : NULL;
    } else if (!strcmp(name, "--field")) {
        if (strcmp(value, "waves") && strcmp(value, "random"))
            die("field '%s': waves or random", value);
        w->random = !strcmp(value, "random");
    } else if (!strcmp(name, "--threads")) {
        w->threads = (unsigned)read_number(value);
    } else if (!strcmp(name, "--seed")) {
        w->seed = read_number(value);
    } else {
        die("unknown option '%s'", name);
    }
}

static void read_command_line(struct work *w, int argc, char **argv)
{
    unsigned chunk_rank = 0;

    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            w->path = argv[i];
            continue;
        }
        if (i + 1 == argc)
            die("'%s' needs a value", argv[i]);
        read_option(w, argv[i], argv[i + 1], &chunk_rank);
        i++;
    }
    if (!w->path || !w->rank || chunk_rank != w->rank)
        die("usage: generate PATH --shape N,N,... --chunks N,N,... [--dtype float32|float64|int16]\n"
            "       [--codec lz4|zstd|none] [--field waves|random] [--threads N] [--seed N]");
    if (strlen(w->path) > 4000)
        die("the path is too long");
    if (w->threads < 1 || w->threads > THREADS_MAX)
        die("threads: 1 to %d", THREADS_MAX);
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct work w = { .codec = "lz4", .threads = cores < 1 ? 1 : cores > 16 ? 16 : (unsigned)cores };
    pthread_t threads[THREADS_MAX];
    uint64_t raw_bytes;

    read_command_line(&w, argc, argv);
    w.chunks = w.chunk_items = 1;
    for (unsigned i = 0; i < w.rank; i++) {
        w.count[i] = (w.shape[i] + w.chunk[i] - 1) / w.chunk[i];
        w.chunks *= w.count[i];
        w.chunk_items *= w.chunk[i];
    }
    if (w.chunk_items > (1u << 31) / items[w.item].bytes)
        die("a chunk of more than 2 GiB");
    if (mkdir(w.path, 0777))
        die("'%s': %s", w.path, strerror(errno));
    make_waves(&w);
    for (unsigned i = 0; i < w.threads; i++)
        if (pthread_create(&threads[i], NULL, worker, &w))
            die("no thread");
    for (unsigned i = 0; i < w.threads; i++)
        pthread_join(threads[i], NULL);
    if (w.failed)
        return 1;
    write_metadata(&w);

    for (unsigned i = 0; i < w.rank; i++)
        free(w.wave[i]);
    free(w.across[0]);
    free(w.across[1]);
    raw_bytes = w.chunks * w.chunk_items * items[w.item].bytes;
    fprintf(stderr, "%s: %llu chunks, %.2f GB, encoded %.2f GB (%.2f times smaller)\n", w.path,
            (unsigned long long)w.chunks, (double)raw_bytes / 1e9, (double)w.encoded_bytes / 1e9,
            (double)raw_bytes / (double)w.encoded_bytes);
    return 0;
}
