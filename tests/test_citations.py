"""Code, configuration and tests cite docs/method.md by a heading, and a row of its last table by a number: both must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

METHOD = (ROOT / "docs" / "method.md").read_text()
HEADINGS = set(re.findall(r"^#+ (.+)$", METHOD, re.MULTILINE))
ROWS = {int(number) for number in re.findall(r"^\| (\d+) \|", METHOD, re.MULTILINE)}
CITED = re.compile(r"docs/method\.md,\s+([A-Z][\w ]*\w)")
FILES = sorted(
    path
    for folder, suffixes in (
        ("bimp_exp", {".py"}),
        ("conf", {".yaml"}),
        ("tests", {".py", ".json"}),
        ("benchmarks", {".py"}),
    )
    for path in (ROOT / folder).rglob("*")
    if path.suffix in suffixes
)


def citations(path: Path) -> list[str]:
    return CITED.findall(path.read_text())


def test_every_cited_section_is_a_heading() -> None:
    found = {(path.relative_to(ROOT).as_posix(), section) for path in FILES for section in citations(path)}
    assert len(found) > 10
    assert {(path, section) for path, section in found if section not in HEADINGS} == set()


def test_every_convention_names_a_row_of_the_disagreements_that_names_it() -> None:
    source = (ROOT / "bimp_exp" / "conventions.py").read_text()
    fields = re.findall(r'^    (\w+): bool\n    """\[(\d+)\]', source, re.MULTILINE)
    assert len(fields) == len(re.findall(r"^    \w+: bool$", source, re.MULTILINE))
    for name, row in fields:
        assert int(row) in ROWS
        (line,) = (line for line in METHOD.splitlines() if line.startswith(f"| {row} |"))
        assert f"`{name}`" in line


@pytest.mark.parametrize("name", ["methods.md", "the project's specification"])
def test_nothing_cites_a_file_that_a_clone_lacks(name: str) -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert [path for path in [*FILES, *pages] if path.name != Path(__file__).name and name in path.read_text()] == []
