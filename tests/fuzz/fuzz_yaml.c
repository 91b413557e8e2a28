/* A pipeline file, up to the job: read, $NAME, keys, relations. What is taken is written (--emit) as a file that asks
 * for the same. No file is touched. */
#include "dsl/pipeline.h"
#include "tests/fuzz/fuzz.h"

static bool read_job(struct pipeline *p, const char *text, size_t bytes, struct error *err)
{
    pipeline_init(p);
    return pipeline_read_text(p, "p.yaml", text, bytes, "", err) && pipeline_finish(p, err);
}

/* The place is one that an editor can go to. */
static void must_be_placed(const struct pipeline *p, const struct error *err)
{
    uint32_t line = 1;

    MUST(err->code == ERR_USAGE || err->code == ERR_FIT);
    if (err->code == ERR_FIT)
        return;
    MUST(err->span.source == &p->source);
    for (uint64_t i = 0; i < p->source.text_bytes; i++)
        line += p->source.text[i] == '\n' || p->source.text[i] == '\r' || (unsigned char)p->source.text[i] >= 0x80;
    MUST(err->span.line <= line);
    MUST(err->span.line == 0 || (err->span.column >= 1 && err->span.column <= p->source.text_bytes + 1));
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    char *text = exactly(data, bytes);
    struct error err = { 0 }, again_err = { 0 };
    struct pipeline p, again;
    struct text emitted, emitted_again;

    if (!read_job(&p, text, bytes, &err)) {
        must_be_placed(&p, &err);
        must_be_said(&err);
    } else {
        text_init(&emitted, 1 << 20);
        text_init(&emitted_again, 1 << 20);
        pipeline_emit(&p, &emitted);
        if (!read_job(&again, emitted.chars, emitted.length, &again_err)) {
            error_print(&again_err, stderr);
            MUST(!"what was emitted is refused");
        }
        pipeline_emit(&again, &emitted_again);
        if (strcmp(emitted.chars, emitted_again.chars) != 0) {
            fprintf(stderr, "%s----\n%s", emitted.chars, emitted_again.chars);
            MUST(!"what was emitted asks for something else");
        }
        text_release(&emitted);
        text_release(&emitted_again);
        pipeline_release(&again);
    }
    pipeline_release(&p);
    free(text);
    return 0;
}
