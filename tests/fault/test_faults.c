/* Every example pipeline, and those of tests/fault that go where the examples do not, with the n-th call of a kind made to
 * fail, or all from the n-th on, n = 0, 1, 2, ... until a run is not hit any more.
 *
 * Each time: it ends, with a status that the manual promises for such a fault and an error that names a path and a
 * line of the pipeline; no memory and no descriptor is lost; the target is as it was, or right; and the same command
 * without the fault makes the right bytes and leaves nothing else behind.
 *
 * SLUICE_FAULTS_EVERY=1 goes over every n, on both back ends, else some are taken, on one back end each. "--io threads"
 * and "--io uring" do the half of the work that is on that one. Words on the command line choose cases by their name.
 */
#include "tests/unit/test.h"

#include <dirent.h>
#include <ftw.h>
#include <glob.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

#include "dsl/commands.h"
#include "dsl/session.h"
#include "dsl/sluice.h"
#include "engine/base/size.h"
#include "engine/exec/resume.h"
#include "tests/fault/faults.h"
#include "tests/unit/directory.h"

enum { RUN_SECONDS_MAX = 60 };

/* What fails, and what the run may then exit with beside 0 (the fault was got over). */
struct fault {
    const char *kinds, *hows;
    const char *statuses;
};
static const struct fault faults[] = {
    { "memory", "ENOMEM", "3" },
    { "thread", "EAGAIN", "3 5" },
    { "open", "EIO ENOSPC EMFILE", "3 5" },
    { "openat2", "EIO ENOSPC EMFILE EPERM", "3 5" },
    { "direct", "EINVAL", "" },
    { "flags", "EIO", "5" },
    { "stat", "EIO", "5" },
    { "list", "EIO", "5 6" },
    { "read", "EIO", "5" },
    { "read", "EINTR EAGAIN short", "" },
    { "read", "zero", "2 4 5" },
    { "write", "EIO", "5" },
    { "write", "ENOSPC EDQUOT zero", "3" },
    { "write", "EINTR EAGAIN short", "" },
    { "fallocate", "ENOSPC EDQUOT", "3" },
    { "fallocate", "EOPNOTSUPP EINTR", "" },
    { "fallocate", "EIO", "5" },
    { "punch", "EIO EOPNOTSUPP", "" },
    { "truncate,sync", "EIO ENOSPC", "3 5" },
    { "mkdir", "EIO ENOSPC EDQUOT", "3 5" },
    { "unlink", "EIO", "5" },
    { "close", "EIO ENOSPC EDQUOT", "3 5" },
    { "rename,renameat2", "EIO ENOSPC EINVAL", "3 5" },
    { "lock", "ENOMEM", "" },
    { "mount", "EIO ENOSYS", "" },
    { "ring", "ENOMEM EPERM ENOSYS", "2 3 5" },
    { "enter", "EINTR EAGAIN EBUSY ENOMEM", "" },
};

struct example {
    char name[96];
    const char *pipeline;       /* path of the file */
    const char *input;
    enum plan_wanted plan;
    const char *way;            /* what the plan must be; NULL: whatever it is */
    enum io_backend backend;
    bool overwrite;             /* something else is at the output, to be replaced */
    bool continues;             /* what fails is a run that goes on with an earlier one */
    uint64_t memory_bytes;
    uint64_t half_call;         /* continues: the write that the earlier one failed at */
};

/* Pipelines of tests/fault: what the examples do not reach. */
static const struct own {
    const char *name, *input;
    enum plan_wanted plan;
    bool continues;
    const char *way;
} own[] = {
    { "slices", "tall.zarr", PLAN_AUTO, false, "chunks > slices" },
    { "stream", "cube.zarr", PLAN_AUTO, false, "stream > segments > chunks" },
    { "ranges", "maps.zarr", PLAN_RANGED_WRITE, false, "chunks > ranges" },
    { "carry", "series.zarr", PLAN_CARRY, false, "carry > chunks" },
    { "passes", "maps.zarr", PLAN_PASSES, false, "chunks > segments > segments > chunks" },
    { "continued", "maps.zarr", PLAN_DIRECT, true, "chunks > chunks" },
    { "continued", "maps.zarr", PLAN_SPLIT, true, "chunks > segments > chunks" },
    { "continued", "maps.zarr", PLAN_PASSES, true, "chunks > segments > segments > chunks" },
};

