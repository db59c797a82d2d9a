"""The code of a sweep as it was when the sweep was submitted, so that jobs that start later run what was meant.

SWEEP/code/HASH holds the files of ``provenance.CODE`` and sweeps/, tracked or not, but for what git ignores; HASH is theirs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bimp_exp import files
from bimp_exp.paths import ROOT
from bimp_exp.results import provenance

PARTS = (*provenance.CODE, "sweeps")
LENGTH = 12  # digits of the hash


def take(sweep: Path, root: Path = ROOT) -> Path:
    """The folder with the code below ``root`` as it is now; it is copied if the sweep has no such code yet."""
    names = _names(root)
    contents = {name: (root / name).read_bytes() for name in names}
    together = hashlib.sha256()
    for name in names:
        together.update(f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n".encode())
    folder = (sweep / "code" / together.hexdigest()[:LENGTH]).absolute()
    if folder.exists():
        return folder
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    for name, content in contents.items():
        files.write(temporary / name, content)
    files.write_json(temporary / provenance.RECORDED, provenance.git(root))
    try:
        temporary.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(temporary)
    return folder


def differing(one: Path, other: Path) -> list[str]:
    """The files of two snapshots that are not the same, or only in one of them."""
    return sorted(
        name
        for name in {*_names(one), *_names(other)}
        if not ((one / name).exists() and (other / name).exists())
        or (one / name).read_bytes() != (other / name).read_bytes()
    )


def _names(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    inside = listed.returncode == 0 and listed.stdout
    names = (
        listed.stdout.split("\0")
        if inside
        else [str(p.relative_to(root)) for part in PARTS for p in _below(root / part)]
    )
    return sorted(name for name in set(names) if name and (root / name).is_file())  # git lists deleted ones too


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if "__pycache__" not in p.parts]
