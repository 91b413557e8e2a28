/* json.h - a JSON text as a tree, for metadata.
 *
 * Why not a library: the ones at hand clamp or refuse integers beyond 64 bits, lose the text of numbers, or refuse
 * the bare NaN that is found in the wild. Here a number stays the text it was, and whoever knows the wanted type
 * parses it; what is passed on (attributes) is passed on letter by letter. A tree is many times as large as its text:
 * what is only passed on can be left unread, and costs nothing but its text.
 *
 * Accepted: RFC 8259, and the bare tokens NaN, Infinity, -Infinity. Refused: anything after the value, invalid
 * UTF-8, nesting deeper than JSON_DEPTH_MAX, and trees of more than JSON_TREE_BYTES_MAX.
 *
 * Ownership: nodes and strings belong to the document; `source` points into the parsed text, which is borrowed.
 * Threads: read-only after parsing.
 */
#ifndef SLUICE_FORMAT_JSON_H
#define SLUICE_FORMAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/text.h"

enum { JSON_DEPTH_MAX = 128, JSON_TREE_BYTES_MAX = 1 << 20 };

enum json_kind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_TOKEN,                 /* bare NaN, Infinity, -Infinity */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json {
    enum json_kind kind;
    bool truth;                 /* of a bool */
    bool unread;                /* checked, but first and chars are not there */
    uint32_t count;             /* of an array's elements or an object's members */
    const char *key;            /* of an object's member; NULL elsewhere */
    const char *chars;          /* string: decoded; number and token: as written. NUL-terminated */
    uint32_t length;            /* of chars; a string may hold NULs */
    uint32_t key_length;        /* and so may a key */
    const struct json *first;   /* element or member */
    const struct json *next;    /* of the same array or object */
    const char *source;         /* the value as it was written */
    const char *key_source;     /* the same for the key, with its quotes */
    uint32_t source_length, key_source_length;
};

struct json_doc;

/* What `why` is when there was no memory: the text may be as it should. */
extern const char json_no_memory[];

/* `why` (may be cut) says what is wrong and where: "line 3: expected ':'". `unread` (NULL: none): members of the root
 * that are left unread, a list that ends with NULL. */
bool json_parse(struct json_doc **doc, const char *text, uint64_t text_bytes, const char *const *unread, char *why,
                size_t why_bytes);
/* The root itself is left unread. */
bool json_parse_unread(struct json_doc **doc, const char *text, uint64_t text_bytes, char *why, size_t why_bytes);
/* A member of an object, read or not, as a document of its own; of several with the same key the last. NULL if there
 * is none that is fit to be kept in memory; or, with *no_memory set, because there was none to look for it. */
struct json_doc *json_parse_member(const struct json *object, const char *key, bool *no_memory);
void json_free(struct json_doc *doc);           /* NULL is fine */
const struct json *json_root(const struct json_doc *doc);

/* A member; of several with the same key the last. NULL if there is none, or `object` is NULL or no object. */
const struct json *json_get(const struct json *object, const char *key);
/* A string without NULs, and equal to `chars`. NULL is not. */
bool json_is(const struct json *value, const char *chars);
/* A string without NULs, or NULL. */
const char *json_string(const struct json *value);
/* A number without fraction or exponent that fits. NULL does not. */
bool json_uint(const struct json *value, uint64_t *out);
bool json_int(const struct json *value, int64_t *out);

/* On one line; numbers and strings as they were written, bare tokens as strings, which JSON allows. Of an object,
 * members called `without` are left out (NULL: none; only at the top). Needs no tree: unread values are as good.
 * Without memory for their names `out` is cut. */
void json_write(const struct json *value, const char *without, struct text *out);

#endif
