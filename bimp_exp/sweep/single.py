"""One run: from its configuration to the files that it leaves. Imports no PyTorch before a run really starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bimp_exp.config.build import build
from bimp_exp.errors import BusyError

if TYPE_CHECKING:
    from bimp_exp.run.experiment import Experiment
    from bimp_exp.run.process import Process


def experiment(config: dict[str, Any], process: Process) -> Experiment:
    """The experiment of a resolved configuration; UserError where it cannot be run here. Imports PyTorch."""
    made: Experiment = build(config)
    made.check()
    process.check_data(made.dataset)
    return made


def run(
    config: dict[str, Any],
    folder: Path,
    identity: dict[str, Any],
    console: Console,
    process: Process,
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
    made = experiment(config, process)

    from bimp_exp.results import provenance
    from bimp_exp.results.reader import read_run
    from bimp_exp.results.writer import RunWriter, claim
    from bimp_exp.run.execute import execute
    from bimp_exp.run.log import Log
    from bimp_exp.run.progress import Display
    from bimp_exp.run.state import make_env

    with claim(folder, config):
        if not only_if():
            return None
        result = read_run(folder).result
        if result is None:
            writer = RunWriter(folder=folder, tracking=process.tracker(made.tracking))
            env = make_env(made, config, process)
            facts = provenance.collect(config, command) | {"computed_on": env.computed_on}
            about = {
                "choices": identity["choices"],
                "metric": env.task.metric.name,
                "items": made.dataset.items,
                **identity,
            }
            if (signature := env.task.metric.signature) is not None:
                about["metric_signature"] = signature
            if made.dataset.found:
                about["data"] = made.dataset.found
            writer.begin(about | {"provenance": facts})
            log = Log(writer=writer, display=Display(console, env.plan, identity["name"]))
            try:
                phases = made.store.open(folder)
                result = execute(env, phases, log, wait=wait, most_phases=1 if first_phase_only else None)
                if result is not None:
                    from bimp_exp.report.predictions import save_predictions  # Matplotlib would delay the first step
                    from bimp_exp.report.run_plots import save_plots

                    save_plots(folder, result)
                    save_predictions(folder)
                    writer.finish(result)
            except BaseException as error:
                log.display.close()
                if isinstance(error, BusyError):
                    writer.undo_start()
                else:
                    writer.fail(error)
                raise
            log.display.close()
            if result is None:
                writer.undo_start()
    if result is None:
        return None
    from bimp_exp.report.summary import print_run  # pandas would delay the first step

    print_run(folder, console)
    return float(result.final.test)
