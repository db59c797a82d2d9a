"""A network as the bytes of one file, and such bytes as a function again: torch.export's .pt2, and ONNX."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import cast

import torch
from torch import Tensor, nn

from bimp_exp.errors import UserError

Network = Callable[[Tensor], Tensor]

ANY_BATCH = ({0: torch.export.Dim("batch")},)  # height and width are fixed: see shrink


def check_onnx() -> None:
    """UserError where a package of the optional extra is absent."""
    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if absent:
        raise UserError(f"--onnx needs {', '.join(absent)}: pip install 'bimp-exp[onnx]'")


def to_pt2(network: nn.Module, images: Tensor) -> bytes:
    """``network``, in eval mode, in the format of torch.export.save, for any number of images.

    images: an example [N, C, H, W], N at least 2.
    """
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=ANY_BATCH), buffer)
    return buffer.getvalue()


def from_pt2(content: bytes) -> Network:
    """The function in a .pt2 file."""
    return cast(Network, torch.export.load(io.BytesIO(content)).module())


def to_onnx(network: nn.Module, images: Tensor) -> bytes:
    """``network``, in eval mode, as an ONNX model with the input ``images`` and the output ``outputs``, for any number of images.

    images: an example [N, C, H, W], N at least 2.
    """
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it warns of torchvision operators that no network here has
    try:
        program = torch.onnx.export(
            network, (images,), dynamo=True, dynamic_shapes=ANY_BATCH, verbose=False,
            input_names=["images"], output_names=["outputs"],
        )  # fmt: skip
    finally:
        exporter.setLevel(level)
    assert program is not None
    return cast(bytes, program.model_proto.SerializeToString())


def from_onnx(content: bytes) -> Network:
    """The function in an ONNX file, computed by onnxruntime on the CPU with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.contiguous().numpy()})[0])
