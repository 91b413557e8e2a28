"""Running random cases, each all of one seed, on a few processes; counting aloud.

    seeds.main("budgets", __doc__, run_case, describe, cases=400)

run_case(seed, directory) raises if the case fails, and may return a collections.Counter: they are added up and shown.
describe(seed) is what is printed of a case that failed.
"""
import argparse
import collections
import multiprocessing
import os
import pathlib
import shutil
import tempfile
import traceback

from harness import TREE

FAILURES_SHOWN_MAX = 20


def attempt(job):
    seed, base, keep, run_case, describe = job
    directory = pathlib.Path(base) / f"case-{seed}"
    directory.mkdir()
    problem, counts = None, None
    try:
        counts = run_case(seed, directory)
    except Exception:
        problem = f"{traceback.format_exc()}\ncase: {describe(seed)}"
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)
    return seed, problem, counts or collections.Counter()


def main(name, about, run_case, describe, cases, first=1000):
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--cases", type=int, default=cases)
    parser.add_argument("--first", type=int, default=first, help="the seed of the first case")
    parser.add_argument("--seed", type=int, help="just this case")
    parser.add_argument("--keep", action="store_true", help="leave the arrays")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.cases)

    base = pathlib.Path(os.environ.get("SLUICE_TEST_DIR") or TREE / "build" / "test")
    base.mkdir(parents=True, exist_ok=True)
    directory = tempfile.mkdtemp(prefix=f"{name}-", dir=base)
    passed = failed = 0
    totals = collections.Counter()
    jobs = [(seed, directory, options.keep, run_case, describe) for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(min(options.workers, len(jobs))) as pool:
        for seed, problem, counts in pool.imap_unordered(attempt, jobs):
            passed += problem is None
            failed += problem is not None
            totals += counts
            if problem and failed <= FAILURES_SHOWN_MAX:
                print(f"FAILED case {seed}\n{problem}\nagain: tests/interop/{name}.py --seed {seed} --keep", flush=True)
        pool.close()
        pool.join()
    if options.keep:
        print(f"kept in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    for what, count in sorted(totals.items()):
        print(f"  {count:6} {what}")
    print(f"counts: differential cases={passed + failed}")
    print(f"{name}: {passed} passed, {failed} failed, 0 skipped", flush=True)
    return 1 if failed else 0
