#include "dsl/options.h"

#include <string.h>

enum { PLANNING = FOR_RUN | FOR_PLAN | FOR_CHECK | FOR_RECHUNK, SCANNING = FOR_VERIFY | FOR_DIGEST,
       LINE_BYTES_MAX = 256 * 1024 };

static const struct option options[] = {
    { "--memory", 0, "SIZE", PLANNING | SCANNING, true, NULL },
    { "--scratch", 0, "DIR", PLANNING, true, NULL },
    { "--threads", 0, "N", PLANNING | SCANNING, true, NULL },
    { "--io", 0, "auto|uring|threads", PLANNING | SCANNING, true, NULL },
    { "--overwrite", 0, NULL, PLANNING, true, NULL },
    { "--set", 0, "NAME=VALUE", FOR_RUN | FOR_PLAN | FOR_CHECK, true,
      "a value for $NAME; may be given several times" },
    { "--chunks", 0, "CHUNKS", FOR_RECHUNK, true, NULL },
    { "--chunks", 0, "IN", FOR_CHECK, true, "read every chunk of the array IN and list what is damaged or missing" },
    { "--shards", 0, "SHARDS", FOR_RECHUNK, false, NULL },
    { "--codec", 0, "CODEC", FOR_RECHUNK, true, NULL },
    { "--format", 0, "zarr2|zarr3", FOR_RECHUNK, true, NULL },
    { "--arrays", 0, "A,B", FOR_RECHUNK, false, "which arrays of a group" },
    { "--dry-run", 'n', NULL, FOR_RUN | FOR_RECHUNK, true, "plan only" },
    { "--emit", 0, NULL, FOR_CHECK | FOR_RECHUNK, true, "print the pipeline file that asks for the same" },
    { "--json", 0, NULL, FOR_ALL & ~FOR_HELP, true, "one JSON document on standard output, for refusals too" },
    { "--report", 0, "FILE", FOR_RUN | FOR_RECHUNK, true, "write the run report, as JSON, to FILE" },
    { "--progress", 0, "auto|bar|log|none", FOR_RUN | FOR_RECHUNK | SCANNING, true,
      "how progress is shown on standard error" },
    { "--svg", 0, "FILE", FOR_PLAN, false, "draw the plan" },
    { "--plan", 0, "auto|direct|split", FOR_RUN | FOR_PLAN | FOR_RECHUNK, true,
      "for tests: this plan and no other" },
};
enum { OPTION_COUNT = sizeof options / sizeof options[0] };

static bool needs_quotes(const char *word)
{
    return !word[0] || word[strcspn(word, " \t\n\"'$*?{}[]()<>|&;`\\")];
}

/* The words as they would be typed again, control bytes as '?': one line, whatever was given. */
static void add_word(struct text *out, const char *word)
{
    bool quotes = needs_quotes(word);

    text_add(out, quotes ? "'" : "");
    for (; *word; word++)
        text_addf(out, "%c", (unsigned char)*word < ' ' ? '?' : *word);
    text_add(out, quotes ? "'" : "");
}

void command_line_init(struct command_line *line, int argc, char **argv)
{
    *line = (struct command_line){ 0 };
    text_init(&line->text, LINE_BYTES_MAX);
    text_add(&line->text, "sluice");
    for (int i = 1; i < argc; i++) {
        text_add(&line->text, " ");
        add_word(&line->text, argv[i]);
    }
    line->source = (struct source){ "command line", line->text.chars, line->text.length };
}

void command_line_release(struct command_line *line)
{
    text_release(&line->text);
}

struct span command_line_span(const struct command_line *line, char **argv, int index)
{
    struct span span = { &line->source, 1, 1, 1 };
    size_t column = strlen("sluice") + 1;

    for (int i = 1; i < index; i++)
        column += strlen(argv[i]) + (needs_quotes(argv[i]) ? 2 : 0) + 1;
    column += needs_quotes(argv[index]);
    if (column > line->source.text_bytes)
        column = line->source.text_bytes;
    span.column = (uint32_t)column + 1;
    span.length = argv[index][0] ? (uint32_t)strlen(argv[index]) : 1;
    return span;
}

static const struct option *find(const char *name, size_t length, unsigned commands)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        bool by_letter = length == 2 && name[0] == '-' && o->letter && name[1] == o->letter;

        if ((o->commands & commands) &&
            (by_letter || (strlen(o->name) == length && strncmp(o->name, name, length) == 0)))
            return o;
    }
    return NULL;
}

