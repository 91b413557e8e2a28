#include "dsl/session.h"

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "engine/base/size.h"
#include "engine/exec/graph.h"
#include "engine/exec/resume.h"

static const struct plan_cost *chosen_cost(const struct plan *p)
{
    return &p->candidates[p->chosen].cost;
}

/* For what this run has to do. */
static double predicted_seconds(const struct plan *p)
{
    return p->resume ? p->resumed_seconds : chosen_cost(p)->seconds;
}

static void print(const struct session_options *o, struct text *t)
{
    if (o->to) {
        fwrite(t->chars, 1, t->length, o->to);
        fflush(o->to);
    }
}

/* Every stage takes and makes the whole array; what verifies only takes it. */
static void add_legs(const struct plan *p, struct report_options *o)
{
    const struct plan_cost *cost = chosen_cost(p);
    unsigned stages = p->graph.stage_count, passes = !p->graph.read_back ? 0 : p->graph.resume ? 2 : 1;
    uint64_t array_bytes = graph_work_bytes(&p->graph) / size_max(1, 2 * stages + passes);

    _Static_assert((int)REPORT_LEGS_MAX >= (int)STAGES_MAX + 2, "a leg for each stage and pass");
    for (unsigned i = 0; i < stages; i++)
        o->legs[o->leg_count++] = (struct report_leg){ array_bytes, array_bytes, cost->stages[i].taking,
                                                       cost->stages[i].making };
    for (unsigned i = 0; i < passes; i++)
        o->legs[o->leg_count++] = (struct report_leg){ array_bytes, 0, cost->verify_seconds, 0 };
}

static bool run_graph(struct session *s, const struct session_options *o, struct error *err)
{
    struct report_options report = { .progress = o->progress, .to = o->to,
                                     .work_bytes = graph_work_bytes(&s->plan.graph),
                                     .memory_limit_bytes = s->plan.memory_bytes };
    bool ok;

    add_legs(&s->plan, &report);
    s->report = report_new(&report);
    if (!s->report)
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the report");
    report_add(s->report, COUNT_WORK_BYTES, s->plan.resumed_bytes - s->plan.resumed_bytes / 2);
    report_made(s->report, s->plan.resumed_bytes / 2);
    report_start(s->report);
    ok = graph_run(&s->plan.graph, s->report, o->stop, err);
    report_stop(s->report);
    if (err->code == ERR_INPUT && !err->input_changed)
        error_note(err, "sluice check --chunks %s lists all that are damaged or missing", s->job.input.path);
    return ok;
}

/* Plans and runs of one session at most. */
enum { TRIES_MAX = 3 };

/* The run did not fit because a chunk is framed in larger blocks or windows than the plan knew of. */
static bool knows_better(const struct session *s, const struct error *err)
{
    struct codec_sample known = s->plan.census.codec;

    codec_sample_merge(&known, &s->job.seen);
    return err->code == ERR_FIT && codec_sample_exceeds(&s->seen, &known);
}

static bool plan(struct session *s, struct error *err)
{
    s->planned = plan_make(&s->plan, &s->job, err);
    s->plan.graph.seen = &s->seen;
    s->plan.graph.verified = &s->verified;
    s->plan.read_source.seen = &s->seen;
    return s->planned;
}

/* Away with a plan that was wrong, and what was done by it, and a new one. */
static bool plan_again(struct session *s, struct error *err)
{
    *err = (struct error){ 0 };
    report_free(s->report);
    s->report = NULL;
    plan_release(&s->plan);
    s->job.seen = s->seen;
    s->job.start = START_OVER;
    return plan(s, err);
}

bool session_run(struct session *s, const struct pipeline *p, const struct session_options *o, struct error *err)
{
    struct text lines;
    bool ok;

    *s = (struct session){ .pipeline = p, .job = p->job };
    s->job.start = o->plan_only ? START_NOT : o->restart ? START_OVER : START_OR_CONTINUE;
    s->job.plans_restart = o->plan_only && o->restart;
    if (!plan(s, err))
        return false;
    if (o->plan_only)
        return true;
    if (s->plan.graph.resume && !resume_check_sources(s->plan.graph.resume, &s->plan.graph, o->stop, err))
        return false;
    text_init(&lines, ANSWER_BYTES_MAX);
    session_plan_lines(s, &lines);
    print(o, &lines);
    ok = run_graph(s, o, err);
    for (unsigned tries = 1; !ok && tries < TRIES_MAX && knows_better(s, err); tries++) {
        text_clear(&lines);
        text_addf(&lines, "planning again: some chunks are framed in blocks of %s, larger than those looked at\n",
                  SIZE_TEXT(size_max(s->seen.blosc_block_bytes_max, s->seen.zstd_window_bytes_max)));
        print(o, &lines);
        ok = plan_again(s, err) && run_graph(s, o, err);
    }
    text_clear(&lines);
    if (ok)
        session_summary(s, &lines);
    print(o, &lines);
    text_release(&lines);
    return ok;
}

