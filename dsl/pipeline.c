#include "dsl/pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "dsl/scalars.h"
#include "engine/io/os.h"

enum { ARENA_BYTES_MAX = 64 << 20, FURTHER_MAX = 9 };

void pipeline_init(struct pipeline *p)
{
    *p = (struct pipeline){ .directory = "", .input_name = "input" };
    arena_init(&p->arena, ARENA_BYTES_MAX);
}

void pipeline_release(struct pipeline *p)
{
    arena_release(&p->arena);
    pipeline_init(p);
}

static bool no_memory(struct error *err)
{
    return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the pipeline");
}

bool pipeline_set(struct pipeline *p, const char *words, struct span span, struct error *err)
{
    struct setting **end = &p->settings, *s = arena_take(&p->arena, sizeof *s);

    if (!s)
        return no_memory(err);
    if (!setting_from_text(s, words, span, &p->arena, err))
        return false;
    while (*end && strcmp((*end)->name, s->name) != 0)
        end = &(*end)->next;
    if (*end) {
        error_at(err, ERR_USAGE, span, "'%s' is set twice", s->name);
        return false;
    }
    *end = s;
    return true;
}

/* ---- one value ---- */

/* Where values go and what paths are relative to: the same rows serve the file and the flags. */
struct target {
    struct pipeline *pipeline;
    const char *directory;
    struct error *err;          /* of this value */
    struct error *first;        /* of the file; further ones are in the pipeline */
};

static void *at_offset(struct job *job, size_t offset)
{
    return (char *)job + offset;
}

static bool no_addresses(const struct key *k, const char *words, struct span span, struct error *err)
{
    const char *tool = strncmp(words, "s3://", 5) == 0 ? ", for example with 'aws s3 sync'" : "";

    error_at(err, ERR_USAGE, span, "'%s': addresses are not built yet", words);
    if (k->section == IN_OUTPUT)
        error_help(err, "write to a local directory and copy that there afterwards%s", tool);
    else if (k->section == IN_SCRATCH)
        error_help(err, "scratch is a local directory, on a disk that is quick");
    else
        error_help(err, "copy it to a local directory first%s", tool);
    return false;
}

static bool set_path(const struct target *t, const struct key *k, const char *words, struct span span)
{
    const char **out = at_offset(&t->pipeline->job, k->offset), *directory = span.set_name ? "" : t->directory;
    struct error *err = t->err;

    if (!words[0]) {
        error_at(err, ERR_USAGE, span, "the path is empty");
        return false;
    }
    if (strstr(words, "://"))
        return no_addresses(k, words, span, err);
    if (words[0] == '~' && (!words[1] || words[1] == '/')) {
        error_at(err, ERR_USAGE, span, "'~' is not expanded here");
        error_help(err, "write $HOME%s", words + 1);
        return false;
    }
    *out = words[0] == '/' || !directory[0] ? arena_text(&t->pipeline->arena, words, strlen(words)) :
           arena_printf(&t->pipeline->arena, "%s%s%s", directory,
                        directory[strlen(directory) - 1] == '/' ? "" : "/", words);
    return *out || no_memory(err);
}

static bool set_format(const struct key *k, struct job *job, const char *words, struct span span, struct error *err)
{
    const char *version = words + (words[0] == 'v');
    unsigned index;

    if (strcmp(words, "netcdf4") == 0 || strcmp(words, "netcdf") == 0 || strcmp(words, "hdf5") == 0 ||
        strcmp(words, "nc") == 0) {
        error_at(err, ERR_USAGE, span, "format '%s' is not built yet", words);
        error_help(err, "zarr2 and zarr3 are");
        return false;
    }
    if (strcmp(version, "2") == 0 || strcmp(version, "3") == 0 || strcmp(words, "zarr") == 0) {
        error_at(err, ERR_USAGE, span, "'%s' is not known here", words);
        error_help(err, "write %s", version[0] == '2' ? "zarr2" : version[0] == '3' ? "zarr3" : "zarr2 or zarr3");
        return false;
    }
    if (!scalar_word(&index, words, span, k->choices, err))
        return false;
    job->output.format = index ? FORMAT_ZARR3 : FORMAT_ZARR2;
    job->output.format_set = true;
    return true;
}

