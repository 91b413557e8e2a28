#!/usr/bin/env python3
"""A small job whose process dies before its n-th call of the kernel: in the first run, in one that goes on, while what is
left is removed, while it publishes over an old output. Then the same command: the same bytes, and nothing left. With
syncs or without, verified or not: each run as chance will have it.

SLUICE_FAULTS_EVERY=1 takes every n, else some are taken. SLUICE_SEED: of chance (7)."""
import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, FAULTY, SANITIZER, Skip, Suite, check, check_left_alone, command,  # noqa: E402
                     minimum_bytes, rechunk, sluice, tree)

import inputs  # noqa: E402
import refuse  # noqa: E402

EVERY = bool(os.environ.get("SLUICE_FAULTS_EVERY"))
BACKENDS = ["threads"] if SANITIZER == "thread" else ["threads", "uring"]
KINDS = ("open,openat2,read,write,truncate,fallocate,stat,mkdir,unlink,rename,renameat2,sync,ring,enter,punch,lock,close,"
         "list,thread,link,mount")
CHUNKS = ["--chunks", "12,8,8", "--codec", "none", "--progress", "none", "--threads", "2"]
RANDOM = random.Random(int(os.environ.get("SLUICE_SEED", 7)))
FLAVOURS = [[], ["--durable"], ["--verify"], ["--durable", "--verify"]]     # the last makes the most calls
killed = 0


class Job:
    def __init__(self, directory, *flags):
        if not FAULTY:
            raise Skip("no program that heeds SLUICE_FAULT: make test-run builds it")
        self.directory, self.target = directory, directory / "out.zarr"
        self.partial = directory / "out.zarr.sluice-partial"
        self.source, self.old = directory / "in.zarr", directory / "old.zarr"
        shape = (12, 32, 32) if EVERY else (12, 96, 64)     # half the calls
        inputs.small(self.source, shape=shape, chunks=(1, *shape[1:]))
        inputs.small(self.old)
        rechunk(self.source, directory / "ref.zarr", *CHUNKS).expect(0)
        self.wanted = tree(directory / "ref.zarr")
        need = max(minimum_bytes(self.source, self.target, *CHUNKS, *flags, *flavour) for flavour in FLAVOURS)
        self.argv = command("rechunk", self.source, self.target, *CHUNKS, *flags, "--memory", need + (64 << 10))

    def run(self, call=None, argv=None, flavour=None, kinds=KINDS, before=None):
        """True: it died before that call."""
        global killed
        words = list(argv or [*self.argv, *(flavour if flavour is not None else RANDOM.choice(FLAVOURS))])
        environment = ENVIRONMENT
        if call is not None:
            words[0], environment = FAULTY, {**ENVIRONMENT, "SLUICE_FAULT": f"{kinds}:{call}:kill"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, preexec_fn=before)
        died = done.returncode == -signal.SIGKILL
        check(done.returncode == 0 or (died and call is not None), f"exit {done.returncode}, call {call}\n{words}\n{done.stderr}")
        check("made again" not in done.stdout + done.stderr, f"a slab was spoilt, call {call}\n{words}\n{done.stderr}")
        killed += died
        return died

    def is_complete(self):
        """Nothing is left for the same command, which would say that the output is there."""
        return self.target.exists() and tree(self.target) == self.wanted and not self.partial.exists()

    def check_done(self, when):
        check(tree(self.target) == self.wanted, f"other bytes {when}")
        check_left_alone(self.directory, "in.zarr", "old.zarr", "out.zarr", "ref.zarr")
        shutil.rmtree(self.target)

    def check_whole(self, when, *others):
        if self.target.exists():
            found = {name: data for name, data in tree(self.target).items() if not name.startswith(".sluice-")}
            check(found == self.wanted or found in others, f"half a target {when}")


def next_call(call):
    return call + 1 if EVERY or call < 3 else call + 2 + call // 9


def dies_at(job, call, flavour, begin, argv, others):
    begin()
    died = job.run(call, argv, flavour)
    when = f"after a death at call {call} of {argv or flavour}"
    job.check_whole(when, *others)
    if not job.is_complete():
        job.run()
    job.check_done(when)
    return died


def each_call(job, begin, argv=None, others=()):
    """`begin` makes what there is before; `argv` is what dies (None: the job), and the job ends it."""
    call = 0
    while any(dies_at(job, call, flavour, begin, argv, others) for flavour in (RANDOM.choice(FLAVOURS), FLAVOURS[-1])):
        call = next_call(call)


def dies_in_the_first_run(backend, plan):
    def test(directory):
        each_call(Job(directory, "--io", backend, "--plan", plan), lambda: None)
    test.__name__ = f"test_kills__{plan}_by_{backend}_is_right_after_any_call"
    return test


