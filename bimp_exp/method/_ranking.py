"""Which weights are among the k that are to survive, by a score; for GSM and LC."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bimp_exp.method._gradual import exact
from bimp_exp.method.base import Setting
from bimp_exp.selector._smallest import smallest


def survivors(
    setting: Setting, score: Callable[[nn.Parameter], Tensor], *, everything: bool
) -> list[tuple[nn.Parameter, Tensor]]:
    """Parameters and bool masks: True at the k = N - round(S N) prunable weights of the largest |score|.

    ``everything`` is the published code's way: all parameters compete, for int((1 - S) N) places.
    """
    with torch.no_grad():
        if not everything:
            scores = {name: score(w) for name, w in setting.weights.items()}
            masks = exact(setting.selector, scores, setting.num_pruned)
            return [(setting.weights[name], mask) for name, mask in masks.items()]
        parameters = [p for p in setting.model.parameters() if p.grad is not None]
        flat = torch.cat([score(p).abs().flatten() for p in parameters])
        gone = flat.numel() - int((1 - setting.sparsity) * setting.num_weights)
        kept = torch.split(~smallest(flat, gone), [p.numel() for p in parameters])
        return [(p, part.view(p.shape)) for p, part in zip(parameters, kept, strict=True)]
