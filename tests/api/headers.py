#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each public header compiles alone, as every language a program may be written in, without a warning.

usage: headers.py INCLUDE_DIR CC [CXX]
Ends with a negative test: headers that are not self-contained, not C99 or not C++ must be refused.
"""
import os
import subprocess
import sys
import tempfile

C = ['c89', 'c99', 'c11', 'gnu17']
CXX = ['c++11', 'c++17', 'c++20']
FLAGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wundef', '-Wshadow', '-Wconversion', '-Werror', '-fsyntax-only']
BAD = {
    'not_self_contained.h': 'size_t size;\n',
    'not_c99.h': '#include <stddef.h>\nstruct s { struct { int a; }; };\n',
    'not_cxx.h': '#include <stddef.h>\nstatic inline char *f(void *class) { return class; }\n',
}


def compiles(compiler, std, include, header):
    language = 'c++' if std.startswith('c++') else 'c'
    source = f'#include <{header}>\n#include <{header}>\n'
    return subprocess.run([*compiler.split(), '-x', language, '-std=' + std, *FLAGS, '-I', include, '-'], input=source,
                          capture_output=True, text=True)


def main(include, compilers):
    headers = sorted('ashlar/' + n for n in os.listdir(os.path.join(include, 'ashlar')) if n.endswith('.h'))
    problems, examined = [], 0
    for header in headers:
        for compiler, stds in compilers:
            for std in stds:
                result = compiles(compiler, std, include, header)
                examined += 1
                if result.returncode != 0:
                    problems.append(f'{header} as {std}: {result.stderr.strip()}')
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in BAD.items():
            with open(os.path.join(scratch, name), 'w') as f:
                f.write(text)
            refused = [std for compiler, stds in compilers for std in stds
                       if compiles(compiler, std, scratch, name).returncode != 0]
            if not refused:
                problems.append(f'{name} was accepted everywhere')
    if len(headers) < 4:
        problems.append(f'only {len(headers)} headers were found')
    for problem in problems:
        print(problem)
    print(f'headers: {examined} compilations of {len(headers)} headers, {len(problems)} problems')
    return 1 if problems else 0


if __name__ == '__main__':
    chosen = [(sys.argv[2], C)]
    if len(sys.argv) > 3:
        chosen.append((sys.argv[3], CXX))
    sys.exit(main(sys.argv[1], chosen))
