/* zstd: one or more Zstandard frames (RFC 8878). A frame need not say its content's size (TensorStore's do not),
 * so it is never asked: the output is bounded by what the chunk can hold. We write one frame, with its content size.
 *
 * Whole chunks are decoded at once, without a window. Those too big for that go through a ZSTD_DStream in memory it is
 * given; the window its frames refer back to is in their headers. */
#define ZSTD_STATIC_LINKING_ONLY    /* the estimates of context sizes */
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "engine/codec/codec_impl.h"

/* What malloc adds to a library's own figures. */
#define MALLOC_SLACK_BYTES (16 * KIB)
#define ENCODE_STEP_BYTES MIB

int zstd_codec_level(const struct codec *c)
{
    return c->level > ZSTD_maxCLevel() ? ZSTD_maxCLevel() : c->level < ZSTD_minCLevel() ? ZSTD_minCLevel() : c->level;
}

static uint64_t zstd_encoded_bytes_max(const struct codec *c, uint64_t raw_bytes)
{
    uint64_t bound = raw_bytes <= ZSTD_MAX_INPUT_SIZE / 2 ? ZSTD_compressBound(raw_bytes) : UINT64_MAX;

    (void)c;
    return size_add_sat(bound, 4);      /* the checksum */
}

static uint64_t zstd_decode_library_bytes(const struct codec *c)
{
    (void)c;
    return ZSTD_estimateDCtxSize() + MALLOC_SLACK_BYTES;
}

static uint64_t zstd_encode_library_bytes(const struct codec *c, uint64_t raw_bytes)
{
    return ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(zstd_codec_level(c), raw_bytes, 0)) + MALLOC_SLACK_BYTES;
}

static bool zstd_decoder_open(void **state, struct error *err)
{
    *state = ZSTD_createDCtx();
    return *state || error_at(err, ERR_FIT, SPAN_NONE, "zstd: no memory for a decoder");
}

static void zstd_decoder_close(void *state)
{
    ZSTD_freeDCtx(state);
}

static bool zstd_decode(void *state, const struct decode_job *job, uint64_t *to_bytes, struct error *err)
{
    size_t got = ZSTD_decompressDCtx(state, job->room, job->limit_bytes, job->from, job->from_bytes);

    if (!ZSTD_isError(got)) {
        *to_bytes = got;
        return true;
    }
    if (ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall)
        return error_at(err, ERR_INPUT, SPAN_NONE, "zstd: %llu bytes decode to more than the %llu there can be",
                        (unsigned long long)job->from_bytes, (unsigned long long)job->limit_bytes);
    return error_at(err, ERR_INPUT, SPAN_NONE, "zstd: %llu bytes do not decode: %s",
                    (unsigned long long)job->from_bytes, ZSTD_getErrorName(got));
}

/* ---- streams ---- */

struct zstd_stream {
    ZSTD_DStream *stream;
    uint64_t memory_bytes;
    uint64_t window_bytes_max;          /* of the frames met so far */
    bool between_frames;
};

/* What decoding a frame by steps looks back at; 0: not to be seen, or there is nothing to decode. */
static uint64_t frame_window_bytes(const char *from, uint64_t from_bytes)
{
    ZSTD_frameHeader head;

    if (ZSTD_getFrameHeader(&head, from, from_bytes) != 0 || head.frameType != ZSTD_frame)
        return 0;
    return size_min(head.windowSize, head.frameContentSize);    /* UINT64_MAX: it does not say */
}

static void zstd_sample(struct codec_sample *s, const char *head, uint64_t head_bytes)
{
    s->zstd_window_bytes_max = size_max(s->zstd_window_bytes_max, frame_window_bytes(head, head_bytes));
}

/* Blocks of a frame are up to ZSTD_BLOCKSIZE_MAX long, however short it says its window is. */
static uint64_t stream_memory_bytes(uint64_t window_bytes)
{
    return size_add_sat(ZSTD_estimateDStreamSize(size_max(window_bytes, ZSTD_BLOCKSIZE_MAX)), BUFFER_ALIGN);
}

