#!/usr/bin/env python3
"""Sources and pipelines made to hurt: refused in a second with a word about where, or read rightly; never a hang, never
wrong values. What stands in place of chunks is in test_damage.py, refused outputs are in test_refusals.py."""
import gzip
import json
import os
import pathlib
import resource
import shutil
import socket
import struct
import sys
import threading
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import SANITIZER, Skip, Suite, check, check_left_alone, rechunk, sluice, tree  # noqa: E402

import inputs  # noqa: E402
import numcodecs  # noqa: E402
import numpy as np  # noqa: E402
import zarr  # noqa: E402

FLAGS = ["--chunks", "12,5,7", "--memory", "64MiB"]
SECONDS_MAX = 20 if SANITIZER else 1


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def quickly(what, *arguments, **keywords):
    """In a second of its own CPU time; who waits is ended by the harness."""
    begun = cpu_seconds()
    result = sluice(*arguments, **keywords)
    seconds = cpu_seconds() - begun
    check(seconds < SECONDS_MAX, f"{what}: took {seconds:.1f} s\n{result}")
    return result


# ---- chunks that claim to be huge ----

CHUNK_BYTES = 20 * 30 * 4
ZEROES = bytes(64 << 20)


def blosc_head(raw_bytes, block_bytes, frame_bytes, flags=0x21):
    return struct.pack("<BBBBIII", 2, 1, flags, 4, raw_bytes, block_bytes, frame_bytes)


def crafted_blosclz():
    """c-blosc issue 405: one split of 16 MiB whose run is longer than an int holds."""
    body = bytes([0x1f, *range(32), 0xff, *[0xff] * 100_000, 0, 0])
    frame = struct.pack("<I", 20) + struct.pack("<I", len(body)) + body
    return blosc_head(16 << 20, 16 << 20, 16 + len(frame), flags=0x10) + frame


BOMBS = {
    "zstd": (numcodecs.Zstd(3), bytes(numcodecs.Zstd(1).encode(ZEROES))),
    "zstd that says 2^62": (numcodecs.Zstd(3), bytes.fromhex("28b52ffde0") + struct.pack("<Q", 1 << 62) + b"\1\0\0"),
    "zstd with a window of 3.75 TiB": (numcodecs.Zstd(3), bytes.fromhex("28b52ffd00ff") + b"\1\0\0"),
    "gzip": (numcodecs.GZip(3), gzip.compress(ZEROES, 1)),
    "zlib": (numcodecs.Zlib(3), zlib.compress(ZEROES, 1)),
    "lz4": (numcodecs.LZ4(1), bytes(numcodecs.LZ4(1).encode(ZEROES))),
    "lz4 that says 2 GiB": (numcodecs.LZ4(1), struct.pack("<I", 0x7e000000) + bytes(range(50))),
    "lz4 that says -1": (numcodecs.LZ4(1), struct.pack("<I", 0xffffffff) + bytes(range(50))),
    "blosc": (numcodecs.Blosc("lz4", 5, 1), bytes(numcodecs.Blosc("zstd", 5, 1).encode(ZEROES))),
    "blosc that says 2 GiB": (numcodecs.Blosc("lz4", 5, 1), blosc_head(2**31 - 1, 2**31 - 1, 64) + bytes(48)),
    "blosc with blocks of 4 GiB": (numcodecs.Blosc("lz4", 5, 1), blosc_head(CHUNK_BYTES, 2**32 - 1, 64) + bytes(48)),
    "crafted blosclz": (numcodecs.Blosc("blosclz", 5, 1), crafted_blosclz()),
}


def test_bomb__in_every_codec_is_refused_by_its_size(directory):
    for name, (codec, bomb) in BOMBS.items():
        place = directory / name.replace(" ", "-")
        place.mkdir()
        source = inputs.small(place / "in.zarr", compressors=codec)
        (source / "7.0.0").write_bytes(bomb)
        for plan in ("direct", "split"):
            quickly(name, "rechunk", source, place / "out.zarr", *FLAGS, "--plan", plan).expect(4, "7.0.0")
        quickly(name, "check", "--chunks", source).expect(4, "7.0.0")
        quickly(name, "digest", source, "--memory", "64MiB").expect(4, "7.0.0")
        check_left_alone(place, "in.zarr")


