"""Which sentences of which passages answer a question, by the words that they share."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from ..models import Passage
from .words import ASPECTS, FILLING, numbers, sentences, stem, stems, words


@dataclass(frozen=True)
class Evidence:
    passage: Passage
    sentence: str
    score: int


def evidence(question: str, passages: Iterable[Passage]) -> list[Evidence]:
    """The best first; of equals, the one that came first."""
    rated = (
        Evidence(passage, sentence, score(question, sentence))
        for passage in passages
        for sentence in sentences(passage.text)
    )
    return sorted((each for each in rated if each.score), key=lambda each: -each.score)


def score(question: str, sentence: str) -> int:
    """0 unless it names the thing and the aspect, in one word or another."""
    aspect, thing = aspect_of(question)
    said = stems(sentence)
    asked = {stem(word) for word in (aspect, *ASPECTS.get(aspect, ()))}
    if not asked & said or not _names(thing, sentence):
        return 0
    return 2 * len(stems(thing) & said) + bool(numbers(sentence))


def _names(thing: str, sentence: str) -> bool:
    """`A tree takes 45 euros` may be of street trees; `stone paths cost 30 euros` is not of gravel paths."""
    *kinds, noun = map(stem, words(thing))
    said = ["a", *words(sentence)]
    return any(
        stem(word) == noun and (before in FILLING or before.isdigit() or stem(before) in kinds)
        for before, word in pairwise(said)
    )


def aspect_of(question: str) -> tuple[str, str]:
    """`cost of street trees` asks for the cost, of street trees."""
    aspect, _, thing = question.partition(" of ")
    return (aspect, thing) if thing else ("effect", question)
