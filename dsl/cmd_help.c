/* help: of a command, of a key, or the list of either. */
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"

static bool help_command(const char *name)
{
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *c = &command_table[i];

        if (strcmp(c->name, name) != 0)
            continue;
        printf("sluice %s%s%s\n  ", c->name, c->arguments[0] ? " " : "", c->arguments);
        answer_wrapped(stdout, 2, c->help, strlen(c->help));
        if (c->example)
            printf("\n  %s\n", c->example);
        if (c->bit != FOR_HELP) {
            printf("\n");
            options_help(c->bit, stdout);
        }
        return true;
    }
    return false;
}

static void help_keys(void)
{
    printf("A pipeline file:\n\n"
           "  memory: 1GiB\n"
           "  input: IN.zarr\n"
           "  output:\n"
           "    path: OUT.zarr\n"
           "    chunks: {time: all, lat: 32, lon: 32}\n"
           "\nIts keys ('sluice help KEY' says more):\n");
    key_help_all(stdout);
}

static bool unknown_word(const char *word, struct span span, struct error *err)
{
    const char *names[OPTIONS_MAX + 128], *near;
    unsigned count = option_names(FOR_ALL, names);

    names[count++] = "keys";
    for (unsigned i = 0; i < command_count; i++)
        names[count++] = command_table[i].name;
    for (unsigned i = 0; i < key_count && count < sizeof names / sizeof names[0]; i++)
        names[count++] = key_table[i].name;
    error_at(err, ERR_USAGE, span, "there is no command, key or option '%s'", word);
    near = text_nearest(word, names, count);
    if (near)
        error_help(err, "did you mean '%s'?", near);
    error_help(err, "'sluice help' lists commands, 'sluice help keys' keys, 'sluice help COMMAND' options");
    return false;
}

int cmd_help(struct invocation *v, struct error *err)
{
    const char *word = v->line->positional_count ? v->line->positionals[0].text : NULL;
    bool command, key, option;

    if (!word) {
        usage(stdout);
        return 0;
    }
    if (strcmp(word, "keys") == 0) {
        help_keys();
        return 0;
    }
    command = help_command(word);
    key = key_help(word, stdout);
    option = option_help(word, stdout);
    if (command || key || option)
        return 0;
    unknown_word(word, v->line->positionals[0].span, err);
    return 2;
}

int cmd_doctor(struct invocation *v, struct error *err)
{
    struct span span = { &v->line->source, 1, (uint32_t)strlen("sluice ") + 1, (uint32_t)strlen("doctor"), NULL };

    error_at(err, ERR_USAGE, span, "'doctor' is not built yet");
    error_help(err, "'sluice plan' says which back end would be used and why");
    return 2;
}
