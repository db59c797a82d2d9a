"""Do the tests notice? Plants each bug of ``tests/mutations.py`` in a copy of the repository and says which test fails there.

    python -m tests.mutate [--only NAME ...] [--jobs N]

First come the tests that should notice, to the first failure; if none of them fails, all. The one that failed must pass without
any bug. What was found goes into docs/mutations.md, beside what earlier calls found for the other bugs; --shown leaves that page
as it is. It lies here, not in a folder of its own, because it is about the tests and one of them holds it together.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import ROOT
from tests.mutations import MUTATIONS
from tests.plant import Mutation, file_of, planted

TABLE = ROOT / "docs" / "mutations.md"
HEAD = """# Bugs that the tests notice

Each row is a bug that was planted in a copy of this repository, and the first test that failed then. Written by
`python -m tests.mutate`; the bugs are in `tests/mutations.py` and `tests/mutations_of_runs.py`.

| name | bug | place | edit | noticed by |
|---|---|---|---|---|
"""
MISSED = "**MISSED**"
LIMIT = 1800  # seconds; more than all tests take
HERE = "tests/test_mutations.py"  # which fails wherever a bug is planted


def failing(root: Path, tests: Sequence[str]) -> str | None:
    """The first of ``tests`` that fails in the repository ``root``; RuntimeError where they cannot be run at all."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode == 0:
        return None
    found = re.search(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{' '.join(command)} in {root} ends with {done.returncode}:\n{done.stdout}{done.stderr}")
    return found[1]


def copied(folder: Path) -> Path:
    """A copy of the working tree in ``folder``."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    root = folder / "repository"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    return root


def noticed(mutation: Mutation) -> str:
    """The first test that fails with the bug, or MISSED; RuntimeError where one of all tests fails without it, too."""
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder))
        path = root / file_of(mutation.where)
        sound = path.read_text()
        path.write_text(planted(sound, mutation.where, mutation.old, mutation.new))
        found = failing(root, mutation.tests)
        if found is None and (found := failing(root, ["tests", f"--ignore={HERE}"])) is not None:
            path.write_text(sound)
            _require_passing(root, [found])
        return found or MISSED


def _require_passing(root: Path, tests: Sequence[str]) -> None:
    if (found := failing(root, tests)) is not None:
        raise RuntimeError(f"{found} fails without any bug")


def row(mutation: Mutation, by: str) -> str:
    """A line of the table; of a longer edit the lines that differ."""
    old, new = (textwrap.dedent(text).strip().splitlines() for text in (mutation.old, mutation.new))
    lines = difflib.ndiff(old, new)
    changed = [line for line in lines if line[0] in "+-"]
    edit = "<br>".join(f"`{line}`".replace("|", "\\|") for line in changed)
    test = by if by == MISSED else f"`{by}`"
    return f"| {mutation.name} | {mutation.bug} | `{mutation.where}` | {edit} | {test} |"


def table(found: dict[str, str], before: Iterable[str]) -> str:
    """The page: rows of ``found``, and for other bugs those of the page ``before`` where they are about the same edit."""
    known = set(before)
    rows = []
    for mutation in MUTATIONS:
        start = row(mutation, "").removesuffix("`` |")
        kept = [line for line in known if line.startswith(start)]
        rows += [row(mutation, found[mutation.name])] if mutation.name in found else kept
    return HEAD + "\n".join(rows) + "\n"


def main() -> None:
    """Plant, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[m.name for m in MUTATIONS], help="these bugs")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="bugs at a time")
    parser.add_argument("--shown", action="store_true", help="only show what is found")
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if arguments.only is None or m.name in arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        _require_passing(copied(Path(folder)), sorted({test for m in chosen for test in m.tests}))
    found: dict[str, str] = {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for mutation, by in zip(chosen, pool.map(noticed, chosen), strict=True):
            found[mutation.name] = by
            print(f"{mutation.name}: {by}", flush=True)
            if not arguments.shown:
                TABLE.write_text(table(found, TABLE.read_text().splitlines() if TABLE.exists() else ()))
    sys.exit(1 if MISSED in found.values() else 0)


if __name__ == "__main__":
    main()
