"""``python -m benchmarks`` on tiny settings: every part runs, and what is written has every figure; never how long it took."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import compiled, external, method_cost, ours, plain, report, roofline, rounds, training
from benchmarks.rounds import Clock, Round, Skipped
from tests.conftest import ROOT

HOUR = 3600.0  # seconds; so that nothing is left out for want of time, however busy the machine is
COMMAND = f"{sys.executable} -c \"print('epoch 1'); print('images_per_second=100.5')\""
FACTS = {
    "date": "2026-01-01",
    "machine": {
        "gpu": None, "gpu_memory_gib": None, "processor": "Some (R) CPU", "cores": 2, "threads": 2, "memory_gib": 8.0,
    },
    "versions": {"python": "3.12", "torch": "2.11", "numpy": "2", "cuda": None, "cudnn": None},
    "git": {"commit": "abc", "dirty": False},
    "company": {"worst": 0.5},
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ours.Settings]:
    """Everything as small as it goes."""
    folder = tmp_path_factory.mktemp("bench")
    counts = ours.made_up_cifar(folder, 200, 20)
    yield ours.Settings(
        models=["resnet20"],
        rounds=1,
        root=str(folder),
        folder=str(folder),
        num_train=1000,
        train_images=32,
        test_images=20,
        weights={"few": 1000},
        window=0.01,
        batch_size=16,
        overrides=[*counts, "model.depth=8", "runtime.threads=1"],
        external=COMMAND,
    )
    ours.PROCESS.close()
    ours.composer.cache_clear()
    ours.GlobalHydra.instance().clear()


def of_part(part: str, settings: ours.Settings) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = importlib.import_module(f"benchmarks.{part}").measure(settings, Clock(HOUR))
    assert all(row["lowest"] <= row["median"] <= row["highest"] for row in rows if "what" in row)
    return rows


def test_every_part_is_listed_and_says_what_it_is() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "\ndef measure(settings" in path.read_text()}
    assert files == set(bench.PARTS)
    for part in bench.PARTS:
        assert str(importlib.import_module(f"benchmarks.{part}").__doc__).startswith(f"{part}: ")
        assert f"`{part}`" in (ROOT / "docs" / "benchmarks.md").read_text()


def test_training_compares_every_variant_with_the_plain_loop(settings: ours.Settings) -> None:
    rows = of_part("training", settings)
    whats = {row["what"] for row in rows if "what" in row}
    variants = ["ours as configured", "ours in fp32", "ours, runtime=plain"]  # the one in bf16 may be as configured
    assert {f"resnet20: {name} / plain" for name in variants} <= whats
    assert {f"resnet20: {name}" for name in ["plain", *variants]} <= whats
    assert rows[-1]["note"].startswith("ours as configured is precision=")


def test_every_method_is_measured_and_has_its_bar(settings: ours.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_cost, "STEPS", 1)
    rows = {row["what"]: row["bar"] for row in of_part("method_cost", settings)}
    names = {path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")} - {"dense"}
    assert set(method_cost.BARS) < names
    assert {f"resnet20: {name} / dense" for name in names} | {"resnet20: dense"} == rows.keys()
    assert rows["resnet20: gmp / dense"] == 0.95
    assert rows["resnet20: dnw / dense"] == 0.87
    assert rows["resnet20: imp / dense"] is None


@pytest.mark.parametrize("part", ["data", "evaluation", "selection", "trials", "packed"])
def test_the_other_parts_run(part: str, settings: ours.Settings) -> None:
    rows = of_part(part, settings)
    assert rows
    assert not [row["note"] for row in rows if "skipped" in row.get("note", "")]


def test_what_needs_a_gpu_says_so(settings: ours.Settings) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(Skipped, match="no GPU"):
        of_part("roofline", settings)


@pytest.mark.skipif(os.environ.get("BIMP_COMPILE") != "all", reason="compiles for most of a minute; BIMP_COMPILE=all")
def test_compiling_is_measured_if_there_is_time(settings: ours.Settings) -> None:
    rows = compiled.measure(settings, Clock(compiled.LEAST + HOUR))
    told = [row["what"] for row in rows if "what" in row]
    assert f"resnet20: {training.DEFAULT}, compiled / not compiled" in told
    assert f"resnet20: {training.FP32}, compiled / {plain.PLAIN}" in told
    with pytest.raises(Skipped, match="compiling may take"):
        compiled.measure(settings, Clock(compiled.LEAST))


def test_the_bounds_are_those_of_the_layers_shapes(settings: ours.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    assert roofline.least_bytes(layer) == 6 * (3 + 4) * 32 * 32  # input and output, thrice, in two bytes
    monkeypatch.setattr(roofline, "SIDE", 64)
    monkeypatch.setattr(roofline, "COPIED", 1024)
    share, rate, compute, memory, *_ = roofline._shares(settings, Clock(HOUR), torch.device("cpu"), "resnet20")
    assert share["median"] == pytest.approx(rate["median"] / min(compute["median"], memory["median"]))
    assert share["bar"] == 0.6


def test_the_external_command_is_believed_only_by_its_last_line(settings: ours.Settings) -> None:
    rows = of_part("external", settings)
    assert rows[-1]["what"] == "resnet20: external"
    assert rows[-1]["median"] == 100.5
    for command, seconds, says in (
        ("echo images_per_second=1; echo done", HOUR, r"ended with status 0, no images_per_second=NUMBER \(done\)"),
        ("echo images_per_second=1; exit 1", HOUR, "ended with status 1"),
        ("sleep 600", 1, "took longer than 1 s"),
    ):
        with pytest.raises(Skipped, match=f"the external command {says}"):
            external._external(command, settings.root, seconds)


def test_a_network_that_trains_in_a_benchmark_learns_as_in_a_run(settings: ours.Settings) -> None:
    trained = ours.Ours(settings, "resnet20", method="imp")
    before = [p.detach().clone() for p in trained.model.parameters()]
    assert trained.train()[0] == 32
    assert trained.state.num_done == 2  # steps
    assert not any(torch.equal(old, new) for old, new in zip(before, trained.model.parameters(), strict=True))
    zeros = sum(int((p == 0).sum()) for p in trained.model.parameters() if p.dim() > 1)
    assert 0.85 < zeros / sum(p.numel() for p in trained.model.parameters() if p.dim() > 1) < 0.95  # IMP's masks


def test_the_plain_loop_augments_alike_with_and_without_torchvision() -> None:
    image = plain.Image.new("RGB", (32, 32), (255, 0, 51))
    for transform in (plain.transforms(), plain._by_pillow):
        made = transform(image)
        assert made.shape == (3, 32, 32)
        for channel, value in enumerate((1.0, 0.0, 0.2)):
            seen = made[channel].unique() * plain.STD[channel] + plain.MEAN[channel]
            assert all(min(abs(float(v) - value), abs(float(v))) < 1e-5 for v in seen)  # the image, and black around it


def test_ratios_are_of_one_round_and_busy_rounds_are_left_out() -> None:
    found = [Round(rates={"a": 2.0 * i, "b": 1.0 * i}, company=0.0) for i in (1, 10, 100)]
    busy = Round(rates={"a": 1.0, "b": 1.0}, company=0.5)
    assert rounds.ratio("r", [*found, busy], "a", "b")["values"] == [2.0, 2.0, 2.0]
    few = rounds.ratio("r", [found[0], busy], "a", "b")
    assert (few["lowest"], few["highest"], few["company"]) == (1.0, 2.0, 0.5)
    assert rounds.ratio("r", [busy], "a", "b")["median"] == 1.0


def test_contenders_take_turns_until_the_rounds_or_the_time_are_over() -> None:
    order: list[str] = []

    def contender(name: str) -> rounds.Contender:
        return lambda: (order.append(name), (1.0, 0.5))[1]

    makers = {name: partial(contender, name) for name in "abc"}
    ready = rounds.make(makers, Clock(HOUR), passes=2)
    assert order == ["a", "b", "c"]  # warm
    made = rounds.interleave(ready, Clock(HOUR), 1)
    assert order[3:9] == ["a", "b", "c", "c", "b", "a"]
    assert made[0].rates == {"a": 2.0, "b": 2.0, "c": 2.0}
    late = rounds.make(makers, Clock(0))
    assert list(late.contenders) == ["a", "b"]
    assert late.notes == [{"note": "left out for want of time: c"}]
    with pytest.raises(Skipped, match="and 0 s were left"):
        rounds.interleave(late, Clock(0), 1)


def test_company_is_what_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone, us, clock = iter([10.0, 14.0]), iter([1.0, 3.0]), iter([0.0, 4.0])
    monkeypatch.setattr(rounds, "_all_busy", everyone.__next__)
    monkeypatch.setattr(rounds.Company, "_our_time", lambda _: next(us))
    monkeypatch.setattr(rounds.time, "monotonic", clock.__next__)
    assert rounds.Company().cores() == 0.5  # (4 - 2) processor seconds in 4


def test_the_files_hold_every_ratio_and_say_which_bars_are_met(tmp_path: Path) -> None:
    rows = {
        "training": [
            rounds.row("a / b", "x", [1.5, 2.5, 2.25], 2.0),
            rounds.row("c / b", "x", [1.0], 1.3),
            rounds.row("start", "s", [1.5], 2.0, at_most=True),
            rounds.row("a", "images/s", [12345.6]),
        ],
        "roofline": [rounds.note("skipped: there is no GPU")],
    }
    paths = report.write(tmp_path, FACTS, rows)
    assert [path.name for path in paths] == [f"some-r-cpu-2-threads.{end}" for end in ("json", "md", "png")]
    text = paths[1].read_text()
    for line in (
        "| a / b | 2.25x (1.50 to 2.50) | 3 | ≥ 2.00 | met |  |",
        "| c / b | 1.00x | 1 | ≥ 1.30 | **missed** |  |",
        "| start | 1.50 s | 1 | ≤ 2.00 | met |  |",
        "| a | 12,346 images/s | 1 |  |  |  |",
        "Skipped: there is no GPU.",
    ):
        assert line in text
    assert "0.50 cores at worst" in text
    assert json.loads(paths[0].read_text())["parts"]["training"][0]["values"] == [1.5, 2.5, 2.25]


def test_without_matplotlib_there_is_no_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bimp_exp.report.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    paths = report.write(tmp_path, FACTS, {"training": [rounds.row("a / b", "x", [1.0])]})
    assert [path.suffix for path in paths] == [".json", ".md"]


def test_parts_end_when_the_minutes_are_over(settings: ours.Settings, tmp_path: Path) -> None:
    rows = bench.run(["data", "selection"], settings, 0.0, tmp_path)
    assert [row["note"] for part in rows.values() for row in part] == ["skipped: the 0 minutes were over"] * 2
    assert len(list(tmp_path.glob("*.md"))) == 1


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["speed"])
    assert "no part speed: choose from training, " in capsys.readouterr().err
