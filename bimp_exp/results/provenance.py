"""The origin of a result: versions, commit, machine, hashes."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bimp_exp import cores
from bimp_exp.config.neutral import without_neutral
from bimp_exp.paths import ROOT

CODE = ("bimp_exp", "conf", "hydra_plugins", "run.py")
RECORDED = "git.json"  # in a snapshot of the code: what git() said where it was taken
PACKAGES = ("bimp-exp", "torch", "torchvision", "numpy", "hydra-core", "mlflow")


def command_line() -> str:
    """The command that started this process, without the interpreter and the folder of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def collect(config: dict[str, Any], command: str) -> dict[str, Any]:
    """Everything that is known when a run starts, ready for JSON.

    command: repeats the run; that of its submission, where another process does it.
    """
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "git": git(ROOT),
        "machine": machine(),
        "config_hash": config_hash(config),
        "command": command,
    }


def config_hash(config: dict[str, Any]) -> str:
    """SHA-256 of the resolved configuration without the keys that change no number."""
    text = json.dumps(without_neutral(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def git(folder: Path) -> dict[str, Any]:
    """Commit of the code and whether code or configuration differ from it; nulls outside a repository."""
    if (folder / RECORDED).exists():
        recorded: dict[str, Any] = json.loads((folder / RECORDED).read_text())
        return recorded
    if not (folder / "conf").is_dir():  # installed from a wheel: a repository around the environment is not ours
        return {"commit": None, "dirty": None}

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit, changes = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--", *CODE)
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def machine() -> dict[str, Any]:
    """Host, processor, cores and GPU."""
    import torch

    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores.usable(hyperthreads=True),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None
