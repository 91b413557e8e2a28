/* test_report.c - engine/report: counters, clock, and what the line says. */
#include "engine/report/report.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/report/pace.h"
#include "engine/report/progress.h"
#include "tests/unit/test.h"

static struct report *new_report(enum report_progress progress, FILE *to, uint64_t work_bytes)
{
    struct report_options options = { .progress = progress, .to = to, .work_bytes = work_bytes };
    struct report *r = report_new(&options);

    CHECK(r != NULL);
    return r;
}

static void *add_often(void *r)
{
    for (unsigned i = 0; i < 10000; i++) {
        report_add(r, COUNT_WORK_BYTES, 3);
        report_add(r, COUNT_TARGET_OBJECTS, 1);
    }
    return NULL;
}

static void test_report__adds_up_what_threads_add(void)
{
    struct report *r = new_report(PROGRESS_NONE, NULL, 0);
    pthread_t threads[4];

    for (unsigned i = 0; i < 4; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, add_often, r), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQUAL(report_count(r, COUNT_WORK_BYTES), 120000);
    CHECK_EQUAL(report_count(r, COUNT_TARGET_OBJECTS), 40000);
    CHECK_EQUAL(report_count(r, COUNT_SPILL_READ_BYTES), 0);
    report_free(r);
}

static void test_report__without_one_nothing_happens(void)
{
    report_add(NULL, COUNT_WORK_BYTES, 1);
    CHECK_EQUAL(report_count(NULL, COUNT_WORK_BYTES), 0);
    report_stage(NULL, "split");
    report_start(NULL);
    report_stop(NULL);
    report_free(NULL);
    CHECK_EQUAL(report_stage_count(NULL), 0);
}

static void test_report__every_counter_has_its_own_name(void)
{
    for (unsigned i = 0; i < COUNT_COUNTERS; i++) {
        CHECK(report_counter_name((enum report_counter)i) != NULL);
        for (unsigned k = 0; k < i; k++)
            CHECK(strcmp(report_counter_name((enum report_counter)i), report_counter_name((enum report_counter)k)));
    }
    CHECK(!strcmp(report_counter_name(COUNT_SOURCE_READ_BYTES), "source_read_bytes"));
}

static void test_report__stages_last_until_the_next(void)
{
    struct report *r = new_report(PROGRESS_NONE, NULL, 0);
    double stopped;

    CHECK(report_seconds(r) == 0);
    report_start(r);
    report_stage(r, "split");
    usleep(30 * 1000);
    report_stage(r, "merge");
    usleep(10 * 1000);
    report_stop(r);
    stopped = report_seconds(r);
    usleep(10 * 1000);
    CHECK(report_seconds(r) == stopped);
    CHECK_EQUAL(report_stage_count(r), 2);
    CHECK(!strcmp(report_stage_name(r, 0), "split") && !strcmp(report_stage_name(r, 1), "merge"));
    CHECK(report_stage_seconds(r, 0) >= 0.03 && report_stage_seconds(r, 1) >= 0.01);
    CHECK(report_stage_seconds(r, 0) + report_stage_seconds(r, 1) <= stopped);
    for (unsigned i = 0; i < 2 * REPORT_STAGES_MAX; i++)
        report_stage(r, "a name that is longer than anything a stage is called");
    CHECK_EQUAL(report_stage_count(r), REPORT_STAGES_MAX);
    report_free(r);
}

/* ---- the line ---- */

static void check_line(unsigned columns, const struct progress_facts *facts, const char *wanted)
{
    char line[PROGRESS_LINE_BYTES];

    progress_line(line, columns, facts);
    if (strcmp(line, wanted)) {
        fprintf(stderr, "'%s', not\n'%s'\n", line, wanted);
        CHECK(!strcmp(line, wanted));
    }
}

static void test_report__the_line_says_it_all(void)
{
    struct progress_facts facts = {
        .stage = "split", .done_bytes = 1259 * MIB, .work_bytes = 3 * GIB, .rate = 812.0 * MIB,
        .left_seconds = 2, .memory_bytes = 231 * MIB, .memory_limit_bytes = 256 * MIB,
    };

    check_line(120, &facts, "split   40 %  1.2/3.0 GiB  812 MiB/s  ETA 2 s  memory 231/256 MiB");
    facts.done_bytes = 5 * GIB;     /* more than was predicted */
    check_line(120, &facts, "split  100 %  3.0/3.0 GiB  812 MiB/s  memory 231/256 MiB");
    facts.done_bytes = 0;
    facts.rate = 0;
    facts.left_seconds = -1;
    check_line(120, &facts, "split    0 %  0.0/3.0 GiB  memory 231/256 MiB");
    facts.work_bytes = UINT64_C(9) << 40;
    facts.rate = 12000.0 * MIB;
    facts.left_seconds = 786.4;
    check_line(120, &facts, "split    0 %  0.0/9.0 TiB  11.7 GiB/s  ETA 13 min 06 s  memory 231/256 MiB");
}

