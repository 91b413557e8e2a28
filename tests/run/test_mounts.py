#!/usr/bin/env python3
"""A file system that is unmounted between two runs and mounted anew, in the same boot: an ext4 on a loop device. What one that
met an error of its own had not written it gives up then, and it was read-only, so that nobody could note it."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import ENVIRONMENT, FAULTY, Skip, Suite, check, mounted, tree  # noqa: E402

from test_real_faults import make_image  # noqa: E402
from test_resume import Case, damage, zero  # noqa: E402

READ_AGAIN = "read again: some of it could have gone when the file system was mounted anew"


class Disk:
    def __init__(self, directory, name):
        self.image, self.place = directory / f"{name}.image", directory / name
        make_image(self.image, "ext4")

    @contextlib.contextmanager
    def mounted(self, *options):
        with mounted(self.place, "-o", ",".join(["loop", *options]), str(self.image)) as place:
            yield place
        deadline = time.monotonic() + 10    # it was unmounted lazily: the device goes when nobody has it any more
        while str(self.image) in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout:
            check(time.monotonic() < deadline, f"{self.image} is still in use")
            time.sleep(0.05)


class OnDisk(Case):
    """The output on one file system, scratch on that or on another."""

    def __init__(self, directory, plan, scratch=None, overwrite=False):
        super().__init__(directory, plan, overwrite)
        self.disk = Disk(directory, "disk")
        self.scratch_disk = scratch and Disk(directory, scratch)
        self.target = self.disk.place / "out.zarr"
        self.flags += ["--scratch", self.scratch_disk.place] if scratch else []

    @contextlib.contextmanager
    def mounted(self, *options):
        with self.disk.mounted(*options), self.scratch_disk.mounted() if self.scratch_disk else contextlib.nullcontext():
            yield

    @property
    def partial(self):
        return self.disk.place / "out.zarr.sluice-partial"

    def notes(self):
        """Of the same command, which is to end well."""
        return self.again("--json").expect(0).json()["run"]["notes"]

    def check_right(self, when):
        check(tree(self.target) == self.wanted, f"other bytes {when}\n{self.said}")
        left = [p.name for d in (self.disk, self.scratch_disk) if d for p in d.place.iterdir() if ".sluice-" in p.name]
        check(not left, f"left {when}: {left}")


def first_chunk(directory):
    return min((p for p in directory.iterdir() if p.name[0].isdigit()), key=lambda p: p.stat().st_mtime_ns)


def goes_on_after_a_mount(scratch):
    def test(directory):
        case = OnDisk(directory, "split", scratch)
        with case.mounted():
            case.run_into_the_merge()
        with case.mounted():
            notes = case.notes()
            check(any(READ_AGAIN in note for note in notes) and not any("lost" in note for note in notes), notes)
            case.check_right("when nothing was lost")
            (case.disk.place / "out.zarr").rename(case.disk.place / "done")
            case.run_into_the_merge()
        with case.mounted():
            lost = first_chunk(case.partial)
            zero(lost, 0, lost.stat().st_size)
            damage(next((case.scratch_disk or case.disk).place.glob("*.sluice-scratch")), 2 << 20, 512 << 10)
            notes = case.notes()
            for words in (READ_AGAIN, "slab", "some of the output was lost when the file system was mounted anew"):
                check(any(words in note for note in notes), f"{words}: {notes}")
            case.check_right("when an object and a slab were lost")
    test.__name__ = f"test_mounts__what_was_done_before_is_read_again{'_on_either_disk' if scratch else ''}"
    return test


def test_mounts__of_scratch_alone_is_seen_too(directory):
    case = OnDisk(directory, "split", "scratch")
    with case.disk.mounted():
        with case.scratch_disk.mounted():
            case.run_into_the_merge()
        with case.scratch_disk.mounted():
            damage(next(case.scratch_disk.place.glob("*.sluice-scratch")), 2 << 20, 512 << 10)
            notes = case.notes()
            check(any("slab" in note and "lost when the file system was mounted anew" in note for note in notes), notes)
            case.check_right("when a slab was lost")


def test_mounts__a_target_that_has_its_name_is_read_before_the_old_one_goes(directory):
    case = OnDisk(directory, "direct", overwrite=True)
    for place in ("after-exchange", "after-journal"):
        for lost in (False, True):
            with case.mounted():
                shutil.rmtree(case.target, ignore_errors=True)
                shutil.copytree(directory.parent / "shared" / "old.zarr", case.target)
                check(case.run(place=place), f"did not die at {place}")
            with case.mounted():
                if not lost:
                    check(any(READ_AGAIN in note for note in case.notes()), case.said)
                    case.check_right(f"after {place}")
                    continue
                zero(case.target / "0.3.3", 0, 300)
                case.again().expect(5, "has its name, but not all of its data: some was lost when the file system was mounted")
                old = {name: data for name, data in tree(case.partial).items() if not name.startswith(".sluice-")}
                check(old == case.old, "the old output did not stay as it was")
                case.again("--restart", "--overwrite").expect(0)
                case.check_right(f"made anew after {place}")


def test_mounts__that_the_kernel_does_not_number_are_taken_for_the_same(directory):
    """As before Linux 6.8: of one run or the other nothing is known, and only the boot is asked."""
    if not FAULTY:
        raise Skip("no program that heeds SLUICE_FAULT: make test-run builds it")
    case = OnDisk(directory, "direct")
    with case.mounted():
        died = subprocess.run([FAULTY, *case.argv()[1:]], capture_output=True,
                              env={**ENVIRONMENT, "SLUICE_FAULT": "mount:absent", "SLUICE_DIE_AT": "after-record:3"})
        check(died.returncode == -signal.SIGKILL, died.stderr)
    with case.mounted():
        check(not any("read again" in note for note in case.notes()), case.said)
        case.check_right("where mounts have no numbers")


def test_mounts__one_that_became_read_only_in_between_cannot_say_so_and_is_not_believed(directory):
    case = OnDisk(directory, "direct")
    with case.mounted("errors=remount-ro"):
        device = os.stat(case.disk.place).st_dev
        trigger = pathlib.Path(f"/sys/fs/ext4/loop{os.minor(device)}/trigger_fs_error")
        if not trigger.exists():
            raise Skip("no ext4 here that can be told to fail")
        run = subprocess.Popen(case.argv(), env={**ENVIRONMENT, "SLUICE_DIE_AT": "after-record:4:stop"}, text=True,
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        os.waitpid(run.pid, os.WUNTRACED)
        os.sync()
        trigger.write_text("1")
        run.send_signal(signal.SIGCONT)
        said = run.communicate(timeout=60)[1]
        check(run.returncode == 5 and "could neither be noted" in said, f"exit {run.returncode}\n{said}")
        check("unless the file system is mounted anew" in said, said)
        case.again().expect(5)
    with case.mounted():
        lost = first_chunk(case.partial)
        zero(lost, 0, lost.stat().st_size)
        notes = case.notes()
        check(any(READ_AGAIN in note for note in notes) and any("some of the output was lost" in note for note in notes), notes)
        case.check_right("after an error of the file system")


if __name__ == "__main__":
    suite = Suite("mounts")
    suite.run(*[goes_on_after_a_mount(scratch) for scratch in (None, "scratch")])
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
