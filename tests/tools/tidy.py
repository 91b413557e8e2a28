#!/usr/bin/env python3
"""tidy.py - the rules of the tree, as a test. Each rule is a function that yields "file:line: what is wrong".

CC and CFLAGS say how to compile (make tidy sets them); with --no-compile the compiler is left out.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[2]
LINES_MAX = 700
COLUMNS_MAX = 118

# Who may include whom. A file may include its own directory and those named here.
BELOW = {
    "engine/base": [],
    "engine/mem": ["engine/base"],
    "engine/array": ["engine/base"],
    "engine/io": ["engine/base"],
    "engine/report": ["engine/base"],
    "engine/store": ["engine/base", "engine/mem", "engine/array", "engine/io"],
    "engine/codec": ["engine/base", "engine/mem", "engine/array", "engine/io"],
    "engine/format": ["engine/base", "engine/mem", "engine/array", "engine/io", "engine/store", "engine/codec"],
    "engine/exec": ["engine/base", "engine/mem", "engine/array", "engine/io", "engine/store", "engine/codec",
                    "engine/format", "engine/report"],
    "planner": ["engine/"],
    "dsl": ["planner", "engine/"],
}
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca)\s*\(")
MACHINE = re.compile(r"/(?:work|tmp/wt|root)/|[\w.-]+@[\w.-]*(?:localhost|local)\b")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
TEXT = {".c", ".h", ".py", ".sh", ".md", ".yaml", ".yml", ".txt", ".err", ""}


def sources(*patterns):
    return sorted(p for pattern in patterns for p in TREE.glob(pattern))


def name(path):
    return str(path.relative_to(TREE))


def code_of(text):
    """The text without comments and strings, the lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", blank, text, flags=re.S)


C_FILES = sources("engine/*/*.[ch]", "planner/*.[ch]", "dsl/*.[ch]")
TEST_FILES = sources("tests/*/*.[ch]", "bench/*.[ch]")


def numbered(path, code=False):
    text = path.read_text(errors="replace")
    return enumerate((code_of(text) if code else text).split("\n"), 1)


def rule_includes_go_one_way():
    for path in C_FILES:
        layer = name(path.parent)
        if layer not in BELOW:
            yield f"{name(path)}: no rule for the directory {layer}"
            continue
        for number, line in numbered(path):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            included = match.group(1)
            if not (TREE / included).exists():
                yield f'{name(path)}:{number}: include "{included}": paths begin at the top of the tree'
            elif not any(included.startswith(prefix if prefix.endswith("/") else prefix + "/")
                         for prefix in [layer, *BELOW[layer]]):
                yield f"{name(path)}:{number}: {layer} may not include {included}"


def rule_files_are_short():
    for path in C_FILES + TEST_FILES + sources("tests/*/*.py", "bench/*.py"):
        lines = path.read_text(errors="replace").count("\n")
        if lines > LINES_MAX and not name(path).startswith("tests/unit"):
            yield f"{name(path)}: {lines} lines, at most {LINES_MAX}"


def rule_lines_are_short():
    for path in C_FILES + TEST_FILES:
        for number, line in numbered(path):
            if len(line.expandtabs(4)) > COLUMNS_MAX + 8:
                yield f"{name(path)}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"
            if line.rstrip() != line:
                yield f"{name(path)}:{number}: white space at the end"
            if "\t" in line:
                yield f"{name(path)}:{number}: a tab"


def rule_nothing_is_unfinished():
    for path in C_FILES + TEST_FILES + sources("pipelines/*", "tests/*/*.sh"):
        for number, line in numbered(path):
            if UNFINISHED.search(line):
                yield f"{name(path)}:{number}: {line.strip()}"


def rule_banned_functions_stay_out():
    for path in C_FILES:
        for number, line in numbered(path, code=True):
            if match := BANNED.search(line):
                yield f"{name(path)}:{number}: {match.group(1)}"


# Calls of the kernel go through engine/io/os.h, where tests make them fail. These do not, because:
CALLS = re.compile(r"(?<![\w.>])(open|openat|creat|fopen|freopen|fdopen|fdopendir|opendir|readdir|read|pread|readv|write|pwrite|"
                   r"writev|close|fread|fwrite|fclose|stat|lstat|fstat|fstatat|statx|statfs|fstatfs|statvfs|fstatvfs|access|faccessat|rename|renameat|"
                   r"unlink|unlinkat|remove|mkdir|mkdirat|rmdir|link|linkat|symlink|chmod|fchmod|truncate|ftruncate|fsync|"
                   r"fdatasync|syncfs|fallocate|flock|fcntl|ioctl|dup|dup2|realpath|readlink|memfd_create|syscall)\s*\(")
LISTS = "readdir is counted by wrapping it (faults.h); fdopendir takes memory, which is, too"
PAST_THE_SEAM = {
    "engine/io/io.c": ("fopen fclose memfd_create pwrite", "whether a ring works is tried out: whatever fails, there are threads"),
    "engine/io/io_uring.c": ("syscall", "the same; its other calls ask os_fault()"),
    "engine/report/usage.c": ("open read close", "/proc/self: without it a figure of the report is 0"),
    "engine/report/progress.c": ("ioctl", "the width of a terminal, 80 without it"),
    "engine/exec/frozen.c": ("realpath", "a path that cannot be resolved is taken as it was given"),
    "engine/format/parents.c": ("realpath", "of a path that cannot be resolved nothing is said"),
    "engine/format/group.c": ("fdopendir readdir", LISTS),
    "engine/format/census.c": ("fdopendir readdir", LISTS),
    "engine/exec/leftovers.c": ("fdopendir readdir", LISTS),
    "engine/io/remove_tree.c": ("fdopendir readdir", LISTS),
    "engine/store/lock.c": ("fdopendir readdir", LISTS),
    "engine/store/stage.c": ("fdopendir readdir", LISTS),
    "planner/resolve.c": ("faccessat fstatfs", "ask before anything is done; the run finds out what is so"),
    "dsl/report_file.c": ("realpath access", "ask before anything is done; that it fails after all is seen when it is written"),
    "dsl/session.c": ("fwrite", "to standard error, where nobody could be told"),
    "dsl/answer.c": ("fwrite", "to standard output: answer_print looks at what became of it"),
    "dsl/sluice.c": ("fclose", "of memory"),
    "dsl/main.c": ("write", "in a signal handler"),
}


