/* cost.c - bytes, files and seconds of an arrangement.
 *
 *     seconds of a stage = max(device, cores) + a share of the lesser one, the smaller the further reads run ahead
 *     device             = read / read rate + written / write rate + requests * seconds of one
 *     cores              = (decoded / rate + scattered / rate + encoded / rate + files * seconds of one) / workers
 *                          or, if that is more, what a chunk in slices costs the one worker that is at it
 *
 * Rates are measured defaults: a two-core virtual machine, ext4, direct I/O, reads and writes side by side. On such a
 * machine in a quiet minute predictions came within a quarter; elsewhere and with strong codecs they can be several
 * times off. What counts is that they order the plans rightly.
 */
#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/exec/scratch.h"

/* ---- the measured constants ---- */

static const double read_bytes_per_second = 1.1e9;
static const double write_bytes_per_second = 1.3e9;
static const double request_device_seconds = 20e-6;     /* one random read more, at depth 16 */
static const double request_core_seconds = 5e-6;
static const double open_core_seconds = 20e-6;          /* open, fstat, close of a source file */
static const double create_core_seconds = 65e-6;        /* create, truncate, close of a target file */
static const double unoverlapped_share = 0.25;          /* of the lesser of device and cores, at best */
static const double range_core_seconds = 12e-6;         /* the ends of a run, through the page cache */
static const double startup_seconds = 0.02;
/* What a stream reads at once. */
#define STREAM_READ_BYTES (1024.0 * 1024)
static const double memcpy_bytes_per_second = 8e9;
static const double sum_bytes_per_second = 5e9;         /* of a digest */

/* Encoding at one level; between two of them it is interpolated, beyond it is the nearest's. */
struct level_rate {
    int level;
    double encode;
};
enum { LEVEL_RATES_MAX = 6 };

/* Raw bytes per second of one core, for float32 fields that shrink to a third. */
struct codec_rate {
    enum codec_kind kind;
    const char *cname;                                  /* blosc */
    double decode;
    struct level_rate levels[LEVEL_RATES_MAX];          /* ascending; what is not used is 0 */
};
static const struct codec_rate codec_rates[] = {
    { CODEC_BLOSC, "lz4",     3.0e9,  { { 1, 2.0e9 } } },
    { CODEC_BLOSC, "lz4hc",   3.0e9,  { { 1, 180e6 }, { 5, 80e6 }, { 9, 19e6 } } },
    { CODEC_BLOSC, "blosclz", 2.0e9,  { { 1, 1.2e9 }, { 5, 0.9e9 } } },
    { CODEC_BLOSC, "snappy",  1.1e9,  { { 1, 1.5e9 } } },
    { CODEC_BLOSC, "zstd",    1.4e9,  { { 1, 600e6 }, { 3, 180e6 }, { 5, 84e6 }, { 7, 45e6 }, { 8, 25e6 }, { 9, 9e6 } } },
    { CODEC_BLOSC, "zlib",    0.9e9,  { { 1, 140e6 }, { 5, 38e6 }, { 9, 10e6 } } },
    { CODEC_ZSTD,  NULL,      0.95e9, { { 1, 260e6 }, { 3, 190e6 }, { 6, 80e6 }, { 9, 42e6 }, { 12, 17e6 }, { 16, 3e6 } } },
    { CODEC_GZIP,  NULL,      0.8e9,  { { 1, 240e6 }, { 3, 85e6 }, { 6, 38e6 }, { 9, 17e6 } } },
    { CODEC_ZLIB,  NULL,      0.8e9,  { { 1, 240e6 }, { 3, 85e6 }, { 6, 38e6 }, { 9, 17e6 } } },
    { CODEC_LZ4,   NULL,      2.5e9,  { { 1, 450e6 } } },
    { CODEC_CRC32C, NULL,     8e9,    { { 1, 6e9 } } },
};
static const double spill_lz4_encode = 1.8e9, spill_lz4_decode = 4.0e9, spill_raw = 7e9;

/* Copies into a tile, by the length of the run that both sides have in one piece. */
static double scatter_rate(double run_bytes)
{
    return run_bytes < 16 ? 2.5e9 : run_bytes < 64 ? 3.5e9 : run_bytes < 256 ? 4.5e9 : 6e9;
}

