/* scalars.h - what a text means: sizes, counts, booleans, one word of several, chunks, codecs.
 *
 * One grammar for files and flags. Each function takes the words and their place, and on failure says what was
 * expected there and what to write instead (ERR_USAGE).
 *
 *   size     64MiB 1.5GiB 64Mi 500MB 4G 737280, or with one space, 64 MiB; K M G T are powers of 1000 (the smaller
 *            reading never breaks a limit), Ki Mi Gi Ti of 1024. Where a share makes sense also 80%.
 *   count    digits; never octal, never a date
 *   boolean  true or false, nothing else
 *   chunks   time=all,lat=32 (by name) | 744,32,32 (by position) | 8MiB (all axes alike) | auto | "" (no axes);
 *            an axis is a count, all or -1, keep, or a size
 */
#ifndef SLUICE_DSL_SCALARS_H
#define SLUICE_DSL_SCALARS_H

#include <stdbool.h>
#include <stdint.h>

#include "dsl/arena.h"
#include "dsl/yaml.h"
#include "engine/base/error.h"
#include "planner/job.h"

bool scalar_size(struct size_request *out, const char *words, struct span span, bool share, struct error *err);
bool scalar_count(uint64_t *out, const char *words, struct span span, uint64_t min, uint64_t max, struct error *err);
bool scalar_bool(bool *out, const char *words, struct span span, struct error *err);
/* `words` is one of `choices` ("auto none lz4"): its index. */
bool scalar_word(unsigned *out, const char *words, struct span span, const char *choices, struct error *err);

/* Names of axes are copied to the arena. */
bool chunks_from_text(struct chunk_request *out, const char *words, struct span span, struct arena *arena,
                      struct error *err);
bool chunks_from_node(struct chunk_request *out, const struct yaml_node *node, struct arena *arena,
                      struct error *err);

/* A codec in its text form (engine/codec/codec.h), checked; a map {blosc: {cname: zstd, clevel: 5, shuffle: bit}} is
 * turned into it. */
bool codec_from_words(const char **out, const char *words, struct span span, struct arena *arena, struct error *err);
bool codec_from_node(const char **out, const struct yaml_node *node, struct arena *arena, struct error *err);

#endif
