#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the preloaded object costs a process that does nothing is kept small by its layout; this holds the layout.

usage: layout.py [--ordered] [--small SMALL] PRELOAD LIBRARY BENCH-EMPTY FIRST SOURCE

Counts, not times (bench/startup measures those):
  - two mappings of the file: code with constants, and data;
  - the data that is not read-only after relocation fits the page it starts on, so that the loader maps nothing for it;
  - all data is on two pages: the loader writes every one of them, and so does every process;
  - everything that runs at the start and end of every process lies in the first 64 KiB of the file, which the kernel
    maps around the first fault;
  - what runs in every process that allocates a little (ASH_EARLY) lies together, with little else between: or there
    are more such stretches to map, and each is up to 10 microseconds of the process's start and end;
  - with --ordered (the linker takes preload/early.ld), constants lie beside that;
  - with --small, SMALL, which allocates as `date` or `cat` does, runs nothing that lies behind what is marked: a
    single function that is not is one more stretch. It is for code that is optimized, on one node: else more runs;
  - the dynamic linker looks up at most LOOKED_UP symbols for it, and none that it defines itself: ten of them are a
    microsecond of every start;
  - malloc and free begin at a cache line, or what is added elsewhere moves them, and programs are up to 5 % slower;
  - `true` meets at most FAULTS_MORE page faults more than under a preload that is empty, and FIRST, which allocates
    once, at most FIRST_FAULTS_MORE: a page for each table that an allocation is written down in, none of them twice.