def test_bomb__crafted_blosclz_of_the_right_length_is_refused(directory):
    """The frame says just what the chunk has, so only decoding finds it."""
    source = inputs.small(directory / "in.zarr", shape=(1, 2048, 2048), chunks=(1, 2048, 2048),
                          compressors=numcodecs.Blosc("blosclz", 5, 1))
    (source / "0.0.0").write_bytes(crafted_blosclz())
    for plan in ("direct", "split"):
        quickly(plan, "rechunk", source, directory / "out.zarr", "--chunks", "1,64,64", "--memory", "96MiB",
                "--plan", plan).expect(4, "0.0.0", "blosclz")
    check_left_alone(directory, "in.zarr")


def test_bomb__metadata_that_claims_huge_chunks_does_not_fit_or_does_not_match(directory):
    """What can be read in parts is not too big, but the files are not what the metadata says."""
    source = inputs.small(directory / "in.zarr")
    document = json.loads((source / ".zarray").read_text())
    for chunks in ([1 << 40, 20, 30], [1 << 50, 1, 1], [1 << 30, 1, 4]):
        (source / ".zarray").write_text(json.dumps({**document, "chunks": chunks}))
        for words in (("rechunk", source, directory / "out.zarr", *FLAGS), ("check", "--chunks", source)):
            result = quickly(chunks, *words)
            check(result.status in (3, 4), f"exit {result.status}\n{result}")
        quickly(chunks, "info", source).expect(0)
    check_left_alone(directory, "in.zarr")


# ---- what stands where metadata should be ----

def unix_socket(path):
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)       # the whole path may be longer than a socket's name can be
    try:
        server.bind(path.name)
    finally:
        os.chdir(here)
        server.close()


def device(path):
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))
    except PermissionError:
        raise Skip("making a device needs root") from None


IN_PLACE = {
    "pipe": os.mkfifo,
    "directory": os.mkdir,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link out of the store": lambda path: path.symlink_to("../outside"),
    "socket": unix_socket,
}


def refuses_in_place_of_metadata(directory, kinds):
    for key in (".zarray", ".zattrs", "zarr.json"):
        for kind, make in kinds.items():
            place = directory / f"{key}-{kind.replace(' ', '-')}"
            place.mkdir()
            source = inputs.small(place / "in.zarr", version=3 if key == "zarr.json" else 2)
            whole = (source / key).read_bytes() if (source / key).exists() else b"{}"
            (place / "outside").write_bytes(whole)
            (source / key).unlink(missing_ok=True)
            make(source / key)
            for arguments in (["rechunk", source, place / "out.zarr", *FLAGS], ["info", source],
                              ["check", "--chunks", source]):
                quickly(f"{kind} as {key}", *arguments).expect(4, f"in.zarr/{key}'")
            check_left_alone(place, "in.zarr", "outside")


def test_metadata__that_is_no_file_is_refused_by_name(directory):
    refuses_in_place_of_metadata(directory, IN_PLACE)


def test_metadata__that_is_a_device_is_refused_by_name(directory):
    refuses_in_place_of_metadata(directory, {"device": device})


def test_chunks__behind_a_directory_that_is_a_link_or_a_pipe_are_refused(directory):
    for kind, make in {"link": lambda path: path.symlink_to("../../moved"), "itself": lambda path: path.symlink_to("3"),
                       "pipe": os.mkfifo}.items():
        place = directory / kind
        place.mkdir()
        source = inputs.small(place / "in.zarr", version=3)
        shutil.move(source / "c" / "3", place / "moved")
        make(source / "c" / "3")
        for arguments in (["rechunk", source, place / "out.zarr", *FLAGS], ["check", "--chunks", source],
                          ["digest", source]):
            quickly(kind, *arguments).expect(4, "c/3")
        check_left_alone(place, "in.zarr", "moved")


