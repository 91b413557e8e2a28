/* graph.c - what a stage carves from the pool, as one sum that planner and engine share. */
#include "engine/exec/graph.h"

#include "engine/base/size.h"

uint64_t stage_pool_bytes(const struct stage *s)
{
    const struct stage_memory *m = &s->memory;
    uint64_t write_bytes = size_mul_sat(m->write_slots, size_align_up(m->write_bytes, IO_ALIGN));
    uint64_t worker_bytes = size_add_sat(size_add_sat(size_align_up(m->decode_scratch_bytes, IO_ALIGN),
                                                      size_align_up(m->encode_scratch_bytes, IO_ALIGN)), write_bytes);
    const uint64_t shared[] = {
        m->tile_bytes, m->carry_bytes, m->stream_bytes, m->append_bytes, m->reads_bytes, m->index_bytes,
    };
    uint64_t bytes = size_mul_sat(s->workers, worker_bytes);

    for (unsigned i = 0; i < sizeof shared / sizeof shared[0]; i++)
        bytes = size_add_sat(bytes, size_align_up(shared[i], IO_ALIGN));
    return bytes;
}
