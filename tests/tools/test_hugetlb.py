#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command with a real pool of 2 MiB pages: what the report and the comparison say of them, dry or not.

usage: test_hugetlb.py ASHLAR PRELOAD SHIM     (PRELOAD is the real library)
"""
import json
import os
import time

from tool import PYTHON, STUB as PRELOAD, Tool, cases

import hugepool  # of tests/harness

MIB = 1 << 20
PAGES = 24
DRY = ('test_dry_pool_is_said_once_and_in_the_report', 'test_strict_refuses')
# Blocks that stay until the end; python frees its own before.
HOLD = ('import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p\n'
        'for i in range(%d):\n'
        '    p = c.malloc(1 << 20)\n'
        '    if not p: raise SystemExit(9)\n'
        '    ctypes.memset(p, 1, 1 << 20)\n')


class Hugetlb(Tool):
    def setUp(self):
        super().setUp()
        try:
            # Others' pages would be taken as well: where the pool is to run dry there may be none.
            pool = hugepool.Pool(PAGES, exact=self._testMethodName in DRY)
            pool.__enter__()
            self.addCleanup(pool.__exit__)
        except hugepool.Unavailable as reason:
            self.skipTest(str(reason))
        self.env['ASHLAR_PRELOAD'] = PRELOAD

    def test_the_pool_command_changes_what_the_kernel_has(self):
        was = hugepool.read('nr_hugepages')
        result = self.ashlar('pool', '2M', '+2')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertEqual(hugepool.read('nr_hugepages'), was + 2)
        self.assertEqual(self.ashlar('pool', '2M', '-2').returncode, 0)
        self.assertEqual(hugepool.read('nr_hugepages'), was)

    def free_pages_become(self, pages):
        """Whoever looks at a process in /proc may keep its memory a moment beyond its end."""
        for _ in range(1000):
            if hugepool.read('free_hugepages') == pages:
                return
            time.sleep(0.01)
        self.assertEqual(hugepool.read('free_hugepages'), pages)

    def report(self, mib, *options):
        """Status, complaints and arenas summed by backing of a process that holds so much."""
        path = self.path('report')
        result = self.ashlar('run', '-H', '2M', f'--report={path}', '--report-format', 'json', *options, '--', PYTHON,
                             '-c', HOLD % mib)
        with open(path, encoding='ascii') as f:
            d = json.loads(f.readlines()[-1])['ashlar']
        total = {}
        for arena in d['arenas']:
            for backing, n in arena['resident_bytes'].items():
                total[backing] = total.get(backing, 0) + n
        return result, d, total

    def test_report_counts_what_came_from_the_pool(self):
        free = hugepool.read('free_hugepages')
        result, d, total = self.report(32)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertGreaterEqual(total['2M'], 28 * MIB)
        self.assertEqual(d['degraded'], '')
        self.assertEqual({a['arena'] for a in d['arenas']}, {'T', 'H'})
        # The kernel's "RSS" knows nothing of them, and they are back.
        self.assertLess(d['process']['peak_rss_bytes'], 28 * MIB)
        self.free_pages_become(free)

    def test_dry_pool_is_said_once_and_in_the_report(self):
        result, d, total = self.report(96)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count('\n'), 1, result.stderr)
        self.assertIn('no 2 MiB huge pages', result.stderr)
        self.assertIn('no 2 MiB huge pages', d['degraded'])
        self.assertGreaterEqual(sum(total.values()), 96 * MIB)
        self.assertGreaterEqual(total['2M'], (PAGES - 4) * 2 * MIB)
        self.assertGreaterEqual(sum(a['fallbacks'] for a in d['arenas']), 1)
        self.assertEqual(self.report(96, '--quiet')[0].stderr, '')

    def test_strict_refuses(self):
        result, _, _ = self.report(96, '--strict')
        self.assertNotEqual(result.returncode, 0)
        self.assertGreater(result.returncode, 0, 'killed by a signal')

    def test_comparison_counts_them(self):
        hold = HOLD % 32 + 'import time; time.sleep(2)'
        result = self.ashlar('compare', '--json', '--with', 'glibc,ashlar', '--runs', '1', '--conf', 'huge:2M', '--',
                             PYTHON, '-c', hold)
        self.assertEqual(result.returncode, 0, result.stderr)
        peak = {a['name']: a['peak_bytes']['median'] for a in json.loads(result.stdout)['allocators']}
        self.assertGreaterEqual(peak['ashlar'], 40 * MIB)
        self.assertLess(abs(peak['ashlar'] - peak['glibc']), 16 * MIB)

    def test_doctor_sees_the_pool(self):
        result = self.ashlar('doctor')
        self.assertRegex(result.stdout, r'ok +hugetlb 2\.0 MiB: \d+ pages')


cases.main()
