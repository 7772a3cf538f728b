#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ashlar run`: the environment it makes, the program it becomes, and what it refuses.

usage: test_run.py ASHLAR STUB SHIM
"""
import ctypes
import os
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

from tool import ASHLAR, NOBODY, PYTHON, ROOT, STUB, Tool, cases

TRUE = '/bin/true'
USAGE, CANNOT, NOT_FOUND = 2, 126, 127


class Environment(Tool):
    def dry(self, *args, env=None):
        result = self.ashlar('run', '--dry-run', *args, '--', TRUE, env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[-1], TRUE)
        return dict(shlex.split(line)[0].split('=', 1) for line in lines[:-1] if '=' in line), lines

    def test_preload_is_absolute_and_last(self):
        self.assertEqual(self.dry()[0]['LD_PRELOAD'], STUB)
        self.assertEqual(self.dry(env={'ASHLAR_PRELOAD': os.path.relpath(STUB)})[0]['LD_PRELOAD'], STUB)
        self.assertEqual(self.dry(env={'LD_PRELOAD': '/x/a.so /x/b.so'})[0]['LD_PRELOAD'], f'/x/a.so /x/b.so:{STUB}')

    def test_preload_is_not_repeated(self):
        for value in (STUB, f'/x.so:{STUB}', f'{STUB} /x.so'):
            self.assertEqual(self.dry(env={'LD_PRELOAD': value})[0]['LD_PRELOAD'], value)

    def test_options_become_conf(self):
        env, _ = self.dry('-H', '2M', '--strict', '--quiet', '--limit', '1G', '--decay', 'never', '-o', 'fork:cow',
                          '--option', 'small_start=4M', '--report', '--report-format', 'json')
        self.assertEqual(env['ASHLAR_CONF'], 'huge:2M,strict:yes,quiet:yes,limit:1G,decay:never,fork:cow,'
                         'small_start:4M,report:exit,report_format:json')
        self.assertNotIn('ASHLAR_CONF', self.dry()[0])

    def test_command_line_wins_over_the_environment(self):
        env, lines = self.dry('--huge-pages', '2M', env={'ASHLAR_CONF': 'huge:none,decay:5', 'ASHLAR_HUGE': 'thp',
                                                         'ASHLAR_DECAY': '7'})
        self.assertEqual(env['ASHLAR_CONF'], 'huge:none,decay:5,huge:2M')
        self.assertIn('unset ASHLAR_HUGE', lines)
        self.assertEqual(env['ASHLAR_DECAY'], '7')

    def test_report_file_is_absolute_and_may_hold_anything(self):
        env, _ = self.dry('--report=/a/b,c: d%p')
        self.assertEqual(env['ASHLAR_REPORT_FILE'], '/a/b,c: d%p')
        result = self.ashlar('run', '--dry-run', '--report=x', TRUE, cwd=self.dir)
        self.assertIn(f"ASHLAR_REPORT_FILE='{self.dir}/x'", result.stdout)

    def test_what_dry_run_prints_is_what_run_does(self):
        args = ['-H', 'none', '--report=r, s', '--', '/usr/bin/env']
        extra = {'ASHLAR_CONF': 'huge:1G', 'ASHLAR_HUGE': '2M', 'LD_PRELOAD': ''}
        real = self.ashlar('run', *args, env=extra, cwd=self.dir)
        dry = self.ashlar('run', '--dry-run', *args, env=extra, cwd=self.dir)
        self.assertEqual(real.returncode, 0, real.stderr)
        got = {line.split('=', 1)[0]: line.split('=', 1)[1] for line in real.stdout.splitlines()}
        said = {line.split('=', 1)[0]: shlex.split(line.split('=', 1)[1])[0]
                for line in dry.stdout.splitlines() if '=' in line}
        self.assertEqual({k: v for k, v in got.items() if k in ('LD_PRELOAD', 'ASHLAR_CONF', 'ASHLAR_REPORT_FILE')},
                         said)
        self.assertNotIn('ASHLAR_HUGE', got)

    def test_whole_asks_runtimes_with_pools_for_malloc(self):
        self.assertNotIn('PYTHONMALLOC', self.dry()[0])
        env, _ = self.dry('--whole', env={'G_SLICE': 'debug-blocks', 'GLIBCXX_FORCE_NEW': ''})
        self.assertEqual((env['PYTHONMALLOC'], env['USE_ZEND_ALLOC']), ('malloc', '0'))
        # What is set, if only to nothing, stays.
        self.assertFalse({'G_SLICE', 'GLIBCXX_FORCE_NEW'} & set(env))
        show = 'import os; print(os.environ["PYTHONMALLOC"])'
        self.assertEqual(self.ashlar('run', '--whole', '--', PYTHON, '-c', show).stdout, 'malloc\n')

    def test_report_is_of_the_command_alone_unless_each_process_has_a_file(self):
        show = ['--', '/bin/sh', '-c', 'echo $$ ${ASHLAR_REPORT_PID-none}']
        for args, alone in ((['--report'], True), (['--report=r'], True), (['--report=r.%p'], False), ([], False)):
            pid, reports = self.ashlar('run', *args, *show, cwd=self.dir).stdout.split()
            self.assertEqual(reports, pid if alone else 'none', args)

    def test_another_allocator_in_front_is_said(self):
        result = self.ashlar('run', TRUE, env={'LD_PRELOAD': '/nonexistent/libjemalloc.so.2'})
        self.assertIn('LD_PRELOAD already names libjemalloc', result.stderr)
        result = self.ashlar('run', TRUE, env={'LD_PRELOAD': '/nonexistent/libother.so'})
        self.assertNotIn('already names', result.stderr)

    def test_library_that_cannot_be_named_is_refused(self):
        for folder in ('with space', 'with:colon', 'with$ORIGIN'):
            os.makedirs(self.path(folder))
            path = self.path(folder) + '/p.so'
            shutil.copy(STUB, path)
            self.assertFails(self.ashlar('run', TRUE, env={'ASHLAR_PRELOAD': path}), CANNOT, 'cannot name', path)
        self.assertFails(self.ashlar('run', TRUE, env={'ASHLAR_PRELOAD': '/nonexistent.so'}), CANNOT,
                         'ASHLAR_PRELOAD names "/nonexistent.so"')


class Program(Tool):
    def test_library_is_loaded_into_the_program(self):
        log = self.path('log')
        result = self.ashlar('run', '-H', 'none', TRUE, env={'STUB_LOG': log})
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        with open(log, encoding='ascii') as f:
            self.assertEqual([line.split()[1] for line in f], ['huge:none'])

    def test_status_signal_and_process_id_are_the_programs(self):
        self.assertEqual(self.ashlar('run', '--', 'sh', '-c', 'exit 3').returncode, 3)
        self.assertEqual(self.ashlar('run', 'sh', '-c', 'kill -TERM $$').returncode, -signal.SIGTERM)
        child = subprocess.Popen([ASHLAR, 'run', 'sh', '-c', 'echo $$'], env=self.env, stdout=subprocess.PIPE)
        out, _ = child.communicate()
        self.assertEqual(int(out), child.pid)

    def test_arguments_and_streams_pass_unchanged(self):
        words = ['--huge-pages', '', 'a b', '--', '-c', '*', "it's", '\\n']
        result = self.ashlar('run', PYTHON, '-c', 'import sys; print(sys.argv[1:], sys.stdin.read())', *words,
                             input='stdin')
        self.assertEqual(result.stdout, f'{words} stdin\n')

    def test_spaces_in_paths(self):
        program = self.file('my program', '#!/bin/sh\necho "$0|$1"\n')
        self.assertEqual(self.ashlar('run', program, 'a b').stdout, f'{program}|a b\n')
        self.assertEqual(self.ashlar('run', 'my program', 'x', env={'PATH': f'/nonexistent:{self.dir}'}).stdout,
                         f'{program}|x\n')

    def test_path_is_searched_as_execvp_does(self):
        os.makedirs(self.path('a/prog'))
        os.makedirs(self.path('b'))
        os.makedirs(self.path('c'))
        self.file('b/prog', '#!/bin/sh\necho b\n', 0o644)
        self.file('c/prog', '#!/bin/sh\necho c\n')
        folders = [self.path(x) for x in 'abc']
        self.assertEqual(self.ashlar('run', 'prog', env={'PATH': ':'.join(folders)}).stdout, 'c\n')
        self.assertFails(self.ashlar('run', 'prog', env={'PATH': ':'.join(folders[:2])}), CANNOT, 'Permission denied')
        self.assertEqual(self.ashlar('run', 'prog', env={'PATH': ''}, cwd=folders[2]).stdout, 'c\n')

    def test_script_without_interpreter_line_is_the_shells(self):
        program = self.file('bare', 'echo "$0|$1|$#"\n')
        self.assertEqual(self.ashlar('run', program, 'a b', 'c').stdout, f'{program}|a b|2\n')
        self.assertEqual(self.ashlar('run', self.file('empty')).returncode, 0)

    def test_dynamic_linker_as_a_command(self):
        with open('/proc/self/maps', encoding='ascii') as f:
            loader = next(line.split()[-1] for line in f if '/ld-linux' in line)
        self.assertEqual(self.ashlar('run', loader, TRUE).returncode, 0)

    def test_memory_policy_is_set(self):
        if not os.path.exists('/proc/self/numa_maps'):
            self.skipTest('this kernel has no NUMA')
        for flag, value, word in (('--membind', '0', 'bind:0'), ('--interleave', 'all', 'interleave:0'),
                                  ('--preferred', '0', 'prefer:0'), ('--membind', '+0', 'bind:0'),
                                  ('--preferred-many', '0', 'prefer (many):0')):
            result = self.ashlar('run', flag, value, 'grep', '-c', f' {word}', '/proc/self/numa_maps')
            self.assertGreater(int(result.stdout), 0, flag)
        for flag in ('--local', '--localalloc'):
            self.assertEqual(self.ashlar('run', flag, TRUE).returncode, 0)


class Refusals(Tool):
    def elf(self, name, **change):
        """A copy of true with fields of its header overwritten: offset -> bytes."""
        with open(os.path.realpath(TRUE), 'rb') as f:
            content = bytearray(f.read())
        for offset, value in change.pop('at', {}).items():
            content[offset:offset + len(value)] = value
        return self.file(name, bytes(content[:change.pop('size', len(content))]))

    def refuses(self, status, *words, args=(), **kwargs):
        self.assertFails(self.ashlar('run', *args, **kwargs), status, *words)

    def test_what_is_not_there_or_not_a_program(self):
        self.refuses(NOT_FOUND, 'nonexistent-program: not found in PATH', args=['nonexistent-program'])
        self.refuses(NOT_FOUND, '/nonexistent/x: No such file', args=['/nonexistent/x'])
        self.refuses(NOT_FOUND, '/bin/true/x: Not a directory', args=['/bin/true/x'])
        self.refuses(NOT_FOUND, 'command is empty', args=[''])
        self.refuses(NOT_FOUND, 'longer than a path', args=['/' + 'x' * 5000])
        self.refuses(CANNOT, f'{self.dir} is a directory', args=[self.dir])
        self.refuses(CANNOT, 'not a regular file', args=['/dev/null'])
        os.mkfifo(self.path('fifo'), 0o755)
        self.refuses(CANNOT, 'not a regular file', args=[self.path('fifo')])
        path = self.file('plain', 'x', 0o644)
        self.refuses(CANNOT, path, 'Permission denied', args=[path])

    def test_static_program(self):
        self.refuses(CANNOT, '/busybox is statically linked', args=['/bin/busybox', 'true'])

    def test_programs_of_other_machines(self):
        # e_ident[EI_CLASS] = 4, EI_DATA = 5; e_type at 16, e_machine at 18.
        self.refuses(CANNOT, 'is a 32-bit program', args=[self.elf('elf32', at={4: b'\x01', 18: b'\x03\x00'})])
        path = self.file('header32', b'\x7fELF\x01\x01\x01' + bytes(9) + struct.pack('<HH', 2, 3) + bytes(32))
        self.refuses(CANNOT, path, 'is a 32-bit program', args=[path])
        self.refuses(CANNOT, 'another processor', 'ELF machine 243', args=[self.elf('riscv', at={18: b'\xf3\x00'})])
        self.refuses(CANNOT, 'another processor', args=[self.elf('bigendian', at={5: b'\x02'})])
        self.refuses(CANNOT, 'not a program', args=[self.elf('object', at={16: b'\x01\x00'})])

    def test_damaged_programs(self):
        for name, kwargs in (('magic only', {'size': 4}), ('half a header', {'size': 40}),
                             ('headers cut', {'size': 70}), ('far program headers', {'at': {32: b'\xff' * 8}}),
                             ('near the end of offsets', {'at': {32: struct.pack('<Q', 2**63 - 8)}}),
                             ('odd header size', {'at': {54: b'\x07\x00'}}),
                             ('many headers', {'at': {56: b'\xff\xff'}})):
            path = self.elf(name, **kwargs)
            self.refuses(CANNOT, path, 'damaged', args=[path])

    def patch_interp(self, name, new):
        with open(os.path.realpath(TRUE), 'rb') as f:
            content = f.read()
        at = content.index(b'/lib64/ld-linux')
        end = content.index(b'\0', at)
        self.assertLessEqual(len(new), end - at)
        return self.file(name, content[:at] + new.ljust(end - at, b'\0') + content[end:])

    def test_programs_of_other_c_libraries(self):
        if os.uname().machine != 'x86_64':
            self.skipTest('knows the loader of x86_64 only')
        self.refuses(CANNOT, 'another C library', 'ld-musl',
                     args=[self.patch_interp('musl', b'/lib/ld-musl-x86_64.so.1')])
        self.refuses(CANNOT, 'needs the dynamic linker /x/ld-linux-x86-64.so.2: No such file',
                     args=[self.patch_interp('lost', b'/x/ld-linux-x86-64.so.2')])

    def test_scripts_are_followed(self):
        cases = {
            '#!/nonexistent/interp\n': (NOT_FOUND, 'interpreter /nonexistent/interp: No such file'),
            '#!\n': (CANNOT, 'names no interpreter'),
            '#!   \n': (CANNOT, 'names no interpreter'),
            '#!': (CANNOT, 'names no interpreter'),
            '#! /bin/busybox sh\n': (CANNOT, '/bin/busybox is statically linked'),
            '#!/usr/bin/env busybox\n': (CANNOT, 'busybox is statically linked'),
            '#!/usr/bin/env -S A=b nonexistent-program -x\n': (NOT_FOUND, 'nonexistent-program: not found'),
            f'#!{self.dir.split()[0]}\n': (NOT_FOUND, 'No such file'),
            '#!/tmp\n': (CANNOT, '/tmp is a directory'),
        }
        for i, (content, (status, word)) in enumerate(cases.items()):
            path = self.file(f'script{i}', content)
            self.refuses(status, f'script {path}', word, args=[path])

    def test_scripts_that_lead_nowhere(self):
        # A path without spaces.
        folder = tempfile.mkdtemp(prefix='ashlar-loop-', dir='/tmp')
        self.addCleanup(shutil.rmtree, folder)
        with open(f'{folder}/a', 'w', encoding='ascii') as f:
            f.write(f'#!{folder}/a\n')
        os.chmod(f'{folder}/a', 0o755)
        self.refuses(CANNOT, 'nested too deeply', args=[f'{folder}/a'])

    @unittest.skipUnless(ROOT, 'needs root to give files away')
    def test_programs_that_gain_rights(self):
        if os.statvfs(self.dir).f_flag & os.ST_NOSUID:
            self.skipTest('the temporary folder is mounted nosuid')
        path = self.copy(TRUE, 'setuid')
        os.chown(path, NOBODY, -1)
        os.chmod(path, 0o4755)
        self.refuses(CANNOT, path, 'is setuid', args=[path])
        path = self.copy(TRUE, 'setgid')
        os.chown(path, -1, NOBODY)
        os.chmod(path, 0o2755)
        self.refuses(CANNOT, path, 'is setgid', args=[path])
        # Set-id to who runs it anyway gains nothing, and ld.so obeys LD_PRELOAD.
        log = self.path('log')
        path = self.copy(TRUE, 'own')
        os.chmod(path, 0o4755)
        self.assertEqual(self.ashlar('run', path, env={'STUB_LOG': log}).returncode, 0)
        self.assertTrue(os.path.exists(log))

    @unittest.skipUnless(ROOT, 'needs root to become somebody else')
    def test_what_another_user_may_not(self):
        as_nobody = self.as_nobody()
        capable = self.copy(TRUE, 'capable')
        # vfs_cap_data revision 2 with CAP_NET_RAW permitted and effective.
        os.setxattr(capable, 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0))
        self.refuses(CANNOT, capable, 'has file capabilities', args=[capable], **as_nobody)
        self.assertEqual(self.ashlar('run', capable).returncode, 0)
        # Executable but not readable: nothing can be said before, so it runs.
        self.assertEqual(self.ashlar('run', self.copy(TRUE, 'opaque', 0o711), **as_nobody).returncode, 0)


class Usage(Tool):
    def test_bad_options_name_the_thing(self):
        for args, words in ((['run'], ['no command']),
                            (['run', '--'], ['no command']),
                            (['run', '--nonsense', TRUE], ['--nonsense']),
                            (['run', '-H', '3M', TRUE], ['"3M"', 'auto|thp|2M|1G|none']),
                            (['run', '-H'], ['-H', 'needs a value']),
                            (['run', '--limit', '1X', TRUE], ['"1X"', '0..16T']),
                            (['run', '--limit', '', TRUE], ['limit']),
                            (['run', '--decay', '-5', TRUE], ['"-5"', 'never']),
                            (['run', '-o', 'hueg:2M', TRUE], ['unknown option "hueg"']),
                            (['run', '-o', 'huge', TRUE], ['"huge" is not KEY:VALUE']),
                            (['run', '--report=', TRUE], ['empty']),
                            (['run', '--report-format', 'yaml', TRUE], ['"yaml"', 'prometheus']),
                            (['run', '--membind', '99999', TRUE], ['"99999"']),
                            (['run', '--membind', '1023', TRUE], ['no node 1023']),
                            (['run', '--membind', '0-', TRUE], ['"0-"']),
                            (['run', '--membind', '', TRUE], ['""']),
                            (['run', '--preferred', 'all', '--local', TRUE], ['already']),
                            (['run', '--membind', '!all', TRUE], ['"!all"']),
                            (['run', '--membind', '0*2', TRUE], ['"0*2"']),
                            (['run', '--preferred', '0,0', TRUE], ['not several']),
                            (['nonsense'], ['no subcommand "nonsense"']),
                            (['help', 'nonsense'], ['no subcommand "nonsense"'])):
            self.assertFails(self.ashlar(*args), USAGE, *words)
        self.assertEqual(self.ashlar().returncode, USAGE)

    def test_help_and_version(self):
        for args in (['help'], ['--help'], ['help', 'run'], ['run', '--help'], ['help', 'compare'],
                     ['compare', '--help'], ['doctor', '--help'], ['bench', '--help'],
                     ['help', 'bench'], ['help', 'options'], ['--version'], ['version']):
            result = self.ashlar(*args)
            self.assertEqual((result.returncode, result.stderr), (0, ''), args)
            self.assertGreater(len(result.stdout), 5)
        self.assertRegex(self.ashlar('--version').stdout, r'^ashlar \d+\.\d+\.\d+\n$')
        self.assertIn('small_start', self.ashlar('help', 'options').stdout)

    def test_output_that_is_lost_is_no_success(self):
        for args in (['help'], ['--help'], ['run', '--help'], ['doctor'], ['pool'], ['help', 'options'], ['--version'],
                     ['run', '--dry-run', TRUE], ['compare', '--runs', '1', '--with', 'glibc', '--', TRUE]):
            with open('/dev/full', 'w', encoding='ascii') as full:
                self.assertEqual(self.ashlar(*args, stdout=full).returncode, 1, args)

    def test_thp_switched_off_for_the_process_is_said(self):
        def disable():
            ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
        result = self.ashlar('run', TRUE, preexec_fn=disable)
        self.assertEqual(result.stderr.count('\n'), 1)
        self.assertIn('switched off for this process tree', result.stderr)
        for quiet in (['-H', 'none'], ['--quiet']):
            self.assertEqual(self.ashlar('run', *quiet, TRUE, preexec_fn=disable).stderr, '')

    @unittest.skipUnless(ROOT, 'needs root for a mount namespace')
    def test_thp_switched_off_on_the_machine_is_said(self):
        never = self.file('enabled', 'always madvise [never]\n', 0o644)
        script = f'mount --bind {shlex.quote(never)} /sys/kernel/mm/transparent_hugepage/enabled && exec "$@"'
        command = ['unshare', '-m', 'sh', '-c', script, 'sh']
        if subprocess.run([*command, 'true'], capture_output=True, check=False).returncode != 0:
            self.skipTest('no mount namespace to be had')
        for args, words in (([], 'the heap will be base pages'), (['-H', '2M'], 'beyond the hugetlb pool')):
            result = subprocess.run([*command, ASHLAR, 'run', *args, TRUE], env=self.env, capture_output=True,
                                    text=True, check=True)
            self.assertEqual(result.stderr.count('\n'), 1)
            self.assertIn('"never"', result.stderr)
            self.assertIn(words, result.stderr)
        result = subprocess.run([*command, ASHLAR, 'run', '-H', 'none', TRUE], env=self.env, capture_output=True,
                                text=True, check=True)
        self.assertEqual(result.stderr, '')


cases.main()
