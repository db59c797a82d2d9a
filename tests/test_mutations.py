"""The planted bugs fit the code, whatever its layout, and docs/mutations.md is about them."""

from __future__ import annotations

import ast
import re

import pytest
import yaml

from tests import mutate
from tests.conftest import ROOT
from tests.mutations import MUTATIONS
from tests.plant import Mutation, file_of, planted


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_bug_can_be_planted_once_and_its_tests_are_there(mutation: Mutation) -> None:
    """Else it would be counted as noticed, or not be tried, when the code has moved on."""
    path = file_of(mutation.where)
    bad = planted((ROOT / path).read_text(), mutation.where, mutation.old, mutation.new)
    assert yaml.safe_load(bad) if path.endswith(".yaml") else ast.parse(bad)
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (ROOT / file).read_text()
        assert (ROOT / file).is_file()


def test_names_differ() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


SOURCE = """
class Rule:
    def rate(self, step):  # of a step
        if step > 2:
            return self.peak * (
                1 - step / 4)
        return f(step, peak=self.peak, floor=0)

def rate(step):
    return g(step, peak=1), f(step,
        peak=1)
"""
WHERE = "bimp_exp.lr:Rule.rate"


@pytest.mark.parametrize(
    ("where", "old", "new", "said"),
    [
        (WHERE, "1 - step/4", "1 - step / 5", "self.peak * (\n                (1 - step / 5))"),
        (WHERE, "self.peak * (1 - step / 4)", "0.0", "return (0.0)\n"),
        (WHERE, "floor=0", "", "peak=self.peak, )"),
        (WHERE, "floor=0", "floor=1, more=2", "floor=1, more=2)"),
        (WHERE, "step > 2", "True", "if (True):"),
        (
            WHERE,
            "return f(step, peak=self.peak, floor=0)",
            "step = 0\nreturn step",
            "        step = 0\n        return step\n",
        ),
        ("bimp_exp.lr:", "g(step, peak=1)", "1", "return (1), f("),
        ("bimp_exp.lr:rate:f", "peak=1", "peak=2", "f(step,\n        peak=2)"),
    ],
)
def test_a_place_is_found_by_its_function_and_as_a_tree(where: str, old: str, new: str, said: str) -> None:
    """Neither layout nor comments matter, and nothing else changes."""
    bad = planted(SOURCE, where, old, new)
    assert said in bad
    ast.parse(bad)
    assert SOURCE.splitlines()[:3] == bad.splitlines()[:3]


@pytest.mark.parametrize(
    ("where", "old", "new", "says"),
    [
        (WHERE, "step > 3", "True", "has this 0 times"),
        (WHERE, "step", "0", "has this 3 times"),
        ("bimp_exp.lr:rate", "peak=1", "peak=2", "has this 2 times"),
        (WHERE, "step > 2", "step > (2)", "changes nothing"),
        ("bimp_exp.lr:Rule.peak", "1", "2", "0 definitions of peak"),
        ("bimp_exp.lr:rate:h", "1", "2", "0 calls of h"),
        ("bimp_exp.nothing:rate", "1", "2", "there is no bimp_exp/nothing.py"),
        ("conf/optim/sgd.yaml:momentum", "0.8", "0.7", "is 0.9, not 0.8"),
        ("conf/optim/sgd.yaml:speed", "1", "2", "0 keys speed"),
    ],
)
def test_what_is_not_there_or_there_twice_or_changes_nothing_is_not_planted(
    where: str, old: str, new: str, says: str
) -> None:
    text = "momentum: 0.9 # of SGD\n" if where.startswith("conf") else SOURCE
    with pytest.raises(ValueError, match=says):
        planted(text, where, old, new)


def test_a_value_of_a_configuration() -> None:
    text = "# é\na: 1\nb:\n  c: [1, 2]  # two\n"
    assert planted(text, "conf/optim/sgd.yaml:b.c", "[1,2]", "[3]") == text.replace("[1, 2]", "[3]")


def test_the_page_names_for_every_bug_a_test_that_exists() -> None:
    rows = mutate.TABLE.read_text().splitlines()
    assert mutate.table({}, rows).splitlines() == rows  # no row of a bug that has changed
    for mutation, line in zip(MUTATIONS, rows[-len(MUTATIONS) :], strict=True):
        found = re.search(r"\| `(tests/\S+\.py)::(\w+)[^`]*` \|$", line)
        assert line.startswith(f"| {mutation.name} | "), "run python -m tests.mutate --only " + mutation.name
        assert found is not None, f"{mutation.name} is missed"
        assert f"def {found[2]}(" in (ROOT / found[1]).read_text()


def test_a_row_stays_until_its_bug_changes() -> None:
    bug, *_ = MUTATIONS
    known = mutate.row(bug, "tests/test_a.py::test_b")
    assert known in mutate.table({}, [known]).splitlines()
    assert known not in mutate.table({}, [known.replace(bug.bug, "another")]).splitlines()
    assert mutate.row(bug, mutate.MISSED) in mutate.table({bug.name: mutate.MISSED}, [known]).splitlines()
