/* graph_cases.h - graphs made by hand: arrays of uint32 whose values are a formula, written, run and compared. */
#ifndef SLUICE_TESTS_GRAPH_CASES_H
#define SLUICE_TESTS_GRAPH_CASES_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/exec/graph.h"
#include "engine/exec/scan.h"
#include "engine/exec/scratch.h"
#include "engine/io/os.h"
#include "tests/unit/test.h"

enum { CASE_FILL = 7 };

/* The value of an element: its C-order number, spread so that every byte matters. */
static inline uint32_t value_at(const struct grid *g, const uint64_t *at)
{
    uint64_t index = 0;

    for (unsigned i = 0; i < g->rank; i++)
        index = index * g->shape[i] + at[i];
    return (uint32_t)(index * 2654435761u + 12345u);
}

static inline struct array_meta make_meta(unsigned rank, const uint64_t *shape, const uint64_t *chunk,
                                          const char *codec, bool fortran)
{
    struct array_meta m = {
        .format = FORMAT_ZARR2, .dtype = { DTYPE_UINT, 4 }, .keys = { .separator = '.' }, .fill = { CASE_FILL },
    };
    struct error err = { 0 };

    m.chunks.rank = rank;
    for (unsigned i = 0; i < rank; i++) {
        m.chunks.shape[i] = shape[i];
        m.chunks.cell[i] = chunk[i];
        m.codecs.order[i] = (uint8_t)(fortran ? rank - 1 - i : i);
    }
    m.codecs.transposed = fortran;
    CHECK(codec_chain_from_text(&m.codecs, codec, 4, &err));
    return m;
}

/* Elements of one chunk in stored order, by formula. The overhang is the fill value, and what lies in `hole` (NULL:
 * nowhere), which was never written. */
static inline void chunk_values(const struct array_meta *m, const uint64_t *coords, const struct box *hole,
                                uint32_t *out)
{
    const struct grid *g = &m->chunks;
    uint64_t count = array_chunk_bytes(m) / 4;

    for (uint64_t n = 0; n < count; n++) {
        uint64_t rest = n, at[RANK_MAX];
        bool inside = true, in_hole = hole != NULL;

        for (unsigned i = g->rank; i-- > 0; ) {
            unsigned axis = m->codecs.order[i];

            at[axis] = coords[axis] * g->cell[axis] + rest % g->cell[axis];
            rest /= g->cell[axis];
        }
        for (unsigned i = 0; i < g->rank; i++) {
            inside = inside && at[i] < g->shape[i];
            in_hole = in_hole && at[i] >= hole->start[i] && at[i] - hole->start[i] < hole->length[i];
        }
        out[n] = inside && !in_hole ? value_at(g, at) : CASE_FILL;
    }
}

/* All chunks but one (UINT64_MAX: all). */
static inline void write_source(const char *path, const struct array_meta *m, uint64_t skip_chunk)
{
    uint64_t raw_bytes = array_chunk_bytes(m), chunks = grid_cells(&m->chunks), encoded_bytes, coords[RANK_MAX];
    struct codec_needs needs;
    struct encoder *encoder = NULL;
    struct store *store = NULL;
    struct error err = { 0 };
    uint32_t *raw = malloc(raw_bytes);
    char *encoded, *scratch;

    codec_encode_needs(&m->codecs, m->dtype, raw_bytes, &needs);
    encoded = malloc(needs.encoded_bytes_max);
    scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_useful + 1, IO_ALIGN));
    CHECK(store_stage(&store, path, false, "", SPAN_NONE, &err));
    CHECK(array_meta_write(m, store, &err));
    CHECK(encoder_new(&encoder, &m->codecs, m->dtype, raw_bytes, scratch, needs.scratch_bytes_useful, &err));
    for (uint64_t i = 0; i < chunks; i++) {
        struct chunk_place place;

        grid_coords(&m->chunks, i, coords);
        array_chunk_place(m, coords, &place);
        chunk_values(m, coords, NULL, raw);
        if (i == skip_chunk)
            continue;
        CHECK(encode(encoder, raw, encoded, &encoded_bytes, &err));
        CHECK(store_put(store, place.key, encoded, encoded_bytes, &err));
    }
    CHECK(store_publish(store, &err));
    if (err.code)
        error_print(&err, stderr);
    encoder_free(encoder);
    store_close(store);
    free(raw);
    free(encoded);
    free(scratch);
}

