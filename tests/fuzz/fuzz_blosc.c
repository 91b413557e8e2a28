/* Blosc frames, with c-blosc as judge of what we take: it gives the same bytes. It sees only what ours took, of at most
 * 1 MiB: there the blosclz that makes it write outside its buffer (a split of more than 8 MiB) cannot be. It takes no
 * block size beyond the raw length; ours reads that as one block. */
#include <blosc.h>

#include "engine/base/size.h"
#include "engine/codec/codec.h"
#include "tests/fuzz/fuzz.h"

enum { RAW_BYTES_MAX = 1 << 20, SCRATCH_BYTES = 5 << 20 };

static bool decode(const char *frame, size_t frame_bytes, uint32_t raw_bytes, char *raw, struct error *err)
{
    static char *scratch;
    struct codec_chain chain = { 0 };
    struct dtype dtype = { DTYPE_UINT, 1 };
    struct decoder *d = NULL;
    uint64_t done = 0, part_bytes = 1;
    const char *part;
    bool ok;

    if (!scratch)
        scratch = aligned_alloc(IO_ALIGN, SCRATCH_BYTES);
    MUST(scratch && codec_chain_from_text(&chain, "blosc:lz4", 1, err));
    ok = decoder_new(&d, &chain, dtype, raw_bytes, scratch, SCRATCH_BYTES, err) &&
         decoder_start(d, frame, frame_bytes, err);
    while (ok && part_bytes > 0 && (ok = decoder_next(d, &part, &part_bytes, err))) {
        MUST(part_bytes <= raw_bytes - done);
        memcpy(raw + done, part, part_bytes);
        done += part_bytes;
    }
    MUST(!ok || done == raw_bytes);
    decoder_free(d);
    return ok;
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    char *frame = exactly(data, bytes), *ours, *theirs;
    uint32_t raw_bytes = 4096, block_bytes = 0;
    struct error err = { 0 };

    if (bytes >= 12) {
        memcpy(&raw_bytes, data + 4, 4);
        memcpy(&block_bytes, data + 8, 4);
    }
    if (raw_bytes == 0 || raw_bytes > RAW_BYTES_MAX)    /* chunks are not empty */
        raw_bytes = 4096;
    ours = calloc(1, raw_bytes);
    MUST(ours);
    if (decode(frame, bytes, raw_bytes, ours, &err)) {
        theirs = calloc(1, raw_bytes);
        MUST(theirs);
        if (block_bytes > 0 && block_bytes <= raw_bytes) {
            MUST(blosc_decompress_ctx(frame, theirs, raw_bytes, 1) == (int)raw_bytes);
            MUST(memcmp(ours, theirs, raw_bytes) == 0);
        }
        free(theirs);
    } else {
        must_be_said(&err);
    }
    free(ours);
    free(frame);
    return 0;
}
