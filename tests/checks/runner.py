#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The runner counts: a scratch project whose tests fail in every known way is run, and the total must say so.

usage: runner.py ROOT
"""
import os
import re
import signal
import subprocess
import sys
import tempfile

PASS = 'print("fine")'
HANG = 'import time; time.sleep(60)'

# (what, program, {passed, failed, skipped} it must add, words the output must hold)
CASES = [
    ('pass', PASS, (1, 0, 0), ''),
    ('fail', 'print("the reason it failed"); sys.exit(1)', (0, 1, 0), 'the reason it failed'),
    ('crash', 'os.abort()', (0, 1, 0), 'signal 6'),
    ('hang', HANG, (0, 1, 0), 'a timeout'),
    ('skip', 'print("no pool here"); sys.exit(77)', (0, 0, 1), 'no pool here'),
    ('silent skip', 'sys.exit(77)', (0, 1, 1), 'skipped without a reason'),
    ('harness', 'print("ok a\\nok b # SKIP dry\\nx: 1 passed, 0 failed, 1 skipped")', (1, 0, 1), 'b: dry'),
    ('harness failure', 'print("ok a\\nnot ok b\\nx: 1 passed, 1 failed, 0 skipped"); sys.exit(1)', (1, 1, 0), ''),
    ('harness all skipped', 'print("ok b # SKIP dry\\nx: 0 passed, 0 failed, 1 skipped"); sys.exit(77)',
     (0, 0, 1), ''),
    ('harness crash', 'print("ok a\\nok b", flush=True); os.abort()', (2, 1, 0), 'ended before its closing line'),
    ('harness early exit', 'print("ok a\\nok b")', (2, 1, 0), 'ended before its closing line'),
    ('harness empty', 'print("x: 0 passed, 0 failed, 0 skipped"); sys.exit(1)', (0, 2, 0), 'ran no test'),
    ('harness late crash', 'print("ok a\\nx: 1 passed, 0 failed, 0 skipped", flush=True); os.abort()', (1, 1, 0),
     'reported no failure but ended with signal 6'),
    ('harness that hides', 'print("not ok a\\nx: 0 passed, 1 failed, 0 skipped")', (0, 2, 0), 'ended with success'),
]
# Ended by who started the run: it must still be there when that looks, however long it takes.
STRAY = ('import subprocess; p = subprocess.Popen(["sleep", "5000"], start_new_session=True, '
         'stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); '
         'open(sys.argv[1] + ".stray", "w").write(str(p.pid))')
LITTER = 'open(os.path.join(sys.argv[1], "litter"), "w").close()'

CLOSING = re.compile(r'^(\d+) passed, (\d+) failed, (\d+) skipped$')


def run(scratch, name, programs, *arguments, options=''):
    """Run the runner over a scratch project of the named programs; return (status, counts, output)."""
    source = os.path.join(scratch, name)
    build = os.path.join(scratch, name + '.out')
    os.mkdir(source)
    lines = ["project('scratch')", "py = find_program('python3')",
             "add_test_setup('quick', is_default: true, exclude_suites: ['long'])", "add_test_setup('long')"]
    for n, program in enumerate(programs):
        with open(os.path.join(source, f't{n}.py'), 'w', encoding='utf-8') as f:
            f.write('import os, sys\n' + program + '\n')
        lines.append(f"test('t{n}', py, args: [files('t{n}.py'), meson.current_source_dir()], suite: 'checks', "
                     f"timeout: {3 if program == HANG else 60}{options if n else ''})")
    with open(os.path.join(source, 'meson.build'), 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines) + '\n')
    git = ['git', '-C', source, '-c', 'user.name=t', '-c', 'user.email=t@t']
    subprocess.run(['git', 'init', '-q', source], check=True)
    subprocess.run(git + ['add', '-A'], check=True)
    subprocess.run(git + ['commit', '-qm', 'scratch'], check=True)
    subprocess.run(['meson', 'setup', build, source], check=True, capture_output=True)
    done = subprocess.run([os.path.join(ROOT, 'tests/run'), '--local-guards', '--require', 'checks', '--build', build,
                           *arguments], capture_output=True,
                          text=True)
    last = (done.stdout.splitlines() or [''])[-1]
    match = CLOSING.match(last)
    return done.returncode, tuple(int(n) for n in match.groups()) if match else None, done.stdout


def guards(scratch):
    """What an innocent run counts for the guards alone."""
    status, counts, output = run(scratch, 'innocent', [PASS])
    if status != 0 or not counts or counts[1] != 0:
        return None, f'an innocent project gives {status} and {counts}:\n{output}'
    return counts, None


def attempt(scratch, name, programs, expected, words, arguments=(), options=''):
    status, counts, output = run(scratch, name, programs, *arguments, options=options)
    if counts != expected:
        return f'counted {counts}, expected {expected}:\n{output}'
    if (status != 0) != (expected[1] > 0):
        return f'exit status {status} with {expected[1]} failures'
    return None if words in output else f'"{words}" is not in:\n{output}'


def end_stray(scratch):
    with open(os.path.join(scratch, 'stray.stray'), encoding='ascii') as f:
        os.kill(int(f.read()), signal.SIGKILL)


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        base, problem = guards(scratch)
        results = [('innocent', problem)]
        if base:
            for what, program, adds, words in CASES:
                expected = tuple(b + a for b, a in zip(base, adds))
                results.append((what, attempt(scratch, what.replace(' ', '_'), [PASS, program], expected, words)))
            for what, program, adds in (('should fail', 'sys.exit(1)', (1, 0, 0)),
                                        ('should fail but not', PASS, (0, 1, 0))):
                expected = tuple(b + a for b, a in zip(base, adds))
                results.append((what, attempt(scratch, what.replace(' ', '_'), [PASS, program], expected, '',
                                              options=', should_fail: true')))
            moved = (base[0], 1, base[2])  # one test more passes, its guard fails
            results.append(('stray process', attempt(scratch, 'stray', [PASS, STRAY], moved, 'sleep 5000')))
            end_stray(scratch)
            results.append(('litter in the tree', attempt(scratch, 'litter', [PASS, LITTER], moved, '?? litter')))
            alone = (base[0] - 1, 1, base[2] + 1)
            results.append(('suite of skips', attempt(scratch, 'skips', [CASES[4][1]], alone, 'it ran nothing')))
            nothing = (base[0] - 1, 2, base[2])
            results.append(('no tests', attempt(scratch, 'empty', [], nothing, 'nothing ran')))
            results.append(('a selection of nothing', attempt(scratch, 'none', [PASS], (base[0] - 1, 1, base[2]),
                                                              'nothing ran', ('no-such-test',))))
    for what, problem in results:
        name = what.replace(' ', '_')
        passed, failed = passed + (problem is None), failed + (problem is not None)
        print(f'ok {name}' if problem is None else f'# {problem}\nnot ok {name}')
    print(f'runner: {passed} passed, {failed} failed, 0 skipped')
    return 1 if failed else 0


ROOT = os.path.abspath(sys.argv[1])
sys.exit(main())
