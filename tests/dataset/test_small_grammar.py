"""The sentences of the small grammar: agreement in German, and that nothing is in two parts."""

from __future__ import annotations

import re

from bimp_exp.dataset.number_words import english, german
from bimp_exp.dataset.small_grammar import ADJECTIVES, ADVERBS, PEOPLE, THINGS, VERBS, sentences
from tests.dataset.helpers import CPU
from tests.dataset.sentences import make


def test_sentences_read_as_they_should() -> None:
    written = dict(sentences(9000))
    for en, de in {
        "The women wanted a bad picture.": "Die Frauen wollten ein schlechtes Bild.",
        "Soon the boys painted a good window.": "Bald malten die Jungen ein gutes Fenster.",
        "Then the teachers chose a cheap ball.": "Dann wählten die Lehrer einen billigen Ball.",
        "The boy brought the heavy bag and a bad bag.": "Der Junge brachte die schwere Tasche und eine schlechte Tasche.",
        "Soon the boy liked the warm apple.": "Bald mochte der Junge den warmen Apfel.",
        "Yesterday the women found seventeen white apples.": "Gestern fanden die Frauen siebzehn weiße Äpfel.",
    }.items():
        assert written[en] == de


def test_articles_and_endings_agree_with_gender_case_and_number() -> None:
    things = {noun.german: noun.gender for noun in THINGS}
    endings = {
        ("m", "den"): "en", ("m", "einen"): "en", ("f", "die"): "e", ("f", "eine"): "e", ("n", "das"): "e", ("n", "ein"): "es",
    }  # fmt: skip
    stems, seen = {de for _, de in ADJECTIVES}, set()
    for _, de in sentences(3000):
        for article, adjective, noun in re.findall(r"\b(den|einen|die|eine|das|ein) ([a-zäöüß]+) ([A-ZÄÖÜ]\w+)", de):
            ending = endings[things[noun], article]
            assert adjective.removesuffix(ending) in stems, de
            seen.add((things[noun], article))
    assert seen == {*endings}


def test_the_verb_comes_second_and_agrees_with_the_subject() -> None:
    plural = {noun.german_plural for noun in PEOPLE}
    singular_forms = {de for _, de in VERBS}
    adverbs = {de for _, de in ADVERBS}
    for _, de in sentences(2000):
        words = de.rstrip(".").split()
        inverted = words[0].lower() in adverbs
        verb, article, who = (words[1], *words[2:4]) if inverted else (words[2], words[0].lower(), words[1])
        is_plural = article == "die" and who in plural
        assert (verb in singular_forms) is not is_plural, de


def test_the_vocabulary_is_small_and_the_sentences_differ() -> None:
    every = sentences(9000)
    assert every[:100] == sentences(100)
    words = [{word for pair in every for word in re.findall(r"[\w-]+", pair[side].lower())} for side in (0, 1)]
    numbers = [{write(n) for n in range(2, 100)} for write in (english, german)]
    assert [len(found - known) for found, known in zip(words, numbers, strict=True)] == [124, 180]
    assert len({en for en, _ in every}) == len({de for _, de in every}) == 9000


def test_the_parts_and_both_directions() -> None:
    there, back = (
        make("small_grammar", direction=direction, tokenizer="bytes").load(CPU) for direction in ("en-de", "de-en")
    )
    assert [len(part) for part in (there.train, there.validation, there.test)] == [8000, 500, 500]
    german_text, english_text = (next(data.first(data.test, 1)).targets.references[0] for data in (there, back))
    assert dict(sentences(9000))[english_text] == german_text
    parts = (there.train, there.validation, there.test)
    assert len({text for part in parts for text in next(there.first(part, len(part))).targets.references}) == 9000
