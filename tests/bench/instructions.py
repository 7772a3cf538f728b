#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions per call of the malloc family against tests/golden/instructions, counted by callgrind.

usage: instructions.py SOURCE BUILD COMPILER [--write]

The file says with which compiler and C library its counts were made. With the same ones, by whatever name the compiler
is called, each count must be the file's: more is a regression, less is an improvement that is to be written down
(--write does). With others, and always, the bars below hold. Skipped where the counts mean nothing.
"""
import json
import os
import platform
import subprocess
import sys
import tempfile

# The promises, by the beginning of the name.
BARS = {"malloc/pair/": 20, "free/pair/": 22, "free_sized/sized/": 22, "free/remote/": 40}
SLACK = 0.5
# Not only ours: the C library's memset, which it chooses by the processor.
LIBRARY = {"calloc/calloc/256", "calloc/calloc/1024"}


def over_bar(counts):
    problems = ["%s: no count" % prefix for prefix in BARS if not any(key.startswith(prefix) for key in counts)]
    for key, value in counts.items():
        for prefix, bar in BARS.items():
            # A batch of remote frees is sent now and then: an average over them, rounded to the instruction.
            if key.startswith(prefix) and round(value) > bar:
                problems.append("%s: %.2f instructions, promised are %d" % (key, value, bar))
    return problems


def changed(counts, golden):
    problems = []
    for key in sorted(set(counts) | set(golden)):
        now, then = counts.get(key), golden.get(key)
        if now is None or then is None:
            problems.append("%s: %s" % (key, "not counted any more" if now is None else "not in the golden file"))
        elif key not in LIBRARY and abs(now - then) > SLACK:
            problems.append("%s: %.2f instructions, were %.2f" % (key, now, then))
    return problems


def read(path):
    made_with, counts = "", {}
    with open(path, encoding="ascii") as file:
        for line in file:
            if line.startswith("# made with: "):
                made_with = line[13:].strip()
            elif not line.startswith("#"):
                key, value = line.split()
                counts[key] = float(value)
    return made_with, counts


def write(path, made_with, counts):
    with open(path, "w", encoding="ascii") as file:
        file.write("# Instructions per call, by tests/bench/instructions.py --write; what is counted: bench/calls.c\n")
        file.write("# made with: %s\n" % made_with)
        for key, value in counts.items():
            file.write("%-28s %8.2f\n" % (key, value))


def tool_chain(compiler):
    version = subprocess.run(compiler.split() + ["--version"], capture_output=True, text=True, check=True).stdout
    return "%s, %s" % (version.splitlines()[0], os.confstr("CS_GNU_LIBC_VERSION"))


def same_compiler(one, other):
    """A version's first word is the name that the program was called by."""
    return one.split(" ", 1)[1:] == other.split(" ", 1)[1:]


def self_test():
    """A planted regression of each kind must be seen."""
    good = {"malloc/pair/16": 17.0, "free/pair/16": 21.0, "free_sized/sized/16": 22.0, "free/remote/16": 40.4}
    return (over_bar(good) == [] and changed(good, good) == [] and over_bar({**good, "free/remote/16": 40.6}) and
            over_bar({"malloc/pair/16": 17.0}) and changed({**good, "malloc/pair/16": 18.0}, good) and
            changed({"malloc/pair/16": 17.0}, good) and same_compiler("cc (D) 12.2", "gcc (D) 12.2") and
            not same_compiler("cc (D) 12.2", "cc (D) 13.1"))


def main(source, build, compiler, rewrite):
    if platform.machine() != "x86_64":
        print("skipped: the counts are x86-64's")
        return 77
    golden = os.path.join(source, "tests", "golden", "instructions")
    with tempfile.TemporaryDirectory() as tmp:
        result = os.path.join(tmp, "counts")
        done = subprocess.run([os.path.join(source, "bench", "instructions"), "--preload",
                               os.path.join(build, "preload", "libashlar-preload.so"), "--calls",
                               os.path.join(build, "bench", "bench-calls"), "--json", result],
                              capture_output=True, text=True, check=False)
        if done.returncode == 77:
            print(done.stdout.strip())
            return 77
        if done.returncode != 0:
            print(done.stdout + done.stderr)
            return 1
        with open(result, encoding="ascii") as file:
            counts = json.load(file)
    made_with = tool_chain(compiler)
    if rewrite:
        write(golden, made_with, counts)
    then_with, then = read(golden)
    problems = [] if self_test() else ["planted regressions were not noticed"]
    problems += over_bar(counts)
    if same_compiler(made_with, then_with):
        problems += changed(counts, then)
    else:
        print("# golden counts are of %s, this is %s: only the bars were compared" % (then_with, made_with))
    print("# %d counts" % len(counts))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4], "--write" in sys.argv[4:]))
