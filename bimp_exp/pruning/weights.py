"""What is prunable (weights of convolutions and linear layers, never biases, normalisation, embeddings) and how it is pruned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter

import torch
from torch import Tensor, nn

from bimp_exp.budget import Phase
from bimp_exp.errors import ConfigError
from bimp_exp.selector.base import Masks, PruningTarget, Selector, select

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
PROJECTIONS = (
    "in_proj_weight",
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
)  # of nn.MultiheadAttention, beside out_proj


def prunable(model: nn.Module, *, every_weight: bool = False) -> dict[str, nn.Parameter]:
    """The prunable weights of a plain model by their name in the state_dict, in module order.

    A weight that two modules share appears once, under its first name; one that is an embedding, too, does not. The
    projections to queries, keys and values that nn.MultiheadAttention holds as one matrix [3 E, E] are one weight, as they are in
    most other networks (one linear layer ``qkv``): rules per layer see it as one layer. ``every_weight`` is the published
    code's literal rule: the ``weight`` of every module that has one and is not a BatchNorm2d, so also LayerNorms and embeddings.
    """
    weights = effective_prunable(model, every_weight=every_weight)
    return {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}


def effective_prunable(model: nn.Module, *, every_weight: bool = False) -> dict[str, Tensor]:
    """As ``prunable``, of a model that may be parametrised: the weights that it computes with, under their plain names."""
    weights: dict[str, Tensor] = {}
    seen = set() if every_weight else {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, module in model.named_modules():
        for attribute in _attributes(module, every_weight=every_weight):
            weight = getattr(module, attribute, None)
            is_buffer = any(buffer is weight for buffer in module.buffers(recurse=False))  # the class weights of a loss
            if isinstance(weight, Tensor) and not is_buffer and id(weight) not in seen:
                seen.add(id(weight))
                weights[f"{name}.{attribute}" if name else attribute] = weight
    return weights


def _attributes(module: nn.Module, *, every_weight: bool) -> tuple[str, ...]:
    """Names of the prunable weights that ``module`` may hold."""
    if every_weight:
        return () if isinstance(module, nn.BatchNorm2d) else ("weight",)
    if isinstance(module, nn.MultiheadAttention):
        return PROJECTIONS
    return ("weight",) if isinstance(module, LAYERS) else ()


def dilated(model: nn.Module) -> str | None:
    """Name of the first dilated convolution, if there is one."""
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    named = model.named_modules()
    return next((name for name, m in named if isinstance(m, convolutions) and max(m.dilation) > 1), None)


def tied_embedding(model: nn.Module) -> str | None:
    """Name of the first embedding matrix that other modules use, too, if there is one."""
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    embeddings = ((name, m.weight) for name, m in model.named_modules() if isinstance(m, nn.Embedding))
    return next((f"{name}.weight" for name, weight in embeddings if uses[id(weight)] > 1), None)


def suited(selector: Selector, model: nn.Module) -> Selector:
    """``selector`` for a plain ``model``, the last layer of which may be dense, such as one that is the embedding, too."""
    layers = [module for module in model.modules() if isinstance(module, LAYERS)]
    dense = bool(layers) and all(weight is not layers[-1].weight for weight in prunable(model).values())
    return selector.without_last_layer() if dense else selector


def target_count(phase: Phase, num_weights: int, already_pruned: int, *, per_cycle: bool) -> int:
    """How many of ``num_weights`` are to be pruned after the pruning that opens ``phase``.

    round(S_j * N), so that the last cycle hits round(S * N); halves go to the even number.
    already_pruned: before it, in [0, num_weights].
    per_cycle: the published code's rule, round(p * remaining) more than that.
    Raises ConfigError where every weight would be pruned.
    """
    by_fraction = already_pruned + round(phase.fraction * (num_weights - already_pruned))
    count = by_fraction if per_cycle else max(already_pruned, round(phase.sparsity * num_weights))
    if count >= num_weights:
        raise ConfigError(f"sparsity: {phase.name} would remove all {num_weights} prunable weights; choose a lower one")
    return count


def num_pruned(masks: Masks) -> int:
    """How many weights ``masks`` prune."""
    left = [mask.count_nonzero() for mask in masks.values()]
    return sum(mask.numel() for mask in masks.values()) - int(torch.stack(left).sum()) if left else 0


def norm(tensors: Iterable[Tensor]) -> float:
    """L2 norm of all entries together, summed in float64."""
    squares = [t.detach().double().square().sum() for t in tensors]
    return math.sqrt(sum(torch.stack(squares).tolist())) if squares else 0.0


def other_weights_and_biases(model: nn.Module, weights: Iterable[str]) -> list[nn.Parameter]:
    """The ``weight`` and ``bias`` of every module, normalisation included, but for the prunable ``weights``.

    Together they are what the published code's ||W|| is over.
    """
    prunable_names = set(weights)
    named = model.named_parameters()
    return [p for n, p in named if n.rpartition(".")[2] in ("weight", "bias") and n not in prunable_names]


def effective(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the weights that the network computes with, under their plain names, parametrised or not."""
    return {name: attrgetter(name)(model).detach().clone() for name in names}


def apply(weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights to exactly 0 in place."""
    with torch.no_grad():
        for name, weight in weights.items():
            weight.masked_fill_(~masks[name], 0.0)


def unprunable_state(model: nn.Module, weights: Iterable[str]) -> dict[str, Tensor]:
    """Copies of everything in the model that pruning must not touch: biases, normalisation, buffers.

    weights: names of the prunable ones, parametrised or not.
    """
    names = set(weights)
    state = model.state_dict().items()
    return {n: value.clone() for n, value in state if n not in names and ".parametrizations." not in f".{n}"}


def nonzero_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Masks that prune what is exactly 0."""
    return {name: weight.detach() != 0 for name, weight in weights.items()}


def prune_with(
    selector: Selector, weights: Mapping[str, nn.Parameter], masks: Masks, phase: Phase, *, per_cycle: bool
) -> Masks:
    """New masks by ``selector`` for the pruning that opens ``phase``; the weights that they prune are set to 0.

    masks: of the pruning before, or none. per_cycle: as in ``target_count``.
    """
    masks = masks or {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    num_weights = sum(w.numel() for w in weights.values())
    count = target_count(phase, num_weights, num_pruned(masks), per_cycle=per_cycle)
    target = PruningTarget(fraction_of_remaining=phase.fraction, total_pruned=count)
    masks = select(selector, weights, masks, target)
    apply(weights, masks)
    return masks
