"""peers.py TOOL JOB - one rechunk by one other tool, as its users would write it. Run by bench/run.py.

JOB is JSON: source, target, scratch (paths), shape, chunks (of the target), dtype, codec ("lz4" or null),
memory_bytes, threads. The target is Zarr v2 with the source's codec.
"""
import json
import math
import sys

ANY_MEMORY_BYTES = 8 << 30


def compressor(job):
    import numcodecs
    return numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE) if job["codec"] else None


def run_rechunker(job):
    """max_mem is per worker, so the budget is split over the threads."""
    import dask
    import rechunker
    import zarr
    source = zarr.open_array(job["source"], mode="r")
    plan = rechunker.rechunk(source, tuple(job["chunks"]), job["memory_bytes"] // job["threads"], job["target"],
                             temp_store=job["scratch"], target_options={"compressor": compressor(job)},
                             temp_options={"compressor": compressor(job)})
    with dask.config.set(scheduler="threads", num_workers=job["threads"]):
        plan.execute()


def run_dask(job):
    """There is no memory limit to set."""
    import dask
    import dask.array
    import zarr
    array = dask.array.from_array(zarr.open_array(job["source"], mode="r"), chunks=dask.array.from_zarr(job["source"]).chunks)
    target = zarr.open_array(job["target"], mode="w", shape=array.shape, chunks=job["chunks"], dtype=array.dtype,
                             compressor=compressor(job), fill_value=0)
    with dask.config.set(scheduler="threads", num_workers=job["threads"]):
        dask.array.store(array.rechunk(tuple(job["chunks"])), target, lock=False)


def slab_shape(job):
    """Whole target chunks, the last axis filled first, in half of the memory."""
    slab = list(job["chunks"])
    item_bytes = 8 if job["dtype"] == "float64" else 4
    for axis in reversed(range(len(slab))):
        others = math.prod(slab) // slab[axis] * item_bytes
        fit = max(1, job["memory_bytes"] // 2 // (others * job["chunks"][axis]))
        slab[axis] = min(fit * job["chunks"][axis], -(-job["shape"][axis] // job["chunks"][axis]) * job["chunks"][axis])
    return slab


def open_tensorstore(job, cache_bytes):
    import tensorstore
    context = tensorstore.Context({"data_copy_concurrency": {"limit": job["threads"]},
                                   "cache_pool": {"total_bytes_limit": cache_bytes}})
    source = tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": job["source"]}}, context=context,
                              read=True).result()
    blosc = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0} if job["codec"] else None
    target = tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": job["target"]}, "metadata": {
        "shape": job["shape"], "chunks": job["chunks"], "dtype": source.dtype.numpy_dtype.str, "compressor": blosc,
        "fill_value": 0, "order": "C", "filters": None}}, context=context, create=True).result()
    return context, source, target


def run_tensorstore(job):
    """Slab by slab: read into one buffer in batches of a sixteenth of the memory, write batches of chunks. With any
    memory: one write of all, chunks cached."""
    import itertools

    import numpy
    import tensorstore
    context, source, target = open_tensorstore(job, ANY_MEMORY_BYTES if job["any_memory"] else 0)
    if job["any_memory"]:
        target.write(source).result()
        return
    slab, shape = slab_shape(job), job["shape"]
    buffer = numpy.empty(slab, source.dtype.numpy_dtype)
    batch_bytes = job["memory_bytes"] // 16
    for start in itertools.product(*(range(0, n, s) for n, s in zip(shape, slab))):
        box = tuple(slice(a, min(a + s, n)) for a, s, n in zip(start, slab, shape))
        part = buffer[tuple(slice(0, b.stop - b.start) for b in box)]
        layer, step = layer_bytes(source, box)
        step *= max(1, batch_bytes // layer)
        for first in range(box[0].start, box[0].stop, step):
            last = min(first + step, box[0].stop)
            tensorstore.array(part[first - box[0].start:last - box[0].start], context=context).write(
                source[(slice(first, last), *box[1:])].translate_to[tuple([0] * len(shape))]).result()
        width = job["chunks"][-1] * max(1, batch_bytes // (math.prod(job["chunks"]) * buffer.itemsize))
        for row in range(box[-2].start, box[-2].stop, job["chunks"][-2]):
            for column in range(box[-1].start, box[-1].stop, width):
                piece = (*box[:-2], slice(row, min(row + job["chunks"][-2], box[-2].stop)),
                         slice(column, min(column + width, box[-1].stop)))
                inner = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(piece, box))
                target[piece].write(part[inner]).result()


def layer_bytes(source, box):
    """Decoded bytes of all source chunks under one chunk's length of the first axis of a box, and that length."""
    chunk = source.chunk_layout.read_chunk.shape
    touched = [(-(-b.stop // c) - b.start // c) * c for b, c in zip(box[1:], chunk[1:])]
    return math.prod(touched) * chunk[0] * source.dtype.numpy_dtype.itemsize, chunk[0]


if __name__ == "__main__":
    {"rechunker": run_rechunker, "dask": run_dask, "tensorstore": run_tensorstore}[sys.argv[1]](json.loads(sys.argv[2]))
