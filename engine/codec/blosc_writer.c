/* See blosc_writer.h. First the inner codecs, then block sizes, then frames. */
#include "engine/codec/blosc_writer.h"

#include <blosc.h>
#include <lz4.h>
#include <lz4hc.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define ZSTD_STATIC_LINKING_ONLY    /* a context in memory of ours, and the estimate of its size */
#include <zstd.h>

#include "engine/codec/blosc_frame.h"
#include "engine/codec/codec_impl.h"

enum { FORMAT_VERSION = 2, INNER_VERSION = 1 };

enum { LEVEL_DEFAULT = 5, LEVEL_MAX = 9 };

/* No shorter frame is worth encoding; no shorter stream is worth splitting off. */
enum { RAW_BYTES_LEAST = 128, SPLIT_BYTES_LEAST = 128, SPLITS_MAX = 16 };

/* What malloc and page rounding add to the figures below. */
#define MALLOC_SLACK_BYTES (64 * KIB)

struct blosc_writer;

/* An inner codec. */
struct inner {
    const char *cname;
    unsigned number;                /* in the header */
    bool high_ratio;                /* c-blosc gives it longer blocks */
    bool splits;                    /* a stream for each byte of an item, if there are few */
    uint64_t library_bytes;         /* malloc */

    /* Room for its context, which `open` makes there. NULL: none. */
    uint64_t (*context_bytes)(int level, uint64_t block_bytes);
    bool (*open)(struct blosc_writer *w, uint64_t context_bytes);
    void (*close)(struct blosc_writer *w);

    /* The longest stream `encode` is given room for. NULL: as many bytes as there are to encode. */
    size_t (*stream_bytes_max)(size_t from_bytes);
    /* Gives the bytes written, or 0: they do not fit. */
    size_t (*encode)(struct blosc_writer *w, const char *from, uint32_t from_bytes, char *to, uint32_t room_bytes);
};

/* A frame while it is written. */
struct draft {
    char *head;                     /* header and offsets */
    char *bytes;                    /* what follows offset `first` of the frame */
    uint64_t first;
    uint64_t end, limit;            /* of the frame: written so far, and what there is room for */
    uint32_t block_bytes, block_count;
    bool splits;
    const volatile int *stop;       /* NULL: nobody stops it */
};

struct blosc_writer {
    const struct codec *codec;
    const struct inner *inner;
    int level;
    uint32_t typesize;
    char *block;                    /* shuffled */
    char *context;                  /* of the inner codec */
    ZSTD_CCtx *zstd;                /* inside `context` */
    z_stream zlib;
    bool zlib_is_open;
    /* a frame that comes block by block */
    struct draft draft;
    uint64_t raw_bytes;
    uint32_t next_block;
    bool shrinks;
};

/* ---- inner codecs ---- */

static uint64_t lz4_context_bytes(int level, uint64_t block_bytes)
{
    (void)level;
    (void)block_bytes;
    return (uint64_t)LZ4_sizeofState();
}

static size_t lz4_encode(struct blosc_writer *w, const char *from, uint32_t from_bytes, char *to, uint32_t room_bytes)
{
    int acceleration = 10 - w->level;

    return (size_t)LZ4_compress_fast_extState(w->context, from, to, (int)from_bytes, (int)room_bytes, acceleration);
}

static uint64_t lz4hc_context_bytes(int level, uint64_t block_bytes)
{
    (void)level;
    (void)block_bytes;
    return (uint64_t)LZ4_sizeofStateHC();
}

static size_t lz4hc_encode(struct blosc_writer *w, const char *from, uint32_t from_bytes, char *to,
                           uint32_t room_bytes)
{
    return (size_t)LZ4_compress_HC_extStateHC(w->context, from, to, (int)from_bytes, (int)room_bytes, w->level);
}

static size_t snappy_encode(struct blosc_writer *w, const char *from, uint32_t from_bytes, char *to,
                            uint32_t room_bytes)
{
    size_t bytes = room_bytes;

    (void)w;
    return snappy_compress(from, from_bytes, to, &bytes) == SNAPPY_OK ? bytes : 0;
}