static struct directory d;        /* inputs and output: in memory where that can be, to be quick */
static struct directory scratch;  /* on a disk: memory is refused */
static uint64_t right_tree;
static char at_work[256];       /* what runs, for whoever has to say that it did not end */
static bool every;
static unsigned long runs, hits;
static bool run_was_hit;        /* the last one */
static char run_way[96];        /* what its plan was */

static void on_death(int number)
{
    char line[400];
    int length = snprintf(line, sizeof line, "\n%s: %s\n", number == SIGALRM ? "does not end" : "crashes", at_work);

    (void)!write(STDERR_FILENO, line, (size_t)length);
    signal(number, SIG_DFL);
    raise(number == SIGALRM ? SIGABRT : number);
}

/* ---- trees ---- */

static uint64_t tree_sum;
static size_t tree_skip;
static bool notes_may_stay;     /* nothing can be removed, or what was renamed cannot be synced: then it stops there */

static uint64_t mix(uint64_t sum, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return sum;
}

static int add_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    uint64_t sum = mix(0xcbf29ce484222325u, path + tree_skip, strlen(path + tree_skip));
    FILE *file = NULL;
    char block[4096];
    size_t got;

    if (notes_may_stay && strncmp(path + where->base, ".sluice-", strlen(".sluice-")) == 0)
        return 0;
    if (kind == FTW_F)
        file = fopen(path, "r");
    while (file && (got = fread(block, 1, sizeof block, file)))
        sum = mix(sum, block, got);
    if (file)
        fclose(file);
    tree_sum += sum * 2 + (uint64_t)S_ISDIR(st->st_mode);
    return 0;
}

/* Names and bytes of all that is at `name`; 0: nothing is. */
static uint64_t tree(const char *name)
{
    const char *path = directory_path(&d, name);

    tree_sum = 0;
    tree_skip = strlen(path);
    nftw(path, add_file, 8, FTW_PHYS);
    return tree_sum;
}

static void clean(void)
{
    os_remove_tree(AT_FDCWD, directory_path(&d, "out.zarr"));
    os_remove_tree(AT_FDCWD, directory_path(&d, "out.zarr.sluice-partial"));
}

static void put_old(void)
{
    directory_make(&d, "out.zarr");
    directory_put(&d, "out.zarr/.zarray", "the old one");
}

static bool is_input(const char *name)
{
    for (const char *const *input = (const char *[]){ "maps.zarr", "series.zarr", "tall.zarr", "cube.zarr", NULL }; *input;
         input++)
        if (strcmp(name, *input) == 0)
            return true;
    return false;
}

/* Besides the inputs and the output: how many names, and one of them. */
static unsigned strangers(const struct directory *where, char *one, size_t one_bytes)
{
    DIR *dir = opendir(where->path);
    const struct dirent *entry;
    unsigned count = 0;

    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && !is_input(entry->d_name) && strcmp(entry->d_name, "out.zarr") && ++count)
            snprintf(one, one_bytes, "%s", entry->d_name);
    closedir(dir);
    return count;
}

/* ---- runs ---- */

static bool flag(struct pipeline *p, const char *option, const char *words, struct error *err)
{
    static const struct source line = { "command line", "sluice run", 10 };

    return pipeline_flag(p, key_of_option(option), words, (struct span){ &line, 1, 1, 1, NULL }, err);
}

/* As in "chunks > segments > chunks". */
static void way_of(const struct graph *g, char *out, size_t out_bytes)
{
    static const char *const sources[] = { "chunks", "stream", "segments" };
    static const char *const sinks[] = { "segments", "chunks", "slices", "ranges" };
    size_t length;

    length = (size_t)snprintf(out, out_bytes, "%s", g->stages[0].carries ? "carry" : sources[g->stages[0].source]);
    for (unsigned i = 0; i < g->stage_count && length < out_bytes; i++)
        length += (size_t)snprintf(out + length, out_bytes - length, " > %s", sinks[g->stages[i].sink]);
}

