#!/usr/bin/env python3
"""What is read again after another boot, beside what test_resume.py damages."""
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import ENVIRONMENT, Suite, check, command, minimum_bytes, rechunk, tree  # noqa: E402

import inputs  # noqa: E402
from test_resume import another_boot  # noqa: E402


def test_boots__the_least_memory_is_enough_to_read_again(directory):
    """Of the smallest arrays, whose stages need less than reading takes where there is more."""
    prefix, source, target = another_boot(directory), inputs.small(directory / "in.zarr"), directory / "out.zarr"
    for plan in (["direct"], ["split"], ["direct", "--codec", "none"]):
        flags = ["--chunks", "12,5,5", "--progress", "none", "--threads", "1", "--plan", *plan]
        rechunk(source, directory / "ref.zarr", *flags).expect(0)
        line = command("rechunk", source, target, *flags, "--memory", minimum_bytes(source, target, *flags))
        for place in ("after-record:2", "before-committing"):
            died = subprocess.run(line, env={**ENVIRONMENT, "SLUICE_DIE_AT": place}, capture_output=True)
            check(died.returncode == -signal.SIGKILL, died)
            done = subprocess.run([*prefix, *line], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
            check(done.returncode == 0 and "continuing" in done.stderr, f"{plan} {place}: {done}")
            check(tree(target) == tree(directory / "ref.zarr"), "other bytes")
            shutil.rmtree(target)
        shutil.rmtree(directory / "ref.zarr")


def test_boots__a_chunk_of_fill_that_was_to_be_written_is_missed(directory):
    """In a sum over its values it adds nothing, and is lost all the same."""
    prefix, source, target = another_boot(directory), directory / "in.zarr", directory / "out.zarr"
    inputs.generate(source, "32,256,256", "1,256,256")
    for frame in range(16, 32):
        (source / f"{frame}.0.0").unlink()
    flags = ["--chunks", "16,256,256", "--codec", "none", "--plan", "ranged-write", "--threads", 1]
    (directory / "p.yaml").write_text(f"input: {source}\noutput:\n  path: {target}\n  chunks: [16, 256, 256]\n  codec: none\n"
                                      "  empty_chunks: write\n")
    line = command("run", directory / "p.yaml", "--plan", "ranged-write", "--progress", "none", "--threads", 1,
                   "--memory", minimum_bytes(source, target, *flags))

    def die(place):
        died = subprocess.run(line, env={**ENVIRONMENT, "SLUICE_DIE_AT": place}, capture_output=True)
        check(died.returncode == -signal.SIGKILL, died)

    die("after-record:2")
    while not (directory / "out.zarr.sluice-partial" / "1.0.0").exists():
        die("after-record:2")
    die("after-record:2")           # that it is there
    die("before-stages")            # what is left over has gone, and that has not
    check((directory / "out.zarr.sluice-partial" / "1.0.0").exists(), "what a record speaks of was taken for a leftover")
    for name in ("0.0.0", "1.0.0"):
        die("before-committing")
        (directory / "out.zarr.sluice-partial" / name).unlink()
        done = subprocess.run([*prefix, *line], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        check(done.returncode == 0 and "some of the output was lost" in done.stderr, f"{name}: {done}")
        found = tree(target)
        check(len(found["0.0.0"]) == len(found["1.0.0"]) == 16 * 256 * 256 * 4, list(found))
        check(not any(found["1.0.0"]) and any(found["0.0.0"]), "other values")
        shutil.rmtree(target)


if __name__ == "__main__":
    suite = Suite("boots")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
