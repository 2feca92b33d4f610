"""Words without their endings, and what else the offline model knows of language."""

import re

from ..library import WORD

ASPECTS = {
    "cooling": ("degrees", "cooler", "temperature"),
    "cost": ("euros", "price"),
    "upkeep": ("maintenance", "repair"),
    "effect": ("effect", "result"),
}
"""What things are compared by, and other words for it."""

PURPOSES = {"heat": "cooling", "hot": "cooling", "summer": "cooling"}
"""What a question is about, and by which aspect that is judged."""

PREPOSITIONS = {"against", "for", "in", "to", "when", "during", "on", "by", "at", "with"}
FILLING = {
    *("better", "best", "worse", "worst", "good", "cheaper", "cheapest", "more", "less", "than"),
    *("what", "which", "how", "much", "many", "does", "do", "did", "is", "are", "was", "were"),
    *("should", "shall", "can", "could", "we", "i", "the", "a", "an"),
}
ENDINGS = ("ing", "ed")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def words(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(text)]


def stem(word: str) -> str:
    """Roughly: `cooled`, `cooling` and `cool` are one word, and so are `tree` and `trees`."""
    word = word.removesuffix("s")
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def stems(text: str) -> set[str]:
    return {stem(word) for word in words(text)}


def sentences(text: str) -> list[str]:
    return SENTENCE_END.split(" ".join(text.split()))


def numbers(text: str) -> set[str]:
    return set(NUMBER.findall(text))