def test_kills__over_an_old_output_is_right_after_any_call(directory):
    job = Job(directory, "--plan", "direct", "--overwrite")
    each_call(job, lambda: shutil.copytree(job.old, job.target), others=[tree(job.old)])


def test_kills__over_an_old_output_is_right_where_names_cannot_be_exchanged(directory):
    """It is moved aside for a moment; then the output is missing."""
    job = Job(directory, "--plan", "direct", "--overwrite")
    before = refuse.refuse(errno.ENOSYS, *refuse.RENAMEAT2)
    died, call = True, 0
    while died:
        shutil.copytree(job.old, job.target)
        died = job.run(call, flavour=[], kinds="rename,renameat2,unlink", before=before)
        job.check_whole(f"after a death at rename {call}", tree(job.old))
        check(job.target.exists() or (directory / "out.zarr.sluice-aside").exists(), "the old output is gone")
        if not job.is_complete():
            job.run(before=before)
        job.check_done(f"after a death at rename {call}")
        call += 1
    check(call > 6, f"only {call} deaths")


def half_done(job, directory, place="after-record:3"):
    """A directory like the one that a death left; the journal goes by its inode, so it is made anew each time."""
    def begin():
        done = subprocess.run(job.argv, env={**ENVIRONMENT, "SLUICE_DIE_AT": place}, capture_output=True)
        check(done.returncode == -signal.SIGKILL, f"did not die\n{done.stderr.decode()}")
    return begin


def dies_going_on(plan):
    def test(directory):
        job = Job(directory, "--plan", plan)
        each_call(job, half_done(job, directory))
    test.__name__ = f"test_kills__{plan}_that_goes_on_is_right_after_any_call"
    return test


def test_kills__cleaning_is_right_after_any_call(directory):
    job = Job(directory, "--plan", "split")
    each_call(job, half_done(job, directory, "before-committing"), command("clean", job.target))


def test_kills__starting_over_is_right_after_any_call(directory):
    job = Job(directory, "--plan", "split")
    each_call(job, half_done(job, directory, "before-committing"), [*job.argv, "--restart"])


def test_kills__removing_the_old_output_is_right_after_any_call(directory):
    job = Job(directory, "--plan", "direct", "--overwrite")
    begin = half_done(job, directory, "after-exchange")
    each_call(job, lambda: (shutil.copytree(job.old, job.target), begin()))


def test_kills__the_lock_is_held_until_the_old_output_is_gone(directory):
    """By then it has the name under which other runs look for what is left, and the journal."""
    job = Job(directory, "--plan", "direct", "--overwrite")
    shutil.copytree(job.old, job.target)
    with subprocess.Popen(job.argv, env={**ENVIRONMENT, "SLUICE_DIE_AT": "after-journal:1:stop"},
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            check(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), "did not stop")
            sluice(*job.argv[1:]).expect(6, "another run", str(process.pid))
            sluice("clean", job.target).expect(6, "another run")
            job.check_whole("while others looked on")
        except BaseException:
            process.kill()
            raise
        os.kill(process.pid, signal.SIGCONT)
        said = process.communicate(timeout=120)[1].decode()
    check(process.returncode == 0, said)
    job.check_done("while others looked on")


def test_kills__what_had_only_begun_leaves_no_scratch_behind_a_failure(directory):
    """It died before its first record, and the run after it fails at one of its first writes."""
    job = Job(directory, "--plan", "split")
    for write in range(5):
        half_done(job, directory, "before-index:1")()
        failed = subprocess.run([FAULTY, *job.argv[1:]], env={**ENVIRONMENT, "SLUICE_FAULT": f"write:{write}:EIO"},
                                capture_output=True, timeout=60)
        check(failed.returncode == 5, f"exit {failed.returncode}\n{failed.stderr.decode()}")
        job.run()
        job.check_done(f"after a death and a failure at write {write}")


def main():
    suite = Suite("kills")
    suite.run(*(dies_in_the_first_run(backend, plan) for backend in BACKENDS for plan in ("direct", "split")),
              test_kills__over_an_old_output_is_right_after_any_call,
              test_kills__over_an_old_output_is_right_where_names_cannot_be_exchanged, dies_going_on("direct"), dies_going_on("split"),
              test_kills__cleaning_is_right_after_any_call, test_kills__starting_over_is_right_after_any_call,
              test_kills__removing_the_old_output_is_right_after_any_call,
              test_kills__the_lock_is_held_until_the_old_output_is_gone,
              test_kills__what_had_only_begun_leaves_no_scratch_behind_a_failure)
    print(f"counts: kills={killed}")
    return suite.close()


if __name__ == "__main__":
    sys.exit(main())
