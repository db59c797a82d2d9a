"""What ``auto`` becomes, what a machine cannot do, and the time that compiling takes; no test here compiles anything."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimp_exp import runtime
from bimp_exp.errors import ConfigError
from bimp_exp.runtime import Runtime
from tests.conftest import ROOT
from tests.test_keys import keys
from tests.toys import CPU, RUNTIME, data, linear, train

AUTO = dataclasses.replace(RUNTIME, precision="auto", compile="auto", update="auto")


@pytest.fixture(autouse=True)
def _facts_of_this_machine() -> Iterator[None]:
    """What a test has pretended of the processor is forgotten."""
    yield
    runtime._cannot_compile.cache_clear()
    runtime.bf16_unit.cache_clear()


def on(unit: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the processor one that has AMX, or AVX512-BF16, or neither."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: unit == "amx")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: unit is not None)
    runtime.bf16_unit.cache_clear()


@pytest.mark.parametrize(("unit", "precision"), [("amx", "bf16"), ("avx512_bf16", "bf16"), (None, "fp32")])
def test_auto_computes_in_bf16_where_the_processor_multiplies_in_it(
    unit: str | None, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(unit, monkeypatch)
    chosen = AUTO.resolved(CPU)
    assert (chosen["precision"], chosen["compile"], chosen["update"]) == (precision, "off", "fused")
    with AUTO.autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    assert (f" {unit}" in AUTO.facts(CPU, num_threads=1)["device"]) is (unit is not None)


def test_what_is_asked_for_is_what_is_done_on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for unit in ("amx", None):
        on(unit, monkeypatch)
        assert RUNTIME.resolved(CPU)["precision"] == "fp32"
        assert dataclasses.replace(AUTO, precision="bf16").resolved(CPU)["precision"] == "bf16"


def test_a_phase_is_named_by_what_auto_became(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(how: Runtime, *overrides: str) -> list[str]:
        return keys(*overrides, **how.facts(CPU, num_threads=1))

    on("amx", monkeypatch)
    bf16 = named(AUTO)
    assert bf16 == named(dataclasses.replace(AUTO, precision="bf16"), "runtime.precision=bf16")
    on(None, monkeypatch)
    fp32 = named(AUTO)
    assert fp32 == named(dataclasses.replace(AUTO, precision="fp32"), "runtime.precision=fp32")
    assert not {*bf16} & {*fp32}
    assert not {*fp32} & {*named(dataclasses.replace(AUTO, update="loop"))}


def test_threads_are_a_fact_of_the_configuration_not_of_the_process() -> None:
    assert RUNTIME.facts(CPU, num_threads=7)["device"].endswith(" x 7")


@pytest.mark.parametrize("group", ["default", "plain"])
def test_too_many_threads_are_refused_before_pytorch_is_imported(group: str) -> None:
    code = (
        "import sys; from bimp_exp.run import plan; from tests.conftest import composed\n"
        f"try: plan.from_config(composed('runtime={group}', 'runtime.threads=100000'))\n"
        "except ValueError as error: print(error, 'torch' in sys.modules)"
    )
    told = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    most = max(runtime.MOST_THREADS, 4 * (os.cpu_count() or 1))
    assert told == f"runtime.threads=100000 must be null or a whole number from 1 to {most} False\n"
    dataclasses.replace(RUNTIME, threads=most).check()
    with pytest.raises(ConfigError, match=rf"^runtime.threads={most + 1} must be "):
        dataclasses.replace(RUNTIME, threads=most + 1).check()


def test_cuda_graphs_without_cuda_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^runtime.compile=graphs records CUDA graphs but no CUDA device is used: "):
        dataclasses.replace(RUNTIME, compile="graphs").check()


def test_a_machine_without_a_compiler_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Callable[[Tensor], Tensor]:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ConfigError) as raised:
        dataclasses.replace(RUNTIME, compile="on").check()
    line = (
        "runtime.compile=on: PyTorch cannot compile here (InvalidCxxCompiler: No working C++ compiler found): use off"
    )
    assert str(raised.value) == line


def test_the_first_step_with_each_size_of_batch_is_no_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 images in batches of 8, 8 and 4: the first and the third step warm up, which takes long here."""
    seen: set[int] = set()

    def slow(images: Tensor) -> None:
        if len(images) not in seen:
            time.sleep(0.2)
        seen.add(len(images))

    first, second = train(linear(), data(20), steps=6, runtime=uncompiled(slow))
    assert (first.num_items, first.timing.step_sizes, second.timing.step_sizes) == (20, [8], [8, 8, 4])
    assert first.timed == (8, first.timing.seconds)
    assert first.timing.seconds_warming_up >= 0.4  # both sleeps are in it, whatever the machine does
    assert second.timing.seconds_warming_up == 0


def test_an_epoch_that_only_warms_up_still_has_a_rate() -> None:
    (epoch,) = train(linear(), data(8), steps=1, runtime=uncompiled(lambda images: None))
    assert epoch.timed == (8, epoch.timing.seconds_warming_up)
    assert epoch.timing.seconds_warming_up > 0


def uncompiled(before: Callable[[Tensor], None]) -> Runtime:
    """``compile=on``, but that a network is called as it is, after ``before``."""

    class Uncompiled(Runtime):
        def forward(self, model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
            def call(images: Tensor) -> Tensor:
                before(images)
                outputs: Tensor = model(images)
                return outputs

            return call

    return Uncompiled(**{**dataclasses.asdict(RUNTIME), "compile": "on"})
