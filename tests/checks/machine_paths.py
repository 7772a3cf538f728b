#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""No file of the tree names a place that exists only where it was written.

usage: machine_paths.py ROOT
"""
import os
import re
import subprocess
import sys

import tree

# Spelled in pieces, so that this file does not find itself.
PLACES = re.compile('/' + 'work/|/' + 'farm/|/' + r'tmp/(?:bash_jobs|b-)|/' + 'root/|/' + r'home/\w+/')


def tracked(root):
    done = subprocess.run(['git', '-C', root, 'ls-files', '-z'], capture_output=True, text=True)
    if done.returncode == 0:
        return [p for p in done.stdout.split('\0') if p and os.path.isfile(os.path.join(root, p))]
    return tree.walk(root, ['.'], ('',))


def main(root):
    problems, examined = [], 0
    for path in tracked(root):
        with open(os.path.join(root, path), 'rb') as f:
            data = f.read()
        if b'\0' in data[:4096]:
            continue
        examined += 1
        for n, line in enumerate(data.decode('utf-8', 'replace').splitlines(), 1):
            match = PLACES.search(line)
            if match:
                problems.append(f'{path}:{n}: {match.group(0)} is a place of one machine')
    tree.verdict('machine-paths', problems, examined, 'files', 10)


main(os.path.abspath(sys.argv[1]))
