/* params.h - $NAME and ${NAME} in the values of a pipeline.
 *
 * A name is looked up in what --set gave, then in the file's own `params:`, then in the environment. A name that
 * nobody set is refused at its place. `$$` is a dollar. A value under `params:` may use the ones above it, so
 * nothing can go in circles.
 */
#ifndef SLUICE_DSL_PARAMS_H
#define SLUICE_DSL_PARAMS_H

#include <stdbool.h>

#include "dsl/arena.h"
#include "dsl/yaml.h"
#include "engine/base/error.h"

/* One --set NAME=VALUE. */
struct setting {
    const char *name;
    const char *value;
    struct span span;
    struct setting *next;
};

/* Read the words of a --set. */
bool setting_from_text(struct setting *out, const char *words, struct span span, struct arena *arena,
                       struct error *err);

/* Replace names in every value of the tree. `params` is the node of that key, or NULL; settings that name nothing in
 * it and are used nowhere are refused, because that is a typing error. */
bool params_resolve(struct yaml_node *root, struct yaml_node *params, const struct setting *settings,
                    struct arena *arena, struct error *err);

#endif
