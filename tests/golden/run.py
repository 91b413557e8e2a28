#!/usr/bin/env python3
"""Golden tests: what is typed, and exactly what is answered.

    tests/golden/run.py [--refresh] [--sluice PROGRAM] [NAME ...]

A case is NAME.yaml, read by `sluice check NAME.yaml`, or NAME.cmd, whose lines are command lines without the leading
`sluice` (a line that begins with `#` is the case's title). What it must answer is in NAME.err: for each command its
standard error, then `exit STATUS`; standard output, if there is any, comes first, each line after `| `. A first line
`# sluice: ARGUMENTS` in a NAME.yaml replaces `check`, with @ for the file.

One case has no file of its own: synonyms.err is what is answered to every word of other tools, as the key table
(dsl/keys.c) has them: as a key, and as a flag where the key has one.

--refresh writes the answers down instead of comparing: review the difference as you would review code.
Cases run in a new directory that holds the case's file and the arrays made by make_arrays() (metadata only: nothing
is read from them).
"""
import argparse
import difflib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent


def make_arrays(directory):
    array = directory / "in.zarr"
    array.mkdir()
    (array / ".zarray").write_text(json.dumps({
        "zarr_format": 2, "shape": [100, 60, 40], "chunks": [10, 60, 40], "dtype": "<f4", "fill_value": 0.0,
        "order": "C", "filters": None, "dimension_separator": ".",
        "compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}}))
    (array / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": ["time", "latitude", "longitude"]}))
    scalar = directory / "scalar.zarr"
    scalar.mkdir()
    (scalar / "zarr.json").write_text(json.dumps({
        "zarr_format": 3, "node_type": "array", "shape": [], "data_type": "int32", "fill_value": 0, "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}}], "attributes": {},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}}))
    group = directory / "group.zarr"
    for place, shape in (("latitude", [60]), ("longitude", [40]), ("t2m", [100, 60, 40]), ("time", [100])):
        (group / place).mkdir(parents=True)
        (group / place / ".zarray").write_text(json.dumps({"zarr_format": 2, "shape": shape}))
    (group / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    shutil.copytree(group, directory / "folder", ignore=shutil.ignore_patterns(".zgroup"))
    (directory / "deep.yaml").write_text("input: " + "[" * 200000 + "\n")
    (directory / "large.yaml").write_text("# " + "x" * (1 << 20) + "\n")
    (directory / "nul.yaml").write_bytes(b"memory: 1GiB\ninput: a\0b\n")
    (directory / "latin1.yaml").write_bytes(b"input: caf\xe9.zarr\n")
    (directory / "many.yaml").write_text("input: [" + "a,\n" * 100001 + "]\n")
    (directory / "tab.yaml").write_text("output:\n\tpath: out.zarr\n")
    (directory / "empty.yaml").write_text("# nothing\n")
    (directory / "good.yaml").write_text("input: in.zarr\noutput: {path: out.zarr, chunks: {time: all}}\n")
    (directory / "absent-input.yaml").write_text("params: {year: 1979}\nmemory: 1GiB\ninput: era5-$year.zarr\n"
                                                 "output: {path: out.zarr, chunks: {time: all}}\n")
    text = "memory: 1GiB\ninput: in.zarr\noutput:\n  path: 'out\n    .zarr'\n  chunks: {time: none}\n"
    (directory / "bom.yaml").write_bytes(b"\xef\xbb\xbfmemroy: 1GiB\n")
    (directory / "bom-good.yaml").write_bytes(b"\xef\xbb\xbfinput: in.zarr\noutput: out.zarr\n")
    (directory / "crlf.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    (directory / "cr.yaml").write_bytes(text.replace("\n", "\r").encode())
    (directory / "crlf-good.yaml").write_bytes(text.replace("none", "all").replace("\n", "\r\n").encode())
    (directory / "utf16.yaml").write_bytes("input: in.zarr\n".encode("utf-16"))


def commands_of(case, text):
    if case.suffix == ".yaml":
        first = text.split("\n", 1)[0]
        words = first[len("# sluice:"):] if first.startswith("# sluice:") else "check @"
        return [shlex.split(words.replace("@", case.name))]
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    return [shlex.split(line) for line in lines]


# Where the words of a section are typed: there, and where people who write flat files would.
PLACES = {"AT_TOP": ["{}: 1"], "IN_INPUT": ["input: {{path: in.zarr, {}: 1}}"],
          "IN_OUTPUT": ["output: {{path: out.zarr, {}: 1}}", "{}: 1"], "IN_SCRATCH": ["scratch: {{{}: 1}}"],
          "IN_STEP": ["{}: 1", "output: {{path: out.zarr, {}: 1}}"]}


def synonyms():
    """Of each row of the key table: its section, its flag or None, and its words."""
    text = (TREE / "dsl" / "keys.c").read_text()
    rows = re.findall(r"\{ \.section = .*?\" \},\n", text, flags=re.S)
    if len(rows) != text.count("{ .section = "):
        raise SystemExit("golden: dsl/keys.c is not laid out as synonyms() reads it")
    for row in rows:
        option = re.search(r'\.option = "([^"]+)"', row)
        yield (re.search(r"\.section = (\w+)", row).group(1), option and option.group(1),
               re.search(r'\.synonyms = "([^"]*)"', row).group(1).split())


def ask(program, directory, words, text):
    done = subprocess.run([program, *words, "--json"], cwd=directory, env=environment(), input=text.encode(),
                          capture_output=True, timeout=20)
    told = json.loads(done.stdout)
    key = f"{told['key']}: " if told["key"] else ""
    return f"  exit {done.returncode} column {told['column']} {key}{told['message']}; {told['help']}\n"


def answers_to_synonyms(program):
    parts = []
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        make_arrays(directory)
        for section, option, words in synonyms():
            for word in words:
                for place in PLACES[section]:
                    text = place.format(word) + "\n"
                    parts.append(text + ask(program, directory, ["check", "-"], text))
                if option:
                    flag = "--" + word.replace("_", "-")
                    parts.append(f"{flag}\n" + ask(program, directory, ["rechunk", "in", "out", flag, "1"], ""))
    return "".join(parts)


def environment():
    kept = {key: os.environ[key] for key in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if key in os.environ}
    return {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "LC_ALL": "C", "FROM_ENVIRONMENT": "in.zarr", **kept}


def answer_of(program, case):
    if case.stem == "synonyms":
        return answers_to_synonyms(program)
    text = case.read_text()
    parts = []
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        make_arrays(directory)
        shutil.copy(case, directory)
        for words in commands_of(case, text):
            done = subprocess.run([program, *words], cwd=directory, env=environment(), stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=20)
            if len(parts) or case.suffix == ".cmd":
                parts.append("$ sluice " + shlex.join(words) + "\n")
            for line in done.stdout.decode(errors="replace").splitlines():
                parts.append(f"| {line}\n")
            parts.append(done.stderr.decode(errors="replace"))
            parts.append(f"exit {done.returncode}\n")
    return "".join(parts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--refresh", action="store_true")
    parser.add_argument("--sluice", default=str(TREE / "build" / "sluice"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    program = str(pathlib.Path(options.sluice).resolve())
    passed = failed = 0

    if not os.path.exists(program):
        print(f"golden: there is no {program}: run make first")
        return 1
    for case in sorted([*HERE.glob("*.yaml"), *HERE.glob("*.cmd"), HERE / "synonyms"]):
        if options.names and case.stem not in options.names:
            continue
        expected = case.with_suffix(".err")
        got = answer_of(program, case)
        if options.refresh:
            expected.write_text(got)
            passed += 1
        elif not expected.exists():
            print(f"FAILED {case.name}: there is no {expected.name} (--refresh writes it)")
            failed += 1
        elif expected.read_text() == got:
            passed += 1
        else:
            failed += 1
            print(f"FAILED {case.name}")
            sys.stdout.writelines(difflib.unified_diff(expected.read_text().splitlines(True), got.splitlines(True),
                                                       expected.name, "what came"))
    print(f"golden: {passed} passed, {failed} failed, 0 skipped")
    return failed != 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
