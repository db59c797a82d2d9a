"""Everything that a run measures of its network, and what measuring costs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from bimp_exp.pruning import metrics
from bimp_exp.pruning.counting import Count, count
from bimp_exp.pruning.weights import effective
from bimp_exp.results.schema import LayerFacts, NetworkFacts, Scores
from bimp_exp.run.state import Env
from bimp_exp.seeds import derive
from bimp_exp.training.evaluation import evaluate
from bimp_exp.training.state import Network, Score

SplitName = Literal["train", "validation", "test"]


@dataclass(kw_only=True)
class Evaluator:
    """seconds: spent on evaluating. num_items: evaluated, by split."""

    env: Env
    net: Network
    num_items: Counter[str]
    seconds: float = field(default=0.0, init=False)

    def scores(self, validation: Score | None = None, *, recalibrate: bool = False) -> Scores:
        """The metric on the training, validation and test items; ``validation`` where it is known already."""
        train = self.evaluate("train", recalibrate=recalibrate)
        validation = validation or self.evaluate("validation")
        test = self.evaluate("test")
        return Scores(
            train=train.metric, validation=validation.metric, test=test.metric, test_details=test.details or None
        )

    def evaluate(self, split: SplitName, *, recalibrate: bool = False) -> Score:
        """Score on one split. ``recalibrate``: in train mode on augmented items, as the published code does."""
        x, data = self.env.experiment, self.env.data
        recalibrate = recalibrate and not self.env.task.generates
        items = data.train_sample if split == "train" else getattr(data, split)
        start = time.perf_counter()
        batches = (
            data.epoch(seed=derive(x.seed, "recalibrate"), epoch=0, batch_size=x.optim.batch_size)
            if recalibrate
            else data.batches(items, data.evaluation_batch)
        )
        score = evaluate(
            self.net.model,
            batches,
            task=self.env.task,
            metric=self.env.task.metric if split == "test" else self.env.task.validation_metric,
            runtime=x.runtime,
            device=self.env.device,
            train_mode=recalibrate,
        )
        self.seconds += time.perf_counter() - start
        self.num_items[split] += len(items)
        return score

    def outputs(self, model: nn.Module) -> Tensor:
        """Of ``model``, in evaluation mode, for the first batch of validation items."""
        data = self.env.data
        batch = next(data.batches(data.validation, data.evaluation_batch))
        model.eval()
        with torch.no_grad(), self.env.experiment.runtime.autocast(self.env.device):
            logits = self.env.task.logits(model(batch.inputs))
        return logits.float()

    def zeros(self) -> dict[str, Tensor]:
        """Where the effective prunable weights are exactly 0, as bool tensors by name."""
        return {name: weight == 0 for name, weight in effective(self.net.model, self.net.weights).items()}

    def facts(self) -> NetworkFacts:
        """Sparsity, multiply-adds and theoretical speed-up of the network as it is; it must be a plain one."""
        x, c = self.env.experiment, self.env.experiment.conventions
        counts = metrics.layer_counts(self.net.model, every_weight=c.prune_every_weight)
        layers, attention = self.multiply_adds(padding_blind=c.padding_blind_multiply_adds)
        speedup = metrics.theoretical_speedup(layers, counts, padding_blind=c.padding_blind_multiply_adds)
        selectable = [count for count in counts if x.selector.prunes(self.net.weights[count.name].shape)]
        return NetworkFacts(
            sparsity=metrics.sparsity(counts),
            sparsity_all_parameters=metrics.sparsity_all_parameters(self.net.model),
            multiply_adds_dense=speedup.dense,
            multiply_adds_sparse=speedup.sparse,
            theoretical_speedup=speedup.speedup,
            layers=tuple(LayerFacts(**vars(count), multiply_adds=layers.get(count.name, 0)) for count in counts),
            sparsity_selectable=metrics.sparsity(selectable) if len(selectable) < len(counts) else None,
            multiply_adds_attention=attention or None,
            speedup_with_attention=metrics.speedup_with_attention(speedup, attention),
            not_prunable=metrics.not_prunable(self.net.model, every_weight=c.prune_every_weight) or None,
        )

    def multiply_adds(self, *, padding_blind: bool = False) -> Count:
        """Of one item; the network must be a plain one."""
        like = next(iter(self.net.weights.values()), None)
        return count(self.net.model, self.env.task.example(1, like=like), padding_blind=padding_blind)
