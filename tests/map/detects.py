#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The differential test finds a planted fault and names a short sequence for it:
detects.py DIFFERENTIAL FAULTY_PRELOAD CALL

And it fails where there was nothing to find, because nothing was served: detects.py DIFFERENTIAL PRELOAD
"""
import os
import subprocess
import sys

differential, preload, *call = sys.argv[1:]
if not call:
    result = subprocess.run([differential, preload, '480', '1'], stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, ASHLAR_CONF='map:off'))
    print(result.stdout)
    assert result.returncode == 1 and 'nothing was served' in result.stdout
    sys.exit(0)
result = subprocess.run([differential, preload, '5000', '1'], stdout=subprocess.PIPE, text=True)
print(result.stdout)
least = result.stdout.partition('the least that differs')[2].splitlines()[1:]
steps = [line for line in least if line.strip()[:1].isdigit()]
assert result.returncode == 1, f'status {result.returncode}'
assert 1 <= len(steps) <= 5, f'{len(steps)} steps are left of a fault that few show'
assert any(call[0] in line for line in steps), 'the call at fault is not among them'
