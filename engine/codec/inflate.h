/* inflate.h - private to engine/codec: gzip and zlib by steps (inflate.c), as struct codec_class in codec_impl.h says.
 * Threads: a state belongs to one worker. */
#ifndef SLUICE_CODEC_INFLATE_H
#define SLUICE_CODEC_INFLATE_H

#include "engine/codec/codec_impl.h"

uint64_t inflate_stream_bytes(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample);
bool gzip_stream_open(void **state, char *memory, uint64_t memory_bytes, struct error *err);
bool zlib_stream_open(void **state, char *memory, uint64_t memory_bytes, struct error *err);
bool inflate_stream_begin(void *state, struct error *err);
bool inflate_stream_step(void *state, struct stream_job *job, struct error *err);

#endif
