/* codec_impl.h - private to engine/codec: what one bytes-to-bytes codec answers.
 *
 * To add a codec: copy lz4.c, fill in a struct codec_class, give it a value in enum codec_kind (codec.h) and a row in
 * codec_classes (chain.c). Everything else - chains, intermediate buffers, byte order, the length of what was
 * decoded - is decoder.c's and encoder.c's and knows no codec by name.
 *
 * A codec never allocates chunk-sized memory: it decodes and encodes into room it is given. Library contexts live in
 * its state or, better, in its work room; one for each decoder or encoder, made once.
 *
 * Errors: bad bytes are ERR_INPUT, memory that is not to be had is ERR_FIT; both begin with the codec's name.
 */
#ifndef SLUICE_CODEC_CODEC_IMPL_H
#define SLUICE_CODEC_CODEC_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/base/text.h"
#include "engine/codec/codec.h"

/* A part that is big enough to amortise the call and small enough to stay in the processor's cache. */
#define PART_BYTES (512 * KIB)

/* Where buffers inside scratch begin: what vector code likes. */
enum { BUFFER_ALIGN = 64 };

/* What is to be decoded, and the room for it. */
struct decode_job {
    const char *from;
    uint64_t from_bytes;
    uint64_t limit_bytes;       /* more decoded bytes than these are an error */
    char *room;                 /* decoded bytes go to its beginning; its tail is the codec's to work in */
    uint64_t room_bytes;        /* at least limit_bytes (decode) or part_bytes (next), plus work_bytes */
};

/* One step of a stream: takes what it can and gives what it can, and moves on the ends of both. */
struct stream_job {
    const char *from;
    uint64_t from_bytes;
    char *to;
    uint64_t to_bytes;
    bool complete;              /* what was taken so far is whole: the chunk may end here */
};

struct codec_range;

struct codec_class {
    const char *name;                           /* in the text grammar, and in messages */
    int level_default, level_min, level_max;    /* of the text grammar; equal: it takes no level */
    uint64_t raw_bytes_max;                     /* the longest input it can encode */

    /* The longest encoding of `raw_bytes`. Saturates. */
    uint64_t (*encoded_bytes_max)(const struct codec *c, uint64_t raw_bytes);
    /* Look at the head of something encoded. NULL: there is nothing to see. */
    void (*sample)(struct codec_sample *s, const char *head, uint64_t head_bytes);
    /* What is seen in those we write. NULL: what decoders expect when nothing is known. */
    void (*sample_own)(struct codec_sample *s, const struct codec *c, uint64_t raw_bytes);
    /* malloc inside the library, for one state. NULL: none. */
    uint64_t (*decode_library_bytes)(const struct codec *c);
    uint64_t (*encode_library_bytes)(const struct codec *c, uint64_t raw_bytes);

    /* Room beside the decoded bytes, and the least and the most useful part `next` gives. NULL: no work room; the
     * only part is the whole. */
    uint64_t (*work_bytes)(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample);
    uint64_t (*part_bytes)(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample);

    /* Room beside what is encoded, the encoder's own for as long as it lives. NULL: none. */
    uint64_t (*encode_work_bytes)(const struct codec *c, uint64_t raw_bytes);

    /* NULL: no state. `c` and `work` (of encode_work_bytes) last until encoder_close. */
    bool (*decoder_open)(void **state, struct error *err);
    void (*decoder_close)(void *state);
    bool (*encoder_open)(void **state, const struct codec *c, uint64_t raw_bytes, char *work, struct error *err);
    void (*encoder_close)(void *state);

    /* All at once. *to_bytes is at most job->limit_bytes. */
    bool (*decode)(void *state, const struct decode_job *job, uint64_t *to_bytes, struct error *err);

    /* By parts; NULL: decode is used. `begin` looks at the head and promises raw_bytes in all; `next` gives what
     * follows, in `room` or inside the bytes that begin was given, and 0 bytes at the end. */
    bool (*begin)(void *state, const char *from, uint64_t from_bytes, uint64_t raw_bytes, struct error *err);
    bool (*next)(void *state, char *room, uint64_t room_bytes, const char **part, uint64_t *part_bytes,
                 struct error *err);

    /* A range, then `next` as above; it gives the whole blocks that cover it. NULL: the codec has no ranges (ranged.h).
     * *skip_bytes: what of the first part comes before the range. */
    bool (*begin_range)(void *state, const struct codec_range *r, const char *from, uint64_t from_bytes,
                        const char *places, uint64_t *skip_bytes, struct error *err);
    uint64_t (*range_bytes_max)(const struct codec *c, uint64_t raw_bytes, uint64_t range_raw_bytes,
                                const struct codec_sample *sample);

