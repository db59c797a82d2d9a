"""Which weights are among the k that are to survive, by a score; for GSM and LC."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bimp_exp.method._gradual import exact
from bimp_exp.method.base import Setting
from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part

Score = Callable[[list[Tensor], list[Tensor]], Sequence[Tensor]]  # of weights and their gradients


def survivors(setting: Setting, score: Score, *, everything: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Weights, their gradients, and 1.0 at the k = N - round(S N) prunable weights of the largest |score|, else 0.0.

    ``everything`` is the published code's way: all parameters compete, for int((1 - S) N) places.
    """
    with torch.no_grad():
        every = list(setting.model.parameters() if everything else setting.weights.values())
        competing = [p for p in every if p.grad is not None or not everything]
        weights = [p.detach() for p in competing]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in competing]
        scores = score(weights, gradients)
        if everything:
            vector = join(scores).abs()
            kept = part(~smallest(vector, vector.numel() - int((1 - setting.sparsity) * setting.num_weights)), scores)
        else:
            masks = exact(setting, dict(zip(setting.weights, scores, strict=True)), setting.num_pruned)
            kept = [masks[name] for name in setting.weights]
        numbers = [torch.empty_like(weight) for weight in weights]
        torch._foreach_copy_(numbers, kept)
        return weights, gradients, numbers
