#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bars of instructions.py for clang, whatever the compiler of the build: a release build of its own is counted.

usage: clang.py SOURCE
"""
import os
import shutil
import subprocess
import sys
import tempfile

import instructions

WANTED = ("preload/libashlar-preload.so", "bench/bench-calls")


def build(source, folder):
    env = {key: value for key, value in os.environ.items() if key not in ("CFLAGS", "CPPFLAGS", "LDFLAGS")}
    for command in (["meson", "setup", "--buildtype=release", "-Dtests=false", folder, source],
                    ["ninja", "-j2", "-C", folder, *WANTED]):
        done = subprocess.run(command, env=dict(env, CC="clang"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            print(done.stdout)
            return False
    return True


def main(source):
    for program in ("clang", "valgrind"):
        if not shutil.which(program):
            print("skipped: %s is not installed" % program)
            return 77
    with tempfile.TemporaryDirectory() as folder:
        return instructions.main(source, folder, "clang", False) if build(source, folder) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
