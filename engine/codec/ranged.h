/* ranged.h - any range of an encoded chunk, reading and decoding little more than it.
 *
 * For chains of one blosc: its frame is a header, a table that says where each block begins, and the blocks. The caller
 * does the reading, in three steps:
 *
 *     codec_range_begin     from the header: which blocks cover the range, and where their part of the table is
 *     codec_range_place     from that part: where the blocks lie
 *     decoder_start_range   from these bytes: the range (codec.h: decoder_next gives its parts)
 *
 * A writer with several threads puts blocks out of order by a few places, so what lies between the first and the last
 * one may be longer than they are together. If that is more than there is room for, the blocks can be read one by
 * one, to wherever they fit (codec_range_gather).
 *
 * (Raw chunks need none of this: a range of one lies where it lies.)
 * Errors, and what is trusted: as in codec.h. Threads: a struct codec_range is plain data.
 */
#ifndef SLUICE_CODEC_RANGED_H
#define SLUICE_CODEC_RANGED_H

#include "engine/codec/codec.h"

/* A range has no more blocks than these: what is told of them fits a page. */
enum { CODEC_RANGE_BLOCKS_MAX = 960, CODEC_RANGE_HEAD_BYTES = 16 };
/* Room for the places of that many blocks. */
enum { CODEC_PLACES_BYTES_MAX = 4 * CODEC_RANGE_BLOCKS_MAX };

struct codec_range {
    uint64_t raw_first, raw_bytes;          /* of the chunk's raw bytes */
    uint64_t decoded_bytes;                 /* of the blocks that cover it */
    uint64_t table_offset, table_bytes;     /* in the encoded chunk: what codec_range_place reads; 0: no table */
    uint64_t encoded_offset, encoded_bytes; /* in the encoded chunk, once it is placed */
    uint32_t block_first, block_count;      /* 0: the raw bytes are stored as they are */
    uint64_t block_encoded_max;             /* the longest encoding of one of them */
    uint64_t frame_bytes;
    char head[CODEC_RANGE_HEAD_BYTES];
};

/* The range [raw_first, raw_first + raw_bytes) of a chunk of `encoded_bytes`, whose first CODEC_RANGE_HEAD_BYTES are at
 * `head`; both are whole items. r->raw_bytes comes out shorter, but not 0, if that would be too many blocks, or more
 * than `room_bytes` when they are gathered: then the rest is another range. ERR_FIT: not even one item fits. */
bool codec_range_begin(struct codec_range *r, struct dtype dtype, uint64_t chunk_raw_bytes, const void *head,
                       uint64_t encoded_bytes, uint64_t raw_first, uint64_t raw_bytes, uint64_t room_bytes,
                       struct error *err);
/* `table`: what is at r->table_offset. `places` (CODEC_PLACES_BYTES_MAX) is told where each block begins, counted from
 * encoded_offset. */
bool codec_range_place(struct codec_range *r, const void *table, void *places, struct error *err);
/* The range's blocks by themselves, i = 0 .. block_count - 1: where one lies in the encoded chunk (its end may be
 * beyond what it needs), and that it was put at `at` of the gathered bytes. */
void codec_range_gather(const struct codec_range *r, uint32_t i, void *places, uint64_t at, uint64_t *encoded_offset,
                        uint64_t *encoded_bytes);

/* Begin to decode a range. `encoded` holds encoded_bytes from encoded_offset on, or what was gathered; it and `places`
 * must last until the last decoder_next, which gives just raw_bytes. */
bool decoder_start_range(struct decoder *d, const struct codec_range *r, const void *encoded, uint64_t encoded_bytes,
                         const void *places, struct error *err);

#endif
