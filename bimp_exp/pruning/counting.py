"""Multiply-adds of a network, counted from the products that a forward pass computes, whatever module or function asks for them.

A product of a weight with an activation counts for the weight, one of two activations is one of attention: Q K^T, or the
attention weights times V, each of them tokens_q * tokens_k * d in full, also under a causal mask. Weights are told by the memory
they lie in, so views of them count for them, and so does what is computed from parameters alone and is as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bimp_exp.errors import ConfigError
from bimp_exp.pruning.weights import prunable

aten = torch.ops.aten
FACTORS = {  # places of the two factors among the arguments
    aten.mm: (0, 1), aten.bmm: (0, 1), aten.mv: (0, 1), aten.dot: (0, 1), aten.addmm: (1, 2), aten.baddbmm: (1, 2),
    aten.addmv: (1, 2), aten.convolution: (0, 1),
}  # fmt: skip


class Count(NamedTuple):
    """Multiply-adds of one item.

    weights: of each prunable weight by name, in module order, then of every other parameter that is a factor. 0 for one that no
    operation reads, such as those of a head for training; None for one that is used, but not as a factor: it cannot be counted.
    attention: of all products of two activations.
    """

    weights: dict[str, int | None]
    attention: int


def count(model: nn.Module, item: Any, *, padding_blind: bool = False) -> Count:
    """Multiply-adds of a plain ``model`` in eval mode.

    item: what the model is given, or the shape of one without the batch, of which an all-zero tensor is made.
    padding_blind: the published code's rule. A convolution's output has ceil(side / stride) pixels whatever its padding, groups
        are ignored, a matrix counts once however many tokens it sees, attention does not count, and dilation is refused
        (ConfigError).

    Nothing is computed where the network can do with tensors that have no values. The model's flags and buffers and the random
    state are as before afterwards.
    """
    names = list(prunable(model))
    if not names:
        return Count({}, 0)
    like = model.get_parameter(names[0])
    is_shape = isinstance(item, Sequence) and all(isinstance(side, int) for side in item)
    given = like.new_zeros(1, *item) if is_shape else item
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng([like.device] if like.is_cuda else []), _in_small_steps():
            try:
                state = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
                without_values = _pytree.tree_map_only(Tensor, lambda tensor: tensor.to("meta"), given)
                return _count(model, names, state, without_values, padding_blind)
            except RuntimeError:  # it asks for a value
                state = tensors | {name: buffer.clone() for name, buffer in model.named_buffers()}
                return _count(model, names, state, given, padding_blind)
    finally:
        for module, training in flags:
            module.training = training


def _count(model: nn.Module, names: list[str], state: dict[str, Tensor], given: Any, padding_blind: bool) -> Count:
    counter = _Counter(state, set(names), {name for name, _ in model.named_parameters()}, padding_blind)
    with counter:
        torch.func.functional_call(model, state, (given,))
    unused = {name: None if name in counter.read else 0 for name in names}
    return Count({**unused, **counter.weights}, 0 if padding_blind else counter.attention)


@contextmanager
def _in_small_steps() -> Iterator[None]:
    """Attention by matrix products, in place of kernels that do all of it, or all of an encoder layer, at once."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks at every operation. weights, attention: multiply-adds so far. read: parameters that some operation has read."""

    def __init__(self, state: dict[str, Tensor], prunable: set[str], parameters: set[str], padding_blind: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights: dict[str, int | None] = {}
        self.attention = 0
        self.read: set[str] = set()
        self._prunable, self._parameters, self._padding_blind = prunable, parameters, padding_blind
        self._sizes = {name: tensor.numel() for name, tensor in state.items()}
        # Memory that depends on no item, and which parameter or buffer it is; kept, so that no other tensor gets the same place.
        self._constant: dict[int, str | None] = {_place(tensor): name for name, tensor in state.items()}
        self._kept: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [t for t in _pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        constant = all(_place(tensor) in self._constant for tensor in given)
        names = {name for tensor in given if (name := self._constant.get(_place(tensor))) is not None}
        self.read |= names
        if func.overloadpacket in FACTORS:
            self._product(func.overloadpacket, args, out)
        for made in _pytree.tree_leaves(out):
            if isinstance(made, Tensor) and constant:
                owner = next((name for name in sorted(names) if self._sizes[name] == made.numel()), None)
                self._constant.setdefault(_place(made), owner)
                self._kept.append(made)
            elif isinstance(made, Tensor):
                self._constant.pop(_place(made), None)
        return out

    def _product(self, operation: Any, args: Any, out: Tensor) -> None:
        factors = [args[place] for place in FACTORS[operation]]
        owners = {name: f for f in factors if (name := self._constant.get(_place(f))) in self._parameters}
        chosen = owners.keys() & self._prunable or owners.keys()
        constant = all(_place(factor) in self._constant for factor in factors)
        if len(chosen) == 1 and (not constant or chosen <= self._prunable):
            (name,) = chosen
            rule = _padding_blind if self._padding_blind else _exact
            self.weights[name] = (self.weights.get(name) or 0) + rule(operation, name, owners[name], args, out)
        elif not constant:
            self.attention += _exact(operation, "", factors[1], args, out)


def _place(tensor: Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata
    return place


def _exact(operation: Any, name: str, weight: Tensor, args: Any, out: Tensor) -> int:
    """Size of the weight times the positions that it is applied to."""
    if operation is not aten.convolution:
        first: Tensor = args[FACTORS[operation][0]]
        return out.numel() * first.shape[-1]
    _, kernel, _, _, _, _, transposed, *_ = args
    positions = args[0] if transposed else out
    return int(kernel.numel() * positions.numel() // kernel.shape[0])


def _padding_blind(operation: Any, name: str, weight: Tensor, args: Any, out: Tensor) -> int:
    if operation is not aten.convolution:
        return weight.numel()
    given, kernel, _, strides, _, dilations, _, _, groups = args
    if max(dilations) > 1:
        raise ConfigError(
            f"conventions: the published count of multiply-adds refuses dilation, which {name} has; "
            "choose the exact count"
        )
    sides = given.shape[-len(strides) :]
    positions = math.prod(-(-side // stride) for side, stride in zip(sides, strides, strict=True))
    return int(kernel.numel() * groups * positions)
