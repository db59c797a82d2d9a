"""Where the program's own files lie: the package, its configuration groups and its sweeps."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
CONF = ROOT / "conf"
SWEEPS = ROOT / "sweeps"
