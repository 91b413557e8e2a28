/* Ranges of blosc frames: which blocks, and where they are. ranged.h says how it is used. */
#include <string.h>

#include "engine/codec/blosc_frame.h"
#include "engine/codec/codec_impl.h"
#include "engine/codec/ranged.h"

_Static_assert((int)CODEC_RANGE_HEAD_BYTES == (int)BLOSC_HEAD_BYTES, "a range keeps the frame's header");

/* Entries of the table beside those of the range. Where a block ends is not said; the next one in the file is among
 * its neighbours, unless far more threads wrote than cores are common. */
enum { NEIGHBOURS = 16 };

/* As many blocks as there may be, and whole items of them. */
static bool cover(struct codec_range *r, const struct blosc_frame *f, uint32_t item_bytes, uint64_t room_bytes,
                  struct error *err)
{
    uint64_t blocks_max = CODEC_RANGE_BLOCKS_MAX, end, blocks_end;

    if (room_bytes < f->frame_bytes)
        blocks_max = size_min(blocks_max, room_bytes / r->block_encoded_max);
    r->block_first = (uint32_t)(r->raw_first / f->block_bytes);
    blocks_end = size_min(r->block_first + blocks_max, f->block_count);
    end = size_min(r->raw_first + r->raw_bytes, size_min(blocks_end * f->block_bytes, f->raw_bytes));
    if (end > r->raw_first && end < r->raw_first + r->raw_bytes)
        end -= (end - r->raw_first) % item_bytes;
    if (end <= r->raw_first) {
        uint64_t least = r->block_encoded_max * (size_div_up(item_bytes, f->block_bytes) + 1);

        error_at(err, ERR_FIT, SPAN_NONE, "blosc: blocks of %u bytes take %llu to read, %llu are given", f->block_bytes,
                 (unsigned long long)least, (unsigned long long)room_bytes);
        error_bytes(err, least, room_bytes);
        return false;
    }
    r->raw_bytes = end - r->raw_first;
    r->block_count = (uint32_t)(size_div_up(end, f->block_bytes) - r->block_first);
    r->decoded_bytes = size_min((uint64_t)(r->block_first + r->block_count) * f->block_bytes, f->raw_bytes) -
                       (uint64_t)r->block_first * f->block_bytes;
    return true;
}

bool codec_range_begin(struct codec_range *r, struct dtype dtype, uint64_t chunk_raw_bytes, const void *head,
                       uint64_t encoded_bytes, uint64_t raw_first, uint64_t raw_bytes, uint64_t room_bytes,
                       struct error *err)
{
    struct blosc_frame f;
    uint32_t from, to;

    *r = (struct codec_range){ .raw_first = raw_first, .raw_bytes = raw_bytes, .decoded_bytes = raw_bytes,
                               .frame_bytes = encoded_bytes };
    if (!blosc_frame_open(&f, head, encoded_bytes, err))
        return false;
    if (f.raw_bytes != chunk_raw_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: the frame says %u bytes, the chunk has %llu",
                        f.raw_bytes, (unsigned long long)chunk_raw_bytes);
    memcpy(r->head, head, sizeof r->head);
    if (blosc_frame_is_memcpyed(&f)) {
        r->raw_bytes = r->decoded_bytes = size_min(raw_bytes, room_bytes - room_bytes % dtype.item_bytes);
        r->encoded_offset = BLOSC_HEAD_BYTES + raw_first;
        r->encoded_bytes = r->raw_bytes;
        return true;
    }
    r->block_encoded_max = blosc_frame_block_encoded_max(&f);
    if (!cover(r, &f, dtype.item_bytes, room_bytes, err))
        return false;
    from = r->block_first - (uint32_t)size_min(r->block_first, NEIGHBOURS);
    to = (uint32_t)size_min((uint64_t)r->block_first + r->block_count + NEIGHBOURS, f.block_count);
    r->table_offset = BLOSC_HEAD_BYTES + 4 * (uint64_t)from;
    r->table_bytes = 4 * (uint64_t)(to - from);
    return true;
}

bool codec_range_place(struct codec_range *r, const void *table, void *places, struct error *err)
{
    uint32_t from = (uint32_t)((r->table_offset - BLOSC_HEAD_BYTES) / 4), entries = (uint32_t)(r->table_bytes / 4);
    const char *entry = (const char *)table + 4 * (uint64_t)(r->block_first - from);
    uint64_t first = UINT64_MAX, last = 0, end = r->frame_bytes;
    struct blosc_frame f;

    if (r->block_count == 0)
        return true;
    if (!blosc_frame_open(&f, r->head, r->frame_bytes, err))
        return false;
    for (uint32_t i = 0; i < r->block_count; i++) {
        uint64_t at = load_u32(entry + 4 * (uint64_t)i);

        if (at < f.place_least)
            return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: block %u begins at %llu, inside the frame's header",
                            r->block_first + i, (unsigned long long)at);
        if (at + 4 > r->frame_bytes)
            return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: block %u reaches past the frame's %llu bytes",
                            r->block_first + i, (unsigned long long)r->frame_bytes);
        first = size_min(first, at);
        last = size_max(last, at);
    }
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t at = load_u32((const char *)table + 4 * (uint64_t)i);

        if (at > last)
            end = size_min(end, at);
    }
    for (uint32_t i = 0; i < r->block_count; i++)
        store_u32((char *)places + 4 * (uint64_t)i, (uint32_t)(load_u32(entry + 4 * (uint64_t)i) - first));
    r->encoded_offset = first;
    r->encoded_bytes = end - first;
    return true;
}

void codec_range_gather(const struct codec_range *r, uint32_t i, void *places, uint64_t at, uint64_t *encoded_offset,
                        uint64_t *encoded_bytes)
{
    char *place = (char *)places + 4 * (uint64_t)i;

    *encoded_offset = r->encoded_offset + load_u32(place);
    *encoded_bytes = size_min(r->block_encoded_max, r->frame_bytes - *encoded_offset);
    store_u32(place, (uint32_t)at);
}
