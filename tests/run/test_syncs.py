#!/usr/bin/env python3
"""What a durable run has written out before it says so: the order of its system calls, as strace sees them, is the one in
engine/README.md."""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, Skip, Suite, check, check_left_alone, command, find_key,  # noqa: E402
                     minimum_bytes, rechunk, sluice, tree)

import inputs  # noqa: E402

BEGUN, SEGMENT, TASKS, COMMITTING = 1, 3, 5, 7
CALLS = "pwrite64,fsync,fdatasync,syncfs,fadvise64,renameat,renameat2,unlinkat"


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


def traced(directory, *line):
    """The calls of a run that ends well, and its report."""
    if not shutil.which("strace") or subprocess.run(["strace", "-f", "true"], capture_output=True).returncode:
        raise Skip("no strace here, or it may not trace")
    if SANITIZER:
        raise Skip("under a sanitizer strace sees what is not the program's")
    trace = directory / "trace"
    done = subprocess.run(["strace", "-f", "-y", "-xx", "-s", "72", "-e", f"trace={CALLS}", "-o", trace, *command(*line, "--json")],
                          env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, done.stderr)
    return calls_of(trace), json.loads(done.stdout)


class Trace:
    """Of one run; `die` is where another one died before, `fault` what it ended by (faults.h)."""

    def __init__(self, directory, *flags, chunks="20,32,32", die=None, fault=None):
        self.directory, self.target = directory, directory / "out.zarr"
        self.partial, self.scratch = f"{self.target}.sluice-partial", f"{self.target}.sluice-scratch"
        source = inputs.generate(directory / "in.zarr", "40,256,256", "1,256,256", "--field", "random")
        line = ["rechunk", source, self.target, "--chunks", chunks, "--progress", "none", *flags]
        line += ["--io", "threads", "--memory", minimum_bytes(*line[1:]) + (1 << 20)]
        if die:
            died = subprocess.run(command(*line), env={**ENVIRONMENT, "SLUICE_DIE_AT": die}, capture_output=True, timeout=120)
            check(died.returncode == -signal.SIGKILL, f"did not die at {die}: {died}")
        if fault:
            sluice(*line, fault=fault).expect(5, "it is read again before it is gone on with")
        self.calls, report = traced(directory, *line)
        self.memory_bytes = find_key(report, "segment_memory_bytes")
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


def test_syncs__what_an_earlier_run_published_is_written_out_before_what_is_ours_goes(directory):
    """The one that died had synced all of it, but nobody knows by then: it may have been one that did not."""
    for die, root in (("after-exchange", "out.zarr"), ("after-publish", "out.zarr"), ("after-note", "out.zarr"),
                      ("after-journal", "out.zarr.sluice-partial")):
        inputs.small(directory / "out.zarr")
        trace = Trace(directory, "--plan", "direct", "--durable", "--overwrite", die=die)
        calls = [c for c in trace.calls if c.name != "pwrite64"]
        check(calls[0].name == "syncfs" and calls[0].file == str(directory / root), f"{die}: {[str(c) for c in calls[:4]]}")
        if root == "out.zarr":
            check(calls[1].name == "fsync" and calls[1].file == str(directory), f"{die}: {[str(c) for c in calls[:4]]}")
        check(not (directory / "out.zarr.sluice-partial").exists(), f"{die}: the old output is still there")
        for name in ("in.zarr", "out.zarr"):
            shutil.rmtree(directory / name)


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


