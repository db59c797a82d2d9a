"""A physically smaller network with the outputs of a masked one: channels that are the same for every image go.

A convolution's output channel is dead where its weights on all live inputs are zero; batch-norm, ReLU, pooling, slices and
padding keep it dead, a sum has the channels that live in either operand. What a dead channel is, a constant c for every
position (never zero in general: batch-norm's shift), is read off one forward pass of the masked network. With K the
live channels of a layer and D the dead ones of its input,

    y_K = W_KK x_K + m,  m = b_K + W_KD c_D    (* for a convolution)

m is computed by the layer itself, so borders are exact: it becomes the bias where it is the same at every position, else a
fixed map that is added (zero padding makes a constant channel differ at the border). An operation that is not
known here gets all its channels back first: nothing is lost but room for shrinking. The image size is fixed.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bimp_exp.errors import ConfigError

CHANNELWISE = (nn.ReLU, nn.Identity, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
SUMS = (operator.add, operator.iadd, torch.add)
UNIFORM = 1e-12  # relative spread, in float64, up to which a map is a bias


class Widen(nn.Module):
    """[N, k, ...] -> [N, m, ...]: the channels ``present`` (bool [C], k of them) become ``wanted`` (bool [C], m of them).

    Those that are wanted but not present are taken from ``constant`` [1, C, ...], kept as one number a channel where that says it all.
    """

    order: Tensor
    missing: Tensor

    def __init__(self, present: Tensor, wanted: Tensor, constant: Tensor) -> None:
        super().__init__()
        missing = wanted & ~present
        place = torch.empty(len(present), dtype=torch.int64)
        place[present] = torch.arange(int(present.sum()))
        place[missing] = torch.arange(int(missing.sum())) + int(present.sum())
        self.register_buffer("order", place[wanted])
        constant = constant[:, missing]
        corner = constant[(..., *[slice(1)] * (constant.ndim - 2))]
        self.register_buffer("missing", (corner if torch.equal(corner.expand_as(constant), constant) else constant).clone())

    def forward(self, x: Tensor) -> Tensor:
        missing = self.missing.expand(x.shape[0], -1, *x.shape[2:])
        return torch.cat([x, missing], 1).index_select(1, self.order)


class Offset(nn.Module):
    """[N, C, H, W] plus a fixed map [1, C, H, W]."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.value


def shrink(model: nn.Module, image_shape: Sequence[int]) -> fx.GraphModule:
    """The smaller form of ``model`` in eval mode, on the CPU, for images [N, *image_shape]; ``model`` stays as it is.

    Layers keep their names. ConfigError where torch.fx cannot trace the forward pass.
    """
    dtype = next(model.parameters()).dtype
    plain = deepcopy(model).cpu().double().eval().requires_grad_(False)
    try:
        traced = fx.symbolic_trace(plain)
    except fx.proxy.TraceError as error:
        raise ConfigError(f"model: its forward pass cannot be exported, since it depends on the data ({error})") from None
    with torch.no_grad():
        recorder = _Recorder(traced)
        recorder.run(torch.zeros(1, *image_shape, dtype=torch.float64))
        return _Shrinker(traced, recorder.values).build().to(dtype).eval()


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what every node gave."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value.clone() if isinstance(value, Tensor) else value  # a later node may work in place
        return value


