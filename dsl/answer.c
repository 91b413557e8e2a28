#include "dsl/answer.h"

#include <errno.h>
#include <string.h>

#include "dsl/pipeline.h"

static const char *kind_name(enum error_code code)
{
    switch (code) {
    case ERR_NONE:        return "none";
    case ERR_USAGE:       return "usage";
    case ERR_FIT:         return "does not fit";
    case ERR_INPUT:       return "input";
    case ERR_IO:          return "io";
    case ERR_EXISTS:      return "exists";
    case ERR_INTERRUPTED: return "interrupted";
    case ERR_TERMINATED:  return "terminated";
    }
    return "unknown";
}

void answer_json_text(struct text *out, const char *name, const char *value)
{
    text_add_json_string(out, name);
    text_add(out, ": ");
    if (value)
        text_add_json_string(out, value);
    else
        text_add(out, "null");
    text_add(out, ", ");
}

void answer_refusal_print(const struct error *err, const struct further *further, FILE *to)
{
    error_print(err, to);
    for (unsigned i = 0; further && i < further->count; i++)
        error_print(&further->errors[i], to);
    if (further && further->left_out)
        fprintf(to, "and %s\n", COUNTED_TEXT(further->left_out, "more mistake"));
}

static void add_refusal(const struct error *err, struct text *out)
{
    answer_json_text(out, "error", kind_name(err->code));
    answer_json_text(out, "file", err->span.source ? err->span.source->name : NULL);
    if (err->span.source && err->span.line)
        text_addf(out, "\"line\": %u, \"column\": %u, ", err->span.line, err->span.column);
    else
        text_add(out, "\"line\": null, \"column\": null, ");
    answer_json_text(out, "key", err->key[0] ? err->key : NULL);
    answer_json_text(out, "message", err->message);
    text_add(out, "\"notes\": [");
    for (unsigned i = 0; i < err->note_count; i++) {
        text_add(out, i ? ", " : "");
        text_add_json_string(out, err->notes[i]);
    }
    text_add(out, "], ");
    answer_json_text(out, "help", err->help[0] ? err->help : NULL);
    if (err->need_bytes || err->have_bytes)
        text_addf(out, "\"need_bytes\": %llu, \"have_bytes\": %llu", (unsigned long long)err->need_bytes,
                  (unsigned long long)err->have_bytes);
    else
        text_add(out, "\"need_bytes\": null, \"have_bytes\": null");
}

void answer_refusal_json(const struct error *err, const struct further *further, struct text *out)
{
    text_addf(out, "{\"schema\": 1, \"exit_status\": %d, ", error_exit_status(err->code));
    add_refusal(err, out);
    text_add(out, ", \"further\": [");
    for (unsigned i = 0; further && i < further->count; i++) {
        text_add(out, i ? ", {" : "{");
        add_refusal(&further->errors[i], out);
        text_add(out, "}");
    }
    text_addf(out, "], \"further_left_out\": %u}\n", further ? further->left_out : 0);
}

bool answer_flush(struct error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    error_sys(err, errno, SPAN_NONE, "cannot write to standard output");
    if (err->code == ERR_FIT)
        err->code = ERR_IO;     /* a full disk under `> file` is no matter of the pipeline's */
    return false;
}

bool answer_print(const struct text *t, struct error *err)
{
    if (t->cut)
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the answer");
    fwrite(t->chars, 1, t->length, stdout);
    return answer_flush(err);
}

void answer_wrapped(FILE *to, unsigned indent, const char *words, size_t length)
{
    enum { COLUMNS = 80 };
    const char *end = words + length;
    unsigned column = indent;

    while (words < end) {
        const char *space = memchr(words, ' ', (size_t)(end - words));
        unsigned width = (unsigned)((space ? space : end) - words);

        if (column > indent && column + 1 + width > COLUMNS) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", (int)width, words);
        column += width;
        words += width + 1;
    }
    fputc('\n', to);
}

void answer_shape(struct text *out, unsigned rank, const uint64_t *shape)
{
    text_add(out, "(");
    for (unsigned i = 0; i < rank; i++)
        text_addf(out, "%s%llu", i ? "," : "", (unsigned long long)shape[i]);
    text_add(out, ")");
}

void answer_shape_json(struct text *out, unsigned rank, const uint64_t *shape)
{
    text_add(out, "[");
    for (unsigned i = 0; i < rank; i++)
        text_addf(out, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    text_add(out, "]");
}

void answer_value(struct text *out, const char *json)
{
    for (; *json; json++)
        if (*json != '"')
            text_add_bytes(out, json, 1);
}