static bool check_name(const struct target *t, const char *words, struct span span)
{
    const char *name = t->pipeline->input_name;

    if (strcmp(words, name) == 0)
        return true;
    error_at(t->err, ERR_USAGE, span, "there is no input '%s'", words);
    if (text_nearest(words, &name, 1))
        error_help(t->err, "did you mean '%s'?", name);
    error_help(t->err, "the input is called '%s'; with one input, 'from' can be left out", name);
    return false;
}

/* The value of a key as text, from a file or a flag. */
static bool set_text(const struct target *t, const struct key *k, const char *words, struct span span)
{
    struct job *job = &t->pipeline->job;
    void *value = at_offset(job, k->offset);
    struct error *err = t->err;
    uint64_t count = 0;
    unsigned index = 0;
    bool ok = false;
    char path[64];

    switch (k->type) {
    case KEY_SIZE:
    case KEY_SIZE_OR_SHARE:
        ok = scalar_size(value, words, span, k->type == KEY_SIZE_OR_SHARE, err);
        break;
    case KEY_COUNT:
        ok = strcmp(words, "auto") == 0 || scalar_count(&count, words, span, k->min, k->max, err);
        *(unsigned *)value = (unsigned)count;
        break;
    case KEY_BOOL:
        ok = scalar_bool(value, words, span, err);
        break;
    case KEY_WORD:
        ok = scalar_word(&index, words, span, k->choices, err);
        *(unsigned *)value = index;
        break;
    case KEY_WORD_BOOL:
        ok = scalar_word(&index, words, span, k->choices, err);
        *(bool *)value = index == 1;
        break;
    case KEY_PATH:
        ok = set_path(t, k, words, span);
        break;
    case KEY_FORMAT:
        ok = set_format(k, job, words, span, err);
        break;
    case KEY_CHUNKS:
        ok = chunks_from_text(value, words, span, &t->pipeline->arena, err);
        break;
    case KEY_CODEC:
        ok = codec_from_words(value, words, span, &t->pipeline->arena, err);
        break;
    case KEY_SECTION:
        k = key_find(k->section_of, "path");
        if (set_text(t, k, words, span))
            return true;
        error_key(err, key_path(k, path));
        return false;
    case KEY_NAME:
        ok = check_name(t, words, span);
        break;
    case KEY_NAMED:
    case KEY_PARAMS:
    case KEY_RESERVED:
        return key_not_built(k, span, err);
    }
    if (ok && k->span_offset)
        *(struct span *)at_offset(job, k->span_offset) = span;
    return ok;
}

/* ---- a tree ---- */

static void complain(struct pipeline *p, const struct error *mistake, struct error *first)
{
    struct further *f = &p->further;

    if (first->code == ERR_NONE) {
        *first = *mistake;
        return;
    }
    if (!f->errors)
        f->errors = arena_take(&p->arena, FURTHER_MAX * sizeof *f->errors);
    if (f->errors && f->count < FURTHER_MAX)
        f->errors[f->count++] = *mistake;
    else
        f->left_out++;
}

static bool bind_section(const struct target *t, enum key_section section, const struct yaml_node *map);

static bool wrong_kind(const struct key *k, const struct yaml_node *node, const char *wanted, struct error *err)
{
    error_at(err, ERR_USAGE, node->span, "this is %s, not %s", yaml_kind_name(node->kind), wanted);
    error_help(err, "%s", k->help);
    return false;
}

/* {name: {...}} with one entry. */
static bool bind_named(const struct target *t, const struct key *k, const struct yaml_node *node)
{
    const struct yaml_node *entry = node->first;

    if (node->kind != YAML_MAP)
        return wrong_kind(k, node, "a map of names", t->err);
    if (!entry) {
        error_at(t->err, ERR_USAGE, node->span, "nothing is named");
        error_help(t->err, "%s", k->help);
        return false;
    }
    if (entry->next) {
        error_at(t->err, ERR_USAGE, entry->next->key_span, "a second entry of '%s' is not built yet", k->name);
        error_help(t->err, "write one pipeline for each");
        return false;
    }
    if (entry->kind != YAML_MAP)
        return entry->kind == YAML_SCALAR && k->section_of == IN_INPUT ?
            set_text(t, key_find(IN_INPUT, "path"), entry->text, entry->span) :
            wrong_kind(k, entry, "a map", t->err);
    return bind_section(t, k->section_of, entry);
}

