#!/usr/bin/env python3
"""Any shape at any budget: chunks bigger than the budget on either side, grids that meet nowhere, further passes, odd arrays.

Inputs are written by zarr-python; what sluice writes is read by zarr-python and TensorStore. The bytes must not depend on the
budget, so each output is made in the least budget, in a small and in a large one.
"""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, Skip, Suite, check, find_key, minimum_bytes, rechunk, sluice, tree  # noqa: E402

import inputs  # noqa: E402
import numcodecs  # noqa: E402
import numpy as np  # noqa: E402
import tensorstore  # noqa: E402
import zarr  # noqa: E402

MIB = 1 << 20
LONG = bool(os.environ.get("SLUICE_LONG"))
CODECS = {"none": None, "lz4": numcodecs.Blosc("lz4", 5, 1), "zstd": numcodecs.Zstd(3), "gzip": numcodecs.GZip(1)}


def field(shape, seed=1):
    """Smooth with noise: no chunk is all of one value, and codecs have something to do."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 255, shape, dtype="u1").astype("f4")
    values += np.arange(shape[-1], dtype="f4")
    return values


def make(path, values, chunks, codec="lz4", order="C", **options):
    array = zarr.create_array(str(path), shape=values.shape, chunks=chunks, dtype=values.dtype, zarr_format=2,
                              compressors=CODECS[codec], fill_value=options.pop("fill_value", 0), order=order, **options)
    array[...] = values
    return path


def read_by_both(path):
    ours = zarr.open_array(str(path), mode="r")[...]
    theirs = tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": str(path)}}).result().read().result()
    check(np.array_equal(ours.view("u1"), np.ascontiguousarray(theirs).view("u1")), "zarr-python and TensorStore differ")
    return ours


def run(source, target, budget, *flags):
    done = rechunk(source, target, *flags, "--memory", budget, "--json", timeout=300).expect(0)
    peak = find_key(done.json(), "rss_peak_bytes")
    check(SANITIZER or peak <= budget, f"peak RSS {peak} over the budget of {budget}\n{done}")
    return done


def at_every_budget(directory, source, values, *flags, limit=None, budgets=(0, 6 * MIB, 400 * MIB)):
    """The same bytes in the least budget, a little above it, and plenty."""
    if SANITIZER and values.nbytes > 8 * MIB:
        raise Skip("too much for a sanitizer: test_parts, test_slices and test_ranges do the same on little data")
    least = minimum_bytes(source, directory / "none", *flags)
    check(limit is None or least <= limit, f"needs {least} bytes, more than {limit}")
    first = None
    for more in budgets:
        target = directory / f"out-{more}"
        run(source, target, least + more, *flags)
        now = tree(target)
        if first is None:
            first = now
            check(np.array_equal(read_by_both(target).view("u4"), values.view("u4")), "values differ")
            sluice("verify", source, target, "--memory", least + 2 * MIB).expect(0)    # a little more: sums
        check(now == first, f"other bytes with {more} bytes above the least budget")
    return first


def source_chunks_of_64_mib(directory, codec):
    values = field((2, 4096, 4096))
    source = make(directory / "in", values, (1, 4096, 4096), codec)
    at_every_budget(directory, source, values, "--chunks", "2,256,256", "--codec", "blosc:lz4", limit=32 * MIB)


def test_shapes__a_raw_source_chunk_of_64_mib_goes_through_32(directory):
    source_chunks_of_64_mib(directory, "none")


def test_shapes__a_blosc_source_chunk_of_64_mib_goes_through_32(directory):
    source_chunks_of_64_mib(directory, "lz4")


def test_shapes__a_zstd_source_chunk_of_64_mib_goes_through_32(directory):
    source_chunks_of_64_mib(directory, "zstd")


def test_shapes__a_gzip_source_chunk_of_64_mib_goes_through_32(directory):
    source_chunks_of_64_mib(directory, "gzip")


def target_chunks_of_64_mib(directory, codec, values=None, order="C", limit=40 * MIB):
    """Three and a bit: the last hangs over."""
    values = field((70, 512, 1024)) if values is None else values
    source = make(directory / "in", values, (1, 512, 1024), "lz4")
    return at_every_budget(directory, source, values, "--chunks", "32,512,1024", "--codec", codec, limit=limit)


def test_shapes__a_raw_target_chunk_of_64_mib_is_written_in_less(directory):
    target_chunks_of_64_mib(directory, "none")


def test_shapes__a_blosc_target_chunk_of_64_mib_is_written_in_less(directory):
    target_chunks_of_64_mib(directory, "blosc:lz4:5:shuffle")


def test_shapes__a_zstd_target_chunk_of_64_mib_is_written_in_less(directory):
    target_chunks_of_64_mib(directory, "zstd:1")


def test_shapes__a_gzip_target_chunk_of_64_mib_is_written_in_less(directory):
    target_chunks_of_64_mib(directory, "gzip:1")


def test_shapes__a_blosc_chunk_that_does_not_shrink_is_stored_at_every_budget(directory):
    """Its first half shrinks: a writer that goes on finds out late."""
    noise = np.random.default_rng(3).integers(0, 1 << 32, (32, 512, 1024), dtype="u4").view("f4")
    noise[:2] = 1
    files = target_chunks_of_64_mib(directory, "blosc:lz4:5:shuffle", noise)
    frame = files["0.0.0"]
    judged = np.frombuffer(numcodecs.Blosc("lz4").decode(frame), "u4")
    check(np.array_equal(judged, noise.view("u4").ravel()), "c-blosc reads other values")


def test_shapes__both_chunks_of_64_mib_the_other_way_round(directory):
    """No slice of one is a slice of the other: split and merge, both in slices."""
    values = field((64, 512, 512))
    source = make(directory / "in", values, (64, 512, 512), "zstd")
    at_every_budget(directory, source, values, "--chunks", "64,512,256", "--codec", "zstd:1", limit=40 * MIB)


def test_shapes__what_is_all_fill_stays_away_in_slices(directory):
    """The first slices of a chunk are all fill, then comes a value; the other chunk is all fill."""
    for codec in ("none", "blosc:lz4", "zstd:1"):
        place = directory / codec.replace(":", "-")
        place.mkdir()
        values = np.full((64, 512, 1024), 7, "f4")
        values[20, 3, 4] = 8
        source = make(place / "in", values, (1, 512, 1024), "lz4", fill_value=7)
        files = at_every_budget(place, source, values, "--chunks", "32,512,1024", "--codec", codec)
        check(sorted(k for k in files if not k.startswith(".")) == ["0.0.0"], sorted(files))


def test_shapes__a_codec_that_cannot_go_on_is_named(directory):
    source = make(directory / "in", field((70, 512, 1024)), (1, 512, 1024), "lz4")
    least = minimum_bytes(source, directory / "out", "--chunks", "32,512,1024", "--codec", "lz4")
    check(least > 64 * MIB, least)
    rechunk(source, directory / "out", "--chunks", "32,512,1024", "--codec", "lz4", "--memory", "40MiB").expect(3, "lz4")
    run(source, directory / "out", least, "--chunks", "32,512,1024", "--codec", "lz4")


def test_shapes__grids_that_meet_nowhere_are_decoded_once(directory):
    values = field((2700, 2700))
    source = make(directory / "in", values, (100, 100), "zstd")
    done = run(source, directory / "out", 64 * MIB, "--chunks", "99,99")
    check(np.array_equal(read_by_both(directory / "out"), values), "values differ")
    decoded = find_key(done.json(), "source_decoded_bytes")
    check(decoded <= 1.02 * values.nbytes, f"decoded {decoded / values.nbytes:.2f} times")


def test_shapes__ten_million_by_three(directory):
    values = np.arange(3 * 10 ** 7, dtype="f4").reshape(10 ** 7, 3)
    source = make(directory / "in", values, (10 ** 6, 1), "lz4")
    at_every_budget(directory, source, values, "--chunks", "250000,3", limit=64 * MIB, budgets=(0, 60 * MIB))


def test_shapes__one_huge_axis(directory):
    values = np.arange(3 * 10 ** 7, dtype="f4")
    source = make(directory / "in", values, (7 * 10 ** 6,), "zstd")
    at_every_budget(directory, source, values, "--chunks", "9999999", limit=64 * MIB, budgets=(0, 60 * MIB))


def test_shapes__columns_of_a_table_of_rows(directory):
    """(67186, 1093742) by (2000, 1) to (67186, 10), scaled."""
    values = field((6718, 1090))
    source = make(directory / "in", values, (2000, 1), "lz4")
    at_every_budget(directory, source, values, "--chunks", "6718,10", limit=64 * MIB, budgets=(0, 60 * MIB))


def test_shapes__rank_ten(directory):
    values = field((3, 2, 3, 2, 3, 2, 3, 2, 3, 4))
    source = make(directory / "in", values, (1, 2, 1, 2, 1, 2, 3, 1, 3, 4), "zstd")
    at_every_budget(directory, source, values, "--chunks", "3,1,3,1,2,2,1,2,1,3", limit=64 * MIB, budgets=(0, 60 * MIB))


def test_shapes__a_billion_chunks_of_which_ten_are_there(directory):
    array = zarr.create_array(str(directory / "in"), shape=(10 ** 5, 10 ** 5), chunks=(3, 3), dtype="f4", zarr_format=2,
                              compressors=CODECS["lz4"], fill_value=0)
    rng = np.random.default_rng(5)
    places = [tuple(int(x) for x in rng.integers(0, 99_000, 2)) for _ in range(10)]
    for i, (y, x) in enumerate(places):
        array[y, x] = i + 1
    began = time.monotonic()
    run(directory / "in", directory / "out", 64 * MIB, "--chunks", "1000,1000")
    sluice("verify", directory / "in", directory / "out").expect(0)
    sluice("digest", directory / "out").expect(0)
    took = time.monotonic() - began
    check(SANITIZER or took < 15, f"ten chunks took {took:.0f} s")
    result = zarr.open_array(str(directory / "out"), mode="r")
    for i, (y, x) in enumerate(places):
        check(result[y, x] == i + 1, f"value {i}")
    check(len(list((directory / "out").glob("[0-9]*"))) <= 10, "more chunks than have a value")
    array[places[0]] = 100
    sluice("verify", directory / "in", directory / "out").expect(1, str(list(places[0])))


def test_shapes__chunks_of_which_none_is_stored_need_no_room(directory):
    """Two GiB each, of a codec whose blocks are as long as a stored chunk says."""
    zarr.create_array(str(directory / "in"), shape=(512, 1024, 1024), chunks=(512, 1024, 1024), dtype="f4", fill_value=3,
                      zarr_format=2, compressors=numcodecs.Blosc("lz4", 5, 1))
    run(directory / "in", directory / "out", 64 * MIB, "--chunks", "1,1024,1024", "--codec", "zstd:3", "--verify")
    check(len(list((directory / "out").iterdir())) == 1, "fill was stored")
    sluice("verify", directory / "in", directory / "out", "--memory", 64 * MIB).expect(0)


def test_shapes__two_gigabytes_of_one_chunk_go_through_256_mib(directory):
    if not LONG:
        raise Skip("2 GB: with make test-long")
    values = field((512, 1024, 1023))
    for codec in ("none", "lz4", "zstd"):
        source = make(directory / codec, values, values.shape, codec)
        target = directory / f"out-{codec}"
        run(source, target, 256 * MIB, "--chunks", "512,64,64", "--codec", "blosc:lz4")
        sluice("verify", source, target, timeout=300).expect(0)
        back = directory / f"back-{codec}"
        run(target, back, 256 * MIB, "--chunks", "512,1024,1023", "--codec",
            {"none": "none", "lz4": "blosc:lz4:5:shuffle", "zstd": "zstd:3"}[codec])
        sluice("verify", source, back, timeout=300).expect(0)


if __name__ == "__main__":
    suite = Suite("shapes")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
