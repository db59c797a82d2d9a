"""Where a dotted name is defined, found by reading source files; nothing is imported.

Importing takes seconds (PyTorch) and runs code that may not be trusted yet.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bimp_exp.errors import ConfigError
from bimp_exp.paths import PACKAGE

MOST_STEPS = 30  # re-exports that are followed; more are a circle
Definable = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A class or function: its syntax tree, the module that defines it, and the class that it is a method of, or None."""

    node: Definable
    module: str
    owner: ast.ClassDef | None


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names that the top level of a module binds.

    defined: classes and functions.
    aliases: name -> the dotted name that it stands for, of imports and of assignments such as ``Net = other.Net``.
    stars: modules of ``from module import *``, the last first.
    """

    defined: Mapping[str, Definable]
    aliases: Mapping[str, str]
    stars: tuple[str, ...]


@cache
def definition(target: str) -> Definition:
    """The class or function that ``package.module.name`` means, through re-exports; ConfigError where there is none to read."""
    if not all(part.isidentifier() for part in target.split(".")) or "." not in target:
        raise ConfigError(f"_target_: {target} must be a dotted name, package.module.Name")
    name = target
    for _ in range(MOST_STEPS):
        found = _follow(name, target)
        if isinstance(found, Definition):
            return found
        name = found
    raise ConfigError(f"_target_: {target} is a re-export of itself")


def _follow(name: str, target: str) -> Definition | str:
    """The definition of ``name``, or the name that it stands for."""
    module, path = find(name)
    if path is None:
        raise ConfigError(f"_target_: {_absent(module, target)}")
    rest = name[len(module) + 1 :].split(".")
    if rest == [""]:
        package, _, last = module.rpartition(".")  # which may bind its module's name to something of that name in it
        meant = _elsewhere(package, [last], target) if package and defines(package, last) else module
        if meant == module:
            raise ConfigError(f"_target_: {target} is a module; name a class or function in it")
        return meant
    names = names_of(module)
    node = names.defined.get(rest[0])
    if node is None:
        return _elsewhere(module, rest, target)
    owner = None
    for part in rest[1:]:
        inner = {s.name: s for s in node.body if isinstance(s, ast.ClassDef | ast.FunctionDef)}
        if not isinstance(node, ast.ClassDef) or part not in inner:
            raise ConfigError(f"_target_: {target} does not exist: {node.name} in {module} defines no {part}")
        owner, node = node, inner[part]
    return Definition(node=node, module=module, owner=owner)


def _elsewhere(module: str, rest: list[str], target: str) -> str:
    """The name that the first of ``rest`` stands for in ``module``, with the others behind it."""
    names = names_of(module)
    if rest[0] in names.aliases:
        return ".".join([names.aliases[rest[0]], *rest[1:]])
    for star in names.stars:
        if defines(star, rest[0]):
            return ".".join([star, *rest])
    unread = [star for star in names.stars if find(star)[1] is None]
    if unread or rest[0] in _assigned(module):
        raise ConfigError(
            f"_target_: {target} has no source to read its parameters from: name a class or function written in Python"
        )
    raise ConfigError(f"_target_: {target} does not exist: {module} defines no {rest[0]}")


def _absent(module: str, target: str) -> str:
    """What is said of a module without a source file."""
    package = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"{target}: there is no module {package}, neither in the current folder nor in PYTHONPATH nor installed"
    if spec.submodule_search_locations is not None and spec.origin is None:
        return f"{target}: there is no module {module}.{target[len(module) + 1 :].partition('.')[0]}"
    return f"{target} has no source to read its parameters from: name a class or function written in Python"


@cache
def defines(module: str, name: str) -> bool:
    """Whether a module that can be read binds ``name``, itself or by an import."""
    if find(module)[1] is None or find(module)[0] != module:
        return False
    names = names_of(module)
    return name in names.defined or name in names.aliases or any(defines(star, name) for star in names.stars)


@cache
def find(name: str) -> tuple[str, Path | None]:
    """The innermost module that the dotted ``name`` names and its source file; None for a namespace and for compiled code."""
    package, *parts = name.split(".")
    path: Path | None
    if package == PACKAGE.name:
        module, path, folders = package, PACKAGE / "__init__.py", [PACKAGE]
    else:
        try:
            spec = importlib.util.find_spec(package)  # of a package without a dot: imports nothing
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return package, None
        origin = Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None
        module, path = package, origin if origin and origin.suffix == ".py" else None
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for part in parts:
        files = (file for folder in folders for file in (folder / part / "__init__.py", folder / f"{part}.py"))
        inner = next((file for file in files if file.is_file()), None)
        if inner is None and not (spaces := [folder / part for folder in folders if (folder / part).is_dir()]):
            break  # it is defined in the module
        module, path = f"{module}.{part}", inner
        folders = ([inner.parent] if inner.name == "__init__.py" else []) if inner else spaces
    return module, path


@cache
def names_of(module: str) -> Names:
    """The names that ``module``, which has a source file, binds."""
    path = find(module)[1]
    assert path is not None
    defined: dict[str, Definable] = {}
    aliases: dict[str, str] = {}
    stars: list[str] = []
    for statement in _statements(_tree(path).body):
        if isinstance(statement, Definable):
            defined[statement.name] = statement
        elif isinstance(statement, ast.Import):
            for name in statement.names:
                first = name.name.partition(".")[0]
                aliases[name.asname or first] = name.name if name.asname else first
        elif isinstance(statement, ast.ImportFrom):
            home = home_of(module, path, statement)
            stars = [home for a in statement.names if a.name == "*"] + stars
            aliases |= {a.asname or a.name: f"{home}.{a.name}" for a in statement.names if a.name != "*"}
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name | ast.Attribute):
            meant = ast.unparse(statement.value)
            aliases |= {
                t.id: f"{module}.{meant}" for t in statement.targets if isinstance(t, ast.Name) and t.id != meant
            }
    return Names(defined=defined, aliases=aliases, stars=tuple(stars))


def dotted(module: str, name: str) -> str | None:
    """The whole name of what ``name``, which may have dots, means in ``module``; None where nothing there binds it."""
    first, _, rest = name.partition(".")
    names = names_of(module)
    if first in names.defined:
        return f"{module}.{name}"
    if first in names.aliases:
        return names.aliases[first] + (f".{rest}" if rest else "")
    return next((f"{star}.{name}" for star in names.stars if defines(star, first)), None)


def _assigned(module: str) -> set[str]:
    """Names of ``module`` that are something else than a class or a function of it."""
    path = find(module)[1]
    assert path is not None
    nodes = (node for statement in _statements(_tree(path).body) for node in ast.walk(statement))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def home_of(module: str, path: Path, statement: ast.ImportFrom) -> str:
    """The module that ``from ... import`` names, in ``module``."""
    if not statement.level:
        return statement.module or ""
    parts = module.split(".")
    above = parts[: len(parts) - statement.level + (path.name == "__init__.py")]
    return ".".join([*above, *([statement.module] if statement.module else [])])


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module's top level, also behind conditions."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for name in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(statement, name, []):
                    yield from _statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise ConfigError(f"_target_: {path} is not Python: line {error.lineno}: {error.msg}") from None
