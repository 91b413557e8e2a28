/* run, plan and rechunk: a pipeline from a file or from flags, planned, and run or not. */
#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/session.h"

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
    bool json = wants_json(v->line), ok;
    struct session session;

    ok = session_from_line(&session, v, plan_only, err);
    if (ok && plan_only)
        ok = print_plan(&session.plan, json, err);
    else if (ok && json)
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

int cmd_rechunk(struct invocation *v, struct error *err)
{
    const struct word *words = v->line->positionals;
    bool emit = command_line_flag(v->line, "--emit") != NULL;
    struct pipeline *p = &v->pipeline;

    if (emit && !command_line_excludes(v->line, "--emit", "--report --dry-run --progress", err))
        return 2;
    if (!pipeline_flag(p, key_find(IN_INPUT, "path"), words[0].text, words[0].span, err) ||
        !pipeline_flag(p, key_find(IN_OUTPUT, "path"), words[1].text, words[1].span, err) ||
        !pipeline_flags(p, v->line, err) || !pipeline_finish(p, err))
        return 2;
    if (emit)
        print_pipeline(p, wants_json(v->line), err);
    else
        plan_or_run(v, command_line_flag(v->line, "--dry-run") != NULL, err);
    return 0;
}
