"""T5 against the golden counts and against transformers' own network, tokenizer, loss and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bimp_exp.dataset import tokenizer
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.model.t5 import T5
from bimp_exp.pruning.weights import prunable
from bimp_exp.task.base import Batch
from bimp_exp.task.translation import Pairs, Translation, Wanted
from tests.conftest import ROOT, golden

transformers = pytest.importorskip("transformers")
TINY: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
VOCABULARY = 60


def t5(**changes: Any) -> T5:
    """A small network in evaluation mode, with the same weights every time."""
    values: dict[str, Any] = {"num_embeddings": None, "dropout": 0.0, "weights": None, "vocab_size": VOCABULARY}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return T5(**(TINY | values | changes)).eval()


def drawn(*shape: int) -> Tensor:
    return torch.randint(3, VOCABULARY, shape, generator=torch.Generator().manual_seed(1))


def padded_sources() -> Tensor:
    source = drawn(5, 9)
    source[:, -1] = 1
    source[1, 4:], source[3, 2:] = 0, 0
    source[1, 3], source[3, 1] = 1, 1
    return source


def batch(source: Tensor) -> Batch:
    labels = drawn(len(source), 7)
    labels[0, 3:] = -100
    decoder = torch.zeros_like(labels)
    decoder[:, 1:] = labels[:, :-1].clamp(min=0)
    return Batch(Pairs(source, decoder), Wanted(labels, ()), len(source))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Hugging Face has it."""
    place = tmp_path_factory.mktemp("t5")
    made = t5()
    draw = torch.Generator().manual_seed(0)
    for parameter in made.parameters():  # unlike any initialisation, and what is generated varies
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.5, generator=draw)
    made.t5.save_pretrained(place)
    return place


@pytest.mark.parametrize("case", [case for case in golden("tasks", kind="task_model_facts") if "t5" in case.id])
def test_counts_are_the_golden_ones(case: dict[str, Any]) -> None:
    given, expected = dict(case["inputs"]["arguments"]), case["expected"]
    vocab_size = given.pop("vocab_size")
    with torch.device("meta"):
        made = T5(num_embeddings=vocab_size, dropout=0.1, weights=None, vocab_size=vocab_size, **given)
        logits = made(Pairs(torch.ones(2, 5, dtype=torch.long), torch.ones(2, 3, dtype=torch.long)))
    assert logits.shape == (2, 3, vocab_size)
    assert sum(p.numel() for p in made.parameters()) == expected["parameters"]
    weights = prunable(made)
    assert len(weights) == expected["prunable_layers"]
    assert sum(w.numel() for w in weights.values()) == expected["prunable_weights"]
    assert not any(w is made.t5.shared.weight for w in weights.values())
    first, last = (f"t5.{name}.weight" for name in expected["info_only_first_and_last_prunable"])
    assert [next(iter(weights)), next(reversed(weights))] == [first, last]
    assert list(made.t5.lm_head.weight.shape) == expected["output_layer_weight_shape"]
    assert made.t5.lm_head.weight is made.t5.shared.weight


def test_weights_of_a_folder_give_the_outputs_of_transformers(folder: Path) -> None:
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
    ours, given = t5(weights=str(folder)), batch(padded_sources())
    labels = given.targets.labels
    with torch.no_grad():
        wanted = theirs(input_ids=given.inputs.source, attention_mask=(given.inputs.source != 0).long(), labels=labels)
        logits = ours(given.inputs)
    assert torch.equal(logits, wanted.logits)
    loss, num = Translation(beams=1, label_smoothing=0.0, max_length=8, tokenizer=tokenizer.Bytes()).loss(logits, given)
    torch.testing.assert_close(loss, wanted.loss)
    assert int(num) == int((labels != -100).sum()) == 31
    fresh = t5()
    assert not torch.equal(fresh(given.inputs), logits)
    with torch.device("meta"):
        t5(weights=str(folder))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "model.weights=F: has neither model.safetensors nor pytorch_model.bin"),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-8]),
            "model.weights=F/model.safetensors: not a file of safetensors, or a damaged one",
        ),
        (lambda f: (f / "config.json").unlink(), "model.weights=F: has no config.json"),
        (lambda f: (f / "config.json").write_text('{"d_model"'), "model.weights=F: config.json is damaged"),
        (
            lambda f: (f / "config.json").write_text('{"feed_forward_proj": "gated-gelu"}'),
            "model.weights=F: feed_forward_proj is gated-gelu in config.json, as in T5 v1.1 and Flan-T5; only T5 itself is read",
        ),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_in_one_line(spoil: Any, said: str, folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(DataError) as caught:
        t5(weights=str(tmp_path))
    assert str(caught.value).replace(str(tmp_path), "F") == said


def test_weights_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(DataError, match=r"there is no such folder"):
        t5(weights=str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"not a checkpoint of this model: .* is floating \(64, 32\) on cpu there"):
        t5(weights=str(folder), d_ff=128)
    with pytest.raises(DataError, match=r"t5.*num_layers|decoder\.block\.2\..* is absent there"):
        t5(weights=str(folder), num_layers=3)
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state["shared.weight"] + 1
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(DataError, match=r"lm_head\.weight is not the embedding there, as in T5 v1\.1"):
        t5(weights=str(tmp_path))
    with pytest.raises(ConfigError, match=r"model\.num_embeddings=50 must be at least 60"):
        t5(num_embeddings=50)


def naive(model: T5, source: Tensor, max_length: int) -> list[list[int]]:
    """Greedy, each token from a whole pass over what there is."""
    rows = []
    for one in source:
        ids = [0]
        while len(ids) <= max_length and ids[-1] != 1:
            with torch.no_grad():
                ids.append(int(model(Pairs(one[None], torch.tensor([ids])))[0, -1].argmax()))
        rows.append(ids[1:])
    return rows


def up_to_end(ids: Tensor) -> list[list[int]]:
    return [row[: row.index(1) + 1] if 1 in row else row for row in ids.tolist()]


def test_greedy_generation_is_the_naive_one(folder: Path) -> None:
    model, source = t5(weights=str(folder)), padded_sources()
    for max_length in (3, 30):
        assert up_to_end(model.generate(source, max_length=max_length, beams=1)) == naive(model, source, max_length)
    with torch.no_grad():
        model.t5.shared.weight[1] *= 4  # so that some sentences end
    found = up_to_end(model.generate(source, max_length=40, beams=1))
    assert found == naive(model, source, 40)


def test_several_beams_find_a_likelier_sentence_or_the_same(folder: Path) -> None:
    model, source = t5(weights=str(folder)), padded_sources()

    def likelihood(ids: Tensor) -> Tensor:
        decoder = torch.zeros_like(ids)
        decoder[:, 1:] = ids[:, :-1]
        with torch.no_grad():
            return model(Pairs(source, decoder)).log_softmax(-1).gather(-1, ids[..., None]).sum((1, 2))

    greedy, beams = (model.generate(source, max_length=2, beams=beams) for beams in (1, 4))
    assert beams.shape == (5, 2)
    assert (likelihood(beams) >= likelihood(greedy) - 1e-5).all()
    assert likelihood(beams).sum() > likelihood(greedy).sum()


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, weight: Tensor) -> Tensor:
        self.calls += 1
        return 2 * weight


