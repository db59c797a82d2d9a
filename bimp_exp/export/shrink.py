"""A physically smaller network with the outputs of a masked one: without the channels that are the same for every image.

A dead channel has a constant value c (in general not zero: batch-norm's shift), which is read off one forward pass of the
masked network. With K the channels that a layer keeps and G those that its input has lost,

    y_K = W_KK x_K + m,  m = b_K + W_KG c_G    (* for a convolution)

m is computed by the layer itself, so borders are exact: it becomes the bias where it is the same at every position, else a
fixed map that is added (zero padding makes a constant channel differ at the border). Therefore the image size is fixed.
All of it is done in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bimp_exp.errors import ConfigError
from bimp_exp.export import channels
from bimp_exp.export.channels import Channels, Kind

UNIFORM = 1e-12  # relative spread, in float64, up to which a map is a bias


class Widen(nn.Module):
    """Adds constant channels: [N, k, ...] -> [N, m, ...].

    present: bool [C], the k channels that come in. wanted: bool [C], the m channels that go out. constant: [1, C, ...], where
    those come from that are wanted and not present.
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
        self.register_buffer("missing", _one_position(constant[:, missing]).clone())

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


def shrink(model: nn.Module, image_shape: Sequence[int], *, sums: Literal["free", "coupled"]) -> fx.GraphModule:
    """The smaller form of ``model`` in eval mode, on the CPU; ``model`` is not changed, and layers keep their names.

    image_shape: [C, H, W] of the images that it will get. sums: "free" gives the fewest multiply-adds, but operands of a sum
    must be widened to common channels; "coupled" keeps a channel wherever one that is summed with it is alive, and needs no such
    operation. ConfigError where torch.fx cannot trace the forward pass.
    """
    dtype = next(model.parameters()).dtype
    plain = deepcopy(model).cpu().double().eval().requires_grad_(False)
    try:
        traced = fx.symbolic_trace(plain)
    except fx.proxy.TraceError as error:
        raise ConfigError(
            f"model: its forward pass cannot be exported, since it depends on the data ({error})"
        ) from None
    with torch.no_grad():
        recorder = _Recorder(traced)
        recorder.run(torch.zeros(1, *image_shape, dtype=torch.float64))
        kind = channels.kinds(traced, recorder.values)
        alive = channels.alive(traced, kind, recorder.values)
        kept = channels.free(alive, kind) if sums == "free" else channels.coupled(alive, kind)
        return _Builder(traced, recorder.values, kind, kept).build().to(dtype).eval()


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps the output of every node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value.clone() if isinstance(value, Tensor) else value  # a later node may work in place
        return value


class _Builder:
    """Copies a graph node by node, and cuts its layers, in place, to the channels ``kept``."""

    def __init__(
        self, traced: fx.GraphModule, values: dict[fx.Node, Any], kind: dict[fx.Node, Kind], kept: Channels
    ) -> None:
        self.traced, self.values, self.kind, self.kept = traced, values, kind, kept
        self.graph = fx.Graph()
        self.new: dict[fx.Node, fx.Node] = {}

    def build(self) -> fx.GraphModule:
        for node in self.traced.graph.nodes:
            self.new[node] = self.copy(node)
        return fx.GraphModule(self.traced, self.graph)

    def copy(self, node: fx.Node) -> fx.Node:
        """The copy of ``node`` in the new graph."""
        match self.kind[node]:
            case Kind.WEIGHTED:
                return self.weighted(node)
            case Kind.BATCH_NORM:
                return self.batch_norm(node)
            case Kind.CHANNELWISE:
                return self.graph.node_copy(node, lambda source: self.widen(source, self.kept[node]))
            case Kind.SUM:
                return self.graph.node_copy(node, lambda source: self.widen(source, self.kept[node]))
            case Kind.PADDING:
                return self.padding(node)
            case Kind.OPAQUE:
                return self.graph.node_copy(node, self.all_channels)

    def all_channels(self, node: fx.Node) -> fx.Node:
        """The copy of ``node``, widened to all channels."""
        return self.widen(node, torch.ones_like(self.kept[node])) if node in self.kept else self.new[node]

    def widen(self, node: fx.Node, wanted: Tensor) -> fx.Node:
        """The copy of ``node`` with exactly the channels ``wanted``."""
        if torch.equal(self.kept[node], wanted):
            return self.new[node]
        return self.insert(f"{node.name}_widen", Widen(self.kept[node], wanted, self.values[node]), self.new[node])

    def insert(self, name: str, layer: nn.Module, source: fx.Node) -> fx.Node:
        """A new node that calls ``layer`` on ``source``."""
        while hasattr(self.traced, name):  # widened for several users
            name += "_"
        self.traced.add_module(name, layer)
        return self.graph.call_module(name, (source,))

    def padding(self, node: fx.Node) -> fx.Node:
        """Pads with as many channels as are kept of those that ``node`` adds; the source is widened to what is kept of it."""
        (source,) = node.all_input_nodes
        kept, (before, after) = self.kept[node], channels.sides(node)[4:]
        new = self.widen(source, kept[before : len(kept) - after])
        num_before, num_after = int(kept[:before].sum()), int(kept[len(kept) - after :].sum())
        numbers = (*channels.sides(node)[:4], num_before, num_after)
        return self.graph.call_function(F.pad, (new, numbers, *node.args[2:]), node.kwargs) if any(numbers) else new

    def batch_norm(self, node: fx.Node) -> fx.Node:
        layer = cast(nn.BatchNorm2d, self.traced.get_submodule(cast(str, node.target)))
        kept = self.kept[node]
        layer.num_features = int(kept.sum())
        for tensor in [*layer.parameters(), *layer.buffers()]:
            if tensor.ndim:  # not the number of batches seen
                tensor.data = tensor[kept]
        return self.graph.node_copy(node, lambda source: self.widen(source, kept))

    def weighted(self, node: fx.Node) -> fx.Node:
        layer = cast(nn.Conv2d | nn.Linear, self.traced.get_submodule(cast(str, node.target)))
        (source,) = node.all_input_nodes
        kept, kept_in = self.kept[node], self.kept[source]
        constant = self.values[source].clone()
        constant[:, kept_in] = 0
        offset = layer(constant)[:, kept]  # [1, k, H, W] or [1, k]
        layer.weight = nn.Parameter(layer.weight[kept][:, kept_in], requires_grad=False)
        if isinstance(layer, nn.Conv2d):
            layer.out_channels, layer.in_channels = layer.weight.shape[:2]
        else:
            layer.out_features, layer.in_features = layer.weight.shape
        new = self.graph.node_copy(node, self.new.__getitem__)
        one = _one_position(offset)
        if one.numel() > offset.shape[1]:
            layer.bias = None
            return self.insert(f"{node.name}_offset", Offset(offset), new)
        if layer.bias is not None or one.any():
            layer.bias = nn.Parameter(one.flatten().clone(), requires_grad=False)
        return new


def _one_position(maps: Tensor) -> Tensor:
    """[1, C, H, W] -> [1, C, 1, 1] where every map is the same everywhere, else ``maps``; [1, C] stays."""
    if maps.ndim < 3:
        return maps
    low, high = maps.flatten(2).amin(2), maps.flatten(2).amax(2)
    if (high - low).amax() > UNIFORM * maps.abs().amax():
        return maps
    return maps.flatten(2)[:, :, :1].reshape(1, -1, *[1] * (maps.ndim - 2))
