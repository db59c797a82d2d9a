"""The types of config values: what each accepts, and the words in which an error says so.

A parameter of anything in ``conf/`` carries one of these hints. ``bimp_exp.config.check`` reads them from the source without
importing it, so that a wrong value is refused before PyTorch is loaded. Imports no PyTorch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import FiniteFloat

__all__ = ["Count", "Finite", "Fraction", "Literal", "Natural", "NonNegative", "Positive", "Seed", "Share", "Sparsity"]

Natural = Annotated[int, Ge(0), "a whole number of at least 0"]
Count = Annotated[int, Ge(1), "a whole number of at least 1"]
Seed = Annotated[int, Ge(0), Lt(2**63), "a whole number from 0 to 2^63 - 1"]
Finite = Annotated[FiniteFloat, Ge(-1e38), Le(1e38), "a number from -1e38 to 1e38"]  # fp32 holds 3.4e38
NonNegative = Annotated[FiniteFloat, Ge(0), Le(1e38), "a number of at least 0, at most 1e38"]
Positive = Annotated[FiniteFloat, Gt(0), Le(1e38), "a number greater than 0, at most 1e38"]
Fraction = Annotated[FiniteFloat, Gt(0), Lt(1), "a number in (0, 1)"]
Share = Annotated[FiniteFloat, Ge(0), Le(1), "a number in [0, 1]"]
Sparsity = Annotated[FiniteFloat, Ge(0), Lt(1), "a number in [0, 1)"]