static bool bind_key(const struct target *t, const struct key *k, const struct yaml_node *node)
{
    struct job *job = &t->pipeline->job;

    if (!key_is_built(k))
        return key_not_built(k, node->key_span, t->err);
    if (node->kind == YAML_SCALAR && !node->text[0] && !node->quoted) {
        error_at(t->err, ERR_USAGE, node->key_span, "there is no value");
        error_help(t->err, "%s", k->help);
        return false;
    }
    switch (k->type) {
    case KEY_PARAMS:
        return true;            /* done: params.h */
    case KEY_NAMED:
        return bind_named(t, k, node);
    case KEY_SECTION:
        if (node->kind == YAML_MAP)
            return bind_section(t, k->section_of, node);
        if (k->section_of == IN_OUTPUT && node->kind == YAML_SCALAR) {
            error_at(t->err, ERR_USAGE, node->span, "this is text, not a map");
            error_help(t->err, "write output: {path: %s, chunks: ...}", node->text);
            return false;
        }
        break;
    case KEY_CHUNKS:
        return chunks_from_node(at_offset(job, k->offset), node, &t->pipeline->arena, t->err);
    case KEY_CODEC:
        *(struct span *)at_offset(job, k->span_offset) = node->span;
        return codec_from_node(at_offset(job, k->offset), node, &t->pipeline->arena, t->err);
    default:
        break;
    }
    if (node->kind != YAML_SCALAR)
        return wrong_kind(k, node, k->type == KEY_SECTION ? "a path or a map" : "one value", t->err);
    return set_text(t, k, node->text, node->span);
}

/* Every key is looked at: who has made three mistakes sees them together. */
static bool bind_section(const struct target *t, enum key_section section, const struct yaml_node *map)
{
    bool ok = true;
    char path[64];

    for (const struct yaml_node *entry = map->first; entry; entry = entry->next) {
        const struct key *k = key_find(section, entry->key);
        struct target one = *t;
        struct error mistake = { 0 };

        one.err = &mistake;
        if (k ? bind_key(&one, k, entry) : key_unknown(section, entry->key, entry->key_span, &mistake))
            continue;
        ok = false;
        if (k)
            error_key(&mistake, key_path(k, path));
        if (mistake.code != ERR_NONE)       /* else it is a section, whose keys were complained of */
            complain(t->pipeline, &mistake, t->first);
    }
    return ok;
}

/* Two ways to say the same, and one name is wanted before the entry that uses it is bound. */
static bool note_names(struct pipeline *p, const struct yaml_node *root, struct error *err)
{
    static const char *const pairs[][2] = { { "input", "inputs" }, { "output", "outputs" } };

    for (unsigned i = 0; i < 2; i++) {
        const struct yaml_node *one = yaml_get(root, pairs[i][0]), *many = yaml_get(root, pairs[i][1]);
        struct span *span = i == 0 ? &p->input_span : &p->output_span;

        *span = one ? one->key_span : many ? many->key_span : SPAN_NONE;
        if (one && many) {
            error_at(err, ERR_USAGE, many->key_span, "'%s' and '%s' are both given", pairs[i][0], pairs[i][1]);
            error_help(err, "'%s' is short for one entry of '%s'", pairs[i][0], pairs[i][1]);
            return false;
        }
        if (many && many->kind == YAML_MAP && many->first) {
            *span = many->first->key_span;
            if (i == 0)
                p->input_name = many->first->key;
            else
                p->job.output.name = many->first->key;
        }
    }
    return true;
}

