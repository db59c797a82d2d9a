"""The display of a run while it goes on: one live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from torch import Tensor

    from bimp_exp.run.plan import Plan, PlannedPhase
    from bimp_exp.training.state import EpochMetrics


class Display:
    """Shows phase, epoch, loss, metric, learning rate, items per second and the time left of one run.

    The loss is read from the device at most every ``REFRESH`` seconds, so that showing it costs no training time. Off a
    terminal there is a line at most every ``LINES`` seconds and one at the end of each phase.
    """

    REFRESH = 0.25
    LINES = 5.0

    def __init__(self, console: Console, plan: Plan, name: str) -> None:
        self._console, self._plan, self.name = console, plan, name
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(8), TaskProgressColumn(), TimeRemainingColumn(True)]
            self._bar = Progress(*columns, console=console, transient=True)
            console.print(name, highlight=False, soft_wrap=True)
            self._task = self._bar.add_task("", total=max(plan.num_steps, 1))
            self._bar.start()
        self._seen = self._lined = time.monotonic()
        self._items = 0
        self._rate = 0.0
        self._metric = ""
        self._waiting = False

    def phase(self, planned: PlannedPhase) -> None:
        """A new phase begins."""
        self._phase, self._waiting = planned, False
        self._metric = ""
        self._items, self._seen = 0, time.monotonic()

    def waiting(self, planned: PlannedPhase) -> None:
        """Another process computes the phase; said once."""
        if not self._waiting:
            self._waiting = True
            self.note(f"waits for {planned.phase.name}, which another process computes")

    def note(self, text: str) -> None:
        """A line of its own."""
        self._console.print(f"{self.name}: {text}", highlight=False, markup=False, soft_wrap=True)

    def step(self, done: int, num_items: int, loss: Tensor, rate: float) -> None:
        """After each optimiser step: steps done in this phase, items in it, its loss (on the device), its rate."""
        self._items += num_items
        now = time.monotonic()
        if now - self._seen >= self.REFRESH:
            self._rate = self._items / (now - self._seen)
            self._items, self._seen = 0, now
            self._show(done, f"loss {loss.item():.3f}", rate)

    def epoch(self, done: int, epoch: EpochMetrics, validation: float, rate: float) -> None:
        """After each epoch: steps done in this phase, the metrics of the epoch, the validation metric in [0, 1], the last rate."""
        self._metric = f"train {100 * epoch.metric:.1f} val {100 * validation:.1f} %"
        self._rate = epoch.timed[0] / epoch.timed[1]
        loss = f"loss {sum(epoch.losses) / epoch.num_steps:.3f}"
        now = time.monotonic()
        last = done == self._phase.num_steps
        if self._bar is None and (last or now - self._lined >= self.LINES):
            self._lined = now
            self._console.print(f"{self.name}: {self._line(done, loss, rate)}", highlight=False, soft_wrap=True)
        self._show(done, loss, rate)
        self._items, self._seen = 0, time.monotonic()

    def close(self) -> None:
        """The run is over."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self, done: int, loss: str, rate: float) -> None:
        if self._bar is not None:
            completed = self._phase.first_step + done
            self._bar.update(self._task, completed=completed, description=self._line(done, loss, rate))

    def _line(self, done: int, loss: str, rate: float) -> str:
        epoch = -(-done // self._plan.steps_per_epoch)
        of = math.ceil(self._phase.phase.epochs)
        speed = f"{self._rate:,.0f} {self._plan.items}/s" if self._rate else ""
        parts = [f"{self._phase.phase.name} {epoch}/{of}", loss, self._metric, f"lr {rate:.3g}", speed]
        return " ".join(part for part in parts if part)
