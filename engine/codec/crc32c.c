/* crc32c: the bytes as they are, then their CRC-32C (RFC 3720, polynomial 0x1EDC6F41 reflected) in 4 bytes,
 * little-endian. Source: zarr-specs v3, codecs/crc32c. */
#include <nmmintrin.h>
#include <string.h>

#include "engine/codec/codec_impl.h"

/* Four bits at a time, for processors without SSE4.2. */
static uint32_t crc_by_table(uint32_t crc, const char *bytes, uint64_t count)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    for (uint64_t i = 0; i < count; i++) {
        crc ^= (unsigned char)bytes[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}

__attribute__((target("sse4.2")))
static uint32_t crc_by_instruction(uint32_t crc, const char *bytes, uint64_t count)
{
    uint64_t wide = crc;

    for (; count >= 8; count -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count > 0; count--, bytes++)
        crc = _mm_crc32_u8(crc, (unsigned char)*bytes);
    return crc;
}

uint32_t crc32c_go_on(uint32_t crc, const char *bytes, uint64_t count)
{
    return __builtin_cpu_supports("sse4.2") ? crc_by_instruction(crc, bytes, count) : crc_by_table(crc, bytes, count);
}

static uint32_t crc32c(const char *bytes, uint64_t count)
{
    return ~crc32c_go_on(CRC32C_BEGIN, bytes, count);
}

static bool crc32c_strip(const char *from, uint64_t *from_bytes, struct error *err)
{
    uint32_t stored, computed;

    if (*from_bytes < CRC32C_BYTES)
        return error_at(err, ERR_INPUT, SPAN_NONE, "crc32c: %llu bytes are too few to hold a checksum",
                        (unsigned long long)*from_bytes);
    *from_bytes -= CRC32C_BYTES;
    stored = load_u32(from + *from_bytes);
    computed = crc32c(from, *from_bytes);
    if (stored != computed)
        return error_at(err, ERR_INPUT, SPAN_NONE, "crc32c: the checksum of %llu bytes is %08x, stored is %08x",
                        (unsigned long long)*from_bytes, computed, stored);
    return true;
}

static void crc32c_append(char *bytes, uint64_t *byte_count)
{
    store_u32(bytes + *byte_count, crc32c(bytes, *byte_count));
    *byte_count += CRC32C_BYTES;
}

static uint64_t crc32c_encoded_bytes_max(const struct codec *c, uint64_t raw_bytes)
{
    (void)c;
    return size_add_sat(raw_bytes, CRC32C_BYTES);
}

const struct codec_class crc32c_class = {
    .name = "crc32c",
    .raw_bytes_max = UINT64_MAX,
    .encoded_bytes_max = crc32c_encoded_bytes_max,
    .strip = crc32c_strip,
    .append = crc32c_append,
};
