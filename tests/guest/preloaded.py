#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified programs under the preload on a machine with two nodes: where their memory lies, and what is said of it.

usage: preloaded.py KERNEL RUN CACHE PRELOAD ASHLAR PROGRAM...

PROGRAMs are those of the tests' own, by name: wait_program, libwait_plugin.so, refused, guest-unmodified,
guest-clients. One boot runs every script, each in a section of the output; the tests then read their sections. On
kernel "backports" only those are run that have to do with what it can and the older one cannot: pages of mappings are
recycled there.
"""
import os
import re
import shutil
import subprocess
import sys

SKIP = 77
KERNEL, RUN, CACHE, PRELOAD, ASHLAR, *PROGRAMS = sys.argv[1:]
WAIT_PROGRAM, WAIT_PLUGIN, REFUSED, UNMODIFIED, CLIENTS = (
    next((path for path in PROGRAMS if os.path.basename(path) == name), None)
    for name in ('wait_program', 'libwait_plugin.so', 'refused', 'guest-unmodified', 'guest-clients'))
PYTHON = '/usr/bin/python3'
NEEDED = ('perl', 'numactl', 'redis-server', 'redis-cli', PYTHON)
TESTS, BOTH = [], []
# A heap, then its pages by node as the kernel counts them.
PERL = ('my @x = map { "y" x 5000 } 1 .. 4000; my %n; open(my $f, "<", "/proc/self/numa_maps");'
        'while (<$f>) { my $line = $_; next if $line !~ /anon=/; $n{$1} += $2 while $line =~ / N(\\d+)=(\\d+)/g }'
        'print "N$_=$n{$_}\\n" for sort keys %n')
PYTHON_HEAP = ('x = [bytes([i % 256]) * 5000 for i in range(4000)]; n = {}\n'
               'for line in open("/proc/self/numa_maps"):\n'
               '    for word in line.split() if "anon=" in line else ():\n'
               '        if word[0] == "N": n[word.split("=")[0]] = n.get(word.split("=")[0], 0) + '
               'int(word.split("=")[1])\n'
               'for k, v in n.items(): print(f"{k}={v}")')
REDIS = '''numa() { awk '/anon=/ { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]+=/) {
        split($i, a, "="); n[a[1]] += a[2] } }
    END { for (k in n) print k "=" n[k] }' "$1"; }
redis() { "$@" redis-server --save "" --port 0 --unixsocket /tmp/redis --daemonize no >/tmp/redis.log 2>&1 & pid=$!
    i=0; until redis-cli -s /tmp/redis ping >/dev/null 2>&1; do i=$((i + 1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done
    redis-cli -s /tmp/redis eval 'for i = 1, 20000 do redis.call("set", i, string.rep("x", 1000)) end' 0
    numa /proc/$pid/numa_maps; kill $pid; wait $pid; rm -f /tmp/redis; }
'''
RUN_IT = f'env ASHLAR_CONF=report:exit LD_PRELOAD={PRELOAD}'
PERL_IT, PYTHON_IT = f"perl -e '{PERL}'", f"{PYTHON} -I -S -c '{PYTHON_HEAP}'"


def stat(options):
    """A heap that stays, looked at from outside once it is there."""
    return (f'rm -f /tmp/there; env ASHLAR_CONF={options} LD_PRELOAD={PRELOAD} taskset 1 '
            f'perl -e \'my @x = map {{ "y" x 5000 }} 1 .. 4000; '
            f'open(my $f, ">", "/tmp/there"); sleep 1000\' & until [ -e /tmp/there ]; do sleep 0.2; done; '
            f'{ASHLAR} stat $!; kill $!')


# Section: the script.
SCRIPTS = {
    'cpu0': f'{RUN_IT} taskset 1 {PERL_IT}',
    'cpu1': f'{RUN_IT} taskset 2 {PERL_IT}',
    'membind': f'{RUN_IT} numactl --membind=1 taskset 1 {PERL_IT}',
    'preferred': f'{RUN_IT} numactl --preferred=1 taskset 1 {PERL_IT}',
    'interleave': f'{RUN_IT} numactl --interleave=all {PERL_IT}',
    'python-membind': f'{RUN_IT} numactl --membind=1 taskset 1 {PYTHON_IT}',
    'python-preferred': f'{RUN_IT} numactl --preferred=1 taskset 1 {PYTHON_IT}',
    'python-interleave': f'{RUN_IT} numactl --interleave=all {PYTHON_IT}',
    'redis-membind': f'redis {RUN_IT} numactl --membind=1 taskset 1',
    'redis-preferred': f'redis {RUN_IT} numactl --preferred=1 taskset 1',
    'redis-interleave': f'redis {RUN_IT} numactl --interleave=all',
    'huge': f'env ASHLAR_CONF=report:exit,huge:2M LD_PRELOAD={PRELOAD} taskset 2 {PERL_IT}',
    'policy': f'env ASHLAR_CONF=report:exit,policy:interleave=0/1 LD_PRELOAD={PRELOAD} {PERL_IT}',
    'run': f'taskset 1 {ASHLAR} run --membind "!0" -- {PERL_IT}',
    'doctor': f'{ASHLAR} doctor; test $? -le 1',
    'wait': f'env LD_PRELOAD={PRELOAD} {WAIT_PROGRAM} {WAIT_PLUGIN}',
    'stat': stat('policy:interleave=all') + '; ' + stat('quiet:yes'),
    'stat-policy': stat('policy:preferred=1'),
}
# Refused calls and missing files, for a program that has two nodes all the same; with and without a wish for huge
# pages.
for _error in (1, 38):
    SCRIPTS[f'refused-{_error}'] = f'{REFUSED} {_error} env LD_PRELOAD={PRELOAD} {PERL_IT}'
    SCRIPTS[f'refused-{_error}-huge'] = f'{REFUSED} {_error} env ASHLAR_CONF=huge:2M LD_PRELOAD={PRELOAD} {PERL_IT}'
    SCRIPTS[f'refused-{_error}-map'] = f'{REFUSED} {_error} env ASHLAR_CONF=map:on LD_PRELOAD={PRELOAD} {PERL_IT}'
SCRIPTS['no-sysfs'] = ('umount /sys/fs/cgroup /sys && ' + f'env LD_PRELOAD={PRELOAD} {PERL_IT}' +
                       '; mount -t sysfs sys /sys')
SCRIPTS['run-without-sysfs'] = f'umount /sys; {ASHLAR} run --membind=1 -- {PERL_IT}; mount -t sysfs sys /sys'
# What knows libnuma but not us; see the program.
LIBNUMA = {
    'libnuma': f'env LD_PRELOAD={PRELOAD} {UNMODIFIED}',
    'libnuma-map': f'env ASHLAR_CONF=map:on LD_PRELOAD={PRELOAD} {UNMODIFIED}',
    'libnuma-policy': f'env EXPECT_NODE=1 ASHLAR_CONF=map:on,policy:bind=1 LD_PRELOAD={PRELOAD} {UNMODIFIED} '
                      'mappings_lie_where_the_options_say',
    'clients': CLIENTS,
}
if KERNEL == 'backports':
    SCRIPTS = {}
if UNMODIFIED:
    SCRIPTS.update(LIBNUMA)


def test(fn):
    TESTS.append(fn)
    return fn


def test_of_both(fn):
    BOTH.append(fn)
    return test(fn)


def boot():
    """The output of each script in a guest with two nodes; all must end well."""
    words = [word for name in NEEDED for word in ('--file', shutil.which(name))]
    for name in (PRELOAD, ASHLAR, *PROGRAMS):
        words += ['--file', name]
    library = subprocess.run([PYTHON, '-c', 'import os; print(os.path.dirname(os.__file__))'], capture_output=True,
                             text=True, check=True).stdout.strip()
    words += ['--file', f'{library}/os.py', '--tree', f'{library}/encodings', '--node', '0:2M=20', '--node', '1:2M=20']
    script = REDIS + ''.join(f'echo "== {name}"; {text} || echo "ended with $?"\n' for name, text in SCRIPTS.items())
    done = subprocess.run([sys.executable, RUN, '--kernel', KERNEL, '--cache', CACHE, '--nodes', '2', '--mem', '400',
                           *words, '--', 'sh', '-c', script], capture_output=True, text=True, errors='replace')
    if done.returncode == SKIP:
        print(done.stdout.strip())
        sys.exit(SKIP)
    assert done.returncode == 0, f'status {done.returncode}:\n{done.stdout}\n{done.stderr}'
    sections = dict(re.findall(r'^== (\S+)\n(.*?)(?=^== |\Z)', done.stdout, re.M | re.S))
    assert set(sections) == set(SCRIPTS), done.stdout
    return sections


def on_nodes(out, least=4500):
    assert 'ended with' not in out, out
    pages = {int(node): int(n) for node, n in re.findall(r'^N(\d+)=(\d+)$', out, re.M)}
    assert sum(pages.values()) > least, f'hardly a heap: {out}'
    return pages


def expect_on(sections, name, node):
    pages = on_nodes(sections[name])
    share = pages.get(node, 0) / sum(pages.values())
    assert share > 0.95, f'{name}: {share:.0%} on node {node}\n{sections[name]}'


def expect_everywhere(sections, name):
    pages = on_nodes(sections[name])
    assert min(pages.get(0, 0), pages.get(1, 0)) > sum(pages.values()) / 4, sections[name]


@test
def a_program_lies_where_it_runs(sections):
    for name, node in (('cpu0', 0), ('cpu1', 1)):
        expect_on(sections, name, node)
        assert re.search(rf'^ +node {node} +T .*MiB', sections[name], re.M), f'{name}: report without its node'
        assert not re.search(rf'^ +node {1 - node} +T +[1-9.]+ MiB', sections[name], re.M), sections[name]


def node_rows(text):
    """Of the report's table of nodes: in memory, strayed, hit, miss, foreign, interleave; None is nothing."""
    table = re.search(r'^ +nodes +node +in memory.*\n((?: +node \d+ .*\n)+)', text, re.M)
    assert table, f'no table of nodes:\n{text}'
    cell = re.compile(r'(?<= )(?:-|[0-9.]+ [KMG]iB)(?= |$)')
    return {int(row.split()[1]): [None if c == '-' else c for c in cell.findall(row)] for row in table[1].splitlines()}


