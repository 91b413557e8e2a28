/* See blosc_frame.h. */
#include "engine/codec/blosc_frame.h"

#include <libdeflate.h>
#include <lz4.h>
#include <snappy-c.h>
#include <string.h>
#include <zstd.h>

#include "engine/codec/codec_impl.h"

/* The header's numbers for inner codecs. lz4hc writes what lz4 reads. */
enum { INNER_BLOSCLZ, INNER_LZ4, INNER_SNAPPY, INNER_ZLIB, INNER_ZSTD, INNER_COUNT };

/* c-blosc splits no block into more parts, nor into shorter ones, whatever the flags say. */
enum { SPLITS_MAX = 16, SPLIT_BYTES_LEAST = 128 };

enum { FORMAT_VERSION = 2, INNER_VERSION = 1 };

void blosc_inner_release(struct blosc_inner *inner)
{
    ZSTD_freeDCtx(inner->zstd);
    libdeflate_free_decompressor(inner->deflate);
    *inner = (struct blosc_inner){ 0 };
}

bool blosc_frame_is_shuffled(const struct blosc_frame *f)
{
    return (f->flags & BLOSC_FLAG_SHUFFLE && f->typesize > 1) || f->flags & BLOSC_FLAG_BITSHUFFLE;
}

static bool bad(struct error *err, const char *what, uint64_t found)
{
    return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: %s %llu", what, (unsigned long long)found);
}

/* The first four bytes. */
static bool check_kind(const struct blosc_frame *f, struct error *err)
{
    const unsigned char *head = (const unsigned char *)f->bytes;

    if (head[0] > FORMAT_VERSION && head[0] <= 5)
        return bad(err, "the frame is Blosc 2's, which cannot be read here: format version", head[0]);
    if (head[0] != FORMAT_VERSION)
        return bad(err, "not a blosc frame: it begins with format version", head[0]);
    if (f->flags & BLOSC_FLAG_RESERVED)
        return bad(err, "a flag that nobody has defined is set in the header's flags", f->flags);
    if (f->typesize == 0)
        return bad(err, "the frame has typesize", 0);
    if (blosc_frame_is_memcpyed(f))
        return true;
    if (f->inner >= INNER_COUNT)
        return bad(err, "the frame has an unknown inner codec, number", f->inner);
    if (head[1] != INNER_VERSION)
        return bad(err, "the frame's inner codec has an unknown format version", head[1]);
    return true;
}

bool blosc_frame_open(struct blosc_frame *f, const char *bytes, uint64_t byte_count, struct error *err)
{
    if (byte_count < BLOSC_HEAD_BYTES)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: %llu bytes are too few for a frame's header",
                        (unsigned long long)byte_count);
    *f = (struct blosc_frame){
        .bytes = bytes,
        .byte_count = byte_count,
        .flags = (unsigned char)bytes[2],
        .inner = (unsigned char)bytes[2] >> 5,
        .typesize = (unsigned char)bytes[3],
        .raw_bytes = load_u32(bytes + 4),
        .block_bytes = load_u32(bytes + 8),
        .frame_bytes = load_u32(bytes + 12),
    };
    if (!check_kind(f, err))
        return false;
    if (f->frame_bytes != byte_count)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: the frame says it has %u bytes, there are %llu",
                        f->frame_bytes, (unsigned long long)byte_count);
    if (blosc_frame_is_memcpyed(f) && (uint64_t)f->raw_bytes + BLOSC_HEAD_BYTES != byte_count)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: an uncompressed frame of %llu bytes says it holds %u",
                        (unsigned long long)byte_count, f->raw_bytes);
    if (blosc_frame_is_memcpyed(f) || f->raw_bytes == 0)
        return true;
    if (f->block_bytes == 0)
        return bad(err, "the frame has a blocksize of", 0);
    f->block_bytes = (uint32_t)size_min(f->block_bytes, f->raw_bytes);
    f->block_count = (uint32_t)size_div_up(f->raw_bytes, f->block_bytes);
    if (f->block_count > (byte_count - BLOSC_HEAD_BYTES) / 4)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: a frame of %llu bytes cannot hold %u blocks of %u bytes",
                        (unsigned long long)byte_count, f->block_count, f->block_bytes);
    f->places = bytes + BLOSC_HEAD_BYTES;
    f->place_least = BLOSC_HEAD_BYTES + 4 * f->block_count;
    return true;
}

bool blosc_inner_ready(struct blosc_inner *inner, const struct blosc_frame *f, struct error *err)
{
    if (blosc_frame_is_memcpyed(f))
        return true;
    if (f->inner == INNER_ZSTD && !inner->zstd && !(inner->zstd = ZSTD_createDCtx()))
        return error_at(err, ERR_FIT, SPAN_NONE, "blosc: no memory for a zstd decoder");
    if (f->inner == INNER_ZLIB && !inner->deflate && !(inner->deflate = libdeflate_alloc_decompressor()))
        return error_at(err, ERR_FIT, SPAN_NONE, "blosc: no memory for a zlib decoder");
    return true;
}

