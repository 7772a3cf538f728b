#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the documents point at exists: files, and the library's names.

usage: docs_links.py ROOT
In every .md file and man page: relative markdown links, paths in code spans (with or without lib/ in front, * allowed)
and identifiers that begin with ash_ or ASH_ must be found in the tree.
"""
import glob
import os
import re
import sys

import tree

LINK = re.compile(r'\]\(([^)#\s]+)(?:#[^)]*)?\)')
SPAN = re.compile(r'`([^`\n]+)`')
PATH = re.compile(r'^(?:\./)?(?:[\w.*-]+/)+[\w.*-]*$')
TOPS = ('lib', 'include', 'preload', 'tools', 'tests', 'bench', 'docs', 'examples', '.ci')
NAME = re.compile(r'\b(?:ash_[a-z0-9_]+|ASH_[A-Z0-9_]+)\b')
SOURCES = ['lib', 'include', 'preload', 'tools', 'bench', 'examples', 'tests']


def documents(root):
    own = [n for n in os.listdir(root) if n.endswith('.md')]
    return sorted(own) + tree.walk(root, ['docs', 'lib', 'bench', 'tests', 'examples', 'tools'],
                                   ('.md', '.1', '.3', '.7'))


def exists(root, path, base=''):
    for start in (base, '', 'lib'):
        if glob.glob(os.path.join(root, start, path)):
            return True
    return False


def looks_like_ours(root, word):
    """A path into this tree: it begins with one of our folders, or with a layer's name and ends like a source."""
    if not PATH.match(word) or '//' in word:
        return False
    first = word.removeprefix('./').split('/')[0]
    if first in TOPS:
        return True
    return os.path.isdir(os.path.join(root, 'lib', first)) and re.search(r'\.(c|h|def|md)$', word) is not None


def main(root):
    problems, examined = [], 0
    known = set()
    for path in tree.walk(root, SOURCES, ('.c', '.h', '.def', '.map', '.py', '.build', '.S', '.in')):
        if not path.startswith('tests/checks/'):  # where names that do not exist are planted
            known.update(NAME.findall(tree.read(root, path)))
    known.update(NAME.findall(tree.read(root, 'meson.build')))
    prefixes = {'_'.join(n.split('_')[:k]) + '_' for n in known for k in range(1, n.count('_') + 1)}
    for doc in documents(root):
        text = tree.read(root, doc)
        for n, line in enumerate(text.splitlines(), 1):
            words = [w for span in SPAN.findall(line) for w in re.split(r'[\s,;:()]+', span)]
            for word in words:
                if looks_like_ours(root, word):
                    examined += 1
                    if not exists(root, word.removeprefix('./'), os.path.dirname(doc)):
                        problems.append(f'{doc}:{n}: {word} does not exist')
            for target in LINK.findall(line):
                if '://' in target or target.startswith('mailto:'):
                    continue
                examined += 1
                if not glob.glob(os.path.join(root, os.path.dirname(doc), target)):
                    problems.append(f'{doc}:{n}: link to {target}, which does not exist')
            for name in NAME.findall(line):
                examined += 1
                if name not in known and not (name.endswith('_') and name in prefixes):
                    problems.append(f'{doc}:{n}: {name} is no name of this library')
    tree.verdict('docs-links', problems, examined, 'references', 5)


main(os.path.abspath(sys.argv[1]))
