/* The scratch file's codec, and what an index may say of the scratch. */
#include "engine/exec/scratch.h"
#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"
#include "tests/unit/directory.h"

static void check_round_trip(const char *data, uint64_t bytes, uint32_t item_bytes, enum spill_encoding wanted,
                             enum spill_encoding expected)
{
    char *to = malloc(spill_encoded_bytes_max(bytes) + 1), *scratch = malloc(spill_scratch_bytes(bytes) + 1);
    enum spill_encoding used;
    const char *raw = NULL;
    uint64_t got = spill_encode(wanted, data, bytes, item_bytes, to, scratch, &used);

    CHECK_EQUAL(used, expected);
    CHECK(got <= spill_encoded_bytes_max(bytes));
    CHECK(spill_decode(used, to, got, bytes, item_bytes, scratch, &raw));
    CHECK(raw && memcmp(raw, data, bytes) == 0);
    free(to);
    free(scratch);
}

static void test_spill__gives_back_what_it_took(void)
{
    enum { BYTES = 1 << 20 };
    static const uint64_t lengths[] = { 64, 4000, 65536, 524288, BYTES };
    char *smooth = malloc(BYTES), *noise = malloc(BYTES);

    fill_smooth_f4((float *)smooth, BYTES / 4);
    fill_noise(noise, BYTES);
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (uint32_t item_bytes = 1; item_bytes <= 16; item_bytes *= 2) {
            check_round_trip(smooth, lengths[i], item_bytes, SPILL_RAW, SPILL_RAW);
            check_round_trip(noise, lengths[i], item_bytes, SPILL_LZ4, SPILL_RAW);
            if (lengths[i] >= 4000 && item_bytes == 4)
                check_round_trip(smooth, lengths[i], item_bytes, SPILL_LZ4, SPILL_LZ4);
        }
    check_round_trip(smooth, 1, 1, SPILL_LZ4, SPILL_RAW);
    free(smooth);
    free(noise);
}

static void test_spill__raw_blocks_are_not_copied_when_read(void)
{
    const char *raw = NULL;

    CHECK(spill_decode(SPILL_RAW, "abcdefgh", 8, 8, 4, NULL, &raw));
    CHECK(memcmp(raw, "abcdefgh", 8) == 0);
    CHECK(!spill_decode(SPILL_RAW, "abcdefgh", 8, 12, 4, NULL, &raw));
}

static void test_spill__refuses_what_it_did_not_write(void)
{
    enum { BYTES = 8192 };
    char data[BYTES], to[BYTES], *scratch = malloc(spill_scratch_bytes(BYTES));
    enum spill_encoding used;
    const char *raw;
    uint64_t got;

    fill_smooth_f4((float *)data, BYTES / 4);
    got = spill_encode(SPILL_LZ4, data, BYTES, 4, to, scratch, &used);
    CHECK_EQUAL(used, SPILL_LZ4);
    for (uint64_t cut = 0; cut < got; cut++)
        CHECK(!spill_decode(SPILL_LZ4, to, cut, BYTES, 4, scratch, &raw));
    CHECK(!spill_decode(SPILL_LZ4, to, BYTES, BYTES, 4, scratch, &raw));
    CHECK(!spill_decode((enum spill_encoding)7, to, got, BYTES, 4, scratch, &raw));
    free(scratch);
}

/* An index that is damaged must not lead out of the memory that the first segments stay in. */
static void test_scratch__a_block_is_all_in_memory_or_all_in_the_file(void)
{
    enum { MEMORY_BYTES = 2 * IO_ALIGN };
    struct directory d = directory_new();
    struct scratch_layout layout = { .memory_bytes = MEMORY_BYTES, .path = directory_path(&d, "x.sluice-scratch") };
    char memory[MEMORY_BYTES];
    struct error err = { 0 };
    struct scratch *s;
    uint64_t offset;

    CHECK(scratch_open(&s, &layout, memory, 1, &(struct segment *){ NULL }, &err));
    CHECK(!scratch_holds(s, 0, 1));
    CHECK(scratch_take(s, MEMORY_BYTES, &offset, &err) && scratch_take(s, IO_ALIGN, &offset, &err));
    CHECK(scratch_holds(s, MEMORY_BYTES - 8, 8) && scratch_holds(s, MEMORY_BYTES, IO_ALIGN));
    CHECK(!scratch_holds(s, MEMORY_BYTES - 8, 9));
    CHECK(!scratch_holds(s, MEMORY_BYTES + 1, IO_ALIGN) && !scratch_holds(s, UINT64_MAX, 2));
    scratch_close(s);
    directory_remove(&d);
}

int main(void)
{
    RUN(test_spill__gives_back_what_it_took);
    RUN(test_spill__raw_blocks_are_not_copied_when_read);
    RUN(test_spill__refuses_what_it_did_not_write);
    RUN(test_scratch__a_block_is_all_in_memory_or_all_in_the_file);
    return test_summary();
}
