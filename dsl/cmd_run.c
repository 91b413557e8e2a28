/* run, plan and rechunk: a pipeline from a file or from flags, planned, and run or not. */
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/scalars.h"
#include "dsl/session.h"

static bool read_progress(const struct command_line *line, enum report_progress *progress, struct error *err)
{
    const struct flag *flag = command_line_flag(line, "--progress");
    unsigned index = PROGRESS_AUTO;

    if (flag && !scalar_word(&index, flag->words, flag->span, "auto bar log none", err))
        return false;
    *progress = (enum report_progress)index;
    return true;
}

static bool print_plan(const struct plan *plan, bool json, struct error *err)
{
    struct text out;
    bool ok;

    text_init(&out, ANSWER_BYTES_MAX);
    if (json)
        plan_explain_json(plan, &out);
    else
        plan_explain(plan, &out);
    if (out.length && out.chars[out.length - 1] != '\n')
        text_add(&out, "\n");
    ok = answer_print(&out, err);
    text_release(&out);
    return ok;
}

static bool print_run(const struct session *s, struct error *err)
{
    struct text out;
    bool ok;

    text_init(&out, ANSWER_BYTES_MAX);
    session_json(s, err, &out);
    ok = answer_print(&out, err);
    text_release(&out);
    return ok;
}

static bool plan_or_run(const struct invocation *v, bool plan_only, struct error *err)
{
    const struct command_line *line = v->line;
    const struct flag *report = command_line_flag(line, "--report");
    struct session_options options = { .to = stderr, .stop = v->stop, .plan_only = plan_only };
    struct session session = { .pipeline = &v->pipeline };
    bool ok = false;

    if (!read_progress(line, &options.progress, err))
        return false;
    ok = session_run(&session, &v->pipeline, &options, err);
    if (report) {
        struct error outcome = *err;

        ok = session_write_report(&session, &outcome, report->words, report->span, err) && ok;
    }
    if (ok && plan_only)
        ok = print_plan(&session.plan, wants_json(line), err);
    else if (ok && wants_json(line))
        ok = print_run(&session, err);
    session_release(&session);
    return ok;
}

static int run_file(struct invocation *v, bool plan_only, struct error *err)
{
    if (pipeline_from_line(&v->pipeline, v->line, err) && pipeline_finish(&v->pipeline, err))
        plan_or_run(v, plan_only, err);
    return 0;
}

int cmd_run(struct invocation *v, struct error *err)
{
    return run_file(v, command_line_flag(v->line, "--dry-run") != NULL, err);
}

int cmd_plan(struct invocation *v, struct error *err)
{
    return run_file(v, true, err);
}

static bool emit(const struct pipeline *p, bool json, struct error *err)
{
    struct text file, out;
    bool ok;

    text_init(&file, ANSWER_BYTES_MAX / 4);
    text_init(&out, ANSWER_BYTES_MAX);
    pipeline_emit(p, &file);
    if (json) {
        text_add(&out, "{\"schema\": 1, \"pipeline\": ");
        text_add_json_string(&out, file.chars);
        text_add(&out, "}\n");
    }
    ok = answer_print(json ? &out : &file, err);
    text_release(&out);
    text_release(&file);
    return ok;
}

int cmd_rechunk(struct invocation *v, struct error *err)
{
    const struct word *words = v->line->positionals;
    struct pipeline *p = &v->pipeline;

    if (pipeline_flag(p, key_find(IN_INPUT, "path"), words[0].text, words[0].span, err) &&
        pipeline_flag(p, key_find(IN_OUTPUT, "path"), words[1].text, words[1].span, err) &&
        pipeline_flags(p, v->line, err) && pipeline_finish(p, err)) {
        if (command_line_flag(v->line, "--emit"))
            emit(p, wants_json(v->line), err);
        else
            plan_or_run(v, command_line_flag(v->line, "--dry-run") != NULL, err);
    }
    return 0;
}
