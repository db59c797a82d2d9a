"""Learning tasks: the loss that a network is trained by and the metric that it is judged by.

Only this package, ``dataset/`` and ``model/`` know what a batch holds; the training loop, the prunings and the reports see a
loss, additive statistics and the metric made of them. Additive: the statistics of a pass are the sum of those of its batches,
so that batches, resumed parts and devices add up to the same. Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Batch(NamedTuple):
    """``size`` items: what the network is given, and what is wanted of it."""

    inputs: Any
    targets: Any
    size: int


class Task(Protocol):
    """A learning task with one data set: the facts that a network and its metric need of the data are its fields."""

    metric: ClassVar[str]
    """Name of the metric, which lies in [0, 1]; the higher the better."""

    def build(self, model: Callable[..., nn.Module]) -> nn.Module:
        """The network that ``model`` makes for this data."""
        ...

    def example(self, num: int, *, like: Tensor | None = None) -> Any:
        """Inputs of ``num`` items that are all 0, of the device and type of ``like``: for checks and to count multiply-adds."""
        ...

    def loss(self, outputs: Any, batch: Batch) -> tuple[Tensor, int | Tensor]:
        """The mean over the valid targets of ``batch``, in fp32, and how many are valid."""
        ...

    def loss_sum(self, outputs: Any, batch: Batch) -> tuple[Tensor, int | Tensor]:
        """The sum over the valid targets, and how many there are; for evaluation."""
        ...

    def new_statistics(self, device: torch.device) -> Tensor:
        """Those of no item."""
        ...

    def add_statistics(self, statistics: Tensor, outputs: Any, batch: Batch) -> None:
        """Add those of ``batch`` in place; the host does not wait for the device."""
        ...

    def value(self, statistics: Tensor) -> float:
        """The metric of all items whose statistics were added."""
        ...
