/* The appender: collects steps, has them encoded, and hands out what is ready. Scratch, in this order: the head, a
 * step, what one encodes to, a step that is undone, and the codec's own work room. */
#include "engine/codec/append.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/codec/codec_impl.h"

struct appender {
    struct codec_chain chain;
    const struct codec *codec;          /* the compressor; NULL: none */
    const struct appending *how;        /* its; NULL likewise */
    bool checksum;                      /* a CRC-32C of the encoded bytes follows them */
    void *state;
    uint64_t raw_bytes, step_bytes;
    uint32_t swap_bytes;
    const volatile int *stop;           /* NULL: nobody stops it */
    char *head, *step, *room, *undone;

    /* the chunk at hand */
    const char *from;                   /* put and not yet taken in */
    uint64_t from_bytes;
    uint64_t held_bytes;                /* in `step` */
    uint64_t done_bytes;                /* raw, encoded */
    const char *ready;                  /* encoded and not yet taken */
    uint64_t ready_bytes;
    bool stored;                        /* as it is */
    bool must_restart;
    bool ended;                         /* head and checksum are made */
    uint32_t sum;
    char sum_bytes[CRC32C_BYTES];
    uint64_t undo_next, undo_count;     /* steps that are read back */
    append_read *read;
    void *read_context;
};

/* ---- what can be appended ---- */

static bool is_checksum(const struct codec *c)
{
    return c->kind == CODEC_CRC32C;
}

static const struct codec *compressor_of(const struct codec_chain *c)
{
    return c->count > 0 && !is_checksum(&c->codecs[0]) ? &c->codecs[0] : NULL;
}

/* One compressor, and a checksum after it: not over a head that comes last. */
const char *chain_append_cannot(const struct codec_chain *c)
{
    const struct appending *how = NULL;

    for (unsigned i = 0; i < c->count; i++) {
        const struct codec *codec = &c->codecs[i];
        const char *name = codec_class_of(codec)->name;

        if (is_checksum(codec)) {
            if (i + 1 < c->count || (how && how->head_bytes))
                return name;
            continue;
        }
        how = codec_class_of(codec)->appending;
        if (i > 0 || !how)
            return name;
        if (how->cannot && how->cannot(codec))
            return how->cannot(codec);
    }
    return NULL;
}

bool chain_is_always_appended(const struct codec_chain *c, uint64_t raw_bytes)
{
    const struct codec *codec = compressor_of(c);

    return raw_bytes >= APPENDED_RAW_BYTES_LEAST && codec && !chain_append_cannot(c) &&
           !codec_class_of(codec)->appending->like_encode;
}

bool codec_chain_appends(const struct codec_chain *c, uint64_t raw_bytes)
{
    const struct codec *codec = compressor_of(c);

    return !chain_append_cannot(c) && (raw_bytes >= APPENDED_RAW_BYTES_LEAST || !codec ||
                                       codec_class_of(codec)->appending->like_encode);
}

/* ---- memory ---- */

struct areas {
    uint64_t head, step, room, undone, work;
};

static void areas_of(const struct codec *c, uint64_t raw_bytes, struct areas *out)
{
    const struct appending *how = c ? codec_class_of(c)->appending : NULL;

    *out = (struct areas){ 0 };
    if (!how)
        return;
    out->head = how->head_bytes ? buffer_bytes(how->head_bytes(c, raw_bytes, false)) : 0;
    out->step = buffer_bytes(how->step_bytes(c, raw_bytes));
    out->room = buffer_bytes(UNDO_LEAD_BYTES + how->room_bytes(c, raw_bytes));
    out->undone = how->undo ? out->step : 0;
    out->work = buffer_bytes(how->work_bytes(c, raw_bytes));
}

void codec_appended_needs(const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes, struct codec_needs *out)
{
    const struct codec *codec = compressor_of(c);
    const struct appending *how;
    struct areas areas;

    (void)dtype;
    *out = (struct codec_needs){ .encoded_bytes_max = chain_encoded_bytes_max(c, c->count, raw_bytes) };
    if (chain_append_cannot(c)) {
        out->scratch_bytes_least = out->scratch_bytes_useful = UINT64_MAX;
        return;
    }
    areas_of(codec, raw_bytes, &areas);
    out->scratch_bytes_least = size_add_sat(size_add_sat(size_add_sat(areas.head, areas.step), areas.room),
                                            size_add_sat(areas.undone, areas.work));
    out->scratch_bytes_useful = out->scratch_bytes_least;
    how = codec ? codec_class_of(codec)->appending : NULL;
    if (how && how->library_bytes)
        out->library_bytes = how->library_bytes(codec, raw_bytes);
}

