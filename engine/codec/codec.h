/* codec.h - from a chunk's encoded bytes to its elements and back.
 *
 * A chain is what the metadata says, brought to one form for Zarr v2 and v3: a stored axis order (v3 transpose,
 * v2 order F), a stored byte order (v3 bytes, v2 '>' dtypes), then bytes-to-bytes codecs in encoding order.
 * Axis order costs nothing here: the copy that moves elements into or out of a tile takes it as strides.
 * Filters and the sharding codec will be further fields of the chain.
 *
 * Decoding goes in parts, so that a chunk bigger than the memory at hand passes through: decoder_next gives the next
 * run of raw bytes, block by block for blosc, straight from the encoded bytes for uncompressed chunks, whole for
 * codecs without a stream. Raw bytes are in stored order with little-endian elements: a swap is undone inside. Where
 * not even the encoded chunk fits in memory, ranged.h decodes any range of it and streamed.h a window at a time.
 *
 * Encoding: the bytes depend on the chunk and the chain, never on threads, budget or back end; those of blosc are
 * what c-blosc writes with one thread. Contexts of libraries are made once, in scratch where the library allows it.
 * encode() is one call per chunk; append.h is for chunks that come in slices.
 *
 * Inputs are not trusted: sizes are checked before a library sees the bytes, every length is bounded by the chunk's.
 * Errors are ERR_INPUT with the reason ("blosc frame says 4096 bytes, the chunk has 8192"); the caller adds the file.
 *
 * Threads: chains are read-only; a decoder or encoder belongs to one worker.
 */
#ifndef SLUICE_CODEC_CODEC_H
#define SLUICE_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/array/dtype.h"
#include "engine/array/grid.h"
#include "engine/base/error.h"
#include "engine/base/text.h"

enum codec_kind { CODEC_BLOSC, CODEC_ZSTD, CODEC_GZIP, CODEC_ZLIB, CODEC_LZ4, CODEC_CRC32C };

enum blosc_shuffle { SHUFFLE_NONE = 0, SHUFFLE_BYTE = 1, SHUFFLE_BIT = 2 };   /* c-blosc's own values */

struct codec {
    enum codec_kind kind;
    int level;                  /* blosc clevel, zstd, gzip, zlib level; lz4 acceleration */
    bool checksum;              /* zstd: frame checksum */
    enum blosc_shuffle shuffle; /* blosc, from here on */
    char cname[12];             /* blosclz lz4 lz4hc snappy zlib zstd */
    uint32_t typesize;          /* 1..255 */
    uint32_t blocksize;         /* 0: c-blosc decides */
};

enum { CODECS_MAX = 8 };

struct codec_chain {
    uint8_t order[RANK_MAX];    /* stored axis i is array axis order[i] */
    bool transposed;            /* order is not the identity */
    bool big_endian;            /* as stored */
    unsigned count;
    struct codec codecs[CODECS_MAX];
};

/* "blosc:lz4:5:shuffle", "zstd:3", "none": the way the command line, plan and info write it. */
void codec_chain_text(const struct codec_chain *c, struct text *out);
/* The same grammar read, into the bytes-to-bytes part of the chain; axis and byte order are left as they are:
 *   none | CODEC[+CODEC]...   in encoding order, such as zstd:3+crc32c
 *   CODEC: blosc[:CNAME[:LEVEL[:SHUFFLE[:BLOCKSIZE]]]] | zstd[:LEVEL[:checksum]] | gzip[:LEVEL] | zlib[:LEVEL] |
 *          lz4[:ACCELERATION] | crc32c
 * What is left out: blosc lz4, level 5, shuffle (bitshuffle for items of one byte); zstd 3; gzip and zlib 5; lz4 1.
 * `item_bytes` is blosc's typesize. Complaints are ERR_USAGE without a span; the chain is as it was then. */
bool codec_chain_from_text(struct codec_chain *c, const char *words, uint32_t item_bytes, struct error *err);

/* Which libraries encode, and their versions: another one may write other bytes. "c-blosc 1.21.3, zstd 1.5.4, ..." (one
 * without a version: by what it makes of a sample). */
void codec_versions_text(struct text *out);

/* What one worker needs for one direction. All are upper bounds; library bytes come from malloc inside the codec
 * libraries, scratch from the pool. */
struct codec_needs {
    uint64_t encoded_bytes_max; /* the longest encoding a chunk can have */
    uint64_t scratch_bytes_least;
    uint64_t scratch_bytes_useful;
    uint64_t library_bytes;
};

