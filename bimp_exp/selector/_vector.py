"""Many tensors as one vector in C order, and back, laid out in memory as they were.

Ties are broken by place in that vector, so alike on every device. On the CPU each tensor is copied. A GPU would wait for the
launch of that many kernels; there the memory of all is taken as it is, and its entries are put in order by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

Layout = tuple[tuple[torch.Size, tuple[int, ...]], ...]  # shape and strides of each


def join(tensors: Sequence[Tensor]) -> Tensor:
    """The entries of all, tensor after tensor."""
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


def _layout(tensors: Sequence[Tensor]) -> Layout:
    return tuple((tensor.shape, tensor.stride()) for tensor in tensors)


@lru_cache(maxsize=2)
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
    return torch.cat(places).to(device), torch.cat(places).argsort().int().to(device)
