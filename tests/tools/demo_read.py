#!/usr/bin/env python3
"""For demo.sh: open both arrays with zarr-python, as anybody would, compare all values, and read the history of one place
from each.

    demo_read.py BEFORE AFTER       exit 1: they differ
"""
import os
import sys
import time

import numpy as np
import zarr

PLACE = (300, 700)


def forget(path):
    """Out of the page cache, as far as the kernel lets us."""
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def series(path):
    forget(path)
    array = zarr.open_array(path, mode="r")
    begun = time.perf_counter()
    values = array[:, PLACE[0], PLACE[1]]
    return values, time.perf_counter() - begun


def same(before, after, rows=96):
    """By bands of latitude: whole chunks of `after`, and not all of the array at once."""
    for row in range(0, before.shape[1], rows):
        a, b = before[:, row:row + rows], after[:, row:row + rows]
        if not np.array_equal(a.view("u4"), b.view("u4")):
            return False
    return True


def main():
    before, after = sys.argv[1:3]
    (old, old_seconds), (new, new_seconds) = series(before), series(after)
    print(f"the {len(old)} hours of one place: {old_seconds:.2f} s from the maps, {new_seconds:.3f} s from the new array")
    if not np.array_equal(old, new) or not same(zarr.open_array(before, mode="r"), zarr.open_array(after, mode="r")):
        print("zarr-python reads other values: this is a bug in sluice")
        return 1
    print(f"zarr-python {zarr.__version__} reads the same values from both, bit for bit")
    return 0


sys.exit(main())
