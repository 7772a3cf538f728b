#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each check finds what it is there for: one violation of each kind is planted in a scratch copy of the tree.

usage: selftest.py ROOT
A check that passes on the untouched copy and fails, with the expected words, on the planted one, is a check. Prints
one line per plant and a closing line for tests/run.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import tree

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = ['lib', 'include', 'preload', 'tools', 'examples', 'bench', 'tests', 'docs', '.ci']
SPDX = '/* SPDX-License-Identifier: MIT */\n'

# (check, what is planted, [(file, text to append; None removes it)]; None empties lib/, words its output must hold)
PLANTS = [
    ('layers_text', 'an upward include', [('lib/page/planted.c', '#include "arena/arena.h"\n')],
     'page may not include arena'),
    ('layers_text', 'an upward include between siblings', [('lib/os/planted.c', '#include "page/zone.h"\n')],
     'os may not include page'),
    ('layers_text', 'a relative escape', [('lib/page/planted.c', '#include "../heap/heap.h"\n')], 'climbs out'),
    ('layers_text', 'a bare include', [('lib/heap/planted.c', '#include "heap.h"\n')], 'not spelled'),
    ('layers_text', 'a libc include in a freestanding layer', [('lib/base/planted.c', '#include <string.h>\n')],
     'freestanding'),
    ('layers_text', 'an angle include of a layer', [('lib/page/planted.c', '#  include <heap/heap.h>\n')],
     'angle include'),
    ('layers_text', 'an include through a macro', [('lib/page/planted.c', '#include PLANTED_H\n')], 'cannot judge'),
    ('layers_text', 'an include of nothing', [('lib/page/planted.c', '#include "page/no_such.h"\n')],
     'does not exist'),
    ('layers_text', 'a folder that is no layer', [('lib/stray/planted.c', SPDX)], 'not in lib/LAYERS'),
    ('layers_text', 'a file in no layer', [('lib/planted.c', SPDX)], 'belongs to no layer'),
    ('layers_text', 'a layer above itself', [('lib/LAYERS', '\nlow : high\nhigh : low\n')], 'not below it'),
    ('layers_text', 'an empty tree', None, 'examined only'),
    ('layers_compile', 'an upward include', [('lib/page/planted.c', '#include "arena/arena.h"\n')],
     'does not compile alone'),
    ('layers_compile', 'a relative escape', [('lib/page/planted.c', '#include "../heap/heap.h"\n')],
     'does not compile alone'),
    ('layers_compile', 'a libc include in a freestanding layer', [('lib/base/planted.h', '#include <errno.h>\n')],
     'does not compile alone'),
    ('layers_compile', 'a header that needs another', [('lib/heap/planted.h', 'int f(undeclared_t x);\n')],
     'does not compile alone'),
    ('layers_link', 'an extern past the headers',
     [('lib/page/planted.c', 'extern int ash_heap_planted(void);\nint ash_f(void);\n'
       'int ash_f(void) { return ash_heap_planted(); }\n')], 'page imports ash_heap_planted'),
    ('layers_link', 'a libc call in os', [('lib/os/planted.c', '#include <stdio.h>\nvoid ash_f(void);\n'
     'void ash_f(void) { puts("x"); }\n')], 'os imports puts'),
    ('layers_link', 'a stray exported name', [('lib/heap/planted.c', 'int stray = 1;\n')], 'defines stray'),
    ('layers_link', 'writable state in the page core',
     [('lib/page/planted.c', 'int ash_f(void);\nint ash_f(void) { static int n; return ++n; }\n')],
     'writable state in .bss'),
    ('layers_link', 'thread-local state in the base',
     [('lib/base/planted.c', 'extern __thread int ash_t;\n__thread int ash_t = 1;\n')], 'writable state in .tdata'),
    ('scenarios', 'a scenario that does not exist', [('tests/scenario/planted.c', 'TEST(T29_planted)\n{\n}\n')],
     'no scenario T29'),
    ('scenarios', 'a missing scenario', [('tests/scenario/cma.c', None)], 'T99: no test bears its number'),
    ('scenarios', 'a scenario without a source',
     [('tests/scenario/cma.c', None), ('tests/scenario/planted.c', 'TEST(T99_planted)\n{\n}\n')],
     'T99 does not say where it comes from'),
    ('scenarios', 'a race without ThreadSanitizer',
     [('tests/sanitize.sh', None), ('tests/sanitize.sh', 'if [ "$only" != asan ]; then\n')],
     'T30 is not run under ThreadSanitizer'),
    ('tokens', 'a printf', [('lib/heap/planted.c', SPDX + 'void f(void) { printf("x"); }\n')], 'printing is for'),
    ('tokens', 'a malloc', [('lib/arena/planted.c', SPDX + 'void *p = malloc(3);\n')], 'what malloc is made of'),
    ('tokens', 'an assert', [('lib/os/planted.c', SPDX + 'assert(1);\n')], 'assertions of base'),
    ('tokens', 'a getenv', [('lib/os/planted.c', SPDX + 'getenv("A");\n')], 'environment'),
    ('tokens', 'an attribute', [('lib/page/planted.c', SPDX + 'int f(void) __attribute__((cold));\n')],
     'base/compiler.h'),
    ('tokens', 'a system call above os', [('lib/arena/planted.c', SPDX + 'syscall(1);\n')], 'live in os'),
    ('tokens', 'a kernel door opened above os', [('lib/heap/planted.c', SPDX + 'ash_sys(SYS_brk);\n')], 'live in os'),
    ('tokens', 'a bare system call in ctl', [('lib/ctl/planted.c', SPDX + 'syscall(1);\n')], 'live in os'),
    ('tokens', 'a TODO without an issue', [('lib/page/planted.c', SPDX + '/* TO' + 'DO later */\n')], 'no issue'),
    ('tokens', 'a word from elsewhere', [('lib/heap/planted.c', SPDX + '/* a ' + 'chunk */\n')], 'the words are'),
    ('tokens', 'no licence line', [('lib/heap/planted.c', 'int x;\n')], 'no SPDX'),
    ('tokens', 'an empty tree', None, 'no source under lib/'),
    ('budgets', 'a long file', [('lib/heap/planted.c', SPDX + '\n' * 701)], 'at most 700'),
    ('budgets', 'a long function', [('lib/heap/planted.c', SPDX + 'void f(void)\n{\n' + '\tg();\n' * 60 + '}\n')],
     'planted.c:f: 62 lines'),
    ('budgets', 'a line too wide', [('lib/page/planted.c', SPDX + '\t' * 14 + 'int wider;\n')],
     '122 columns, at most 120'),
    ('budgets', 'a test too wide', [('tests/guest/planted.py', '# SPDX-License-Identifier: MIT\n' + 'x' * 122 + '\n')],
     '122 columns, at most 120'),
    ('budgets', 'a description of the build too wide', [('tests/guest/planted/meson.build', '#' * 122 + '\n')],
     '122 columns, at most 120'),
    ('budgets', 'columns of few files', None, 'examined the columns of'),
    ('budgets', 'an exception without a reason', [('tests/checks/budgets.allow', 'lib/heap/planted.c 900\n')],
     'gives no reason'),
    ('budgets', 'an exception nobody needs',
     [('tests/checks/budgets.allow', 'lib/heap/no_such.c 900 long tables\n')], 'no longer needed'),
    ('budgets', 'an empty tree', None, 'examined only'),
    ('docs_links', 'a path that is not there', [('docs/planted.md', 'see `lib/page/no_such.c`\n')],
     'lib/page/no_such.c does not exist'),
    ('docs_links', 'a layer path that is not there', [('docs/planted.md', 'see `page/no_such.c`\n')],
     'page/no_such.c does not exist'),
    ('docs_links', 'a dead link', [('docs/planted.md', '[here](no-such.md)\n')], 'link to no-such.md'),
    ('docs_links', 'a name that is not there', [('docs/planted.md', 'call ash_no_such_name()\n')], 'is no name'),
    ('machine_paths', 'a place of one machine', [('docs/planted.md', 'in /' + 'work/main\n')], 'one machine'),
    ('fault_points', 'a step that nobody fails',
     [('lib/page/planted.c', 'bool f(struct ash_zone *z) { return ASH_FAULT(z->fault, "planted"); }\n')],
     'no test fails "planted"'),
    ('fault_points', 'two steps of one name',
     [('lib/page/planted.c', 'bool f(struct ash_zone *z) { return ASH_FAULT(z->fault, "migrate"); }\n')],
     '"migrate" names 2 steps'),
    ('fault_points', 'a name that is computed',
     [('lib/page/planted.c', 'bool f(struct ash_zone *z) { return ASH_FAULT(z->fault, name(z)); }\n')],
     'is not a literal'),
    ('fault_points', 'an empty tree', None, 'examined only'),
    ('shell', 'a careless script', [('tools/planted.sh', '#!/bin/sh\nrm $1/*\n')], 'SC2086'),
]


