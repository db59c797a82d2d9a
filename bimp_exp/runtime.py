"""Where and how a run computes: device, threads, precision, determinism. Imports no PyTorch until a run starts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One option of ``conf/runtime/``."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Count | None
    precision: Literal["fp32", "bf16"]
    deterministic: bool
    channels_last: bool

    def start(self) -> torch.device:
        """Apply the settings to this process; the device to train on. ConfigError where there is no such device."""
        import os

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("runtime.device=cuda but no CUDA device is there: use auto or cpu")
        all_threads = _all_threads()
        torch.set_num_threads(self.threads or all_threads)
        torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = not self.deterministic
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")

    def facts(self, device: torch.device) -> dict[str, Any]:
        """What decides the last bits of a number, beside the configuration: versions, kind of processor, threads."""
        import torch

        kind = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{torch.backends.cpu.get_cpu_capability()} x {torch.get_num_threads()}"
        )
        return {"torch": torch.__version__, "device": f"{device.type} {kind}"}

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context of a forward pass: bf16 where asked for, else plain fp32."""
        import torch

        return torch.autocast(device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and convolution weights in memory; it changes no result beyond rounding."""
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format


@cache
def _all_threads() -> int:
    """PyTorch's own choice, as it was before any run of this process changed it."""
    import torch

    return torch.get_num_threads()


def synchronize(device: torch.device) -> None:
    """Wait until everything queued on ``device`` is done, so that a clock read next is true."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
