#!/usr/bin/env python3
"""For demo.sh: run a command, in a memory cgroup where that can be had, and kill -9 it when so much is done.

    demo_kill.py PERCENT LIMIT_MIB COMMAND...       PERCENT 0: it is not killed. Exit 3: it was done before
"""
import os
import pty
import re
import signal
import subprocess
import sys

import cgroup


def follow(pid, terminal, percent):
    """Reads what the command prints; how much was done when it was killed. None: it ended."""
    tail = ""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:                 # it has ended
            return None
        if not data:
            return None
        tail = (tail + data.decode(errors="replace"))[-400:]
        done = max((int(n) for n in re.findall(r" (\d+) %", tail)), default=0)
        if done >= percent:
            os.kill(pid, signal.SIGKILL)
            return done


def main():
    percent, limit_mib, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    try:
        group = cgroup.Group(limit_mib << 20)
        argv = group.command(argv)
        print(f"(in a memory cgroup of {limit_mib} MiB: more than that and the kernel kills it)", flush=True)
    except OSError:
        group = None
        print("(a memory cgroup needs root: without one)", flush=True)
    done = status = None
    if percent:
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(argv[0], argv)
        done = follow(pid, terminal, percent)
        os.waitpid(pid, 0)
    else:
        status = subprocess.call(argv)
    if group:
        print(f"(the cgroup held at most {group.peak_bytes() / 2**20:.0f} MiB, files and kernel included)")
        group.remove()
    if not percent:
        return status
    if done is None:
        print("it was done before anybody could kill it: this machine is fast")
        return 3
    print(f"killed, kill -9, at {done} %")
    return 0


sys.exit(main())