static uint64_t zstd_stream_bytes(const struct codec *c, uint64_t raw_bytes, const struct codec_sample *sample)
{
    uint64_t window_bytes = (uint64_t)1 << ZSTD_getCParams(zstd_codec_level(c), raw_bytes, 0).windowLog;

    if (sample && sample->zstd_window_bytes_max > 0)
        window_bytes = sample->zstd_window_bytes_max;
    return buffer_bytes(sizeof(struct zstd_stream)) + stream_memory_bytes(window_bytes);
}

static bool zstd_stream_open(void **state, char *memory, uint64_t memory_bytes, struct error *err)
{
    struct zstd_stream *z = (struct zstd_stream *)memory;
    uint64_t own_bytes = buffer_bytes(sizeof *z);

    if (memory_bytes < own_bytes + stream_memory_bytes(0)) {
        error_at(err, ERR_FIT, SPAN_NONE, "zstd: decoding a stream takes %llu bytes at least, %llu are given",
                 (unsigned long long)(own_bytes + stream_memory_bytes(0)), (unsigned long long)memory_bytes);
        return false;
    }
    *z = (struct zstd_stream){ .memory_bytes = memory_bytes - own_bytes };
    z->stream = ZSTD_initStaticDStream(memory + own_bytes, z->memory_bytes);
    if (!z->stream)
        return error_at(err, ERR_FIT, SPAN_NONE, "zstd: no memory for a stream decoder");
    ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, ZSTD_WINDOWLOG_MAX);     /* its memory is the limit */
    *state = z;
    return true;
}

static bool zstd_stream_begin(void *state, struct error *err)
{
    struct zstd_stream *z = state;

    (void)err;
    ZSTD_DCtx_reset(z->stream, ZSTD_reset_session_only);
    z->between_frames = true;
    return true;
}

/* A header that is cut by the end of a window cannot be looked at. Then twice what there is room for is a guess that
 * comes true in a few tries. */
static bool window_does_not_fit(struct zstd_stream *z, struct error *err)
{
    uint64_t least;

    if (stream_memory_bytes(z->window_bytes_max) <= z->memory_bytes)
        z->window_bytes_max = 2 * z->memory_bytes;
    least = stream_memory_bytes(z->window_bytes_max);
    error_at(err, ERR_FIT, SPAN_NONE, "zstd: a frame that refers %llu bytes back takes %llu to decode, %llu are given",
             (unsigned long long)z->window_bytes_max, (unsigned long long)least, (unsigned long long)z->memory_bytes);
    error_bytes(err, least, z->memory_bytes);
    return false;
}

static bool zstd_stream_step(void *state, struct stream_job *job, struct error *err)
{
    struct zstd_stream *z = state;
    ZSTD_inBuffer in = { job->from, job->from_bytes, 0 };
    ZSTD_outBuffer out = { job->to, job->to_bytes, 0 };
    size_t result;

    if (z->between_frames)
        z->window_bytes_max = size_max(z->window_bytes_max, frame_window_bytes(job->from, job->from_bytes));
    result = ZSTD_decompressStream(z->stream, &out, &in);
    if (ZSTD_isError(result) && ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return window_does_not_fit(z, err);
    if (ZSTD_isError(result))
        return error_at(err, ERR_INPUT, SPAN_NONE, "zstd: does not decode: %s", ZSTD_getErrorName(result));
    if (in.pos > 0 || out.pos > 0)
        z->between_frames = job->complete = result == 0;
    job->from += in.pos;
    job->from_bytes -= in.pos;
    job->to += out.pos;
    job->to_bytes -= out.pos;
    return true;
}

static void zstd_stream_saw(const void *state, struct codec_sample *sample)
{
    const struct zstd_stream *z = state;

    sample->zstd_window_bytes_max = size_max(sample->zstd_window_bytes_max, z->window_bytes_max);
}

/* ---- encoding ---- */

static bool zstd_encoder_open(void **state, const struct codec *c, uint64_t raw_bytes, char *work,
                              struct error *err)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();

    (void)raw_bytes;
    (void)work;
    if (!context)
        return error_at(err, ERR_FIT, SPAN_NONE, "zstd: no memory for an encoder");
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, zstd_codec_level(c));
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, c->checksum);
    ZSTD_CCtx_setParameter(context, ZSTD_c_stableInBuffer, 1);
    ZSTD_CCtx_setParameter(context, ZSTD_c_stableOutBuffer, 1);
    *state = context;
    return true;
}

