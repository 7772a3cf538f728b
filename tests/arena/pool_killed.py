#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A test that is killed leaves the machine's pool as it found it, whether it is in C or in Python.

usage: pool_killed.py POOL_HOLDER UNDER

The pool is a folder of files here: nr_hugepages, which free_hugepages is a link to, so that what is there is free.
"""
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

HOLDER, UNDER = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
# Without a preload: `under` starts what it is given.
PYTHON = [sys.executable, UNDER, '--pages', '2', 'h', '/dev/null', 'sh', '-c', 'sleep 600 & echo held $!; wait']


class Pool(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in ('nr_hugepages', 'nr_overcommit_hugepages', 'lock'):
            self.write(name, 0)
        os.symlink('nr_hugepages', os.path.join(self.folder, 'free_hugepages'))

    def write(self, name, n):
        with open(os.path.join(self.folder, name), 'w', encoding='ascii') as f:
            f.write(str(n))

    def pages(self):
        with open(os.path.join(self.folder, 'nr_hugepages'), encoding='ascii') as f:
            return int(f.read() or -1)  # it may be being written

    def start(self, command):
        """The process, once it has its pages, and one of its children, which outlives it."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                   start_new_session=True, env={**os.environ, 'ASH_TEST_POOL': self.folder})
        self.addCleanup(process.stdout.close)
        for line in process.stdout:
            if line.startswith('held '):
                return process, int(line.split()[1])
        self.fail('it never had its pages')

    def killed(self, command, number, group):
        process, child = self.start(command)
        try:
            self.assertEqual(self.pages(), 2)
            (os.killpg if group else os.kill)(process.pid, number)
            process.wait()
            # The keeper has the lock until it is done; a child that is left has it, too.
            with open(os.path.join(self.folder, 'lock'), encoding='ascii') as lock:
                while fcntl.flock(lock, fcntl.LOCK_EX) if group else self.pages() != 0:
                    time.sleep(0.001)
            self.assertEqual(self.pages(), 0)
        finally:
            for pid in {process.pid, child}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def test_in_c(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with self.subTest(number):
                self.killed([HOLDER], number, True)
                self.killed([HOLDER], number, False)

    def test_in_python(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number):
                self.killed(PYTHON, number, True)
                self.killed(PYTHON, number, False)

    def test_a_pool_is_given_back_at_the_end(self):
        done = subprocess.run([*PYTHON[:-1], 'cat "$ASH_TEST_POOL/nr_hugepages"'], capture_output=True, text=True,
                              env={**os.environ, 'ASH_TEST_POOL': self.folder}, check=True)
        self.assertEqual((done.stdout, self.pages()), ('2', 0))


cases.main()