def copy_tree(root, into):
    for folder in FOLDERS:
        if os.path.isdir(os.path.join(root, folder)):
            shutil.copytree(os.path.join(root, folder), os.path.join(into, folder), symlinks=True,
                            ignore=shutil.ignore_patterns('__pycache__'))
    for name in os.listdir(root):
        if os.path.isfile(os.path.join(root, name)) and name != '.git':
            shutil.copy(os.path.join(root, name), into)


def plant(copy, changes):
    if changes is None:
        shutil.rmtree(os.path.join(copy, 'lib'))
        for folder in FOLDERS:
            if folder != 'tests':
                shutil.rmtree(os.path.join(copy, folder), ignore_errors=True)
        os.makedirs(os.path.join(copy, 'lib'))
        shutil.copy(os.path.join(HERE, '../../lib/LAYERS'), os.path.join(copy, 'lib'))
        return
    for path, text in changes:
        full = os.path.join(copy, path)
        if text is None:
            os.remove(full)
            continue
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'a', encoding='utf-8') as f:
            f.write(text)


def build_archives(copy, build):
    """Archives as the build would make them, one object per layer: the planted source, or nothing."""
    for layer in tree.read_layers(ROOT):
        folder = os.path.join(build, 'lib', layer)
        os.makedirs(folder)
        source = os.path.join(copy, 'lib', layer, 'planted.c')
        if not os.path.exists(source):
            source = os.path.join(folder, 'own.c')
            with open(source, 'w', encoding='utf-8') as f:
                f.write(f'int ash_{layer}_own(void);\nint ash_{layer}_own(void) {{ return 1; }}\n')
        obj = os.path.join(folder, 'one.o')
        subprocess.run(['cc', '-c', '-O1', '-o', obj, source], check=True)
        subprocess.run(['ar', 'rc', os.path.join(folder, f'libash_{layer}.a'), obj], check=True)


