#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the compiled layers really import, and that the freestanding ones hold no state.

usage: layers_link.py ROOT BUILD
Each archive's undefined symbols must be defined by the layer itself, by an allowed layer below it, or stand in
tests/checks/imports: an `extern` declaration cannot slip past the include rules. Freestanding layers hold no .data,
.bss or thread-local bytes: everything they know is in the zone they are given.
"""
import json
import os
import re
import subprocess
import sys

import tree

STATE = re.compile(r'^\.(data|bss|tdata|tbss)(?!\.rel\.ro)(\.|$)')
LINKER = {'_GLOBAL_OFFSET_TABLE_'}


def symbols(archive, *flags):
    out = subprocess.run(['nm', '--format=posix', *flags, archive], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in out.splitlines() if len(line.split()) > 1}


def state_bytes(archive):
    """Section name -> bytes, of the writable sections that are not empty."""
    out = subprocess.run(['size', '-A', archive], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) == 3 and STATE.match(words[0]) and int(words[1]) > 0:
            found[words[0]] = found.get(words[0], 0) + int(words[1])
    return found


def read_imports(root):
    lists = {}
    for line in tree.read(root, 'tests/checks/imports').splitlines():
        name, colon, words = line.split('#')[0].partition(':')
        if colon:
            lists.setdefault(name.strip(), set()).update(words.split())
    return lists


def sanitized(build):
    options = os.path.join(build, 'meson-info/intro-buildoptions.json')
    if not os.path.exists(options):
        return False
    with open(options, encoding='utf-8') as f:
        return any(o['name'] == 'b_sanitize' and o['value'] != 'none' for o in json.load(f))


def main(root, build):
    if sanitized(build):
        print('a sanitizer adds imports of its own; this is for plain builds')
        sys.exit(tree.SKIP)
    layers, imports = tree.read_layers(root), read_imports(root)
    problems, examined, defined = [], 0, {}
    for layer in layers.values():
        archive = os.path.join(build, 'lib', layer.name, f'libash_{layer.name}.a')
        if not os.path.exists(archive):
            problems.append(f'{layer.name}: {archive} was not built')
            continue
        defined[layer.name] = symbols(archive, '--defined-only', '--extern-only')
        allowed = LINKER | defined[layer.name] | imports.get('*', set()) | imports.get(layer.name, set())
        for name in layer.below:
            allowed |= defined.get(name, set())
        undefined = symbols(archive, '--undefined-only')
        examined += len(undefined) + len(defined[layer.name])
        problems += [f'{layer.name} imports {s}, which no allowed layer defines' for s in sorted(undefined - allowed)]
        problems += [f'{layer.name} defines {s}, which does not begin with ash_'
                     for s in sorted(defined[layer.name]) if not s.startswith('ash_')]
        if layer.freestanding:
            problems += [f'{layer.name} holds {n} bytes of writable state in {section}'
                         for section, n in state_bytes(archive).items()]
    tree.verdict('layers-link', problems, examined, 'symbols', 1)


main(sys.argv[1], sys.argv[2])
