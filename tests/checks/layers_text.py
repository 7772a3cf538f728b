#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every include inside lib/ goes downward, and says so in its spelling.

usage: layers_text.py ROOT
Every file under lib/ belongs to a layer of lib/LAYERS; every quoted include is "layer/file.h", names a file that
exists in the same or an allowed layer, and never climbs with `..`; freestanding layers include only the compiler's
own headers; no layer's header is reached by an angle include.
"""
import os
import re
import sys

import tree

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include\b[ \t]*(.*)$', re.M)
FREESTANDING = {'stddef.h', 'stdint.h', 'stdbool.h', 'stdatomic.h', 'stdalign.h', 'stdarg.h'}
TOP_FILES = {'LAYERS', 'meson.build', 'README.md'}
SUFFIXES = ('.c', '.h', '.def', '.inc', '.S')


def judge_include(root, layers, layer, spelled):
    """None when the include is allowed, else why not."""
    quoted = re.match(r'"([^"]*)"', spelled)
    angled = re.match(r'<([^>]*)>', spelled)
    if quoted:
        name = quoted.group(1)
        parts = name.split('/')
        if '..' in parts:
            return f'climbs out with {name}'
        if len(parts) != 2 or parts[0] not in layers:
            return f'"{name}" is not spelled "layer/file.h"'
        if parts[0] != layer.name and parts[0] not in layer.below:
            return f'{layer.name} may not include {parts[0]} ("{name}")'
        if not os.path.isfile(os.path.join(root, 'lib', name)):
            return f'"{name}" does not exist'
        return None
    if angled:
        name = angled.group(1)
        if name.split('/')[0] in layers or '..' in name.split('/'):
            return f'<{name}> reaches a layer by an angle include'
        if layer.freestanding and name not in FREESTANDING:
            return f'{layer.name} is freestanding and may not include <{name}>'
        return None
    return f'cannot judge #include {spelled}'


def main(root):
    try:
        layers = tree.read_layers(root)
    except ValueError as error:
        tree.verdict('layers-text', [f'lib/LAYERS: {error}'], 0, 'includes', 0)
    problems, examined, sources = [], 0, 0
    for where, _, names in os.walk(os.path.join(root, 'lib')):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(where, name), root)
            parts = path.split('/')
            if len(parts) == 2:
                if name not in TOP_FILES:
                    problems.append(f'{path}: belongs to no layer')
                continue
            if parts[1] not in layers:
                problems.append(f'{path}: {parts[1]} is not in lib/LAYERS')
                continue
            if not name.endswith(SUFFIXES):
                continue
            sources += name.endswith('.c')
            text = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group(0).count('\n'), tree.read(root, path), flags=re.S)
            for match in INCLUDE.finditer(text):
                examined += 1
                why = judge_include(root, layers, layers[parts[1]], match.group(1).strip())
                if why:
                    problems.append(f'{path}:{text.count(chr(10), 0, match.start()) + 1}: {why}')
    # Each source includes at least its own header; fewer means the walk or the pattern went blind.
    tree.verdict('layers-text', problems, examined, 'includes', max(sources, 20))


main(sys.argv[1])
