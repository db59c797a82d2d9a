"""From a composed configuration to plain values."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bimp_exp.config.check import SUPPLIED
from bimp_exp.config.messages import first_line
from bimp_exp.errors import ConfigError


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
    for group in SUPPLIED:
        if isinstance(node := values.get(group), dict) and "_target_" in node:
            node.setdefault("_partial_", True)  # a run gives it what is missing
    return {str(key): value for key, value in values.items()}, asks


def without_hydra(config: DictConfig) -> DictConfig:
    """The part of a composed configuration that is ours."""
    ours = config.copy()
    ours._set_flag("struct", False)
    del ours["hydra"]
    return ours
