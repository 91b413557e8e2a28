#!/usr/bin/env python3
"""budgets.py [--cases N] [--seed S] [--keep] [--workers N] - any shape at any budget, by any plan: the same right bytes.

Every case is one array and one request, run several times: by the plan sluice takes itself in the least memory it
asks for, and by forced plans, with other budgets, back ends and numbers of threads. The first output is compared in
full with what the source holds, by zarr-python or TensorStore; the others must have its bytes. Some read back what they
wrote. Peak memory is within the budget, the digest of source and output is the same, and nothing is left behind.

A case is all of its seed. SLUICE_SHOW=1 prints each run.
"""
import collections
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import harness  # noqa: E402
from harness import SANITIZER, check, find_key, rechunk, sluice  # noqa: E402

import budget_cases  # noqa: E402
import judges  # noqa: E402
import seeds  # noqa: E402

STEP_BYTES = 4096
PREDICTED_SECONDS_MAX = 5
TIMEOUT_SECONDS = 600 if SANITIZER else 120
SHOW = os.environ.get("SLUICE_SHOW")


def flags_of(case):
    target = case["target"]
    flags = ["--chunks", ",".join(str(c) for c in target["chunks"]), "--format", f"zarr{target['version']}"]
    return flags + (["--codec", target["codec"]] if target["codec"] else [])


def how_of(run):
    how = ["--threads", run["threads"]]
    if run["io"] and SANITIZER != "thread":
        how += ["--io", run["io"]]
    if run["verify"]:
        how.append("--verify")
    return how + (["--plan", run["plan"]] if run["plan"] else [])


def minimum_of(source, target, flags, run):
    """The least budget; a forced plan that is none for this job is given up for the plan sluice takes."""
    refusal = rechunk(source, target, *flags, *how_of(run), "--memory", STEP_BYTES, "--json")
    need = find_key(refusal.json(), "need_bytes")
    if run["plan"] and need is None:
        check(refusal.status in (2, 3) and refusal.err + refusal.out, f"no reason\n{refusal}")
        return minimum_of(source, target, flags, run | {"plan": None})
    check(refusal.status == 3 and isinstance(need, int) and need > STEP_BYTES, f"no need_bytes\n{refusal}")
    return need, run


def budget_of(case, run, least):
    array_bytes = case["values"].nbytes
    return least + int({"least": 0, "step": STEP_BYTES * (1 + 8 * run["share"]), "little": 0.1 * run["share"] * least,
                        "share": run["share"] * array_bytes, "double": least, "large": 4 * array_bytes + (64 << 20)
                        }[run["budget"]])


def way_of(plan):
    """How the data went, as in "split + merge: chunks > segments > slices"."""
    stages = plan["stages"]
    return f"{plan['plan']}: {stages[0]['source']} > " + " > ".join(s["sink"] for s in stages)


def quick_enough(case, run, source, target, budget, counts):
    """In the very least memory a plan may decode large chunks thousands of times, and says so: then it gets more."""
    while case["large"]:
        plan = rechunk(source, target, *flags_of(case), *how_of(run), "--memory", budget, "-n", "--json").expect(0).json()
        if plan["seconds"] < PREDICTED_SECONDS_MAX:
            break
        counts["too slow in that memory"] += 1
        budget += budget // 16
    return budget


def run_once(case, run, source, directory, number, counts):
    """Returns the output."""
    target, report, flags = directory / f"out-{number}.zarr", directory / f"report-{number}.json", flags_of(case)
    least, run = minimum_of(source, target, flags, run)
    budget = quick_enough(case, run, source, target, budget_of(case, run, least), counts)
    if run["budget"] == "step":
        rechunk(source, target, *flags, *how_of(run), "--memory", least - STEP_BYTES).expect(3)
    result = rechunk(source, target, *flags, *how_of(run), "--memory", budget, "--report", report,
                     timeout=TIMEOUT_SECONDS).expect(0)
    if SHOW:
        print(result)
    said = json.loads(report.read_text())
    peak = find_key(said, "rss_peak_bytes")
    check(isinstance(peak, int) and peak > 0, "the report has no rss_peak_bytes")
    check(SANITIZER or peak <= budget, f"peak RSS {peak} over the budget {budget}\n{result}")
    report.unlink()
    counts[way_of(said["plan"])] += 1
    if run["verify"]:
        check(find_key(said, "verify") is not None, f"the output was not read back\n{result}")
        counts["read back"] += 1
    return target, result


def digest_of(path, memory):
    return sluice("digest", path, "--memory", memory, "--json", timeout=TIMEOUT_SECONDS)


def check_digests(source, target):
    """The source in the least memory."""
    least = find_key(digest_of(source, STEP_BYTES).expect(3).json(), "need_bytes")
    digests = [find_key(digest_of(path, memory).expect(0).json(), "digest")
               for path, memory in ((source, least), (target, "1GiB"))]
    check(digests[0] == digests[1], "digests differ:", *digests)


def run_case(seed, directory):
    case, counts = budget_cases.make_case(seed), collections.Counter()
    source = directory / "in.zarr"
    judges.write(case, source)
    values = judges.bits(judges.read(source, case["writer"]))
    other = "tensorstore" if case["writer"] == "zarr-python" else "zarr-python"
    first, trees = None, None
    for number, run in enumerate(case["runs"]):
        target, result = run_once(case, run, source, directory, number, counts)
        harness.check_left_alone(directory, "in.zarr", target.name, *(["out-0.zarr"] if first else []))
        if first is None:
            first, trees = target, harness.tree(target)
            check(judges.bits(judges.read(target, other)) == values, f"values differ (read by {other})\n{result}")
            check_digests(source, target)
        else:
            check(harness.tree(target) == trees, f"other bytes than of run 0\n{result}")
            judges.remove(target)
    return counts


def describe(seed):
    case = budget_cases.make_case(seed)
    case.pop("values")
    return case


if __name__ == "__main__":
    sys.exit(seeds.main("budgets", __doc__, run_case, describe, cases=400))
