#!/usr/bin/env python3
"""The memory promise, kept by the kernel: inside a cgroup of the budget + what `plan` calls "kernel, outside RSS"
the run is not killed, and its peak RSS (VmHWM) is within the budget.
"""
import contextlib
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, Skip, Suite, check, command, find_key, minimum_bytes, rechunk,  # noqa: E402
                     sluice)

import inputs  # noqa: E402
from cgroup import Group  # noqa: E402


def group_of(limit_bytes):
    if SANITIZER:
        raise Skip("a sanitizer's memory is not ours")
    try:
        return Group(limit_bytes)
    except OSError as problem:
        raise Skip(f"memory cgroups cannot be made here: {problem}") from None


def high_water_bytes(pid):
    with contextlib.suppress(OSError, StopIteration):
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return 0


def run_in_group(group, arguments):
    """The exit status, what was said, and the highest VmHWM seen of the program itself."""
    argv = command(*arguments)
    process = subprocess.Popen(group.command(argv), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    for _ in range(30_000):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if os.path.realpath(f"/proc/{process.pid}/exe") == os.path.realpath(argv[0]):
                peak = max(peak, high_water_bytes(process.pid))
        time.sleep(0.01)
    else:
        process.kill()
    err = process.communicate()[1].decode(errors="replace")
    return process.returncode, err, peak


def survives(directory, source, budget, *flags):
    target = directory / "out.zarr"
    flags = [*flags, "--memory", budget]
    plan = rechunk(source, target, *flags, "--dry-run", "--json").expect(0).json()
    kernel = find_key(plan, "kernel_bytes")
    check(isinstance(kernel, int), "the plan has no kernel_bytes")
    group = group_of(budget + kernel)
    try:
        status, err, peak = run_in_group(group, ["rechunk", source, target, *flags])
        used, kills = group.peak_bytes(), group.kills()
    finally:
        group.remove()
    print(f"  budget {budget >> 10} KiB: peak RSS {peak >> 10} KiB, cgroup {used >> 10} KiB of "
          f"{(budget + kernel) >> 10} KiB")
    check(status == 0 and kills == 0, f"exit {status}, {kills} killed for memory, budget {budget}\n{err}")
    check(0 < peak <= budget, f"peak RSS {peak} over the budget {budget}")
    sluice("verify", source, target, timeout=120).expect(0)


def test_cgroup__survives_split_and_merge_at_the_minimum_and_above(directory):
    source = inputs.generate(directory / "in.zarr", "72,721,1440", "1,721,1440")
    flags = ["--chunks", "72,16,16", "--plan", "split"]
    least = minimum_bytes(source, directory / "out.zarr", *flags)
    for budget in (least, 64 << 20, 256 << 20):
        survives(directory, source, budget, *flags, "--overwrite")


def test_cgroup__survives_direct_at_the_minimum(directory):
    source = inputs.generate(directory / "in.zarr", "72,721,1440", "1,721,1440")
    flags = ["--chunks", "1,256,256", "--plan", "direct"]
    survives(directory, source, minimum_bytes(source, directory / "out.zarr", *flags), *flags)


def test_cgroup__survives_65536_files(directory):
    source = inputs.generate(directory / "in.zarr", "16,1024,1024", "1,1024,1024")
    survives(directory, source, 64 << 20, "--chunks", "16,4,4")


if __name__ == "__main__":
    suite = Suite("cgroup")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
