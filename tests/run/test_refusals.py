#!/usr/bin/env python3
"""Exit codes, and what is at the target after a refusal: nothing, or just what was there before."""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import (ENVIRONMENT, SANITIZER, SLUICE, Suite, check, check_left_alone, command, minimum_bytes,  # noqa: E402
                     rechunk, sluice, tree)

import inputs  # noqa: E402
import numpy as np  # noqa: E402
import zarr  # noqa: E402

MEMORY = ["--memory", "64MiB"]


def test_help__fits_a_terminal_of_80_columns(directory):
    words = [line.split()[0].rstrip(":") for line in sluice("help", "keys").expect(0).out.splitlines()
             if line.startswith("  ") and line[2].islower()]
    words += ["run", "plan", "check", "rechunk", "info", "verify", "digest", "clean", "help", "--memory", "output.shards"]
    for command in (["help"], ["help", "keys"], *[["help", word] for word in words]):
        for line in sluice(*command).expect(0).out.splitlines():
            check(len(line) <= 80, f"{command}: {len(line)} columns: {line}")


def test_rechunk__gives_the_values_again(directory):
    source = inputs.small(directory / "in.zarr")
    rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", *MEMORY).expect(0)
    check(np.array_equal(inputs.values(source), inputs.values(directory / "out.zarr")))
    check_left_alone(directory, "in.zarr", "out.zarr")


def test_rechunk__keeps_quiet_on_standard_output(directory):
    source = inputs.small(directory / "in.zarr")
    done = rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", *MEMORY).expect(0)
    check(done.out == "", done.out)
    check("done" in done.err, done.err)


def test_rechunk__refuses_an_output_that_exists(directory):
    source = inputs.small(directory / "in.zarr")
    old = inputs.small(directory / "out.zarr", shape=(3, 4, 5), chunks=(3, 4, 5))
    before = tree(old)
    rechunk(source, old, "--chunks", "12,5,7", *MEMORY).expect(6, "out.zarr")
    check(tree(old) == before, "the old output was changed")
    check_left_alone(directory, "in.zarr", "out.zarr")


def test_plan__says_that_the_output_exists(directory):
    source, old = inputs.small(directory / "in.zarr"), inputs.small(directory / "out.zarr")
    (directory / "p.yaml").write_text("input: in.zarr\noutput: {path: out.zarr, chunks: [12, 5, 7]}\n")
    before = tree(directory)
    sluice("plan", directory / "p.yaml").expect(0, "note: '", "out.zarr' is already there", "--overwrite")
    sluice("check", directory / "p.yaml").expect(0, "note: '", "out.zarr' is already there", "right: ")
    notes = rechunk(source, old, "--chunks", "12,5,7", "--dry-run", "--json").expect(0).json()["notes"]
    check(len(notes) == 1 and "already there" in notes[0], notes)
    check("already there" not in str(sluice("plan", directory / "p.yaml", "--overwrite").expect(0)))
    sluice("run", directory / "p.yaml").expect(6, "out.zarr' is already there")
    check(tree(directory) == before, "something was changed")


