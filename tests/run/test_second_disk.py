#!/usr/bin/env python3
"""Scratch on another file system than the output, an ext4 or xfs on a loop device: runs that die, one that fills it, one whose
scratch is gone. (On a tmpfs it would count as memory.)"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import ENVIRONMENT, Suite, check, command, minimum_bytes, rechunk, tree  # noqa: E402

import inputs  # noqa: E402
from test_resume import BACKENDS, FLAVOURS, KILLS, RANDOM, Case  # noqa: E402
from test_real_faults import NOISE, disk as file_system, fill  # noqa: E402

# Of a scratch file: the others do not touch it.
PLACES = ["before-stages", "before-index", "before-record", "torn-record", "after-record", "before-stage-end",
          "before-discard", "after-discard", "before-publish"]
KINDS = ["ext4", "xfs"]


def held(place):
    return sorted(p.name for p in place.iterdir() if p.name not in ("lost+found", "ballast"))


class TwoDisks(Case):
    def __init__(self, directory, disk):
        super().__init__(directory, "split")
        self.disk, self.beside = disk, [p.name for p in directory.iterdir()]
        check(os.stat(disk).st_dev != os.stat(directory).st_dev, "not another file system")
        self.flags += ["--scratch", disk]

    def check_done(self, when, made_again=False):
        super().check_done(when, made_again)
        check(held(self.disk) == [], f"left on the second disk {when}: {held(self.disk)}")


def each_kind(body, name):
    def of(kind):
        def test(directory):
            with file_system(directory, kind) as disk:
                body(TwoDisks(directory, disk))
        test.__name__ = f"test_second_disk__{kind}_{name}"
        return test
    return [of(kind) for kind in KINDS]


def goes_on_from_every_place(case):
    for number, place in enumerate(PLACES):
        flags = ["--io", BACKENDS[number % len(BACKENDS)], *FLAVOURS[number % len(FLAVOURS)]]
        check(case.run(*flags, place=f"{place}:{RANDOM.randint(1, 9)}" if "record" in place else place), f"lives at {place}")
        check(held(case.disk) or place not in ("before-index", "before-stage-end"), f"no scratch at {place}")
        check(not any(".sluice-scratch" in p.name for p in case.directory.iterdir()), "scratch beside the output")
        case.run()
        case.check_done(f"after {place} with {flags}")


def goes_on_after_kills_at_any_time(case):
    while case.kills < max(2, KILLS // 8):
        when = []
        for _ in range(3):
            when.append((RANDOM.uniform(0, 0.6), RANDOM.choice(FLAVOURS)))
            if not case.run(*when[-1][1], seconds=when[-1][0]):
                break
        else:
            case.run()
        case.check_done(f"after {when}")


def is_full_and_goes_on_when_there_is_room(case):
    """When it was planned there had been room."""
    source = inputs.generate(case.directory / "noise.zarr", *NOISE)
    flags = ["--chunks", "40,32,32", "--plan", "split", "--threads", 2]
    rechunk(source, case.directory / "ref.zarr", *flags).expect(0)
    flags += ["--scratch", case.disk, "--progress", "none"]
    flags += ["--memory", minimum_bytes(source, case.target, *flags, "--io", "threads")]
    process = subprocess.Popen(command("rechunk", source, case.target, *flags), stderr=subprocess.PIPE, text=True,
                               env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-stages:1:stop"})
    os.waitpid(process.pid, os.WUNTRACED)
    ballast = fill(case.disk)
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=60)[1]
    check(process.returncode == 3, f"exit {process.returncode}\n{said}")
    check(all(words in said for words in (str(case.disk), "free", "the same command continues")), said)
    check(not case.target.exists() and len(held(case.disk)) == 1, held(case.disk))
    rechunk(source, case.target, *flags).expect(3, "continuing:", str(case.disk))
    os.truncate(ballast, 0)     # at once: xfs frees what is unlinked a little later
    ballast.unlink()
    case.said = rechunk(source, case.target, *flags).expect(0, "continuing:").err
    case.wanted, case.beside = tree(case.directory / "ref.zarr"), [*case.beside, "noise.zarr", "ref.zarr"]
    case.check_done("with room again")


def chunks_of(path):
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in path.iterdir() if p.name[0].isdigit()}


def keeps_finished_chunks(case):
    """It goes on where the scratch is not."""
    before = chunks_of(case.directory / "out.zarr.sluice-partial")
    case.again("--json").expect(0, "is gone", "finished chunks of the output are kept")
    after = chunks_of(case.target)
    kept = sum(after[name] == stamp for name, stamp in before.items())
    check(before and kept >= len(before) // 2, f"{kept} of {len(before)} finished chunks were kept")
    case.check_done("without its scratch", made_again=True)


def test_second_disk__that_is_not_mounted_is_done_without(directory):
    with file_system(directory, "ext4") as disk:
        case = TwoDisks(directory, disk)
        case.run_into_the_merge()
    keeps_finished_chunks(case)             # in the directory that it was mounted on


def test_second_disk__with_another_file_of_that_name_is_done_without(directory):
    with file_system(directory, "ext4") as disk:
        case = TwoDisks(directory, disk)
        case.run_into_the_merge()
        scratch, = disk.glob("*.sluice-scratch")
        shutil.copy(scratch, disk / "copy")
        (disk / "copy").rename(scratch)
        keeps_finished_chunks(case)


if __name__ == "__main__":
    suite = Suite("second-disk")
    for check_that in (goes_on_from_every_place, goes_on_after_kills_at_any_time, is_full_and_goes_on_when_there_is_room):
        suite.run(*each_kind(check_that, check_that.__name__))
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
