"""Random arrays and requests for budgets.py: chunks that are big beside the budget, values by formula."""
import math

import cases
import numpy as np
from cases import chance, pick

MIB = 1 << 20
DTYPES = ["uint8", "int16", "float32", "float64", "complex128", "bool", "uint32"]
CHUNKS_MAX = 400
BUDGETS = ["least", "least", "step", "little", "share", "double", "large"]
PLANS = ["direct", "split", "passes", "ranged-write", "carry"]
# One of so many has chunks of 17 MiB and more: shorter ones zstd, gzip and zlib encode at once, whatever the budget.
LARGE_EVERY = 16
# And so many have few chunks of codecs that do go in parts at any length.
PARTS_AT = range(1, 7)


def count_of(shape, chunks):
    return math.prod(-(-n // c) for n, c in zip(shape, chunks))


def shape_of(rng, elements):
    """About so many elements, on axes of very different lengths."""
    rank = pick(rng, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 8)
    weights = rng.dirichlet(np.full(rank, 1.5)) if rank > 1 else np.ones(1)
    return [max(1, round(math.exp(math.log(elements) * w) * rng.uniform(0.7, 1.3))) for w in weights]


def chunks_of(rng, shape):
    """Whole axes, divisors, misaligned ones, single elements, longer than the axis."""
    while True:
        chunks = []
        for n in shape:
            chunks.append(pick(rng, n, max(1, n // int(rng.integers(1, 10))), int(rng.integers(1, n + 1)),
                               1 if n < 200 else n, n + int(rng.integers(0, n // 3 + 2))))
        if count_of(shape, chunks) <= CHUNKS_MAX and math.prod(chunks) <= 3 * math.prod(shape) + 64:
            return chunks


def nearly(rng, chunks, shape):
    """A grid that is nearly the same: borders that hardly ever meet."""
    near = [min(n, max(1, c + int(rng.integers(-2, 3)))) for n, c in zip(shape, chunks)]
    return near if count_of(shape, near) <= CHUNKS_MAX else list(chunks)


def chunks_large(rng, shape, item_bytes, bytes_least):
    """Chunks of at least so many raw bytes."""
    while True:
        chunks = chunks_of(rng, shape)
        if math.prod(chunks) * item_bytes >= bytes_least:
            return chunks


def values_of(rng, dtype, shape, fill):
    """By formula: what shrinks well, what does not at all, first one and then the other, and nothing but one value."""
    count = math.prod(shape)
    index = np.arange(count, dtype="uint64")
    kind = pick(rng, "smooth", "steps", "noise", "smooth then noise", "noise then smooth", "same")
    smooth = index * np.uint64(2654435761) % np.uint64(1000003) // np.uint64(7) % np.uint64(251)
    numbers = {"smooth": smooth, "steps": index // np.uint64(5) % np.uint64(120), "same": index * np.uint64(0) + np.uint64(7)}
    if dtype == "bool":
        data = (smooth % np.uint64(2)).astype("bool")
    elif kind in numbers:
        data = numbers[kind].astype(dtype)
    else:
        item = np.dtype(dtype).itemsize
        mixed = index.repeat(-(-item // 8)) * np.uint64(0x9e3779b97f4a7c15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xbf58476d1ce4e5b9)
        mixed ^= mixed >> np.uint64(32)
        raw = mixed.view("uint8").reshape(count, -1)[:, :item]
        data = np.ascontiguousarray(raw).view(dtype).reshape(count).copy()
        half = count // 2
        if kind == "smooth then noise":
            data[:half] = smooth[:half].astype(dtype)
        elif kind == "noise then smooth":
            data[half:] = smooth[half:].astype(dtype)
    data = data.reshape(shape)
    if chance(rng, 0.3):
        low = [int(rng.integers(0, n)) for n in shape]
        data[tuple(slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(low, shape))] = fill
    return data


def target_codec_of(rng, version, source):
    words = "none" if chance(rng, 0.2) else cases.random_target_codec(rng, version, source)
    if words and version == 3 and words != "none" and chance(rng, 0.2):
        words += "+crc32c"
    return words


def runs_of(rng, count):
    """The first is the plan that sluice takes by itself, in the least memory."""
    runs = [(None, "least")]
    while len(runs) < count:
        runs.append((pick(rng, None, *PLANS), pick(rng, *BUDGETS)))
    return [{"plan": plan, "budget": budget, "share": float(rng.random()), "io": pick(rng, None, "uring", "threads"),
             "threads": int(rng.integers(1, 4)), "verify": chance(rng, 0.25)} for plan, budget in runs]


def make_case(seed):
    rng = np.random.default_rng([seed, 0x61])
    version = pick(rng, 2, 3)
    dtype = pick(rng, *DTYPES)
    item_bytes = np.dtype(dtype).itemsize
    large, parts = seed % LARGE_EVERY == 0, seed % LARGE_EVERY in PARTS_AT
    if large:
        shape, sides = [], pick(rng, "source", "target", "both")
        while not 18 * MIB <= math.prod(shape) * item_bytes <= 48 * MIB:
            shape = shape_of(rng, rng.uniform(19, 44) * MIB / item_bytes)
        chunks = chunks_large(rng, shape, item_bytes, 17 * MIB if sides != "target" else 64 << 10)
        wanted = chunks_large(rng, shape, item_bytes, 17 * MIB if sides != "source" else 64 << 10)
    else:
        low, high = (1e6, 8e6) if parts else (1e4, 4e6)
        shape = shape_of(rng, math.exp(rng.uniform(math.log(low), math.log(high))) / item_bytes)
        few = [parts or chance(rng, 0.3), parts or chance(rng, 0.3)]
        bytes_least = [math.prod(shape) * item_bytes // 4 if f else 0 for f in few]
        chunks = chunks_large(rng, shape, item_bytes, bytes_least[0])
        wanted = nearly(rng, chunks, shape) if chance(rng, 0.15) else chunks_large(rng, shape, item_bytes, bytes_least[1])
    codec = cases.random_source_codec(rng, version, dtype)
    if large:
        codec["level"] = min(codec["level"], 2)
    if chance(rng, 0.15):
        codec = {"what": "none", "level": 1, "crc32c": False}
    elif parts and chance(rng, 0.5):
        codec = {"what": "blosc", "level": 1, "crc32c": False, "cname": pick(rng, *cases.BLOSC_NAMES),
                 "shuffle": pick(rng, *cases.SHUFFLES), "typesize": item_bytes}
    codec["version"] = version
    if codec["what"] == "blosc":
        codec["blocksize"] = pick(rng, 0, *([] if parts else [0, 0]), 1024, 8192, 65536)
    rank = len(shape)
    order = None
    if rank > 1 and chance(rng, 0.35):
        order = [int(i) for i in rng.permutation(rank)] if version == 3 else list(range(rank))[::-1]
    fill = cases.random_fill(rng, dtype)
    target_version = version if chance(rng, 0.6) else 5 - version
    words = target_codec_of(rng, target_version, codec)
    if parts and chance(rng, 0.7):
        words = pick(rng, "none", f"blosc:{pick(rng, *cases.BLOSC_NAMES)}:1:{pick(rng, *cases.SHUFFLES)}")
    if large and words and words[0] in "zgb" and "4" < words[-1] <= "9":
        words = words[:-1] + "1"
    writer = pick(rng, "zarr-python", "tensorstore")
    if codec["what"] == "lz4":
        writer = "zarr-python"
    if codec.get("cname") == "snappy":
        writer = "tensorstore"
    return {
        "seed": seed, "version": version, "shape": shape, "chunks": chunks, "dtype": dtype, "large": large,
        "big_endian": chance(rng, 0.3), "order": order, "codec": codec, "fill": fill, "fill_null": False,
        "separator": pick(rng, "/", "."), "key_encoding": "default", "names": None, "attributes": {},
        "values": values_of(rng, dtype, shape, fill), "write_empty": chance(rng, 0.3),
        "chunks_removed": pick(rng, 0, 0, 0.3, 0.9), "writer": writer,
        "target": {"version": target_version, "chunks": wanted, "codec": words},
        "runs": runs_of(rng, 3 if large else 5),
    }
