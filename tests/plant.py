"""Changing one place of the code: found by its function and as a syntax tree, so that layout and comments do not matter.

``where`` is ``package.module:Class.method``, ``package.module:function`` or ``package.module:`` for the whole module; a third part
narrows it down to the one call of that name (``module:function:PruneReport.measure``). ``old`` is an expression, a keyword argument
(``sparsity=0.5``) or statements. It stands there exactly once, and ``new`` takes its place; nothing else of the file changes.
In a file of ``conf/`` it is ``conf/optim/sgd.yaml:key``, and ``old`` and ``new`` are values.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import yaml

from tests.conftest import ROOT

Places = list[tuple[int, int, int, int]]  # first line, column, last line, column, all from 0; columns in bytes
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Mutation(NamedTuple):
    """A bug: ``new`` in the place of ``old``. ``tests`` are the files, or tests, that should fail then."""

    name: str
    bug: str
    where: str
    old: str
    new: str
    tests: tuple[str, ...]


def file_of(where: str) -> str:
    """The path, in the repository, of the file that ``where`` names; ValueError where there is none."""
    module, colon, _ = where.partition(":")
    path = module if module.endswith(".yaml") else module.replace(".", "/") + ".py"
    if not colon or not (ROOT / path).is_file():
        raise ValueError(f"{where}: there is no {path}, or no colon")
    return path


def planted(text: str, where: str, old: str, new: str) -> str:
    """``text`` of the file that ``where`` names, with ``new`` for ``old``; ValueError unless that is there once, or no change."""
    inside = where.partition(":")[2]
    if file_of(where).endswith(".yaml"):
        return _replaced(text, [_yaml_place(text, where, inside, old)], new)
    tree = ast.parse(text)
    scope = _scope(tree, where, *inside.split(":"))
    wanted, made = ast.parse(textwrap.dedent(old)).body, textwrap.dedent(new).strip()
    if len(wanted) == 1 and isinstance(wanted[0], ast.Expr) and _is_expression(made):
        places, made = _expressions(scope, wanted[0].value), f"({made})"
    else:
        places = _statements(scope, wanted)
        if len(wanted) == 1 and isinstance(wanted[0], ast.Assign):
            places += _keywords(scope, wanted[0])
    if len(places) != 1:
        raise ValueError(f"{where} has this {len(places)} times: {old}")
    bad = _replaced(text, places, made)
    if ast.dump(ast.parse(bad)) == ast.dump(tree):
        raise ValueError(f"{where}: {new} changes nothing")
    return bad


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def _scope(tree: ast.Module, where: str, name: str, call: str = "") -> ast.AST:
    scope: ast.AST = tree
    for part in name.split(".") if name else ():
        inner = [node for node in _definitions(scope) if node.name == part]
        if len(inner) != 1:
            raise ValueError(f"{where}: {len(inner)} definitions of {part}")
        scope = inner[0]
    if call:
        calls = [n for n in ast.walk(scope) if isinstance(n, ast.Call) and ast.unparse(n.func) == call]
        if len(calls) != 1:
            raise ValueError(f"{where}: {len(calls)} calls of {call}")
        scope = calls[0]
    return scope


def _definitions(scope: ast.AST) -> Iterator[Definition]:
    """Those in ``scope``, also below an ``if``, but not in one another."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, Definition):
            yield node
        else:
            yield from _definitions(node)


def _expressions(scope: ast.AST, wanted: ast.expr) -> Places:
    found = [node for node in ast.walk(scope) if isinstance(node, ast.expr) and _same([node], [wanted])]
    return [_place(node, node) for node in found]


def _keywords(scope: ast.AST, wanted: ast.Assign) -> Places:
    name = ast.unparse(wanted.targets[0])
    keywords = [node for node in ast.walk(scope) if isinstance(node, ast.keyword) and node.arg == name]
    return [_place(node, node) for node in keywords if _same([node.value], [wanted.value])]


def _statements(scope: ast.AST, wanted: Sequence[ast.stmt]) -> Places:
    found: Places = []
    for node in ast.walk(scope):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if not isinstance(body, list):
                continue
            for i in range(len(body) - len(wanted) + 1):
                part = body[i : i + len(wanted)]
                if _same(part, wanted):
                    found.append(_place(part[0], part[-1]))
    return found


def _same(found: Sequence[ast.AST], wanted: Sequence[ast.AST]) -> bool:
    return [ast.dump(node) for node in found] == [ast.dump(node) for node in wanted]


def _place(first: ast.AST, last: ast.AST) -> tuple[int, int, int, int]:
    start, end = cast("ast.expr", first), cast("ast.expr", last)
    assert end.end_lineno is not None
    assert end.end_col_offset is not None
    return start.lineno - 1, start.col_offset, end.end_lineno - 1, end.end_col_offset


def _yaml_place(text: str, where: str, key: str, old: str) -> tuple[int, int, int, int]:
    node = yaml.compose(text)
    for part in key.split("."):
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        inner = [value for name, value in entries if name.value == part]
        if len(inner) != 1:
            raise ValueError(f"{where}: {len(inner)} keys {part}")
        node = inner[0]
    start, end = node.start_mark, node.end_mark
    if yaml.safe_load(text[start.index : end.index]) != yaml.safe_load(old):
        raise ValueError(f"{where} is {text[start.index : end.index]}, not {old}")
    return start.line, len(text[start.index - start.column : start.index].encode()), end.line, end.column


def _replaced(text: str, places: Places, new: str) -> str:
    """``new`` in the one of ``places``; its further lines are indented like the first."""
    ((line, column, last_line, last_column),) = places
    lines = text.splitlines(keepends=True)
    before, after = lines[line].encode()[:column].decode(), lines[last_line].encode()[last_column:].decode()
    made = new.replace("\n", "\n" + " " * column)
    return "".join([*lines[:line], before, made, after, *lines[last_line + 1 :]])