static void test_report__a_little_of_much_memory_keeps_its_digits(void)
{
    struct progress_facts facts = { .stage = "split", .left_seconds = -1, .memory_bytes = 31 * MIB,
                                    .memory_limit_bytes = 16 * GIB };

    check_line(120, &facts, "split   0B  memory 31.0 MiB/16.0 GiB");
    facts.memory_bytes = 2 * GIB;
    check_line(120, &facts, "split   0B  memory 2.0/16.0 GiB");
    facts.memory_limit_bytes = 300 * GIB;
    check_line(120, &facts, "split   0B  memory 2/300 GiB");
}

static void test_report__work_that_is_not_known_has_no_percentage(void)
{
    struct progress_facts facts = { .stage = "direct", .done_bytes = 64 * MIB, .left_seconds = -1 };

    check_line(120, &facts, "direct  64MiB");
}

static void test_report__a_narrow_terminal_gets_whole_fields(void)
{
    struct progress_facts facts = {
        .stage = "merge", .done_bytes = 500, .work_bytes = 1000 * KIB, .rate = 2.0 * MIB,
        .left_seconds = 0.3, .memory_bytes = 900 * KIB, .memory_limit_bytes = 64 * MIB,
    };

    check_line(200, &facts, "merge    0 %  0.0/1.0 MiB  2.0 MiB/s  ETA 1 s  memory 900 KiB/64.0 MiB");
    check_line(50, &facts, "merge    0 %  0.0/1.0 MiB  2.0 MiB/s  ETA 1 s");
    check_line(42, &facts, "merge    0 %  0.0/1.0 MiB  2.0 MiB/s");
    check_line(12, &facts, "merge    0 %");
    check_line(5, &facts, "");
}

/* ---- rate and time left ---- */

enum { LOOKS_EACH_SECOND = 5 };

/* split, then merge: each decodes quickly and encodes in `making` seconds. */
static struct report_options two_legs(double split_making, double merge_making)
{
    struct report_options o = { .work_bytes = 400 * MIB, .leg_count = 2 };

    o.legs[0] = (struct report_leg){ 100 * MIB, 100 * MIB, 0.2, split_making };
    o.legs[1] = (struct report_leg){ 100 * MIB, 100 * MIB, 0.2, merge_making };
    return o;
}

/* Within a factor, or a second. */
static void check_left(const struct pace *p, double wanted, double factor)
{
    double left = pace_seconds_left(p);

    if (!(left <= wanted * factor + 1 && left >= wanted / factor - 1))
        fprintf(stderr, "%.1f s left, not %.1f\n", left, wanted);
    CHECK(left <= wanted * factor + 1 && left >= wanted / factor - 1);
}

/* A stage that reads all of it at once, and then makes a piece each second: what is left is not far off, from that
 * second on. */
static void make_slowly(struct pace *p, struct pace_look *now, unsigned seconds, double left_after, double factor,
                        unsigned from)
{
    double began = now->seconds;
    struct pace_look at_begin = *now;

    now->work_bytes += 100 * MIB;
    now->seconds += 0.2;
    pace_look(p, now);
    CHECK(pace_rate(p) == 0);       /* though half of its work is done */
    for (unsigned i = 1; i <= seconds * LOOKS_EACH_SECOND; i++) {
        now->seconds = began + 0.2 + (double)i / LOOKS_EACH_SECOND;
        now->made_bytes = at_begin.made_bytes + i / LOOKS_EACH_SECOND * 100 * MIB / seconds;
        now->work_bytes = at_begin.work_bytes + 100 * MIB + now->made_bytes - at_begin.made_bytes;
        pace_look(p, now);
        if (now->made_bytes == at_begin.made_bytes)
            continue;
        CHECK(pace_rate(p) > 100.0 * MIB / seconds && pace_rate(p) < 300.0 * MIB / seconds);
        if (i >= from * LOOKS_EACH_SECOND)
            check_left(p, seconds + 0.2 - (now->seconds - began) + left_after, factor);
    }
}