def test_paths__that_are_no_directory_are_refused(directory):
    source = inputs.small(directory / "in.zarr")
    (directory / "loop").symlink_to("loop")
    os.mkfifo(directory / "pipe")
    for path in (directory / "loop", directory / "pipe", "/dev/zero", "/dev/null"):
        status = 5 if path == directory / "loop" else 4
        quickly(path, "info", path).expect(status, path)
        quickly(path, "verify", source, path).expect(status, path)
        for flags in ([], ["--overwrite"]):
            result = quickly(path, "rechunk", source, path, *FLAGS, *flags)
            check(result.status in (2, 5, 6) and str(path) in result.err, result)
    check_left_alone(directory, "in.zarr", "loop", "pipe")


# ---- metadata that lies ----

def with_value(document, key, text):
    return json.dumps({**document, key: "@"}).replace('"@"', text)


def test_metadata__numbers_out_of_range_are_named(directory):
    v2, v3 = inputs.small(directory / "v2.zarr"), inputs.small(directory / "v3.zarr", version=3)
    old, new = json.loads((v2 / ".zarray").read_text()), json.loads((v3 / "zarr.json").read_text())
    for text in ("[1e300,20,30]", "[-1,20,30]", "[18446744073709551616,20,30]", "[NaN,20,30]", "[1.5,20,30]",
                 "[9223372036854775807,1,1]", "[4294967296,4294967296,4294967296]", "[true,20,30]", '["12",20,30]',
                 str([1] * 17), "[12,20,30" + "0" * 400 + "]", "[]"):
        for key in ("shape", "chunks"):
            (v2 / ".zarray").write_text(with_value(old, key, text))
            quickly(text, "rechunk", v2, directory / "out.zarr", *FLAGS).expect(4, "v2.zarr/.zarray'", key)
        (v3 / "zarr.json").write_text(with_value(new, "shape", text))
        quickly(text, "rechunk", v3, directory / "out.zarr", *FLAGS).expect(4, "v3.zarr/zarr.json'", "shape")
        grid = {"name": "regular", "configuration": {"chunk_shape": "@"}}
        (v3 / "zarr.json").write_text(json.dumps({**new, "chunk_grid": grid}).replace('"@"', text))
        quickly(text, "rechunk", v3, directory / "out.zarr", *FLAGS).expect(4, "v3.zarr/zarr.json'")
    check_left_alone(directory, "v2.zarr", "v3.zarr")


def test_metadata__too_large_or_too_deep_is_refused(directory):
    v2, v3 = inputs.small(directory / "v2.zarr"), inputs.small(directory / "v3.zarr", version=3)
    hundred = '{"a": "' + "x" * (100 << 20) + '"}'
    million = "{" + ", ".join(f'"attribute {i}": {i}' for i in range(1_000_000)) + "}"
    deep = '{"a":' * 100_000
    for text in (hundred, million, deep, "[" * 100_000, '{"a": "' + "x" * (15 << 20)):
        for source, key in ((v2, ".zarray"), (v2, ".zattrs"), (v3, "zarr.json")):
            path = source / key
            whole = path.read_bytes() if path.exists() else b"{}"
            path.write_text(text)
            result = quickly(text[:20], "rechunk", source, directory / "out.zarr", *FLAGS).expect(4, f"{source.name}/{key}'")
            check(len(result.err) < 2000, "says too much", result)
            quickly(text[:20], "info", source).expect(4, key)
            path.write_bytes(whole)
    check_left_alone(directory, "v2.zarr", "v3.zarr")


def test_metadata__a_hundred_thousand_attributes_are_passed_on(directory):
    source = inputs.small(directory / "in.zarr")
    attributes = {f"attribute {i}": i for i in range(100_000)}
    attributes["nul"], attributes["deep"] = "\0", json.loads("[" * 100 + "]" * 100)
    (source / ".zattrs").write_text(json.dumps(attributes))
    rechunk(source, directory / "out.zarr", *FLAGS).expect(0)
    check(json.loads((directory / "out.zarr" / ".zattrs").read_text()) == attributes)


