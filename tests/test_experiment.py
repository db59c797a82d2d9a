"""Whole runs in this process: a small residual network on few digits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from bimp_exp.errors import ConfigError, InvariantError
from bimp_exp.method import gmp, imp
from bimp_exp.method.base import MethodContext
from bimp_exp.results.schema import Scores
from bimp_exp.run.evaluator import Evaluator
from tests.conftest import ROOT, composed
from tests.runs import do, execute_in

TINY = [
    "dataset.subset=200", "model.depth=8", "optim.batch_size=32", "store=own", "runtime.threads=1",
    "budget.epochs=4", "budget.dense_epochs=2", "budget.cycles=2",
]  # fmt: skip
IMP = [*TINY[:5], "budget=imp", "budget.epochs=2", "budget.retrain_epochs=1", "budget.cycles=2"]


def test_the_test_images_are_used_around_pruning_and_at_the_end_of_a_phase_only(tmp_path: Path) -> None:
    """3 phases, 2 prunings, 4 epochs; 180 images to train, 20 to validate, 360 to test."""
    used = do(tmp_path, *TINY).result["ledger"]["images_evaluated"]
    assert used == {"test": (3 + 2) * 360, "train": (3 + 2) * 180, "validation": (4 + 2) * 20}


def test_momentum_starts_anew_once_and_then_stays(tmp_path: Path) -> None:
    """Empty when the first cycle begins, and filled when the second does."""
    entries: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Watch(imp.IMP):
        def on_cycle(self, context: MethodContext, num_steps: int, optimizer: torch.optim.Optimizer) -> None:
            entries.append(len(optimizer.state))

    config = composed(*TINY)
    execute_in(tmp_path, config, replace(instantiate(config, _convert_="all"), method=Watch()))
    assert entries[0] == 0
    assert entries[1] > 0


def test_all_schedules_share_the_dense_network_and_the_first_mask(tmp_path: Path) -> None:
    runs = {name: do(tmp_path / name, *IMP, f"schedule={name}") for name in ("ft", "clr", "allr")}
    dense = {name: [line for line in run.lines if line["phase"] == "dense"] for name, run in runs.items()}
    for lines in dense.values():
        for line in lines:
            line.pop("images_per_second", None)
    assert dense["ft"] == dense["clr"] == dense["allr"]
    cuts = [run.result["phases"][1]["pruning"] for run in runs.values()]
    assert cuts[0]["layers"] == cuts[1]["layers"] == cuts[2]["layers"]
    ends = [run.result["phases"][1]["metrics"] for run in runs.values()]
    assert ends[0] != ends[1]


def test_schedules_run_at_their_rates(tmp_path: Path) -> None:
    result = do(tmp_path, *IMP, "schedule=llr").result
    assert result["phases"][1]["learning_rate"] == {
        "first": 0.1,
        "peak": 0.1,
        "last": pytest.approx(0.1 / 6),
    }  # 6 steps
    result = do(tmp_path / "ft", *IMP, "schedule=ft").result
    assert result["phases"][2]["learning_rate"]["peak"] == pytest.approx(0.001)  # 0.1, dropped at 45 and 90 %


def test_acc_allr_is_driven_by_the_training_accuracy_of_the_dense_network(tmp_path: Path) -> None:
    first, second = do(tmp_path, *IMP, "schedule=acc_allr", "budget.retrain_epochs=0.5").result["phases"][1:]
    dense = first["pruning"]["before"]["train"]
    for phase in (first, second):
        drop = (dense - phase["pruning"]["right_after"]["train"]) / dense
        assert phase["pruning"]["d"] == pytest.approx(max(min(max(drop, 0), 1), 0.25))


def test_d1_is_the_norm_of_what_was_removed(tmp_path: Path) -> None:
    done = do(tmp_path, *TINY)
    for (before, after), phase in zip(itertools.pairwise(done.states), done.result["phases"][1:], strict=True):
        weights = {name: before["model"][name].double() for name in after["masks"]}
        whole = sum(float(weight.square().sum()) for weight in weights.values())
        removed = sum(float(weights[name][~mask].square().sum()) for name, mask in after["masks"].items())
        pruning = phase["pruning"]
        assert pruning["d1_prunable"] == pytest.approx((removed / whole / pruning["fraction"]) ** 0.5, rel=1e-6)
        assert 0 < pruning["d1"] < pruning["d1_prunable"] < 1  # batch-norm makes the norm of all larger


def test_pruning_touches_prunable_weights_only_and_masks_nest(tmp_path: Path) -> None:
    done = do(tmp_path, *TINY)
    first, second = (state["masks"] for state in done.states[1:])
    assert done.result["attested"]["others_untouched"] == 2
    assert all(not (second[name] & ~first[name]).any() for name in first)
    assert all((done.network[name][~mask] == 0).all() for name, mask in second.items())


def test_no_retraining_and_no_pruning_are_legal(tmp_path: Path) -> None:
    result = do(tmp_path / "a", *IMP, "budget.retrain_epochs=0").result
    assert [p["num_steps"] for p in result["phases"]] == [12, 0, 0]
    assert result["phases"][2]["metrics"] == result["phases"][2]["pruning"]["right_after"]
    result = do(tmp_path / "b", *TINY, "sparsity=0").result
    assert result["final"]["sparsity"] == 0
    assert result["phases"][1]["pruning"]["d1"] == 0


def test_a_fraction_of_an_epoch(tmp_path: Path) -> None:
    done = do(tmp_path, *IMP, "budget.retrain_epochs=1.5")
    result, lines = done.result, done.lines
    assert [p["num_steps"] for p in result["phases"]] == [12, 9, 9]  # 180 images in batches of 32: 6 steps an epoch
    assert result["phases"][1]["num_images"] == 180 + 96
    assert lines[-1]["step"] == 30


def test_the_conventions_of_the_paper_change_what_they_say(tmp_path: Path) -> None:
    clean = do(tmp_path / "clean", *TINY).result
    paper = do(tmp_path / "paper", *TINY, "conventions=paper").result
    first, second = (p["pruning"] for p in paper["phases"][1:])
    dense = paper["phases"][0]["metrics"]["test"]
    for cut in (first, second):
        assert cut["pruning_stability"] == pytest.approx(1 - (dense - cut["right_after"]["test"]) / dense)
    assert paper["phases"][0]["metrics"]["test"] == clean["phases"][0]["metrics"]["test"]
    assert first["right_after"] != clean["phases"][1]["pruning"]["right_after"]  # batch-norm was re-estimated
    num = sum(layer["num_weights"] for layer in first["layers"])
    assert first["num_pruned"] == round(first["fraction"] * num)
    assert second["num_pruned"] == round(second["fraction"] * (num - first["num_pruned"]))


@pytest.mark.parametrize(
    "how",
    ["runtime.precision=bf16", "runtime.channels_last=true", "runtime.update=fused", "runtime.deterministic=false"],
)
def test_other_ways_to_compute_come_out_alike(tmp_path: Path, how: str) -> None:
    done = do(tmp_path / "plain", *TINY, "runtime=plain")
    plain, lines = done.result, done.lines
    done = do(tmp_path / "other", *TINY, "runtime=plain", how)
    other, other_lines = done.result, done.lines
    assert other["final"]["sparsity"] == plain["final"]["sparsity"]
    assert other["computed_on"]["runtime"] != plain["computed_on"]["runtime"]
    losses = [[line["train_loss"] for line in each if "train_loss" in line] for each in (lines, other_lines)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.02)  # the same start, up to rounding


@pytest.mark.parametrize("selector", sorted(path.stem for path in (ROOT / "conf" / "selector").glob("*.yaml")))
def test_every_selector_prunes_and_reports_what_is_gone(tmp_path: Path, selector: str) -> None:
    done = do(tmp_path, *TINY, f"selector={selector}")
    result, state = done.result, done.network
    layers, cuts = result["final"]["layers"], [p["pruning"] for p in result["phases"][1:]]
    zeros, num = sum(layer["num_zeros"] for layer in layers), sum(layer["num_weights"] for layer in layers)
    assert sum(cut["num_pruned"] for cut in cuts) == zeros == sum(int((state[x["name"]] == 0).sum()) for x in layers)
    assert result["final"]["sparsity"] == cuts[-1]["sparsity"] == zeros / num
    if selector == "filter_l2":  # whole filters, 68.4 % of them and then of the rest; the classifier stays
        assert [x["num_weights"] - x["num_zeros"] for x in layers if state[x["name"]].ndim == 2] == [640]
        filters = [state[x["name"]].flatten(1).any(1).sum().item() for x in layers[:-1]]
        assert filters == [{16: 2, 32: 3, 64: 6}[len(state[x["name"]])] for x in layers[:-1]]
    elif selector in ("uniform", "uniform_plus", "erk"):
        assert abs(zeros - 0.9 * num) <= 2 * len(layers)  # roundings of every layer in two cycles
    else:
        assert zeros == round(0.9 * num)
    whole = {x["name"] for x in layers if x["num_zeros"] == 0}
    small = {"uniform_plus": {"conv.weight"}, "erk": {"conv.weight", "classifier.weight"}}
    assert whole == small.get(selector, {"classifier.weight"} if selector == "filter_l2" else set())


def test_an_infeasible_sparsity_is_refused_before_anything_is_trained() -> None:
    overrides = [*TINY, "selector=uniform_plus", "sparsity=0.999"]
    config = composed(*overrides)
    with pytest.raises(ConfigError, match=r"^sparsity: selector=uniform_plus .* choose at most 0\.9963, or another"):
        instantiate(config, _convert_="all").check()  # 144 and a fifth of 640 of the 74,512 weights must stay


GMP = [*TINY[:5], "method=gmp", "budget=dense", "budget.epochs=4", "budget.finetune_epochs=1", "lr=linear"]


def test_the_ledger_counts_what_was_done(tmp_path: Path) -> None:
    """180 of the 200 images are to train, 20 to validate; 360 to test; a cycle measures all right after pruning."""
    ledger = do(tmp_path, *TINY, "schedule=acc_allr").result["ledger"]
    macs = do(tmp_path / "macs", *TINY[:5], "method=dense", "budget=dense", "budget.epochs=1").result["final"]
    assert (ledger["epochs"], ledger["num_steps"], ledger["num_images"]) == (4, 4 * 6, 4 * 180)
    assert ledger["forward_multiply_adds"] == 4 * 180 * macs["multiply_adds_dense"]
    assert ledger["backward_multiply_adds"] == 2 * ledger["forward_multiply_adds"]
    assert ledger["images_evaluated"] == {"train": 5 * 180, "validation": (4 + 2) * 20, "test": 5 * 360}
    assert ledger["extra_passes"] == {"training accuracy right after pruning": 2 * 180}
    assert do(tmp_path / "allr", *TINY).result["ledger"]["extra_passes"] == {}


@pytest.mark.parametrize(
    ("validations", "phase"), [((0.5, 0.6), "finetune"), ((0.6, 0.5), "training"), ((0.5, 0.5), "training")]
)
def test_the_better_network_by_validation_is_the_run_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validations: tuple[float, float], phase: str
) -> None:
    """Of equals the one that cost less. The test accuracies tell the other way, so that choosing by them would be seen."""
    script = iter([0.0, *validations])  # after training, right after the final prune, after fine-tuning
    models: list[dict[str, torch.Tensor]] = []

    def scores(self: Evaluator, *_: Any, **__: Any) -> Scores:
        validation = next(script)
        models.append({name: value.clone() for name, value in self.net.model.state_dict().items()})
        return Scores(train=0.0, validation=validation, test=1 - validation)

    monkeypatch.setattr(Evaluator, "scores", scores)
    done = do(tmp_path, *GMP)
    result, state = done.result, done.network
    assert [c["phase"] for c in result["candidates"]] == ["training", "finetune"]
    assert [c["epochs"] for c in result["candidates"]] == [4, 5]
    assert [c["validation"] for c in result["candidates"]] == list(validations)
    assert (result["final"]["phase"], result["final"]["validation"]) == (phase, max(validations))
    chosen = models[1 if phase == "training" else 2]
    assert all(torch.equal(state[name], chosen[name]) for name in state)


def test_without_fine_tuning_there_is_one_candidate_and_no_second_evaluation(tmp_path: Path) -> None:
    result = do(tmp_path, *GMP, "budget.finetune_epochs=0").result
    assert [c["phase"] for c in result["candidates"]] == ["training"]
    assert result["ledger"]["images_evaluated"]["test"] == 2 * 360
    assert result["attested"] == {
        "pruned_weights_are_zero": 5, "masks_only_shrink": 4, "others_untouched": 1, "exact_count": 1,
        "saved_network_is_the_evaluated_one": 1,
    }  # fmt: skip


def test_a_method_that_lets_a_pruned_weight_return_fails_and_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revive(self: Any, context: Any, step: int, optimizer: Any) -> None:
        if step == 20:
            next(iter(context.modules.values())).mask.fill_(1.0)
        honest(self, context, step, optimizer)

    honest = gmp.GMP.on_step
    monkeypatch.setattr(gmp.GMP, "on_step", revive)
    with pytest.raises(InvariantError, match="masks_only_shrink"):
        do(tmp_path, *GMP, "method.interval=1")
    assert not (tmp_path / "result.json").exists()


def test_a_missed_sparsity_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gmp, "num_pruned_after", lambda k, count, final, num, per_event: round(0.8 * num))
    with pytest.raises(InvariantError, match=r"sparsity: .* weights are pruned, .* were to be"):
        do(tmp_path, *GMP, "sparsity=0.9")


def test_methods_without_a_target_reach_what_they_reach(tmp_path: Path) -> None:
    final = do(tmp_path, *TINY[:5], "method=str", "budget=dense", "budget.epochs=1", "sparsity=0.9").result["final"]
    assert final["sparsity"] != pytest.approx(0.9)