/* How much the fields shrank that codecs were measured on. */
#define RATIO_MEASURED 3.5

/* ---- codecs ---- */

static const struct codec_rate *rate_of(const struct codec *c)
{
    for (unsigned i = 0; i < sizeof codec_rates / sizeof codec_rates[0]; i++)
        if (codec_rates[i].kind == c->kind && (!codec_rates[i].cname || strcmp(codec_rates[i].cname, c->cname) == 0))
            return &codec_rates[i];
    return &codec_rates[0];
}

/* The stronger a codec searches, the more it matters how soon it finds: what shrinks much is searched quickly. */
static double encode_rate(const struct codec *c, double ratio)
{
    const struct level_rate *at = rate_of(c)->levels, *end = at + LEVEL_RATES_MAX;
    double rate, share;

    for (; at + 1 < end && at[1].level && at[1].level <= c->level; at++)
        ;
    rate = at->encode;
    if (at + 1 < end && at[1].level && c->level > at->level) {
        share = (double)(c->level - at->level) / (at[1].level - at->level);
        rate *= pow(at[1].encode / at->encode, share);
    }
    return rate * fmax(1, ratio / RATIO_MEASURED);
}

static double chain_decode_seconds(const struct codec_chain *chain, double raw_bytes)
{
    double seconds = chain->big_endian ? raw_bytes / memcpy_bytes_per_second : 0;

    for (unsigned i = 0; i < chain->count; i++)
        seconds += raw_bytes / rate_of(&chain->codecs[i])->decode;
    return seconds;
}

static double chain_encode_seconds(const struct codec_chain *chain, double raw_bytes, double ratio)
{
    double seconds = chain->big_endian ? raw_bytes / memcpy_bytes_per_second : 0;

    for (unsigned i = 0; i < chain->count; i++)
        seconds += raw_bytes / encode_rate(&chain->codecs[i], ratio);
    return seconds;
}

/* ---- one stage ---- */

