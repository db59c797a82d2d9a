"""What runs change in the process that computes them, and what they share there: one object, with an end.

::

    with Process() as process:
        device = process.start(experiment.runtime)
        facts = experiment.runtime.facts(device, num_threads=process.num_threads(experiment.runtime))
        data = process.load(experiment.dataset, device, augment_validation=False, memory_format=torch.channels_last)
        tracking = process.tracker(experiment.tracking)

serves any number of runs, one at a time. When it is closed, the settings of the process are as before, the workers that decode
images have ended, and all that was to be mirrored is (or ``tracking`` has given up). Imports no PyTorch before it is needed.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.base import Dataset
    from bimp_exp.dataset.data import Data
    from bimp_exp.results.writer import Tracking
    from bimp_exp.runtime import Runtime

KEPT = 2  # loaded data sets that lie in memory at once
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # the variable with which cuBLAS is deterministic
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4  # malloc.h of glibc
KEEPING = {M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**28, M_MMAP_MAX: 0}
# A call of mallopt ends the rule by which the thresholds grow; these are the values that the rule tends to.
USUAL = {M_TRIM_THRESHOLD: 2**26, M_TOP_PAD: 2**17, M_MMAP_THRESHOLD: 2**25, M_MMAP_MAX: 2**16}

Setting = tuple[Callable[[], Any], Callable[[Any], object]]  # reads it, sets it


class Process:
    """The settings, loaded data and trackers of this process, for all of its runs."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}  # the settings that were changed, as they were
        self._generators: dict[str, AbstractContextManager[None]] = {}  # put PyTorch's back: training seeds them
        self._keeps_memory = False
        self._checked: set[str] = set()
        self._dataset: Dataset | None = None  # the last one, since to list a million files takes a while
        self._loaded: list[tuple[tuple[Any, ...], Data]] = []  # the last one used is the last
        self._trackers: list[Tracking] = []

    def start(self, runtime: Runtime) -> torch.device:
        """Apply ``runtime`` to this process; the device to train on. ConfigError where the machine cannot do it."""
        device = runtime.check()
        self._remember_generators(device)
        settings = _settings()
        if os.environ.get(CUBLAS) is None:
            self._set(settings, CUBLAS, ":4096:8")
        self._set(settings, "threads", self.num_threads(runtime))
        # As use_deterministic_algorithms, which would import the compiler: that takes seconds.
        self._set(settings, "deterministic", 2 if runtime.deterministic else 0)
        # Else every new tensor is first filled with NaN, an eighth of a step on CPU; nothing here reads before it writes.
        self._set(settings, "fill_uninitialized_memory", False)
        self._set(settings, "cudnn.benchmark", not runtime.deterministic)
        self._set(settings, "cudnn.allow_tf32", False)  # else a GPU's convolutions in fp32 would round to 10 bits
        self._set(settings, "float32_matmul_precision", "highest")  # the same for matrices
        if runtime.resolved(device)["compile"] != "off":
            compiler = _settings_of_compiler()
            self._set(compiler, "inductor.deterministic", runtime.deterministic)
            # Beyond a limit PyTorch would go on uncompiled, so that the bits of a run would depend on those before it.
            self._set(compiler, "dynamo.recompile_limit", 1_000_000)
            self._set(compiler, "dynamo.accumulated_recompile_limit", 1_000_000)
        self._keep_memory(runtime.keep_memory)
        return device

    def use_threads(self, number: int) -> None:
        """Compute with ``number`` threads from now on, and change nothing else."""
        self._set(_settings(), "threads", number)

    def num_threads(self, runtime: Runtime) -> int:
        """The threads that ``runtime`` computes with here; null stands for those that PyTorch had before any run."""
        import torch

        return runtime.threads or self._before.get("threads") or torch.get_num_threads()

    def check_data(self, dataset: Dataset) -> None:
        """Raise DataError where the data are not what ``dataset`` says, once for all equal ones."""
        if repr(dataset) not in self._checked:
            self._last(dataset).source()
            self._checked.add(repr(dataset))

    def load(
        self, dataset: Dataset, device: torch.device, *, augment_validation: bool, memory_format: torch.memory_format
    ) -> Data:
        """The result of ``dataset.load``; the last KEPT are kept for equal calls, and only the last has workers."""
        asked = dataset, device, augment_validation, memory_format
        found = next((entry for entry in self._loaded if entry[0] == asked), None)
        if found is not None:
            self._loaded.remove(found)
        for _, other in self._loaded:
            other.close()
        if found is None:
            del self._loaded[: max(0, len(self._loaded) - KEPT + 1)]  # first, so that no more of them meet in memory
            data = self._last(dataset).load(device, augment_validation=augment_validation, memory_format=memory_format)
            found = asked, data
        self._loaded.append(found)
        return found[1]

    def tracker(self, tracking: Tracking) -> Tracking:
        """``tracking``, or an equal one from before: they share what mirrors their runs."""
        for tracker in self._trackers:
            if tracker == tracking:
                return tracker
        self._trackers.append(tracking)
        return tracking

    def close(self) -> None:
        """End the workers, put the settings back, and wait until the trackers have done; a second call does nothing."""
        data, trackers = [data for _, data in self._loaded], self._trackers
        self._loaded, self._trackers, self._dataset = [], [], None
        self._checked.clear()
        with ExitStack() as ends:  # goes on where one of them raises; the last is the first
            for tracker in trackers:
                ends.callback(tracker.close)
            ends.callback(self._put_back)
            for each in data:
                ends.callback(each.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _last(self, dataset: Dataset) -> Dataset:
        """``dataset``, or the last one if it is equal."""
        if self._dataset != dataset:
            self._dataset = dataset
        assert self._dataset is not None
        return self._dataset

    def _remember_generators(self, device: torch.device) -> None:
        import torch

        if device.type not in self._generators:
            indices = [torch.cuda.current_device()] if device.type == "cuda" else []
            self._generators[device.type] = torch.random.fork_rng(devices=indices)
            self._generators[device.type].__enter__()

    def _set(self, settings: dict[str, Setting], name: str, value: Any) -> None:
        read, change = settings[name]
        now = read()
        self._before.setdefault(name, now)
        if now != value:  # a number of threads is set by starting them
            change(value)

    def _put_back(self) -> None:
        before, self._before = self._before, {}
        if before:
            every = _settings() | (_settings_of_compiler() if "inductor.deterministic" in before else {})
            for name, value in before.items():
                read, change = every[name]
                if read() != value:
                    change(value)
        if "inductor.deterministic" in before:
            from torch._inductor.async_compile import shutdown_compile_workers

            shutdown_compile_workers()
        while self._generators:
            self._generators.popitem()[1].__exit__(None, None, None)
        if self._keeps_memory:
            self._keep_memory(False)
            ctypes.CDLL(None).malloc_trim(0)

    def _keep_memory(self, keep: bool) -> None:
        """Have glibc keep what this process frees; a step would hand tens of thousands of pages back, to fetch them again."""
        if keep != self._keeps_memory and platform.libc_ver()[0] == "glibc":
            libc = ctypes.CDLL(None)
            for parameter, value in (KEEPING if keep else USUAL).items():
                libc.mallopt(parameter, value)
            self._keeps_memory = keep


def _settings() -> dict[str, Setting]:
    """The settings of a process that runs change."""
    import torch

    return {
        CUBLAS: (partial(os.environ.get, CUBLAS), _set_cublas),
        "threads": (torch.get_num_threads, torch.set_num_threads),
        "deterministic": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        "fill_uninitialized_memory": _attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
        "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
        "cudnn.allow_tf32": _attribute(torch.backends.cudnn, "allow_tf32"),
        "float32_matmul_precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    }


def _settings_of_compiler() -> dict[str, Setting]:
    """Those of ``torch.compile``, which takes seconds to import."""
    import torch._dynamo.config
    import torch._inductor.config

    return {
        "inductor.deterministic": _attribute(torch._inductor.config, "deterministic"),
        "dynamo.recompile_limit": _attribute(torch._dynamo.config, "recompile_limit"),
        "dynamo.accumulated_recompile_limit": _attribute(torch._dynamo.config, "accumulated_recompile_limit"),
    }


def _attribute(owner: Any, name: str) -> Setting:
    return partial(getattr, owner, name), partial(setattr, owner, name)


def _set_cublas(value: str | None) -> None:
    if value is None:
        os.environ.pop(CUBLAS, None)
    else:
        os.environ[CUBLAS] = value