def test_plan__says_what_a_run_would_make_of_an_unfinished_one(directory):
    """It promises nothing that a run refuses, and changes nothing."""
    source = inputs.small(directory / "in.zarr")
    (directory / "out.zarr.sluice-partial").mkdir()
    (directory / "out.zarr.sluice-partial" / "precious").touch()
    rechunk(source, f"{directory}/out.zarr/", "--chunks", "12,5,7", "-n").expect(
        0, "warning: a run would be refused now: '", "out.zarr.sluice-partial' is in the way")
    shutil.rmtree(directory / "out.zarr.sluice-partial")

    pipeline = directory / "p.yaml"
    text = "input: in.zarr\noutput: {path: out.zarr, chunks: [12, 5, %d]}\nmemory: %s\n"
    pipeline.write_text(text % (7, "64MiB"))
    flags = ["--threads", 1]
    died = subprocess.run(command("run", pipeline, *flags), capture_output=True,
                          env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-committing"}).returncode
    check(died == -signal.SIGKILL, f"did not die but said {died}")
    before = tree(directory)
    for verb in ("plan", "check"):
        said = str(sluice(verb, pipeline, *flags).expect(
            0, "note: '", "out.zarr.sluice-partial' is there", "100 % done, and what is left is predicted to take ", "--restart"))
        check("warning: " not in said, said)
    check(tree(directory) == before, "something was changed")
    stopped = subprocess.Popen(command("run", pipeline, *flags), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**ENVIRONMENT, "SLUICE_DIE_AT": "before-stages:1:stop"})
    try:
        os.waitpid(stopped.pid, os.WUNTRACED)
        said = str(sluice("check", pipeline, *flags).expect(
            0, "warning: a run would be refused now: another run is writing '", f"process {stopped.pid} on "))
        check("an unfinished run" not in said, said)
    finally:
        stopped.kill()
        stopped.wait()

    pipeline.write_text(text % (9, "64MiB"))
    for verb in ("plan", "check"):
        warnings = sluice(verb, pipeline, *flags, "--json").expect(0).json()["warnings"]
        check(len(warnings) == 1 and "was asked for something else; output's chunks then: 12,5,7; output's chunks now: 12,5,9"
              in warnings[0], warnings)
    sluice("run", pipeline, *flags).expect(6, "was asked for something else", "note: output's chunks now: 12,5,9")
    check("a run would be" not in str(rechunk(source, directory / "out.zarr", "--chunks", "12,5,9", "-n", "--restart")))
    sluice("clean", directory / "out.zarr").expect(0)
    check_left_alone(directory, "in.zarr", "p.yaml")


def test_rechunk__refuses_a_file_in_place_of_the_output(directory):
    source = inputs.small(directory / "in.zarr")
    (directory / "out.zarr").write_text("precious")
    rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", *MEMORY).expect(6, "out.zarr")
    check((directory / "out.zarr").read_text() == "precious")


def test_overwrite__replaces_the_whole_array(directory):
    source = inputs.small(directory / "in.zarr")
    old = inputs.small(directory / "out.zarr", shape=(30, 40, 5), chunks=(1, 4, 5))
    rechunk(source, old, "--chunks", "12,5,7", "--overwrite", *MEMORY).expect(0)
    fresh = directory / "fresh.zarr"
    rechunk(source, fresh, "--chunks", "12,5,7", *MEMORY).expect(0)
    check(tree(old) == tree(fresh), "something of the old array is left")
    check_left_alone(directory, "in.zarr", "out.zarr", "fresh.zarr")


def test_overwrite__never_takes_a_group_away(directory):
    source = inputs.small(directory / "in.zarr")
    for version in (2, 3):
        group = zarr.create_group(directory / f"group{version}.zarr", zarr_format=version)
        for name in ("t2m", "deeper/time"):
            group.create_array(name, shape=(4,), chunks=(2,), dtype="i4")[...] = 1
        before = tree(directory)
        for command in (["rechunk", source, group.store.root, "--chunks", "12,5,7", "--overwrite"],
                        ["rechunk", source, group.store.root, "--chunks", "12,5,7", "--overwrite", "--dry-run"]):
            sluice(*command).expect(6, "is a group", "deeper/time", f"group{version}.zarr/")
        check(tree(directory) == before, "something was changed")
        rechunk(source, group.store.root / "t2m", "--chunks", "12,5,7", "--overwrite").expect(0)


def test_overwrite__leaves_the_old_array_when_it_fails(directory):
    source = inputs.small(directory / "in.zarr")
    old = inputs.small(directory / "out.zarr", shape=(3, 4, 5), chunks=(3, 4, 5))
    before = tree(old)
    (source / "5.0.0").write_bytes(b"no frame at all")
    rechunk(source, old, "--chunks", "12,5,7", "--overwrite", *MEMORY).expect(4, "5.0.0")
    check(tree(old) == before, "the old output was changed")
    check_left_alone(directory, "in.zarr", "out.zarr")


def refuses_target(directory, target, source=None):
    source = source or directory / "in.zarr"
    before = tree(directory)
    for flags in ([], ["--overwrite"]):
        result = rechunk(source, target, "--chunks", "12,5,7", *flags, *MEMORY)
        check(result.status in (2, 6), f"exit {result.status}\n{result}")
        check(tree(directory) == before, f"something was changed\n{result}")


