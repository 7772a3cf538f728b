#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The workloads of bench/ notice an allocator that is wrong, and bench/run reports it; with a right one both are
content.

usage: detects.py --bench DIR --faulty LIB --source DIR
"""
import argparse
import csv
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

# Workload, arguments, fault it must notice.
FAULTS = (
    ("churn", ["ops=100000"], "twice"), ("churn", ["order=lifo", "ops=100000"], "twice"),
    ("churn", ["order=fifo", "ops=100000"], "twice"), ("larson", ["ops=20000", "generations=2"], "twice"),
    ("prodcons", ["ops=100000"], "twice"), ("mixed", ["requests=300", "phases=2"], "twice"),
    ("threads", ["threads=50", "objects=256"], "twice"), ("big", ["ops=3000", "max=524288"], "twice"),
    ("latency", ["live=1000", "ops=50000"], "twice"), ("zeroed", ["ops=10000"], "dirty"),
    ("zeroed", ["min=65536", "max=262144", "live=4", "ops=50"], "dirty"), ("grow", ["max=1048576", "rounds=1"], "lost"),
    ("grow", ["mode=page", "max=1048576", "rounds=1"], "lost"),
    ("grow", ["mode=string", "max=65536", "rounds=1"], "lost"), ("aligned", ["ops=1000"], "askew"),
    ("move", ["size=4194304", "by=65536", "rounds=2"], "lost"),
    ("returns", ["peak=8", "live=1", "rest=100", "step=50", "scattered=1"], "twice"),
)
WORDS = ("lost", "not zero", "posix_memalign")


def run(args, program, arguments, fault):
    env = dict(os.environ, LD_PRELOAD=args.faulty)
    env.pop("FAULTY", None)
    if fault:
        env["FAULTY"] = fault
    return subprocess.run([os.path.join(args.bench, "bench-" + program)] + arguments, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def workloads(args):
    for program, arguments, fault in FAULTS:
        good = run(args, program, arguments, None)
        bad = run(args, program, arguments, fault)
        if good.returncode != 0 or " ops " not in good.stdout:
            yield "%s %s: fails without a fault: %s" % (program, arguments, good.stderr)
        if bad.returncode != 1 or not any(word in bad.stderr for word in WORDS):
            yield "%s %s: does not notice %s: %d %s" % (program, arguments, fault, bad.returncode, bad.stderr)


def runner(args):
    """bench/run over one good and one bad allocator."""
    path = os.path.join(args.source, "bench", "run")
    loader = importlib.machinery.SourceFileLoader("bench_run", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    pair = [module.allocators.Allocator("glibc"),
            module.allocators.Allocator("ashlar", args.faulty, {"FAULTY": "twice"})]
    module.allocators.find = lambda *_: pair
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "out")
        sys.argv = ["run", "--build", os.path.dirname(args.bench), "--quick", "--runs", "3", "--out", out, "--only",
                    "churn-random,grow-string"]
        if module.main() == 0:
            yield "bench/run ends with 0 although a workload failed"
        with open(out + ".csv", encoding="ascii") as file:
            rows = [r for r in csv.DictReader(file) if r["time"]]
        # Three rounds of two workloads under the good one; of one under the bad one.
        if len(rows) != 9 or any(float(r["time"]) <= 0 or int(r["rss_kib"]) < 500 for r in rows):
            yield "the CSV is not what was run: %s" % rows
        with open(out + ".json", encoding="ascii") as file:
            if len(json.load(file)["rows"]) != 10:
                yield "the JSON lacks rows"
        with open(out + ".md", encoding="utf-8") as file:
            text = file.read()
        if "| churn-random |" not in text or "churn-random under ashlar: ended with 1" not in text:
            yield "the tables do not tell of the failure:\n" + text


def losing(args):
    """A case that is lost is marked so, one that is won is not."""
    loader = importlib.machinery.SourceFileLoader("bench_tables", os.path.join(args.source, "bench", "tables.py"))
    tables = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_tables", loader))
    loader.exec_module(tables)
    rows = [{"benchmark": b, "allocator": a, "round": n, "time": t, "rss_kib": 1, "hugetlb_kib": 0}
            for b, a, t in (("slow", "glibc", 1.0), ("slow", "ashlar", 1.2), ("fast", "glibc", 1.0),
                            ("fast", "ashlar", 0.5)) for n in range(3)]
    text = tables.table(tables.Results(rows, ["slow", "fast"], ["glibc", "ashlar"]), tables.TIME)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    if "**lost**" not in lines["slow"] or "1.20" not in lines["slow"]:
        yield "a lost case is not marked: " + lines["slow"]
    if "**lost**" in lines["fast"] or "0.50" not in lines["fast"]:
        yield "a won case is marked as lost: " + lines["fast"]
    if "0.77" not in lines["*geometric mean of 2*"]:
        yield "the geometric mean is wrong: " + lines["*geometric mean of 2*"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--faulty", required=True)
    parser.add_argument("--source", required=True)
    args = parser.parse_args()
    args.bench, args.faulty = os.path.abspath(args.bench), os.path.abspath(args.faulty)
    sys.dont_write_bytecode = True
    problems = [p for check in (workloads, runner, losing) for p in check(args)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
