#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ashlar stat: true numbers of a live process, read without disturbing it, and one sentence where there are none.

usage: test_stat.py ASHLAR PRELOAD STUB     (PRELOAD is the real library)
"""
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tool import PYTHON, SHIM as STUB, STUB as PRELOAD, Tool, cases

MIB = 1 << 20
HELD = 40
# Holds so many MiB in blocks of one, says so, frees half of them when told to, and ends when told again.
HOLDER = ('import ctypes, sys\n'
          'c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; c.free.argtypes = [ctypes.c_void_p]\n'
          'p = [c.malloc(1 << 20) for i in range(%d)]\n'
          'for q in p: ctypes.memset(q, 1, 1 << 20)\n'
          'print("held", flush=True); sys.stdin.readline()\n'
          'for q in p[::2]: c.free(q)\n'
          'print("freed", flush=True); sys.stdin.readline()\n') % HELD


class Stat(Tool):
    def process(self, *command, preload=PRELOAD, **env):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 env={**self.env, **({'LD_PRELOAD': preload} if preload else {}), **env})
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child

    def holder(self, **kwargs):
        child = self.process(PYTHON, '-c', HOLDER, **kwargs)
        self.assertEqual(child.stdout.readline(), 'held\n')
        return child

    def stat(self, child):
        result = self.ashlar('stat', '--json', str(child.pid))
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def tell(self, child, answer):
        child.stdin.write('\n')
        child.stdin.flush()
        self.assertEqual(child.stdout.readline(), answer)

    def test_the_numbers_are_those_of_the_process(self):
        child = self.holder()
        held = self.stat(child)
        self.assertEqual((held['pid'], held['library']), (child.pid, os.path.realpath(PRELOAD)))
        self.assertGreaterEqual(held['large_bytes'], HELD * MIB)
        self.assertLess(held['large_bytes'], (HELD + 8) * MIB)
        self.assertGreaterEqual(held['large_count'], HELD)
        self.assertGreaterEqual(held['heaps'], 1)
        arena = held['arenas'][0]
        self.assertGreaterEqual(arena['in_use_bytes'], HELD * MIB)
        self.assertEqual(arena['in_use_bytes'] + arena['free_bytes'] + arena['absent_bytes'], arena['online_bytes'])
        self.assertGreaterEqual(sum(arena['resident_bytes'].values()), HELD * MIB)
        self.assertLessEqual(sum(arena['resident_bytes'].values()), arena['online_bytes'])
        self.tell(child, 'freed\n')
        freed = self.stat(child)
        self.assertEqual(held['large_bytes'] - freed['large_bytes'], HELD * MIB // 2)
        self.assertLessEqual(freed['arenas'][0]['in_use_bytes'], arena['in_use_bytes'] - HELD * MIB // 2)
        self.tell(child, '')
        self.assertEqual(child.wait(), 0)

    def test_text(self):
        child = self.holder()
        result = self.ashlar('stat', str(child.pid))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f'process {child.pid} (python3', result.stdout)
        for word in ('node 0', 'online', 'in use', 'free', 'backed by:', 'base pages', 'heaps:', 'large blocks'):
            self.assertIn(word, result.stdout)

    def signs(self, child):
        """How often each sign stands in the pictures of the arenas."""
        result = self.ashlar('stat', '--map', str(child.pid))
        self.assertEqual(result.returncode, 0, result.stderr)
        picture = ''.join(re.findall(r'^ +0x[0-9a-f]+ \|([^|]*)\|$', result.stdout, re.M)).replace(' ', '')
        self.assertLessEqual(set(picture), set('._umrhciUMRHCI'))
        return collections.Counter(picture)

    def test_the_map_agrees_with_the_numbers(self):
        child = self.holder()
        held, signs = self.stat(child)['arenas'][0], self.signs(child)
        self.assertEqual(signs.total() * 2 * MIB, held['online_bytes'])
        # 40 MiB side by side fill whole pageblocks of memory that cannot move.
        self.assertGreaterEqual(signs['U'], HELD // 2 - 2)
        self.assertLessEqual(signs['U'] * 2 * MIB, held['in_use_bytes'])
        self.assertGreaterEqual((signs['U'] + signs['u'] + signs['m'] + signs['M']) * 2 * MIB, held['in_use_bytes'])
        self.tell(child, 'freed\n')
        freed = self.signs(child)
        self.assertEqual(freed.total(), signs.total())
        # Every second MiB is free, in nearly every one of those pageblocks.
        self.assertLessEqual(freed['U'], signs['U'] - HELD // 2 + 3)
        self.tell(child, '')
        self.assertFails(self.ashlar('stat', '--map', '--json', str(child.pid)), 2, '--json has no picture')

    def test_a_name_does_not_reach_the_terminal(self):
        name = os.path.join(self.dir, 'a\x1bb\nc')
        os.symlink(shutil.which('cat'), name)
        child = self.process(name, preload=PRELOAD)
        child.stdin.write('here\n')
        child.stdin.flush()
        self.assertEqual(child.stdout.readline(), 'here\n')
        result = self.ashlar('stat', str(child.pid))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('(a?b?c)', result.stdout)
        self.assertNotIn('\x1b', result.stdout)

    def test_a_library_that_has_been_replaced_meanwhile(self):
        # LD_PRELOAD knows no spaces.
        folder = tempfile.mkdtemp(prefix='ashlar-tool-')
        self.addCleanup(shutil.rmtree, folder)
        copy = os.path.join(folder, 'libashlar-preload.so')
        shutil.copy(PRELOAD, copy)
        child = self.holder(preload=copy)
        os.unlink(copy)
        with open(copy, 'wb') as f:
            f.write(b'not this')
        self.assertGreaterEqual(self.stat(child)['large_bytes'], HELD * MIB)

    def test_a_process_without_ashlar(self):
        child = self.process('cat', preload=None)
        self.assertFails(self.ashlar('stat', str(child.pid)), 1, f'process {child.pid} does not run on ashlar')

    def test_another_version(self):
        child = self.process('cat', preload=STUB)
        child.stdin.write('here\n')
        child.stdin.flush()
        self.assertEqual(child.stdout.readline(), 'here\n')
        self.assertFails(self.ashlar('stat', str(child.pid)), 1, 'another version of ashlar', os.path.basename(STUB))

    def test_no_process(self):
        child = self.process('cat', preload=None)
        child.communicate()
        self.assertFails(self.ashlar('stat', str(child.pid)), 1, f'there is no process {child.pid}')

    def test_somebody_elses_process(self):
        nobody = self.as_nobody()
        child = self.process('cat', preload=PRELOAD)
        self.assertFails(self.ashlar('stat', str(child.pid), **nobody), 1,
                         f'no permission to read process {child.pid}', 'root')

    def test_bad_arguments(self):
        for arguments in ([], ['x'], ['-1'], ['0'], ['1', '2'], ['--nonsense', '1'], ['99999999999999999999']):
            self.assertFails(self.ashlar('stat', *arguments), 2, 'ashlar stat --help')


cases.main()
