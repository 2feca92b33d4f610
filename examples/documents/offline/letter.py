"""A mail from an errand, its points and the author's notes: greeting, opening, points, closing."""

import re
from functools import reduce

from ..models import Draft, Errand, Point
from .notes import Style, Tone, apply
from .summary import stems

_GREETING: dict[Tone, str] = {"formal": "Dear {name}", "plain": "Hello {name}", "friendly": "Hi {name}"}
_OPENING: dict[Tone, str] = {
    "formal": "I would like to inform you about the following: {about}.",
    "plain": "here is what our documents say about this: {about}.",
    "friendly": "I hope you are well! Here is what you need to know about this: {about}.",
}
_CLOSING: dict[Tone, str] = {
    "formal": "Please do not hesitate to contact me if you have any questions.\n\nYours sincerely",
    "plain": "Please ask if anything is unclear.\n\nKind regards",
    "friendly": "If anything is unclear, just drop me a line!\n\nBest wishes",
}


def write(errand: Errand, points: list[Point], notes: list[str]) -> Draft:
    style = reduce(apply, [*([errand.style] if errand.style else []), *notes], Style())
    about = errand.about or "our documents"
    opening = _OPENING[style.tone].format(about=about)
    parts = [
        f"{_greeting(errand, style)},",
        opening,
        "\n".join(f"- {_line(point, style)}" for point in _chosen(points, style)),
        *style.added,
        f"{_CLOSING[style.tone]}\n{style.signature or 'Tidewater Instruments'}",
    ]
    subject = style.subject or about[:1].upper() + about[1:]
    return Draft(subject=subject[:200], body="\n\n".join(filter(None, parts)), remark=style.remark)


def _chosen(points: list[Point], style: Style) -> list[Point]:
    """The most important, without those that were to be left out."""
    unwanted = [stems(words) for words in style.omitted]
    kept = [p for p in points if not any(words and words <= stems(p.text) for words in unwanted)]
    return kept[: style.points_max]


def _line(point: Point, style: Style) -> str:
    return f"{point.text} ({point.document})" if style.sources else point.text


def _greeting(errand: Errand, style: Style) -> str:
    return style.greeting or _GREETING[style.tone].format(name=errand.name or _guessed(errand.to or ""))


def _guessed(address: str) -> str:
    """`dana.meyer@…` is Dana Meyer; an office or a list has no name."""
    local = address.partition("@")[0].partition("+")[0]
    words = [word for word in re.split(r"[._-]+", local) if word.isalpha()]
    if not words or local in ("info", "office", "team", "all", "support", "sales", "hr", "it"):
        return "all"
    return " ".join(word.capitalize() for word in words)
