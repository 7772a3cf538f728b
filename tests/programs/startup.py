#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A tiny program stays tiny: `true` under the preload has at most 300 KiB more resident than without.

usage: startup.py --program BENCH-STARTUP --preload LIB
(How long its start takes is measured by bench/startup, not asserted.)
"""
import argparse
import os
import subprocess
import sys

MORE_KIB = 300


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--preload", required=True)
    args = parser.parse_args()
    done = subprocess.run([args.program, "spawns=50", "none=", "preload=" + os.path.abspath(args.preload)],
                          stdout=subprocess.PIPE, text=True, check=True)
    rss = {words[0]: int(words[-2]) for words in map(str.split, done.stdout.splitlines())}
    print(done.stdout.strip())
    if rss["none"] <= 0 or rss["preload"] <= 0:
        print("these figures cannot be right")
        return 1
    return 0 if rss["preload"] - rss["none"] <= MORE_KIB else 1


if __name__ == "__main__":
    sys.exit(main())
