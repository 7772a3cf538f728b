# SPDX-License-Identifier: MIT
"""What the tests of the `ashlar` command share: how it is run, and a scratch folder that goes away."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'harness'))
import cases  # noqa: E402

ASHLAR, STUB, SHIM = (os.path.abspath(sys.argv.pop(1)) for _ in range(3))
PYTHON = os.path.realpath(sys.executable)
ROOT = os.geteuid() == 0
NOBODY = 65534


class Tool(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix=f'ashlar-{os.getpid()} tool ')
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir)
        self.env = {'PATH': '/usr/local/bin:/usr/bin:/bin', 'ASHLAR_PRELOAD': STUB, 'LC_ALL': 'C',
                    'ASH_TEST_RUN': os.environ.get('ASH_TEST_RUN', '')}

    def ashlar(self, *args, env=None, **kwargs):
        """Runs the command; environment variables given as None are removed."""
        merged = {k: v for k, v in {**self.env, **(env or {})}.items() if v is not None}
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
        return subprocess.run([ASHLAR, *args], env=merged, text=True, errors='surrogateescape', **{**pipes, **kwargs})

    def as_nobody(self):
        """What makes ashlar() run as another user; skips where there is none to be, or none that gets to the
        command."""
        if not ROOT:
            self.skipTest('needs root, to be somebody else')
        user = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}
        for path in (ASHLAR, STUB, SHIM):
            try:
                if subprocess.run(['test', '-r', path], check=False, **user).returncode != 0:
                    self.skipTest('another user cannot reach the build folder')
            except PermissionError:
                self.skipTest('another user cannot reach the build folder')
        return user

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, content=b'', mode=0o755):
        path = self.path(name)
        with open(path, 'wb') as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        return path

    def copy(self, program, name, mode=0o755):
        with open(shutil.which(program), 'rb') as f:
            return self.file(name, f.read(), mode)

    def assertFails(self, result, status, *words):
        """A complaint of one sentence that holds all the words, and nothing on standard output."""
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertTrue(result.stderr.startswith('ashlar: '), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertEqual(result.stdout, '')