def test_rechunk__refuses_an_output_that_is_the_input(directory):
    inputs.small(directory / "in.zarr")
    refuses_target(directory, directory / "in.zarr")
    refuses_target(directory, f"{directory}/./in.zarr/")


def test_rechunk__refuses_an_output_inside_the_input(directory):
    inputs.small(directory / "in.zarr")
    refuses_target(directory, directory / "in.zarr" / "out.zarr")
    (directory / "link").symlink_to(directory / "in.zarr")
    refuses_target(directory, directory / "link" / "out.zarr")


def test_rechunk__refuses_an_output_that_holds_the_input(directory):
    (directory / "outer").mkdir()
    inputs.small(directory / "outer" / "in.zarr")
    refuses_target(directory, directory / "outer", directory / "outer" / "in.zarr")


def test_memory__says_the_exact_minimum(directory):
    source = inputs.small(directory / "in.zarr", shape=(40, 60, 70), chunks=(1, 60, 70))
    for plan in ("direct", "split"):
        flags = ["--chunks", "40,7,7", "--plan", plan]
        least = minimum_bytes(source, directory / "no.zarr", *flags)
        rechunk(source, directory / "no.zarr", *flags, "--memory", least - 1).expect(3)
        check_left_alone(directory, "in.zarr", *(["direct.zarr"] if plan == "split" else []))
        rechunk(source, directory / f"{plan}.zarr", *flags, "--memory", least).expect(0)


def test_command_line__mistakes_exit_2(directory):
    source = inputs.small(directory / "in.zarr")
    target = directory / "out.zarr"
    for flags in (["--chunks", "12,5"], ["--chunks", "0,5,7"], ["--chunks", "twelve,5,7"], ["--chunk", "12,5,7"],
                  ["--chunks", "12,5,7", "--codec", "lzma"], ["--chunks", "12,5,7", "--memory", "lots"],
                  ["--chunks", "12,5,7", "--threads", "0"], ["--chunks", "12,5,7", "--format", "zarr4"],
                  ["--chunks", "nope=3"], ["--chunks", "12,5,7", "--io", "aio"]):
        rechunk(source, target, *flags).expect(2)
    sluice("rechunk", source).expect(2)
    sluice("no-such-command").expect(2)
    check_left_alone(directory, "in.zarr")


def test_command_line__that_is_empty_gets_the_help(directory):
    done = subprocess.run([SLUICE], env=ENVIRONMENT, capture_output=True, text=True)
    check(done.returncode == 2 and done.stdout == "", done)
    check(done.stderr == sluice("help").expect(0, "sluice help COMMAND", "sluice help keys").out, done.stderr)


def test_input__that_is_no_array_is_named(directory):
    target = directory / "out.zarr"
    (directory / "empty").mkdir()
    (directory / "file").write_text("text")
    for name in ("absent", "empty", "file"):
        result = rechunk(directory / name, target, "--chunks", "1", *MEMORY)
        check(result.status in (2, 4, 5), f"exit {result.status}\n{result}")
        check(name in result.err, f"does not name it\n{result}")
    check_left_alone(directory, "empty", "file")


def test_dry_run__makes_nothing(directory):
    source = inputs.small(directory / "in.zarr")
    rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", "--dry-run", *MEMORY).expect(0)
    rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", "-n", "--json", *MEMORY).expect(0).json()
    check_left_alone(directory, "in.zarr")


def test_json__is_one_document_for_refusals_too(directory):
    source = inputs.small(directory / "in.zarr")
    document = rechunk(source, directory / "out.zarr", "--chunks", "nope=3", "--json").expect(2).json()
    check(document.get("schema") == 1, document)
    document = rechunk(source, directory / "out.zarr", "--chunks", "12,5,7", "--json", *MEMORY).expect(0).json()
    check(document.get("schema") == 1, document)


