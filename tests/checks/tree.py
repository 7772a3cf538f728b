# SPDX-License-Identifier: MIT
"""What the checks share: reading lib/LAYERS, walking sources, stripping comments, saying the verdict."""
import os
import re
import sys

SKIP = 77


class Layer:
    def __init__(self, name, freestanding, below):
        self.name, self.freestanding, self.below = name, freestanding, below


def read_layers(root):
    """lib/LAYERS as an ordered dict; raises ValueError where it contradicts itself."""
    layers = {}
    with open(os.path.join(root, 'lib/LAYERS'), encoding='utf-8') as f:
        for line in f:
            line = line.split('#')[0].strip()
            if not line:
                continue
            head, _, below = line.partition(':')
            words = head.split()
            if not words or words[0] in layers or words[1:] not in ([], ['freestanding']):
                raise ValueError(f'cannot read "{line}"')
            for name in below.split():
                if name not in layers:
                    raise ValueError(f'{words[0]} names {name}, which is not below it')
            layers[words[0]] = Layer(words[0], len(words) > 1, below.split())
    return layers


def walk(root, folders, suffixes):
    """Paths relative to root of the files under the folders that end in one of the suffixes, sorted."""
    found = []
    for folder in folders:
        for where, dirs, names in os.walk(os.path.join(root, folder)):
            dirs[:] = [d for d in dirs if not d.startswith(('.', 'build', '__pycache__'))]
            found += [os.path.relpath(os.path.join(where, n), root) for n in names if n.endswith(suffixes)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as f:
        return f.read()


STRIP = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """The text with comments and the inside of literals blanked; line numbers stay."""
    def blank(match):
        kept = '""' if match.group(0)[0] == '"' else ' '
        return kept + '\n' * match.group(0).count('\n')
    return STRIP.sub(blank, text)


def verdict(name, problems, examined, what, floor):
    """Print the outcome and end the check. Having examined fewer things than the floor is a problem of its own."""
    if examined < floor:
        problems = problems + [f'examined only {examined} {what}; at least {floor} were expected']
    for problem in problems:
        print(problem)
    print(f'{name}: {examined} {what} examined, {len(problems)} problems')
    sys.exit(1 if problems else 0)
