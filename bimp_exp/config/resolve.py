"""From a composed configuration to plain values."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bimp_exp.config.check import SUPPLIED
from bimp_exp.config.messages import first_line
from bimp_exp.errors import ConfigError


def resolve(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration of a run as plain values, and what to do with it: plan (bool), retry. ConfigError for a wrong key."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from None
    assert isinstance(values, dict)
    values.pop("recipe", None)  # options have taken from it what they need
    run_options = {"plan": values.pop("plan", False)}
    if not isinstance(run_options["plan"], bool):
        raise ConfigError(f"plan={run_options['plan']} must be true or false")
    sweep = values.pop("sweep", {})
    if not isinstance(sweep, dict) or sweep.keys() != {"retry"}:
        raise ConfigError(f"sweep={sweep}: its only key is sweep.retry, none or failed")
    run_options["retry"] = sweep["retry"]
    if run_options["retry"] not in ("none", "failed"):
        raise ConfigError(f"sweep.retry={run_options['retry']} must be none or failed")
    for group in SUPPLIED:
        if isinstance(node := values.get(group), dict) and "_target_" in node:
            node.setdefault("_partial_", True)  # a run gives it what is missing
    return {str(key): value for key, value in values.items()}, run_options


def without_hydra(config: DictConfig) -> DictConfig:
    """The part of a composed configuration that is ours."""
    ours = config.copy()
    ours._set_flag("struct", False)
    del ours["hydra"]
    return ours
