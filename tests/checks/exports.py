#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A shared object exports what its golden list says, and is built as a preloaded or linked object has to be.

usage: exports.py [--update] [--needs LIBRARY,...] OBJECT GOLDEN CC
Exports: nm's names with their versions, one a line. --update writes the golden list instead of comparing.
Hygiene: only the libraries allowed are needed, binds at start, full RELRO, no executable stack, no text relocations, no
RPATH, not unloadable, and at most 64 bytes of initial-exec TLS (a dlopen'ed object takes them from a small surplus).
Ends with a negative test: an object that breaks each of these rules must be refused.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

TLS_MAX = 64


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exports(path):
    """Sorted names: malloc, ash_malloc@@ASHLAR_0.1, ... without the version nodes themselves."""
    lines = tool('nm', '-D', '--defined-only', '--with-symbol-versions', path).splitlines()
    return sorted(line.split()[2] for line in lines if line.split()[1] != 'A')


def compare(found, golden):
    return ([f'exports {name}, which the list has not' for name in found if name not in golden] +
            [f'does not export {name}' for name in golden if name not in found])


def hygiene(path, allowed):
    dynamic = tool('readelf', '-dW', path)
    segments = tool('readelf', '-lW', path)
    problems = [f'needs {name}' for name in re.findall(r'NEEDED.*\[(.*)\]', dynamic) if name not in allowed]
    stack = re.search(r'GNU_STACK(?:\s+\S+){5}\s+(\S+)', segments)
    tls = re.search(r'^\s+TLS\s+\S+ \S+ \S+ \S+ (0x[0-9a-f]+)', segments, re.M)
    for wrong, what in [
            ('BIND_NOW' not in dynamic and 'Flags: NOW' not in dynamic, 'does not bind at start'),
            ('GNU_RELRO' not in segments, 'has no RELRO'),
            (stack is None or 'E' in stack.group(1), 'has an executable stack'),
            ('TEXTREL' in dynamic, 'has text relocations'),
            ('RPATH' in dynamic or 'RUNPATH' in dynamic, 'has a run path'),
            ('NODELETE' not in dynamic, 'can be unloaded'),
            (tls is not None and int(tls.group(1), 16) > TLS_MAX, f'has more than {TLS_MAX} bytes of TLS')]:
        if wrong:
            problems.append(what)
    return problems


def selftest(cc, golden, allowed):
    """Builds an object that is wrong in every way; returns what the checks failed to notice."""
    source = ('extern int leak(void); int leak(void) { return 0; }\n'
              '__thread char big[200]; char *touch(void); char *touch(void) { return big; }\n')
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, 'wrong.so')
        subprocess.run([*cc, '-x', 'c', '-shared', '-fPIC', '-o', path, '-', '-Wl,-z,lazy', '-Wl,-z,norelro',
                        '-Wl,-z,execstack', '-Wl,-rpath,/nowhere', '-Wl,--no-as-needed', '-lm'],
                       input=source, text=True, check=True, capture_output=True)
        said = '\n'.join(compare(exports(path), golden) + hygiene(path, allowed))
    expected = ['exports leak', 'does not export', 'needs libm', 'bind at start', 'RELRO', 'executable stack',
                'run path', 'unloaded', 'TLS']
    return [f'the planted fault "{what}" was not noticed' for what in expected if what not in said]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--update', action='store_true')
    parser.add_argument('--needs', default='libc.so.6')
    parser.add_argument('object')
    parser.add_argument('golden')
    parser.add_argument('cc')
    args = parser.parse_args()
    found = exports(args.object)
    if args.update:
        with open(args.golden, 'w') as f:
            f.write('\n'.join(found) + '\n')
        return 0
    with open(args.golden) as f:
        golden = f.read().split()
    allowed = args.needs.split(',')
    problems = compare(found, golden) + hygiene(args.object, allowed)
    if not found:
        problems.append('exports nothing')
    problems += selftest(args.cc.split(), golden, allowed)
    for problem in problems:
        print(f'{os.path.basename(args.object)}: {problem}')
    print(f'exports: {len(found)} symbols examined, {len(problems)} problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
