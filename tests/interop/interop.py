#!/usr/bin/env python3
"""interop.py [--cases N] [--seed S] [--keep] [--workers N] - random arrays through sluice, judged by others.

zarr-python 3 and TensorStore write the inputs in turn, sluice rechunks them, and the other one reads the result.
Bits, dtype, shape, the chunks really written, fill value, attributes and dimension names must be right; peak memory
must be within the budget; `sluice verify` must agree, and must notice one changed bit.

A case is all of its seed: --seed S runs that one case again, and with --keep leaves its arrays.
"""
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import harness  # noqa: E402
from harness import SANITIZER, check, find_key, minimum_bytes, rechunk, sluice  # noqa: E402

import cases  # noqa: E402
import judges  # noqa: E402
import numpy as np  # noqa: E402
import seeds  # noqa: E402


def flags_of(case, directory):
    target, flags = case["target"], []
    if case["shape"]:
        flags += ["--chunks", target["chunks_words"]]
    if target["format_given"]:
        flags += ["--format", f"zarr{target['version']}"]
    if target["codec"]:
        flags += ["--codec", target["codec"]]
    if target["verify"]:
        flags += ["--verify"]
    if target["scratch"]:
        (directory / "scratch").mkdir(exist_ok=True)
        flags += ["--scratch", directory / "scratch"]
    return flags


def running(case, rng=None):
    """How it is run, which must not matter: threads, back end, plan."""
    target = case["target"]
    io, threads, plan = target["io"], target["threads"], target["plan"]
    if rng is not None:
        io, threads, plan = (cases.pick(rng, "uring", "threads"), int(rng.integers(1, 4)),
                             cases.pick(rng, "direct", "split"))
    flags = ["--threads", threads]
    if io and SANITIZER != "thread":
        flags += ["--io", io]
    if plan:
        flags += ["--plan", plan]
    return flags


def budget_of(case, least):
    wanted = case["target"]["budget"]
    if wanted == "least":
        return least
    if wanted == "between":
        return least + int(case["target"]["between"] * least)
    return 2 * least if wanted == "twice" else max(2 * least, 256 << 20)


def expected_files(case, values, fill):
    """How many chunks of the target are not all fill."""
    shape, chunks, count = case["shape"], case["target"]["chunks"], 0
    item = len(fill)
    if 0 in shape:
        return 0
    for index in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks))):
        box = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks))]
        raw = judges.bits(box)
        count += raw != fill * (len(raw) // item)
    return count


def check_metadata(case, source, target):
    was, is_now = judges.describe(source), judges.describe(target)
    check(is_now["version"] == case["target"]["version"], "format", is_now["version"])
    check(is_now["chunks"] == case["target"]["chunks"], "chunks", is_now["chunks"], "not", case["target"]["chunks"])
    wanted = judges.masked_as(was, is_now["version"])
    for key in ("shape", "dtype", "attributes"):
        check(is_now[key] == wanted[key], key, is_now[key], "not", wanted[key])
    if was["names"] is None or all(was["names"]) or is_now["version"] == 3:
        check(is_now["names"] == was["names"], "dimension names", is_now["names"], "not", was["names"])
    if was["fill"] is not None:
        check(is_now["fill"] == wanted["fill"], "fill", is_now["fill"], "not", wanted["fill"])
    return is_now


def check_memory(case, report, budget):
    peak = find_key(report, "rss_peak_bytes")
    check(isinstance(peak, int) and peak > 0, "the report has no rss_peak_bytes")
    if not SANITIZER:
        check(peak <= budget, f"peak RSS {peak} over the budget {budget}")


def run_case(seed, directory):
    case = cases.make_case(seed)
    source, target = directory / "in.zarr", directory / "out.zarr"
    judges.write(case, source)
    values = judges.read(source, case["writer"])
    other = "tensorstore" if case["writer"] == "zarr-python" else "zarr-python"

    flags = flags_of(case, directory)
    least = minimum_bytes(source, target, *flags, *running(case))
    budget = budget_of(case, least)
    before = harness.tree(source)
    if seed % 4 == 0:
        rechunk(source, target, *flags, *running(case), "--memory", least - 1).expect(3)
        check(not target.exists(), "a refused run made its output")
    report = directory / "report.json"
    result = rechunk(source, target, *flags, *running(case), "--memory", budget, "--report", report).expect(0)
    check_memory(case, json.loads(report.read_text()), budget)
    check(harness.tree(source) == before, "the source was changed")
    harness.check_left_alone(directory, "in.zarr", "out.zarr", "report.json",
                             *(["scratch"] if case["target"]["scratch"] else []))
    if case["target"]["scratch"]:
        harness.check_left_alone(directory / "scratch")

    described = check_metadata(case, source, target)
    got = judges.read(target, other)
    check(judges.bits(got) == judges.bits(values), f"values differ (read by {other})\n{result}")
    if described["fill"] is not None and not case["fill_null"]:
        files, wanted = len(judges.chunk_files(target)), expected_files(case, values, described["fill"])
        check(files == wanted, f"{files} chunk files, not {wanted}")
    if described["fill"] is None and described["version"] != case["version"]:
        files, wanted = len(judges.chunk_files(target)), math.prod(-(-n // c) for n, c in
                                                                   zip(case["shape"], case["target"]["chunks"]))
        check(files == wanted, f"{files} chunk files of an array without a fill, not {wanted}")
    check_verify(case, source, target, directory, flags, least)


def check_verify(case, source, target, directory, flags, least):
    rng = np.random.default_rng([case["seed"], 0x53])
    sluice("verify", source, target).expect(0)
    if case["target"]["again"]:
        again = directory / "again.zarr"
        how = running(case, rng)
        budget = minimum_bytes(source, again, *flags, *how) + int(rng.integers(0, 64 << 20))
        rechunk(source, again, *flags, *how, "--memory", budget).expect(0)
        check(harness.tree(again) == harness.tree(target), "other bytes with", *how, "--memory", budget)
    if math.prod(case["shape"]) and "snappy" not in judges.codec_names(target) and judges.flip_one(target, rng):
        sluice("verify", source, target).expect(1)


def describe(seed):
    case = cases.make_case(seed)
    case.pop("values")
    return case


if __name__ == "__main__":
    sys.exit(seeds.main("interop", __doc__, run_case, describe, cases=240))
