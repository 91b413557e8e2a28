/* commands.h - what the program can be told to do, one row and one cmd_*.c each.
 *
 * A command answers with the exit status, or fills `err` (then its status does not count: error_exit_status says it).
 */
#ifndef SLUICE_DSL_COMMANDS_H
#define SLUICE_DSL_COMMANDS_H

#include <stdio.h>

#include "dsl/options.h"
#include "dsl/pipeline.h"
#include "engine/base/error.h"
#include "engine/report/report.h"

#define SLUICE_VERSION "0.1.0"

struct session;

/* What the signal handler and the commands share. Until a command says that it looks at it, a signal ends the program
 * at once: nothing is begun then, and who reads a pipeline from a pipe may wait for ever. */
struct stop_request {
    volatile int signal;        /* the number of the signal that asked for a stop; 0: none did */
    volatile int is_heeded;
};

/* What a command works on. The pipeline is empty at first; it is here, not in the command, because the error that
 * comes back points into it. */
struct invocation {
    const struct command_line *line;
    struct pipeline pipeline;
    struct stop_request *stop;
};

/* From here on the command looks at `signal`, which is what comes back, and stops in order. */
const volatile int *heed_stop(const struct invocation *v);

struct command {
    const char *name;
    unsigned bit;               /* FOR_... */
    const char *arguments;      /* "IN OUT" */
    unsigned words_min, words_max;
    const char *help;
    const char *example;        /* a command line; NULL: not built yet */
    int (*run)(struct invocation *v, struct error *err);
};

extern const struct command command_table[];
extern const unsigned command_count;

int cmd_run(struct invocation *v, struct error *err);
int cmd_plan(struct invocation *v, struct error *err);
int cmd_check(struct invocation *v, struct error *err);
int cmd_rechunk(struct invocation *v, struct error *err);
int cmd_info(struct invocation *v, struct error *err);
int cmd_verify(struct invocation *v, struct error *err);
int cmd_digest(struct invocation *v, struct error *err);
int cmd_clean(struct invocation *v, struct error *err);
int cmd_doctor(struct invocation *v, struct error *err);
int cmd_help(struct invocation *v, struct error *err);

/* The whole program but for signals and malloc: find the command, run it, say what went wrong. Returns the exit
 * status. */
int command_main(int argc, char **argv, struct stop_request *stop);

/* The commands, and where to go next. */
void usage(FILE *to);

/* The pipeline of a command line: its file, then its flags. Not yet checked to be whole (pipeline_finish). */
bool pipeline_from_line(struct pipeline *p, const struct command_line *line, struct error *err);
/* The flags that mean keys, and --plan. */
bool pipeline_flags(struct pipeline *p, const struct command_line *line, struct error *err);
bool wants_json(const struct command_line *line);
/* --progress. */
bool progress_from_line(enum report_progress *progress, const struct command_line *line, struct error *err);
/* Plan, or plan and run, with --progress and --report, whose file is tried before anything is done. Standard error
 * is told unless `plan_only`. The session is filled as far as it went, also on failure; release it always. */
bool session_from_line(struct session *s, const struct invocation *v, bool plan_only, struct error *err);
/* --emit */
bool print_pipeline(const struct pipeline *p, bool json, struct error *err);

#endif
