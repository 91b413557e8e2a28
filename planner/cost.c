/* cost.c - bytes, files and seconds of an arrangement.
 *
 *     seconds of a stage = max(device, cores) + a share of the lesser one, the smaller the further reads run ahead
 *     device             = read / read rate + written / write rate + requests * seconds of one
 *     cores              = (decoded / rate + scattered / rate + encoded / rate + files * seconds of one) / workers
 *
 * Rates are measured defaults: a two-core virtual machine, ext4, direct I/O (docs: performance). A prediction is
 * good to about a quarter; what counts is that it orders the plans rightly.
 */
#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/scratch.h"

/* ---- the measured constants ---- */

static const double read_bytes_per_second = 1.3e9;
static const double write_bytes_per_second = 2.0e9;
static const double request_device_seconds = 20e-6;     /* one random read more, at depth 16 */
static const double request_core_seconds = 5e-6;
static const double open_core_seconds = 20e-6;          /* open, fstat, close of a source file */
static const double create_core_seconds = 65e-6;        /* create, truncate, close of a target file */
static const double unoverlapped_share = 0.25;          /* of the lesser of device and cores, at best */
static const double startup_seconds = 0.02;
static const double memcpy_bytes_per_second = 8e9;

/* Raw bytes per second of one core. Level scales encoding: see encode_rate. */
struct codec_rate {
    enum codec_kind kind;
    const char *cname;                                  /* blosc */
    double decode, encode;
};
static const struct codec_rate codec_rates[] = {
    { CODEC_BLOSC, "lz4",     3.0e9,  2.3e9 },
    { CODEC_BLOSC, "lz4hc",   3.0e9,  0.10e9 },
    { CODEC_BLOSC, "blosclz", 2.5e9,  1.8e9 },
    { CODEC_BLOSC, "snappy",  2.0e9,  1.2e9 },
    { CODEC_BLOSC, "zstd",    0.75e9, 0.48e9 },
    { CODEC_BLOSC, "zlib",    0.35e9, 0.06e9 },
    { CODEC_ZSTD,  NULL,      0.75e9, 0.40e9 },
    { CODEC_GZIP,  NULL,      0.45e9, 0.10e9 },
    { CODEC_ZLIB,  NULL,      0.45e9, 0.10e9 },
    { CODEC_LZ4,   NULL,      2.5e9,  1.2e9 },
    { CODEC_CRC32C, NULL,     8e9,    8e9 },
};
static const double spill_lz4_encode = 1.8e9, spill_lz4_decode = 4.0e9, spill_raw = 7e9;

/* Copies into a tile, by the length of the run that both sides have in one piece. */
static double scatter_rate(double run_bytes)
{
    return run_bytes < 16 ? 2.5e9 : run_bytes < 64 ? 3.5e9 : run_bytes < 256 ? 4.5e9 : 6e9;
}

/* ---- codecs ---- */

static const struct codec_rate *rate_of(const struct codec *c)
{
    for (unsigned i = 0; i < sizeof codec_rates / sizeof codec_rates[0]; i++)
        if (codec_rates[i].kind == c->kind && (!codec_rates[i].cname || strcmp(codec_rates[i].cname, c->cname) == 0))
            return &codec_rates[i];
    return &codec_rates[0];
}

/* Strong levels of zstd and its kin cost about 1.4 times more each; lz4 hardly changes. */
static double encode_rate(const struct codec *c)
{
    double rate = rate_of(c)->encode;
    bool levelled = c->kind == CODEC_ZSTD || (c->kind == CODEC_BLOSC && strcmp(c->cname, "zstd") == 0);

    return levelled && c->level > 1 ? fmax(2e6, rate / pow(1.4, c->level - 1)) : rate;
}

static double chain_seconds(const struct codec_chain *chain, double raw_bytes, bool encode)
{
    double seconds = chain->big_endian ? raw_bytes / memcpy_bytes_per_second : 0;

    for (unsigned i = 0; i < chain->count; i++)
        seconds += raw_bytes / (encode ? encode_rate(&chain->codecs[i]) : rate_of(&chain->codecs[i])->decode);
    return seconds;
}

/* ---- one stage ---- */

struct work {
    double read_bytes, write_bytes, requests;       /* of the device */
    double core_seconds;                            /* all workers' together */
    double ahead_bytes;                             /* encoded bytes of one box: what reading ahead could hold */
};

/* Bytes that lie together both in a piece and in a tile's part. */
static double run_bytes(const struct array_meta *m, const uint64_t *piece, const uint64_t *part)
{
    double run = m->dtype.item_bytes;

    for (unsigned i = m->chunks.rank; i-- > 0; ) {
        uint64_t shape = m->chunks.shape[i], common = size_min(size_min(piece[i], part[i]), shape);

        run *= (double)common;
        if (piece[i] < shape || part[i] < shape)
            if (piece[i] != part[i])
                break;
    }
    return run;
}

