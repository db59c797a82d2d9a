"""Where and how a run computes: device, threads, precision, determinism. Imports no PyTorch until a run starts.

Every ``auto`` becomes the choice that was measured to be the fastest (docs/guide.md, Speed), for the device that is there;
what it became is in the key of a phase and in what a run writes.
"""

from __future__ import annotations

import ctypes
import platform
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


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One option of ``conf/runtime/``."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Count | None
    precision: Literal["auto", "fp32", "bf16"]
    compile: Literal["auto", "off", "on", "graphs"]
    update: Literal["auto", "loop", "foreach", "fused"]
    deterministic: bool
    channels_last: bool
    keep_memory: bool

    def start(self) -> torch.device:
        """Apply the settings to this process; the device to train on. ConfigError where it cannot do what they say."""
        import os

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("runtime.device=cuda but no CUDA device is there: use auto or cpu")
        all_threads = _all_threads()
        torch.set_num_threads(self.threads or all_threads)
        # As use_deterministic_algorithms, which would import the compiler: that takes seconds.
        torch.set_deterministic_debug_mode("error" if self.deterministic else "default")
        # Else every new tensor is first filled with NaN, an eighth of a step on CPU; nothing here reads before it writes.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = not self.deterministic
        torch.backends.cudnn.allow_tf32 = False  # else a GPU's convolutions in fp32 would round to 10 bits
        if self.keep_memory:
            _keep_memory()
        device = torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")
        if self.resolved(device)["compile"] != "off":
            self._prepare_compiler(device)
        return device

    def _prepare_compiler(self, device: torch.device) -> None:
        if self.compile == "graphs" and device.type != "cuda":
            raise ConfigError("runtime.compile=graphs records CUDA graphs but no CUDA device is used: use on or off")
        obstacle = _cannot_compile(device)
        if obstacle:
            raise ConfigError(f"runtime.compile={self.compile}: PyTorch cannot compile here ({obstacle}): use off")
        import torch

        torch.use_deterministic_algorithms(self.deterministic)  # for the compiler, too

    def resolved(self, device: torch.device) -> dict[str, Any]:
        """All that can change the last bits of a number, with nothing left on auto."""
        auto = {"precision": "bf16" if bf16_unit(device) else "fp32", "compile": "off", "update": "fused"}
        asked = {"precision": self.precision, "compile": self.compile, "update": self.update}
        chosen = {key: auto[key] if value == "auto" else value for key, value in asked.items()}
        return chosen | {"deterministic": self.deterministic, "channels_last": self.channels_last}

    def facts(self, device: torch.device) -> dict[str, Any]:
        """What decides the last bits of a number, beside the configuration: versions, kind of processor, threads, choices."""
        import torch

        chosen = self.resolved(device)
        kind = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{torch.backends.cpu.get_cpu_capability()} x {torch.get_num_threads()}"
        )
        unit = f" {bf16_unit(device)}" if chosen["precision"] == "bf16" else ""
        return {"torch": torch.__version__, "device": f"{device.type} {kind}{unit}", "runtime": chosen}

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context of a forward pass: bf16 where chosen, else plain fp32."""
        import torch

        bf16 = self.resolved(device)["precision"] == "bf16"
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def forward(self, model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
        """What to call for a forward pass: ``model``, or its compiled form, which has the same weights; ``model`` stays plain.

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
            # What the pass before has returned may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return compiled(images)

        return replay

    def num_warm_ups(self, device: torch.device) -> int:
        """How many of the first passes with a shape of batch compile it or record it."""
        return {"off": 0, "on": 1, "graphs": 3}[self.resolved(device)["compile"]]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and convolution weights in memory; it changes no result beyond rounding."""
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format


@cache
def bf16_unit(device: torch.device) -> str | None:
    """What multiplies in bf16 on ``device``: None where nothing does, and bf16 would be no faster than fp32."""
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

    # Beyond a limit PyTorch would go on uncompiled, so that the bits of a run would depend on those before it.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1_000_000
    try:
        torch.compile(lambda x: x + 1, dynamic=False)(torch.zeros(2, device=device))
    except Exception as error:  # no compiler, no Python headers, no Triton, ...: each has its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__
    return None


@cache
def _keep_memory() -> None:
    """Have glibc keep what this process frees; a step would hand tens of thousands of pages back, to fetch them again."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in (
            (-1, 2**31 - 1),
            (-2, 2**28),
            (-4, 0),
        ):  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
            libc.mallopt(parameter, value)


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
