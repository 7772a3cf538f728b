#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `meson install` puts down works: installed.py BUILD CC SOURCE

Installs into a scratch folder, then builds SOURCE with what pkg-config says of it, shared and static, and runs it; and
checks that the file's variables name the preloaded object and the launcher.
"""
import os
import subprocess
import sys
import tempfile


def run(*command, **more):
    result = subprocess.run(command, capture_output=True, text=True, **more)
    if result.returncode != 0:
        sys.exit(f'{" ".join(command)}: exit status {result.returncode}\n{result.stdout}{result.stderr}')
    return result.stdout.strip()


def main(build, cc, source):
    if subprocess.run(['pkg-config', '--version'], capture_output=True).returncode != 0:
        print('skipped: no pkg-config')
        return 77
    with tempfile.TemporaryDirectory() as scratch:
        run('meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', scratch)
        found = run('find', scratch, '-name', 'ashlar.pc')
        environment = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(found), PKG_CONFIG_SYSROOT_DIR=scratch)
        for variable in ['preloadlib', 'launcher']:
            path = run('pkg-config', '--variable=' + variable, 'ashlar', env=environment)
            path = path if path.startswith(scratch) else scratch + path
            if variable == 'preloadlib' and not os.path.exists(path):
                sys.exit(f'{variable}: no {path}')
        flags = run('pkg-config', '--cflags', '--libs', 'ashlar', env=environment).split()
        program = os.path.join(scratch, 'program')
        run(*cc.split(), '-o', program, source, *flags)
        directory = run('pkg-config', '--variable=libdir', 'ashlar', env=environment)
        directory = directory if directory.startswith(scratch) else scratch + directory
        said = run(program, env=dict(os.environ, LD_LIBRARY_PATH=directory))
        static = run('pkg-config', '--static', '--libs', 'ashlar', env=environment).split()
        static = [f'-l:lib{f[2:]}.a' if f == '-lashlar' else f for f in static]
        include = run('pkg-config', '--cflags', 'ashlar', env=environment).split()
        run(*cc.split(), '-o', program, source, *include, *static, '-pthread')
        said_static = run(program)
    print(said, said_static, sep='\n')
    return 0 if said.startswith('hello, heap') and said_static.startswith('hello, heap') else 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
