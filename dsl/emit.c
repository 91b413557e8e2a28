/* The job as a pipeline file. What was not said is not said here either: the planner's defaults stay defaults. */
#include <ctype.h>
#include <string.h>

#include "dsl/pipeline.h"
#include "engine/base/size.h"

/* Of one to three bytes; those of four are never special. */
static uint32_t code_of(const char *at, size_t length)
{
    uint32_t a = (unsigned char)at[0], b = length > 1 ? (unsigned char)at[1] & 63 : 0;

    return length == 3 ? (a & 15) << 12 | b << 6 | ((unsigned char)at[2] & 63) : length == 2 ? (a & 31) << 6 | b : a;
}

/* In quotes as JSON writes it, which is YAML too, but for characters that end a line there or are not taken. */
static void add_quoted(struct text *out, const char *words)
{
    struct text json;

    text_init(&json, 512 * 1024);
    text_add_json_string(&json, words);
    for (size_t at = 0, length; at < json.length; at += length) {
        uint32_t code;

        length = text_utf8_length(json.chars + at, json.length - at);
        length = length ? length : 1;
        code = code_of(json.chars + at, length);
        if (length < 4 && ((code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
                           code >= 0xfffe))
            text_addf(out, "\\u%04x", code);
        else
            text_add_bytes(out, json.chars + at, length);
    }
    text_release(&json);
}

/* Plain where every YAML reader takes it for this text; else in quotes. */
static void add_words(struct text *out, const char *words)
{
    struct text doubled;
    bool plain = words[0] && (isalnum((unsigned char)words[0]) || strchr("/._", words[0]));

    text_init(&doubled, 64 * 1024);
    for (const char *at = words; *at; at++) {
        plain = plain && (isalnum((unsigned char)*at) || strchr("/._+-:%", *at));
        plain = plain && (*at != ':' || isalnum((unsigned char)at[1]));
        text_add(&doubled, *at == '$' ? "$" : "");
        text_add_bytes(&doubled, at, 1);
    }
    if (plain)
        text_add(out, doubled.chars);
    else
        add_quoted(out, doubled.chars);
    text_release(&doubled);
}

/* Exactly, in the largest unit that divides it. */
static void add_bytes(struct text *out, const char *key, uint64_t bytes)
{
    const char *unit = bytes % GIB == 0 ? "GiB" : bytes % MIB == 0 ? "MiB" : bytes % KIB == 0 ? "KiB" : "B";
    uint64_t scale = bytes % GIB == 0 ? GIB : bytes % MIB == 0 ? MIB : bytes % KIB == 0 ? KIB : 1;

    text_addf(out, "%s%llu%s", key, (unsigned long long)(bytes / scale), unit);
}

static void add_size(struct text *out, const char *key, const struct size_request *size)
{
    if (!size->set)
        return;
    if (size->share > 0)
        text_addf(out, "%s%.9g%%", key, 100 * size->share);
    else
        add_bytes(out, key, size->bytes);
}

static void add_axis(struct text *out, const struct axis_request *axis)
{
    if (axis->kind == AXIS_ALL)
        text_add(out, "all");
    else if (axis->kind == AXIS_KEEP)
        text_add(out, "keep");
    else if (axis->kind == AXIS_BYTES)
        add_bytes(out, "", axis->value);
    else
        text_addf(out, "%llu", (unsigned long long)axis->value);
}

static void add_chunks(struct text *out, const struct chunk_request *chunks)
{
    bool named = chunks->form == CHUNKS_NAMED;

    if (chunks->form == CHUNKS_KEEP)
        return;
    text_add(out, "  chunks: ");
    if (chunks->form == CHUNKS_AUTO) {
        text_add(out, "auto\n");
        return;
    }
    if (chunks->form == CHUNKS_BYTES) {
        add_bytes(out, "", chunks->bytes);
        text_add(out, "\n");
        return;
    }
    text_add(out, named ? "{" : "[");
    for (unsigned i = 0; i < chunks->count; i++) {
        text_add(out, i ? ", " : "");
        if (named) {    /* a key: names are not replaced there, so a dollar stays one */
            const char *name = chunks->axes[i].name;

            if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] == '\0')
                text_add(out, name);
            else
                add_quoted(out, name);
            text_add(out, ": ");
        }
        add_axis(out, &chunks->axes[i]);
    }
    text_add(out, named ? "}\n" : "]\n");
}

static void add_scratch(struct text *out, const struct job *job)
{
    static const char *const codecs[] = { "auto", "none", "lz4" };
    const char *comma = "";

    if (!job->scratch_path && !job->scratch_limit.set && job->scratch_codec == SCRATCH_AUTO)
        return;
    text_add(out, "scratch: {");
    if (job->scratch_path) {
        text_add(out, "path: ");
        add_words(out, job->scratch_path);
        comma = ", ";
    }
    if (job->scratch_limit.set) {
        text_add(out, comma);
        add_size(out, "limit: ", &job->scratch_limit);
        comma = ", ";
    }
    if (job->scratch_codec != SCRATCH_AUTO)
        text_addf(out, "%scodec: %s", comma, codecs[job->scratch_codec]);
    text_add(out, "}\n");
}

void pipeline_emit(const struct pipeline *p, struct text *out)
{
    const struct job *job = &p->job;

    if (job->memory.set) {
        add_size(out, "memory: ", &job->memory);
        text_add(out, "\n");
    }
    add_scratch(out, job);
    if (job->durable)
        text_add(out, "durable: true\n");
    if (job->verify)
        text_add(out, "verify: true\n");
    if (job->threads)
        text_addf(out, "threads: %u\n", job->threads);
    if (job->backend != IO_AUTO)
        text_addf(out, "io: %s\n", io_backend_name(job->backend));
    text_add(out, job->input.refuse_missing ? "input:\n  path: " : "input: ");
    add_words(out, job->input.path);
    text_add(out, job->input.refuse_missing ? "\n  missing: refuse\n" : "\n");
    text_add(out, "output:\n  path: ");
    add_words(out, job->output.path);
    text_add(out, "\n");
    if (job->output.format_set)
        text_addf(out, "  format: %s\n", format_name(job->output.format));
    add_chunks(out, &job->output.chunks);
    if (job->output.codec) {
        text_add(out, "  codec: ");
        add_words(out, job->output.codec);
        text_add(out, "\n");
    }
    if (job->output.write_empty_chunks)
        text_add(out, "  empty_chunks: write\n");
    if (job->output.overwrite)
        text_add(out, "  overwrite: true\n");
}
