"""The planted bugs of tests/mutations.py still fit the code, and docs/mutations.md is about them."""

from __future__ import annotations

import ast
import re

import pytest

from tests import mutate
from tests.conftest import ROOT
from tests.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_bug_can_be_planted(mutation: Mutation) -> None:
    """Else it would be counted as noticed, or not be tried, when the code has moved on."""
    bad = mutate.planted(mutation, (ROOT / mutation.file).read_text())
    ast.parse(bad)
    assert all((ROOT / test.partition("::")[0]).exists() for test in mutation.tests)


def test_names_differ() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_what_is_not_there_or_there_twice_is_not_planted() -> None:
    bug = Mutation("n", "b", "f", "old", "new", ())
    assert mutate.planted(bug, "an old one") == "an new one"
    for text in ("an oLd one", "old and old"):
        with pytest.raises(ValueError, match=r"n: f has this [02] times: 'old'"):
            mutate.planted(bug, text)


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
