"""zarr-python and TensorStore, as writers of inputs and readers of outputs. Values are compared as bits."""
import base64
import json
import pathlib
import shutil
import struct
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import numcodecs  # noqa: E402
import numcodecs.blosc  # noqa: E402
import tensorstore  # noqa: E402
import zarr  # noqa: E402
import zarr.codecs  # noqa: E402

SHUFFLE_NUMBER = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


def bits(array):
    """The array's bytes: C order, little-endian."""
    array = np.asarray(array)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).tobytes()


def stored_dtype(case):
    item = np.dtype(case["dtype"])
    return item.newbyteorder(">" if case["big_endian"] and item.itemsize > 1 else "<")


def part_bytes(case):
    """The unit whose byte order matters: half a complex number."""
    item = np.dtype(case["dtype"])
    return item.itemsize // 2 if item.kind == "c" else item.itemsize


# ---- writing ----

def zarr_v2_compressor(codec):
    level = codec["level"]
    if codec["what"] == "blosc":
        return numcodecs.Blosc(codec["cname"], level, SHUFFLE_NUMBER[codec["shuffle"]], codec["blocksize"])
    return {"none": lambda: None, "zstd": lambda: numcodecs.Zstd(level), "gzip": lambda: numcodecs.GZip(level),
            "zlib": lambda: numcodecs.Zlib(level), "lz4": lambda: numcodecs.LZ4(level)}[codec["what"]]()


def zarr_v3_compressors(codec):
    chain, level = [], codec["level"]
    if codec["what"] == "blosc":
        chain.append(zarr.codecs.BloscCodec(cname=codec["cname"], clevel=level, shuffle=codec["shuffle"],
                                            blocksize=codec["blocksize"], typesize=codec["typesize"]))
    elif codec["what"] == "zstd":
        chain.append(zarr.codecs.ZstdCodec(level=level, checksum=level % 2 == 0))
    elif codec["what"] == "gzip":
        chain.append(zarr.codecs.GzipCodec(level=level))
    if codec["crc32c"]:
        chain.append(zarr.codecs.Crc32cCodec())
    return chain


def write_with_zarr(case, path):
    rank, names = len(case["shape"]), case["names"]
    attributes = dict(case["attributes"])
    options = {"store": path, "shape": case["shape"], "chunks": case["chunks"], "zarr_format": case["version"],
               "config": {"write_empty_chunks": case["write_empty"]}}
    if case["version"] == 2:
        if names:
            attributes["_ARRAY_DIMENSIONS"] = names
        options.update(dtype=stored_dtype(case), compressors=zarr_v2_compressor(case["codec"]), filters=None,
                       fill_value=None if case["fill_null"] else case["fill"],
                       order="F" if case["order"] and rank > 1 else "C",
                       chunk_key_encoding={"name": "v2", "separator": case["separator"]})
    else:
        serializer = zarr.codecs.BytesCodec(endian="big" if case["big_endian"] else "little")
        if part_bytes(case) == 1:
            serializer = zarr.codecs.BytesCodec(endian=None)
        filters = [zarr.codecs.TransposeCodec(order=case["order"])] if case["order"] else None
        options.update(dtype=np.dtype(case["dtype"]), compressors=zarr_v3_compressors(case["codec"]), filters=filters,
                       serializer=serializer, fill_value=case["fill"], dimension_names=names,
                       chunk_key_encoding={"name": case["key_encoding"], "separator": case["separator"]})
    array = zarr.create_array(attributes=attributes, **options)
    array[...] = case["values"]


def json_number(value):
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def json_fill(value):
    kind = np.asarray(value).dtype.kind
    if kind == "c":
        return [json_number(value.real), json_number(value.imag)]
    return json_number(value) if kind == "f" else value.item()


def v2_compressor(codec):
    what = codec["what"]
    if what == "none":
        return None
    if what == "blosc":
        return {"id": "blosc", "cname": codec["cname"], "clevel": codec["level"],
                "shuffle": SHUFFLE_NUMBER[codec["shuffle"]], "blocksize": codec["blocksize"]}
    return {"id": what, "level": codec["level"]}


def v3_codecs(case):
    codec, chain = case["codec"], []
    if case["order"]:
        chain.append({"name": "transpose", "configuration": {"order": case["order"]}})
    if part_bytes(case) == 1:
        chain.append({"name": "bytes"})
    else:
        chain.append({"name": "bytes", "configuration": {"endian": "big" if case["big_endian"] else "little"}})
    if codec["what"] == "blosc":
        chain.append({"name": "blosc", "configuration": {
            "cname": codec["cname"], "clevel": codec["level"], "shuffle": codec["shuffle"],
            "typesize": codec["typesize"], "blocksize": codec["blocksize"]}})
    elif codec["what"] != "none":
        chain.append({"name": codec["what"], "configuration": {"level": codec["level"]}})
    if codec["crc32c"]:
        chain.append({"name": "crc32c"})
    return chain


