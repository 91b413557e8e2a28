#!/usr/bin/env python3
"""Scratch files that no journal speaks of: a power cut took it, or the file could not be removed when its time had come."""
import fcntl
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import Suite, check, check_left_alone, sluice  # noqa: E402

from test_resume import Case  # noqa: E402


def test_lost_scratch__a_scratch_file_whose_journal_a_power_cut_took_is_not_in_the_way(directory):
    case = Case(directory, "split")
    elsewhere, flags = directory / "elsewhere", list(case.flags)
    elsewhere.mkdir()
    case.beside = ["elsewhere"]
    for beside in (True, False):
        case.flags = flags + ([] if beside else ["--scratch", elsewhere])
        for journal_only in (True, False):
            for ends in ("again", "--restart", "clean"):
                check(case.run(place="before-stage-end"), "did not die")
                partial = directory / "out.zarr.sluice-partial"
                if journal_only:
                    (partial / ".sluice-journal").write_bytes(b"")
                else:
                    shutil.rmtree(partial)
                if ends == "clean" and beside:
                    sluice("clean", case.target).expect(0, "scratch file")
                    check_left_alone(directory, *case.beside)
                case.again(*(["--restart"] if ends == "--restart" else [])).expect(0)
                check(not list(elsewhere.iterdir()), "a scratch file is left")
                case.check_done(f"{ends}, {beside}, {journal_only}")


def test_lost_scratch__a_scratch_file_that_another_run_has_open_stays(directory):
    case = Case(directory, "split")
    scratch = directory / "out.zarr.sluice-scratch"
    with open(scratch, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        case.again().expect(6, "the scratch file", "is there already")
        sluice("clean", case.target).expect(0)
        check(scratch.exists(), "it was removed")
    case.again().expect(0)
    case.check_done("when nobody has it")


def test_lost_scratch__a_scratch_file_that_could_not_be_removed_is_told_and_goes_with_the_next_run(directory):
    case = Case(directory, "split")
    scratch = directory / "out.zarr.sluice-scratch"
    case.again(fault="unlink:0+:EBUSY").expect(5)
    check(scratch.exists() and case.target.exists(), "it was removed, or the target is not there")
    case.again().expect(0, "only had to tidy up")
    case.check_done("tidied up")
    case.again(fault="unlink:0:EBUSY").expect(0, "could not be removed", scratch)
    shutil.rmtree(case.target)
    case.again().expect(0)
    case.check_done("in the next run")


def test_lost_scratch__what_cannot_be_looked_at_is_not_said_to_be_nothing(directory):
    case = Case(directory, "direct")
    check(case.run(place="after-publish"), "did not die")
    sluice("clean", case.target, fault="stat:0+:EIO").expect(5, "cannot look at")
    sluice("clean", case.target).expect(0, "is complete")
    case.check_done("cleaned")


if __name__ == "__main__":
    suite = Suite("lost-scratch")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
