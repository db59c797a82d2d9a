"""BLEU, token accuracy and the loss of translation, and runs of it that are cut off."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimp_exp.dataset.tokenizer import Bytes
from bimp_exp.lr import Stepped
from bimp_exp.model.t5 import T5
from bimp_exp.task.base import Batch
from bimp_exp.task.translation import Bleu, Pairs, TokenAccuracy, Translation, Wanted
from tests.conftest import ROOT, composed, golden
from tests.test_resume import CutError, do, same

NONE = torch.zeros(1, 1, dtype=torch.long)


def task(label_smoothing: float = 0.0) -> Translation:
    return Translation(beams=1, label_smoothing=label_smoothing, max_length=16, tokenizer=Bytes())


def wanted(labels: Tensor, references: list[str] | None = None) -> Batch:
    return Batch(Pairs(NONE, NONE), Wanted(labels, references or ()), len(labels))


@pytest.mark.parametrize("case", golden("tasks", kind="bleu") + golden("metrics_models", kind="bleu"))
def test_bleu_of_all_batches_is_the_golden_one(case: dict[str, Any]) -> None:
    bleu, hypotheses = Bleu(), case["inputs"]["hypotheses"]
    (references,) = case["inputs"]["references"]
    statistics = bleu.new_statistics(torch.device("cpu"))
    for hypothesis, reference in zip(hypotheses, references, strict=True):  # a batch each
        bleu.add(statistics, [hypothesis], wanted(NONE, [reference]))
    expected, details = case["expected"], bleu.details(statistics)
    assert bleu.value(statistics) == pytest.approx(expected["score"] / 100, rel=1e-9, abs=1e-12)
    assert [details[f"precision_{n}"] for n in range(1, 5)] == pytest.approx(
        [p / 100 for p in expected["precisions"]], rel=1e-9
    )
    assert details["brevity_penalty"] == pytest.approx(expected["brevity_penalty"], rel=1e-9)
    assert statistics[8:10].tolist() == [expected["sys_len"], expected["ref_len"]]
    assert details["num_exact"] == sum(h == r for h, r in zip(hypotheses, references, strict=True))
    assert bleu.signature.rpartition("|")[0] == expected["signature"].rpartition("|")[0]


def test_empty_hypotheses_have_a_bleu_of_zero() -> None:
    bleu = Bleu()
    statistics = bleu.new_statistics(torch.device("cpu"))
    assert bleu.value(statistics) == 0
    bleu.add(statistics, ["", ""], wanted(NONE, ["one two three four", "five"]))
    assert bleu.value(statistics) == 0


def test_token_accuracy_leaves_padding_out() -> None:
    logits = nn.functional.one_hot(torch.tensor([[3, 1, 0], [2, 2, 1]]), 4).float()
    labels = torch.tensor([[3, 1, -100], [2, 3, 1]])
    accuracy = TokenAccuracy()
    statistics = accuracy.new_statistics(torch.device("cpu"))
    accuracy.add(statistics, logits, wanted(labels))
    assert statistics.tolist() == [4, 5]
    assert accuracy.value(statistics) == 0.8


@pytest.mark.parametrize("case", golden("tasks", kind="label_smoothing_loss"))
def test_label_smoothing_is_over_target_tokens_alone(case: dict[str, Any]) -> None:
    given, expected = case["inputs"], case["expected"]
    logits = torch.tensor([given["logits"]], dtype=torch.float64)
    padding = torch.full_like(logits[:, :1], 7.0).mul(torch.arange(1, logits.shape[-1] + 1))
    outputs = torch.cat([logits, padding, padding], 1).requires_grad_()
    labels = torch.tensor([[*given["targets"], -100, -100]])
    learning = task(given["label_smoothing"])
    loss, num = learning.loss(outputs, wanted(labels))
    loss.backward()
    assert int(num) == len(given["targets"])
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-6)  # the logits are taken as fp32
    gradient = outputs.grad
    assert gradient is not None
    wished = torch.tensor(expected["gradient"], dtype=torch.float64)
    torch.testing.assert_close(gradient[0, : int(num)], wished, rtol=1e-5, atol=1e-7)
    assert not gradient[0, int(num) :].any()
    total, again = learning.loss_sum(outputs, wanted(labels))
    assert total.item() / int(again) == pytest.approx(expected["info_only_unsmoothed_loss"], rel=1e-6)


def test_the_loss_is_the_mean_over_all_target_tokens_of_the_batch() -> None:
    logits = torch.zeros(2, 3, 5)
    logits[1] = torch.tensor([9.0, 0, 0, 0, 0])
    labels = torch.tensor([[1, 2, 1], [1, -100, -100]])
    uniform, wrong = math.log(5), math.log(math.exp(9) + 4)
    loss, num = task().loss(logits, wanted(labels))
    assert int(num) == 4
    assert loss.item() == pytest.approx((3 * uniform + wrong) / 4, rel=1e-6)


@pytest.mark.parametrize("case", golden("tasks", kind="dense_lr_at"))
def test_the_rates_of_the_four_settings_of_table_3(case: dict[str, Any]) -> None:
    dense, expected = case["inputs"]["dense"], case["expected"]
    rates = Stepped(
        initial=dense["initial_lr"],
        warmup_epochs=dense["warmup_epochs"],
        milestones=[epoch / dense["epochs"] for epoch in dense["milestone_epochs"]],
        gamma=dense["gamma"],
    ).schedule(dense["epochs"] * dense["iterations_per_epoch"], dense["iterations_per_epoch"])
    assert [rates(i) for i in case["inputs"]["iterations_0_based"]] == pytest.approx(expected["lr"], rel=1e-9)
    assert rates.num_steps == expected["num_iterations"]
    assert (rates.peak, rates.floor) == pytest.approx((expected["max_lr"], expected["min_lr_after_warmup"]), rel=1e-9)


def test_what_is_shown_are_texts() -> None:
    ids = torch.tensor([[*Bytes().encode("eins"), 1, 0]])
    given = Batch(Pairs(ids, ids), Wanted(ids, ["one"]), 1)
    assert task().show(given, ["two"]) == [{"source": "eins", "target": "one", "predicted": "two"}]


FEW = [
    "dataset=number_words", "dataset.num_train_pairs=120", "dataset.num_test_pairs=20", "dataset.eval_subset=12",
    "dataset.vocab_size=60", "dataset.max_length=24", "model.d_model=16", "model.d_kv=8", "model.d_ff=16", "model.num_heads=2",
    "model.num_layers=1", "model.dropout=0.1", "runtime.threads=1", "runtime.precision=fp32", "store=own", "store.every=0",
    "tracking=none", "sparsity=0.5",
]  # fmt: skip
BETWEEN = ["budget.epochs=3", "budget.dense_epochs=1", "budget.cycles=2"]
WHILE = ["method=gmp", "budget=dense", "budget.epochs=4", "budget.finetune_epochs=1"]


@pytest.mark.parametrize("how", [BETWEEN, WHILE])
@pytest.mark.parametrize("cut_at", [1, 5])
def test_killed_while_it_generates_a_run_ends_with_the_same_bits(
    how: list[str], cut_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = composed(*FEW, *how)
    do(tmp_path / "whole", values)
    generate, calls = T5.generate, 0

    def killed(self: T5, *arguments: Any, **more: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == cut_at:
            raise CutError
        return generate(self, *arguments, **more)

    monkeypatch.setattr(T5, "generate", killed)
    with pytest.raises(CutError):
        do(tmp_path / "cut", values)
    assert list((tmp_path / "cut").glob("phases/*/*.pt"))
    do(tmp_path / "cut", values)
    same(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("package", ["transformers", "sentencepiece", "sacrebleu"])
def test_a_missing_package_is_a_line_that_names_the_extra(package: str, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from bimp_exp.cli.main import main
sys.exit(main(["run", "dataset=number_words", "tracking=none", "store=own", "hydra.run.dir={tmp_path / "run"}"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"needs {package}: pip install 'bimp-exp[tasks]'" in line
    assert not list(tmp_path.glob("run/*"))