def test_metadata__of_an_array_without_elements_is_fine(directory):
    for shape in ((0, 20, 30), (12, 0, 30), (0, 0, 0)):
        for version in (2, 3):
            source = directory / "in.zarr"
            zarr.create_array(str(source), shape=shape, chunks=(1, 20, 30), dtype="float32", zarr_format=version)
            for plan in ("direct", "split"):
                quickly(shape, "rechunk", source, directory / "out.zarr", *FLAGS, "--plan", plan).expect(0)
                check(inputs.values(directory / "out.zarr").shape == shape)
                sluice("verify", source, directory / "out.zarr").expect(0)
                check_left_alone(directory, "in.zarr", "out.zarr")
                shutil.rmtree(directory / "out.zarr")
            shutil.rmtree(source)


def test_metadata__nul_bytes_end_nothing(directory):
    source = inputs.small(directory / "in.zarr")
    whole = (source / ".zarray").read_text()
    for text in (whole.replace('"C"', '"C\\u0000"'), whole.replace('"<f4"', '"<f4\\u0000"'), whole + "\0", "\0" * 1000,
                 whole.replace('"order"', '"order\\u0000"'), whole.replace('"order"', '"ord\0er"')):
        check(text != whole)
        (source / ".zarray").write_text(text)
        quickly(repr(text[-50:]), "rechunk", source, directory / "out.zarr", *FLAGS).expect(4, ".zarray")
    check_left_alone(directory, "in.zarr")


