/* blosc: frames of Blosc 1, read by blosc_frame.c and written by blosc_writer.c.
 *
 * Reading goes by the frame's header alone: what the metadata says of cname, shuffle and typesize is often wrong in
 * the wild. Writing goes by the metadata alone. */
#include <stdlib.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY    /* the estimate of a context's size */
#include <zstd.h>

#include "engine/codec/blosc_frame.h"
#include "engine/codec/blosc_writer.h"
#include "engine/codec/codec_impl.h"
#include "engine/codec/ranged.h"

/* The longest block any c-blosc chose by itself (1.3, lz4hc at level 9); 1.21 stops at 1 MiB. */
#define AUTOMATIC_BLOCK_BYTES_MAX (2 * MIB)

/* What malloc and page rounding add to the figures below. */
#define MALLOC_SLACK_BYTES (64 * KIB)

enum { LEVEL_DEFAULT = 5, LEVEL_MAX = 9 };

static const char *const cnames[] = { "blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd" };
static const char *const shuffle_names[] = { "noshuffle", "shuffle", "bitshuffle" };

enum { CNAME_COUNT = sizeof cnames / sizeof *cnames, SHUFFLE_COUNT = sizeof shuffle_names / sizeof *shuffle_names };

/* ---- decoding ---- */

struct blosc_reader {
    struct blosc_inner inner;
    struct blosc_frame frame;
    uint32_t next_block, end_block;
    const char *memcpyed;       /* what of a memcpyed frame is wanted */
    uint64_t memcpyed_bytes;    /* 0: it was given */
};

/* The longest block to expect: it is both the least part and the work room of a shuffled one. A block size in the
 * metadata is only a wish: c-blosc multiplies it by typesize where it splits blocks, up to 1 MiB. */
static uint64_t block_bytes_expected(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample)
{
    uint64_t block_bytes = size_max(c->blocksize, AUTOMATIC_BLOCK_BYTES_MAX);

    if (sample && sample->blosc_block_bytes_max > 0)
        block_bytes = sample->blosc_block_bytes_max;
    return size_min(block_bytes, raw_bytes);
}

static void blosc_sample(struct codec_sample *s, const char *head, uint64_t head_bytes)
{
    if (head_bytes >= BLOSC_HEAD_BYTES && !(head[2] & BLOSC_FLAG_MEMCPYED))
        s->blosc_block_bytes_max = (uint32_t)size_max(s->blosc_block_bytes_max,
                                                      size_min(load_u32(head + 8), load_u32(head + 4)));
}

/* Of blosclz nothing is known: c-blosc writes it. */
static void blosc_sample_own(struct codec_sample *s, const struct codec *c, uint64_t raw_bytes)
{
    if (blosc_writer_goes_by_blocks(c))
        s->blosc_block_bytes_max = (uint32_t)size_min(blosc_writer_block_bytes(c, raw_bytes), UINT32_MAX);
}

static uint64_t blosc_decode_library_bytes(const struct codec *c)
{
    (void)c;
    return ZSTD_estimateDCtxSize() + 16 * KIB + MALLOC_SLACK_BYTES;     /* 11.3 KiB: libdeflate's decompressor */
}

static bool blosc_decoder_open(void **state, struct error *err)
{
    *state = calloc(1, sizeof(struct blosc_reader));
    return *state || error_at(err, ERR_FIT, SPAN_NONE, "blosc: no memory for a decoder");
}

static void blosc_decoder_close(void *state)
{
    struct blosc_reader *r = state;

    if (r)
        blosc_inner_release(&r->inner);
    free(r);
}

static bool blosc_begin(void *state, const char *from, uint64_t from_bytes, uint64_t raw_bytes, struct error *err)
{
    struct blosc_reader *r = state;

    if (!blosc_frame_open(&r->frame, from, from_bytes, err))
        return false;
    r->next_block = 0;
    r->end_block = r->frame.block_count;
    r->memcpyed = blosc_frame_raw(&r->frame);
    r->memcpyed_bytes = r->frame.raw_bytes;
    if (r->frame.raw_bytes != raw_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: the frame says %u bytes, the chunk has %llu",
                        r->frame.raw_bytes, (unsigned long long)raw_bytes);
    return blosc_inner_ready(&r->inner, &r->frame, err);
}