def run_check(check, copy, build, changes):
    args = [sys.executable, os.path.join(HERE, check + '.py'), copy]
    if check == 'layers_link':
        args.append(build)
    if check == 'layers_compile':  # only what is planted in: it takes its time, and runs on the whole tree anyway
        args += ['cc', (changes or [('lib/base/', '')])[0][0].split('/')[1]]
    done = subprocess.run(args, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def attempt(root, check, changes, words):
    """None when the check behaved, 'skip: ...' when it cannot run here, else what it did wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        copy, build = os.path.join(scratch, 'tree'), os.path.join(scratch, 'out')
        os.mkdir(copy)
        copy_tree(root, copy)
        if changes != ():
            plant(copy, changes)
        if check == 'layers_link':
            build_archives(copy, build)
        status, output = run_check(check, copy, build, changes)
    if status == 77:
        return 'skip: ' + output.strip()
    if changes == ():
        return None if status == 0 else f'fails on the untouched tree:\n{output}'
    if status == 0:
        return f'passed:\n{output}'
    return None if words in output else f'failed without saying "{words}":\n{output}'


def main(root):
    passed = failed = skipped = 0
    checks = sorted({check for check, *_ in PLANTS})
    jobs = [(check, 'nothing', (), '') for check in checks] + PLANTS
    for check, what, changes, words in jobs:
        name = f'{check}_with_{what}'.replace(' ', '_')
        outcome = attempt(root, check, changes, words)
        if outcome is None:
            passed += 1
            print(f'ok {name}')
        elif outcome.startswith('skip: '):
            skipped += 1
            print(f'ok {name} # SKIP {outcome[6:]}')
        else:
            failed += 1
            print(f'# {outcome}')
            print(f'not ok {name}')
    print(f'selftest: {passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed else 0


ROOT = os.path.abspath(sys.argv[1])
sys.exit(main(ROOT))
