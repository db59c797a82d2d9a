"""``bimp-exp store list|size|verify|remove|rekey [ROOT]``: what lies in the store of phases, is it whole, what can be removed.

What ``remove --unused`` leaves alone: phases that somebody computes (they are leased), and those that a run without a result
needs: each such run of a sweep's cells.json, begun or not, failed or not, and each such run folder below --results. A
finished run needs nothing any more, unless --keep-finished is given. Needs are told by recipes (``store.header``), which are
the same on every machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from bimp_exp.cli.commands import Parser, add_allow, columns
from bimp_exp.errors import DataError
from bimp_exp.lease import Lease, living
from bimp_exp.store import phases as store
from bimp_exp.sweep.needs import needs
from bimp_exp.text import counted

FILES = ("done.pt", "partial.pt", "partial.previous.pt")
KEY = re.compile("[0-9a-f]{32}")
SHORT = 12  # characters of a key that are shown


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A folder of the store. ``about``: the header of its newest whole file, {} where there is none."""

    folder: Path
    about: Mapping[str, Any]
    size: int
    changed: float

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def names(self) -> set[str | None]:
        """The keys and the recipe by which runs know it."""
        formerly = {self.about["formerly"]} if "formerly" in self.about else set[str]()
        return {self.key, self.about.get("recipe"), *formerly}

    @property
    def status(self) -> str:
        """done or partial, and whether a process computes it now; damaged where no file is a checkpoint."""
        state = "done" if (self.folder / "done.pt").exists() else "partial" if self.about else "damaged"
        return f"{state}, leased" if living(self.folder / "lease") else state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand, and the folder of the store."""
    shared = Parser(add_help=False)
    shared.add_argument(
        "root", metavar="ROOT", type=Path, nargs="?", default=Path("results/phases"), help="its folder (%(default)s)"
    )
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    commands.add_parser("list", parents=[shared], help="a line a phase: key, name, epochs, size, age, state")
    commands.add_parser("size", parents=[shared], help="number of phases and bytes")
    commands.add_parser("verify", parents=[shared], help="read every file and compare its hash")
    remove = commands.add_parser("remove", parents=[shared], help="delete phases, never one that is leased")
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--key", metavar="PREFIX", action="append", help="the phase whose key begins so; may be repeated"
    )
    which.add_argument("--unused", action="store_true", help="all that no run without a result needs")
    remove.add_argument("--keep-finished", action="store_true", help="finished runs need theirs, too")

    rename = commands.add_parser(
        "rekey", parents=[shared], help="keep what an older version has stored: new names for it"
    )
    for action in (remove, rename):
        action.add_argument(
            "--results", metavar="FOLDER", type=Path, default=Path("results"), help="where the runs are (%(default)s)"
        )
        action.add_argument("--dry-run", action="store_true", help="only say what would be done")
        add_allow(action)


def run(given: argparse.Namespace) -> int:
    """Carry out the subcommand; exit status 1 where ``verify`` finds a damaged file."""
    stored = read(given.root)
    if given.action == "list":
        show(stored)
    elif given.action == "size":
        print(f"{given.root}: {_sum(stored)}")
    elif given.action == "verify":
        return 1 if verify(stored) else 0
    elif given.action == "rekey":
        rename(given.root, given.results, given.allow, dry=given.dry_run)
    else:
        chosen = (
            unused(stored, given.results, keep_finished=given.keep_finished, allow=given.allow)
            if given.unused
            else [_only(stored, prefix) for prefix in dict.fromkeys(given.key)]
        )
        delete(chosen, dry=given.dry_run)
    return 0


def read(root: Path) -> list[Stored]:
    """Every phase below ``root``, oldest first; what is not named like a phase is not looked at."""
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; give the root of a store (store.root)")
    found = [_stored(folder) for folder in root.iterdir() if KEY.fullmatch(folder.name)]
    return sorted(found, key=lambda phase: phase.changed)


def _stored(folder: Path) -> Stored:
    about: Mapping[str, Any] = {}
    for name in reversed(FILES):
        try:
            about = store.header(folder / name)
        except DataError:
            continue
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    times = [(folder / name).stat().st_mtime for name in FILES if (folder / name).exists()]
    return Stored(folder=folder, about=about, size=sum(sizes), changed=max(times, default=folder.stat().st_mtime))


def show(stored: Sequence[Stored]) -> None:
    """A table; a partial phase has no epochs yet."""
    rows = [["key", "name", "epochs", "size", "age", "state"]]
    for phase in stored:
        epochs = phase.about.get("epochs")
        rows.append(
            [
                phase.key[:SHORT],
                str(phase.about.get("name", "")),
                "" if epochs is None else f"{epochs:g}",
                decimal(phase.size),
                _age(time.time() - phase.changed),
                phase.status,
            ]
        )
    print("\n".join([*columns(rows), _sum(stored)]))


def verify(stored: Sequence[Stored]) -> int:
    """Say which files are damaged; their number."""
    paths = [(phase, path) for phase in stored for name in FILES if (path := phase.folder / name).exists()]
    damaged = 0
    for phase, path in paths:
        try:
            store.content(path, phase.key)
        except DataError as error:
            if path.exists():  # else its phase went on meanwhile
                damaged += 1
                print(f"damaged: {error}")
    print(f"{len(paths) - damaged} of {len(paths)} files are whole")
    return damaged


def unused(
    stored: Sequence[Stored], results: Path, *, keep_finished: bool, allow: Collection[str] = ()
) -> list[Stored]:
    """Those that no run below ``results`` needs; one that does not tell its recipe counts as needed."""
    if not results.is_dir():
        raise DataError(f"{results}: there is no such folder; give --results the folder of the runs, whose needs count")
    needed = needs(results, keep_finished=keep_finished, allow=allow)
    return [phase for phase in stored if not phase.names & needed]


def delete(chosen: Sequence[Stored], *, dry: bool) -> None:
    """Remove those of ``chosen`` that no process has leased, and say so; ``dry``: only say so."""
    verb, gone = "would remove" if dry else "removed", []
    for phase in chosen:
        if living(phase.folder / "lease") or not (dry or _remove(phase)):
            print(f"kept {_line(phase)}: leased")
        else:
            print(f"{verb} {_line(phase)}")
            gone.append(phase)
    print(f"{verb} {_sum(gone)}")


def rename(root: Path, results: Path, allow: Sequence[str], *, dry: bool) -> None:
    """Give phases that an older version has named their present names, and say so."""
    from bimp_exp.run.rekey import rekey

    renamed, problems = rekey(root, results, dry=dry, allow=allow)
    for phase in renamed:
        print(f"{phase.old[:SHORT]} -> {phase.new[:SHORT]} ({phase.name})")
    for folder, problem in problems.items():
        print(f"not told by {folder}: {problem}")
    print(f"{'would rename' if dry else 'renamed'} {counted(len(renamed), 'phase')}")


def _remove(phase: Stored) -> bool:
    lease = Lease.take(phase.folder / "lease")
    if lease is None:
        return False
    with lease:
        shutil.rmtree(phase.folder)
    return True


def _only(stored: Sequence[Stored], prefix: str) -> Stored:
    found = [phase for phase in stored if phase.key.startswith(prefix)]
    if len(found) != 1:
        raise DataError(f"--key {prefix} is the beginning of {len(found)} keys; it must be of exactly one")
    return found[0]


def _line(phase: Stored) -> str:
    return f"{phase.key[:SHORT]} ({phase.about.get('name', 'damaged')}, {decimal(phase.size)})"


def _sum(stored: Sequence[Stored]) -> str:
    size = sum(phase.size for phase in stored)
    return f"{len(stored)} phase{'s' * (len(stored) != 1)}, {size:,} bytes ({decimal(size)})"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
