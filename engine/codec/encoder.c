/* Encoding a chain: a checksum is appended in place; of several compressors all but the last write into scratch and
 * the caller's buffer in turn, so that the last one ends in the caller's. */
#include <stdlib.h>
#include <string.h>

#include "engine/codec/append.h"
#include "engine/codec/codec_impl.h"

struct encoder {
    struct codec_chain chain;
    struct appender *appender;      /* long chunks of codecs that stream; NULL: all else */
    void *states[CODECS_MAX];
    uint64_t raw_bytes;
    uint32_t swap_bytes;
    char *scratch;
    const volatile int *stop;       /* NULL: nobody stops it */
};

/* Does codec `index` write to another buffer than it reads from? A checksum on the raw bytes does: there is no
 * room behind them. */
static bool moves(const struct codec_chain *c, unsigned index)
{
    return index == 0 || !codec_class_of(&c->codecs[index])->append;
}

static unsigned move_count(const struct codec_chain *c)
{
    unsigned count = 0;

    for (unsigned i = 0; i < c->count; i++)
        count += moves(c, i);
    return count;
}

/* The buffer between compressors comes first in scratch, then each codec's work room. */
static uint64_t between_bytes(const struct codec_chain *c, uint64_t raw_bytes)
{
    return move_count(c) > 1 ? buffer_bytes(chain_encoded_bytes_max(c, c->count, raw_bytes)) : 0;
}

static uint64_t work_bytes(const struct codec_chain *c, unsigned index, uint64_t raw_bytes)
{
    const struct codec_class *class = codec_class_of(&c->codecs[index]);
    uint64_t bytes = chain_encoded_bytes_max(c, index, raw_bytes);

    return class->encode_work_bytes ? buffer_bytes(class->encode_work_bytes(&c->codecs[index], bytes)) : 0;
}

void codec_encode_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, struct codec_needs *out)
{
    if (chain_is_always_appended(c, raw_bytes)) {
        codec_appended_needs(c, dtype, raw_bytes, out);
        return;
    }
    *out = (struct codec_needs){ .encoded_bytes_max = chain_encoded_bytes_max(c, c->count, raw_bytes) };
    out->scratch_bytes_least = between_bytes(c, raw_bytes);
    for (unsigned i = 0; i < c->count; i++) {
        const struct codec_class *class = codec_class_of(&c->codecs[i]);

        out->scratch_bytes_least = size_add_sat(out->scratch_bytes_least, work_bytes(c, i, raw_bytes));
        if (class->encode_library_bytes)
            out->library_bytes = size_add_sat(out->library_bytes, class->encode_library_bytes(&c->codecs[i],
                                              chain_encoded_bytes_max(c, i, raw_bytes)));
    }
    out->scratch_bytes_useful = out->scratch_bytes_least;
}

static bool check_lengths(const struct codec_chain *c, uint64_t raw_bytes, struct error *err)
{
    for (unsigned i = 0; i < c->count; i++) {
        const struct codec_class *class = codec_class_of(&c->codecs[i]);
        uint64_t bytes = chain_encoded_bytes_max(c, i, raw_bytes);

        if (bytes > class->raw_bytes_max) {
            error_at(err, ERR_USAGE, SPAN_NONE, "%s cannot encode chunks of more than %llu bytes; these have %llu",
                     class->name, (unsigned long long)class->raw_bytes_max, (unsigned long long)bytes);
            error_help(err, "make the chunks smaller, or choose 'zstd'");
            return false;
        }
    }
    return true;
}

static bool open_codecs(struct encoder *e, struct error *err)
{
    char *work = e->scratch + between_bytes(&e->chain, e->raw_bytes);

    for (unsigned i = 0; i < e->chain.count; i++) {
        const struct codec *codec = &e->chain.codecs[i];
        const struct codec_class *class = codec_class_of(codec);
        uint64_t bytes = chain_encoded_bytes_max(&e->chain, i, e->raw_bytes);

        if (class->encoder_open && !class->encoder_open(&e->states[i], codec, bytes, work, err))
            return false;
        work += work_bytes(&e->chain, i, e->raw_bytes);
    }
    return true;
}

