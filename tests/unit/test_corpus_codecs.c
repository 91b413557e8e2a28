/* What other implementations wrote, decoded: numcodecs' fixtures and c-blosc's compatibility buffers, in the folder
 * that SLUICE_CORPUS names (numcodecs/CODEC/codec.N/encoded.M.dat with config.json and CODEC/array.M.npy;
 * c-blosc/NAME.cdata). Without it the tests are skipped, aloud. Codecs and dtypes that are out of scope are not
 * tried. */
#include <dirent.h>
#include <json-c/json.h>

#include "tests/unit/test.h"
#include "tests/unit/codec_bench.h"

enum { PATH_BYTES = 1024 };

static const char *corpus(const char *folder)
{
    static char path[PATH_BYTES];
    const char *root = getenv("SLUICE_CORPUS");

    if (!root)
        return NULL;
    snprintf(path, sizeof path, "%s/%s", root, folder);
    return path;
}

/* A whole file, to be freed; NULL: there is none. */
static char *file_bytes(const char *path, uint64_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    long length;

    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0) {
        rewind(file);
        data = calloc(1, (size_t)length + 1);
        *bytes = fread(data, 1, (size_t)length, file);
    }
    fclose(file);
    return data;
}

/* The items of an .npy file: its header is a Python literal of which we need the type's letter and size. False: a
 * type with no fixed number of bytes that chunks here could have. */
static bool npy_items(const char *npy, uint64_t npy_bytes, const char **items, uint64_t *bytes, uint32_t *item_bytes)
{
    uint64_t head = 10 + ((unsigned char)npy[8] | (uint64_t)(unsigned char)npy[9] << 8);
    const char *type = strstr(npy + 10, "'descr': '");

    if (!type || head > npy_bytes)
        return false;
    type += strlen("'descr': '") + 1;       /* behind the byte order, which is as stored in both files */
    if (!strchr("biufcmM", *type))
        return false;
    *item_bytes = (uint32_t)strtoul(type + 1, NULL, 10);
    *items = npy + head;
    *bytes = npy_bytes - head;
    return *item_bytes > 0;
}

static int json_number(struct json_object *config, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(config, key, &value) ? json_object_get_int(value) : 0;
}

/* False: not a codec of ours. */
static bool chain_from_config(struct codec_chain *c, const char *path)
{
    static const struct { const char *id; enum codec_kind kind; } kinds[] = {
        { "blosc", CODEC_BLOSC }, { "zstd", CODEC_ZSTD }, { "gzip", CODEC_GZIP }, { "zlib", CODEC_ZLIB },
        { "lz4", CODEC_LZ4 }, { "crc32c", CODEC_CRC32C },
    };
    struct json_object *config = json_object_from_file(path), *id, *location;
    bool known = false;

    *c = (struct codec_chain){ .count = 1 };
    if (!config)
        return false;
    if (json_object_object_get_ex(config, "id", &id))
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds && !known; i++) {
            known = strcmp(json_object_get_string(id), kinds[i].id) == 0;
            c->codecs[0].kind = kinds[i].kind;
        }
    c->codecs[0].level = json_number(config, "level");
    c->codecs[0].blocksize = (uint32_t)json_number(config, "blocksize");
    /* numcodecs' first crc32c put the sum in front */
    if (known && c->codecs[0].kind == CODEC_CRC32C)
        known = json_object_object_get_ex(config, "location", &location) &&
                strcmp(json_object_get_string(location), "end") == 0;
    json_object_put(config);
    return known;
}

static bool check_decodes(const struct codec_chain *c, const char *encoded_path, const char *items, uint64_t bytes,
                          uint32_t item_bytes)
{
    struct dtype dtype = { DTYPE_UINT, item_bytes };
    struct error err = { 0 };
    uint64_t encoded_bytes;
    char *encoded = file_bytes(encoded_path, &encoded_bytes), *out = malloc(bytes + 1);
    bool there = encoded != NULL, same = false;

    if (there) {
        same = decode_bytes(c, dtype, bytes, encoded, encoded_bytes, out, &err) && memcmp(out, items, bytes) == 0;
        CHECK(same);
        if (!same)
            fprintf(stderr, "%s: %s\n", encoded_path, err.message);
    }
    free(encoded);
    free(out);
    return there;
}

/* All encodings of one array by one codec folder. Returns how many. */
static unsigned check_folder(const char *folder)
{
    char path[PATH_BYTES + 64], npy_path[PATH_BYTES + 64];
    struct codec_chain c;
    unsigned checked = 0;

    for (unsigned codec = 0; codec < 100; codec++) {
        snprintf(path, sizeof path, "%s/codec.%02u/config.json", folder, codec);
        if (!chain_from_config(&c, path))
            continue;
        for (unsigned array = 0; array < 100; array++) {
            uint64_t npy_bytes = 0, bytes;
            uint32_t item_bytes;
            const char *items;
            char *npy;

            snprintf(npy_path, sizeof npy_path, "%s/array.%02u.npy", folder, array);
            snprintf(path, sizeof path, "%s/codec.%02u/encoded.%02u.dat", folder, codec, array);
            npy = file_bytes(npy_path, &npy_bytes);
            if (npy && npy_items(npy, npy_bytes, &items, &bytes, &item_bytes))
                checked += check_decodes(&c, path, items, bytes, item_bytes);
            free(npy);
        }
    }
    return checked;
}

static void test_corpus__decodes_what_numcodecs_wrote(void)
{
    static const char *const folders[] = { "blosc", "zstd", "gzip", "zlib", "lz4", "crc32c" };
    const char *root = corpus("numcodecs");
    unsigned checked = 0;

    if (!root)
        SKIP("SLUICE_CORPUS is not set");
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
        char folder[PATH_BYTES + 32];

        snprintf(folder, sizeof folder, "%s/%s", root, folders[i]);
        checked += check_folder(folder);
    }
    printf("numcodecs: %u encodings\n", checked);
    CHECK(checked > 100);
}

/* Each holds the int32 0, 1, 2, ... to a million. */
static void test_corpus__decodes_what_every_c_blosc_wrote(void)
{
    const char *root = corpus("c-blosc");
    struct codec_chain c = { .count = 1, .codecs = {{ .kind = CODEC_BLOSC }} };
    enum { BYTES = 4000000 };
    unsigned checked = 0;
    struct dirent *entry;
    char *ramp;
    DIR *dir;

    if (!root)
        SKIP("SLUICE_CORPUS is not set");
    dir = opendir(root);
    CHECK(dir != NULL);
    if (!dir)
        return;
    ramp = malloc(BYTES);
    for (int32_t i = 0; i < BYTES / 4; i++)
        memcpy(ramp + 4 * (size_t)i, &i, 4);
    while ((entry = readdir(dir))) {
        char path[PATH_BYTES + 300];

        if (!strstr(entry->d_name, ".cdata"))
            continue;
        snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
        checked += check_decodes(&c, path, ramp, BYTES, 4);
    }
    closedir(dir);
    free(ramp);
    printf("c-blosc: %u buffers\n", checked);
    CHECK(checked >= 20);
}

int main(void)
{
    RUN(test_corpus__decodes_what_numcodecs_wrote);
    RUN(test_corpus__decodes_what_every_c_blosc_wrote);
    return test_summary();
}