/* What was seen in a few real chunks; zeroes when nothing is known. */
struct codec_sample {
    uint32_t blosc_block_bytes_max;
    uint64_t zstd_window_bytes_max;     /* how far back a stream refers */
};
/* Look at the head (16 bytes or more) of an encoded chunk. Never fails: what is wrong is found when decoding. */
void codec_sample_add(struct codec_sample *s, const struct codec_chain *c, const void *head, uint64_t head_bytes);
void codec_sample_merge(struct codec_sample *s, const struct codec_sample *other);
/* What chunks look like that our encoders write: for arrays that are not there yet. */
void codec_sample_own(struct codec_sample *s, const struct codec_chain *c, uint64_t raw_bytes);
/* Is anything in `s` more than in `other`: is there reason to plan anew? */
bool codec_sample_exceeds(const struct codec_sample *s, const struct codec_sample *other);

void codec_decode_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                        const struct codec_sample *sample, struct codec_needs *out);
void codec_encode_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, struct codec_needs *out);

/* What can be done with a part of a chunk. A chain that cannot is passed through whole chunks only. */
enum codec_ability {
    CODEC_RANGED,               /* decode any range, reading little more than it: raw, blosc */
    CODEC_STREAMED,             /* decode from the beginning on, a window of encoded bytes at a time */
    CODEC_APPENDED,             /* encode as the raw bytes come, in the same bytes as at once */
};
/* NULL: the chain can; else the codec that cannot, for messages ("lz4"). */
const char *codec_chain_cannot(const struct codec_chain *c, enum codec_ability ability);
/* What one worker needs to decode ranges of at most `range_raw_bytes`; encoded_bytes_max is of such a range. Never more
 * than codec_decode_needs. */
void codec_ranged_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, uint64_t range_raw_bytes,
                        const struct codec_sample *sample, struct codec_needs *out);
/* What one stream decoder or one appender needs, the window of encoded bytes that it reads included; encoded_bytes_max
 * is of the chunk. */
void codec_streamed_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                          const struct codec_sample *sample, struct codec_needs *out);
void codec_appended_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, struct codec_needs *out);

/* No codec but byte and axis order: raw bytes can be read and written by ranges. */
static inline bool codec_chain_is_raw(const struct codec_chain *c) { return c->count == 0; }

struct decoder;

/* `scratch` (borrowed, IO_ALIGN aligned) must hold at least scratch_bytes_least. */
bool decoder_new(struct decoder **d, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                 void *scratch, uint64_t scratch_bytes, struct error *err);
void decoder_free(struct decoder *d);           /* NULL is fine */
/* Begin a chunk; `encoded` stays the caller's and must last until the last decoder_next. For a raw chain it may be
 * any part of the chunk, of a whole number of items. */
bool decoder_start(struct decoder *d, const void *encoded, uint64_t encoded_bytes, struct error *err);
/* The next run of raw bytes: whole items, valid until the next call. *part_bytes 0: the chunk is complete. */
bool decoder_next(struct decoder *d, const char **part, uint64_t *part_bytes, struct error *err);

struct encoder;

/* `scratch` as for a decoder. It holds contexts from one chunk to the next: nobody else may write to it. */
bool encoder_new(struct encoder **e, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                 void *scratch, uint64_t scratch_bytes, struct error *err);
void encoder_free(struct encoder *e);
/* Slow encoders give up soon after *stop is set (to the number of a signal), with error_stopped. */
void encoder_stop_when(struct encoder *e, const volatile int *stop);
/* Encode a chunk already in stored axis order. `raw` may be changed (bytes are swapped in place for big-endian
 * chains). `encoded` has room for encoded_bytes_max; for a
 * raw chain it may be `raw` itself. */
bool encode(struct encoder *e, void *raw, void *encoded, uint64_t *encoded_bytes, struct error *err);

/* ---- the scratch file's own codec: byte shuffle and LZ4, or nothing ---- */

enum spill_encoding { SPILL_RAW = 0, SPILL_LZ4 = 1 };   /* on disk in segment indexes: values never change */

/* Room that spill_encode needs in `to`, and the pool scratch both directions need. */
uint64_t spill_encoded_bytes_max(uint64_t raw_bytes);
uint64_t spill_scratch_bytes(uint64_t raw_bytes);
/* Encode a block. With `wanted` SPILL_LZ4 a block that does not shrink is stored raw. Returns the bytes written. */
uint64_t spill_encode(enum spill_encoding wanted, const void *raw, uint64_t raw_bytes, uint32_t item_bytes,
                      void *to, void *scratch, enum spill_encoding *used);
/* False: the bytes are not what spill_encode wrote. SPILL_RAW does not copy: *raw points into `from`. */
bool spill_decode(enum spill_encoding encoding, const void *from, uint64_t from_bytes, uint64_t raw_bytes,
                  uint32_t item_bytes, void *scratch, const char **raw);

#endif
