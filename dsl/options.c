#include "dsl/options.h"

#include <string.h>

#include "dsl/answer.h"

enum { PLANNING = FOR_RUN | FOR_PLAN | FOR_CHECK | FOR_RECHUNK, SCANNING = FOR_VERIFY | FOR_DIGEST,
       LINE_BYTES_MAX = 256 * 1024 };

static const char not_built[] = "is not built yet";

static const struct option options[] = {
    { "--memory", 0, "SIZE", PLANNING | SCANNING, NULL, NULL },
    { "--scratch", 0, "DIR", PLANNING, NULL, NULL },
    { "--threads", 0, "N", PLANNING | SCANNING, NULL, NULL },
    { "--io", 0, "auto|uring|threads", PLANNING | SCANNING, NULL, NULL },
    { "--overwrite", 0, NULL, PLANNING, NULL, NULL },
    { "--durable", 0, NULL, PLANNING, NULL, NULL },
    { "--verify", 0, NULL, PLANNING, NULL, NULL },
    { "--restart", 0, NULL, FOR_RUN | FOR_RECHUNK, NULL,
      "start over: what an unfinished run of the same output left is removed" },
    { "--set", 0, "NAME=VALUE", FOR_RUN | FOR_PLAN | FOR_CHECK | FOR_CLEAN, NULL,
      "a value for $NAME; may be given several times" },
    { "--set", 0, "NAME=VALUE", FOR_RECHUNK, "sets names in a pipeline file, and rechunk reads none",
      "write the value itself" },
    { "--chunks", 0, "CHUNKS", FOR_RECHUNK, NULL, NULL },
    { "--chunks", 0, "IN", FOR_CHECK, NULL, "read every chunk of the array IN and list what is damaged or missing" },
    { "--shards", 0, "SHARDS", FOR_RECHUNK, not_built, NULL },
    { "--codec", 0, "CODEC", FOR_RECHUNK, NULL, NULL },
    { "--format", 0, "zarr2|zarr3", FOR_RECHUNK, NULL, NULL },
    { "--arrays", 0, "A,B", FOR_RECHUNK, not_built, "which arrays of a group; today: give the array, IN.zarr/NAME" },
    { "--dry-run", 'n', NULL, FOR_RUN | FOR_RECHUNK, NULL, "plan only" },
    { "--emit", 0, NULL, FOR_CHECK | FOR_RECHUNK, NULL, "print the pipeline file that asks for the same, no more" },
    { "--json", 0, NULL, FOR_ALL & ~FOR_HELP, NULL, "one JSON document on standard output, for refusals too" },
    { "--report", 0, "FILE", PLANNING, NULL, "write the report, as JSON, to FILE" },
    { "--progress", 0, "auto|bar|log|none", PLANNING | SCANNING, NULL, "how progress is shown on standard error" },
    { "--svg", 0, "FILE", FOR_PLAN, not_built, "a drawing of the plan, in FILE" },
    { "--plan", 0, "NAME", FOR_RUN | FOR_PLAN | FOR_RECHUNK, NULL,
      "for tests, this plan and no other: direct, split, passes, ranged-write, carry" },
};
enum { OPTION_COUNT = sizeof options / sizeof options[0] };
_Static_assert((int)OPTION_COUNT <= (int)OPTIONS_MAX, "option_names has room");

static const struct { unsigned bit; const char *name; } command_names[] = {
    { FOR_RUN, "run" }, { FOR_PLAN, "plan" }, { FOR_CHECK, "check" }, { FOR_RECHUNK, "rechunk" },
    { FOR_INFO, "info" }, { FOR_VERIFY, "verify" }, { FOR_DIGEST, "digest" }, { FOR_CLEAN, "clean" },
};

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
    struct span span = { &line->source, 1, 1, 1, NULL };
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

/* "check, rechunk" */
static void list_commands(unsigned commands, struct text *out)
{
    for (unsigned i = 0; i < sizeof command_names / sizeof command_names[0]; i++)
        if (commands & command_names[i].bit)
            text_addf(out, "%s%s", out->length ? ", " : "", command_names[i].name);
}

/* The option whose key another tool's word stands for ("--max-mem"), of these commands. */
static const struct option *find_synonym(const char *name, unsigned commands)
{
    char word[64];
    size_t length = 0;

    for (name += strspn(name, "-"); *name && length < sizeof word - 1; name++)
        word[length++] = *name == '-' ? '_' : *name;
    word[length] = '\0';
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct key *key = options[i].help ? NULL : key_of_option(options[i].name);

        if (key && (options[i].commands & commands) && key_is_synonym(key, word))
            return &options[i];
    }
    return NULL;
}

unsigned option_names(unsigned commands, const char **names)
{
    unsigned count = 0;

    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (options[i].commands & commands)
            names[count++] = options[i].name;
    return count;
}