def test_verify__finds_a_difference_and_other_shapes(directory):
    import zarr
    source = inputs.small(directory / "in.zarr")
    other = directory / "other.zarr"
    rechunk(source, other, "--chunks", "12,5,7", *MEMORY).expect(0)
    sluice("verify", source, other).expect(0)
    array = zarr.open_array(str(other), mode="r+")
    array[11, 19, 29] = np.nextafter(array[11, 19, 29], 1e9, dtype="float32")
    sluice("verify", source, other).expect(1)
    inputs.small(directory / "shape.zarr", shape=(12, 20, 31))
    sluice("verify", source, directory / "shape.zarr").expect(1)
    inputs.small(directory / "dtype.zarr", dtype="int32")
    sluice("verify", source, directory / "dtype.zarr").expect(1)


def first_difference(a, b):
    """By bytes: the index in C order, both items, and where they differ."""
    differ = (a.view(np.uint8).reshape(*a.shape, a.itemsize) != b.view(np.uint8).reshape(*a.shape, a.itemsize)).any(-1)
    at = tuple(int(i[0]) for i in np.nonzero(differ))
    return at, a[at], b[at], differ


def test_verify__says_what_the_first_values_are_that_differ_and_how_many_do(directory):
    rng = np.random.default_rng(7)
    for number, (dtype, values) in enumerate([
            ("float32", [np.nan, 1.5, -0.0]), ("float64", [np.inf, 0.1, 2e300]), ("int64", [-2**63, 2**53 + 1, 7]),
            ("uint8", [255, 0, 3]), ("bool", [True, False, True]), ("complex64", [1 - 2j, complex(np.nan, 0), 5])]):
        shape = (40, 60, 70) if number else (60, 300, 500)
        a = zarr.create_array(str(directory / f"a{number}"), shape=shape, chunks=(1, *shape[1:]), dtype=dtype, fill_value=0)
        b = zarr.create_array(str(directory / f"b{number}"), shape=shape, chunks=(shape[0], 13, 17), dtype=dtype,
                              fill_value=values[0], zarr_format=2 if number % 2 else 3)
        data = np.resize(np.array(values, dtype), shape)
        data[3:] = 0                # chunks that are not there
        other = data.copy()
        for place in [(37, 59, 69), *zip(*[rng.integers(20, n - 2, 50) for n in shape])]:
            other[place] = True if dtype == "bool" else rng.integers(1, 100)
        if dtype == "float32":      # the sign of a zero counts
            other[0, 0, 2] = 0.0
        a[:], b[:] = data, other
        at, left, right, differ = first_difference(data, other)
        done = sluice("verify", directory / f"a{number}", directory / f"b{number}", "--memory", "32MiB").expect(1)
        got = sluice("verify", directory / f"a{number}", directory / f"b{number}", "--json").expect(1).json()
        check(got["first_difference"] == list(at), dtype, got, at)
        for name, value in (("a", left), ("b", right)):
            shown = got["values"][name]
            shown = complex(*map(float, shown)) if dtype == "complex64" else shown
            check(np.array(shown, dtype).tobytes() == value.tobytes(), dtype, shown, value)
        near = got["nearby"]
        box = tuple(slice(start, start + n) for start, n in zip(near["start"], near["shape"]))
        check(near["differ"] == np.count_nonzero(differ[box]) and near["elements"] == differ[box].size, dtype, near)
        lines = done.out.splitlines()
        check(len(lines) == 4 and str(list(at)) in lines[0] and lines[1].endswith("/a%d" % number), done.out)
        check(f"{near['differ']} of the " in lines[3], done.out)


V2 = {"zarr_format": 2, "shape": [4, 6], "chunks": [2, 3], "dtype": "<f4", "fill_value": 0, "order": "C", "filters": None,
      "compressor": None}
