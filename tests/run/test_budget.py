#!/usr/bin/env python3
"""The memory promise, as the program itself counts it: peak RSS is within the budget, also in budgets a little above the
minimum, where nothing is left over to hide what a codec library takes.
"""
import itertools
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, Skip, Suite, check, find_key, minimum_bytes, rechunk  # noqa: E402

import inputs  # noqa: E402

FRAMES = 64
CHUNKS = f"{FRAMES},64,64"      # of 1 MiB
MARGINS_BYTES = (2 << 20, 20 << 20)


def stays_within(directory, codec, margins=MARGINS_BYTES, threads=(2, 16), pixels=192, more=()):
    if SANITIZER:
        raise Skip("a sanitizer's memory is not ours")
    source = inputs.generate(directory / "in.zarr", f"{FRAMES},{pixels},{pixels}", f"1,{pixels},{pixels}")
    over = []
    for plan, count in itertools.product(("direct", "split"), threads):
        flags = ["--chunks", CHUNKS, "--codec", codec, "--plan", plan, "--threads", count, *more]
        least = minimum_bytes(source, directory / "none.zarr", *flags)
        for margin in margins:
            run = rechunk(source, directory / "out.zarr", *flags, "--memory", least + margin, "--overwrite", "--json")
            peak = find_key(run.expect(0).json(), "rss_peak_bytes")
            check(isinstance(peak, int) and peak > 1 << 20, f"no rss_peak_bytes\n{run}")
            if peak > least + margin:
                over.append(f"{plan}, {count} threads, minimum {least >> 10} + {margin >> 10} KiB: {peak >> 10} KiB, "
                            f"{(peak - least - margin) >> 10} KiB over")
    check(not over, f"{codec}\n  " + "\n  ".join(over))


def test_budget__holds_for_blosc_lz4(directory):
    stays_within(directory, "blosc:lz4:5:shuffle")


def test_budget__holds_for_blosc_lz4_bitshuffled(directory):
    stays_within(directory, "blosc:lz4:9:bitshuffle")


def test_budget__holds_for_blosc_lz4hc(directory):
    stays_within(directory, "blosc:lz4hc:5:shuffle", pixels=128)


def test_budget__holds_for_blosc_blosclz(directory):
    stays_within(directory, "blosc:blosclz:5:shuffle")


def test_budget__holds_for_blosc_snappy(directory):
    stays_within(directory, "blosc:snappy:5:shuffle")


def test_budget__holds_for_blosc_zlib(directory):
    stays_within(directory, "blosc:zlib:5:shuffle")


def test_budget__holds_for_blosc_zstd(directory):
    stays_within(directory, "blosc:zstd:5:shuffle")


def test_budget__holds_for_blosc_zstd_at_its_strongest(directory):
    stays_within(directory, "blosc:zstd:9:shuffle", threads=(2,), pixels=128)


def test_budget__holds_for_zstd_19(directory):
    stays_within(directory, "zstd:19", threads=(2,), pixels=128)


def test_budget__holds_for_uncompressed(directory):
    stays_within(directory, "none")


def test_budget__holds_while_the_output_is_read_back(directory):
    """In the very least, too: the passes of verify have their own."""
    for codec in ("blosc:zstd:1:shuffle", "zstd:1", "none"):
        (directory / codec).mkdir()
        stays_within(directory / codec, codec, margins=(0, 2 << 20), pixels=128, more=["--verify"])


def test_budget__holds_with_megabytes_of_attributes(directory):
    if SANITIZER:
        raise Skip("a sanitizer's memory is not ours")
    source = inputs.generate(directory / "in.zarr", "8,64,64", "1,64,64")
    (source / ".zattrs").write_text(json.dumps({f"k{i}": [1, 2, {"a": "b"}] for i in range(150_000)}, indent=1))
    for version in ("zarr2", "zarr3"):
        flags = ["--chunks", "8,16,16", "--format", version]
        least = minimum_bytes(source, directory / "none.zarr", *flags)
        run = rechunk(source, directory / version, *flags, "--memory", least, "--json").expect(0)
        peak = find_key(run.json(), "rss_peak_bytes")
        check(peak <= least, f"{peak} over {least}")


def test_budget__holds_when_segments_stay_in_memory(directory):
    stays_within(directory, "blosc:lz4:5:shuffle", margins=(40 << 20, 64 << 20), threads=(2,))


if __name__ == "__main__":
    suite = Suite("budget")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