void session_release(struct session *s)
{
    report_free(s->report);
    if (s->planned)
        plan_release(&s->plan);
    *s = (struct session){ 0 };
}

void session_plan_lines(const struct session *s, struct text *out)
{
    const struct plan *p = &s->plan;
    const struct plan_cost *cost = chosen_cost(p);

    text_add_lines(out, "warning: ", p->warnings.chars);
    text_add_lines(out, "note: ", p->notes.chars);
    if (p->resume)
        text_addf(out, "continuing: %u %% done\n", plan_resumed_percent(p));
    text_addf(out, "plan: %s, memory %s (%s), threads %u (%s)", p->candidates[p->chosen].name,
              SIZE_TEXT(p->memory_bytes), p->memory_from, p->graph.threads, p->threads_from);
    text_addf(out, ", predicted %s%s\n", SECONDS_TEXT(predicted_seconds(p)), p->resume ? " for what is left" : "");
    if (p->scratch_path && cost->scratch_bytes_max) {
        text_add(out, "scratch: ");
        plan_scratch_text(cost, out);
        text_addf(out, " in '%s' (%s)\n", p->scratch_path, p->scratch_from);
    }
}

static unsigned long long count(const struct session *s, enum report_counter c)
{
    return report_count(s->report, c);
}

/* Then the run has counted every chunk as it met it; else some count several times, or not at all. */
static bool reads_each_chunk_once(const struct plan *p)
{
    const struct grid *chunks = &p->source.chunks, *tasks = &p->graph.stages[0].tasks;

    for (unsigned i = 0; i < chunks->rank; i++)
        if (tasks->cell[i] < chunks->shape[i] && tasks->cell[i] % chunks->cell[i])
            return false;
    return p->graph.stages[0].source == FROM_CHUNKS;
}

/* What the run met. The census looked at names, before. */
static void add_chunks(const struct session *s, struct text *out)
{
    const struct plan *p = &s->plan;
    unsigned long long present = count(s, COUNT_CHUNKS_PRESENT), missing = count(s, COUNT_CHUNKS_MISSING);

    if (reads_each_chunk_once(p) && !p->resume)
        text_addf(out, "%s of %s present", COUNT_TEXT(present), COUNTED_TEXT(present + missing, "chunk"));
    else if (p->census.counted)
        text_addf(out, "%s of %s present", COUNT_TEXT(p->census.present), COUNTED_TEXT(p->census.chunks, "chunk"));
    else
        text_addf(out, "%s of %s found a chunk", COUNT_TEXT(present), COUNTED_TEXT(present + missing, "read"));
}

/* Then the digest is that of `sluice digest`, too. Against another fill value, such as the NaN of xarray, it is not,
 * and left out: two numbers for one array would look like a difference. */
static bool is_fill_zero(const struct array_meta *m)
{
    for (unsigned i = 0; i < m->dtype.item_bytes; i++)
        if (m->fill[i])
            return false;
    return true;
}

static void add_verified(const struct session *s, struct text *out)
{
    const struct verified *v = &s->verified;

    if (!v->done)
        return;
    text_add(out, "verified: the output, read back, holds the input's values; ");
    if (is_fill_zero(&s->plan.source))
        text_addf(out, "digest %016llx%016llx; ", (unsigned long long)v->d1, (unsigned long long)v->d2);
    text_addf(out, "it took %s", SECONDS_TEXT(v->pass_seconds + v->sum_seconds));
    text_add(out, v->read_source ? ", the input read again for it\n" : "\n");
}

void session_summary(const struct session *s, struct text *out)
{
    const struct plan *p = &s->plan;
    struct process_usage usage;

    process_usage(&usage);
    text_addf(out, "done in %s (predicted %s%s): %s\n", SECONDS_TEXT(report_seconds(s->report)),
              SECONDS_TEXT(predicted_seconds(p)), p->resume ? " for what was left" : "", s->pipeline->job.output.path);
    text_addf(out, "read %s, ", SIZE_TEXT(count(s, COUNT_SOURCE_READ_BYTES)));
    add_chunks(s, out);
    if (count(s, COUNT_SPILL_RAW_BYTES)) {
        text_addf(out, "; spilled %s", SIZE_TEXT(count(s, COUNT_SPILL_WRITE_BYTES)));
        if (count(s, COUNT_SPILL_KEPT_BYTES))
            text_addf(out, " and kept %s in memory", SIZE_TEXT(count(s, COUNT_SPILL_KEPT_BYTES)));
        text_addf(out, " for %s of data", SIZE_TEXT(count(s, COUNT_SPILL_RAW_BYTES)));
    }
    text_addf(out, "; wrote %s in %s", SIZE_TEXT(count(s, COUNT_TARGET_WRITE_BYTES)),
              COUNTED_TEXT(count(s, COUNT_TARGET_OBJECTS), "file"));
    if (count(s, COUNT_TARGET_EMPTY))
        text_addf(out, ", %s left out", COUNTED_TEXT(count(s, COUNT_TARGET_EMPTY), "empty chunk"));
    text_addf(out, "\nmemory: peak %s of %s; I/O: %s%s%s%s\n", SIZE_TEXT(usage.rss_peak_bytes),
              SIZE_TEXT(p->memory_bytes), io_backend_name(p->io.backend), p->io.why[0] ? " (" : "", p->io.why,
              p->io.why[0] ? ")" : "");
    add_verified(s, out);
    for (unsigned i = 0; report_note_text(s->report, i); i++)
        text_addf(out, "note: %s\n", report_note_text(s->report, i));
    text_add_lines(out, "warning: ", p->afterwards.chars);
}

