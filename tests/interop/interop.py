#!/usr/bin/env python3
"""interop.py [--cases N] [--seed S] [--keep] [--workers N] - random arrays through sluice, judged by others.

zarr-python 3 and TensorStore write the inputs in turn, sluice rechunks them, and the other one reads the result.
Bits, dtype, shape, the chunks really written, fill value, attributes and dimension names must be right; peak memory
must be within the budget; `sluice verify` must agree, and must notice one changed bit.

A case is all of its seed: --seed S runs that one case again, and with --keep leaves its arrays.
"""
import argparse
import json
import math
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import harness  # noqa: E402
from harness import SANITIZER, TREE, check, find_key, minimum_bytes, rechunk, sluice  # noqa: E402

import cases  # noqa: E402
import judges  # noqa: E402
import numpy as np  # noqa: E402

FIRST_SEED = 1000


def flags_of(case, directory):
    target, flags = case["target"], []
    if case["shape"]:
        flags += ["--chunks", target["chunks_words"]]
    if target["format_given"]:
        flags += ["--format", f"zarr{target['version']}"]
    if target["codec"]:
        flags += ["--codec", target["codec"]]
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


def attempt(job):
    seed, base, keep = job
    directory = pathlib.Path(base) / f"case-{seed}"
    directory.mkdir()
    start = time.monotonic()
    try:
        run_case(seed, directory)
        problem = None
    except Exception:
        case = cases.make_case(seed)
        case.pop("values")
        problem = f"{traceback.format_exc()}\ncase: {case}"
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)
    return seed, problem, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description="random arrays through sluice, judged by zarr-python and TensorStore")
    parser.add_argument("--cases", type=int, default=240)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the seed of the first case")
    parser.add_argument("--seed", type=int, help="just this case")
    parser.add_argument("--keep", action="store_true", help="leave the arrays")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.cases)

    base = pathlib.Path(os.environ.get("SLUICE_TEST_DIR") or TREE / "build" / "test")
    base.mkdir(parents=True, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="interop-", dir=base)
    passed = failed = 0
    jobs = [(seed, directory, options.keep) for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(min(options.workers, len(jobs))) as pool:
        for seed, problem, _ in pool.imap_unordered(attempt, jobs):
            passed += problem is None
            failed += problem is not None
            if problem and failed <= 20:
                print(f"FAILED case {seed}\n{problem}\nagain: tests/interop/interop.py --seed {seed} --keep", flush=True)
        pool.close()
        pool.join()
    if options.keep:
        print(f"kept in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"interop: {passed} passed, {failed} failed, 0 skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
