"""Dense training, no pruning: the reference that the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.method.base import Method


@dataclass(frozen=True, kw_only=True)
class Dense(Method):
    """Every hook as in the base class."""

    selects: ClassVar[bool] = False