struct work {
    double read_bytes, write_bytes, requests;       /* of the device */
    double core_seconds;                            /* all workers' together */
    double serial_seconds;                          /* of them, what only one can do at a time */
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

static double device_seconds(const struct work *w)
{
    return w->read_bytes / read_bytes_per_second + w->write_bytes / write_bytes_per_second +
           w->requests * request_device_seconds;
}

static double cores_seconds(const struct basis *b, const struct stage *s, const struct work *w)
{
    unsigned workers = s->workers < b->cores ? s->workers : b->cores;

    return fmax(w->core_seconds / (workers ? workers : 1), w->serial_seconds);
}

static double stage_seconds(const struct basis *b, const struct stage *s, const struct work *w)
{
    double device = device_seconds(w), cores = cores_seconds(b, s, w);
    double ahead = w->ahead_bytes > 0 ? fmin(1, (double)s->memory.reads_bytes / w->ahead_bytes) : 1;

    return fmax(device, cores) + fmin(device, cores) * fmin(1, unoverlapped_share + (1 - ahead) * 0.5);
}

/* Ranges of compressed chunks: where blocks begin is read too. */
static double requests_each(const struct basis *b, const struct stage *s)
{
    return s->piece_raw_bytes && !b->source_raw ? 2 : 1;
}

/* `taking`: what of the work its source makes. */
static void add_stage(const struct basis *b, struct arrangement *a, unsigned stage, const struct work *taking,
                      const struct work *w)
{
    const struct stage *s = &a->stages[stage];
    double seconds = stage_seconds(b, s, w), all = device_seconds(w) + cores_seconds(b, s, w);
    double share = all > 0 ? fmin(1, (device_seconds(taking) + cores_seconds(b, s, taking)) / all) : 1;

    a->cost.stages[stage] = (struct stage_seconds){ .taking = seconds * share, .making = seconds * (1 - share) };
    a->cost.seconds += seconds;
}

/* The share of boxes that hold a chunk, where the others are passed over. */
static double boxes_share(const struct basis *b, const struct stage *s)
{
    double touched = (double)b->census->present * (double)cells_touched_max(&b->source->chunks, &s->tasks);

    if (!b->census->listed || s->sink != TO_CHUNKS || b->target_chunks_written == b->target_chunks)
        return 1;
    return fmin(1, touched / (double)size_max(1, grid_cells(&s->tasks)));
}

static void from_source(const struct basis *b, const struct arrangement *a, const struct stage *s, struct work *w)
{
    double chunks = (double)b->source_chunks * b->present_share * a->decodes.factor;
    double raw = (double)b->source_chunks * (double)b->source_chunk_bytes * b->present_share * a->decodes.factor;
    double piece_bytes = s->source == FROM_STREAM ? STREAM_READ_BYTES : (double)s->piece_raw_bytes;
    double pieces = piece_bytes > 0 ? fmax(chunks, raw / piece_bytes) : chunks;
    double requests = pieces * requests_each(b, s), decode_seconds = chain_decode_seconds(&b->source->codecs, raw);
    double boxes = (double)size_max(1, grid_cells(&s->tasks));

    w->read_bytes += raw / b->source_ratio;
    w->requests += requests;
    /* A chunk that is not there is looked for too, unless that is known. */
    w->core_seconds += (b->census->listed ? chunks : (double)b->source_chunks * a->decodes.factor) * open_core_seconds +
                       requests * request_core_seconds;
    w->core_seconds += decode_seconds;
    w->serial_seconds += s->source == FROM_STREAM ? decode_seconds : 0;
    w->core_seconds += (double)b->array_bytes * boxes_share(b, s) /
                       scatter_rate(run_bytes(b->source, b->source->chunks.cell, s->parts.cell));
    w->ahead_bytes = w->read_bytes / boxes;
}

double target_run_bytes(const struct array_meta *m, const struct stage *s)
{
    double bytes = m->dtype.item_bytes;

    for (unsigned i = m->chunks.rank; i-- > 0; ) {
        unsigned axis = m->codecs.order[i];
        uint64_t length = size_min(m->chunks.cell[axis], size_min(s->tasks.cell[axis], m->chunks.shape[axis]));

        bytes *= (double)length;
        if (length < m->chunks.cell[axis])
            break;
    }
    return bytes;
}

/* What is written of uncompressed chunks by ranges: elements; and the fill value all over a chunk that hangs over,
 * before, where a hole does not read as that. */
static double ranged_write_bytes(const struct basis *b)
{
    static const uint8_t zeros[ITEM_BYTES_MAX];
    const struct grid *g = &b->target->chunks;
    double inside = 1, written_share = (double)b->target_chunks_written / (double)size_max(1, b->target_chunks);

    for (unsigned i = 0; i < g->rank; i++)
        inside *= (double)(g->shape[i] / g->cell[i]);
    if (memcmp(b->target->fill, zeros, b->target->dtype.item_bytes) == 0)
        inside = (double)b->target_chunks;
    return written_share * ((double)b->array_bytes +
                            ((double)b->target_chunks - inside) * (double)b->target_chunk_bytes);
}

static void to_target(const struct basis *b, const struct stage *s, struct work *w)
{
    double chunks = (double)b->target_chunks_written, raw = chunks * (double)b->target_chunk_bytes;
    double encode_seconds = chain_encode_seconds(&b->target->codecs, raw, b->target_ratio);

    w->write_bytes += s->sink == TO_RANGES ? ranged_write_bytes(b) : raw / b->target_ratio;
    w->core_seconds += encode_seconds;
    w->serial_seconds += s->sink == TO_SLICES ? encode_seconds : 0;
    w->core_seconds += chunks * create_core_seconds;
    if (s->sink != TO_RANGES)
        return;
    /* Each task opens the chunks it touches, and copies its runs on their way out. */
    w->core_seconds += grid_overlaps(s->tasks.rank, s->tasks.shape, s->tasks.cell, s->parts.cell) * open_core_seconds;
    w->core_seconds += raw / target_run_bytes(b->target, s) * range_core_seconds + raw / scatter_rate(256);
    w->requests += raw / fmin(target_run_bytes(b->target, s), fmax(1, (double)s->memory.write_bytes));
}

/* ---- the whole ---- */

static uint64_t whole(double bytes) { return bytes < 1.8e19 ? (uint64_t)(bytes + 0.5) : UINT64_MAX; }

static void cost_direct(const struct basis *b, struct arrangement *a)
{
    struct work w = { 0 }, taking;

    from_source(b, a, &a->stages[0], &w);
    taking = w;
    to_target(b, &a->stages[0], &w);
    a->cost.read_bytes = whole(w.read_bytes);
    a->cost.write_bytes = whole(w.write_bytes);
    a->cost.seconds = startup_seconds;
    add_stage(b, a, 0, &taking, &w);
}

/* Chunks that are not there cost nearly no scratch when it is compressed. */
static double segment_bytes_at(const struct basis *b, double ratio)
{
    double raw = (double)b->array_bytes;

    if (b->spill == SPILL_RAW)
        return raw;
    return raw * b->present_share / ratio + raw * (1 - b->present_share) / 200;
}

double segment_bytes_expected(const struct basis *b)
{
    return segment_bytes_at(b, b->spill_ratio);
}

/* How much more than expected is allowed for: a sample is a sample. */
static double margin(const struct basis *b, bool surely)
{
    return b->spill == SPILL_RAW ? 1 : surely ? 1.2 : 1.1;
}

uint64_t kept_bytes_for_all(const struct basis *b, bool surely)
{
    /* A thirty-second more for indexes and padding. */
    return size_align_up(whole(margin(b, surely) * segment_bytes_expected(b) * 33 / 32 + 4 * (double)MIB), IO_ALIGN);
}

/* The index of each segment that a stage writes. */
static double indexes_bytes(const struct basis *b, const struct arrangement *a, const struct stage *s)
{
    return (double)grid_cells(&s->tasks) *
           (double)split_index_bytes(&s->tasks, &s->parts, b->source->dtype.item_bytes, a->setting.block_bytes);
}

/* Each write is filled up to IO_ALIGN: half of it on the mean, all of it at the end of a segment. */
static double padding_bytes(const struct basis *b, const struct stage *s)
{
    return segment_bytes_expected(b) / (double)size_max(IO_ALIGN, s->memory.write_bytes) * IO_ALIGN / 2 +
           (double)grid_cells(&s->tasks) * s->workers * IO_ALIGN;
}

/* What the segments of one stage take. A block that LZ4 does not shrink is stored as it is. */
static double room_bytes(const struct basis *b, const struct arrangement *a, const struct stage *s, bool most)
{
    double bytes = margin(b, true) * segment_bytes_expected(b);

    if (most && b->spill_unsure)
        bytes = fmax(bytes, segment_bytes_at(b, 1));
    return bytes + indexes_bytes(b, a, s) + padding_bytes(b, s);
}

/* A stage's segments are given back while the next one writes its own: two copies at most. */
uint64_t segments_room_bytes(const struct basis *b, const struct arrangement *a, bool most)
{
    double both = 0;

    for (unsigned i = 0; i + 1 < a->stage_count; i++) {
        double bytes = room_bytes(b, a, &a->stages[i], most);

        if (i + 2 < a->stage_count)
            bytes += room_bytes(b, a, &a->stages[i + 1], most);
        both = fmax(both, bytes);
    }
    return size_align_up(whole(both), IO_ALIGN);
}

/* Blocks that a stage writes. */
static double blocks_of(const struct basis *b, const struct arrangement *a, unsigned stage)
{
    return fmax(a->extents[stage], (double)b->array_bytes / (double)a->setting.block_bytes);
}

/* Segments as expected, and the share of them that goes to disk: what fits in memory stays there. */
struct spill {
    double bytes, on_disk;
};

static struct spill spill_of(const struct basis *b, const struct arrangement *a, unsigned stage)
{
    const struct stage *s = &a->stages[stage];
    double bytes = segment_bytes_expected(b) + indexes_bytes(b, a, s);
    double kept_bytes = stage == 0 ? (double)a->setting.kept_bytes : 0;

