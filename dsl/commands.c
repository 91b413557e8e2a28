#include "dsl/commands.h"

#include <string.h>

#include "dsl/answer.h"
#include "dsl/report_file.h"
#include "dsl/scalars.h"
#include "dsl/session.h"

const struct command command_table[] = {
    { "run", FOR_RUN, "PIPELINE", 1, 1, "run a pipeline file ('-': standard input)",
      "sluice run rechunk.yaml --memory 1GiB", cmd_run },
    { "plan", FOR_PLAN, "PIPELINE", 1, 1, "what run would do: stages, memory, bytes, time, and why",
      "sluice plan rechunk.yaml --memory 256MiB", cmd_plan },
    { "check", FOR_CHECK, "PIPELINE", 0, 1, "is a pipeline right, and does it fit? --chunks IN: is an array whole?",
      "sluice check --chunks IN.zarr", cmd_check },
    { "rechunk", FOR_RECHUNK, "IN OUT", 2, 2, "a pipeline without a file: --chunks, --codec, --format",
      "sluice rechunk IN.zarr OUT.zarr --chunks time=all,lat=32,lon=32 --memory 1GiB", cmd_rechunk },
    { "info", FOR_INFO, "PATH", 1, 1, "what is there: shape, chunks, codec, sizes; or a group's arrays",
      "sluice info IN.zarr", cmd_info },
    { "verify", FOR_VERIFY, "A B", 2, 2, "the same values, bit for bit? 0 yes, 1 no and where",
      "sluice verify IN.zarr OUT.zarr --memory 1GiB", cmd_verify },
    { "digest", FOR_DIGEST, "PATH", 1, 1, "one digest of the values, the same whatever the chunks",
      "sluice digest IN.zarr", cmd_digest },
    { "clean", FOR_CLEAN, "PIPELINE|OUTPUT", 1, 1, "remove what an unfinished run keeps to be gone on with",
      "sluice clean OUT.zarr", cmd_clean },
    { "doctor", FOR_HELP, "", 0, 0, "what this machine offers (not built yet)", NULL, cmd_doctor },
    { "help", FOR_HELP, "[COMMAND|KEY|keys]", 0, 1, "about a command, a key of the pipeline file, or all keys",
      "sluice help chunks", cmd_help },
};
const unsigned command_count = sizeof command_table / sizeof command_table[0];

void usage(FILE *to)
{
    enum { USAGE_INDENT = 33 };

    fprintf(to, "sluice %s: rechunk arrays bigger than memory, inside a hard memory budget\n\n", SLUICE_VERSION);
    for (unsigned i = 0; i < command_count; i++) {
        char left[64];

        if (command_table[i].run == cmd_doctor)     /* not built yet */
            continue;
        snprintf(left, sizeof left, "sluice %s %s", command_table[i].name, command_table[i].arguments);
        fprintf(to, "  %-30s ", left);
        answer_wrapped(to, USAGE_INDENT, command_table[i].help, strlen(command_table[i].help));
    }
    fprintf(to, "\nTo begin with:\n"
            "  sluice info IN.zarr\n"
            "  sluice rechunk IN.zarr OUT.zarr --chunks time=all,lat=32,lon=32 --memory 1GiB\n"
            "\nThen:\n"
            "  sluice help COMMAND            its options and an example\n"
            "  sluice help keys               a pipeline file and its keys\n"
            "  sluice help KEY                what one of them means\n"
            "\nExit status:\n"
            "  0 done                         4 an input is damaged or not supported\n"
            "  1 verify: they differ          5 an I/O error\n"
            "  2 the request is wrong         6 the output is there already, or an\n"
            "  3 it does not fit (memory,       unfinished run of another request\n"
            "    scratch, a full disk)      130, 143 interrupted\n"
            "The same command goes on after 3, 5, 130 and 143.\n");
}

const volatile int *heed_stop(const struct invocation *v)
{
    v->stop->is_heeded = 1;
    return &v->stop->signal;
}

bool wants_json(const struct command_line *line)
{
    return command_line_flag(line, "--json") != NULL;
}

bool progress_from_line(enum report_progress *progress, const struct command_line *line, struct error *err)
{
    const struct flag *flag = command_line_flag(line, "--progress");
    unsigned index = PROGRESS_AUTO;

    if (flag && !scalar_word(&index, flag->words, flag->span, "auto bar log none", err))
        return false;
    *progress = (enum report_progress)index;
    return true;
}

bool session_from_line(struct session *s, const struct invocation *v, bool plan_only, struct error *err)
{
    const struct flag *flag = command_line_flag(v->line, "--report");
    struct session_options options = { .to = stderr, .plan_only = plan_only };
    struct report_file report = { .fd = -1 };
    struct error outcome;
    bool ok;

    *s = (struct session){ .pipeline = &v->pipeline };
    ok = progress_from_line(&options.progress, v->line, err) &&
         (!flag || report_file_open(&report, flag->words, flag->span, &v->pipeline, err));
    if (ok) {
        if (!plan_only)
            options.stop = heed_stop(v);
        options.restart = command_line_flag(v->line, "--restart") != NULL;
        ok = session_run(s, &v->pipeline, &options, err);
        outcome = *err;
        ok = (!flag || report_file_write(&report, s, &outcome, err)) && ok;
    }
    report_file_release(&report);
    return ok;
}

/* A path of a flag may be any bytes, and a file with other bytes in their place would ask for something else. */
static bool is_utf8(const char *path, struct span span, struct error *err)
{
    size_t left = path ? strlen(path) : 0, length;

    for (; left; path += length, left -= length) {
        length = text_utf8_length(path, left);
        if (!length)
            return error_at(err, ERR_USAGE, span, "this path is not UTF-8, and a pipeline file is");
    }
    return true;
}

