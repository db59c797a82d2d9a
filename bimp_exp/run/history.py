"""What a run has come to so far, without its tensors: numbers and text that a checkpoint carries as they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from bimp_exp.schedule.base import PruneReport


@dataclass(kw_only=True)
class History:
    """Figures of the ``phases`` that are over, the report of each pruning, the lines of metrics.jsonl, counts.

    ``candidates`` are the networks that the run may end with.
    """

    phases: list[dict[str, Any]] = field(default_factory=list)
    reports: list[PruneReport] = field(default_factory=list)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)
    images_evaluated: Counter[str] = field(default_factory=Counter)
    extra_passes: Counter[str] = field(default_factory=Counter)

    def dump(self) -> dict[str, Any]:
        """As dicts and lists."""
        return {key: dict(value) if isinstance(value, Counter) else value for key, value in vars(self).items()} | {
            "reports": [asdict(report) for report in self.reports]
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Become what ``dump`` gave; the counters stay the same objects."""
        for key, value in dumped.items():
            mine = getattr(self, key)
            mine.clear()
            if isinstance(mine, Counter):
                mine.update(value)
            else:
                mine += [PruneReport(**report) for report in value] if key == "reports" else value