static bool zlib_open(struct blosc_writer *w, uint64_t context_bytes)
{
    (void)context_bytes;
    w->zlib_is_open = deflateInit(&w->zlib, w->level) == Z_OK;
    return w->zlib_is_open;
}

static void zlib_close(struct blosc_writer *w)
{
    if (w->zlib_is_open)
        deflateEnd(&w->zlib);
}

static size_t zlib_encode(struct blosc_writer *w, const char *from, uint32_t from_bytes, char *to,
                          uint32_t room_bytes)
{
    deflateReset(&w->zlib);
    w->zlib.next_in = (Bytef *)(uintptr_t)from;
    w->zlib.avail_in = from_bytes;
    w->zlib.next_out = (Bytef *)to;
    w->zlib.avail_out = room_bytes;
    return deflate(&w->zlib, Z_FINISH) == Z_STREAM_END ? room_bytes - w->zlib.avail_out : 0;
}

static int zstd_level(int level)
{
    return level == LEVEL_MAX ? ZSTD_maxCLevel() : 2 * level - 1;
}

/* The context for any input up to a block's length: the parameters for short ones (a last block) may ask for more
 * than those for long ones. */
static uint64_t zstd_context_bytes(int level, uint64_t block_bytes)
{
    static const uint64_t tiers[] = { 16 * KIB, 128 * KIB, 256 * KIB };
    int their_level = zstd_level(level);
    uint64_t most = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(their_level, block_bytes, 0));

    for (unsigned i = 0; i < sizeof tiers / sizeof *tiers; i++)
        if (tiers[i] < block_bytes)
            most = size_max(most, ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(their_level, tiers[i], 0)));
    return most;
}

static bool zstd_open(struct blosc_writer *w, uint64_t context_bytes)
{
    w->zstd = ZSTD_initStaticCCtx(w->context, context_bytes);
    return w->zstd != NULL;
}

static size_t zstd_encode(struct blosc_writer *w, const char *from, uint32_t from_bytes, char *to,
                          uint32_t room_bytes)
{
    size_t got = ZSTD_compressCCtx(w->zstd, to, room_bytes, from, from_bytes, zstd_level(w->level));

    return ZSTD_isError(got) ? 0 : got;
}

static const struct inner inners[] = {
    { .cname = BLOSC_BLOSCLZ_COMPNAME, .number = 0, .splits = true },
    { .cname = BLOSC_LZ4_COMPNAME, .number = 1, .splits = true,
      .context_bytes = lz4_context_bytes, .encode = lz4_encode },
    { .cname = BLOSC_LZ4HC_COMPNAME, .number = 1, .splits = true, .high_ratio = true,
      .context_bytes = lz4hc_context_bytes, .encode = lz4hc_encode },
    /* a hash table, and two fragments of 64 KiB */
    { .cname = BLOSC_SNAPPY_COMPNAME, .number = 2, .splits = true, .library_bytes = 192 * KIB + MALLOC_SLACK_BYTES,
      .stream_bytes_max = snappy_max_compressed_length, .encode = snappy_encode },
    /* deflateInit's own figure: (1 << 17) + (1 << 17) and its state */
    { .cname = BLOSC_ZLIB_COMPNAME, .number = 3, .splits = true, .high_ratio = true,
      .library_bytes = 272 * KIB + MALLOC_SLACK_BYTES,
      .open = zlib_open, .close = zlib_close, .encode = zlib_encode },
    { .cname = BLOSC_ZSTD_COMPNAME, .number = 4, .high_ratio = true,
      .context_bytes = zstd_context_bytes, .open = zstd_open, .encode = zstd_encode },
};

/* NULL: there is no such codec. */
static const struct inner *inner_of(const struct codec *c)
{
    for (unsigned i = 0; i < sizeof inners / sizeof *inners; i++)
        if (strcmp(c->cname, inners[i].cname) == 0)
            return &inners[i];
    return NULL;
}