bool print_pipeline(const struct pipeline *p, bool json, struct error *err)
{
    const struct job *job = &p->job;
    struct text file, out;
    bool ok;

    if (!is_utf8(job->input.path, job->input.span, err) || !is_utf8(job->output.path, job->output.span, err) ||
        !is_utf8(job->scratch_path, job->scratch_span, err))
        return false;
    text_init(&file, ANSWER_BYTES_MAX / 4);
    text_init(&out, ANSWER_BYTES_MAX);
    pipeline_emit(p, &file);
    if (json) {
        text_add(&out, "{\"schema\": 1, \"pipeline\": ");
        text_add_json_string(&out, file.chars);
        text_add(&out, "}\n");
    }
    ok = answer_print(json ? &out : &file, err);
    text_release(&out);
    text_release(&file);
    return ok;
}

bool pipeline_flags(struct pipeline *p, const struct command_line *line, struct error *err)
{
    for (unsigned i = 0; i < line->flag_count; i++) {
        const struct flag *flag = &line->flags[i];
        const struct key *key = key_of_option(flag->option->name);
        unsigned index;

        if (strcmp(flag->option->name, "--plan") == 0) {
            if (!scalar_word(&index, flag->words, flag->span, "auto direct split passes ranged-write carry", err))
                return false;
            p->job.plan = (enum plan_wanted)index;
        } else if (key && !flag->option->help && !pipeline_flag(p, key, flag->words, flag->span, err)) {
            return false;
        }
    }
    return true;
}

bool pipeline_from_line(struct pipeline *p, const struct command_line *line, struct error *err)
{
    for (unsigned i = 0; i < line->flag_count; i++)
        if (strcmp(line->flags[i].option->name, "--set") == 0 &&
            !pipeline_set(p, line->flags[i].words, line->flags[i].span, err))
            return false;
    return pipeline_read_file(p, line->positionals[0].text, line->positionals[0].span, err) &&
           pipeline_flags(p, line, err);
}

static const struct command *find_command(const char *name)
{
    for (unsigned i = 0; i < command_count; i++)
        if (strcmp(command_table[i].name, name) == 0)
            return &command_table[i];
    return NULL;
}

static bool unknown_command(struct span span, const char *word, struct error *err)
{
    const char *names[sizeof command_table / sizeof command_table[0]], *near;

    for (unsigned i = 0; i < command_count; i++)
        names[i] = command_table[i].name;
    error_at(err, ERR_USAGE, span, "there is no command '%s'", word);
    if (word[0] == '-')
        error_help(err, "the command comes first: sluice run PIPELINE %s ...", word);
    if (strcmp(word, "version") == 0)
        error_help(err, "write sluice --version");
    near = text_nearest(word, names, command_count);
    if (near)
        error_help(err, "did you mean '%s'?", near);
    if (strstr(word, ".yaml") || strstr(word, ".yml"))
        error_help(err, "write sluice run %s", word);
    error_help(err, "'sluice help' lists them");
    return false;
}

static bool count_words(const struct command *command, const struct command_line *line, struct error *err)
{
    struct span end = { &line->source, 1, (uint32_t)line->source.text_bytes + 1, 1, NULL };

    if (line->positional_count > command->words_max)
        return command_line_extra(line, &line->positionals[command->words_max], err);
    if (line->positional_count >= command->words_min)
        return true;
    error_at(err, ERR_USAGE, end, "something is missing: sluice %s %s", command->name, command->arguments);
    error_help(err, "'sluice help %s' says more", command->name);
    return false;
}

static int run_command(struct command_line *line, int argc, char **argv, struct invocation *v, struct error *err)
{
    const struct command *command = find_command(argv[1]);
    struct span span = command_line_span(line, argv, 1);

    if (!command) {
        unknown_command(span, argv[1], err);
        return 2;
    }
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            line->positionals[0] = (struct word){ command->name, span };
            line->positional_count = 1;
            return cmd_help(v, err);
        }
    if (!command_line_read(line, argc, argv, command->bit, err) || !count_words(command, line, err))
        return 2;
    return command->run(v, err);
}

/* A refusal: for people on standard error, and as the one JSON document where that was asked for. */
static void refuse(const struct error *err, const struct further *further, bool json)
{
    struct error ignored = { 0 };
    struct text document;

    answer_refusal_print(err, further, stderr);
    if (!json)
        return;
    text_init(&document, ANSWER_BYTES_MAX);
    answer_refusal_json(err, further, &document);
    answer_print(&document, &ignored);
    text_release(&document);
}

int command_main(int argc, char **argv, struct stop_request *stop)
{
    struct command_line line;
    struct invocation invocation = { .line = &line, .stop = stop };
    struct error err = { 0 };
    bool json = false;
    int status = 0;

    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    command_line_init(&line, argc, argv);
    pipeline_init(&invocation.pipeline);
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        json = json || strcmp(argv[i], "--json") == 0;
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        printf("sluice %s\n", SLUICE_VERSION);
    else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        usage(stdout);
    else
        status = run_command(&line, argc, argv, &invocation, &err);
    if (err.code == ERR_NONE)
        answer_flush(&err);
    if (err.code != ERR_NONE) {
        refuse(&err, &invocation.pipeline.further, json);
        status = error_exit_status(err.code);
    }
    pipeline_release(&invocation.pipeline);
    command_line_release(&line);
    return status;
}
