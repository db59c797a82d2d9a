"""A sweep at another scale: the same shape on small data, with a small network, in few epochs. Wrong numbers, whole pipeline.

What a scale is stands in conf/scale/NAME.yaml; here is how its rules change the runs of a sweep, whatever the sweep is. What the
command line says stays as it is. Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from hydra.core.override_parser.types import Transformer

from bimp_exp.config import choices
from bimp_exp.config.check import no_such_key, plain
from bimp_exp.config.compose import Composed
from bimp_exp.errors import ConfigError

WHOLE = (
    "budget.epochs",
    "budget.dense_epochs",
    "budget.train_epochs",
    "method.interval",
    "lr.cycle_epochs",
    "schedule.reference_epochs",
)
"""Keys that count epochs and take whole numbers: rounded, at least 1."""

EXACT = ("budget.retrain_epochs", "budget.finetune_epochs", "lr.warmup_epochs")
"""Those that take any number: T_rt/T stays what it is."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The rules of a scale.

    always: keys and values of every run; ``budget.epochs`` is what the T of the sweep's recipe becomes.
    instead: of a group, what stands for each of its options: keys and values, over ``always``. Another option stays.
    lists: of a key, what of a list of values stays, the list as the sweep writes it; null: the grid is left out.
    kept: keys whose other lists stay as they are. Of all others the first and the last value stay.
    """

    always: Mapping[str, Any]
    instead: Mapping[str, Mapping[str, Mapping[str, Any]]]
    lists: Mapping[str, Mapping[str, Any]]
    kept: Sequence[str]

    @staticmethod
    def read(node: Mapping[str, Any]) -> Scale:
        """The scale that ``node``, the content of its file, describes; ConfigError where that is none."""
        legal = [field.name for field in fields(Scale)]
        for key in node:
            if key not in legal:
                raise ConfigError(no_such_key(f"scale.{key}", legal))
        for key in legal:
            kind = Sequence if key == "kept" else Mapping
            if not isinstance(node.get(key), kind) or isinstance(node[key], str):
                raise ConfigError(
                    f"scale.{key}={plain(node.get(key))} must be a {'list' if key == 'kept' else 'mapping'}"
                )
        if not isinstance(epochs := node["always"].get("budget.epochs"), int) or epochs < 1:
            raise ConfigError(f"scale.always: budget.epochs={plain(epochs)} must be a whole number of at least 1")
        return Scale(**node)

    def grids(
        self, params: Mapping[str, Any], grids: Sequence[Mapping[str, Any]] | None, given: Collection[str]
    ) -> list[dict[str, Any]]:
        """The grids of a sweep, ``params`` in each, with fewer values.

        params, grids: as the sweeper has them. given: keys of the command line, which wins over their lists.
        """
        found = []
        for grid in [{}] if grids is None else grids:
            whole = {**grid, **{key: values for key, values in params.items() if key not in grid}}
            fewer = {key: values if key in given else self._fewer(key, plain(values)) for key, values in whole.items()}
            if None not in fewer.values() or None in whole.values():
                found.append(fewer)
        return found

    def _fewer(self, key: str, values: str) -> str | None:
        rules = self.lists.get(key, {})
        if values in rules:
            return None if rules[values] is None else plain(rules[values])
        (override,) = choices.parse([f"{key}={values}"])
        if key in self.kept or not override.is_discrete_sweep():
            return values
        each = [str(value) for value in override.sweep_iterator(transformer=Transformer.encode)]
        return ",".join(dict.fromkeys([each[0], each[-1]])) if each else values

    def run(self, run: Sequence[str], made: Composed, recipe_epochs: int, given: Collection[str]) -> list[str]:
        """The overrides of one run at this scale.

        run, made: its overrides and their configuration at full scale. recipe_epochs: T that the sweep's file says. given: keys of
        the command line, of which none is changed; where T is among them, other keys that count epochs follow it.
        """
        new = dict(self.always)
        for group, options in self.instead.items():
            if group not in given:
                new |= options.get(str(made.choices[group]), {})
        before = dict(_epochs(made.config))
        epochs = before["budget.epochs"] if "budget.epochs" in given else new["budget.epochs"]
        factor = Fraction(epochs) / recipe_epochs
        new |= {key: _times(key, value, factor) for key, value in before.items()}
        new = {key: plain(value) for key, value in new.items() if key not in given}
        old = {override.key_or_group: text for override, text in zip(choices.parse(run), run, strict=True)}
        return [
            *(text for key, text in old.items() if key not in new),
            *(f"{key}={value}" for key, value in new.items()),
        ]


def _epochs(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The keys of ``config`` that count epochs, and how many; 0 and null are the same at every scale."""
    for key in (*WHOLE, *EXACT):
        group, _, name = key.partition(".")
        if value := config.get(group, {}).get(name):
            yield key, value


def _times(key: str, value: float, factor: Fraction) -> float:
    """``factor`` times ``value``, as the key takes it.

    >>> _times("budget.retrain_epochs", 2, Fraction(20, 90)), _times("method.interval", 2, Fraction(20, 90))
    (0.4444444444444444, 1)
    """
    product = Fraction(str(value)) * factor
    if key in WHOLE:
        return max(1, round(product))
    return int(product) if product.denominator == 1 else float(product)
