"""What the tests of whole pipelines share: running sluice with a time limit, scratch directories, counting aloud.

A test is a function whose name is a sentence, test_<module>__<what_holds>, taking a fresh directory (pathlib.Path).
    suite = Suite("run")
    suite.run(test_rechunk__refuses_an_output_that_exists, ...)
    sys.exit(suite.close())
It fails by raising (check() or anything else), is skipped by raising Skip("why").

Environment: SLUICE the program (build/sluice), SLUICE_FAULTY the one that heeds SLUICE_FAULT (tests/fault/faults.h),
SLUICE_SAN the sanitizer it was built with ("" none, which also means
that memory is not judged).
"""
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

TREE = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.path.abspath(os.environ.get("SLUICE") or TREE / "build" / "sluice")
SANITIZER = os.environ.get("SLUICE_SAN", "")
FAULTY = os.path.abspath(os.environ["SLUICE_FAULTY"]) if os.environ.get("SLUICE_FAULTY") else None
TIMEOUT_SECONDS = 120 if SANITIZER else 30
# A sanitizer that finds something ends the program with a status of its own.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "exitcode=99:detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1",
               "TSAN_OPTIONS": f"exitcode=99:suppressions={TREE}/tests/tools/tsan.supp", "NO_COLOR": "1"}


class Skip(Exception):
    pass


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(str(w) for w in words) or "not true")


class Result:
    def __init__(self, command, status, out, err):
        self.command, self.status, self.out, self.err = command, status, out, err

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(f"not one JSON document on standard output: {self.out[:500]!r}\n{self}") from None

    def expect(self, status, *words):
        """The exit status, and every word in what it said."""
        check(self.status == status, f"exit {self.status}, not {status}\n{self}")
        for word in words:
            check(str(word) in self.err + self.out, f"does not say {str(word)!r}\n{self}")
        return self

    def __str__(self):
        return f"$ {shlex.join(self.command)}\nexit {self.status}\n{self.out[-2000:]}{self.err[-3000:]}"


def command(*arguments):
    """The thread sanitizer does not see what the kernel's ring orders: there it is always threads."""
    words = [str(a) for a in arguments]
    if SANITIZER == "thread" and "--io" not in words and words[0] in ("run", "plan", "rechunk", "verify", "digest"):
        words += ["--io", "threads"]
    return [SLUICE, *words]


def sluice(*arguments, cwd=None, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL, text=None, before=None, fault=None):
    """`before` runs in the new process (limits, filters). `fault` is a SLUICE_FAULT, for the program that heeds it."""
    argv = command(*arguments)
    environment = ENVIRONMENT
    if fault:
        if not FAULTY:
            raise Skip("no program that heeds SLUICE_FAULT: make test-run builds it")
        argv[0], environment = FAULTY, {**ENVIRONMENT, "SLUICE_FAULT": fault}
    try:
        done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, timeout=timeout, preexec_fn=before,
                              **({"input": text.encode()} if text is not None else {"stdin": stdin}))
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"not done after {timeout} s: {shlex.join(argv)}\n{(late.stderr or b'')[-2000:]}") from None
    result = Result(argv, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    check(result.status in (0, 1, 2, 3, 4, 5, 6, 130, 143), f"crashed\n{result}")
    check("Sanitizer" not in result.err and "runtime error:" not in result.err, f"sanitizer\n{result}")
    return result


def rechunk(source, target, *flags, **keywords):
    return sluice("rechunk", source, target, *flags, **keywords)


def find_key(document, key):
    """The first value of `key` anywhere in a JSON document."""
    if isinstance(document, dict):
        if key in document:
            return document[key]
        document = list(document.values())
    for value in document if isinstance(document, list) else []:
        found = find_key(value, key)
        if found is not None:
            return found
    return None


def minimum_bytes(source, target, *flags):
    """The least budget a rechunk runs in, from the refusal of one that is too small."""
    refusal = rechunk(source, target, *flags, "--memory", 4096, "--json").expect(3)
    need = find_key(refusal.json(), "need_bytes")
    check(isinstance(need, int) and need > 4096, f"no need_bytes in the refusal\n{refusal}")
    return need


def planned(source, target, *flags):
    """The plan's name, and where each of its stages takes elements from and brings them to."""
    plan = rechunk(source, target, *flags, "--dry-run", "--json").expect(0).json()
    return plan["plan"] + ": " + ", ".join(f"{stage['source']} to {stage['sink']}" for stage in plan["stages"])


def tree(path):
    """Every file below `path` and its bytes."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(pathlib.Path(path).rglob("*")) if p.is_file()}


def check_left_alone(directory, *names):
    """Nothing is in the directory but what is named."""
    found = sorted(p.name for p in pathlib.Path(directory).iterdir())
    check(found == sorted(names), f"left behind in {directory}: {found}, wanted {sorted(names)}")


@contextlib.contextmanager
def mounted(place, *options):
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        if subprocess.run(["umount", str(place)], capture_output=True).returncode:
            subprocess.run(["umount", "-l", str(place)], check=False)


@contextlib.contextmanager
def fuse(name, front, **environment):
    """A mount of tests/tools/<name>.c, which is told the rest."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        raise Skip("no /dev/fuse, or not root")
    program = front.parent / name
    if not program.exists():
        built = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-o", program, TREE / "tests" / "tools" / f"{name}.c",
                                "-lfuse3"], capture_output=True, text=True)
        if built.returncode:
            raise Skip(f"libfuse 3 is not there to build with: {built.stderr.splitlines()[-1]}")
    front.mkdir(exist_ok=True)
    process = subprocess.Popen([program, "-f", front], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, **{k: str(v) for k, v in environment.items()}})
    try:
        for _ in range(100):
            if process.poll() is not None:
                raise Skip("this FUSE cannot be mounted here")
            if os.path.ismount(front):
                break
            time.sleep(0.05)
        yield front
    finally:
        subprocess.run(["umount", "-l", str(front)], check=False)
        process.terminate()
        process.wait(timeout=30)


class Suite:
    def __init__(self, name):
        self.name, self.passed, self.failed, self.skipped = name, 0, 0, 0
        base = os.environ.get("SLUICE_TEST_DIR") or TREE / "build" / "test"
        pathlib.Path(base).mkdir(parents=True, exist_ok=True)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
        self.only = sys.argv[1:]

    def run(self, *tests):
        for test in tests:
            name = test.__name__
            if self.only and not any(word in name for word in self.only):
                continue
            directory = self.directory / name
            directory.mkdir()
            start = time.monotonic()
            try:
                test(directory)
                self.passed += 1
            except Skip as why:
                self.skipped += 1
                print(f"skipped {name}: {why}", flush=True)
            except Exception:
                self.failed += 1
                print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
            seconds = time.monotonic() - start
            if seconds > 10:
                print(f"slow: {name} took {seconds:.0f} s", flush=True)
            shutil.rmtree(directory, ignore_errors=True)

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        print(f"{self.name}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed else 0
