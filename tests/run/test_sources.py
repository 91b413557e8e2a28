#!/usr/bin/env python3
"""Inputs that change while a run reads them, or between a death and the run that goes on: never is an output published that
holds some of the old values and some of the new ones."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, Suite, check, check_left_alone, command, minimum_bytes, planned,  # noqa: E402
                     rechunk, sluice, tree)

import inputs  # noqa: E402
import zarr  # noqa: E402
from test_resume import another_boot, damage  # noqa: E402

MIB = 1 << 20
SPLIT, DIRECT = "split + merge: chunks to segments, segments to chunks", "direct: chunks to chunks"
FRAMES = ("40,361,360", "1,361,360", None, ["--chunks", "20,32,32", "--codec", "zstd:1", "--plan", "split"], SPLIT)
PASSES = (*FRAMES[:3], [*FRAMES[3][:-1], "passes"],
          "split + split + merge: chunks to segments, segments to segments, segments to chunks")
# What one task reads of a chunk, another reads, too.
DECODED_TWICE = ("8,300,300", "8,100,100", None, ["--chunks", "8,64,64", "--plan", "direct"], DIRECT)
IN_PARTS = ("16,256,256", "16,256,256", "none", ["--chunks", "1,64,64", "--plan", "split"], SPLIT)
STREAMED = ("16,256,256", "16,256,256", "zstd:1", ["--chunks", "1,64,64", "--plan", "split"],
            "split + merge: stream to segments, segments to chunks")
# A carry: chunks on the border of boxes are decoded once for both.
CARRIED = ("60,300,300", "7,50,300", None, ["--chunks", "10,64,300", "--plan", "carry"],
           "direct with carry: chunks to chunks")
WRITTEN_IN_PARTS = ("40,256,256", "3,256,256", None, ["--chunks", "40,256,256", "--codec", "none", "--plan", "direct"],
                    "direct: chunks to ranges")
WRITTEN_IN_SLICES = ("40,256,256", "3,256,256", None,
                     ["--chunks", "8,256,256", "--codec", "blosc:lz4:1:noshuffle", "--plan", "direct"],
                     "direct: chunks to slices")


class Case:
    def __init__(self, directory, layout, more_bytes=0, flags=()):
        shape, chunks, codec, wanted, plan = layout
        self.directory, self.target = directory, directory / "out.zarr"
        self.source, self.other = directory / "in.zarr", directory / "other.zarr"
        for path, field in ((self.source, []), (self.other, ["--field", "random"])):
            inputs.generate(path, shape, chunks, *field)
            if codec:
                rechunk(path, directory / "again.zarr", "--codec", codec).expect(0)
                shutil.rmtree(path)
                (directory / "again.zarr").rename(path)
        self.flags = [*wanted, *flags, "--progress", "none"]
        least = minimum_bytes(self.source, self.target, *self.flags)
        self.flags += ["--memory", least + more_bytes]
        found = planned(self.source, self.target, *self.flags)
        check(found == plan, f"planned as {found}, not as {plan}")

    def start(self, place):
        return subprocess.Popen(command("rechunk", self.source, self.target, *self.flags), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                env={**ENVIRONMENT, "SLUICE_DIE_AT": place})

    def die(self, place):
        process = self.start(place)
        said = process.communicate(timeout=120)[1].decode()
        check(process.returncode == -signal.SIGKILL, f"did not die at {place}: exit {process.returncode}\n{said}")

    def stop(self, place):
        """A run that stands still at the place."""
        process = self.start(f"{place}:stop")
        status = os.waitpid(process.pid, os.WUNTRACED)[1]
        check(os.WIFSTOPPED(status), f"did not stop at {place}: {status}")
        return process

    def go_on(self, process, *words):
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=120)[1].decode()
        check(process.returncode == 4, f"exit {process.returncode}, not 4\n{said}")
        check(all(word in said for word in (*words, "when nothing changes it any more", "--restart")), said)
        check("kept in" not in said and "check --chunks" not in said, said)
        check(not self.target.exists(), "something was published")

    def change(self, *names):
        for name in names:
            (self.source / name).write_bytes((self.other / name).read_bytes())

    def again(self, *flags):
        return rechunk(self.source, self.target, *self.flags, *flags)

    def check_refused(self, chunk):
        self.again().expect(6, "is not what it was", chunk, "--restart")
        check(not self.target.exists(), "something was published")
        self.again("--restart").expect(0)
        check((inputs.values(self.target) == inputs.values(self.source)).all(), "other values")


def changes_while_it_runs(layout, what, place, *chunks):
    def test(directory):
        case = Case(directory, layout)
        process = case.stop(place)
        case.change(*chunks)
        case.go_on(process, "changed while it was read")
        case.check_refused(chunks[0])
    test.__name__ = f"test_sources__{what}_are_not_mixed"
    return test


def test_sources__that_change_and_have_their_slabs_made_again_are_not_mixed(directory):
    """Buckets are recorded that were made of slabs which are then found damaged."""
    case = Case(directory, FRAMES, 2 * MIB)
    process = case.stop("after-record:46")
    check(any(p.name[0].isdigit() for p in (directory / "out.zarr.sluice-partial").iterdir()), "no bucket is done")
    scratch = directory / "out.zarr.sluice-scratch"
    for at in range(0, scratch.stat().st_size, 4096):
        damage(scratch, at, 64)
    case.change(*[f"{k}.0.0" for k in range(40)])
    case.go_on(process, "slabs that were made again are not what others were made of")
    case.check_refused(".0.0")


def test_sources__that_change_after_a_death_are_refused_though_their_slabs_were_in_memory(directory):
    case = Case(directory, FRAMES, 30 * MIB)
    for place in ("after-record:2", "after-record:4", "before-discard"):
        case.die(place)
        check(not (directory / "out.zarr.sluice-scratch").exists(), "not all segments were in memory")
        shutil.copytree(case.source, directory / "kept")
        case.change("25.0.0")
        case.check_refused("25.0.0")
        for path in (case.target, case.source):
            shutil.rmtree(path)
        (directory / "kept").rename(case.source)


def test_sources__that_change_after_a_death_are_refused_though_the_scratch_is_gone(directory):
    case = Case(directory, FRAMES, 2 * MIB)
    case.die("before-stage-end")
    case.die("after-record:5")
    (directory / "out.zarr.sluice-scratch").unlink()
    case.change("5.0.0")
    case.check_refused("5.0.0")
    shutil.rmtree(case.target)
    case.die("after-record:2")
    (directory / "out.zarr.sluice-scratch").unlink()
    case.change("0.0.0")
    case.again().expect(0)                  # nothing was made of what is gone
    check((inputs.values(case.target) == inputs.values(case.source)).all(), "other values")


def test_sources__that_change_are_not_mixed_by_what_a_second_pass_made_of_them(directory):
    """Segments of the second pass are kept, and of the slabs that they were made of one is lost and made again."""
    prefix = another_boot(directory)
    case = Case(directory, PASSES)
    case.die("before-stage-end")
    case.die("after-record:5")
    scratch = directory / "out.zarr.sluice-scratch"
    for at in range(0, 1 << 19, 4096):
        damage(scratch, at, 64)
    with subprocess.Popen([*prefix, *command("rechunk", case.source, case.target, *case.flags)], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-stages:1:stop"}) as process:
        try:
            check(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), "did not stop")
            case.change("0.0.0")
        except BaseException:
            process.kill()
            raise
        case.go_on(process, "slabs that were made again are not what others were made of")
    case.check_refused("0.0.0")


def loses_the_slab_with_the_beginning(layout, what):
    """The first slab is in memory and dies with the run, others of the same chunk are in the file."""
    def test(directory):
        case = Case(directory, layout, 2 * MIB)
        case.die("before-stage-end")
        check((directory / "out.zarr.sluice-scratch").exists(), "all segments were in memory")
        case.change("0.0.0")
        case.check_refused("0.0.0")
    test.__name__ = f"test_sources__{what}_by_several_slabs_are_checked_for_each"
    return test


def test_sources__that_stay_as_they_are_are_never_refused(directory):
    for number, layout in enumerate((FRAMES, DECODED_TWICE, IN_PARTS, STREAMED, CARRIED, WRITTEN_IN_PARTS,
                                     WRITTEN_IN_SLICES)):
        place = directory / str(number)
        place.mkdir()
        case = Case(place, layout)
        for places in (["after-record:2"], ["after-record:4", "after-record:4"], ["before-stage-end", "after-record:3"],
                       ["before-committing"]):
            for where in places:
                process = case.start(where)
                said = process.communicate(timeout=120)[1].decode()
                check(process.returncode in (-signal.SIGKILL, 0), f"{layout} at {where}\n{said}")
                if process.returncode == 0:
                    break
            if process.returncode:
                case.again().expect(0)
            check((inputs.values(case.target) == inputs.values(case.source)).all(), f"other values: {layout}")
            shutil.rmtree(case.target)


def test_sources__that_stay_as_they_are_are_not_refused_by_records_that_come_late(directory):
    """With durable, records are made now and then: between two of them several chunks in slices end, and the last of all."""
    case = Case(directory, WRITTEN_IN_SLICES, MIB)
    for _ in range(8):
        case.again("--durable").expect(0)
        check((inputs.values(case.target) == inputs.values(case.source)).all(), "other values")
        shutil.rmtree(case.target)


def test_sources__that_cannot_be_looked_at_are_not_said_to_have_changed(directory):
    """Any call may fail that looks at a file; some of that is got over."""
    source, target = inputs.small(directory / "in.zarr"), directory / "out.zarr"
    failed = well = call = 0
    while well < 20:
        result = rechunk(source, target, "--chunks", "12,5,5", "--threads", 1, fault=f"stat:{call}:EIO")
        check(result.status in (0, 5) and "changed while" not in result.err, f"call {call}: {result}")
        failed += result.status == 5
        well = 0 if result.status else well + 1
        if target.exists():
            shutil.rmtree(target)
        call += 1
    check(failed > 20, f"{failed} of {call} calls were missed")


def test_sources__of_a_thousand_million_chunks_of_which_few_are_there_are_gone_on_with_at_once(directory):
    source, target = directory / "in.zarr", directory / "out.zarr"
    array = zarr.create_array(str(source), shape=(1000, 1000, 1000), chunks=(1, 1, 1), dtype="f4", fill_value=0,
                              zarr_format=2)
    array[0, 0, 0] = 1
    chance = random.Random(1)
    for _ in range(3000):
        name = ".".join(str(chance.randrange(1000)) for _ in range(3))
        (source / name).write_bytes((source / "0.0.0").read_bytes())
    flags = ["--chunks", "1,1,2", "--progress", "none", "--memory", 64 * MIB]
    prefix = another_boot(directory)
    wanted = None
    for place, before in (("before-committing", []), ("after-record:5", []), ("before-committing", prefix)):
        process = subprocess.run(command("rechunk", source, target, *flags), capture_output=True,
                                 env={**ENVIRONMENT, "SLUICE_DIE_AT": place})
        check(process.returncode == -signal.SIGKILL, process.stderr)
        begun = time.monotonic()
        process = subprocess.run([*before, *command("rechunk", source, target, *flags)], env=ENVIRONMENT, timeout=120,
                                 capture_output=True, text=True)
        seconds = time.monotonic() - begun
        check(process.returncode == 0 and "continuing: " in process.stderr, process.stderr)
        check(seconds < (60 if SANITIZER else 10), f"took {seconds:.1f} s after {place}")
        found = tree(target)
        check(len(found) > 2900 and found == (wanted or found), f"{len(found)} objects after {place}")
        wanted = found
        shutil.rmtree(target)
    check_left_alone(directory, "in.zarr", "boot")
    process = subprocess.run(command("rechunk", source, target, *flags), capture_output=True,
                             env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-committing"})
    (source / "7.7.7").write_bytes((source / "0.0.0").read_bytes())
    sluice("rechunk", source, target, *flags).expect(6, "is not what it was", "7.7.7")


if __name__ == "__main__":
    suite = Suite("sources")
    suite.run(changes_while_it_runs(DECODED_TWICE, "chunks_that_change_between_two_decodes", "after-record:4", "0.0.1"),
              changes_while_it_runs(DECODED_TWICE, "chunks_that_change_behind_a_finished_box", "after-record:9", "0.0.0"),
              changes_while_it_runs(FRAMES, "chunks_that_change_when_all_slabs_are_made", "before-stage-end:1", "39.0.0"),
              test_sources__that_change_are_not_mixed_by_what_a_second_pass_made_of_them,
              test_sources__that_change_and_have_their_slabs_made_again_are_not_mixed,
              test_sources__that_change_after_a_death_are_refused_though_their_slabs_were_in_memory,
              test_sources__that_change_after_a_death_are_refused_though_the_scratch_is_gone,
              loses_the_slab_with_the_beginning(IN_PARTS, "chunks_read_in_parts"),
              loses_the_slab_with_the_beginning(STREAMED, "chunks_read_as_a_stream"),
              test_sources__that_stay_as_they_are_are_never_refused,
              test_sources__that_stay_as_they_are_are_not_refused_by_records_that_come_late,
              test_sources__that_cannot_be_looked_at_are_not_said_to_have_changed,
              test_sources__of_a_thousand_million_chunks_of_which_few_are_there_are_gone_on_with_at_once)
    sys.exit(suite.close())
