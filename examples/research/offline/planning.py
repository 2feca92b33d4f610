"""Takes a question apart: `Should we plant street trees or paint white roofs against the heat?`

Each option is asked about by each aspect: `cooling of street trees`, `cost of white roofs`, and so on.
"""

import re

from ..models import Questions
from .words import FILLING, PREPOSITIONS, PURPOSES, words

OR = re.compile(r"\bor\b|\bversus\b|\bvs\b", re.IGNORECASE)
OPTION_WORDS = 2
"""A thing and what kind of thing it is; the verb before them is left out."""


def plan(question: str) -> Questions:
    options = [_option(part) for part in OR.split(question)]
    purposes = [PURPOSES[word] for word in _after_preposition(question) if word in PURPOSES]
    aspects = dict.fromkeys([*(purposes or ["effect"]), "cost", "upkeep"])
    return Questions(
        questions=[f"{aspect} of {option}" for aspect in aspects for option in options if option]
    )


def _option(part: str) -> str:
    """The last words before the first preposition."""
    kept: list[str] = []
    for word in words(part):
        if word in PREPOSITIONS and kept:
            break
        if word not in FILLING:
            kept.append(word)
    return " ".join(kept[-OPTION_WORDS:])


def _after_preposition(question: str) -> list[str]:
    """`against the heat` is a purpose; `what does the heat do` is not."""
    said = words(question)
    first = next((n for n, word in enumerate(said) if word in PREPOSITIONS), len(said))
    return said[first:]
