"""Numbers in words, against num2words and by hand."""

from __future__ import annotations

import num2words
import pytest

from bimp_exp.dataset.number_words import english, german
from bimp_exp.errors import ConfigError
from tests.dataset.helpers import CPU
from tests.dataset.sentences import make


def test_every_number_is_written_as_num2words_does() -> None:
    numbers = range(10_000)
    assert [english(n) for n in numbers] == [num2words.num2words(n, lang="en") for n in numbers]
    assert [german(n) for n in numbers] == [num2words.num2words(n, lang="de") for n in numbers]


def test_no_number_is_in_two_parts() -> None:
    data = make("number_words", num_train_pairs=9000, num_test_pairs=1000, tokenizer="bytes", eval_subset=None).load(
        CPU
    )
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [8100, 900, 1000]
    references = [text for part in parts for text in next(data.first(part, len(part))).targets.references]
    assert sorted(references) == sorted(english(n) for n in range(10_000))


def test_the_tokenizer_is_trained_on_what_is_trained_on_and_always_the_same() -> None:
    one, again = (make("number_words", num_train_pairs=400, num_test_pairs=50).load(CPU) for _ in range(2))
    other = make("number_words", num_train_pairs=400, num_test_pairs=50, split_seed=1).load(CPU)
    assert one.files == again.files
    assert one.fingerprint == again.fingerprint
    assert one.files != other.files


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"direction": "en-de"}, r"dataset\.direction=en-de must be de-en for number_words"),
        ({"num_train_pairs": 9501}, r"dataset\.num_train_pairs=9501 and dataset\.num_test_pairs=500 must be at most 10,000"),
        ({"subset": 4001}, r"dataset\.subset=4001 must be at most 4000"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make("number_words", **changes).check()
