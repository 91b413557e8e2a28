#!/usr/bin/env python3
"""Damaged inputs: exit 4 with the file's name, and nothing half-made. Nothing in an input may crash us."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, Suite, check, check_left_alone, rechunk, tree  # noqa: E402

import inputs  # noqa: E402
import numcodecs  # noqa: E402
import numpy as np  # noqa: E402
import zarr  # noqa: E402

MEMORY = ["--memory", "64MiB"]
HOW = [["--plan", plan, "--io", io] for plan in ("direct", "split")
       for io in (["threads"] if SANITIZER == "thread" else ["uring", "threads"])]

CODECS = {
    "blosc": {"compressors": numcodecs.Blosc("lz4", 5, 1)},
    "zstd": {"compressors": numcodecs.Zstd(3)},
    "gzip": {"compressors": numcodecs.GZip(3)},
    "zlib": {"compressors": numcodecs.Zlib(3)},
    "lz4": {"compressors": numcodecs.LZ4(1)},
    "none": {"compressors": None},
}


def refuses(directory, source, name, chunks="12,5,7"):
    """Both plans and both back ends say which file it is."""
    for how in HOW:
        rechunk(source, directory / "out.zarr", "--chunks", chunks, *how, *MEMORY).expect(4, name)
        check_left_alone(directory, source.name)


def damaged(what, change):
    def test(directory):
        for codec, options in CODECS.items():
            place = directory / codec
            place.mkdir()
            source = inputs.small(place / "in.zarr", **options)
            chunk = source / "7.0.0"
            chunk.write_bytes(change(chunk.read_bytes()))
            refuses(place, source, "7.0.0")
    test.__name__ = f"test_damage__{what}"
    return test


def replaced(what, change):
    def test(directory):
        source = inputs.small(directory / "in.zarr")
        chunk = source / "3.0.0"
        chunk.unlink()
        change(chunk, directory)
        refuses(directory, source, "3.0.0")
    test.__name__ = f"test_damage__{what}_in_place_of_a_chunk"
    return test


def test_damage__bad_checksum_of_crc32c(directory):
    source = inputs.small(directory / "in.zarr", version=3, compressors=[zarr.codecs.Crc32cCodec()])
    chunk = source / "c" / "4" / "0" / "0"
    raw = bytearray(chunk.read_bytes())
    raw[10] ^= 4
    chunk.write_bytes(raw)
    refuses(directory, source, "c/4/0/0")


def test_damage__chunk_in_the_middle_of_the_key_is_a_file(directory):
    source = inputs.small(directory / "in.zarr", version=3)
    inner = source / "c" / "4"
    for path in sorted(inner.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    inner.rmdir()
    inner.write_text("not a directory")
    refuses(directory, source, "c/4")


def test_damage__one_flipped_bit_never_crashes(directory):
    rng = np.random.default_rng(7)
    source = directory / "in.zarr"
    inputs.small(source, compressors=numcodecs.Blosc("lz4", 5, 1))
    chunk = source / "7.0.0"
    whole = chunk.read_bytes()
    for _ in range(24 if SANITIZER else 60):
        raw = bytearray(whole)
        # Mostly in the header and the block starts, where lies hurt.
        at = int(rng.integers(64 if rng.random() < 0.7 else len(raw)))
        raw[at] ^= 1 << int(rng.integers(8))
        chunk.write_bytes(raw)
        result = rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", "--overwrite", *MEMORY)
        check(result.status in (0, 4), f"exit {result.status}, byte {at}\n{result}")


def test_damage__metadata_never_crashes(directory):
    source = inputs.small(directory / "in.zarr")
    whole = (source / ".zarray").read_text()
    document = json.loads(whole)
    texts = [whole[:len(whole) // 2], "", "[]", "null", "{", whole + "x", "[" * 100_000, '{"a":' * 5000, "\xff\xfe\x00"]
    for key, values in {
            "shape": [[-1, 20, 30], [2 ** 63, 2 ** 63, 2 ** 63], [1e3, 2, 3], "12", None, [12, 20], [12] * 40, [[12], 20, 30]],
            "chunks": [[0, 20, 30], [-1, 20, 30], [2 ** 62, 2 ** 62, 2 ** 62], [1, 20], None],
            "dtype": ["<f3", "f4", "|f4", "", "<f99999999999", None, 4, [["a", "<f4"]], "<M8[ns]", "|O", "<U4"],
            "compressor": [{"id": "nope"}, {}, "blosc", {"id": "blosc", "cname": "x", "clevel": 99, "shuffle": 9, "blocksize": -1}],
            "filters": [[{"id": "delta", "dtype": "<f4"}], "x", {}], "order": ["A", 1, None],
            "fill_value": ["abc", [1, 2, 3], {}, 1e400], "zarr_format": [1, 3, "2", None],
            "dimension_separator": ["-", 1]}.items():
        for value in values:
            texts.append(json.dumps({**document, key: value}))
    for key in document:
        texts.append(json.dumps({k: v for k, v in document.items() if k != key}))
    for text in texts:
        (source / ".zarray").write_text(text, encoding="latin-1", errors="replace")
        result = rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", "--overwrite", *MEMORY)
        check(result.status in (0, 2, 3, 4), f"exit {result.status} for {text[:300]}\n{result}")
        check(result.status == 0 or "in.zarr" in result.err, f"does not name the input\n{result}")


def test_damage__attributes_that_are_no_json_are_named(directory):
    source = inputs.small(directory / "in.zarr")
    (source / ".zattrs").write_text('{"units": ')
    rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", *MEMORY).expect(4, ".zattrs")
    check_left_alone(directory, "in.zarr")


def test_damage__source_is_never_changed(directory):
    source = inputs.small(directory / "in.zarr")
    (source / "7.0.0").write_bytes(b"x" * 50)
    before = tree(source)
    refuses(directory, source, "7.0.0")
    check(tree(source) == before)


if __name__ == "__main__":
    suite = Suite("damage")
    suite.run(
        damaged("half_a_chunk", lambda raw: raw[:len(raw) // 2]),
        damaged("an_empty_chunk", lambda raw: b""),
        damaged("one_byte_missing", lambda raw: raw[:-1]),
        damaged("garbage", lambda raw: bytes(range(1, 200)) * 3),
        damaged("zeroes", lambda raw: bytes(len(raw) - 3)),
        replaced("a_pipe", lambda chunk, _: os.mkfifo(chunk)),
        replaced("a_directory", lambda chunk, _: chunk.mkdir()),
        replaced("a_link", lambda chunk, _: chunk.symlink_to("4.0.0")),
        replaced("a_dangling_link", lambda chunk, _: chunk.symlink_to("nowhere")),
        replaced("a_device", lambda chunk, _: chunk.symlink_to("/dev/zero")))
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