def test_parametrised_weights_are_computed_once_a_pass_and_change_no_token(folder: Path) -> None:
    model, plain, given = t5(weights=str(folder)), t5(weights=str(folder)), batch(padded_sources())
    rules = []
    for module in [m for m in model.modules() if isinstance(m, nn.Linear) and m is not model.t5.lm_head]:
        with torch.no_grad():
            module.weight /= 2
        rules.append(Doubled())
        parametrize.register_parametrization(module, "weight", rules[-1])
    for rule in rules:
        rule.calls = 0
    assert torch.equal(model(given.inputs), plain(given.inputs))
    assert {rule.calls for rule in rules} == {1}
    ids = model.generate(given.inputs.source, max_length=10, beams=1)
    assert torch.equal(ids, plain.generate(given.inputs.source, max_length=10, beams=1))
    assert {rule.calls for rule in rules} == {2}
    model(given.inputs).sum().backward()
    plain(given.inputs).sum().backward()
    wo = "encoder.block.0.layer.1.DenseReluDense.wo"
    gradient = model.t5.get_submodule(wo).parametrizations.weight.original.grad
    torch.testing.assert_close(gradient, 2 * plain.t5.get_submodule(wo).weight.grad)


def test_ids_are_those_of_the_tokenizer_of_transformers(tmp_path: Path) -> None:
    words = ["der Hund sah den großen Baum", "die Frau kaufte 12 Äpfel.", "ein Kind", "viele kleine Bücher", "Straße!"]
    model = tokenizer.train(words * 20, 90)
    (tmp_path / "spiece.model").write_bytes(model.content)
    theirs = transformers.T5Tokenizer.from_pretrained(tmp_path, local_files_only=True)
    ours = tokenizer.read(str(tmp_path))
    for text in [
        *words,
        "translate English to German: der Baum",
        "  zwei  Bäume ",
        "ein\u00a0Kind",
        "日本 Hund",
        "......",
        "",
    ]:
        assert [*ours.encode(text), 1] == theirs(text).input_ids, text
        decoded = theirs.decode(theirs(text).input_ids, skip_special_tokens=True)
        assert ours.decode([*ours.encode(text), 1, 0, 0]) == decoded.strip()
    assert ours.vocab_size == len(theirs)
    assert (
        ours.decode([0, ours.vocab_size - 1, ours.vocab_size + 5, 1, 9]) == ""
    )  # sentinels, and rows that no token has


def test_transformers_says_nothing_and_a_run_prints_no_warning(folder: Path) -> None:
    code = f"""
import torch
from bimp_exp.model.t5 import T5
model = T5(num_embeddings=None, dropout=0.0, weights={str(folder)!r}, vocab_size={VOCABULARY}, **{TINY})
model.eval().generate(torch.ones(1, 3, dtype=torch.long), max_length=4, beams=1)
model.generate(torch.ones(1, 3, dtype=torch.long), max_length=4, beams=2)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_configuration_of_a_folder_decides_nothing_of_the_outputs(folder: Path) -> None:
    """So that a folder without tie_word_embeddings in it, as older versions wrote them, is read as well."""
    text = json.loads((folder / "config.json").read_text())
    text.pop("tie_word_embeddings")
    (folder / "config.json").write_text(json.dumps(text))
    given = batch(padded_sources())
    assert t5(weights=str(folder))(given.inputs).isfinite().all()
