"""The numbers from 0 to 9999 in German and English words: translation without files, in which the order of words changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.dataset.text import SmallPairs
from bimp_exp.errors import ConfigError
from bimp_exp.seeds import derive

NUM_NUMBERS = 10_000
SMALL_ENGLISH = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
ENGLISH = f"{SMALL_ENGLISH} seventeen eighteen nineteen".split()  # words read more easily than a list
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
SMALL_GERMAN = "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn"
GERMAN = f"{SMALL_GERMAN} siebzehn achtzehn neunzehn".split()
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()  # noqa: SIM905


@dataclass(frozen=True, kw_only=True)
class NumberWords(SmallPairs):
    """Needs no files. Only German to English: a German number is one word, so that BLEU, which counts four words, would be 0."""

    most_pairs: ClassVar[int] = NUM_NUMBERS

    def check(self) -> None:
        if self.direction != "de-en":
            raise ConfigError(
                f"dataset.direction={self.direction} must be de-en for number_words: a German number is one word, of which BLEU is "
                "always 0; dataset=small_grammar has both directions"
            )
        super().check()

    def pairs(self, num: int) -> list[tuple[str, str]]:
        import torch

        order = torch.randperm(NUM_NUMBERS, generator=torch.Generator().manual_seed(derive(0, "number words")))
        return [(german(n), english(n)) for n in order[:num].tolist()]


def english(number: int) -> str:
    """Of 0..9999.

    >>> english(21), english(1905)
    ('twenty-one', 'one thousand, nine hundred and five')
    """
    thousands, rest = divmod(number, 1000)
    hundreds, small = divmod(rest, 100)
    parts = [f"{ENGLISH[thousands]} thousand"] if thousands else []
    if hundreds:
        parts.append(f"{ENGLISH[hundreds]} hundred" + (f" and {_english(small)}" if small else ""))
    elif small or not thousands:
        return f"{parts[0]} and {_english(small)}" if parts else _english(small)
    return ", ".join(parts)


def german(number: int) -> str:
    """Of 0..9999, as one word.

    >>> german(21), german(1905)
    ('einundzwanzig', 'eintausendneunhundertfünf')
    """
    thousands, rest = divmod(number, 1000)
    hundreds, small = divmod(rest, 100)
    before = (f"{_before(thousands)}tausend" if thousands else "") + (f"{_before(hundreds)}hundert" if hundreds else "")
    return before + (_german(small) if small or not before else "")


def _english(number: int) -> str:
    if number < 20:
        return ENGLISH[number]
    tens, ones = divmod(number, 10)
    return ENGLISH_TENS[tens - 2] + (f"-{ENGLISH[ones]}" if ones else "")


def _german(number: int) -> str:
    if number < 20:
        return GERMAN[number]
    tens, ones = divmod(number, 10)
    return (f"{_before(ones)}und" if ones else "") + GERMAN_TENS[tens - 2]


def _before(digit: int) -> str:
    """A digit before another word: ein, not eins."""
    return "ein" if digit == 1 else GERMAN[digit]
