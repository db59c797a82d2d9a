"""The code of a sweep as it was when the sweep was submitted, so that jobs that start later run what was meant.

SWEEP/code/HASH holds the files of ``provenance.CODE`` and sweeps/, tracked or not, but for what git ignores; and in
user_modules/ the modules of the user's own that the sweep's configurations reach. HASH is that of all these files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bimp_exp import files
from bimp_exp.paths import ROOT
from bimp_exp.results import provenance
from bimp_exp.run import code

PARTS = (*provenance.CODE, "sweeps")
USERS = "user_modules"
LENGTH = 12  # digits of the hash


def take(sweep: Path, targets: Iterable[str] = (), root: Path = ROOT) -> Path:
    """The folder with the code below ``root`` and that of ``targets`` as they are now; copied if the sweep lacks it.

    targets: values of ``_target_`` in the sweep's configurations.
    """
    sources = {name: root / name for name in _names(root)}
    sources |= {f"{USERS}/{name}": path for name, path in user_modules(targets).items()}
    contents = {name: sources[name].read_bytes() for name in sorted(sources)}
    together = hashlib.sha256()
    for name, content in contents.items():
        together.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
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


def paths(snapshot: Path) -> list[Path]:
    """The entries of PYTHONPATH for a process that runs the code of ``snapshot``."""
    return [snapshot, snapshot / USERS]


def user_modules(targets: Iterable[str]) -> Mapping[str, Path]:
    """The files of the user's own modules that ``targets`` reach, by their path below an entry of PYTHONPATH.

    With a module come the packages that hold it: without its ``__init__.py`` a package would be looked for elsewhere.
    """
    names = set(targets)
    while True:
        users = code.reached(names).users
        packages = {package for module in users for package in _packages(module)}
        if packages <= names:
            return {_place(module, path): path for module, path in users.items()}
        names |= packages


def _packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _place(module: str, path: Path) -> str:
    inside = path.name == "__init__.py"
    return "/".join([*module.split(".")[: None if inside else -1], path.name])


def differing(one: Path, other: Path) -> list[str]:
    """The files of two snapshots that are not the same, or only in one of them."""
    return sorted(
        name
        for name in {*_names(one, (*PARTS, USERS)), *_names(other, (*PARTS, USERS))}
        if not ((one / name).exists() and (other / name).exists())
        or (one / name).read_bytes() != (other / name).read_bytes()
    )


def _names(root: Path, parts: Sequence[str] = PARTS) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *parts],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    inside = listed.returncode == 0 and listed.stdout
    names = (
        listed.stdout.split("\0")
        if inside
        else [str(p.relative_to(root)) for part in parts for p in _below(root / part)]
    )
    return sorted(name for name in set(names) if name and (root / name).is_file())  # git lists deleted ones too


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if "__pycache__" not in p.parts]
