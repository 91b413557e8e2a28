#!/usr/bin/env python3
"""Small arrays whose metadata is hard to get right, written by zarr-python 3.

    format_cases.py DIR     writes DIR/<case>, each one array, and prints the case names

Every case holds values in its first chunk only, so that the fill value counts. Needs zarr >= 3 and numpy; without
them it says so and exits 77 (skipped).
"""
import sys

try:
    import numpy as np
    import zarr
except ImportError as missing:
    print(f"skipped: {missing}", file=sys.stderr)
    sys.exit(77)

NAN_WITH_PAYLOAD = np.array([0x7FA00001], "<u4").view("<f4")[0]
NEGATIVE_NAN = np.array([0xFFF8000000000000], "<u8").view("<f8")[0]

# dtype, fill values
FILLS = [
    ("bool", [False, True]),
    ("int8", [-128, 0]),
    ("int64", [-(2**63), 2**53 + 1]),
    ("uint8", [255]),
    ("uint64", [2**64 - 1]),
    ("float16", [0.1, -0.0, float("nan"), float("inf"), 6e-8]),
    ("float32", [9.96921e36, -0.0, float("nan"), float("-inf"), 0.1]),
    ("float64", [5e-324, -0.0, float("nan"), 0.1, 1e300]),
    ("complex64", [complex(1, float("nan"))]),
    ("complex128", [complex(-0.0, float("-inf"))]),
]


def write(path, zarr_format, dtype, fill, **options):
    a = zarr.create_array(path, shape=(7, 5, 4), chunks=(3, 2, 4), dtype=dtype, fill_value=fill,
                          zarr_format=zarr_format, overwrite=True, **options)
    kind = np.dtype(dtype).kind
    values = np.arange(24).reshape(3, 2, 4)
    a[:3, :2, :] = (values % 2 == 0) if kind == "b" else values.astype(dtype)


def main(root):
    cases = []

    def case(name, zarr_format, dtype, fill, **options):
        write(f"{root}/{name}", zarr_format, dtype, fill, **options)
        cases.append(name)

    for dtype, fills in FILLS:
        for i, fill in enumerate(fills):
            case(f"v3-{dtype}-{i}", 3, dtype, fill, compressors=None)
            case(f"v2-{dtype}-{i}", 2, dtype, fill, compressors=None)
    case("v3-payload", 3, "float32", NAN_WITH_PAYLOAD, compressors=None)
    case("v3-negative-nan", 3, "float64", NEGATIVE_NAN, compressors=None)
    case("v2-order-f", 2, ">i4", -1, order="F")
    case("v2-nested", 2, "int16", 3, chunk_key_encoding={"name": "v2", "separator": "/"})
    case("v3-transpose", 3, "int32", 7, filters=[zarr.codecs.TransposeCodec(order=(1, 2, 0))],
         serializer=zarr.codecs.BytesCodec(endian="big"),
         compressors=[zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), zarr.codecs.Crc32cCodec()])
    case("v3-dots", 3, "float32", 0.5, chunk_key_encoding={"name": "default", "separator": "."},
         dimension_names=["time", "lat", "lon"], attributes={"units": "K", "missing": float("nan"), "big": 2**70})
    print("\n".join(cases))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