/* The command `sluice run PIPELINE --set input=... --set output=... --threads 2 --io ... --memory ... --plan ...`.
 * Fills `said` with what it would print. */
static int run(const struct example *e, struct text *said)
{
    char memory[32], input[300], output[300];
    struct session_options options = { .progress = PROGRESS_NONE };
    struct session session = { 0 };
    struct pipeline p;
    struct error err = { 0 };
    char *printed = NULL;
    size_t printed_bytes;
    FILE *file;
    bool ok;

    pipeline_init(&p);
    session.pipeline = &p;
    snprintf(memory, sizeof memory, "%llu", (unsigned long long)e->memory_bytes);
    snprintf(input, sizeof input, "input=%s/%s", d.path, e->input);
    snprintf(output, sizeof output, "output=%s/out.zarr", d.path);
    ok = pipeline_set(&p, input, SPAN_NONE, &err) && pipeline_set(&p, output, SPAN_NONE, &err) &&
         pipeline_read_file(&p, e->pipeline, SPAN_NONE, &err) && flag(&p, "--threads", "2", &err) &&
         flag(&p, "--memory", memory, &err) && flag(&p, "--io", io_backend_name(e->backend), &err) &&
         flag(&p, "--scratch", scratch.path, &err) && (!e->overwrite || flag(&p, "--overwrite", "true", &err));
    p.job.plan = e->plan;
    ok = ok && pipeline_finish(&p, &err) && session_run(&session, &p, &options, &err);
    CHECK(ok == (err.code == ERR_NONE));
    way_of(&session.plan.graph, run_way, sizeof run_way);
    run_was_hit = os_faults_hit() > 0;
    os_faults_set(NULL);
    text_clear(said);
    if (!ok && (file = open_memstream(&printed, &printed_bytes))) {
        error_print(&err, file);
        fclose(file);
        text_add(said, printed);
        free(printed);
    }
    session_release(&session);
    pipeline_release(&p);
    return error_exit_status(err.code);
}

