"""Arrays that the run tests start from."""
import os
import subprocess
import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, TREE  # noqa: E402

import numpy as np  # noqa: E402
import zarr  # noqa: E402
import zarr.codecs  # noqa: E402

GENERATE = os.environ.get("SLUICE_GENERATE") or str(TREE / "build" / "bench" / "generate")


def generate(path, shape, chunks, *flags):
    """A large array, fast."""
    subprocess.run([GENERATE, str(path), "--shape", shape, "--chunks", chunks, *flags], check=True,
                   stderr=subprocess.DEVNULL)
    return path


def small(path, version=2, shape=(12, 20, 30), chunks=(1, 20, 30), dtype="float32", **options):
    """The values are 1, 2, 3, ... so that no chunk equals the fill value."""
    array = zarr.create_array(str(path), shape=shape, chunks=chunks, dtype=dtype, zarr_format=version, fill_value=0,
                              **options)
    array[...] = (np.arange(np.prod(shape)) + 1).reshape(shape).astype(dtype)
    return path


def values(path):
    return zarr.open_array(str(path), mode="r")[...]


def big(path):
    """Enough work for a run to be caught in the middle (with a slow codec)."""
    frames = 12 if SANITIZER else 60
    return generate(path, f"{frames},721,1440", "1,721,1440")
