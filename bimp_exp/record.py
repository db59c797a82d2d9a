"""The files that a run leaves; they are the truth, and MLflow is their mirror.

config.yaml and run.json when it starts, metrics.jsonl while it goes on, plots and model.pt at its end, result.json last of
all: where it lies, everything else is whole. failed.json instead where the run failed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bimp_exp import files

if TYPE_CHECKING:
    from torch import Tensor


class Tracking(Protocol):
    """A mirror of what is on disk: one option of ``conf/tracking/``. No call ever raises."""

    def sync(self, run_dir: Path) -> None:
        """Mirror one run."""
        ...

    def sync_sweep(self, sweep_dir: Path, *, over: bool) -> None:
        """Mirror what belongs to a whole sweep; ``over``: no run of it will start any more."""
        ...


@dataclass(frozen=True, kw_only=True)
class Record:
    """Writes into ``folder`` and lets ``tracking`` mirror it."""

    folder: Path
    tracking: Tracking

    def point(self, step: int, phase: str, **values: float | None) -> None:
        """One line of metrics.jsonl: ``values`` after ``step`` optimiser steps in all; None is left out."""
        known = {name: value for name, value in values.items() if value is not None}
        files.append_line(self.folder / "metrics.jsonl", {"step": step, "phase": phase, **known})

    def sync(self) -> None:
        """Bring the mirror up to date."""
        self.tracking.sync(self.folder)

    def save(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Write the network as a plain state_dict on the CPU; what a reader of the file gets."""
        import torch

        buffer = io.BytesIO()
        torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, buffer)
        files.write(self.folder / "model.pt", buffer.getvalue())
        read: dict[str, Tensor] = torch.load(self.folder / "model.pt", weights_only=True)
        return read

    def finish(self, result: dict[str, Any]) -> None:
        """The plots and, last of all, the result."""
        from bimp_exp.report.run_plots import save_plots

        save_plots(self.folder, result)
        files.write_json(self.folder / "result.json", result)
        self.sync()

    def fail(self, error: BaseException) -> None:
        """Say in one line why there is no result."""
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if interrupted else " ".join(str(error).split()) or type(error).__name__
        files.write_json(self.folder / "failed.json", {"kind": type(error).__name__, "error": reason})
        self.sync()
