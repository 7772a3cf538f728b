#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Valgrind's malloc in the place of ours: each function that gives memory is its, so that its free knows what it gets.

usage: valgrind.py --preload LIB --program FAMILY
"""
import argparse
import os
import shutil
import subprocess
import sys

TOOLS = (["--tool=memcheck", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all"],
         ["--tool=massif", "--massif-out-file=/dev/null"])


def run(tool, program, preload):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ASHLAR_", "LD_PRELOAD", "VALGRIND_", "MALLOC_"))}
    if preload is not None:
        env["LD_PRELOAD"] = preload
    return subprocess.run(["valgrind", "-q"] + tool + [program], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preload", required=True)
    parser.add_argument("--program", required=True)
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return 77
    wanted = subprocess.run([args.program], stdout=subprocess.PIPE, text=True, check=True).stdout
    for tool in TOOLS:
        if run(tool, "/bin/true", None).returncode != 0:
            print("skipped: valgrind does not work here")
            return 77
        done = run(tool, args.program, os.path.abspath(args.preload))
        if done.returncode != 0 or done.stdout != wanted:
            print("%s: ended with %d, printed %r\n%s" % (tool[0], done.returncode, done.stdout, done.stderr[-3000:]))
            return 1
    print("%d tools, %s allocations each" % (len(TOOLS), wanted.strip()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
