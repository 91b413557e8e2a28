/* options.h - the command line as a text with places, so that a wrong flag is shown with a caret like a wrong line.
 *
 * The words are joined into a one-line source named "command line"; every word and value has its span in it.
 * Options are rows too (options.c); those that mean a key of the language carry the key's row and are parsed by it.
 *
 * Ownership: argv is borrowed and outlives the command line; the joined text is the command line's.
 */
#ifndef SLUICE_DSL_OPTIONS_H
#define SLUICE_DSL_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "dsl/keys.h"
#include "engine/base/error.h"
#include "engine/base/text.h"

enum {
    FOR_RUN = 1, FOR_PLAN = 2, FOR_CHECK = 4, FOR_RECHUNK = 8, FOR_INFO = 16, FOR_VERIFY = 32, FOR_DIGEST = 64,
    FOR_HELP = 128, FOR_CLEAN = 256,
    FOR_ALL = 511,
};

struct option {
    const char *name;           /* "--memory" */
    char letter;                /* 'n' for -n; 0: none */
    const char *argument;       /* "SIZE"; NULL: takes none */
    unsigned commands;          /* FOR_... */
    const char *refusal;        /* why it is not taken ("is not built yet"); NULL: it is */
    const char *help;           /* NULL: that of the key of the same flag */
};

struct word {
    const char *text;
    struct span span;
};

enum { FLAGS_MAX = 64, POSITIONALS_MAX = 2 };

struct flag {
    const struct option *option;
    const char *words;          /* NULL: it takes none */
    struct span span;           /* of the value, else of the option */
};

struct command_line {
    struct source source;
    struct text text;
    unsigned command;           /* FOR_... */
    struct word positionals[POSITIONALS_MAX];
    unsigned positional_count;
    struct flag flags[FLAGS_MAX];
    unsigned flag_count;
};

/* Join the words for messages. argv[0] is the program. */
void command_line_init(struct command_line *line, int argc, char **argv);
void command_line_release(struct command_line *line);
/* The place of argv[index]. */
struct span command_line_span(const struct command_line *line, char **argv, int index);

/* Read what follows the command (argv[2] ..). `command`: one FOR_... */
bool command_line_read(struct command_line *line, int argc, char **argv, unsigned command, struct error *err);

/* `word` has no place: ERR_USAGE, with the option it was probably meant for. */
bool command_line_extra(const struct command_line *line, const struct word *word, struct error *err);
/* The flag of that name, or NULL. Of --set, which may come several times, the last. */
const struct flag *command_line_flag(const struct command_line *line, const char *name);

/* Of the flags listed ("--emit --report"), none may be given beside `with`: it would do nothing. */
bool command_line_excludes(const struct command_line *line, const char *with, const char *flags, struct error *err);

/* One line for each option of the commands. */
void options_help(unsigned commands, FILE *to);
/* What the option of that name is, and where. False: there is none. */
bool option_help(const char *name, FILE *to);
/* Their names; returns how many, at most OPTIONS_MAX. */
enum { OPTIONS_MAX = 32 };
unsigned option_names(unsigned commands, const char **names);

#endif
