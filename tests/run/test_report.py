#!/usr/bin/env python3
"""--report FILE: whole or not there, and never instead of something else."""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import ENVIRONMENT, Suite, check, check_left_alone, command, rechunk, sluice, tree  # noqa: E402

import inputs  # noqa: E402

FLAGS = ["--chunks", "12,5,7", "--memory", "64MiB"]


def reports_run(path):
    document = json.loads(path.read_text())
    return document["exit_status"] == 0 and "run" in document


def refuses_report(directory, report, *words):
    before = tree(directory)
    for flags in ([], ["--dry-run"], ["--overwrite"]):
        result = rechunk(directory / "in.zarr", directory / "out.zarr", *FLAGS, *flags, "--report", report)
        result.expect(2, *words)
        check(tree(directory) == before, f"something was changed\n{result}")


def test_report__never_lies_in_the_input(directory):
    source = inputs.small(directory / "in.zarr")
    (directory / "link").symlink_to(source)
    (directory / "chunk.json").symlink_to(source / "0.0.0")
    (source / "below").mkdir()
    for report in (source / "0.0.0", source / ".zarray", source / "new.json", source / "below" / "new.json",
                   directory / "link" / "new.json", directory / "chunk.json"):
        refuses_report(directory, report, "would lie in the input")


def test_report__never_lies_in_the_output(directory):
    inputs.small(directory / "in.zarr")
    for name in ("out.zarr", "out.zarr.sluice-partial"):
        refuses_report(directory, directory / name, "where the output is made")
    target = inputs.small(directory / "out.zarr")
    for report in (target / ".zarray", target / "new.json"):
        refuses_report(directory, report, "would lie in the output")


def test_report__never_replaces_the_pipeline(directory):
    inputs.small(directory / "in.zarr")
    pipeline = directory / "p.yaml"
    text = "memory: 64MiB\ninput: in.zarr\noutput: {path: out.zarr, chunks: [12, 5, 7]}\n"
    pipeline.write_text(text)
    (directory / "link").symlink_to(pipeline)
    (directory / "hard.json").hardlink_to(pipeline)
    for report in (pipeline, f"{directory}/./p.yaml", directory / "link", directory / "hard.json"):
        for verb in ("run", "plan", "check"):
            sluice(verb, pipeline, "--report", report).expect(2, "would replace the pipeline")
        with open(pipeline) as stdin:
            sluice("run", "-", "--report", report, cwd=directory, stdin=stdin).expect(2, "would replace the pipeline")
        check(pipeline.read_text() == text)
    check_left_alone(directory, "in.zarr", "p.yaml", "link", "hard.json")


def test_report__replaces_an_old_one_at_the_end_only(directory):
    source = inputs.big(directory / "in.zarr")
    report, link = directory / "report.json", directory / "link"
    report.write_text("the old one")
    report.chmod(0o600)
    link.symlink_to(report)
    process = subprocess.Popen(command("rechunk", source, directory / "out.zarr", "--chunks", "60,64,64", "--codec",
                                       "zstd:19", "--memory", "96MiB", "--report", link), env=ENVIRONMENT,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any("partial" in p.name for p in directory.iterdir()):
        time.sleep(0.05)
    check(process.poll() is None, "ended before it could be looked at")
    check(report.read_text() == "the old one", "it was cut at the start")
    process.kill()
    process.wait()
    check(report.read_text() == "the old one", "a run that was killed replaced it")
    check(not any("report-" in p.name for p in directory.iterdir()), "something is left of it")
    rechunk(source, directory / "out.zarr", "--chunks", "60,64,64", "--memory", "96MiB", "--report", link, "--restart").expect(0)
    check(link.is_symlink() and reports_run(report))
    check(report.stat().st_mode & 0o777 == 0o600, "its mode was widened")
    check_left_alone(directory, "in.zarr", "out.zarr", "report.json", "link")


def test_report__of_a_refusal_is_written_too(directory):
    source = inputs.small(directory / "in.zarr")
    rechunk(source, directory / "out.zarr", "--chunks", "nope=3", "--report", directory / "report.json").expect(2)
    check(json.loads((directory / "report.json").read_text())["refusal"]["exit_status"] == 2)
    check_left_alone(directory, "in.zarr", "report.json")


def test_report__that_cannot_be_written_is_an_error_and_leaves_nothing(directory):
    source, report = inputs.small(directory / "in.zarr"), directory / "report.json"
    report.write_text("old")
    flags = [source, directory / "out.zarr", *FLAGS, "--dry-run", "--report", report]
    for fault, status in (("write:0:ENOSPC", 3), ("write:0:zero", 3), ("rename:0:EIO", 5)):
        rechunk(*flags, fault=fault).expect(status, "cannot write the report", report)
        check_left_alone(directory, "in.zarr", "report.json")
        check(report.read_text() == "old", f"it was replaced, though {fault}")
    refused = 0
    for call in range(100):
        done = rechunk(*flags, fault=f"close:{call}:EIO")
        check(done.status == 0 or report.read_text() == "old", f"replaced at close {call}\n{done}")
        refused += "cannot write the report" in done.err
        check_left_alone(directory, "in.zarr", "report.json")
        report.write_text("old")
    check(refused == 1, f"refused {refused} times")
    rechunk(*flags, fault="write:0:short").expect(0)
    json.loads(report.read_text())


def test_pipeline__that_cannot_be_read_is_named(directory):
    source = inputs.small(directory / "in.zarr")
    pipeline = directory / "p.yaml"
    pipeline.write_text(f"input: {source}\noutput: {{path: out.zarr, chunks: [12, 5, 7]}}\n")
    sluice("plan", pipeline, fault="read:0:EIO").expect(5, "cannot read", pipeline)
    sluice("plan", pipeline, fault="read:0:short").expect(0)
    sluice("plan", "-", text=pipeline.read_text(), cwd=directory, fault="read:0:short").expect(0)


def test_report__goes_to_devices_and_pipes_as_they_are(directory):
    source = inputs.small(directory / "in.zarr")
    null = os.stat("/dev/null")
    rechunk(source, directory / "out.zarr", *FLAGS, "--report", "/dev/null").expect(0)
    check(os.path.samestat(null, os.stat("/dev/null")), "/dev/null was replaced")
    check(rechunk(source, directory / "out.zarr", *FLAGS, "--dry-run", "--overwrite", "--json", "--report",
                  "/dev/stderr").err.count('"schema": 1') > 0)
    with open(directory / "said", "w") as said:
        subprocess.run(command("rechunk", source, directory / "out.zarr", *FLAGS, "--overwrite", "--report",
                               "/dev/stdout"), env=ENVIRONMENT, stdout=said, stderr=subprocess.DEVNULL, check=True)
        inode = os.fstat(said.fileno()).st_ino
    check(inode == (directory / "said").stat().st_ino and reports_run(directory / "said"))
    check_left_alone(directory, "in.zarr", "out.zarr", "said")


if __name__ == "__main__":
    suite = Suite("report")
    suite.run(*[value for name, value in list(globals().items()) if name.startswith("test_")])
    sys.exit(suite.close())
