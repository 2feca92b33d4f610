"""Which sentences answer an errand: those that share its words and say something definite."""

import re

from ..library import COMMON
from ..models import Passage, Point, Summary

POINTS_MAX = 5
FIT_MIN = 0.6
"""The share of the errand's words that a passage, with its title and heading, must have."""

_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z0-9“])")
_DANGLING = re.compile(
    r"(?:it|they|this|that|these|those|he|she|both|such|between the two|"
    r"the (?:largest|smallest|rest|others?))\b",
    re.IGNORECASE,
)
"""What such a sentence speaks of stands in the one before."""


def summarize(about: str, passages: list[Passage]) -> Summary:
    wanted = stems(about)
    fitting = [p for p in passages if wanted and len(wanted & _said(p)) / len(wanted) >= FIT_MIN]
    weights = _weights(wanted, fitting)
    scored = [
        (_worth(sentence, passage, weights), -place, -order, sentence, passage)
        for place, passage in enumerate(fitting)
        for order, sentence in enumerate(_SENTENCE.split(passage.text))
    ]
    best = sorted(scored, key=lambda one: one[:3], reverse=True)[:POINTS_MAX]
    return Summary(points=[Point(text=s, quote=s, document=p.document) for *_, s, p in best])


def stems(text: str) -> frozenset[str]:
    words = set(re.findall(r"[^\W_]+", text.casefold())) - COMMON
    return frozenset(re.sub(r"(?:ing|ed|es|s|e)$", "", word) if len(word) > 4 else word for word in words)


def _said(passage: Passage) -> frozenset[str]:
    return stems(f"{passage.title} {passage.heading} {passage.text}")


def _weights(wanted: frozenset[str], passages: list[Passage]) -> dict[str, float]:
    """A word that few of the passages have says more; together they weigh 1."""
    rare = {word: 1 / (2 + sum(word in _said(passage) for passage in passages)) for word in wanted}
    return {word: weight / sum(rare.values()) for word, weight in rare.items()}


def _worth(sentence: str, passage: Passage, weights: dict[str, float]) -> float:
    """Words in common count most; a date or an amount is what people want to know."""
    shared = sum(weights[word] for word in weights.keys() & stems(f"{passage.heading} {sentence}"))
    around = sum(weights[word] for word in weights.keys() & _said(passage)) / 2
    definite = 0.3 if re.search(r"\d", sentence) else 0.0
    dangling = 0.5 if _DANGLING.match(sentence) else 0.0
    preamble = 0.0 if passage.heading else 0.5
    return shared + around + definite - dangling - preamble
