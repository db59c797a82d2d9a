"""The base of GSM and LC: at every step the k weights that are to survive, by a score, are treated otherwise than the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import Method, MethodContext, Prunes
from bimp_exp.method.gradual import prune_to
from bimp_exp.pruning import weights as prune
from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part

Score = Callable[[list[Tensor], list[Tensor]], Sequence[Tensor]]  # of weights and their gradients


@dataclass(frozen=True, kw_only=True)
class Ranked(Method):
    """``rank_all_parameters`` (published code): biases and batch-norm compete too, for int((1 - S) N) places."""

    prunes: ClassVar[Prunes] = "while training"

    rank_all_parameters: bool

    def check(self, context: MethodContext) -> None:
        """With ``rank_all_parameters`` no embedding may be the output layer, too."""
        tied = prune.tied_embedding(context.model) if self.rank_all_parameters else None
        if tied:
            raise ConfigError(
                f"method.rank_all_parameters must be false for this model (conventions.rank_all_parameters=false): {tied}, which "
                "is used in several places and never pruned, would compete for the places of the weights"
            )

    def survivors(self, context: MethodContext, score: Score) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Weights, their gradients, and 1.0 at the k = N - round(S N) prunable weights of the largest |score|, else 0.0."""
        with torch.no_grad():
            every = list(context.model.parameters() if self.rank_all_parameters else context.weights.values())
            competing = [p for p in every if p.grad is not None or not self.rank_all_parameters]
            weights = [p.detach() for p in competing]
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in competing]
            scores = score(weights, gradients)
            if self.rank_all_parameters:
                vector = join(scores).abs()
                num_left = int((1 - context.sparsity) * context.num_weights)
                kept = part(~smallest(vector, vector.numel() - num_left), scores)
            else:
                scored = dict(zip(context.weights, scores, strict=True))
                masks = prune_to(context, context.num_pruned, scored=scored)
                kept = [masks[name] for name in context.weights]
            numbers = [torch.empty_like(weight) for weight in weights]
            torch._foreach_copy_(numbers, kept)
            return weights, gradients, numbers

    def detach(self, context: MethodContext) -> None:
        """Prune to the goal."""
        prune.apply(context.weights, prune_to(context, context.num_pruned))
