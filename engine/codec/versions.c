/* versions.c - which libraries write our bytes. */
#include <blosc.h>
#include <libdeflate.h>
#include <lz4.h>
#include <zlib.h>
#include <zstd.h>

#include "engine/codec/codec.h"

void codec_versions_text(struct text *out)
{
    text_addf(out, "c-blosc %s, zstd %s, lz4 %s, libdeflate %s, zlib %s", blosc_get_version_string(), ZSTD_versionString(),
              LZ4_versionString(), LIBDEFLATE_VERSION_STRING, zlibVersion());
}