def write_with_tensorstore(case, path):
    rank = len(case["shape"])
    spec = {"driver": "zarr" if case["version"] == 2 else "zarr3", "kvstore": {"driver": "file", "path": str(path)},
            "store_data_equal_to_fill_value": case["write_empty"]}
    if case["version"] == 2:
        spec["metadata"] = {
            "zarr_format": 2, "shape": case["shape"], "chunks": case["chunks"], "dtype": stored_dtype(case).str,
            "compressor": v2_compressor(case["codec"]), "filters": None, "order": "F" if case["order"] and rank > 1 else "C",
            "fill_value": None if case["fill_null"] else json_fill(case["fill"]),
            "dimension_separator": case["separator"]}
    else:
        spec["metadata"] = {
            "zarr_format": 3, "node_type": "array", "shape": case["shape"], "data_type": case["dtype"],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": case["chunks"]}},
            "chunk_key_encoding": {"name": case["key_encoding"], "configuration": {"separator": case["separator"]}},
            "fill_value": json_fill(case["fill"]), "codecs": v3_codecs(case), "attributes": case["attributes"]}
        if case["names"]:
            spec["metadata"]["dimension_names"] = case["names"]
    store = tensorstore.open(spec, create=True).result()
    store[...] = case["values"]
    if case["version"] == 2:
        attributes = dict(case["attributes"])
        if case["names"]:
            attributes["_ARRAY_DIMENSIONS"] = case["names"]
        if attributes:
            (pathlib.Path(path) / ".zattrs").write_text(json.dumps(attributes))


def write(case, path):
    """Write the source; then take away some of its chunks. The array is made anew by this, never changed."""
    (write_with_zarr if case["writer"] == "zarr-python" else write_with_tensorstore)(case, path)
    if case["chunks_removed"]:
        rng = np.random.default_rng([case["seed"], 0x52])
        for chunk in chunk_files(path):
            if rng.random() < case["chunks_removed"]:
                chunk.unlink()


def chunk_files(path):
    """Every file of the array that is not metadata."""
    return sorted(p for p in pathlib.Path(path).rglob("*")
                  if p.is_file() and not p.name.startswith(".z") and p.name != "zarr.json")


# ---- reading ----

def version_of(path):
    return 3 if (pathlib.Path(path) / "zarr.json").exists() else 2


def metadata(path):
    name = "zarr.json" if version_of(path) == 3 else ".zarray"
    return json.loads((pathlib.Path(path) / name).read_text())


def codec_names(path):
    document = metadata(path)
    if document["zarr_format"] == 2:
        compressor = document["compressor"] or {"id": "none"}
        return [compressor["id"], compressor.get("cname", "")]
    return [c["name"] for c in document["codecs"]] + [c.get("configuration", {}).get("cname", "") for c in document["codecs"]]


def read_with_zarr(path):
    return zarr.open_array(str(path), mode="r")[...]


def read_with_tensorstore(path):
    driver = "zarr" if version_of(path) == 2 else "zarr3"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec, open=True, read=True).result()[...].read().result()


def read(path, reader):
    """By `reader`, or by the other one where it lacks the codec."""
    names = codec_names(path)
    if "snappy" in names:
        reader = "tensorstore"
    elif version_of(path) == 2 and (names[0] == "lz4" or "checksum" in (metadata(path)["compressor"] or {})):
        reader = "zarr-python"
    return read_with_zarr(path) if reader == "zarr-python" else read_with_tensorstore(path)


def describe(path):
    """What the metadata says, through zarr-python; the fill as bits."""
    array = zarr.open_array(str(path), mode="r")
    attributes = dict(array.attrs)
    if array.metadata.zarr_format == 2:
        names = attributes.pop("_ARRAY_DIMENSIONS", None)
    else:
        names = array.metadata.dimension_names
    names = list(names) if names and any(names) else None
    fill = array.metadata.fill_value
    item = np.dtype(array.dtype).newbyteorder("<")
    return {"version": array.metadata.zarr_format, "shape": list(array.shape), "chunks": list(array.chunks),
            "dtype": item.name, "fill": None if fill is None else bits(np.asarray(fill).astype(item)),
            "names": names, "attributes": attributes}


def mask_of(fill, dtype):
    """The bytes of a fill as xarray's attribute _FillValue of a v3 array; None if sluice has none for the type."""
    value = np.frombuffer(fill, dtype)[0]
    if value.dtype.kind == "c":
        return None
    return base64.b64encode(struct.pack("<d", float(value))).decode() if value.dtype.kind == "f" else value.item()


def fill_of(mask, dtype):
    """The same backwards."""
    item = np.dtype(dtype).newbyteorder("<")
    value = struct.unpack("<d", base64.b64decode(mask))[0] if item.kind == "f" else mask
    return bits(np.asarray(value).astype(item))


def masked_as(was, version):
    """`was`, of describe(), in another format: xarray must mask what it masked before."""
    wanted = dict(was, attributes=dict(was["attributes"]))
    if version == was["version"] or not was["names"] or not all(was["names"]):
        return wanted
    mask = wanted["attributes"].get("_FillValue")
    if version == 3:
        mask = mask_of(was["fill"], was["dtype"]) if mask is None and was["fill"] is not None else None
        if mask is not None:
            # A NaN is any NaN.
            wanted["attributes"]["_FillValue"] = "AAAAAAAA+H8=" if was["dtype"].startswith("float") and np.isnan(
                np.frombuffer(was["fill"], was["dtype"])[0]) else mask
    elif mask is None or was["dtype"].startswith("complex"):
        wanted["fill"] = None
    else:
        wanted["fill"] = fill_of(wanted["attributes"].pop("_FillValue"), was["dtype"])
    return wanted


def flip_one(path, rng):
    """Change one element through zarr-python. True if a reader can see it."""
    array = zarr.open_array(str(path), mode="r+")
    at = tuple(int(rng.integers(n)) for n in array.shape)
    old = np.asarray(array[at])
    item = old.dtype.newbyteorder("<")
    if item.kind == "b":
        new = np.logical_not(old)
    else:
        raw = bytearray(bits(old))
        raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
        new = np.frombuffer(bytes(raw), item).reshape(())
    array[at] = new
    return bits(zarr.open_array(str(path), mode="r")[at]) != bits(old)


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
