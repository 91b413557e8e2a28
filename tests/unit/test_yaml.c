/* yaml.c: trees with places, and what is not taken. The messages themselves are golden tests. */
#include <stdlib.h>
#include <string.h>

#include "dsl/params.h"
#include "dsl/yaml.h"
#include "engine/io/os.h"
#include "tests/unit/test.h"

static struct source source_of(const char *text)
{
    return (struct source){ "test.yaml", text, strlen(text) };
}

static struct yaml_node *read_text(const struct source *source, struct arena *arena, struct error *err)
{
    struct yaml_node *root;

    arena_init(arena, 64 << 20);
    return yaml_read(&root, source, arena, err) ? root : NULL;
}

static bool stands_at(struct span span, uint32_t line, uint32_t column, uint32_t length)
{
    return span.line == line && span.column == column && span.length == length;
}

static void test_yaml__every_node_knows_its_place(void)
{
    struct source source = source_of("memory: 64MiB\noutput:\n  path: \"a b\"\n  chunks: {time: all, lat: 16}\n");
    struct error err = { 0 };
    struct arena arena;
    struct yaml_node *root = read_text(&source, &arena, &err), *output, *chunks;

    CHECK(root && root->kind == YAML_MAP && root->count == 2);
    if (root) {
        CHECK(stands_at(yaml_get(root, "memory")->span, 1, 9, 5));
        CHECK(stands_at(yaml_get(root, "memory")->key_span, 1, 1, 6));
        output = yaml_get(root, "output");
        CHECK(stands_at(yaml_get(output, "path")->span, 3, 9, 5));
        chunks = yaml_get(output, "chunks");
        CHECK(stands_at(chunks->span, 4, 11, 1));
        CHECK(stands_at(yaml_get(chunks, "lat")->span, 4, 28, 2));
    }
    arena_release(&arena);
}

static void test_yaml__columns_count_bytes(void)
{
    struct source source = source_of("# \xc3\xa4\xc3\xb6\r\nk\xc3\xa4se: {\xc3\xbc: x}\r\n");
    struct error err = { 0 };
    struct arena arena;
    struct yaml_node *root = read_text(&source, &arena, &err);

    CHECK(root != NULL);
    if (root) {
        CHECK(stands_at(root->first->key_span, 2, 1, 5));
        CHECK(stands_at(root->first->first->key_span, 2, 9, 2));
        CHECK(stands_at(root->first->first->span, 2, 13, 1));
    }
    arena_release(&arena);
}

static void test_yaml__a_scalar_of_several_lines_is_underlined_on_its_first(void)
{
    struct source source = source_of("a: 'one\n  two'\nb: |\n  text\n");
    struct error err = { 0 };
    struct arena arena;
    struct yaml_node *root = read_text(&source, &arena, &err);

    CHECK(root != NULL);
    if (root) {
        CHECK(stands_at(root->first->span, 1, 4, 4));
        CHECK(strcmp(root->first->text, "one two") == 0);
        CHECK(strcmp(root->first->next->text, "text\n") == 0);
        CHECK_EQUAL(root->first->next->span.line, 3);
    }
    arena_release(&arena);
}

static void test_yaml__scalars_are_text(void)
{
    struct source source = source_of("[y, no, 012, 12:30:00, 2020-01, ~, null, 1e3, '']");
    static const char *const texts[] = { "y", "no", "012", "12:30:00", "2020-01", "~", "null", "1e3", "" };
    struct error err = { 0 };
    struct arena arena;
    struct yaml_node *root = read_text(&source, &arena, &err), *node = root ? root->first : NULL;

    for (unsigned i = 0; i < 9; i++, node = node ? node->next : NULL)
        CHECK(node && strcmp(node->text, texts[i]) == 0 && node->quoted == (i == 8));
    arena_release(&arena);
}

static bool is_refused(const char *text, uint32_t line, uint32_t column)
{
    struct source source = source_of(text);
    struct error err = { 0 };
    struct arena arena;
    bool refused = !read_text(&source, &arena, &err) && err.code == ERR_USAGE && err.span.line == line &&
                   err.span.column == column;

    arena_release(&arena);
    return refused;
}

