#!/usr/bin/env python3
"""tally.py NAME=COMMAND ... - run test suites one after another, show what they print, add up what they count.

A suite says "name: N passed, N failed, N skipped" (", N skipped" may be left out), as often as it likes. A suite
that closes with the same line without a name is a sum itself, and only that line counts. A suite that fails without
counting a failure is one failure; one that counts nothing and succeeds is one pass.

What else was done it says as "counts: kills=20, faults injected=7000"; the sums of all suites stand in one line at the end.
"""
import collections
import re
import subprocess
import sys
import time

NAMED = re.compile(r"^[\w.-]+: (\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")
DONE = re.compile(r"^counts: (.*)$")
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")


def counts(match):
    return [int(n or 0) for n in match.groups()]


def add_done(words, done):
    for word in words.split(","):
        what, _, count = word.strip().partition("=")
        done[what] += int(count)


def count_text(count):
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count:,}"


def run_suite(name, command, done):
    named, plain = [0, 0, 0], None
    start = time.monotonic()
    # close_fds: a nested make keeps the job server of the make above.
    process = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", close_fds=False)
    for line in process.stdout:
        if match := PLAIN.match(line):
            plain = counts(match)
            line = f"{name}: {line}"
        elif match := NAMED.match(line):
            named = [a + b for a, b in zip(named, counts(match))]
        elif match := DONE.match(line):
            add_done(match[1], done)
        sys.stdout.write(line)
        sys.stdout.flush()
    status = process.wait()
    total = plain or named
    if status != 0 and total[1] == 0:
        print(f"{name}: ended with status {status}")
        total[1] += 1
    elif total == [0, 0, 0]:
        total[0] += 1
    return total, time.monotonic() - start


def main():
    rows, done = [], collections.Counter()
    for argument in sys.argv[1:]:
        name, _, command = argument.partition("=")
        rows.append((name, *run_suite(name, command, done)))
    print()
    for name, total, seconds in rows:
        mark = "FAILED" if total[1] else "ok"
        print(f"  {name:<14} {mark:<7} {total[0]:>5} passed {total[1]:>4} failed {total[2]:>4} skipped  {seconds:6.1f} s")
    total = [sum(row[1][i] for row in rows) for i in range(3)]
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    if done:
        print(", ".join(f"{what} {count_text(count)}" for what, count in done.items()))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
