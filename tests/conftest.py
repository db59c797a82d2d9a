"""The golden cases of ``tests/golden/``, and where real images lie for the tests that read some."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"  # optional, beside the repository: data/cifar10/{train,test}.parquet

# How long an example takes says something of the machine alone.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


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


LIBRARIES = ("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR", "KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK")
"""Variables that pytest, PyTorch and scikit-learn set by themselves, the latter when they are first used."""


def process_settings() -> dict[str, Any]:
    """All that a run may change in its process, as it is now."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "fill_uninitialized_memory": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "environment": {name: value for name, value in os.environ.items() if name not in LIBRARIES},
        "generators": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
    }


@pytest.fixture(scope="module", autouse=True)
def _settings_stay() -> Iterator[None]:
    """The tests of a file leave the settings of the process as they were, but for the generators that some tests seed."""
    before = process_settings()
    yield
    after = process_settings()
    for name in before.keys() - {"generators", "environment"}:
        assert after[name] == before[name], name
