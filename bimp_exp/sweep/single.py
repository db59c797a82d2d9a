"""One run: from its configuration to the files that it leaves. Imports no PyTorch before a run really starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bimp_exp.errors import BusyError

if TYPE_CHECKING:
    from bimp_exp.run.experiment import Experiment


def experiment(config: dict[str, Any]) -> Experiment:
    """The experiment of a resolved configuration; UserError where it cannot be run here. Imports PyTorch."""
    from hydra.utils import instantiate

    made: Experiment = instantiate(config, _convert_="all")
    made.check()
    _check_data(json.dumps(config["dataset"]))
    return made


@cache
def _check_data(dataset: str) -> None:
    """Cached, since the runs of a sweep have most of their data in common."""
    from hydra.utils import instantiate

    instantiate(json.loads(dataset), _convert_="all").source()


def run(
    config: dict[str, Any],
    folder: Path,
    identity: dict[str, Any],
    console: Console,
    *,
    command: str,
    wait: bool = True,
    first_phase_only: bool = False,
    only_if: Callable[[], bool] = lambda: True,
) -> float | None:
    """Do what is left of the run that ``config`` describes, in ``folder``; the final test metric, if it comes to an end.

    BusyError where another process is at it or, unless ``wait``, at the phase that comes next.

    command: repeats the run, for run.json.
    only_if: asked once the run is ours, since another process may have ended it while we prepared.
    """
    made = experiment(config)

    from bimp_exp.results import provenance
    from bimp_exp.results.reader import read_run
    from bimp_exp.results.writer import Record, claim
    from bimp_exp.run import execute as execution
    from bimp_exp.run.progress import Display

    with claim(folder, config):
        if not only_if():
            return None
        result = read_run(folder).result
        if result is None:
            record = Record(folder=folder, tracking=made.tracking)
            facts = made.runtime.facts(made.runtime.start())
            record.begin(identity | {"provenance": provenance.collect(config, command) | {"computed_on": facts}})
            display = Display(console, made.plan(), identity["name"])
            try:
                result = execution.run(
                    made, config, record, display, wait=wait, most_phases=1 if first_phase_only else None
                )
            except BaseException as error:
                display.close()
                if isinstance(error, BusyError):
                    record.step_back()
                else:
                    record.fail(error)
                raise
            display.close()
            if result is None:
                record.step_back()
    if result is None:
        return None
    from bimp_exp.report.summary import print_run  # pandas would delay the first step

    print_run(folder, console)
    return float(result["final"]["test"])