static bool unknown_option(const struct command_line *line, const char *word, struct span span, struct error *err)
{
    const char *names[OPTIONS_MAX], *near;
    const struct option *other;
    struct text list;
    unsigned count;
    char name[64];

    text_init(&list, ERROR_TEXT_BYTES / 2);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    error_at(err, ERR_USAGE, span, "there is no option '%s' here", name);
    other = find(name, strlen(name), FOR_ALL);
    if (other) {
        list_commands(other->commands, &list);
        error_help(err, "'%s' is an option of %s", name, list.chars);
    }
    if (strcmp(name, "--version") == 0)
        error_help(err, "'sluice --version' says which sluice this is%s", line->command & FOR_RECHUNK
                   ? "; the Zarr version of the output is --format zarr2|zarr3" : "");
    if ((strcmp(name, "--quiet") == 0 || strcmp(name, "-q") == 0) && find("--progress", strlen("--progress"), line->command))
        error_help(err, "write --progress none");
    other = find_synonym(name, line->command);
    if (other)
        error_help(err, "'%s' is called '%s' here%s", name, other->name,
                   other->refusal == not_built ? " (not built yet)" : "");
    other = find_synonym(name, FOR_ALL);
    if (other) {
        text_clear(&list);
        list_commands(other->commands, &list);
        error_help(err, "'%s' is called '%s' here, an option of %s", name, other->name, list.chars);
    }
    count = option_names(line->command, names);
    for (unsigned i = 0; i < count; i++)
        names[i] += 2;              /* the dashes are alike, and say nothing */
    near = text_nearest(name + strspn(name, "-"), names, count);
    if (near)
        error_help(err, "did you mean '--%s'?", near);
    text_clear(&list);
    list_commands(line->command, &list);
    error_help(err, "'sluice help %s' lists the options", list.length ? list.chars : "COMMAND");
    text_release(&list);
    return false;
}

static bool refuse_option(const struct option *option, struct span span, struct error *err)
{
    const struct key *key = option->help ? NULL : key_of_option(option->name);

    error_at(err, ERR_USAGE, span, "%s %s", option->name, option->refusal);
    error_help(err, "%s%s", option->refusal == not_built ? "it will be: " : "", key ? key->help : option->help);
    return false;
}

/* Only --set may come several times. */
static bool option_is_new(const struct command_line *line, const struct option *option, struct span span,
                          struct error *err)
{
    if (strcmp(option->name, "--set") == 0 || !command_line_flag(line, option->name))
        return true;
    error_at(err, ERR_USAGE, span, "%s comes twice", option->name);
    error_help(err, "leave one of them out");
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
    if (!option_is_new(line, option, span, err))
        return false;
    if (line->flag_count == FLAGS_MAX)
        return error_at(err, ERR_USAGE, span, "more than %d options", FLAGS_MAX);
    *flag = (struct flag){ .option = option, .span = span };
    if (!option->argument && equals) {
        error_at(err, ERR_USAGE, span, "%s takes no value", option->name);
        return false;
    }
    if (option->refusal)
        return refuse_option(option, span, err);
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

bool command_line_extra(const struct command_line *line, const struct word *word, struct error *err)
{
    const struct flag *chunks = line->command & FOR_RECHUNK ? command_line_flag(line, "--chunks") : NULL;

    const char *value = strchr(word->text, '=');
    char name[64];

    error_at(err, ERR_USAGE, word->span, "'%s' is one word too many", word->text);
    snprintf(name, sizeof name, "--%.*s", value ? (int)(value - word->text) : 0, word->text);
    if (value && find(name, strlen(name), line->command))
        error_help(err, "write %s %s", name, value + 1);
    else if (value && line->command & FOR_RECHUNK)
        error_help(err, "write --chunks %s%s%s", chunks ? chunks->words : "", chunks ? "," : "", word->text);
    else if (value && line->command & (FOR_RUN | FOR_PLAN | FOR_CHECK))
        error_help(err, "write --set %s", word->text);
    for (unsigned i = 0; i < sizeof command_names / sizeof command_names[0]; i++)
        if (line->command & command_names[i].bit)
            error_help(err, "'sluice help %s' says what it takes", command_names[i].name);
    return false;
}

bool command_line_read(struct command_line *line, int argc, char **argv, unsigned command, struct error *err)
{
    bool options_end = false;
    struct word word;

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
        word = (struct word){ argv[at], command_line_span(line, argv, at) };
        if (line->positional_count == POSITIONALS_MAX)
            return command_line_extra(line, &word, err);
        line->positionals[line->positional_count++] = word;
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

bool command_line_excludes(const struct command_line *line, const char *with, const char *flags, struct error *err)
{
    for (unsigned i = 0; i < line->flag_count; i++) {
        const char *name = line->flags[i].option->name, *at = strstr(flags, name);
        size_t length = strlen(name);

        if (!at || (at[length] && at[length] != ' '))
            continue;
        error_at(err, ERR_USAGE, line->flags[i].span, "%s does nothing beside %s", name, with);
        error_help(err, "leave one of them out");
        return false;
    }
    return true;
}

enum { OPTION_INDENT = 33 };

static void print_option(const struct option *o, FILE *to)
{
    const struct key *key = o->help ? NULL : key_of_option(o->name);
    const char *help = key ? key->help : o->help;
    char left[64];

    snprintf(left, sizeof left, "%s%s%s%c", o->name, o->argument ? " " : o->letter ? ", -" : "",
             o->argument ? o->argument : "", o->argument || !o->letter ? ' ' : o->letter);
    fprintf(to, "  %-30s ", left);
    answer_wrapped(to, OPTION_INDENT, help, key ? strcspn(help, ":;.") : strlen(help));
}

bool option_help(const char *name, FILE *to)
{
    bool found = false;

    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        struct text after;

        if (strcmp(o->name, name) != 0 || (o->refusal && o->refusal != not_built))
            continue;
        text_init(&after, 256);
        list_commands(o->commands, &after);
        fprintf(to, "option of %s%s%s\n", after.chars, o->refusal ? ": " : "", o->refusal ? o->refusal : "");
        print_option(o, to);
        text_release(&after);
        found = true;
    }
    return found;
}

void options_help(unsigned commands, FILE *to)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if ((options[i].commands & commands) && !options[i].refusal)
            print_option(&options[i], to);
}