static bool blosc_begin_range(void *state, const struct codec_range *range, const char *from, uint64_t from_bytes,
                              const char *places, uint64_t *skip_bytes, struct error *err)
{
    struct blosc_reader *r = state;
    struct blosc_frame *f = &r->frame;

    if (!blosc_frame_open(f, range->head, range->frame_bytes, err))
        return false;
    f->bytes = from;
    f->byte_count = from_bytes;
    f->places = places;
    f->places_first = r->next_block = range->block_first;
    f->place_least = 0;
    r->end_block = range->block_first + range->block_count;
    *skip_bytes = blosc_frame_is_memcpyed(f) ? 0 : range->raw_first - (uint64_t)range->block_first * f->block_bytes;
    r->memcpyed = from;
    r->memcpyed_bytes = from_bytes;
    return blosc_inner_ready(&r->inner, f, err);
}

/* Blocks that cover a range begin before it and end behind it. That many of the smallest c-blosc makes, 128 bytes, are
 * 1/16 longer with the lengths before each split and their places, for which a page is enough. */
static uint64_t blosc_range_bytes_max(const struct codec *c, uint64_t raw_bytes, uint64_t range_raw_bytes,
                                      const struct codec_sample *sample)
{
    uint64_t block_bytes = block_bytes_expected(c, raw_bytes, sample);
    uint64_t covered = size_min(raw_bytes, size_add_sat(range_raw_bytes, 2 * block_bytes));

    return size_add_sat(covered + covered / 16, CODEC_PLACES_BYTES_MAX);
}

/* As many whole blocks as make a good part, the last of the room being for the shuffled block. */
static bool blosc_next(void *state, char *room, uint64_t room_bytes, const char **part, uint64_t *part_bytes,
                       struct error *err)
{
    struct blosc_reader *r = state;
    const struct blosc_frame *f = &r->frame;
    uint64_t work_bytes = blosc_frame_is_shuffled(f) ? f->block_bytes : 0, done = 0, least, end;

    *part = room;
    *part_bytes = 0;
    if (blosc_frame_is_memcpyed(f)) {
        *part = r->memcpyed;
        *part_bytes = r->memcpyed_bytes;
        r->memcpyed_bytes = 0;
        return true;
    }
    if (r->next_block == r->end_block)
        return true;
    least = work_bytes + blosc_frame_block_bytes(f, r->next_block);
    if (least > room_bytes) {
        error_at(err, ERR_FIT, SPAN_NONE, "blosc: a block of %u bytes takes %llu to decode, %llu are given",
                 f->block_bytes, (unsigned long long)least, (unsigned long long)room_bytes);
        error_bytes(err, least, room_bytes);
        return false;
    }
    end = size_min(size_max(PART_BYTES, f->block_bytes), room_bytes - work_bytes);
    while (r->next_block < r->end_block && done + blosc_frame_block_bytes(f, r->next_block) <= end) {
        if (!blosc_frame_block(f, &r->inner, r->next_block, room + done, room + room_bytes - work_bytes, err))
            return false;
        done += blosc_frame_block_bytes(f, r->next_block++);
    }
    *part_bytes = done;
    return true;
}

/* All at once, for a blosc that has another codec inside: there the raw length is what the frame says. */
static bool blosc_decode(void *state, const struct decode_job *job, uint64_t *to_bytes, struct error *err)
{
    uint64_t done = 0, part_bytes;
    uint64_t says = job->from_bytes >= BLOSC_HEAD_BYTES ? load_u32(job->from + 4) : 0;
    const char *part;

    if (!blosc_begin(state, job->from, job->from_bytes, says, err))
        return false;
    if (says > job->limit_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "blosc: the frame says %llu bytes, there can be %llu at most",
                        (unsigned long long)says, (unsigned long long)job->limit_bytes);
    do {
        if (!blosc_next(state, job->room + done, job->room_bytes - done, &part, &part_bytes, err))
            return false;
        if (part_bytes > 0 && part != job->room + done)
            memcpy(job->room + done, part, part_bytes);
        done += part_bytes;
    } while (part_bytes > 0);
    *to_bytes = done;
    return true;
}

/* ---- encoding ---- */

static uint64_t blosc_encoded_bytes_max(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    return blosc_frame_bytes_max(raw_bytes);
}

static bool blosc_encoder_open(void **state, const struct codec *c, uint64_t raw_bytes, char *work,
                               struct error *err)
{
    struct blosc_writer *w = NULL;
    bool ok = blosc_writer_open(&w, c, raw_bytes, work, err);

