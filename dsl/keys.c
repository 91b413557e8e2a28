#include "dsl/keys.h"

#include <string.h>

#include "dsl/answer.h"
#include "engine/base/text.h"
#include "planner/job.h"

#define JOB(field) offsetof(struct job, field)

const struct key key_table[] = {
    /* ---- the top of the file ---- */
    { .section = AT_TOP, .name = "memory", .type = KEY_SIZE_OR_SHARE, .offset = JOB(memory), .option = "--memory",
      .unset = "half of what is available, 80% where a cgroup or Slurm set the limit",
      .synonyms = "max_mem maxmem mem memory_limit mem_limit max_memory allowed_mem target_mem ram budget",
      .help = "the hard bound on the process: a size (1GiB) or a share of what is available (80%). Not a hint: what "
              "does not fit is refused before the start, with the least that would do" },
    { .section = AT_TOP, .name = "scratch", .type = KEY_SECTION, .section_of = IN_SCRATCH, .option = "--scratch",
      .unset = "beside the output",
      .synonyms = "temp_store tmpdir tmp temp temp_dir tempdir work_dir spill spill_dir intermediate cache",
      .help = "where data waits between split and merge: a directory, or a map of path, limit and codec" },
    { .section = AT_TOP, .name = "threads", .type = KEY_COUNT, .offset = JOB(threads),
      .span_offset = JOB(threads_span), .min = 1, .max = 1024, .option = "--threads",
      .unset = "auto: the least of affinity, cgroup quota and SLURM_CPUS_PER_TASK",
      .synonyms = "max_workers workers n_workers num_workers nthreads num_threads n_jobs jobs cpus cores concurrency",
      .help = "how many threads decode and encode; auto leaves it to us" },
    { .section = AT_TOP, .name = "io", .type = KEY_WORD, .offset = JOB(backend), .choices = "auto uring threads",
      .option = "--io", .unset = "auto: io_uring, or threads where it is refused",
      .synonyms = "io_backend backend engine",
      .help = "how files are read and written: auto, uring or threads" },
    { .section = AT_TOP, .name = "durable", .type = KEY_BOOL, .offset = JOB(durable), .option = "--durable",
      .unset = "false", .synonyms = "fsync sync",
      .help = "whether what a run has done survives a power cut too, at the price of syncs; a killed process never loses "
              "more than one slab or bucket" },
    { .section = AT_TOP, .name = "verify", .type = KEY_BOOL, .offset = JOB(verify), .option = "--verify",
      .unset = "false", .synonyms = "validate",
      .help = "whether the output is read back before it appears, and proved to hold the input's values: the digest of what "
              "was read must be that of what was written. Costs one more pass over the output; a run that went on with an "
              "earlier one reads the input again, too" },
    { .section = AT_TOP, .name = "params", .type = KEY_PARAMS, .synonyms = "parameters vars env define",
      .help = "names for values: $NAME or ${NAME} in any value of the file. --set NAME=VALUE wins over params:, and "
              "params: over the environment; a path from --set is relative to the current directory. $$ is a dollar" },
    { .section = AT_TOP, .name = "input", .type = KEY_SECTION, .section_of = IN_INPUT,
      .synonyms = "source src in read from",
      .help = "the array to read: a path, or a map of path and missing. Short for one entry of inputs:" },
    { .section = AT_TOP, .name = "inputs", .type = KEY_NAMED, .section_of = IN_INPUT, .synonyms = "sources datasets",
      .help = "inputs by name: {era5: {path: data/era5.zarr}}. More than one is not built yet" },
    { .section = AT_TOP, .name = "steps", .type = KEY_RESERVED,
      .synonyms = "pipeline tasks stages operations transforms filters",
      .help = "named steps between inputs and outputs: select, unpack, cast, reduce" },
    { .section = AT_TOP, .name = "output", .type = KEY_SECTION, .section_of = IN_OUTPUT,
      .synonyms = "target dest destination sink out dst write to",
      .help = "the array to make: a map of path, chunks, codec, format. Short for one entry of outputs:" },
    { .section = AT_TOP, .name = "outputs", .type = KEY_NAMED, .section_of = IN_OUTPUT, .synonyms = "targets sinks",
      .help = "outputs by name: {maps: {path: out/maps.zarr, chunks: {time: 1}}}. More than one is not built yet" },

    /* ---- input ---- */
    { .section = IN_INPUT, .name = "path", .type = KEY_PATH, .offset = JOB(input.path),
      .span_offset = JOB(input.span), .synonyms = "url uri file filename store urlpath location",
      .help = "a Zarr v2 or v3 array, relative to the pipeline file" },
    { .section = IN_INPUT, .name = "missing", .type = KEY_WORD_BOOL, .offset = JOB(input.refuse_missing),
      .choices = "fill refuse", .unset = "fill", .synonyms = "fill_missing missing_chunks on_missing",
      .help = "chunks that are not there: fill reads them as the fill value and counts them, refuse stops" },
    { .section = IN_INPUT, .name = "group", .type = KEY_RESERVED, .synonyms = "root node",
      .help = "the group inside the store" },
    { .section = IN_INPUT, .name = "arrays", .type = KEY_RESERVED,
      .synonyms = "variables vars data_vars variable fields",
      .help = "which arrays of a group; today: give the array itself, era5.zarr/t2m" },
    { .section = IN_INPUT, .name = "paths", .type = KEY_RESERVED, .synonyms = "files urls uris",
      .help = "many files as one array; with concat" },
    { .section = IN_INPUT, .name = "concat", .type = KEY_RESERVED, .synonyms = "concat_dim combine along",
      .help = "the dimension along which many files follow one another" },

    /* ---- output ---- */
    { .section = IN_OUTPUT, .name = "from", .type = KEY_NAME, .unset = "the one input",
      .synonyms = "input source src of", .help = "the input or step this output is made from" },
    { .section = IN_OUTPUT, .name = "path", .type = KEY_PATH, .offset = JOB(output.path),
      .span_offset = JOB(output.span), .synonyms = "url uri file filename store location",
      .help = "where the array appears, whole, at the end; relative to the pipeline file" },
    { .section = IN_OUTPUT, .name = "format", .type = KEY_FORMAT, .offset = JOB(output.format),
      .span_offset = JOB(output.format_span), .choices = "zarr2 zarr3", .option = "--format",
      .unset = "the input's Zarr version", .synonyms = "zarr_format zarr_version version driver",
      .help = "how the output is stored: zarr2 or zarr3" },
    { .section = IN_OUTPUT, .name = "chunks", .type = KEY_CHUNKS, .offset = JOB(output.chunks), .option = "--chunks",
      .unset = "as the source",
      .synonyms = "target_chunks chunk_shape chunksizes chunk_size chunk chunking output_chunks inner_chunks",
      .help = "how the output is cut: by name {time: all, latitude: 32}, by position [744, 32, 32], 8MiB on all axes "
              "alike, or auto. An axis is a count, all (or -1), keep, or bytes. As flag: time=all,latitude=32 "
              "or 744,32,32 or 8MiB" },
    { .section = IN_OUTPUT, .name = "shards", .type = KEY_RESERVED, .option = "--shards",
      .synonyms = "shard shard_shape target_shards sharding",
      .help = "files that hold many chunks each" },
    { .section = IN_OUTPUT, .name = "codec", .type = KEY_CODEC, .offset = JOB(output.codec),
      .span_offset = JOB(output.codec_span), .option = "--codec", .unset = "the source's",
      .synonyms = "compressor compressors compression codecs deflate complevel encoding",
      .help = "how chunks are compressed: none, zstd:3, gzip:1, zlib:6, lz4, blosc:CNAME:LEVEL[:SHUFFLE] "
              "as in blosc:zstd:5:bitshuffle; or a map, {blosc: {cname: zstd, clevel: 5, shuffle: bitshuffle}}" },
    { .section = IN_OUTPUT, .name = "filters", .type = KEY_RESERVED, .synonyms = "filter delta fixedscaleoffset",
      .help = "what is done to the values of a chunk before it is compressed, such as delta" },
    { .section = IN_OUTPUT, .name = "overwrite", .type = KEY_BOOL, .offset = JOB(output.overwrite),
      .option = "--overwrite", .unset = "false", .synonyms = "mode exists clobber force replace",
      .help = "whether an output that is there is replaced (by one exchange, at the end)" },
    { .section = IN_OUTPUT, .name = "empty_chunks", .type = KEY_WORD_BOOL, .offset = JOB(output.write_empty_chunks),
      .choices = "skip write", .unset = "skip", .synonyms = "write_empty_chunks write_empty fill_chunks",
      .help = "chunks that equal the fill value: skip leaves them out, write makes files of them" },
    { .section = IN_OUTPUT, .name = "arrays", .type = KEY_RESERVED, .synonyms = "variables vars",
      .help = "settings of single arrays of a group" },
    { .section = IN_OUTPUT, .name = "attributes", .type = KEY_RESERVED, .synonyms = "attrs metadata",
      .help = "attributes to set and to drop; today they travel as they are" },
    { .section = IN_OUTPUT, .name = "consolidated", .type = KEY_RESERVED, .synonyms = "consolidate",
      .help = "consolidated metadata of a group" },
    { .section = IN_OUTPUT, .name = "append", .type = KEY_RESERVED, .synonyms = "append_dim",
      .help = "grow an array that is there" },
    { .section = IN_OUTPUT, .name = "region", .type = KEY_RESERVED, .synonyms = "",
      .help = "write into a part of an array that is there" },
    { .section = IN_OUTPUT, .name = "pack", .type = KEY_RESERVED, .synonyms = "quantize quantise bitround",
      .help = "store as integers with scale and offset" },
    { .section = IN_OUTPUT, .name = "pyramid", .type = KEY_RESERVED, .synonyms = "multiscale multiscales",
      .help = "the array and coarser copies of it" },
    { .section = IN_OUTPUT, .name = "statistics", .type = KEY_RESERVED, .synonyms = "stats",
      .help = "least, greatest and mean of each chunk" },

    /* ---- scratch ---- */
    { .section = IN_SCRATCH, .name = "path", .type = KEY_PATH, .offset = JOB(scratch_path),
      .span_offset = JOB(scratch_span), .unset = "beside the output", .synonyms = "dir directory folder tmpdir",
      .help = "a directory with room for one copy of the data; never $TMPDIR unasked" },
    { .section = IN_SCRATCH, .name = "limit", .type = KEY_SIZE, .offset = JOB(scratch_limit), .unset = "free space",
      .synonyms = "max_size size max quota", .help = "the most that scratch may take; hard" },
    { .section = IN_SCRATCH, .name = "codec", .type = KEY_WORD, .offset = JOB(scratch_codec),
      .choices = "auto none lz4", .unset = "auto: lz4 when the device is behind",
      .synonyms = "compressor compression compress",
      .help = "whether what waits is compressed: auto, none or lz4" },

    /* ---- steps: all of them to come ---- */
    { .section = IN_STEP, .name = "select", .type = KEY_RESERVED, .synonyms = "sel subset crop clip bbox",
      .help = "a part, by labels" },
    { .section = IN_STEP, .name = "isel", .type = KEY_RESERVED, .synonyms = "slice index",
      .help = "a part, by index" },
    { .section = IN_STEP, .name = "cast", .type = KEY_RESERVED, .synonyms = "astype dtype convert",
      .help = "another dtype" },
    { .section = IN_STEP, .name = "unpack", .type = KEY_RESERVED, .synonyms = "decode mask_and_scale decode_cf",
      .help = "apply scale_factor, add_offset and _FillValue" },
    { .section = IN_STEP, .name = "reduce", .type = KEY_RESERVED,
      .synonyms = "mean resample groupby aggregate coarsen",
      .help = "means, sums, extremes over an axis" },
    { .section = IN_STEP, .name = "stack", .type = KEY_RESERVED, .synonyms = "",
      .help = "arrays along a new axis" },
};
const unsigned key_count = sizeof key_table / sizeof key_table[0];

