/* clean: remove what an unfinished run keeps so that the same command can go on with it. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "engine/exec/resume.h"
#include "engine/io/os.h"

/* A word that leads to a file, or is named like one, is a pipeline; outputs are directories. */
static bool is_pipeline(const char *word)
{
    size_t length = strlen(word);
    struct stat st;

    if (os_fstatat(AT_FDCWD, word, &st, 0) >= 0)
        return S_ISREG(st.st_mode);
    return strcmp(word, "-") == 0 || (length > 5 && strcmp(word + length - 5, ".yaml") == 0) ||
           (length > 4 && strcmp(word + length - 4, ".yml") == 0);
}

/* Of OUT.sluice-partial, which is what `ls` shows, OUT. */
static const char *output_of(const char *word, char output[PATH_MAX])
{
    size_t length = path_length(word), end = sizeof STAGING_SUFFIX - 1;

    if (length <= end || length - end >= PATH_MAX || memcmp(word + length - end, STAGING_SUFFIX, end) != 0 ||
        word[length - end - 1] == '/')
        return word;
    memcpy(output, word, length - end);
    output[length - end] = 0;
    return output;
}

/* A name that was never an output's is most likely a slip of the hand. */
static void add_nothing(const char *path, struct text *out)
{
    struct stat st;

    text_add(out, "nothing to remove: ");
    if (os_fstatat(AT_FDCWD, path, &st, 0) >= 0)
        text_addf(out, "no unfinished run of '%s' is there\n", path);
    else
        text_addf(out, "there is neither an output '%s' nor an unfinished run of that name ('%s.sluice-partial'), and no "
                  "lock\n", path, path);
}

int cmd_clean(struct invocation *v, struct error *err)
{
    const struct word *word = &v->line->positionals[0];
    char output[PATH_MAX];
    const char *path = output_of(word->text, output);
    struct span span = word->span;
    struct text what, out;

    if (is_pipeline(word->text)) {
        if (!pipeline_from_line(&v->pipeline, v->line, err) || !pipeline_finish(&v->pipeline, err))
            return 2;
        path = v->pipeline.job.output.path;
        span = v->pipeline.job.output.span;
    }
    text_init(&what, ANSWER_BYTES_MAX / 4);
    text_init(&out, ANSWER_BYTES_MAX);
    if (resume_clean(path, span, &what, err)) {
        if (wants_json(v->line)) {
            text_add(&out, "{\"schema\": 1, \"removed\": ");
            text_add_json_lines(&out, what.chars);
            text_add(&out, "}\n");
        } else if (what.length) {
            text_add(&out, what.chars);
        } else {
            add_nothing(path, &out);
        }
        answer_print(&out, err);
    }
    text_release(&out);
    text_release(&what);
    return 0;
}