static bool is_blosclz(const struct inner *inner) { return inner && !inner->encode; }

/* ---- block sizes ---- */

static int level_of(const struct codec *c)
{
    return c->level < 0 ? LEVEL_DEFAULT : c->level > LEVEL_MAX ? LEVEL_MAX : c->level;
}

static uint32_t typesize_of(const struct codec *c)
{
    return c->typesize == 0 || c->typesize > BLOSC_MAX_TYPESIZE ? 1 : c->typesize;
}

static bool splits(const struct inner *inner, uint32_t typesize, uint64_t block_bytes)
{
    return inner->splits && typesize <= SPLITS_MAX && block_bytes / typesize >= SPLIT_BYTES_LEAST;
}

/* By level; twice as long for codecs meant for high ratios. Short chunks are one block. */
static uint64_t automatic_block_bytes(const struct inner *inner, int level, uint64_t raw_bytes)
{
    static const uint64_t by_level[LEVEL_MAX + 1] = { 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, 128 * KIB,
                                                      256 * KIB, 256 * KIB, 256 * KIB, 256 * KIB };

    if (raw_bytes < 32 * KIB)
        return raw_bytes;
    if (!inner->high_ratio)
        return by_level[level];
    return (level == LEVEL_MAX ? 4 : 2) * by_level[level];
}

/* The block size c-blosc 1.21 chooses: where it splits blocks, a stream of that size for each byte of an item, within
 * limits. Always whole items. */
static uint64_t block_bytes_of(const struct codec *c, const struct inner *inner, uint64_t raw_bytes)
{
    uint32_t typesize = typesize_of(c);
    int level = level_of(c);
    uint64_t block_bytes;

    if (raw_bytes < typesize)
        return 1;
    block_bytes = c->blocksize == 0 ? automatic_block_bytes(inner, level, raw_bytes)
                                    : size_min(size_max(c->blocksize, RAW_BYTES_LEAST), BLOSC_MAX_BLOCKSIZE);
    if (level > 0 && splits(inner, typesize, block_bytes))
        block_bytes = size_min(size_max(size_min(block_bytes, 256 * KIB) * typesize, 64 * KIB), MIB);
    block_bytes = size_min(block_bytes, raw_bytes);
    return block_bytes > typesize ? block_bytes - block_bytes % typesize : block_bytes;
}

/* The longest block of frames of up to `raw_bytes`: short frames are one block, which may be longer than the blocks
 * of long ones. */
static uint64_t block_bytes_max(const struct codec *c, const struct inner *inner, uint64_t raw_bytes)
{
    return size_max(block_bytes_of(c, inner, raw_bytes), size_min(raw_bytes, 32 * KIB));
}

static bool shuffles(const struct codec *c)
{
    return c->shuffle == SHUFFLE_BIT || (c->shuffle == SHUFFLE_BYTE && typesize_of(c) > 1);
}

/* ---- memory ---- */

uint64_t blosc_frame_bytes_max(uint64_t raw_bytes)
{
    return size_add_sat(raw_bytes, BLOSC_HEAD_BYTES);
}

/* The part of the work room that holds a shuffled block. */
static uint64_t block_room_bytes(const struct codec *c, const struct inner *inner, uint64_t raw_bytes)
{
    return shuffles(c) ? buffer_bytes(block_bytes_max(c, inner, raw_bytes)) : 0;
}

static uint64_t context_room_bytes(const struct codec *c, const struct inner *inner, uint64_t raw_bytes)
{
    return inner->context_bytes ? inner->context_bytes(level_of(c), block_bytes_max(c, inner, raw_bytes)) : 0;
}

uint64_t blosc_writer_work_bytes(const struct codec *c, uint64_t raw_bytes)
{
    const struct inner *inner = inner_of(c);

    if (!inner || is_blosclz(inner) || level_of(c) == 0)
        return 0;
    return size_add_sat(block_room_bytes(c, inner, raw_bytes), context_room_bytes(c, inner, raw_bytes));
}

