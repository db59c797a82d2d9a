"""The code that a computation reaches, found by reading source files; nothing is imported.

A phase's key covers what can change its numbers: of this package the modules of ``COUNTED`` that are reached, every reached
module of the user's own, and the version of every installed package that a ``_target_`` or a module of the user's names. Of a
module count the statements and what its imports bind, but not where in its own package an imported name lies (of ours),
type hints, docstrings, comments, layout, and the text of errors and log messages: moving a module of ours or rewording a
message keeps all results.
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
    "dataset", "lr", "method", "model", "optim", "pruning", "runtime", "schedule", "seeds", "selector", "task",
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
VERSIONED = {"timm", "transformers"}  # packages whose networks some modules of ours give
LOGGERS = {"log", "logger", "logging", "warnings"}
MESSAGES = {"debug", "info", "warning", "error", "exception", "critical", "warn"}


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Modules and their files; installed packages and their versions.

    ours: modules of this package that count.
    users: modules that are neither ours, nor of the standard library, nor of an installed package.
    installed: top-level packages that a target or a module of ``users`` names, and those of VERSIONED that one of ours does.
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
    texts = [statements(path.read_text()) for path in found.ours.values()]
    texts += [statements(path.read_text(), user_module=module) for module, path in found.users.items()]
    digests = sorted({hashlib.sha256(text.encode()).hexdigest() for text in texts})
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
            if by_user or package in VERSIONED:
                installed[package] = _version(package)
        elif module not in users:
            users[module] = path
            todo += [(imported, True) for imported in _imports(module, path)]
            todo.append((module.rpartition(".")[0] or module, True))  # Python runs the packages around it, too
    return Reached(ours=ours, users=users, installed=installed)


def statements(source: str, *, user_module: str = "") -> str:
    """The statements of a module as text, without what cannot change a number, and what its imports bind.

    user_module: the module's name where it is the user's own. Then every import counts, since others may import it from here;
        of ours those that the statements use.
    """
    bare = _Bare()
    tree = bare.visit(ast.parse(source))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    package = user_module.partition(".")[0]
    bound = sorted(
        {text for node in bare.imports for name, text in _bindings(node, package) if package or name in used}
    )
    return f"{bound} {ast.dump(tree)}"


def _bindings(node: ast.Import | ast.ImportFrom, package: str) -> list[tuple[str, str]]:
    """The names that an import binds, each with a text that says to what: a user's own package may have any name."""
    if isinstance(node, ast.Import):
        return [(a.asname or a.name.partition(".")[0], f"{_inside(a.name, package)} as {a.asname}") for a in node.names]
    home = "." * node.level + (node.module or "")
    return [(a.asname or a.name, f"{_inside(home, package)} {a.name} as {a.asname or a.name}") for a in node.names]


def _inside(module: str, package: str) -> str:
    """A module's name: of ours nothing, of the user's ``package`` what follows the package's name."""
    first, _, rest = module.partition(".")
    return "" if first == OURS else rest if package and first == package else module


class _Bare(ast.NodeTransformer):
    """Removes hints, docstrings, and the text of errors and log messages; imports are removed to ``imports``."""

    def __init__(self) -> None:
        self.imports: list[ast.Import | ast.ImportFrom] = []

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.append(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports.append(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) or _is_message(node.value) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            return [kept for kept in map(self.visit, node.orelse) if kept is not None]
        return self.generic_visit(node)

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


def _is_message(node: ast.AST) -> bool:
    """Whether it is a call such as ``log.warning(...)``; ``log.append(...)`` is none."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MESSAGES):
        return False
    return isinstance(node.func.value, ast.Name) and node.func.value.id in LOGGERS


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