static bool decode_snappy(const char *from, uint32_t from_bytes, char *to, uint32_t to_bytes)
{
    size_t length = to_bytes;

    return snappy_uncompress(from, from_bytes, to, &length) == SNAPPY_OK && length == to_bytes;
}

static bool decode_split(const struct blosc_frame *f, struct blosc_inner *inner, const char *from,
                         uint32_t from_bytes, char *to, uint32_t to_bytes)
{
    if (from_bytes == to_bytes) {
        memcpy(to, from, to_bytes);
        return true;
    }
    switch (f->inner) {
    case INNER_BLOSCLZ:
        return blosclz_decode(from, from_bytes, to, to_bytes);
    case INNER_LZ4:
        return from_bytes <= INT32_MAX && to_bytes <= INT32_MAX &&
               LZ4_decompress_safe(from, to, (int)from_bytes, (int)to_bytes) == (int)to_bytes;
    case INNER_SNAPPY:
        return decode_snappy(from, from_bytes, to, to_bytes);
    case INNER_ZLIB:
        return libdeflate_zlib_decompress(inner->deflate, from, from_bytes, to, to_bytes, NULL) == LIBDEFLATE_SUCCESS;
    default:
        return ZSTD_decompressDCtx(inner->zstd, to, to_bytes, from, from_bytes) == to_bytes;
    }
}

static const char *inner_name(const struct blosc_frame *f)
{
    static const char *const names[INNER_COUNT] = { "blosclz", "lz4", "snappy", "zlib", "zstd" };
    return names[f->inner];
}

/* The last block is never split when it is short. */
static uint32_t split_count(const struct blosc_frame *f, uint32_t block_bytes)
{
    bool split = !(f->flags & BLOSC_FLAG_UNSPLIT) && block_bytes == f->block_bytes && f->typesize <= SPLITS_MAX &&
                 block_bytes / f->typesize >= SPLIT_BYTES_LEAST;

    return split ? f->typesize : 1;
}

uint64_t blosc_frame_block_encoded_max(const struct blosc_frame *f)
{
    return f->block_bytes + 4 * (uint64_t)split_count(f, f->block_bytes);
}

static bool decode_splits(const struct blosc_frame *f, struct blosc_inner *inner, uint32_t index, char *to,
                          uint32_t block_bytes, struct error *err)
{
    uint32_t splits = split_count(f, block_bytes), split_bytes = block_bytes / splits;
    uint64_t at = load_u32(f->places + 4 * (uint64_t)(index - f->places_first));

    if (split_bytes * splits != block_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: blocks of %u bytes are not a multiple of typesize %u",
                        block_bytes, f->typesize);
    if (at < f->place_least)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: block %u begins at %llu, inside the frame's header", index,
                        (unsigned long long)at);
    for (uint32_t i = 0; i < splits; i++) {
        uint32_t encoded_bytes;

        if (at + 4 > f->byte_count || (encoded_bytes = load_u32(f->bytes + at)) > f->byte_count - at - 4)
            return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: block %u reaches past %s %u bytes", index,
                            f->byte_count < f->frame_bytes ? "its share of the frame's" : "the frame's",
                            f->frame_bytes);
        if (!decode_split(f, inner, f->bytes + at + 4, encoded_bytes, to + (uint64_t)i * split_bytes, split_bytes))
            return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: %u bytes of %s in block %u do not decode to %u bytes",
                            encoded_bytes, inner_name(f), index, split_bytes);
        at += 4 + (uint64_t)encoded_bytes;
    }
    return true;
}

/* Undo the block's shuffle. What is no whole item, or no whole eight of items, was left as it is. */
static void unshuffle(const struct blosc_frame *f, char *to, const char *from, uint32_t block_bytes)
{
    uint32_t count = block_bytes / f->typesize, done = count * f->typesize;

    if (f->flags & BLOSC_FLAG_SHUFFLE && f->typesize > 1)
        byte_unshuffle(to, from, count, f->typesize);
    else if (count % 8 == 0)
        bit_unshuffle(to, from, count, f->typesize);
    else
        done = 0;
    memcpy(to + done, from + done, block_bytes - done);
}

bool blosc_frame_block(const struct blosc_frame *f, struct blosc_inner *inner, uint32_t index, char *to, char *work,
                       struct error *err)
{
    uint32_t block_bytes = blosc_frame_block_bytes(f, index);
    bool shuffled = blosc_frame_is_shuffled(f);

    if (!decode_splits(f, inner, index, shuffled ? work : to, block_bytes, err))
        return false;
    if (shuffled)
        unshuffle(f, to, work, block_bytes);
    return true;
}
