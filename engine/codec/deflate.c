/* gzip (RFC 1952, one or more members) and zlib (RFC 1950), by libdeflate: whole chunks, which is how chunks come,
 * and two to three times as fast as zlib.
 *
 * We write gzip with time stamp 0, so that the same chunk always gives the same bytes. Zeros after the last
 * member are padding, as gzip itself takes them; anything else there is an error. */
#include <libdeflate.h>

#include "engine/codec/codec_impl.h"
#include "engine/codec/inflate.h"

/* Levels are zlib's, where -1 is the default. */
int deflate_codec_level(const struct codec *c)
{
    return c->level < 0 ? 6 : c->level > 9 ? 9 : c->level;
}

static uint64_t gzip_encoded_bytes_max(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    return raw_bytes > UINT64_MAX / 2 ? UINT64_MAX : libdeflate_gzip_compress_bound(NULL, raw_bytes);
}

static uint64_t zlib_encoded_bytes_max(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    return raw_bytes > UINT64_MAX / 2 ? UINT64_MAX : libdeflate_zlib_compress_bound(NULL, raw_bytes);
}

static uint64_t deflate_decode_library_bytes(const struct codec *c)
{
    (void)c;
    return 16 * KIB;            /* a decompressor has 11.3 KiB in libdeflate 1.14 */
}

static uint64_t deflate_encode_library_bytes(const struct codec *c, uint64_t raw_bytes)
{
    (void)raw_bytes;
    return deflate_codec_level(c) == 1 ? 256 * KIB : 704 * KIB;    /* 200 and 656 KiB in libdeflate 1.14 */
}

static bool deflate_decoder_open(void **state, struct error *err)
{
    *state = libdeflate_alloc_decompressor();
    return *state || error_at(err, ERR_FIT, SPAN_NONE, "deflate: no memory for a decoder");
}

static void deflate_decoder_close(void *state)
{
    libdeflate_free_decompressor(state);
}

static bool deflate_encoder_open(void **state, const struct codec *c, uint64_t raw_bytes, char *work,
                                 struct error *err)
{
    (void)raw_bytes;
    (void)work;
    *state = libdeflate_alloc_compressor(deflate_codec_level(c));
    return *state || error_at(err, ERR_FIT, SPAN_NONE, "deflate: no memory for an encoder of level %d",
                              deflate_codec_level(c));
}

static void deflate_encoder_close(void *state)
{
    libdeflate_free_compressor(state);
}

static bool decode_error(const char *name, enum libdeflate_result result, const struct decode_job *job,
                         struct error *err)
{
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE)
        return error_at(err, ERR_INPUT, SPAN_NONE, "%s: %llu bytes decode to more than the %llu there can be", name,
                        (unsigned long long)job->from_bytes, (unsigned long long)job->limit_bytes);
    return error_at(err, ERR_INPUT, SPAN_NONE, "%s: %llu bytes are damaged or cut short", name,
                    (unsigned long long)job->from_bytes);
}

static bool all_zero(const char *at, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (at[i])
            return false;
    return true;
}

static bool gzip_decode(void *state, const struct decode_job *job, uint64_t *to_bytes, struct error *err)
{
    const char *from = job->from;
    uint64_t from_bytes = job->from_bytes, done_bytes = 0;

    do {
        size_t member_bytes, got;
        enum libdeflate_result result;

        result = libdeflate_gzip_decompress_ex(state, from, from_bytes, job->room + done_bytes,
                                               job->limit_bytes - done_bytes, &member_bytes, &got);
        if (result != LIBDEFLATE_SUCCESS)
            return decode_error("gzip", result, job, err);
        from += member_bytes;
        from_bytes -= member_bytes;
        done_bytes += got;
    } while (!all_zero(from, from_bytes));
    *to_bytes = done_bytes;
    return true;
}

static bool zlib_decode(void *state, const struct decode_job *job, uint64_t *to_bytes, struct error *err)
{
    size_t stream_bytes, got;
    enum libdeflate_result result = libdeflate_zlib_decompress_ex(state, job->from, job->from_bytes, job->room,
                                                                  job->limit_bytes, &stream_bytes, &got);

    if (result != LIBDEFLATE_SUCCESS)
        return decode_error("zlib", result, job, err);
    if (stream_bytes != job->from_bytes)
        return error_at(err, ERR_INPUT, SPAN_NONE, "zlib: the stream ends after %llu of %llu bytes",
                        (unsigned long long)stream_bytes, (unsigned long long)job->from_bytes);
    *to_bytes = got;
    return true;
}

static bool gzip_encode(void *state, const struct codec *c, const char *from, uint64_t from_bytes, char *to,
                        uint64_t *to_bytes, const volatile int *stop, struct error *err)
{
    (void)stop;
    *to_bytes = libdeflate_gzip_compress(state, from, from_bytes, to, gzip_encoded_bytes_max(c, from_bytes));
    return *to_bytes > 0 || error_at(err, ERR_FIT, SPAN_NONE, "gzip: could not encode %llu bytes",
                                     (unsigned long long)from_bytes);
}

static bool zlib_encode(void *state, const struct codec *c, const char *from, uint64_t from_bytes, char *to,
                        uint64_t *to_bytes, const volatile int *stop, struct error *err)
{
    (void)stop;
    *to_bytes = libdeflate_zlib_compress(state, from, from_bytes, to, zlib_encoded_bytes_max(c, from_bytes));
    return *to_bytes > 0 || error_at(err, ERR_FIT, SPAN_NONE, "zlib: could not encode %llu bytes",
                                     (unsigned long long)from_bytes);
}

const struct codec_class gzip_class = {
    .name = "gzip",
    .level_default = 5, .level_min = 0, .level_max = 9,
    .raw_bytes_max = UINT64_MAX / 2,
    .encoded_bytes_max = gzip_encoded_bytes_max,
    .decode_library_bytes = deflate_decode_library_bytes,
    .encode_library_bytes = deflate_encode_library_bytes,
    .decoder_open = deflate_decoder_open,
    .decoder_close = deflate_decoder_close,
    .encoder_open = deflate_encoder_open,
    .encoder_close = deflate_encoder_close,
    .decode = gzip_decode,
    .stream_bytes = inflate_stream_bytes,
    .stream_open = gzip_stream_open,
    .stream_begin = inflate_stream_begin,
    .stream_step = inflate_stream_step,
    .encode = gzip_encode,
    .appending = &gzip_appending,
};

const struct codec_class zlib_class = {
    .name = "zlib",
    .level_default = 5, .level_min = 0, .level_max = 9,
    .raw_bytes_max = UINT64_MAX / 2,
    .encoded_bytes_max = zlib_encoded_bytes_max,
    .decode_library_bytes = deflate_decode_library_bytes,
    .encode_library_bytes = deflate_encode_library_bytes,
    .decoder_open = deflate_decoder_open,
    .decoder_close = deflate_decoder_close,
    .encoder_open = deflate_encoder_open,
    .encoder_close = deflate_encoder_close,
    .decode = zlib_decode,
    .stream_bytes = inflate_stream_bytes,
    .stream_open = zlib_stream_open,
    .stream_begin = inflate_stream_begin,
    .stream_step = inflate_stream_step,
    .encode = zlib_encode,
    .appending = &zlib_appending,
};
