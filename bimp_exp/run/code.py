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
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bimp_exp import PUBLIC
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
        module, path = _find(name)
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
def _find(name: str) -> tuple[str, Path | None]:
    """The innermost module of ``name`` and its source; None where there is none, as of a namespace or of compiled code."""
    path: Path | None
    package, *parts = name.split(".")
    if package == OURS:
        module, path, folders = OURS, PACKAGE / "__init__.py", [PACKAGE]
    else:
        try:
            spec = importlib.util.find_spec(package)  # of a package that is imported by nothing here: it stays so
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return name, None
        origin = Path(spec.origin) if spec.origin and Path(spec.origin).exists() else None
        module, path, folders = package, origin, [Path(p) for p in spec.submodule_search_locations or ()]
    for part in parts:
        files = (file for folder in folders for file in (folder / part / "__init__.py", folder / f"{part}.py"))
        inner = next((file for file in files if file.is_file()), None)
        if inner is None and not (spaces := [folder / part for folder in folders if (folder / part).is_dir()]):
            break  # what the module defines
        module, path = f"{module}.{part}", inner
        folders = ([inner.parent] if inner.name == "__init__.py" else []) if inner else spaces
    return module, path


@cache
def _imports(module: str, path: Path) -> tuple[str, ...]:
    if path.suffix != ".py":
        return ()
    return tuple(_imported(module, path.name == "__init__.py", ast.parse(path.read_text())))


def _imported(module: str, is_package: bool, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{home}.{alias.name}" for alias in node.names)
            yield home


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, ())
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))
