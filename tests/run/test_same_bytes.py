#!/usr/bin/env python3
"""The output's bytes depend on what was asked for, never on threads, back end, memory or plan."""
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, Suite, check, minimum_bytes, rechunk, sluice, tree  # noqa: E402

import inputs  # noqa: E402

BACKENDS = ["threads"] if SANITIZER == "thread" else ["uring", "threads"]
FRAMES = 16 if SANITIZER else 60


def same_bytes(directory, source, *flags):
    first = None
    for plan, io, threads in itertools.product(("direct", "split"), BACKENDS, (1, 2, 3)):
        how = ["--plan", plan, "--io", io, "--threads", threads]
        least = minimum_bytes(source, directory / "none.zarr", *flags, *how)
        for budget in (least, least + least // 3, max(2 * least, 512 << 20)):
            if SANITIZER and threads == 2:
                continue
            rechunk(source, directory / "out.zarr", *flags, *how, "--memory", budget, "--overwrite").expect(0)
            now = tree(directory / "out.zarr")
            if first is None:
                first = now
                sluice("verify", source, directory / "out.zarr").expect(0)
            check(now == first, "other bytes with", *how, "--memory", budget)


def test_bytes__are_the_same_for_blosc(directory):
    source = inputs.generate(directory / "in.zarr", f"{FRAMES},91,180", "1,91,180")
    same_bytes(directory, source, "--chunks", f"{FRAMES},16,16")


def test_bytes__are_the_same_for_v3_zstd_with_big_chunks(directory):
    source = inputs.generate(directory / "in.zarr", f"{FRAMES},91,180", "7,50,60", "--codec", "zstd")
    same_bytes(directory, source, "--chunks", "13,91,33", "--format", "zarr3", "--codec", "zstd:2")


def test_bytes__are_the_same_for_uncompressed(directory):
    source = inputs.generate(directory / "in.zarr", f"{FRAMES},91,180", "5,91,180", "--codec", "none", "--field", "random")
    same_bytes(directory, source, "--chunks", f"{FRAMES // 2},32,180")


def test_bytes__of_chunks_of_16_mib_and_more_are_read_by_zarr(directory):
    """There zstd and deflate are streams, written in steps."""
    source = inputs.generate(directory / "in.zarr", "9,720,721", "3,720,721", "--codec", "none")
    wanted = inputs.values(source)
    for codec, version in (("zstd:3:checksum", "zarr3"), ("gzip:1+crc32c", "zarr3"), ("gzip:4", "zarr2"),
                           ("zlib:1", "zarr2")):
        rechunk(source, directory / "out.zarr", "--chunks", "9,720,721", "--format", version, "--codec", codec,
                "--overwrite").expect(0)
        check((inputs.values(directory / "out.zarr") == wanted).all(), "zarr reads other values with", codec, version)


if __name__ == "__main__":
    suite = Suite("same-bytes")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