static double stage_seconds(const struct basis *b, const struct stage *s, const struct work *w)
{
    unsigned workers = s->workers < b->threads ? s->workers : b->threads;
    double device = w->read_bytes / read_bytes_per_second + w->write_bytes / write_bytes_per_second +
                    w->requests * request_device_seconds;
    double cores = w->core_seconds / (workers ? workers : 1);
    double ahead = w->ahead_bytes > 0 ? fmin(1, (double)s->memory.reads_bytes / w->ahead_bytes) : 1;

    return fmax(device, cores) + fmin(device, cores) * fmin(1, unoverlapped_share + (1 - ahead) * 0.5);
}

static void from_source(const struct basis *b, const struct arrangement *a, const struct stage *s, struct work *w)
{
    double chunks = (double)b->source_chunks * b->present_share * a->decode_factor;
    double raw = (double)b->source_chunks * (double)b->source_chunk_bytes * b->present_share * a->decode_factor;
    double pieces = s->piece_raw_bytes ? fmax(chunks, raw / (double)s->piece_raw_bytes) : chunks;
    double boxes = (double)size_max(1, grid_cells(&s->tasks));

    w->read_bytes += raw / b->source_ratio;
    w->requests += pieces;
    w->core_seconds += chunks * open_core_seconds + pieces * request_core_seconds;
    w->core_seconds += chain_seconds(&b->source->codecs, raw, false);
    w->core_seconds += (double)b->array_bytes /
                       scatter_rate(run_bytes(b->source, b->source->chunks.cell, s->parts.cell));
    w->ahead_bytes = w->read_bytes / boxes;
}

static void to_target(const struct basis *b, struct work *w)
{
    double raw = (double)b->target_chunks * (double)b->target_chunk_bytes;

    w->write_bytes += raw / b->target_ratio;
    w->core_seconds += chain_seconds(&b->target->codecs, raw, true);
    w->core_seconds += (double)b->target_chunks * create_core_seconds;
}

/* ---- the whole ---- */

static uint64_t whole(double bytes) { return bytes < 1.8e19 ? (uint64_t)(bytes + 0.5) : UINT64_MAX; }

static void cost_direct(const struct basis *b, struct arrangement *a)
{
    struct work w = { 0 };

    from_source(b, a, &a->stages[0], &w);
    to_target(b, &w);
    a->cost.read_bytes = whole(w.read_bytes);
    a->cost.write_bytes = whole(w.write_bytes);
    a->cost.seconds = startup_seconds + stage_seconds(b, &a->stages[0], &w);
}

/* Chunks that are not there cost nearly no scratch when it is compressed. */
static double spill_bytes(const struct basis *b, double ratio)
{
    double raw = (double)b->array_bytes;

    if (b->spill == SPILL_RAW)
        return raw;
    return raw * b->present_share / ratio + raw * (1 - b->present_share) / 200;
}

static void cost_split(const struct basis *b, struct arrangement *a)
{
    const struct stage *split = &a->stages[0], *merge = &a->stages[1];
    struct work first = { 0 }, second = { 0 };
    double raw = (double)b->array_bytes, spilled = spill_bytes(b, b->spill_ratio);
    double blocks = fmax(a->extents, raw / (double)a->setting.block_bytes);
    bool lz4 = b->spill == SPILL_LZ4;
    double segments = (double)grid_cells(&split->tasks), buckets = (double)size_max(1, grid_cells(&merge->tasks));
    double indexes = segments * (double)split_index_bytes(&split->tasks, &merge->tasks, b->source->dtype.item_bytes,
                                                          a->setting.block_bytes);
    /* Each write is filled up to IO_ALIGN: half of it on the mean, all of it at the end of a segment. */
    double padding = spilled / (double)size_max(IO_ALIGN, split->memory.write_bytes) * IO_ALIGN / 2 +
                     segments * split->workers * IO_ALIGN;

    from_source(b, a, split, &first);
    first.write_bytes += spilled + indexes;
    first.core_seconds += raw / (lz4 ? spill_lz4_encode : spill_raw) + blocks * request_core_seconds;

    second.read_bytes = spilled + indexes;
    second.requests = blocks;
    second.ahead_bytes = spilled / buckets;
    second.core_seconds = raw / (lz4 ? spill_lz4_decode : spill_raw) + blocks * request_core_seconds +
                          raw / scatter_rate(run_bytes(b->target, split->tasks.cell, b->target->chunks.cell));
    to_target(b, &second);

    a->cost.read_bytes = whole(first.read_bytes);
    a->cost.spill_write_bytes = a->cost.spill_read_bytes = whole(spilled + indexes);
    a->cost.write_bytes = whole(second.write_bytes);
    /* A fifth more than expected: a sample is a sample. */
    a->cost.scratch_bytes = size_align_up(whole((lz4 ? 1.2 : 1.0) * spilled + indexes + padding), IO_ALIGN);
    a->cost.seconds = startup_seconds + stage_seconds(b, split, &first) + stage_seconds(b, merge, &second);
}

void cost_of(const struct basis *b, struct arrangement *a)
{
    double chunks = (double)b->source_chunks * b->present_share * a->decode_factor;

    memset(&a->cost, 0, sizeof a->cost);
    a->cost.decoded_bytes = whole(chunks * (double)b->source_chunk_bytes);
    a->cost.files = size_add_sat(b->target_chunks, array_meta_files(b->target));
    if (a->stage_count == 2)
        cost_split(b, a);
    else
        cost_direct(b, a);
}
