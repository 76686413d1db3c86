# SPDX-License-Identifier: MIT
"""objects.py N - objects, dicts, strings and JSON that come and go."""
import json
import sys


class Node:
    def __init__(self, key, left, right):
        self.key, self.left, self.right = key, left, right


def tree(depth, key=1):
    if depth == 0:
        return Node(key, None, None)
    return Node(key, tree(depth - 1, 2 * key), tree(depth - 1, 2 * key + 1))


def total(node):
    return node.key + total(node.left) + total(node.right) if node.left else 1


n = int(sys.argv[1])
print(sum(total(tree(10)) for _ in range(n // 500)))
table = {}
for i in range(n):
    table[f"key {i * 7919 % n}"] = {"id": i, "list": [str(i)] * (i % 20)}
    if i % 3 == 0:
        table.pop(f"key {i}", None)
print(len(table), sum(len(v["list"]) for v in table.values()))
text = json.dumps(table)
print(len(text), json.loads(text) == table)
words = sorted(text.split('"'), key=len)
print(len(words), "".join(words[-5:])[:60])
