/* session.h - one run of a job, from plan to summary: what `run`, `rechunk` and the library share.
 *
 * Threads: one; graph_run starts its own.
 */
#ifndef SLUICE_DSL_SESSION_H
#define SLUICE_DSL_SESSION_H

#include <stdbool.h>
#include <stdio.h>

#include "dsl/pipeline.h"
#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/report/report.h"
#include "planner/plan.h"

struct session_options {
    enum report_progress progress;
    FILE *to;                   /* where people read along; NULL: nowhere */
    const volatile int *stop;
    bool plan_only;
    bool restart;               /* what an unfinished run left is removed, not gone on with */
};

struct session {
    const struct pipeline *pipeline;
    struct job job;             /* the pipeline's, and what a try has seen that the plan did not know */
    struct plan plan;
    bool planned;               /* plan_make succeeded: `plan` is filled */
    struct codec_sample seen;   /* by the run that goes on */
    struct verified verified;   /* if the job wants it */
    struct report *report;      /* NULL: not run */
};

/* Plan and run; and again, with what was seen, when chunks turn out to be framed in larger blocks than those that
 * were looked at. The session is filled as far as it went, also on failure; release it always. */
bool session_run(struct session *s, const struct pipeline *p, const struct session_options *o, struct error *err);
void session_release(struct session *s);

/* Warnings and the plan in two lines; what came of it. */
void session_plan_lines(const struct session *s, struct text *out);
void session_summary(const struct session *s, struct text *out);
/* {"schema": 1, "request": ..., "plan": {...}, "run": {...}, "error": ...}: whatever there is of it. */
void session_json(const struct session *s, const struct error *err, struct text *out);

#endif
