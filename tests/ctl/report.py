#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The exit report of real processes under the preloaded library.

usage: report.py PRELOAD
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

PRELOAD = os.path.abspath(sys.argv.pop(1))
PYTHON = os.path.realpath('/usr/bin/python3' if os.path.exists('/usr/bin/python3') else sys.executable)
# Memory that is still there when the process ends: python frees its own objects before.
HOLD = 'import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p\np = c.malloc(%d)\n' \
       'if p: ctypes.memset(p, 1, %d)\n'
MIB = 1 << 20


def hold(size):
    return HOLD % (size, size)


def run(*command, conf='report:exit', preload=PRELOAD, **kwargs):
    env = {'PATH': '/usr/bin:/bin', 'ASH_TEST_RUN': os.environ.get('ASH_TEST_RUN', ''), 'LD_PRELOAD': preload,
           'ASHLAR_CONF': conf, **kwargs.pop('env', {})}
    return subprocess.run(command, env=env, text=True, check=False, stdin=subprocess.DEVNULL,
                          **{'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **kwargs})


def thp_is_off():
    try:
        with open('/sys/kernel/mm/transparent_hugepage/enabled', encoding='ascii') as f:
            return '[never]' in f.read()
    except OSError:
        return True


class Report(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='ashlar report ')
        self.addCleanup(shutil.rmtree, self.dir)

    def report(self, *command, report_format='json', **kwargs):
        result = run(*command, conf=f'report:exit,report_format:{report_format}', **kwargs)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stderr)['ashlar'] if report_format == 'json' else result.stderr

    def test_text_says_when_most_of_the_process_is_elsewhere(self):
        line = 'beside the heap'
        own = 'import mmap; m = mmap.mmap(-1, 64 << 20)\nfor i in range(0, 64 << 20, 4096): m[i] = 1'
        self.assertIn(line, self.report(PYTHON, '-c', own, report_format='text'))
        self.assertNotIn(line, self.report(PYTHON, '-c', hold(64 * MIB), report_format='text'))

    def test_nothing_is_said_unasked(self):
        result = run(PYTHON, '-c', hold(8 * MIB), conf='')
        self.assertEqual((result.returncode, result.stderr), (0, ''))

    def test_json_says_what_the_process_holds(self):
        d = self.report(PYTHON, '-c', hold(64 * MIB))
        online = sum(a['online_bytes'] for a in d['arenas'])
        resident = {}
        for a in d['arenas']:
            self.assertLessEqual(sum(a['resident_bytes'].values()), a['online_bytes'])
            for backing, n in a['resident_bytes'].items():
                resident[backing] = resident.get(backing, 0) + n
            # The free lists add up to what is free, and every online pageblock has a type.
            free = sum(nr << order for t, nrs in a['free_areas'].items() if t != 'Isolate'
                       for order, nr in enumerate(nrs))
            self.assertEqual(free * 4096, a['free_bytes'])
            self.assertEqual(sum(a['pageblocks'].values()) * 2 * MIB, a['online_bytes'])
            self.assertEqual(sum(a['asked_bytes'].values()), a['online_bytes'])
            self.assertGreaterEqual(a['peak_online_bytes'], a['online_bytes'])
        self.assertGreaterEqual(online, 64 * MIB)
        self.assertGreaterEqual(sum(resident.values()), 64 * MIB)
        self.assertGreaterEqual(d['heap']['large_bytes'], 64 * MIB)
        self.assertGreaterEqual(d['heap']['large_runs'], 1)
        self.assertGreaterEqual(d['process']['peak_rss_bytes'], 64 * MIB)
        # How many of the huge pages asked for there are is up to the kernel and to its memory just now.
        asked = sum(a['asked_bytes']['THP'] for a in d['arenas'])
        self.assertGreaterEqual(asked, 0 if thp_is_off() else 60 * MIB)

    def test_options_that_were_asked_for_are_in_it(self):
        d = self.report(PYTHON, '-c', hold(16 * MIB), env={'ASHLAR_HUGE': 'none', 'ASHLAR_DECAY': 'never'})
        self.assertEqual((d['options']['huge'], d['options']['decay']), ('none', 'never'))
        backing = d['arenas'][0]['resident_bytes']
        self.assertGreaterEqual(backing['base'], 16 * MIB)
        self.assertEqual((backing['THP'], backing['2M'], backing['1G']), (0, 0, 0))

    def test_every_format_comes_from_a_live_process(self):
        text = self.report(PYTHON, '-c', hold(16 * MIB), report_format='text')
        self.assertRegex(text, r'\d+ % of the heap is on huge pages: [\d.]+( [KM]iB)? of [\d.]+ MiB in memory')
        self.assertRegex(text, r'node \d+ +T +[\d.]+ MiB')
        self.assertNotIn('small start', text)
        self.assertRegex(text, r'asked for +huge:auto \(default\)  strict:no \(default\)\n')
        small = self.report('ls', '/', report_format='text')
        self.assertIn('It is within the small start, which is base pages', small)
        self.assertIn('# TYPE ashlar_arena_online_bytes gauge', self.report('ls', '/', report_format='prometheus'))
        root = ElementTree.fromstring(self.report('ls', '/', report_format='xml'))
        self.assertGreater(int(root.find("system[@type='current']").get('size')), 0)
        self.assertRegex(self.report('ls', '/', report_format='buddyinfo'), r'^Node \d+, zone +T( +\d+)+ \n')
        self.assertIn('Number of blocks type', self.report('ls', '/', report_format='pagetypeinfo'))

    def test_programs_that_close_standard_error_report_all_the_same(self):
        # coreutils close it in an exit handler; here by hand, with nothing in its place.
        self.assertEqual(self.report('ls', '/')['process']['name'], 'ls')
        code = 'import os; x = bytearray(1 << 20); os.close(2)'
        self.assertGreater(self.report(PYTHON, '-c', code)['process']['pid'], 0)

    def test_a_file_that_took_the_place_of_standard_error_is_left_alone(self):
        path = os.path.join(self.dir, 'impostor')
        code = ('import os, sys; x = bytearray(1 << 20); os.closerange(2, 1024)\n'
                'for i in range(300): os.dup(fd) if i else (fd := os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT))')
        result = run(PYTHON, '-c', code, path)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertEqual(os.path.getsize(path), 0)

    def test_a_reader_that_has_gone_does_not_change_the_status(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = run(PYTHON, '-c', 'import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)', stderr=writer)
        os.close(writer)
        self.assertEqual(result.returncode, 0)

    def test_file_is_appended_to_and_named_by_process(self):
        path = os.path.join(self.dir, 'all, of: them')
        for _ in range(2):
            result = run('ls', '/', env={'ASHLAR_REPORT_FILE': path})
            self.assertEqual((result.returncode, result.stderr), (0, ''))
        with open(path, encoding='ascii') as f:
            self.assertEqual(len(re.findall('---- ashlar .*: ls, process', f.read())), 2)
        process = subprocess.Popen(['ls', '/'], stdout=subprocess.DEVNULL, env={
            'PATH': '/bin', 'LD_PRELOAD': PRELOAD, 'ASHLAR_CONF': f'report:exit,report_file:{self.dir}/r.%p'})
        self.assertEqual(process.wait(), 0)
        self.assertTrue(os.path.exists(f'{self.dir}/r.{process.pid}'))

    def test_a_file_that_cannot_be_written_is_said(self):
        result = run(PYTHON, '-c', 'raise SystemExit(3)', env={'ASHLAR_REPORT_FILE': '/nonexistent/report'})
        self.assertEqual(result.returncode, 3)
        self.assertEqual(result.stderr, 'ashlar: cannot write the report to /nonexistent/report (errno 2)\n')

    def test_children_report_too(self):
        code = ('import os, sys; x = bytearray(1 << 20); pid = os.fork()\n'
                'if pid: assert os.waitpid(pid, 0)[1] == 0')
        pids = [json.loads(line)['ashlar']['process']['pid']
                for line in run(PYTHON, '-c', code, conf='report:exit,report_format:json').stderr.splitlines()]
        self.assertEqual(len(set(pids)), 2)

    def test_one_process_reports_when_it_is_named(self):
        code = ('import os, sys; os.environ["ASHLAR_REPORT_PID"] = str(os.getpid())\n'
                'os.execv(sys.executable, [sys.executable, "-c", "import os; pid = os.fork(); '
                'print(pid); pid and os.waitpid(pid, 0)"])')
        result = run(PYTHON, '-c', code, conf='report:exit,report_format:json')
        child = max(int(line) for line in result.stdout.split())
        pids = [json.loads(line)['ashlar']['process']['pid'] for line in result.stderr.splitlines()]
        self.assertEqual(len(pids), 1)
        self.assertNotIn(child, pids)

    def test_a_process_that_allocated_nothing_says_so(self):
        self.assertIn('has taken no memory from ashlar', run('true').stderr)

    def test_what_is_not_understood_is_said_once_and_help_is_given(self):
        result = run(PYTHON, '-c', 'print(len([bytearray(1000) for i in range(10000)]))', conf='hueg:1,limit:x',
                     env={'ASHLAR_LIMTI': '1', 'ASHLAR_DECAY': 'soon'})
        self.assertEqual((result.returncode, result.stdout), (0, '10000\n'))
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 4, result.stderr)
        for word in ('unknown option "hueg"', '"x" for limit', '"soon" for decay', '"ASHLAR_LIMTI"'):
            self.assertEqual(sum(word in line for line in lines), 1)
        result = run('ls', '/', conf='help')
        self.assertEqual(result.returncode, 0)
        self.assertIn('small_start', result.stderr)

    def test_limit_is_kept(self):
        code = 'try: x = bytearray(64 << 20)\nexcept MemoryError: print("refused")'
        result = run(PYTHON, '-c', code, conf='limit:48M')
        self.assertEqual((result.returncode, result.stdout), (0, 'refused\n'))
        self.assertEqual(run(PYTHON, '-c', code, conf='limit:128M').stdout, '')


cases.main()
