# SPDX-License-Identifier: MIT
"""A python3 load: JSON, object graphs, string building, sorting; deterministic, prints a checksum."""
import hashlib
import json
import sys


class Node:
    def __init__(self, key, left, right):
        self.key, self.left, self.right = key, left, right


def tree(depth, key):
    if depth == 0:
        return Node(key, None, None)
    return Node(key, tree(depth - 1, 2 * key), tree(depth - 1, 2 * key + 1))


def total(node):
    return 0 if node is None else node.key + total(node.left) + total(node.right)


def main(rounds):
    digest = hashlib.sha256()
    for n in range(rounds):
        records = [{"id": i, "name": "record %d" % i, "values": [i * n, i + n, str(i) * 3], "nested": {"a": [i]}}
                   for i in range(12000)]
        text = json.dumps(records)
        back = json.loads(text)
        back.sort(key=lambda r: r["name"])
        digest.update(back[n]["name"].encode())
        digest.update(str(total(tree(15, 1))).encode())
        index = {}
        for record in back:
            index.setdefault(record["name"][-2:], []).append(record)
        digest.update(str(sum(len(v) for v in index.values())).encode())
        parts = bytearray()
        for i in range(60000):
            parts += b"%d," % (i * n)
        digest.update(parts)
    print(digest.hexdigest())


main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
