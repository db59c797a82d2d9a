"""IMP, iterative magnitude pruning: train dense, then prune and retrain in cycles (Han et al. 2015; paper, Section 2.1).

The cycles are the budget's phases. The pruning between them and the masks that hold while retraining are in ``bimp_exp.run`` and
``bimp_exp.training``, because they are the same for every method with fixed masks. With ``budget=bimp`` it is BIMP (paper,
Section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.method.base import Method, Prunes


@dataclass(frozen=True, kw_only=True)
class IMP(Method):
    """Nothing to do while training."""

    prunes: ClassVar[Prunes] = "between phases"
