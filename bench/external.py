# SPDX-License-Identifier: MIT
"""Benchmarks that are not ours: every executable file of a folder is one, by its name, run without arguments in there.

Its time is that of the whole process, unless a file NAME.seconds lies beside it: a regular expression, whose one group,
in the last place of the output where it matches, is the time in seconds; or NAME.rate, whose group is operations in a
second, of which a million is what is then timed.
"""
import os
import re

TIMEOUT = 900
# How much one will touch is not known.
WARM_MIB = 640


def _pattern(path):
    try:
        with open(path, encoding="utf-8") as file:
            return re.compile(file.read().strip(), re.M)
    except FileNotFoundError:
        return None


def _last(pattern, text):
    found = pattern.findall(text)
    if not found or float(found[-1]) <= 0:
        raise RuntimeError("its output does not tell its time")
    return float(found[-1])


def _action(path):
    seconds, rate = _pattern(path + ".seconds"), _pattern(path + ".rate")

    def run(bench, allocator):
        bench.warm_mib = WARM_MIB
        result = bench.measure(allocator, [path], timeout=TIMEOUT, folder=os.path.dirname(path))
        if result["status"] == 0 and seconds is not None:
            result["time"] = _last(seconds, result["output"])
        elif result["status"] == 0 and rate is not None:
            result["time"] = 1e6 / _last(rate, result["output"])
        return result

    return run


def found(folder):
    """[(name, action)] of a folder, by name."""
    folder = os.path.abspath(folder)
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [(os.path.basename(p), _action(p)) for p in paths if os.path.isfile(p) and os.access(p, os.X_OK)]
