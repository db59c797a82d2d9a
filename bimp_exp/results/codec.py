"""Dataclasses to and from JSON, without loss: what is read and written again has the same bytes.

Fields are written in their order. One whose default is None is left out where it is None: files of older versions lack it,
too. Numbers stay int or float as they are; JSON has no infinity, so that becomes "inf".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Self

from pydantic import TypeAdapter


class Json:
    """Base of the dataclasses that are written and read."""

    def to_json(self) -> dict[str, Any]:
        """As nested dicts and lists."""
        encoded: dict[str, Any] = _encode(self)
        return encoded

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``; keys that are not known are ignored. ValueError names the key that is wrong."""
        decoded: Self = _adapter(cls).validate_python(values)  # type: ignore[arg-type]  # a class is hashable
        return decoded


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        values = ((f, getattr(value, f.name)) for f in fields(value))
        return {f.name: _encode(v) for f, v in values if v is not None or f.default is not None}
    if isinstance(value, Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(entry) for entry in value]
    return "inf" if value == math.inf else value
