"""``bimp-exp run ARGS ...``, the same as ``python run.py ARGS ...``: Hydra composes a configuration, which is then carried out.

Hydra's internals that are used here are those of 1.3, to which pyproject.toml pins it. Imports no PyTorch before a run starts.
"""

from __future__ import annotations

import os
import traceback
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from bimp_exp import files
from bimp_exp.config import choices, naming
from bimp_exp.config.messages import explain
from bimp_exp.config.resolve import resolve
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.paths import CONF, PACKAGE, SWEEPS, search_folder
from bimp_exp.results import provenance
from bimp_exp.results.cells import check_baseline
from bimp_exp.run import plan
from bimp_exp.run.plan_text import without_data
from bimp_exp.run.process import Process
from bimp_exp.sweep import cells, launcher, single


class _Carried(BaseException):
    """Takes an error of a run through Hydra, which would print a line of its own about every Exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def run(arguments: Sequence[str]) -> None:
    """Carry out a command line of Hydra's: overrides and options."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # else idle threads spin on, and two runs on the same cores crawl
    add_sweeps()
    launcher.register_aliases()
    options = _parse(arguments)
    _search_beside(options)
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises instead of printing and exiting itself
    version.setbase("1.3")
    try:
        _run_hydra(options, get_args_parser(), launch, config_path=str(CONF), config_name="config")
    except _Carried as carried:
        raise carried.error from carried.error.__cause__
    except UserError:
        raise
    except Exception as error:
        if _is_from_hydra(error):
            raise ConfigError(explain(error)) from error
        raise
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def add_sweeps() -> None:
    """Let ``+sweeps=NAME`` choose sweeps/NAME.yaml."""
    for file in sorted(SWEEPS.glob("*.yaml")):
        ConfigStore.instance().store(
            group="sweeps", name=file.stem, package="_global_", provider=str(file), node=OmegaConf.load(file)
        )


def launch(cfg: DictConfig) -> float | None:
    """Do the run that ``cfg`` describes, or print its plan; the final test metric. Hydra and its launchers call this."""
    try:
        return _launch(cfg)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        raise _Carried(error) from error
    finally:
        files.remove_empty(Path(HydraConfig.get().runtime.output_dir))  # Hydra makes it before anything is checked


def _launch(cfg: DictConfig) -> float | None:
    hydra = HydraConfig.get()
    launcher.check_single_run(hydra)
    if "scale" in cfg:
        raise ConfigError(f"+scale={hydra.runtime.choices['scale']} is for sweeps, add -m or +sweeps=NAME")
    config, run_options = resolve(cfg, hydra.overrides.task)
    choices.check(hydra.runtime.choices, config)
    check_baseline(run_options["baseline"] or {}, [])  # one run is no sweep
    planned = plan.from_config(config)
    console = Console()
    folder = Path(hydra.runtime.output_dir)
    identity = cells.identity(naming.options(hydra.runtime.choices, config, naming.folders(hydra.runtime)), config)
    with Process() as process:
        if run_options["plan"]:
            from bimp_exp.cli.plan_table import show

            if not plan.has_no_data(config):
                single.experiment(config, process)
            show(planned, identity["name"], console)
            if plan.has_no_data(config):
                console.print(without_data(planned), highlight=False, soft_wrap=True)
            return None
        return single.run(config, folder, identity, console, process, command=provenance.command_line())


def _parse(arguments: Sequence[str]) -> Namespace:
    """Options and overrides; Hydra's parser would answer a wrong option with a page of usage."""

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists the options, and a key has no dashes: KEY=VALUE")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    options, left = parser.parse_known_args(arguments)
    if any(text.startswith("-") for text in left):
        refuse(f"there is no option {' '.join(left)}")
    if left:
        raise ConfigError(f"{' '.join(left)}: keys stand together, before the options or behind them")
    if options.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun executes a pickled file; give the run's command again instead")
    if options.config_path is not None and "://" not in options.config_path:
        options.config_path = str(CONF.parent / options.config_path)
    return options


def _search_beside(options: Namespace) -> None:
    """Let modules be imported that lie beside a folder of the user's own options: MY/mypackage beside MY/conf."""
    folders = [options.config_dir] if options.config_dir else []
    for override in (each for each in options.overrides if each.startswith("hydra.searchpath=")):
        places = choices.parse([override])[0].value()
        folders += [
            str(place).removeprefix("file://") for place in (places if isinstance(places, list) else [places or ""])
        ]
    for folder in (each for each in folders if each and "://" not in each):
        if not Path(folder).is_dir():
            raise ConfigError(f"{folder}: there is no such folder ({Path(folder).absolute()})")
        search_folder(Path(folder).absolute().parent)


def _is_from_hydra(error: Exception) -> bool:
    """Whether Hydra refused the command line before any other code of ours ran."""
    files_ = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not any(
        (PACKAGE in file.parents and file != Path(__file__)) or file.name.startswith("bimp_exp_") for file in files_
    )
