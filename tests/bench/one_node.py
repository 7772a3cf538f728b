#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What several nodes cost a process that has one: instructions of bench-scale on one node, counted by callgrind.

usage: one_node.py BENCH-SCALE

To find the list of arenas that a thread's memory comes from is what every allocation beyond the caches pays for; to
start is what every process pays, and ash_nodes_find() the part of it that has to do with nodes. What a hit of malloc or
free costs, which no node is asked for, instructions.py has.
"""
import os
import platform
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
LOOKUPS = 1000000          # bench/scale.c's last loop
BARS = {'list': 6, 'start': 3000, 'start/nodes': 400}


def inclusive(text, callee):
    """Instructions of callee, what it calls included, from whomever it is called."""
    target, total, pending = None, 0, False
    for line in text.splitlines():
        if line.startswith('cfn='):
            target = line[4:].split("'")[0].split('.')[0]
        elif line.startswith('calls='):
            pending = True
        elif pending:
            total += int(line.split()[1]) if target == callee else 0
            pending = False
    return total


def callgrind(program, nodes, toggle):
    with tempfile.TemporaryDirectory() as tmp:
        out = f'{tmp}/out'
        # A machine of so little memory that its spans fit beside valgrind; symbols bound before anything is counted.
        subprocess.run(['valgrind', '--tool=callgrind', f'--toggle-collect={toggle}', '--compress-strings=no',
                        '--compress-pos=no', f'--callgrind-out-file={out}', program, str(nodes), '1', '512'],
                       env={**os.environ, 'LD_BIND_NOW': '1'}, capture_output=True, check=True)
        with open(out, encoding='utf-8') as f:
            return f.read()


def count(program, nodes):
    start = callgrind(program, nodes, 'ash_arena_init')
    return {'list': round(inclusive(callgrind(program, nodes, 'main'), 'ash_zonelist_for') / LOOKUPS, 2),
            'start': inclusive(start, 'ash_arena_init'), 'start/nodes': inclusive(start, 'ash_nodes_find')}


def over_bar(counts):
    return [f'{name}: {counts[name]} instructions, promised are {bar}' for name, bar in BARS.items() if
            not 0 < counts[name] <= bar]


def main():
    if platform.machine() != 'x86_64' or not shutil.which('valgrind'):
        print('the counts are x86-64\'s' if shutil.which('valgrind') else 'valgrind is not installed')
        sys.exit(SKIP)
    one, eight = count(sys.argv[1], 1), count(sys.argv[1], 8)
    problems = over_bar(one)
    # Not blind: eight nodes cost more than is promised for one.
    if len(over_bar(eight)) != len(BARS):
        problems.append(f'eight nodes cost no more than is promised for one: {eight}')
    print(f'# one node: {one}\n# eight nodes: {eight}')
    print('\n'.join(problems + [f'one_node.py: {int(not problems)} passed, {int(bool(problems))} failed, 0 skipped']))
    sys.exit(1 if problems else 0)


main()
