"""From a command line to a run, and from any mistake to one line.

``launch`` is what run.py and the launchers call for every run. Imports no PyTorch before a run really starts.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from bimp_exp import files
from bimp_exp.config import choices
from bimp_exp.config.messages import explain
from bimp_exp.config.resolve import resolve
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.paths import PACKAGE, ROOT
from bimp_exp.results import provenance
from bimp_exp.run import plan
from bimp_exp.sweep import cells, launcher, single


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
    launcher.check_single_run(hydra)
    config, asks = resolve(cfg)
    choices.check(hydra.runtime.choices, config)
    planned = plan.from_config(config)
    console = Console()
    folder = Path(hydra.runtime.output_dir)
    identity = cells.identity(dict(hydra.runtime.choices), config)
    if asks["plan"]:
        single.experiment(config)
        from bimp_exp.cli.plan_table import show

        show(planned, identity["name"], console)
        return None
    return single.run(config, folder, identity, console, command=provenance.command_line())


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
            launcher.register_aliases()
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
    ours = {PACKAGE, ROOT / "hydra_plugins"}
    frames = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not any(ours & {*path.parents} and path != Path(__file__) for path in frames)


def _say(line: str, status: int = 2) -> int:
    print(f"error: {line}", file=sys.stderr)
    return status
