#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every header and source of a layer compiles where only the layers below it exist.

usage: layers_compile.py ROOT [CC [LAYER...]]     (no LAYER: all of them)
For each layer a folder is staged that holds the allowed layers and nothing else, as links to files (links to folders
would let `../` escape through them). Every .h is compiled alone, every .c on its own; freestanding layers with
-ffreestanding -nostdinc and only the compiler's header folder.
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile

import tree


def stage(root, into, layer):
    for name in layer.below + [layer.name]:
        folder = os.path.join(root, 'lib', name)
        os.makedirs(os.path.join(into, name))
        for file in os.listdir(folder):
            if os.path.isfile(os.path.join(folder, file)):
                os.symlink(os.path.join(folder, file), os.path.join(into, name, file))


def flags(root, into, layer, cc):
    common = ['-std=gnu11', '-D_GNU_SOURCE', '-fsyntax-only', '-w', '-I', into]
    if layer.freestanding:
        own = subprocess.run(cc + ['-print-file-name=include'], capture_output=True, text=True, check=True).stdout
        return common + ['-ffreestanding', '-nostdinc', '-idirafter', own.strip()]
    # The version is the build's to say (meson.build).
    return common + ['-I', os.path.join(root, 'include'), '-DASH_VERSION_TEXT="0"']


def compile_one(job):
    command, path = job
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else f'{path} does not compile alone:\n{done.stderr.strip()[:600]}'


def main(root, cc, only):
    layers = {name: layer for name, layer in tree.read_layers(root).items() if not only or name in only}
    with tempfile.TemporaryDirectory() as scratch:
        jobs = []
        for layer in layers.values():
            into = os.path.join(scratch, layer.name)
            stage(root, into, layer)
            for path in tree.walk(root, ['lib/' + layer.name], ('.c', '.h')):
                staged = os.path.join(into, layer.name, os.path.basename(path))
                for checks in '01':
                    jobs.append((cc + flags(root, into, layer, cc) + ['-DASH_CHECKS=' + checks, '-x', 'c', staged],
                                 path))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            problems = [p for p in pool.map(compile_one, jobs) if p]
    tree.verdict('layers-compile', problems, len(jobs), 'compilations', 2 * len(layers))


main(os.path.abspath(sys.argv[1]), (sys.argv[2:] or ['cc'])[0].split(), sys.argv[3:])