static void zstd_encoder_close(void *state)
{
    ZSTD_freeCCtx(state);
}

/* The whole input at the highest level can take a minute, so it is shown to zstd bit by bit. With stable buffers that
 * costs no memory and gives the very bytes of one call. */
static bool zstd_encode(void *state, const struct codec *c, const char *from, uint64_t from_bytes, char *to,
                        uint64_t *to_bytes, const volatile int *stop, struct error *err)
{
    ZSTD_outBuffer out = { to, zstd_encoded_bytes_max(c, from_bytes), 0 };
    ZSTD_inBuffer in = { from, 0, 0 };
    size_t got;

    ZSTD_CCtx_reset(state, ZSTD_reset_session_only);
    ZSTD_CCtx_setPledgedSrcSize(state, from_bytes);
    do {
        if (stop_asked(stop))
            return error_stopped(err, stop_asked(stop));
        in.size += size_min(ENCODE_STEP_BYTES, from_bytes - in.size);
        got = ZSTD_compressStream2(state, &out, &in, in.size == from_bytes ? ZSTD_e_end : ZSTD_e_continue);
    } while (!ZSTD_isError(got) && in.size < from_bytes);
    if (ZSTD_isError(got) || got != 0)
        return error_at(err, ERR_FIT, SPAN_NONE, "zstd: could not encode %llu bytes at level %d: %s",
                        (unsigned long long)from_bytes, zstd_codec_level(c), ZSTD_getErrorName(got));
    *to_bytes = out.pos;
    return true;
}

static void zstd_text(const struct codec *c, struct text *out)
{
    text_addf(out, "zstd:%d%s", c->level, c->checksum ? ":checksum" : "");
}

static bool zstd_parse(struct codec *c, char *const *words, unsigned count, uint32_t item_bytes, struct error *err)
{
    (void)item_bytes;
    if (count > 2)
        return error_at(err, ERR_USAGE, SPAN_NONE, "'zstd' takes a level and 'checksum', not '%s'", words[2]);
    if (count > 0 && !codec_parse_level(&c->level, words[0], &zstd_class, err))
        return false;
    if (count > 1 && strcmp(words[1], "checksum") != 0)
        return error_at(err, ERR_USAGE, SPAN_NONE, "after its level 'zstd' takes 'checksum', not '%s'", words[1]);
    c->checksum = count > 1;
    return true;
}

const struct codec_class zstd_class = {
    .name = "zstd",
    .level_default = 3, .level_min = -131072, .level_max = 22,
    .raw_bytes_max = ZSTD_MAX_INPUT_SIZE / 2,
    .encoded_bytes_max = zstd_encoded_bytes_max,
    .decode_library_bytes = zstd_decode_library_bytes,
    .encode_library_bytes = zstd_encode_library_bytes,
    .decoder_open = zstd_decoder_open,
    .decoder_close = zstd_decoder_close,
    .encoder_open = zstd_encoder_open,
    .encoder_close = zstd_encoder_close,
    .decode = zstd_decode,
    .sample = zstd_sample,
    .stream_bytes = zstd_stream_bytes,
    .stream_open = zstd_stream_open,
    .stream_begin = zstd_stream_begin,
    .stream_step = zstd_stream_step,
    .stream_saw = zstd_stream_saw,
    .encode = zstd_encode,
    .appending = &zstd_appending,
    .text = zstd_text,
    .parse = zstd_parse,
};
