"""Where a run tells what it measures while it goes on: its files, their mirror, and the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.results.writer import RunWriter
from bimp_exp.run.progress import Display
from bimp_exp.run.state import RunLog


@dataclass(frozen=True, kw_only=True)
class Log:
    """Handed down to whatever measures."""

    writer: RunWriter
    display: Display

    def point(self, results: RunLog, step: int, phase: str, **values: float | None) -> None:
        """One line of metrics.jsonl: ``values`` after ``step`` optimiser steps in all; None is left out."""
        known = {name: value for name, value in values.items() if value is not None}
        results.points.append({"step": step, "phase": phase, **known})
        self.writer.append(results.points[-1])

    def restart(self, results: RunLog) -> None:
        """``results`` were stored: what an earlier attempt wrote after that comes again."""
        self.writer.restart(results.points)
