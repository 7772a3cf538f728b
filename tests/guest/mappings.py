#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tests of mappings on Debian's kernels. The stable one cannot move pages: its programs' mappings stay the
kernel's, and the report says why. The newer one can (6.12, which does not join mappings as readily as later ones do).

usage: mappings.py stable|backports RUN CACHE PRELOAD PROGRAM...

PROGRAMs are those of tests/map, by name. All run in one boot, each in a section of the output; the tests read their
section.
"""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

SKIP = 77
KERNEL, RUN, CACHE, PRELOAD, *PROGRAMS = sys.argv[1:]
del sys.argv[1:]
BY_NAME = {os.path.basename(path).removeprefix('test_map_'): path for path in PROGRAMS}
ALONE = ('served', 'wipe', 'contig')
PRELOADED = ('userfault', 'zerocopy', 'hammer')
COMPARED = ('corners', 'hostile')
SERVED = f'env ASHLAR_CONF=map:on,limit:128M LD_PRELOAD={PRELOAD}'
REPORTED = SERVED.replace('map:on', 'map:on,report:exit')
SCRIPTS = {
    **{name: BY_NAME[name] for name in ALONE},
    **{name: f'{REPORTED} {BY_NAME[name]}' for name in PRELOADED},
    **{f'{name}-without': BY_NAME[name] for name in COMPARED},
    **{f'{name}-with': f'{SERVED} {BY_NAME[name]}' for name in COMPARED},
    'differential': f'{BY_NAME["differential"]} {PRELOAD} 4000 1',
}
SECTIONS = {}


def boot():
    words = [word for path in (PRELOAD, *PROGRAMS) for word in ('--file', path)]
    script = ''.join(f'echo "== {name}"; {text}; echo "ended with $?"\n' for name, text in SCRIPTS.items())
    done = subprocess.run([sys.executable, RUN, '--cache', CACHE, '--kernel', KERNEL, '--nodes', '1', '--mem', '900',
                           *words, '--', 'sh', '-c', script], capture_output=True, text=True, errors='replace')
    if done.returncode == SKIP:
        print(done.stdout.strip())
        sys.exit(SKIP)
    assert done.returncode == 0, f'status {done.returncode}:\n{done.stdout}\n{done.stderr}'
    SECTIONS.update(re.findall(r'^== (\S+)\n(.*?)(?=^== |\Z)', done.stdout, re.M | re.S))
    assert set(SECTIONS) == set(SCRIPTS), done.stdout


class Sections(unittest.TestCase):
    def section(self, name, statuses=(0,)):
        text, status = re.fullmatch(r'(.*)ended with (\d+)\n', SECTIONS[name], re.S).groups()
        self.assertIn(int(status), statuses, f'{name}:\n{text}')
        return text

    def counts(self, name, statuses=(0,)):
        """(passed, failed, skipped) of a program's closing line."""
        text = self.section(name, statuses)
        return tuple(map(int, re.search(r': (\d+) passed, (\d+) failed, (\d+) skipped$', text, re.M).groups())), text


class Either(Sections):
    """What holds on both."""

    def test_programs_pass_with_served_mappings(self):
        for name in ('wipe', *PRELOADED):
            (passed, failed, _), text = self.counts(name)
            self.assertTrue(passed > 0 and failed == 0, text)

    def test_random_calls_answer_as_without(self):
        self.assertRegex(self.section('differential'), r'(?m)^4\d\d\d steps, no difference$')

    def test_corners_answer_as_without(self):
        for name in COMPARED:
            without = self.section(name + '-without')
            self.assertGreater(len(without.splitlines()), 150, without)
            self.assertEqual(without, self.section(name + '-with'))


class Stable(Either):
    def test_what_needs_moves_says_that_there_are_none(self):
        # One test of the first is of programs that serve nothing anyway.
        for name, always, status in (('served', 1, 0), ('contig', 0, SKIP)):
            (passed, failed, skipped), text = self.counts(name, (status,))
            self.assertEqual((passed, failed), (always, 0), text)
            self.assertGreater(skipped, 0, text)
            self.assertIn('this kernel does not move pages', text)

    def test_the_report_says_that_mappings_are_not_served(self):
        self.assertRegex(self.section('hammer'), r'(?m)^ +mappings +asked for, and not served: ')


class Newer(Either):
    def test_what_needs_moves_passes(self):
        # Its own memory may be too little for some of the first.
        for name in ALONE:
            (passed, failed, skipped), text = self.counts(name)
            self.assertTrue(passed > skipped and failed == 0, text)

    def test_the_report_counts_served_mappings(self):
        self.assertRegex(self.section('hammer'), r'(?m)^ +mappings +[1-9]\d* served, ')


# What is left is run.
del Sections, Either
if KERNEL == 'stable':
    del Newer
else:
    del Stable
boot()
cases.main()
