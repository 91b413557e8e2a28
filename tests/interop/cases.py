"""Random arrays and random requests, each all of one seed."""
import base64
import math
import struct

import numpy as np

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32",
          "float64", "complex64", "complex128"]
BLOSC_NAMES = ["blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"]
SHUFFLES = ["noshuffle", "shuffle", "bitshuffle"]
AXES = ["time", "level", "lat", "lon", "member", "step"]
CHUNKS_MAX = 150
ELEMENTS_MAX = 30_000


def pick(rng, *choices):
    return choices[int(rng.integers(len(choices)))]


def chance(rng, probability):
    return rng.random() < probability


def random_shape(rng, rank):
    if rank > 5:
        return [1 if chance(rng, 0.6) else int(rng.integers(2, 4)) for _ in range(rank)]
    longest = max(3, int(ELEMENTS_MAX ** (1 / max(rank, 1)))) if rank != 1 else 3000
    shape = []
    for _ in range(rank):
        if chance(rng, 0.02):
            shape.append(0)
        elif chance(rng, 0.1):
            shape.append(1)
        else:
            shape.append(int(rng.integers(2, longest + 1)))
    return shape


def random_chunks(rng, shape):
    """Chunks of 1, of divisors, that overhang, that are longer than the axis; not too many of them."""
    chunks = []
    for n in shape:
        if chance(rng, 0.15):
            chunks.append(max(n, 1) + int(rng.integers(0, 4)))
        elif chance(rng, 0.15):
            chunks.append(max(n, 1))
        elif chance(rng, 0.1):
            chunks.append(1)
        else:
            chunks.append(int(rng.integers(1, max(n, 1) + 1)))
    while math.prod(-(-n // c) for n, c in zip(shape, chunks)) > CHUNKS_MAX:
        axis = int(np.argmax([n / c for n, c in zip(shape, chunks)]))
        chunks[axis] *= 2
    return chunks


def random_bits(rng, dtype, shape):
    """Any bits at all (NaN payloads, -0.0, subnormal), but only 0 and 1 for bool."""
    count = math.prod(shape)
    if dtype == "bool":
        return rng.integers(0, 2, count).astype("bool").reshape(shape)
    item = np.dtype(dtype)
    return np.frombuffer(rng.bytes(count * item.itemsize), item).reshape(shape)


def random_fill(rng, dtype):
    kind = np.dtype(dtype).kind
    if chance(rng, 0.3):
        return np.zeros((), dtype)[()]
    if kind == "b":
        return np.bool_(chance(rng, 0.5))
    if kind in "iu":
        info = np.iinfo(dtype)
        return np.dtype(dtype).type(pick(rng, info.max, info.min, 1, 7, info.max - 1))
    floats = [math.nan, -0.0, math.inf, -math.inf, 1.5, -2.25, 0.1, 1e4]
    if kind == "f":
        return np.dtype(dtype).type(pick(rng, *floats))
    part = np.float32 if dtype == "complex64" else np.float64
    value = np.zeros((), dtype)
    value.real, value.imag = part(pick(rng, *floats)), part(pick(rng, *floats))
    return value[()]


def random_values(rng, dtype, shape, fill):
    """Noise, or something smooth, with corners that are all fill."""
    if chance(rng, 0.5):
        data = random_bits(rng, dtype, shape).copy()
    elif dtype == "bool":
        data = np.asarray(np.arange(math.prod(shape)) // 7 % 2 == 0).reshape(shape)
    else:
        data = (np.arange(math.prod(shape)) // 5 % 120).astype(dtype).reshape(shape)
    if shape and chance(rng, 0.5):
        corner = tuple(slice(0, int(rng.integers(0, n + 1))) for n in shape)
        data[corner] = fill
    return data


def random_source_codec(rng, version, dtype):
    """(what, level, shuffle, name, blocksize), crc32c after it."""
    what = pick(rng, "none", "blosc", "blosc", "blosc", "zstd", "gzip", *(["zlib", "lz4"] if version == 2 else []))
    codec = {"what": what, "level": int(rng.integers(1, 8)), "crc32c": version == 3 and chance(rng, 0.25)}
    if what == "blosc":
        codec.update(cname=pick(rng, *BLOSC_NAMES), shuffle=pick(rng, *SHUFFLES),
                     blocksize=pick(rng, 0, 0, 0, 256, 1024, 4096), typesize=np.dtype(dtype).itemsize)
    return codec


def random_target_codec(rng, version, source):
    """The words of --codec, or None for the source's."""
    foreign = source["what"] in ("zlib", "lz4") or source["crc32c"]
    if chance(rng, 0.25) and not (foreign and version != source["version"]):
        return None
    level = int(rng.integers(1, 8))
    what = pick(rng, "none", "zstd", "gzip", "blosc", "blosc", "blosc", *(["zlib", "lz4"] if version == 2 else []))
    if what == "blosc":
        shuffle = pick(rng, "", *(f":{s}" for s in SHUFFLES))
        return f"blosc:{pick(rng, *BLOSC_NAMES)}:{level}{shuffle}"
    return what if what in ("none", "lz4") else f"{what}:{level}"


def random_attributes(rng):
    if chance(rng, 0.3):
        return {}
    values = [1, -7, 2 ** 63, 0.1, 1e300, True, None, "", "Lufttemperatur \u00b0C \U0001f321", "quote \" back\\slash\n",
              [1, [2, {"deep": []}]], {"a": {"b": [None]}}, "1979-01-01"]
    keys = ["units", "long_name", "scale", "\u00fcber", "nested", "a b", ""]
    return {keys[int(i)]: values[int(rng.integers(len(values)))] for i in rng.permutation(len(keys))[:3]}


def random_request(rng, shape, source_chunks, names):
    """The words of --chunks and the chunk shape they mean."""
    wanted = random_chunks(rng, shape)
    words = []
    for axis, (n, c) in enumerate(zip(shape, wanted)):
        if n > 0 and chance(rng, 0.15):
            words.append(pick(rng, "all", "-1"))
            wanted[axis] = n
        elif chance(rng, 0.15):
            words.append("keep")
            wanted[axis] = source_chunks[axis]
        else:
            words.append(str(c))
    if math.prod(max(1, -(-n // c)) for n, c in zip(shape, wanted)) > 4 * CHUNKS_MAX:
        words = ["all" if n else "1" for n in shape]
        wanted = [max(n, 1) for n in shape]
    if names and all(names) and len(set(names)) == len(names) and chance(rng, 0.5):
        pairs = list(zip(names, words))
        order = rng.permutation(len(pairs))
        kept = [pairs[int(i)] for i in order if pairs[int(i)][1] != "keep" or chance(rng, 0.5)]
        if kept:
            return ",".join(f"{n}={w}" for n, w in kept), wanted
    return ",".join(words), wanted


def make_case(seed):
    rng = np.random.default_rng([seed, 0x51])
    version = 3 if chance(rng, 0.5) else 2
    if seed % 97 == 5:
        rank = 16
    else:
        rank = pick(rng, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5)
    shape = random_shape(rng, rank)
    dtype = pick(rng, *DTYPES)
    codec = random_source_codec(rng, version, dtype)
    codec["version"] = version
    fill = random_fill(rng, dtype)
    names = None
    if chance(rng, 0.6) and rank and rank <= len(AXES):
        names = [AXES[int(i)] for i in rng.permutation(len(AXES))[:rank]]
        if version == 3 and chance(rng, 0.2):
            names[int(rng.integers(rank))] = None
    order = None
    if rank > 1 and chance(rng, 0.4):
        order = [int(i) for i in rng.permutation(rank)] if version == 3 else list(range(rank))[::-1]
        if version == 3 and rank > 2 and chance(rng, 0.5):
            order = list(range(1, rank)) + [0]          # its inverse is another one
    case = {
        "seed": seed, "version": version, "shape": shape, "chunks": random_chunks(rng, shape), "dtype": dtype,
        "big_endian": chance(rng, 0.4), "order": order, "codec": codec, "fill": fill,
        "fill_null": version == 2 and chance(rng, 0.1), "separator": pick(rng, "/", "."),
        "key_encoding": pick(rng, "default", "default", "v2"), "names": names, "attributes": random_attributes(rng),
        "values": random_values(rng, dtype, shape, fill), "write_empty": chance(rng, 0.3),
        "chunks_removed": pick(rng, 0, 0, 0.3, 1.0) if chance(rng, 0.7) else 0,
        "writer": "zarr-python" if seed % 2 else "tensorstore",
    }
    target_version = version if chance(rng, 0.5) else 5 - version
    words, wanted = random_request(rng, shape, case["chunks"], names)
    case["target"] = {
        "version": target_version, "format_given": target_version != version or chance(rng, 0.5), "chunks_words": words,
        "chunks": wanted, "codec": random_target_codec(rng, target_version, codec),
        "plan": pick(rng, None, None, "direct", "split"), "io": pick(rng, None, "uring", "threads"),
        "threads": int(rng.integers(1, 4)), "budget": pick(rng, "least", "least", "between", "twice", "large"),
        "between": float(rng.random()), "scratch": chance(rng, 0.3), "again": chance(rng, 0.3),
    }
    if case["codec"]["what"] == "lz4" or case["codec"]["what"] == "zlib" or case["codec"].get("cname") == "snappy":
        case["writer"] = "tensorstore" if case["codec"].get("cname") == "snappy" else "zarr-python"
    if case["codec"]["what"] == "zlib":
        case["writer"] = pick(rng, "zarr-python", "tensorstore")
    # Of xarray: another value than the fill.
    if version == 3 and names and np.dtype(dtype).kind != "c" and chance(rng, 0.4):
        mask = random_fill(rng, dtype)
        if np.dtype(dtype).kind == "f":
            mask = base64.b64encode(struct.pack("<d", float(mask))).decode()
        case["attributes"]["_FillValue"] = mask if isinstance(mask, str) else mask.item()
    if case["fill_null"]:
        case["fill"] = np.zeros((), dtype)[()]
    case["target"]["verify"] = chance(rng, 0.5)
    return case
