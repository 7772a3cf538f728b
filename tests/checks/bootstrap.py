#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""./bootstrap does what it says, on made-up machines: every tool it calls is a recorder put in front of the real one.

usage: bootstrap.py ROOT
"""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(sys.argv[1])
REAL = ('bash', 'dirname', 'awk', 'tail', 'grep', 'head', 'mktemp', 'rm', 'mkdir', 'cat', 'chmod', 'env', 'ln')

# What each fake does, as shell; "$0 $*" is recorded first. INSTALLED names what dpkg-query knows.
FAKES = {
    'id': 'echo "${FAKE_UID-1000}"',
    'sudo': 'exit 1',
    'dpkg-query': 'for p in $INSTALLED; do echo "$p installed"; done',
    'apt-get': 'case "$*" in *install*$APT_KNOWS_NOT*) exit 100 ;; esac',
    'cc': ':',
    'meson': 'mkdir -p "$2/tools" && : >"$2/build.ninja"\n'
             'printf \'#!/bin/sh\\necho "ashlar $*" >>"$RECORD"\\nexit 7\\n\' >"$2/tools/ashlar"\n'
             'chmod +x "$2/tools/ashlar"',
    'ninja': 'echo "x.c:1:1: error: $NINJA_SAYS"; test -z "$NINJA_SAYS"',
}


class Machine:
    """A PATH of recorders and an environment; run() gives what bootstrap said, its status and what it called."""

    def __init__(self, scratch, without=(), **environment):
        self.bin, self.record = os.path.join(scratch, 'bin'), os.path.join(scratch, 'record')
        self.build = os.path.join(scratch, 'out')
        os.makedirs(self.bin)
        for name in REAL:
            os.symlink(f'/bin/{name}' if os.path.exists(f'/bin/{name}') else f'/usr/bin/{name}',
                       os.path.join(self.bin, name))
        for name, does in FAKES.items():
            if name not in without:
                path = os.path.join(self.bin, name)
                with open(path, 'w', encoding='ascii') as f:
                    f.write(f'#!/bin/bash\necho "{name} $*" >>"$RECORD"\n{does}\n')
                os.chmod(path, 0o755)
        self.environment = {'PATH': self.bin, 'RECORD': self.record, 'ASH_BUILD': self.build, 'INSTALLED': '',
                            'NINJA_SAYS': '', 'APT_KNOWS_NOT': 'nothing-of-that-name', **environment}

    def run(self, *arguments, script=os.path.join(ROOT, 'bootstrap'), folder=None):
        open(self.record, 'w', encoding='ascii').close()
        done = subprocess.run(['bash', script, *arguments], env=self.environment, cwd=folder, capture_output=True,
                              text=True)
        with open(self.record, encoding='ascii') as f:
            return done.stdout + done.stderr, done.returncode, f.read().splitlines()


def packages():
    """The two lists, as bootstrap itself names them when nothing is installed and there is no root."""
    lists = []
    for which in ('run', 'test'):
        with tempfile.TemporaryDirectory() as scratch:
            said, _, _ = Machine(scratch).run('deps', which)
        lists.append(said.strip().rpartition(': ')[2].split())
    return lists


def starts(calls, *words):
    return [call for call in calls if call.startswith(words)]


def without_root_missing_packages_are_named_and_the_rest_goes_on(scratch):
    m = Machine(scratch, INSTALLED='meson gcc')
    said, status, calls = m.run('run', '--', 'prog', 'a b')
    assert 'missing packages, and no root to install them: ninja-build' in said and ' gcc' not in said, said
    assert not starts(calls, 'apt-get'), calls
    assert (calls[-1], status) == ('ashlar run --report --whole -- prog a b', 7), (calls, status)


def as_root_only_what_is_missing_is_installed(scratch):
    run, _ = packages()
    m = Machine(scratch, FAKE_UID='0', INSTALLED=' '.join(run[1:]))
    _, _, calls = m.run('build')
    apt = starts(calls, 'apt-get')
    assert len(apt) == 1 and apt[0].endswith(f'--no-install-recommends {run[0]}'), apt


def a_failed_installation_updates_the_lists_and_then_takes_what_it_can(scratch):
    run, _ = packages()
    m = Machine(scratch, FAKE_UID='0', APT_KNOWS_NOT=run[-1])
    said, _, calls = m.run('deps', 'run')
    apt = starts(calls, 'apt-get')
    assert 'update' in apt[1] and len(apt) == 3 + len(run), apt
    assert 'could not install' in said, said


def with_everything_there_it_is_quiet_and_configures_once(scratch):
    m = Machine(scratch, INSTALLED=' '.join(packages()[1]))
    m.run('build')
    said, status, calls = m.run('build')
    assert (said, status) == ('', 0), said
    assert not starts(calls, 'meson', 'apt-get', 'sudo'), calls


def where_it_lies_does_not_depend_on_where_cd_looks(scratch):
    above, name = os.path.split(ROOT)
    m = Machine(scratch, CDPATH=above)
    _, status, calls = m.run('build', script=os.path.join(name, 'bootstrap'), folder=above)
    assert status == 0 and starts(calls, f'meson setup {m.build} {ROOT} '), (status, calls)


def running_needs_fewer_packages_than_testing(_):
    run, test = packages()
    assert set(run) < set(test) and len(run) < 10, (run, test)


def no_package_brings_a_daemon(_):
    assert not {'redis-server', 'redis', 'postgresql', 'memcached', 'nginx'} & set(packages()[1])


def a_missing_compiler_is_named(scratch):
    said, status, _ = Machine(scratch, without=('cc',)).run('build')
    assert status == 1 and 'cannot build: cc is missing' in said, said


def a_failed_build_shows_its_errors_and_runs_nothing(scratch):
    said, status, calls = Machine(scratch, NINJA_SAYS='no such thing').run('run', '--', 'prog')
    assert status == 1 and 'error: no such thing' in said and not starts(calls, 'ashlar'), said


def a_wrong_word_is_refused_and_help_is_not(scratch):
    m = Machine(scratch)
    assert m.run('biuld')[1] == 2
    said, status, calls = m.run('help')
    assert status == 0 and './bootstrap test' in said and not calls, said


TESTS = [f for name, f in list(globals().items()) if callable(f) and getattr(f, '__module__', '') == '__main__' and
         name not in ('Machine', 'packages', 'starts', 'main')]


def main():
    passed = failed = 0
    for test in TESTS:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                test(scratch)
                passed += 1
                print(f'ok {test.__name__}')
            except AssertionError as error:
                failed += 1
                print(f'# {error}\nnot ok {test.__name__}')
    print(f'bootstrap: {passed} passed, {failed} failed, 0 skipped')
    return 1 if failed or not passed else 0


sys.exit(main())
