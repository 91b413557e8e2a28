#include "dsl/params.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

enum { NAMES_MAX = 256, VALUE_BYTES_MAX = 64 * 1024 };

struct resolver {
    const struct setting *settings;
    const struct yaml_node *params;
    const struct yaml_node *params_end; /* entries from here on are not set yet; NULL: all are */
    bool used[NAMES_MAX];               /* of the settings */
    struct arena *arena;
    struct error *err;
};

static bool is_name_byte(char c, bool first)
{
    return c == '_' || isalpha((unsigned char)c) || (!first && isdigit((unsigned char)c));
}

static size_t name_length(const char *at)
{
    size_t length = 0;

    while (is_name_byte(at[length], length == 0))
        length++;
    return length;
}

bool setting_from_text(struct setting *out, const char *words, struct span span, struct arena *arena,
                       struct error *err)
{
    size_t length = name_length(words);

    if (!length || words[length] != '=') {
        error_at(err, ERR_USAGE, span, "'%s' sets nothing", words);
        error_help(err, "write --set NAME=VALUE; a name is letters, digits and _");
        return false;
    }
    out->name = arena_text(arena, words, length);
    out->value = words + length + 1;
    out->span = span;
    return out->name || error_at(err, ERR_FIT, span, "no memory for the pipeline");
}

/* *set_name: of the --set the value begins with, as in struct span. */
static const char *look_up(struct resolver *r, const char *name, const char **set_name)
{
    unsigned i = 0;

    for (const struct setting *s = r->settings; s; s = s->next, i++)
        if (strcmp(s->name, name) == 0) {
            if (i < NAMES_MAX)
                r->used[i] = true;
            *set_name = s->name;
            return s->value;
        }
    if (r->params)
        for (const struct yaml_node *p = r->params->first; p && p != r->params_end; p = p->next)
            if (strcmp(p->key, name) == 0) {
                *set_name = p->span.set_name;
                return p->text;
            }
    *set_name = NULL;
    return getenv(name);
}

static bool unset(struct resolver *r, const struct yaml_node *node, const char *at, size_t bytes, const char *name)
{
    const char *names[NAMES_MAX], *near;
    unsigned count = 0;

    error_at(r->err, ERR_USAGE, yaml_span_of(node->span, at, (uint32_t)bytes), "$%s is not set", name);
    if (r->params)
        for (const struct yaml_node *p = r->params->first; p && count < NAMES_MAX; p = p->next)
            names[count++] = p->key;
    near = text_nearest(name, names, count);
    if (near && strcmp(near, name) != 0)
        error_help(r->err, "did you mean $%s?", near);
    if (near)
        error_help(r->err, "a value under 'params:' may use only what stands above it");
    error_help(r->err, "give it by --set %s=VALUE, under 'params:', or in the environment; a dollar is written $$",
               name);
    return false;
}

/* One $NAME or ${NAME} at `at`; *end: what follows. */
static bool expand_one(struct resolver *r, struct yaml_node *node, const char *at, struct text *out,
                       const char **end)
{
    bool braces = at[1] == '{';
    const char *word = at + 1 + braces, *value, *set_name;
    size_t length = name_length(word);
    char *name;

    if (!length || (braces && word[length] != '}')) {
        error_at(r->err, ERR_USAGE, yaml_span_of(node->span, at, 1), "no name follows the '$'");
        error_help(r->err, "write $NAME or ${NAME}; a dollar is written $$");
        return false;
    }
    *end = word + length + braces;
    name = arena_text(r->arena, word, length);
    if (!name)
        return error_at(r->err, ERR_FIT, node->span, "no memory for the pipeline");
    value = look_up(r, name, &set_name);
    if (!value)
        return unset(r, node, at, (size_t)(*end - at), name);
    if (at == node->text)
        node->span.set_name = set_name;
    text_add(out, value);
    return true;
}

