#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The six formats of a snapshot, against parsers that are not ours and the kernel's own files.

usage: formats.py SAMPLE DOC     (tests/ctl/sample.c, whose values are known here; docs/stats.md)
"""
import json
import os
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

SAMPLE, DOC = sys.argv.pop(1), sys.argv.pop(1)
ORDERS = 19
TYPES = ['Unmovable', 'Movable', 'Reclaimable', 'HighAtomic', 'CMA', 'Isolate']


def sample(*args):
    return subprocess.run([SAMPLE, *args], capture_output=True, check=True).stdout.decode('ascii')


def prometheus(text):
    """Parses the text exposition strictly: {family: (type, [(sample name, labels, value)])}."""
    name = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
    label = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
    line = re.compile(rf'({name})(?:\{{({label}(?:,{label})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)')
    families, current, seen = {}, None, set()
    if not text.endswith('\n'):
        raise ValueError('no newline at the end')
    for row in text.splitlines():
        if row.startswith('# HELP '):
            current = row.split(' ')[2]
            if current in families:
                raise ValueError(f'family {current} is not in one piece')
            families[current] = [None, []]
            continue
        if row.startswith('# TYPE '):
            _, _, family, kind = row.split(' ')
            if family != current or kind not in ('gauge', 'counter'):
                raise ValueError(row)
            families[family][0] = kind
            continue
        match = line.fullmatch(row)
        if not match or match[1] != current or families[current][0] is None:
            raise ValueError(f'not a sample of {current}: {row}')
        if row.rsplit(' ', 1)[0] in seen:
            raise ValueError(f'twice: {row}')
        seen.add(row.rsplit(' ', 1)[0])
        labels = dict(re.findall(r'([a-zA-Z_0-9]+)="((?:[^"\\]|\\.)*)"', match[2] or ''))
        families[current][1].append((labels, float(match[3])))
    for family, (kind, rows) in families.items():
        if not rows:
            raise ValueError(f'{family} has no sample')
        if (kind == 'counter') != family.endswith('_total'):
            raise ValueError(f'{family} is a {kind}')
    return families


class Json(unittest.TestCase):
    def test_values(self):
        d = json.loads(sample('json'))['ashlar']
        self.assertEqual(d['process']['pid'], 4242)
        self.assertEqual(d['process']['cpu_user_seconds'], 1.5)
        self.assertEqual(d['process']['cpu_system_seconds'], 0.250001)
        self.assertEqual(d['process']['uptime_seconds'], 12.345)
        self.assertEqual(d['process']['minor_faults'], 1234)
        self.assertEqual(d['options']['huge'], 'auto')
        self.assertEqual(len(d['arenas']), 4)
        for i, a in enumerate(d['arenas']):
            self.assertEqual((a['node'], a['arena']), (i // 2, 'TH'[i % 2]))
            self.assertEqual(a['online_bytes'], 4096 * 1024 * (i + 1))
            self.assertEqual(a['peak_online_bytes'], 4096 * 2048 * (i + 1))
            self.assertEqual(a['pgalloc_pages'], 123456789012)
            self.assertEqual(a['pageblocks'], {t: 1000 * i + mt for mt, t in enumerate(TYPES)})
            for mt, t in enumerate(TYPES):
                self.assertEqual(a['free_areas'][t], [100 * mt + order + i for order in range(ORDERS)])
        self.assertEqual(d['arenas'][0]['resident_bytes'],
                         {'1G': 1 << 20, '2M': 2 << 20, 'THP': 3 << 20, 'base': 4 << 20})
        self.assertIsNone(d['arenas'][3]['resident_bytes'])
        self.assertEqual([n['node'] for n in d['nodes']], [0, 3])
        self.assertEqual(d['nodes'][1], {
            'node': 3, 'numa_hit_bytes': 11 * 4096, 'numa_miss_bytes': 21 * 4096, 'numa_foreign_bytes': 31 * 4096,
            'local_node_bytes': 41 * 4096, 'other_node_bytes': 51 * 4096, 'interleave_hit_bytes': 61 * 4096,
            'in_memory_bytes': 71 * 4096, 'strayed_bytes': 81 * 4096, 'pool_2m_pages': 91, 'pool_2m_free_pages': 9,
            'pool_1g_pages': 2, 'pool_1g_free_pages': 1})
        self.assertEqual(d['spills'], [{'from': 3, 'to': 0, 'reason': 'pool', 'runs': 2, 'spilled_bytes': 4 << 20}])
        self.assertEqual(d['heap']['slab_bytes'], 30 << 20)
        self.assertEqual(d['dma'], {
            'memory_bytes': 12 << 20, '1g_bytes': 0, '2m_bytes': 8 << 20, 'thp_bytes': 4 << 20, 'base_bytes': 0,
            'free_bytes': 3 << 20, 'pinned_bytes': 12 << 20, 'known_bytes': 10 << 20, 'longest_run_bytes': 6 << 20,
            'reserved_bytes': 2 << 20, 'reserved_free_bytes': 1 << 20, 'registered_bytes': 64 << 10, 'grows': 5,
            'failures': 1, 'virtual_buffers': 1, 'virtual_buffer_bytes': 4 << 20, 'segments_buffers': 2,
            'segments_buffer_bytes': 8 << 10, 'physical_buffers': 3, 'physical_buffer_bytes': 12 << 10, 'pools': 4,
            'pool_bytes': 256 << 10, 'objects': 5, 'object_bytes': 20 << 10, 'iova_bytes': 10 << 20, 'refused_bad': 0,
            'refused_memory': 1, 'refused_contiguous': 0, 'refused_limit': 0, 'refused_hidden': 0})
        self.assertEqual(d['heap']['classes'][2], {'size': 64, 'slabs': 3, 'objects': 300, 'free': 20})

    def test_empty_and_hostile(self):
        self.assertEqual(json.loads(sample('json', 'empty'))['ashlar']['arenas'], [])
        self.assertNotIn('dma', json.loads(sample('json', 'empty'))['ashlar'])
        self.assertNotIn('ashlar_dma', sample('prometheus', 'empty'))
        d = json.loads(sample('json', 'hostile'))['ashlar']
        self.assertEqual(d['process']['name'], 'a"b\\c?<?&?')
        self.assertEqual(d['options']['report_file'], '/a"\\?/b,c')


class Prometheus(unittest.TestCase):
    def test_values(self):
        f = prometheus(sample('prometheus'))
        self.assertEqual(f['ashlar_info'][1][0][0]['pid'], '4242')
        self.assertEqual(f['ashlar_process_cpu_user_seconds_total'], ['counter', [({}, 1.5)]])
        self.assertEqual(f['ashlar_process_peak_rss_bytes'], ['gauge', [({}, 64 << 20)]])
        self.assertEqual([v for _, v in f['ashlar_arena_online_bytes'][1]],
                         [4096 * 1024 * (i + 1) for i in range(4)])
        self.assertEqual(len(f['ashlar_arena_free_area_buddies'][1]), 4 * ORDERS * len(TYPES))
        self.assertIn(({'node': '1', 'arena': 'T', 'backing': 'THP'}, float(3 << 20)),
                      f['ashlar_arena_resident_bytes'][1])
        self.assertEqual(f['ashlar_node_numa_miss_bytes_total'][1],
                         [({'node': '0'}, 20 * 4096.0), ({'node': '3'}, 21 * 4096.0)])
        self.assertEqual(f['ashlar_node_spilled_bytes_total'][1],
                         [({'from': '3', 'to': '0', 'reason': 'pool'}, float(4 << 20))])
        # An arena whose backing is not known has no sample rather than a zero.
        self.assertEqual(len(f['ashlar_arena_resident_bytes'][1]), 3 * 4)

    def test_names_carry_their_unit(self):
        for family in prometheus(sample('prometheus')):
            self.assertRegex(family, '^ashlar_')
            self.assertNotRegex(family, '_(ms|us|kb|frames)(_|$)')

    def test_the_documentation_lists_exactly_these(self):
        said = re.findall(r'^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$', sample('prometheus'), re.M)
        with open(DOC, encoding='utf-8') as f:
            rows = re.findall(r'^\| `(ashlar_\S+)` \| (\w+) \| (.*) \|$', f.read(), re.M)
        self.assertGreater(len(said), 30)
        self.assertEqual(rows, [(name, kind, text) for name, text, kind in said])

    def test_hostile(self):
        labels = prometheus(sample('prometheus', 'hostile'))['ashlar_info'][1][0][0]
        self.assertEqual(labels['name'], 'a\\"b\\\\c?<?&?')

    def test_the_parser_refuses_what_is_wrong(self):
        good = sample('prometheus')
        for bad in (good.replace('# TYPE ashlar_info gauge\n', ''), good.replace('} 1\n', '} one\n', 1),
                    good + good, good.replace('ashlar_heap_slab_bytes ', 'ashlar heap ', 1), good[:-1],
                    good.replace('"T"', '"T', 1)):
            self.assertNotEqual(bad, good)
            with self.assertRaises(ValueError):
                prometheus(bad)


class MallocInfo(unittest.TestCase):
    def test_shape_is_glibcs(self):
        # What glibc itself prints here, reduced to tags and attribute names, minus its size lists.
        glibc = subprocess.run([sys.executable, '-c', 'import ctypes\nc = ctypes.CDLL(None)\n'
                                'c.fdopen.restype = ctypes.c_void_p\n'
                                'f = ctypes.c_void_p(c.fdopen(1, b"w"))\nc.malloc_info(0, f)\nc.fflush(f)'],
                               capture_output=True, text=True, check=True, env={}).stdout

        def shape(root):
            first = root.find('heap')
            keep = lambda e: (e.tag, e.get('type'), sorted(e.keys()))
            return (root.tag, root.attrib, [keep(e) for e in first if e.get('type') != 'subheaps'],
                    [keep(e) for e in root if e.tag != 'heap'])
        ours = ElementTree.fromstring(sample('xml'))
        self.assertEqual(shape(ours), shape(ElementTree.fromstring(glibc)))

    def test_values(self):
        root = ElementTree.fromstring(sample('xml'))
        sizes = [(int(s.get('from')), int(s.get('to')), int(s.get('total')), int(s.get('count')))
                 for s in root.find('heap/sizes')]
        self.assertEqual(sizes, [(17, 32, 320, 10), (33, 64, 1280, 20)])
        self.assertEqual(root.find("system[@type='current']").get('size'), str(4096 * 1024 * 10))
        self.assertEqual(root.find("system[@type='max']").get('size'), str(4096 * 2048 * 10))
        self.assertEqual(root.find("total[@type='mmap']").get('count'), '12')
        ElementTree.fromstring(sample('xml', 'empty'))


class KernelLookAlikes(unittest.TestCase):
    BUDDY = re.compile(r'Node \d+, zone (?=.{8} )\s*\w+ (?:(?=.{6} ) *\d+ )+')
    FREE = re.compile(r'Node (?=.{4},) *\d+, zone (?=.{8},)\s*\w+, type (?=.{12} )\s*\w+ (?:(?=.{6} )[ >]*\d+ )+')
    BLOCKS = re.compile(r'Node \d+, zone (?=.{8} )\s*\w+ (?:(?=.{12} ) *\d+ )+')

    def check_pagetypeinfo(self, text, orders, types):
        lines = text.split('\n')
        self.assertRegex(lines[0], r'^Page block order: \d+$')
        self.assertRegex(lines[1], r'^Pages per block:  \d+$')
        self.assertEqual(lines[2], '')
        self.assertEqual(lines[3], f'{"Free pages count per migrate type at order":43} '
                         + ''.join(f'{o:6} ' for o in range(orders)))
        blank = lines.index('', 4)
        self.assertGreaterEqual(blank, 5)
        for line in lines[4:blank]:
            self.assertRegex(line, self.FREE)
            self.assertEqual(len(line.split('type')[1].split()), orders + 1)
        self.assertEqual(lines[blank + 1], f'{"Number of blocks type ":23}' + ''.join(f'{t:>12} ' for t in types))
        rest = [line for line in lines[blank + 2:] if line]
        self.assertGreaterEqual(len(rest), 1)
        for line in rest:
            self.assertIsNotNone(self.BLOCKS.fullmatch(line), line)

    def test_buddyinfo(self):
        lines = sample('buddyinfo').splitlines()
        self.assertEqual(len(lines), 4)
        for i, line in enumerate(lines):
            self.assertIsNotNone(self.BUDDY.fullmatch(line), line)
            words = line.split()
            self.assertEqual(words[:4], ['Node', f'{i // 2},', 'zone', 'TH'[i % 2]])
            self.assertEqual([int(w) for w in words[4:]], [1500 + 6 * (order + i) for order in range(ORDERS)])
        self.assertEqual(sample('buddyinfo', 'empty'), '')

    def test_pagetypeinfo(self):
        self.check_pagetypeinfo(sample('pagetypeinfo'), ORDERS, TYPES)

    def test_the_kernels_own_files_pass_the_same_checks(self):
        with open('/proc/buddyinfo', encoding='ascii') as f:
            for line in f.read().splitlines():
                self.assertIsNotNone(self.BUDDY.fullmatch(line), line)
        if not os.access('/proc/pagetypeinfo', os.R_OK):
            self.skipTest('/proc/pagetypeinfo is for root')
        with open('/proc/pagetypeinfo', encoding='ascii') as f:
            text = f.read()
        orders = len(text.split('\n')[3].split('order')[1].split())
        types = re.search('Number of blocks type (.*)', text)[1].split()
        self.check_pagetypeinfo(text, orders, types)


class Text(unittest.TestCase):
    def test_report(self):
        text = sample('text')
        self.assertIn('---- ashlar 0', text.splitlines()[0])
        self.assertIn('sample, process 4242, after 12.34 s', text)
        # 3 arenas with 1 + 2 + 3 MiB huge and 4 base.
        self.assertIn('60 % of the heap is on huge pages: 18.0 MiB of 30.0 MiB in memory', text)
        self.assertIn('huge:auto (default)', text)
        self.assertNotIn('Degraded', text)
        self.assertRegex(text, r'node 0 +T +10\.0 MiB +1\.0 MiB +2\.0 MiB +3\.0 MiB +4\.0 MiB')
        self.assertIn('not known (errno 2)', text)
        self.assertIn('1234 minor, 5 major', text)
        self.assertIn('30.0 MiB in slabs (1.0 MiB of it free), 20.0 MiB in 12 large runs', text)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_hostile_and_empty(self):
        text = sample('text', 'hostile')
        self.assertIn('Degraded: pool "2M"??[31m node 0', text)
        self.assertNotIn('\x1b', text)
        self.assertIn('has taken no memory', sample('text', 'empty'))


cases.main()