V3 = {"zarr_format": 3, "node_type": "array", "shape": [4, 6], "data_type": "float32", "fill_value": 0,
      "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
      "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}


def test_refusals__of_what_is_not_read_say_what_to_do(directory):
    cases = [
        (V2, {"compressor": {"id": "bz2", "level": 1}}, ("'bz2' is not supported", "zarr-python", "zstd")),
        (V2, {"filters": [{"id": "delta", "dtype": "<f4"}]}, ("filter 'delta'", "zarr-python", "zstd")),
        (V2, {"dtype": "<M8[s]"}, ("datetime64", "int64", "units")),
        (V2, {"dtype": "<m8[s]"}, ("timedelta64", "int64", "units")),
        (V2, {"dtype": "<U4"}, ("Unicode", "integers, floats")),
        (V2, {"dtype": [["a", "<f4"]]}, ("structure", "integers, floats")),
        (V3, {"data_type": "string"}, ("'string'", "integers, floats")),
        (V3, {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}}}, ("int64", "units")),
        (V3, {"chunk_grid": {"name": "rectangular", "configuration": {}}}, ("'rectangular'", "regular chunks")),
        (V3, {"codecs": [{"name": "sharding_indexed", "configuration": {}}]}, ("not built yet", "no shards")),
        (V3, {"codecs": [*V3["codecs"], {"name": "pcodec", "configuration": {}}]}, ("'pcodec'", "zarr-python", "zstd")),
    ]
    for number, (whole, change, words) in enumerate(cases):
        place = directory / f"in{number}.zarr"
        place.mkdir()
        (place / (".zarray" if whole is V2 else "zarr.json")).write_text(json.dumps({**whole, **change}))
        for command in (["info", place], ["rechunk", place, directory / "out.zarr", "--chunks", "4,6"]):
            sluice(*command).expect(4, "help: ", *words)
    for name, start in (("a.parquet", b"PAR1"), ("a.json", b"{}"), ("a.bin", b"\0\1\2\3")):
        (directory / name).write_bytes(start)
        sluice("info", directory / name).expect(4, "help: ", "Zarr")


def test_verify__needs_what_the_hungrier_array_needs(directory):
    small = zarr.create_array(str(directory / "small"), shape=(60, 512, 512), chunks=(1, 64, 64), dtype="f4")
    large = zarr.create_array(str(directory / "large"), shape=(60, 512, 512), chunks=(60, 128, 128), dtype="f4")
    small[0], large[0] = 1, 1
    needs = []
    for a, b in (("small", "large"), ("large", "small")):
        told = sluice("verify", directory / a, directory / b, "--memory", "1MiB", "--json").expect(3).json()
        needs.append(told["need_bytes"])
        sluice("verify", directory / a, directory / b, "--memory", needs[-1]).expect(0, "the same")
        sluice("verify", directory / a, directory / b, "--memory", needs[-1] - 4096).expect(3)
    check(needs[0] == needs[1], needs)


def test_info__lists_the_arrays_beneath_a_group(directory):
    for version in (2, 3):
        group = zarr.create_group(directory / f"group{version}.zarr", zarr_format=version)
        names = ["deeper/scalar", "höhe", "odd", "t2m"]
        group.create_array("t2m", shape=(20, 30, 40), chunks=(1, 30, 40), dtype="f4", compressors=None)[:7] = 1
        group.create_array("höhe", shape=(30,), chunks=(30,), dtype="f8")[:] = np.arange(30)
        group.create_group("deeper").create_array("scalar", shape=(), dtype="i2")[...] = 3
        group.create_array("odd", shape=(3,), chunks=(2,), dtype="M8[s]")
        group.create_group("empty")
        done = sluice("info", directory / f"group{version}.zarr/").expect(0, "4 arrays", "datetime64")
        check([line.split()[0] for line in done.out.splitlines()[2:]] == names, done.out)
        check("float32  (20,30,40)  (1,30,40)  none " in done.out, done.out)
        lines = [line for line in done.out.splitlines() if "float" in line]
        check(len({line.index("float") for line in lines}) == 1 and len(lines) == 2, done.out)
        told = sluice("info", directory / f"group{version}.zarr", "--json").expect(0).json()
        check([a["name"] for a in told["arrays"]] == names and told["complete"] and told["schema"] == 1, told)
        alone = sluice("info", directory / f"group{version}.zarr" / "t2m", "--json").expect(0).json()
        check({"name": "t2m", **{k: v for k, v in alone.items() if k != "schema"}} == told["arrays"][3], told, alone)
        check("datetime64" in told["arrays"][2]["error"], told["arrays"][2])
        sluice("info", directory / f"group{version}.zarr" / "empty").expect(4, "no array was found in it")


