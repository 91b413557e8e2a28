#include "engine/exec/prepare.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/base/size.h"
#include "engine/exec/slices.h"

/* Room for pieces that wait, decoded by nobody yet, beside those in flight. */
enum { READS_WAITING_MAX = 1024 };
#define READ_BYTES_TYPICAL_MIN (32 * KIB)

static bool no_memory(const struct stage_run *run, const char *what, struct error *err)
{
    return error_sys(err, ENOMEM, run->stage->span, "stage '%s': %s", run->stage->name, what);
}

static bool prepare_reads(struct stage_run *run, struct error *err)
{
    const struct stage_memory *m = &run->stage->memory;

    run->read_count = (uint64_t)run->worker_count * (run->stage->reads_in_flight + 1) +
                      size_min(READS_WAITING_MAX, m->reads_bytes / READ_BYTES_TYPICAL_MIN);
    run->reads = calloc(run->read_count, sizeof *run->reads);
    for (uint64_t i = 0; run->reads && i < run->read_count; i++)    /* first: what is released is closed */
        run->reads[i].object.fd = -1;
    if (!run->reads || !ring_init(&run->ring, pool_carve(run->pool, "reads", m->reads_bytes), m->reads_bytes,
                                  run->read_count))
        return no_memory(run, "the table of reads", err);
    for (uint64_t i = 0; i < run->read_count; i++) {
        run->reads[i].next = run->unused;
        run->unused = &run->reads[i];
    }
    return true;
}

static bool prepare_writes(struct stage_run *run, struct worker *w, struct error *err)
{
    const struct stage_memory *m = &run->stage->memory;

    w->writes = calloc(m->write_slots ? m->write_slots : 1, sizeof *w->writes);
    if (!w->writes)
        return no_memory(run, "the table of writes", err);
    for (unsigned i = 0; i < m->write_slots; i++) {
        w->writes[i].object.fd = -1;
        if (m->write_bytes)
            w->writes[i].memory = pool_carve(run->pool, "writes", m->write_bytes);
    }
    if (run->to == &to_segments) {
        w->packed_entries = calloc(PACKED_ENTRIES_MAX, sizeof *w->packed_entries);
        if (!w->packed_entries)
            return no_memory(run, "the table of packed blocks", err);
    }
    if (run->to == &to_ranges) {
        w->open_chunks = calloc(m->write_slots + 1, sizeof *w->open_chunks);
        if (!w->open_chunks)
            return no_memory(run, "the table of open chunks", err);
        for (unsigned i = 0; i <= m->write_slots; i++)
            w->open_chunks[i].object.fd = w->open_chunks[i].object.cached_fd = -1;
        if (!written_values_init(&w->written, run->target, err))
            return false;
    }
    return true;
}

/* The area has one part: the whole array is its cell. */
static void prepare_carry(struct stage_run *run)
{
    carry_check(run);
    run->carry_memory = pool_carve(run->pool, "carry", run->stage->memory.carry_bytes);
    run->carry_parts = run->stage->tasks;
    for (unsigned i = 0; i < run->carry_parts.rank; i++)
        run->carry_parts.cell[i] = size_max(1, run->carry_parts.shape[i]);
}

static bool prepare_worker(struct stage_run *run, struct worker *w, struct error *err)
{
    const struct stage_memory *m = &run->stage->memory;

    if (m->decode_scratch_bytes)
        w->decode_scratch = pool_carve(run->pool, "decode scratch", m->decode_scratch_bytes);
    if (m->encode_scratch_bytes)
        w->encode_scratch = pool_carve(run->pool, "encode scratch", m->encode_scratch_bytes);
    if (run->to && !prepare_writes(run, w, err))
        return false;
    if (run->from == &from_chunks &&
        !decoder_new(&w->decoder, &run->array->codecs, run->array->dtype, array_chunk_bytes(run->array),
                     w->decode_scratch, m->decode_scratch_bytes, err))
        return false;
    if (run->from == &from_chunks && run->stage->piece_raw_bytes && !codec_chain_is_raw(&run->array->codecs) &&
        !frame_window_new(&w->frames, err))
        return false;
    if (run->to == &to_chunks &&
        !encoder_new(&w->encoder, &run->target->codecs, run->target->dtype, array_chunk_bytes(run->target),
                     w->encode_scratch, m->encode_scratch_bytes, err))
        return false;
    if (w->encoder)
        encoder_stop_when(w->encoder, run->stop);
    return true;
}