uint64_t blosc_writer_library_bytes(const struct codec *c, uint64_t raw_bytes)
{
    const struct inner *inner = inner_of(c);
    uint64_t temporary_bytes;

    if (!inner || level_of(c) == 0)
        return 0;
    if (!is_blosclz(inner))
        return inner->library_bytes;
    /* c-blosc allocates two blocks for each call. The heap was seen to grow to four times as much: aligned blocks are
     * cut out of free ones so that the next does not fit what the last left. Five times, to be sure. */
    temporary_bytes = 2 * block_bytes_max(c, inner, raw_bytes) + 4 * (uint64_t)typesize_of(c);
    return 5 * temporary_bytes + MALLOC_SLACK_BYTES;
}

static bool open_inner(struct blosc_writer *w, uint64_t raw_bytes, char *work)
{
    w->block = work;
    w->context = work + block_room_bytes(w->codec, w->inner, raw_bytes);
    return !w->inner->open || w->inner->open(w, context_room_bytes(w->codec, w->inner, raw_bytes));
}

bool blosc_writer_open(struct blosc_writer **out, const struct codec *c, uint64_t raw_bytes, char *work,
                       struct error *err)
{
    const struct inner *inner = inner_of(c);
    struct blosc_writer *w;

    if (!inner)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: there is no '%s' to encode with", c->cname);
    w = calloc(1, sizeof *w);
    if (!w)
        return error_at(err, ERR_FIT, SPAN_NONE, "blosc: no memory for an encoder");
    w->codec = c;
    w->inner = inner;
    w->level = level_of(c);
    w->typesize = typesize_of(c);
    if (w->level > 0 && !is_blosclz(inner) && !open_inner(w, raw_bytes, work)) {
        blosc_writer_close(w);
        return error_at(err, ERR_FIT, SPAN_NONE, "blosc: no memory for a %s encoder", c->cname);
    }
    *out = w;
    return true;
}

void blosc_writer_close(struct blosc_writer *w)
{
    if (w && w->inner->close)
        w->inner->close(w);
    free(w);
}

/* ---- frames ---- */

static bool is_stopped(const struct draft *d) { return stop_asked(d->stop) != 0; }

/* c-blosc writes shuffle into the flags even where there is nothing to shuffle. */
static unsigned flags_of(const struct blosc_writer *w, const struct draft *d)
{
    unsigned shuffle = w->codec->shuffle == SHUFFLE_BYTE ? BLOSC_FLAG_SHUFFLE
                       : w->codec->shuffle == SHUFFLE_BIT ? BLOSC_FLAG_BITSHUFFLE : 0;

    return shuffle | (d->splits ? 0 : BLOSC_FLAG_UNSPLIT) | w->inner->number << 5;
}

static void write_head(const struct blosc_writer *w, const struct draft *d, unsigned flags, uint64_t raw_bytes)
{
    d->head[0] = FORMAT_VERSION;
    d->head[1] = INNER_VERSION;
    d->head[2] = (char)flags;
    d->head[3] = (char)w->typesize;
    store_u32(d->head + 4, (uint32_t)raw_bytes);
    store_u32(d->head + 8, d->block_bytes);
    store_u32(d->head + 12, (uint32_t)d->end);
}

/* Its length, and the stream or, where that is not shorter, the bytes themselves. False: there is no room. */
static bool write_stream(struct blosc_writer *w, struct draft *d, const char *from, uint32_t from_bytes)
{
    char *length = d->bytes + (d->end - d->first), *to = length + 4;
    uint64_t room_bytes, got;

    if (d->end + 4 >= d->limit)
        return false;
    room_bytes = size_min(d->limit - d->end - 4,
                          w->inner->stream_bytes_max ? w->inner->stream_bytes_max(from_bytes) : from_bytes);
    got = w->inner->encode(w, from, from_bytes, to, (uint32_t)room_bytes);
    if (got == 0 || got == from_bytes) {
        if (from_bytes > d->limit - d->end - 4)
            return false;
        memcpy(to, from, from_bytes);
        got = from_bytes;
    }
    store_u32(length, (uint32_t)got);
    d->end += 4 + got;
    return true;
}

