"""How a run computes: device, threads, precision, compilation, determinism. Pure: nothing here changes the process.

Every ``auto`` becomes the choice that was measured to be the fastest (docs/guide.md, Speed) on the device at hand; what it
became is in the key of a phase and in what a run writes. ``bimp_exp.run.process`` applies the settings. Imports no PyTorch
before a device is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MOST_THREADS = 256  # threads that are allowed on any machine: a sweep may be planned on a smaller one than it runs on
THREADS_PER_CORE = 4  # threads that are allowed on a machine with more cores than that


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One option of ``conf/runtime/``, where the fields are explained."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Count | None
    precision: Literal["auto", "fp32", "bf16"]
    compile: Literal["auto", "off", "on", "graphs"]
    update: Literal["auto", "loop", "foreach", "fused"]
    deterministic: bool
    channels_last: bool
    keep_memory: bool

    def check_threads(self) -> None:
        """Raise ConfigError for more threads than a machine can carry; imports no PyTorch."""
        most = max(MOST_THREADS, THREADS_PER_CORE * (os.cpu_count() or 1))
        if self.threads is not None and self.threads > most:
            raise ConfigError(f"runtime.threads={self.threads} must be null or a whole number from 1 to {most}")

    def choose_device(self) -> torch.device:
        """The device to train on; ConfigError where it is not there."""
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("runtime.device=cuda but no CUDA device is there: use auto or cpu")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")

    def check(self) -> torch.device:
        """The device to train on; ConfigError where this machine cannot do what the settings say."""
        self.check_threads()
        device = self.choose_device()
        if self.resolved(device)["compile"] == "off":
            return device
        if self.compile == "graphs" and device.type != "cuda":
            raise ConfigError("runtime.compile=graphs records CUDA graphs but no CUDA device is used: use on or off")
        if obstacle := _cannot_compile(device):
            raise ConfigError(f"runtime.compile={self.compile}: PyTorch cannot compile here ({obstacle}): use off")
        return device

    def resolved(self, device: torch.device) -> dict[str, Any]:
        """The settings that can change the last bits of a number, with nothing left on auto."""
        auto = {"precision": "bf16" if bf16_unit(device) else "fp32", "compile": "off", "update": "fused"}
        configured = {"precision": self.precision, "compile": self.compile, "update": self.update}
        chosen = {key: auto[key] if value == "auto" else value for key, value in configured.items()}
        return chosen | {"deterministic": self.deterministic, "channels_last": self.channels_last}

    def facts(self, device: torch.device, *, num_threads: int) -> dict[str, Any]:
        """The facts that decide the last bits of a number, beside the configuration: versions, kind of processor, threads, choices.

        num_threads: those that the run computes with (``Process.num_threads``), which need not be those of this process now.
        """
        import torch

        chosen = self.resolved(device)
        kind = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{torch.backends.cpu.get_cpu_capability()} x {num_threads}"
        )
        unit = f" {bf16_unit(device)}" if chosen["precision"] == "bf16" else ""
        return {"torch": torch.__version__, "device": f"{device.type} {kind}{unit}", "runtime": chosen}

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context of a forward pass: autocast to bf16 where that was chosen, else none."""
        import torch

        bf16 = self.resolved(device)["precision"] == "bf16"
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def forward(self, model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The function that computes a forward pass: ``model``, or a compiled form that shares its weights.

        Each shape of a batch is compiled once in a process, also for later networks of the same kind.
        """
        how = self.resolved(device)["compile"]
        if how == "off":
            return model
        import torch

        compiled: Callable[[Tensor], Tensor] = torch.compile(
            model, dynamic=False, mode="reduce-overhead" if how == "graphs" else "default"
        )
        if how == "on":
            return compiled

        def replay(images: Tensor) -> Tensor:
            # The outputs of the pass before may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return compiled(images)

        return replay

    def num_warm_ups(self, device: torch.device) -> int:
        """The number of first passes with a shape of batch that compile or record it."""
        return {"off": 0, "on": 1, "graphs": 3}[self.resolved(device)["compile"]]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and convolution weights in memory; it changes no result beyond rounding."""
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format


@cache
def bf16_unit(device: torch.device) -> str | None:
    """The unit of ``device`` that multiplies in bf16; None where there is none, and bf16 would be no faster than fp32."""
    import torch

    if device.type == "cuda":
        return "cuda" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    if torch.cpu._is_amx_tile_supported():
        return "amx"
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else None


@cache
def _cannot_compile(device: torch.device) -> str | None:
    """Why ``torch.compile`` does not work, in one line, found by compiling an addition; None where it does."""
    import torch

    try:
        torch.compile(lambda x: x + 1, dynamic=False)(torch.zeros(2, device=device))
    except Exception as error:  # no compiler, no Python headers, no Triton, ...: each has its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__
    return None


def synchronize(device: torch.device) -> None:
    """Wait until everything queued on ``device`` is done, so that a clock read next is true."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
