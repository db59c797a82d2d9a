"""From a command line to a run, and from any mistake to one line.

``launch`` is what run.py and the launchers call for every run. Imports no PyTorch before a run really starts.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from bimp_exp import files, plan, sweep
from bimp_exp.errors import BusyError, ConfigError, UserError
from bimp_exp.explain import explain, first_line

if TYPE_CHECKING:
    from bimp_exp.experiment import Experiment

__all__ = ["experiment", "explain", "launch", "main", "resolve", "run"]


def resolve(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration of a run as plain values; and what else is asked: plan (bool), retry. ConfigError for a wrong key."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from None
    assert isinstance(values, dict)
    asks = {"plan": values.pop("plan", False)}
    if not isinstance(asks["plan"], bool):
        raise ConfigError(f"plan={asks['plan']} must be true or false")
    about = values.pop("sweep", {})
    if not isinstance(about, dict) or about.keys() != {"retry"}:
        raise ConfigError(f"sweep={about}: its only key is sweep.retry, none or failed")
    asks["retry"] = about["retry"]
    if asks["retry"] not in ("none", "failed"):
        raise ConfigError(f"sweep.retry={asks['retry']} must be none or failed")
    return {str(key): value for key, value in values.items()}, asks


def launch(cfg: DictConfig) -> float | None:
    """Do the run that ``cfg`` describes, or print its plan; the final test metric."""
    try:
        return _launch(cfg)
    except (UserError, HydraException) as error:
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            sys.exit(_say(explain(error)))  # an exception would make Hydra add a line of its own
        raise
    finally:
        files.remove_empty(Path(HydraConfig.get().runtime.output_dir))  # Hydra makes it before anything is checked


def _launch(cfg: DictConfig) -> float | None:
    hydra = HydraConfig.get()
    config, asks = resolve(cfg)
    sweep.check_choices(hydra.runtime.choices, config)
    planned = plan.from_config(config)
    console = Console()
    folder = Path(hydra.runtime.output_dir)
    identity = sweep.identity(dict(hydra.runtime.choices), config)
    if asks["plan"]:
        experiment(config)
        from bimp_exp.report.plan_table import show

        show(planned, identity["name"], console)
        return None
    return run(config, folder, identity, console)


def experiment(config: dict[str, Any]) -> Experiment:
    """The experiment of a resolved configuration; UserError where it cannot be run here. Imports PyTorch."""
    from hydra.utils import instantiate

    made: Experiment = instantiate(config, _convert_="all")
    made.check()
    _check_data(json.dumps(config["dataset"]))
    return made


@cache
def _check_data(dataset: str) -> None:
    """Runs have most of their data in common."""
    from hydra.utils import instantiate

    instantiate(json.loads(dataset), _convert_="all").source()


def run(
    config: dict[str, Any],
    folder: Path,
    identity: dict[str, Any],
    console: Console,
    *,
    wait: bool = True,
    first_phase_only: bool = False,
    only_if: Callable[[], bool] = lambda: True,
) -> float | None:
    """Do what is left of the run that ``config`` describes, in ``folder``; the final test metric, if it comes to an end.

    only_if: asked once the run is ours, since another process may have ended it while we prepared. BusyError where another
    process is at it or, unless we ``wait``, at the phase that comes next.
    """
    made = experiment(config)

    from bimp_exp import execution, provenance
    from bimp_exp.progress import Display
    from bimp_exp.record import Record, claim
    from bimp_exp.report.disk import read_run

    with claim(folder, config):
        if not only_if():
            return None
        result = read_run(folder).result
        if result is None:
            record = Record(folder=folder, tracking=made.tracking)
            facts = made.runtime.facts(made.runtime.start())
            record.begin(identity | {"provenance": provenance.collect(config) | {"computed_on": facts}})
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


def main(task: Callable[[], Any], *, of_hydra: bool = False) -> None:
    """Call ``task``; an error that a user can cause becomes one line and exit status 2.

    HYDRA_FULL_ERROR=1 shows the traceback of every error. of_hydra: ``task`` reads the options that Hydra has.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    full = before == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises here instead of printing and exiting itself
    try:
        if of_hydra:
            _check_options()
        task()
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", 130))
    except Exception as error:
        if full or not (isinstance(error, USER_CAUSED) or _is_from_hydra(error)):
            raise
        sys.exit(_say(explain(error)))
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _check_options() -> None:
    """Hydra's parser would answer a wrong option with a page of usage."""

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; python run.py --help lists the options, and a key has no dashes: KEY=VALUE")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    left = parser.parse_known_args()[1]
    if any(text.startswith("-") for text in left):
        refuse(f"there is no option {' '.join(left)}")
    if left:
        raise ConfigError(f"{' '.join(left)}: keys stand together, before the options or behind them")


USER_CAUSED = (UserError, HydraException, OmegaConfBaseException, OSError)


def _is_from_hydra(error: Exception) -> bool:
    """Whether Hydra refused the command line before any code of ours ran."""
    package = Path(__file__).parent
    ours = {package, package.parent / "hydra_plugins"}
    frames = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not any(ours & {*path.parents} and path != Path(__file__) for path in frames)


def _say(line: str, status: int = 2) -> int:
    print(f"error: {line}", file=sys.stderr)
    return status