class _Shrinker:
    """Copies a graph node by node; ``alive`` has, bool [C], the live channels of every node that may have dead ones."""

    def __init__(self, traced: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        self.old, self.values = traced, values
        self.graph = fx.Graph()
        self.new: dict[fx.Node, fx.Node] = {}
        self.alive: dict[fx.Node, Tensor] = {}
        self.num_uses = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")

    def build(self) -> fx.GraphModule:
        for node in list(self.old.graph.nodes):
            self.new[node] = self.copy(node)
        return fx.GraphModule(self.old, self.graph)

    def copy(self, node: fx.Node) -> fx.Node:
        """The node of the new graph that stands for ``node``."""
        if node.op == "call_module" and len(node.args) == 1 and not node.kwargs:
            layer = self.old.get_submodule(cast(str, node.target))
            if isinstance(layer, CHANNELWISE):
                return self.channelwise(node)
            if self.num_uses[node.target] == 1:  # a shared layer cannot be cut in two ways
                if isinstance(layer, nn.BatchNorm2d):
                    return self.batch_norm(node, layer)
                if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                    return self.weighted(node, layer)
                if isinstance(layer, nn.Linear) and self.values[node].ndim == 2:
                    return self.weighted(node, layer)
        elif node.target in SUMS and len(node.args) == 2 and not node.kwargs and self.is_sum_of_equals(node):
            return self.sum(node)
        elif node.target is F.pad and _is_channel_padding(node):
            return self.channel_padding(node)
        elif len(node.all_input_nodes) == 1 and _is_channelwise(node):
            return self.channelwise(node)
        return self.graph.node_copy(node, self.whole)

    def alive_of(self, node: fx.Node) -> Tensor:
        return self.alive.get(node, torch.ones(self.values[node].shape[1], dtype=torch.bool))

    def widen(self, node: fx.Node, wanted: Tensor) -> fx.Node:
        """The new node for ``node`` with exactly the channels ``wanted``."""
        present = _at_least_one(self.alive_of(node))
        if torch.equal(present, wanted):
            return self.new[node]
        return self.insert(f"{node.name}_widen", Widen(present, wanted, self.values[node]), self.new[node])

    def whole(self, node: fx.Node) -> fx.Node:
        """The new node for ``node`` with all channels."""
        return self.widen(node, torch.ones_like(self.alive[node])) if node in self.alive else self.new[node]

    def insert(self, name: str, layer: nn.Module, source: fx.Node) -> fx.Node:
        """A call of ``layer`` on ``source``."""
        while hasattr(self.old, name):  # widened for several users
            name += "_"
        self.old.add_module(name, layer)
        return self.graph.call_module(name, (source,))

    def channelwise(self, node: fx.Node) -> fx.Node:
        self.alive[node] = self.alive_of(node.all_input_nodes[0])
        return self.graph.node_copy(node, self.new.__getitem__)

    def sum(self, node: fx.Node) -> fx.Node:
        a, b = node.all_input_nodes if len(node.all_input_nodes) == 2 else node.all_input_nodes * 2
        self.alive[node] = self.alive_of(a) | self.alive_of(b)
        wanted = _at_least_one(self.alive[node])
        return self.graph.node_copy(node, lambda operand: self.widen(operand, wanted))

    def is_sum_of_equals(self, node: fx.Node) -> bool:
        """Whether two tensors [1, C, ...] of equal shape are added, so that nothing is broadcast."""
        values = [self.values[arg] for arg in node.args if isinstance(arg, fx.Node)]
        return len(values) == 2 and values[0].shape == values[1].shape and values[0].ndim >= 2

    def channel_padding(self, node: fx.Node) -> fx.Node:
        """Channels that are padded on are dead from the start; only the padding of the sides is done."""
        source, sides = cast(fx.Node, node.args[0]), cast(tuple[int, ...], node.args[1])
        self.alive[node] = F.pad(self.alive_of(source), sides[4:6])
        new = self.new[source] 
        return new if not any(sides[:4]) else self.graph.call_function(F.pad, (new, sides[:4], *node.args[2:]), node.kwargs)

    def batch_norm(self, node: fx.Node, layer: nn.BatchNorm2d) -> fx.Node:
        kept = _at_least_one(self.alive_of(cast(fx.Node, node.args[0])))
        layer.num_features = int(kept.sum())
        for name, values in [*layer.named_parameters(), *layer.named_buffers()]:
            if values.ndim:  # not the number of batches seen
                values.data = values[kept]
        return self.channelwise(node)

    def weighted(self, node: fx.Node, layer: nn.Conv2d | nn.Linear) -> fx.Node:
        source = cast(fx.Node, node.args[0])
        alive_in = self.alive_of(source)
        kept_in = _at_least_one(alive_in)
        weight = layer.weight
        self.alive[node] = (weight[:, alive_in] != 0).flatten(1).any(1)
        kept = _at_least_one(self.alive[node])
        constant = self.values[source].clone()
        constant[:, kept_in] = 0
        offset = layer(constant)[:, kept]  # [1, k, H, W] or [1, k]
        layer.weight = nn.Parameter(weight[kept][:, kept_in], requires_grad=False)
        if isinstance(layer, nn.Conv2d):
            layer.out_channels, layer.in_channels = layer.weight.shape[:2]
        else:
            layer.out_features, layer.in_features = layer.weight.shape
        positions = offset.reshape(len(layer.weight), -1)
        low, high = positions.aminmax(dim=1)
        if (high - low).max() <= UNIFORM * positions.abs().max():
            if layer.bias is not None or positions.any():
                layer.bias = nn.Parameter(positions[:, 0].clone(), requires_grad=False)
            return self.graph.node_copy(node, self.new.__getitem__)
        layer.bias = None
        new = self.graph.node_copy(node, self.new.__getitem__)
        return self.insert(f"{node.name}_offset", Offset(offset), new)


def _at_least_one(alive: Tensor) -> Tensor:
    """The channels that are really there: no tensor without channels, so the first stands in for none."""
    if alive.any():
        return alive
    kept = alive.clone()
    kept[0] = True
    return kept


def _is_channel_padding(node: fx.Node) -> bool:
    """Whether F.pad of [N, C, H, W] adds channels, by numbers known beforehand."""
    sides = node.args[1] if len(node.args) > 1 else None
    numbers = isinstance(sides, tuple | list) and all(isinstance(side, int) for side in sides)
    return numbers and len(sides) == 6 and min(sides[4:]) >= 0


def _is_channelwise(node: fx.Node) -> bool:
    """Whether a function or method of one tensor [N, C, ...] works on every channel for itself, in the same way."""
    arguments = node.args[1:]
    if node.target in (F.relu, torch.relu):
        return True
    if node.target is operator.getitem:
        index = arguments[0]
        return isinstance(index, tuple) and all(isinstance(i, slice) for i in index) and index[:2] == (slice(None),) * 2
    if node.op == "call_method" and node.target == "mean":
        return len(arguments) == 1 and arguments[0] in ((2, 3), [2, 3])
    return False
