#!/usr/bin/env python3
"""run.py - sluice and its peers on the same work, in one run, as a table.

    bench/run.py [--work W2,W1] [--tools sluice,zarrs,tensorstore,rechunker,dask] [--rounds 3] [--confine MIB]
    bench/run.py --work W2-long --tools sluice --budgets 32,64,256,1024       one tool, several budgets

Tools take turns (round by round, so that a noisy hour hits all alike), each in a fresh directory, with a cold page
cache where we may drop it. Wall time is that of the whole process; nothing waits for the disk afterwards, on either
side. CPU is user + system, memory is peak RSS, both from wait4. Every result of the first round is checked: chunk
shape from the metadata and values of random boxes by zarr-python, sluice's also whole by `sluice verify`. Outputs are
removed only at the end: ext4 makes new files slowly for a while after a mass delete.

With --confine MIB every process runs in a memory cgroup: only then does a limit bind what a tool reads and writes
through the page cache, too.

Peers that are not installed are left out aloud; bench/README.md says how to get them.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "tools"))
from cgroup import Group  # noqa: E402

TREE = pathlib.Path(__file__).resolve().parents[1]
BUILD = TREE / "build"
BLOSC = '[{"name":"blosc","configuration":{"cname":"lz4","clevel":5,"shuffle":"shuffle","typesize":4,"blocksize":0}}]'

WORK = {
    "W2": {"what": "3.0 GB of hourly maps to time series, lz4", "shape": [720, 721, 1440], "from": [1, 721, 1440],
           "chunks": [720, 16, 16], "dtype": "float32", "codec": "lz4", "field": "waves", "memory_bytes": 256 << 20,
           "zarrs": {"chunks": [16, 16, 1440], "cache": [16, 45]}},
    "W2-long": {"what": "8.3 GB of hourly maps to time series, lz4", "shape": [2000, 721, 1440], "from": [1, 721, 1440],
                "chunks": [2000, 16, 16], "dtype": "float32", "codec": "lz4", "field": "waves", "memory_bytes": 256 << 20,
                "zarrs": {"chunks": [16, 16, 1440], "cache": [16, 125]}},
    "W1": {"what": "2.0 GB of random doubles to blocks, uncompressed", "shape": [16, 4000, 4000], "from": [1, 4000, 4000],
           "chunks": [16, 1000, 1000], "dtype": "float64", "codec": None, "field": "random", "memory_bytes": 512 << 20,
           "zarrs": {"chunks": [1, 1000, 1000], "cache": [1, 16]}},
    "W1-long": {"what": "16 GB of random doubles to blocks, uncompressed", "shape": [125, 4000, 4000], "from": [1, 4000, 4000],
                "chunks": [125, 1000, 1000], "dtype": "float64", "codec": None, "field": "random", "memory_bytes": 1 << 30,
                "zarrs": {"chunks": [1, 1000, 1000], "cache": [1, 125]}},
    # Grids that meet nowhere. The peers may take all the memory they like: one pass, everything they can cache.
    "W5": {"what": "2.9 GB image, chunks 1000 -> 999, lz4", "shape": [27000, 27000], "from": [1000, 1000],
           "chunks": [999, 999], "dtype": "float32", "codec": "lz4", "field": "waves", "memory_bytes": 256 << 20,
           "any_memory": True, "zarrs": {"cache": [64]}},
    "small": {"what": "a quick look: 0.1 GB", "shape": [24, 721, 1440], "from": [1, 721, 1440], "chunks": [24, 16, 16],
              "dtype": "float32", "codec": "lz4", "field": "waves", "memory_bytes": 128 << 20,
              "zarrs": {"chunks": [8, 16, 1440], "cache": [8, 3]}},
}


def words(counts):
    return ",".join(str(n) for n in counts)


def budget_bytes(tool, work):
    """sluice-64 is sluice with 64 MiB."""
    return int(tool.split("-")[1]) << 20 if "-" in tool else work["memory_bytes"]


class Tools:
    """How each tool is called: a list of commands, run one after the other."""

    def __init__(self, options):
        self.sluice_program = os.environ.get("SLUICE") or str(BUILD / "sluice")
        self.zarrs_program = str(options.peers / "bin" / "zarrs_reencode")
        self.python = str(options.peers / "bin" / "python")
        self.threads = options.threads

    def missing(self, tool):
        program = {"sluice": self.sluice_program, "zarrs": self.zarrs_program}.get(tool.split("-")[0], self.python)
        return None if os.access(program, os.X_OK) else program

    def commands(self, tool, work, source, target, scratch):
        if tool.startswith("sluice"):
            return [[self.sluice_program, "rechunk", source, target, "--chunks", words(work["chunks"]), "--memory",
                     str(budget_bytes(tool, work)), "--threads", str(self.threads), "--progress", "none"]]
        if tool == "zarrs":
            codecs = ["--bytes-to-bytes-codecs", BLOSC if work["codec"] else "[]"]
            if work.get("any_memory"):
                return [self.zarrs(source, target, work["chunks"], work["zarrs"]["cache"][0], codecs)]
            middle, (first, second) = work["zarrs"]["chunks"], work["zarrs"]["cache"]
            return [self.zarrs(source, scratch, middle, first, codecs), self.zarrs(scratch, target, work["chunks"], second, codecs)]
        job = {"source": source, "target": target, "scratch": scratch, "threads": self.threads,
               "any_memory": work.get("any_memory", False),
               **{key: work[key] for key in ("shape", "chunks", "dtype", "codec", "memory_bytes")}}
        return [[self.python, str(TREE / "bench" / "peers.py"), tool, json.dumps(job)]]

    def zarrs(self, source, target, chunks, cache, codecs):
        """Without --shard-shape it ignores --chunk-shape, so each chunk is a shard of its own."""
        return [self.zarrs_program, "--chunk-shape", words(chunks), "--shard-shape", words(chunks), "--ignore-input-sharding",
                "--cache-chunks-thread", str(cache), *codecs, source, target]


def drop_caches():
    """Written data goes to the disk first, so that nobody pays for the one before."""
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def run(command, log, limit_bytes):
    """Seconds, CPU seconds, peak RSS in bytes. This interpreter stays small: a child's peak begins with its parent's."""
    group = Group(limit_bytes) if limit_bytes else None
    start = time.monotonic()
    process = subprocess.Popen(group.command(command) if group else command, stdin=subprocess.DEVNULL, stdout=log,
                               stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if group:
        group.remove()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {shlex.join(command)[:300]}; see {log.name}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


CHECK = """
import json, sys, numpy as np, zarr
source, target, chunks = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
a, b = zarr.open_array(source, mode="r"), zarr.open_array(target, mode="r")
assert list(b.chunks) == chunks, f"wrote chunks {b.chunks}"
assert a.shape == b.shape and a.dtype == b.dtype
rng = np.random.default_rng(1)
for i in range(12):
    at = [int(rng.integers(n)) for n in a.shape]
    at[0] = [0, a.shape[0] - 1][i] if i < 2 else at[0]
    box = tuple(slice(max(0, x - r), x + r) for x, r in zip(at, (2, 40, 40)))
    assert np.array_equal(a[box].view("u1"), b[box].view("u1")), f"values differ in {box}"
