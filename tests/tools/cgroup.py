"""A memory cgroup of our own, version 1 or 2, for tests and benchmarks. OSError: it cannot be made here."""
import contextlib
import os
import pathlib
import shlex
import time

V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")


class Group:
    def __init__(self, limit_bytes):
        self.old = (V1 / "memory.limit_in_bytes").exists()
        self.path = (V1 if self.old else V2) / f"sluice-{os.getpid()}-{time.monotonic_ns()}"
        if not self.old and "memory" not in (V2 / "cgroup.subtree_control").read_text().split():
            raise OSError("no memory controller to hand out")
        try:
            self.path.mkdir()
            (self.path / ("memory.limit_in_bytes" if self.old else "memory.max")).write_text(str(limit_bytes))
        except OSError:
            with contextlib.suppress(OSError):
                self.path.rmdir()
            raise
        with contextlib.suppress(OSError):      # there is no such file where swap is not counted
            (self.path / ("memory.memsw.limit_in_bytes" if self.old else "memory.swap.max")).write_text(
                str(limit_bytes) if self.old else "0")

    def command(self, argv):
        """`argv`, run inside."""
        return ["/bin/sh", "-c", f"echo $$ > {shlex.quote(str(self.path / 'cgroup.procs'))} && exec {shlex.join(argv)}"]

    def kills(self):
        text = (self.path / ("memory.oom_control" if self.old else "memory.events")).read_text()
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)

    def peak_bytes(self):
        with contextlib.suppress(OSError):
            return int((self.path / ("memory.max_usage_in_bytes" if self.old else "memory.peak")).read_text())
        return 0

    def remove(self):
        for _ in range(100):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.05)
