"""Checks a composed configuration against the type hints of what it configures, without importing any of it.

``_target_`` names a class or function; its parameters, read from the source, are the only legal keys, and their hints
(``bimp_exp.types``) the only legal values. So a method is one file and one yaml, with no third place for its schema, and
a typing mistake is answered in well under a second, before PyTorch is loaded. A hint that ``bimp_exp.types`` does not
know is left to the class itself.
"""

from __future__ import annotations

import ast
import types
import typing
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

import bimp_exp.types
from bimp_exp.config.signatures import foreign, required, signature
from bimp_exp.errors import ConfigError

RUN = "bimp_exp.run.experiment.Experiment"  # its fields are the keys of conf/config.yaml
INSTRUCTIONS = {"_target_", "_partial_", "_convert_", "_recursive_"}  # to hydra.utils.instantiate, not parameters
SUPPLIED = {  # parameters that a run gives to the option of a group
    "model": ("image_shape", "num_classes", "vocab_size"),
    "task": ("image_shape", "num_classes", "class_names", "tokenizer", "max_length"),
}
REQUESTS = ("plan", "sweep", "recipe")  # keys of conf/config.yaml that are not of the run itself
ABOUT_SWEEPS = (
    "recipe",
    "paper",
    "scale",
)  # for options, the report and the sweeper, which have taken from them what they need


def check(values: Mapping[str, Any]) -> None:
    """Raise ConfigError unless every key of the whole configuration is known and every value legal."""
    _check_node(values, RUN, "")


def check_part(values: Any, group: str) -> None:
    """The same for the option of one config group."""
    if not (isinstance(values, Mapping) and "_target_" in values):
        raise ConfigError(f"{group}={plain(values)} must be one of its group's options: see conf/{group}")
    _check_node(values, values["_target_"], group)


def _check_node(values: Mapping[str, Any], target: Any, path: str) -> None:
    if not isinstance(target, str):
        raise ConfigError(f"{_join(path, '_target_')}={plain(target)} must be a dotted name, package.module.Name")
    supplied = SUPPLIED.get(path, ())
    found = signature(target)
    hints = {name: hint for name, hint in found.hints.items() if name not in supplied}
    if values.get("_partial_", False) != bool(supplied):
        raise ConfigError(f"{_join(path, '_partial_')}: leave it out, bimp_exp sets it where it belongs")
    for name in sorted(values.keys() - hints.keys() - INSTRUCTIONS):
        if name in supplied:
            raise ConfigError(f"{_join(path, name)}: leave it out, the data set gives it to the {path}")
        if not found.more:
            said = no_such_key(_join(path, name), [*hints, *(() if path else REQUESTS)])
            raise ConfigError(said + (f", the parameters of {target}" if foreign(target) else ""))
    for name in sorted(required(target) - values.keys() - {*supplied}):
        raise ConfigError(_missing(_join(path, name), target, hints[name]))
    for name, value in values.items():
        key = _join(path, name)
        if isinstance(value, Mapping) and "_target_" in value:
            _check_node(value, value["_target_"], key)
        elif name in hints:
            _check_value(key, value, hints[name])


def no_such_key(key: str, legal: Collection[str]) -> str:
    """What is said of a ``key`` that is none of ``legal``, the names in its place."""
    place, _, name = key.rpartition(".")
    close = get_close_matches(name, legal, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    where = f" for {place}" if place else ""
    keys = f"the keys{where} are {', '.join(sorted(legal))}" if legal else f"there are no keys{where}"
    return f"no such key: {key}{hint}; {keys}"


def _missing(key: str, target: str, hint: str) -> str:
    kind = _kind(hint)
    if "." not in key and kind is None:
        return f"{key} is missing: it must be one of its group's options, see conf/{key}"
    legal = "" if kind is None else f": it must be {describe(kind)}"
    return f"{key} is missing{legal}" + (
        f"; {target} has no default for it, ++{key}=VALUE adds it" if foreign(target) else ""
    )


def _check_value(key: str, value: Any, hint: str) -> None:
    kind = _kind(hint)
    if kind is None:
        if "." not in key:  # a part of the experiment, but not a mapping with a _target_
            raise ConfigError(f"{key}={plain(value)} must be one of its group's options: see conf/{key}")
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
        return _type(ast.parse(hint, mode="eval").body)
    except (SyntaxError, LookupError):
        return None


def _type(node: ast.expr) -> Any:
    """The type that an expression of a hint stands for; it is read, never evaluated. LookupError where it is not known."""
    match node:
        case ast.Constant(value=None):
            return None.__class__
        case ast.Constant(value=str(text)):
            return _type(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) if name in PLAIN:
            return PLAIN[name]
        case ast.Name(id=name) if name in bimp_exp.types.__all__:
            return getattr(bimp_exp.types, name)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[_type(left), _type(right)]  # noqa: UP007  # values, not an annotation
        case ast.Subscript(value=ast.Name(id="list"), slice=entry):
            return list[_type(entry)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=entries):
            values = entries.elts if isinstance(entries, ast.Tuple) else [entries]
            return typing.Literal[tuple(ast.literal_eval(value) for value in values)]
    raise LookupError(ast.unparse(node))


PLAIN = {"bool": bool, "int": int, "float": float, "str": str}


def plain(value: Any) -> str:
    """A value as it is written on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def describe(kind: Any) -> str:
    """The values that a type accepts, in words."""
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
