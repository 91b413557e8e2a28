#include "engine/report/pace.h"

#include "engine/base/size.h"

/* What was met this long ago counts half of what is met now. */
static const double memory_seconds = 10;
/* A prediction weighs as much as that share of what it is about, when it is already met. */
static const double leg_belief = 0.05, run_belief = 0.2;

static double share(uint64_t *left_bytes, uint64_t whole_bytes)
{
    uint64_t part = size_min(*left_bytes, whole_bytes);

    *left_bytes -= part;
    return whole_bytes ? (double)part / (double)whole_bytes : 1;
}

/* Seconds that were predicted for what is done, and for all up to the end of the leg that is under way. */
struct predicted {
    double done, leg_begin, leg_end, all;
    bool makes;                     /* something comes out of that leg */
};

static struct predicted predicted_of(const struct report_options *o, const struct pace_look *at)
{
    uint64_t made_bytes = at->made_bytes, taken_bytes = at->work_bytes - size_min(at->made_bytes, at->work_bytes);
    uint64_t work_bytes = at->work_bytes;
    struct predicted p = { 0 };
    bool found = false;

    for (unsigned i = 0; i < o->leg_count; i++) {
        const struct report_leg *leg = &o->legs[i];
        double seconds = leg->taking_seconds + leg->making_seconds;

        p.done += share(&taken_bytes, leg->taken_bytes) * leg->taking_seconds +
                  share(&made_bytes, leg->made_bytes) * leg->making_seconds;
        if (!found && (work_bytes < leg->taken_bytes + leg->made_bytes || i + 1 == o->leg_count)) {
            p.leg_begin = p.all;
            p.leg_end = p.all + seconds;
            p.makes = leg->made_bytes > 0;
            found = true;
        }
        work_bytes -= size_min(work_bytes, leg->taken_bytes + leg->made_bytes);
        p.all += seconds;
    }
    return p;
}

void pace_begin(struct pace *p, const struct report_options *o, const struct pace_look *now)
{
    *p = (struct pace){ .options = o, .began = *now };
    p->began_predicted = predicted_of(o, now).done;
    pace_stage(p, now);
}

void pace_stage(struct pace *p, const struct pace_look *now)
{
    p->stage_began = p->last = *now;
    p->stage_predicted = predicted_of(p->options, now).done;
    p->bytes = p->seconds = 0;
}

void pace_look(struct pace *p, const struct pace_look *now)
{
    double seconds = now->seconds - p->last.seconds, kept = memory_seconds / (memory_seconds + seconds);
    bool makes = predicted_of(p->options, now).makes;

    if (seconds <= 0)
        return;
    p->seconds = p->seconds * kept + seconds;
    p->bytes = p->bytes * kept + (makes ? 2 * (double)(now->made_bytes - p->last.made_bytes)
                                        : (double)(now->work_bytes - p->last.work_bytes));
    p->last = *now;
}

double pace_rate(const struct pace *p)
{
    return p->seconds > 0 ? p->bytes / p->seconds : 0;
}

/* How many seconds a predicted one takes, if `believed` of them are taken for right. */
static double scale(double met_seconds, double predicted_seconds, double believed)
{
    believed = believed > 1e-3 ? believed : 1e-3;
    return (met_seconds + believed) / (predicted_seconds + believed);
}

double pace_seconds_left(const struct pace *p)
{
    const struct report_options *o = p->options;
    struct predicted now = predicted_of(o, &p->last);
    double leg, run;

    if (o->work_bytes == 0)
        return -1;
    if (now.all <= 0 && pace_rate(p) <= 0)
        return -1;
    if (now.all <= 0)               /* no predictions: as quick as until now */
        return (double)(o->work_bytes - size_min(p->last.work_bytes, o->work_bytes)) / pace_rate(p);
    leg = scale(p->last.seconds - p->stage_began.seconds, now.done - p->stage_predicted,
                leg_belief * (now.leg_end - now.leg_begin));
    run = scale(p->last.seconds - p->began.seconds, now.done - p->began_predicted, run_belief * now.all);
    if (now.leg_end <= now.done)
        return (now.all - now.done) * run;
    return (now.leg_end - now.done) * leg + (now.all - now.leg_end) * run;
}
