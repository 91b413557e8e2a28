#!/usr/bin/env python3
"""Objects of tasks that were under way when a run died or failed: no record speaks of them, and nothing of them survives."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, FAULTY, Skip, Suite, check, check_left_alone, command, minimum_bytes, rechunk, sluice,  # noqa: E402
                     tree)

import inputs  # noqa: E402
import numpy  # noqa: E402
import zarr  # noqa: E402


PARTS = ["--chunks", "16,256,64", "--codec", "none", "--plan", "ranged-write"]


class Loss:
    """A run that died before a record; then the input lost the chunks from `first` on. `make` makes the input."""

    def __init__(self, directory, version, chunk, flags, make):
        self.directory, self.chunk = directory, chunk
        self.source, self.target = directory / "in.zarr", directory / "out.zarr"
        make(directory / "kept", version)
        shutil.copytree(directory / "kept", self.source)
        self.flags = flags
        self.line = ["rechunk", self.source, self.target, *flags, "--progress", "none", "--threads", "1"]
        self.line += ["--memory", minimum_bytes(*self.line[1:])]

    def happens(self, place, first):
        """What was written until then, and how the same command ends. A place may be a SLUICE_FAULT."""
        shutil.rmtree(self.source)
        shutil.copytree(self.directory / "kept", self.source)
        argv, variable = command(*self.line), "SLUICE_DIE_AT"
        if place.endswith(":kill"):
            argv[0], variable = FAULTY, "SLUICE_FAULT"
        died = subprocess.run(argv, capture_output=True, env={**ENVIRONMENT, variable: place})
        check(died.returncode == -signal.SIGKILL, f"did not die at {place}: {died}")
        staged = tree(self.directory / "out.zarr.sluice-partial")
        for number in range(first, 16):
            path = self.source / self.chunk.format(number)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return staged, sluice(*self.line)


def no_fill(path, version):
    inputs.small(path, version, shape=(16, 256, 256), chunks=(1, 256, 256))


def late_values(fill, dtype, order="C"):
    """Fill value, in chunks that are there, in others that are not, in half of one; and one value among much of it: of the
    four columns of target chunks the first begins at once, the second at 5 (but for such a value), the others at 9, 14."""
    def make(path, version):
        array = zarr.create_array(str(path), shape=(16, 256, 256), chunks=(1, 256, 256), dtype=dtype, zarr_format=version,
                                  fill_value=fill, order=order, config={"write_empty_chunks": True})
        values = (numpy.arange(array.size) % 100 + fill + 1).reshape(array.shape).astype(dtype)
        for column, begins in enumerate((0, 5, 9, 14)):
            values[:begins, :, 64 * column:64 * (column + 1)] = fill
        values[0, :, :64] = fill
        values[0, 255, 63] = values[2, 60, 100] = fill + 1
        array[...] = values
    return make


def dies_before_a_record(name, flags, places, version=2, chunk="{}.0.0", make=no_fill):
    return dies(name, flags, [f"before-record:{place}" for place in places], version, chunk, make)


def dies(name, flags, places, version=2, chunk="{}.0.0", make=no_fill):
    def test(directory):
        if not FAULTY and any(place.endswith(":kill") for place in places):
            raise Skip("no program that heeds SLUICE_FAULT: make test-run builds it")
        loss = Loss(directory, version, chunk, flags, make)
        left_over = 0
        for place in places:
            for first in range(17):     # only what no record holds on to may be lost
                staged, done = loss.happens(place, first)
                if done.status == 0:
                    break
                done.expect(6, "is not what it was")
                sluice("clean", loss.target).expect(0)
            check(done.status == 0, done)
            rechunk(loss.source, directory / "ref.zarr", *flags).expect(0)
            wanted = tree(directory / "ref.zarr")
            left_over += any(name not in wanted and not name.startswith(".sluice-") for name in staged)
            check(tree(loss.target) == wanted, f"{place}, from chunk {first} on: not as an undisturbed run leaves it")
            check(all(any(p.iterdir()) for p in loss.target.rglob("*") if p.is_dir()), "empty directories")
            shutil.rmtree(loss.target)
            shutil.rmtree(directory / "ref.zarr")
        check(left_over, "nothing was ever left over")
        check_left_alone(directory, "in.zarr", "kept")
    test.__name__ = f"test_leftovers__of_{name}_go"
    return test


def test_leftovers__that_cannot_be_looked_at_are_not_taken_for_any(directory):
    """Any read of the run that goes on fails: it ends, and what is recorded stays."""
    loss = Loss(directory, 2, "{}.0.0", PARTS, late_values(0, "float32"))
    rechunk(loss.source, directory / "ref.zarr", *PARTS).expect(0)
    looking = 0
    for call in range(40, 100):
        died = subprocess.run(command(*loss.line), capture_output=True, env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-record:12"})
        check(died.returncode == -signal.SIGKILL, died)
        result = sluice(*loss.line, fault=f"read:{call}:EIO")
        check(result.status in (0, 3, 5), result)           # 3: no ring, and threads need more memory
        looking += "what was not finished" in result.err
        if result.status and sluice(*loss.line).status:
            sluice(*loss.line, "--restart").expect(0)       # the journal itself could not be read
        check(tree(loss.target) == tree(directory / "ref.zarr"), f"other bytes after read {call}")
        shutil.rmtree(loss.target)
    check(looking > 2, f"{looking} reads were of what may be left over")


def test_leftovers__of_a_stage_that_is_done_again_are_not_in_the_way(directory):
    """Every block of scratch is damaged while buckets are written: they are made again, and what was written of them."""
    source = inputs.generate(directory / "in.zarr", "40,361,360", "1,361,360")
    flags = ["--chunks", "20,32,32", "--codec", "zstd:1", "--progress", "none", "--plan", "split"]
    rechunk(source, directory / "ref.zarr", *flags).expect(0)
    line = ["rechunk", source, directory / "out.zarr", *flags, "--memory",
            minimum_bytes(source, directory / "out.zarr", *flags) + (2 << 20)]
    partial, scratch = directory / "out.zarr.sluice-partial", directory / "out.zarr.sluice-scratch"
    merging = 0
    for place in (42, 46):
        process = subprocess.Popen(command(*line), env={**ENVIRONMENT, "SLUICE_DIE_AT": f"after-record:{place}:stop"},
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        check(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), f"did not stop at {place}")
        if any(p.name[0].isdigit() for p in partial.iterdir()) and scratch.exists():
            merging += 1
            with open(scratch, "r+b") as file:
                for at in range(0, scratch.stat().st_size, 4096):
                    file.seek(at)
                    file.write(b"damaged!")
        os.kill(process.pid, signal.SIGCONT)
        said = process.communicate(timeout=120)[1].decode()
        check(process.returncode == 0, f"exit {process.returncode}\n{said}")
        check(tree(directory / "out.zarr") == tree(directory / "ref.zarr"), f"other bytes, damaged at record {place}")
        shutil.rmtree(directory / "out.zarr")
    check(merging, "never stopped while it merged")


if __name__ == "__main__":
    suite = Suite("leftovers")
    direct = ["--chunks", "2,64,64", "--plan", "direct"]
    suite.run(dies_before_a_record("whole_chunks", direct, (18, 34)),
              dies_before_a_record("whole_chunks_in_directories", [*direct, "--format", "zarr3"], (18, 34), 3,
                                   "c/{}"),
              dies_before_a_record("chunks_written_in_parts", PARTS, (2, 5, 9)),
              dies_before_a_record("chunks_written_in_parts_of_what_is_mostly_fill", PARTS, range(2, 17),
                                   make=late_values(0, "float32")),
              dies("chunks_in_parts_that_were_made_and_not_shown", PARTS,
                   [f"rename,renameat2:{call}:kill" for call in range(4)], make=late_values(7, ">i2")),
              dies_before_a_record("chunks_that_hang_over_where_fill_is_no_zero", ["--chunks", "12,100,60", *PARTS[2:]],
                                   range(2, 6), make=late_values(7, ">i2")),
              dies_before_a_record("chunks_in_the_other_order", ["--chunks", "12,100,60", *PARTS[2:]],
                                   range(2, 5), make=late_values(7, ">i2", "F")),
              test_leftovers__that_cannot_be_looked_at_are_not_taken_for_any,
              test_leftovers__of_a_stage_that_is_done_again_are_not_in_the_way)
    sys.exit(suite.close())