static bool check(const struct appender *a, struct dtype dtype, uint64_t scratch_bytes, struct error *err)
{
    const char *name = chain_append_cannot(&a->chain);
    const struct codec_class *class = a->codec ? codec_class_of(a->codec) : NULL;
    struct codec_needs needs;

    if (name || !codec_chain_appends(&a->chain, a->raw_bytes))
        return error_at(err, ERR_USAGE, SPAN_NONE, "%s cannot encode a chunk of %llu bytes as it comes",
                        name ? name : class->name, (unsigned long long)a->raw_bytes);
    if (class && a->raw_bytes > class->raw_bytes_max) {
        error_at(err, ERR_USAGE, SPAN_NONE, "%s cannot encode chunks of more than %llu bytes; these have %llu",
                 class->name, (unsigned long long)class->raw_bytes_max, (unsigned long long)a->raw_bytes);
        error_help(err, "make the chunks smaller, or choose 'zstd'");
        return false;
    }
    codec_appended_needs(&a->chain, dtype, a->raw_bytes, &needs);
    if (scratch_bytes >= needs.scratch_bytes_least)
        return true;
    error_at(err, ERR_FIT, SPAN_NONE, "encoding a chunk as it comes takes %llu bytes of scratch, %llu are given",
             (unsigned long long)needs.scratch_bytes_least, (unsigned long long)scratch_bytes);
    error_bytes(err, needs.scratch_bytes_least, scratch_bytes);
    return false;
}

static bool open_codec(struct appender *a, char *scratch, struct error *err)
{
    struct areas areas;

    areas_of(a->codec, a->raw_bytes, &areas);
    a->head = scratch;
    a->step = a->head + areas.head;
    a->room = a->step + areas.step + UNDO_LEAD_BYTES;
    a->undone = a->room - UNDO_LEAD_BYTES + areas.room;
    a->step_bytes = a->how ? a->how->step_bytes(a->codec, a->raw_bytes) : a->raw_bytes;
    return !a->how || a->how->open(&a->state, a->codec, a->raw_bytes, a->undone + areas.undone, err);
}

bool appender_new(struct appender **out, const struct codec_chain *c, struct dtype dtype, uint64_t raw_bytes,
                  void *scratch, uint64_t scratch_bytes, struct error *err)
{
    struct appender *a = calloc(1, sizeof *a);

    if (!a)
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for an encoder");
    a->chain = *c;
    a->raw_bytes = raw_bytes;
    a->swap_bytes = c->big_endian ? dtype_swap_bytes(dtype) : 1;
    a->codec = compressor_of(&a->chain);
    if (!check(a, dtype, scratch_bytes, err))
        goto failed;
    a->how = a->codec ? codec_class_of(a->codec)->appending : NULL;
    a->checksum = c->count > 0 && is_checksum(&c->codecs[c->count - 1]);
    if (!open_codec(a, scratch, err))
        goto failed;
    *out = a;
    return true;
failed:
    appender_free(a);
    return false;
}

void appender_free(struct appender *a)
{
    if (!a)
        return;
    if (a->how)
        a->how->close(a->state);
    free(a);
}

void appender_stop_when(struct appender *a, const volatile int *stop)
{
    a->stop = stop;
}

/* ---- a chunk ---- */

static bool shrinks(const struct appender *a)
{
    return !a->how->shrinks || a->how->shrinks(a->state);
}

static uint64_t head_bytes(const struct appender *a)
{
    return a->how && a->how->head_bytes ? a->how->head_bytes(a->codec, a->raw_bytes, a->stored) : 0;
}

static void set_ready(struct appender *a, const char *bytes, uint64_t byte_count)
{
    a->ready = bytes;
    a->ready_bytes = byte_count;
    if (a->checksum)
        a->sum = crc32c_go_on(a->sum, bytes, byte_count);
}

bool appender_begin(struct appender *a, struct error *err)
{
    a->from_bytes = a->held_bytes = a->done_bytes = a->ready_bytes = 0;
    a->undo_next = a->undo_count = 0;
    a->must_restart = a->ended = false;
    a->sum = CRC32C_BEGIN;
    a->stored = !a->how;
    if (!a->how)
        return true;
    if (!a->how->begin(a->state, a->head, err))
        return false;
    a->stored = !shrinks(a);
    memset(a->head, 0, head_bytes(a));
    set_ready(a, a->head, head_bytes(a));
    return true;
}

void appender_put(struct appender *a, void *raw, uint64_t raw_bytes)
{
    assert(a->from_bytes == 0 && raw_bytes <= a->raw_bytes - a->done_bytes - a->held_bytes);
    if (a->swap_bytes > 1)
        dtype_swap(raw, raw_bytes, a->swap_bytes);
    a->from = raw;
    a->from_bytes = raw_bytes;
}

