"""The golden cases of ``tests/golden/``, and where real images lie for the tests that read some."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"  # optional, beside the repository: data/cifar10/{train,test}.parquet


def golden(file: str, *, kind: str) -> list[Any]:
    """The cases of one ``kind`` in ``tests/golden/FILE.json`` as pytest parameters; ValueError where there are none."""
    cases = [case for case in json.loads((GOLDEN / f"{file}.json").read_text())["cases"] if case["kind"] == kind]
    if not cases:
        raise ValueError(f"tests/golden/{file}.json has no case of kind {kind}")
    return [pytest.param(case, id=case["id"]) for case in cases]


real_cifar10 = pytest.mark.skipif(
    not (SHARED / "data" / "cifar10").is_dir(), reason=f"needs CIFAR-10 as parquet in {SHARED / 'data' / 'cifar10'}"
)


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration of a command line."""
    from hydra import compose, initialize_config_dir

    from bimp_exp.config.resolve import resolve, without_hydra

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return resolve(without_hydra(compose("config", list(overrides), return_hydra_config=True)))[0]


@pytest.fixture(scope="module", autouse=True)
def _torch_settings() -> Iterator[None]:
    """What runs have set for the whole process is set back."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)
