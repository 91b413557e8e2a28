/* yaml.h - a pipeline file as a tree in which every node knows its line, column and length.
 *
 * The YAML that is taken is the part that means the same everywhere: maps, lists and scalars. Scalars are text,
 * quoted or not: `no`, `012` and `12:30:00` are what was typed, and the key they stand under says what they mean.
 * Anchors, aliases, tags, several documents, keys that are not scalars, keys that come twice and NUL bytes are
 * refused at their place.
 *
 * A file is not trusted: its size, its depth and the number of its nodes are capped, and the depth is checked event
 * by event, before libyaml (which is quadratic in it) gets to see what is deeper.
 *
 * Ownership: nodes and their texts are in the arena given; spans point at the source given. Both outlive the tree.
 */
#ifndef SLUICE_DSL_YAML_H
#define SLUICE_DSL_YAML_H

#include <stdbool.h>
#include <stdint.h>

#include "dsl/arena.h"
#include "engine/base/error.h"

enum { YAML_FILE_BYTES_MAX = 1 << 20, YAML_DEPTH_MAX = 64, YAML_NODES_MAX = 100000 };

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    struct span span;           /* a scalar that goes over several lines: its first line; a map or list: its first
                                   byte, or its bracket */
    const char *key;            /* of an entry of a map; else NULL */
    struct span key_span;
    const char *text;           /* scalars; never NULL there */
    bool quoted;                /* scalars: '' or "" or a block, so that an empty text was meant */
    struct yaml_node *first;    /* maps and lists: entries in the order of the file */
    struct yaml_node *next;
    unsigned count;
};

/* Read `source` into a tree. ERR_USAGE with the place, or ERR_FIT when memory runs out. */
bool yaml_read(struct yaml_node **root, const struct source *source, struct arena *arena, struct error *err);

/* "a map", "a list", "text". */
const char *yaml_kind_name(enum yaml_kind kind);
/* The entry of a map, or NULL. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* The place of the first byte of `what` inside a node's span, `length` bytes of it; where it is not to be found
 * (escapes, folded lines), the node's own. */
struct span yaml_span_of(struct span whole, const char *what, uint32_t length);

#endif