bool pipeline_read_text(struct pipeline *p, const char *name, const char *text, size_t text_bytes,
                        const char *directory, struct error *err)
{
    struct target target = { .pipeline = p, .first = err };
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    struct yaml_node *root;

    if (text_bytes >= 3 && memcmp(text, byte_order_mark, 3) == 0) {     /* some editors begin UTF-8 with it */
        text += 3;
        text_bytes -= 3;
    }
    p->source.name = arena_text(&p->arena, name, strlen(name));
    p->source.text = arena_text(&p->arena, text, text_bytes);
    p->source.text_bytes = text_bytes;
    p->directory = directory ? arena_text(&p->arena, directory, strlen(directory)) : "";
    if (!p->source.name || !p->source.text || !p->directory)
        return no_memory(err);
    target.directory = p->directory;
    if (!yaml_read(&root, &p->source, &p->arena, err))
        return false;
    if (root->kind != YAML_MAP) {
        error_at(err, ERR_USAGE, root->span, "a pipeline is a map of keys, this is %s", yaml_kind_name(root->kind));
        error_help(err, "a small one: input: IN.zarr, and on the next line output: {path: OUT.zarr, chunks: auto}");
        return false;
    }
    return params_resolve(root, yaml_get(root, "params"), p->settings, &p->arena, err) &&
           note_names(p, root, err) && bind_section(&target, AT_TOP, root);
}

static bool cannot_read(const char *path, int sys_errno, struct span span, struct error *err)
{
    if (sys_errno == ENOENT) {
        error_at(err, ERR_USAGE, span, "there is no file '%s'", path);
        error_help(err, "give the path of a pipeline file, or - for standard input");
        return false;
    }
    if (sys_errno == EISDIR) {
        error_at(err, ERR_USAGE, span, "'%s' is a directory, not a pipeline file", path);
        error_help(err, "an array is rechunked without a file by: sluice rechunk IN OUT --chunks ...");
        return false;
    }
    return error_sys(err, sys_errno, span, "cannot read '%s'", path);
}

bool pipeline_read_file(struct pipeline *p, const char *path, struct span span, struct error *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    const char *slash = strrchr(path, '/');
    int fd = standard_input ? STDIN_FILENO : os_open(path, O_RDONLY | O_CLOEXEC, 0);
    char *text, *directory;
    int64_t got;
    bool ok = false;

    if (fd < 0)
        return cannot_read(path, -fd, span, err);
    os_fstat(fd, &p->file);
    text = arena_take(&p->arena, YAML_FILE_BYTES_MAX + 2);
    directory = arena_text(&p->arena, path, slash ? (size_t)(slash - path) + (slash == path) : 0);
    /* One byte more than it may have, so that what is too large is seen to be. */
    got = text && directory ? os_pread_some(fd, text, YAML_FILE_BYTES_MAX + 1, OS_STREAM) : -ENOMEM;
    if (got < 0)
        cannot_read(path, (int)-got, span, err);
    else
        ok = pipeline_read_text(p, standard_input ? "<stdin>" : path, text, (size_t)got, directory, err);
    if (!standard_input)
        os_close(fd);
    return ok;
}

bool pipeline_flag(struct pipeline *p, const struct key *key, const char *words, struct span span, struct error *err)
{
    struct target target = { .pipeline = p, .directory = "", .err = err };
    char path[64];

    if (!key_is_built(key))
        return key_not_built(key, span, err);
    if (set_text(&target, key, key->type == KEY_BOOL && !words ? "true" : words, span))
        return true;
    error_key(err, key_path(key, path));
    return false;
}

/* ---- is it whole? ---- */

/* At the section it belongs into, if there is one; else about the file as a whole. */
static bool missing(const struct pipeline *p, const char *key, struct span section_span, const char *help,
                    struct error *err)
{
    struct span span = { .source = p->source.text ? &p->source : NULL };

    error_at(err, ERR_USAGE, section_span.source ? section_span : span, "it is not given");
    error_key(err, key);
    error_help(err, "%s", help);
    return false;
}

bool pipeline_finish(struct pipeline *p, struct error *err)
{
    struct error no_input = { 0 }, no_output = { 0 };
    const struct job *job = &p->job;

    if (!job->input.path)
        missing(p, "input.path", p->input_span, "write input: IN.zarr", &no_input);
    if (!job->output.path)
        missing(p, "output.path", p->output_span, "write output: {path: OUT.zarr, chunks: {time: all}}", &no_output);
    if (!job->input.path)
        complain(p, &no_input, err);
    if (!job->output.path)
        complain(p, &no_output, err);
    return job->input.path && job->output.path && job_output_is_built(job, err);
}
