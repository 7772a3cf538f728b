#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Benchmarks from elsewhere are run and timed as bench/external.py says, bench/join makes one table of several runs,
bench/publish puts them into a page, and bench/plot draws every point it is given.

usage: tools.py --build DIR --source DIR
"""
import argparse
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

EXTERNAL = {
    "told": ("#!/bin/sh\necho took 7 s\necho took 2.5 s\n", "seconds", "took ([0-9.]+) s"),
    "rated": ("#!/bin/sh\necho 4000000 in a second\n", "rate", "^([0-9]+) in a second"),
    "silent": ("#!/bin/sh\n", "seconds", "took ([0-9.]+) s"),
    "broken": ("#!/bin/sh\nexit 3\n", None, None),
    "here": ("#!/bin/sh\ntest -x ./told\n", None, None),
}


def load(source, name):
    path = os.path.join(source, "bench", name)
    loader = importlib.machinery.SourceFileLoader("bench_" + name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def external(args, tmp):
    folder = os.path.join(tmp, "external")
    os.mkdir(folder)
    for name, (script, kind, pattern) in EXTERNAL.items():
        path = os.path.join(folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(script)
        os.chmod(path, 0o755)
        if kind is not None:
            with open(path + "." + kind, "w", encoding="ascii") as file:
                file.write(pattern + "\n")
    out = os.path.join(tmp, "out")
    done = subprocess.run([os.path.join(args.source, "bench", "run"), "--build", args.build, "--external", folder,
                           "--with", "glibc", "--quick", "--runs", "1", "--out", out], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with open(out + ".json", encoding="ascii") as file:
        rows = {row["benchmark"]: row for row in json.load(file)["rows"]}
    if set(rows) != set(EXTERNAL):
        return ["ran %s of %s: %s" % (sorted(rows), sorted(EXTERNAL), done.stdout)]
    problems = ["%s: %s" % (name, rows[name]) for name, time in (("told", 2.5), ("rated", 0.25))
                if rows[name].get("time") != time]
    problems += ["%s is no failure: %s" % (n, rows[n]) for n in ("silent", "broken") if "error" not in rows[n]]
    if not 0 < rows["here"].get("time", 0) < 60:
        problems.append("here: %s" % rows["here"])
    return problems


def joined(args, tmp):
    """Two results with a benchmark in common, and one of other allocators."""
    def result(name, allocators, times):
        path = os.path.join(tmp, name)
        rows = [{"benchmark": b, "allocator": a, "round": n, "time": t, "rss_kib": 1024, "hugetlb_kib": 0, "user": t,
                 "sys": 0.0, "minflt": 1, "majflt": 0} for b, ts in times for a in allocators for n, t in enumerate(ts)]
        machine = dict.fromkeys(("cpu", "memory", "kernel", "thp", "hugetlb_2m"), "x")
        with open(path, "w", encoding="ascii") as file:
            json.dump({"machine": {**machine, "cpus": 1, "runs": 3, "cold": False},
                       "versions": dict.fromkeys(allocators, ""), "rows": rows}, file)
        return path

    ours = ("glibc", "ashlar")
    parts = [result("a.json", ours, [("one", (9.0, 9.0, 9.0)), ("two", (4.0, 2.0, 3.0))]),
             result("b.json", ours, [("one", (1.0, 1.0, 1.0))])]
    join = [os.path.join(args.source, "bench", "join")]
    text = subprocess.run(join + parts, text=True, check=True, stdout=subprocess.PIPE).stdout
    for line in ("| one | 1.000 | 1.000 | 1.00 | 1.00 |  |", "| two | 3.000 | 3.000 | 1.00 | 1.00 |  |",
                 "| *geometric mean of 2* | 1.732 | 1.732 | 1.00 | 1.00 |  |"):
        if line not in text:
            yield "bench/join does not say %s" % line
    if "Behind" in text or "Page faults" in text:
        yield "bench/join tells of what is not there: %s" % text
    full = subprocess.run(join + ["--full"] + parts, text=True, check=True, stdout=subprocess.PIPE).stdout
    if "| two | 2.000 | 2.000 | 1.00 |  |" not in full or "Page faults" not in full:
        yield "bench/join --full: %s" % full
    pooled = subprocess.run(join + ["--pool"] + parts[::-1] + parts[:1], text=True, check=True,
                            stdout=subprocess.PIPE).stdout
    if "| one | 9.000 | 9.000 | 1.00 | 1.00 |  |" not in pooled or "Medians of 6 " not in pooled:
        yield "bench/join --pool: %s" % pooled
    other = subprocess.run(join + parts + [result("c.json", ("glibc",), [("one", (1.0,))])], text=True, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if other.returncode == 0 or "not the same allocators" not in other.stdout:
        yield "bench/join mixes results of other allocators"


def named(args):
    """--only takes a name, and the beginning of names where nothing is called so."""
    run = load(args.source, "run")
    every = [(n, None) for n in ("larson", "larson-8", "churn-48", "churn-many")]
    for only, expected in ((["larson"], ["larson"]), (["churn"], ["churn-48", "churn-many"]),
                           (["larson-", "churn-48"], ["larson-8", "churn-48"]), (["none"], [])):
        if [n for n, _ in run.named(every, only)] != expected:
            yield "--only %s takes %s" % (only, run.named(every, only))


def published(args, tmp):
    """A case that is behind, one that is above the bound in memory, what the notes know of them, and the summary."""
    folder = os.path.join(tmp, "published")
    os.mkdir(folder)

    def result(name, times, kib):
        rows = [{"benchmark": name, "allocator": a, "round": n, "time": t, "rss_kib": k, "hugetlb_kib": 0, "user": t,
                 "sys": 0.0, "minflt": 1, "majflt": 0}
                for a, t, k in zip(("glibc", "jemalloc", "ashlar"), times, kib) for n in range(5)]
        machine = dict.fromkeys(("cpu", "memory", "kernel", "thp", "hugetlb_2m"), "x")
        with open(os.path.join(folder, name + ".json"), "w", encoding="ascii") as file:
            json.dump({"machine": {**machine, "cpus": 1, "runs": 5, "cold": False},
                       "versions": {"glibc": "1", "jemalloc": "2", "ashlar": ""}, "rows": rows}, file)

    result("behind", (2.0, 4.0, 3.0), (1024, 1024, 1024))
    result("fat", (4.0, 2.0, 1.0), (1024, 1024, 2048))
    document, notes = os.path.join(folder, "page.md"), os.path.join(folder, "notes.md")
    with open(document, "w", encoding="utf-8") as file:
        file.write("before\n<!-- bench: verdict -->\n<!-- end: verdict -->\n<!-- bench: others -->\nstale\n"
                   "<!-- end: others -->\nafter\n")
    with open(notes, "w", encoding="utf-8") as file:
        file.write("<!-- what: this is -->\n\nbehind: It is slow\nby nature, as has been found out.\n\n"
                   "other: Not here.\n")
    publish = [os.path.join(args.source, "bench", "publish"), "--verdict", "--notes", notes, document]
    subprocess.run(publish + ["others=" + os.path.join(folder, "*.json")], check=True)
    with open(document, encoding="utf-8") as file:
        text = file.read()
    for line in ("before\n", "\nafter\n", "| behind | 2.000 | 4.000 | 3.000 | 1.50 | 1.50 | **lost** |",
                 "| fat | 1.0 | 1.0 | 2.0 | 2.00 | 2.00 | **above 1.3** |",
                 "- *behind*: 1.50 of glibc's time (lost; by the fastest runs 1.50 of glibc's). It is slow by "
                 "nature, as has been found\n  out.\n",
                 "- *fat*, memory: 2.00 of jemalloc's. Not looked into.\n",
                 "| *geometric mean of 2* | 2.828 | 2.828 | 1.732 | 0.61 | 0.61 |  |\n",
                 "| mimalloc-bench | 2 | 0.61 of glibc | 0.61 | 0.61 | 1.41 | 1.41 | behind |  | fat |\n"):
        if line not in text:
            yield "bench/publish does not write %s: %s" % (line, text)
    if "stale" in text or "Not here" in text:
        yield "bench/publish leaves what was there, or has notes of nothing: %s" % text
    gone = subprocess.run(publish + ["nowhere=" + os.path.join(folder, "*.json")], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with open(document, encoding="utf-8") as file:
        if gone.returncode == 0 or file.read() != text:
            yield "bench/publish takes a place that is not there: %s" % gone.stdout


def told(args):
    """What is behind counts as lost where the rounds tell it; where they do not, their bounds are there."""
    tables = load(args.source, "tables.py")

    def verdict(ours, peers):
        rows = [{"benchmark": "b", "allocator": a, "round": n, "time": t}
                for a, times in (("ashlar", ours), ("glibc", peers)) for n, t in enumerate(times)]
        row = {a: statistics.median(r["time"] for r in rows if r["allocator"] == a) for a in ("ashlar", "glibc")}
        return tables.verdict(rows, "b", "ashlar", row, ["glibc"], tables.TIME)

    for ours, expected in (((1.2, 1.2, 1.3, 1.2, 1.1), ["1.20", "**lost**"]),
                           ((1.2, 1.2, 1.3, 1.2, 0.9), ["1.20", "not told: 0.90 to 1.30"]),
                           ((1.04, 1.04, 1.04, 1.04, 1.04), ["1.04", ""]), ((0.5, 0.9, 0.8, 2.0, 2.0), ["0.90", ""])):
        if verdict(ours, (1.0,) * 5) != expected:
            yield "%s beside 1.0: %s" % (ours, verdict(ours, (1.0,) * 5))
    # Two rounds tell nothing, and nothing is made of it.
    if verdict((1.2, 1.2), (1.0, 1.0)) != ["1.20", "**lost**"]:
        yield "two rounds: %s" % verdict((1.2, 1.2), (1.0, 1.0))
    # One of nine rounds may be on the other side.
    if verdict((1.2,) * 8 + (0.9,), (1.0,) * 9)[1] != "**lost**":
        yield "nine rounds: %s" % verdict((1.2,) * 8 + (0.9,), (1.0,) * 9)


def undisturbed(args):
    """Runs at a slower pace do not count where enough others are there, by whomever and however long they are."""
    tables = load(args.source, "tables.py")

    def rows(name, paces, times=(1.0, 2.0)):
        return [{"benchmark": name, "allocator": a, "round": n, "time": time * pace, "pace_us": 1000 * pace}
                for a, time in zip(("ashlar", "glibc"), times) for n, pace in enumerate(paces)]

    kept = tables.steady(rows("often", (1, 2, 1, 1.1, 1.3)) + rows("rarely", (2, 2, 1, 2, 1)))
    if [r["time"] for r in kept if r["benchmark"] == "often" and r["allocator"] == "ashlar"] != [1, 1, 1.1]:
        yield "the disturbed runs count, or others do not: %s" % kept
    if sum(r["benchmark"] == "rarely" for r in kept) != 10:
        yield "two runs were taken for enough: %s" % kept
    without = [{k: v for k, v in r.items() if k != "pace_us"} for r in rows("old", (1, 2, 3))]
    if tables.steady(without) != without:
        yield "runs without a pace do not count"
    for runs, expected in ((3, True), (4, False)):
        if tables.enough(rows("often", (1, 2, 1, 1.1, 1.3)), "often", ["ashlar", "glibc"], runs) != expected:
            yield "enough of %d: not %s" % (runs, expected)
    # Three of each: one order in twenty has all of ours behind, and as many in front.
    if tables.unpaired([4, 5, 6], [1, 2, 3]) != (4 / 3, 6) or tables.unpaired([1, 2], [1, 2]) is not None:
        yield "rank sum: %s %s" % (tables.unpaired([4, 5, 6], [1, 2, 3]), tables.unpaired([1, 2], [1, 2]))
    # Of the 252 orders of five and five, 12 on each side have at most four pairs turned round: 1, 1, 2, 3, 5.
    quotients = sorted(a / b for a in (11, 12, 13, 14, 15) for b in (6, 7, 8, 9, 10))
    if tables.unpaired([11, 12, 13, 14, 15], [6, 7, 8, 9, 10]) != (quotients[4], quotients[-5]):
        yield "rank sum of five: %s" % (tables.unpaired([11, 12, 13, 14, 15], [6, 7, 8, 9, 10]),)
    report = os.path.join(args.build, "undisturbed.json")
    subprocess.run([os.path.join(args.build, "bench", "bench-measure"), "--pace", "--cpu",
                    str(min(os.sched_getaffinity(0))), "--out", report, "--", "true"], check=True)
    with open(report, encoding="ascii") as file:
        pace = json.load(file)["pace_us"]
    os.unlink(report)
    if pace <= 0:
        yield "no pace: %s" % pace


def everything(args, tmp):
    """bench/all leaves every file it speaks of; a library in --peers is a column by its name."""
    peers, out = os.path.join(tmp, "peers"), os.path.join(tmp, "all")
    os.mkdir(peers)
    os.symlink(os.path.join(os.path.abspath(args.build), "preload", "libashlar-preload.so"),
               os.path.join(peers, "libother.so"))
    done = subprocess.run([os.path.join(args.source, "bench", "all"), "--build", args.build, "--quick", "--runs", "1",
                           "--with", "other,ashlar", "--only", "churn-48", "--peers", peers, "--out", out], text=True,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        yield "bench/all: %d %s" % (done.returncode, done.stdout)
        return
    names = ["run.md", "run.csv", "run.json", "latency.md", "latency.csv", "returns.md", "returns.csv"]
    if shutil.which("gnuplot"):
        names += ["run-time.svg", "run-memory.svg", "latency.svg", "returns.svg"]
    for name in names:
        try:
            with open(os.path.join(out, name), encoding="utf-8") as file:
                if "other" not in file.read():
                    yield "bench/all: %s does not name the peer" % name
        except OSError:
            yield "bench/all wrote no %s" % name


def drawn(path, curves, names):
    """An SVG with as many drawn things as there are to draw, each named."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not text.lstrip().startswith("<?xml") or "</svg>" not in text:
        yield "%s is no whole SVG" % path
    if len(re.findall(r"<path|<polygon|<polyline|<use", text)) < curves:
        yield "%s draws less than %d things" % (path, curves)
    for name in names:
        if name not in text:
            yield "%s does not name %s" % (path, name)