static void test_pace__a_slow_encoder_is_foreseen(void)
{
    struct report_options o = two_legs(0.3, 20);
    struct pace_look now = { .seconds = 1000 };
    struct pace p;

    pace_begin(&p, &o, &now);
    check_left(&p, 20.7, 1.01);
    for (unsigned i = 1; i <= 5; i++) {
        now = (struct pace_look){ 1000 + 0.1 * i, i * 40 * MIB, i * 20 * MIB };
        pace_look(&p, &now);
        check_left(&p, 20.7 - 0.1 * i, 1.05);
    }
    CHECK(pace_rate(&p) > 380.0 * MIB && pace_rate(&p) < 420.0 * MIB);
    pace_stage(&p, &now);
    CHECK(pace_rate(&p) == 0);      /* that was of another stage */
    check_left(&p, 20.2, 1.05);
    make_slowly(&p, &now, 20, 0, 1.5, 0);
}

static void test_pace__a_wrong_prediction_is_soon_put_right(void)
{
    struct report_options o = two_legs(10, 10);
    struct pace_look now = { .seconds = 0 };
    struct pace p;

    pace_begin(&p, &o, &now);
    make_slowly(&p, &now, 40, 40, 1.7, 10);     /* four times as slow, and the next stage will be too */
    pace_stage(&p, &now);
    make_slowly(&p, &now, 20, 0, 2, 5);         /* but it is twice as quick */
}

static void test_pace__a_run_that_goes_on_counts_what_it_does_itself(void)
{
    struct report_options o = two_legs(10, 10);
    struct pace_look now = { 0, 200 * MIB + 100 * MIB, 100 * MIB + 50 * MIB };
    struct pace p;

    pace_begin(&p, &o, &now);
    CHECK(pace_rate(&p) == 0);
    check_left(&p, 5.1, 1.01);
    now = (struct pace_look){ 1, 320 * MIB, 160 * MIB };
    pace_look(&p, &now);
    CHECK(pace_rate(&p) == 20.0 * MIB);
    check_left(&p, 4.1, 1.01);
}

static void test_pace__without_predictions_it_goes_by_the_rate(void)
{
    struct report_options o = { .work_bytes = 100 * MIB };
    struct pace_look now = { 0 };
    struct pace p;

    pace_begin(&p, &o, &now);
    CHECK(pace_seconds_left(&p) < 0);
    now = (struct pace_look){ 2, 20 * MIB, 0 };
    pace_look(&p, &now);
    CHECK(pace_rate(&p) == 10.0 * MIB && pace_seconds_left(&p) == 8);
    o.work_bytes = 0;
    CHECK(pace_seconds_left(&p) < 0);
}

/* ---- the drawer ---- */

static uint64_t bytes_of(FILE *file)
{
    struct stat st = { 0 };

    fstat(fileno(file), &st);
    return (uint64_t)st.st_size;
}

/* Until the drawer has written more than `seen` bytes, or five seconds. */
static bool wait_for_more(FILE *file, uint64_t seen)
{
    for (unsigned i = 0; i < 500; i++) {
        if (bytes_of(file) > seen)
            return true;
        usleep(10 * 1000);
    }
    return false;
}

static void read_back(FILE *file, char *to, size_t capacity)
{
    ssize_t length = pread(fileno(file), to, capacity - 1, 0);

    to[length > 0 ? length : 0] = '\0';
}

