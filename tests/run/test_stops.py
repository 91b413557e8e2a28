#!/usr/bin/env python3
"""Runs that are stopped: by a signal, by a full disk, by nobody who reads what they say. Nothing half-made stays where
the output was to be; what is kept to be gone on with is said, and `clean` removes it."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, Skip, Suite, check, check_left_alone, command, minimum_bytes,  # noqa: E402
                     mounted, rechunk, sluice)

import inputs  # noqa: E402

STOP_SECONDS = 30 if SANITIZER else 5
SLOW = ["--codec", "zstd:19", "--memory", "96MiB"]
# 10 MB of what no codec shrinks.
NOISE = ["40,181,360", "1,181,360", "--field", "random"]


def start(source, target, *flags):
    return subprocess.Popen(command("rechunk", source, target, *flags), env=ENVIRONMENT,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until_working(process, directory):
    """Until something of the output is being made."""
    for _ in range(600):
        check(process.poll() is None, "ended before it could be stopped", process.stderr)
        if any("partial" in p.name for p in directory.iterdir()):
            time.sleep(0.3)
            return
        time.sleep(0.05)
    raise AssertionError("nothing was begun in 30 s")


def check_only_kept(target, said, directory, *names):
    """Beside what is named there is only what the run said that it keeps, and nothing once that is cleaned up."""
    found = {p.name for p in directory.iterdir()} - set(names)
    check(not (directory / target.name).exists(), "half an output")
    check(not found or "the same command continues" in said, f"{found} is left, unsaid\n{said}")
    if found:
        sluice("clean", target).expect(0, "removed")
    check_left_alone(directory, *names)


def stopped_by(number, status, plan):
    def test(directory):
        source = inputs.big(directory / "in.zarr")
        process = start(source, directory / "out.zarr", "--chunks", "60,64,64", "--plan", plan, *SLOW)
        wait_until_working(process, directory)
        begun = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        seconds = time.monotonic() - begun
        check(process.returncode == status, f"exit {process.returncode}, not {status}\n{err.decode()}")
        check(err.decode().count("stopping...") == 1, f"does not say that it stops\n{err.decode()}")
        check(seconds < STOP_SECONDS, f"stopped only after {seconds:.1f} s")
        check_only_kept(directory / "out.zarr", err.decode(), directory, "in.zarr")
    test.__name__ = f"test_stop__{number.name.lower()}_in_{plan}_leaves_what_it_says"
    return test


def waiting_for_its_pipeline(directory):
    """Ways to wait for a pipeline that does not come: words, and who could write it."""
    fifo = directory / "fifo"
    os.mkfifo(fifo)
    yield "an open pipe", "-", subprocess.PIPE, None
    yield "a FIFO nobody writes to", fifo, subprocess.DEVNULL, None
    yield "a FIFO that stays open", fifo, subprocess.DEVNULL, os.O_RDWR


def test_stop__one_signal_ends_a_run_that_waits_for_its_pipeline(directory):
    for how, path, stdin, writer in waiting_for_its_pipeline(directory):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            end = os.open(path, writer) if writer is not None else None
            process = subprocess.Popen(command("run", path), env=ENVIRONMENT, stdin=stdin, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            try:
                time.sleep(2 if SANITIZER else 0.4)
                check(process.poll() is None, f"{how}: does not wait")
                process.send_signal(number)
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{how}: {number.name} does not end it") from None
            finally:
                process.kill()
                process.communicate()
                if end is not None:
                    os.close(end)
            check(process.returncode == status, f"{how}: exit {process.returncode}, not {status}")


def test_stop__a_second_signal_stops_at_once_and_says_what_is_left(directory):
    source = inputs.big(directory / "in.zarr")
    process = start(source, directory / "out.zarr", "--chunks", "60,64,64", "--plan", "split", *SLOW)
    wait_until_working(process, directory)
    process.send_signal(signal.SIGINT)
    said = b""
    while b"stopping..." not in said and (more := os.read(process.stderr.fileno(), 4096)):
        said += more
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=60)[1]
    check(process.returncode == 130, f"exit {process.returncode}\n{said.decode()}")
    left = [p.name for p in directory.iterdir() if p.name != "in.zarr"]
    check(not left or b"stopped at once" in said, f"{left} is left, unsaid\n{said.decode()}")
    sluice("clean", directory / "out.zarr").expect(0)
    check_left_alone(directory, "in.zarr")


def test_stop__one_signal_ends_what_only_reads(directory):
    source = inputs.big(directory / "in.zarr")
    for arguments in (["digest", source], ["verify", source, source], ["check", "--chunks", source]):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            for attempt in range(20):       # on a quick machine it may be done first: then sooner
                process = subprocess.Popen(command(*arguments, "--threads", 1), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                time.sleep((0.5 if SANITIZER else 0.1) / (attempt + 1))
                process.send_signal(number)
                out, err = process.communicate(timeout=STOP_SECONDS)
                if process.returncode != 0:
                    break
            check(process.returncode == status, f"{arguments[0]}: exit {process.returncode}\n{err.decode()}")
            check(out == b"", f"{arguments[0]}: an answer, though it was stopped: {out}")
    check_left_alone(directory, "in.zarr")


def test_rechunk__takes_nothing_that_somebody_else_made_meanwhile(directory):
    """Until the last moment; with --overwrite, nothing that is no Zarr store."""
    source = inputs.small(directory / "in.zarr")
    for place in ("before-committing", "before-publish"):
        for overwrite in [[], ["--overwrite"]][:2 if place == "before-committing" else 1]:
            target = directory / "out.zarr"
            argv = command("rechunk", source, target, "--chunks", "12,5,5", *overwrite)
            with subprocess.Popen(argv, env={**ENVIRONMENT, "SLUICE_DIE_AT": f"{place}:1:stop"}, stdin=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) as process:
                try:
                    check(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), f"did not stop at {place}")
                    target.mkdir()
                    (target / "thesis.tex").write_text("mine")
                except BaseException:
                    process.kill()
                    raise
                os.kill(process.pid, signal.SIGCONT)
                said = process.communicate(timeout=120)[1].decode()
            check(process.returncode == 6, f"exit {process.returncode} at {place}\n{said}")
            check([p.name for p in target.iterdir()] == ["thesis.tex"], f"taken at {place}")
            shutil.rmtree(target)
            rechunk(source, target, "--chunks", "12,5,5", *overwrite).expect(0)
            check_left_alone(directory, "in.zarr", "out.zarr")
            shutil.rmtree(target)


def test_stop__after_kill_the_same_command_works(directory):
    source = inputs.big(directory / "in.zarr")
    flags = ["--chunks", "60,64,64", "--plan", "split", "--codec", "zstd:9", "--memory", "96MiB"]
    process = start(source, directory / "out.zarr", *flags)
    wait_until_working(process, directory)
    process.kill()
    process.communicate(timeout=60)
    check(process.returncode == -signal.SIGKILL, f"exit {process.returncode}: done before it was killed")
    check(not (directory / "out.zarr").exists(), "half an output")
    rechunk(source, directory / "out.zarr", *flags).expect(0)
    sluice("verify", source, directory / "out.zarr").expect(0)
    check_left_alone(directory, "in.zarr", "out.zarr")


def deaf_outputs():
    """What standard output may be that takes nothing: how it is called, and how to open it (None: it is closed)."""
    def pipe_without_reader():
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    return {"full": lambda: os.open("/dev/full", os.O_WRONLY), "a closed pipe": pipe_without_reader, "closed": None}


def run_deaf(arguments, opener, cwd, descriptors=(1,)):
    """With these descriptors deaf. Exit status and what was said on standard error."""
    end = opener() if opener else None

    def prepare():
        for descriptor in descriptors:
            os.dup2(end, descriptor) if opener else os.close(descriptor)
    try:
        done = subprocess.run(command(*arguments), env=ENVIRONMENT, cwd=cwd, stdin=subprocess.DEVNULL, preexec_fn=prepare,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        if opener:
            os.close(end)
    return done.returncode, done.stderr


PIPELINE = "memory: 64MiB\ninput: in.zarr\noutput: {path: out.zarr, chunks: [12, 5, 7]}\n"
RECHUNK = ["rechunk", "in.zarr", "out.zarr", "--chunks", "12,5,7", "--memory", "64MiB"]


def test_output__that_nobody_takes_is_an_error_of_every_command_that_prints(directory):
    inputs.small(directory / "in.zarr")
    (directory / "p.yaml").write_text(PIPELINE)
    for arguments in (["run", "p.yaml", "-n"], ["plan", "p.yaml"], ["plan", "p.yaml", "--json"], ["check", "p.yaml"],
                      ["check", "--chunks", "in.zarr"], ["info", "in.zarr"], ["info", "in.zarr", "--json"],
                      ["info", "."], ["info", ".", "--json"],
                      ["verify", "in.zarr", "in.zarr"], ["digest", "in.zarr"], [*RECHUNK, "--emit"], ["help"],
                      ["help", "keys"], ["help", "chunks"], ["help", "run"], ["--version"]):
        for name, opener in deaf_outputs().items():
            status, err = run_deaf(arguments, opener, directory)
            check(status == 5 and "cannot write to standard output" in err, f"{name}: {arguments}: exit {status}\n{err}")
    check_left_alone(directory, "in.zarr", "p.yaml")


def test_output__that_nobody_takes_does_not_harm_the_array(directory):
    inputs.small(directory / "in.zarr")
    for name, opener in deaf_outputs().items():
        for flags, descriptors, wanted in (([], (1,), 0), (["--json"], (1,), 5), (["--progress", "log"], (2,), 0),
                                           (["--json", "--progress", "log"], (0, 1, 2), 5)):
            for plan in ("direct", "split"):
                status, err = run_deaf([*RECHUNK, "--plan", plan, *flags], opener, directory, descriptors)
                check(status == wanted, f"{name}: {flags}: exit {status}, not {wanted}\n{err}")
                sluice("verify", directory / "in.zarr", directory / "out.zarr").expect(0)
                check_left_alone(directory, "in.zarr", "out.zarr")
                shutil.rmtree(directory / "out.zarr")


def test_output__descriptors_that_are_closed_are_given_to_no_file(directory):
    """Or what is said would be written into it."""
    source = inputs.big(directory / "in.zarr")

    def prepare():
        for descriptor in range(3):
            os.close(descriptor)
    process = subprocess.Popen(command("rechunk", source, directory / "out.zarr", "--chunks", "60,64,64", *SLOW),
                               env=ENVIRONMENT, preexec_fn=prepare)
    process.stderr = "it was closed"
    try:
        wait_until_working(process, directory)
        held = [os.readlink(f"/proc/{process.pid}/fd/{i}") for i in range(3)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    check(held == ["/", "/", "/"], f"they are {held}")
    check(process.returncode == 143, f"exit {process.returncode}")
    check_left_alone(directory, "in.zarr")


@contextlib.contextmanager
def tiny_ext4(directory, mebibytes):
    """An ext4 of its own, in a file."""
    if not shutil.which("mkfs.ext4"):
        raise Skip("no mkfs.ext4")
    image = directory / "image"
    with open(image, "wb") as f:
        f.truncate(mebibytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted(directory / "disk", "-o", "loop", str(image)) as place:
        yield place


def test_full_disk__under_the_output_exits_3_and_names_it(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    with tiny_ext4(directory, 8) as disk:
        for plan in ("direct", "split"):
            refusal = rechunk(source, disk / "out.zarr", "--chunks", "40,8,8", "--plan", plan, "--memory", "64MiB",
                              "--scratch", directory).expect(3, str(disk), "the output takes about")
            check_only_kept(disk / "out.zarr", refusal.err, disk, "lost+found")
    check_left_alone(directory, "in.zarr", "image", "disk")


def test_full_disk__tmpfs_under_the_output_exits_3(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    with mounted(directory / "disk", "-t", "tmpfs", "-o", "size=4m", "none") as disk:
        refusal = rechunk(source, disk / "out.zarr", "--chunks", "40,8,8", "--plan", "direct",
                          "--memory", "64MiB").expect(3, str(disk))
        check_only_kept(disk / "out.zarr", refusal.err, disk)


def test_full_disk__under_the_scratch_exits_3_and_names_it(directory):
    source = inputs.generate(directory / "in.zarr", *NOISE)
    flags = ["--chunks", "40,8,8", "--plan", "split", "--threads", 1]
    with tiny_ext4(directory, 8) as disk:
        # With more than the least memory, what does not fit on the disk would stay there.
        least = minimum_bytes(source, directory / "out.zarr", *flags)
        refusal = rechunk(source, directory / "out.zarr", *flags, "--memory", least, "--scratch", disk).expect(3, str(disk))
        check_only_kept(directory / "out.zarr", refusal.err, directory, "in.zarr", "image", "disk")
        check([p.name for p in disk.iterdir() if p.name != "lost+found"] == [], f"left on the full disk: {list(disk.iterdir())}")


def test_resume__says_when_starting_over_would_be_much_quicker(directory):
    """An array of 8 GB that is not there: its chunks are holes. The runs die after a slab."""
    source, target = directory / "in.zarr", directory / "out.zarr"
    source.mkdir()
    (source / ".zarray").write_text(
        '{"zarr_format": 2, "shape": [2000, 1024, 1024], "chunks": [1, 1024, 1024], "dtype": "<f4", "fill_value": 1.0, '
        '"order": "C", "filters": null, "compressor": null}')
    for number in range(2000):
        with open(source / f"{number}.0.0", "wb") as chunk:
            chunk.truncate(4 << 20)

    def begin(memory):
        done = subprocess.run(command("rechunk", source, target, "--chunks", "all,16,16", "--memory", memory),
                              env={**ENVIRONMENT, "SLUICE_DIE_AT": "after-record:2"}, capture_output=True)
        check(done.returncode == -signal.SIGKILL, done.stderr)
        return done.stderr.decode()

    check("note:" not in begin("14MiB"), "a note without an unfinished run")
    said = begin("16MiB")
    check("note:" not in said and "for what is left" in said, said)
    said = begin("1GiB")
    check("note: what is left takes about " in said and "--restart, with the memory there is now, about " in said, said)
    sluice("clean", target).expect(0)


if __name__ == "__main__":
    suite = Suite("stops")
    suite.run(*[stopped_by(number, status, plan) for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143))
                for plan in ("direct", "split")])
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
