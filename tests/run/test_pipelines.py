#!/usr/bin/env python3
"""The examples in pipelines/ run as they are; the library and an installed tree do too."""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, Skip, Suite, TREE, check, check_left_alone, sluice  # noqa: E402

import inputs  # noqa: E402

BUILD = TREE / "build"

USE = r"""
#include <stdio.h>
#include <sluice.h>

int main(int argc, char **argv)
{
    struct sluice *s = sluice_new();
    int status = argc == 3 && s ? 0 : 9;

    if (!status) status = sluice_set(s, "input.path", argv[1]);
    if (!status) status = sluice_set(s, "output.path", argv[2]);
    if (!status) status = sluice_set(s, "output.chunks", "24,16,16");
    if (!status) status = sluice_set(s, "memory", "64MiB");
    if (!status) status = sluice_run(s);
    if (status) fputs(sluice_error(s), stderr);
    sluice_free(s);
    return status;
}
"""


def input_named(directory, name):
    chunks = "24,16,16" if "maps" in name else "1,91,180"
    return inputs.generate(directory / "in.zarr", "24,91,180", chunks)


def example(path):
    def test(directory):
        source = input_named(directory, path.stem)
        words = ("--set", "input=in.zarr", "--set", "output=out.zarr")
        sluice("check", path, *words, cwd=directory).expect(0)
        sluice("run", path, *words, cwd=directory).expect(0)
        sluice("verify", source, directory / "out.zarr").expect(0)
        check_left_alone(directory, "in.zarr", "out.zarr")
    test.__name__ = f"test_pipelines__{path.stem.replace('-', '_')}_runs"
    return test


def make(*words):
    """Apart from a make that may be above us."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "-C", str(TREE), *(str(w) for w in words)], capture_output=True, text=True, env=environment)
    check(done.returncode == 0, done.stdout[-1000:], done.stderr[-2000:])


def test_install__program_and_library_work_where_they_are_put(directory):
    if SANITIZER:
        raise Skip("built once, without a sanitizer")
    make("install", f"DESTDIR={directory}", "PREFIX=/usr")
    usr = directory / "usr"
    source = inputs.generate(directory / "in.zarr", "24,91,180", "1,91,180")
    (directory / "use.c").write_text(USE)
    subprocess.run(["cc", "-Wall", "-Werror", "-I", usr / "include", "-o", directory / "use", directory / "use.c",
                    "-L", usr / "lib", "-lsluice"], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(usr / "lib")}
    subprocess.run([directory / "use", source, directory / "out.zarr"], check=True, env=environment)
    subprocess.run([usr / "bin" / "sluice", "verify", source, directory / "out.zarr"], check=True, capture_output=True)


def test_static__needs_nothing_but_the_kernel(directory):
    if SANITIZER:
        raise Skip("built once, without a sanitizer")
    if os.geteuid() != 0:
        raise Skip("an empty root needs root")
    make("static")
    shutil.copy(BUILD / "static" / "sluice", directory)
    inputs.generate(directory / "in.zarr", "24,91,180", "1,91,180")
    for words in (["rechunk", "/in.zarr", "/out.zarr", "--chunks", "24,16,16", "--memory", "64MiB", "--threads", "2"],
                  ["verify", "/in.zarr", "/out.zarr", "--memory", "64MiB", "--threads", "2"]):
        done = subprocess.run(["chroot", str(directory), "/sluice", *words], capture_output=True, text=True)
        check(done.returncode == 0, words, done.stderr)


if __name__ == "__main__":
    suite = Suite("pipelines")
    suite.run(*[example(path) for path in sorted((TREE / "pipelines").glob("*.yaml"))])
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