/* A block as it goes to the inner codec. What is no whole item, or no whole eight of items, stays as it is. */
static const char *shuffled(struct blosc_writer *w, const char *from, uint32_t block_bytes)
{
    uint32_t count = block_bytes / w->typesize, done = count * w->typesize;

    if (!shuffles(w->codec) || count == 0)
        return from;
    if (w->codec->shuffle == SHUFFLE_BYTE)
        byte_shuffle(w->block, from, count, w->typesize);
    else if (count % 8 == 0)
        bit_shuffle(w->block, from, count, w->typesize);
    else
        return from;
    memcpy(w->block + done, from + done, block_bytes - done);
    return w->block;
}

/* A last block that is short is never split. */
static bool write_block(struct blosc_writer *w, struct draft *d, uint32_t index, const char *from,
                        uint32_t block_bytes)
{
    uint32_t streams = d->splits && block_bytes == d->block_bytes ? w->typesize : 1;
    uint32_t stream_bytes = block_bytes / streams;

    store_u32(d->head + BLOSC_HEAD_BYTES + 4 * (uint64_t)index, (uint32_t)d->end);
    from = shuffled(w, from, block_bytes);
    for (uint32_t i = 0; i < streams; i++)
        if (!write_stream(w, d, from + (uint64_t)i * stream_bytes, stream_bytes))
            return false;
    return true;
}

/* A frame with nothing in it. */
static void draft_init(struct draft *d, const struct blosc_writer *w, uint64_t raw_bytes)
{
    *d = (struct draft){ .limit = blosc_frame_bytes_max(raw_bytes) };
    d->block_bytes = (uint32_t)block_bytes_of(w->codec, w->inner, raw_bytes);
    d->block_count = (uint32_t)size_div_up(raw_bytes, d->block_bytes);
    d->splits = splits(w->inner, w->typesize, d->block_bytes);
    d->end = BLOSC_HEAD_BYTES + 4 * (uint64_t)d->block_count;
}

/* Is it worth trying? */
static bool may_shrink(const struct blosc_writer *w, const struct draft *d, uint64_t raw_bytes)
{
    return w->level > 0 && raw_bytes >= RAW_BYTES_LEAST && d->end <= d->limit;
}

/* False: the frame would be longer than the bytes it holds, or nobody wants it any more. */
static bool write_blocks(struct blosc_writer *w, struct draft *d, const char *from, uint64_t from_bytes)
{
    if (!may_shrink(w, d, from_bytes))
        return false;
    for (uint32_t i = 0; i < d->block_count; i++) {
        uint64_t at = (uint64_t)i * d->block_bytes;

        if (is_stopped(d))
            return false;
        if (!write_block(w, d, i, from + at, (uint32_t)size_min(d->block_bytes, from_bytes - at)))
            return false;
    }
    return true;
}

/* Frames of blosclz are c-blosc's. */
static bool write_blosclz(struct blosc_writer *w, const char *from, uint64_t from_bytes, char *to, uint64_t *to_bytes,
                          struct error *err)
{
    int got = blosc_compress_ctx(w->level, (int)w->codec->shuffle, w->typesize, from_bytes, from, to,
                                 blosc_frame_bytes_max(from_bytes), w->codec->cname, w->codec->blocksize, 1);

    if (got <= 0)
        return error_at(err, ERR_FIT, SPAN_NONE, "blosc: could not encode %llu bytes with %s (c-blosc says %d)",
                        (unsigned long long)from_bytes, w->codec->cname, got);
    *to_bytes = (uint64_t)got;
    return true;
}

