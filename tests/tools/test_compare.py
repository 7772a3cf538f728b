#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ashlar compare`: what it measures, in which order, and what it does about failures.

usage: test_compare.py ASHLAR STUB SHIM
"""
import json
import os
import shutil
import statistics

from tool import PYTHON, SHIM, STUB, Tool, cases

METRICS = ['wall_seconds', 'user_seconds', 'system_seconds', 'peak_bytes', 'page_faults']


class Measure(Tool):
    def compare(self, *args, status=0, **kwargs):
        result = self.ashlar('compare', '--json', *args, **kwargs)
        self.assertEqual(result.returncode, status, result.stderr)
        return json.loads(result.stdout)

    def only(self, *args, **kwargs):
        """The one allocator of a comparison under glibc alone."""
        return self.compare('--with', 'glibc', *args, **kwargs)['allocators'][0]

    def test_figures_are_consistent(self):
        d = self.compare('--with', 'glibc,stub', '--preload', f'stub={STUB}', '--runs', '4', '--', PYTHON, '-c', 'pass')
        self.assertEqual(d['runs'], 4)
        self.assertEqual(d['command'], [PYTHON, '-c', 'pass'])
        self.assertEqual([(a['name'], a['library'], a['failed']) for a in d['allocators']],
                         [('glibc', None, None), ('stub', STUB, None)])
        for a in d['allocators']:
            for metric in METRICS:
                m = a[metric]
                self.assertEqual(len(m['samples']), 4)
                self.assertAlmostEqual(m['median'], statistics.median(m['samples']), places=5)
                self.assertEqual((m['min'], m['max']), (min(m['samples']), max(m['samples'])))
            self.assertGreater(a['page_faults']['min'], 50)
        self.assertEqual(d['ratios']['of'], 'stub')
        glibc, stub = d['allocators']
        for metric in METRICS:
            ratio = d['ratios']['to']['glibc'][metric]
            if glibc[metric]['median'] > 0 and stub[metric]['median'] > 0:
                self.assertAlmostEqual(ratio * glibc[metric]['median'] / stub[metric]['median'], 1, places=2)

    def test_time(self):
        slept = self.only('--runs', '1', 'sleep', '0.3')
        self.assertGreaterEqual(slept['wall_seconds']['median'], 0.3)
        self.assertLess(slept['user_seconds']['median'], 0.2)
        busy = self.only('--runs', '1', PYTHON, '-c', 'import time\nwhile time.process_time() < 0.3: pass')
        cpu = busy['user_seconds']['median'] + busy['system_seconds']['median']
        self.assertGreaterEqual(cpu, 0.29)
        # A child's time counts once it has been waited for.
        child = self.only('--runs', '1', 'sh', '-c',
                          f"{PYTHON} -c 'import time\nwhile time.process_time() < 0.3: pass'")
        self.assertGreaterEqual(child['user_seconds']['median'] + child['system_seconds']['median'], 0.29)

    def test_peak_of_one_short_process(self):
        a = self.only('--runs', '1', PYTHON, '-c', 'x = b"x" * (80 << 20)')
        self.assertGreaterEqual(a['peak_bytes']['median'], 80 << 20)
        self.assertLess(a['peak_bytes']['median'], 160 << 20)
        self.assertGreaterEqual(a['page_faults']['median'], 100)

    def test_peak_is_summed_over_the_process_tree(self):
        # All three hold their memory before any lets go, however long their starts take, and long enough for many
        # looks.
        hold = ('import os, time; x = b"x" * (60 << 20); open("%s." + str(os.getpid()), "w").close()\n'
                'while len([n for n in os.listdir("%s") if n.startswith("held.")]) < 3: time.sleep(0.02)\n'
                'time.sleep(2)') % (self.path('held'), os.path.dirname(self.path('held')))
        a = self.only('--runs', '1', 'sh', '-c',
                      f"({PYTHON} -c '{hold}' &) ; {PYTHON} -c '{hold}' & {PYTHON} -c '{hold}'; wait")
        # Two are descendants for as long as they live; the one in the subshell is an orphan, nobody's descendant.
        self.assertGreaterEqual(a['peak_bytes']['median'], 120 << 20)
        self.assertLess(a['peak_bytes']['median'], 200 << 20)

    def test_runs_are_interleaved_and_the_order_turns(self):
        log = self.path('log')
        self.compare('--with', 'glibc,a,b', '--preload', f'a={STUB}', '--preload', f'b={SHIM}', '--runs', '3', '--',
                     'sh', '-c', f'echo "${{LD_PRELOAD##*/}}" >> "{log}"')
        with open(log, encoding='ascii') as f:
            order = [{'': 'g', os.path.basename(STUB): 'a', os.path.basename(SHIM): 'b'}[line.strip()] for line in f]
        # One to warm up, then three rounds.
        self.assertEqual(''.join(order), 'g' + 'gab' + 'abg' + 'bga')

    def test_environment_of_the_runs(self):
        log = self.path('log')
        self.compare('--with', 'glibc,ashlar', '--runs', '1', '--conf', 'huge:none,decay:5', 'sh', '-c',
                     f'echo "${{LD_PRELOAD##*/}} $ASHLAR_CONF" >> "{log}"', env={'ASHLAR_CONF': 'decay:1'})
        with open(log, encoding='ascii') as f:
            self.assertEqual([line.rstrip('\n') for line in f],
                             [' decay:1', ' decay:1', f'{os.path.basename(STUB)} huge:none,decay:5'])

    def test_existing_preload_is_kept_for_all(self):
        log = self.path('log')
        self.compare('--with', 'glibc,stub', '--preload', f'stub={STUB}', '--runs', '1', 'sh', '-c',
                     f'echo "$LD_PRELOAD" >> "{log}"', env={'LD_PRELOAD': SHIM})
        with open(log, encoding='ascii') as f:
            self.assertEqual([line.rstrip('\n') for line in f], [SHIM, SHIM, f'{SHIM}:{STUB}'])

    def test_the_command_cannot_wait_for_input_or_clutter_the_table(self):
        result = self.ashlar('compare', '--with', 'glibc', '--runs', '2', 'sh', '-c', 'cat; echo noise')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn('noise', result.stdout.split('\n', 1)[1])
        shown = self.ashlar('compare', '--with', 'glibc', '--runs', '2', '--show-output', 'sh', '-c', 'echo noise >&1')
        self.assertEqual(shown.stdout.count('\nnoise') + shown.stdout.startswith('noise'), 3)

    def test_table(self):
        result = self.ashlar('compare', '--with', 'glibc,ashlar', '--runs', '2', '--', 'true')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('2 runs of each, interleaved', result.stdout)
        rows = [line.split()[0] for line in result.stdout.splitlines() if line.startswith(('glibc', 'ashlar '))]
        self.assertEqual(rows, ['glibc', 'ashlar', 'glibc'])
        self.assertIn("ashlar's share of what each needs", result.stdout)

    def test_hostile_words_are_json(self):
        words = ['a"b\\c', '\x01\n', 'é', ' ']
        self.assertEqual(self.compare('--with', 'glibc', '--runs', '1', 'true', *words)['command'][1:],
                         [w.encode().decode('latin-1') for w in words])


class Failures(Tool):
    def test_a_command_that_fails_by_itself(self):
        for code, word in (('exit 3', 'exit status 3'), ('kill -SEGV $$', 'signal 11')):
            result = self.ashlar('compare', '--with', 'glibc', 'sh', '-c',
                                 f'echo first >&2; echo last words >&2; {code}')
            self.assertFails(result, 1, 'no preload at all', word, '| last words')

    def test_a_command_that_fails_under_one_allocator(self):
        script = 'case $LD_PRELOAD in *stub*) echo broken heap >&2; kill -ABRT $$;; esac'
        args = ['compare', '--with', 'glibc,stub,ashlar', '--preload', f'stub={STUB}', '--runs', '2']
        result = self.ashlar(*args, '--json', 'sh', '-c', script, env={'ASHLAR_PRELOAD': SHIM})
        self.assertEqual(result.returncode, 1)
        self.assertIn('failed under stub: killed by signal 6', result.stderr)
        self.assertIn('| broken heap', result.stderr)
        d = json.loads(result.stdout)
        failed = {a['name']: a['failed'] for a in d['allocators']}
        self.assertIsNone(failed['glibc'])
        self.assertIsNone(failed['ashlar'])
        self.assertIn('signal 6', failed['stub'])
        self.assertEqual(list(d['ratios']['to']), ['glibc'])
        result = self.ashlar(*args, 'sh', '-c', script, env={'ASHLAR_PRELOAD': SHIM})
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, r'stub +failed: killed by signal 6')

    def test_a_library_that_the_dynamic_linker_refuses(self):
        path = f'/tmp/ashlar-not-a-library-{os.getpid()}.so'
        with open(path, 'w', encoding='ascii') as f:
            f.write('not a library')
        self.addCleanup(os.unlink, path)
        result = self.ashlar('compare', '--json', '--with', 'glibc,bad', '--preload', f'bad={path}', '--runs', '1',
                             'true')
        self.assertEqual(result.returncode, 1)
        self.assertIn(f'cannot preload {path}', result.stderr)
        self.assertIn('cannot preload', json.loads(result.stdout)['allocators'][1]['failed'])

    def test_missing_allocators_are_named_and_left_out(self):
        env = {'LD_PRELOAD': SHIM, 'SHIM_HIDE': 'jemalloc'}
        result = self.ashlar('compare', '--json', '--with', 'glibc,jemalloc', '--runs', '1', 'true', env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('left out: jemalloc is not installed (Debian: apt install libjemalloc2)', result.stderr)
        d = json.loads(result.stdout)
        self.assertEqual([a['name'] for a in d['allocators']], ['glibc'])
        self.assertEqual(len(d['left_out']), 1)
        result = self.ashlar('compare', '--with', 'jemalloc', 'true', env=env)
        self.assertFails(result, 1, 'none of the allocators')

    def test_programs_that_cannot_be_preloaded(self):
        self.assertFails(self.ashlar('compare', '/bin/busybox', 'true'), 126, 'statically linked')
        self.assertFails(self.ashlar('compare', 'nonexistent-program'), 127, 'nonexistent-program')
        self.assertFails(self.ashlar('compare', ''), 127, 'empty')
        self.assertFails(self.ashlar('compare', 'true', env={'ASHLAR_PRELOAD': '/nonexistent.so'}), 126,
                         '/nonexistent.so')

    def test_a_preload_that_is_there_already(self):
        other = f'/tmp/libjemalloc-{os.getpid()}.so'
        shutil.copy(SHIM, other)
        self.addCleanup(os.unlink, other)
        self.assertFails(self.ashlar('compare', '--with', 'glibc', 'true', env={'LD_PRELOAD': other}), 1,
                         'already names libjemalloc')
        result = self.ashlar('compare', '--with', 'glibc', 'true', env={'LD_PRELOAD': '/nonexistent/x.so'})
        self.assertEqual(result.returncode, 1)
        self.assertIn('cannot preload what LD_PRELOAD names', result.stderr)

    def test_bad_options_name_the_thing(self):
        for args, words in (([], ['no command']),
                            (['--nonsense', 'true'], ['--nonsense']),
                            (['--with', 'glibc,hoard', 'true'], ['unknown allocator "hoard"', 'jemalloc']),
                            (['--with', 'glibc,,ashlar', 'true'], ['empty name']),
                            (['--with', 'glibc,glibc', 'true'], ['glibc is named twice']),
                            (['--runs', '0', 'true'], ['"0"']),
                            (['--runs', '1001', 'true'], ['"1001"']),
                            (['--runs', 'five', 'true'], ['"five"']),
                            (['--runs', '-1', 'true'], ['"-1"']),
                            (['--runs'], ['--runs', 'needs a value']),
                            (['--preload', 'x', 'true'], ['"x" is not NAME=PATH']),
                            (['--preload', '=/x', 'true'], ['NAME=PATH']),
                            (['--preload', 'x=/nonexistent.so', 'true'], ['/nonexistent.so: No such file']),
                            (['--conf', 'hueg:2M', 'true'], ['unknown option "hueg"'])):
            self.assertFails(self.ashlar('compare', *args), 2, *words)


cases.main()