"""


def check(tools, tool, work, source, target):
    subprocess.run([str(BUILD / "venv" / "bin" / "python"), "-c", CHECK, source, target, json.dumps(work["chunks"])], check=True)
    if tool.startswith("sluice"):
        subprocess.run([tools.sluice_program, "verify", source, target, "--progress", "none"], check=True,
                       stdout=subprocess.DEVNULL)


def make_source(directory, name, work):
    path = directory / f"{name}.zarr"
    if not (path / ".zattrs").exists():
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run([str(BUILD / "bench" / "generate"), str(path), "--shape", words(work["shape"]), "--chunks",
                        words(work["from"]), "--dtype", work["dtype"], "--codec", work["codec"] or "none", "--field",
                        work["field"]], check=True)
    return str(path)


def bench(name, options, tools):
    work = WORK[name]
    source = make_source(options.dir, name, work)
    out = options.dir / f"out-{os.getpid()}-{name}"
    out.mkdir()
    rows = {tool: [] for tool in options.tools}
    for turn in range(options.rounds):
        for tool in options.tools:
            target, scratch = str(out / f"{tool}-{turn}.zarr"), str(out / f"{tool}-{turn}-scratch.zarr")
            cold = drop_caches()
            with open(out / f"{tool}-{turn}.log", "w") as log:
                try:
                    steps = [run(c, log, options.confine << 20) for c in tools.commands(tool, work, source, target, scratch)]
                except RuntimeError as problem:
                    print(f"{name} {tool}: {problem}", file=sys.stderr)
                    continue
            seconds, cpu, rss = sum(s[0] for s in steps), sum(s[1] for s in steps), max(s[2] for s in steps)
            rows[tool].append((seconds, cpu, rss))
            print(f"{name} round {turn + 1} {tool}: {seconds:.2f} s, {cpu:.1f} CPU s, {rss >> 20} MiB"
                  f"{'' if cold else ' (warm cache)'}", file=sys.stderr)
            if turn == 0:
                check(tools, tool, work, source, target)
    shutil.rmtree(out)
    return rows


def table(name, rows):
    work = WORK[name]
    raw = 1
    for n in work["shape"]:
        raw *= n
    raw *= 8 if work["dtype"] == "float64" else 4
    print(f"\n**{name}**: {work['what']}, `({words(work['shape'])})`, chunks `({words(work['from'])})` to "
          f"`({words(work['chunks'])})`, budget {work['memory_bytes'] >> 20} MiB\n")
    first = next(iter(rows))
    ours = statistics.median(r[0] for r in rows[first]) if rows[first] else None
    print(f"| tool | wall s, median (least - most) | GB/s | CPU s | peak RSS MiB | wall, {first} = 1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for tool, samples in rows.items():
        if not samples:
            print(f"| {tool} | failed | | | | |")
            continue
        walls = [s[0] for s in samples]
        wall = statistics.median(walls)
        print(f"| {tool} | {wall:.2f} ({min(walls):.2f} - {max(walls):.2f}) | {raw / wall / 1e9:.2f} "
              f"| {statistics.median(s[1] for s in samples):.1f} | {max(s[2] for s in samples) >> 20} "
              f"| {f'{wall / ours:.1f}' if ours else ''} |")


def main():
    parser = argparse.ArgumentParser(description="sluice and its peers on the same work")
    parser.add_argument("--work", default="W2,W1", help=f"of {', '.join(WORK)}")
    parser.add_argument("--tools", default="sluice,zarrs,tensorstore,rechunker,dask")
    parser.add_argument("--budgets", metavar="MIB,MIB", help="sluice with each of these instead of the work's own budget")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--confine", type=int, default=0, metavar="MIB",
                        help="run every tool in a memory cgroup of this size, page cache included (root)")
    parser.add_argument("--dir", type=pathlib.Path, default=BUILD / "bench" / "data")
    parser.add_argument("--peers", type=pathlib.Path, default=BUILD / "peers")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    tools = Tools(options)
    wanted, options.tools = options.tools.split(","), []
    if options.budgets:
        wanted = [f"sluice-{mib}" for mib in options.budgets.split(",")] + [t for t in wanted if t != "sluice"]
    for tool in wanted:
        if missing := tools.missing(tool):
            print(f"{tool} is left out: no {missing}", file=sys.stderr)
        else:
            options.tools.append(tool)
    results = {name: bench(name, options, tools) for name in options.work.split(",")}
    for name, rows in results.items():
        table(name, rows)


if __name__ == "__main__":
    main()
