"""Which channels of a traced network are the same for every image, and which of those a smaller network can leave out.

A convolution's (linear layer's) output channel is dead where its weights on all live inputs are zero. Batch-norm, ReLU,
pooling and slices of height and width keep a dead channel dead; channels added by padding are dead; a sum is alive where
either operand is. Of any other operation all channels count as alive, coming in and going out.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

MODULES = (nn.ReLU, nn.Identity, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
SUMS = (operator.add, operator.iadd, torch.add)

Channels = dict[fx.Node, Tensor]  # bool [C], of every node that gives a tensor [1, C, ...]


class Kind(Enum):
    """Effect of a node on channels."""

    WEIGHTED = auto()  # mixes them
    BATCH_NORM = auto()  # one by one, each with numbers of its own
    CHANNELWISE = auto()  # one by one, each in the same way
    SUM = auto()
    PADDING = auto()  # adds some at the ends
    OPAQUE = auto()  # unknown


def kinds(traced: fx.GraphModule, values: Mapping[fx.Node, Any]) -> dict[fx.Node, Kind]:
    """The kind of every node.

    values: the output of every node for one image.
    """
    uses = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    return {node: _kind(traced, node, values, uses[node.target]) for node in traced.graph.nodes}


def _kind(traced: fx.GraphModule, node: fx.Node, values: Mapping[fx.Node, Any], num_uses: int) -> Kind:
    sources = node.all_input_nodes
    if any(_num_channels(values[n]) is None for n in (node, *sources)) or not sources:
        return Kind.OPAQUE
    if node.op == "call_module" and len(node.args) == 1 and not node.kwargs:
        layer = traced.get_submodule(cast(str, node.target))
        if isinstance(layer, MODULES):
            return Kind.CHANNELWISE
        is_plain = isinstance(layer, nn.Conv2d) and layer.groups == 1
        if num_uses == 1 and (is_plain or (isinstance(layer, nn.Linear) and values[node].ndim == 2)):
            return Kind.WEIGHTED  # a layer that is used twice cannot be cut in two ways
        if num_uses == 1 and isinstance(layer, nn.BatchNorm2d):
            return Kind.BATCH_NORM
    if node.target in SUMS and len(sources) == 2 and len(node.args) == 2 and not node.kwargs:
        return Kind.SUM if values[sources[0]].shape == values[sources[1]].shape else Kind.OPAQUE
    if len(sources) == 1 and node.target is F.pad and _is_channel_padding(node):
        return Kind.PADDING
    if len(sources) == 1 and _is_channelwise(node):
        return Kind.CHANNELWISE
    return Kind.OPAQUE


def alive(traced: fx.GraphModule, kind: Mapping[fx.Node, Kind], values: Mapping[fx.Node, Any]) -> Channels:
    """The channels that depend on the image, as far as zero weights show it."""
    found: Channels = {}
    for node in traced.graph.nodes:
        inputs = [found[source] for source in node.all_input_nodes if source in found]
        match kind[node]:
            case Kind.WEIGHTED:
                weight = cast(Tensor, traced.get_submodule(cast(str, node.target)).weight)
                found[node] = (weight[:, inputs[0]] != 0).flatten(1).any(1)
            case Kind.BATCH_NORM | Kind.CHANNELWISE:
                found[node] = inputs[0]
            case Kind.SUM:
                found[node] = inputs[0] | inputs[1]
            case Kind.PADDING:
                found[node] = F.pad(inputs[0], sides(node)[4:])
            case Kind.OPAQUE:
                if (num_channels := _num_channels(values[node])) is not None:
                    found[node] = torch.ones(num_channels, dtype=torch.bool)
    return found


def free(alive: Channels, kind: Mapping[fx.Node, Kind]) -> Channels:
    """The smallest layers: each puts out its live channels only (one dead channel where there is none).

    Operands of a sum may then have different channels.
    """
    kept: Channels = {}
    for node, channels in alive.items():
        sources = node.all_input_nodes
        match kind[node]:
            case Kind.BATCH_NORM | Kind.CHANNELWISE:
                kept[node] = kept[sources[0]].clone()
            case Kind.PADDING:
                kept[node] = F.pad(kept[sources[0]], sides(node)[4:])
            case _:
                kept[node] = _at_least_one(channels)
    return kept


def coupled(alive: Channels, kind: Mapping[fx.Node, Kind]) -> Channels:
    """The smallest network without widening: what is summed or only passed on has the same channels on both sides."""
    kept = free(alive, kind)
    changed = True
    while changed:
        changed = False
        for node in reversed(kept):
            for source in node.all_input_nodes if kind[node] is not Kind.WEIGHTED else ():
                if source not in kept:
                    continue
                before = sides(node)[4] if kind[node] is Kind.PADDING else 0
                part = slice(before, before + len(kept[source]))
                wanted = torch.ones_like(kept[source]) if kind[node] is Kind.OPAQUE else kept[source] | kept[node][part]
                for channels in (kept[source],) if kind[node] is Kind.OPAQUE else (kept[source], kept[node][part]):
                    changed |= not torch.equal(channels, wanted)
                    channels |= wanted
    return kept


def sides(node: fx.Node) -> tuple[int, ...]:
    """The six numbers of padding: before and after in width, height, channels."""
    return tuple(cast(tuple[int, ...], node.args[1]))


def _num_channels(value: Any) -> int | None:
    return value.shape[1] if isinstance(value, Tensor) and value.ndim >= 2 else None


def _at_least_one(alive: Tensor) -> Tensor:
    """A copy; no tensor is without channels, so the first stands in for none."""
    kept = alive.clone()
    kept[0] |= not alive.any()
    return kept


def _is_channel_padding(node: fx.Node) -> bool:
    """Whether F.pad of [N, C, H, W] adds channels, by numbers known beforehand."""
    numbers = node.args[1] if len(node.args) > 1 else None
    if not isinstance(numbers, tuple | list) or len(numbers) != 6:
        return False
    return all(isinstance(number, int) for number in numbers) and min(sides(node)[4:]) >= 0


def _is_channelwise(node: fx.Node) -> bool:
    """Whether a function or method of one tensor [N, C, ...] works on every channel for itself, in the same way."""
    arguments = node.args[1:]
    if node.target in (F.relu, torch.relu):
        return True
    if node.target is operator.getitem:
        index = arguments[0]
        return isinstance(index, tuple) and all(isinstance(i, slice) for i in index) and index[:2] == (slice(None),) * 2
    return node.op == "call_method" and node.target == "mean" and arguments in (((2, 3),), ([2, 3],))
