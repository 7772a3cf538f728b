#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mandoc has nothing to say about the manual pages, and it would.

usage: man_lint.py FOLDER
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

SKIP = 77


def complaints(path):
    out = subprocess.run(['mandoc', '-Tlint', path], capture_output=True, text=True, check=False)
    # Which other pages this machine has installed is no fault of ours.
    return ''.join(line for line in (out.stdout + out.stderr).splitlines(keepends=True)
                   if 'referenced manual not found' not in line and 'outdated mandoc.db' not in line)


def main(folder):
    if shutil.which('mandoc') is None:
        print('mandoc is not installed')
        sys.exit(SKIP)
    pages = sorted(glob.glob(os.path.join(folder, 'ashlar.[1-9]')))
    if [p[-1] for p in pages] != ['1', '3', '7']:
        sys.exit(f'expected ashlar.1, ashlar.3 and ashlar.7 in {folder}, found {pages}')
    with open(pages[0], encoding='utf-8') as f:
        text = f.read()
    with tempfile.NamedTemporaryFile('w', suffix='.1') as bad:
        bad.write(text.replace('.Sh DESCRIPTION', '.Sg DESCRIPTION'))
        bad.flush()
        if not complaints(bad.name):
            sys.exit('mandoc finds no fault with an unknown macro')
    found = ''.join(complaints(page) for page in pages)
    if found:
        sys.exit(found)


main(sys.argv[1])
