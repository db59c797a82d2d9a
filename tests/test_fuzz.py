"""Whatever is on the command line, the answer is a plan, or one line that names what is wrong, and nothing on disk.

BIMP_FUZZ=1000 is the full size, of which 25 lines are also given to real processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz import Answer, Case, cases, planned
from tests.test_run import ROOT

NUM = int(os.environ.get("BIMP_FUZZ", "40"))
REAL = max(3, NUM // 40)

FOUND = [  # what the fuzzer has found to be answered badly, and what is said now
    (["method=gmp", "method.interval=16"], "method.interval=16 must be at most half of the 30 epochs of training"),
    (
        ["-m", "method=gmp,dpf", "method.interval=2,16"],
        "2 of 4 runs are impossible, nothing was started: gmp interval=16, dpf interval=16: method.interval=16 must be at most",
    ),
    (
        ["method=wr", "budget.dense_epochs=10", "budget.cycles=1", "seed=1"],
        "budget.retrain_epochs must be at most",
    ),
    (["method=cs", "method.initial=-100"], "method.initial=-100 must be at least -80: 1 / sigmoid(s0) is a factor"),
    (["method=str", "method.initial=nan"], "method.initial=nan must be a number from -1e38 to 1e38"),
    (
        ["-m", "method=dnw", "conventions=paper", "selector=uniform,global"],
        "1 of 2 runs are impossible, nothing was st",
    ),
    (["dataset.num_test_images=3"], "the digits data: 360 test images, but dataset.num_test_images=3"),
    (["-m", "dense_checkpoint=null,/dev/null"], "dense_checkpoint=/dev/null: there is no such file"),
    (["-x"], "there is no option -x; --help lists the options"),
    (["seed=1", "-m", "sparsity=0.5"], "sparsity=0.5: keys stand together, before the options or behind them"),
    (["--config-name"], "argument --config-name/-cn: expected one argument"),
    (["~model.depth"], "model.depth is missing: it must be a whole number of at least 1"),
    (["+model.num_classes=3"], "model.num_classes: leave it out, the data set gives it to the model"),
    (
        ["+dataset.rotatoin=3"],
        "no such key: dataset.rotatoin (did you mean rotation?); the keys for dataset are crop_pa",
    ),
    (["method.x=1"], "no such key: method.x; there are no keys for method"),
    (["seed=a\nb"], r"seed=a\nb cannot be read: give KEY=VALUE, and in quotes what has"),
    (["seed='"], "seed=' cannot be read: give KEY=VALUE"),
    (["seed=foo(1)"], "seed=foo(1) cannot be read: while evaluating 'foo(1)': Unknown function 'foo'"),
    (["seed=???"], "seed: Missing mandatory value"),
    (["seed=${seed}"], "seed: Recursive interpolation detected"),
    (["~budget.x"], "no such key: budget.x, so it cannot be deleted"),
    (["+budget.epochs=4"], "budget.epochs is there already: leave the + out"),
    (["++schedule=clr"], "schedule=clr chooses an option of a group: leave the ++ out"),
    (["sweeps=schedules"], "sweeps=schedules: sweeps is not in the configuration; +sweeps=schedules would add it"),
    (
        ["schedule=[clr,llr]"],
        "schedule: a group has one option, neither a list nor a mapping; for a run with each, -m schedule=A,B",
    ),
    (["-m", "lr=[linear,cosine]", "seed=0,1"], "lr: a group has one option, neither a list nor a mapping"),
    (["lr=[clr,llr]"], "lr=llr: no such option"),
    (["-m", "hydra.launcher.jobs=abc"], "hydra.launcher.jobs=abc: Value 'abc' of type 'str' could not be converted"),
    (["-m", "seed=interval(0,1)"], "seed=interval(0,1): a grid needs values that can be listed"),
    (["-m", "seed=range(3,3)"], "seed=range(3,3): the grid is empty, since this has no values"),
    (
        ["-m", "sparsity=1", "seed=range(5)"],
        "nothing was started: seed=0, seed=1, seed=2 and 2 more: sparsity=1 must be",
    ),
]


@contextmanager
def asking(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that answers command lines, ended in the end."""
    line = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", str(folder)]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def answers(folder: Path, lines: list[list[str]]) -> list[Answer]:
    with asking(folder) as process:
        out, _ = process.communicate("".join(json.dumps(line) + "\n" for line in lines))
    return [Answer(**json.loads(line)) for line in out.splitlines()]


def wrong(case: Case, answer: Answer) -> str | None:
    """What is to be complained of in an answer."""
    lines = answer.err.splitlines()
    if answer.left:
        return f"leaves {answer.left}"
    if answer.status == 0:
        return "is not refused" if case.names else f"says {lines}" if lines else None if answer.out else "says nothing"
    if answer.status != 2 or len(lines) != 1 or not lines[0].startswith("error: ") or answer.out:
        return f"ends with {answer.status}, {answer.err[-300:]}{answer.out[:300]}"
    return None if case.names is None or case.names in lines[0] else f"does not name {case.names}: {lines[0]}"


def test_mutated_command_lines(tmp_path: Path) -> None:
    made = [*cases(NUM, seed=0), Case(arguments=["schedule=clr"], names=None)]
    found = answers(tmp_path, [case.arguments for case in made])
    assert len(found) == len(made)
    complaints = [f"{c.arguments} {reason}" for c, a in zip(made, found, strict=True) if (reason := wrong(c, a))]
    assert not complaints
    assert {answer.status for answer in found} == {0, 2}


def test_real_processes_say_the_same(tmp_path: Path) -> None:
    made = cases(REAL, seed=1)
    expected = answers(tmp_path, [case.arguments for case in made])
    for case, answer in zip(made, expected, strict=True):
        command = [sys.executable, str(ROOT / "run.py"), *planned(case.arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (answer.status, answer.err)


def test_what_was_found(tmp_path: Path) -> None:
    found = answers(tmp_path, [arguments for arguments, _ in FOUND])
    said = [(answer.status, answer.err.partition(text)[1]) for answer, (_, text) in zip(found, FOUND, strict=True)]
    assert said == [(2, text) for _, text in FOUND]
    assert all(answer.err.count("\n") == 1 for answer in found)
