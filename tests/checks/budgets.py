#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files and functions stay small enough to be read in one go.

usage: budgets.py ROOT
A file has at most 700 lines (500 is what is expected; more is printed), a function at most 60 from brace to brace.
In code, of which the folders of COLUMNS_IN are all, no line is longer than 120 columns, tabs being eight.
tests/checks/budgets.allow lists the exceptions of length, each with a higher bound and a reason; one that is no longer
needed is a problem, so that the list cannot grow stale.
"""
import re
import sys

import tree

FILE_EXPECTED, FILE_MAX, FUNCTION_MAX, COLUMNS_MAX = 500, 700, 60, 120
FOLDERS = ['lib', 'preload', 'tools', 'include', 'examples', 'bench']
COLUMNS_IN = FOLDERS + ['tests']


def functions(text):
    """(name, first line, lines between its braces inclusive) of functions in kernel style."""
    lines = text.splitlines()
    start = None
    for n, line in enumerate(lines):
        if line == '{':
            start = n
        elif line == '}' and start is not None:
            head = ' '.join(lines[max(0, start - 6):start])
            names = re.findall(r'(\w+)\s*\(', head.split(';')[-1].split('}')[-1])
            yield (names[0] if names else '?'), start + 1, n - start + 1
            start = None


def read_allowed(root):
    allowed = {}
    for line in tree.read(root, 'tests/checks/budgets.allow').splitlines():
        words = line.split('#')[0].split(None, 2)
        if words:
            allowed[words[0]] = int(words[1]) if len(words) == 3 else -1
    return allowed


def main(root):
    problems, examined = [], 0
    allowed = read_allowed(root)
    used = {name for name, lines in allowed.items() if lines < 0}
    problems += [f'budgets.allow: {name} gives no reason' for name in sorted(used)]

    def judge(name, lines, limit):
        if lines <= limit:
            return
        if lines <= allowed.get(name, 0):
            used.add(name)
        else:
            problems.append(f'{name}: {lines} lines, at most {allowed.get(name, limit)}')

    for path in tree.walk(root, FOLDERS, ('.c', '.h')):
        text = tree.read(root, path)
        lines = text.count('\n')
        judge(path, lines, FILE_MAX)
        if lines > FILE_EXPECTED:
            print(f'note: {path} has {lines} lines')
        for name, _, length in functions(text):
            examined += 1
            judge(f'{path}:{name}', length, FUNCTION_MAX)
    wide = 0
    for path in tree.walk(root, COLUMNS_IN, ('.c', '.h', '.py', 'meson.build')):
        wide += 1
        problems += [f'{path}:{n}: {len(line.expandtabs(8))} columns, at most {COLUMNS_MAX}'
                     for n, line in enumerate(tree.read(root, path).splitlines(), 1)
                     if len(line.expandtabs(8)) > COLUMNS_MAX]
    if wide < 400:
        problems.append(f'examined the columns of {wide} files only')
    problems += [f'budgets.allow: {name} is no longer needed' for name in sorted(set(allowed) - used)]
    tree.verdict('budgets', problems, examined, 'functions', 20)


main(sys.argv[1])
