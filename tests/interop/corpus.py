#!/usr/bin/env python3
"""corpus.py [WORD ...] - arrays that other implementations wrote, from the folder SLUICE_CORPUS (else ../shared/corpus).

Every Zarr v2 and v3 array in it is rechunked. What sluice accepts must have the values that zarr-python (or
TensorStore) reads; what it refuses must be out of its scope, with exit 4 and the codec or dtype by name. Nothing may
crash. WORDs choose arrays by their path.
"""
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import TREE, check, rechunk, sluice  # noqa: E402

import judges  # noqa: E402
import numpy as np  # noqa: E402

DTYPES = {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
          "complex64", "complex128"}
V2_CODECS = {"blosc", "zstd", "gzip", "zlib", "lz4", "crc32c"}
V3_CODECS = {"bytes", "endian", "transpose", "blosc", "zstd", "gzip", "crc32c"}


def find_arrays(corpus):
    for name in ("zarrita", "zarrs"):
        for path in sorted((corpus / name).rglob("*")):
            if path.name == ".zarray":
                yield path.parent, 2
            elif path.name == "zarr.json":
                document = json.loads(path.read_text())
                if document.get("node_type") == "array":
                    yield path.parent, 3


def extension_name(value):
    return value if isinstance(value, str) else value.get("name", "?")


def outside_v2(document):
    dtype = document["dtype"]
    if not isinstance(dtype, str):
        yield "struct"
    elif not re.fullmatch(r"[<>|](b1|[iu][1248]|f[248]|c8|c16)", dtype):
        yield dtype
    for codec in [*(document.get("filters") or []), document.get("compressor")]:
        if codec and codec["id"] not in V2_CODECS:
            yield codec["id"]
    # A checksum among the filters stands before the compressor: not a chain we write.
    for codec in document.get("filters") or []:
        yield codec["id"]


def outside_v3(document):
    dtype = extension_name(document["data_type"])
    if dtype not in DTYPES:
        yield dtype
    if extension_name(document["chunk_grid"]) != "regular":
        yield extension_name(document["chunk_grid"])
    for codec in document["codecs"]:
        if extension_name(codec) not in V3_CODECS:
            yield extension_name(codec)
    for transformer in document.get("storage_transformers") or []:
        yield extension_name(transformer)


def values_of(path):
    problems = []
    for reader in (judges.read_with_zarr, judges.read_with_tensorstore):
        try:
            values = np.asarray(reader(path))
            if values.dtype.kind in "biufc":
                return values
            problems.append(f"dtype {values.dtype}")
        except Exception as problem:
            problems.append(f"{type(problem).__name__}: {problem}")
    return None


def try_array(path, version, directory):
    """What became of it: "equal", "refused", "read" (there is no judge)."""
    document = judges.metadata(path) if version == 3 else json.loads((path / ".zarray").read_text())
    outside = set(outside_v2(document) if version == 2 else outside_v3(document))
    shape = document["shape"]
    chunks = ",".join(str(max(1, (n + 1) // 2)) for n in shape)
    target = directory / "out.zarr"
    if version == 2 and (path / "zarr.json").exists():      # twins over the same chunks: v3 is preferred
        shutil.copytree(path, directory / "v2.zarr", ignore=shutil.ignore_patterns("zarr.json"))
        path = directory / "v2.zarr"
    flags = ["--chunks", chunks] if shape else []
    result = rechunk(path, target, *flags, "--memory", "64MiB", "--codec", "zstd:1")
    if result.status == 0:
        values = values_of(path)
        if values is None:
            return "read"
        check(judges.bits(judges.read_with_zarr(target)) == judges.bits(values), f"values differ\n{result}")
        sluice("verify", path, target).expect(0)
        return "equal"
    result.expect(4)
    check(outside, f"refused, though in scope\n{result}")
    check(any(word in result.err for word in outside), f"names none of {sorted(outside)}\n{result}")
    check(not target.exists(), "a refusal left an output")
    return "refused"


def main():
    corpus = pathlib.Path(os.environ.get("SLUICE_CORPUS") or TREE / ".." / "shared" / "corpus").resolve()
    if not corpus.is_dir():
        print("skipped corpus: no folder of other implementations' arrays (set SLUICE_CORPUS)")
        print("corpus: 0 passed, 0 failed, 1 skipped")
        return 0
    base = TREE / "build" / "test"
    base.mkdir(parents=True, exist_ok=True)
    counts, failed = {"equal": 0, "refused": 0, "read": 0}, 0
    for path, version in find_arrays(corpus):
        if sys.argv[1:] and not any(word in str(path) for word in sys.argv[1:]):
            continue
        directory = pathlib.Path(tempfile.mkdtemp(prefix="corpus-", dir=base))
        try:
            counts[try_array(path, version, directory)] += 1
        except Exception as problem:
            failed += 1
            print(f"FAILED {path.relative_to(corpus)}: {type(problem).__name__}: {problem}", flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"corpus: {counts['equal']} arrays read right, {counts['refused']} refused by name, "
          f"{counts['read']} read without a judge")
    print(f"corpus: {sum(counts.values())} passed, {failed} failed, 0 skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
