#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hit path of malloc and free, from the exported symbol's entry: how many instructions, and no call among them.

usage: fast_path.py OBJECT
Disassembles the symbol and walks it from its entry to the first return, not taking any forward branch: the compiler
lays out the likely path straight. A slow half may be jumped to, never called, and nothing goes through the PLT.
The budgets are those of lib/heap/fast.h. The walk is also tried on a function that breaks both rules.
"""
import re
import subprocess
import sys

BUDGETS = {'malloc': 20, '_Znwm': 20, 'free': 22, '_ZdlPv': 22}


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def code_of(path, symbol):
    """The symbol's instructions as text, in address order."""
    for line in tool('nm', '-D', '-S', '--defined-only', path).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[3] == symbol:
            start, size = int(fields[0], 16), int(fields[1], 16)
            text = tool('objdump', '-d', '--no-show-raw-insn', f'--start-address={start:#x}',
                        f'--stop-address={start + size:#x}', path)
            return re.findall(r'^\s+[0-9a-f]+:\t(.*)$', text, re.M)
    return []


def walk(code):
    """(instructions up to the first return, problems)."""
    problems = []
    count = 0
    for line in code:
        word = line.split()[0] if line.split() else ''
        if word in ('nop', 'nopl', 'nopw', 'data16', 'xchg'):
            continue
        if word in ('fs', 'rex.W') and len(line.split()) == 1:  # a prefix that objdump puts on a line of its own
            continue
        count += 1
        if word.startswith('call'):
            problems.append(f'calls: {line}')
        if '@plt' in line:
            problems.append(f'goes through the PLT: {line}')
        if word in ('ret', 'retq'):
            return count, problems
    return count, problems + ['no return on the straight path']


def main(path):
    if subprocess.run(['uname', '-m'], capture_output=True, text=True).stdout.strip() != 'x86_64':
        print('skipped: the budgets are counted on x86-64')
        return 77
    bad = walk(['push %rbx', 'call 1234 <slow@plt>', 'jmp 10'])
    problems = [] if len(bad[1]) == 3 else ['the planted faults were not noticed']
    for symbol, budget in BUDGETS.items():
        count, wrong = walk(code_of(path, symbol))
        print(f'# {symbol}: {count} instructions of {budget}')
        problems += [f'{symbol}: {what}' for what in wrong]
        if not 0 < count <= budget:
            problems.append(f'{symbol}: {count} instructions on the hit path, budget {budget}')
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
