"""The copy of the code that the jobs of a sweep run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bimp_exp.sweep import snapshot


def write(folder: Path, sources: dict[str, str]) -> None:
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_modules_of_the_user_come_along_with_the_packages_that_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    (tmp_path / "repository").mkdir()
    own = {
        "snap_regular/__init__.py": "from snap_regular import constants",
        "snap_regular/constants.py": "VALUE = 1",
        "snap_regular/inner/__init__.py": "",
        "snap_regular/inner/rates.py": "import math, numpy\nimport snap_single\nVALUE = snap_single.VALUE",
        "snap_namespace/inside/model.py": "VALUE = 3",
        "snap_single.py": "VALUE = 2",
    }
    write(there, own | {"snap_regular/unused.py": ""})
    monkeypatch.syspath_prepend(there)
    targets = ["snap_regular.inner.rates.Rates", "snap_namespace.inside.model.Model", "bimp_exp.schedule.allr.ALLR"]
    assert dict(snapshot.user_modules(targets)) == {name: there / name for name in own}
    taken = snapshot.take(tmp_path / "sweep", targets, tmp_path / "repository")
    write(there, dict.fromkeys(own, "raise RuntimeError"))
    program = "import snap_regular.inner.rates as a, snap_namespace.inside.model as b; print(a.VALUE, b.VALUE)"
    path = ":".join(map(str, [*snapshot.paths(taken), there]))
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stdout == "2 3\n", done.stderr


def test_an_edit_of_either_code_makes_another_snapshot_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, there, sweep = tmp_path / "repository", tmp_path / "there", tmp_path / "sweep"
    write(root, {"bimp_exp/a.py": "1", "run.py": "2"})
    write(there, {"snap_edited.py": "3"})
    monkeypatch.syspath_prepend(there)
    first = snapshot.take(sweep, ["snap_edited.Thing"], root)
    assert snapshot.take(sweep, ["snap_edited.Thing"], root) == first
    write(there, {"snap_edited.py": "4"})
    second = snapshot.take(sweep, ["snap_edited.Thing"], root)
    assert snapshot.differing(first, second) == ["user_modules/snap_edited.py"]
    write(root, {"bimp_exp/a.py": "5"})
    third = snapshot.take(sweep, [], root)
    assert snapshot.differing(second, third) == ["bimp_exp/a.py", "user_modules/snap_edited.py"]
