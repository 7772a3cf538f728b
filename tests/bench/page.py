#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What bench/page measures, it does: every request that can be granted is, and the tools notice when one is not.

usage: page.py DIR

Success rates are correctness and are checked here, in small zones; times are not.
"""
import csv
import io
import os
import subprocess
import sys
import tempfile

PATTERNS = {"bulk", "random", "repeat"}


def run(folder, program, *arguments):
    done = subprocess.run([os.path.join(folder, program)] + [str(a) for a in arguments], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout, done.stderr


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def speed(folder):
    for threads in (1, 2):
        status, out, err = run(folder, "bench_page", 14, threads, 0, 12, 1)
        rows = [line.split(",") for line in out.splitlines()]
        if status != 0 or {row[0] for row in rows} != PATTERNS or {int(row[1]) for row in rows} != set(range(13)):
            yield "bench_page, %d threads: %s%s" % (threads, err, out)
        if any(len(row) != 7 or float(row[4]) <= 0 for row in rows):
            yield "bench_page, %d threads: a time is missing" % threads


def pairs(folder):
    if len(os.sched_getaffinity(0)) < 2:
        return
    status, out, err = run(folder, "bench_pair", 3, 14)
    rows = table(out)
    if status != 0 or [row["way"] for row in rows] != ["inline", "called"]:
        yield "bench_pair: %s%s" % (err, out)
    for row in rows:
        if None in row.values() or not 0 < float(row["from"]) <= float(row["times"]) <= float(row["to"]):
            yield "bench_pair: a figure is missing: %s" % out


def contiguous(folder):
    for program, columns in (("bench_contig", 6), ("bench_holds", 11)):
        status, out, err = run(folder, program, 17)
        rows = table(out)
        if status != 0 or any(row["granted"] != row["requests"] for row in rows):
            yield "%s: %s%s" % (program, err, out)
        if not rows or any(len(row) != columns or None in row.values() for row in rows):
            yield "%s: a column is missing: %s" % (program, out)
        if sum(int(row["moved_frames"]) for row in rows) == 0:
            yield "%s moved nothing" % program
    if run(folder, "bench_contig", 17, 0, "-", 100)[0] != 1:
        yield "bench_contig is content though frames that cannot be moved are in the way"


def tables(folder):
    """What bench/page/contig and bench/page/compare make of it: every column of every row; and parts count together."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "page")
    build = os.path.join(folder, "..", "..")
    page = os.path.join(folder, "bench_page")
    for words, rows, columns in ((["contig", "--build", build, "--turns", 2, "--frames", 16], 9, 11),
                                 (["compare", "--medians", "--turns", 1, "--frames", 14, "--orders", "0-1",
                                   "--threads", 1, "a=" + page, "b=" + page], 8, 8)):
        status, out, err = run(source, *words)
        lines = [line.split("|") for line in out.splitlines() if line.startswith("|")]
        if status != 0 or len(lines) != rows or any(len(line) != columns + 2 for line in lines):
            yield "bench/page/%s: %s%s" % (words[0], err, out)
        if not out.splitlines()[-1:] or not out.splitlines()[-1].startswith("Measured on 20"):
            yield "bench/page/%s does not say when it was" % words[0]
    with tempfile.TemporaryDirectory() as tmp:
        for rounds in (3, 6):
            words += ["--keep", os.path.join(tmp, "kept")]
            if "medians of %d rounds" % rounds not in run(source, *words)[1]:
                yield "bench/page/compare --keep does not count %d rounds" % rounds


def fragmentation(folder):
    status, out, err = run(folder, "bench_frag", "quarter", 17)
    if status != 0 or float(table(out)[0]["percent"]) < 98:
        yield "bench_frag quarter: %s%s" % (err, out)
    if run(folder, "bench_frag", "quarter", 17, 100)[0] != 1:
        yield "bench_frag quarter is content though frames that cannot be moved are everywhere"
    tainted = {}
    for mode in ("on", "off", "defrag", "tainted"):
        status, out, err = run(folder, "bench_frag", "mix", mode, 17, 20)
        rows = table(out)
        if status != 0 or len(rows) != 20:
            yield "bench_frag mix %s: %s%s" % (mode, err, out)
            return
        tainted[mode] = int(rows[-1]["tainted_pageblocks"])
    if tainted["on"] * 2 > tainted["off"]:
        yield "mobility grouping keeps nothing together: %s" % tainted
    if run(folder, "bench_frag", "mix", "on", 17, 10)[0] != 1:
        yield "bench_frag mix is content with fallbacks in the last rounds"


def start(folder):
    status, out, err = run(folder, "bench_init")
    rows = table(out)
    if status != 0 or rows[-1]["gib"] != "1024" or any(float(row["metadata_percent"]) > 0.8 for row in rows):
        yield "bench_init: %s%s" % (err, out)
    if int(rows[-1]["resident_kib"]) > 16384:
        yield "bench_init: the metadata of frames that nobody has asked for is resident: %s" % out


def main():
    problems = [p for check in (speed, pairs, contiguous, tables, fragmentation, start) for p in check(sys.argv[1])]
    for problem in problems:
        print("page.py: %s" % problem)
    print("page.py: %d problems" % len(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
