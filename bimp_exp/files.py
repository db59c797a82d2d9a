"""Writing files so that a reader never sees half of one: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

from bimp_exp.errors import UserError


def write(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` at once or not at all; UserError with the reason where it cannot be written."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # a pid may be another's on another node
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON; not-a-number and infinity are refused, since JSON has none."""
    write(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def line(value: dict[str, Any]) -> str:
    """One JSON object as a line."""
    return json.dumps(value, allow_nan=False) + "\n"


def append_line(path: Path, value: dict[str, Any]) -> None:
    """One JSON object as the next line of ``path``."""
    try:
        with open(path, "a") as file:
            file.write(line(value))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def remove_empty(folder: Path) -> None:
    """Remove ``folder`` if nothing is in it, then those above it that this empties, below the current directory only."""
    here, folder = Path.cwd(), folder.absolute()
    for candidate in (folder, *folder.parents):
        if here not in candidate.parents:
            return
        with contextlib.suppress(OSError):
            candidate.rmdir()
