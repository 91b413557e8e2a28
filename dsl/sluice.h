/* sluice.h - sluice as a library: read a pipeline, plan it, run it.
 *
 *     struct sluice *s = sluice_new();
 *     int status = sluice_read_file(s, "rechunk.yaml");
 *     if (status == 0) status = sluice_set(s, "memory", "1GiB");
 *     if (status == 0) status = sluice_run(s);
 *     if (status != 0) fputs(sluice_error(s), stderr);
 *     sluice_free(s);
 *
 * Functions that can fail return 0 or what the program would exit with: 2 the pipeline is wrong, 3 it does not fit, 4
 * an input is damaged or unsupported, 5 an I/O error, 6 the output is already there, 130 and 143 stopped. After a
 * failure sluice_error says why, as a compiler would: place, line, caret, help.
 *
 * Nothing is printed, no signal handler is set and the process is never ended. A run uses as many threads as the
 * pipeline allows and as much memory as its budget says; memory the caller uses itself counts against the budget
 * when it is measured, so leave it room.
 *
 * Threads: one handle, one thread at a time; sluice_stop alone may be called from any thread and from a signal
 * handler. Handles do not share anything.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_PUBLIC __attribute__((visibility("default")))

struct sluice;

SLUICE_PUBLIC const char *sluice_version(void);

/* NULL: no memory. */
SLUICE_PUBLIC struct sluice *sluice_new(void);
/* NULL is fine. */
SLUICE_PUBLIC void sluice_free(struct sluice *s);

/* A value for $NAME in the pipeline: before it is read. Both are copied. */
SLUICE_PUBLIC int sluice_set_param(struct sluice *s, const char *name, const char *value);

/* Read a pipeline: once for each handle. Paths in it are relative to the file; those in a text to `directory` (NULL:
 * the current one). `name` stands for the text in messages. */
SLUICE_PUBLIC int sluice_read_file(struct sluice *s, const char *path);
SLUICE_PUBLIC int sluice_read_text(struct sluice *s, const char *name, const char *text, size_t text_bytes,
                                   const char *directory);

/* Set a key over what the pipeline says, in the words of a pipeline: "memory" "1GiB", "output.chunks"
 * "time=all,lat=32", "input.path" "era5.zarr". A handle that read nothing can be filled by this alone.
 * Paths are relative to the current directory. */
SLUICE_PUBLIC int sluice_set(struct sluice *s, const char *key, const char *value);

/* Plan, without reading data. The text is what `sluice plan` prints, or its JSON document; it is the handle's, until
 * the next call. */
SLUICE_PUBLIC int sluice_plan(struct sluice *s, int as_json, const char **text);

/* Run. Afterwards sluice_report is the run report, also after a failure: one JSON document, the handle's. */
SLUICE_PUBLIC int sluice_run(struct sluice *s);
SLUICE_PUBLIC const char *sluice_report(const struct sluice *s);

/* Make the run that goes on stop soon and leave nothing at the output, as SIGINT or SIGTERM would. */
SLUICE_PUBLIC void sluice_stop(struct sluice *s, int signal_number);

/* The last failure, for people and as a JSON document; "" if there was none. They are the handle's. */
SLUICE_PUBLIC const char *sluice_error(const struct sluice *s);
SLUICE_PUBLIC const char *sluice_error_json(const struct sluice *s);

#ifdef __cplusplus
}
#endif

#endif