    *state = w;
    return ok;
}

static void blosc_encoder_close(void *state)
{
    blosc_writer_close(state);
}

static bool blosc_encode(void *state, const struct codec *c, const char *from, uint64_t from_bytes, char *to,
                         uint64_t *to_bytes, const volatile int *stop, struct error *err)
{
    (void)c;
    return blosc_writer_write(state, from, from_bytes, to, to_bytes, stop, err);
}

/* ---- text ---- */

static void blosc_text(const struct codec *c, struct text *out)
{
    text_addf(out, "blosc:%s:%d:%s", c->cname, c->level, shuffle_names[c->shuffle]);
    if (c->blocksize > 0)
        text_addf(out, ":%u", c->blocksize);
}

static bool find_word(unsigned *index, const char *what, const char *word, const char *const *words, unsigned count,
                      struct error *err)
{
    const char *nearest;

    for (*index = 0; *index < count; (*index)++)
        if (strcmp(word, words[*index]) == 0)
            return true;
    error_at(err, ERR_USAGE, SPAN_NONE, "'blosc' has no %s '%s'", what, word);
    nearest = text_nearest(word, words, count);
    if (nearest)
        error_help(err, "did you mean '%s'?", nearest);
    else if (words == cnames)
        error_help(err, "there are blosclz, lz4, lz4hc, snappy, zlib, zstd");
    else
        error_help(err, "there are noshuffle, shuffle, bitshuffle");
    return false;
}

static bool parse_block_bytes(uint32_t *block_bytes, const char *word, struct error *err)
{
    char *end;
    unsigned long value = strtoul(word, &end, 10);

    if (*word < '0' || *word > '9' || *end || value > BLOSC_RAW_BYTES_MAX / 3)
        return error_at(err, ERR_USAGE, SPAN_NONE, "'%s' is not a block size for 'blosc' (bytes, 0: automatic)",
                        word);
    *block_bytes = (uint32_t)value;
    return true;
}

static bool blosc_parse(struct codec *c, char *const *words, unsigned count, uint32_t item_bytes, struct error *err)
{
    unsigned cname = 1, shuffle = item_bytes > 1 ? SHUFFLE_BYTE : SHUFFLE_BIT;

    c->level = LEVEL_DEFAULT;
    c->typesize = item_bytes;
    if (count > 4)
        return error_at(err, ERR_USAGE, SPAN_NONE,
                        "'blosc' takes a codec, a level, a shuffle and a block size, not '%s'", words[4]);
    if (count > 0 && !find_word(&cname, "codec", words[0], cnames, CNAME_COUNT, err))
        return false;
    if (count > 1 && !codec_parse_level(&c->level, words[1], &blosc_class, err))
        return false;
    if (count > 2 && !find_word(&shuffle, "shuffle", words[2], shuffle_names, SHUFFLE_COUNT, err))
        return false;
    if (count > 3 && !parse_block_bytes(&c->blocksize, words[3], err))
        return false;
    memcpy(c->cname, cnames[cname], strlen(cnames[cname]) + 1);
    c->shuffle = (enum blosc_shuffle)shuffle;
    return true;
}

const struct codec_class blosc_class = {
    .name = "blosc",
    .level_default = LEVEL_DEFAULT, .level_min = 0, .level_max = LEVEL_MAX,
    .raw_bytes_max = BLOSC_RAW_BYTES_MAX,
    .encoded_bytes_max = blosc_encoded_bytes_max,
    .sample = blosc_sample,
    .sample_own = blosc_sample_own,
    .decode_library_bytes = blosc_decode_library_bytes,
    .encode_library_bytes = blosc_writer_library_bytes,
    .encode_work_bytes = blosc_writer_work_bytes,
    .work_bytes = block_bytes_expected,
    .part_bytes = block_bytes_expected,
    .decoder_open = blosc_decoder_open,
    .decoder_close = blosc_decoder_close,
    .encoder_open = blosc_encoder_open,
    .encoder_close = blosc_encoder_close,
    .decode = blosc_decode,
    .begin = blosc_begin,
    .next = blosc_next,
    .begin_range = blosc_begin_range,
    .range_bytes_max = blosc_range_bytes_max,
    .encode = blosc_encode,
    .appending = &blosc_appending,
    .text = blosc_text,
    .parse = blosc_parse,
};
