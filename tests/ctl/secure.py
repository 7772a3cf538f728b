#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The environment means nothing to a program that gains rights by being executed.

usage: secure.py PROGRAM     (tests/ctl/secure.c, linked with the static library)
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

PROGRAM = os.path.abspath(sys.argv.pop(1))
NOBODY = 65534


class Secure(unittest.TestCase):
    def run_program(self, path, report):
        env = {'ASHLAR_CONF': f'help,hueg:1,report:exit,report_file:{report}', 'ASHLAR_LIMTI': '1', 'ASHLAR_HUGE': 'x'}
        return subprocess.run([path], env=env, capture_output=True, text=True, check=True)

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='ashlar secure ')
        os.chmod(self.dir, 0o777)
        self.addCleanup(shutil.rmtree, self.dir)
        self.report = os.path.join(self.dir, 'report')

    def test_without_more_rights_it_is_read(self):
        result = self.run_program(PROGRAM, self.report)
        self.assertEqual(result.stdout, 'secure=0 allocated=1\n')
        for word in ('"hueg"', '"ASHLAR_LIMTI"', '"x" for huge', 'small_start'):
            self.assertIn(word, result.stderr)
        self.assertTrue(os.path.exists(self.report))

    @unittest.skipUnless(os.geteuid() == 0, 'needs root to give a file away')
    def test_with_more_rights_it_is_not(self):
        copy = shutil.copy(PROGRAM, os.path.join(self.dir, 'setuid'))
        os.chown(copy, NOBODY, NOBODY)
        os.chmod(copy, 0o4755)
        result = self.run_program(copy, self.report)
        if result.stdout == 'secure=0 allocated=1\n':
            self.skipTest('set-id bits are switched off here (nosuid)')
        self.assertEqual((result.stdout, result.stderr), ('secure=1 allocated=1\n', ''))
        self.assertFalse(os.path.exists(self.report))


cases.main()
