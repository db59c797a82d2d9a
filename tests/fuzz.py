"""Command lines with mistakes in them, made from conf/ alone, and what ``python run.py`` says to each.

``python -m tests.fuzz FOLDER`` reads command lines (JSON) and answers each from a fork of one warm process that does what
run.py does, in an empty folder below FOLDER.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bimp_exp.config import signatures as config

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
GROUPS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in CONF.iterdir()
    if folder.is_dir()
    and folder.name not in ("recipe", "scale")  # whose files choose options, or are read by the sweeper
}
TOP = ("sparsity", "seed", "dense_checkpoint", "plan")
NEVER = ["{a: 1}", "[[]]", "abc.def", "nan", "-inf", "'1'"]  # no key takes any of them, but for text from the third on


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line. ``names``: what its error has to contain; None where it may also plan."""

    arguments: list[str]
    names: str | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a command line; ``left``: files and folders that it leaves behind; ``seconds`` of CPU time."""

    status: int
    out: str
    err: str
    left: list[str]
    seconds: float


def cases(num: int, seed: int) -> list[Case]:
    """``num`` different command lines, the same for the same ``seed``."""
    draw, seen, made = random.Random(seed), set[str](), list[Case]()
    while len(made) < num:
        case = draw.choice(KINDS)(draw)
        if (key := json.dumps(case.arguments)) not in seen:
            seen.add(key)
            made.append(case)
    return made


def keys() -> Iterator[tuple[str, str, str, str]]:
    """Every key of every option: group, option, key, type hint."""
    for group, options in sorted(GROUPS.items()):
        for option in options:
            values = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
            hints = config.parameters(values["_target_"])
            for key in sorted(values.keys() & hints.keys()):
                yield group, option, key, hints[key]


KEYS = list(keys())


def wrong_value(draw: random.Random) -> Case:
    """A key with a value of the wrong type or outside of its range."""
    group, option, key, hint = draw.choice([k for k in KEYS if k[3] in ILLEGAL])
    value = draw.choice([*ILLEGAL[hint], *NEVER[: 2 if "str" in hint else None]])
    return Case(arguments=[f"{group}={option}", f"{group}.{key}={value}"], names=f"{group}.{key}")


ILLEGAL = {
    "Count": ["0", "-3", "1.5", "true", "null", "abc", "[1]", "1e3"],
    "Count | None": ["0", "-3", "1.5", "abc"],
    "Natural": ["-1", "0.5", "null", "false", "two"],
    "Seed": ["-1", "9223372036854775808", "1.0", "null", "x"],
    "NonNegative": ["-1", "-1e-9", "abc", "null", "true", "inf"],
    "Positive": ["0", "-0.1", "null", "inf", "abc"],
    "Fraction": ["0", "1", "1.5", "-0.2", "null"],
    "Share": ["-0.1", "1.1", "null", "x"],
    "bool": ["1", "0", "yes", "null", "abc", "1.0"],
    "str": ["3", "true", "null", "1.5"],
    "str | None": ["3", "true", "1.5"],
    "list[Count]": ["3", "[0]", "[1.5]", "null", "abc", "[a]"],
    "list[Share]": ["0.5", "[2]", "[-1,0.5]", "null", "[a]"],
    "list[Positive]": ["0.5", "[0]", "[-1]", "null"],
}


def mistyped(draw: random.Random, word: str) -> str:
    """``word`` with one letter lost, doubled, changed or swapped, so that it is another word."""
    i = draw.randrange(len(word))
    j = min(i + 1, len(word) - 1)
    changes = [word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word[:i] + "q" + word[i + 1 :]]
    changes.append(word[:i] + word[j] + word[i] + word[j + 1 :] if j > i else word + "x")
    found = [change for change in changes if change != word and change]
    return draw.choice(found) if found else word + "x"


def wrong_key(draw: random.Random) -> Case:
    """A key with a letter wrong, set, added, forced or deleted."""
    group, option, key, _ = draw.choice(KEYS)
    new = mistyped(draw, key)
    known = {k for g, o, k, _ in KEYS if (g, o) == (group, option)}
    if new in known:
        new += "x"
    line = draw.choice(["{}=1", "+{}=1", "++{}=1", "~{}", "{}=null", "+{}=[1,2]"]).format(f"{group}.{new}")
    return Case(arguments=[f"{group}={option}", line], names=f"{group}.{new}")


def wrong_top(draw: random.Random) -> Case:
    """A top-level key that there is not, or with a value that it cannot have."""
    if draw.random() < 0.5:
        new = mistyped(draw, draw.choice([*TOP, *GROUPS]))
        new = new + "x" if new in (*TOP, *GROUPS, "hydra", "sweep") else new
        return Case(arguments=[draw.choice(["{}=1", "+{}=1", "++{}=1", "~{}", "{}.a=1"]).format(new)], names=new)
    key, value = draw.choice(
        [(k, v) for k, values in WRONG_TOP.items() for v in [*values, *NEVER[: 2 if "check" in k else None]]]
    )
    return Case(arguments=[f"{key}={value}"], names=key)


WRONG_TOP = {
    "sparsity": ["1", "-0.1", "1.5", "null", "abc", "true", "[0.5]"],
    "seed": ["-1", "1.5", "null", "abc", "true", "1e3", "99999999999999999999"],
    "plan": ["1", "maybe", "null", "[true]"],
    "dense_checkpoint": ["3", "true", "[a]"],
    "sweep.retry": ["all", "true", "null", "1"],
    "sweep.baseline": ["ft", "true", "1", "[schedule]"],
    "sweep": ["null", "1", "x"],
}


def wrong_option(draw: random.Random) -> Case:
    """An option that its group does not have."""
    group = draw.choice(sorted(GROUPS))
    new = mistyped(draw, draw.choice(GROUPS[group]))
    new = new + "x" if new in GROUPS[group] else new
    line = draw.choice(["{}={}", "+{}={}", "++{}={}"])
    return Case(arguments=[line.format(group, new)], names=group)


def missing(draw: random.Random) -> Case:
    """A key or a group deleted, or made null, a number or a list."""
    group, option, key, _ = draw.choice(KEYS)
    if draw.random() < 0.5:
        return Case(arguments=[f"{group}={option}", f"~{group}.{key}"], names=f"{group}.{key}")
    several = ",".join(draw.choices(GROUPS[group], k=2))
    value = draw.choice(["=null", "=3", "=[]", "=", f"=[{several}]", "=[clr,llr]", "={a: 1}"])
    if draw.random() < 0.3:
        return Case(arguments=[f"~{group}"], names=group)
    return Case(arguments=[f"{group}{value}"], names=group)


def grammar(draw: random.Random) -> Case:
    """What Hydra cannot parse, resolve or find."""
    key = draw.choice([f"{g}.{k}" for g, _, k, _ in KEYS] + list(TOP))
    line = draw.choice(
        ["{}=[1,", "{}=}}", "{}==3", "{}", "{}={{a", "{}='", "{}=a:b:c", "{}=$", "{}=${{nothing}}", "{}=${{oc.env:NOPE}}",
         "{}=???", "{}=(1", "{}=range(", "{}=1 2", "{}=\n", "{}={{}}}}", "{}=ä", "{}=\t", "{}=a\nb", "{}=foo(1)", "{}=int(x)",
         "={}", "~", "+", "++{}", "{}=1,,2", "{}=,", "@{}=1", "{}@x=1", "--{}", "-x", "--config-name={}", "{}/x=1", "{}[0]=1"]
    )  # fmt: skip
    return Case(arguments=[line.format(key)], names=None)


def grid(draw: random.Random) -> Case:
    """A multirun: values that no run can have, sweeps that make no sense, or that go."""
    group, option, key, hint = draw.choice([k for k in KEYS if k[3] in ILLEGAL])
    wrong = draw.choice(ILLEGAL[hint])
    name = f"{group}.{key}"
    lines: list[tuple[list[str], str | None]] = [
        ([f"{group}={option}", f"{name}={wrong},{wrong}1"], name),
        (["seed=range(3,3)"], "grid is empty"),
        (["seed=range(1,a)"], "range(1,a)"),
        (["seed=interval(0,1)"], "interval"),
        (["seed=glob(*)"], "seed"),
        (["seed=choice()"], None),
        ([f"seed={draw.randrange(3)},1,2,0"], "more than once"),
        (["schedule=clr,clrr"], "clrr"),
        ([f"{draw.choice(sorted(GROUPS))}=glob(*)"], None),
        (["schedule=glob(q*)"], "schedule"),
        (["hydra.launcher.jobs=" + draw.choice(["0", "-1", "abc", "null", "1.5"])], "hydra.launcher.jobs"),
        (["hydra.launcher.job=2"], "hydra.launcher.job"),
        (["hydra/launcher=" + draw.choice(["slurmm", "", "null"])], "hydra/launcher"),
        (["hydra/sweeper=optuna"], "hydra/sweeper"),
        (["hydra.sweeper.grids=" + draw.choice(["[a]", "{a: 1}", "3", "[{seed: [}]", "[[]]", "abc", "[1]"])], "grids"),
        (["hydra.sweeper.params=" + draw.choice(["[a]", "3", "abc"])], "params"),
        (["hydra.sweeper.max_batch_size=2", "seed=1,2"], "hydra.sweeper.max_batch_size"),
        (["+sweeps=" + draw.choice(["nothing", "schedulesx", "null", "3"])], "sweeps"),
        (["sweeps=schedules"], "sweeps"),
        ([f"+sweeps=schedules sparsity={draw.choice('12345')}"], None),
        (["+sweeps=schedules", f"sparsity={draw.randrange(1, 9)}"], "sparsity"),
        ([f"budget.cycles=1,{draw.randrange(20, 99)}", f"seed={draw.randrange(99)}"], "budget.cycles"),
        ([f"seed={draw.randrange(9)},{draw.randrange(10, 99)}", "schedule=clr,llr"], None),
    ]
    arguments, names = draw.choice(lines)
    return Case(arguments=["-m", *arguments], names=names)


def legal(draw: random.Random) -> Case:
    """Options and values that are legal each, but maybe not together."""
    chosen = {group: draw.choice(GROUPS[group]) for group in draw.sample(sorted(GROUPS), 3)}
    values = {"epochs": [1, 5, 30], "cycles": [1, 3, 40], "dense_epochs": [1, 20], "retrain_epochs": [1, 9, "null"]}
    values |= {
        "subset": [1, 2, 5000, "null"],
        "batch_size": [1, 7, 4096],
        "warmup": [0, 1],
        "validation_fraction": [0.9],
    }
    values |= {"crop_padding": [0, 100], "rotation": [200], "num_train_images": [1, 100], "warmup_epochs": [0, 40]}
    values |= {"image_shape": ["[1,8]", "[3,8,8]", "[1,8,8]"], "mean": ["[]"], "milestones": ["[]", "[0.9,0.1]"]}
    for group, option, key, _ in draw.sample(KEYS, len(KEYS)):
        if chosen.get(group) == option and key in values and draw.random() < 0.5:
            chosen[f"{group}.{key}"] = draw.choice(values[key])  # type: ignore[arg-type]
    if draw.random() < 0.5:
        chosen["sparsity"] = str(draw.choice([0, 0.5, 0.99, 0.999999]))
    return Case(arguments=[f"{key}={value}" for key, value in chosen.items()], names=None)


KINDS: list[Callable[[random.Random], Case]] = [
    wrong_value, wrong_value, wrong_value, wrong_key, wrong_key, wrong_top, wrong_option, missing, grammar, grid, legal, legal
]  # fmt: skip


def planned(arguments: list[str]) -> list[str]:
    """The command line that asks for a plan; what it says itself of ``plan`` wins, and options come first."""
    return [*arguments[:1], "plan=true", *arguments[1:]] if arguments[:1] == ["-m"] else ["plan=true", *arguments]


def answer(arguments: list[str], folder: Path) -> Answer:
    """What run.py says, in a fork of this process."""
    inside, out, err = folder / "in", folder / "out", folder / "err"
    inside.mkdir()
    child = os.fork()
    if child == 0:
        os.chdir(inside)
        for path, stream in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        sys.argv = [str(ROOT / "run.py"), *planned(arguments)]
        status = 0
        try:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _, ended, used = os.wait4(child, 0)
    status, seconds = os.waitstatus_to_exitcode(ended), used.ru_utime + used.ru_stime
    left = [str(path.relative_to(inside)) for path in sorted(inside.rglob("*"))]
    shutil.rmtree(inside)
    return Answer(status=status, out=out.read_text(), err=err.read_text(), left=left, seconds=seconds)


def warm_up() -> None:
    """Import and do once what every command line needs."""
    import sklearn.datasets  # noqa: F401
    from hydra import compose, initialize_config_dir

    import bimp_exp.run.experiment
    import bimp_exp.sweep.grid  # noqa: F401

    with initialize_config_dir(str(CONF), version_base="1.3"):  # finds Hydra's plugins and warms its parser up
        compose("config", ["seed=1"])


def main() -> None:
    """Lines of JSON in, lines of JSON out."""
    warm_up()
    for line in sys.stdin:
        found: dict[str, Any] = vars(answer(json.loads(line), Path(sys.argv[1])))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
