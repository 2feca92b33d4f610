"""A request on its way to being understood: whoever recognises a piece takes it out.

Taking pieces out keeps readings apart: once `under 200 a night` is a price, `a night` is no length of stay.
"""

import re
import unicodedata

_NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_WORDS = {word: str(n) for n, word in enumerate(_NUMBERS, start=1)} | {
    "a couple of": "2",
    "a few": "3",
    "a hundred": "100",
    "fifteen": "15",
    "twenty": "20",
    "thirty": "30",
    "fifty": "50",
    "eighty": "80",
}
_WORD = re.compile(rf"\b({'|'.join(sorted(_WORDS, key=len, reverse=True))})\b", re.IGNORECASE)
TAKEN = " ¦ "
"""Stands where something was taken, so that its neighbours do not meet."""


class Phrase:
    def __init__(self, text: str) -> None:
        digits = _WORD.sub(lambda m: _WORDS[m[1].lower()], plain(text))
        self.rest = re.sub(r"\b(\d) hundred(?: and (\d+))?\b", _hundreds, digits, flags=re.IGNORECASE)

    def take(self, pattern: str) -> re.Match[str] | None:
        found = re.search(pattern, self.rest, re.IGNORECASE)
        if found:
            self.rest = self.rest[: found.start()] + TAKEN + self.rest[found.end() :]
        return found

    def has(self, pattern: str) -> bool:
        return re.search(pattern, self.rest, re.IGNORECASE) is not None


def _hundreds(m: re.Match[str]) -> str:
    return str(int(m[1]) * 100 + int(m[2] or 0))


def plain(text: str) -> str:
    """Without accents and typographic dashes, quotes and spaces; the case stays."""
    text = re.sub(r"[‐‑‒–—−]", "-", text).replace("’", "'").replace("\u00a0", " ")
    decomposed = unicodedata.normalize("NFKD", text)
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())