static bool expand(struct resolver *r, struct yaml_node *node)
{
    struct text out;
    const char *at = node->text;
    bool ok = true;

    if (!strchr(at, '$'))
        return true;
    text_init(&out, VALUE_BYTES_MAX);
    while (*at && ok) {
        size_t plain = strcspn(at, "$");

        text_add_bytes(&out, at, plain);
        at += plain;
        if (at[0] == '$' && at[1] == '$') {
            text_add(&out, "$");
            at += 2;
        } else if (*at) {
            ok = expand_one(r, node, at, &out, &at);
        }
    }
    if (ok && out.no_memory)
        ok = error_at(r->err, ERR_FIT, node->span, "no memory for the pipeline");
    else if (ok && out.cut)
        ok = error_at(r->err, ERR_USAGE, node->span, "the value is longer than 64KiB once its names are replaced");
    if (ok) {
        node->text = arena_text(r->arena, out.chars, out.length);
        node->quoted = node->quoted || !out.length;
        ok = node->text || error_at(r->err, ERR_FIT, node->span, "no memory for the pipeline");
    }
    text_release(&out);
    return ok;
}

/* Recursion is bounded: yaml.c takes no tree deeper than YAML_DEPTH_MAX. */
static bool expand_tree(struct resolver *r, struct yaml_node *node)
{
    if (node == r->params)
        return true;
    if (node->kind == YAML_SCALAR)
        return expand(r, node);
    for (struct yaml_node *child = node->first; child; child = child->next)
        if (!expand_tree(r, child))
            return false;
    return true;
}

static bool read_params(struct resolver *r)
{
    unsigned count = 0;

    if (!r->params)
        return true;
    if (r->params->kind != YAML_MAP) {
        error_at(r->err, ERR_USAGE, r->params->span, "'params' is %s, not a map", yaml_kind_name(r->params->kind));
        error_help(r->err, "write params: {year: 1979}");
        return false;
    }
    for (struct yaml_node *p = r->params->first; p; p = p->next) {
        if (++count > NAMES_MAX)
            return error_at(r->err, ERR_USAGE, p->key_span, "more than %d params", NAMES_MAX);
        if (!p->key[0] || p->key[name_length(p->key)]) {
            error_at(r->err, ERR_USAGE, p->key_span, "'%s' is not a name", p->key);
            error_help(r->err, "a name is letters, digits and _, and begins with no digit");
            return false;
        }
        if (p->kind != YAML_SCALAR)
            return error_at(r->err, ERR_USAGE, p->span, "the value of '%s' is %s, not text", p->key,
                            yaml_kind_name(p->kind));
        r->params_end = p;
        if (!expand(r, p))
            return false;
    }
    r->params_end = NULL;
    return true;
}

/* A --set nobody reads is a typing error; unless it overrides one of `params:`. */
static bool settings_are_used(const struct resolver *r)
{
    unsigned i = 0;

    for (const struct setting *s = r->settings; s && i < NAMES_MAX; s = s->next, i++) {
        const char *names[NAMES_MAX], *near;
        unsigned count = 0;

        if (r->used[i] || (r->params && yaml_get(r->params, s->name)))
            continue;
        error_at(r->err, ERR_USAGE, s->span, "the pipeline has no $%s", s->name);
        if (r->params)
            for (const struct yaml_node *p = r->params->first; p && count < NAMES_MAX; p = p->next)
                names[count++] = p->key;
        near = text_nearest(s->name, names, count);
        if (near)
            error_help(r->err, "did you mean '%s'?", near);
        error_help(r->err, "keys have flags of their own (--memory), and names stand under 'params:'");
        return false;
    }
    return true;
}

bool params_resolve(struct yaml_node *root, struct yaml_node *params, const struct setting *settings,
                    struct arena *arena, struct error *err)
{
    struct resolver r = { .settings = settings, .params = params, .arena = arena, .err = err };

    return read_params(&r) && expand_tree(&r, root) && settings_are_used(&r);
}
