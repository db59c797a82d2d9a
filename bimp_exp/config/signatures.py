"""The parameters of classes and functions, read from their source; nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import bimp_exp.types
from bimp_exp.config import sources
from bimp_exp.config.sources import Definition, definition
from bimp_exp.errors import ConfigError
from bimp_exp.paths import PACKAGE

TYPES = "bimp_exp.types"
ROOTS = {"object", "Protocol", "Generic", "ABC"}  # bases without parameters
FIELDS = {"dataclass", "define", "frozen", "mutable"}  # decorators that make parameters of annotated names


@dataclass(frozen=True, kw_only=True)
class Signature:
    """hints: parameter -> type hint as written, "" without one; optional: parameters with a default; more: takes any other.

    ours: parameters that a class of this package declares, be it a base of the user's own.
    """

    hints: Mapping[str, str]
    optional: frozenset[str]
    ours: frozenset[str]
    more: bool = False


@cache
def signature(target: str) -> Signature:
    """The parameters of the class or function ``package.module.name``; ConfigError where they cannot be read."""
    found = definition(target)
    if isinstance(found.node, ast.FunctionDef):
        bound = found.owner is not None and "staticmethod" not in _decorators(found.node)
        return _of_function(found.node, found.module, bound=bound)
    fields: list[tuple[ast.ClassDef, str]] = []
    first = Signature(hints={}, optional=frozenset(), ours=frozenset())
    for node, module in _ancestry(found, whole=True):
        own = next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
        if own is not None:
            first = _of_function(own, module, bound=True)
            break
        if FIELDS & _decorators(node):
            fields.append((node, module))
    hints, optional, ours = dict(first.hints), set(first.optional), set(first.ours)
    for node, module in reversed(fields):
        for statement in _fields(node):
            name = ast.unparse(statement.target)
            hints[name] = _hint(statement.annotation, module)
            (optional.add if _has_default(statement) else optional.discard)(name)
            (ours.add if _is_ours(module) else ours.discard)(name)
    return Signature(hints=hints, optional=frozenset(optional), ours=frozenset(ours), more=first.more)


def parameters(target: str) -> Mapping[str, str]:
    """Parameter -> type hint, as written, of the class or function ``package.module.name``."""
    return signature(target).hints


@cache
def required(target: str) -> frozenset[str]:
    """The parameters that a configuration must give: here all, elsewhere those without a default in Python."""
    found = signature(target)
    return frozenset(found.hints) - (found.optional if foreign(target) else frozenset())


def foreign(target: str) -> bool:
    """Whether the class or function lies outside this package."""
    return not _is_ours(definition(target).module)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE.name


@cache
def constant_or_none(target: str, name: str) -> Any:
    """The value of the class constant ``name`` of ``target``, its own or inherited; None where it has none."""
    for node, _ in _ancestry(definition(target), whole=False):
        for statement in node.body:
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.AnnAssign) and value and ast.unparse(statement.target) == name:
                return ast.literal_eval(value)
            if isinstance(statement, ast.Assign) and [ast.unparse(t) for t in statement.targets] == [name]:
                return ast.literal_eval(statement.value)
    return None


def constant(target: str, name: str) -> Any:
    """The same; ConfigError where it has none."""
    value = constant_or_none(target, name)
    if value is None:
        raise ConfigError(f"{target} has no constant {name}")
    return value


def _ancestry(found: Definition, *, whole: bool) -> Iterator[tuple[ast.ClassDef, str]]:
    """A class and its bases with their modules, nearest first; whole: ConfigError where a base cannot be read."""
    node, module = found.node, found.module
    if not isinstance(node, ast.ClassDef):
        return
    yield node, module
    for base in node.bases:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        if name.rpartition(".")[2] in ROOTS:
            continue
        try:
            if (meant := sources.dotted(module, name)) is None:
                raise ConfigError(f"_target_: {module} does not bind {name}")
            above = definition(meant)
        except ConfigError:
            if whole:
                raise ConfigError(
                    f"_target_: the parameters of {module}.{node.name} cannot be read: there is no source of its base {name}; "
                    "give it an __init__ of its own"
                ) from None
            continue
        yield from _ancestry(above, whole=whole)


def _of_function(function: ast.FunctionDef, module: str, *, bound: bool) -> Signature:
    """bound: the first parameter is the object or class itself."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    with_default = positional[len(positional) - len(given.defaults) :]
    with_default += [a for a, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is not None]
    every = [*positional[bound:], *given.kwonlyargs]
    return Signature(
        hints={a.arg: _hint(a.annotation, module) if a.annotation else "" for a in every},
        optional=frozenset(a.arg for a in with_default),
        ours=frozenset(a.arg for a in every if _is_ours(module)),
        more=given.kwarg is not None,
    )


def _fields(node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    """The annotated names of a dataclass that are parameters: no class variables, no field with init=False."""
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign):
            continue
        kind = ast.unparse(statement.annotation).removeprefix("typing.").removeprefix("dataclasses.")
        unset = _options(statement).get("init") == "False"
        if not (unset or kind.startswith("ClassVar") or kind == "KW_ONLY"):
            yield statement


def _has_default(statement: ast.AnnAssign) -> bool:
    if isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func).rpartition(".")[2] == "field":
        return bool({"default", "default_factory", "factory"} & _options(statement).keys())
    return statement.value is not None


def _options(statement: ast.AnnAssign) -> dict[str, str]:
    given = statement.value.keywords if isinstance(statement.value, ast.Call) else []
    return {option.arg or "": ast.unparse(option.value) for option in given}


def _decorators(node: ast.ClassDef | ast.FunctionDef) -> set[str]:
    called = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in called}


def _hint(annotation: ast.expr, module: str) -> str:
    """A hint as written; "" where a name in it is that of a type of ours but means another one there."""
    hint = ast.unparse(annotation)
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id in bimp_exp.types.__all__ and node.id != "Literal":
            meant = sources.dotted(module, node.id)
            if meant is not None and meant.rpartition(".")[0] != TYPES:
                return ""
    return hint