class InDoubt:
    """A run that is told by the last of its syncs, of the directory in which the target has got its name, that it failed."""

    def __init__(self, directory, overwrite):
        self.directory, self.overwrite, self.target = directory, overwrite, directory / "out.zarr"
        self.partial = directory / "out.zarr.sluice-partial"
        self.source = inputs.generate(directory / "in.zarr", "8,64,64", "1,64,64", "--field", "random")
        self.flags = ["--chunks", "8,16,16", "--progress", "none", "--io", "threads", "--durable"]
        rechunk(self.source, directory / "ref.zarr", *self.flags).expect(0)
        inputs.small(directory / "old.zarr")
        self.wanted, self.old = tree(directory / "ref.zarr"), tree(directory / "old.zarr")
        self.flags += ["--overwrite"] * overwrite

    def begin(self, fault="sync:{}:EIO", first=0):
        """How many syncs there are is a matter of time."""
        for number in 3 * list(range(first, first + 60)):
            for path in (self.target, self.partial):
                shutil.rmtree(path, ignore_errors=True)
            if self.overwrite:
                shutil.copytree(self.directory / "old.zarr", self.target)
            said = rechunk(self.source, self.target, *self.flags, fault=fault.format(number))
            if said.status == 5 and (self.target / ".sluice-journal").exists():
                return said
        raise AssertionError(f"no sync was the last one\n{said}")

    def again(self, *flags, place=None):
        return subprocess.run(command("rechunk", self.source, self.target, *self.flags, *flags), capture_output=True,
                              text=True, env={**ENVIRONMENT, **({"SLUICE_DIE_AT": place} if place else {})}, timeout=60)

    def check_old_is_there(self, when):
        path = self.partial if (self.target / ".sluice-journal").exists() else self.target
        found = tree(path) if path.exists() else {}
        check(found == (self.old if self.overwrite else {}), f"the old output is not what it was {when}: {sorted(found)}")

    def check_done(self, when, said):
        check(tree(self.target) == self.wanted, f"other bytes {when}\n{said}")
        check_left_alone(self.directory, "in.zarr", "old.zarr", "ref.zarr", "out.zarr", *(["trace"] if "trace" in when else []))


def published_in_doubt(overwrite):
    def test(directory):
        case = InDoubt(directory, overwrite)
        case.begin().expect(5, "cannot write out the directory", "it is complete and has its name", "is not certain",
                            "the same command reads it again and makes it certain")
        check({n: d for n, d in tree(case.target).items() if not n.startswith(".sluice-")} == case.wanted, "not all is there")
        case.check_old_is_there("after the sync that failed")
        other = sluice("rechunk", case.source, case.target, "--chunks", "8,32,32", "--overwrite")
        other.expect(6, "may have been lost where a write failed", "nobody has looked")
        if overwrite:                                # nobody may replace once more what it replaced
            other = rechunk(case.source, case.target, *[flag for flag in case.flags if flag != "--overwrite"])
            other.expect(6, "may have been lost where a write failed", "once more, with --overwrite")
            case.check_old_is_there("after the command without --overwrite")
            check((case.target / ".sluice-journal").exists(), "it was taken back, and nobody may publish it")
        (case.target / "0.1.1").write_bytes(b"")     # what the disk may have of it
        said = case.again("--json")
        check(said.returncode == 0 and "read again: some of it could have gone where a write failed" in said.stdout, said)
        check("some of the output was lost where a write failed" in said.stdout, said)
        case.check_done("after it was read again", said)
        for place in ("after-take-back", "before-stages", "before-publish", "after-publish"):
            case.begin()
            said = case.again(place=place)
            check(said.returncode == -signal.SIGKILL, f"did not die at {place}\n{said}")
            case.check_old_is_there(f"after a death at {place}")
            said = case.again()
            check(said.returncode == 0, said)
            case.check_done(f"after a death at {place}", said)
        case.begin()
        sluice("clean", case.target).expect(0, "some of it may have been lost where a write failed", "sluice verify")
        case.check_done("cleaned", "")
        case.begin()
        sluice("rechunk", case.source, case.target, *case.flags, "--restart",
               *["--overwrite"] * (not overwrite)).expect(0)
        case.check_done("started over", "")
    test.__name__ = f"test_syncs__a_target_whose_name_may_not_be_on_the_disk_gets_it_anew{'_from_an_old_one' * overwrite}"
    return test


