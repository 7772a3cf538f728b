#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Buffers for devices in a whole process: reserves made by option as the library is loaded, the figures in reports, and
one state where the library meets the preload.

usage: process.py USER PRELOAD ASHLAR     USER is tests/dma/user.c, linked with the library; ASHLAR the command
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

USER, PRELOAD, ASHLAR = sys.argv[1:4]
MIB = 1 << 20


def run(*args, conf='', preload=False, program=None):
    env = {'PATH': '/usr/bin:/bin', 'ASH_TEST_RUN': os.environ.get('ASH_TEST_RUN', '')}
    if conf:
        env['ASHLAR_CONF'] = conf
    if preload:
        env['LD_PRELOAD'] = PRELOAD
    return subprocess.run(program or [USER, *args], env=env, capture_output=True, text=True, check=True)


def stats(text):
    return [int(n) for n in re.search(r'^stats (.*)$', text, re.M).group(1).split()]


class Reserves(unittest.TestCase):
    def test_none_without_the_option(self):
        done = run(conf='quiet:yes')
        self.assertNotIn('reserve', done.stdout)
        self.assertEqual((done.stderr, stats(done.stdout)), ('', [0, 0, 0, 0]))

    def test_those_of_the_option_are_there_from_the_start(self):
        for preload in (False, True):
            done = run(conf='dma_reserve:ring=1M/packets=2M', preload=preload)
            if 'dma_reserve: no reserve' in done.stderr:
                # Every line names the reserve, the size, and why.
                self.assertRegex(done.stderr,
                                 r'^(ashlar: dma_reserve: no reserve (ring|packets) \(errno \d+\): .*MiB.*\n)+$')
                self.skipTest('no huge pages to be had, or no pins')
            self.assertEqual(done.stderr, '')
            self.assertRegex(done.stdout, rf'^reserve ring {2 * MIB} {2 * MIB} node \d+\n'
                                          rf'reserve packets {2 * MIB} {2 * MIB} node \d+\nstats ')
            self.assertEqual(stats(done.stdout)[2], 4 * MIB)

    def test_what_cannot_be_had_is_named_and_the_program_runs(self):
        done = run(conf='dma_reserve:much=1T')
        self.assertRegex(done.stderr, r'^ashlar: dma_reserve: no reserve much \(errno \d+\): 1024 GiB on node .*\n$')
        self.assertNotIn('reserve', done.stdout)
        done = run(conf='dma_reserve:far=2M@63')
        self.assertRegex(done.stderr, r'^ashlar: dma_reserve: no reserve far \(errno \d+\): .*\n$')

    def test_what_cannot_be_understood_is_said_as_of_any_option(self):
        done = run(conf='dma_reserve:ring')
        self.assertEqual(done.stderr,
                         'ashlar: ASHLAR_CONF: bad value "ring" for dma_reserve; accepted: NAME=SIZE[@NODE]\n')
        self.assertNotIn('reserve', done.stdout)


class Figures(unittest.TestCase):
    def reports(self, *args, preload, program=None):
        """What the program says, and a report of each part of ashlar that is in the process."""
        with tempfile.TemporaryDirectory() as folder:
            done = run(*args, conf=f'report:exit,report_format:json,report_file:{folder}/r', preload=preload,
                       program=program)
            with open(f'{folder}/r', encoding='utf-8') as f:
                return done.stdout, [json.loads(line)['ashlar'] for line in f]

    def test_the_report_has_what_the_program_reads(self):
        for preload in (False, True):
            out, reports = self.reports('buffer', str(3 * MIB), preload=preload)
            memory, free, reserved, grows = stats(out)
            self.assertGreaterEqual(memory, 4 * MIB)
            self.assertEqual(len(reports), 2 if preload else 1)
            for d in [report['dma'] for report in reports]:
                self.assertEqual((d['memory_bytes'], d['free_bytes'], d['reserved_bytes'], d['grows']),
                                 (memory, free, reserved, grows))
                self.assertEqual(memory, d['1g_bytes'] + d['2m_bytes'] + d['thp_bytes'] + d['base_bytes'])

    def test_a_process_without_such_buffers_has_no_such_figures(self):
        for report in self.reports(preload=True)[1] + self.reports(preload=True, program=['/bin/ls'])[1]:
            self.assertNotIn('dma', report)


class Stat(unittest.TestCase):
    """`ashlar stat` of a process that holds one of everything says what the process reads itself."""

    def ask(self, child):
        own = json.loads(child.stdout.readline())
        seen = json.loads(subprocess.run([ASHLAR, 'stat', '--json', str(child.pid)], capture_output=True,
                                         check=True).stdout)['dma']
        self.assertEqual(
            (own['free'], own['pinned'], own['buffers'], own['bytes'], own['pools'], own['pool'], own['objects'],
             own['object'], own['reserved'], own['reserved'] - own['reserved_free'], own['registered'], own['refused'],
             own['bad']),
            (seen['free_bytes'], seen['pinned_bytes'],
             [seen['buffers'][level]['number'] for level in ('virtual', 'segments', 'physical')],
             [seen['buffers'][level]['bytes'] for level in ('virtual', 'segments', 'physical')], seen['pools'],
             seen['pool_bytes'], seen['objects'], seen['object_bytes'], seen['reserved_bytes'],
             seen['reserved_out_bytes'],
             seen['registered_bytes'], sum(seen['refused'].values()), seen['refused']['bad_request']))
        return own, seen

    def test_it_says_what_the_process_reads(self):
        for preload in (False, True):
            env = {'PATH': '/usr/bin:/bin', **({'LD_PRELOAD': PRELOAD} if preload else {})}
            with subprocess.Popen([USER, 'hold'], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True) as child:
                own, seen = self.ask(child)
                # One frame, 5 MiB and the 2 MiB that are shared; each at some level.
                self.assertEqual((sum(own['buffers']), sum(own['bytes'])), (3, 4096 + 7 * MIB))
                self.assertEqual((own['pools'], own['objects'], own['object'], own['bad']), (1, 1, 8192, 2))
                self.assertEqual((own['registered'], own['refused']), (4096, 2))
                self.assertGreaterEqual(sum(seen['backed_bytes'].values()), sum(own['bytes']))
                text = subprocess.run([ASHLAR, 'stat', str(child.pid)], capture_output=True, text=True,
                                      check=True).stdout
                for words in ('for devices:  memory ', 'buffers by level:  virtual ', 'refused:  bad_request 2',
                              'pools: 1 '):
                    self.assertIn(words, text)
                child.stdin.write('x')
                child.stdin.flush()
                own, _ = self.ask(child)
                self.assertEqual((own['buffers'], own['bytes'], own['pools'], own['pool'], own['objects'],
                                  own['registered']),
                                 ([0] * 3, [0] * 3, 0, 0, 0, 0))
                child.communicate('x')
                self.assertEqual(child.returncode, 0)

    def test_a_process_without_such_buffers_has_no_such_line(self):
        with subprocess.Popen(['/bin/sleep', '100'], env={'LD_PRELOAD': PRELOAD}) as child:
            while True:
                done = subprocess.run([ASHLAR, 'stat', str(child.pid)], capture_output=True, text=True)
                if done.returncode == 0:
                    break
            child.kill()
        self.assertNotIn('for devices', done.stdout)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
