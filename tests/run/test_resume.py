#!/usr/bin/env python3
"""Runs that die, at every named place and at any time, and are gone on with: the same bytes as if nothing had happened,
never half a target, nothing left behind.

SLUICE_KILLS: about how many kills (20)."""
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, Skip, Suite, check, check_left_alone, command, find_key,  # noqa: E402
                     minimum_bytes, rechunk, sluice, tree)

import inputs  # noqa: E402
import numcodecs  # noqa: E402
import numpy  # noqa: E402
import zarr  # noqa: E402
from test_stops import tiny_ext4  # noqa: E402

KILLS = int(os.environ.get("SLUICE_KILLS", 20))
RANDOM = random.Random(int(os.environ.get("SLUICE_SEED", 7)))
BACKENDS = ["threads"] if SANITIZER == "thread" else ["uring", "threads"]
FLAVOURS = [[], ["--durable"], ["--verify"], ["--durable", "--verify"]]
PLACES = ["after-stage", "before-header", "after-header", "before-stages", "before-index", "before-record", "torn-record",
          "after-record", "before-stage-end", "before-discard", "after-discard", "before-verify", "before-committing", "before-publish",
          "after-exchange", "after-publish", "after-note", "after-journal"]
CHUNKS = ["--chunks", "20,32,32", "--codec", "zstd:1", "--progress", "none"]