/* The next step, where it lies if it lies together, else collected. NULL: it is not all there. */
static const char *next_step(struct appender *a, uint64_t bytes)
{
    uint64_t more = size_min(bytes - a->held_bytes, a->from_bytes);

    if (more == bytes)
        return a->from;
    if (more > 0)
        memcpy(a->step + a->held_bytes, a->from, more);
    a->held_bytes += more;
    a->from += more;
    a->from_bytes -= more;
    return a->held_bytes == bytes ? a->step : NULL;
}

static void step_is_done(struct appender *a, uint64_t bytes)
{
    if (a->held_bytes == 0) {
        a->from += bytes;
        a->from_bytes -= bytes;
    }
    a->held_bytes = 0;
    a->done_bytes += bytes;
}

/* False in *more: it takes more raw bytes. */
static bool encode_step(struct appender *a, bool *more, struct error *err)
{
    uint64_t bytes = size_min(a->step_bytes, a->raw_bytes - a->done_bytes), got;
    const char *from = next_step(a, bytes);

    *more = from;
    if (!from)
        return true;
    if (!a->how->step(a->state, from, bytes, a->done_bytes + bytes == a->raw_bytes, a->room, &got, err))
        return false;
    a->must_restart = !shrinks(a);
    if (a->must_restart)
        return true;
    step_is_done(a, bytes);
    set_ready(a, a->room, got);
    return true;
}

/* What is stored as it is needs no steps: what is held, then what was put. */
static void pass_on(struct appender *a, bool *more)
{
    uint64_t bytes = a->held_bytes > 0 ? a->held_bytes : a->from_bytes;

    *more = bytes > 0;
    set_ready(a, a->held_bytes > 0 ? a->step : a->from, bytes);
    step_is_done(a, bytes);
}

static bool undo_step(struct appender *a, struct error *err)
{
    uint64_t offset, bytes;

    a->how->place(a->state, a->undo_next++, &offset, &bytes);
    if (!a->read(a->read_context, offset, a->room, bytes, err) ||
        !a->how->undo(a->state, a->room, bytes, a->undone, err))
        return false;
    set_ready(a, a->undone, a->step_bytes);
    return true;
}

static void end(struct appender *a, bool *more)
{
    *more = !a->ended && a->checksum;
    if (a->ended)
        return;
    a->ended = true;
    if (a->how && a->how->finish)
        a->how->finish(a->state, a->stored);
    if (a->checksum) {
        store_u32(a->sum_bytes, ~a->sum);
        set_ready(a, a->sum_bytes, sizeof a->sum_bytes);
    }
}

/* Make more bytes ready. False in *more: there are none for now. */
static bool make_ready(struct appender *a, bool *more, struct error *err)
{
    *more = true;
    if (stop_asked(a->stop))
        return error_stopped(err, stop_asked(a->stop));
    if (a->undo_next < a->undo_count)
        return undo_step(a, err);
    if (a->done_bytes == a->raw_bytes)
        end(a, more);
    else if (a->stored)
        pass_on(a, more);
    else
        return encode_step(a, more, err);
    return true;
}

bool appender_take(struct appender *a, void *to, uint64_t room_bytes, uint64_t *bytes, struct error *err)
{
    bool more = true;

    *bytes = 0;
    for (;;) {
        uint64_t now = size_min(a->ready_bytes, room_bytes - *bytes);

        if (now > 0) {
            memcpy((char *)to + *bytes, a->ready, now);
            *bytes += now;
            a->ready += now;
            a->ready_bytes -= now;
        }
        if (*bytes == room_bytes || a->must_restart || !more)
            return true;
        if (!make_ready(a, &more, err))
            return false;
    }
}

bool appender_is_complete(const struct appender *a)
{
    return a->ended && a->ready_bytes == 0;
}

void appender_head(const struct appender *a, const char **head, uint64_t *bytes)
{
    *head = a->head;
    *bytes = head_bytes(a);
}

bool appender_must_restart(const struct appender *a)
{
    return a->must_restart;
}

/* The head stays as it is until the end: it says where the steps are. */
void appender_restart(struct appender *a, append_read *read, void *context)
{
    static const char zeros[UNDO_LEAD_BYTES];

    assert(a->must_restart);
    a->must_restart = false;
    a->stored = true;
    a->read = read;
    a->read_context = context;
    a->undo_next = 0;
    a->undo_count = a->done_bytes / a->step_bytes;
    set_ready(a, zeros, head_bytes(a));
}
