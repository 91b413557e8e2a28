/* progress.c - see progress.h. The thread sleeps on `changed` until the next look is due or it is told to stop; it
 * never holds up the workers, whose counters it reads relaxed. `lock` guards what is said to be. */
#include "engine/report/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/report/pace.h"

#define LOOK_SECONDS 0.15
#define LOG_SECONDS 300.0       /* in a log, without a further 10 % */

enum { DRAWER_STACK_BYTES = 128 * 1024, COLUMNS_DEFAULT = 80 };

struct progress {
    const struct report_options *options;
    const atomic_uint_least64_t *counters;
    bool bar;
    pthread_t drawer;
    pthread_mutex_t lock;
    pthread_cond_t changed;     /* of what is under the lock */
    char stage[32];
    struct pace pace;
    bool stopping;
    /* the drawer's own */
    unsigned logged_tenths;
    double logged_at;
};

double monotonic_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- the text ---- */

struct line {
    char *chars;
    size_t length, length_max;
    bool full;
};

/* Add one field, or, when it does not fit, none from here on. */
static void __attribute__((format(printf, 2, 3))) add_field(struct line *l, const char *format, ...)
{
    char field[PROGRESS_LINE_BYTES];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(field, sizeof field, format, args);
    va_end(args);
    if (l->full || length < 0 || l->length + (size_t)length > l->length_max) {
        l->full = true;
        return;
    }
    memcpy(l->chars + l->length, field, (size_t)length + 1);
    l->length += (size_t)length;
}

static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

/* A size in the unit that suits it. */
struct sized {
    double count;
    unsigned unit;
};

static struct sized sized(uint64_t bytes)
{
    struct sized s = { (double)bytes, 0 };

    for (; s.unit < 6 && s.count >= 1000; s.unit++)
        s.count /= 1024;
    return s;
}

static int decimals(struct sized s)
{
    return s.count < 100 && s.unit ? 1 : 0;
}

/* "1.2/3.0 GiB": two sizes in the unit that suits the larger. */
static void add_share(struct line *l, const char *what, uint64_t part_bytes, uint64_t whole_bytes)
{
    struct sized whole = sized(whole_bytes);
    double part = (double)part_bytes * (whole.count / (double)size_max(1, whole_bytes));

    add_field(l, "  %s%.*f/%.*f %s", what, decimals(whole), part, decimals(whole), whole.count, units[whole.unit]);
}

/* There is no percentage beside it: a little of much has its own unit, "30.5 MiB/16.0 GiB". */
static void add_memory(struct line *l, uint64_t bytes, uint64_t limit_bytes)
{
    struct sized part = sized(bytes), whole = sized(limit_bytes);

    if (part.unit < whole.unit)
        add_field(l, "  memory %.*f %s/%.*f %s", decimals(part), part.count, units[part.unit], decimals(whole),
                  whole.count, units[whole.unit]);
    else
        add_share(l, "memory ", bytes, limit_bytes);
}

static void add_rate_and_end(struct line *l, const struct progress_facts *f)
{
    if (f->rate >= 10e3 * MIB)
        add_field(l, "  %.1f GiB/s", f->rate / GIB);
    else if (f->rate > 0)
        add_field(l, f->rate < 9.95 * MIB ? "  %.1f MiB/s" : "  %.0f MiB/s", f->rate / MIB);
    if (f->done_bytes >= f->work_bytes || f->left_seconds < 0)
        return;
    if (f->left_seconds < 99.5)
        add_field(l, "  ETA %.0f s", f->left_seconds < 1 ? 1 : f->left_seconds);
    else if (f->left_seconds < 100 * 3600)
        add_field(l, "  ETA %s", SECONDS_TEXT(f->left_seconds));
}

static unsigned percent(uint64_t done_bytes, uint64_t work_bytes)
{
    return done_bytes >= work_bytes ? 100 : (unsigned)((double)done_bytes / (double)work_bytes * 100);
}

void progress_line(char line[PROGRESS_LINE_BYTES], unsigned columns, const struct progress_facts *f)
{
    struct line l = { .chars = line, .length_max = size_min(columns, PROGRESS_LINE_BYTES - 1) };

    line[0] = '\0';
    add_field(&l, "%-6s", f->stage);
    if (f->work_bytes) {
        add_field(&l, " %3u %%", percent(f->done_bytes, f->work_bytes));
        add_share(&l, "", size_min(f->done_bytes, f->work_bytes), f->work_bytes);
    } else
        add_field(&l, "  %s", SIZE_TEXT(f->done_bytes));
    add_rate_and_end(&l, f);
    if (f->memory_limit_bytes)
        add_memory(&l, f->memory_bytes, f->memory_limit_bytes);
}

/* ---- the drawer ---- */

static struct pace_look look_now(const struct progress *p)
{
    struct pace_look now = { .seconds = monotonic_seconds() };