def rule_system_calls_go_through_the_seam():
    used = {path: set() for path in PAST_THE_SEAM}
    for path in C_FILES:
        allowed = PAST_THE_SEAM.get(name(path), ("",))[0].split()
        for number, line in numbered(path, code=True):
            for match in CALLS.finditer("" if name(path) == "engine/io/os.c" else line):
                if match.group(1) in allowed:
                    used[name(path)].add(match.group(1))
                elif not line[0].isalpha():         # there it is a function of ours that is defined
                    yield f"{name(path)}:{number}: {match.group(1)}, not of engine/io/os.h"
    for path, calls in used.items():
        for call in set(PAST_THE_SEAM[path][0].split()) - calls:
            yield f"tests/tools/tidy.py: {path} makes no call of {call}"


def rule_only_main_exits():
    for path in C_FILES:
        for number, line in numbered(path, code=True):
            if name(path) != "dsl/main.c" and re.search(r"(?<![\w.>])(_?exit|quick_exit)\s*\(", line):
                yield f"{name(path)}:{number}: exit outside dsl/main.c"


def rule_headers_have_a_guard_and_a_first_word():
    for path in sources("engine/*/*.h", "planner/*.h", "dsl/*.h", "tests/unit/*.h"):
        text = path.read_text()
        if not text.startswith("/* "):
            yield f"{name(path)}:1: no comment that says what it is for"
        match = re.search(r"^#ifndef (\w+)\n#define (\w+)\n", text, flags=re.M)
        if not match or match.group(1) != match.group(2) or not text.rstrip().endswith("#endif"):
            yield f"{name(path)}: no include guard"


def rule_sources_say_what_they_are():
    """A source's header may say it."""
    for path in sources("engine/*/*.c", "planner/*.c", "dsl/*.c", "bench/*.c"):
        if not path.with_suffix(".h").exists() and not path.read_text().startswith("/* "):
            yield f"{name(path)}:1: no comment that says what it is for"


def rule_no_file_is_dead():
    """Every header is included by somebody, every source has something others use or main."""
    included = set()
    for path in C_FILES + TEST_FILES:
        for _, line in numbered(path):
            if match := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
                included.add(match.group(1))
    for path in C_FILES:
        if path.suffix == ".h" and name(path) not in included:
            yield f"{name(path)}: included by nobody"


def rule_the_machine_is_not_mentioned():
    listed = subprocess.run(["git", "-C", TREE, "ls-files"], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        path = TREE / line
        if path.suffix not in TEXT or not path.is_file() or line == "tests/tools/tidy.py":
            continue
        for number, text in numbered(path):
            if match := MACHINE.search(text):
                yield f"{line}:{number}: {match.group()}"


def rule_a_sanitized_build_is_apart():
    """Wherever BUILD was given: objects of two kinds in one directory would be linked as they are found."""
    for sanitizer, place in (("address", "asan"), ("undefined", "ubsan"), ("thread", "tsan")):
        for given in (["BUILD=elsewhere"], []):
            environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "BUILD")}
            done = subprocess.run(["make", "-n", f"SAN={sanitizer}", *given, "all"], cwd=TREE, env=environment,
                                  capture_output=True, text=True)
            wanted = f"-o {'elsewhere' if given else 'build'}/{place}/sluice "
            links = [line for line in done.stdout.splitlines() if re.search(r"-o \S+/sluice ", line)]
            if done.returncode or any(wanted not in line for line in links) or (given and not links):
                yield f"Makefile: SAN={sanitizer} {' '.join(given)}: links {links or done.stderr}, not {wanted}"


def compiles(arguments, language, text, what):
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run([*arguments, "-x", language, "-c", "-o", f"{scratch}/out.o", "-"], input=text, text=True,
                              capture_output=True, cwd=TREE)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        yield f"{what}: {first}"


def compiler():
    return shlex.split(os.environ.get("CC") or "cc") + shlex.split(os.environ.get("CFLAGS") or
                                                                   "-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -I.")


def rule_headers_stand_alone():
    headers = sources("engine/*/*.h", "planner/*.h", "dsl/*.h")
    for path in headers:
        yield from compiles([*compiler(), "-Werror", "-O0"], "c", f'#include "{name(path)}"\n#include "{name(path)}"\n',
                            name(path))


def rule_no_warning():
    for path in C_FILES + TEST_FILES:
        if path.suffix == ".c":
            yield from compiles([*compiler(), "-Werror", "-O1"], "c", f'#include "{name(path)}"\n', name(path))


def main():
    rules = [value for key, value in globals().items() if key.startswith("rule_")]
    if "--no-compile" in sys.argv:
        rules = [r for r in rules if r not in (rule_headers_stand_alone, rule_no_warning)]
    failed = 0
    for rule in rules:
        complaints = list(rule())
        failed += bool(complaints)
        if complaints:
            print(f"FAILED {rule.__name__}")
            for line in complaints[:40]:
                print(f"  {line}")
    print(f"tidy: {len(rules) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