static void test_yaml__what_is_not_taken_is_refused_at_its_place(void)
{
    CHECK(is_refused("a: &x 1\n", 1, 4));
    CHECK(is_refused("a: 1\nb: *x\n", 2, 4));
    CHECK(is_refused("a: !x 1\n", 1, 4));
    CHECK(is_refused("&x a: 1\n", 1, 1));
    CHECK(is_refused("a: !!map {b: 1}\n", 1, 4));
    CHECK(is_refused("a: &x [1]\n", 1, 4));
    CHECK(is_refused("a: 1\n---\nb: 2\n", 2, 1));
    CHECK(is_refused("a: 1\nb: 2\na: 3\n", 3, 1));
    CHECK(is_refused("a: 1\n[b]: 2\n", 2, 1));
    CHECK(is_refused("a: \"x\\0y\"\n", 1, 4));
    CHECK(is_refused("", 0, 0));
    CHECK(is_refused("# only words\n", 0, 0));
}

static void test_yaml__a_nul_byte_is_refused_at_its_place(void)
{
    static const char text[] = "a: 1\nb: x\0y\n";
    struct source source = { "test.yaml", text, sizeof text - 1 };
    struct error err = { 0 };
    struct arena arena;

    CHECK(!read_text(&source, &arena, &err));
    CHECK(err.span.line == 2 && err.span.column == 5);
    arena_release(&arena);
}

static void test_yaml__deep_nesting_is_refused_at_once(void)
{
    static const char *const bricks[] = { "[", "{a: ", "- ", "? " };
    enum { DEPTH = 200000 };

    for (unsigned i = 0; i < 4; i++) {
        size_t length = strlen(bricks[i]);
        char *text = calloc(DEPTH, length + 1);
        struct source source = { "test.yaml", text, DEPTH * length };
        struct error err = { 0 };
        struct arena arena;
        double start = os_now();

        for (size_t n = 0; text && n < DEPTH; n++)
            memcpy(text + n * length, bricks[i], length);
        CHECK(text && !read_text(&source, &arena, &err) && err.code == ERR_USAGE);
        CHECK(os_now() - start < 1);
        if (text)
            arena_release(&arena);
        free(text);
    }
}

static void test_yaml__wide_maps_are_read_quickly(void)
{
    enum { KEYS = 40000 };
    char *text = malloc(KEYS * 12 + 1);
    struct error err = { 0 };
    struct arena arena;
    struct source source;
    struct yaml_node *root;
    size_t length = 0;
    double start = os_now();

    for (unsigned i = 0; text && i < KEYS; i++)
        length += (size_t)sprintf(text + length, "k%u: 1\n", i);
    source = (struct source){ "test.yaml", text, length };
    root = read_text(&source, &arena, &err);
    CHECK(root && root->count == KEYS);
    CHECK(os_now() - start < 5);
    arena_release(&arena);
    free(text);
}

static void test_yaml__names_are_replaced_by_settings_params_and_environment(void)
{
    struct source source = source_of("params: {year: 1979, file: 'y$year.zarr'}\n"
                                     "a: $file\nb: ${year}x$$\nc: $SLUICE_TEST\n");
    struct setting setting = { "year", "2020", SPAN_NONE, NULL };
    struct error err = { 0 };
    struct arena arena;
    struct yaml_node *root = read_text(&source, &arena, &err);

    setenv("SLUICE_TEST", "from outside", 1);
    CHECK(root && params_resolve(root, yaml_get(root, "params"), &setting, &arena, &err));
    if (root) {
        CHECK(strcmp(yaml_get(root, "a")->text, "y2020.zarr") == 0);
        CHECK(strcmp(yaml_get(root, "b")->text, "2020x$") == 0);
        CHECK(strcmp(yaml_get(root, "c")->text, "from outside") == 0);
    }
    arena_release(&arena);
}

static void test_yaml__a_name_that_nobody_set_is_refused_where_it_stands(void)
{
    struct source source = source_of("a: 'x-${nobody_set_this}.zarr'\n");
    struct error err = { 0 };
    struct arena arena;
    struct yaml_node *root = read_text(&source, &arena, &err);

    CHECK(root && !params_resolve(root, NULL, NULL, &arena, &err));
    CHECK(stands_at(err.span, 1, 7, 18));
    arena_release(&arena);
}

int main(void)
{
    RUN(test_yaml__every_node_knows_its_place);
    RUN(test_yaml__columns_count_bytes);
    RUN(test_yaml__a_scalar_of_several_lines_is_underlined_on_its_first);
    RUN(test_yaml__scalars_are_text);
    RUN(test_yaml__what_is_not_taken_is_refused_at_its_place);
    RUN(test_yaml__a_nul_byte_is_refused_at_its_place);
    RUN(test_yaml__deep_nesting_is_refused_at_once);
    RUN(test_yaml__wide_maps_are_read_quickly);
    RUN(test_yaml__names_are_replaced_by_settings_params_and_environment);
    RUN(test_yaml__a_name_that_nobody_set_is_refused_where_it_stands);
    return test_summary();
}