    now.made_bytes = atomic_load_explicit(&p->counters[COUNT_MADE_BYTES], memory_order_relaxed);
    now.work_bytes = atomic_load_explicit(&p->counters[COUNT_WORK_BYTES], memory_order_relaxed);
    return now;
}

static void look(struct progress *p, struct progress_facts *facts, char stage[sizeof p->stage])
{
    struct process_usage usage;
    struct pace_look now;
    struct pace pace;

    process_usage(&usage);
    pthread_mutex_lock(&p->lock);
    now = look_now(p);
    pace_look(&p->pace, &now);
    pace = p->pace;
    memcpy(stage, p->stage, sizeof p->stage);
    pthread_mutex_unlock(&p->lock);
    *facts = (struct progress_facts){
        .stage = stage,
        .done_bytes = now.work_bytes,
        .work_bytes = p->options->work_bytes,
        .rate = pace_rate(&pace),
        .left_seconds = pace_seconds_left(&pace),
        .memory_bytes = usage.rss_bytes,
        .memory_limit_bytes = p->options->memory_limit_bytes,
    };
}

/* One column stays free: a terminal may wrap when the last one is written. */
static unsigned columns_to_use(FILE *to)
{
    struct winsize size;

    if (ioctl(fileno(to), TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
        return COLUMNS_DEFAULT - 1;
    return size.ws_col - 1u;
}

static void draw_bar(struct progress *p)
{
    char line[PROGRESS_LINE_BYTES], stage[sizeof p->stage];
    struct progress_facts facts;

    look(p, &facts, stage);
    progress_line(line, columns_to_use(p->options->to), &facts);
    fprintf(p->options->to, "\r%s\033[K", line);
    fflush(p->options->to);
}

/* A line for each further tenth that is done (not for the last: the summary follows), or every LOG_SECONDS. */
static void draw_log(struct progress *p)
{
    char line[PROGRESS_LINE_BYTES], stage[sizeof p->stage];
    struct progress_facts facts;
    double now = monotonic_seconds();
    unsigned tenths = 0;

    look(p, &facts, stage);
    if (facts.work_bytes)
        tenths = percent(facts.done_bytes, facts.work_bytes) / 10;
    if ((tenths <= p->logged_tenths || tenths == 10) && now < p->logged_at + LOG_SECONDS)
        return;
    progress_line(line, PROGRESS_LINE_BYTES, &facts);
    fprintf(p->options->to, "%s\n", line);
    fflush(p->options->to);
    p->logged_tenths = tenths;
    p->logged_at = now;
}

/* Until the next look is due. False: it is time to stop. */
static bool sleep_until_look(struct progress *p)
{
    struct timespec until;
    bool stopping;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(LOOK_SECONDS * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping && pthread_cond_timedwait(&p->changed, &p->lock, &until) == 0) { }
    stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return !stopping;
}

static void *draw(void *argument)
{
    struct progress *p = argument;

    while (sleep_until_look(p)) {
        if (p->bar)
            draw_bar(p);
        else
            draw_log(p);
    }
    if (p->bar) {
        fputs("\r\033[K", p->options->to);
        fflush(p->options->to);
    }
    return NULL;
}

static int start_drawer(struct progress *p)
{
    sigset_t all, before;
    pthread_attr_t attr;
    int result;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, DRAWER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    result = pthread_create(&p->drawer, &attr, draw, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return result;
}

static enum report_progress kind_for(const struct report_options *o)
{
    const char *terminal = getenv("TERM");

    if (o->progress != PROGRESS_AUTO)
        return o->progress;
    return isatty(fileno(o->to)) && terminal && strcmp(terminal, "dumb") ? PROGRESS_BAR : PROGRESS_LOG;
}

struct progress *progress_start(const struct report_options *o, const atomic_uint_least64_t *counters)
{
    enum report_progress kind = o->to ? kind_for(o) : PROGRESS_NONE;
    struct progress *p = kind == PROGRESS_NONE ? NULL : calloc(1, sizeof *p);
    pthread_condattr_t attr;
    struct pace_look now;

    if (!p)
        return NULL;
    p->options = o;
    p->counters = counters;
    p->bar = kind == PROGRESS_BAR;
    now = look_now(p);
    p->logged_at = now.seconds;
    pace_begin(&p->pace, o, &now);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (start_drawer(p) != 0) {
        free(p);
        return NULL;
    }
    return p;
}

void progress_stage(struct progress *p, const char *name)
{
    struct pace_look now;

    pthread_mutex_lock(&p->lock);
    now = look_now(p);
    pace_stage(&p->pace, &now);
    snprintf(p->stage, sizeof p->stage, "%s", name);
    pthread_mutex_unlock(&p->lock);
}

void progress_stop(struct progress *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->drawer, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
