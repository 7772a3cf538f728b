#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Words that may not appear, per folder, and the licence line that must.

usage: tokens.py ROOT
lib/ runs inside malloc, so it may not allocate, print, read the environment or look symbols up; attributes have one
home; system calls have one layer; a TODO names its issue; and the tree speaks the field's vocabulary.
"""
import os
import re
import sys

import tree

CODE = ('.c', '.h', '.S', '.def')
SCRIPTS = ('.py', '.sh')
HOSTED = ['lib', 'preload', 'tools', 'include', 'examples', 'bench', 'tests']

# (folders, pattern, in code only or in comments too, files let off, why)
RULES = [
    (['lib'], r'(?<![\w>.])v?(?:f|s|sn|as|d)?printf\s*\(', True, (), 'printing is for tools/'),
    (['lib'], r'(?<![\w>.])(?:malloc|calloc|realloc|free|strdup|posix_memalign|aligned_alloc)\s*\(', True, (),
     'lib/ is what malloc is made of'),
    (['lib'], r'\bassert\s*\(|\bassert\.h\b', True, (), 'use the assertions of base'),
    (['lib'], r'\b(?:secure_)?getenv\s*\(', True, (), 'the environment is read in one place, above lib/'),
    (['lib'], r'\b(?:dlsym|dlopen|pthread_once|alloca|strcpy|strcat)\s*\(', True, (), 'not safe inside malloc'),
    (['lib', 'preload'], r'__attribute__', True, ('lib/base/compiler.h',), 'attributes have names in base/compiler.h'),
    (['lib'], r'\bsyscall\s*\(', True, ('lib/os/',), 'system calls live in os'),
    (['lib'], r'\bash_sys\s*\(|\b(?:SYS|__NR)_\w+', True, ('lib/os/',), 'system calls live in os'),
    (['lib', 'preload', 'include', 'tools'], r'\b(?:TODO|FIXME|XXX|HACK)\b(?!.*#\d)', False, (),
     'names no issue (TODO #N)'),
    (['lib', 'preload', 'include', 'tools', 'examples'], r'(?i)\bchunk', False, (),
     'the words are frame, pageblock, run, slab'),
]


def main(root):
    problems, examined = [], 0
    compiled = [(folders, re.compile(p), code, off, why) for folders, p, code, off, why in RULES]
    for path in tree.walk(root, HOSTED, CODE + SCRIPTS):
        text = tree.read(root, path)
        examined += 1
        if 'SPDX-License-Identifier: MIT' not in '\n'.join(text.splitlines()[:4]):
            problems.append(f'{path}:1: no SPDX line')
        if not path.endswith(CODE):
            continue
        stripped = tree.code_only(text)
        for folders, pattern, code, off, why in compiled:
            if path.split('/')[0] not in folders or any(path.startswith(o) for o in off):
                continue
            for n, line in enumerate((stripped if code else text).splitlines(), 1):
                match = pattern.search(line)
                if match:
                    problems.append(f'{path}:{n}: {match.group(0).strip()}: {why}')
    sources = sum(1 for p in tree.walk(root, ['lib'], ('.c', '.h')))
    if sources == 0:
        problems.append('no source under lib/ was found')
    tree.verdict('tokens', problems, examined, 'files', 10)


main(os.path.abspath(sys.argv[1]))
