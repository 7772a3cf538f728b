#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every size class lands on huge pages: runs the coverage program for each block size and prints the table.

usage: coverage.py --program COVERAGE [--preload LIB] --backing thp|2M|none

none is the negative test: without the preload, and with transparent huge pages forbidden, every size must be found
wanting. 2M needs PAGES huge pages, hence root: else skipped (77). With thp the kernel gives what its memory has in one
piece just now: a size that is found wanting is measured again, and while the kernel does not even have huge pages for a
mapping that asks for them itself, nothing can be said: skipped (77).
"""
import argparse
import contextlib
import os
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import hugepool  # noqa: E402

SIZES = (96, 1000, 64 << 10, 256 << 10, 1 << 20, 4 << 20)
CONF = {"thp": "huge:thp", "2M": "huge:2M"}
# 32 MiB of blocks, the start, and what an allocator may keep beside.
PAGES = 32
# Of a size with thp.
TRIES = 5


def kernel_has_them(args):
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run([args.program, "raw=1"], env=env, stdout=subprocess.PIPE, text=True, check=False)
    return "only" not in done.stdout


def measure_fairly(args, size):
    """(the last run, whether the kernel had huge pages to give)"""
    had = args.backing != "thp"
    for _ in range(TRIES if args.backing == "thp" else 1):
        done = measure(args, size)
        if done.returncode == 0:
            return done, True
        had |= args.backing == "thp" and kernel_has_them(args)
    return done, had


def measure(args, size):
    env = {k: v for k, v in os.environ.items()
           if k not in ("LD_PRELOAD", "MALLOC_PERTURB_") and not k.startswith("ASHLAR_")}
    command = [args.program, "size=%d" % size]
    if args.backing == "none":
        command.append("nothp=1")
    else:
        env.update({"LD_PRELOAD": os.path.abspath(args.preload), "ASHLAR_CONF": CONF[args.backing]})
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--preload")
    parser.add_argument("--backing", choices=("thp", "2M", "none"), required=True)
    args = parser.parse_args()
    wrong = unknown = 0
    with contextlib.ExitStack() as stack:
        if args.backing == "thp" and hugepool.thp_is_off():
            print("skipped: transparent huge pages are switched off on this machine")
            return 77
        if args.backing == "2M":
            try:
                stack.enter_context(hugepool.Pool(PAGES))
            except hugepool.Unavailable as reason:
                print("skipped: %s" % reason)
                return 77
        print("%10s  %14s  %20s" % ("block", "on huge pages", "memory per live byte"))
        for size in SIZES:
            done, had = measure_fairly(args, size)
            lines = done.stdout.splitlines()
            words = next((line.split() for line in lines if line.split()[:1] == [str(size)]), None)
            if words is None or done.returncode not in (0, 1):
                print("%10d  ended with %d: %s" % (size, done.returncode, done.stdout))
                wrong += 1
                continue
            print("%10d  %12.1f %%  %20s  %s" % (size, 100 * float(words[2]), words[3],
                                                 lines[-1] if done.returncode else ""))
            if args.backing == "none":
                wrong += done.returncode != 1 or "on huge pages" not in lines[-1]
            elif had or "on huge pages" not in lines[-1]:
                wrong += done.returncode != 0
            else:
                unknown += 1
    if unknown and not wrong:
        print("skipped: the kernel has no huge pages to give just now, for %d of %d sizes" % (unknown, len(SIZES)))
        return 77
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
