#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How the guests' kernel is fetched, with package tools that do as they are told: nothing is downloaded here, nothing
booted.

usage: fetch.py
"""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'harness'))
import cases  # noqa: E402

APT_CACHE = '#!/bin/sh\necho "linux-image-cloud-amd64"\necho "  Depends: linux-image-1.2-cloud"\n'
# Counts its calls; "update" has nothing to do.
APT_GET = '''#!/bin/sh
case "$*" in
*download*)
    echo download >>"$CALLS"
    %s
    ;;
esac
'''
UNPACK = '''#!/bin/sh
mkdir -p "$3/boot"
%s
'''
FETCHED = 'echo package >linux-image-1.2-cloud.deb'
WHOLE = 'echo kernel >"$3/boot/vmlinuz-1.2"'


class Fetch:
    """A cache, and the tools that fill it."""

    def __init__(self, folder, download=FETCHED, unpack=WHOLE):
        self.cache, self.calls = f'{folder}/cache', f'{folder}/calls'
        self.env = {**os.environ, 'PATH': f'{folder}:/usr/bin:/bin', 'CALLS': self.calls,
                    'PYTHONDONTWRITEBYTECODE': '1'}
        self.env.pop('ASH_GUEST_KERNEL', None)
        for name, text in (('apt-cache', APT_CACHE), ('apt-get', APT_GET % download), ('dpkg-deb', UNPACK % unpack)):
            with open(f'{folder}/{name}', 'w', encoding='ascii') as f:
                f.write(text)
            os.chmod(f'{folder}/{name}', 0o755)

    def start(self):
        code = ('import sys; sys.path.insert(0, sys.argv[1]); import kernel\n'
                'try: print("tree", kernel.tree(sys.argv[2]))\nexcept kernel.Unavailable as why: print("none:", why)')
        return subprocess.Popen([sys.executable, '-c', code, HERE, self.cache], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def get(self):
        return self.start().communicate()[0].strip()

    def downloads(self):
        try:
            with open(self.calls, encoding='ascii') as f:
                return len(f.readlines())
        except FileNotFoundError:
            return 0

    def left(self):
        """What is in the cache beside its lock."""
        return sorted(name for name in os.listdir(self.cache) if name != 'lock')


class Fetching(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def test_a_kernel_is_fetched_once(self):
        fetch = Fetch(self.folder)
        for _ in range(2):
            assert fetch.get() == f'tree {fetch.cache}/tree', fetch.get()
        assert fetch.downloads() == 1 and fetch.left() == ['tree'], fetch.left()

    def test_two_that_want_it_at_once_fetch_it_once(self):
        fetch = Fetch(self.folder, download='sleep 1; ' + FETCHED)
        runs = [fetch.start() for _ in range(3)]
        says = {run.communicate()[0].strip() for run in runs}
        assert says == {f'tree {fetch.cache}/tree'}, says
        assert fetch.downloads() == 1, fetch.downloads()

    def test_a_download_that_fails_is_a_reason_and_is_not_tried_again_at_once(self):
        fetch = Fetch(self.folder, download='echo "E: no route to the mirror" >&2; exit 100')
        first, again = fetch.get(), fetch.get()
        assert first == again == 'none: apt-get: E: no route to the mirror', (first, again)
        # Once with the machine's own lists and once with fresh ones, in the first run only.
        assert fetch.downloads() == 2, fetch.downloads()
        assert fetch.left() == ['failed-stable'], fetch.left()
        # What failed is forgotten in time, and then it works.
        os.utime(f'{fetch.cache}/failed-stable', (0, 0))
        assert Fetch(self.folder).get() == f'tree {fetch.cache}/tree'

    def test_a_package_that_is_cut_off_leaves_nothing_behind(self):
        fetch = Fetch(self.folder,
                      unpack='echo half >"$3/boot/vmlinuz-1.2"; echo "unexpected end of archive" >&2; exit 2')
        says = fetch.get()
        assert says == 'none: dpkg-deb: unexpected end of archive', says
        assert fetch.left() == ['failed-stable'], fetch.left()

    def test_a_package_without_a_kernel_is_none(self):
        fetch = Fetch(self.folder, unpack='true')
        assert fetch.get() == 'none: the package holds no kernel'
        assert fetch.left() == ['failed-stable'], fetch.left()

    def test_a_fetch_that_is_killed_is_none(self):
        # The unpacker kills who called it, half-way: what is left over is no kernel, and the next one fetches it.
        fetch = Fetch(self.folder, unpack='echo half >"$3/boot/vmlinuz-1.2"; kill -9 $PPID')
        assert fetch.get() == ''
        assert 'tree' not in fetch.left(), fetch.left()
        assert Fetch(self.folder).get() == f'tree {fetch.cache}/tree'


cases.main()
