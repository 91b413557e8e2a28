#!/usr/bin/env python3
"""Scratch as it is said and as it is: where it stays when a run is gone on with, and how much it may take."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import Suite, check, check_left_alone, sluice  # noqa: E402

import inputs  # noqa: E402
import numcodecs  # noqa: E402
import numpy  # noqa: E402
import zarr  # noqa: E402
from test_resume import Case  # noqa: E402


def test_scratch__stays_where_the_run_was_begun(directory):
    """The line names the place that is in use, whatever the command says."""
    case = Case(directory, "split")
    (directory / "elsewhere").mkdir()
    case.beside = ["elsewhere"]
    check(case.run(place="before-stage-end"), "did not die after the split")
    done = case.again("--scratch", directory / "elsewhere", "--json").expect(
        0, f" in '{directory}/out.zarr.sluice-scratch' (where the run was begun)",
        f"note: the scratch of the run that goes on stays at '{directory}/out.zarr.sluice-scratch'", "--restart takes")
    check(done.json()["plan"]["scratch_path"] == f"{directory}/out.zarr.sluice-scratch", done)
    case.check_done("with another place for scratch")

    check(case.run("--scratch", directory / "elsewhere", place="before-stage-end"), "did not die after the split")
    case.again().expect(0, f" in '{directory}/elsewhere/out.zarr.")
    check("stays at" not in case.said, "a note where no other place was named")
    case.check_done("without the place of scratch")

    check(case.run(place="before-stage-end"), "did not die after the split")
    case.again("--scratch", directory / "elsewhere", "--restart").expect(
        0, f" in '{directory}/elsewhere/out.zarr.", "(--scratch)")
    check("stays at" not in case.said, "a note where the place was taken")
    case.check_done("started over in another place")


def test_scratch__past_its_limit_goes_on_with_a_higher_one(directory):
    """What zstd shrank LZ4 does not: the limit allows for what is expected, and the warning says how much it can be."""
    values = numpy.random.default_rng(3).standard_normal((40, 181, 360)).round(1).astype("f4")
    inputs.small(directory / "in.zarr", shape=values.shape, chunks=(1, 181, 360), compressors=numcodecs.Zstd(3))
    zarr.open_array(directory / "in.zarr")[...] = values
    pipeline = directory / "p.yaml"
    text = "input: in.zarr\noutput: {path: out.zarr, chunks: [40, 16, 16]}\nscratch: {limit: %s}\n"
    flags = ["--plan", "split", "--memory", "12MiB", "--threads", "1", "--progress", "none"]
    pipeline.write_text(text % "6MiB")
    case = sluice("run", pipeline, *flags).expect(
        3, "warning: scratch may take up to ", "its limit is 6MiB", "p.yaml:3:18: error: scratch grows past its limit of 6MiB",
        "raise the limit of 'scratch' and give the same command again", "--restart",
        f"note: what is done is kept in '{directory}/out.zarr.sluice-partial'", f"'{directory}/out.zarr.sluice-scratch'")
    low, high = re.search(r"scratch: (\d+)\S* to (\d+)\S* in ", case.err).groups()
    check(int(low) < 6 < int(high), case.err)
    pipeline.write_text(text % "64MiB")
    spilled = sluice("run", pipeline, *flags, "--json").expect(0, "continuing: ").json()
    check(6 << 20 < spilled["plan"]["scratch_bytes_max"] < 12 << 20, spilled["plan"])
    check((zarr.open_array(directory / "out.zarr")[...] == values).all(), "other values")
    check_left_alone(directory, "in.zarr", "p.yaml", "out.zarr")


if __name__ == "__main__":
    suite = Suite("scratch")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