static const char *const section_names[SECTION_COUNT] = { "", "scratch", "input", "output", "steps" };

const struct key *key_find(enum key_section section, const char *name)
{
    for (unsigned i = 0; i < key_count; i++)
        if (key_table[i].section == section && strcmp(key_table[i].name, name) == 0)
            return &key_table[i];
    return NULL;
}

const struct key *key_of_option(const char *option)
{
    for (unsigned i = 0; i < key_count; i++)
        if (key_table[i].option && strcmp(key_table[i].option, option) == 0)
            return &key_table[i];
    return NULL;
}

const char *key_path(const struct key *k, char *buffer)
{
    snprintf(buffer, 64, "%s%s%s", section_names[k->section], k->section == AT_TOP ? "" : ".", k->name);
    return buffer;
}

bool key_is_synonym(const struct key *k, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = k->synonyms; *at; ) {
        size_t have = strcspn(at, " ");

        if (have == length && strncmp(at, word, length) == 0)
            return true;
        at += have + (at[have] == ' ');
    }
    return false;
}

/* The row another tool's word stands for: of this section first, then of any. */
static const struct key *synonym(enum key_section section, const char *word)
{
    for (unsigned i = 0; i < key_count; i++)
        if (key_table[i].section == section && key_is_synonym(&key_table[i], word))
            return &key_table[i];
    for (unsigned i = 0; i < key_count; i++)
        if (key_is_synonym(&key_table[i], word))
            return &key_table[i];
    return NULL;
}

