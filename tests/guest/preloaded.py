#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified programs under the preload on a machine with two nodes: where their heap lies, and what is said of it.

usage: preloaded.py RUN CACHE PRELOAD ASHLAR
"""
import re
import shutil
import subprocess
import sys

SKIP = 77
TESTS = []
# Strings on the heap, then the heap's pages by node as the kernel counts them.
PERL = ('my @x = map { "y" x 5000 } 1 .. 4000; my %n; open(my $f, "<", "/proc/self/numa_maps");'
        'while (<$f>) { my $line = $_; next if $line !~ /anon=/; $n{$1} += $2 while $line =~ / N(\\d+)=(\\d+)/g }'
        'print "N$_=$n{$_}\\n" for sort keys %n')


def test(fn):
    TESTS.append(fn)
    return fn


def guest(script, *words):
    """The output of a shell script in a guest with two nodes, which must end well."""
    perl, numactl = shutil.which('perl'), shutil.which('numactl')
    done = subprocess.run([sys.executable, sys.argv[1], '--cache', sys.argv[2], '--nodes', '2', '--mem', '320', '--file',
                           sys.argv[3], '--file', sys.argv[4], '--file', perl, '--file', numactl, *words, '--', 'sh', '-c',
                           script], capture_output=True, text=True, errors='replace')
    if done.returncode == SKIP:
        print(done.stdout.strip())
        sys.exit(SKIP)
    assert done.returncode == 0, f'status {done.returncode}:\n{done.stdout}\n{done.stderr}'
    return done.stdout


def on_nodes(out):
    pages = {int(node): int(n) for node, n in re.findall(r'^N(\d+)=(\d+)$', out, re.M)}
    assert sum(pages.values()) > 5000, f'hardly a heap: {out}'
    return pages


def sections(out):
    return dict(re.findall(r'^== (\S+)\n(.*?)(?=^== |\Z)', out, re.M | re.S))


@test
def a_program_lies_where_it_runs_or_was_told_to():
    run = f'ASHLAR_CONF=report:exit LD_PRELOAD={sys.argv[3]}'
    perl = f"perl -e '{PERL}'"
    out = sections(guest('\n'.join(f'echo "== {name}"; {words}' for name, words in {
        'cpu0': f'{run} taskset 1 {perl}', 'cpu1': f'{run} taskset 2 {perl}',
        'membind': f'{run} numactl --membind=1 taskset 1 {perl}',
        'preferred': f'{run} numactl --preferred=1 taskset 1 {perl}',
        'interleave': f'{run} numactl --interleave=all {perl}'}.items())))
    assert len(out) == 5, out
    for name, node in (('cpu0', 0), ('cpu1', 1), ('membind', 1), ('preferred', 1)):
        pages = on_nodes(out[name])
        share = pages.get(node, 0) / sum(pages.values())
        assert share > 0.95, f'{name}: {share:.0%} on node {node}\n{out[name]}'
    pages = on_nodes(out['interleave'])
    assert min(pages.get(0, 0), pages.get(1, 0)) > sum(pages.values()) / 4, out['interleave']
    for name, node in (('cpu0', 0), ('cpu1', 1)):
        assert re.search(rf'^ +node {node} +T .*MiB', out[name], re.M), f'{name}: report without its node\n{out[name]}'
        assert not re.search(rf'^ +node {1 - node} +T +[1-9.]+ MiB', out[name], re.M), out[name]


@test
def huge_pages_come_from_the_pool_of_the_node():
    out = guest(f"ASHLAR_CONF=report:exit,huge:2M LD_PRELOAD={sys.argv[3]} taskset 2 perl -e '{PERL}'; "
                'cat /sys/devices/system/node/node?/hugepages/hugepages-2048kB/nr_hugepages', '--node', '0:2M=20', '--node',
                '1:2M=20')
    line = re.search(r'^ +node 1 +H +(\S+) MiB.*$', out, re.M)
    assert line and float(line.group(1)) > 16, out
    assert not re.search(r'^ +node 0 +H +[1-9]', out, re.M), out


@test
def doctor_knows_the_nodes():
    out = guest(f'{sys.argv[4]} doctor; test $? -le 1', '--node', '1:2M=8')
    assert '2 NUMA nodes' in out and re.search(r'preloaded library loads', out), out


def main():
    if not shutil.which('perl') or not shutil.which('numactl'):
        print('no perl or no numactl on this machine')
        sys.exit(SKIP)
    failed = 0
    for fn in TESTS:
        try:
            fn()
            print(f'ok {fn.__name__}', flush=True)
        except AssertionError as problem:
            failed += 1
            print(f'# {problem}\nnot ok {fn.__name__}', flush=True)
    print(f'preloaded.py: {len(TESTS) - failed} passed, {failed} failed, 0 skipped')
    sys.exit(1 if failed else 0)


main()
