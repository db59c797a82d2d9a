"""Pictures and sentences that a run leaves: what the networks really predict, and nothing where a task shows nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from bimp_exp.report.predictions import save_predictions
from tests.conftest import composed
from tests.runs import do

FEW = [
    "dataset.subset=60", "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "sparsity=0.5", "runtime.threads=1",
    "runtime.precision=fp32",
]  # fmt: skip


def network(line: list[str], state: dict[str, torch.Tensor]) -> tuple[Any, torch.nn.Module]:
    made = instantiate(composed(*line), _convert_="all")
    model = made.network()
    model.load_state_dict(state)
    return made, model.eval()


def test_pictures_are_of_the_dense_and_of_the_final_network(tmp_path: Path) -> None:
    line = ["dataset=digit_scenes", "dataset.num_test_images=10", *FEW]
    done = do(tmp_path, *line)
    with np.load(tmp_path / "predictions.npz") as arrays:
        found = dict(arrays)
    assert {name.partition("_")[2] for name in found} == {"image", "target", "dense", "pruned"}
    for name, state in (("dense", done.states[0]["model"]), ("pruned", done.network)):
        made, model = network(line, state)
        data = made.dataset.load(torch.device("cpu"))
        (batch,) = data.first(data.test, 8)
        with torch.no_grad():
            expected = model(batch.inputs).argmax(1)
        for i in range(8):
            assert np.array_equal(found[f"{i}_{name}"], expected[i])
            assert np.array_equal(found[f"{i}_target"], batch.targets[i])
    save_predictions(tmp_path)
    assert (tmp_path / "plots" / "predictions.png").stat().st_size > 1000


def test_sentences_are_the_first_of_the_test_split(tmp_path: Path) -> None:
    line = ["dataset=number_words", "dataset.num_test_pairs=10", "dataset.eval_subset=4", *FEW]
    done = do(tmp_path, *line)
    items = json.loads((tmp_path / "predictions.json").read_text())
    made, model = network(line, done.network)
    data = made.dataset.load(torch.device("cpu"))
    (batch,) = data.first(data.test, 8)
    assert [item["target"] for item in items] == list(batch.targets.references)
    with torch.no_grad():
        assert [item["pruned"] for item in items] == made.learning_task.predict(model, batch, None)
    assert (tmp_path / "tokenizer.model").read_bytes() == data.files["tokenizer.model"]
    save_predictions(tmp_path)
    assert (
        f"- source: {items[0]['source']}\n- target: {items[0]['target']}\n" in (tmp_path / "predictions.md").read_text()
    )


@pytest.mark.parametrize("line", [["dataset=digits", "model.depth=8"], ["dataset=digit_scenes", "method=str"]])
def test_there_is_no_dense_network_where_none_was_trained(line: list[str], tmp_path: Path) -> None:
    do(tmp_path, *line, *FEW, "optim.batch_size=20")
    shown = tmp_path / "predictions.npz"
    assert shown.exists() == ("dataset=digit_scenes" in line)
    if shown.exists():
        with np.load(shown) as arrays:
            assert {name.partition("_")[2] for name in arrays} == {"image", "target", "pruned"}