    return (struct spill){ bytes, fmax(0, 1 - kept_bytes / fmax(1, bytes + padding_bytes(b, s))) };
}

static void to_segments(const struct basis *b, struct arrangement *a, unsigned stage, struct work *w)
{
    struct spill spill = spill_of(b, a, stage);
    double raw = (double)b->array_bytes;

    w->write_bytes += spill.bytes * spill.on_disk;
    w->core_seconds += raw / (b->spill == SPILL_LZ4 ? spill_lz4_encode : spill_raw) +
                       blocks_of(b, a, stage) * request_core_seconds +
                       spill.bytes * (1 - spill.on_disk) / memcpy_bytes_per_second;
    a->cost.spill_raw_bytes = size_add_sat(a->cost.spill_raw_bytes, b->array_bytes);
    a->cost.segment_bytes += whole(spill.bytes);
    a->cost.spill_write_bytes += whole(spill.bytes * spill.on_disk);
}

static void from_segments(const struct basis *b, struct arrangement *a, unsigned stage, struct work *w)
{
    const struct stage *s = &a->stages[stage], *before = s - 1;
    struct spill spill = spill_of(b, a, stage - 1);
    double raw = (double)b->array_bytes, blocks = blocks_of(b, a, stage - 1);
    const uint64_t *part = s->sink == TO_SEGMENTS ? s->parts.cell : b->target->chunks.cell;

    w->read_bytes = spill.bytes * spill.on_disk;
    w->requests += blocks * spill.on_disk;
    w->ahead_bytes = spill.bytes * spill.on_disk / (double)size_max(1, grid_cells(&s->tasks));
    w->core_seconds += raw / (b->spill == SPILL_LZ4 ? spill_lz4_decode : spill_raw) + blocks * request_core_seconds +
                       raw / scatter_rate(run_bytes(b->target, before->tasks.cell, part));
    a->cost.spill_read_bytes += whole(spill.bytes * spill.on_disk);
}

static void cost_split(const struct basis *b, struct arrangement *a)
{
    a->cost.seconds = startup_seconds;
    for (unsigned i = 0; i < a->stage_count; i++) {
        struct stage *s = &a->stages[i];
        struct work w = { 0 }, taking;

        if (i == 0) {
            from_source(b, a, s, &w);
            a->cost.read_bytes = whole(w.read_bytes);
        } else {
            from_segments(b, a, i, &w);
        }
        taking = w;
        if (i + 1 < a->stage_count) {
            to_segments(b, a, i, &w);
        } else {
            to_target(b, s, &w);
            a->cost.write_bytes = whole(w.write_bytes);
        }
        add_stage(b, a, i, &taking, &w);
    }
    a->cost.kept_bytes = a->cost.segment_bytes - a->cost.spill_write_bytes;
    a->cost.scratch_bytes = segments_room_bytes(b, a, false);
    a->cost.scratch_bytes -= size_min(a->cost.scratch_bytes, a->setting.kept_bytes);
    a->cost.scratch_bytes_max = segments_room_bytes(b, a, true);
    a->cost.scratch_bytes_max -= size_min(a->cost.scratch_bytes_max, a->setting.kept_bytes);
}

double cost_scan_seconds(const struct basis *b, double encoded_bytes, unsigned workers)
{
    double device = encoded_bytes / read_bytes_per_second;
    double cores = (chain_decode_seconds(&b->source->codecs, (double)b->array_bytes) +
                    (double)b->array_bytes / sum_bytes_per_second +
                    (double)b->source_chunks * b->present_share * open_core_seconds) / workers;

    return fmax(device, cores) + unoverlapped_share * fmin(device, cores);
}

void cost_of(const struct basis *b, struct arrangement *a)
{
    double chunks;

    a->decodes = source_decodes(b, &a->stages[0]);
    chunks = (double)b->source_chunks * b->present_share * a->decodes.factor;
    memset(&a->cost, 0, sizeof a->cost);
    a->cost.decoded_bytes = whole(chunks * (double)b->source_chunk_bytes);
    a->cost.decoded_is_mean = a->decodes.is_mean;
    a->cost.files = size_add_sat(b->target_chunks_written, array_meta_files(b->target));
    if (a->stage_count > 1)
        cost_split(b, a);
    else
        cost_direct(b, a);
}
