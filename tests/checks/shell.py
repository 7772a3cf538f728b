#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every shell script of the tree is clean under shellcheck.

usage: shell.py ROOT
A script is a file with a shell's name on its first line, wherever it is.
"""
import os
import re
import shutil
import subprocess
import sys

import tree

SHEBANG = re.compile(rb'^#!.*\b(?:ba|da)?sh\b')


def main(root):
    if not shutil.which('shellcheck'):
        print('shellcheck is not installed')
        sys.exit(tree.SKIP)
    scripts = []
    for where, dirs, names in os.walk(root):
        dirs[:] = [d for d in dirs if d != '.git' and not d.startswith('build')]
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                with open(path, 'rb') as f:
                    if SHEBANG.match(f.readline(200)):
                        scripts.append(path)
    done = subprocess.run(['shellcheck', '--format=gcc', *sorted(scripts)], capture_output=True, text=True) \
        if scripts else None
    problems = done.stdout.splitlines() if done and done.returncode else []
    tree.verdict('shell', problems, len(scripts), 'scripts', 2)


main(os.path.abspath(sys.argv[1]))