def test_info__does_not_call_a_list_complete_that_is_not(directory):
    group = zarr.create_group(directory / "group.zarr", zarr_format=3)
    for name in ("near", "large"):
        group.create_array(name, shape=(4,), chunks=(2,), dtype="f4")
    metadata = directory / "group.zarr" / "large" / "zarr.json"
    metadata.write_text(metadata.read_text() + " " * (17 << 20))
    told = sluice("info", directory / "group.zarr", "--json").expect(0).json()
    check([a["name"] for a in told["arrays"]] == ["large", "near"] and told["complete"], told)
    check("16MiB" in told["arrays"][0]["error"], told["arrays"][0])
    for name in "abcdef":
        group = group.create_group(name)
    group.create_array("far", shape=(4,), chunks=(2,), dtype="f4")
    sluice("info", directory / "group.zarr").expect(0, "at least 2 arrays")
    check(not sluice("info", directory / "group.zarr", "--json").expect(0).json()["complete"])


def test_overwrite__does_not_replace_a_group_whose_arrays_lie_deep(directory):
    inputs.small(directory / "in.zarr")
    for version in (2, 3):
        for levels in (0, 1, 6):
            root = group = zarr.create_group(directory / f"{version}-{levels}.zarr", zarr_format=version)
            for number in range(levels):
                group = group.create_group(f"g{number}")
            group.create_array("kept", shape=(4,), chunks=(2,), dtype="f4")[:] = 1
            before = tree(root.store.root)
            rechunk(directory / "in.zarr", root.store.root, "--chunks", "12,5,7", "--overwrite").expect(6, "would be one array")
            check(tree(root.store.root) == before, f"{version}, {levels} levels")
    zarr.create_array(directory / "many.zarr", shape=(1100,), chunks=(1,), dtype="u1", zarr_format=2)
    for number in range(1100):      # an array may have more directories than a group's are looked at
        (directory / "many.zarr" / str(number)).mkdir()
    rechunk(directory / "in.zarr", directory / "many.zarr", "--chunks", "12,5,7", "--overwrite").expect(0)


def test_info__knows_an_unfinished_array_from_one_that_is_done(directory):
    path = directory / "group.zarr"
    array = zarr.create_group(path, zarr_format=3).create_array("deep/t2m", shape=(4,), chunks=(2,), dtype="f4")
    array[:] = 1
    sluice("info", path, "--json").expect(0)
    shutil.copytree(path / "deep" / "t2m", path / "deep" / "new.sluice-partial")
    done = sluice("info", path).expect(0, "1 array\n", "unfinished: deep/new\n")
    check("sluice-partial" not in done.out, done.out)
    told = sluice("info", path, "--json").expect(0).json()
    check([a["name"] for a in told["arrays"]] == ["deep/t2m"] and told["unfinished"] == ["deep/new"], told)
    for words in (["info"], ["verify", path / "deep" / "t2m"], ["digest"]):
        sluice(*words, path / "deep" / "new").expect(4, "unfinished run of it is there", "sluice clean", "goes on with it")
    shutil.rmtree(path / "deep" / "t2m")
    sluice("info", path).expect(0, "0 arrays\n", "unfinished: deep/new\n")
    source = inputs.small(directory / "in.zarr", 3)
    rechunk(source, path, "--chunks", "12,5,7", *MEMORY, "--overwrite").expect(6, "unfinished run of 'deep/new' is in it")
    check((path / "deep" / "new.sluice-partial" / "zarr.json").exists(), "it was removed")


def test_info__of_ten_thousand_arrays_is_quick_and_small(directory):
    (directory / "group.zarr").mkdir()
    for number in range(10_000):
        place = directory / "group.zarr" / f"array{number:04}"
        place.mkdir()
        (place / ".zarray").write_text('{"zarr_format": 2, "shape": [9], "chunks": [3], "dtype": "<f4", "fill_value": 0, '
                                       '"order": "C", "filters": null, "compressor": null}')

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (64 << 20, 64 << 20))

    lines = sluice("info", directory / "group.zarr", before=None if SANITIZER else limit).expect(0).out.splitlines()
    check(len(lines) == 10_002 and lines[0].endswith("10,000 arrays") and "array9999 " in lines[-1], lines[-1])


