#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The counts of docs/scaling.md are those that bench-scale prints; its times and memory are one machine's and are not
looked at.

usage: scale.py BENCH-SCALE DOCUMENT
"""
import re
import subprocess
import sys

SKIP = 77
# Row of the table: what the program prints, and how often one node costs that.
ROWS = {
    'of these, to open files of `/sys`': ('start_files', 1),
    'of these, `mbind`': ('start_mbinds', 1),
    'spans (two for each node, each node that may come, and each policy)': ('spans', 1),
    'one span': ('span', 1),
    'address space': ('address_space', 1),
    'arenas in a zonelist, at most': ('zonelist_length', 1),
    "files read for one more node's zonelist": ('all_zonelists_files', None),
    'locks, every node in use': ('locks', 1),
}


def table(path):
    """{row: [number per machine]}, and the machines as arguments."""
    with open(path, encoding='utf-8') as f:
        lines = [[cell.strip() for cell in line.strip().strip('|').split('|')] for line in f if line.startswith('|')]
    machines = []
    for name in lines[0][1:]:
        nodes, size, unit = re.fullmatch(r'(\d+) nodes?, (\d+) ([GT])iB', name).groups()
        machines.append((int(nodes), int(size) * (1024 if unit == 'T' else 1)))
    return {line[0]: line[1:] for line in lines[2:]}, machines


def counts(program, nodes, gib):
    out = subprocess.run([program, str(nodes), str(gib), '512'], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: float(line.split()[1]) for line in out.splitlines()}


def differences(rows, machines, found):
    wrong = []
    for row, (name, times) in ROWS.items():
        for cell, (nodes, _), has in zip(rows[row], machines, found):
            says = float(cell.split()[0])
            got = has[name] / (times or nodes)
            if abs(says - got) > 0.01:
                wrong.append(f'{row}, {nodes} nodes: the document says {says:g}, the program {got:g}')
    return wrong


def main():
    rows, machines = table(sys.argv[2])
    found = [counts(sys.argv[1], *machine) for machine in machines]
    space = [float(cell.split()[0]) for cell in rows['address space']]
    if any(has['address_space'] < says - 0.01 for has, says in zip(found, space)):
        print('address space is limited here, and there is less of everything')
        sys.exit(SKIP)
    wrong = differences(rows, machines, found)
    # Not blind: a document that says something else is found out.
    assert len(differences({**rows, 'one span': ['7 TiB'] * len(machines)}, machines, found)) >= len(machines)
    print('\n'.join(f'# {line}' for line in wrong) or f'# {len(ROWS)} rows, {len(machines)} machines')
    print(f'scale.py: {int(not wrong)} passed, {int(bool(wrong))} failed, 0 skipped')
    sys.exit(1 if wrong else 0)


main()
