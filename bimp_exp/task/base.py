"""Learning tasks: the loss that a network is trained by and the metric that it is judged by.

Only this package, ``dataset/`` and ``model/`` know what a batch holds; the training loop, the prunings and the reports see a
loss, additive statistics and the metric made of them. Additive: the statistics of a pass are the sum of those of its batches,
so that batches, resumed parts and devices add up to the same. Imports no PyTorch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def build(model: Callable[..., nn.Module], **facts: Any) -> nn.Module:
    """The network that ``model`` makes, which is given those ``facts`` of the data that it has parameters for.

    One that takes any keyword, as those of torchvision and timm do, is given ``num_classes``.
    """
    parameters = inspect.signature(model).parameters
    more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = {*parameters, "num_classes"} if more else {*parameters}
    return model(**{name: value for name, value in facts.items() if name in taken})


class Batch(NamedTuple):
    """``size`` items: what the network is given, and what is wanted of it."""

    inputs: Any
    targets: Any
    size: int


class Metric(Protocol):
    """A number in [0, 1], the higher the better, made of statistics that are summed over batches."""

    name: ClassVar[str]

    @property
    def signature(self) -> str | None:
        """What else decides the number, such as the tokenisation of BLEU and its version; None where the name says all."""
        ...

    def new_statistics(self, device: torch.device) -> Tensor:
        """Those of no item."""
        ...

    def add(self, statistics: Tensor, outputs: Any, batch: Batch) -> None:
        """Add those of ``batch`` in place."""
        ...

    def value(self, statistics: Tensor) -> float:
        """The metric of all items whose statistics were added; 0 where they decide nothing."""
        ...

    def details(self, statistics: Tensor) -> dict[str, float | None]:
        """Further numbers of the same statistics, such as the metric of every class; None where one is not defined."""
        ...


class Task(Protocol):
    """A learning task with one data set: its fields are the keys of ``conf/task/`` and the data set's ``facts``."""

    name: ClassVar[str]
    """The option of ``conf/task/``. A network for another task than classification has it as its attribute ``task``."""

    generates: ClassVar[bool]
    """Whether predictions take more than a forward pass: then they are not measured on training batches."""

    shows: ClassVar[bool]
    """Whether ``show`` has something for people to look at."""

    @property
    def metric(self) -> Metric:
        """That a network is judged by."""
        ...

    @property
    def validation_metric(self) -> Metric:
        """That on training and validation items; the same, where no convention has another."""
        ...

    @property
    def training_metric(self) -> Metric:
        """That of the outputs which are trained on: the host does not wait for the device to add to its statistics."""
        ...

    def build(self, model: Callable[..., nn.Module]) -> nn.Module:
        """The network that ``model`` makes for this data."""
        ...

    def example(self, num: int, *, like: Tensor | None = None) -> Any:
        """Inputs of ``num`` items that are all 0, of the device and type of ``like``: for checks and to count multiply-adds."""
        ...

    def loss(self, outputs: Any, batch: Batch) -> tuple[Tensor, int | Tensor]:
        """The mean over the valid targets of ``batch``, in fp32, and how many are valid; what training minimises."""
        ...

    def loss_sum(self, outputs: Any, batch: Batch) -> tuple[Tensor, int | Tensor]:
        """The sum over the valid targets without label smoothing or auxiliary terms, and how many there are."""
        ...

    def logits(self, outputs: Any) -> Tensor:
        """The part of ``outputs`` that predictions are made from."""
        ...

    def predict(self, model: nn.Module, batch: Batch, outputs: Any) -> Any:
        """What ``metric`` judges: ``outputs``, those of ``model`` for ``batch``, or what the model generates."""
        ...

    def show(self, batch: Batch, predicted: Any) -> list[Any]:
        """Each item with what was ``predicted`` of it, by name: tensors or texts."""
        ...
