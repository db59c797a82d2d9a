"""A second device in name: its tensors compute on the CPU, and refuse to meet those of the CPU as a GPU's would.

What runs on it as on the CPU, to the bit, takes care of where its tensors are. It refuses what has no deterministic form on a
GPU, and counts what would cost time there: how often the host waits for a value, and how many kernels it launches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy", 0)  # a type that PyTorch knows and that needs no driver
COPIES = ("aten::_to_copy", "aten::copy_")
INDEXING = ("aten::index", "aten::index_put_")  # take indices from the CPU
VIEWS = (
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "empty", "empty_like", "empty_strided", "expand",
    "lift_fresh", "new_empty", "new_empty_strided", "permute", "select", "slice", "split", "split_with_sizes", "squeeze", "t",
    "transpose", "unbind", "unsqueeze", "view",
)  # fmt: skip
"""What launches nothing."""
REFUSED = (
    "_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward", "bincount", "grid_sampler_2d_backward",
    "histc", "kthvalue", "median", "nll_loss2d_forward", "put_", "reflection_pad2d_backward", "upsample_bilinear2d_backward",
)  # fmt: skip
"""What PyTorch has refused on a GPU, in this release or an earlier one, where algorithms have to be deterministic."""
AT_ONCE = 100  # tensors of a list that one kernel takes, about


class There(Tensor):
    """A tensor of ``DEVICE``; ``values`` has them, on the CPU."""

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> There:
        there = Tensor._make_wrapper_subclass(
            cls, values.size(), values.stride(), values.storage_offset(), dtype=values.dtype, device=DEVICE
        )
        there.values = values
        return there

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Tensors that are made on ``DEVICE``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _FromData(TorchFunctionMode):
    """``torch.tensor(data, device=DEVICE)``, which would ask the device's driver."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        if func is torch.tensor and kwargs.get("device"):
            return func(*args, **{k: v for k, v in kwargs.items() if k != "device"}).to(kwargs["device"])
        return func(*args, **kwargs)


_count = Counter[str]()


def num_waits() -> int:
    """How often a value was copied from the device to the host so far."""
    return _count["waits"]


def num_kernels() -> int:
    """How many kernels were launched so far, about: a list of tensors takes one where shapes, layouts and types agree."""
    return _count["kernels"]


@contextmanager
def second_device() -> Iterator[torch.device]:
    """Within, ``DEVICE`` can be used; the backward pass stays on the calling thread."""
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(
        True
    )  # a There keeps its values, whatever its ``data`` become
    try:
        with _Factories(), _FromData(), torch.autograd.set_multithreading_enabled(False):
            yield DEVICE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    theirs = [tensor for tensor in tensors if isinstance(tensor, There)]
    name = func._schema.name
    if theirs and name not in (*COPIES, *INDEXING):
        for tensor in tensors:
            if tensor.dim() and not isinstance(tensor, There):
                raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    if theirs and name.removeprefix("aten::") in REFUSED and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(f"{name} does not have a deterministic implementation")
    device = kwargs.get("device")
    goes_there = torch.device(device) == DEVICE if device is not None else bool(theirs)
    if name == "aten::copy_":
        goes_there = isinstance(args[0], There)
    if theirs and (name == "aten::_local_scalar_dense" or not goes_there):
        _count["waits"] += 1
    if theirs:
        _count["kernels"] += _kernels(name.removeprefix("aten::"), args)
    known = {id(_bare(tensor)): tensor for tensor in theirs}  # what is changed in place comes back as itself

    def wrapped(out: Any) -> Any:
        if not goes_there or not isinstance(out, Tensor):
            return out
        return known[id(out)] if id(out) in known else There(out)

    return tree_map(wrapped, func(*tree_map(_bare, args), **tree_map(_bare, kwargs)))


def _kernels(name: str, args: Any) -> int:
    lists = [arg for arg in args if isinstance(arg, (list, tuple)) and arg and isinstance(arg[0], Tensor)]
    if not name.startswith("_foreach") or not lists:
        return name not in VIEWS
    types = not name.startswith("_foreach_copy")
    alike = all(
        len({(t.shape, t.stride(), t.dtype if types else None) for t in same}) == 1 for same in zip(*lists, strict=True)
    )
    return -(-len(lists[0]) // AT_ONCE) if alike else len(lists[0])


def _bare(x: Any) -> Any:
    if isinstance(x, There):
        return x.values
    return torch.device("cpu") if isinstance(x, torch.device) and x == DEVICE else x