def test_output__in_a_group_with_consolidated_metadata_is_told_with_the_cure(directory):
    for version in (2, 3):
        source = inputs.small(directory / f"in{version}.zarr", version)
        path = directory / f"group{version}.zarr"
        group = zarr.create_group(path, zarr_format=version)
        flags = ["--chunks", "12,5,7", *MEMORY]
        check("warning: " not in rechunk(source, path / "bare", *flags).expect(0).err)
        for name in ("t2m", "deep/t2m"):
            group.create_array(name, shape=(2, 3), chunks=(2, 3), dtype="f4")[:] = 1
        with warnings.catch_warnings(action="ignore"):      # of format 3: it is not in the specification
            zarr.consolidate_metadata(path)
        for name in ("t2m", "deep/t2m", "new"):
            more = [] if name == "new" else ["--overwrite"]
            told = rechunk(source, path / name, *flags, *more, "--dry-run", "--json").expect(0).json()["warnings"]
            check(len(told) == 1 and f"see '{name}' as it was before" in told[0], told)
            lines = rechunk(source, path / name, *flags, *more).expect(0).err.splitlines()
            check([line for line in lines if line.startswith("warning: ")] == 2 * [f"warning: {told[0]}"], lines)
            check(lines[-1].startswith("warning: "), lines)
            cure = told[0].split("python3 -c \"")[1].rstrip("\"")
            check(name == "new" or zarr.open_group(path, use_consolidated=True)[name].shape == (2, 3), "not what it was")
            subprocess.run([sys.executable, "-W", "ignore", "-c", cure], check=True)
            found = zarr.open_group(path, use_consolidated=True)[name]
            check(np.array_equal(found[:], inputs.values(source)), name)
    long = json.loads((directory / "group3.zarr" / "zarr.json").read_text())
    long["attributes"] = {"long": "x" * (9 << 20)}
    (directory / "group3.zarr" / "zarr.json").write_text(json.dumps(long))
    rechunk(source, directory / "group3.zarr" / "last", *flags, "--dry-run").expect(0, "most likely", "consolidate_metadata")


def test_output__that_readers_of_its_group_do_not_see_is_told(directory):
    for version in (2, 3):
        inputs.small(directory / f"in{version}.zarr", version)
        zarr.create_group(directory / f"group{version}.zarr", zarr_format=version)
    for version, other in ((2, 3), (3, 2)):
        words = [directory / f"in{other}.zarr", directory / f"group{version}.zarr" / "t2m", "--chunks", "12,5,7", *MEMORY]
        rechunk(*words, "--dry-run").expect(0, f"is zarr{version}", f"--format zarr{version} (output.format)")
        check("warning: " in rechunk(*words).err)
        check("t2m" not in zarr.open_group(directory / f"group{version}.zarr"), "it is seen")
        check("warning: " not in rechunk(*words, "--overwrite", "--format", f"zarr{version}").expect(0).err)
        check("t2m" in zarr.open_group(directory / f"group{version}.zarr"), "it is not seen")
        for below in ("inside", "not/there/inside"):
            within = directory / f"group{version}.zarr" / "t2m" / below
            rechunk(words[0], within, *words[2:], "--dry-run").expect(0, "lies inside the array", "t2m'")


def test_memory__that_is_not_there_is_told(directory):
    source = inputs.small(directory / "in.zarr")
    ENVIRONMENT["SLURM_MEM_PER_NODE"] = "40"
    try:
        for memory in ("48MiB", "40MiB", "50%", None):
            words = [source, directory / f"out{memory}.zarr", "--chunks", "12,5,7", *(["--memory", memory] if memory else [])]
            for said in (rechunk(*words, "--dry-run").expect(0).out, rechunk(*words).expect(0).err):
                told = "warning: memory is 48MiB, and there are 40MiB now (SLURM_MEM_PER_NODE)" in said
                check(told if memory == "48MiB" else "warning: " not in said, said)
    finally:
        del ENVIRONMENT["SLURM_MEM_PER_NODE"]


