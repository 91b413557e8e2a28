#!/usr/bin/env python3
"""What a durable run has written out before it says so: the order of its system calls, as strace sees them, is the one in
engine/README.md."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import ENVIRONMENT, SANITIZER, Skip, Suite, check, command, find_key, minimum_bytes  # noqa: E402

import inputs  # noqa: E402

BEGUN, SEGMENT, TASKS, COMMITTING = 1, 3, 5, 7
CALLS = "pwrite64,fsync,fdatasync,syncfs,renameat,renameat2,unlinkat"


class Call:
    """`begin` and `end` are lines of the trace."""

    def __init__(self, begin, name, words):
        self.begin, self.end, self.name = begin, None, name
        self.strings = [bytes.fromhex(s.replace("\\x", "")) for s in re.findall(r'"((?:\\x..)*)"', words)]
        files = [bytes.fromhex(s.replace("\\x", "")).decode() for s in re.findall(r"<((?:\\x..)+)>", words)]
        self.file = files[0] if files else ""
        self.numbers = [int(n) for n in re.findall(r", (\d+)\b", words)]

    def __str__(self):
        return f"line {self.begin}: {self.name} {self.file}"


def calls_of(trace):
    calls, under_way = [], {}
    for number, line in enumerate(trace.read_text().splitlines()):
        thread = line.split()[0]
        if "resumed>" in line:
            under_way.pop(thread).end = number
            continue
        found = re.match(r"\d+\s+(\w+)\((.*)", line)
        if not found:
            continue
        call = Call(number, *found.groups())
        call.end = number
        if "unfinished" in line:
            under_way[thread] = call
        calls.append(call)
    check(not under_way, under_way)
    return calls


class Trace:
    def __init__(self, directory, *flags):
        if not shutil.which("strace") or subprocess.run(["strace", "-f", "true"], capture_output=True).returncode:
            raise Skip("no strace here, or it may not trace")
        if SANITIZER:
            raise Skip("under a sanitizer strace sees what is not the program's")
        self.directory, self.target = directory, directory / "out.zarr"
        self.partial, self.scratch = f"{self.target}.sluice-partial", f"{self.target}.sluice-scratch"
        source = inputs.generate(directory / "in.zarr", "40,256,256", "1,256,256", "--field", "random")
        line = ["rechunk", source, self.target, "--chunks", "20,32,32", "--progress", "none", *flags]
        line += ["--io", "threads", "--memory", minimum_bytes(*line[1:]) + (1 << 20)]
        trace = directory / "trace"
        done = subprocess.run(["strace", "-f", "-y", "-xx", "-s", "72", "-e", f"trace={CALLS}", "-o", trace,
                               *command(*line, "--json")],
                              env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        check(done.returncode == 0, done.stderr)
        self.memory_bytes = find_key(json.loads(done.stdout), "segment_memory_bytes")
        self.calls = calls_of(trace)
        self.records = [c for c in self.calls if c.name == "pwrite64" and c.file.endswith("/.sluice-journal") and
                        c.numbers[-1] > 0]

    def of_kind(self, kind):
        return [r for r in self.records if int.from_bytes(r.strings[0][4:8], "little") == kind]

    def synced(self, file, after, before, *names):
        """Was the file written out by one of these calls, begun after the one and ended before the other?"""
        return any(c.name in names and c.file == str(file) and c.begin > after.end and c.end < before.begin for c in self.calls)

    def check_synced(self, file, after, before, *names):
        check(self.synced(file, after, before, *names), f"{file} is not written out between {after} and {before}")

    def last_write(self, wanted):
        """None is still to come."""
        return max((c for c in self.calls if c.name == "pwrite64" and wanted(c)), key=lambda c: c.end)

    def before(self, record):
        return self.records[self.records.index(record) - 1]


def number_at(record, index):
    return int.from_bytes(record.strings[0][24 + 8 * index:32 + 8 * index], "little")


def check_journal(trace):
    """Each record is written out before anything else is done because of it."""
    check(trace.of_kind(BEGUN) == trace.records[:1] and len(trace.records) > 4, [str(r) for r in trace.records])
    journal = trace.records[0].file
    going = [c for c in trace.calls if c.name.startswith(("rename", "unlink")) and c.begin > trace.records[-1].begin]
    for record, following in zip(trace.records, [*trace.records[1:], going[0]]):
        trace.check_synced(journal, record, following, "fdatasync")
    trace.check_synced(trace.partial, trace.records[0], trace.records[1], "syncfs")     # its name


def check_tasks(trace):
    tasks = trace.of_kind(TASKS)
    check(tasks, "no task is recorded")
    for record in tasks:
        trace.check_synced(trace.partial, trace.before(record), record, "syncfs")
    last = trace.last_write(lambda c: c.file.startswith(trace.partial) and pathlib.Path(c.file).name[0].isdigit())
    trace.check_synced(trace.partial, last, tasks[-1], "syncfs")


def check_publication(trace):
    (committing,) = trace.of_kind(COMMITTING)
    (rename,) = [c for c in trace.calls if c.name.startswith("rename") and c.strings[:1] == [b"out.zarr.sluice-partial"]]
    gone = [c for c in trace.calls if c.begin > rename.end and any(b".sluice-journal" in s for s in c.strings)]
    trace.check_synced(trace.partial, trace.before(committing), committing, "syncfs")
    trace.check_synced(trace.partial, committing, rename, "syncfs")
    trace.check_synced(trace.directory, rename, gone[0], "fsync")


def test_syncs__chunks_are_written_out_before_their_record_and_all_of_it_before_it_is_published(directory):
    trace = Trace(directory, "--plan", "direct", "--durable")
    check_journal(trace)
    check_tasks(trace)
    check_publication(trace)


def test_syncs__of_an_old_output_nothing_goes_before_the_new_one_is_written_out(directory):
    inputs.small(directory / "out.zarr")
    trace = Trace(directory, "--plan", "direct", "--durable", "--overwrite")
    check_publication(trace)


def test_syncs__segments_are_written_out_before_their_record(directory):
    trace = Trace(directory, "--plan", "split", "--durable")
    check_journal(trace)
    check_tasks(trace)
    check_publication(trace)
    segments = trace.of_kind(SEGMENT)
    check(len(segments) > 2, "too few segments are recorded")
    trace.check_synced(trace.scratch, trace.before(segments[0]), segments[0], "syncfs")     # its name, too
    for record in segments:
        data, index, index_bytes = number_at(record, 1), number_at(record, 2), number_at(record, 3)
        trace.check_synced(trace.scratch, trace.before(record), record, "fdatasync", "syncfs")
        written = trace.last_write(lambda c: c.file == trace.scratch and     # offsets count from the start of the memory
                                   data <= c.numbers[-1] + trace.memory_bytes < index + index_bytes)
        trace.check_synced(trace.scratch, written, record, "fdatasync", "syncfs")
    scratch_goes = [c for c in trace.calls if c.name == "unlinkat" and any(b"sluice-scratch" in s for s in c.strings)]
    check(scratch_goes and scratch_goes[-1].begin > trace.of_kind(TASKS)[-1].end, "scratch goes before all is recorded")


def test_syncs__are_not_made_where_nobody_asks_for_them(directory):
    trace = Trace(directory, "--plan", "split")
    check(not [c for c in trace.calls if "sync" in c.name], [str(c) for c in trace.calls if "sync" in c.name])


if __name__ == "__main__":
    suite = Suite("syncs")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
