/* Blocks of the scratch file and the entries of its index, as a merge reads them: 16 bytes of an entry, then one byte
 * that says how long the block is and one its items, then its encoded bytes. */
#include "engine/base/size.h"
#include "engine/exec/scratch.h"
#include "tests/fuzz/fuzz.h"

enum { HEAD_BYTES = 18, RAW_BYTES_STEP = 96 };

/* An entry that is taken leads to bytes that are there. The scratch is all in memory. */
static void look_at_entry(const struct index_entry *entry)
{
    enum { MEMORY_BYTES = 4 * IO_ALIGN };
    struct scratch_layout layout = { .memory_bytes = MEMORY_BYTES, .path = "none" };
    char *memory = calloc(1, MEMORY_BYTES);
    struct error err = { 0 };
    struct scratch *s;
    uint64_t offset;

    MUST(memory && scratch_open(&s, &layout, memory, 1, &(struct segment *){ NULL }, &err));
    MUST(scratch_take(s, 3 * IO_ALIGN, &offset, &err));
    if (scratch_holds(s, entry_offset(entry), entry->bytes)) {
        char *at = scratch_at(s, entry_offset(entry));

        MUST(entry->bytes == 0 || (at >= memory && at + entry->bytes <= memory + 3 * IO_ALIGN));
        scratch_checksum(at, entry->bytes, 0, 0, entry_encoding(entry));
    }
    scratch_close(s);
    free(memory);
}

static void decode(const struct index_entry *entry, uint64_t raw_bytes, uint32_t item_bytes, const uint8_t *data,
                   size_t bytes)
{
    char *encoded = exactly(data, bytes), *scratch = malloc(spill_scratch_bytes(raw_bytes));
    const char *raw = NULL;
    uint64_t sum = 0;

    MUST(scratch);
    if (spill_decode(entry_encoding(entry), encoded, bytes, raw_bytes, item_bytes, scratch, &raw))
        for (uint64_t i = 0; i < raw_bytes; i++)
            sum += (unsigned char)raw[i];
    MUST(sum <= 255 * raw_bytes);
    free(encoded);
    free(scratch);
}

static void encode_and_decode(uint64_t raw_bytes, uint32_t item_bytes, const uint8_t *data, size_t bytes)
{
    char *block = calloc(1, raw_bytes), *to = malloc(spill_encoded_bytes_max(raw_bytes) + 1);
    char *scratch = malloc(spill_scratch_bytes(raw_bytes));
    enum spill_encoding used;
    const char *raw;
    uint64_t got;

    MUST(block && to && scratch);
    memcpy(block, data, bytes < raw_bytes ? bytes : raw_bytes);
    got = spill_encode(SPILL_LZ4, block, raw_bytes, item_bytes, to, scratch, &used);
    MUST(got <= spill_encoded_bytes_max(raw_bytes));
    MUST(spill_decode(used, to, got, raw_bytes, item_bytes, scratch, &raw) && memcmp(raw, block, raw_bytes) == 0);
    free(block);
    free(to);
    free(scratch);
}

int fuzz_one(const uint8_t *data, size_t bytes)
{
    struct index_entry entry;
    uint64_t raw_bytes;
    uint32_t item_bytes;

    if (bytes < HEAD_BYTES)
        return 0;
    memcpy(&entry, data, sizeof entry);
    raw_bytes = RAW_BYTES_STEP * (1 + (uint64_t)data[16]);
    item_bytes = 1u << data[17] % 5;
    look_at_entry(&entry);
    decode(&entry, raw_bytes, item_bytes, data + HEAD_BYTES, bytes - HEAD_BYTES);
    encode_and_decode(raw_bytes, item_bytes, data + HEAD_BYTES, bytes - HEAD_BYTES);
    return 0;
}