static void add_verified_json(const struct session *s, struct text *out)
{
    const struct verified *v = &s->verified;

    if (!v->done) {
        text_add(out, "\"verify\": null, ");
        return;
    }
    text_add(out, "\"verify\": {\"digest\": ");
    if (is_fill_zero(&s->plan.source))
        text_addf(out, "\"%016llx%016llx\"", (unsigned long long)v->d1, (unsigned long long)v->d2);
    else
        text_add(out, "null");
    text_addf(out, ", \"pass_seconds\": %.6f, \"sum_seconds\": %.6f, \"read_bytes\": %llu, "
              "\"input_read_again\": %s}, ", v->pass_seconds, v->sum_seconds,
              (unsigned long long)report_count(report_aside(s->report), COUNT_SOURCE_READ_BYTES),
              v->read_source ? "true" : "false");
}

static void add_run_json(const struct session *s, struct text *out)
{
    struct process_usage usage;

    process_usage(&usage);
    text_addf(out, "\"run\": {\"seconds\": %.6f, \"predicted_seconds\": %.6f, ", report_seconds(s->report),
              predicted_seconds(&s->plan));
    if (s->plan.resume)
        text_addf(out, "\"continued_percent\": %u, ", plan_resumed_percent(&s->plan));
    answer_json_text(out, "io", io_backend_name(s->plan.io.backend));
    answer_json_text(out, "io_why", s->plan.io.why[0] ? s->plan.io.why : NULL);
    add_verified_json(s, out);
    text_add(out, "\"stages\": [");
    for (unsigned i = 0; i < report_stage_count(s->report); i++) {
        text_add(out, i ? ", {" : "{");
        answer_json_text(out, "name", report_stage_name(s->report, i));
        text_addf(out, "\"seconds\": %.6f}", report_stage_seconds(s->report, i));
    }
    text_add(out, "], \"counters\": {");
    for (unsigned c = 0; c < COUNT_COUNTERS; c++)
        text_addf(out, "%s\"%s\": %llu", c ? ", " : "", report_counter_name(c), count(s, c));
    text_add(out, "}, \"notes\": [");
    for (unsigned i = 0; report_note_text(s->report, i); i++) {
        text_add(out, i ? ", " : "");
        text_add_json_string(out, report_note_text(s->report, i));
    }
    text_addf(out, "], \"usage\": {\"user_seconds\": %.6f, \"system_seconds\": %.6f, \"rss_peak_bytes\": %llu, "
              "\"memory_bytes\": %llu}}, ", usage.user_seconds, usage.system_seconds,
              (unsigned long long)usage.rss_peak_bytes, (unsigned long long)s->plan.memory_bytes);
}

static void add_without_newline(struct text *out, const struct text *from)
{
    size_t length = from->length;

    while (length && from->chars[length - 1] == '\n')
        length--;
    text_add_bytes(out, from->chars, length);
}

void session_json(const struct session *s, const struct error *err, struct text *out)
{
    struct text part;

    text_init(&part, ANSWER_BYTES_MAX / 4);
    text_add(out, "{\"schema\": 1, ");
    answer_json_text(out, "version", SLUICE_VERSION);
    pipeline_emit(s->pipeline, &part);
    answer_json_text(out, "request", part.chars);
    if (s->planned) {
        text_clear(&part);
        plan_explain_json(&s->plan, &part);
        text_add(out, "\"plan\": ");
        add_without_newline(out, &part);
        text_add(out, ", ");
    }
    if (s->report)
        add_run_json(s, out);
    text_addf(out, "\"exit_status\": %d, \"refusal\": ", error_exit_status(err->code));
    text_clear(&part);
    if (err->code != ERR_NONE)
        answer_refusal_json(err, NULL, &part);
    else
        text_add(&part, "null");
    add_without_newline(out, &part);
    text_add(out, "}\n");
    text_release(&part);
}
