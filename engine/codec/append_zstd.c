/* zstd, as it comes: one frame with its content's size, in steps of one zstd block. The context, with the window that
 * a stream keeps, is in memory of the caller's. */
#define ZSTD_STATIC_LINKING_ONLY    /* a context in memory of ours, and the estimate of its size */
#include <stdlib.h>
#include <zstd.h>

#include "engine/codec/codec_impl.h"

#define STEP_BYTES ((uint64_t)ZSTD_BLOCKSIZE_MAX)

struct zstd_append {
    ZSTD_CStream *stream;
    uint64_t raw_bytes;
    uint64_t room_bytes;
};

static uint64_t step_bytes(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    return size_min(STEP_BYTES, raw_bytes);
}

/* The step's block and what may be left of the one before, the frame's header and its checksum. */
static uint64_t room_bytes(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    (void)raw_bytes;
    return 2 * ZSTD_CStreamOutSize() + ZSTD_FRAMEHEADERSIZE_MAX;
}

static uint64_t work_bytes(const struct codec *c, uint64_t raw_bytes)
{
    return ZSTD_estimateCStreamSize_usingCParams(ZSTD_getCParams(zstd_codec_level(c), raw_bytes, 0));
}

static bool open_stream(void **state, const struct codec *c, uint64_t raw_bytes, char *work, struct error *err)
{
    struct zstd_append *z = calloc(1, sizeof *z);

    if (!z)
        return error_at(err, ERR_FIT, SPAN_NONE, "zstd: no memory for an encoder");
    *state = z;
    z->raw_bytes = raw_bytes;
    z->room_bytes = room_bytes(c, raw_bytes);
    z->stream = ZSTD_initStaticCStream(work, work_bytes(c, raw_bytes));
    if (!z->stream)
        return error_at(err, ERR_FIT, SPAN_NONE, "zstd: no memory for an encoder of level %d", zstd_codec_level(c));
    ZSTD_CCtx_reset(z->stream, ZSTD_reset_session_and_parameters);  /* else some are zero that should not be */
    ZSTD_CCtx_setParameter(z->stream, ZSTD_c_compressionLevel, zstd_codec_level(c));
    ZSTD_CCtx_setParameter(z->stream, ZSTD_c_checksumFlag, c->checksum);
    return true;
}

static bool begin(void *state, char *head, struct error *err)
{
    struct zstd_append *z = state;
    size_t got = ZSTD_CCtx_reset(z->stream, ZSTD_reset_session_only);

    (void)head;
    if (!ZSTD_isError(got))
        got = ZSTD_CCtx_setPledgedSrcSize(z->stream, z->raw_bytes);
    return !ZSTD_isError(got) || error_at(err, ERR_FIT, SPAN_NONE, "zstd: cannot begin a frame: %s",
                                          ZSTD_getErrorName(got));
}

static bool step(void *state, const char *from, uint64_t from_bytes, bool last, char *to, uint64_t *to_bytes,
                 struct error *err)
{
    struct zstd_append *z = state;
    ZSTD_outBuffer out = { to, z->room_bytes, 0 };
    ZSTD_inBuffer in = { from, from_bytes, 0 };
    size_t got;

    do
        got = ZSTD_compressStream2(z->stream, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    while (!ZSTD_isError(got) && out.pos < out.size && (in.pos < in.size || (last && got > 0)));
    if (ZSTD_isError(got) || in.pos < in.size || (last && got > 0))
        return error_at(err, ERR_FIT, SPAN_NONE, "zstd: could not encode %llu bytes: %s",
                        (unsigned long long)from_bytes, ZSTD_isError(got) ? ZSTD_getErrorName(got) : "no room");
    *to_bytes = out.pos;
    return true;
}

const struct appending zstd_appending = {
    .step_bytes = step_bytes,
    .room_bytes = room_bytes,
    .work_bytes = work_bytes,
    .open = open_stream,
    .close = free,
    .begin = begin,
    .step = step,
};