LIBRARY, laid out as the linker likes, must be refused: so the rules can fail.
"""
import argparse
import glob
import os
import re
import resource
import subprocess
import sys

PAGE = 4096
WINDOW = 64 * 1024
MARKED = re.compile(r'^(?:static |ASH_EXPORT )?ASH_EARLY [^=;]*?(\w+)\(', re.M)
MARKED_MIN = 50
BETWEEN = 0.25
AT_START = {'process_start', 'process_end', 'preload_start', 'ash_ctl_exit', 'ash_env_has_prefix'}
HOT = {'malloc', 'free'}
LINE = 64
LOOKED_UP = 39
SPAWNS = 20
FAULTS_MORE = 3
FIRST_FAULTS_MORE = 13


def output(*args):
    return subprocess.run(args, stdout=subprocess.PIPE, text=True, check=True).stdout


def off_line(where, names):
    """Those of names that are not there, or do not begin at a cache line."""
    return [f'{name} does not begin at a cache line' for name in sorted(names) if where.get(name, 1) % LINE != 0]


def marked(source):
    """The functions that the source marks as early."""
    names = set()
    for path in glob.glob(os.path.join(source, 'lib', '**', '*.c'), recursive=True) + \
            glob.glob(os.path.join(source, 'preload', '*.c')):
        with open(path, encoding='utf-8') as f:
            names.update(MARKED.findall(f.read()))
    return names


def apart(symbols, names):
    """symbols: (address, size, name). Whether what has one of names is scattered: a list of a sentence, or none."""
    found = [(at, size) for at, size, name in symbols if name in names and
             sum(other == name for _, _, other in symbols) == 1]
    if not found:
        return ['nothing that is marked as early is in it']
    span = max(at + size for at, size in found) - min(at for at, size in found)
    between = span - sum(size for _, size in found)
    return [f'{between} bytes between what is marked as early, of {span}'] if between > span * BETWEEN else []


def beside(early, constants):
    """early, constants: (begin, end). What is wrong if they do not lie side by side: a list of a sentence, or none."""
    gap = max(constants[0] - early[1], early[0] - constants[1])
    return [f'{gap} bytes between what is early and constants'] if gap > PAGE else []


def section(path, name):
    """(begin, end) of a section of the object at path."""
    found = re.search(rf'\] {re.escape(name)}\s+\w+\s+([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+) ',
                      output('readelf', '-SW', path))
    begin, size = (int(number, 16) for number in found.groups())
    return begin, begin + size


def early_range(path, source):
    """(begin, end) of what is marked as early in the object at path."""
    names = marked(source)
    found = [(at, at + size) for at, size, name in sized(path) if name in names]
    return min(begin for begin, _ in found), max(end for _, end in found)


def sized(path):
    """(address, size, name) of the functions of the object at path."""
    return [(int(at, 16), int(size, 16), name) for at, size, name in
            re.findall(r'^([0-9a-f]+) ([0-9a-f]+) [tT] (\w+)$', output('nm', '-S', path), re.M)]


def layout(path, source):
    """What is wrong with the layout of the object at path: a list of sentences."""
    problems = []
    segments = [line.split() for line in output('readelf', '-lW', path).splitlines()]
    loads = [s for s in segments if s[:1] == ['LOAD']]
    relro = [s for s in segments if s[:1] == ['GNU_RELRO']]
    if len(loads) != 2:
        problems.append(f'{len(loads)} loadable segments, not 2')
    if len(relro) != 1:
        return problems + ['no part of it is read-only after relocation']
    data_end = int(loads[-1][2], 16) + int(loads[-1][5], 16)
    relro_end = int(relro[0][2], 16) + int(relro[0][5], 16)
    if data_end - relro_end > PAGE:
        problems.append(f'{data_end - relro_end} bytes of writable data, more than a page')
    data_pages = -(-data_end // PAGE) - int(loads[-1][2], 16) // PAGE
    if data_pages > 2:
        problems.append(f'data on {data_pages} pages')
    looked_up = re.findall(r'_(?:GLOB_DAT|JUMP_SLOT)\s+([0-9a-f]+)\s+(\w+)', output('readelf', '-rW', path))
    if not looked_up:
        problems.append('no symbol is looked up: relocations are not understood')
    if len(looked_up) > LOOKED_UP:
        problems.append(f'{len(looked_up)} symbols are looked up, not at most {LOOKED_UP}')
    problems += [f'its own {name} is looked up' for value, name in looked_up if int(value, 16) != 0]
    where = {}
    for line in output('nm', path).splitlines():
        found = re.match(r'([0-9a-f]+) [tT] (\w+)$', line)
        if found:
            where[found[2]] = int(found[1], 16)
    for name in sorted(AT_START):
        if name not in where:
            problems.append(f'{name} is not in it')
        elif where[name] >= WINDOW:
            problems.append(f'{name} lies at {where[name]:#x}')
    if len(off_line({'there': LINE, 'moved': LINE + 16}, {'there', 'moved', 'missing'})) != 2:
        problems.append('what does not begin at a line is not seen')
    names = marked(source)
    if len(names) < MARKED_MIN:
        problems.append(f'{len(names)} functions are marked as early: the source is not understood')
    if not apart([(0, 10, 'a'), (90, 10, 'b')], {'a', 'b'}) or apart([(0, 10, 'a'), (10, 10, 'b')], {'a', 'b'}):
        problems.append('what is scattered is not seen')
    problems += apart(sized(path), names)
    return problems + off_line(where, HOT)


def ran_beyond(small, preload, offset):
    """What of the object runs first at offset or behind it, when small does: a name or an offset, or None."""
    done = subprocess.run([small, f'{offset:x}'], env={'LD_PRELOAD': preload}, stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode not in (0, 1):
        return f'nothing known, by status {done.returncode},'
    if done.returncode == 0:
        return None
    ran = int(done.stdout, 16)
    return next((name for at, size, name in sized(preload) if at <= ran < at + size), f'{ran:#x}')


def not_early(small, preload, source):
    """What is wrong with what small runs: a list of sentences."""
    begin, end = early_range(preload, source)
    problems = []
    if ran_beyond(small, preload, begin) is None:
        problems.append('that early code runs is not seen')
    name = ran_beyond(small, preload, end)
    if name is not None:
        problems.append(f'{name} runs in a small process and lies behind what is marked as early')
    return problems


def one_node():
    try:
        with open('/sys/devices/system/node/online', encoding='ascii') as f:
            return f.read().strip() == '0'
    except OSError:
        return True


def faults(program, preload):
    """The fewest page faults of program under preload."""
    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program], env={'LD_PRELOAD': preload, 'PATH': os.environ['PATH']}, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_minflt - before.ru_minflt
    return min(once() for _ in range(SPAWNS))


def main(preload, library, empty, first, source, small, ordered):
    problems = layout(preload, source)
    if not beside((0, 10), (PAGE + 11, PAGE + 20)) or not beside((PAGE + 11, PAGE + 20), (0, 10)) or \
            beside((0, 10), (16, 20)):
        problems.append('constants that lie elsewhere are not seen')
    if ordered:
        problems += beside(early_range(preload, source), section(preload, '.rodata'))
    if small is not None and one_node():
        problems += not_early(small, preload, source)
    if not layout(library, source):
        problems.append('the ordinary library was not refused')
    for program, more in ('true', FAULTS_MORE), (first, FIRST_FAULTS_MORE):
        few, many = faults(program, empty), faults(program, preload)
        print(f'page faults of {os.path.basename(program)}: {few} under an empty preload, {many} under ashlar')
        if few <= 0:
            problems.append('no page fault was counted')
        if many > few + more:
            problems.append(f'{many - few} page faults more than an empty preload, not at most {more}')
    for problem in problems:
        print('layout:', problem)
    return 1 if problems else 0


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--ordered', action='store_true')
    parser.add_argument('--small', type=os.path.abspath)
    for path in 'preload', 'library', 'empty', 'first', 'source':
        parser.add_argument(path, type=os.path.abspath)
    sys.exit(main(**vars(parser.parse_args())))