@test
def the_report_says_where_the_memory_is(sections):
    for name, node in (('cpu0', 0), ('cpu1', 1)):
        rows = node_rows(sections[name])
        assert set(rows) == {node} and 'MiB' in rows[node][0] and rows[node][1] is None, rows
        assert 'MiB' in rows[node][2] and rows[node][3:5] == [None, None], rows
    rows = node_rows(sections['interleave'])
    assert set(rows) == {0, 1} and all('MiB' in rows[n][0] for n in rows), rows
    assert re.search(r'^ +interlea T .*MiB', sections['interleave'], re.M), sections['interleave']
    assert all('MiB' in rows[n][5] for n in (0, 1)), rows
    rows = node_rows(sections['policy'])
    assert all('MiB' in rows[n][0] and 'MiB' in rows[n][5] for n in (0, 1)), rows
    assert re.search(r'^ +node 1 .* 20 of 20 +0 of 0 free$', sections['cpu1'], re.M), sections['cpu1']


@test
def a_program_lies_where_its_options_say(sections):
    expect_everywhere(sections, 'policy')
    expect_on(sections, 'run', 1)
    expect_on(sections, 'run-without-sysfs', 1)


@test
def a_program_lies_where_numactl_says(sections):
    for program in ('', 'python-', 'redis-'):
        expect_on(sections, program + 'membind', 1)
        expect_on(sections, program + 'preferred', 1)
        expect_everywhere(sections, program + 'interleave')