    /* Decoding that goes on from one window of encoded bytes to the next (streamed.h). NULL: it cannot. The state lives
     * in `memory`, of stream_bytes or more, and so does all that its library takes. */
    uint64_t (*stream_bytes)(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample);
    bool (*stream_open)(void **state, char *memory, uint64_t memory_bytes, struct error *err);
    bool (*stream_begin)(void *state, struct error *err);
    bool (*stream_step)(void *state, struct stream_job *job, struct error *err);
    /* After an ERR_FIT: what should have been known. NULL: nothing. */
    void (*stream_saw)(const void *state, struct codec_sample *sample);

    /* For a codec that appends something to bytes it leaves alone (a checksum): verify it and take it off, instead of
     * decoding; append it. NULL: it has decode and encode. */
    bool (*strip)(const char *from, uint64_t *from_bytes, struct error *err);
    void (*append)(char *bytes, uint64_t *byte_count);

    /* `to` has room for encoded_bytes_max. What can take seconds looks at *stop (if stop is not NULL) now and then, and
     * ends with error_stopped when it is set. */
    bool (*encode)(void *state, const struct codec *c, const char *from, uint64_t from_bytes, char *to,
                   uint64_t *to_bytes, const volatile int *stop, struct error *err);

    const struct appending *appending;          /* NULL: a chunk cannot come in steps */

    /* The text grammar beyond NAME[:LEVEL]. `words`: what stands after the name, split at ':'. NULL: no more. */
    void (*text)(const struct codec *c, struct text *out);
    bool (*parse)(struct codec *c, char *const *words, unsigned count, uint32_t item_bytes, struct error *err);
};

extern const struct codec_class blosc_class, zstd_class, gzip_class, zlib_class, lz4_class, crc32c_class;

/* The level that a codec asks for, as its library takes it: gzip and zlib, and zstd. */
int deflate_codec_level(const struct codec *c);
int zstd_codec_level(const struct codec *c);

/* Never NULL. */
const struct codec_class *codec_class_of(const struct codec *c);

/* Read a level of the text grammar, within the class's range. */
bool codec_parse_level(int *level, const char *word, const struct codec_class *class, struct error *err);

/* The longest that codecs 0 .. count-1 of the chain can make of raw_bytes. */
uint64_t chain_encoded_bytes_max(const struct codec_chain *c, unsigned count, uint64_t raw_bytes);

static inline uint64_t buffer_bytes(uint64_t bytes) { return size_align_up(bytes, BUFFER_ALIGN); }

/* The CRC of more bytes: begin with CRC32C_BEGIN, end with ~. */
#define CRC32C_BEGIN (~(uint32_t)0)
uint32_t crc32c_go_on(uint32_t crc, const char *bytes, uint64_t count);
enum { CRC32C_BYTES = 4 };

/* Little-endian, from anywhere. */
static inline uint32_t load_u32(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline void store_u32(char *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (char)(value >> (8 * i));
}

/* ---- chunks that come in steps ---- */

/* How a codec encodes a chunk that comes in steps (append.h). Work room and state are as for an encoder. */
struct appending {
    bool like_encode;               /* gives the bytes of `encode` at any length; else it stands in for it from
                                       APPENDED_RAW_BYTES_LEAST on */
    /* NULL: this codec's parameters do; else its name and what stands in the way. NULL: all do. */
    const char *(*cannot)(const struct codec *c);
    /* Raw bytes of a step, and the longest that one encodes to. */
    uint64_t (*step_bytes)(const struct codec *c, uint64_t raw_bytes);
    uint64_t (*room_bytes)(const struct codec *c, uint64_t raw_bytes);
    uint64_t (*work_bytes)(const struct codec *c, uint64_t raw_bytes);
    uint64_t (*library_bytes)(const struct codec *c, uint64_t raw_bytes);   /* NULL: none */

    bool (*open)(void **state, const struct codec *c, uint64_t raw_bytes, char *work, struct error *err);
    void (*close)(void *state);
    bool (*begin)(void *state, char *head, struct error *err);
    bool (*step)(void *state, const char *from, uint64_t from_bytes, bool last, char *to, uint64_t *to_bytes,
                 struct error *err);

    /* For a codec that writes its head last, and stores as it is what does not shrink. NULL, all of them: neither.
     * `head` of begin is where the head grows; shrinks is asked after begin and each step. `stored`: as it is. */
    uint64_t (*head_bytes)(const struct codec *c, uint64_t raw_bytes, bool stored);
    bool (*shrinks)(const void *state);
    void (*finish)(void *state, bool stored);
    /* Where an encoded step is; and back to its raw bytes. There is UNDO_LEAD_BYTES of room in front of `from`. */
    void (*place)(const void *state, uint64_t index, uint64_t *offset, uint64_t *bytes);
    bool (*undo)(void *state, char *from, uint64_t from_bytes, char *to, struct error *err);
};

enum { UNDO_LEAD_BYTES = 64 };

extern const struct appending blosc_appending, zstd_appending, gzip_appending, zlib_appending;

/* CODEC_APPENDED's half of codec_chain_cannot. */
const char *chain_append_cannot(const struct codec_chain *c);
/* Does encode() give what an appender does, and only that? */
bool chain_is_always_appended(const struct codec_chain *c, uint64_t raw_bytes);

#endif
