/* blosc_frame.h - private to engine/codec: reading a Blosc 1 frame block by block, without c-blosc.
 *
 * Why not c-blosc's own decoder: it allocates two blocks for every call, copies once more for partial reads, and
 * trusts frames more than one may (a crafted blosclz split of more than 8 MiB makes 1.21.3 write outside its buffer).
 * Here every offset and length is checked, memory is the caller's, and inner codecs are called directly.
 *
 *   0  format version, 2          4  nbytes     raw length
 *   1  version of inner codec     8  blocksize  raw length of a block; the last may be shorter
 *   2  flags                     12  cbytes     length of the frame
 *   3  typesize                  16  one offset into the frame for each block; or, memcpyed, the raw bytes
 * (numbers are 4 bytes, little-endian). A block is one split, or typesize splits of equal length; a split is its
 * encoded length, 4 bytes, and an encoding; a split whose encoding is as long as itself is stored as it is.
 * Source: c-blosc's README_CHUNK_FORMAT, and c-blosc 1.21 where that is silent (which blocks are split).
 */
#ifndef SLUICE_CODEC_BLOSC_FRAME_H
#define SLUICE_CODEC_BLOSC_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

enum { BLOSC_HEAD_BYTES = 16 };

enum {
    BLOSC_FLAG_SHUFFLE = 0x01, BLOSC_FLAG_MEMCPYED = 0x02, BLOSC_FLAG_BITSHUFFLE = 0x04, BLOSC_FLAG_RESERVED = 0x08,
    BLOSC_FLAG_UNSPLIT = 0x10,
};

struct ZSTD_DCtx_s;
struct libdeflate_decompressor;

/* Contexts of the inner codecs, made for the first frame that needs them. All zero to begin with. */
struct blosc_inner {
    struct ZSTD_DCtx_s *zstd;
    struct libdeflate_decompressor *deflate;
};
void blosc_inner_release(struct blosc_inner *inner);

/* A frame whose header was found sound, or the part of one that is at hand. Points into the encoded bytes. */
struct blosc_frame {
    const char *bytes;          /* what is at hand: the frame, or what holds the blocks wanted */
    uint64_t byte_count;
    const char *places;         /* where blocks begin in `bytes`, from block `places_first` on: 4 bytes each */
    uint32_t places_first;
    uint32_t place_least;       /* no block begins before */
    uint32_t frame_bytes, raw_bytes;
    uint32_t block_bytes;       /* at most raw_bytes; the last block may be shorter */
    uint32_t block_count;
    uint32_t typesize;
    unsigned flags;
    unsigned inner;             /* the inner codec's number in the header */
};

/* Look at the header of a frame that is all of `bytes`: no more than BLOSC_HEAD_BYTES are read. */
bool blosc_frame_open(struct blosc_frame *f, const char *bytes, uint64_t byte_count, struct error *err);

static inline bool blosc_frame_is_memcpyed(const struct blosc_frame *f) { return f->flags & BLOSC_FLAG_MEMCPYED; }
static inline const char *blosc_frame_raw(const struct blosc_frame *f) { return f->bytes + BLOSC_HEAD_BYTES; }
/* Does decoding a block take room for a second one? */
bool blosc_frame_is_shuffled(const struct blosc_frame *f);

/* Make the context that the frame's blocks take, if it is not there. */
bool blosc_inner_ready(struct blosc_inner *inner, const struct blosc_frame *f, struct error *err);

/* The raw length of a block of a frame that is not memcpyed. */
static inline uint32_t blosc_frame_block_bytes(const struct blosc_frame *f, uint32_t index)
{
    uint64_t left = f->raw_bytes - (uint64_t)index * f->block_bytes;
    return left < f->block_bytes ? (uint32_t)left : f->block_bytes;
}
/* The longest encoding of a block, by a writer that stores what does not shrink. */
uint64_t blosc_frame_block_encoded_max(const struct blosc_frame *f);
/* Decode a block to `to`. `work` has room for block_bytes if the frame is shuffled. */
bool blosc_frame_block(const struct blosc_frame *f, struct blosc_inner *inner, uint32_t index, char *to, char *work,
                       struct error *err);

/* Parts of the above, and of blosc_writer.c, with files of their own. */

/* Decode blosclz (FastLZ level 2 with a longer far distance). False unless it gives exactly to_bytes. */
bool blosclz_decode(const char *from, uint32_t from_bytes, char *to, uint32_t to_bytes);
/* Bit shuffle, and back, over `count` items, a multiple of 8. Any typesize from 1 to 255. */
void bit_shuffle(char *to, const char *from, uint64_t count, uint32_t typesize);
void bit_unshuffle(char *to, const char *from, uint64_t count, uint32_t typesize);
/* Byte shuffle, and back; any typesize. */
void byte_shuffle(char *to, const char *from, uint64_t count, uint32_t typesize);
void byte_unshuffle(char *to, const char *from, uint64_t count, uint32_t typesize);

#endif