class Case:
    """One request and what it must come to."""

    kills_of_all = 0

    def __init__(self, directory, plan, overwrite=False):
        self.directory, self.overwrite = directory, overwrite
        shared, self.target = directory.parent / "shared", directory / "out.zarr"
        self.source = shared / "in.zarr"
        if not shared.exists():
            shared.mkdir()
            inputs.generate(self.source, "40,361,360", "1,361,360")
            rechunk(self.source, shared / "ref.zarr", *CHUNKS).expect(0)
            inputs.small(shared / "old.zarr")
        self.wanted, self.old = tree(shared / "ref.zarr"), tree(shared / "old.zarr")
        self.kills, self.beside = 0, []
        # Little memory, so that there are many slabs and buckets (or boxes), and segments go to the file.
        self.flags = [*CHUNKS, "--plan", plan, "--memory", minimum_bytes(self.source, self.target, *CHUNKS, "--plan", plan)
                      + (2 << 20)]

    def begin(self):
        if self.overwrite:
            shutil.copytree(self.target.parent.parent / "shared" / "old.zarr", self.target)

    def argv(self, *flags):
        return command("rechunk", self.source, self.target, *self.flags, *(["--overwrite"] if self.overwrite else []),
                       *flags)

    def again(self, *flags, **keywords):
        """The same command, for what it says."""
        done = rechunk(self.source, self.target, *self.flags, *flags, **keywords)
        self.said = done.out + done.err
        return done

    def run_into_the_merge(self):
        check(self.run(place="before-stage-end"), "did not die after the split")
        check(self.run(place="after-record:5"), "did not die in the merge")

    def run(self, *flags, place=None, seconds=None):
        """True: it died, and not on its way out. What is at the target meanwhile is whole: the old one, or the new."""
        process = subprocess.Popen(self.argv(*flags), env={**ENVIRONMENT, **({"SLUICE_DIE_AT": place} if place else {})},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if seconds is not None:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        self.said = "".join(stream.decode() for stream in process.communicate(timeout=120))
        died = process.returncode == -signal.SIGKILL
        check(died or process.returncode == 0, f"exit {process.returncode} at {place or seconds}\n{self.said}")
        self.kills += died
        Case.kills_of_all += died
        if died:
            self.check_target(f"after {place or seconds}")
        return died and not self.is_over()

    def is_over(self):
        return self.target.exists() and tree(self.target) == self.wanted and not list(self.target.parent.glob("*.sluice-*"))

    def check_target(self, when):
        if not self.target.exists():
            check(not self.overwrite, f"the target is gone {when}")
            return
        found = {name: data for name, data in tree(self.target).items() if not name.startswith(".sluice-")}
        check(found == self.wanted or (self.overwrite and found == self.old), f"half a target {when}")

    def check_done(self, when, made_again=False):
        """A slab that cannot be read is made again, which hides what spoilt it: said only where the test did damage."""
        check(tree(self.target) == self.wanted, f"other bytes {when}\n{self.said}")
        check(("made again" in self.said) == made_again, f"made again, or not, {when}\n{self.said}")
        check_left_alone(self.directory, "out.zarr", *self.beside)
        shutil.rmtree(self.target)


def dies_at_every_place(plan, overwrite):
    def test(directory):
        case = Case(directory, plan, overwrite)
        for number, place in enumerate(PLACES):
            flags = ["--io", BACKENDS[number % len(BACKENDS)]]
            case.begin()
            if case.run(*flags, place=f"{place}:{RANDOM.randint(1, 6)}" if "record" in place else place):
                case.run("--io", BACKENDS[0])
            case.check_done(f"after {place}")
        check(case.kills >= len(PLACES) - 3, f"died only {case.kills} times")
    test.__name__ = f"test_resume__{plan}{'_overwriting' if overwrite else ''}_goes_on_from_every_place"
    return test


def dies_at_random(plan, overwrite, kills):
    def test(directory):
        case = Case(directory, plan, overwrite)
        begun = time.monotonic()
        case.begin()
        case.run()
        case.check_done("undisturbed")
        whole = time.monotonic() - begun
        while case.kills < kills:
            case.begin()
            when = []
            for _ in range(RANDOM.randint(1, 5)):
                flags = ["--io", RANDOM.choice(BACKENDS), "--threads", RANDOM.choice([2, 3]), *RANDOM.choice(FLAVOURS)]
                if RANDOM.random() < 0.5:
                    seconds, place = RANDOM.uniform(0, whole), None
                else:
                    seconds, place = None, f"{RANDOM.choice(PLACES)}:{RANDOM.randint(1, 12)}"
                when.append((seconds or place, flags))
                died = case.run(*flags, seconds=seconds, place=place)
                if not died:
                    break
            else:
                case.run(*RANDOM.choice(FLAVOURS))
            case.check_done(f"after {when}")
    test.__name__ = f"test_resume__{plan}{'_overwriting' if overwrite else ''}_goes_on_after_{kills}_kills_at_any_time"
    return test


def test_resume__says_how_much_is_done_and_does_not_do_it_again(directory):
    case = Case(directory, "split")
    check(case.run(place="after-record:12"), "did not die")
    check(not case.run("--json"), "died")
    check("continuing:" in case.said and "% done" in case.said, case.said)
    shutil.rmtree(case.target)
    check(case.run(place="before-committing"), "did not die")
    report = case.again("--json").expect(0, "continuing: 100 % done").json()
    check(find_key(report, "continued_percent") == 100, report["run"])
    check(find_key(report, "source_read_bytes") == 0, "read the input again")
    check(report["run"]["predicted_seconds"] == 0 and "predicted 0.00 s for what was left)" in case.said, case.said)
    check(not any("is gone" in note for note in report["run"]["notes"]), report["run"]["notes"])
    case.check_done("when everything was done")


def test_resume__goes_on_with_other_threads_memory_and_back_end(directory):
    case = Case(directory, "split")
    case.flags += ["--threads", 2]
    for flags in (["--threads", 4, "--io", "threads"], ["--threads", 1, "--io", BACKENDS[0]]):
        check(case.run(place="after-record:9"), "did not die")
        done = rechunk(case.source, case.target, *CHUNKS, "--memory", "64MiB", *flags).expect(0, "continuing:")
        case.said = done.out + done.err
        case.check_done(flags)


def test_resume__refuses_less_memory_than_its_plan_needs(directory):
    case = Case(directory, "split")
    check(case.run(place="after-record:9"), "did not die")
    refusal = rechunk(case.source, case.target, *CHUNKS, "--memory", case.flags[-1] - (2 << 20)).expect(3, "--restart")
    check("raise memory to" in refusal.err, refusal)
    case.run()
    case.check_done("with enough again")


def test_resume__refuses_another_request_and_says_what_differs(directory):
    case = Case(directory, "split")
    check(case.run(place="after-record:9"), "did not die")
    rechunk(case.source, case.target, "--chunks", "16,32,64", "--memory", "20MiB").expect(
        6, "output's chunks then: 20,32,32", "output's chunks now: 16,32,64", "--restart", "sluice clean")
    said = rechunk(case.source, case.target, "--chunks", "20,32,32", "--codec", "lz4", "--memory", "20MiB").expect(
        6, "output's codec then: zstd:1", "output's codec now: lz4:1\n").err
    check("typesize" not in said and "blocks" not in said, said)
    said = rechunk(case.source, case.target, "--chunks", "20,32,32", "--codec", "blosc", "--memory", "20MiB").expect(
        6, "output's codec then: zstd:1\n", "output's codec now: blosc:lz4").err
    check("typesize" not in said and "blocks" not in said and "frames" not in said, said)
    started_over = rechunk(case.source, case.target, "--chunks", "20,32,32", "--codec", "lz4", "--memory", "20MiB", "--restart")
    started_over.expect(0, "note: removed '")
    check("warning" not in started_over.err, started_over)
    check_left_alone(directory, "out.zarr")


def test_resume__refuses_a_source_that_changed_and_names_the_chunk(directory):
    case = Case(directory, "split")
    check(case.run(place="after-record:9"), "did not die")
    chunk = case.source / "0.0.0"
    kept = chunk.stat()
    chunk.write_bytes(chunk.read_bytes())
    case.again().expect(6, "is not what it was", "0.0.0", "--restart")
    check("continuing" not in case.said and "plan:" not in case.said, f"said that it goes on\n{case.said}")
    os.utime(chunk, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    case.run()
    case.check_done("with the source as it was")
    check(case.run(place="after-record:9"), "did not die")
    data = chunk.read_bytes()
    chunk.unlink()
    case.again().expect(6, "is not what it was")
    chunk.write_bytes(data)
    case.again().expect(6, "is not what it was")
    case.again("--restart").expect(0)
    case.check_done("started over")


def test_resume__keeps_finished_chunks_when_the_scratch_is_gone(directory):
    case = Case(directory, "split")
    case.run_into_the_merge()
    before = {p.name: p.stat().st_ino for p in (directory / "out.zarr.sluice-partial").iterdir() if p.name[0].isdigit()}
    (directory / "out.zarr.sluice-scratch").unlink()
    case.again().expect(0, "is gone", "finished chunks of the output are kept")
    after = {p.name: p.stat().st_ino for p in case.target.iterdir()}
    kept = sum(after[name] == inode for name, inode in before.items())
    check(before and kept >= len(before) // 2, f"{kept} of {len(before)} finished chunks were kept")
    case.check_done("without the scratch", made_again=True)


def test_resume__of_chunks_too_big_to_be_held_goes_on_in_the_second(directory):
    source = inputs.small(directory / "in.zarr", shape=(2, 2048, 2100), chunks=(1, 2048, 2100),
                          compressors=numcodecs.Zstd(3))
    flags = ["--chunks", "2,128,128", "--plan", "split", "--progress", "none", "--threads", "2"]
    rechunk(source, directory / "ref.zarr", *flags).expect(0)
    flags += ["--memory", minimum_bytes(source, directory / "out.zarr", *flags) + (1 << 20)]
    check(" slices" in rechunk(source, directory / "out.zarr", *flags, "--dry-run").expect(0).out, "no chunk is streamed")
    for place in ("after-record:2", "before-stage-end"):
        died = subprocess.run(command("rechunk", source, directory / "out.zarr", *flags), capture_output=True,
                              env={**ENVIRONMENT, "SLUICE_DIE_AT": place}).returncode
        check(died == -signal.SIGKILL, f"did not die but said {died}")
        rechunk(source, directory / "out.zarr", *flags).expect(0, "continuing:")
        check(tree(directory / "out.zarr") == tree(directory / "ref.zarr"), f"other bytes after {place}")
        shutil.rmtree(directory / "out.zarr")


def damage(path, offset, length):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(length))


def test_resume__makes_a_damaged_slab_again_and_says_so(directory):
    case = Case(directory, "split")
    check(case.run(place="before-stage-end"), "did not die")        # the split is done
    damage(directory / "out.zarr.sluice-scratch", 0, 4096)
    done = case.again("--json").expect(0).json()
    check(any("made again" in note for note in done["run"]["notes"]), done["run"]["notes"])
    case.check_done("with a damaged slab", made_again=True)
    check(case.run(place="before-stage-end"), "did not die")
    damage(directory / "out.zarr.sluice-scratch", 0, 4096)
    check(case.run(place="before-index"), "made nothing again")
    case.run()
    case.check_done("dead while a damaged slab was made again: the journal knows that it was lost")


def test_resume__finds_one_bit_of_a_block_that_is_stored_as_it_is(directory):
    """Noise does not shrink, so no decoder would tell."""
    case = Case(directory, "split")
    case.source = inputs.generate(directory / "noise.zarr", "40,181,360", "1,181,360", "--field", "random")
    case.beside = ["noise.zarr"]
    rechunk(case.source, directory / "ref.zarr", *CHUNKS).expect(0)
    case.wanted = tree(directory / "ref.zarr")
    shutil.rmtree(directory / "ref.zarr")
    check(case.run(place="before-stage-end"), "did not die")
    with open(directory / "out.zarr.sluice-scratch", "r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    case.again().expect(0, "made again from the input: a block of ")
    case.check_done("with a flipped bit", made_again=True)


def test_resume__makes_a_damaged_slab_of_a_further_pass_again_while_it_runs(directory):
    """What that slab was made of was given back (or not, where there is room): no other command is needed."""
    case = Case(directory, "passes")
    process = subprocess.Popen(case.argv("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-stage-end:2:stop"})
    check(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), "two splits were not made")
    scratch = directory / "out.zarr.sluice-scratch"
    with open(scratch, "rb") as file:
        end = len(file.read().rstrip(bytes(1)))
    damage(scratch, end * 3 // 4, 100)
    process.send_signal(signal.SIGCONT)
    out, case.said = process.communicate(timeout=120)
    check(process.returncode == 0, case.said)
    notes = json.loads(out)["run"]["notes"]
    check(any("was made again" in note for note in notes), notes)
    case.said += out
    case.check_done("with a damaged slab", made_again=True)


def recorded_segments(journal):
    """Where the index of each is, in bytes from the start of scratch, and its length."""
    at = 24
    while at < len(journal):
        payload_bytes, kind = struct.unpack_from("<II", journal, at)
        if kind == 3:
            yield struct.unpack_from("<QQ", journal, at + 24 + 16)
        at += 24 + payload_bytes


def test_resume__an_index_entry_that_says_something_else_is_found_by_its_block(directory):
    """No sum of the index is looked at when it is read; the sum of a block says which block it is and how it is encoded."""
    case = Case(directory, "split")
    memory_bytes = find_key(case.again("--dry-run", "--json").expect(0).json(), "segment_memory_bytes")
    changes = {
        "another place": lambda e, *_: (e[0] + 4096, *e[1:]),
        "another encoding": lambda e, *_: (e[0] ^ 1 << 56, *e[1:]),
        "no encoding at all": lambda e, *_: (e[0] ^ 2 << 56, *e[1:]),
        "less bytes": lambda e, *_: (e[0], e[1] - 1, e[2]),
        "no bytes": lambda e, *_: (e[0], 0, e[2]),
        "nothing": lambda *_: (0, 0, 0),
        "another sum": lambda e, *_: (*e[:2], e[2] ^ 1),
        "the next block": lambda e, after, _: after,
        "the same block of another slab": lambda e, _, other: other,
    }
    for what, change in changes.items():
        check(case.run(place="before-stage-end"), "did not die")
        segments = list(recorded_segments((directory / "out.zarr.sluice-partial" / ".sluice-journal").read_bytes()))
        with open(directory / "out.zarr.sluice-scratch", "r+b") as file:
            def entries(segment):
                file.seek(segment[0] - memory_bytes)
                return list(struct.iter_unpack("<QII", file.read(segment[1])))
            of_two = [entries(segment) for segment in segments[:2]]
            used = [i for i, (a, b) in enumerate(zip(*of_two)) if a[1] and b[1]]
            check(len(used) > 4, "these are no indexes")
            number, after = used[2], used[3]
            wrong = change(of_two[0][number], of_two[0][after], of_two[1][number])
            check(wrong != of_two[0][number], what)
            file.seek(segments[0][0] - memory_bytes + 16 * number)
            file.write(struct.pack("<QII", *wrong))
        case.again().expect(0)
        case.check_done(f"where an entry says {what}", made_again=True)


def another_boot(directory):
    """A command prefix under which the kernel's boot id is another."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        raise Skip("another boot id needs root and unshare")
    (directory / "boot").write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    script = f'mount --bind {directory / "boot"} /proc/sys/kernel/random/boot_id && exec "$@"'
    prefix = ["unshare", "-m", "--propagation", "slave", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        raise Skip("cannot give a process another boot id here")
    return prefix


def run_with(prefix, case, *flags):
    done = subprocess.run([*prefix, *case.argv("--json", *flags)], env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=120)
    case.said = done.stdout + done.stderr
    check(done.returncode == 0, f"exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)["run"]["notes"]


def test_resume__after_another_boot_makes_again_what_was_lost(directory):
    case = Case(directory, "split")
    prefix = another_boot(directory)
    case.run_into_the_merge()
    check(not any("lost" in note for note in run_with(prefix, case)), "lost what was not")
    case.beside = ["boot"]
    case.check_done("after another boot")
    case.run_into_the_merge()
    partial = directory / "out.zarr.sluice-partial"
    first = min((p for p in partial.iterdir() if p.name[0].isdigit()), key=lambda p: p.stat().st_mtime_ns)
    first.write_bytes(bytes(first.stat().st_size))
    damage(directory / "out.zarr.sluice-scratch", 2 << 20, 512 << 10)
    notes = run_with(prefix, case)
    check(any("slab" in note and "lost" in note for note in notes), notes)
    check(any("some of the output was lost" in note for note in notes), notes)
    case.check_done("after a boot that lost data", made_again=True)
    case.run_into_the_merge()
    scratch = directory / "out.zarr.sluice-scratch"
    zero(scratch, 0, scratch.stat().st_size)
    notes = run_with(prefix, case)
    check(any("lost" in note for note in notes) and not any("of stage" in note for note in notes), notes)
    case.check_done("after a boot that lost the scratch: the indexes, too", made_again=True)


def test_resume__what_a_boot_lost_is_lost_once(directory):
    """It dies again, just when it knows, or after it made some of it again; the run after that goes by the journal, in the
    same boot or in one more."""
    case, prefix = Case(directory, "split"), another_boot(directory)
    case.beside = ["boot"]
    for place, then in (("before-stages", prefix), ("after-record:4", prefix), ("after-record:4", [])):
        case.run_into_the_merge()
        first = min((p for p in (directory / "out.zarr.sluice-partial").iterdir() if p.name[0].isdigit()),
                    key=lambda p: p.stat().st_mtime_ns)
        zero(first, 0, first.stat().st_size)
        damage(directory / "out.zarr.sluice-scratch", 2 << 20, 512 << 10)
        died = subprocess.run([*prefix, *case.argv()], env={**ENVIRONMENT, "SLUICE_DIE_AT": place}, capture_output=True)
        check(died.returncode == -signal.SIGKILL, died.stderr)
        check(not any("lost" in note for note in run_with(then, case)), f"lost again after {place}\n{case.said}")
        case.check_done(f"after a boot that lost data and {place}")


class LongChunks:
    """Three target chunks of 16 MiB in less memory than one of them takes; the last hangs over. Where the fill value 7 lies
    a chunk begins with it."""

    def __init__(self, directory, codec, noise=False):
        self.directory, self.target, self.prefix = directory, directory / "out.zarr", another_boot(directory)
        self.partial = directory / "out.zarr.sluice-partial"
        values = numpy.random.default_rng(7).integers(0, 1 << (32 if noise else 20), (40, 512, 512), "u4")
        values[0:4] = values[16:20] = 7
        array = zarr.create_array(str(directory / "in.zarr"), shape=values.shape, chunks=(1, 512, 512), dtype="u4",
                                  zarr_format=2, fill_value=7, compressors=None)
        array[...] = values
        flags = ["rechunk", directory / "in.zarr"], ["--chunks", "16,512,512", "--codec", codec, "--progress", "none"]
        sluice(*flags[0], directory / "ref.zarr", *flags[1]).expect(0)
        self.wanted = tree(directory / "ref.zarr")
        self.line = [*flags[0], self.target, *flags[1], "--json", "--memory",
                     minimum_bytes(directory / "in.zarr", self.target, *flags[1]) + (256 << 10)]

    def die(self, place):
        died = subprocess.run(command(*self.line), capture_output=True, env={**ENVIRONMENT, "SLUICE_DIE_AT": place})
        check(died.returncode == -signal.SIGKILL, f"did not die but said {died}")

    def after_another_boot(self, what):
        """Its report, once the tree was found to be right."""
        done = subprocess.run([*self.prefix, *command(*self.line)], env=ENVIRONMENT, capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
        check(tree(self.target) == self.wanted, f"other bytes: {what}")
        report = json.loads(done.stdout)
        lost = any("some of the output was lost" in note for note in report["run"]["notes"])
        check(lost == (what is not None), f"{what}: {report['run']['notes']}")
        return report


def zero(path, offset, length):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(length))


def stamp(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def chunks_encoded_as_they_come(codec, noise=False):
    def test(directory):
        case = LongChunks(directory, codec, noise)
        for what, name, offset in ((None, None, 0), ("the head", "1.0.0", 0), ("the end", "1.0.0", -5000),
                                   ("the last", "2.0.0", 70000)):
            case.die("before-committing")
            before = {p.name: stamp(p) for p in case.partial.iterdir()}
            if name:
                zero(case.partial / name, offset % (case.partial / name).stat().st_size, 3000)
                before[name] = None
            case.after_another_boot(what)
            after = {p.name: stamp(p) for p in case.target.iterdir()}
            for chunk in ("0.0.0", "1.0.0", "2.0.0"):
                made_again = name is not None and chunk >= name
                check((before[chunk] != after[chunk]) == made_again, f"{what}: {chunk}, {before}, {after}")
            shutil.rmtree(case.target)
    kind = codec.replace(":", "_") + "_noise" * noise
    test.__name__ = f"test_resume__after_another_boot_{kind}_that_came_in_slices_is_read_again"
    return test


def test_resume__after_another_boot_parts_of_chunks_are_read_again(directory):
    """One frame is one task; it goes on at the first that lost something, in the order of the frames."""
    case, frame = LongChunks(directory, "none"), 512 * 512 * 4
    for place, what, name, offset, good in (
            ("after-record:31", None, None, 0, 30), ("after-record:31", "values", "1.0.0", 9 * frame + 77, 25),
            ("after-record:31", "fill before any value", "1.0.0", 3 * frame, 19),
            ("after-record:31", "fill, and the chunk is not done", "1.0.0", 0, 16),
            ("before-committing", "what hangs over", "2.0.0", 15 * frame + 5, 32),
            ("after-record:31", "nothing, but it is longer", "1.0.0", 16 * frame, 16),
            ("after-record:31", "all of a chunk", "1.0.0", None, 20)):
        case.die(place)
        if name and offset is None:
            (case.partial / name).unlink()
        elif name:
            zero(case.partial / name, offset, 3000)
        read = case.after_another_boot(what)
        wanted = len([n for n in range(good, 40) if n % 16 >= 4 or n >= 32])     # the others are not stored
        check(find_key(read, "chunks_present") == wanted, f"{what}: read {find_key(read, 'chunks_present')}, not {wanted}")
        shutil.rmtree(case.target)


def test_resume__after_another_boot_any_shape_is_read_again(directory):
    """Any order of axes and bytes, hanging over on any axis, values and fill: nothing that is there is called lost, and
    what is lost is found, whichever bytes they are."""
    prefix, took, seed = another_boot(directory), {" slices": 0, "ranged write": 0}, os.environ.get("SLUICE_SEED", 7)
    chance = random.Random(int(seed))       # not how far the tests before this one have come
    for n in range(max(4, KILLS // 12)):
        place = directory / str(n)
        place.mkdir()
        item = chance.choice(["u1", ">u2", "<f4", ">f8"])
        items = (chance.randint(16, 24) << 20) // numpy.dtype(item).itemsize
        shape = [chance.randint(2, 5), chance.randint(300, 700), items // 1500]
        chunk = [chance.randint(1, shape[0]), shape[1] - chance.randint(0, 80), shape[2] - chance.randint(0, 200)]
        chance.shuffle(order := [0, 1, 2])
        shape, chunk = [shape[i] for i in order], [chunk[i] for i in order]
        values = numpy.random.default_rng(n).integers(0, 200, shape).astype(item)
        values[tuple(slice(0, length // chance.randint(1, 6)) for length in shape)] = 9
        array = zarr.create_array(str(place / "in.zarr"), shape=shape, chunks=[max(1, c // 7) for c in chunk], dtype=item,
                                  zarr_format=2, fill_value=chance.choice([0, 9]), compressors=None,
                                  order=chance.choice("CF"))
        array[...] = values
        way = ["--codec", "none", "--plan", "ranged-write"] if n % 2 == 0 else ["--codec", "blosc:lz4"]
        flags = ["--chunks", ",".join(map(str, chunk)), *way, "--progress", "none"]
        rechunk(place / "in.zarr", place / "ref.zarr", *flags).expect(0)
        flags += ["--memory", minimum_bytes(place / "in.zarr", place / "out.zarr", *flags) + (128 << 10)]
        for words in took:
            took[words] += words in rechunk(place / "in.zarr", place / "out.zarr", *flags, "--dry-run").expect(0).out
        line = command("rechunk", place / "in.zarr", place / "out.zarr", *flags, "--json")
        for damages in (False, True):
            at = chance.choice(["before-committing", f"after-record:{chance.randint(2, 12)}"])
            died = subprocess.run(line, capture_output=True, env={**ENVIRONMENT, "SLUICE_DIE_AT": at}).returncode
            if died == 0:                   # there are not so many records
                shutil.rmtree(place / "out.zarr")
                died = subprocess.run(line, capture_output=True,
                                      env={**ENVIRONMENT, "SLUICE_DIE_AT": "after-record:1"}).returncode
            check(died == -signal.SIGKILL, f"did not die at {at} but said {died}")
            chunks = [p for p in (place / "out.zarr.sluice-partial").iterdir() if p.name[0].isdigit()]
            if damages and chunks:
                victim = chance.choice(sorted(chunks))
                zero(victim, chance.randrange(victim.stat().st_size), chance.choice([1, 5000]))
                if chance.random() < 0.2:
                    os.truncate(victim, chance.randrange(victim.stat().st_size))
            done = subprocess.run([*prefix, *line], env=ENVIRONMENT, capture_output=True, text=True)
            what = f"case {n}, seed {seed}, {at}, {shape} in {chunk} {item} {flags}"
            check(done.returncode == 0, f"{what}\n{done.stderr}")
            check(tree(place / "out.zarr") == tree(place / "ref.zarr"), f"other bytes: {what}")
            check(damages or "lost" not in done.stderr, f"{what}\n{done.stderr}")
            shutil.rmtree(place / "out.zarr")
        shutil.rmtree(place)
    check(all(took.values()), took)


def after_another_boot_when_published(overwrite):
    def test(directory):
        case = Case(directory, "direct", overwrite)
        prefix, partial = another_boot(directory), directory / "out.zarr.sluice-partial"
        case.beside = ["boot"]
        for place in ["after-publish", *(["after-exchange", "after-journal"] if overwrite else [])]:
            case.begin()
            check(case.run(place=place), f"did not die at {place}")
            run_with(prefix, case)
            case.check_done(f"after {place} and another boot")
            for lost in ("0.0.0", "0.11.11", ".zarray"):
                case.begin()
                check(case.run(place=place), f"did not die at {place}")
                zero(case.target / lost, 0, 300)
                for _ in range(2):              # and nothing is removed by asking again
                    done = subprocess.run([*prefix, *case.argv()], env=ENVIRONMENT, capture_output=True, text=True)
                    check(done.returncode == 5 and ("has its name, but" in done.stderr or "metadata" in done.stderr),
                          f"exit {done.returncode}, {lost} lost after {place}\n{done.stderr}")
                    check("kept in" not in done.stderr, done.stderr)
                old = {name: data for name, data in tree(partial).items() if not name.startswith(".sluice-")}
                check(old == (case.old if overwrite else {}), "the old output did not stay as it was")
                other = subprocess.run([*prefix, *command("rechunk", case.source, case.target, "--chunks", "20,64,64",
                                                          "--overwrite")], env=ENVIRONMENT, capture_output=True, text=True)
                check(other.returncode == 6 and "nobody has looked" in other.stderr, f"another request\n{other.stderr}")
                case.again("--restart", "--overwrite").expect(0)
                case.check_done(f"made anew, {lost} lost after {place}")
    test.__name__ = f"test_resume__after_another_boot_{'an_old_output_goes_only_when' * overwrite or 'a_run_ends_only_when'}" \
                    "_the_new_one_is_there"
    return test


def test_resume__after_a_sync_a_close_or_a_write_that_failed_everything_is_read_again(directory):
    """In the same boot: what the kernel lost it does not say a second time."""
    target, partial = directory / "out.zarr", directory / "out.zarr.sluice-partial"
    source = inputs.generate(directory / "in.zarr", "4,512,512", "4,8,512")
    for chunks, fault, lost in (("4,4,7", "sync:0:EIO", True), ("4,16,16", "close:700+:EIO", True),
                                ("4,16,16", "write:700:EIO", True), ("4,16,16", "write:700+:EIO", True),
                                ("4,16,16", "openat2:700:EROFS", True), ("4,16,16", "write:700:ENOSPC", False)):
        flags = ["--chunks", chunks, "--plan", "direct", "--progress", "none", "--io", "threads"]
        rechunk(source, directory / "ref.zarr", *flags).expect(0)
        flags += ["--json", "--memory", minimum_bytes(source, target, *flags) + (1 << 20)]
        said = sluice("rechunk", source, target, *flags, fault=fault).expect(5 if lost else 3, "the same command continues").err
        check(("it is read again" in said) == lost, f"{fault}\n{said}")
        first = sorted((p for p in partial.iterdir() if p.name[0].isdigit()), key=lambda p: p.stat().st_mtime_ns)[:3]
        for path in first if lost else []:
            path.write_bytes(bytes(path.stat().st_size))
        notes = rechunk(source, target, *flags).expect(0, "continuing").json()["run"]["notes"]
        check(any("lost where a write failed" in note for note in notes) == lost, notes)
        check(tree(target) == tree(directory / "ref.zarr"), f"other bytes after {fault}")
        shutil.rmtree(target)
        shutil.rmtree(directory / "ref.zarr")


def test_resume__what_may_be_lost_and_can_neither_be_noted_nor_removed_is_said(directory):
    """A file system that met an error of its own and is read-only by now."""
    source, target = inputs.generate(directory / "in.zarr", "4,512,512", "4,8,512"), directory / "out.zarr"
    flags = ["--chunks", "4,16,16", "--plan", "direct", "--progress", "none", "--io", "threads"]
    flags += ["--memory", minimum_bytes(source, target, *flags) + (1 << 20)]
    calls = "write,open,openat2,unlink,rename,renameat2,mkdir,truncate,sync"
    said = sluice("rechunk", source, target, *flags, fault=f"{calls}:1500+:EROFS").expect(5, "could neither be noted").err
    check("sluice clean" in said and "nothing is kept" not in said, said)
    sluice("clean", target).expect(0)
    check(not (directory / "out.zarr.sluice-partial").exists(), "it is still there")


def test_resume__a_full_disk_is_gone_on_with_when_there_is_room(directory):
    source = inputs.generate(directory / "in.zarr", "40,181,360", "1,181,360", "--field", "random")
    flags = ["--chunks", "40,8,8", "--plan", "direct", "--progress", "none"]
    rechunk(source, directory / "ref.zarr", *flags).expect(0)
    flags += ["--memory", minimum_bytes(source, directory / "out.zarr", *flags) + (2 << 20)]
    with tiny_ext4(directory, 16) as disk:
        fill = disk / "fill"
        free = os.statvfs(disk)
        fill.write_bytes(os.urandom(free.f_bavail * free.f_frsize - (6 << 20)))
        rechunk(source, disk / "out.zarr", *flags).expect(3, str(disk), "the same command continues", "sluice clean")
        fill.unlink()
        rechunk(source, disk / "out.zarr", *flags).expect(0, "continuing:")
        check(tree(disk / "out.zarr") == tree(directory / "ref.zarr"), "other bytes")


def test_resume__gives_space_back_only_when_it_is_recorded(directory):
    case = Case(directory, "split")
    case.beside = ["image", "disk"]
    with tiny_ext4(directory, 48) as disk:
        for flags, place in (([], "before-give-back:1"), ([], "before-give-back:7"), ([], "before-stage-end:2"),
                             (["--durable"], "after-give-back")):     # how often it comes by there is a matter of time
            check(case.run("--scratch", disk, *flags, place=place), f"did not die at {place}")
            case.run("--scratch", disk)
            check(tree(case.target) == case.wanted, f"other bytes after {place}")
            check("made again" not in case.said, f"after {place}\n{case.said}")
            check([p.name for p in disk.iterdir() if p.name != "lost+found"] == [], list(disk.iterdir()))
            shutil.rmtree(case.target)


def test_clean__removes_what_a_dead_run_left_and_says_so(directory):
    case = Case(directory, "split")
    check(case.run(place="after-record:9"), "did not die")
    sluice("clean", case.target).expect(0, "out.zarr.sluice-partial", "out.zarr.sluice-scratch")
    check_left_alone(directory)
    sluice("clean", case.target).expect(0, "nothing to remove: there is neither an output", "out.zarr.sluice-partial")
    case.target.mkdir()
    sluice("clean", case.target).expect(0, "nothing to remove: no unfinished run of '", "out.zarr' is there")
    case.target.rmdir()
    pipeline = directory / "p.yaml"
    pipeline.write_text("memory: 20MiB\ninput: ../shared/in.zarr\noutput: {path: out.zarr, chunks: [16, 32, 32]}\n")
    process = subprocess.run(command("run", pipeline), env={**ENVIRONMENT, "SLUICE_DIE_AT": "after-record:2"},
                             capture_output=True)
    check(process.returncode == -signal.SIGKILL, process.stderr)
    sluice("clean", pipeline).expect(0, "out.zarr.sluice-partial")
    check_left_alone(directory, "p.yaml")
    check(case.run(place="after-record:9"), "did not die")
    sluice("clean", f"{case.target}.sluice-partial/").expect(0, "out.zarr.sluice-partial", "out.zarr.sluice-scratch")
    check_left_alone(directory, "p.yaml")


def test_lock__names_who_holds_it_and_since_when(directory):
    source = inputs.big(directory / "in.zarr")
    flags = ["--chunks", "60,64,64", "--codec", "zstd:19", "--memory", "96MiB", "--progress", "none"]
    first = subprocess.Popen(command("rechunk", source, directory / "out.zarr", *flags),
                             env={**ENVIRONMENT, "SLURM_JOB_ID": "4711"}, stderr=subprocess.PIPE)
    try:
        while not (directory / "out.zarr.sluice-partial" / ".sluice-journal").exists():
            check(first.poll() is None, "ended too early")
            time.sleep(0.02)
        for arguments in (("rechunk", source, directory / "out.zarr", *flags), ("clean", directory / "out.zarr")):
            sluice(*arguments).expect(6, "another run is writing", f"process {first.pid} on ", "Slurm job 4711", "since 20")
    finally:
        first.kill()
        first.communicate()


def test_durable__gives_the_same_bytes_and_goes_on(directory):
    case = Case(directory, "split")
    for place in ("after-record:9", "before-publish"):
        check(case.run("--durable", place=place), "did not die")
        case.run("--durable")
        case.check_done(f"durable, after {place}")


if __name__ == "__main__":
    suite = Suite("resume")
    suite.run(*[dies_at_every_place(plan, overwrite) for plan, overwrite in (("split", False), ("direct", True))])
    share = max(2, (KILLS - 12) // 5)
    suite.run(*[dies_at_random(plan, overwrite, share) for plan in ("split", "direct") for overwrite in (False, True)],
              dies_at_random("passes", False, share))
    suite.run(*[chunks_encoded_as_they_come(*how) for how in (("blosc:lz4",), ("blosc:lz4", True), ("zstd:1",))])
    suite.run(*[after_another_boot_when_published(overwrite) for overwrite in (False, True)])
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    print(f"counts: kills={Case.kills_of_all}")
    sys.exit(suite.close())