def plots(args, tmp):
    rows = [{"benchmark": b, "allocator": a, "time": t, "rss_kib": 100, "hugetlb_kib": 0}
            for b, a, t in (("one", "glibc", 1.0), ("one", "ashlar", 0.5), ("two", "glibc", 1.0),
                            ("two", "ashlar", 2.0))]
    result, cdf, samples = (os.path.join(tmp, n) for n in ("r.json", "cdf.csv", "s.csv"))
    with open(result, "w", encoding="ascii") as file:
        json.dump({"rows": rows}, file)
    with open(cdf, "w", encoding="ascii") as file:
        file.write("allocator,call,ns,share\n" + "".join(
            "%s,%s,%d,%f\n" % (a, c, ns, share) for a in ("glibc", "ashlar") for c in ("malloc", "free")
            for ns, share in ((20, 0.5), (100, 0.99), (5000, 1.0))))
    with open(samples, "w", encoding="ascii") as file:
        file.write("allocator,load,ms,resident_kib,live_kib,minflt\n" + "".join(
            "%s,%s,%d,%d,%d,1\n" % (a, l, ms, 2048, 1024) for a in ("glibc", "ashlar") for l in ("rest", "loop")
            for ms in (0, 100, 200)))
    plot = load(args.source, "plot")
    for kind, source, target in (("cases", result, tmp + "/r"), ("latency", cdf, tmp + "/l.svg"),
                                 ("returns", samples, tmp + "/s.svg")):
        sys.argv = ["plot", kind, source, target]
        if plot.main() != 0:
            yield "bench/plot %s failed" % kind
    for path, curves, names in ((tmp + "/r-time.svg", 4, ("one", "two", "ashlar")),
                                (tmp + "/r-memory.svg", 4, ("glibc",)),
                                (tmp + "/l.svg", 4, ("malloc", "free", "ashlar")),
                                (tmp + "/s.svg", 6, ("rest", "loop", "ashlar", "(live)"))):
        yield from drawn(path, curves, names)


def returning(args):
    module = load(args.source, "returns")
    peak = (1000, 500, 400, 0)
    if module.settled([peak, (1100, 500, 100, 0), (1200, 114, 100, 0), (1300, 110, 100, 0)]) != 200:
        yield "memory that came back is not seen to"
    if module.settled([peak, (1100, 114, 100, 0), (1200, 116, 100, 0)]) is not None:
        yield "memory that grew again counts as returned"
    done = subprocess.run([os.path.join(args.source, "bench", "returns"), "--build", args.build, "--with",
                           "glibc,ashlar", "--quick"], text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0 or not re.search(r"^\| ashlar \| \d+ \| \d+ \|", done.stdout, re.M):
        yield "bench/returns: %d %s" % (done.returncode, done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--source", required=True)
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as tmp:
        problems = external(args, tmp) + list(joined(args, tmp)) + list(returning(args)) + list(told(args))
        problems += list(undisturbed(args))
        problems += list(published(args, tmp)) + list(named(args))
        problems += everything(args, tmp)
        if shutil.which("gnuplot"):
            problems += list(plots(args, tmp))
        else:
            print("# gnuplot is not installed: nothing was drawn")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
