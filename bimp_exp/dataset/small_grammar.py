"""Sentences of a small grammar in English and German: translation without files, in both directions.

An optional adverb, a subject, a verb in the past and one or two objects: "Yesterday the man wanted the big chair." is "Gestern
wollte der Mann den großen Stuhl." An object is an article, an adjective and a noun, or a number from 2 to 99, an adjective and a
noun in the plural. In German the verb is the second part of the sentence and agrees with the subject, an article and an adjective
agree with the noun's gender and with the case, and a number is one word.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from bimp_exp.dataset.number_words import english, german
from bimp_exp.dataset.text import SmallPairs
from bimp_exp.seeds import derive

MOST_SENTENCES = 100_000  # of many millions
TWO_OBJECTS, PLURAL, ADVERB = 0.3, 0.5, 0.5  # probabilities


class Noun(NamedTuple):
    """gender: of the German noun, m, f or n."""

    english: str
    english_plural: str
    gender: str
    german: str
    german_plural: str


def _nouns(table: str) -> list[Noun]:
    return [Noun(*row.split()) for row in table.splitlines() if row]


def _pairs(words: str) -> list[tuple[str, str]]:
    english, german = words.split()[::2], words.split()[1::2]
    return list(zip(english, german, strict=True))


ADVERBS = _pairs(
    "yesterday gestern today heute often oft sometimes manchmal then dann later später once einmal soon bald"
)
PEOPLE = _nouns("""
man men m Mann Männer
woman women f Frau Frauen
child children n Kind Kinder
girl girls n Mädchen Mädchen
boy boys m Junge Jungen
teacher teachers m Lehrer Lehrer
friend friends m Freund Freunde
neighbour neighbours f Nachbarin Nachbarinnen
mother mothers f Mutter Mütter
father fathers m Vater Väter
sister sisters f Schwester Schwestern
brother brothers m Bruder Brüder
doctor doctors f Ärztin Ärztinnen
king kings m König Könige
""")
THINGS = _nouns("""
chair chairs m Stuhl Stühle
table tables m Tisch Tische
tree trees m Baum Bäume
apple apples m Apfel Äpfel
dog dogs m Hund Hunde
key keys m Schlüssel Schlüssel
ball balls m Ball Bälle
coat coats m Mantel Mäntel
lamp lamps f Lampe Lampen
flower flowers f Blume Blumen
cat cats f Katze Katzen
bag bags f Tasche Taschen
door doors f Tür Türen
clock clocks f Uhr Uhren
bottle bottles f Flasche Flaschen
box boxes f Kiste Kisten
picture pictures n Bild Bilder
book books n Buch Bücher
house houses n Haus Häuser
car cars n Auto Autos
horse horses n Pferd Pferde
boat boats n Boot Boote
shirt shirts n Hemd Hemden
window windows n Fenster Fenster
""")
ADJECTIVES = _pairs(
    "big groß small klein old alt new neu red rot blue blau green grün white weiß black schwarz beautiful schön long lang "
    "short kurz heavy schwer light leicht good gut bad schlecht cheap billig round rund warm warm strange fremd"
)
VERBS = [  # English, German with a subject in the singular; the plural has one more n or en
    *_pairs("wanted wollte bought kaufte had hatte brought brachte sold verkaufte painted malte needed brauchte"),
    *_pairs(
        "showed zeigte liked mochte chose wählte saw sah found fand took nahm carried trug forgot vergaß lost verlor"
    ),
]
THE_SUBJECT = {"m": "der", "f": "die", "n": "das"}
THE_OBJECT = {"m": ("den", "en"), "f": ("die", "e"), "n": ("das", "e")}  # article, ending of the adjective
AN_OBJECT = {"m": ("einen", "en"), "f": ("eine", "e"), "n": ("ein", "es")}


@dataclass(frozen=True, kw_only=True)
class SmallGrammar(SmallPairs):
    """Needs no files."""

    most_pairs: ClassVar[int] = MOST_SENTENCES

    def pairs(self, num: int) -> list[tuple[str, str]]:
        return [(en, de) if self.direction == "en-de" else (de, en) for en, de in sentences(num)]


def sentences(num: int) -> list[tuple[str, str]]:
    """The first ``num`` of a fixed list of different sentences, English and German."""
    draw = random.Random(derive(0, "small grammar"))
    found: dict[str, str] = {}
    while len(found) < num:
        found.update([_sentence(draw)])
    return list(found.items())


def _sentence(draw: random.Random) -> tuple[str, str]:
    who, plural = draw.choice(PEOPLE), draw.random() < PLURAL
    verb, verb_de = draw.choice(VERBS)
    if plural:
        verb_de += "n" if verb_de.endswith("e") else "en"
    subject = f"the {who.english_plural if plural else who.english}"
    subject_de = f"die {who.german_plural}" if plural else f"{THE_SUBJECT[who.gender]} {who.german}"
    objects = [_object(draw) for _ in range(2 if draw.random() < TWO_OBJECTS else 1)]
    what, what_de = (" and ".join(en for en, _ in objects), " und ".join(de for _, de in objects))
    if draw.random() < ADVERB:
        adverb, adverb_de = draw.choice(ADVERBS)
        english_words, german_words = [adverb, subject, verb, what], [adverb_de, verb_de, subject_de, what_de]
    else:
        english_words, german_words = [subject, verb, what], [subject_de, verb_de, what_de]
    return _written(english_words), _written(german_words)


def _object(draw: random.Random) -> tuple[str, str]:
    noun = draw.choice(THINGS)
    adjective, adjective_de = draw.choice(ADJECTIVES)
    if draw.random() < PLURAL:
        number = draw.randint(2, 99)
        return (
            f"{english(number)} {adjective} {noun.english_plural}",
            f"{german(number)} {adjective_de}e {noun.german_plural}",
        )
    if draw.random() < 0.5:
        article, (article_de, ending) = "the", THE_OBJECT[noun.gender]
    else:
        article, (article_de, ending) = "an" if adjective[0] in "aeiou" else "a", AN_OBJECT[noun.gender]
    return f"{article} {adjective} {noun.english}", f"{article_de} {adjective_de}{ending} {noun.german}"


def _written(words: list[str]) -> str:
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}."
