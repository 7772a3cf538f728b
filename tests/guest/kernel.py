# SPDX-License-Identifier: MIT
"""A kernel for guests: the distribution's package, downloaded and unpacked into a folder, never installed."""
import fcntl
import glob
import os
import re
import shutil
import subprocess
import tempfile
import time

META = 'linux-image-cloud-amd64'   # depends on the package with the kernel
MIRROR = 'http://deb.debian.org/debian'
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
SUITES = {'stable': None, 'backports': 'bookworm-backports'}
RETRY_S = 600                      # how long a failure is remembered, so that not every test waits for the network
APT = ['-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=20']


class Unavailable(Exception):
    """Why there is no kernel."""


def image(tree):
    return sorted(glob.glob(f'{tree}/boot/vmlinuz-*'))[0]


def module(tree, name):
    found = glob.glob(f'{tree}/lib/modules/*/**/{name}.ko', recursive=True)
    return found[0] if found else None


def command(words, cwd):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Unavailable(f'{words[0]}: ' + (done.stderr.strip().splitlines() or ['failed'])[-1])
    return done.stdout


def download(where, options):
    """The package that META depends on, into a folder."""
    depends = re.search(r'Depends: (linux-image-\S+)', command(['apt-cache', *options, 'depends', META], where))
    if not depends:
        raise Unavailable(f'{META} depends on no kernel')
    command(['apt-get', *APT, *options, 'download', depends.group(1)], where)
    return glob.glob(f'{where}/linux-image-*.deb')[0]


def private_lists(where, suite):
    """Package lists of our own, fresh, for a machine that has none or old ones; the machine's are left alone.

    suite: of Debian's, where the machine's own sources are not to be asked."""
    for name in ('lists/partial', 'cache/archives/partial'):
        os.makedirs(f'{where}/{name}', exist_ok=True)
    options = ['-o', f'Dir::State::lists={where}/lists', '-o', f'Dir::Cache={where}/cache']
    if suite:
        with open(f'{where}/sources.list', 'w', encoding='ascii') as f:
            f.write(f'deb [signed-by={KEYRING}] {MIRROR} {suite} main\n')
        options += ['-o', f'Dir::Etc::sourcelist={where}/sources.list', '-o', 'Dir::Etc::sourceparts=/dev/null']
    command(['apt-get', *APT, *options, 'update'], where)
    return options


def fetch(cache, which):
    """Unpack into a scratch folder and rename: a kernel that is there is whole."""
    if not shutil.which('apt-get') or not shutil.which('dpkg-deb'):
        raise Unavailable('no apt-get to fetch it with')
    with tempfile.TemporaryDirectory(dir=cache) as where:
        try:
            package = download(where, private_lists(where, SUITES[which]) if SUITES[which] else [])
        except Unavailable:
            package = download(where, private_lists(where, SUITES[which]))
        command(['dpkg-deb', '-x', package, f'{where}/tree'], where)
        if not glob.glob(f'{where}/tree/boot/vmlinuz-*'):
            raise Unavailable('the package holds no kernel')
        os.rename(f'{where}/tree', tree_name(cache, which))


def tree_name(cache, which):
    return f'{cache}/tree' if which == 'stable' else f'{cache}/tree-{which}'


def tree(cache, which='stable'):
    """The folder of an unpacked kernel package; fetched once, by one of those who want it at the same time.

    which: stable, backports, or such a folder."""
    given = which if which not in SUITES else os.environ.get('ASH_GUEST_KERNEL') if which == 'stable' else None
    if given:
        if not glob.glob(f'{given}/boot/vmlinuz-*'):
            raise Unavailable(f'no boot/vmlinuz-* in {given}')
        return given
    cache = os.path.abspath(cache)
    os.makedirs(cache, exist_ok=True)
    failed = f'{cache}/failed-{which}'
    with open(f'{cache}/lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(tree_name(cache, which)):
            return tree_name(cache, which)
        if os.path.exists(failed) and time.time() - os.path.getmtime(failed) < RETRY_S:
            with open(failed, encoding='utf-8') as f:
                raise Unavailable(f.read())
        try:
            fetch(cache, which)
        except Unavailable as reason:
            with open(failed, 'w', encoding='utf-8') as f:
                f.write(str(reason))
            raise
    return tree_name(cache, which)
