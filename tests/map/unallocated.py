#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mappings are served from a program's first on, also where it has not allocated: unallocated.py PROGRAM PRELOAD

On a kernel that cannot move pages, the report says that they were asked for all the same.
"""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

PROGRAM, PRELOAD = sys.argv[1:3]
del sys.argv[1:3]


def report(options):
    done = subprocess.run([PROGRAM], env=dict(os.environ, LD_PRELOAD=PRELOAD, ASHLAR_CONF=options),
                          stderr=subprocess.PIPE, text=True, check=True)
    return done.stderr


class Unallocated(unittest.TestCase):
    def test_mappings_are_served_before_the_first_allocation(self):
        self.assertRegex(report('map:on,report:exit'), r'(?m)^ +mappings +(3 served|asked for, and not served: )')

    def test_without_the_option_nothing_is_set_up(self):
        text = report('report:exit')
        self.assertIn('has taken no memory from ashlar', text)
        self.assertNotRegex(text, r'(?m)^ +mappings ')

    def test_nothing_is_said_that_was_not_asked_for(self):
        self.assertEqual(report('map:on'), '')


cases.main()
