"""Checks a composed configuration against the type hints of what it configures, without importing any of it.

``_target_`` names a class or function; its parameters, read from the source, are the only legal keys, and their hints
(``bimp_exp.types``) the only legal values. So a method is one file and one yaml, with no third place for its schema, and
a typing mistake is answered in well under a second, before PyTorch is loaded. A hint that ``bimp_exp.types`` does not
know is left to the class itself.
"""

from __future__ import annotations

import ast
import importlib.util
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

import bimp_exp.types
from bimp_exp.errors import ConfigError

RUN = "bimp_exp.run.experiment.Experiment"  # its fields are the keys of conf/config.yaml
INSTRUCTIONS = {"_target_", "_partial_", "_convert_", "_recursive_"}  # to hydra.utils.instantiate, not parameters


SUPPLIED = ("image_shape", "num_classes")  # by bimp_exp.run.experiment, to a model
ASKS = ("plan", "sweep")  # keys of conf/config.yaml that are not of a run


def check(values: Mapping[str, Any]) -> None:
    """Raise ConfigError unless every key of the whole configuration is known and every value legal."""
    _check_node(values, RUN, "")


def _check_node(values: Mapping[str, Any], target: str, path: str) -> None:
    supplied = SUPPLIED if values.get("_partial_", False) else ()
    hints = {name: hint for name, hint in parameters(target).items() if name not in supplied}
    for name in sorted(values.keys() - hints.keys() - INSTRUCTIONS):
        raise ConfigError(no_such_key(_join(path, name), [*hints, *(() if path else ASKS)]))
    for name in sorted(hints.keys() - values.keys()):
        raise ConfigError(f"{_join(path, name)} is missing: it must be {_legal(hints[name])}")
    for name, value in values.items():
        key = _join(path, name)
        if isinstance(value, Mapping) and "_target_" in value:
            _check_node(value, value["_target_"], key)
        elif name not in INSTRUCTIONS:
            _check_value(key, value, hints[name])


def no_such_key(key: str, legal: Collection[str]) -> str:
    """What is said of a ``key`` that is none of ``legal``, the names in its place."""
    place, _, name = key.rpartition(".")
    close = get_close_matches(name, legal, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    where = f" for {place}" if place else ""
    keys = f"the keys{where} are {', '.join(sorted(legal))}" if legal else f"there are no keys{where}"
    return f"no such key: {key}{hint}; {keys}"


def _check_value(key: str, value: Any, hint: str) -> None:
    kind = _kind(hint)
    if kind is None:
        if "." not in key:  # a part of the experiment, but not a mapping with a _target_
            raise ConfigError(f"{key}={plain(value)} must be {_legal(hint)}: see conf/{key}")
        return
    try:
        _adapter(hint).validate_python(value)
    except ValidationError:
        raise ConfigError(f"{key}={plain(value)} must be {describe(kind)}") from None


@cache
def _adapter(hint: str) -> TypeAdapter[Any]:
    return TypeAdapter(_kind(hint), config=ConfigDict(strict=True))


@cache
def _kind(hint: str) -> Any:
    """The type that ``hint`` stands for; None where bimp_exp.types does not know it."""
    try:
        return eval(hint, vars(bimp_exp.types))  # a type expression from source code, not from the user
    except (NameError, SyntaxError):
        return None


def _legal(hint: str) -> str:
    kind = _kind(hint)
    return "one of its group's options" if kind is None else describe(kind)


def plain(value: Any) -> str:
    """A value as it is written on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def describe(kind: Any) -> str:
    """The values a type accepts, in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        words = [note for note in kind.__metadata__ if isinstance(note, str)]
        return words[0] if words else describe(arguments[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(describe(a) for a in arguments)
    if origin is list:
        return f"a list, each entry {describe(arguments[0])}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
    return names.get(kind, str(kind))


@cache
def parameters(target: str) -> Mapping[str, str]:
    """Parameter -> type hint (as written) of the class or function ``package.module.name``."""
    node, module = _definition(target)
    if isinstance(node, ast.FunctionDef):
        return _arguments(node)
    hints: dict[str, str] = {}
    for definition in reversed(list(_ancestry(node, module))):
        own = [s for s in definition.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
        if own:
            hints = _arguments(own[0])
        for statement in definition.body:
            if isinstance(statement, ast.AnnAssign) and not own and not _is_internal(statement):
                hints[ast.unparse(statement.target)] = ast.unparse(statement.annotation)
    return hints


def _is_internal(statement: ast.AnnAssign) -> bool:
    """Whether an annotated name of a dataclass is no parameter: a class variable, or a field with init=False."""
    value = statement.value
    options = value.keywords if isinstance(value, ast.Call) else []
    unset = any(option.arg == "init" and ast.unparse(option.value) == "False" for option in options)
    return unset or ast.unparse(statement.annotation).startswith("ClassVar")


@cache
def constant(target: str, name: str) -> Any:
    """The value of the class constant ``name`` of ``target``, its own or inherited."""
    node, module = _definition(target)
    for definition in _ancestry(node, module):
        for statement in definition.body:
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name and statement.value:
                return ast.literal_eval(statement.value)
    raise ConfigError(f"{target} has no constant {name}")


def _arguments(function: ast.FunctionDef) -> dict[str, str]:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in every if a.arg != "self"}


def _ancestry(node: ast.stmt, module: str) -> Iterator[ast.ClassDef]:
    """The class and its bases, nearest first, as far as their source can be found by name."""
    if not isinstance(node, ast.ClassDef):
        return
    yield node
    for base in node.bases:
        if isinstance(base, ast.Name):
            home = _imports(module).get(base.id, module)
            if (found := _definitions(home).get(base.id)) is not None:
                yield from _ancestry(found, home)


def _definition(target: str) -> tuple[ast.stmt, str]:
    module, _, name = target.rpartition(".")
    definitions = _definitions(module)
    if name not in definitions:
        raise ConfigError(f"_target_: {target} does not exist")
    return definitions[name], module


@lru_cache
def _tree(module: str) -> ast.Module:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(f"_target_: there is no module {module}")
    return ast.parse(Path(spec.origin).read_text())


def _definitions(module: str) -> dict[str, ast.stmt]:
    return {s.name: s for s in _tree(module).body if isinstance(s, ast.ClassDef | ast.FunctionDef)}


def _imports(module: str) -> dict[str, str]:
    found = (s for s in _tree(module).body if isinstance(s, ast.ImportFrom) and s.module and not s.level)
    return {alias.asname or alias.name: s.module or "" for s in found for alias in s.names}
