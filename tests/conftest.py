"""Where the shared golden numbers and images lie, for the tests that need them."""

from __future__ import annotations

import json
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
