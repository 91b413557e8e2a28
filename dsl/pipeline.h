/* pipeline.h - what was typed, bound to the job it asks for.
 *
 * A pipeline is a job (planner/job.h) with everything its spans and strings point at: the text of the file, the tree,
 * the command line. It is filled from a file, from a text, or from nothing but flags (rechunk), and then by flags,
 * which win over the file. pipeline_finish says what is missing.
 *
 * Paths in a file are relative to the file's directory, those of flags to the current one; so is a path that begins
 * with a value of --set, which is typed in the same place as flags are.
 *
 * Ownership: everything is in the pipeline's arena but the command line, which the caller keeps alive.
 */
#ifndef SLUICE_DSL_PIPELINE_H
#define SLUICE_DSL_PIPELINE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "dsl/arena.h"
#include "dsl/keys.h"
#include "dsl/params.h"
#include "dsl/yaml.h"
#include "engine/base/error.h"
#include "engine/base/text.h"
#include "planner/job.h"

/* Mistakes of a file after the first, which is the error that came back. */
struct further {
    struct error *errors;
    unsigned count, left_out;   /* that are here, and that there was no room for */
};

struct pipeline {
    struct job job;
    struct arena arena;
    struct source source;       /* the file; text NULL: there is none */
    struct stat file;           /* of what it was read from; zeroes: no file */
    struct setting *settings;   /* of --set, in the order given */
    const char *directory;      /* of the file, "" for the current one */
    const char *input_name;     /* what `from:` may say */
    struct span input_span, output_span;    /* of their keys, where the file has them */
    struct further further;     /* of the file that could not be read */
};

void pipeline_init(struct pipeline *p);
void pipeline_release(struct pipeline *p);

/* One --set, before the file is read. */
bool pipeline_set(struct pipeline *p, const char *words, struct span span, struct error *err);
/* "-" is standard input. What is wrong in it, one key beside the other, is found in one go: p->further. */
bool pipeline_read_file(struct pipeline *p, const char *path, struct span span, struct error *err);
/* `directory`: what its paths are relative to; "" or NULL: the current one. The text is copied. */
bool pipeline_read_text(struct pipeline *p, const char *name, const char *text, size_t text_bytes,
                        const char *directory, struct error *err);
/* A flag that means a key. `words` must outlive the pipeline. A later one wins. */
bool pipeline_flag(struct pipeline *p, const struct key *key, const char *words, struct span span, struct error *err);
/* Is the job whole? Relations between keys are checked here. */
bool pipeline_finish(struct pipeline *p, struct error *err);

/* The job as a pipeline file that asks for the same: what is not set is left out. */
void pipeline_emit(const struct pipeline *p, struct text *out);

#endif
