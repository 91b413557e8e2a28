/* answer.h - what goes to standard output and back: one JSON document, and a refusal as JSON.
 *
 * Data goes to standard output, everything else to standard error. A standard output that is full or closed is an
 * error like any other: whoever reads it would take half an answer for the whole.
 */
#ifndef SLUICE_DSL_ANSWER_H
#define SLUICE_DSL_ANSWER_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/array/grid.h"
#include "engine/format/format.h"

enum { ANSWER_BYTES_MAX = 4 << 20 };

struct further;

/* An error, and further mistakes of the same file (NULL: none), as a compiler prints them. */
void answer_refusal_print(const struct error *err, const struct further *further, FILE *to);
/* {"schema": 1, "error": ..., "message": ..., "further": [{...}, ...]} */
void answer_refusal_json(const struct error *err, const struct further *further, struct text *out);

/* Print and flush. */
bool answer_print(const struct text *t, struct error *err);
bool answer_flush(struct error *err);

/* "float32 (720, 721, 1440)" and its parts. */
void answer_shape(struct text *out, unsigned rank, const uint64_t *shape);
/* [720,721,1440] */
void answer_shape_json(struct text *out, unsigned rank, const uint64_t *shape);
/* A value from its JSON: NaN and the like are texts there; a person needs no quotes. */
void answer_value(struct text *out, const char *json);
/* "name": "value" with the comma that follows. */
void answer_json_text(struct text *out, const char *name, const char *value);
/* The words, and a line feed, in lines of at most 80 columns, where that can be. The first begins where the line stands,
 * in column `indent`, and so do the others. */
void answer_wrapped(FILE *to, unsigned indent, const char *words, size_t length);

#endif