static bool unknown_option(const struct command_line *line, const char *word, struct span span, struct error *err)
{
    static const struct { unsigned bit; const char *name; } commands[] = {
        { FOR_RUN, "run" }, { FOR_PLAN, "plan" }, { FOR_CHECK, "check" }, { FOR_RECHUNK, "rechunk" },
        { FOR_INFO, "info" }, { FOR_VERIFY, "verify" }, { FOR_DIGEST, "digest" },
    };
    const char *names[OPTION_COUNT], *near;
    char name[64], list[160] = "";
    const struct option *other;
    unsigned count = 0;

    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    error_at(err, ERR_USAGE, span, "there is no option '%s' here", name);
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (options[i].commands & line->command)
            names[count++] = options[i].name;
    other = find(name, strlen(name), FOR_ALL);
    if (other) {
        for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
            if (other->commands & commands[i].bit)
                snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "",
                         commands[i].name);
        error_help(err, "'%s' is an option of %s", name, list);
    }
    near = text_nearest(name, names, count);
    if (near)
        error_help(err, "did you mean '%s'?", near);
    error_help(err, "'sluice help COMMAND' lists the options");
    return false;
}

/* An option at argv[*at], with its value; *at moves to the last word that was used. */
static bool read_option(struct command_line *line, int argc, char **argv, int *at, struct error *err)
{
    const char *word = argv[*at], *equals = strchr(word, '=');
    struct span span = command_line_span(line, argv, *at);
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const struct option *option = find(word, length, line->command);
    struct flag *flag = &line->flags[line->flag_count];

    if (!option)
        return unknown_option(line, word, span, err);
    if (line->flag_count == FLAGS_MAX)
        return error_at(err, ERR_USAGE, span, "more than %d options", FLAGS_MAX);
    *flag = (struct flag){ .option = option, .span = span };
    if (!option->argument && equals) {
        error_at(err, ERR_USAGE, span, "%s takes no value", option->name);
        return false;
    }
    if (!option->built) {
        error_at(err, ERR_USAGE, span, "%s is not built yet", option->name);
        return false;
    }
    if (option->argument && equals) {
        flag->words = equals + 1;
        flag->span.column += (uint32_t)length + 1;
        flag->span.length = equals[1] ? (uint32_t)strlen(equals + 1) : 1;
    } else if (option->argument) {
        if (*at + 1 == argc || strncmp(argv[*at + 1], "--", 2) == 0) {
            error_at(err, ERR_USAGE, span, "%s has no value", option->name);
            error_help(err, "write %s %s", option->name, option->argument);
            return false;
        }
        ++*at;
        flag->words = argv[*at];
        flag->span = command_line_span(line, argv, *at);
    }
    line->flag_count++;
    return true;
}

bool command_line_read(struct command_line *line, int argc, char **argv, unsigned command, struct error *err)
{
    bool options_end = false;

    line->command = command;
    for (int at = 2; at < argc; at++) {
        if (!options_end && strcmp(argv[at], "--") == 0) {
            options_end = true;
            continue;
        }
        if (!options_end && argv[at][0] == '-' && argv[at][1] && command != FOR_HELP) {
            if (!read_option(line, argc, argv, &at, err))
                return false;
            continue;
        }
        if (line->positional_count == POSITIONALS_MAX)
            return error_at(err, ERR_USAGE, command_line_span(line, argv, at), "'%s' is one word too many", argv[at]);
        line->positionals[line->positional_count++] =
            (struct word){ argv[at], command_line_span(line, argv, at) };
    }
    return true;
}

const struct flag *command_line_flag(const struct command_line *line, const char *name)
{
    for (unsigned i = line->flag_count; i-- > 0; )
        if (strcmp(line->flags[i].option->name, name) == 0)
            return &line->flags[i];
    return NULL;
}

void options_help(unsigned commands, FILE *to)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        const struct key *key = o->help ? NULL : key_of_option(o->name);
        const char *help = key ? key->help : o->help;
        char left[64];

        if (!(o->commands & commands) || !o->built)
            continue;
        snprintf(left, sizeof left, "%s%s%s%c", o->name, o->argument ? " " : o->letter ? ", -" : "",
                 o->argument ? o->argument : "", o->argument || !o->letter ? ' ' : o->letter);
        fprintf(to, "  %-30s %.*s\n", left, key ? (int)strcspn(help, ":;.") : (int)strlen(help), help);
    }
}