static const struct key *elsewhere(const char *word)
{
    for (unsigned i = 0; i < key_count; i++)
        if (strcmp(key_table[i].name, word) == 0)
            return &key_table[i];
    return NULL;
}

/* The key is known, but of another section. */
static void help_where(const char *word, const struct key *k, struct error *err)
{
    char called[96] = "";

    if (strcmp(word, k->name) != 0)
        snprintf(called, sizeof called, "is called '%s' here and ", k->name);
    error_help(err, "'%s' %sstands %s%s%s%s", word, called,
               k->section == AT_TOP ? "at the top of the file" : "under '", section_names[k->section],
               k->section == AT_TOP ? "" : "'", key_is_built(k) ? "" : " (not built yet)");
}

static void list_keys(enum key_section section, struct text *out)
{
    for (unsigned i = 0; i < key_count; i++)
        if (key_table[i].section == section && key_is_built(&key_table[i]))
            text_addf(out, "%s%s", out->length ? ", " : "", key_table[i].name);
}

bool key_unknown(enum key_section section, const char *word, struct span span, struct error *err)
{
    const char *names[sizeof key_table / sizeof key_table[0]], *near;
    char path[64];
    const struct key *other;
    struct text list;
    unsigned count = 0;

    snprintf(path, sizeof path, "%s%s%s", section_names[section], section == AT_TOP ? "" : ".", word);
    error_at(err, ERR_USAGE, span, "there is no such key");
    error_key(err, path);
    if (strcmp(word, "<<") == 0)
        error_help(err, "merge keys are not taken: write the entries");
    other = synonym(section, word);
    if (other && other->section == section && key_is_built(other))
        error_help(err, "'%s' is called '%s' here", word, other->name);
    else if (other && other->section == section)
        error_help(err, "'%s' is called '%s' here (not built yet: %s)", word, other->name, other->help);
    for (unsigned i = 0; i < key_count; i++)
        if (key_table[i].section == section)
            names[count++] = key_table[i].name;
    if (elsewhere(word))
        help_where(word, elsewhere(word), err);
    else if (other)
        help_where(word, other, err);
    near = text_nearest(word, names, count);
    if (near)
        error_help(err, "did you mean '%s'?", near);
    text_init(&list, ERROR_TEXT_BYTES / 2);
    list_keys(section, &list);
    error_help(err, "the keys there are %s", list.chars);
    text_release(&list);
    return false;
}

