#!/usr/bin/env python3
"""The power goes while a run writes. The disks under the file systems (tests/tools/fuse_disk.c) have a log of every
write and every flush; of what came after the last flush before the cut any part may be lost, in any order, page by
page. The same command then goes on, on file systems that were mounted anew, and under another boot id.

SLUICE_KILLS: about how many cuts (20)."""
import collections
import contextlib
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import ENVIRONMENT, Suite, check, fuse, mounted, tree  # noqa: E402

from test_real_faults import make_image  # noqa: E402
from test_resume import Case, another_boot  # noqa: E402

CUTS = int(os.environ.get("SLUICE_KILLS", 20))
RANDOM = random.Random(int(os.environ.get("SLUICE_SEED", 7)))
HEAD, FLUSHED, PAGE_BYTES = struct.Struct("=QQQ"), 2 ** 64 - 1, 4096
# `at`: where the bytes are in the log.
Record = collections.namedtuple("Record", "ns offset length at")


class Disk:
    """An image; `on` mounts a copy of one, whose log tells what a power cut leaves."""

    def __init__(self, directory, kind, name):
        self.place, self.front = directory / name, directory / f"{name}-front"
        self.image, self.live, self.log = (directory / f"{name}.{what}" for what in ("image", "live", "log"))
        # An image may be mounted before the kernel has let go of the one it is a copy of.
        self.options = "loop" if kind == "ext4" else "loop,nouuid"
        make_image(self.image, kind)

    def mounted(self, image):
        return mounted(self.place, "-o", self.options, str(image))

    @contextlib.contextmanager
    def on(self, image):
        self.log.unlink(missing_ok=True)
        subprocess.run(["cp", "--sparse=always", image, self.live], check=True)
        with fuse("fuse_disk", self.front, DISK_IMAGE=self.live, DISK_LOG=self.log):
            with self.mounted(self.front / "disk"):
                yield

    def records(self):
        records, at = [], 0
        with open(self.log, "rb") as log:
            while head := log.read(HEAD.size):
                ns, offset, length = HEAD.unpack(head)
                at += HEAD.size + length
                log.seek(at)
                records.append(Record(ns, offset, length, at - length))
        return records

    def cut(self, image, cut_ns, survive):
        """A new image: what is left of the one that the log began with. All that was flushed is, and each page of
        what came later with that probability."""
        records = [record for record in self.records() if record.ns <= cut_ns]
        flushed = max((i for i, record in enumerate(records) if record.offset == FLUSHED), default=0)
        left = image.with_name(f"{image.name}-cut")
        subprocess.run(["cp", "--sparse=always", image, left], check=True)
        with open(self.log, "rb") as log, open(left, "r+b") as disk:
            for i, record in enumerate(records):
                log.seek(record.at)
                data = log.read(record.length)
                part_bytes = PAGE_BYTES if i > flushed else record.length
                for at in range(0, record.length, part_bytes or 1):
                    if i < flushed or RANDOM.random() < survive:
                        disk.seek(record.offset + at)
                        disk.write(data[at:at + part_bytes])
        return left


