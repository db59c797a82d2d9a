"""Base of every family of data sets: the numbers that the plan needs, the split, the facts that a task and a network need.

Imports no PyTorch: the planner uses it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count, Fraction, Seed

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.data import Data


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Base of every family; the fields are keys of ``conf/dataset/``.

    subset: use so many of the training items, None for all.
    validation_fraction: share of the used ones that is for validation.
    split_seed: of the permutation that decides which.
    """

    task: ClassVar[str] = "classification"
    """The option of ``conf/task/`` that this data is for."""

    items: ClassVar[str] = "images"
    """What the data set has many of, as messages call it."""

    drops_last: ClassVar[bool] = False
    """Whether an epoch leaves out a last batch that is smaller than the others."""

    subset: Count | None
    validation_fraction: Fraction
    split_seed: Seed

    usual_items: ClassVar[int | None] = None
    """Training items of the files that everybody has, by which a plan goes where ``root`` is null; None: there are none such."""

    @property
    def num_train_items(self) -> int:
        """Training items of the source, before subset and split."""
        raise NotImplementedError

    @property
    def num_used_items(self) -> int:
        """Training items used; ConfigError for a ``subset`` of more than there are."""
        if self.subset is None:
            return self.num_train_items
        if self.subset > self.num_train_items:
            raise ConfigError(f"dataset.subset={self.subset} must be at most {self._most_items}")
        return self.subset

    @property
    def num_fit_items(self) -> int:
        """int((1 - validation_fraction) * n) of the n used; ConfigError where a part is empty."""
        used = self.num_used_items
        fit = int((1 - self.validation_fraction) * used)
        if not 0 < fit < used:
            raise ConfigError(
                f"dataset.validation_fraction={self.validation_fraction} of {used} {self.items} leaves none "
                f"to {'validate on' if fit else 'train on'}"
            )
        return fit

    @property
    def facts(self) -> dict[str, Any]:
        """What the task needs to know of the data, by the names of its parameters."""
        raise NotImplementedError

    @property
    def found(self) -> dict[str, Any]:
        """What was read from the data since the configuration leaves it open, by name; a run records it."""
        return {}

    def check(self) -> None:
        """Raise ConfigError for values that do not fit together; reads no data."""
        _ = self.num_fit_items

    def check_files(self) -> None:
        """Raise ConfigError or DataError where the files cannot be found; opens none of them."""

    def source(self) -> object:
        """The items, or a list of their files; DataError where they are not as configured."""
        raise NotImplementedError

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> Data:
        """Read, verify and split; DataError where the files or their content are not as configured.

        The split is ``torch.utils.data.random_split``'s with a generator of ``split_seed``; a ``subset`` is the first items of
        the same permutation.

        device: where batches will be.
        augment_validation: as the published code has it (docs/method.md, Data).
        memory_format: of the images in a batch, None for contiguous.
        """
        raise NotImplementedError

    @property
    def _most_items(self) -> str:
        """What ``subset`` is at most, as an error says it."""
        return f"{self.num_train_items}, the {self.items} to train and validate on"

    def _used(self) -> torch.Tensor:
        """Indices of the training items used, int64: first those to train on, then those to validate on."""
        import torch

        order = torch.randperm(self.num_train_items, generator=torch.Generator().manual_seed(self.split_seed))
        return order[: self.subset]

    def _fingerprint(self, identity: str) -> str:
        facts = [identity, self.subset, self.validation_fraction, self.split_seed]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
