#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The corners of the mapping calls are the same with served mappings and without:
corners.py CORNERS PRELOAD FAULTY_PRELOAD

With a preload that is at fault they are not: else nothing is seen.
"""
import difflib
import os
import subprocess
import sys


def run(program, preload=None):
    env = dict(os.environ)
    if preload:
        env.update(LD_PRELOAD=preload, ASHLAR_CONF='map:on')
    result = subprocess.run([program], env=env, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout.splitlines()


corners, preload, faulty = sys.argv[1:]
without = run(corners)
difference = list(difflib.unified_diff(without, run(corners, preload), 'without', 'with', lineterm='', n=4))
print('\n'.join(difference) or f'{len(without)} answers, all the same')
assert without[-1] == 'status: 0, errno 0' and len(without) > 150, 'it did not come to the end'
assert not difference
assert run(corners, faulty) != without, 'a munmap that leaves things in place is not seen'
