"""Sentences from files: which pairs are read, what their tokens are, how the cache is shared, and what is said of wrong files."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bimp_exp.config.check import check
from bimp_exp.dataset import bitext, tokenizer, tokens
from bimp_exp.dataset.pairs import PairData, PairSplit
from bimp_exp.errors import ConfigError, DataError
from tests.conftest import composed
from tests.dataset.helpers import CPU
from tests.dataset.sentences import (
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    WRITERS,
    Pair,
    wmt16,
    write_parquet,
    write_table,
    write_texts,
)

BYTES = tokenizer.Bytes()


def texts(data: PairData, split: PairSplit) -> list[tuple[str, str]]:
    """Source as it was tokenised, and reference, of every pair in its order."""
    (batch,) = data.first(split, len(split))
    return [
        (BYTES.decode(row), text)
        for row, text in zip(batch.inputs.source.tolist(), batch.targets.references, strict=True)
    ]


def expected(pairs: list[Pair]) -> list[tuple[str | None, str | None]]:
    return [(f"translate English to German: {en}", de) for de, en in pairs]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "root", PARTS)
    return tmp_path / "root"


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_pairs_and_the_same_fingerprint(layout: str, root: Path, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path / "other", PARTS)
    data, reference = wmt16(tmp_path / "other").load(CPU), wmt16(root).load(CPU)
    assert texts(data, data.test) == expected(TEST)
    assert sorted(texts(data, data.train) + texts(data, data.validation)) == sorted(expected(TRAIN))
    assert (len(data.train), len(data.validation)) == (36, 4)  # int(0.9 * 40)
    assert data.fingerprint == reference.fingerprint
    assert texts(data, data.train) == texts(reference, reference.train)


def test_from_german_the_prefix_and_the_sides_are_the_other_ones(root: Path) -> None:
    data = wmt16(root, direction="de-en").load(CPU)
    assert texts(data, data.test)[0] == ("translate German to English: dreitausend", "three thousand")
    plain = wmt16(root, direction="de-en", prefix=False).load(CPU)
    assert texts(plain, plain.test)[0] == ("dreitausend", "three thousand")


def test_the_official_validation_pairs_are_all_taken_and_none_is_split_off(root: Path) -> None:
    dataset = wmt16(root, validation="official", eval_subset=3)
    data = dataset.load(CPU)
    assert texts(data, data.validation) == expected(VALIDATION)
    assert (dataset.num_fit_items, len(data.train), len(data.train_sample)) == (40, 40, 3)
    file = root / "de-en" / "validation-00000-of-00001.parquet"
    for name in ("valid", "dev"):
        file = file.rename(root / "de-en" / f"{name}.parquet")
        assert wmt16(root, validation="official").load(CPU).fingerprint == data.fingerprint
    file.unlink()
    with pytest.raises(DataError, match=r"dataset\.validation=official: .*de-en has no validation part; take split"):
        wmt16(root, validation="official").check_files()


def test_what_is_evaluated_are_the_first_pairs_of_the_split(root: Path) -> None:
    whole, some = wmt16(root).load(CPU), wmt16(root, eval_subset=3).load(CPU)
    assert texts(some, some.validation) == texts(whole, whole.validation)[:3]
    assert texts(some, some.train_sample) == texts(whole, whole.train)[:3]
    assert (len(some.train), len(some.test)) == (36, 8)


def test_a_subset_is_the_beginning_of_the_permutation_and_nothing_else_is_tokenised(root: Path) -> None:
    whole, some = wmt16(root).load(CPU), wmt16(root, subset=20).load(CPU)
    both = texts(some, some.train) + texts(some, some.validation)
    assert both == (texts(whole, whole.train) + texts(whole, whole.validation))[:20]
    assert (len(some.train), len(some.train.corpus)) == (18, 20)


def test_pairs_with_an_empty_side_are_left_out_and_counted(tmp_path: Path) -> None:
    holes: list[Pair] = [("", "zero"), ("null", ""), (" \u3000", "zero"), ("null", "\t")]
    for name, write in WRITERS.items():
        if name == "tsv":
            continue  # a tab ends a column there
        write(tmp_path / name, PARTS | {"train": [*holes, *TRAIN]})
        dataset = wmt16(tmp_path / name)
        data = dataset.load(CPU)
        assert dataset.num_train_items == 40
        assert data.notes == (
            f"dataset.root={tmp_path / name}: 4 pairs of the train part are left out, since a side is empty",
        )
        assert sorted(texts(data, data.train) + texts(data, data.validation)) == sorted(expected(TRAIN))
    write_parquet(tmp_path / "null", PARTS | {"train": [*TRAIN, (None, "zero")]})
    assert wmt16(tmp_path / "null").num_train_items == 40


def test_a_line_ends_with_a_newline_and_with_nothing_else(tmp_path: Path) -> None:
    odd = [("eins\u2028zwei\x0bdrei\x85vier", "one\u2028two\x0cthree"), (" fünf ", "five\rsix")]
    for end, write in (("\n", write_texts), ("\r\n", write_texts)):
        write(tmp_path / repr(end), {"train": TRAIN, "test": odd}, end)
        data = wmt16(tmp_path / repr(end)).load(CPU)
        assert [reference for _, reference in texts(data, data.test)] == [de for de, _ in odd]
        assert texts(data, data.test)[1][0] == "translate English to German: five\rsix"


def test_tokens_are_those_of_the_tokenizer_with_the_prefix_and_end_with_eos(root: Path, tmp_path: Path) -> None:
    model = tokenizer.train((text for pair in TRAIN for text in pair if text), 120)
    (tmp_path / "spiece.model").write_bytes(model.content)
    data = wmt16(root, tokenizer=str(tmp_path), max_length=20).load(CPU)
    (batch,) = data.first(data.test, 8)
    for i, (de, en) in enumerate(TEST):
        wanted = [[*model.encode(text)[:19], 1] for text in (f"translate English to German: {en}", str(de))]
        assert [n for n in batch.inputs.source[i].tolist() if n] == wanted[0]
        assert [n for n in batch.targets.labels[i].tolist() if n >= 0] == wanted[1]
    assert data.train.corpus.ids.dtype == np.uint16
    assert data.files == {"tokenizer.model": model.content}
    assert data.fingerprint != wmt16(root).load(CPU).fingerprint


def test_a_plan_counts_the_files_once_and_again_when_they_change(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = composed(
        "dataset=wmt16", f"dataset.root={root}", f"dataset.cache={root.parent / 'cache'}", "dataset.tokenizer=bytes"
    )
    from bimp_exp.run.plan import from_config

    assert from_config(values).num_fit_items == 36
    monkeypatch.setattr(bitext.Part, "rows", lambda self: 1 / 0)
    assert wmt16(root).num_fit_items == 36
    monkeypatch.undo()
    write_table(root / "de-en" / "train-00001-of-00002.parquet", TRAIN)
    assert wmt16(root).num_train_items == 60


def test_the_tokenizer_is_the_one_in_the_folder_of_the_weights() -> None:
    values = composed("dataset=wmt16", "model.weights=/somewhere/t5-small")
    assert values["dataset"]["tokenizer"] == "/somewhere/t5-small"
    assert composed("dataset=wmt16")["dataset"]["tokenizer"] is None
    with pytest.raises(
        ConfigError, match=r"dataset\.tokenizer=null must be .* spiece\.model, or bytes; .* model\.weights"
    ):
        wmt16(Path("/"), tokenizer=None).check_files()


def _load(root: Path, found: Any) -> None:
    found.put(wmt16(root).load(CPU).fingerprint)


def test_several_processes_make_one_entry_and_a_later_one_makes_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    children = [context.Process(target=_load, args=(root, found)) for _ in range(3)]
    for child in children:
        child.start()
    fingerprints = {found.get(timeout=60) for _ in children}
    for child in children:
        child.join()
    cache = root.parent / "cache"
    assert len(fingerprints) == 1
    assert len([place for place in cache.iterdir() if len(place.name) == 64]) == 2  # training and test pairs
    assert not list(cache.glob(".writing-*"))
    monkeypatch.setattr(tokens, "_make", lambda *_, **__: 1 / 0)
    moved = root.rename(root.parent / "moved")  # another place, the same content
    assert {wmt16(moved).load(CPU).fingerprint} == fingerprints


def test_an_entry_that_cannot_be_finished_is_not_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = tokenizer.Bytes.encode_all
    monkeypatch.setattr(tokens, "AT_ONCE", 5)
    calls: list[int] = []

    def broken(self: tokenizer.Bytes, some: Any, num_threads: int) -> list[list[int]]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, some, num_threads)

    monkeypatch.setattr(tokenizer.Bytes, "encode_all", broken)
    with pytest.raises(KeyboardInterrupt):
        wmt16(root).load(CPU)
    assert not [
        place for place in (root.parent / "cache").iterdir() if len(place.name) == 64 or "writing" in place.name
    ]
    monkeypatch.undo()
    data = wmt16(root).load(CPU)
    assert sorted(texts(data, data.train) + texts(data, data.validation)) == sorted(expected(TRAIN))


@pytest.mark.parametrize("file", ["ids.bin", "ids.npy", "texts.bin", "facts.json"])
def test_a_damaged_entry_is_refused(file: str, root: Path) -> None:
    wmt16(root).load(CPU)
    for entry in (root.parent / "cache").glob("?" * 64):
        (entry / file).write_bytes((entry / file).read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged; delete it, it will be made again"):
        wmt16(root).load(CPU)


def test_a_number_of_pairs_that_is_given_is_compared_with_the_files(root: Path) -> None:
    assert wmt16(root, num_train_pairs=41).num_fit_items == 36
    with pytest.raises(DataError, match=r"40 training pairs, but dataset\.num_train_pairs=41"):
        wmt16(root, num_train_pairs=41).source()
    with pytest.raises(ConfigError, match=r"dataset\.subset=41 must be at most 40"):
        wmt16(root, subset=41).check()


@pytest.mark.parametrize("dataset", ["wmt16", "number_words", "small_grammar"])
def test_a_direction_that_there_is_not(dataset: str) -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.direction=fr-en must be one of de-en, en-de$"):
        check(composed(f"dataset={dataset}", "dataset.direction=fr-en"))


def test_a_tokenizer_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    from sentencepiece import SentencePieceTrainer

    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.model").write_bytes(b"no model")
    (tmp_path / "corpus").write_text("\n".join(str(en) for _, en in TRAIN))
    SentencePieceTrainer.train(
        input=str(tmp_path / "corpus"),
        model_prefix=str(tmp_path / "other"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    for name, said in (
        (
            "empty",
            r"there is no .*empty/spiece\.model; give a model of sentencepiece, a folder with spiece\.model, or bytes",
        ),
        ("none", r"there is no .*none; give"),
        ("broken.model", r"is not a model of sentencepiece, or a damaged one"),
        ("other.model", r"pad, eos and unk have the ids \(-1, 2, 0\) there, but \(0, 1, 2\) in T5"),
    ):
        with pytest.raises(DataError, match=rf"^dataset\.tokenizer={tmp_path / name}: .*{said}"):
            wmt16(root, tokenizer=str(tmp_path / name)).load(CPU)


def test_no_id_depends_on_the_number_of_threads() -> None:
    model = tokenizer.train((text for pair in TRAIN for text in pair if text), 120)
    some = [str(en) for _, en in TRAIN] * 5
    assert model.encode_all(some, 1) == model.encode_all(some, 3) == [model.encode(text) for text in some]


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch(root: Path) -> None:
    data = wmt16(root).load(CPU)
    one, again, other = (
        [batch.inputs.source for batch in data.epoch(seed=0, epoch=epoch, batch_size=40)] for epoch in (0, 0, 1)
    )
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])
    assert sorted(one[0].tolist()) == sorted(other[0].tolist())
