#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ashlar doctor` over made-up machines: each finding, and the line that mends it.

usage: test_doctor.py ASHLAR STUB SHIM
"""
import os
import resource

from tool import STUB, Tool, cases

POOL = 'sys/kernel/mm/hugepages/hugepages-2048kB'
MOUNTINFO_V2 = '30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n'
MOUNTINFO_V1 = ('31 20 0:27 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n'
                '32 20 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n')


class Doctor(Tool):
    def setUp(self):
        super().setUp()
        self.machine = {
            'proc/sys/kernel/osrelease': '6.1.0-test',
            'proc/sys/vm/overcommit_memory': '0',
            'proc/self/status': 'Name:\tx\nMems_allowed_list:\t0-1\n',
            'proc/self/cgroup': '0::/\n',
            'proc/self/mountinfo': MOUNTINFO_V2,
            'sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never',
            f'{POOL}/nr_hugepages': '100', f'{POOL}/free_hugepages': '60', f'{POOL}/resv_hugepages': '10',
            f'{POOL}/surplus_hugepages': '0', f'{POOL}/nr_overcommit_hugepages': '0',
            'sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages': '100',
            'sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages': '60',
            'sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages': '0',
            'sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages': '0',
        }

    def doctor(self, status, changes=None, **kwargs):
        """The findings as (severity, text) and the fixes, on the made-up machine with some files changed."""
        for path, content in {**self.machine, **(changes or {})}.items():
            full = self.path(path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if content is None:
                os.path.exists(full) and os.unlink(full)
                continue
            with open(full, 'w', encoding='ascii') as f:
                f.write(content + '\n')
        result = self.ashlar('doctor', '--root', self.dir, **kwargs)
        self.assertEqual((result.returncode, result.stderr), (status, ''), result.stdout)
        lines = result.stdout.splitlines()
        findings = [tuple(line.split(None, 1)) for line in lines if line.startswith(('ok ', 'note ', 'problem '))]
        counted = [sum(1 for f in findings if f[0] == kind) for kind in ('problem', 'note')]
        self.assertRegex(lines[-1], f'^{counted[0]} problems?, {counted[1]} notes?$')
        return findings, [line.split('fix: ')[1] for line in lines if line.startswith('   fix: ')], result.stdout

    def has(self, findings, severity, *words):
        self.assertTrue(any(s == severity and all(w in text for w in words) for s, text in findings),
                        f'no {severity} with {words} in {findings}')

    def test_a_machine_in_order(self):
        findings, fixes, text = self.doctor(0)
        self.has(findings, 'ok', 'kernel 6.1.0-test')
        self.has(findings, 'ok', 'madvise')
        self.has(findings, 'ok', 'hugetlb 2.0 MiB: 100 pages, 60 free, 10 of these promised')
        self.has(findings, 'ok', '2 NUMA nodes', 'nodes 0-1')
        self.has(findings, 'ok', 'no control group')
        self.has(findings, 'ok', 'library loads', STUB)
        self.assertIn('node1: 0 pages, 0 free', text)
        self.assertEqual(fixes, [])

    def test_thp(self):
        findings, fixes, _ = self.doctor(1, {'sys/kernel/mm/transparent_hugepage/enabled': 'always madvise [never]'})
        self.has(findings, 'problem', 'transparent huge pages are off')
        self.assertEqual(fixes, ['echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled'])
        self.has(self.doctor(0, {'sys/kernel/mm/transparent_hugepage/enabled': '[always] madvise never'})[0], 'ok',
                 'always')
        self.has(self.doctor(1, {'sys/kernel/mm/transparent_hugepage/enabled': None})[0], 'problem', 'no transparent')

    def test_pools(self):
        findings, fixes, _ = self.doctor(0, {f'{POOL}/nr_hugepages': '0', f'{POOL}/free_hugepages': '0'})
        self.has(findings, 'note', 'hugetlb 2.0 MiB: no pages')
        self.assertEqual(fixes, [f'echo 512 | sudo tee /{POOL}/nr_hugepages'])
        findings, fixes, _ = self.doctor(0, {f'{POOL}/free_hugepages': '10'})
        self.has(findings, 'note', '100 pages, 10 free, 10 of these promised')
        self.assertEqual(fixes, [f'echo 612 | sudo tee /{POOL}/nr_hugepages'])
        findings, fixes, _ = self.doctor(0, {f'{POOL}/nr_hugepages': '0', f'{POOL}/free_hugepages': '0',
                                             f'{POOL}/resv_hugepages': '0', f'{POOL}/nr_overcommit_hugepages': '64'})
        self.has(findings, 'ok', '64 more on demand')

    def test_control_groups_of_version_2(self):
        findings, fixes, _ = self.doctor(0, {
            'proc/self/cgroup': '0::/kubepods/pod1/c1', 'sys/fs/cgroup/kubepods/hugetlb.2MB.max': '0',
            'sys/fs/cgroup/kubepods/pod1/c1/hugetlb.2MB.max': 'max',
            'sys/fs/cgroup/kubepods/pod1/memory.max': '1073741824', 'sys/fs/cgroup/other/memory.max': '1'})
        self.has(findings, 'note', '/sys/fs/cgroup/kubepods limits hugetlb 2 MiB to 0')
        self.has(findings, 'note', '/sys/fs/cgroup/kubepods/pod1 limits memory to 1.0 GiB')
        self.assertEqual(sorted(fixes), ['echo max | sudo tee /sys/fs/cgroup/kubepods/hugetlb.2MB.max',
                                         'echo max | sudo tee /sys/fs/cgroup/kubepods/pod1/memory.max'])

    def test_control_group_that_is_a_containers_root(self):
        findings, _, _ = self.doctor(0, {
            'proc/self/cgroup': '0::/docker/abc', 'sys/fs/cgroup/hugetlb.2MB.rsvd.max': '4194304',
            'proc/self/mountinfo': '30 20 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw'})
        self.has(findings, 'note', '/sys/fs/cgroup limits hugetlb 2 MiB reservations to 4.0 MiB')

    def test_control_groups_of_version_1(self):
        findings, fixes, _ = self.doctor(0, {
            'proc/self/mountinfo': MOUNTINFO_V1, 'proc/self/cgroup': '5:hugetlb:/job\n4:cpu,memory:/job\n0::/',
            'sys/fs/cgroup/hugetlb/job/hugetlb.2MB.limit_in_bytes': '8388608',
            'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712'})
        self.has(findings, 'note', '/sys/fs/cgroup/hugetlb/job limits hugetlb 2 MiB to 8.0 MiB')
        self.assertEqual(fixes, ['echo -1 | sudo tee /sys/fs/cgroup/hugetlb/job/hugetlb.2MB.limit_in_bytes'])

    def test_process_limits(self):
        def limited():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))
        findings, fixes, _ = self.doctor(0, {'proc/sys/vm/overcommit_memory': '2'}, preexec_fn=limited)
        self.has(findings, 'note', 'address space', '1.0 TiB')
        self.has(findings, 'note', 'overcommit_memory is 2')
        self.assertEqual(fixes, ['ulimit -v unlimited', 'sudo sysctl vm.overcommit_memory=0'])

    def test_library_that_does_not_load(self):
        path = self.file('broken.so', 'not a library')
        findings, _, _ = self.doctor(1, env={'ASHLAR_PRELOAD': path})
        self.has(findings, 'problem', 'cannot name')
        os.rename(path, plain := f'/tmp/ashlar-broken-{os.getpid()}.so')
        self.addCleanup(os.unlink, plain)
        findings, _, _ = self.doctor(1, env={'ASHLAR_PRELOAD': plain})
        self.has(findings, 'problem', f'{plain} cannot be preloaded')

    def test_the_real_machine_and_bad_options(self):
        self.assertIn(self.ashlar('doctor').returncode, (0, 1))
        for args, words in ((['--root', '/nonexistent'], ['/nonexistent: No such file']),
                            (['--root'], ['needs a value']),
                            (['x'], ['unexpected "x"']), (['--fix'], ['unknown option "--fix"'])):
            self.assertFails(self.ashlar('doctor', *args), 2, *words)


cases.main()
