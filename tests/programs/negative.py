#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tests of this folder fail under a preload that is wrong, that is not there, or that is fat.

usage: negative.py --faulty LIB --source DIR --bench DIR
"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--faulty", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--bench", required=True)
    args = parser.parse_args()
    faulty = os.path.abspath(args.faulty)

    def programs(preload, case):
        return ["programs.py", "--preload", preload, "--source", args.source, "--bench", args.bench, case]

    with tempfile.NamedTemporaryFile(suffix=".so") as no_library:
        startup = ["startup.py", "--program", os.path.join(args.bench, "bench-startup"), "--preload", faulty]
        # Command, fault, exit status, a word of what it must say.
        checks = ((programs(faulty, "perl"), "", 0, "comparisons"), (programs(faulty, "perl"), "lost", 1, "perl"),
                  (programs(faulty, "coreutils"), "lost", 1, "differs"),
                  (programs(no_library.name, "perl"), "", 1, "not mapped"), (startup, "", 0, "KiB"),
                  (startup, "fat", 1, "KiB"))
        problems = 0
        for command, fault, status, word in checks:
            done = subprocess.run([sys.executable, os.path.join(HERE, command[0])] + command[1:], text=True,
                                  env=dict(os.environ, FAULTY=fault), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            if done.returncode != status or word not in done.stdout:
                print("%s with FAULTY=%s: ended with %d, expected %d and \"%s\"\n%s" % (
                    " ".join(command), fault, done.returncode, status, word, done.stdout[-1500:]))
                problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
