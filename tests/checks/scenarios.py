#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every numbered scenario of the page core is a test that bears its number and says where the behaviour comes from.

usage: scenarios.py ROOT
A test bears its number when its name begins with it: TEST(T44_deferral). The source stands in brackets in a comment
above a test of that number, or SIM where a simulation of the rules gave the expected state; tests/scenario/buddy.c
explains the marks. The races must be in programs that tests/sanitize.sh runs under ThreadSanitizer too.
"""
import collections
import re
import sys

import tree

NUMBERS = [*range(1, 27), *range(30, 36), *range(40, 45), *range(50, 54), *range(60, 74), 80, 81, *range(90, 101)]
# Scenarios 27 to 29 and the like do not exist: the chapters begin at round numbers.
NUMBERS = [n for n in NUMBERS if n not in (27, 28, 29)]
RACES = [23, 30, 93]
FOLDERS = ['tests/scenario', 'tests/model']
TEST = re.compile(r'^TEST\(T(\d+)_\w+\)', re.M)
SOURCE = re.compile(r'\[(K|MM|L|C|P|SEED|SIM|id|lkml|reply)\b[^\]]*\]|\bSIM\b')
COMMENT = re.compile(r'/\*.*?\*/', re.S)


def sourced(text, number):
    """Whether a comment of the file gives a source for the number: one above a test of it, or one that names it."""
    for comment in COMMENT.finditer(text):
        if not SOURCE.search(comment.group()):
            continue
        if re.search(rf'\bT0?{number}\b', comment.group()):
            return True
        test = TEST.search(text, comment.end())
        if test and int(test.group(1)) == number:
            return True
    return False


def main(root):
    found, with_source = collections.defaultdict(list), set()
    for path in tree.walk(root, FOLDERS, ('.c',)):
        text = tree.read(root, path)
        for number in {int(t) for t in TEST.findall(text)}:
            found[number].append(path)
            if sourced(text, number):
                with_source.add(number)
    problems = [f'T{n:02}: no test bears its number' for n in NUMBERS if n not in found]
    problems += [f'{found[n][0]}: T{n:02} does not say where it comes from'
                 for n in NUMBERS if n in found and n not in with_source]
    problems += [f'{paths[0]}: there is no scenario T{n:02}' for n, paths in sorted(found.items()) if n not in NUMBERS]
    tsan = re.search(r'\$only" != asan.*', tree.read(root, 'tests/sanitize.sh'), re.S)
    for n in RACES:
        programs = [p.replace('tests/model/', 'tests/model/model_')[:-2] for p in found.get(n, []) if 'model' in p]
        if not any(p in tsan.group() for p in programs):
            problems.append(f'tests/sanitize.sh: T{n} is not run under ThreadSanitizer')
    tree.verdict('scenarios', problems, len(found), 'scenarios', 60)


main(sys.argv[1])
