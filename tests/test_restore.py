"""A toy run that is cut off after any of its checkpoints, of any method, goes on to the same bits.

``tests/test_resume.py`` kills processes with files; here every place is tried, always the same ones.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import ROOT
from tests.test_resume import CutError, timeless
from tests.toy_runs import Forgetful, Nowhere, experiment, run

METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))


class Shelf(Forgetful):
    """A store in memory that ends the run right after its checkpoint number ``cut``."""

    every = 0.0

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.num_left, self.done, self.partial = cut, dict[str, Any](), dict[str, Any]()

    def load(self, key: str) -> Any:
        return copy.deepcopy(self.done.get(key))

    def load_partial(self, key: str) -> Any:
        return copy.deepcopy(self.partial.get(key))

    def save(self, key: str, header: Any, state: dict[str, Any]) -> None:
        self._keep(self.done, key, state)

    def save_partial(self, key: str, header: Any, state: dict[str, Any]) -> None:
        self._keep(self.partial, key, state)

    def _keep(self, kind: dict[str, Any], key: str, state: dict[str, Any]) -> None:
        kind[key] = copy.deepcopy(state)
        self.num_left -= 1
        if self.num_left == 0:
            raise CutError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keep(Nowhere):
    """Keeps the network and the points that a run leaves."""

    network: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    points: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def restart(self, points: list[dict[str, Any]]) -> None:
        self.points[:] = points

    def append(self, point: dict[str, Any]) -> None:
        self.points.append(point)

    def save(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.network.update(super().save(weights))
        return dict(self.network)


def network(image_shape: Any, num_classes: int) -> nn.Module:
    """With dropout and batch-norm: 24 + 48 + 16 prunable weights."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 2, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(6, 8),
        nn.Linear(8, 2),
    )  # fmt: skip


def outcome(method: str, shelf: Shelf) -> tuple[Any, list[Any], dict[str, Tensor], dict[str, Any]]:
    """Result, points and network of a run of two steps an epoch, and the state after its last phase."""
    made = experiment(method, schedule="lrw" if method == "wr" else "allr", store=shelf, model=network)
    made = dataclasses.replace(made, optim=dataclasses.replace(made.optim, batch_size=4))
    writer = Keep()
    result = run(made, writer=writer)
    return timeless(result), timeless(writer.points), writer.network, list(shelf.done.values())[-1]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.mark.parametrize("method", METHODS)
def test_cut_off_anywhere_it_goes_on_to_the_same_bits(method: str) -> None:
    whole = outcome(method, Shelf(0))
    whole[3]["history"] = timeless(whole[3]["history"])
    num_cuts = 0
    while True:
        shelf = Shelf(num_cuts + 1)
        try:
            outcome(method, shelf)
            break  # there are no more checkpoints
        except CutError:
            num_cuts += 1
        rest = outcome(method, shelf)
        rest[3]["history"] = timeless(rest[3]["history"])
        for name, found, wanted in zip(("result", "points", "network", "state"), rest, whole, strict=True):
            assert equal(found, wanted), f"{name}, cut off after checkpoint {num_cuts}"
    assert num_cuts >= 2 * 6 + 1  # two in each of six epochs, and the end of a phase


def test_a_phase_that_was_begun_is_not_begun_again() -> None:
    """Else its pruning would be measured twice, and count twice."""
    whole = outcome("imp", Shelf(0))
    shelf = Shelf(10)  # in the cycle
    with pytest.raises(CutError):
        outcome("imp", shelf)
    assert len(shelf.done) == 1
    assert outcome("imp", shelf)[0]["ledger"] == whole[0]["ledger"]