/* Every element of the stored array, compared with the formula; `hole` holds the fill value. */
static inline bool array_is_right(const char *path, const struct box *hole)
{
    struct text warnings;
    struct array_meta m;
    struct store *store = NULL;
    struct decoder *decoder = NULL;
    struct codec_needs needs;
    struct error err = { 0 };
    uint32_t *wanted;
    char *scratch;
    bool right;

    text_init(&warnings, 4096);
    if (!store_open(&store, path, SPAN_NONE, &err) || !array_meta_read(&m, store, &warnings, &err))
        return false;
    codec_decode_needs(&m.codecs, m.dtype, array_chunk_bytes(&m), &(struct codec_sample){ 0 }, &needs);
    scratch = aligned_alloc(IO_ALIGN, size_align_up(needs.scratch_bytes_useful + 1, IO_ALIGN));
    wanted = malloc(array_chunk_bytes(&m));
    right = decoder_new(&decoder, &m.codecs, m.dtype, array_chunk_bytes(&m), scratch, needs.scratch_bytes_useful, &err);
    for (uint64_t i = 0; right && i < grid_cells(&m.chunks); i++) {
        uint64_t coords[RANK_MAX], n = 0, data_bytes, part_bytes = 1;
        struct chunk_place place;
        const char *part;
        char *data;

        grid_coords(&m.chunks, i, coords);
        chunk_values(&m, coords, hole, wanted);
        array_chunk_place(&m, coords, &place);
        right = store_get(store, place.key, 1 << 26, &data, &data_bytes, &err) && data &&
                decoder_start(decoder, data, data_bytes, &err);
        while (right && part_bytes > 0) {
            right = decoder_next(decoder, &part, &part_bytes, &err) &&
                    memcmp(part, (char *)wanted + n, part_bytes) == 0;
            n += part_bytes;
        }
        right = right && n == array_chunk_bytes(&m);
        free(data);
    }
    if (err.code)
        error_print(&err, stderr);
    decoder_free(decoder);
    array_meta_release(&m);
    store_close(store);
    text_release(&warnings);
    free(wanted);
    free(scratch);
    return right;
}

/* A stage with room for what it may hold: boxes of `box` elements. `before` wrote the segments it reads, if any. */
static inline struct stage make_stage(const char *name, enum stage_source source, enum stage_sink sink,
                                      const uint64_t *box, const struct grid *parts, const struct array_meta *from,
                                      const struct array_meta *to, const struct stage *before, uint64_t block_bytes,
                                      unsigned workers)
{
    struct stage s = { .name = name, .source = source, .sink = sink, .parts = *parts, .workers = workers,
                       .reads_in_flight = 4 };
    struct stage_memory *m = &s.memory;
    struct codec_needs decode, encode;

    s.tasks = from->chunks;
    for (unsigned i = 0; i < s.tasks.rank; i++)
        s.tasks.cell[i] = box[i];
    codec_decode_needs(&from->codecs, from->dtype, array_chunk_bytes(from), &(struct codec_sample){ 0 }, &decode);
    codec_encode_needs(&to->codecs, to->dtype, array_chunk_bytes(to), &encode);
    m->tile_bytes = tile_bytes_max(sink == TO_CHUNKS ? TILE_WHOLE : TILE_CLIPPED, 4, parts, &s.tasks);
    m->piece_bytes_max = size_align_up(size_max(decode.encoded_bytes_max, spill_encoded_bytes_max(block_bytes)),
                                       IO_ALIGN) + 2 * IO_ALIGN;
    m->reads_bytes = 3 * m->piece_bytes_max;
    m->decode_scratch_bytes = size_align_up(size_max(decode.scratch_bytes_useful, spill_scratch_bytes(block_bytes)),
                                            IO_ALIGN);
    m->encode_scratch_bytes = size_align_up(size_max(encode.scratch_bytes_useful, spill_scratch_bytes(block_bytes)),
                                            IO_ALIGN);
    m->write_slots = 2;
    m->write_bytes = size_align_up(sink == TO_CHUNKS ? encode.encoded_bytes_max
                                                     : 4 * spill_encoded_bytes_max(block_bytes), IO_ALIGN);
    if (source == FROM_CHUNKS && codec_chain_is_raw(&from->codecs))
        s.piece_raw_bytes = 4096;
    m->index_bytes = stage_index_bytes(&s, before, 4, block_bytes);
    return s;
}

/* Exactly what the stages carve. */
static inline void sum_pool(struct graph *g)
{
    g->pool_bytes = 0;
    for (unsigned i = 0; i < g->stage_count; i++)
        g->pool_bytes = size_max(g->pool_bytes, stage_pool_bytes(&g->stages[i]));
    g->pool_bytes += g->scratch.memory_bytes;
}

/* Both back ends that this host has: the i-th; false: no more. */
static inline bool case_backend(unsigned i, enum io_backend *backend)
{
    static const enum io_backend backends[] = { IO_THREADS, IO_URING };
    struct io_choice choice;

    if (i >= 2 || !io_choose(&choice, backends[i], &(struct error){ 0 }))
        return false;
    *backend = backends[i];
    return true;
}

#endif
