"""Options that do not go together, found in the configuration alone. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimp_exp.config import signatures
from bimp_exp.config.defaults import default_options
from bimp_exp.errors import ConfigError


def check(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError where a chosen option has no effect, or where task, data and model do not fit together."""
    _check_method(cfg)
    _check_task(cfg)


def _check_method(cfg: Mapping[str, Any]) -> None:
    """ConfigError where selector or schedule is not the default and the method uses none: a table would say it did."""
    target = cfg["method"]["_target_"]
    prunes, selects = signatures.constant(target, "prunes"), signatures.constant(target, "selects")
    unused = {}
    if prunes != "between phases":
        unused["schedule"] = "prunes while it trains, and FT is its fine-tuning"
    if not selects:
        unused["selector"] = "selects by thresholds of its own"
    for group, why in unused.items():
        chosen, default = _option(cfg, group), default_options()[group]
        if chosen != default:
            raise ConfigError(
                f"method={_option(cfg, 'method')} {'prunes nothing' if prunes == 'never' else why}: "
                f"{group}={chosen} has no effect, leave it at {default}"
            )


def _check_task(cfg: Mapping[str, Any]) -> None:
    """ConfigError where the task is not that of the data, or the model says that it is for another one."""
    wanted, chosen = signatures.constant(cfg["dataset"]["_target_"], "task"), _option(cfg, "task")
    if chosen != wanted:
        raise ConfigError(f"task={chosen}: this dataset is for {wanted}; leave the task out, the dataset chooses it")
    target = cfg["model"]["_target_"]
    made_for = signatures.constant_or_none(target, "task")
    if made_for is None and target.startswith("bimp_exp."):  # one of the user's own is looked at when it has been made
        made_for = "classification"
    if made_for not in (None, wanted):
        raise ConfigError(f"model: {target.rpartition('.')[2]} is for {made_for}, but this dataset is for {wanted}")


def _option(cfg: Mapping[str, Any], group: str) -> str:
    """The name of the option of ``conf/GROUP/`` that was chosen: that of the module it configures."""
    module: str = cfg[group]["_target_"].split(".")[-2]
    return module.removesuffix("_")
