"""Where the shared golden numbers and images lie, for the tests that need them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def golden(file: str, *, kind: str | None = None) -> list[Any]:
    """The cases of ``spec/golden/FILE.json`` as pytest parameters, or one skipped parameter where the folder is absent."""
    path = SHARED / "spec" / "golden" / f"{file}.json"
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{path} is absent"))]
    cases = json.loads(path.read_text())["cases"]
    return [pytest.param(case, id=case["id"]) for case in cases if kind in (None, case["kind"])]


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