static void test_report__a_log_has_a_line_for_each_tenth(void)
{
    FILE *log = tmpfile();
    struct report *r = new_report(PROGRESS_LOG, log, 1000);
    char written[2000], *second;
    uint64_t seen;

    report_start(r);
    report_stage(r, "split");
    report_add(r, COUNT_WORK_BYTES, 95);            /* not a tenth yet */
    usleep(400 * 1000);
    CHECK_EQUAL(bytes_of(log), 0);
    report_add(r, COUNT_WORK_BYTES, 100);
    CHECK(wait_for_more(log, 0));
    seen = bytes_of(log);
    report_add(r, COUNT_WORK_BYTES, 4);             /* nor another */
    usleep(400 * 1000);
    CHECK_EQUAL(bytes_of(log), seen);
    report_stage(r, "merge");
    report_add(r, COUNT_WORK_BYTES, 700);
    CHECK(wait_for_more(log, seen));
    seen = bytes_of(log);
    report_add(r, COUNT_WORK_BYTES, 101);           /* the end is the summary's to tell */
    usleep(400 * 1000);
    report_stop(r);
    CHECK_EQUAL(bytes_of(log), seen);
    read_back(log, written, sizeof written);
    CHECK(!strncmp(written, "split   19 %  195/1000 B", strlen("split   19 %  195/1000 B")) ||
          !strncmp(written, "split   19 %  0.2/1.0 KiB", strlen("split   19 %  0.2/1.0 KiB")));
    second = strchr(written, '\n') + 1;
    CHECK(!strncmp(second, "merge   89 %", strlen("merge   89 %")));
    CHECK(!strchr(written, '\r') && !strchr(written, '\033'));
    report_free(r);
    fclose(log);
}

static void test_report__a_bar_is_wiped_at_the_end(void)
{
    FILE *terminal = tmpfile();
    struct report *r = new_report(PROGRESS_BAR, terminal, 1000);
    static const char wipe[] = "\r\033[K";
    char written[4000];
    size_t length;

    report_stage(r, "direct");
    report_start(r);
    CHECK(wait_for_more(terminal, 0));
    report_stop(r);
    read_back(terminal, written, sizeof written);
    length = strlen(written);
    CHECK(!strncmp(written, "\rdirect   0 %", strlen("\rdirect   0 %")));
    CHECK(length >= strlen(wipe) && !strcmp(written + length - strlen(wipe), wipe));
    CHECK(!strchr(written, '\n'));
    report_free(r);
    fclose(terminal);
}

static void test_report__left_to_itself_a_file_gets_a_log_and_none_gets_nothing(void)
{
    static const enum report_progress kinds[] = { PROGRESS_AUTO, PROGRESS_NONE };

    for (unsigned i = 0; i < 2; i++) {
        FILE *file = tmpfile();
        struct report *r = new_report(kinds[i], file, 1000);
        char written[2000];

        report_start(r);
        report_stage(r, "split");
        report_add(r, COUNT_WORK_BYTES, 500);
        if (kinds[i] == PROGRESS_AUTO)
            CHECK(wait_for_more(file, 0));
        else
            usleep(400 * 1000);
        report_free(r);         /* stops it */
        read_back(file, written, sizeof written);
        CHECK(kinds[i] == PROGRESS_AUTO ? strchr(written, '\n') && !strchr(written, '\r') : !written[0]);
        fclose(file);
    }
}

/* ---- the process ---- */

static void test_report__memory_that_was_touched_is_in_the_peak(void)
{
    struct process_usage before, during, after;
    size_t bytes = 64 * MIB;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    process_usage(&before);
    memset(memory, 1, bytes);
    process_usage(&during);
    munmap(memory, bytes);
    process_usage(&after);
    CHECK(during.rss_bytes >= before.rss_bytes + 60 * MIB);
    CHECK(after.rss_bytes <= during.rss_bytes - 60 * MIB);
    CHECK(after.rss_peak_bytes >= before.rss_bytes + 60 * MIB);
    CHECK(after.user_seconds + after.system_seconds > 0);
}

int main(void)
{
    RUN(test_report__adds_up_what_threads_add);
    RUN(test_report__without_one_nothing_happens);
    RUN(test_report__every_counter_has_its_own_name);
    RUN(test_report__stages_last_until_the_next);
    RUN(test_report__the_line_says_it_all);
    RUN(test_report__a_little_of_much_memory_keeps_its_digits);
    RUN(test_report__work_that_is_not_known_has_no_percentage);
    RUN(test_report__a_narrow_terminal_gets_whole_fields);
    RUN(test_pace__a_slow_encoder_is_foreseen);
    RUN(test_pace__a_wrong_prediction_is_soon_put_right);
    RUN(test_pace__a_run_that_goes_on_counts_what_it_does_itself);
    RUN(test_pace__without_predictions_it_goes_by_the_rate);
    RUN(test_report__a_log_has_a_line_for_each_tenth);
    RUN(test_report__a_bar_is_wiped_at_the_end);
    RUN(test_report__left_to_itself_a_file_gets_a_log_and_none_gets_nothing);
    RUN(test_report__memory_that_was_touched_is_in_the_peak);
    return test_summary();
}
