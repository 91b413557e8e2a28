#!/usr/bin/env python3
"""verify: true: what a run wrote is read back before it appears, and whatever is wrong with it is found."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, Suite, check, check_left_alone, command, find_key, minimum_bytes,  # noqa: E402
                     rechunk, sluice, tree)

import numpy as np  # noqa: E402
import zarr  # noqa: E402

import inputs  # noqa: E402

BACKENDS = ["threads"] if SANITIZER == "thread" else ["uring", "threads"]
QUIET = ["--progress", "none", "--verify"]
# Of every kind: the source's shape and chunks, and flags.
PLANS = [
    ("direct", "20,181,360", "1,181,360", ["--chunks", "20,64,64", "--plan", "direct"]),
    ("split", "20,181,360", "1,181,360", ["--chunks", "20,32,32", "--plan", "split"]),
    ("passes", "20,181,360", "1,181,360", ["--chunks", "20,32,32", "--plan", "passes"]),
    ("ranged-write", "20,181,360", "3,181,360", ["--chunks", "20,181,100", "--codec", "none", "--plan", "ranged-write"]),
    ("carry", "8,721,720", "4,300,300", ["--chunks", "5,256,256", "--plan", "carry"]),
    ("slices", "8,541,720", "3,150,170", ["--chunks", "all,all,all", "--codec", "zlib:1"]),
    ("stream", "8,541,720", "8,541,720", ["--chunks", "1,541,720"]),
]


def digest(path):
    return find_key(sluice("digest", path, "--json").expect(0).json(), "digest")


def staged_chunks(directory):
    """The longest first: their last bytes matter."""
    return sorted((p for p in (directory / "out.zarr.sluice-partial").rglob("*") if p.is_file() and p.name[0].isdigit()),
                  key=lambda p: -p.stat().st_size)


def staged_chunk(directory):
    return staged_chunks(directory)[0]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class Stopped:
    """A run that waits at a place, for what is done to its files there."""

    def __init__(self, place, source, target, *flags):
        self.process = subprocess.Popen(command("rechunk", source, target, *flags), stdin=subprocess.DEVNULL,
                                        env={**ENVIRONMENT, "SLUICE_DIE_AT": f"{place}:1:stop"},
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        check(os.WIFSTOPPED(status), f"did not stop at {place}: {status}")

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out.decode(), err.decode()


def killed(place, source, target, *flags):
    done = subprocess.run(command("rechunk", source, target, *flags), capture_output=True, timeout=120,
                          env={**ENVIRONMENT, "SLUICE_DIE_AT": place})
    check(done.returncode == -signal.SIGKILL, f"did not die at {place}\n{done.stderr.decode()}")


def test_verify__holds_for_every_plan_and_names_the_digest(directory):
    for number, (name, shape, chunks, flags) in enumerate(PLANS):
        whole_chunks = name not in ("ranged-write", "slices")
        source = inputs.generate(directory / f"{name}.zarr", shape, chunks)
        if name == "stream":        # of zstd only a beginning can be decoded
            rechunk(source, directory / "in.zarr", "--codec", "zstd:1", "--progress", "none").expect(0)
            source = directory / "in.zarr"
        wanted = digest(source)
        least = ["--memory", minimum_bytes(source, directory / "out.zarr", *flags, "--verify") + (1 << 20)]
        plain = rechunk(source, directory / "plain.zarr", *flags, *least, "--json").expect(0).json()
        check(find_key(plain["run"], "verify") is None, "verified without being asked")
        backends = [(backend, beside) for beside in (False, True) for backend in BACKENDS]
        for backend, beside in backends if number < 2 else backends[number % len(BACKENDS)::len(BACKENDS)]:
            memory = ["--memory", "64MiB", *(["--durable"] if number % 2 else [])] if beside else least
            run = rechunk(source, directory / "out.zarr", *flags, *memory, *QUIET, "--io", backend, "--json")
            whole = run.expect(0, "verified: the output, read back", wanted).json()
            report = whole["run"]
            check(whole["plan"]["verify"]["beside"] == (beside and whole_chunks), name, memory, whole["plan"])
            check(report["verify"]["digest"] == wanted, name, report["verify"])
            check(not report["verify"]["input_read_again"], f"{name}: read the input again")
            check(beside or report["counters"]["source_read_bytes"] == plain["run"]["counters"]["source_read_bytes"],
                  f"{name}: what was read back counts as input")
            check(report["verify"]["read_bytes"] == report["counters"]["target_write_bytes"] or not whole_chunks,
                  f"{name}: not every byte was read back once", report)
            check(SANITIZER or report["usage"]["rss_peak_bytes"] <= report["usage"]["memory_bytes"], name, report["usage"])
            for stage in whole["plan"]["stages"]:
                held = sum(line["chosen_bytes"] for line in stage["memory"])
                check(held <= report["usage"]["memory_bytes"], f"{name}: the lines come to {held}", stage["memory"])
            read_beside = [line["what"] for line in whole["plan"]["stages"][-1]["memory"] if line["what"].startswith("verify:")]
            check(bool(read_beside) == (beside and whole_chunks), name, read_beside)
            check(tree(directory / "out.zarr") == tree(directory / "plain.zarr"), f"{name}: other bytes")
            shutil.rmtree(directory / "out.zarr")
        shutil.rmtree(directory / "plain.zarr")


def test_verify__holds_where_chunks_are_missing_and_the_fill_value_is_not_zero(directory):
    array = zarr.create_array(str(directory / "in.zarr"), shape=(20, 90, 70), chunks=(7, 30, 11), dtype="f4", fill_value=3.5)
    rng = np.random.default_rng(5)
    array[:] = rng.random((20, 90, 70), dtype="f4")
    for place in rng.permutation([p for p in (directory / "in.zarr" / "c").rglob("*") if p.is_file()])[:25]:
        place.unlink()
    for flags in (["--plan", "direct"], ["--plan", "split"], ["--plan", "direct", "--format", "zarr2"], ["--codec", "none"]):
        run = rechunk(directory / "in.zarr", directory / "out.zarr", "--chunks", "11,13,17", *flags, *QUIET, "--json")
        report = run.expect(0, "verified").json()["run"]
        check(report["verify"]["digest"] is None and "digest" not in run.err, "not that of `sluice digest`")
        check(np.array_equal(inputs.values(directory / "out.zarr"), array[:]), flags)
        shutil.rmtree(directory / "out.zarr")


def exchange(a, b):
    a_bytes, b_bytes = a.read_bytes(), b.read_bytes()
    check(a_bytes != b_bytes, "nothing to exchange")
    a.write_bytes(b_bytes)
    b.write_bytes(a_bytes)


# What is done to what was written, before it is read back, and what is said of it.
HARM = [
    (["--codec", "none"], lambda chunks: flip(chunks[0], -7), ["does not hold the input's values", "begins at ("]),
    (["--codec", "none"], lambda chunks: exchange(chunks[0], chunks[1]), ["does not hold the input's values"]),
    (["--codec", "zstd:1"], lambda chunks: flip(chunks[0], -7), ["the output, read back"]),
    (["--codec", "blosc:lz4:5:shuffle", "--plan", "split"], lambda chunks: flip(chunks[0], -7), ["the output, read back"]),
    (["--codec", "lz4", "--plan", "split"], lambda chunks: chunks[0].unlink(), ["does not hold the input's values"]),
    (["--codec", "lz4"], lambda chunks: exchange(chunks[0], chunks[1]), ["does not hold the input's values"]),
]


def check_harm_is_found(directory, source, place, harm, words, flags):
    target = directory / "out.zarr"
    run = Stopped(place, source, target, *flags)
    harm(staged_chunks(directory))
    status, _, err = run.go_on()
    check(status == 5, f"exit {status}\n{err}")
    check(all(word in err for word in words) and "--restart" in err, err)
    check(not target.exists(), "published all the same")
    rechunk(source, target, *flags).expect(5, "read back", "--restart")
    rechunk(source, target, *flags, "--restart").expect(0, "verified")
    sluice("verify", source, target).expect(0)
    check_left_alone(directory, "in.zarr", "out.zarr")
    shutil.rmtree(target)


def test_verify__finds_a_chunk_that_is_damaged_lost_or_another_and_publishes_nothing(directory):
    source = inputs.generate(directory / "in.zarr", "20,91,180", "1,91,180")
    for number, (flags, harm, words) in enumerate(HARM):
        flags = ["--chunks", "20,32,32", *flags]
        check_harm_is_found(directory, source, "before-read-back", harm, words,
                            [*flags, "--memory", "64MiB", "--io", BACKENDS[number % len(BACKENDS)], *QUIET])
        if number % 2 == 0:
            least = minimum_bytes(source, directory / "out.zarr", *flags, "--verify")
            check_harm_is_found(directory, source, "before-verify", harm, words, [*flags, "--memory", least, *QUIET])


def test_verify__finds_it_while_the_stage_still_writes_and_goes_on_from_there(directory):
    source, target = inputs.generate(directory / "in.zarr", "20,721,720", "1,721,720"), directory / "out.zarr"
    flags = ["--chunks", "20,32,32", "--codec", "zstd:1", "--memory", "28MiB", *QUIET]
    plan = rechunk(source, target, *flags, "--dry-run", "--json").expect(0).json()
    check(plan["verify"]["beside"] and plan["stages"][-1]["tasks"] > 3, plan["stages"])
    for more in ([], ["--durable"]):        # a task is open when it is written, and not before
        rechunk(source, target, *flags, *more).expect(0, "verified")
        shutil.rmtree(target)
    run = Stopped("before-read-back", source, target, *flags)
    first = min(staged_chunks(directory), key=lambda p: p.stat().st_mtime_ns)
    whole = first.read_bytes()
    first.write_bytes(whole[:len(whole) // 2])
    status, _, err = run.go_on()
    check(status == 5 and "read back" in err and first.name in err, f"exit {status}\n{err}")
    check(not target.exists(), "published all the same")
    first.write_bytes(whole)
    report = rechunk(source, target, *flags, "--json").expect(0, "verified").json()["run"]
    check(report["verify"]["input_read_again"], report["verify"])
    check(report["continued_percent"] < 100, "the damage was found only when all was written")
    sluice("verify", source, target).expect(0)


def test_verify__reads_the_metadata_back_too(directory):
    source, target = inputs.generate(directory / "in.zarr", "20,91,180", "1,91,180"), directory / "out.zarr"
    for old, new, word in (('"<f4"', '"<f8"', "dtype"), ("180", "181", "shape"), ("lz4", "zstd", "codec"), ("{", "", "metadata")):
        run = Stopped("before-verify", source, target, "--chunks", "20,32,32", *QUIET)
        place = directory / "out.zarr.sluice-partial" / ".zarray"
        place.write_text(place.read_text().replace(old, new))
        status, _, err = run.go_on()
        check(status == 5 and word in err, f"exit {status}, {word}\n{err}")
        check(not target.exists(), "published all the same")
        sluice("clean", target).expect(0)


def test_verify__reads_the_input_again_after_a_death(directory):
    source, target = inputs.generate(directory / "in.zarr", "20,181,360", "1,181,360"), directory / "out.zarr"
    flags = ["--chunks", "20,32,32", "--codec", "none", "--plan", "split"]
    flags += ["--memory", minimum_bytes(source, target, *flags, "--verify") + (2 << 20), "--progress", "none"]
    wanted = digest(source)
    for place, first in (("after-record:9", []), ("before-stage-end", ["--verify"]), ("before-verify", ["--verify"]),
                         ("before-publish", ["--verify"])):
        killed(place, source, target, *flags, *first)
        report = rechunk(source, target, *flags, "--verify", "--json").expect(0, "the input read again for it").json()["run"]
        check(report["verify"]["input_read_again"] and report["verify"]["digest"] == wanted, place, report["verify"])
        check(SANITIZER or report["usage"]["rss_peak_bytes"] <= report["usage"]["memory_bytes"], report["usage"])
        shutil.rmtree(target)
    killed("before-verify", source, target, *flags, "--verify")
    flip(staged_chunk(directory), 4711)
    rechunk(source, target, *flags, "--verify").expect(5, "does not hold the input's values")
    check(not target.exists(), "published all the same")


def test_verify__says_that_it_came_too_late(directory):
    source, target = inputs.generate(directory / "in.zarr", "20,91,180", "1,91,180"), directory / "out.zarr"
    killed("after-publish", source, target, "--chunks", "20,32,32", "--progress", "none")
    done = rechunk(source, target, "--chunks", "20,32,32", *QUIET).expect(0, "not read back now")
    check("verified:" not in done.err, done.err)


def test_verify__counts_a_slab_that_is_made_again_once(directory):
    source, target = inputs.generate(directory / "in.zarr", "20,181,360", "1,181,360"), directory / "out.zarr"
    flags = ["--chunks", "20,32,32", "--plan", "split"]
    flags += ["--memory", minimum_bytes(source, target, *flags, "--verify") + (2 << 20), *QUIET, "--json"]
    run = Stopped("before-stage-end", source, target, *flags)
    with open(directory / "out.zarr.sluice-scratch", "r+b") as scratch:
        scratch.write(os.urandom(4096))
    status, out, err = run.go_on()
    check(status == 0 and "made again" in err and "verified:" in err, f"exit {status}\n{err}")
    check('"input_read_again": false' in out, out[-600:])


def test_verify__runs_in_the_least_memory_and_refuses_less(directory):
    source, target = inputs.generate(directory / "in.zarr", "8,721,1440", "1,721,1440"), directory / "out.zarr"
    flags = ["--chunks", "1,721,1440", "--codec", "lz4"]
    least = minimum_bytes(source, target, *flags, "--verify")
    run = rechunk(source, target, *flags, "--memory", least, *QUIET, "--json").expect(0, "verified").json()["run"]
    check(SANITIZER or run["usage"]["rss_peak_bytes"] <= least, run["usage"], least)
    shutil.rmtree(target)
    refusal = rechunk(source, target, *flags, "--memory", least - 4096, *QUIET, "--json").expect(3)
    check(find_key(refusal.json(), "need_bytes") == least, refusal)


if __name__ == "__main__":
    suite = Suite("verify")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
