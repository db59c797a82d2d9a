"""From a command line to a run, and from any mistake to one line.

``launch`` is what run.py and the launchers call for every run. Imports no PyTorch before a run really starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from bimp_exp import files, plan, sweep
from bimp_exp.errors import ConfigError, UserError


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The configuration of a run as plain values, without ``plan``; ConfigError where a key is wrong."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from None
    assert isinstance(values, dict)
    wanted = values.pop("plan", False)
    if not isinstance(wanted, bool):
        raise ConfigError(f"plan={wanted} must be true or false")
    return {str(key): value for key, value in values.items()}


def launch(cfg: DictConfig) -> float | None:
    """Do the run that ``cfg`` describes, or print its plan; the final test metric."""
    try:
        return _launch(cfg)
    except UserError as error:
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            sys.exit(_say(explain(error)))  # an exception would make Hydra add a line of its own
        raise
    finally:
        files.remove_empty(Path(HydraConfig.get().runtime.output_dir))  # Hydra makes it before anything is checked


def _launch(cfg: DictConfig) -> float | None:
    config = resolve(cfg)
    planned = plan.from_config(config)
    console = Console()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    identity = sweep.identity(folder, dict(hydra.runtime.choices), config)
    if cfg.plan:
        from bimp_exp.report.plan_table import show

        show(planned, console)
        return None
    return _run(config, folder, identity, console)


def _run(config: dict[str, Any], folder: Path, identity: dict[str, Any], console: Console) -> float:
    from hydra.utils import instantiate

    from bimp_exp import provenance
    from bimp_exp.experiment import Experiment
    from bimp_exp.progress import Display
    from bimp_exp.record import Record

    experiment: Experiment = instantiate(config, _convert_="all")
    experiment.check()
    if (folder / "run.json").exists():
        raise ConfigError(f"{folder} holds a run already: give hydra.run.dir (hydra.sweep.dir) another folder")
    record = Record(folder=folder, tracking=experiment.tracking)
    files.write(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)).encode())
    started = datetime.now(UTC).isoformat(timespec="seconds")
    files.write_json(folder / "run.json", identity | {"started": started, "provenance": provenance.collect(config)})
    display = Display(console, experiment.plan(), identity["name"])
    try:
        result = experiment.run(record, display)
    except BaseException as error:
        display.close()
        record.fail(error)
        raise
    display.close()
    from bimp_exp.report.summary import print_run  # pandas would delay the first step

    print_run(folder, console)
    return float(result["final"]["test"])


def main(task: Callable[[], Any]) -> None:
    """Call ``task``; an error that a user can cause becomes one line and exit status 2.

    HYDRA_FULL_ERROR=1 shows the traceback of every error.
    """
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises here instead of printing and exiting itself
    try:
        task()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full:
            raise
        sys.exit(_say(explain(error)))
    except KeyboardInterrupt:
        sys.exit(130)


def _say(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 2


def explain(error: Exception) -> str:
    """One line for an error of ours, of Hydra's or of OmegaConf's, with the legal values where they are known."""
    cause = error.__cause__
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        close = get_close_matches(option, error.options, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{group}={option}: no such option{hint}; choose one of {', '.join(sorted(error.options))}"
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        return _explain_key(cause)
    return _first_line(error)


def _explain_key(error: OmegaConfBaseException) -> str:
    parent = error.parent_node
    if isinstance(parent, DictConfig):
        keys = sorted(str(key) for key in parent if not str(key).startswith("_"))
        close = get_close_matches(str(error.key), keys, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"no such key: {error.full_key or error.key}{hint}; the keys there are {', '.join(keys)}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
