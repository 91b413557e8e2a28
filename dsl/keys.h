/* keys.h - the language as a table. One row is one key: where it stands, what its value is, where the value goes,
 * what it is called in other tools, its default and its help. Reading a file, the flags that mean the same, "did you
 * mean" and `sluice help KEY` all come from the row. To add a key, add a row.
 *
 * Keys that are part of the language and not built yet have rows too (`built` false): they are refused as such and
 * never ignored.
 */
#ifndef SLUICE_DSL_KEYS_H
#define SLUICE_DSL_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/error.h"

enum key_section { AT_TOP, IN_SCRATCH, IN_INPUT, IN_OUTPUT, IN_STEP, SECTION_COUNT };

enum key_type {
    KEY_SIZE,           /* struct size_request */
    KEY_SIZE_OR_SHARE,  /* the same; 80% too */
    KEY_COUNT,          /* unsigned; 0: left to us, which `auto` says */
    KEY_BOOL,           /* bool */
    KEY_WORD,           /* one of `choices`: its index, as an enum */
    KEY_WORD_BOOL,      /* one of two `choices`: the second is true */
    KEY_PATH,           /* const char *: relative to the file (or, from a flag, to the current directory) */
    KEY_FORMAT,         /* enum format_kind with its format_set */
    KEY_CHUNKS,         /* struct chunk_request */
    KEY_CODEC,          /* const char * */
    KEY_SECTION,        /* a map of the keys of `section_of`, or a text for its `path` */
    KEY_NAMED,          /* a map of one name to such a section */
    KEY_NAME,           /* of an input; checked, not stored */
    KEY_PARAMS,         /* a map of names to texts, see params.h */
    KEY_RESERVED,       /* not built yet */
};

struct key {
    enum key_section section;
    const char *name;
    enum key_type type;
    size_t offset;              /* of the value in struct job */
    size_t span_offset;         /* of its span; 0: the value holds it itself, or nobody needs it */
    enum key_section section_of;
    const char *choices;
    uint64_t min, max;
    const char *option;         /* the flag that sets it: "--memory"; NULL: none */
    const char *unset;          /* what holds when it is not given; NULL: it must be, or does not matter */
    const char *synonyms;       /* words of other tools, with a space between */
    const char *help;
};

extern const struct key key_table[];
extern const unsigned key_count;

static inline bool key_is_built(const struct key *k) { return k->type != KEY_RESERVED; }

/* The row, or NULL. */
const struct key *key_find(enum key_section section, const char *name);
const struct key *key_of_option(const char *option);
bool key_is_synonym(const struct key *k, const char *word);
/* "output.chunks", as errors call it. The buffer holds at least 64 bytes; returned. */
const char *key_path(const struct key *k, char *buffer);

/* There is no such key: ERR_USAGE at `span`, with what was probably meant. */
bool key_unknown(enum key_section section, const char *word, struct span span, struct error *err);
bool key_not_built(const struct key *k, struct span span, struct error *err);

/* `help KEY`: every row of that name ("output.codec" or "codec"), or of which it is a synonym. False: none. */
bool key_help(const char *word, FILE *to);
/* All keys, one line each. */
void key_help_all(FILE *to);

#endif
