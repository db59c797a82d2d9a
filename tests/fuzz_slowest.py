"""``python -m tests.fuzz_slowest NUM [SEED]``: NUM mutated command lines, a process each: the slowest, and what is wrong.

Seconds are of CPU time, so that they mean the same on a busy machine. ``--warm`` answers from forks of one process, as the tests
do: a hundred times as fast, and without the time that imports take.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import ROOT, Answer, answer, cases, planned, warm_up
from tests.test_fuzz import wrong

SHOWN = 10


def real(arguments: list[str], folder: Path) -> Answer:
    """What ``python run.py`` says in a process of its own."""
    before = children()
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        command = [sys.executable, str(ROOT / "run.py"), *planned(arguments)]
        done = subprocess.run(command, cwd=inside, capture_output=True, text=True)
        left = [str(path.relative_to(inside)) for path in sorted(Path(inside).rglob("*"))]
    return Answer(status=done.returncode, out=done.stdout, err=done.stderr, left=left, seconds=children() - before)


def children() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Exit status 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_slowest")
    parser.add_argument("num", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--warm", action="store_true")
    given = parser.parse_args()
    if given.warm:
        warm_up()
    found, num_wrong = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(given.num, given.seed):
            said = (answer if given.warm else real)(case.arguments, Path(folder))
            found.append((said.seconds, said.status, case.arguments))
            if (reason := wrong(case, said)) is not None:
                num_wrong += 1
                print("WRONG", case.arguments, reason, flush=True)
    for status, what in ((2, "refused"), (0, "planned")):
        those = sorted((f for f in found if f[1] == status), reverse=True)
        over = sum(seconds > 2 for seconds, _, _ in those)
        print(f"{len(those)} {what}, {over} of them in more than 2 s of CPU time; the slowest:")
        for seconds, _, arguments in those[:SHOWN]:
            print(f"{seconds:6.2f} s  {arguments}")
    print(f"{num_wrong} wrong of {len(found)}")
    return min(1, num_wrong)


if __name__ == "__main__":
    sys.exit(main())