static bool has_status(const char *statuses, int status)
{
    for (const char *at = statuses; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (atoi(at) == status)
            return true;
    return status == 0;
}

#define CHECK_CASE(condition, said) \
    do { \
        if (!(condition)) { \
            test_failures_here++; \
            fprintf(stderr, "%s: not true: %s\n%s", at_work, #condition, (said)); \
        } \
    } while (0)

/* A line of what was typed and a path; or the pipeline that cannot be read itself; or I/O, which has no path, and which
 * is asked for by a flag here. */
static bool names_its_place(const char *said)
{
    return ((strstr(said, ".yaml:") || strstr(said, "command line:")) &&
            (strstr(said, d.path) || strstr(said, scratch.path))) || strstr(said, "error: cannot read 'pipelines/") ||
           strstr(said, "error: cannot read 'tests/fault/") || strstr(said, "error: cannot set up I/O") ||
           strstr(said, ".yaml: error: there is nothing in this file") ||
           strstr(said, "error: io_uring does");
}

static void seam_set(const char *kinds, const char *how, uint64_t n, bool forever)
{
    static struct os_faults seam;

    seam = (struct os_faults){ .kinds = faults_kinds(kinds), .first = n, .forever = forever, .how = faults_how(how) };
    os_faults_set(&seam);
}

/* A run that fails with its n-th write, which leaves something to go on with, and nothing at the output. */
static int run_half(const struct example *e, uint64_t n, struct text *said)
{
    struct error err = { 0 };

    resume_clean(directory_path(&d, "out.zarr"), SPAN_NONE, NULL, &err);     /* and its scratch file */
    clean();
    seam_set("write", "EIO", n, true);
    alarm(RUN_SECONDS_MAX);
    return run(e, said);
}

/* A write in the second half of a run. */
static uint64_t find_half(const struct example *e, struct text *said)
{
    uint64_t n = 4;

    while (run_half(e, 2 * n, said) != 0)
        n *= 2;
    return n;
}

/* One run with call `n` of these kinds failing, and what must hold after. False: it was not hit any more. */
static bool run_faulted(const struct example *e, const struct fault *f, const char *how, uint64_t n, bool forever)
{
    bool names_place = strcmp(f->kinds, "memory") && strcmp(f->kinds, "ring") && strcmp(f->kinds, "thread");
    unsigned files = descriptors_open();
    uint64_t before, after;
    struct text said;
    char left[256] = "";
    long held;
    bool hit;
    int status;

    snprintf(at_work, sizeof at_work, "%s SLUICE_FAULT=%s:%llu%s:%s", e->name, f->kinds, (unsigned long long)n,
             forever ? "+" : "", how);
    notes_may_stay = strcmp(f->kinds, "unlink") == 0 || strcmp(f->kinds, "truncate,sync") == 0 ||
                     strcmp(f->kinds, "stat") == 0;
    text_init(&said, 1 << 16);
    text_add(&said, " ");       /* so that it has its memory */
    held = faults_memory_held();
    clean();
    if (e->overwrite)
        put_old();
    if (e->continues)
        CHECK_CASE(run_half(e, e->half_call, &said) == 5 && directory_has(&d, "out.zarr.sluice-partial"), said.chars);
    before = tree("out.zarr");
    seam_set(f->kinds, how, n, forever);
    alarm(RUN_SECONDS_MAX);
    status = run(e, &said);
    hit = run_was_hit;
    runs++;
    hits += hit;
    after = tree("out.zarr");
    CHECK_CASE(hit || status == 0, said.chars);
    CHECK_CASE(has_status(f->statuses, status), said.chars);
    CHECK_CASE(after == right_tree || (status != 0 && after == before), said.chars);
    CHECK_CASE(status == 0 || !names_place || names_its_place(said.chars), said.chars);
    CHECK_CASE(faults_memory_held() == held, said.chars);
    CHECK_CASE(descriptors_open() == files, said.chars);
    if (status != 0) {
        status = run(e, &said);
        CHECK_CASE(status == 0 && tree("out.zarr") == right_tree, said.chars);
    }
    /* A scratch file that the kernel would not remove is still there. */
    CHECK_CASE(strangers(&d, left, sizeof left) == 0, left);
    CHECK_CASE(strangers(&scratch, left, sizeof left) == 0 || strcmp(f->kinds, "unlink") == 0, left);
    if (left[0])
        os_unlinkat(AT_FDCWD, directory_path(&scratch, left), 0);
    alarm(0);
    text_release(&said);
    return hit;
}

/* How soon they come apart; a sanitizer takes its time. */
#ifdef __SANITIZE_ADDRESS__
enum { ALLOCATIONS_NEAR = 2, CALLS_NEAR = 1 };
#else
enum { ALLOCATIONS_NEAR = 10, CALLS_NEAR = 2 };
#endif

/* The next n: all of them, or more and more apart. */
static uint64_t next_call(const struct fault *f, uint64_t n)
{
    return every || n < 3 ? n + 1 : n + 1 + n / (strcmp(f->kinds, "memory") == 0 ? ALLOCATIONS_NEAR : CALLS_NEAR);
}

/* What stays so: a disk that is full, a device that is gone. Others are asked again until they answer. */
static bool lasts(const struct fault *f, int how)
{
    return how > 0 && how != EINTR && how != EAGAIN && strcmp(f->kinds, "enter") != 0;
}

static void run_fault(const struct example *e, const struct fault *f)
{
    const char *at = f->hows;

    while (*at) {
        size_t length = strcspn(at, " ");
        char how[16];

        snprintf(how, sizeof how, "%.*s", (int)length, at);
        for (uint64_t n = 0; run_faulted(e, f, how, n, false); n = next_call(f, n)) { }
        for (uint64_t n = 0; lasts(f, faults_how(how)) && run_faulted(e, f, how, n, true); n = every ? n + 1 : 3 * n + 2) { }
        at += length + strspn(at + length, " ");
    }
}

/* ---- fixtures ---- */

/* The values hardly shrink, so that much is written; in the second half some chunks are missing. */
static void make_frames(const char *name, unsigned frames, unsigned rows, unsigned columns)
{
    float *frame = malloc(sizeof *frame * rows * columns);
    uint32_t state = 1;
    char path[64], words[300];

    directory_make(&d, name);
    snprintf(path, sizeof path, "%s/.zarray", name);
    snprintf(words, sizeof words, "{\"zarr_format\": 2, \"shape\": [%u, %u, %u], \"chunks\": [1, %u, %u], \"dtype\": \"<f4\","
             " \"fill_value\": 0, \"order\": \"C\", \"filters\": null, \"compressor\": null}", frames, rows, columns, rows,
             columns);
    directory_put(&d, path, words);
    snprintf(path, sizeof path, "%s/.zattrs", name);
    directory_put(&d, path, "{\"_ARRAY_DIMENSIONS\": [\"time\", \"latitude\", \"longitude\"], \"units\": \"K\"}");
    for (unsigned t = 0; t < frames; t++) {
        for (unsigned i = 0; i < rows * columns; i++) {
            state = state * 1664525u + 1013904223u;
            frame[i] = 250 + (float)(state >> 12) / 65536;
        }
        snprintf(path, sizeof path, "%s/%u.0.0", name, t);
        if (t < frames / 2 || t % 3)
            directory_put_bytes(&d, path, frame, sizeof *frame * rows * columns);
    }
    free(frame);
}

static void rechunk(const char *from, const char *to, const char *chunks, const char *codec)
{
    struct sluice *s = sluice_new();

    CHECK(s && sluice_set(s, "input.path", directory_path(&d, from)) == 0 &&
          sluice_set(s, "output.path", directory_path(&d, to)) == 0 && sluice_set(s, "output.chunks", chunks) == 0 &&
          sluice_set(s, "output.codec", codec) == 0 && sluice_set(s, "memory", "64MiB") == 0);
    if (sluice_run(s) != 0)
        fputs(sluice_error(s), stderr), abort();
    sluice_free(s);
}

/* The least that it says it needs, so that segments do not stay in memory. What is asked for first may not be all. */
static uint64_t least_bytes(struct example *e)
{
    struct text said;
    unsigned tries = 0;

    text_init(&said, 1 << 16);
    e->memory_bytes = 4096;
    while (run(e, &said) == 3 && tries++ < 3) {
        const char *at = strstr(said.chars, " at least ");
        char unit[4] = "";
        double count = 0;

        CHECK_CASE(at && sscanf(at, " at least %lf%3s", &count, unit) == 2, said.chars);
        e->memory_bytes = (uint64_t)(count * (unit[0] == 'M' ? MIB : KIB));
    }
    text_release(&said);
    clean();
    return e->memory_bytes;
}

static bool is_chosen(const char *name, int count, char **words)
{
    for (int i = 0; i < count; i++)
        if (!strstr(name, words[i]))
            return false;
    return true;
}

static void name_example(struct example *e)
{
    static const char *const plans[] = { "", "-direct", "-split", "-passes", "-ranged", "-carry" };
    const char *name = strrchr(e->pipeline, '/') + 1;

    snprintf(e->name, sizeof e->name, "%.*s%s-%s%s", (int)strcspn(name, "."), name, plans[e->plan],
             io_backend_name(e->backend), e->overwrite ? "-overwrite" : "");
}

/* Everything that can fail in one example. */
static void run_example(struct example *e)
{
    struct text said;

    text_init(&said, 1 << 16);
    snprintf(at_work, sizeof at_work, "%s", e->name);
    clean();
    e->memory_bytes = least_bytes(e);
    if (e->overwrite)
        put_old();
    CHECK_CASE(run(e, &said) == 0, said.chars);
    CHECK_CASE(!e->way || strcmp(run_way, e->way) == 0, run_way);
    right_tree = tree("out.zarr");
    if (e->continues)
        e->half_call = find_half(e, &said);
    text_release(&said);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        run_fault(e, &faults[i]);
}

static void count_example(struct example *e, int words_count, char **words)
{
    name_example(e);
    if (!is_chosen(e->name, words_count, words))
        return;
    test_failures_here = 0;
    run_example(e);
    test_passed += test_failures_here == 0;
    test_failed += test_failures_here != 0;
    if (test_failures_here)
        printf("FAILED %s\n", e->name);
}

/* Number `number` of all cases: on both back ends, or on one and the next one on the other. */
static bool is_its_turn(unsigned number, enum io_backend backend, bool chosen)
{
    return every || chosen || (backend == IO_URING) == (number % 2 == 0);
}

static void run_all(const glob_t *pipelines, enum io_backend backend, int words_count, char **words)
{
    static const enum plan_wanted plans[] = { PLAN_DIRECT, PLAN_SPLIT };
    unsigned number = 0;

    for (size_t i = 0; i < pipelines->gl_pathc; i++)
        for (unsigned variant = 0; variant < 3; variant++) {
            const char *path = pipelines->gl_pathv[i];
            struct example e = { .pipeline = path, .input = strstr(path, "maps") ? "series.zarr" : "maps.zarr",
                                 .plan = plans[variant & 1], .backend = backend, .overwrite = variant == 2 };

            if (!every && words_count == 0 && (e.overwrite ? i > 0 : (i + variant) % 2))
                continue;       /* publishing is the same for all, and each plan comes twice */
            if (is_its_turn(number++, backend, words_count > 0))
                count_example(&e, words_count, words);
        }
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        const struct own *o = &own[i];
        char path[64];
        struct example e = { .pipeline = path, .input = o->input, .plan = o->plan, .way = o->way, .backend = backend,
                             .continues = o->continues };

        snprintf(path, sizeof path, "tests/fault/%s.yaml", o->name);
        if (is_its_turn(number++, backend, words_count > 0))
            count_example(&e, words_count, words);
    }
}

int main(int argc, char **argv)
{
    const char *io = argc > 2 && strcmp(argv[1], "--io") == 0 ? argv[2] : NULL;
    int first_word = io ? 3 : 1;
    glob_t pipelines;

    mallopt(M_ARENA_MAX, 1);
    every = getenv("SLUICE_FAULTS_EVERY") != NULL;
    for (size_t i = 0; i < 3; i++)
        signal((int[]){ SIGALRM, SIGSEGV, SIGABRT }[i], on_death);
    scratch = directory_new();
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    d = directory_new();
    make_frames("frames.zarr", 12, 91, 180);
    rechunk("frames.zarr", "maps.zarr", "1,91,180", "blosc:lz4:5:shuffle");
    rechunk("frames.zarr", "series.zarr", "12,32,32", "blosc:lz4:5:shuffle");
    os_remove_tree(AT_FDCWD, directory_path(&d, "frames.zarr"));
    make_frames("frames.zarr", 12, 181, 360);
    rechunk("frames.zarr", "cube.zarr", "12,181,360", "zstd:1");
    os_remove_tree(AT_FDCWD, directory_path(&d, "frames.zarr"));
    make_frames("tall.zarr", 24, 181, 360);
    if (glob("pipelines/*.yaml", 0, NULL, &pipelines) != 0)
        fputs("no pipelines: run this at the top of the tree\n", stderr), abort();
    for (size_t i = 0; i < 2; i++) {
        enum io_backend backend = (enum io_backend[]){ IO_THREADS, IO_URING }[i];

        if (!io || strcmp(io, io_backend_name(backend)) == 0)
            run_all(&pipelines, backend, argc - first_word, argv + first_word);
    }
    globfree(&pipelines);
    directory_remove(&d);
    directory_remove(&scratch);
    printf("%lu runs\ncounts: faults injected=%lu\n", runs, hits);
    return test_summary();
}
