#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run an example and check what it prints: run.py PROGRAM PATTERN... Each pattern must match a line, in this order."""
import re
import subprocess
import sys

result = subprocess.run([sys.argv[1]], capture_output=True, text=True)
print(result.stdout + result.stderr, end='')
if result.returncode != 0:
    sys.exit(f'exit status {result.returncode}')
lines = result.stdout.splitlines()
for pattern in sys.argv[2:]:
    while lines and not re.search(pattern, lines[0]):
        lines.pop(0)
    if not lines:
        sys.exit(f'no line matches "{pattern}"')
