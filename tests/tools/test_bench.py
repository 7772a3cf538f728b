#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ashlar bench` starts the scripts of the build folder that it lies in, and says where it must lie.

What they do is for tests/bench.

usage: test_bench.py ASHLAR STUB SHIM
"""
import os
import subprocess

from tool import ASHLAR, Tool, cases


class Bench(Tool):
    def setUp(self):
        super().setUp()
        for folder in ('tools', 'bench', 'scripts'):
            os.mkdir(self.path(folder))
        self.tool = self.copy(ASHLAR, 'tools/ashlar')

    def bench(self, *args):
        return subprocess.run([self.tool, 'bench', *args], env=self.env, capture_output=True, text=True, check=False)

    def test_the_scripts_get_the_build_folder_and_what_was_said(self):
        self.file('bench/bench-measure')
        self.file('bench/source', self.path('scripts') + '\n')
        self.file('scripts/all', 'import sys\nprint(sys.argv[1:])\nsys.exit(7)\n', 0o644)
        result = self.bench('--only', 'a b', '--quick')
        self.assertEqual((result.returncode, result.stderr), (7, ''))
        self.assertEqual(result.stdout, f'{["--build", self.dir, "--only", "a b", "--quick"]}\n')

    def test_without_benchmarks_it_says_where_they_are(self):
        self.assertFails(self.bench(), 1, 'not installed', 'build folder', 'ninja')
        self.file('bench/bench-measure')
        self.assertFails(self.bench(), 1, 'bench/source', 'No such file')

    def test_the_command_of_this_build_knows_its_scripts(self):
        with open(os.path.join(os.path.dirname(ASHLAR), '..', 'bench', 'source'), encoding='utf-8') as f:
            self.assertTrue(os.access(os.path.join(f.read().rstrip('\n'), 'all'), os.X_OK))

    def test_help(self):
        result = self.bench('--help')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        # Each option there is one of the script's.
        said = {word for word in result.stdout.split() if word.startswith('--')}
        with open(os.path.join(os.path.dirname(ASHLAR), '..', 'bench', 'source'), encoding='utf-8') as f:
            script = os.path.join(f.read().rstrip('\n'), 'all')
        theirs = subprocess.run([script, '--help'], capture_output=True, text=True, check=True).stdout
        self.assertEqual(said, {w.strip('[],') for w in theirs.split() if w.strip('[],').startswith('--')} -
                         {'--help', '--build'})


cases.main()
