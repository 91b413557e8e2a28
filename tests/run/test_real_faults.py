#!/usr/bin/env python3
"""Faults of real file systems, limits and sandboxes. Each time: the target is not there or right, the exit status and the
words are those of the manual, and the same command works once the cause is gone."""
import contextlib
import errno
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, FAULTY, SANITIZER, Skip, Suite, check, command, fuse, minimum_bytes, mounted,  # noqa: E402
                     planned, rechunk, sluice)
import refuse  # noqa: E402
from cgroup import Group  # noqa: E402

import inputs  # noqa: E402
import numpy as np  # noqa: E402

# 10 MB of what no codec shrinks, which the plan cannot know: it looks at some chunks only.
NOISE = ["40,181,360", "1,181,360", "--field", "random"]
CHUNKS = ["--chunks", "40,32,32", "--threads", 2]
LEFT_FREE = 4 << 20
MEBIBYTES = {"ext4": 64, "xfs": 320}


# ---- file systems ----

def make_image(image, kind):
    maker = shutil.which(f"mkfs.{kind}") or shutil.which(f"mkfs.{kind}", path="/usr/sbin:/sbin")
    if not maker:
        raise Skip(f"no mkfs.{kind}")
    with open(image, "wb") as f:
        f.truncate(MEBIBYTES[kind] << 20)
    subprocess.run([maker, "-q", *(["-F", "-E", "lazy_itable_init=1", "-m", "0"] if kind == "ext4" else ["-f"]), str(image)],
                   check=True, capture_output=True)


@contextlib.contextmanager
def disk(directory, kind, name="disk"):
    make_image(directory / f"{name}.image", kind)
    with mounted(directory / name, "-o", "loop", str(directory / f"{name}.image")) as place:
        yield place


def fill(place):
    """Leave little room: the ballast is given back by removing it."""
    space = os.statvfs(place)
    ballast = place / "ballast"
    with open(ballast, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, space.f_bavail * space.f_frsize - LEFT_FREE)
    return ballast


def names(place):
    """What is there, but for what a run may keep to go on from."""
    return sorted(p.name for p in place.iterdir() if p.name not in ("lost+found", "ballast") and ".sluice-" not in p.name)


def check_works(source, target, *flags):
    """The same command once more, and nothing but the output stays."""
    rechunk(source, target, *flags).expect(0)
    sluice("verify", source, target).expect(0)
    left = [p.name for p in target.parent.iterdir() if ".sluice-" in p.name]
    check(not left, f"left behind: {left}")


def least(source, target, *flags):
    """The least memory for either back end: with more, what should go to the scratch file stays in memory."""
    return minimum_bytes(source, target, *flags, "--io", "threads")


# ---- no space ----

def full(kind, output, scratch):
    """A full disk under the output, under the scratch, or under both."""
    def test(directory):
        source = inputs.generate(directory / "in.zarr", *NOISE)
        with disk(directory, kind) as place:
            target = (place if output else directory) / "out.zarr"
            flags = [*CHUNKS, "--scratch", place if scratch else directory, "--plan", "split" if scratch else "direct"]
            flags += ["--memory", least(source, target, *flags)]
            ballast = fill(place)
            result = rechunk(source, target, *flags).expect(3, str(place))
            check(not target.exists(), "half an output")
            check("free" in result.err and "help: " in result.err, f"does not say how much is free, or what to do\n{result}")
            os.truncate(ballast, 0)     # at once: xfs frees what is unlinked a little later
            ballast.unlink()
            check_works(source, target, *flags)
            check(names(place) == (["out.zarr"] if output else []), f"left on the disk: {list(place.iterdir())}")
    where = "_and_".join(w for w, there in (("output", output), ("scratch", scratch)) if there)
    test.__name__ = f"test_full__{kind}_under_{where}"
    return test


def test_full__a_disk_that_promises_more_than_it_has(directory):
    """A sparse image on a full disk: statfs says that there is room, and then writes fail."""
    source = inputs.generate(directory / "in.zarr", *NOISE)
    with disk(directory, "ext4", "outer") as outer:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(outer / "image"), "60M"], check=True, capture_output=True)
        with mounted(directory / "inner", "-o", "loop", str(outer / "image")) as inner:
            fill(outer)
            result = rechunk(source, inner / "out.zarr", *CHUNKS, "--memory", "64MiB")
            check(result.status in (3, 5), f"exit {result.status}\n{result}")
            check(str(inner) in result.err and not (inner / "out.zarr").exists(), f"{result}")
    check_works(source, directory / "out.zarr", *CHUNKS, "--memory", "64MiB")


