"""hydra/sweeper=grids: the runs of a multirun are a union of grids.

``hydra.sweeper.params`` holds what all runs share (as with Hydra's basic sweeper), each entry of ``hydra.sweeper.grids`` the
keys of one grid: methods with keys of their own can be compared in one sweep. The runs are the grids one after the other,
each multiplied by ``params`` and by the command line. A key has one source: the command line wins over its grid, and that
over ``params``. A run that an earlier grid holds already is left out. ``+scale=NAME`` makes the runs small (bimp_exp.sweep.scale).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass
class GridsConf:
    """``params`` and every grid: key -> values as on the command line; no grids means one, of ``params`` alone."""

    _target_: str = "hydra_plugins.bimp_exp_grids.GridsSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None
    grids: list[dict[str, Any]] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridsConf, provider="bimp-exp")


class GridsSweeper(BasicSweeper):
    """Hands a union of grids to the launcher as one list of runs."""

    def __init__(
        self,
        *,
        max_batch_size: int | None,
        params: Mapping[str, str] | None,
        grids: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        super().__init__(max_batch_size, dict(params or {}))
        self.grids = grids

    def sweep(self, arguments: list[str]) -> Any:
        """Called by Hydra once, with the command line."""
        from bimp_exp.errors import ConfigError
        from bimp_exp.sweep.cells import sweep_name
        from bimp_exp.sweep.launcher import check_launcher

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        check_launcher(self.launcher, self.config.hydra)
        if self.max_batch_size is not None:
            raise ConfigError("hydra.sweeper.max_batch_size must be null: a grid is checked and run as a whole")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        loader, config = self.hydra_context.config_loader, self.config
        runs = runs_of(
            parser, config, arguments, load=lambda overrides: loader.load_sweep_config(config, overrides),
            params=self.params or {}, grids=self.grids,
        )  # fmt: skip
        named = [o.key_or_group for o in parser.parse_overrides(list(self.config.hydra.overrides.hydra))]
        if "hydra.sweep.dir" not in named:
            with open_dict(self.config):
                self.config.hydra.sweep.dir = (
                    f"{self.config.hydra.sweep.dir}/{sweep_name(parser.parse_overrides(arguments))}"
                )
        return [self.launcher.launch(runs, initial_job_idx=0)]


def runs_of(
    parser: OverridesParser,
    config: DictConfig,
    arguments: list[str],
    *,
    load: Callable[[list[str]], DictConfig],
    params: Mapping[str, str],
    grids: Sequence[Mapping[str, Any]] | None,
) -> list[list[str]]:
    """The overrides of every run of a multirun, at the scale that was asked for.

    config: of the multirun, composed with what of ``arguments``, the command line, is not swept. load: composes a run's.
    """
    from bimp_exp.config.compose import Composer
    from bimp_exp.errors import ConfigError
    from bimp_exp.sweep.scale import Scale

    overrides = parser.parse_overrides(arguments)
    given = {str(o.input_line): o for o in overrides}
    scales = [text for text, override in given.items() if override.key_or_group == "scale"]
    if not scales:
        return expand(parser, params=params, grids=grids, arguments=arguments)
    if "scale" not in config:  # Hydra leaves what is swept to the runs
        raise ConfigError(f"{' '.join(scales)}: a sweep has one scale, which its folder is named by")
    scale = Scale.read(OmegaConf.to_container(config.scale))  # type: ignore[arg-type]
    keys = {override.key_or_group for override in overrides}
    composer = Composer(load)
    fixed = [
        t for t, o in given.items() if not o.is_sweep_override() and o.key_or_group not in ("scale", "budget.epochs")
    ]
    recipe_epochs = composer(fixed).config["budget"]["epochs"]
    others = [text for text in given if text not in scales]
    small: dict[str, list[str]] = {}
    for run in expand(parser, params={}, grids=scale.grids(params, grids, keys), arguments=others):
        made = scale.run(run, composer(run), recipe_epochs, keys)
        small.setdefault(_values(made), made)  # rounded, some are the same
    return list(small.values())


def expand(
    parser: OverridesParser,
    *,
    params: Mapping[str, str],
    grids: Sequence[Mapping[str, Any]] | None,
    arguments: Sequence[str],
) -> list[list[str]]:
    """The overrides of every run, in the order of the grids; ConfigError for a sweep that has no values to list."""
    from bimp_exp.config.check import plain

    runs: list[list[str]] = []
    seen: set[str] = set()
    for grid in [{}] if grids is None else grids:
        shared = {key: values for key, values in params.items() if key not in grid}
        given = [f"{key}={plain(values)}" for key, values in (*grid.items(), *shared.items())]
        sources = {o.get_key_element().lstrip("+"): o for o in parser.parse_overrides([*given, *arguments])}
        for override in sources.values():
            _check_values(override)
        (product,) = BasicSweeper.split_arguments(list(sources.values()), max_batch_size=None)
        new = {i: _values(run) for i, run in enumerate(product)}
        runs += [product[i] for i, values in new.items() if values not in seen]
        seen.update(new.values())
    return runs


def _check_values(override: Override) -> None:
    from bimp_exp.errors import ConfigError

    if override.is_sweep_override() and not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line}: a grid needs values that can be listed, as in 1,2 or range(0,10)")
    if override.is_sweep_override() and not list(override.sweep_iterator()):
        raise ConfigError(f"{override.input_line}: the grid is empty, since this has no values")


def _values(run: list[str]) -> str:
    """The values that a run sets, as text that is the same for 0.1 and 1e-1."""
    from bimp_exp.config.choices import parse

    return repr(sorted((o.get_key_element(), o.value()) for o in parse(run)))