bool encoder_new(struct encoder **out, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                 void *scratch, uint64_t scratch_bytes, struct error *err)
{
    struct encoder *e = calloc(1, sizeof *e);
    struct codec_needs needs;

    if (!e)
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for an encoder");
    e->chain = *c;
    e->raw_bytes = raw_bytes;
    e->swap_bytes = c->big_endian ? dtype_swap_bytes(dtype) : 1;
    e->scratch = scratch;
    if (!check_lengths(c, raw_bytes, err))
        goto failed;
    codec_encode_needs(c, dtype, raw_bytes, &needs);
    if (scratch_bytes < needs.scratch_bytes_least) {
        error_at(err, ERR_FIT, SPAN_NONE, "encoding a chunk takes %llu bytes of scratch, %llu are given",
                 (unsigned long long)needs.scratch_bytes_least, (unsigned long long)scratch_bytes);
        error_bytes(err, needs.scratch_bytes_least, scratch_bytes);
        goto failed;
    }
    if (chain_is_always_appended(c, raw_bytes)) {
        if (!appender_new(&e->appender, c, dtype, raw_bytes, scratch, scratch_bytes, err))
            goto failed;
    } else if (!open_codecs(e, err)) {
        goto failed;
    }
    *out = e;
    return true;
failed:
    encoder_free(e);
    return false;
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    for (unsigned i = 0; i < e->chain.count; i++)
        if (e->states[i] && codec_class_of(&e->chain.codecs[i])->encoder_close)
            codec_class_of(&e->chain.codecs[i])->encoder_close(e->states[i]);
    appender_free(e->appender);
    free(e);
}

void encoder_stop_when(struct encoder *e, const volatile int *stop)
{
    e->stop = stop;
    if (e->appender)
        appender_stop_when(e->appender, stop);
}

static bool append_whole(struct encoder *e, void *raw, char *encoded, uint64_t *encoded_bytes, struct error *err)
{
    uint64_t room_bytes = chain_encoded_bytes_max(&e->chain, e->chain.count, e->raw_bytes);

    if (!appender_begin(e->appender, err))
        return false;
    appender_put(e->appender, raw, e->raw_bytes);
    if (!appender_take(e->appender, encoded, room_bytes, encoded_bytes, err))
        return false;
    return appender_is_complete(e->appender) ||
           error_at(err, ERR_FIT, SPAN_NONE, "a chunk's encoding is longer than %llu bytes",
                    (unsigned long long)room_bytes);
}

bool encode(struct encoder *e, void *raw, void *encoded, uint64_t *encoded_bytes, struct error *err)
{
    unsigned moves_left = move_count(&e->chain);
    uint64_t bytes = e->raw_bytes;
    char *at = raw;

    if (e->appender)
        return append_whole(e, raw, encoded, encoded_bytes, err);
    if (e->swap_bytes > 1)
        dtype_swap(raw, e->raw_bytes, e->swap_bytes);
    if (e->chain.count == 0) {
        if (encoded != raw)
            memcpy(encoded, raw, bytes);
        *encoded_bytes = bytes;
        return true;
    }
    for (unsigned i = 0; i < e->chain.count; i++) {
        const struct codec_class *class = codec_class_of(&e->chain.codecs[i]);

        if (moves(&e->chain, i)) {
            char *to = moves_left % 2 ? encoded : e->scratch;

            if (class->append)
                memcpy(to, at, bytes);
            else if (!class->encode(e->states[i], &e->chain.codecs[i], at, bytes, to, &bytes, e->stop, err))
                return false;
            at = to;
            moves_left--;
        }
        if (class->append)
            class->append(at, &bytes);
    }
    *encoded_bytes = bytes;
    return true;
}
