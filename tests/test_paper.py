"""The paper's tables beside our runs: places, selection, verdicts, claims, and the files."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bimp_exp.cli import paper_blocks
from bimp_exp.paper import claims_page, columns, page, page_html, page_text
from bimp_exp.paper.block import differences
from bimp_exp.paper.claim import Claim
from bimp_exp.paper.compare import Line, lines
from bimp_exp.paper.page import Page, Part, counts
from bimp_exp.paper.published import SCORES, dense, flags, numbers, of_table
from bimp_exp.paper.table import cells
from tests.paper_runs import as_printed, block, run

SHIFTED = [("8", "ImageNet", "ResNet-50"), ("9", "ImageNet", "ResNet-50"), ("19", "ImageNet", "ResNet-50")]


def compared(table: str, dataset: str, model: str, shift: float = 0.0) -> list[Line]:
    own = block(table, dataset, model)
    made = cells(own, as_printed(table, dataset, model, shift=shift))
    return lines(made, table=table, dataset=dataset, model=model)


def test_the_data_hold_every_printed_number_once() -> None:
    rows = list(csv.DictReader((Path(columns.__file__).parent / "data" / "results.csv").open()))
    assert len(rows) == 2530
    assert len(numbers()) == 2503  # Tables 23 and 24 print images per second in each of their blocks
    assert Counter((n.table, n.dataset, n.model, n.place) for n in numbers()).most_common(1)[0][1] == 1


def test_every_printed_number_has_a_sweep_whose_runs_can_answer_it() -> None:
    fed = {
        (b.table, b.dataset, b.model)
        for of in paper_blocks.sources().values()
        for s in of
        for b in paper_blocks.blocks(s)
    }
    assert {(n.table, n.dataset, n.model) for n in numbers()} <= fed


@pytest.mark.parametrize("name", sorted(paper_blocks.sources()))
def test_a_sweep_of_the_paper_expects_the_dense_training_of_table_3(name: str) -> None:
    for sweep in paper_blocks.sources()[name]:
        for each in paper_blocks.blocks(sweep):
            epochs = each.expected.get("budget.epochs")
            halved = {"25": 100, "27": 100}.get(each.table)  # whose percentages imply 100 epochs
            if "budget.epochs" not in each.variant:
                assert epochs == (halved or dense(each.dataset, each.model).epochs)
            assert each.expected["dataset.validation_fraction"] == 0.1
            assert each.expected["conventions"] == "clean"


def test_what_cannot_be_compared_is_said() -> None:
    reasons = Counter(flags(n, of_table(n.table, n.dataset, n.model)).partition(" instead")[0] for n in numbers())
    assert reasons["images per second are those of the authors' machine"] == 35
    assert reasons["printed for 75.34 %"] == 3  # STR at 70 % on ImageNet: accuracy, speed-up, sparsity
    assert reasons["printed with a standard deviation of 43.08: one of its runs diverged"] == 1  # DNW at 98 %


@pytest.mark.parametrize(("table", "dataset", "model"), SHIFTED)
def test_printed_numbers_reproduce_themselves_and_contradict_themselves_three_points_away(
    table: str, dataset: str, model: str
) -> None:
    number = len(of_table(table, dataset, model))
    assert counts(compared(table, dataset, model))["reproduced"] == number
    assert counts(compared(table, dataset, model, 3.0))["contradicted higher"] == number
    assert counts(compared(table, dataset, model, -3.0))["contradicted lower"] == number


@pytest.mark.parametrize("table", sorted({n.table for n in numbers()}, key=int))
def test_runs_with_the_printed_means_are_nowhere_contradicted(table: str) -> None:
    for dataset, model in dict.fromkeys((n.dataset, n.model) for n in numbers() if n.table == table):
        found = counts([line for line in compared(table, dataset, model) if line.cell.place.metric in SCORES])
        assert found["contradicted higher"] == found["contradicted lower"] == 0


def test_a_run_that_differs_in_the_recipe_is_not_compared() -> None:
    own = block("8", "ImageNet", "ResNet-50")
    runs = [replace(r, values={**r.values, "budget.epochs": 20}) for r in as_printed("8", "ImageNet", "ResNet-50")]
    made = lines(cells(own, runs), table="8", dataset="ImageNet", model="ResNet-50")
    assert counts(made)["not comparable"] == len(made)
    assert made[0].reason == "budget.epochs=20 instead of 200"
    assert differences(runs[0], own) == ["budget.epochs=20 instead of 200"]


def test_validation_chooses_and_the_most_seeds_come_first() -> None:
    own = block("8", "ImageNet", "ResNet-50")
    number = of_table("8", "ImageNet", "ResNet-50")[0]
    with_decay = lambda seed, test, validation, decay: replace(  # noqa: E731
        run(number, seed, test),
        validation=validation,
        values={**run(number, seed, test).values, "optim.weight_decay": decay},
    )
    runs = [
        with_decay(0, 70.0, 60.0, 1e-4),
        with_decay(1, 70.2, 60.2, 1e-4),
        with_decay(0, 69.0, 61.0, 2e-4),  # better in validation, worse in the test
        with_decay(1, 69.2, 61.2, 2e-4),
        with_decay(0, 72.0, 65.0, 5e-4),  # the best of all, of a single seed
    ]
    cell = cells(own, runs)[0]
    assert cell.setting == {"optim.weight_decay": 2e-4}
    assert cell.ours == {0: 69.0, 1: 69.2}
    assert cell.num_settings == 3
    assert cell.best_on_test == 72.0


def test_a_sparsity_that_was_not_asked_for_stands_under_the_nearest_within_a_quarter_of_a_point() -> None:
    own = block("23", "CIFAR-10", "ResNet-56")
    number = next(
        n for n in of_table("23", "CIFAR-10", "ResNet-56") if n.place.method == "str" and n.place.sparsity == 0.9
    )
    near, far = (replace(run(number, 0, 90.0), sparsity=s) for s in (0.9024, 0.9027))
    assert [c.place.sparsity for c in cells(own, [near]) if c.ours] == [0.9, 0.9]  # accuracy and sparsity
    assert [c for c in cells(own, [far]) if c.ours] == []


@pytest.mark.parametrize(
    ("name", "mean", "agreeing", "number"),
    [
        ("C1", 0.216, 201, 272),
        ("C2", 0.879, 239, 272),
        ("C3", 0.079, 185, 272),
        ("C5", 4.132, 178, 272),
        ("C6", 0.941, 265, 272),
        ("C19", -0.029, 5, 9),
        ("C27", 0.662, 5, 5),
    ],
)
def test_what_the_printed_numbers_say_of_a_claim(name: str, mean: float, agreeing: int, number: int) -> None:
    (found,) = [each for each in claims_page.answers({}) if each.claim.name == name]
    assert found.printed is not None
    assert found.printed.per_seed[columns.PRINTED] == pytest.approx(mean, abs=5e-4)
    assert (found.printed.agreeing, found.printed.columns) == (agreeing, number)
    assert found.verdict is None


def test_a_claim_is_answered_by_seeds() -> None:
    """CLR is above SLR in all but one column of Table 8; ten seeds that all say so support it, after Holm."""
    own = block("8", "ImageNet", "ResNet-50")
    found = {"t08": columns.ours(own, as_printed("8", "ImageNet", "ResNet-50"))}
    answered = {each.claim.name: each for each in claims_page.answers(found)}
    assert answered["C6"].verdict == "supported"
    assert answered["C7"].verdict == "supported"  # FT is above LLR at 70 % and up to five epochs
    assert answered["C25"].verdict is None
    text = claims_page.markdown(list(answered.values()), commands=["python run.py"], notes=[])
    assert "| C6 | supported |" in text


def test_claims_have_names_of_their_own_and_sources_that_exist() -> None:
    known = {*paper_blocks.sources()}
    claims: tuple[Claim, ...] = claims_page.CLAIMS
    assert len({claim.name for claim in claims}) == len(claims)
    assert all({*claim.sources} <= known for claim in claims)


def test_the_files_name_ours_interval_verdict_and_runs_of_every_cell() -> None:
    made = compared("8", "ImageNet", "ResNet-50")
    whole = Page(name="t08", title="Table 8", commands=["python run.py"], notes=[], parts=[Part(title="A", lines=made)])
    text = page_text.markdown(whole)
    assert "| 70 % | 1 × 2.22 % | 1 × 5.55 % | 1 × 11.11 % | 1 × 22.22 % |" in text
    first = made[0]
    assert page.text_of(first) == "73.51 ± 0.03 (10) | 73.51 ± 0.04° ="
    (line,) = [row for row in text.splitlines() if row.startswith("| FT, 70 %, 1 × 2.22 % |")]
    assert all(part in line for part in ("| 10 |", "73.48 to 73.54", "reproduced", first.cell.runs[0]))
    html = page_html.html(whole, b"")
    assert html.count('<tr id="') == len(made)
    assert f'href="#{page.cell_id(whole.parts[0], first)}"' in html
    assert len(page_text.csv(whole).splitlines()) == len(made) + 1
