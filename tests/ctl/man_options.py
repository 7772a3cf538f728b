#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The options section of ashlar(7) is what lib/ctl/options.def makes of it.

usage: man_options.py PRINTER PAGE [--write]     --write brings the page up to date
"""
import subprocess
import sys

BEGIN = '.\\" begin of what tests/ctl/man_options.py makes from lib/ctl/options.def\n'
END = '.\\" end of it\n'


def updated(page, section):
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        sys.exit('the page has lost the comments around its options')
    return before + BEGIN + section + END + after


def main(printer, path, *flags):
    section = subprocess.run([printer], capture_output=True, text=True, check=True).stdout
    if section.count('.It ') < 10:
        sys.exit('the printer knows hardly any option')
    with open(path, encoding='utf-8') as f:
        page = f.read()
    # The check has teeth: one letter off in either is seen.
    assert updated(page, section.replace('huge', 'hugh', 1)) != updated(page, section)
    if flags == ('--write',):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(updated(page, section))
    elif updated(page, section) != page:
        sys.exit(f'{path} does not say what lib/ctl/options.def says: run tests/ctl/man_options.py with --write')


main(*sys.argv[1:])
