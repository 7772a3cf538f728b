# SPDX-License-Identifier: MIT
"""The workload of `./bootstrap run`: a small search service's start-up, in one process and without extra packages.

It writes a corpus, indexes it (dictionaries of lists), stores it in an in-memory SQLite database with two indexes,
ships the index through JSON as a service would to its replicas, and answers queries from the copy. Everything is made
from a fixed seed, and the answers' checksum is printed, so that two runs can be seen to have done the same work.
"""
import hashlib
import itertools
import json
import random
import sqlite3

DOCUMENTS = 20000
WORDS = 12000


def corpus(rng):
    words = [''.join(rng.choices('abcdefghijklmnopqrstuvwxyz', k=rng.randint(3, 11))) for _ in range(WORDS)]
    common = list(itertools.accumulate(1 / (rank + 8) for rank in range(WORDS)))  # as words are: many are rare
    return [' '.join(rng.choices(words, cum_weights=common, k=rng.randint(20, 80))) for _ in range(DOCUMENTS)]


def invert(documents):
    index = {}
    for number, text in enumerate(documents):
        for place, word in enumerate(text.split()):
            index.setdefault(word, []).append((number, place))
    return index


def store(documents):
    db = sqlite3.connect(':memory:')
    db.execute('CREATE TABLE document (id INTEGER PRIMARY KEY, title TEXT, body TEXT, length INTEGER)')
    db.executemany('INSERT INTO document VALUES (?, ?, ?, ?)',
                   ((n, text[:24], text, len(text)) for n, text in enumerate(documents)))
    db.execute('CREATE INDEX by_title ON document (title)')
    db.execute('CREATE INDEX by_length ON document (length)')
    return db


def answer(index, db, rng, queries):
    digest = hashlib.sha256()
    common = sorted(index, key=lambda word: (-len(index[word]), word))[:400]
    for _ in range(queries):
        one, two = rng.sample(common, 2)
        both = {n for n, _ in index[one]} & {n for n, _ in index[two]}
        best = sorted(both)[:20]
        marks = ','.join('?' * len(best))
        rows = db.execute(f'SELECT id, title FROM document WHERE id IN ({marks}) ORDER BY length, id', best).fetchall()
        digest.update(repr(rows).encode())
    return digest.hexdigest()


def main():
    rng = random.Random(2)
    documents = corpus(rng)
    index = json.loads(json.dumps(invert(documents)))
    db = store(documents)
    checksum = answer(index, db, rng, 100)
    print(f'{len(documents)} documents, {len(index)} words, checksum {checksum[:16]}')


main()
