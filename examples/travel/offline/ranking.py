"""Ranks hotels by how well they fit the wishes: what they have, what guests say, and what it costs.

A hotel whose guests say the opposite of a wish, or that lacks what was asked for, is left out.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from ..models import Hotel, Ranked, Ranking, Review
from .request import WISHES
from .reviews import Opinion, opinions

AMENITY = {
    "pool": "pool",
    "spa": "spa",
    "pet-friendly": "pets allowed",
    "parking": "parking",
    "step-free": "step-free access",
    "family-friendly": "family rooms",
    "view": "sea view",
    "good food": "breakfast",
}
INDISPENSABLE = {"pool", "spa", "pet-friendly", "step-free"}
"""Wishes that no review makes up for."""

FIT_MIN = -0.1
"""Below this the hotel is the opposite of what was wished for."""

DOUBT = 0.6
"""Counts like that much of a guest without an opinion: one voice convinces less than four."""


@dataclass(frozen=True)
class Fit:
    wish: str
    value: float
    reason: str | None


def rank(hotels: Sequence[Hotel], wishes: Sequence[str]) -> Ranking:
    known = list(dict.fromkeys(known_wish(wish) for wish in wishes))
    dearest = max((hotel.price for hotel in hotels), default=1.0)
    judged = [(hotel, [_fit(hotel, wish, dearest) for wish in known]) for hotel in hotels]
    ranked = [
        Ranked(hotel_id=hotel.id, score=_score(hotel, fits, dearest), reason=_reason(hotel, fits))
        for hotel, fits in judged
        if all(fit.value >= FIT_MIN for fit in fits)
    ]
    return Ranking(ranked=sorted(ranked, key=lambda r: (-r.score, r.hotel_id)))


def known_wish(wish: str) -> str:
    """The wish as we call it, if its words are known: `a calm place` is `quiet`."""
    named = (
        name for name, words in WISHES.items() if re.search(rf"\b(?:{words})(?!\w)", wish, re.IGNORECASE)
    )
    return wish if wish in WISHES else next(named, wish)


def _fit(hotel: Hotel, wish: str, dearest: float) -> Fit:
    said = opinions(hotel.reviews, wish)
    value = sum(o.value for o in said) / (len(said) + DOUBT)
    if wish in AMENITY:
        has = AMENITY[wish] in hotel.amenities
        if wish in INDISPENSABLE and not has:
            return Fit(wish, -1.0, None)
        value = value / 2 + (0.5 if has else 0.0)
    if wish == "cheap":
        value = value / 2 + (0.5 - hotel.price / dearest) + 0.2
    if wish == "luxury":
        value = value / 2 + (hotel.stars - 3.5) / 2
    return Fit(wish, max(-1.0, min(1.0, value)), _quote(said))


def _quote(said: list[Opinion]) -> str | None:
    """The decisive sentence, and how many disagree with it."""
    agreeing = [opinion for opinion in said if opinion.value > 0]
    if not agreeing:
        return None
    best = max(agreeing, key=lambda opinion: opinion.value)
    against = sum(opinion.value < 0 for opinion in said)
    doubt = f" (though {against} of {len(said)} disagree)" if against else ""
    return f"“{best.quote}” – {best.author}{doubt}"


def _score(hotel: Hotel, fits: list[Fit], dearest: float) -> float:
    """From 0 to 1: wishes first, then guests' ratings, price, and the way to the beach and to the place."""
    wishes = mean((fit.value + 1) / 2 for fit in fits) if fits else 0.5
    rating = mean(review.rating for review in hotel.reviews) / 10 if hotel.reviews else 0.5
    thrift = 1 - hotel.price / dearest
    near = math.exp(-(hotel.distance_km or 0.0) / 40)
    shore = math.exp(-hotel.beach_m / 1000) if hotel.beach_m is not None else 0.0
    return round(0.6 * wishes + 0.22 * rating + 0.08 * thrift + 0.05 * near + 0.05 * shore, 3)


def _reason(hotel: Hotel, fits: list[Fit]) -> str:
    quoted = [fit for fit in fits if fit.reason]
    if quoted:
        return f"{quoted[0].wish}: {quoted[0].reason}"
    having = [AMENITY[fit.wish] for fit in fits if AMENITY.get(fit.wish) in hotel.amenities]
    if having:
        return f"It has {' and '.join(having)}."
    return (
        _praise(max(hotel.reviews, key=lambda review: review.rating)) if hotel.reviews else "No reviews yet."
    )


def _praise(review: Review) -> str:
    sentence = re.split(r"(?<=[.!?])\s+", review.text)[0]
    return f"“{sentence}” – {review.author}, {review.rating}/10"