def test_syncs__a_mark_or_the_message_says_it_where_the_journal_cannot_be_written(directory):
    case = InDoubt(directory, True)
    for end in (lambda: case.again().check_returncode(), lambda: sluice("clean", case.target).expect(0)):
        case.begin("sync,write:{}+:EIO").expect(5, "is not certain", "the same command reads it again")
        check((case.target / ".sluice-doubt").exists(), "no mark")
        end()
        case.check_done("where a mark said it", "")
    case.begin("sync,write,open:{}+:EIO", 80).expect(5, "is not certain", "that could not be noted: make it anew with --restart")
    check(not (case.target / ".sluice-doubt").exists(), "it could be noted")


def given_anew(overwrite):
    def test(directory):
        case = InDoubt(directory, overwrite)
        case.begin()
        calls = traced(directory, "rechunk", case.source, case.target, *case.flags)[0]
        moves = [c for c in calls if c.name.startswith("rename") and len(c.strings) == 2 and
                 {b"out.zarr", b"out.zarr.sluice-partial"} == set(c.strings)]
        check(len(moves) == 2, [str(c) for c in moves])
        for name, between in (("syncfs", moves), ("fsync", (moves[1], None))):
            check(any(c.name == name and c.begin > between[0].end and (not between[1] or c.end < between[1].begin)
                      for c in calls), f"no {name} after {between[0]}")
        case.check_done("under strace (trace)", "")
    test.__name__ = f"test_syncs__what_is_published_anew_is_written_out_before_and_after{'_over_an_old_one' * overwrite}"
    return test


def test_syncs__after_a_write_that_failed_nothing_is_believed_that_memory_holds(directory):
    """What is to be read again is written out first, and what the page cache has of it dropped."""
    trace = Trace(directory, "--plan", "split", fault="close:150:EIO")
    places = [trace.calls.index(c) for c in trace.calls if c.name in ("syncfs", "fdatasync")]
    check([(trace.calls[i].name, trace.calls[i].file) for i in places] ==
          [("syncfs", trace.partial), ("fdatasync", str(trace.scratch))], [str(trace.calls[i]) for i in places])
    first_write = next(i for i, c in enumerate(trace.calls) if c.name == "pwrite64" and c.file.startswith(trace.partial) and
                       not c.file.endswith((".sluice-note", ".zarray", ".zattrs")))
    dropped = [c.file for c in trace.calls[places[1]:first_write] if c.name == "fadvise64"]
    check(dropped[0] == str(trace.scratch), dropped[:3])
    check(any(pathlib.Path(name).name[0].isdigit() for name in dropped), f"no chunk is dropped: {dropped[:3]}")


def test_syncs__what_is_published_and_not_taken_back_is_read_from_the_disk_too(directory):
    """The old output was going when a run died, and the next one was told by its only sync that it failed."""
    case = InDoubt(directory, True)
    shutil.copytree(directory / "old.zarr", case.target)
    case.flags.remove("--durable")
    check(case.again(place="after-journal").returncode == -signal.SIGKILL, "did not die")
    case.flags.append("--durable")
    rechunk(case.source, case.target, *case.flags, fault="sync:0:EIO").expect(5, "is not certain")
    calls = traced(directory, "rechunk", case.source, case.target, *case.flags)[0]
    sync = next(c for c in calls if c.name == "syncfs")
    dropped = {pathlib.Path(c.file).name for c in calls if c.name == "fadvise64" and c.begin > sync.end and
               c.file.startswith(str(case.target) + "/")}
    check(dropped == {name for name in case.wanted}, dropped)
    case.check_done("read again under strace (trace)", "")


def test_syncs__names_of_many_objects_do_not_stay_dirty(directory):
    """They are charged to our cgroup: every 8192 of them are written out."""
    trace = Trace(directory, "--plan", "direct", chunks="1,16,16")
    syncs = [c for c in trace.calls if "sync" in c.name]
    check([c.name for c in syncs] == ["syncfs"] and syncs[0].file == trace.partial, [str(c) for c in syncs])


if __name__ == "__main__":
    suite = Suite("syncs")
    suite.run(*[test(overwrite) for test in (published_in_doubt, given_anew) for overwrite in (False, True)])
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