bool blosc_writer_write(struct blosc_writer *w, const char *from, uint64_t from_bytes, char *to, uint64_t *to_bytes,
                        const volatile int *stop, struct error *err)
{
    struct draft d;
    unsigned flags;

    if (is_blosclz(w->inner))
        return write_blosclz(w, from, from_bytes, to, to_bytes, err);
    draft_init(&d, w, from_bytes);
    d.head = d.bytes = to;
    d.stop = stop;
    flags = flags_of(w, &d);
    if (!write_blocks(w, &d, from, from_bytes)) {
        if (is_stopped(&d))
            return error_stopped(err, stop_asked(stop));
        flags |= BLOSC_FLAG_MEMCPYED;
        memcpy(to + BLOSC_HEAD_BYTES, from, from_bytes);
        d.end = d.limit;
    }
    write_head(w, &d, flags, from_bytes);
    *to_bytes = d.end;
    return true;
}

/* ---- frames that come block by block ---- */

bool blosc_writer_goes_by_blocks(const struct codec *c)
{
    return !is_blosclz(inner_of(c));
}

uint64_t blosc_writer_block_bytes(const struct codec *c, uint64_t raw_bytes)
{
    const struct inner *inner = inner_of(c);

    return inner ? block_bytes_of(c, inner, raw_bytes) : raw_bytes;
}

uint64_t blosc_writer_block_room_bytes(const struct codec *c, uint64_t raw_bytes)
{
    const struct inner *inner = inner_of(c);
    uint64_t block_bytes = blosc_writer_block_bytes(c, raw_bytes), streams, stream_bytes, whole, one;

    if (!inner)
        return block_bytes;
    streams = splits(inner, typesize_of(c), block_bytes) ? typesize_of(c) : 1;
    stream_bytes = size_div_up(block_bytes, streams);
    whole = streams * (4 + (inner->stream_bytes_max ? inner->stream_bytes_max(stream_bytes) : stream_bytes));
    one = 4 + (inner->stream_bytes_max ? inner->stream_bytes_max(block_bytes) : block_bytes);
    return size_max(whole, one);
}

uint64_t blosc_writer_head_bytes(const struct codec *c, uint64_t raw_bytes)
{
    return BLOSC_HEAD_BYTES + 4 * size_div_up(raw_bytes, blosc_writer_block_bytes(c, raw_bytes));
}

void blosc_writer_begin(struct blosc_writer *w, uint64_t raw_bytes, char *head)
{
    draft_init(&w->draft, w, raw_bytes);
    w->draft.head = head;
    w->raw_bytes = raw_bytes;
    w->next_block = 0;
    w->shrinks = may_shrink(w, &w->draft, raw_bytes);
}

bool blosc_writer_shrinks(const struct blosc_writer *w)
{
    return w->shrinks;
}

void blosc_writer_block(struct blosc_writer *w, const char *from, uint64_t from_bytes, char *to, uint64_t *to_bytes)
{
    struct draft *d = &w->draft;

    d->bytes = to;
    d->first = d->end;
    w->shrinks = write_block(w, d, w->next_block, from, (uint32_t)from_bytes);
    *to_bytes = d->end - d->first;
    w->next_block++;
}

void blosc_writer_place(const struct blosc_writer *w, uint32_t index, uint64_t *offset, uint64_t *bytes)
{
    const char *at = w->draft.head + BLOSC_HEAD_BYTES + 4 * (uint64_t)index;

    *offset = load_u32(at);
    *bytes = (index + 1 < w->next_block ? load_u32(at + 4) : w->draft.end) - *offset;
}

void blosc_writer_finish(struct blosc_writer *w, bool stored)
{
    struct draft *d = &w->draft;

    if (stored)
        d->end = d->limit;
    write_head(w, d, flags_of(w, d) | (stored ? BLOSC_FLAG_MEMCPYED : 0), w->raw_bytes);
}

void blosc_writer_wrap_block(const struct blosc_writer *w, char *frame, uint64_t block_bytes)
{
    struct draft d = w->draft;

    d.head = frame;
    d.end = BLOSC_HEAD_BYTES + 4 + block_bytes;
    write_head(w, &d, flags_of(w, &d), d.block_bytes);
    store_u32(frame + BLOSC_HEAD_BYTES, BLOSC_HEAD_BYTES + 4);
}

char *blosc_writer_block_work(struct blosc_writer *w)
{
    return w->block;
}