class PowerCut(Case):
    """The output on one disk; scratch beside it, or on another."""

    def __init__(self, directory, plan, flags, overwrite, disks):
        super().__init__(directory, plan, overwrite)
        self.disks, self.prefix, self.durable = disks, another_boot(directory), "--durable" in flags
        self.place = disks[0].place
        self.target = self.place / "out.zarr"
        self.flags += [*flags, "--scratch", disks[-1].place]
        self.cuts, self.when = 0, "undisturbed"
        with disks[0].mounted(disks[0].image):
            self.begin()
            subprocess.run(["sync", "-f", str(self.place)], check=True)

    def begin(self):
        if self.overwrite:
            shutil.copytree(self.directory.parent / "shared" / "old.zarr", self.target)

    def once(self, images):
        """The command on those disks. When it began and ended (ns)."""
        with contextlib.ExitStack() as stack:
            for disk, image in zip(self.disks, images):
                stack.enter_context(disk.on(image))
            (self.directory / "boot").write_text(f"{uuid.UUID(int=RANDOM.getrandbits(128))}\n")
            there, begun_ns = self.look(), time.monotonic_ns()
            with tempfile.TemporaryFile(mode="w+") as said:
                process = subprocess.Popen([*self.prefix, *self.argv()], env=ENVIRONMENT, stdout=said, stderr=said)
                self.wait(process)
                said.seek(0)
                self.said = said.read()
            ended_ns = time.monotonic_ns()
            self.judge(process.returncode, there)
        return begun_ns, ended_ns

    def wait(self, process):
        """Where the run syncs nothing the system does, now and then, as it does in longer runs."""
        begun = time.monotonic()
        while process.poll() is None:
            time.sleep(RANDOM.uniform(0, 0.05))
            check(time.monotonic() - begun < 120, "it does not end")
            if not self.durable:
                subprocess.run(["sync", "-f", str(RANDOM.choice(self.disks).place)], check=True)

    def look(self):
        """What has the target's name. Durable: the old or the new one, whole."""
        if not self.target.exists():
            check(not self.overwrite, "the target is gone")
            return None
        found = {name: data for name, data in tree(self.target).items() if not name.startswith(".sluice-")}
        check(not self.durable or found == self.wanted or (self.overwrite and found == self.old), "half a target")
        return found

    def judge(self, status, there):
        # It had been published: durable, it is whole, look() saw that; by default nothing is promised of it any more.
        if there and not self.overwrite and status == 6 and "already there" in self.said:
            return
        if there and not self.durable and status == 5:
            return
        check(status == 0, f"exit {status}\n{self.said}")
        check(tree(self.target) == self.wanted, f"other bytes\n{self.said}")
        lost = "lost" in self.said or "made again" in self.said
        check(not (self.durable and lost), f"durable, but\n{self.said}")
        left = sorted({p.name for disk in self.disks for p in disk.place.iterdir()} - {"lost+found"})
        check(left == ["out.zarr"], f"left behind: {left}\n{self.said}")

    def cut_anywhere(self, images, begun_ns, ended_ns):
        """A cut somewhere in the run that the logs are of, and going on; every third time that is cut, too."""
        records = [record for disk in self.disks for record in disk.records() if begun_ns <= record.ns <= ended_ns]
        flushes = [record for record in records if record.offset == FLUSHED]
        cut_ns = RANDOM.choice(flushes if flushes and RANDOM.random() < 0.5 else records).ns
        survive = RANDOM.choice([0, 0.5, 0.9, 1])
        self.when = f"after {(cut_ns - begun_ns) / 1e6:.0f} ms, {survive} of what was not flushed is there"
        left = [disk.cut(image, cut_ns, survive) for disk, image in zip(self.disks, images)]
        self.cuts += 1
        logs = [disk.log.rename(f"{image}-log") for disk, image in zip(self.disks, images)]
        span = self.once(left)
        if self.cuts % 3 == 0:
            self.cut_anywhere(left, *span)
        for disk, log, image in zip(self.disks, logs, left):
            image.unlink()
            log.rename(disk.log)


def power_cut(name, kinds, plan, flags=(), overwrite=False):
    def test(directory):
        disks = [Disk(directory, kind, name) for kind, name in zip(kinds, ("disk", "second-disk"))]
        case = PowerCut(directory, plan, flags, overwrite, disks)
        images = [disk.image for disk in disks]
        span = case.once(images)
        if case.durable:
            with disks[0].mounted(disks[0].cut(images[0], span[1], 0)):
                check(case.look() == case.wanted, "the power went after the run, and the target with it")
        while case.cuts < max(3, CUTS // 6):
            try:
                case.cut_anywhere(images, *span)
            except Exception as why:
                raise AssertionError(f"cut {case.cuts}, {case.when}: {why}") from why
    test.__name__ = f"test_power_cut__{name}"
    return test


if __name__ == "__main__":
    suite = Suite("power-cut")
    suite.run(power_cut("ext4_durable", ["ext4"], "split", ["--durable"]),
              power_cut("xfs_durable", ["xfs"], "split", ["--durable"]),
              power_cut("scratch_on_another_disk_durable", ["ext4", "xfs"], "split", ["--durable"]),
              power_cut("ext4_durable_direct_over_an_old_output", ["ext4"], "direct", ["--durable"], overwrite=True),
              power_cut("xfs_durable_split_over_an_old_output", ["xfs"], "split", ["--durable"], overwrite=True),
              power_cut("ext4_by_default", ["ext4"], "split"),
              power_cut("xfs_by_default", ["xfs"], "split"))
    sys.exit(suite.close())
