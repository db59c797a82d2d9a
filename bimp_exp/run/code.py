"""The code that a computation reaches, found by reading source files; nothing is imported.

A phase's key covers what can change its numbers: of this package the modules of ``COUNTED`` that are reached, every reached
module of the user's own, and the version of every installed package that a ``_target_`` or a module of the user's names. Of a
module count the statements, but not names of modules, imports, type hints, docstrings, comments, layout, and the text of
errors and log messages: moving a module or rewording a message keeps all results.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bimp_exp import PUBLIC
from bimp_exp.config.sources import find, home_of
from bimp_exp.paths import PACKAGE

COUNTED = (
    "budget", "dataset", "lr", "method", "model", "optim", "pruning", "runtime", "schedule", "seeds", "selector", "task",
    "training",
)  # fmt: skip
ROOTS = (
    "bimp_exp.training.loop",
    "bimp_exp.training.evaluation",
    "bimp_exp.pruning.report",
    "bimp_exp.pruning.metrics",
)
OURS = PACKAGE.name
INSTALLED = {"site-packages", "dist-packages"}
LOGGERS = {"log", "logger", "logging", "warnings"}


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Modules and their files; installed packages and their versions.

    ours: modules of this package that count.
    users: modules that are neither ours, nor of the standard library, nor of an installed package.
    installed: top-level packages that a target or a module of ``users`` names.
    """

    ours: Mapping[str, Path]
    users: Mapping[str, Path]
    installed: Mapping[str, str]


def targets(config: Any) -> tuple[str, ...]:
    """Every ``_target_`` in ``config``, sorted."""
    if not isinstance(config, Mapping):
        return ()
    found = [str(config["_target_"])] if "_target_" in config else []
    return tuple(sorted({*found, *(name for value in config.values() for name in targets(value))}))


@cache
def code_hash(names: tuple[str, ...]) -> str:
    """SHA-256 of the code that ``names``, values of ``_target_``, and the training of every run reach."""
    found = reached((*ROOTS, *names))
    files = [*found.ours.values(), *found.users.values()]
    digests = sorted({hashlib.sha256(statements(path.read_text()).encode()).hexdigest() for path in files})
    return hashlib.sha256(repr((digests, sorted(found.installed.items()))).encode()).hexdigest()


def reached(names: Iterable[str]) -> Reached:
    """What ``names``, of modules or of what they define, reach by imports, also those inside functions."""
    ours: dict[str, Path] = {}
    users: dict[str, Path] = {}
    installed: dict[str, str] = {}
    todo = [(name, True) for name in names]
    seen: set[tuple[str, bool]] = set()
    while todo:
        name, by_user = todo.pop()
        if (name, by_user) in seen:
            continue
        seen.add((name, by_user))
        module, path = find(name)
        package = module.partition(".")[0]
        if path is None or package in sys.stdlib_module_names:
            continue
        if package == OURS:
            if by_user and module == OURS:  # for a public name, which is looked up when it is asked for
                todo += [(f"{OURS}.{home}", False) for home in PUBLIC.values()]
            if module.partition(".")[2].partition(".")[0] in COUNTED and module not in ours:
                ours[module] = path
                todo += [(imported, False) for imported in _imports(module, path)]
        elif INSTALLED & {*path.parts}:
            if by_user:
                installed[package] = _version(package)
        elif module not in users:
            users[module] = path
            todo += [(imported, True) for imported in _imports(module, path)]
            todo.append((module.rpartition(".")[0] or module, True))  # Python runs the packages around it, too
    return Reached(ours=ours, users=users, installed=installed)


def statements(source: str) -> str:
    """The statements of a module as text, without what cannot change a number."""
    return ast.dump(_Bare().visit(ast.parse(source)))


class _Bare(ast.NodeTransformer):
    """Removes imports, hints, docstrings, and the text of errors and log messages."""

    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant) or (isinstance(value, ast.Call) and _root(value.func) in LOGGERS):
            return None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Expr(node.target)
        return ast.Assign([node.target], self.visit(node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(None, None)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return ast.Assert(self.visit(node.test), None)


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@cache
def _imports(module: str, path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = home_of(module, path, node)
            found += [home, *(f"{home}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, ())
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))
