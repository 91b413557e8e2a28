/* Words that somebody types: the first line says of which kind they are (size, count, bool, codec, set, options), then
 * come the words; those of `options` are one a line. What is taken means the same when it is written again. */
#include "dsl/options.h"
#include "dsl/pipeline.h"
#include "dsl/scalars.h"
#include "engine/codec/codec.h"
#include "tests/fuzz/fuzz.h"

enum { WORDS_MAX = 80 };

static void size_words(const char *words, struct span span, struct error *err)
{
    struct size_request size, again;
    char bytes[32];

    if (!scalar_size(&size, words, span, true, err) || size.share > 0)
        return;
    MUST(size.bytes > 0 && size.bytes <= INT64_MAX);
    snprintf(bytes, sizeof bytes, "%lluB", (unsigned long long)size.bytes);
    if (size.bytes < 1000000000000000000)
        MUST(scalar_size(&again, bytes, span, false, err) && again.bytes == size.bytes);
}

static void count_words(const char *words, struct span span, struct error *err)
{
    uint64_t count;

    if (scalar_count(&count, words, span, 1, 4096, err))
        MUST(count >= 1 && count <= 4096);
}

static void bool_words(const char *words, struct span span, struct error *err)
{
    bool truth;

    if (scalar_bool(&truth, words, span, err))
        MUST(strcmp(words, truth ? "true" : "false") == 0);
}

static void codec_words(const char *words, struct span span, struct error *err)
{
    struct codec_chain chain = { 0 }, again = { 0 };
    struct text text;

    (void)span;
    if (!codec_chain_from_text(&chain, words, 4, err))
        return;
    text_init(&text, 4096);
    codec_chain_text(&chain, &text);
    MUST(codec_chain_from_text(&again, text.chars, 4, err) && again.count == chain.count);
    MUST(memcmp(again.codecs, chain.codecs, chain.count * sizeof *chain.codecs) == 0);
    text_release(&text);
}

static void set_words(const char *words, struct span span, struct error *err)
{
    struct pipeline p;

    pipeline_init(&p);
    if (pipeline_set(&p, words, span, err))
        pipeline_set(&p, words, span, err);
    pipeline_release(&p);
}

static void option_words(const char *words, struct span span, struct error *err)
{
    static const unsigned commands[] = { FOR_RUN, FOR_PLAN, FOR_CHECK, FOR_RECHUNK, FOR_INFO, FOR_VERIFY, FOR_DIGEST };
    char *copy = as_text(words, strlen(words)), *rest = copy, *argv[WORDS_MAX + 1];
    int argc = 2;

    (void)span;
    argv[0] = argv[1] = (char[]){ "sluice" };
    while (rest && argc < WORDS_MAX)
        argv[argc++] = strsep(&rest, "\n");
    argv[argc] = NULL;
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct command_line line;
        struct error refusal = { 0 };
        struct pipeline p;

        command_line_init(&line, argc, argv);
        pipeline_init(&p);
        if (command_line_read(&line, argc, argv, commands[i], &refusal))
            for (unsigned f = 0; f < line.flag_count; f++) {
                const struct key *k = key_of_option(line.flags[f].option->name);

                if (k && !pipeline_flag(&p, k, line.flags[f].words, line.flags[f].span, &refusal))
                    break;
            }
        if (refusal.code)
            must_be_said(&refusal);
        pipeline_release(&p);
        command_line_release(&line);
    }
    (void)err;
    free(copy);
}

static const struct {
    const char *name;
    void (*play)(const char *words, struct span span, struct error *err);
} kinds[] = {
    { "size", size_words }, { "count", count_words }, { "bool", bool_words }, { "codec", codec_words },
    { "set", set_words }, { "options", option_words },
};

int fuzz_one(const uint8_t *data, size_t bytes)
{
    char *text = as_text(data, bytes), *words = strchr(text, '\n');
    struct source source = { .name = "command line", .text = words ? words + 1 : "" };
    struct error err = { 0 };

    if (words)
        *words++ = '\0';
    source.text_bytes = strlen(source.text);
    for (size_t i = 0; words && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(text, kinds[i].name) == 0) {
            struct span span = { .source = &source, .line = 1, .column = 1, .length = (uint32_t)source.text_bytes + 1 };

            kinds[i].play(words, span, &err);
        }
    if (err.code)
        must_be_said(&err);
    free(text);
    return 0;
}
