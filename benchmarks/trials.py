"""trials: what a trial costs beside training and evaluating, in a warm worker, and how soon a run takes its first step.

A sweep of small runs on the whole data set's files goes through ``bimp_exp.sweep.worker`` in one process. From one result to
the next is a trial; less the seconds that it trained and evaluated by its own account, the rest is overhead.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ours import ROOT, Settings, made_up_cifar
from benchmarks.rounds import Clock, Company, Round, Row, Skipped, attempt, row
from bimp_exp.results.reader import read_phases
from bimp_exp.sweep import cells as sweep

BAR = 2.0  # seconds, of a trial after the first and of a start
TWO_PHASES = ("budget=bimp", "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1")
SMALL = (*TWO_PHASES, "model=resnet20", "model.depth=8", "dataset.subset=256")
NUM_TEST = 100  # images, in the files made up for the sweep


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """Seconds of overhead, and from the end of the imports to the end of the first step."""
    starts = clock.part(3)
    return [*attempt(lambda: _starts(settings, starts)), *attempt(lambda: _overhead(settings, clock))]


def _overhead(settings: Settings, clock: Clock) -> list[Row]:
    with TemporaryDirectory(dir=settings.folder) as name:
        folder = Path(name)
        counts = made_up_cifar(folder / "root", settings.num_train, NUM_TEST)
        small = replace(settings, root=f"{folder}/root", overrides=(*settings.overrides, *counts))
        cells = sweep.cells([[*SMALL, f"seed={i}"] for i in range(settings.rounds + 1)])
        sweep.write(folder, cells, [small.compose(*cell.overrides) for cell in cells], None)
        company = Company()
        with suppress(subprocess.TimeoutExpired):  # then those count that were done
            command = [sys.executable, "-m", "bimp_exp.sweep.worker", name]
            subprocess.run(command, cwd=ROOT, capture_output=True, timeout=max(clock.left(), 1))
        together = [Round(rates={}, company=company.cores())]
        done = sorted(map(_came_to, folder.glob("*/result.json")))
        failed = [json.loads(path.read_text())["error"] for path in folder.glob("*/failed.json")]
    if len(done) < 2:
        why = f"; {len(failed)} failed: {failed[0]}" if failed else ""
        raise Skipped(f"of a sweep's {len(cells)} small runs {len(done)} came to an end in the time{why}")
    spare = [end - before - busy for (before, _), (end, busy) in pairwise(done)]
    return [
        row("a trial after the first, less training and evaluating", "s", spare, BAR, at_most=True, rounds=together)
    ]


def _came_to(result: Path) -> tuple[float, float]:
    """When it was written, and the seconds that its run trained and evaluated."""
    return result.stat().st_mtime_ns / 1e9, sum(phase.seconds for phase in read_phases(result.parent))


def _starts(settings: Settings, clock: Clock) -> list[Row]:
    values: list[float] = []
    rounds: list[Round] = []
    config = json.dumps(settings.compose(f"model={settings.models[0]}", *TWO_PHASES).config)
    while not values or (len(values) < settings.rounds and clock.left() > 0):
        company = Company()
        values.append(_start(config))
        rounds.append(Round(rates={}, company=company.cores()))
    what = f"{settings.models[0]}: from the end of the imports to the end of the first step"
    return [row(what, "s", values, BAR, at_most=True, rounds=rounds)]


def _start(config: str) -> float:
    """``first_step`` in a new process."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.trials", config], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"the start of a run failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def first_step(config: dict[str, Any]) -> float:
    """Seconds to the end of the first step of the run, which is then broken off."""
    from rich.console import Console

    from bimp_exp.results import provenance
    from bimp_exp.results.writer import RunWriter
    from bimp_exp.run.execute import execute
    from bimp_exp.run.log import Log
    from bimp_exp.run.process import Process
    from bimp_exp.run.progress import Display
    from bimp_exp.run.state import make_env
    from bimp_exp.sweep import single

    class Watched(Display):
        def step(self, *_: Any) -> None:
            raise KeyboardInterrupt

    start = time.perf_counter()
    with TemporaryDirectory() as folder, Process() as process:
        made = single.experiment(config, process)
        record = RunWriter(folder=Path(folder), tracking=made.tracking)
        record.begin({"provenance": provenance.collect(config, provenance.command_line())})
        try:
            env = make_env(made, config, process)
            display = Watched(Console(quiet=True), env.plan, "first step")
            execute(env, made.store.open(record.folder), Log(writer=record, display=display))
        except KeyboardInterrupt:
            return time.perf_counter() - start
    raise AssertionError("a run without a step")


if __name__ == "__main__":
    print(first_step(json.loads(sys.argv[1])))
