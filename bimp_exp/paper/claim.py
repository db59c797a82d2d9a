"""A claim: a sentence of the paper and the number per seed that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bimp_exp.paper.measures import Measure

ON_PAR = 0.3
"""Points within which our own results count as equal."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper.

    section, sentence: where it stands, and what it says, shortened.
    sources: the tables (t04) and figures (f03) whose runs answer it.
    measured: the number of a seed, in words; of ``measure``.
    says: that its mean over seeds is ``above`` the bound, or ``within`` (-bound, bound).
    """

    name: str
    section: str
    sentence: str
    sources: tuple[str, ...]
    measured: str
    measure: Measure
    says: Literal["above", "within"] = "above"
    bound: float = 0.0