def test_output__where_nothing_can_be_made_is_refused_before_the_plan(directory):
    inputs.small(directory / "in.zarr")
    (directory / "file").write_text("")
    for out in ("file/out.zarr", "file/deeper/out.zarr"):
        done = sluice("rechunk", "in.zarr", out, "--chunks", "12,5,7", "--memory", "32MiB", cwd=directory).expect(5, out)
        check("plan:" not in done.err, done)
    check_left_alone(directory, "in.zarr", "file")


def test_pipeline__paths_are_relative_to_the_file(directory):
    inputs.small(directory / "in.zarr", dimension_names=None, attributes={"_ARRAY_DIMENSIONS": ["time", "lat", "lon"]})
    (directory / "p.yaml").write_text("memory: $memory\ninput: in.zarr\noutput:\n  path: out/by-point.zarr\n"
                                      "  chunks: {time: all, lat: 5, lon: 7}\n")
    sluice("run", directory / "p.yaml", "--set", "memory=32MiB", cwd="/").expect(0)
    check(np.array_equal(inputs.values(directory / "in.zarr"), inputs.values(directory / "out" / "by-point.zarr")))
    check_left_alone(directory / "out", "by-point.zarr")


def test_pipeline__paths_from_set_are_relative_to_the_current_directory(directory):
    elsewhere = directory / "elsewhere"
    (directory / "pipelines").mkdir()
    elsewhere.mkdir()
    inputs.small(elsewhere / "in.zarr")
    (directory / "pipelines" / "p.yaml").write_text(
        "params: {input: ../absent.zarr, out: out, year: 1979, output: $out/x.zarr}\nmemory: 32MiB\ninput: $input\n"
        "output: {path: $output, chunks: [12, 5, 7]}\n")
    sluice("run", "../pipelines/p.yaml", "--set", "input=in.zarr", "--set", "out=made", cwd=elsewhere).expect(0)
    check_left_alone(elsewhere, "in.zarr", "made")
    sluice("run", "../pipelines/p.yaml", "--set", "input=in.zarr", cwd=elsewhere).expect(0)
    check_left_alone(directory / "pipelines", "p.yaml", "out")
    sluice("run", "../pipelines/p.yaml", cwd=elsewhere).expect(4, "../pipelines/../absent.zarr")


def test_pipeline__is_read_from_standard_input(directory):
    inputs.small(directory / "in.zarr")
    text = "memory: 32MiB\ninput: in.zarr\noutput: {path: out.zarr, chunks: [12, 5, 7]}\n"
    sluice("run", "-", cwd=directory, text=text).expect(0)
    sluice("verify", directory / "in.zarr", directory / "out.zarr").expect(0)


def test_scratch__limit_that_is_too_small_exits_3(directory):
    inputs.generate(directory / "in.zarr", "40,181,360", "1,181,360", "--field", "random")
    least = minimum_bytes(directory / "in.zarr", directory / "out.zarr", "--chunks", "40,8,8", "--plan", "split",
                          "--threads", 1)
    text = "memory: {}\nscratch: {{path: ., limit: 1MiB}}\ninput: in.zarr\noutput: {{path: out.zarr, chunks: [40, 8, 8]}}\n"
    (directory / "p.yaml").write_text(text.format(least + (1 << 20)))
    sluice("run", directory / "p.yaml", "--plan", "split", "--threads", 1).expect(3, "scratch", "limit is 1MiB")
    # Another plan is not taken in silence.
    shown = ("note: split + merge would take about", "has no room in scratch: about", "the limit is 1MiB")
    sluice("plan", directory / "p.yaml", "--threads", 1).expect(0, "direct", *shown)
    run = sluice("run", directory / "p.yaml", "--threads", 1).expect(0, "plan: direct")
    check(all(words in run.err for words in shown), run)
    shutil.rmtree(directory / "out.zarr")
    # In more memory it stays there.
    (directory / "p.yaml").write_text(text.format("32MiB"))
    sluice("run", directory / "p.yaml", "--plan", "split", "--threads", 1).expect(0)
    sluice("verify", directory / "in.zarr", directory / "out.zarr").expect(0)
    shutil.rmtree(directory / "out.zarr")
    check_left_alone(directory, "in.zarr", "p.yaml")


if __name__ == "__main__":
    suite = Suite("refusals")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