def test_full__a_write_that_finds_no_room_says_how_much_it_needed(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    flags = [*CHUNKS, "--memory", "64MiB"]
    result = rechunk(source, directory / "out.zarr", *flags, "--json", fault="write:9+:ENOSPC").expect(3, "it needed")
    check(result.json()["need_bytes"] > 0 and result.json()["have_bytes"] > 0, result)
    check_works(source, directory / "out.zarr", *flags)


def test_full__a_quota_is_no_full_disk(directory):
    """Where the kernel has no quotas to test with, the seam says what it would."""
    source = inputs.generate(directory / "in.zarr", *NOISE)
    for kinds, plan in (("write:9+:EDQUOT", "direct"), ("fallocate:0+:EDQUOT", "split")):
        flags = [*CHUNKS, "--plan", plan]
        flags += ["--memory", least(source, directory / "out.zarr", *flags)]
        result = rechunk(source, directory / "out.zarr", *flags, fault=kinds).expect(3, "quota", "quota -s", str(directory))
        check("no space left" not in result.err, result)
        check_works(source, directory / "out.zarr", *flags)
        shutil.rmtree(directory / "out.zarr")


# ---- devices that fail ----

def test_device__a_source_that_cannot_be_read_names_the_chunk(directory):
    make_image(directory / "image", "ext4")
    with mounted(directory / "disk", "-o", "loop", str(directory / "image")) as place:
        inputs.generate(place / "in.zarr", *NOISE)
    with mounted(directory / "disk", "-o", "loop,ro", str(directory / "image")) as place:
        whole = (directory / "image").read_bytes()
        kept = 12 << 20
        os.truncate(directory / "image", kept)
        result = rechunk(place / "in.zarr", directory / "out.zarr", *CHUNKS, "--memory", "64MiB")
        check(result.status in (4, 5) and not (directory / "out.zarr").exists(), result)
        check("in.zarr" in result.err and ("input/output error" in result.err or "damaged" in result.err), result)
        (directory / "image").write_bytes(whole)
    with mounted(directory / "disk", "-o", "loop,ro", str(directory / "image")) as place:
        check_works(place / "in.zarr", directory / "out.zarr", *CHUNKS, "--memory", "64MiB")


# ---- limits ----

def limit(kind, value):
    return lambda: resource.setrlimit(kind, (value, value))


def test_limit__of_open_files_is_named_with_its_cure(directory):
    """Whatever the limit is: the run ends, well or with the word that helps."""
    source = inputs.generate(directory / "in.zarr", *NOISE)
    failed = 0
    for most in (8, 12, 16, 20, 24, 32, 64):
        for backend in ("threads", "auto"):
            flags = [*CHUNKS, "--memory", "64MiB", "--io", backend]
            result = rechunk(source, directory / "out.zarr", *flags, before=limit(resource.RLIMIT_NOFILE, most))
            if result.status:
                failed += 1
                check(result.status in (3, 5) and "ulimit -n" in result.err, result)
                check_works(source, directory / "out.zarr", *flags)
            shutil.rmtree(directory / "out.zarr")
    check(failed, "no limit was too low")


def test_limit__of_file_size_is_named_with_its_cure(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    for plan, most in (("direct", 100 << 10), ("split", 2 << 20)):
        flags = [*CHUNKS, "--plan", plan]
        flags += ["--memory", least(source, directory / "out.zarr", *flags)]
        rechunk(source, directory / "out.zarr", *flags,
                before=limit(resource.RLIMIT_FSIZE, most)).expect(5, "ulimit -f", str(directory))
        check(not (directory / "out.zarr").exists(), "half an output")
        check_works(source, directory / "out.zarr", *flags)
        shutil.rmtree(directory / "out.zarr")


def test_limit__of_locked_memory_is_got_over(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    rechunk(source, directory / "out.zarr", *CHUNKS, "--memory", "64MiB",
            before=limit(resource.RLIMIT_MEMLOCK, 0)).expect(0)
    sluice("verify", source, directory / "out.zarr").expect(0)


# ---- sandboxes ----

def test_sandbox__without_io_uring_threads_do_it_and_it_says_so(directory):
    source = inputs.small(directory / "in.zarr")
    if SANITIZER == "thread":
        raise Skip("the thread sanitizer's runs are always with threads")
    for error, word in ((errno.EPERM, "seccomp"), (errno.ENOSYS, "no io_uring")):
        before = refuse.refuse(error, *refuse.IO_URING)
        rechunk(source, directory / "out.zarr", "--chunks", "12,5,5", "--memory", "64MiB", "--overwrite",
                before=before).expect(0, "I/O: threads", word)
        sluice("verify", source, directory / "out.zarr").expect(0)
        rechunk(source, directory / "no.zarr", "--chunks", "12,5,5", "--memory", "64MiB", "--io", "uring",
                before=before).expect(2, word, "help: ")
        check(not (directory / "no.zarr").exists(), "half an output")


def test_sandbox__an_old_kernel_is_enough_and_it_says_what_it_lacks(directory):
    """RHEL 8, gVisor: neither openat2 nor the flags of renameat2, and a file system without the rest."""
    source = inputs.generate(directory / "in.zarr", *NOISE)
    before = refuse.refuse(errno.ENOSYS, *refuse.IO_URING, *refuse.OPENAT2, *refuse.RENAMEAT2, *refuse.FLOCK)
    flags = [*CHUNKS, "--plan", "split"]
    flags += ["--memory", least(source, directory / "out.zarr", *flags)]
    rechunk(source, directory / "out.zarr", *flags, before=before).expect(
        0, "no openat2", "no rename that refuses to replace", "no file locks")
    rechunk(source, directory / "out.zarr", *flags, "--overwrite", before=before).expect(0, "no rename that exchanges")
    check_works(source, directory / "out.zarr", *flags, "--overwrite")


def test_lacking__each_lack_has_its_fallback_and_its_sentence(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    flags = [*CHUNKS, "--plan", "split"]
    flags += ["--memory", least(source, directory / "out.zarr", *flags)]
    for kind, sentence in (("openat2", "no openat2"), ("fallocate", "no fallocate"), ("direct", "no direct I/O"),
                           ("lock", "no file locks"), ("lock,link", "no links: the lock file"), ("renameat2", "no rename that exchanges"), ("ring", "I/O: threads")):
        rechunk(source, directory / "out.zarr", *flags, "--overwrite", fault=f"{kind}:absent")
        rechunk(source, directory / "out.zarr", *flags, "--overwrite", fault=f"{kind}:absent").expect(0, sentence)
        sluice("verify", source, directory / "out.zarr").expect(0)
    rechunk(source, directory / "out.zarr", *flags, "--overwrite",
            fault="openat2,fallocate,punch,direct,lock,renameat2,ring:absent").expect(0)
    check_works(source, directory / "out.zarr", *flags, "--overwrite")


def test_lacking__scratch_space_that_cannot_be_given_back_is_kept(directory):
    """Where there is plenty nothing is given back, so the disk is a small one."""
    source = inputs.generate(directory / "in.zarr", *NOISE)
    with disk(directory, "ext4") as place:
        flags = [*CHUNKS, "--plan", "split", "--scratch", place]
        flags += ["--memory", least(source, directory / "out.zarr", *flags)]
        space = os.statvfs(place)
        with open(place / "ballast", "wb") as f:
            os.posix_fallocate(f.fileno(), 0, space.f_bavail * space.f_frsize - (24 << 20))
        rechunk(source, directory / "out.zarr", *flags, fault="punch:absent").expect(0, "no hole punching")
        sluice("verify", source, directory / "out.zarr").expect(0)
        check(names(place) == [], f"left on the disk: {list(place.iterdir())}")


def peak_cached_bytes(group, argv, fault):
    """What the group's files had in the page cache at most, while argv ran there."""
    process = subprocess.Popen(group.command(argv), env={**ENVIRONMENT, "SLUICE_FAULT": fault}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        stat = dict(line.split() for line in (group.path / "memory.stat").read_text().splitlines())
        peak = max(peak, int(stat["cache" if group.old else "file"]))
        time.sleep(0.01)
    err = process.communicate()[1].decode()
    check(process.returncode == 0, f"exit {process.returncode}\n{err}")
    return peak


def test_lacking__without_direct_io_the_page_cache_is_not_filled(directory):
    """300 MB in, 300 MB out; the group would have room for all of it."""
    if SANITIZER or not FAULTY:
        raise Skip("judges memory, with the program that heeds SLUICE_FAULT")
    if subprocess.run(["stat", "-f", "-c", "%T", str(directory)], capture_output=True, text=True).stdout.strip() == "tmpfs":
        raise Skip("the tests' directory is memory")
    source = inputs.generate(directory / "in.zarr", "72,721,1440", "1,721,1440", "--codec", "none")
    for plan in ("direct", "split"):
        for backend in ("uring", "threads"):
            argv = command("rechunk", source, directory / "out.zarr", "--chunks", "36,91,90", "--plan", plan, "--memory",
                           "100MiB", "--threads", 2, "--io", backend, "--overwrite", "--progress", "none")
            try:
                group = Group(2 << 30)
            except OSError as problem:
                raise Skip(f"memory cgroups cannot be made here: {problem}") from None
            try:
                peak = peak_cached_bytes(group, [FAULTY, *argv[1:]], "direct:absent")
            finally:
                group.remove()
            check(peak < 150 << 20, f"{plan}, {backend}: {peak >> 20} MiB in the page cache")


# ---- libraries ----

SNAPPY = """
#include <stddef.h>
#include <string.h>
/* Another snappy: what it makes is all literals, which any snappy reads. */
int snappy_compress(const char *from, size_t bytes, char *to, size_t *to_bytes)
{
    size_t at = 0, left = bytes;
    for (; left >= 128; left >>= 7)
        to[at++] = (char)(left | 128);
    to[at++] = (char)left;
    while (bytes > 0) {
        size_t part = bytes < 60 ? bytes : 60;
        to[at++] = (char)((part - 1) << 2);
        memcpy(to + at, from, part);
        at += part, from += part, bytes -= part;
    }
    *to_bytes = at;
    return 0;
}
"""


def test_library__another_snappy_is_another_program(directory):
    """It has no version that could be asked for."""
    if SANITIZER:
        raise Skip("a sanitizer wants to be the first library")
    (directory / "snappy.c").write_text(SNAPPY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", directory / "snappy.so", directory / "snappy.c"], check=True)
    source, target = inputs.generate(directory / "in.zarr", *NOISE), directory / "out.zarr"
    flags = [*CHUNKS, "--codec", "blosc:snappy", "--plan", "split", "--progress", "none"]
    flags += ["--memory", least(source, target, *flags)]
    check(dying(command("rechunk", source, target, *flags), "after-record:3"), "did not die")
    other = subprocess.run(command("rechunk", source, target, *flags), capture_output=True, text=True,
                           env={**ENVIRONMENT, "LD_PRELOAD": str(directory / "snappy.so")})
    check(other.returncode == 6 and "snappy that makes" in other.stderr, other.stderr)
    check_works(source, target, *flags)


# ---- a file system in user space ----

@contextlib.contextmanager
def lacking(directory, **settings):
    """A mount of tests/tools/fuse_lacking.c over a directory beside it."""
    back = directory / "back"
    back.mkdir(exist_ok=True)
    with fuse("fuse_lacking", directory / "front", LACKING_DIRECTORY=back, **settings) as front:
        yield front


def test_fuse__output_scratch_and_input_on_what_lacks_nearly_everything(directory):
    local = inputs.generate(directory / "in.zarr", *NOISE)
    shutil.copytree(local, directory / "back" / "in.zarr")
    with lacking(directory) as front:
        source = front / "in.zarr"
        flags = [*CHUNKS, "--plan", "split"]
        flags += ["--memory", least(source, front / "out.zarr", *flags)]
        rechunk(source, front / "out.zarr", *flags).expect(0, "no direct I/O", "no fallocate", "no rename that refuses")
        check_works(local, front / "out.zarr", *flags, "--overwrite")
        for backend in ("threads", "uring"):
            rechunk(source, front / "out.zarr", *CHUNKS, "--memory", "64MiB", "--io", backend, "--overwrite").expect(
                0, "no rename that exchanges")
            sluice("verify", local, front / "out.zarr").expect(0)
        check(names(front) == ["in.zarr", "out.zarr"], f"left behind: {list(front.iterdir())}")


# How the input is cut, how a plan is forced, and what it must come to at the least memory.
SLICED = ["--chunks", "10,181,360", "--codec", "blosc:lz4:1:noshuffle", "--threads", 2]
WAYS = {
    "direct": (None, [*CHUNKS, "--plan", "direct"], "direct: chunks to chunks"),
    "split": (None, [*CHUNKS, "--plan", "split"], "split + merge: chunks to segments, segments to chunks"),
    "passes": (None, [*CHUNKS, "--plan", "passes"],
               "split + split + merge: chunks to segments, segments to segments, segments to chunks"),
    "carry": ("7,181,360", ["--chunks", "5,91,180", "--codec", "zstd:1", "--threads", 2, "--plan", "carry"],
              "direct with carry: chunks to chunks"),
    "ranges": (None, [*CHUNKS, "--codec", "none", "--plan", "ranged-write"], "ranged write: chunks to ranges"),
    "slices": (None, [*SLICED, "--plan", "direct"], "direct: chunks to slices"),
    "merged_slices": (None, [*SLICED, "--plan", "split"], "split + merge: chunks to segments, segments to slices"),
    "streams": ("40,181,360", ["--chunks", "1,181,360", "--threads", 2],
                "split + merge: stream to segments, segments to chunks"),
}


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("2")


def dying(argv, place):
    """True: it died there."""
    done = subprocess.run(argv, env={**ENVIRONMENT, "SLUICE_DIE_AT": place}, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=120)
    check(done.returncode in (0, -signal.SIGKILL), f"exit {done.returncode} at {place}\n{done.stderr.decode()}")
    return done.returncode != 0


def fuse_way(way):
    def test(directory):
        chunks, flags, plan = WAYS[way]
        local = inputs.generate(directory / "in.zarr", *NOISE)
        wanted = inputs.values(local)
        if chunks:
            rechunk(local, directory / "cut.zarr", "--chunks", chunks, "--codec", "zstd:1").expect(0)
            local = directory / "cut.zarr"
        shutil.copytree(local, directory / "back" / "in.zarr")
        with lacking(directory) as front:
            source, target = front / "in.zarr", front / "out.zarr"
            words = [*flags, "--memory", least(source, target, *flags), "--overwrite", "--progress", "none"]
            check(planned(source, target, *words) == plan, planned(source, target, *words))
            inputs.small(target)            # what is replaced
            for place, more in (("after-record:2", []), ("after-record:3", ["--durable"]), ("before-record:4", []),
                                ("before-publish", []), ("after-exchange", []), ("after-publish", []), ("after-note", [])):
                check(dying(command("rechunk", source, target, *words, *more), place), f"did not die at {place}")
                check((front / "out.zarr.sluice-lock").exists(), "no lock file")
                drop_caches()               # and with that, inode numbers
                rechunk(source, target, *words, *more).expect(0, "no file locks", "the lock file of a run that is dead")
                check(np.array_equal(inputs.values(target).view("u4"), wanted.view("u4")), f"other values after {place}")
                check(names(front) == ["in.zarr", "out.zarr"] and not list(front.glob("*sluice-*")),
                      f"left behind after {place}: {list(front.iterdir())}")
    test.__name__ = f"test_fuse__{way}_durable_killed_and_gone_on_with"
    return test


def test_fuse__one_that_is_slow_and_then_fails(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    for plan in ("direct", "split"):
        flags = [*CHUNKS, "--plan", plan]
        flags += ["--memory", least(source, directory / "out.zarr", *flags)]
        with lacking(directory, LACKING_WRITES_MAX=20, LACKING_DELAY_US=2000) as front:
            rechunk(source, front / "out.zarr", *flags).expect(5, "input/output error", str(front))
            check(not (front / "out.zarr").exists(), "half an output")
        with lacking(directory) as front:
            check_works(source, front / "out.zarr", *flags)
            shutil.rmtree(front / "out.zarr")


# ---- some calls that fail, in the program itself ----

def test_fault__a_failed_call_ends_the_program_as_promised(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    flags = [*CHUNKS, "--plan", "split"]
    flags += ["--memory", least(source, directory / "out.zarr", *flags)]
    for fault, status in (("read:40:EIO", 5), ("write:40:EIO", 5), ("write:40:ENOSPC", 3), ("memory:40:ENOMEM", 3),
                          ("rename,renameat2:0:EIO", 5), ("mkdir:0:ENOSPC", 3), ("write:40:short", 0), ("read:40:EINTR", 0),
                          ("read:40:EAGAIN", 0), ("enter:5:EBUSY", 0), ("enter:20+:ENOMEM", 3), ("enter:0+:ENOMEM", 0),
                          ("thread:0:EAGAIN", 5), ("close:70:EIO", 5)):
        result = rechunk(source, directory / "out.zarr", *flags, fault=fault)
        check(result.status in (0, status), f"{fault}: exit {result.status}, not {status}\n{result}")
        check(result.status == 0 or not (directory / "out.zarr").exists(), f"{fault}: half an output")
        if result.status:
            check_works(source, directory / "out.zarr", *flags)
        sluice("verify", source, directory / "out.zarr").expect(0)
        shutil.rmtree(directory / "out.zarr")


if __name__ == "__main__":
    suite = Suite("real-faults")
    suite.run(*[full(kind, output, scratch) for kind in ("ext4", "xfs")
                for output, scratch in ((True, False), (False, True), (True, True))])
    suite.run(*[fuse_way(way) for way in WAYS])
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
