#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program with the archive inside obeys ASHLAR_CONF: static_options.py PROGRAM. It prints a report when asked."""
import os
import subprocess
import sys


def report(conf):
    environment = {k: v for k, v in os.environ.items() if not k.startswith('ASHLAR_')}
    if conf:
        environment['ASHLAR_CONF'] = conf
    result = subprocess.run([sys.argv[1], 'malloc_shaped'], env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f'with "{conf}": exit status {result.returncode}\n{result.stdout}{result.stderr}')
    return result.stderr


if report(''):
    sys.exit('something was reported that nobody asked for')
if 'ashlar' not in report('report:exit'):
    sys.exit('the option had no effect')
print('the options are read')
