"""What the Python client says of configurations (JSON on stdin), by its own code and without PyTorch: python_supported.py CLIENT.

Only what `require_supported` is made of is taken from its file and run. Gives {"known": …, "said": [null or the refusal, …]}.
"""
import ast
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    tree = ast.parse(file.read())
wanted = {"Problem", "KNOWN", "flat", "require_supported"}


def named(node):
    return {getattr(node, "name", None), *(target.id for target in getattr(node, "targets", []) if hasattr(target, "id"))}


tree.body = [node for node in tree.body if named(node) & wanted]
client = {}
exec(compile(tree, sys.argv[1], "exec"), client)


def said(config):
    try:
        client["require_supported"](config)
    except client["Problem"] as problem:
        return str(problem)


json.dump({"known": client["KNOWN"], "said": [said(config) for config in json.load(sys.stdin)]}, sys.stdout)
