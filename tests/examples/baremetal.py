#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boot examples/baremetal on several machines, and see it fail where it must: baremetal.py RUN IMAGE.

Each machine prints its map, the statistics before and after, what was moved for the contiguous range, and the model's
agreement on each of its zones. A machine that lies, crashes, hangs or says nothing is a failure of RUN.
"""
import os
import re
import subprocess
import sys

RUN, IMAGE = sys.argv[1], sys.argv[2]
ZONES = 7  # that the model runs on
# What the machine is, and how many ranges of memory it must then have.
MACHINES = {
    '-machine pc -m 256M': 2,
    '-machine microvm -m 256M': 2,
    '-machine q35 -m 3G': 3,  # 2 GiB below a hole of 2 GiB, and 1 GiB above it
}
if os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >= 8 << 30:
    MACHINES['-machine q35 -m 6G'] = 3  # of which little is touched; a smaller host may refuse it all the same
# A word on the machine's command line, and what must be printed then.
BROKEN = {
    'break=grant': r'selftest: .*: M[0-9]: .*',
    'break=mover': r'baremetal: an object lost its contents: \d+',
    'break=free': r'baremetal: the core reports a bug at pfn \d+: .*',
    'break=crash': None,
    'break=hang': None,
}
problems = []


def run(words, **env):
    env = {**os.environ, **env}
    done = subprocess.run([RUN, IMAGE, *words], env=env, capture_output=True, text=True)
    if done.returncode == 77:
        print((done.stdout + done.stderr).strip())
        sys.exit(77)
    return done.returncode, (done.stdout + done.stderr).replace('\r', '')


def expect(condition, what, text):
    if not condition:
        problems.append(what)
        print(f'--- {what}:\n{text}')


for machine, ranges in MACHINES.items():
    status, text = run(['--machine', machine])
    expect(status == 0, f'{machine}: status {status}', text)
    found = len(re.findall(r'^  [0-9a-f]{9} - [0-9a-f]{9} memory$', text, re.M))
    expect(found == ranges, f'{machine}: {found} ranges of memory', text)
    for pattern, times in ((r'Node 0, zone Physical( +\d+){19} $', 2), (r'Page block order: 9$', 2),
                           (r'Node    0, zone Physical, type +\w+( +\d+){19} $', 12),
                           (r'contiguous: 16384 frames at [0-9a-f]{9}, [1-9]\d* frames moved out of the way$', 1),
                           (r'selftest: \d+ frames, \d+ online: \d{4,} operations, [1-9]\d* full checks: agreed$',
                            ZONES)):
        found = len(re.findall('^' + pattern, text, re.M))
        expect(found == times, f'{machine}: "{pattern}" {found} times', text)
for word, pattern in BROKEN.items():
    status, text = run([word], **({'BAREMETAL_SECONDS': '4'} if word == 'break=hang' else {}))
    expect(status == 1, f'{word}: status {status}', text)
    expect('baremetal: passed' not in text, f'{word} passed', text)
    expect(pattern is None or re.search('^' + pattern + '$', text, re.M), f'{word}: no "{pattern}"', text)
# A QEMU that says nothing, and one that says what it should but ends otherwise.
for silent in ('true', 'false', 'echo'):
    status, text = run([], BAREMETAL_QEMU=silent)
    expect(status == 1, f'a machine that is {silent}: status {status}', text)
print(f'baremetal: {len(MACHINES)} machines, {len(BROKEN)} broken ones, {len(problems)} problems')
sys.exit(1 if problems else 0)
