"""Where: a gazetteer of the places that the catalogue covers, with their other names, and forgiving of typos.

A place that it does not know is still named, without coordinates: the search finds it or says so.
"""

import csv
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

from .phrase import Phrase, plain

GAZETTEER = Path(__file__).parent.parent / "data" / "places.csv"
NEAR_KM_MIN = 50.0
"""`near Lisbon` takes in the beaches that Lisbon goes to."""

SIMILARITY_MIN = 0.82
"""Of a misspelt name to a known one: `Barcalona` passes, `Parma` is not Palma."""

_TO = (
    r"(?:near(?: to)?|close to|nearby|around|outside(?: of)?|not far from|"
    r"within \d+ ?km of|in|at|on|to|by|for|of|visit|visiting)"
)
_FROM = r"(?:(?<!far )from|leaving|departing|flying from|based in|live in)"
_LOOSE = r"(?:near|close|nearby|around|outside|not far|vicinity|area|surroundings)"
_NO_PLACES = frozenset(
    re.findall(
        r"\w+",
        """
        i we you it is be can a an the my our your this that next last first week weekend month hotel hotels
        room rooms place sea beach city town mountains mountain countryside country village coast ocean
        water nature peace bed hostel flat somewhere anywhere total all advance summer winter spring autumn
        budget price me us euro euros eur dollars pounds night nights quiet by for at on of to and or with
        near around please find need want book stay get looking calm peaceful cheap romantic nice good small
        dog friendly family pool spa luxury something hi hello thanks yes no whatever dates
        """,
    )
)
"""Words that are no place, wherever they stand."""


@dataclass(frozen=True)
class Place:
    name: str
    latitude: float | None
    longitude: float | None
    near_km: float


def find_place(phrase: Phrase) -> Place | None:
    radius = phrase.take(
        r"\b(?:within|max(?:imum)?|up to|at most|less than)?\s*(\d{1,3}) ?(?:km|kms|"
        r"kilomet(?:er|re)s)\b(?: of| from| around)?"
    )
    found = _named(phrase.rest) or _misspelt(phrase.rest) or _unknown(phrase.rest)
    if found is None:
        return None
    place, loosely = found
    if radius:
        return Place(place.name, place.latitude, place.longitude, float(radius[1]))
    return (
        Place(place.name, place.latitude, place.longitude, max(place.near_km, NEAR_KM_MIN))
        if loosely
        else place
    )


@cache
def gazetteer() -> dict[str, Place]:
    """By name and by alias, all without accents and in lower case."""
    known: dict[str, Place] = {}
    with GAZETTEER.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            latitude, longitude = (float(row[key]) if row[key] else None for key in ("latitude", "longitude"))
            place = Place(row["name"], latitude, longitude, float(row["near_km"] or 20))
            for name in (row["name"], *row["aliases"].split(";")):
                if name:
                    known[plain(name).lower()] = place
    return known


def _named(text: str) -> tuple[Place, bool] | None:
    """The known name that follows a word like `near`, else the longest; never a place of departure."""
    best: tuple[tuple[bool, int], Place, bool] | None = None
    for name, place in gazetteer().items():
        for m in re.finditer(rf"\b{re.escape(name)}\b", text, re.IGNORECASE):
            before = text[: m.start()]
            if _departs(before) or _is_no_name(name, m[0], before):
                continue
            key = bool(re.search(rf"\b{_TO} (?:the )?$", before, re.IGNORECASE)), len(name)
            if best is None or key > best[0]:
                best = key, place, _is_loose(before, text[m.end() :])
    return best and best[1:]


def _departs(before: str) -> bool:
    return bool(re.search(rf"\b{_FROM} (?:the )?$", before, re.IGNORECASE))


def _is_no_name(name: str, written: str, before: str) -> bool:
    """`a nice hotel` is not in Nice: names that are words too need a capital or an `in`."""
    return (
        name in ("nice", "hove")
        and written.islower()
        and not re.search(r"\b(?:in|near|around|visit) $|^$", before)
    )


def _is_loose(before: str, after: str) -> bool:
    return bool(
        re.search(rf"\b{_LOOSE}(?: to| of| from)? (?:the )?$", before, re.IGNORECASE)
        or re.match(r" (?:area|region|surroundings)\b", after, re.IGNORECASE)
    )


def _misspelt(text: str) -> tuple[Place, bool] | None:
    words = list(re.finditer(r"[A-Za-z']+", text))
    best: tuple[float, Place, bool] | None = None
    for size in (3, 2, 1):
        for group in zip(*(words[n:] for n in range(size)), strict=False):
            written = " ".join(word[0] for word in group).lower()
            before = text[: group[0].start()]
            if len(written) < 5 or written in _NO_PLACES or _departs(before):
                continue
            for name, place in gazetteer().items():
                likeness = SequenceMatcher(None, written, name).ratio()
                if (
                    written[0] == name[0]
                    and likeness >= SIMILARITY_MIN
                    and (best is None or likeness > best[0])
                ):
                    best = likeness, place, _is_loose(before, text[group[-1].end() :])
    return best and best[1:]


def _unknown(text: str) -> tuple[Place, bool] | None:
    """Words in capitals after a word like `in`, else any word after it, else what the request begins with."""
    for m in re.finditer(rf"\b(?i:{_TO}) ((?:[A-Z][\w'-]+(?: (?:de|da|do|del|la|le|of|am) )? ?)+)", text):
        if _can_be_name(m[1]):
            return _unlocated(m[1]), _is_loose(text[: m.start(1)], "")
    for m in re.finditer(r"\b(?:near|in|around|close to|visit) (?:the )?([a-z]{4,})\b", text, re.IGNORECASE):
        if _can_be_name(m[1]):
            return _unlocated(m[1].capitalize()), _is_loose(text[: m.start(1)], "")
    first = re.match(r"\W*([\w'-]+(?: [\w'-]+){0,2}?)(?: hotels?\b| *[,.;¦]| *$)", text)
    return (_unlocated(first[1]), False) if first and _can_be_name(first[1]) else None


def _can_be_name(words: str) -> bool:
    return _NO_PLACES.isdisjoint(words.lower().split()) and not re.search(r"\d", words)


def _unlocated(name: str) -> Place:
    return Place(name.strip(), None, None, 20.0)
