"""From a composed configuration to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bimp_exp.config.check import ABOUT_SWEEPS, INSTRUCTIONS, SUPPLIED
from bimp_exp.config.choices import parse
from bimp_exp.config.messages import first_line
from bimp_exp.config.signatures import foreign, signature
from bimp_exp.errors import ConfigError


def _unless(other: Any, value: Any) -> Any:
    """``${unless:${OTHER},VALUE}`` in a yaml: VALUE where the key OTHER, which can say the same in another way, is null."""
    return value if other is None else None


OmegaConf.register_new_resolver("unless", _unless, replace=True)


def resolve(cfg: DictConfig, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration of a run as plain values, and what to do with it: plan (bool), retry, baseline.

    ConfigError for a wrong key.

    overrides: of the command line, which ``cfg`` has already.
    """
    try:
        container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from None
    assert isinstance(container, dict)
    values: dict[str, Any] = {str(key): value for key, value in container.items()}
    for key in ABOUT_SWEEPS:
        values.pop(key, None)
    run_options = {"plan": values.pop("plan", False)}
    if not isinstance(run_options["plan"], bool):
        raise ConfigError(f"plan={run_options['plan']} must be true or false")
    sweep = values.pop("sweep", {})
    if not isinstance(sweep, dict) or sweep.keys() != {"retry", "baseline"}:
        raise ConfigError(f"sweep={sweep}: its keys are sweep.retry, none or failed, and sweep.baseline")
    run_options |= sweep
    if run_options["retry"] not in ("none", "failed"):
        raise ConfigError(f"sweep.retry={run_options['retry']} must be none or failed")
    if not isinstance(run_options["baseline"], dict | None):
        raise ConfigError(f"sweep.baseline={run_options['baseline']} must be null or {{KEY: VALUE}} of swept keys")
    given = {override.key_or_group for override in parse(overrides)}
    for group, node in values.items():
        if isinstance(node, dict) and f"{group}._target_" in given:
            values[group] = _without_the_replaced(node, group, given)
    for group in SUPPLIED:
        if isinstance(node := values.get(group), dict) and "_target_" in node:
            node.setdefault("_partial_", True)  # a run gives it what is missing
    return values, run_options


def _without_the_replaced(node: Mapping[str, Any], group: str, given: set[str]) -> dict[str, Any]:
    """``node``, whose class the command line names, without the keys of the option that was there before.

    What the command line gives stays, and what a class of the user's own has from one of ours, such as ``warmup`` of a schedule.
    """
    target = node["_target_"]
    if not isinstance(target, str) or not foreign(target):
        return dict(node)
    kept = {*INSTRUCTIONS, *signature(target).ours}
    kept |= {key.removeprefix(f"{group}.").partition(".")[0] for key in given if key.startswith(f"{group}.")}
    return {key: value for key, value in node.items() if key in kept}


def without_hydra(config: DictConfig) -> DictConfig:
    """The part of a composed configuration that is ours."""
    ours = config.copy()
    ours._set_flag("struct", False)
    del ours["hydra"]
    return ours
