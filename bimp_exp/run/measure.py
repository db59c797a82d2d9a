"""Everything that a run measures of its network: scores on the splits, sparsity, multiply-adds, and what measuring costs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bimp_exp.dataset.data import Data
from bimp_exp.pruning import metrics
from bimp_exp.pruning import weights as prune
from bimp_exp.run.experiment import Experiment
from bimp_exp.seeds import derive
from bimp_exp.training.loop import Score, evaluate

BATCH = 500  # images; has no influence on any result beyond rounding

SplitName = Literal["train", "validation", "test"]


@dataclass(kw_only=True)
class Measure:
    """``seconds`` and ``num_images`` (by split) were spent on evaluating so far."""

    experiment: Experiment
    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    data: Data
    device: torch.device
    seconds: float = 0.0
    num_images: Counter[str] = field(default_factory=Counter)

    def scores(self, validation: Score | None = None, *, recalibrate: bool = False) -> dict[str, float]:
        """Accuracy on the training, validation and test images; ``validation`` where it is known already."""
        train = self.evaluate("train", recalibrate=recalibrate)
        validation = validation or self.evaluate("validation")
        return {"train": train.accuracy, "validation": validation.accuracy, "test": self.evaluate("test").accuracy}

    def evaluate(self, split: SplitName, *, recalibrate: bool = False) -> Score:
        """Score on one split. ``recalibrate``: in train mode on augmented images, as the published code does."""
        x, images = self.experiment, getattr(self.data, split)
        start = time.perf_counter()
        batches = (
            self.data.epoch(seed=derive(x.seed, "recalibrate"), epoch=0, batch_size=x.optim.batch_size)
            if recalibrate
            else self.data.batches(images, BATCH)
        )
        score = evaluate(self.model, batches, runtime=x.runtime, device=self.device, train_mode=recalibrate)
        self.seconds += time.perf_counter() - start
        self.num_images[split] += len(images)
        return score

    def outputs(self, model: nn.Module) -> Tensor:
        """What ``model`` says, in evaluation mode, to the first ``BATCH`` validation images."""
        images, _ = next(self.data.batches(self.data.validation, BATCH))
        model.eval()
        with torch.no_grad(), self.experiment.runtime.autocast(self.device):
            outputs: Tensor = model(images)
        return outputs.float()

    def zeros(self) -> dict[str, Tensor]:
        """Where the effective prunable weights are exactly 0, as bool tensors by name."""
        return {name: weight == 0 for name, weight in prune.effective(self.model, self.weights).items()}

    def facts(self) -> dict[str, Any]:
        """Sparsity, multiply-adds and theoretical speed-up of the network as it is; it must be a plain one."""
        c = self.experiment.conventions
        counts = metrics.layer_counts(self.model, every_weight=c.prune_every_weight)
        layers = metrics.multiply_adds(
            self.model, self.experiment.dataset.image_shape, padding_blind=c.padding_blind_multiply_adds
        )
        dense, sparse, speedup = metrics.theoretical_speedup(
            layers, counts, padding_blind=c.padding_blind_multiply_adds
        )
        return {
            "sparsity": metrics.sparsity(counts),
            "sparsity_all_parameters": metrics.sparsity_all_parameters(self.model),
            "multiply_adds_dense": dense,
            "multiply_adds_sparse": sparse,
            "theoretical_speedup": speedup if math.isfinite(speedup) else "inf",
            "layers": [asdict(count) | {"multiply_adds": layers.get(count.name, 0)} for count in counts],
        }
