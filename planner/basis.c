/* basis.c - what plans are reckoned from: sizes, ratios and what codecs need, from two metadata and a census. */
#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/codec/append.h"
#include "engine/exec/scratch.h"

static double ratio_expected(const struct basis *b)
{
    if (b->target_raw)
        return 1;
    return b->source_raw ? 2 : b->source_ratio;
}

/* What chunks are missing, in every box that they alone cover, is not written: they are fill in both arrays. */
static uint64_t chunks_written_max(const struct basis *b, const struct job *job)
{
    if (!b->census->counted || job->output.write_empty_chunks || b->target->fill_undefined ||
        memcmp(b->source->fill, b->target->fill, b->source->dtype.item_bytes) != 0)
        return b->target_chunks;
    return size_min(b->target_chunks, size_mul_sat(b->census->present,
                                                   cells_touched_max(&b->source->chunks, &b->target->chunks)));
}

/* The list of chunks that are there, that of the boxes they lie in, and a sort of either. A short one is among the
 * tables. */
static uint64_t list_bytes(const struct chunk_census *census)
{
    enum { LISTS = 3, AMONG_TABLES = 16384 };

    return census->listed && census->present > AMONG_TABLES
               ? size_align_up(LISTS * sizeof(uint64_t) * census->present, IO_ALIGN) : 0;
}

/* Blocks are read and decoded whole, so ranges of a chunk consist of them. */
#define RANGE_BYTES_WANTED (256 * KIB)

/* What can be done with a part of a chunk, and what that takes. */
static void parts_init(struct basis *b)
{
    const struct array_meta *source = b->source, *target = b->target;
    bool nothing_stored = b->census->listed && b->census->present == 0;     /* then no chunk says how long its blocks are */
    uint64_t block_bytes = b->source_raw || nothing_stored ? MIB : b->sample.blosc_block_bytes_max;

    b->source_ranges_cannot = codec_chain_cannot(&source->codecs, CODEC_RANGED);
    b->source_stream_cannot = codec_chain_cannot(&source->codecs, CODEC_STREAMED);
    b->target_slices_cannot = codec_chain_cannot(&target->codecs, CODEC_APPENDED);
    b->target_appends = codec_chain_appends(&target->codecs, b->target_chunk_bytes);
    if (!b->source_ranges_cannot && block_bytes)
        b->range_bytes = size_max(1, RANGE_BYTES_WANTED / block_bytes) * block_bytes;
    b->range_bytes -= b->range_bytes % source->dtype.item_bytes;
    if (b->range_bytes)
        codec_ranged_needs(&source->codecs, source->dtype, b->source_chunk_bytes, b->range_bytes, &b->sample,
                           &b->range);
    if (!b->source_stream_cannot)
        codec_streamed_needs(&source->codecs, source->dtype, b->source_chunk_bytes, &b->sample, &b->stream);
    if (b->target_appends)
        codec_appended_needs(&target->codecs, target->dtype, b->target_chunk_bytes, &b->append);
}

/* Of blosc+crc32c it is crc32c that keeps blosc from decoding ranges. */
void note_decoded_whole(const struct basis *b, const char *what, struct error *err)
{
    const char *ranges = b->source_ranges_cannot, *stream = b->source_stream_cannot;

    if (ranges && strcmp(ranges, stream) != 0)
        error_note(err, "%s of %s is decoded whole: %s allows no range of one, and %s cannot go on from part to part",
                   what, SIZE_TEXT(b->source_chunk_bytes), ranges, stream);
    else
        error_note(err, "%s of %s is decoded whole: %s cannot decode a part of one", what,
                   SIZE_TEXT(b->source_chunk_bytes), stream);
}

/* LZ4 finds repetitions alone: what entropy coding or the shuffling of bits gained on noisy values is lost in scratch. */
static const char *shrinks_beyond_lz4(const struct codec_chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++) {
        const struct codec *c = &chain->codecs[i];

        switch (c->kind) {
        case CODEC_ZSTD: return "zstd";
        case CODEC_GZIP: return "gzip";
        case CODEC_ZLIB: return "zlib";
        case CODEC_BLOSC:
            if (strcmp(c->cname, "zstd") == 0 || strcmp(c->cname, "zlib") == 0)
                return c->cname;
            if (c->shuffle == SHUFFLE_BIT)
                return "bitshuffle";
            break;
        case CODEC_LZ4:
        case CODEC_CRC32C:
            break;
        }
    }
    return NULL;
}

void basis_init(struct basis *b, const struct array_meta *source, const struct array_meta *target,
                const struct chunk_census *census, unsigned threads, enum io_backend backend, const struct job *job)
{
    uint64_t elements = shape_elements(source->chunks.rank, source->chunks.shape);

    memset(b, 0, sizeof *b);
    b->source = source;
    b->target = target;
    b->census = census;
    b->threads = b->cores = threads;
    b->backend = backend;
    b->array_bytes = size_mul_sat(elements, source->dtype.item_bytes);
    b->source_chunks = grid_cells(&source->chunks);
    b->target_chunks = grid_cells(&target->chunks);
    b->target_chunks_written = chunks_written_max(b, job);
    b->source_chunk_bytes = array_chunk_bytes(source);
    b->target_chunk_bytes = array_chunk_bytes(target);
    b->metadata_bytes = metadata_bytes(source) + list_bytes(census);
    b->source_raw = codec_chain_is_raw(&source->codecs);
    b->target_raw = codec_chain_is_raw(&target->codecs);
    b->sample = census->codec;
    codec_sample_merge(&b->sample, &job->seen);
    codec_decode_needs(&source->codecs, source->dtype, b->source_chunk_bytes, &b->sample, &b->decode);
    codec_encode_needs(&target->codecs, target->dtype, b->target_chunk_bytes, &b->encode);
    parts_init(b);
    b->source_ratio = 1;
    if (!b->source_raw && census->encoded_bytes_mean)
        b->source_ratio = (double)b->source_chunk_bytes / (double)census->encoded_bytes_mean;
    b->target_ratio = ratio_expected(b);
    b->present_share = 1;
    if (census->counted && census->chunks)
        b->present_share = (double)census->present / (double)census->chunks;
    else if (census->sampled)
        b->present_share = (double)census->sampled_present / (double)census->sampled;
    /* A source that a codec could not shrink will not shrink in scratch either; of a raw one nothing is known. */
    b->spill = job->scratch_codec == SCRATCH_NONE ? SPILL_RAW : SPILL_LZ4;
    if (job->scratch_codec == SCRATCH_AUTO && !b->source_raw && census->encoded_bytes_mean && b->source_ratio < 1.1)
        b->spill = SPILL_RAW;
    b->spill_ratio = b->spill == SPILL_RAW ? 1 : fmin(4, fmax(1, b->source_ratio));
    b->spill_unsure = b->spill_ratio > 1 ? shrinks_beyond_lz4(&source->codecs) : NULL;
}
