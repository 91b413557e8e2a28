/* The library: a handle around a pipeline and a session, and errors as texts. */
#include "dsl/sluice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/session.h"

struct sluice {
    struct pipeline pipeline;
    bool read;                  /* a file or a text */
    volatile int stop;
    struct text answer;         /* the last plan */
    struct text report;
    struct text error, error_json;
};

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

struct sluice *sluice_new(void)
{
    struct sluice *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    pipeline_init(&s->pipeline);
    text_init(&s->answer, ANSWER_BYTES_MAX);
    text_init(&s->report, ANSWER_BYTES_MAX);
    text_init(&s->error, ANSWER_BYTES_MAX);
    text_init(&s->error_json, ANSWER_BYTES_MAX);
    return s;
}

void sluice_free(struct sluice *s)
{
    if (!s)
        return;
    pipeline_release(&s->pipeline);
    text_release(&s->answer);
    text_release(&s->report);
    text_release(&s->error);
    text_release(&s->error_json);
    free(s);
}

/* The error as text, because the spans in it point into a pipeline that may change. */
static int outcome_with(struct sluice *s, const struct error *err, const struct further *further)
{
    char *printed = NULL;
    size_t printed_bytes;
    FILE *file;

    text_clear(&s->error);
    text_clear(&s->error_json);
    if (err->code == ERR_NONE)
        return 0;
    file = open_memstream(&printed, &printed_bytes);
    if (file) {
        answer_refusal_print(err, further, file);
        fclose(file);
    }
    text_add(&s->error, printed ? printed : err->message);
    free(printed);
    answer_refusal_json(err, further, &s->error_json);
    return error_exit_status(err->code);
}

static int outcome(struct sluice *s, const struct error *err)
{
    return outcome_with(s, err, NULL);
}

static const char *copy(struct sluice *s, const char *words, struct error *err)
{
    const char *words_copy = arena_text(&s->pipeline.arena, words, strlen(words));

    if (!words_copy)
        error_at(err, ERR_FIT, SPAN_NONE, "no memory for the pipeline");
    return words_copy;
}

int sluice_set_param(struct sluice *s, const char *name, const char *value)
{
    char *words = arena_printf(&s->pipeline.arena, "%s=%s", name, value);
    struct error err = { 0 };

    if (!words)
        error_at(&err, ERR_FIT, SPAN_NONE, "no memory for the pipeline");
    else if (s->read)
        error_at(&err, ERR_USAGE, SPAN_NONE, "'%s' is set after the pipeline was read", name);
    else
        pipeline_set(&s->pipeline, words, SPAN_NONE, &err);
    return outcome(s, &err);
}

static bool first_reading(struct sluice *s, struct error *err)
{
    if (s->read)
        return error_at(err, ERR_USAGE, SPAN_NONE, "this handle has read a pipeline: make another");
    s->read = true;
    return true;
}

int sluice_read_file(struct sluice *s, const char *path)
{
    struct error err = { 0 };

    if (!first_reading(s, &err))
        return outcome(s, &err);
    pipeline_read_file(&s->pipeline, path, SPAN_NONE, &err);
    return outcome_with(s, &err, &s->pipeline.further);
}

int sluice_read_text(struct sluice *s, const char *name, const char *text, size_t text_bytes, const char *directory)
{
    struct error err = { 0 };

    if (!first_reading(s, &err))
        return outcome(s, &err);
    pipeline_read_text(&s->pipeline, name, text, text_bytes, directory, &err);
    return outcome_with(s, &err, &s->pipeline.further);
}

int sluice_set(struct sluice *s, const char *key, const char *value)
{
    const struct key *row = NULL;
    struct error err = { 0 };
    const char *words = copy(s, value, &err);
    char path[64];

    for (unsigned i = 0; i < key_count && !row; i++)
        if (strcmp(key_path(&key_table[i], path), key) == 0)
            row = &key_table[i];
    if (!row)
        key_unknown(AT_TOP, key, SPAN_NONE, &err);
    else if (words)
        pipeline_flag(&s->pipeline, row, words, SPAN_NONE, &err);
    return outcome(s, &err);
}

int sluice_plan(struct sluice *s, int as_json, const char **text)
{
    struct session_options options = { .plan_only = true };
    struct session session = { .pipeline = &s->pipeline };
    struct error err = { 0 };

    text_clear(&s->answer);
    *text = "";
    if (pipeline_finish(&s->pipeline, &err) && session_run(&session, &s->pipeline, &options, &err)) {
        if (as_json)
            plan_explain_json(&session.plan, &s->answer);
        else
            plan_explain(&session.plan, &s->answer);
        *text = s->answer.chars;
    }
    session_release(&session);
    return outcome(s, &err);
}

int sluice_run(struct sluice *s)
{
    struct session_options options = { .progress = PROGRESS_NONE, .stop = &s->stop };
    struct session session = { .pipeline = &s->pipeline };
    struct error err = { 0 };

    text_clear(&s->report);
    s->stop = 0;
    if (pipeline_finish(&s->pipeline, &err)) {
        session_run(&session, &s->pipeline, &options, &err);
        session_json(&session, &err, &s->report);
    }
    session_release(&session);
    return outcome(s, &err);
}

const char *sluice_report(const struct sluice *s)
{
    return s->report.chars;
}

void sluice_stop(struct sluice *s, int signal_number)
{
    __atomic_store_n(&s->stop, signal_number, __ATOMIC_RELAXED);
}

const char *sluice_error(const struct sluice *s)
{
    return s->error.chars;
}

const char *sluice_error_json(const struct sluice *s)
{
    return s->error_json.chars;
}
