"""A claim on a folder that ends with the process that made it, on any number of machines with a common file system.

The lease is a file. Its holder touches it every ``BEAT`` seconds; one that has not been touched for ``EXPIRES`` seconds, or
whose process is known to be gone, is taken over. Two processes may, in a race of milliseconds at a takeover, both believe
that they hold it: what they write is written atomically and is the same, so that costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

BEAT = 5.0
EXPIRES = 60.0


class Lease:
    """Held from ``take`` until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = uuid.uuid4().hex
        self._released = threading.Event()

    @classmethod
    def take(cls, path: Path) -> Lease | None:
        """The lease at ``path``, or None where a living process holds it; OSError where no file can be written."""
        lease = cls(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if lease._create():
            return lease
        there = holder(path)
        if there is not None and not _expired(path, there):
            return None
        grave = path.with_name(f".{path.name}.{lease._token}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(grave)  # of several processes that see it expired, one succeeds
            grave.unlink()
        return lease if lease._create() else None

    def _create(self) -> bool:
        about = {"token": self._token, "host": platform.node(), "pid": os.getpid(), "boot": _boot()}
        try:
            with open(self.path, "x") as file:
                json.dump(about, file)
        except FileExistsError:
            return False
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Give it up, if it is still ours."""
        self._released.set()
        if (holder(self.path) or {}).get("token") == self._token:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lease at ``path``: host and pid; None where nobody does, {} where that cannot be read."""
    try:
        about: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # being written just now
        return {}
    return about


def living(path: Path) -> dict[str, Any] | None:
    """Who holds the lease at ``path``, as ``holder`` says, if that process shows life; None else."""
    there = holder(path)
    return None if there is None or _expired(path, there) else there


def heartbeat(path: Path) -> tuple[str, int] | None:
    """Token and time [ns] of the last sign of life of the holder of the lease at ``path``; None where there is none."""
    there = holder(path)  # opening the file makes a network file system ask for its time anew
    try:
        return None if there is None else (str(there.get("token")), path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


def _expired(path: Path, there: dict[str, Any]) -> bool:
    if (there.get("host"), there.get("boot")) == (platform.node(), _boot()) and not _alive(int(there["pid"])):
        return True
    probe = path.with_name(f".{path.name}.now.{uuid.uuid4().hex}")
    try:
        probe.touch()  # the file system's clock, not this machine's
        return probe.stat().st_mtime - path.stat().st_mtime > EXPIRES
    except FileNotFoundError:
        return True
    except OSError:  # it may be looked at, not written
        return time.time() - path.stat().st_mtime > EXPIRES
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _boot() -> str:
    """Names this start of this machine, so that a pid means something; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
