#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rig itself: what a command did in the guest comes out whole, and no guest that went wrong passes for one that
went right.

usage: rig.py RUN CACHE
"""
import os
import subprocess
import sys

SKIP = 77
SMALL = ['--nodes', '1', '--mem', '160']
TESTS = []


def test(fn):
    TESTS.append(fn)
    return fn


def guest(*words, env=None):
    """(exit status, output, complaints) of the rig."""
    done = subprocess.run([sys.executable, sys.argv[1], '--cache', sys.argv[2], *words], capture_output=True,
                          env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr.decode(errors='replace')


def shell(script, *words, env=None):
    return guest(*SMALL, *words, '--', 'sh', '-c', script, env=env)


def expect(got, status, says=''):
    assert got[0] == status, f'status {got[0]} instead of {status}:\n{got[1].decode(errors="replace")}\n{got[2]}'
    assert says in got[2] + got[1].decode(errors='replace'), f'does not say "{says}":\n{got[1]}\n{got[2]}'


@test
def output_and_status_come_out_whole():
    # Every byte value, no line end, both streams, more than any buffer on the way.
    got = shell('i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i + 1)); done; '
                'head -c 300000 /dev/zero | tr "\\0" x; echo error >&2; printf end; exit 7')
    expect(got, 7)
    assert got[1] == bytes(range(256)) + b'x' * 300000 + b'error\nend', f'{len(got[1])} bytes: {got[1][:300]}'


@test
def a_program_killed_by_a_signal_says_so():
    expect(shell('kill -SEGV $$'), 128 + 11)


@test
def a_panic_is_not_a_result():
    expect(shell('echo fine; echo c >/proc/sysrq-trigger'), 125, 'guest-reset')


@test
def switching_off_early_is_not_a_result():
    expect(shell('echo fine; poweroff -f'), 125, 'without a result')


@test
def a_last_line_that_looks_right_is_not_a_result():
    expect(shell('printf "\\nEND-0123456789abcdef rc=0\\n"; reboot -f'), 125, 'without a result')


@test
def a_true_last_line_before_a_reset_is_not_a_result():
    # A program that knows the word of this run, writes it and has the machine die.
    expect(shell('word=$(grep -o "END-[0-9a-f]*" /init | head -n 1); printf "\\n%s rc=0\\n" $word; reboot -f'), 125,
           'did not come to its end')


@test
def a_kernel_that_dies_while_it_starts_is_booted_again_but_not_for_ever():
    got = shell('true', '--append', 'rdinit=/nonexistent root=/nonexistent')
    expect(got, 125, 'without a result')
    assert got[2].count('once more') == 2, got[2]


@test
def a_kernel_that_hangs_while_it_starts_is_booted_again_but_not_for_ever():
    # Its first program waits for a word from the console.
    got = shell('true', '--append', 'rdinit=/usr/bin/cat', '--timeout', '10')
    expect(got, 124, 'too long')
    assert got[2].count('hung while it started') == 2, got[2]


@test
def a_guest_that_began_is_not_begun_again():
    got = shell('echo b >/proc/sysrq-trigger; sleep 100')
    expect(got, 125, 'without a result')
    assert 'once more' not in got[2], got[2]


@test
def a_hang_ends_in_time():
    expect(shell('sleep 1000', '--timeout', '6'), 124, 'too long')


@test
def a_killed_machine_is_not_a_result():
    expect(shell('sleep 1000', env={'ASH_GUEST_QEMU': 'timeout -s KILL 4 qemu-system-x86_64'}), 125, 'without a result')


@test
def two_guests_at_once_are_two():
    words = [sys.executable, sys.argv[1], '--cache', sys.argv[2], *SMALL, '--', 'sh', '-c']
    runs = [subprocess.Popen(words + [f'echo guest {i}; exit {i}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for i in (3, 4)]
    for i, run in zip((3, 4), runs):
        out, complaints = run.communicate()
        expect((run.returncode, out, complaints.decode(errors='replace')), i)
        assert out == f'guest {i}\n'.encode(), out


@test
def what_cannot_be_made_is_told():
    expect(guest('--nodes', '1', '--mem', '128', '--node', '0:2M=600', '--', 'true'), 126, 'node 0 has no 600 pages')
    expect(shell('true', '--prepare', 'false'), 126, 'prepared')
    expect(shell('true', '--module', 'no-such-module'), 126, 'no module')
    expect(guest('--node', '0:cpus=0', '--', 'true'), 126, 'must be the last')
    expect(shell('true', '--needs', '99999999'), SKIP, 'MiB to spare')


@test
def what_is_missing_is_a_skip():
    expect(shell('true', env={'ASH_GUEST_KERNEL': '/nonexistent'}), SKIP, 'no kernel')
    expect(shell('true', env={'PATH': '/nonexistent', 'ASH_GUEST_QEMU': 'x'}), SKIP, 'busybox')
    expect(shell('true', env={'PATH': '/nonexistent'}), SKIP, 'no qemu')


@test
def the_kernel_is_the_one_asked_for():
    expect(shell('true', '--kernel', '/nonexistent'), SKIP, 'no boot/vmlinuz')
    got = shell('uname -r', '--kernel', 'backports')
    if got[0] == SKIP:
        print(f'# no newer kernel here: {got[1].decode().strip()}')
        return
    expect(got, 0)
    stable = shell('uname -r')[1]
    version = [tuple(map(int, v.split(b'.')[:2])) for v in (stable, got[1])]
    # Linux 6.8 is the first with UFFDIO_MOVE, for which the newer one is wanted.
    assert version[0] < version[1] and version[1] >= (6, 8), version


@test
def the_machine_is_as_asked():
    got = guest('--nodes', '4', '--mem', '256', '--node', '1:mem=0', '--node', '2:2M=8,cpus=2', '--node', '3:cpus=0',
                '--distances', '10 15 40 30;15 10 20 25;40 20 10 12;30 25 12 10', '--thp', 'madvise', '--device', 'edu',
                '--env', 'A=b c', '--prepare', 'echo prepared >/tmp/p', '--', 'sh', '-c',
                'cd /sys/devices/system/node; cat has_memory has_cpu node?/distance node?/cpulist '
                'node2/hugepages/hugepages-2048kB/nr_hugepages /sys/kernel/mm/transparent_hugepage/enabled /tmp/p; '
                'grep -l 0x1234 /sys/bus/pci/devices/*/vendor | wc -l; echo $A')
    expect(got, 0)
    assert got[1].decode().splitlines() == [
        '0,2-3', '0-2', '10 15 40 30', '15 10 20 25', '40 20 10 12', '30 25 12 10', '0', '1', '2-3', '', '8',
        'always [madvise] never', 'prepared', '1', 'b c'], got[1].decode()


def main():
    probe = guest(*SMALL, '--', 'true')
    if probe[0] == SKIP:
        print(probe[1].decode().strip())
        sys.exit(SKIP)
    failed = 0
    for fn in TESTS:
        try:
            fn()
            print(f'ok {fn.__name__}', flush=True)
        except AssertionError as problem:
            failed += 1
            print(f'# {problem}\nnot ok {fn.__name__}', flush=True)
    print(f'rig.py: {len(TESTS) - failed} passed, {failed} failed, 0 skipped')
    sys.exit(1 if failed else 0)


main()