bool key_not_built(const struct key *k, struct span span, struct error *err)
{
    char path[64];

    error_at(err, ERR_USAGE, span, "'%s' is not built yet", k->name);
    error_key(err, key_path(k, path));
    error_help(err, "it will be: %s", k->help);
    return false;
}

static void print_fact(const char *what, const char *words, FILE *to)
{
    if (!words)
        return;
    fprintf(to, "  %-14s ", what);
    answer_wrapped(to, 17, words, strlen(words));
}

static void print_key(const struct key *k, FILE *to)
{
    char path[64];

    fprintf(to, "%s%s\n", key_path(k, path), key_is_built(k) ? "" : "  (not built yet)");
    fprintf(to, "  ");
    answer_wrapped(to, 2, k->help, strlen(k->help));
    print_fact("one of:", k->choices, to);
    if (k->max)
        fprintf(to, "  range:         %llu to %llu\n", (unsigned long long)k->min, (unsigned long long)k->max);
    print_fact("when not said:", k->unset, to);
    print_fact("as flag:", k->option, to);
    print_fact("elsewhere:", k->synonyms[0] ? k->synonyms : NULL, to);
}

bool key_help(const char *word, FILE *to)
{
    char path[64];
    bool found = false;

    for (unsigned i = 0; i < key_count; i++)
        if (strcmp(key_table[i].name, word) == 0 || strcmp(key_path(&key_table[i], path), word) == 0 ||
            (key_table[i].option && strcmp(key_table[i].option, word) == 0)) {
            print_key(&key_table[i], to);
            found = true;
        }
    for (unsigned i = 0; i < key_count && !found; i++)
        if (key_is_synonym(&key_table[i], word)) {
            fprintf(to, "'%s' is called '%s' here.\n", word, key_path(&key_table[i], path));
            print_key(&key_table[i], to);
            return true;
        }
    return found;
}

void key_help_all(FILE *to)
{
    char path[64];

    for (unsigned i = 0; i < key_count; i++)
        if (key_is_built(&key_table[i])) {
            fprintf(to, "  %-20s ", key_path(&key_table[i], path));
            answer_wrapped(to, 23, key_table[i].help, strcspn(key_table[i].help, ":;."));
        }
}