@test
def huge_pages_come_from_the_pool_of_the_node(sections):
    line = re.search(r'^ +node 1 +H +(\S+) MiB.*$', sections['huge'], re.M)
    assert line and float(line.group(1)) > 16, sections['huge']
    assert not re.search(r'^ +node 0 +H +[1-9]', sections['huge'], re.M), sections['huge']


@test
def doctor_knows_the_nodes(sections):
    out = sections['doctor']
    assert '2 NUMA nodes' in out and re.search(r'preloaded library loads', out), out


@test
def a_live_process_is_told_of_by_node(sections):
    out = sections['stat']
    found = re.search(r'^ +by node \(interleave\S*:0-1\):  node 0 (\S+) MiB  node 1 (\S+) MiB$', out, re.M)
    assert found and min(map(float, found.groups())) > 4, out
    local = re.search(r'^asked of node (0):  hit (\S+) MiB  miss 0.0 MiB  foreign 0.0 MiB', out, re.M)
    assert local and float(local[2]) > 4, out


@test
def a_live_process_is_told_of_what_came_from_elsewhere_and_why(sections):
    out = sections['stat-policy']
    spill = re.search(r'^for node 0, taken from node 1: (\S+) MiB in \d+ runs: a policy or a node.s number said so$',
                      out, re.M)
    assert spill and float(spill[1]) > 4, out
    assert 'taken from node' not in sections['stat'], sections['stat']


@test
def refused_calls_and_missing_files_are_survived_in_silence(sections):
    names = [name for name in sections if name.startswith('refused') or name == 'no-sysfs']
    assert len(names) == 7, names
    for name in names:
        # A huge page counts as one: what is left is the start on base pages.
        on_nodes(sections[name], 450 if name.endswith('huge') else 4500)
        assert re.fullmatch(r'(N\d=\d+\n)+', sections[name]), f'{name}: {sections[name]}'


@test
def allocating_does_not_wait_for_the_loader(sections):
    assert re.search(r'^\d+ MiB, ashlar:1 libnuma:0$', sections['wait'], re.M), sections['wait']


@test_of_both
def programs_that_know_libnuma_get_what_they_ask_for(sections):
    for name in LIBNUMA:
        if name in sections:
            assert re.search(r'^\S+: [1-9]\d* passed, 0 failed', sections[name], re.M), sections[name]


def main():
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        print(f'not on this machine: {" ".join(missing)}')
        sys.exit(SKIP)
    sections, failed = boot(), 0
    tests = BOTH if KERNEL == 'backports' else TESTS
    for fn in tests:
        try:
            fn(sections)
            print(f'ok {fn.__name__}', flush=True)
        except AssertionError as problem:
            failed += 1
            print(f'# {problem}\nnot ok {fn.__name__}', flush=True)
    print(f'preloaded.py: {len(tests) - failed} passed, {failed} failed, 0 skipped')
    sys.exit(1 if failed else 0)


main()