/* One area: the windows into what is read, then the index of what is written. */
static bool prepare_indexes(struct stage_run *run, struct error *err)
{
    const struct stage_memory *m = &run->stage->memory;
    uint64_t window_count = run->before ? cells_touched_max(&run->stage->tasks, &run->cells) : 0;
    char *memory;

    assert(m->index_bytes >= stage_index_bytes(run->stage, run->before, run->item_bytes,
                                               scratch_layout(run->scratch)->block_bytes));
    assert(run->to != &to_segments || m->index_bytes / sizeof(struct index_entry) <= UINT32_MAX);
    memory = pool_carve(run->pool, "segment indexes", m->index_bytes);
    run->window_bytes = index_window_bytes(run->subs);
    run->index = (struct index_entry *)(memory + window_count * run->window_bytes);
    run->windows = calloc(window_count ? window_count : 1, sizeof *run->windows);
    if (!run->windows)
        return no_memory(run, "the table of index windows", err);
    for (uint64_t i = 0; i < window_count; i++)
        run->windows[i] = (struct index_window){
            .segment = UINT64_MAX, .entries = (struct index_entry *)(memory + i * run->window_bytes),
        };
    return true;
}

bool stage_prepare(struct stage_run *run, struct error *err)
{
    const struct stage_memory *m = &run->stage->memory;

    pthread_mutex_init(&run->lock, NULL);
    run->worker_count = run->stage->workers;
    run->workers = calloc(run->worker_count, sizeof *run->workers);
    if (!run->workers)
        return no_memory(run, "the table of workers", err);
    if (m->tile_bytes)
        run->tile_memory = pool_carve(run->pool, "tile", m->tile_bytes);
    prepare_carry(run);
    if (!prepare_reads(run, err))
        return false;
    if (run->damaged && run->subs > 1) {
        run->begun = calloc(run->read_count + 1, sizeof *run->begun);
        if (!run->begun)
            return no_memory(run, "the table of chunks", err);
    }
    if (run->from == &from_stream &&
        !chunk_stream_new(&run->stream, run, pool_carve(run->pool, "stream", m->stream_bytes), err))
        return false;
    if ((run->from == &from_segments || run->to == &to_segments) && !prepare_indexes(run, err))
        return false;
    if (run->to == &to_slices && !slices_prepare(run, err))
        return false;
    for (unsigned i = 0; i < run->worker_count; i++) {
        struct worker *w = &run->workers[i];

        w->run = run;
        if (!prepare_worker(run, w, err))
            return false;
    }
    return true;
}

void stage_release(struct stage_run *run)
{
    for (uint64_t i = 0; run->reads && i < run->read_count; i++)
        store_object_close(&run->reads[i].object);
    for (unsigned i = 0; run->workers && i < run->worker_count; i++) {
        struct worker *w = &run->workers[i];

        for (unsigned j = 0; w->writes && j < run->stage->memory.write_slots; j++)
            store_object_close(&w->writes[j].object);
        for (unsigned j = 0; w->open_chunks && j <= run->stage->memory.write_slots; j++)
            store_ranged_close(run->target_store, &w->open_chunks[j].object, &(struct error){ 0 });
        decoder_free(w->decoder);
        frame_window_free(w->frames);
        digest_release(&w->written);
        encoder_free(w->encoder);
        free(w->writes);
        free(w->packed_entries);
        free(w->open_chunks);
    }
    chunk_stream_free(run->stream);
    slices_release(run);
    free(run->workers);
    free(run->reads);
    free(run->begun);
    free(run->windows);
    free(run->listed_tasks);
    ring_release(&run->ring);
    pthread_mutex_destroy(&run->lock);
}