def test_metadata__names_of_dimensions_do_not_steer_the_terminal(directory):
    source = inputs.small(directory / "in.zarr")
    names = ["\x1b[31mx", "y\nerror: z", "\x07\x7f"]
    (source / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": names}))
    other = inputs.small(directory / "other.zarr")
    (other / "3.0.0").unlink()
    for arguments in (["info", source], ["verify", source, other], ["rechunk", source, directory / "out.zarr", *FLAGS],
                      ["rechunk", source, directory / "o.zarr", "--chunks", "120,50,70", "--memory", "64MiB", "-n"],
                      ["rechunk", source, directory / "o.zarr", "--chunks", "x=5", "-n"]):
        result = sluice(*arguments)
        for said in (result.out, result.err):
            check(not any(c < " " and c != "\n" or c == "\x7f" for c in said), f"control characters\n{said!r}")
            check("\nerror: z" not in said, f"a line of its own\n{said!r}")
    written = json.loads((directory / "out.zarr" / ".zattrs").read_text())
    check(written["_ARRAY_DIMENSIONS"] == names, written)


# ---- paths that lead astray ----

def test_paths__that_are_not_utf8_are_used_and_not_emitted(directory):
    """A pipeline file could only name another one."""
    odd = pathlib.Path(os.fsdecode(os.fsencode(directory) + b"/\xff.zarr"))
    source = inputs.small(directory / "in.zarr")
    rechunk(source, odd, *FLAGS).expect(0)
    sluice("verify", source, odd).expect(0)
    rechunk(source, odd, *FLAGS, "--emit").expect(2, "not UTF-8")
    rechunk(odd, directory / "out.zarr", *FLAGS, "--emit").expect(2, "not UTF-8")
    check_left_alone(directory, "in.zarr", odd.name)


def test_paths__dots_and_links_do_not_hide_the_input(directory):
    source = inputs.small(directory / "in.zarr")
    (directory / "deep").mkdir()
    (directory / "deep" / "up").symlink_to("..")
    before = tree(source)
    for out in ("in.zarr/../in.zarr", "deep/../in.zarr", "deep/up/in.zarr", "deep/up/in.zarr/out.zarr", "in.zarr/a/b/c",
                "in.zarr/", "."):
        for flags in ([], ["--overwrite"]):
            result = sluice("rechunk", "in.zarr", out, *FLAGS, *flags, cwd=directory)
            check(result.status in (2, 6), result)
            check(tree(source) == before, "the input was changed", result)
    check_left_alone(directory, "in.zarr", "deep")


def test_paths__an_output_that_shares_files_with_the_input_leaves_it_whole(directory):
    """Nothing is written in place: what is replaced is unlinked."""
    source = inputs.small(directory / "in.zarr")
    shutil.copytree(source, directory / "out.zarr", copy_function=os.link)
    before = tree(source)
    rechunk(source, directory / "out.zarr", *FLAGS, "--overwrite").expect(0)
    check(tree(source) == before, "the input was written to through a hard link")
    check(np.array_equal(inputs.values(source), inputs.values(directory / "out.zarr")))
    check_left_alone(directory, "in.zarr", "out.zarr")


# ---- sources that change while they are read ----

FRAMES = 400


def changing(what, change):
    """Some chunks are changed all the time. A run ends well, with each chunk as it was or as it became, or says which."""
    def test(directory):
        source = directory / "in.zarr"
        array = zarr.create_array(str(source), shape=(FRAMES, 64, 64), chunks=(1, 64, 64), dtype="float32", zarr_format=2,
                                  fill_value=0, compressors=None)
        array[...] = np.repeat(np.arange(1, FRAMES + 1, dtype="float32"), 64 * 64).reshape(FRAMES, 64, 64)
        over = threading.Event()

        def disturb():
            i = 0
            while not over.is_set():
                change(source / f"{i * 7 % FRAMES}.0.0", float(i * 7 % FRAMES + 1))
                i += 1

        thread = threading.Thread(target=disturb)
        thread.start()
        told = 0
        try:
            for i in range(6):
                plan, io = ("direct", "split")[i % 2], ("uring", "threads")[i // 2 % 2]
                result = rechunk(source, directory / "out.zarr", "--chunks", f"{FRAMES},8,8", "--memory", "64MiB",
                                 "--plan", plan, "--overwrite", "--restart", *([] if SANITIZER == "thread" else ["--io", io]))
                check(result.status in (0, 4), f"exit {result.status}\n{result}")
                if result.status == 4:
                    check(".0.0" in result.err, f"does not say which chunk\n{result}")
                    told += 1
                    continue
                for frame, got in enumerate(zarr.open_array(str(directory / "out.zarr"), mode="r")[...]):
                    check(np.all(got == got[0, 0]) and got[0, 0] in (0, frame + 1, frame + 1.5), f"wrong values in {frame}")
        finally:
            over.set()
            thread.join()
        if what in ("written_to", "cut"):
            check(told > 0, "no run saw it")
        sluice("clean", directory / "out.zarr").expect(0)
        shutil.rmtree(directory / "out.zarr", ignore_errors=True)
        check_left_alone(directory, "in.zarr")
    test.__name__ = f"test_source__that_is_{what}_while_it_is_read_is_told_or_read_rightly"
    return test


def image(value):
    return np.full((64, 64), value, dtype="float32").tobytes()


def write_to(path, value):
    with open(path, "r+b") as file:
        file.write(image(value))
    os.utime(path)


def cut(path, value):
    os.truncate(path, 100)
    with open(path, "r+b") as file:
        file.write(image(value))


def grow(path, value):
    with open(path, "ab") as file:
        file.write(b"more")
    os.truncate(path, len(image(value)))


def replace(path, value):
    new = path.with_name(".new")
    new.write_bytes(image(value + 0.5 * (time.monotonic_ns() // 1000 % 2)))
    os.replace(new, path)


def vanish(path, value):
    path.unlink()
    new = path.with_name(".new")
    new.write_bytes(image(value))
    os.replace(new, path)


# ---- pipelines ----

HOSTILE = {
    # name: (bytes, line, column; None: wherever)
    "deep lists": (b"input: " + b"[" * 100_000, 1, None),
    "deep maps": (b"{a: " * 100_000, 1, None),
    "deep indentation": (b"\n".join(b" " * i + b"a:" for i in range(1200)), 65, 65),
    "deep dashes": (b"- " * 200_000, 1, None),
    "a NUL byte": (b"input: a\0b", 1, 9),
    "a byte order mark": (b"\xef\xbb\xbfinput: a.zarr\nbogus: 1\n", 2, 1),
    "UTF-16": ("\ufeffinput: a.zarr\n".encode("utf-16le"), 1, None),
    "latin-1": ("input: é.zarr\n".encode("latin-1"), 1, None),
    "only half a character": (b"input: a\nb: " + b"\xb1" * 500 + b"\n", 2, None),
    "100,000 keys": (b"".join(b"k%d: 1\n" % i for i in range(90_000)), 50_000, None),
    "the same key": (b"k: 1\n" * 40_000, 2, 1),
    "CRLF": (b"input: a.zarr\r\nbogus: 1\r\n", 2, 1),
    "CR alone": (b"input: a.zarr\rbogus: 1\r", 2, 1),
    "tabs": (b"input: a.zarr\n\toutput: b\n", 2, 1),
    "an anchor": (b"input: &x a\n", 1, 8),
    "an alias": (b"input: *x\n", 1, 8),
    "a tag": (b"input: !!python/object:os.system x\n", 1, 8),
    "a merge": (b"<<: {a: 1}\n", 1, 1),
    "laughs": (b'params:\n  a0: "xxxxxxxxxx"\n' + b"".join(
        b'  a%d: "%s"\n' % (i, b"$a%d" % (i - 1) * 8) for i in range(1, 40)) + b"input: $a39\n", 7, 7),
    "45,000 params": (b"params:\n  a0: x\n" + b"".join(b"  a%d: $a%d\n" % (i, i - 1) for i in range(1, 45_000)), 258, 3),
    "names by the thousand": (b'input: "' + b"$a" * 400_000 + b'"\n', 1, None),
    "90,000 axes": (b"input: a\noutput: {path: b, chunks: [" + b"1," * 90_000 + b"1]}\n", 2, None),
    "a long line": (b"input: a # " + b"x" * 900_000 + b"\nbogus: 1", 2, 1),
    "many lines": (b"#\n" * 400_000 + b"bogus: 1\n", 400_001, 1),
    "a long key": (b"a" * 900_000 + b": 1\n", 1, None),
    "many brackets": (b"[" * 60 + b"[]," * 90_000, 1, None),
    "many directives": (b"%YAML 1.1\n" * 60_000, 2, 1),
    "many documents": (b"---\n" * 200_000, 2, 1),
    "colours": (b"input: \x1b[31mred\n", 1, 8),
}


def test_pipeline__that_is_hostile_is_refused_at_its_place_within_a_second(directory):
    pipeline = directory / "p.yaml"
    for name, (text, line, column) in HOSTILE.items():
        pipeline.write_bytes(text)
        result = quickly(name, "run", "p.yaml", cwd=directory).expect(2)
        place = result.err.split(" ")[0].split(":")
        check(place[0] == "p.yaml" and int(place[1]) == line and (column or int(place[2])) == int(place[2]),
              f"{name}: says {result.err[:100]!r}, not p.yaml:{line}:{column}")
        check(len(result.err) < 4000 and "\x1b" not in result.err, f"{name}: says too much\n{result}")
    check_left_alone(directory, "p.yaml")


def test_pipeline__that_is_too_large_is_refused_by_its_name(directory):
    for name, text in {"2 MiB of notes": b"#" * (2 << 20), "a scalar of 10 MB": b"input: " + b"a" * (10 << 20),
                       "a million keys": b"".join(b"k%d: 1\n" % i for i in range(1_000_000))}.items():
        (directory / "p.yaml").write_bytes(text)
        quickly(name, "run", "p.yaml", cwd=directory).expect(2, "p.yaml: error: larger than 1MiB")
    quickly("no end", "run", "/dev/zero").expect(2, "larger than 1MiB")
    check_left_alone(directory, "p.yaml")


if __name__ == "__main__":
    suite = Suite("hostile")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    suite.run(changing("written_to", write_to), changing("cut", cut), changing("grown", grow),
              changing("replaced", replace), changing("removed", vanish))
    sys.exit(suite.close())
