"""Many tensors as one vector in C order, and back, laid out in memory as they were.

Ties are broken by place in that vector, so alike on every device. On the CPU each tensor is copied. A GPU would wait for the
launch of that many kernels; there the memory of all is taken as it is, and its entries are put in order by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Layout = tuple[tuple[torch.Size, tuple[int, ...]], ...]  # shape and strides of each


def join(tensors: Sequence[Tensor]) -> Tensor:
    """The entries of all, tensor after tensor. It cannot be differentiated."""
    order = _order(_layout(tensors), tensors[0].device)
    if order is None:
        return torch.cat([tensor.flatten() for tensor in tensors])
    return torch.cat([tensor.as_strided((tensor.numel(),), (1,)) for tensor in tensors]).index_select(0, order[0])


def part(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """``vector`` cut into tensors of the shapes and, where these have no gaps, the layouts of ``like``."""
    order = _order(_layout(like), vector.device)
    sizes = [tensor.numel() for tensor in like]
    if order is None:
        parts = zip(torch.split(vector, sizes), like, strict=True)
        return [torch.empty_like(tensor, dtype=vector.dtype).copy_(p.view(tensor.shape)) for p, tensor in parts]
    parts = zip(torch.split(vector.index_select(0, order[1]), sizes), like, strict=True)
    return [p.as_strided(tensor.shape, tensor.stride(), p.storage_offset()) for p, tensor in parts]


def in_memory_order(tensors: Sequence[Tensor]) -> Tensor:
    """The entries of all, to be summed: in whatever order they lie, so that gradients need no reordering either."""
    by_stride = [sorted(range(tensor.dim()), key=tensor.stride, reverse=True) for tensor in tensors]
    return torch.cat([tensor.permute(dims).flatten() for tensor, dims in zip(tensors, by_stride, strict=True)])


class Segments:
    """A vector cut into consecutive pieces of ``sizes`` (int64 [S]) entries."""

    def __init__(self, sizes: Tensor) -> None:
        self.sizes = sizes
        self.ends = sizes.cumsum(0) - 1
        self.number = (
            torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes).int()
        )  # of each entry's piece

    def spread(self, values: Tensor) -> Tensor:
        """[S] -> [sum of the sizes]: to every entry the value of its piece; its gradient is the ``sums`` of theirs."""
        spread: Tensor = _Spread.apply(values, self)
        return spread

    def sums(self, vector: Tensor) -> Tensor:
        """[S], of the entries of each piece; float64, or int64. On a GPU this is deterministic and fast, which adding up is not."""
        so_far = vector.cumsum(0, dtype=torch.float64 if vector.is_floating_point() else torch.int64)
        return so_far.index_select(0, self.ends).diff(prepend=so_far.new_zeros(1))


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        ctx.segments, ctx.dtype = segments, values.dtype
        return values.index_select(0, segments.number)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.segments.sums(gradients[0]).to(ctx.dtype), None


def _layout(tensors: Sequence[Tensor]) -> Layout:
    return tuple((tensor.shape, tensor.stride()) for tensor in tensors)


@lru_cache(maxsize=4)
def _order(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Where in memory each entry of the vector lies, and where in the vector each of memory; None on the CPU or with gaps."""
    if device.type == "cpu":
        return None
    places, start = [], 0
    for shape, strides in layout:
        if shape.numel() != 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)):
            return None
        place = torch.arange(start, start + shape.numel(), dtype=torch.int32)
        places.append(place.as_strided(shape, strides).flatten())
        start += shape.numel()
    order = torch.cat(places)
    return order.to(device), order.argsort().int().to(device)
