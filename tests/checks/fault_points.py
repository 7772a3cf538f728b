#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every step of the page core that can be made to fail is one that a test makes fail.

usage: fault_points.py ROOT
The points are the ASH_FAULT() calls of lib/page; the table is `points` in tests/model/faults.c, which fails each of
them at every state it reaches and requires that each was met. Both must hold the same names, each used at one
place, and a name is a literal, so that it can be compared.
"""
import collections
import re
import sys

import tree

TABLE = 'tests/model/faults.c'
LITERAL = re.compile(r'^[^,]*,\s*"([^"]+)"')


def main(root):
    problems, places = [], collections.defaultdict(list)
    for path in tree.walk(root, ['lib/page'], ('.c', '.h')):
        text = tree.read(root, path)
        for found in re.finditer(r'\bASH_FAULT\s*\(', text):
            where = f'{path}:{text.count(chr(10), 0, found.start()) + 1}'
            name = LITERAL.match(text[found.end():])
            if name is None:
                problems.append(f'{where}: the name of a fault point is not a literal')
            else:
                places[name.group(1)].append(where)
    table = re.search(r'\bpoints\[\] = \{(.*?)\n\};', tree.read(root, TABLE), re.S)
    listed = re.findall(r'\{ "([^"]+)"', table.group(1)) if table else []
    for name, found in sorted(places.items()):
        if len(found) > 1:
            problems.append(f'"{name}" names {len(found)} steps: {", ".join(found)}')
        if name not in listed:
            problems.append(f'{found[0]}: no test fails "{name}": it is not in {TABLE}')
    problems += [f'{TABLE}: the core has no fault point "{name}"' for name in listed if name not in places]
    problems += [f'{TABLE}: "{name}" is listed twice' for name, n in collections.Counter(listed).items() if n > 1]
    tree.verdict('fault-points', problems, len(places), 'fault points', 5)


main(sys.argv[1])
