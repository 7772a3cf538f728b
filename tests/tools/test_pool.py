#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ashlar pool` over made-up machines: a change is made whole or not at all, and says which.

usage: test_pool.py ASHLAR STUB SHIM     (SHIM makes the kernel short of pages)
"""
import os

from tool import SHIM, Tool, cases

SMALL, LARGE = 'hugepages-2048kB', 'hugepages-1048576kB'
FILES = {'nr_hugepages': 10, 'free_hugepages': 6, 'resv_hugepages': 1, 'surplus_hugepages': 0,
         'nr_overcommit_hugepages': 0}


class Pool(Tool):
    def setUp(self):
        super().setUp()
        for folder in ('sys/kernel/mm/hugepages', 'sys/devices/system/node/node0/hugepages',
                       'sys/devices/system/node/node3/hugepages'):
            for pool in (SMALL, LARGE):
                for name, n in FILES.items():
                    self.put(f'{folder}/{pool}/{name}', n)
        self.put(f'sys/kernel/mm/hugepages/{LARGE}/demote', 0)
        self.put('proc/sys/vm/compact_memory', 0)
        self.put('proc/meminfo', 'MemTotal: 9000000 kB\nMemAvailable: 4194304 kB')

    def put(self, path, content):
        full = self.path(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='ascii') as f:
            f.write(f'{content}\n')

    def number(self, name='nr_hugepages', pool=SMALL, folder='sys/kernel/mm/hugepages'):
        with open(self.path(f'{folder}/{pool}/{name}'), encoding='ascii') as f:
            return int(f.read())

    def pool(self, *args, **kwargs):
        return self.ashlar('pool', '--root', self.dir, *args, **kwargs)

    def did(self, *args, **kwargs):
        result = self.pool(*args, **kwargs)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        return result.stdout

    def test_pools_are_shown_by_size_and_node(self):
        rows = [line.split() for line in self.did().splitlines()]
        self.assertEqual(rows[1], ['2.0', 'MiB', 'machine', '10', '6', '1', '0', '0'])
        self.assertEqual([r[:2] for r in rows if r[0] == 'node'], [['node', '0'], ['node', '3']] * 2)
        self.assertEqual(len(rows), 7)

    def test_a_pool_gets_a_number_or_grows_or_shrinks_by_one(self):
        for argument, is_now in (('64', 64), ('+6', 70), ('-30', 40), ('-500', 0)):
            self.assertIn(f'2.0 MiB: {is_now} pages', self.did('2M', argument))
            self.assertEqual(self.number(), is_now)
        self.assertEqual(self.number(pool=LARGE), 10)

    def test_the_pool_of_a_node(self):
        self.did('--node', '3', '1G', '2')
        node = 'sys/devices/system/node/node3/hugepages'
        self.assertEqual((self.number(pool=LARGE, folder=node), self.number(pool=LARGE)), (2, 10))
        self.assertFails(self.pool('--node', '1', '1G', '2'), 2, 'that node has no pool of pages of 1.0 GiB')

    def test_what_cannot_be_had_whole_is_put_back(self):
        short = {'LD_PRELOAD': SHIM, 'SHIM_POOL_MAX': '40'}
        self.assertFails(self.pool('2M', '64', env=short), 1, 'wanted 64 pages of 2.0 MiB', 'could make 40',
                         'put back to 10')
        self.assertEqual(self.number(), 10)
        with open(self.path('proc/sys/vm/compact_memory'), encoding='ascii') as f:
            self.assertEqual(f.read(), '1\n')
        self.assertIn('40 pages', self.did('2M', '40', env=short))

    def test_more_than_the_machine_has_is_not_tried(self):
        self.assertFails(self.pool('2M', '+2049'), 1, '2049 more pages of 2.0 MiB', '4.0 GiB are available')
        self.assertEqual(self.number(), 10)
        self.did('2M', '+2048')

    def test_on_demand(self):
        self.assertIn('7 pages on demand', self.did('--on-demand', '2M', '7'))
        self.assertEqual((self.number('nr_overcommit_hugepages'), self.number()), (7, 10))
        self.assertFails(self.pool('--on-demand', '--node', '0', '2M', '7'), 2, "the machine's, not a node's")

    def test_pages_are_split_only_when_they_are_free(self):
        self.assertFails(self.pool('--demote', '1G', '7'), 1, '7 pages of 1.0 GiB are to be split and 6 are free')
        self.assertEqual(self.number('demote', LARGE), 0)
        # These files do not split anything, and the command does not say that they did.
        self.assertEqual(self.pool('--demote', '1G', '2').returncode, 1)
        self.assertEqual(self.number('demote', LARGE), 2)

    def test_without_rights(self):
        nobody = self.as_nobody()
        os.chmod(self.path(f'sys/kernel/mm/hugepages/{SMALL}/nr_hugepages'), 0o644)
        self.assertFails(self.pool('2M', '11', **nobody), 1, 'nr_hugepages: Permission denied',
                         'it takes root')
        self.assertEqual(self.number(), 10)

    def test_bad_arguments(self):
        for args, words in ((['2M'], 'are needed'), (['2M', 'x'], '"x" is not a number of pages'), (['2M', '+'], '"+"'),
                            (['2', '1'], '"2" is not a size'), (['2MB', '1'], '"2MB"'), (['0M', '1'], '"0M"'),
                            (['4M', '1'], 'no pool of pages of 4.0 MiB'), (['-2M', '1'], 'unknown option "-2"'),
                            (['--node', 'x', '2M', '1'], '"x" is not a node'),
                            (['--node', '-0', '1G', '2'], '"-0" is not a node'),
                            (['--node', '0'], 'are needed'), (['--on-demand', '--demote', '2M', '1'], 'two things'),
                            (['--demote', '1G', '+1'], 'only the pool itself'), (['2M', '1', '2'], 'are needed'),
                            (['2M', '99999999999999999999'], 'is not a number of pages'),
                            (['--nonsense'], 'unknown option')):
            self.assertFails(self.pool(*args), 2, words, 'ashlar pool --help')
        self.assertEqual(self.number(), 10)

    def test_a_machine_without_pools(self):
        self.assertFails(self.ashlar('pool', '--root', self.path('nothing')), 1, 'no huge page pools')


cases.main()
